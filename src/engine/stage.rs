//! A stage: a named thread that alone builds, uses and drops one model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tokio::runtime::Handle;

use super::stats::Stats;
use crate::cancel::{CancelAll, Cause};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;

/// Builds a stage's model on the stage's own thread; called again after a panic.
pub type Build<Model> = Box<dyn Fn() -> Result<Box<Model>> + Send>;

/// How long to wait before each rebuild in a row, without a success between them. After the last
/// the engine closes itself: what fails five times running does not heal.
const BACKOFF_MS: [u64; 4] = [0, 100, 400, 1600];
/// whisper.cpp tokenises prompts with recursive regular expressions.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// What every stage of an engine shares.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub log: Log,
    pub stats: Arc<Stats>,
    pub cancel_all: CancelAll,
    /// Keeps the time.
    pub runtime: Handle,
}

/// Starts a stage. Its model is built, what `body` needs is prepared, and `Ready` sent before it runs;
/// a model that cannot be built is reported the same way, and the thread ends.
pub(crate) fn spawn<Model: ?Sized + 'static, Ready: Send + 'static, Prepared>(
    name: &'static str,
    surroundings: Surroundings,
    build: Build<Model>,
    ready: Sender<Result<Ready>>,
    prepare: impl FnOnce(Supervised<Model>) -> Result<(Ready, Prepared)> + Send + 'static,
    body: impl FnOnce(Prepared) + Send + 'static,
) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let Surroundings {
                log, cancel_all, ..
            } = surroundings.clone();
            log.scope(|| {
                let mut supervised = Supervised {
                    name,
                    surroundings,
                    build,
                    model: None,
                    failures: Failures::default(),
                };
                let prepared = match supervised.first().and_then(|()| prepare(supervised)) {
                    Ok((told, prepared)) => {
                        // The opener waits for this unless it has given up on another stage.
                        let _ = ready.send(Ok(told));
                        prepared
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                // Not the model's but ours or a listener's: nothing is left to go on with.
                if let Err(panic) = caught(|| body(prepared)) {
                    let why = format!("the stage {name} stopped: {}", panic.what);
                    tracing::error!(stage = name, "the transcriber closes itself: {why}");
                    cancel_all.fail(why);
                }
            });
        })
        .map_err(|cause| {
            Error::new(
                ErrorKind::OutOfMemory,
                format!("cannot start the thread {name}"),
            )
            .caused_by(cause)
        })
}

/// A model that survives its own panics, and the loss of the GPU that it is on: the call fails, and the
/// next one finds a new model.
pub(crate) struct Supervised<Model: ?Sized> {
    name: &'static str,
    surroundings: Surroundings,
    build: Build<Model>,
    model: Option<Box<Model>>,
    failures: Failures,
}

/// Failures in a row.
#[derive(Default)]
struct Failures {
    count: usize,
    last: Option<Instant>,
}

impl<Model: ?Sized> Supervised<Model> {
    /// Builds the model for the first time. What goes wrong is the opener's to know.
    fn first(&mut self) -> Result<()> {
        let built = caught(|| (self.build)());
        self.model = Some(built.unwrap_or_else(|panic| Err(panic.error("opened")))?);
        Ok(())
    }

    /// Looks at the model.
    pub fn peek<Output>(&self, look: impl FnOnce(&Model) -> Output) -> Result<Output> {
        self.model.as_deref().map(look).ok_or_else(no_model)
    }

    /// For a stage beside this one.
    pub fn surroundings(&self) -> Surroundings {
        self.surroundings.clone()
    }

    /// Runs `work` on the model. A panic in it, or in dropping the model, becomes
    /// [`ErrorKind::WorkerFailed`]; so does a lost GPU. What `work` borrows may be half changed then; the caller
    /// answers the job with the error and drops it.
    pub fn call<Output>(
        &mut self,
        work: impl FnOnce(&mut Model) -> Result<Output>,
    ) -> Result<Output> {
        if self.model.is_none() {
            self.rebuild()?;
        }
        let Some(model) = &mut self.model else {
            return Err(no_model());
        };
        match caught(|| work(model)) {
            Ok(Err(error)) if error.breaks_model() => {
                self.discard(&error.to_string());
                Err(error)
            }
            Ok(result) => {
                if result.is_ok() {
                    self.failures = Failures::default();
                }
                result
            }
            Err(panic) => {
                self.discard(&panic.what);
                Err(panic.error("held the job"))
            }
        }
    }

