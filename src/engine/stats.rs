//! Counters that any thread may bump and any thread may read without waiting.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::admission::{Full, Load};
use super::times::{TimeQuantiles, Times};
use crate::error::{Error, ErrorKind, Result};
use crate::transcript::Transcript;

/// A snapshot of what an engine has done and is doing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StatsSnapshot {
    /// Jobs admitted that no stage works on at the moment.
    pub queued: usize,
    /// Jobs that a stage works on at the moment.
    pub running: usize,
    /// Bytes of input that the admitted jobs hold.
    pub queued_bytes: usize,
    /// Jobs answered with a transcript.
    pub completed: u64,
    /// Jobs answered with an error, by code; kinds that never occurred are left out.
    pub failed: Vec<(ErrorKind, u64)>,
    /// Audio decoded or converted.
    pub audio_ms: f64,
    /// Time spent in decoding, VAD and inference, each added up over the jobs.
    pub decode_ms: f64,
    /// See `decode_ms`.
    pub vad_ms: f64,
    /// See `decode_ms`.
    pub inference_ms: f64,
    /// Where the time of the completed jobs went.
    pub times: TimeQuantiles,
    /// Stages that failed and were rebuilt.
    pub restarts: usize,
    /// Whether the CPU has taken the place of a GPU.
    pub fell_back: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Stats {
    completed: AtomicU64,
    failed: [AtomicU64; ErrorKind::ALL.len()],
    audio_us: AtomicU64,
    decode_us: AtomicU64,
    vad_us: AtomicU64,
    inference_us: AtomicU64,
    times: Times,
    ms_per_job: MovingMean,
    ms_per_byte: MovingMean,
    restarts: AtomicUsize,
    fell_back: AtomicBool,
}

/// Retry hint before the first job has shown how long one takes.
const FIRST_RETRY_MS: f64 = 1000.0;

impl Stats {
    /// A job was answered. `held_bytes` of input go with it.
    pub fn settled(&self, result: Result<&Transcript, &Error>, held_bytes: usize) {
        match result {
            Err(error) => {
                let index = ErrorKind::ALL.iter().position(|kind| *kind == error.kind());
                self.failed[index.unwrap_or(0)].fetch_add(1, Relaxed);
            }
            Ok(Transcript { timings, .. }) => {
                self.completed.fetch_add(1, Relaxed);
                self.times.add(timings);
                let busy_ms = timings.decode_ms + timings.vad_ms + timings.inference_ms;
                self.ms_per_job.add(busy_ms);
                if held_bytes > 0 {
                    self.ms_per_byte.add(busy_ms / held_bytes as f64);
                }
            }
        }
    }

    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// Whether what recognized is not what was loaded first.
    pub fn ran_elsewhere(&self, elsewhere: bool) {
        self.fell_back.store(elsewhere, Relaxed);
    }

    pub fn decoded(&self, audio_ms: f64) {
        add(&self.audio_us, audio_ms);
    }

    pub fn decoding_took(&self, took_ms: f64) {
        add(&self.decode_us, took_ms);
    }

    pub fn detected(&self, took_ms: f64) {
        add(&self.vad_us, took_ms);
    }

    pub fn recognized(&self, took_ms: f64) {
        add(&self.inference_us, took_ms);
    }

    /// When there should be room: at the pace of the last jobs, of which so many run at once, for one
    /// to end, or for so many bytes to go.
    pub fn retry_after_ms(&self, full: Full, at_once: usize) -> u32 {
        let job_ms = self.ms_per_job.get().unwrap_or(FIRST_RETRY_MS);
        let ms = match full {
            Full::Jobs | Full::Leaving => job_ms,
            Full::Bytes(excess) => self
                .ms_per_byte
                .get()
                .map_or(job_ms, |ms_per_byte| ms_per_byte * excess as f64),
        };
        (ms / at_once as f64).clamp(10.0, 600_000.0) as u32
    }

    pub fn snapshot(&self, load: Load) -> StatsSnapshot {
        StatsSnapshot {
            queued: load.queued,
            running: load.running,
            queued_bytes: load.bytes,
            completed: self.completed.load(Relaxed),
            failed: ErrorKind::ALL
                .iter()
                .zip(&self.failed)
                .map(|(kind, count)| (*kind, count.load(Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            audio_ms: read(&self.audio_us),
            decode_ms: read(&self.decode_us),
            vad_ms: read(&self.vad_us),
            inference_ms: read(&self.inference_us),
            times: self.times.quantiles(),
            restarts: self.restarts.load(Relaxed),
            fell_back: self.fell_back.load(Relaxed),
        }
    }
}

fn add(counter_us: &AtomicU64, ms: f64) {
    counter_us.fetch_add((ms * 1000.0) as u64, Relaxed);
}

fn read(counter_us: &AtomicU64) -> f64 {
    counter_us.load(Relaxed) as f64 / 1000.0
}

/// A mean in which old values fade; the bits of an `f64`, 0 before the first value.
#[derive(Debug, Default)]
struct MovingMean(AtomicU64);

impl MovingMean {
    /// The last ten or so count.
    const WEIGHT: f64 = 0.1;

    fn add(&self, value: f64) {
        // Always succeeds: the closure always gives a value.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |bits| {
            let mean = f64::from_bits(bits);
            let next = if bits == 0 {
                value
            } else {
                mean + (value - mean) * Self::WEIGHT
            };
            Some(next.to_bits())
        });
    }

    fn get(&self) -> Option<f64> {
        let bits = self.0.load(Relaxed);
        (bits != 0).then(|| f64::from_bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Timings;

    const IDLE: Load = Load {
        queued: 0,
        running: 0,
        bytes: 0,
    };

    fn took(inference_ms: f64) -> Transcript {
        Transcript {
            timings: Timings {
                inference_ms,
                ..Timings::default()
            },
            ..Transcript::default()
        }
    }

    #[test]
    fn failures_are_counted_by_kind() {
        let stats = Stats::default();
        stats.settled(Ok(&took(1.0)), 0);
        for _ in 0..2 {
            stats.settled(Err(&Error::new(ErrorKind::Timeout, "")), 0);
        }
        let snapshot = stats.snapshot(IDLE);
        assert_eq!(snapshot.completed, 1);
        assert_eq!(snapshot.failed, [(ErrorKind::Timeout, 2)]);
    }

    #[test]
    fn when_to_try_again_follows_the_pace_of_the_last_jobs() {
        let stats = Stats::default();
        assert_eq!(stats.retry_after_ms(Full::Jobs, 1), FIRST_RETRY_MS as u32);
        stats.settled(Ok(&took(200.0)), 1000);
        assert_eq!(stats.retry_after_ms(Full::Jobs, 1), 200);
        assert_eq!(stats.retry_after_ms(Full::Bytes(5000), 1), 1000);
        assert_eq!(stats.retry_after_ms(Full::Bytes(5000), 4), 250);
        for _ in 0..100 {
            stats.settled(Ok(&took(800.0)), 1000);
        }
        let later = stats.retry_after_ms(Full::Jobs, 1);
        assert!((790..=800).contains(&later), "{later}");
    }
}
