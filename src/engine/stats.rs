//! Counters that any thread may bump and any thread may read without waiting.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::error::{Error, ErrorKind};

/// A snapshot of what an engine has done and is doing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StatsSnapshot {
    /// Jobs admitted that no stage works on at the moment.
    pub queued: usize,
    /// Jobs that a stage works on at the moment.
    pub running: usize,
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
    /// Stages that failed and were rebuilt.
    pub restarts: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Stats {
    admitted: AtomicUsize,
    running: AtomicUsize,
    completed: AtomicU64,
    failed: [AtomicU64; ErrorKind::ALL.len()],
    audio_us: AtomicU64,
    decode_us: AtomicU64,
    vad_us: AtomicU64,
    inference_us: AtomicU64,
    restarts: AtomicUsize,
}

/// Retry hint before the first job has shown how long one takes.
const FIRST_RETRY_MS: f64 = 1000.0;

impl Stats {
    /// Takes one of `limit` places; atomic, so that the limit holds whoever asks at once.
    pub fn admit(&self, limit: usize) -> bool {
        self.admitted
            .fetch_update(Relaxed, Relaxed, |admitted| {
                (admitted < limit).then_some(admitted + 1)
            })
            .is_ok()
    }

    pub fn leave(&self) {
        self.admitted.fetch_sub(1, Relaxed);
    }

    pub fn begin(&self) {
        self.running.fetch_add(1, Relaxed);
    }

    pub fn end(&self) {
        self.running.fetch_sub(1, Relaxed);
    }

    pub fn settled(&self, error: Option<&Error>) {
        match error {
            None => self.completed.fetch_add(1, Relaxed),
            Some(error) => {
                let index = ErrorKind::ALL.iter().position(|kind| *kind == error.kind());
                self.failed[index.unwrap_or(0)].fetch_add(1, Relaxed)
            }
        };
    }

    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
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

    /// A place comes free when a job ends: about as long as a job has taken so far.
    pub fn retry_after_ms(&self) -> u32 {
        let completed = self.completed.load(Relaxed);
        let mean = if completed == 0 {
            FIRST_RETRY_MS
        } else {
            (load(&self.inference_us) + load(&self.vad_us)) / completed as f64
        };
        mean.clamp(10.0, 60_000.0) as u32
    }

    pub fn snapshot(&self) -> StatsSnapshot {
        let running = self.running.load(Relaxed);
        StatsSnapshot {
            queued: self.admitted.load(Relaxed).saturating_sub(running),
            running,
            completed: self.completed.load(Relaxed),
            failed: ErrorKind::ALL
                .iter()
                .zip(&self.failed)
                .map(|(kind, count)| (*kind, count.load(Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            audio_ms: load(&self.audio_us),
            decode_ms: load(&self.decode_us),
            vad_ms: load(&self.vad_us),
            inference_ms: load(&self.inference_us),
            restarts: self.restarts.load(Relaxed),
        }
    }
}

fn add(counter_us: &AtomicU64, ms: f64) {
    counter_us.fetch_add((ms * 1000.0) as u64, Relaxed);
}

fn load(counter_us: &AtomicU64) -> f64 {
    counter_us.load(Relaxed) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_is_bounded_and_places_come_back() {
        let stats = Stats::default();
        assert!(stats.admit(2) && stats.admit(2));
        assert!(!stats.admit(2));
        stats.leave();
        assert!(stats.admit(2));
        assert_eq!(stats.snapshot().queued, 2);
    }

    #[test]
    fn failures_are_counted_by_kind() {
        let stats = Stats::default();
        stats.settled(None);
        stats.settled(Some(&Error::new(ErrorKind::Timeout, "")));
        stats.settled(Some(&Error::new(ErrorKind::Timeout, "")));
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.completed, 1);
        assert_eq!(snapshot.failed, [(ErrorKind::Timeout, 2)]);
    }
}