    /// The model has worked, elsewhere than in a call.
    pub fn worked(&mut self) {
        self.failures = Failures::default();
    }

    /// The model was lost elsewhere than in a call; the next call finds another.
    pub fn lose(&mut self) {
        if self.model.is_some() {
            self.discard("its model is lost");
        }
    }

    /// The model cannot be used any more; the next call finds another.
    fn discard(&mut self, why: &str) {
        let broken = self.model.take();
        let _ = caught(|| drop(broken));
        self.failed(why);
    }

    /// Another model, after a pause that grows with the failures in a row.
    fn rebuild(&mut self) -> Result<()> {
        self.pause()?;
        match caught(|| (self.build)()) {
            Ok(Ok(model)) => {
                self.model = Some(model);
                self.surroundings.stats.restarted();
                tracing::info!(stage = self.name, "the stage has been rebuilt");
                Ok(())
            }
            Ok(Err(error)) if error.kind() == ErrorKind::DeviceUnavailable => {
                self.give_up(&format!("has lost its device for good: {error}"));
                let closed = self.surroundings.cancel_all.cause();
                Err(closed.map_or(error, Cause::error))
            }
            // There may be some again later: that is no reason to close.
            Ok(Err(error)) if error.kind() == ErrorKind::OutOfMemory => {
                self.failures.last = Some(Instant::now());
                tracing::error!(stage = self.name, "the stage waits for memory: {error}");
                Err(error.with_broken_model())
            }
            Ok(Err(error)) => {
                self.failed(&error.to_string());
                Err(Error::new(
                    ErrorKind::WorkerFailed,
                    format!("the stage {} cannot be rebuilt; try again", self.name),
                )
                .caused_by(error)
                // Of a lane: what it is built on may be gone.
                .with_broken_model())
            }
            Err(panic) => {
                self.failed(&panic.what);
                Err(panic.error("was rebuilt for the job"))
            }
        }
    }

    /// Waits on the engine's clock, and no longer than the engine is wanted.
    fn pause(&self) -> Result<()> {
        let Surroundings {
            cancel_all,
            runtime,
            ..
        } = &self.surroundings;
        let pause = BACKOFF_MS
            .get(self.failures.count.saturating_sub(1))
            .map_or(Duration::ZERO, |ms| Duration::from_millis(*ms));
        let passed = self.failures.last.map_or(pause, |last| last.elapsed());
        let left = pause.saturating_sub(passed);
        if !left.is_zero() {
            // Either outcome is looked at below.
            let _ = runtime
                .block_on(async { tokio::time::timeout(left, cancel_all.cancelled()).await });
        }
        match cancel_all.cause() {
            Some(cause) => Err(cause.error()),
            None => Ok(()),
        }
    }

    fn failed(&mut self, what: &str) {
        self.failures.count += 1;
        self.failures.last = Some(Instant::now());
        let (stage, count) = (self.name, self.failures.count);
        if count <= BACKOFF_MS.len() {
            tracing::error!(stage, count, "the stage failed and will be rebuilt: {what}");
        } else {
            self.give_up(&format!(
                "failed {count} times in a row, the last time: {what}"
            ));
        }
    }

    /// Trying again would not help.
    fn give_up(&self, what: &str) {
        let stage = self.name;
        let why = format!("the stage {stage} {what}");
        tracing::error!(stage, "the transcriber closes itself: {why}");
        self.surroundings.cancel_all.fail(why);
    }
}

fn no_model() -> Error {
    Error::new(ErrorKind::WorkerFailed, "the stage has no model")
}

/// What a panic said.
struct Panic {
    what: String,
}

impl Panic {
    fn error(&self, doing: &str) -> Error {
        Error::new(
            ErrorKind::WorkerFailed,
            format!(
                "the stage failed while it {doing}: {}; try again",
                self.what
            ),
        )
    }
}

fn caught<Output>(work: impl FnOnce() -> Output) -> Result<Output, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panic {
        what: panic
            .downcast_ref::<&str>()
            .map(|what| (*what).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic without a message".to_owned()),
    })
}
