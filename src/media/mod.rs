//! Files and streams of many kinds to Opus packets or PCM: in order, in bounded memory, whatever
//! their headers claim.
//!
//! Opus in Ogg and in WebM is demuxed here, packet by packet, because what is lost, trimmed or
//! damaged must be known exactly. Everything else is decoded by symphonia, behind [`pcm`]; it is
//! named nowhere else.

mod audio;
mod bytes;
mod ogg;
mod opus_head;
mod opus_steps;
mod pcm;
mod sniff;
mod warnings;
mod webm;

use std::fmt;
use std::fs::File;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
pub use audio::MediaAudio;
use bytes::ByteReader;
use sniff::Kind;
use warnings::Warnings;

/// Where the bytes come from.
pub enum Source {
    /// A regular file.
    File(File),
    /// All of it.
    Bytes(Vec<u8>),
    /// As they arrive: asked for the next when all before have been used. Ogg and WebM only.
    Live(Box<dyn Iterator<Item = Vec<u8>> + Send>),
}

impl Source {
    /// Opens a regular file; a pipe or a device could keep its reader waiting for ever.
    pub fn open(path: &Path) -> Result<Self> {
        let refused = |what: &str| Error::invalid_argument(format!("{what}: {}", path.display()));
        // Before it is opened: opening a pipe waits for its writer.
        let metadata = std::fs::metadata(path)
            .map_err(|error| refused("cannot read the file").caused_by(error))?;
        if !metadata.is_file() {
            return Err(refused("this is not a regular file"));
        }
        // A kernel's file has no size, and reading it can wait for ever.
        if metadata.len() == 0 {
            return Err(unsupported(format!(
                "the file is empty, 0 bytes: {}",
                path.display()
            )));
        }
        let file =
            File::open(path).map_err(|error| refused("cannot read the file").caused_by(error))?;
        Ok(Self::File(file))
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// The container, `WebM` for example.
    pub container: &'static str,
    /// The codec, `Opus` for example.
    pub codec: String,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.codec == self.container {
            return f.write_str(self.container);
        }
        write!(f, "{} ({})", self.container, self.codec)
    }
}

/// The next stretch of the audio.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A new Opus stream begins, the first or the next of a chain: what follows needs a fresh
    /// decoder and this gain.
    OpusHead {
        /// One or two.
        channels: u8,
        /// Gain to apply to what is decoded, in dB as Q7.8.
        output_gain_q8: i16,
    },
    /// A packet.
    OpusPacket {
        /// As it was encoded; may be malformed.
        bytes: Vec<u8>,
        /// Samples at 48 kHz, of what it decodes to, that lie before the audio.
        skip_48k: usize,
        /// Samples at 48 kHz, of what it decodes to, that lie beyond the audio. Both together are
        /// at most its duration.
        drop_48k: usize,
    },
    /// Opus audio that is missing, at most an hour.
    OpusGap {
        /// In samples at 48 kHz.
        samples_48k: u64,
    },
    /// Audio of any other codec.
    Pcm {
        /// Interleaved by channel, nominally -1 to 1, at most 65,536 frames.
        interleaved: Vec<f32>,
        /// Frames a second.
        rate_hz: u32,
        /// At least one.
        channels: usize,
    },
    /// Audio of any other codec that is missing, at most an hour.
    PcmGap {
        /// How many.
        frames: u64,
        /// Frames a second.
        rate_hz: u32,
    },
}

/// The audio of one source.
pub struct Media {
    format: Format,
    demuxer: Demuxer,
    /// Whether there was any audio at all.
    heard: bool,
    ended: bool,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("format", &self.format)
            .field("share", &self.share())
            .finish_non_exhaustive()
    }
}

enum Demuxer {
    Ogg(Box<ogg::OggOpus>),
    Webm(Box<webm::WebmOpus>),
    Pcm(Box<pcm::Decoded>),
}

