//! Who may come in: jobs and their bytes are counted, and each place comes back exactly once.
//!
//! Nothing but atomics, so that the thread that submits never waits. Every step is one atomic
//! update of one value; `loom/` runs them in every order.

#[cfg(loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed},
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed},
};

/// A job that was given up has left, but a stage that is busy may still hold what it left behind.
/// So many of those may be there beside the others: more than come in the time of one window, few
/// enough to hold.
#[cfg(not(loom))]
const MAX_LEFT_BEHIND: usize = 256;
#[cfg(loom)]
const MAX_LEFT_BEHIND: usize = 1;

/// The bounds of one engine, and how far they are used.
#[derive(Debug)]
pub(crate) struct Admission {
    max_jobs: usize,
    max_bytes: usize,
    /// Jobs that have a place.
    jobs: AtomicUsize,
    /// Those of them that no stage works on. Below zero for a moment, when a job is taken up or
    /// leaves before whoever let go of it has counted it in again.
    queued: AtomicIsize,
    /// Bytes of input of the jobs that have a place, as they were submitted.
    bytes: AtomicUsize,
    /// Jobs of which a part is still somewhere.
    present: AtomicUsize,
    /// Jobs that a stage works on, with a place or without.
    running: AtomicUsize,
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Jobs,
    /// So many bytes are too many.
    Bytes(usize),
    /// Jobs that were given up are still being cleared away.
    Leaving,
}

impl Admission {
    pub fn new(max_jobs: usize, max_bytes: usize) -> Self {
        Self {
            max_jobs,
            max_bytes,
            jobs: AtomicUsize::new(0),
            queued: AtomicIsize::new(0),
            bytes: AtomicUsize::new(0),
            present: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        }
    }

    /// Jobs that wait, jobs that are worked on, and the bytes of both.
    pub fn load(&self) -> Load {
        Load {
            queued: self.queued.load(Relaxed).max(0).unsigned_abs(),
            running: self.running.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }
}

/// How much an engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub queued: usize,
    pub running: usize,
    pub bytes: usize,
}

/// One of the places. Others can have it when the job is settled, or nothing of it is left,
/// whichever is first.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    bytes: usize,
    /// How many stages work on the job, and whether it has left.
    state: AtomicUsize,
}

const LEFT: usize = 1 << (usize::BITS - 1);
const AT_WORK: usize = LEFT - 1;

impl Place {
    /// Takes a place for a job that holds so many bytes. One that comes alone may have any size, and
    /// one that holds none always fits.
    pub fn take(admission: &Arc<Admission>, bytes: usize) -> Result<Self, Full> {
        let max_present = admission.max_jobs + MAX_LEFT_BEHIND;
        let one_more = |limit| move |count| (count < limit).then_some(count + 1);
        let fits = |held: usize| {
            let total = held.saturating_add(bytes);
            let fits = held == 0 || bytes == 0 || total <= admission.max_bytes;
            fits.then_some(total)
        };
        admission
            .present
            .fetch_update(Relaxed, Relaxed, one_more(max_present))
            .map_err(|_| Full::Leaving)?;
        if admission
            .jobs
            .fetch_update(Relaxed, Relaxed, one_more(admission.max_jobs))
            .is_err()
        {
            admission.present.fetch_sub(1, Relaxed);
            return Err(Full::Jobs);
        }
        if let Err(held) = admission.bytes.fetch_update(Relaxed, Relaxed, fits) {
            admission.jobs.fetch_sub(1, Relaxed);
            admission.present.fetch_sub(1, Relaxed);
            let excess = held
                .saturating_add(bytes)
                .saturating_sub(admission.max_bytes);
            return Err(Full::Bytes(excess));
        }
        admission.queued.fetch_add(1, Relaxed);
        Ok(Self {
            admission: Arc::clone(admission),
            bytes,
            state: AtomicUsize::new(0),
        })
    }

