//! How long jobs take, as histograms that any thread may add to and read without waiting. The only
//! file that names `histogram`.

use histogram::AtomicHistogram32;

use crate::transcript::Timings;

/// Sixteen buckets for each doubling: a quantile is off by 3 % at most.
const GROUPING_POWER: u8 = 4;
/// In microseconds, 13 days.
const MAX_VALUE_POWER: u8 = 40;

/// Times in milliseconds that 50, 95 and 99 % of the completed jobs stayed under; 0 without any.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
}

/// The same parts that a transcript's timings have.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TimeQuantiles {
    /// From the call until decoding began.
    pub queue: Quantiles,
    /// Decoding and resampling.
    pub decode: Quantiles,
    /// Voice activity detection.
    pub vad: Quantiles,
    /// Waiting between the stages.
    pub wait: Quantiles,
    /// Whisper.
    pub inference: Quantiles,
    /// From the call to the result.
    pub total: Quantiles,
}

#[derive(Debug, Default)]
pub(crate) struct Times {
    queue: Histogram,
    decode: Histogram,
    vad: Histogram,
    wait: Histogram,
    inference: Histogram,
    total: Histogram,
}

impl Times {
    pub fn add(&self, timings: &Timings) {
        self.queue.add(timings.queue_ms);
        self.decode.add(timings.decode_ms);
        self.vad.add(timings.vad_ms);
        self.wait.add(timings.wait_ms);
        self.inference.add(timings.inference_ms);
        self.total.add(timings.total_ms);
    }

    pub fn quantiles(&self) -> TimeQuantiles {
        TimeQuantiles {
            queue: self.queue.quantiles(),
            decode: self.decode.quantiles(),
            vad: self.vad.quantiles(),
            wait: self.wait.quantiles(),
            inference: self.inference.quantiles(),
            total: self.total.quantiles(),
        }
    }
}

#[derive(Debug)]
struct Histogram(AtomicHistogram32);

impl Default for Histogram {
    #[allow(clippy::expect_used)] // The two powers are constants, and in the crate's range.
    fn default() -> Self {
        let new = AtomicHistogram32::new(GROUPING_POWER, MAX_VALUE_POWER);
        Self(new.expect("the constants are in range"))
    }
}

impl Histogram {
    fn add(&self, ms: f64) {
        let us = ((ms * 1000.0) as u64).min((1 << MAX_VALUE_POWER) - 1);
        // Below the largest value, so that it has a bucket.
        let _ = self.0.increment(us);
    }

    fn quantiles(&self) -> Quantiles {
        let mut found = [None, None, None];
        // Three valid quantiles and room for three.
        let _ = self
            .0
            .load()
            .quantile_buckets_into(&[0.5, 0.95, 0.99], &mut found);
        let [p50, p95, p99] = found.map(|bucket| {
            bucket.map_or(0.0, |bucket| {
                (bucket.start() as f64 + bucket.end() as f64) / 2000.0
            })
        });
        Quantiles { p50, p95, p99 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_times_to_the_width_of_a_bucket() {
        let times = Times::default();
        assert_eq!(times.quantiles(), TimeQuantiles::default());
        for ms in 1..=1000 {
            times.add(&Timings {
                inference_ms: f64::from(ms),
                total_ms: f64::MAX,
                ..Timings::default()
            });
        }
        let quantiles = times.quantiles();
        for (found, expected) in [
            (quantiles.inference.p50, 500.0),
            (quantiles.inference.p95, 950.0),
            (quantiles.inference.p99, 990.0),
        ] {
            assert!((found / expected - 1.0).abs() < 0.035, "{found}");
        }
        assert!(quantiles.queue.p99 < 0.001);
        assert!(quantiles.total.p50 > 1e9);
    }
}
