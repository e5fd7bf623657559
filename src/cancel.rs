//! Giving up: one flag per job, read at every boundary and inside Whisper's abort callback.

use std::sync::atomic::{AtomicU8, Ordering};
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
    all: CancelAll,
    deadline: Option<Instant>,
}

impl Cancel {
    /// A flag for one job of the engine that `all` belongs to.
    #[must_use]
    pub fn new(all: &CancelAll, deadline: Option<Instant>) -> Self {
        Self {
            job: Arc::default(),
            all: all.clone(),
            deadline,
        }
    }

    /// A flag that nobody else holds, for work that cannot be given up.
    #[must_use]
    pub fn never() -> Self {
        Self::new(&CancelAll::default(), None)
    }

    /// Gives the job up.
    pub fn abort(&self) {
        self.job.raise();
    }

    /// Why to stop, if at all. Two atomic reads and, with a deadline, one look at the clock.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        if self.job.is_raised() {
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
        tokio::select! {
            biased;
            () = self.job.wait() => Cause::Aborted,
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
