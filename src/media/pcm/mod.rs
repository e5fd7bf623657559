//! WAV, FLAC, MP3, AAC and MP4, demuxed and decoded by symphonia; this folder alone names it.
//!
//! symphonia 0.6 takes headers at their word here and there, and joins what is around damage
//! without telling. What it is shown is therefore prepared (see `wav`, `flac`, `mp3`, `mp4`), and
//! what it gives is checked: against the length it announced, the bytes there are, and its own
//! timestamps. A panic in it ends the audio with a warning, at [`contained`].

mod flac;
mod input;
mod mp3;
mod mp4;
mod opus;
mod reader;
mod trim;
mod wav;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::formats::FormatReader;
use symphonia::core::packet::Packet;

use super::warnings::Warnings;
use super::{Format, Source, Step, unsupported};
use crate::audio::Pcm;
use crate::error::Result;
use input::Input;
use opus::OpusTrack;
use reader::{Opened, Stop, contained};
use trim::Trim;

/// Containers whose audio is decoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Wav,
    Flac,
    Mp3,
    Adts,
    Mp4,
}

impl Container {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Flac => "FLAC",
            Self::Mp3 => "MP3",
            Self::Adts => "AAC",
            Self::Mp4 => "MP4",
        }
    }
}

/// More than any of the codecs codes at once.
const MAX_PACKET_FRAMES: u64 = 1 << 16;
/// The longest frame of MPEG audio, layer 3.
const MAX_FRAME_BYTES: u64 = 1_441;
/// An MP4 file can have this much beside its samples; beyond it they were not found.
const MAX_UNREAD_BYTES: u64 = 512;
/// Refusals in a row after which nothing good can come any more.
const MAX_REFUSALS: usize = 10_000;

/// A source that is demuxed and, unless it is Opus, decoded by symphonia.
pub(super) struct Decoded {
    format: Format,
    reader: Box<dyn FormatReader>,
    track: u32,
    codec: Codec,
    container: Container,
    /// Frames that the container announces, without delay and padding.
    announced: Option<u64>,
    warnings: Warnings,
    len: u64,
    progress: Arc<AtomicU64>,
    /// Bytes of packets so far; no more can be in a file than the file has.
    packet_bytes: u64,
    /// Bytes of media that packets should be made of, where an index tells.
    media_bytes: Option<u64>,
    refusals: usize,
    /// For frames without a container around them: bytes there are, less the header of each frame
    /// that is not part of its packet.
    bare: Option<Bare>,
    ended: bool,
}

/// MP3 and AAC frames one behind the other: what is not a frame is passed over without a word.
struct Bare {
    bytes: u64,
    header_bytes: u64,
    /// A first frame with information for the player is not handed out as a packet.
    unseen: u64,
}

enum Codec {
    Pcm {
        decoder: Box<dyn AudioDecoder>,
        rate_hz: u32,
        trim: Trim,
        /// Timestamp that the next packet should have.
        expected: Option<i64>,
    },
    Opus(Box<OpusTrack>),
}

impl Decoded {
    /// `at` is where the container begins in the source.
    pub(super) fn open(source: Source, container: Container, at: u64) -> Result<Self> {
        let mut warnings = Warnings::default();
        let Some(mut input) = Input::new(source)? else {
            return Err(unsupported("a live source cannot be read here"));
        };
        let mut mp4 = None;
        let mut codec = container.name().to_owned();
        match container {
            Container::Wav => codec = wav::prepare(&mut input, &mut warnings)?.codec,
            Container::Flac => flac::prepare(&mut input, at)?,
            Container::Mp3 | Container::Adts => mp3::prepare(&mut input, at)?,
            Container::Mp4 => {
                let found = mp4::prepare(&mut input, &mut warnings)?;
                found.codec.clone_into(&mut codec);
                mp4 = Some(found);
            }
        }
        let bare = match container {
            Container::Mp3 => Some(0),
            Container::Adts => Some(mp3::adts_header_bytes(&mut input, at)?),
            _ => None,
        };
        let shown = input.shown();
        let len = input.len();
        let progress = input.progress();
        let Opened {
            reader,
            track,
            params,
            delay,
            padding,
            announced,
        } = reader::open(input, container, &codec)?;
        let codec_of_track = if codec == "Opus" {
            let mut track = OpusTrack::new(&params, mp4.as_ref())?;
            // The track's are the ones that are handed out.
            track.steps.warnings = std::mem::take(&mut warnings);
            Codec::Opus(Box::new(track))
        } else {
            let (decoder, rate_hz) = decoder(&params, &codec)?;
            let trim = match &mp4 {
                Some(mp4) => Trim::edit(mp4, rate_hz),
                None => Trim::new(delay, padding, announced),
            };
            Codec::Pcm {
                decoder,
                rate_hz,
                trim,
                expected: None,
            }
        };
        Ok(Self {
            format: Format {
                container: container.name(),
                codec,
            },
            reader,
            track,
            codec: codec_of_track,
            container,
            announced,
            warnings,
            len,
            progress,
            packet_bytes: 0,
            media_bytes: mp4.and_then(|mp4| mp4.media_bytes),
            refusals: 0,
            bare: bare.map(|header_bytes| Bare {
                bytes: shown,
                header_bytes,
                unseen: if announced.is_some() {
                    MAX_FRAME_BYTES
                } else {
                    0
                },
            }),
            ended: false,
        })
    }