impl Media {
    /// Reads as far as the parameters of the first audio track. What cannot be transcribed fails
    /// with [`ErrorKind::UnsupportedMedia`] and says what was found and what is supported.
    pub fn open(source: Source) -> Result<Self> {
        let mut reader = ByteReader::new(source)?;
        let (format, demuxer) = match sniff::sniff(&mut reader)? {
            Kind::Ogg => {
                let demuxer = Demuxer::Ogg(Box::new(ogg::OggOpus::open(reader)?));
                (opus_in("Ogg"), demuxer)
            }
            Kind::Webm => {
                let demuxer = Demuxer::Webm(Box::new(webm::WebmOpus::open(reader)?));
                (opus_in("WebM"), demuxer)
            }
            Kind::Pcm(container) => {
                let at = reader.offset();
                let Some(source) = reader.into_seekable()? else {
                    return Err(unsupported(format!(
                        "this is {}, which cannot be read live; only Ogg and WebM with Opus can. \
                         Pass it whole",
                        container.name()
                    )));
                };
                let decoded = pcm::Decoded::open(source, container, at)?;
                (decoded.format().clone(), Demuxer::Pcm(Box::new(decoded)))
            }
        };
        Ok(Self {
            format,
            demuxer,
            heard: false,
            ended: false,
        })
    }

    /// What it turned out to be.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The next stretch of the audio, or none at its end. Input that is damaged throughout, so
    /// that there is nothing to hear, fails; where some is there, the rest is a warning.
    pub fn next_step(&mut self) -> Result<Option<Step>> {
        if self.ended {
            return Ok(None);
        }
        let step = match &mut self.demuxer {
            Demuxer::Ogg(demuxer) => demuxer.next_step(),
            Demuxer::Webm(demuxer) => demuxer.next_step(),
            Demuxer::Pcm(demuxer) => demuxer.next_step(),
        }?;
        self.heard |= matches!(step, Some(Step::OpusPacket { .. } | Step::Pcm { .. }));
        if step.is_none() {
            self.ended = true;
            if !self.heard
                && let Some(reason) = self.why_silent()
            {
                return Err(unsupported(format!(
                    "this is {}, but no audio can be read from it: {reason}",
                    self.format
                )));
            }
        }
        Ok(step)
    }

    /// A recording that was stopped at once is a header and no more; anything else without audio is
    /// damaged, also where nothing in particular was seen to be.
    fn why_silent(&mut self) -> Option<String> {
        if let Some(reason) = self.warnings().first() {
            return Some(reason.to_owned());
        }
        let len = match &self.demuxer {
            Demuxer::Ogg(demuxer) => demuxer.reader().len(),
            Demuxer::Webm(demuxer) => demuxer.reader().len(),
            Demuxer::Pcm(demuxer) => Some(demuxer.len()),
        };
        let len = len.filter(|&len| len > MAX_EMPTY_BYTES)?;
        Some(format!("none of its {len} bytes are audio that was found"))
    }

    /// The share of the bytes that is behind, 0 to 1, unless the input is live.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let reader = match &self.demuxer {
            Demuxer::Ogg(demuxer) => demuxer.reader(),
            Demuxer::Webm(demuxer) => demuxer.reader(),
            Demuxer::Pcm(demuxer) => return Some(demuxer.share()),
        };
        let len = reader.len()?;
        Some(reader.offset() as f64 / len.max(1) as f64)
    }

    /// What was found missing or damaged since the last call, in words: each kind once, with its
    /// first place and how often it came again.
    pub fn take_warnings(&mut self) -> Vec<String> {
        self.warnings().take()
    }

    fn warnings(&mut self) -> &mut Warnings {
        match &mut self.demuxer {
            Demuxer::Ogg(demuxer) => &mut demuxer.steps().warnings,
            Demuxer::Webm(demuxer) => &mut demuxer.steps().warnings,
            Demuxer::Pcm(demuxer) => demuxer.warnings(),
        }
    }
}

fn opus_in(container: &'static str) -> Format {
    Format {
        container,
        codec: "Opus".into(),
    }
}

/// Headers of an empty recording take less.
const MAX_EMPTY_BYTES: u64 = 4096;

/// What can be read, for messages.
const SUPPORTED: &str = "Ogg and WebM with Opus, WAV, FLAC, MP3, and M4A or AAC";

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::UnsupportedMedia, message)
}

#[cfg(test)]
mod tests;
