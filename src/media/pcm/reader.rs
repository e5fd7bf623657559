//! The one place where symphonia is called, and its errors and panics are taken in.

use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MpaReader, WavReader};

use super::super::unsupported;
use super::Container;
use super::input::Input;
use crate::error::{Error, Result};

/// A reader and the track that is read.
pub(super) struct Opened {
    pub(super) reader: Box<dyn FormatReader>,
    pub(super) track: u32,
    pub(super) params: AudioCodecParameters,
    pub(super) delay: u32,
    pub(super) padding: u32,
    pub(super) announced: Option<u64>,
}

/// Why symphonia could not go on.
pub(super) enum Stop {
    /// This part is damaged; the next may not be.
    Damaged(String),
    /// Nothing more can be read.
    Ended(String),
    /// The file could not be read.
    Failed(Error),
}

impl Stop {
    pub(super) fn into_error(self, with_reason: impl FnOnce(&str) -> Error) -> Error {
        match self {
            Self::Damaged(reason) | Self::Ended(reason) => with_reason(&reason),
            Self::Failed(error) => error,
        }
    }
}

/// Runs symphonia. Its arithmetic is not checked everywhere, so damaged input can panic; nothing
/// of ours is in the middle of a change then, and its own state is dropped with the reader.
pub(super) fn contained<T>(run: impl FnOnce() -> Result<T, SymphoniaError>) -> Result<T, Stop> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match error {
            SymphoniaError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Stop::Ended("the file ends in the middle".into())
            }
            // Its own readers use other kinds for what is wrong with the bytes.
            SymphoniaError::IoError(error) if error.raw_os_error().is_some() => {
                Stop::Failed(Error::invalid_argument("reading the file failed").caused_by(error))
            }
            SymphoniaError::ResetRequired => {
                Stop::Ended("another stream follows, which is not read".into())
            }
            error => Stop::Damaged(error.to_string()),
        }),
        Err(_) => Err(Stop::Ended(
            "it is damaged in a way that the demuxer does not survive".into(),
        )),
    }
}

/// Opens the container that the input is prepared for.
pub(super) fn open(input: Input, container: Container, codec: &str) -> Result<Opened> {
    let name = container.name();
    let reader = contained(move || -> Result<Box<dyn FormatReader>, SymphoniaError> {
        let stream = MediaSourceStream::new(Box::new(input), MediaSourceStreamOptions::default());
        let options = FormatOptions::default();
        Ok(match container {
            Container::Wav => Box::new(WavReader::try_new(stream, options)?),
            Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
            Container::Mp3 => Box::new(MpaReader::try_new(stream, options)?),
            Container::Adts => Box::new(AdtsReader::try_new(stream, options)?),
            Container::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
        })
    })
    .map_err(|stop| {
        stop.into_error(|reason| {
            unsupported(format!(
                "this is {name}, but no audio can be read from it: {reason}. It is cut short or \
                 damaged"
            ))
        })
    })?;
    let found = reader
        .tracks()
        .iter()
        .find_map(|track| match &track.codec_params {
            Some(CodecParameters::Audio(params)) => Some((track, params.clone())),
            _ => None,
        });
    let Some((track, params)) = found else {
        return Err(unsupported(format!(
            "this is {name} ({codec}) without the parameters that decoding needs"
        )));
    };
    Ok(Opened {
        track: track.id,
        params,
        delay: track.delay.unwrap_or(0),
        padding: track.padding.unwrap_or(0),
        announced: track.num_frames,
        reader,
    })
}