    pub(super) fn format(&self) -> &Format {
        &self.format
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn share(&self) -> f64 {
        self.progress.load(Ordering::Relaxed) as f64 / self.len.max(1) as f64
    }

    pub(super) fn warnings(&mut self) -> &mut Warnings {
        if let Codec::Opus(track) = &mut self.codec {
            return &mut track.steps.warnings;
        }
        &mut self.warnings
    }

    pub(super) fn next_step(&mut self) -> Result<Option<Step>> {
        loop {
            let ready = match &mut self.codec {
                Codec::Opus(track) => track.steps.pop(),
                Codec::Pcm { trim, .. } => trim.pop(),
            };
            if ready.is_some() || self.ended {
                return Ok(ready);
            }
            match contained(|| self.reader.next_packet()) {
                Ok(Some(packet)) => self.take(&packet)?,
                Ok(None) => self.end(None),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Damaged(_)) if self.refusals < MAX_REFUSALS => self.refusals += 1,
                Err(Stop::Damaged(reason) | Stop::Ended(reason)) => self.end(Some(&reason)),
            }
        }
    }

    fn take(&mut self, packet: &Packet) -> Result<()> {
        // Tables that point at the same bytes again and again could go on for ever.
        self.packet_bytes += packet.data.len().max(1) as u64;
        if self.packet_bytes > self.len.saturating_add(64) {
            self.end(Some("its tables announce more audio than the file has"));
            return Ok(());
        }
        if let Some(bare) = &mut self.bare {
            let bytes = bare.header_bytes + packet.data.len() as u64;
            bare.bytes = bare.bytes.saturating_sub(bytes);
        }
        if packet.track_id != self.track {
            return Ok(());
        }
        if self.refusals > 0 {
            self.refusals = 0;
            let container = self.format.container;
            self.warnings.note("damage", || {
                format!("a part of the {container} file is damaged and was passed over")
            });
        }
        match &mut self.codec {
            Codec::Opus(track) => track.take(packet),
            Codec::Pcm {
                decoder,
                rate_hz,
                trim,
                expected,
            } => {
                // Not `block_dur`: that counts what symphonia wants trimmed twice.
                let frames = packet.dur.get().min(MAX_PACKET_FRAMES);
                // Of these containers only FLAC numbers its frames.
                if self.container == Container::Flac {
                    let begin = packet.pts.get();
                    let missing = expected.map_or(0, |expected| begin.saturating_sub(expected));
                    if missing > 0 && self.announced.is_none_or(|end| begin as u64 <= end) {
                        trim.gap(missing as u64, *rate_hz, &mut self.warnings);
                    }
                    *expected = Some(begin.saturating_add_unsigned(frames));
                }
                match contained(|| {
                    let decoded = decoder.decode(packet)?;
                    let mut interleaved: Vec<f32> = Vec::new();
                    decoded.copy_to_vec_interleaved(&mut interleaved);
                    let spec = decoded.spec();
                    Ok((interleaved, spec.rate(), spec.channels().count()))
                }) {
                    Ok((interleaved, rate, channels)) => {
                        check_shape(rate, channels)?;
                        *rate_hz = rate;
                        let interleaved = believable(interleaved, trim, rate, &mut self.warnings);
                        trim.push(interleaved, rate, channels);
                    }
                    Err(Stop::Failed(error)) => return Err(error),
                    Err(Stop::Damaged(_)) => {
                        // A fresh start, so that what is kept of the damaged frame does no harm.
                        trim.gap(frames, *rate_hz, &mut self.warnings);
                        let reset = contained(|| {
                            decoder.reset();
                            Ok(())
                        });
                        if reset.is_err() {
                            self.end(Some("its decoder cannot go on"));
                        }
                    }
                    Err(Stop::Ended(reason)) => self.end(Some(&reason)),
                }
            }
        }
        Ok(())
    }

