//! What goes from stage to stage: the parts of a job, in order, and what bounds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::{self, Place};
use super::job::Ticket;
use super::stream::Lag;
use crate::audio::Report;
use crate::cancel::{Cancel, Cause};
use crate::error::Result;
use crate::log::{self, JobScope};
use crate::options::Priority;
use crate::transcript::Timings;

/// Pieces of a job that may be on their way at once. A piece holds its credit until the last of its
/// windows is recognized, so the decoder of a long file waits for the slowest stage, and only for
/// its own job.
const PIECES_AHEAD: usize = 4;

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
#[derive(Default)]
pub(crate) struct Summary {
    pub report: Report,
    pub input_samples: usize,
    pub timings: Timings,
    /// Since when the answer is waited for, if not since the job was submitted: the end of an
    /// utterance.
    pub asked: Option<Instant>,
    /// Of a stream: let go of when the answer has been told, so that whoever waits for one never
    /// finds nothing to wait for before it is there.
    pub lag: Option<Lag>,
}

/// What every part of a job shares.
pub(crate) struct Flow {
    /// Its number in the order of submission.
    pub key: u64,
    pub id: Arc<str>,
    pub priority: Priority,
    pub cancel: Cancel,
    credit: Arc<Semaphore>,
    /// None for a stream and its utterances, which are let in for good.
    place: Option<Place>,
}

impl Flow {
    pub fn new(
        id: Arc<str>,
        priority: Priority,
        cancel: Cancel,
        place: Option<Place>,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            id,
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

    /// The job is settled: its place is free, whatever is still held of it.
    pub fn leave(&self) {
        if let Some(place) = &self.place {
            place.leave();
        }
    }

    /// This thread works on the job as long as the result lives, and logs in its name.
    pub fn work(&self) -> AtWork<'_> {
        AtWork {
            _place: self.place.as_ref().map(Place::work),
            _log: log::job(&self.id),
        }
    }
}

pub(crate) struct AtWork<'flow> {
    _place: Option<admission::AtWork<'flow>>,
    _log: JobScope,
}
