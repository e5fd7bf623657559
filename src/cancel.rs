//! Giving up: one flag per job, read at every boundary and inside Whisper's abort callback.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};

/// Why a computation is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The caller gave the job up.
    Aborted,
    /// The job's deadline passed.
    Timeout,
    /// The engine is closing and was not asked to drain.
    Closed,
    /// The engine closed itself, because a stage kept failing, and this is why.
    Failed(Arc<str>),
}

impl Cause {
    /// The error that the job is answered with.
    #[must_use]
    pub fn error(self) -> Error {
        match self {
            Self::Aborted => Error::new(ErrorKind::Aborted, "the job was aborted"),
            Self::Timeout => Error::new(
                ErrorKind::Timeout,
                "the job ran out of time and was stopped; waiting counts, so allow for the queue",
            ),
            Self::Closed => Error::new(
                ErrorKind::Closed,
                "the transcriber was closed before the job was done",
            ),
            Self::Failed(why) => Error::new(
                ErrorKind::WorkerFailed,
                format!("the transcriber closed itself before the job was done: {why}"),
            ),
        }
    }
}

/// A flag that is raised once, by anyone, and can be read without waiting or awaited.
#[derive(Debug, Default)]
struct Flag {
    raised: AtomicU8,
    notify: Notify,
}

impl Flag {
    fn raise(&self) {
        self.raised.store(1, Ordering::Release);
        self.notify.notify_waiters();
    }

    fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire) != 0
    }

    async fn wait(&self) {
        // Registered before the look, or a raise between the two would be slept through.
        let notified = self.notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_raised() {
            notified.await;
        }
    }
}

/// Stops every job of one engine at once.
#[derive(Debug, Clone, Default)]
pub struct CancelAll(Arc<All>);

#[derive(Debug, Default)]
struct All {
    flag: Flag,
    failure: OnceLock<Arc<str>>,
}

impl CancelAll {
    /// Stops every job, those to come included.
    pub fn cancel(&self) {
        self.0.flag.raise();
    }

    /// The same, because the engine cannot go on.
    pub fn fail(&self, why: String) {
        // The first failure is the one that counts.
        let _ = self.0.failure.set(why.into());
        self.0.flag.raise();
    }

    /// Why every job is stopped, if it is.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.0.flag.is_raised().then(|| {
            let failure = self.0.failure.get().cloned();
            failure.map_or(Cause::Closed, Cause::Failed)
        })
    }

    /// Completes when every job is stopped.
    pub async fn cancelled(&self) -> Cause {
        self.0.flag.wait().await;
        self.cause().unwrap_or(Cause::Closed)
    }
}

/// Stops one job. Clones are the same flag.
#[derive(Debug, Clone)]
pub struct Cancel {
    job: Arc<Flag>,
    /// Of what this is a part.
    whole: Option<Arc<Cancel>>,
    /// Given up when the count is no longer this.
    more: Option<(Arc<AtomicUsize>, usize)>,
    all: CancelAll,
    deadline: Option<Instant>,
}

impl Cancel {
    /// A flag for one job of the engine that `all` belongs to.
    #[must_use]
    pub fn new(all: &CancelAll, deadline: Option<Instant>) -> Self {
        Self {
            job: Arc::default(),
            whole: None,
            more: None,
            all: all.clone(),
            deadline,
        }
    }

    /// A flag that nobody else holds, for work that cannot be given up.
    #[must_use]
    pub fn never() -> Self {
        Self::new(&CancelAll::default(), None)
    }

    /// A flag for a part of the job, which is given up with it or alone.
    #[must_use]
    pub fn part(&self) -> Self {
        Self {
            job: Arc::default(),
            whole: Some(Arc::new(self.clone())),
            more: None,
            all: self.all.clone(),
            deadline: self.deadline,
        }
    }

    /// The same flag, which is also raised as soon as `count` is not `known`. Nobody waits for it: it
    /// is read alone.
    #[must_use]
    pub fn until_more(&self, count: &Arc<AtomicUsize>, known: usize) -> Self {
        Self {
            more: Some((Arc::clone(count), known)),
            ..self.clone()
        }
    }

    /// Gives the job up.
    pub fn abort(&self) {
        self.job.raise();
    }

    fn is_aborted(&self) -> bool {
        let more = self.more.as_ref();
        more.is_some_and(|(count, known)| count.load(Ordering::Acquire) != *known)
            || self.job.is_raised()
            || self.whole.as_ref().is_some_and(|whole| whole.is_aborted())
    }

    /// Why to stop, if at all. A few atomic reads and, with a deadline, one look at the clock.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        if self.is_aborted() {
            return Some(Cause::Aborted);
        }
        self.all.cause().or_else(|| {
            let late = self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline);
            late.then_some(Cause::Timeout)
        })
    }

    /// Fails when the job was given up: the `?` at every boundary.
    pub fn check(&self) -> Result<()> {
        self.cause().map_or(Ok(()), |cause| Err(cause.error()))
    }

    /// Completes when the job is given up, whoever holds it and wherever it waits.
    pub async fn cancelled(&self) -> Cause {
        let timeout = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let whole = async {
            match &self.whole {
                Some(whole) => Box::pin(whole.cancelled()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.job.wait() => Cause::Aborted,
            cause = whole => cause,
            cause = self.all.cancelled() => cause,
            () = timeout => Cause::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_tells_who_gave_up() {
        let all = CancelAll::default();
        let aborted = Cancel::new(&all, None);
        let late = Cancel::new(&all, Some(Instant::now()));
        let other = Cancel::new(&all, None);
        assert_eq!(aborted.cause(), None);
        aborted.abort();
        assert_eq!(aborted.cause(), Some(Cause::Aborted));
        assert_eq!(late.cause(), Some(Cause::Timeout));
        assert_eq!(other.cause(), None);
        all.cancel();
        assert_eq!(other.check().unwrap_err().kind(), ErrorKind::Closed);
        all.fail("first".into());
        all.fail("second".into());
        assert_eq!(other.cause(), Some(Cause::Failed("first".into())));
    }

    #[test]
    fn a_part_is_given_up_with_the_whole_and_not_the_other_way_round() {
        let whole = Cancel::never();
        let (part, other) = (whole.part(), whole.part().part());
        part.abort();
        assert_eq!(part.cause(), Some(Cause::Aborted));
        assert_eq!((whole.cause(), other.cause()), (None, None));
        whole.abort();
        assert_eq!(other.cause(), Some(Cause::Aborted));
    }

    #[test]
    fn waiting_ends_whether_the_flag_is_raised_before_or_during() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let raised = Cancel::never();
        raised.abort();
        assert_eq!(runtime.block_on(raised.cancelled()), Cause::Aborted);

        let waiting = Cancel::never();
        let waiter = runtime.spawn({
            let waiting = waiting.clone();
            async move { waiting.cancelled().await }
        });
        waiting.abort();
        assert_eq!(runtime.block_on(waiter).unwrap(), Cause::Aborted);
    }
}