    /// Media that no packet was made of: its index is damaged.
    fn note_unread_media(&mut self) {
        let Some(media_bytes) = self.media_bytes else {
            return;
        };
        let unread = media_bytes.saturating_sub(self.packet_bytes);
        if unread > MAX_UNREAD_BYTES + media_bytes / 100 {
            self.warnings().note("unread", || {
                format!(
                    "{unread} of {media_bytes} bytes of audio could not be found by the index of \
                     the MP4 file: it is damaged"
                )
            });
        }
    }

    /// The last packet is behind, or no further one can be read for `reason`.
    fn end(&mut self, reason: Option<&str>) {
        self.ended = true;
        self.note_unread_media();
        let Codec::Pcm { trim, rate_hz, .. } = &mut self.codec else {
            let Codec::Opus(track) = &mut self.codec else {
                return;
            };
            track.end(reason);
            return;
        };
        trim.finish();
        let now = trim.now(*rate_hz);
        let container = self.format.container;
        if let Some(reason) = reason {
            self.warnings.note("ends early", || {
                format!("the {container} audio ends at {now}: {reason}")
            });
        }
        if let Some(bare) = &self.bare
            && bare.bytes > bare.unseen
        {
            let bytes = bare.bytes;
            self.warnings.note("no frames", || {
                format!(
                    "{bytes} bytes of the {container} file are no whole frames of audio: it is \
                     damaged or cut short, or something else is in it"
                )
            });
        }
        if let Some(announced) = self.announced.map(|frames| trim.without_edit(frames))
            && trim.handed_out() < announced
        {
            let missing = (announced - trim.handed_out()) as f64 / f64::from(*rate_hz);
            self.warnings.note("cut short", || {
                format!(
                    "the {container} header announces {missing:.2} s more than the {now} that are \
                     there: the file is cut short or damaged"
                )
            });
        }
    }
}

fn decoder(params: &AudioCodecParameters, codec: &str) -> Result<(Box<dyn AudioDecoder>, u32)> {
    // Delay and padding are trimmed here, where a wrong count can be seen.
    let options = AudioDecoderOptions::default().gapless(false);
    let decoder =
        contained(|| symphonia::default::get_codecs().make_audio_decoder(params, &options));
    let decoder = decoder.map_err(|stop| {
        let advice = if codec == "AAC" {
            "; of AAC, LC in mono or stereo is supported, HE-AAC is not"
        } else {
            ""
        };
        stop.into_error(|reason| {
            unsupported(format!(
                "this is {codec} that cannot be decoded ({reason}){advice}"
            ))
        })
    })?;
    let rate_hz = decoder
        .codec_params()
        .sample_rate
        .or(params.sample_rate)
        .unwrap_or(0);
    let channels = decoder
        .codec_params()
        .channels
        .as_ref()
        .or(params.channels.as_ref());
    check_shape(rate_hz, channels.map_or(1, Channels::count))?;
    Ok((decoder, rate_hz))
}

fn check_shape(rate_hz: u32, channels: usize) -> Result<()> {
    if !Pcm::SAMPLE_RATES_HZ.contains(&rate_hz) || !(1..=Pcm::MAX_CHANNELS).contains(&channels) {
        return Err(unsupported(format!(
            "the audio has {channels} channels at {rate_hz} Hz; supported are 1 to {} \
             channels at {} to {} Hz",
            Pcm::MAX_CHANNELS,
            Pcm::SAMPLE_RATES_HZ.start(),
            Pcm::SAMPLE_RATES_HZ.end()
        )));
    }
    Ok(())
}

/// Replaces what cannot be a sample by silence: one such float would spoil all after it.
fn believable(
    mut interleaved: Vec<f32>,
    trim: &Trim,
    rate_hz: u32,
    warnings: &mut Warnings,
) -> Vec<f32> {
    // A comparison with what is not a number is false.
    let in_range = |sample: &f32| sample.abs() <= Pcm::MAX_AMPLITUDE;
    for sample in interleaved.iter_mut().filter(|sample| !in_range(sample)) {
        warnings.note("no samples", || {
            let now = trim.now(rate_hz);
            format!("there are numbers at {now} that cannot be samples; taken as silence")
        });
        *sample = 0.0;
    }
    interleaved
}

#[cfg(test)]
mod tests;
