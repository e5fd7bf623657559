//! PCM as a caller passes it: any rate and channel count, checked before it is converted.

use super::{Converter, MaxDuration, Report, SAMPLE_RATE_HZ, Source};
use crate::error::{Error, Result};

/// Samples converted in one go: about a second.
const STEP_FRAMES: usize = 48_000;

/// Interleaved samples as the caller has them.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Nominally -1 to 1.
    F32(Vec<f32>),
    /// Full scale.
    I16(Vec<i16>),
}

impl Samples {
    /// Memory that the samples take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::F32(samples) => size_of_val(samples.as_slice()),
            Self::I16(samples) => size_of_val(samples.as_slice()),
        }
    }
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
    /// 30 dB over full scale: louder than any overshoot, and far below integers taken for floats.
    pub const MAX_AMPLITUDE: f32 = 32.0;

    /// Checks what can be checked without reading the samples.
    pub fn validate(&self) -> Result<()> {
        Self::check_format(self.sample_rate_hz, self.channels)?;
        let len = self.len();
        if !len.is_multiple_of(self.channels) {
            return Err(Error::invalid_argument(format!(
                "pcm has {len} samples, which do not divide by {} interleaved channels",
                self.channels
            )));
        }
        Ok(())
    }

    /// Fails for a rate or a number of channels that no real source has.
    pub fn check_format(sample_rate_hz: u32, channels: usize) -> Result<()> {
        if !Self::SAMPLE_RATES_HZ.contains(&sample_rate_hz) {
            return Err(Error::invalid_argument(format!(
                "sampleRate is {}; expected {} to {} Hz",
                sample_rate_hz,
                Self::SAMPLE_RATES_HZ.start(),
                Self::SAMPLE_RATES_HZ.end()
            )));
        }
        if !(1..=Self::MAX_CHANNELS).contains(&channels) {
            return Err(Error::invalid_argument(format!(
                "channels is {}; expected 1 to {}",
                channels,
                Self::MAX_CHANNELS
            )));
        }
        Ok(())
    }

    /// Fails at the first float that cannot be a sample; `before` samples went before these.
    pub fn check_floats(samples: &[f32], before: usize) -> Result<()> {
        // Written so that what is not a number is out of range too.
        let in_range = |sample: &f32| sample.abs() <= Self::MAX_AMPLITUDE;
        match samples.iter().position(|sample| !in_range(sample)) {
            None => Ok(()),
            Some(at) => Err(Error::invalid_argument(format!(
                "pcm[{}] is {}; float samples are finite and nominally -1 to 1. Pass 16-bit \
                 samples as an Int16Array, or divide them by 32768",
                before + at,
                samples[at]
            ))
            .at(before + at)),
        }
    }

    fn len(&self) -> usize {
        match &self.samples {
            Samples::F32(samples) => samples.len(),
            Samples::I16(samples) => samples.len(),
        }
    }

    /// The samples as 16 kHz mono, piece by piece. A float that cannot be a sample fails here, with
    /// its index, and so does an input of more than `max`.
    pub fn open(self, max: MaxDuration) -> Result<PcmSource> {
        self.validate()?;
        let frames = self.len() / self.channels;
        let samples = frames as u64 * u64::from(SAMPLE_RATE_HZ) / u64::from(self.sample_rate_hz);
        max.check(samples as usize, String::new)?;
        if let Samples::F32(samples) = &self.samples {
            Self::check_floats(samples, 0)?;
        }
        Ok(PcmSource {
            converter: Converter::new(self.sample_rate_hz, self.channels)?,
            pcm: self,
            at: 0,
            integers: Vec::new(),
        })
    }
}

/// Reads [`Pcm`].
pub struct PcmSource {
    pcm: Pcm,
    converter: Converter,
    /// Samples that lie behind.
    at: usize,
    /// Integers on their way to be floats.
    integers: Vec<f32>,
}

impl Source for PcmSource {
    fn read(&mut self, pcm: &mut Vec<f32>) -> Result<bool> {
        let len = self.pcm.len();
        let step = self.at..len.min(self.at + STEP_FRAMES * self.pcm.channels);
        self.at = step.end;
        match &self.pcm.samples {
            Samples::F32(samples) => self.converter.push(&samples[step], pcm)?,
            Samples::I16(samples) => {
                let scaled = samples[step].iter().map(|s| f32::from(*s) / 32768.0);
                self.integers.clear();
                self.integers.extend(scaled);
                self.converter.push(&self.integers, pcm)?;
            }
        }
        if self.at < len {
            return Ok(true);
        }
        self.converter.finish(pcm)?;
        Ok(false)
    }

    fn share(&self) -> f64 {
        self.at as f64 / self.pcm.len().max(1) as f64
    }

    fn report(&mut self) -> Report {
        Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn pcm(samples: Samples, sample_rate_hz: u32, channels: usize) -> Pcm {
        Pcm {
            samples,
            sample_rate_hz,
            channels,
        }
    }

    fn read(pcm: Pcm) -> Result<Vec<f32>> {
        let mut source = pcm.open(MaxDuration::from_ms(60_000.0))?;
        let mut mono = Vec::new();
        while source.read(&mut mono)? {}
        Ok(mono)
    }

    #[test]
    fn bad_samples_are_named_by_index() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 12_000.0] {
            let samples = Samples::F32(vec![0.0, 0.5, bad, 0.0]);
            let error = read(pcm(samples, 16_000, 1)).unwrap_err();
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
        let minute_and_more = Samples::I16(vec![0; 8_000 * 61]);
        assert!(read(pcm(minute_and_more, 8_000, 1)).is_err());
    }

    #[test]
    fn channels_are_averaged_and_integers_scaled() {
        let samples = Samples::I16(vec![16384, 0, -32768, 32767]);
        let mono = read(pcm(samples, 16_000, 2)).unwrap();
        assert!((mono[0] - 0.25).abs() < 1e-6);
        assert!(mono[1].abs() < 1e-4);
    }

    #[test]
    fn a_long_input_comes_in_pieces_and_whole() {
        let samples: Vec<f32> = (0..150_001).map(|at| (at % 100) as f32 / 100.0).collect();
        let mut source = pcm(Samples::F32(samples.clone()), 16_000, 1)
            .open(MaxDuration::from_ms(60_000.0))
            .unwrap();
        let mut mono = Vec::new();
        assert!(source.read(&mut mono).unwrap() && source.share() < 1.0);
        while source.read(&mut mono).unwrap() {}
        assert_eq!(mono, samples);
        assert!((source.share() - 1.0).abs() < 1e-12);
        assert!(
            read(pcm(Samples::F32(vec![]), 48_000, 2))
                .unwrap()
                .is_empty()
        );
    }
}