    /// A stage works on the job as long as the result lives.
    pub fn work(&self) -> AtWork<'_> {
        let before = self.state.fetch_add(1, Relaxed);
        if before & AT_WORK == 0 {
            self.admission.running.fetch_add(1, Relaxed);
        }
        if before == 0 {
            self.admission.queued.fetch_sub(1, Relaxed);
        }
        AtWork(self)
    }

    /// The job is settled, and others may come in. Does nothing the second time.
    pub fn leave(&self) {
        let before = self.state.fetch_or(LEFT, Relaxed);
        if before & LEFT == 0 {
            self.admission.bytes.fetch_sub(self.bytes, Relaxed);
            self.admission.jobs.fetch_sub(1, Relaxed);
        }
        if before == 0 {
            self.admission.queued.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
        self.admission.present.fetch_sub(1, Relaxed);
    }
}

pub(crate) struct AtWork<'place>(&'place Place);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let before = self.0.state.fetch_sub(1, Relaxed);
        if before & AT_WORK == 1 {
            self.0.admission.running.fetch_sub(1, Relaxed);
        }
        if before == 1 {
            self.0.admission.queued.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_bounded_and_places_come_back() {
        let admission = Arc::new(Admission::new(2, 100));
        let (one, two) = (
            Place::take(&admission, 1).unwrap(),
            Place::take(&admission, 1).unwrap(),
        );
        assert_eq!(Place::take(&admission, 1).unwrap_err(), Full::Jobs);
        assert_eq!(admission.load().queued, 2);
        drop(one);
        let _three = Place::take(&admission, 1).unwrap();
        drop(two);
        assert_eq!((admission.load().queued, admission.load().bytes), (1, 1));
    }

    #[test]
    fn bytes_are_bounded_but_a_job_alone_may_have_any_size() {
        let admission = Arc::new(Admission::new(8, 100));
        let large = Place::take(&admission, 1000).unwrap();
        assert_eq!(Place::take(&admission, 1).unwrap_err(), Full::Bytes(901));
        // What is read from a disk holds nothing.
        let _file = Place::take(&admission, 0).unwrap();
        drop(large);
        let _fits = Place::take(&admission, 100).unwrap();
        assert_eq!(admission.load().bytes, 100);
    }

    #[test]
    fn a_settled_job_leaves_at_once_whoever_works_on_it() {
        let admission = Arc::new(Admission::new(1, 100));
        let waiting = Place::take(&admission, 7).unwrap();
        waiting.leave();
        waiting.leave();
        assert_eq!((admission.load().queued, admission.load().bytes), (0, 0));

        let running = Place::take(&admission, 7).unwrap();
        let (first, second) = (running.work(), running.work());
        assert_eq!((admission.load().queued, admission.load().running), (0, 1));
        drop(first);
        running.leave();
        let _next = Place::take(&admission, 7).unwrap();
        assert_eq!((admission.load().queued, admission.load().running), (1, 1));
        drop(second);
        assert_eq!((admission.load().queued, admission.load().running), (1, 0));
    }

    #[test]
    fn a_job_between_two_stages_is_queued() {
        let admission = Arc::new(Admission::new(1, 100));
        let place = Place::take(&admission, 7).unwrap();
        drop(place.work());
        assert_eq!((admission.load().queued, admission.load().running), (1, 0));
        drop(place.work());
        drop(place);
        assert_eq!((admission.load().queued, admission.load().running), (0, 0));
    }

    #[test]
    fn what_is_left_behind_is_bounded_too() {
        let admission = Arc::new(Admission::new(1, 100));
        let mut left_behind: Vec<_> = (0..=MAX_LEFT_BEHIND)
            .map(|_| {
                let place = Place::take(&admission, 1).unwrap();
                place.leave();
                place
            })
            .collect();
        assert_eq!(Place::take(&admission, 1).unwrap_err(), Full::Leaving);
        left_behind.pop();
        Place::take(&admission, 1).unwrap();
    }
}
