//! What goes from stage to stage: the parts of a job, in order, and what bounds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::job::Ticket;
use super::stats::Stats;
use crate::audio::Report;
use crate::cancel::{Cancel, Cause};
use crate::error::Result;
use crate::options::Priority;
use crate::transcript::Timings;

/// Pieces of a job that may be on their way at once. A piece holds its credit until the last of its
/// windows is recognized, so the decoder of a long file waits for the slowest stage, and only for
/// its own job.
const PIECES_AHEAD: usize = 4;

/// Room a channel needs for each admitted job, so that handing on never waits: what may be on its
/// way, and the job's beginning and end.
pub(crate) const PARTS_PER_JOB: usize = PIECES_AHEAD + 2;

/// A right to have one piece on its way.
pub(crate) type Credit = OwnedSemaphorePermit;

/// One part of a job.
pub(crate) struct Message<Piece> {
    pub flow: Arc<Flow>,
    pub part: Part<Piece>,
}

/// A job begins, has any number of pieces, and ends.
pub(crate) enum Part<Piece> {
    /// The job itself. Whoever holds the ticket answers it.
    Begin(Box<Ticket>),
    Piece(Piece),
    /// Nothing follows: the input is at its end, or the stage before could not go on.
    End(Result<Summary>),
}

/// What the stages before have to say when the input is at its end.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub report: Report,
    pub input_samples: usize,
    pub timings: Timings,
}

/// What every part of a job shares.
pub(crate) struct Flow {
    pub key: u64,
    pub priority: Priority,
    pub cancel: Cancel,
    credit: Arc<Semaphore>,
    place: Place,
}

impl Flow {
    pub fn new(priority: Priority, cancel: Cancel, place: Place) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            priority,
            cancel,
            credit: Arc::new(Semaphore::new(PIECES_AHEAD)),
            place,
        })
    }

    /// Waits until another piece may go on its way; `None` when a later stage has given the job up.
    pub async fn credit(&self) -> Result<Option<Credit>, Cause> {
        tokio::select! {
            biased;
            cause = self.cancel.cancelled() => Err(cause),
            credit = Arc::clone(&self.credit).acquire_owned() => Ok(credit.ok()),
        }
    }

    /// Tells the stages before that no more pieces are wanted.
    pub fn stop(&self) {
        self.credit.close();
    }

    /// A stage works on the job as long as the result lives.
    pub fn work(&self) -> AtWork<'_> {
        if self.place.at_work.fetch_add(1, Ordering::Relaxed) == 0 {
            self.place.stats.begin();
        }
        AtWork(&self.place)
    }
}

/// One of the bounded number of places; free when the last part of the job is gone.
pub(crate) struct Place {
    stats: Arc<Stats>,
    /// Stages that work on the job at the moment.
    at_work: AtomicUsize,
}

impl Place {
    pub fn take(stats: &Arc<Stats>, limit: usize) -> Option<Self> {
        stats.admit(limit).then(|| Self {
            stats: Arc::clone(stats),
            at_work: AtomicUsize::new(0),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stats.leave();
    }
}

pub(crate) struct AtWork<'flow>(&'flow Place);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if self.0.at_work.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.stats.end();
        }
    }
}
