//! Audio as the models want it: 16 kHz, one channel, 32-bit float.

mod pcm;
mod timeline;

pub use pcm::{Pcm, Samples};
pub use timeline::Timeline;

/// Sample rate of Whisper and of the Silero model used here.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// A sample count at 16 kHz as milliseconds.
#[must_use]
pub fn samples_to_ms(samples: usize) -> f64 {
    samples as f64 * 1000.0 / f64::from(SAMPLE_RATE_HZ)
}
