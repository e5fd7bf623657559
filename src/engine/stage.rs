//! A stage: a named thread that alone builds, uses and drops one model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use super::stats::Stats;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;

/// Builds a stage's model on the stage's own thread; called again after a panic.
pub type Build<Model> = Box<dyn Fn() -> Result<Box<Model>> + Send>;

/// Rebuilds in a row, without a success between them, before a stage gives up.
const MAX_RESTARTS: usize = 3;
/// whisper.cpp tokenises prompts with recursive regular expressions.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Starts a stage. Its model is built and its `Ready` sent before `body` runs; a model that cannot
/// be built is reported the same way, and the thread ends.
pub(crate) fn spawn<Model: ?Sized + 'static, Ready: Send + 'static>(
    name: &str,
    log: &Log,
    stats: &Arc<Stats>,
    build: Build<Model>,
    ready: Sender<Result<Ready>>,
    describe: impl FnOnce(&Model) -> Ready + Send + 'static,
    body: impl FnOnce(Supervised<Model>) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let log = log.clone();
    let stats = Arc::clone(stats);
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            log.scope(|| {
                let mut supervised = Supervised {
                    build,
                    model: None,
                    restarts: 0,
                    stats,
                };
                let outcome = supervised.call(|model| Ok(describe(model)));
                let built = outcome.is_ok();
                // The opener waits for this unless it has given up on another stage.
                let _ = ready.send(outcome);
                if built {
                    body(supervised);
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

/// A model that survives its own panics: the call fails, and the next one finds a new model.
pub(crate) struct Supervised<Model: ?Sized> {
    build: Build<Model>,
    model: Option<Box<Model>>,
    restarts: usize,
    stats: Arc<Stats>,
}

impl<Model: ?Sized> Supervised<Model> {
    /// Runs `work` on the model. A panic in it, or in building or dropping the model, becomes
    /// [`ErrorKind::WorkerFailed`]. What `work` borrows may be half changed then; the caller
    /// answers the job with the error and drops it.
    pub fn call<Output>(
        &mut self,
        work: impl FnOnce(&mut Model) -> Result<Output>,
    ) -> Result<Output> {
        if self.restarts > MAX_RESTARTS {
            return Err(Error::new(
                ErrorKind::WorkerFailed,
                format!(
                    "the stage failed {MAX_RESTARTS} times in a row and gave up; open another \
                     transcriber"
                ),
            ));
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let model = match &mut self.model {
                Some(model) => model,
                empty => empty.insert((self.build)()?),
            };
            work(model)
        }));
        match outcome {
            Ok(result) => {
                if result.is_ok() {
                    self.restarts = 0;
                }
                result
            }
            Err(panic) => {
                self.restarts += 1;
                self.stats.restarted();
                let broken = self.model.take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
                let what = describe_panic(panic.as_ref());
                tracing::error!("the stage panicked and is rebuilt: {what}");
                Err(Error::new(
                    ErrorKind::WorkerFailed,
                    format!("the stage failed while it held the job: {what}; try again"),
                ))
            }
        }
    }
}

fn describe_panic(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic without a message")
}
