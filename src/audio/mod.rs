//! Audio as the models want it: 16 kHz, one channel, 32-bit float.

mod pcm;
mod resample;
mod timeline;

pub use pcm::{Pcm, Samples};
pub use resample::Converter;
pub use timeline::Timeline;

use crate::error::{Error, Result};
use crate::transcript::PacketCounts;

/// Sample rate of Whisper and of the Silero model used here.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// An input that is read piece by piece, so that its length costs no memory. It belongs to one job.
pub trait Source: Send {
    /// Appends the next samples, 16 kHz mono; false when nothing follows.
    fn read(&mut self, pcm: &mut Vec<f32>) -> Result<bool>;

    /// Share of the input that lies behind, 0 to 1, never falling.
    fn share(&self) -> f64;

    /// What there is to say about the input, when all of it has been read.
    fn report(&mut self) -> Report;
}

/// What is known of an input besides its audio.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// What became of the packets, for Opus.
    pub packets: Option<PacketCounts>,
    /// What was missing or damaged, in words.
    pub warnings: Vec<String>,
}

/// A sample count at 16 kHz as milliseconds.
#[must_use]
pub fn samples_to_ms(samples: usize) -> f64 {
    samples as f64 * 1000.0 / f64::from(SAMPLE_RATE_HZ)
}

/// Milliseconds as a sample count at 16 kHz, rounded down.
#[must_use]
pub fn ms_to_samples(ms: f64) -> usize {
    (ms * f64::from(SAMPLE_RATE_HZ) / 1000.0) as usize
}

/// The longest input that is taken, in samples at 16 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxDuration(usize);

impl MaxDuration {
    /// A limit in milliseconds.
    #[must_use]
    pub fn from_ms(ms: f64) -> Self {
        Self((ms * f64::from(SAMPLE_RATE_HZ) / 1000.0) as usize)
    }

    /// Fails when `samples` are more; `what` ends the sentence that says where to split.
    pub fn check(self, samples: usize, what: impl FnOnce() -> String) -> Result<()> {
        if samples <= self.0 {
            return Ok(());
        }
        Err(Error::invalid_argument(format!(
            "the input lasts more than {} s; split it{}, or raise maxDurationMs",
            samples_to_ms(self.0) / 1000.0,
            what()
        )))
    }
}
