//! Interleaved samples of any rate and channel count to 16 kHz mono, piece by piece. The only file
//! that names the resampler.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::SAMPLE_RATE_HZ;
use crate::error::{Error, ErrorKind, Result};

/// Frames the resampler takes at a time; its delay is trimmed, so this is about speed only.
const RESAMPLER_FRAMES: usize = 1024;

/// Averages the channels into one and resamples. Belongs to one input: it remembers the samples
/// that the resampler's filter still needs.
pub struct Converter {
    channels: usize,
    rate: Option<Rate>,
}

impl Converter {
    /// A converter of interleaved samples; `channels` is at least 1.
    pub fn new(rate_hz: u32, channels: usize) -> Result<Self> {
        Ok(Self {
            channels,
            rate: if rate_hz == SAMPLE_RATE_HZ {
                None
            } else {
                Some(Rate::new(rate_hz)?)
            },
        })
    }

    /// Converts the next whole frames and appends what is ready.
    pub fn push(&mut self, interleaved: &[f32], pcm: &mut Vec<f32>) -> Result<()> {
        let channels = self.channels;
        let mono = interleaved
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() / channels as f32);
        match &mut self.rate {
            None => {
                pcm.extend(mono);
                Ok(())
            }
            Some(rate) => {
                rate.waiting.extend(mono);
                rate.convert(pcm)
            }
        }
    }

    /// Appends what the resampler still holds: the output is then as long as the input.
    pub fn finish(&mut self, pcm: &mut Vec<f32>) -> Result<()> {
        self.rate.as_mut().map_or(Ok(()), |rate| rate.finish(pcm))
    }
}

/// The resampler and what it has taken and given.
struct Rate {
    from_hz: u32,
    fft: Fft<f32>,
    waiting: Vec<f32>,
    converted: Vec<f32>,
    taken: u64,
    given: u64,
    /// Samples of the resampler's delay that are still to be left out.
    delay: usize,
}

impl Rate {
    fn new(from_hz: u32) -> Result<Self> {
        let fft = Fft::new(
            from_hz as usize,
            SAMPLE_RATE_HZ as usize,
            RESAMPLER_FRAMES,
            1,
            FixedSync::Both,
        )
        .map_err(|cause| failed(from_hz, cause.into()))?;
        Ok(Self {
            from_hz,
            waiting: Vec::new(),
            converted: vec![0.0; fft.output_frames_max()],
            taken: 0,
            given: 0,
            delay: fft.output_delay(),
            fft,
        })
    }

    fn convert(&mut self, pcm: &mut Vec<f32>) -> Result<()> {
        let mut from = 0;
        loop {
            let frames = self.fft.input_frames_next();
            let Some(piece) = self.waiting.get(from..from + frames) else {
                break;
            };
            let room = self.converted.len();
            let input = InterleavedSlice::new(piece, 1, frames)
                .map_err(|e| failed(self.from_hz, e.into()))?;
            let mut output = InterleavedSlice::new_mut(&mut self.converted, 1, room)
                .map_err(|e| failed(self.from_hz, e.into()))?;
            let (_, made) = self
                .fft
                .process_into_buffer(&input, &mut output, None)
                .map_err(|e| failed(self.from_hz, e.into()))?;
            let late = self.delay.min(made);
            self.delay -= late;
            pcm.extend_from_slice(&self.converted[late..made]);
            self.given += (made - late) as u64;
            self.taken += frames as u64;
            from += frames;
        }
        self.waiting.drain(..from);
        Ok(())
    }

    fn finish(&mut self, pcm: &mut Vec<f32>) -> Result<()> {
        let taken = self.taken + self.waiting.len() as u64;
        let wanted = (taken * u64::from(SAMPLE_RATE_HZ)).div_ceil(u64::from(self.from_hz));
        while self.given < wanted {
            let frames = self.fft.input_frames_next();
            let padded = self.waiting.len().next_multiple_of(frames).max(frames);
            self.waiting.resize(padded, 0.0);
            self.convert(pcm)?;
        }
        let surplus = (self.given - wanted) as usize;
        pcm.truncate(pcm.len() - surplus);
        self.given = wanted;
        Ok(())
    }
}

fn failed(from_hz: u32, cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::new(
        ErrorKind::WorkerFailed,
        format!("cannot resample from {from_hz} to {SAMPLE_RATE_HZ} Hz"),
    )
    .caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(samples: &[f32], rate_hz: u32, pieces: usize) -> Vec<f32> {
        let mut converter = Converter::new(rate_hz, 1).unwrap();
        let mut pcm = Vec::new();
        for piece in samples.chunks(pieces) {
            converter.push(piece, &mut pcm).unwrap();
        }
        converter.finish(&mut pcm).unwrap();
        pcm
    }

    fn tone(rate_hz: u32, samples: usize) -> Vec<f32> {
        let step = 440.0 * std::f32::consts::TAU / rate_hz as f32;
        (0..samples).map(|at| (at as f32 * step).sin()).collect()
    }

    #[test]
    fn a_tone_survives_resampling_in_length_place_and_level() {
        let expected = tone(16_000, 16_000);
        for from_hz in [8_000_u32, 11_025, 22_050, 44_100, 48_000, 96_000] {
            let mono = converted(&tone(from_hz, from_hz as usize), from_hz, 999);
            assert_eq!(mono.len(), 16_000, "{from_hz}");
            let worst = (2_000..14_000)
                .map(|at| (mono[at] - expected[at]).abs())
                .fold(0.0, f32::max);
            // A shift by one sample of 16 kHz changes a 440 Hz tone by this much.
            let one_sample = 440.0 * std::f32::consts::TAU / 16_000.0;
            assert!(worst < one_sample, "{from_hz}: {worst}");
        }
    }

    #[test]
    fn the_size_of_the_pieces_changes_nothing() {
        for (from_hz, samples) in [(44_100, 50_001), (48_000, 7), (8_000, 1), (16_000, 333)] {
            let input = tone(from_hz, samples);
            let whole = converted(&input, from_hz, samples);
            for pieces in [1, 480, 4_097] {
                assert_eq!(converted(&input, from_hz, pieces), whole, "{from_hz}");
            }
        }
        assert!(converted(&[], 44_100, 1).is_empty());
    }
}
