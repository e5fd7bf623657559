//! How much of a stream waits: what has been written and is not heard yet, and what has been said
//! and has no text yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{StreamEvent, StreamSink};
use crate::audio::SAMPLE_RATE_HZ;

/// Above this the writer is asked to wait.
const MAX_LAG_SAMPLES: usize = 30 * SAMPLE_RATE_HZ as usize;

/// The samples of one stream that wait.
pub(crate) struct Gauge {
    samples: AtomicUsize,
    events: StreamSink,
}

impl Gauge {
    pub fn new(events: StreamSink) -> Arc<Self> {
        Arc::new(Self {
            samples: AtomicUsize::new(0),
            events,
        })
    }

    pub fn samples(&self) -> usize {
        self.samples.load(Relaxed)
    }

    /// Whether more may be written.
    pub fn has_room(&self) -> bool {
        self.samples() <= MAX_LAG_SAMPLES
    }
}

/// So many samples wait, as long as it lives.
pub(crate) struct Lag {
    gauge: Arc<Gauge>,
    samples: usize,
}

impl Lag {
    pub fn new(gauge: &Arc<Gauge>, samples: usize) -> Self {
        gauge.samples.fetch_add(samples, Relaxed);
        Self {
            gauge: Arc::clone(gauge),
            samples,
        }
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        let before = self.gauge.samples.fetch_sub(self.samples, Relaxed);
        let after = before - self.samples;
        // One of those that let go crosses the bound, so that it is told once.
        if before > MAX_LAG_SAMPLES && after <= MAX_LAG_SAMPLES {
            (self.gauge.events)(StreamEvent::Ready);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;

    #[test]
    fn the_writer_is_told_once_each_time_that_there_is_room_again() {
        let (told, ready) = unbounded();
        let gauge = Gauge::new(Arc::new(move |event| {
            assert!(matches!(event, StreamEvent::Ready));
            told.send(()).unwrap();
        }));
        let small = Lag::new(&gauge, 10);
        assert!(gauge.has_room());
        let large = Lag::new(&gauge, MAX_LAG_SAMPLES);
        let another = Lag::new(&gauge, MAX_LAG_SAMPLES);
        assert!(!gauge.has_room());
        drop(another);
        assert!(!gauge.has_room() && ready.is_empty());
        drop(small);
        assert!(gauge.has_room() && ready.len() == 1);
        drop(large);
        assert_eq!((gauge.samples(), ready.len()), (0, 1));
    }
}
