//! PCM of any rate and channel count to 16 kHz mono. The only file that names the resampler.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::SAMPLE_RATE_HZ;
use crate::error::{Error, ErrorKind, Result};
use crate::opus::MAX_DURATION_S;

/// Frames the resampler takes at a time; its delay is trimmed, so this is about speed only.
const RESAMPLER_FRAMES: usize = 1024;

/// 30 dB over full scale: louder than any overshoot, and far below integers taken for floats.
const MAX_AMPLITUDE: f32 = 32.0;

/// Interleaved samples as the caller has them.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Nominally -1 to 1.
    F32(Vec<f32>),
    /// Full scale.
    I16(Vec<i16>),
}

/// Uncompressed audio as the caller has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcm {
    /// Interleaved by channel.
    pub samples: Samples,
    /// Frames a second.
    pub sample_rate_hz: u32,
    /// Channels, averaged into one.
    pub channels: usize,
}

impl Pcm {
    /// Lowest and highest sample rate that real sources have.
    pub const SAMPLE_RATES_HZ: std::ops::RangeInclusive<u32> = 4_000..=384_000;
    /// 7.1 surround.
    pub const MAX_CHANNELS: usize = 8;

    /// Checks what can be checked without reading the samples.
    pub fn validate(&self) -> Result<()> {
        if !Self::SAMPLE_RATES_HZ.contains(&self.sample_rate_hz) {
            return Err(Error::invalid_argument(format!(
                "sampleRate is {}; expected {} to {} Hz",
                self.sample_rate_hz,
                Self::SAMPLE_RATES_HZ.start(),
                Self::SAMPLE_RATES_HZ.end()
            )));
        }
        if !(1..=Self::MAX_CHANNELS).contains(&self.channels) {
            return Err(Error::invalid_argument(format!(
                "channels is {}; expected 1 to {}",
                self.channels,
                Self::MAX_CHANNELS
            )));
        }
        let len = self.len();
        if !len.is_multiple_of(self.channels) {
            return Err(Error::invalid_argument(format!(
                "pcm has {len} samples, which do not divide by {} interleaved channels",
                self.channels
            )));
        }
        if len / self.channels > MAX_DURATION_S * self.sample_rate_hz as usize {
            return Err(Error::invalid_argument(format!(
                "pcm lasts more than {MAX_DURATION_S} s; split it"
            )));
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match &self.samples {
            Samples::F32(samples) => samples.len(),
            Samples::I16(samples) => samples.len(),
        }
    }

    /// Converts to 16 kHz mono. A float that cannot be a sample fails with its index.
    pub fn into_mono_16k(self) -> Result<Vec<f32>> {
        self.validate()?;
        let interleaved = match self.samples {
            Samples::F32(samples) => check_range(samples)?,
            Samples::I16(samples) => samples
                .into_iter()
                .map(|sample| f32::from(sample) / 32768.0)
                .collect(),
        };
        let mono = downmix(interleaved, self.channels);
        if self.sample_rate_hz == SAMPLE_RATE_HZ || mono.is_empty() {
            return Ok(mono);
        }
        resample(&mono, self.sample_rate_hz)
    }
}

fn check_range(samples: Vec<f32>) -> Result<Vec<f32>> {
    // Written so that what is not a number is out of range too.
    let in_range = |sample: &f32| sample.abs() <= MAX_AMPLITUDE;
    match samples.iter().position(|sample| !in_range(sample)) {
        None => Ok(samples),
        Some(index) => Err(Error::invalid_argument(format!(
            "pcm[{index}] is {}; float samples are finite and nominally -1 to 1. Pass 16-bit \
             samples as an Int16Array, or divide them by 32768",
            samples[index]
        ))
        .at(index)),
    }
}

fn downmix(interleaved: Vec<f32>, channels: usize) -> Vec<f32> {
    if channels == 1 {
        return interleaved;
    }
    interleaved
        .chunks_exact(channels)
        .map(|frame| frame.iter().sum::<f32>() / channels as f32)
        .collect()
}

fn resample(mono: &[f32], from_hz: u32) -> Result<Vec<f32>> {
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(
            ErrorKind::WorkerFailed,
            format!("cannot resample from {from_hz} to {SAMPLE_RATE_HZ} Hz"),
        )
        .caused_by(cause)
    };
    let input = InterleavedSlice::new(mono, 1, mono.len()).map_err(|cause| failed(cause.into()))?;
    let resampled = Fft::<f32>::new(
        from_hz as usize,
        SAMPLE_RATE_HZ as usize,
        RESAMPLER_FRAMES,
        1,
        FixedSync::Both,
    )
    .map_err(|cause| failed(cause.into()))?
    .process_all(&input, mono.len(), None)
    .map_err(|cause| failed(cause.into()))?;
    Ok(resampled.take_data())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(samples: Samples, sample_rate_hz: u32, channels: usize) -> Pcm {
        Pcm {
            samples,
            sample_rate_hz,
            channels,
        }
    }

    #[test]
    fn bad_samples_are_named_by_index() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 12_000.0] {
            let samples = Samples::F32(vec![0.0, 0.5, bad, 0.0]);
            let error = pcm(samples, 16_000, 1).into_mono_16k().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert_eq!(error.index(), Some(2));
        }
    }

    #[test]
    fn bad_shapes_are_refused() {
        for (samples, rate, channels) in [(4, 0, 1), (4, 16_000, 0), (4, 16_000, 9), (3, 16_000, 2)]
        {
            let samples = Samples::I16(vec![0; samples]);
            assert!(pcm(samples, rate, channels).validate().is_err());
        }
    }

    #[test]
    fn channels_are_averaged_and_integers_scaled() {
        let samples = Samples::I16(vec![16384, 0, -32768, 32767]);
        let mono = pcm(samples, 16_000, 2).into_mono_16k().unwrap();
        assert!((mono[0] - 0.25).abs() < 1e-6);
        assert!(mono[1].abs() < 1e-4);
    }

    #[test]
    fn a_tone_survives_resampling_in_length_place_and_level() {
        for from_hz in [8_000_u32, 11_025, 22_050, 44_100, 48_000, 96_000] {
            let tone = |rate: u32, at: usize| {
                (at as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin()
            };
            let samples = (0..from_hz as usize).map(|at| tone(from_hz, at)).collect();
            let mono = pcm(Samples::F32(samples), from_hz, 1)
                .into_mono_16k()
                .unwrap();
            assert!(
                mono.len().abs_diff(16_000) <= 1,
                "{from_hz}: {}",
                mono.len()
            );
            let worst = (2_000..14_000)
                .map(|at| (mono[at] - tone(16_000, at)).abs())
                .fold(0.0, f32::max);
            // A shift by one sample of 16 kHz changes a 440 Hz tone by this much.
            let one_sample = 440.0 * std::f32::consts::TAU / 16_000.0;
            assert!(worst < one_sample, "{from_hz}: {worst}");
        }
    }
}
