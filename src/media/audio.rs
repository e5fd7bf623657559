//! The audio of a file as 16 kHz mono: what was demuxed, decoded.

use super::{Media, Source, Step};
use crate::audio::{self, Converter, Report, SAMPLE_RATE_HZ};
use crate::error::Result;
use crate::opus::{PacketDecoder, samples_16k};

/// Samples that are missing are filled in at most a second at a time.
const GAP_STEP_SAMPLES: u64 = SAMPLE_RATE_HZ as u64;
/// 20 ms, until a packet tells how long one is.
const DEFAULT_PACKET_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 50;

/// Reads the audio of one file or stream.
pub struct MediaAudio {
    media: Media,
    decoder: Option<PacketDecoder>,
    converter: Option<(u32, usize, Converter)>,
    gap_samples: u64,
    share: f64,
}

impl MediaAudio {
    /// Reads as far as the parameters of the audio.
    pub fn open(source: Source) -> Result<Self> {
        Ok(Self {
            media: Media::open(source)?,
            decoder: None,
            converter: None,
            gap_samples: 0,
            share: 0.0,
        })
    }

    fn decoder(&mut self) -> Result<&mut PacketDecoder> {
        match &mut self.decoder {
            Some(decoder) => Ok(decoder),
            none => Ok(none.insert(PacketDecoder::new()?)),
        }
    }

    fn packet(&mut self, bytes: &[u8], skip: usize, drop: usize, pcm: &mut Vec<f32>) -> Result<()> {
        let own = self.decoder()?.push(Some(bytes), pcm)?;
        // What is trimmed of a packet that is missing or damaged stays, as concealment.
        let end = pcm.len() - samples_16k(drop).min(own);
        pcm.truncate(end);
        let start = end.saturating_sub(own.saturating_sub(samples_16k(drop)));
        pcm.drain(start..end.min(start + samples_16k(skip)));
        Ok(())
    }

    fn converted(
        &mut self,
        interleaved: &[f32],
        rate_hz: u32,
        channels: usize,
        pcm: &mut Vec<f32>,
    ) -> Result<()> {
        match &mut self.converter {
            Some((rate, count, converter)) if (*rate, *count) == (rate_hz, channels) => {
                converter.push(interleaved, pcm)
            }
            other => {
                if let Some((_, _, ending)) = other {
                    ending.finish(pcm)?;
                }
                let mut converter = Converter::new(rate_hz, channels)?;
                converter.push(interleaved, pcm)?;
                *other = Some((rate_hz, channels, converter));
                Ok(())
            }
        }
    }

    fn fill_gap(&mut self, pcm: &mut Vec<f32>) {
        let mut samples = self.gap_samples.min(GAP_STEP_SAMPLES) as usize;
        self.gap_samples -= samples as u64;
        let Some(decoder) = &mut self.decoder else {
            pcm.resize(pcm.len() + samples, 0.0);
            return;
        };
        let packet = decoder.packet_samples().unwrap_or(DEFAULT_PACKET_SAMPLES);
        while samples > 0 {
            let lost = samples.min(packet);
            decoder.skip(lost, pcm);
            samples -= lost;
        }
    }

    fn finish(&mut self, pcm: &mut Vec<f32>) -> Result<()> {
        if let Some((_, _, converter)) = &mut self.converter {
            converter.finish(pcm)?;
        }
        self.decoder
            .as_mut()
            .map_or(Ok(()), |decoder| decoder.finish(pcm))
    }
}

impl audio::Source for MediaAudio {
    fn read(&mut self, pcm: &mut Vec<f32>) -> Result<bool> {
        if self.gap_samples > 0 {
            self.fill_gap(pcm);
            return Ok(true);
        }
        match self.media.next_step()? {
            None => {
                self.finish(pcm)?;
                return Ok(false);
            }
            Some(Step::OpusHead { output_gain_q8, .. }) => {
                self.decoder()?.restart(output_gain_q8, pcm)?;
            }
            Some(Step::OpusPacket {
                bytes,
                skip_48k,
                drop_48k,
            }) => self.packet(&bytes, skip_48k, drop_48k, pcm)?,
            Some(Step::OpusGap { samples_48k }) => self.gap_samples = samples_48k / 3,
            Some(Step::Pcm {
                interleaved,
                rate_hz,
                channels,
            }) => self.converted(&interleaved, rate_hz, channels, pcm)?,
            Some(Step::PcmGap { frames, rate_hz }) => {
                self.gap_samples =
                    frames.saturating_mul(SAMPLE_RATE_HZ.into()) / u64::from(rate_hz.max(1));
            }
        }
        Ok(true)
    }

    fn share(&self) -> f64 {
        self.media.share().unwrap_or(0.0).clamp(self.share, 1.0)
    }

    fn report(&mut self) -> Report {
        Report {
            packets: self.decoder.as_mut().map(PacketDecoder::take_counts),
            warnings: self.media.take_warnings(),
        }
    }
}
