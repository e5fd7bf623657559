//! Where jobs come in: admission on the caller's thread, everything else on the engine's own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::EngineInfo;
use super::admission::{Admission, Full, Place};
use super::decode::{self, Decoding, Turns, Worker};
use super::detect::Arrival;
use super::flow::Flow;
use super::handle::JobHandle;
use super::job::{EventSink, Input, Reply, Ticket};
use super::stats::Stats;
use super::stream::{Feed, Stream, StreamHandle, StreamSink};
use crate::cancel::{Cancel, CancelAll, Cause};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{self, Log};
use crate::options::{EngineOptions, JobOptions, StreamOptions};
use crate::transcript::{Timings, Transcript};

/// How long closing waits for a read that hangs before it leaves the thread behind. Such a thread
/// holds a decoder and a file, and no model.
const HANGING_READ: Duration = Duration::from_secs(1);

/// What takes jobs in, and what hands their outcomes out.
pub(crate) struct Intake {
    runtime: Runtime,
    jobs: mpsc::UnboundedSender<Admitted>,
    /// Dropped when nothing more is taken in.
    open: watch::Sender<()>,
    settling: mpsc::Sender<Infallible>,
    settled: mpsc::Receiver<Infallible>,
    admission: Arc<Admission>,
    shared: Shared,
}

/// What every job of the engine shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub options: Arc<EngineOptions>,
    pub info: Arc<EngineInfo>,
    pub stats: Arc<Stats>,
    pub cancel_all: CancelAll,
    pub log: Log,
}

/// What is to be decoded: a job that has its place, or a stream.
enum Admitted {
    Job {
        flow: Arc<Flow>,
        ticket: Box<Ticket>,
        input: Input,
    },
    Stream(Feed),
}

impl Intake {
    /// Takes jobs in until it is dropped or every job is cancelled; `next` is let go of then, and
    /// that is what ends the stages.
    pub fn new(
        runtime: Runtime,
        next: Sender<Arrival>,
        admission: Arc<Admission>,
        shared: Shared,
    ) -> Self {
        // Bounded by admission.
        let (jobs, admitted) = mpsc::unbounded_channel();
        let (settling, settled) = mpsc::channel(1);
        let (open, _) = watch::channel(());
        runtime.spawn(start_each(admitted, next, shared.clone()));
        Self {
            runtime,
            jobs,
            open,
            settling,
            settled,
            admission,
            shared,
        }
    }

    /// Takes a job in or refuses it at once; never waits.
    pub fn submit(
        &self,
        input: Input,
        options: JobOptions,
        events: Option<EventSink>,
    ) -> Result<JobHandle> {
        let submitted = Instant::now();
        let shared = &self.shared;
        self.check_open()?;
        options.validate(&shared.info.recognizer.languages)?;
        let vad = options.vad.resolve(shared.options.vad);
        vad.map_or(Ok(()), |vad| vad.validate())?;
        let held_bytes = input.held_bytes();
        let place = self.place(held_bytes)?;
        let deadline = options
            .timeout
            .and_then(|timeout| submitted.checked_add(timeout));
        let cancel = Cancel::new(&shared.cancel_all, deadline);
        let id: Arc<str> = options.id.as_deref().map_or_else(next_id, Arc::from);
        let flow = Flow::new(
            Arc::clone(&id),
            options.priority,
            cancel.clone(),
            Some(place),
        );
        let (reply, answer) = Reply::new();
        let handle = JobHandle {
            cancel,
            reply: answer,
            flow: Arc::clone(&flow),
            id: Arc::clone(&id),
            held_bytes,
            shared: shared.clone(),
            settled: false,
        };
        let ticket = Box::new(Ticket {
            id: Arc::clone(&id),
            vad,
            events,
            progress: 0.0,
            submitted,
            engine: Arc::clone(&shared.info),
            live: None,
            reply,
            options,
        });
        shared.log.scope(|| {
            let _job = log::job(&id);
            tracing::debug!(held_bytes, "taken in");
        });
        let admitted = Admitted::Job {
            flow,
            ticket,
            input,
        };
        // Fails when the engine has just been cancelled; the dropped ticket tells the handle.
        let _ = self.jobs.send(admitted);
        Ok(handle)
    }

    /// Opens a stream; never waits.
    pub fn open_stream(&self, options: StreamOptions, events: StreamSink) -> Result<StreamHandle> {
        let shared = &self.shared;
        self.check_open()?;
        let vad = options.validate(&shared.info.recognizer.languages, shared.options.vad)?;
        let id: Arc<str> = options.job.id.as_deref().map_or_else(next_id, Arc::from);
        let cancel = Cancel::new(&shared.cancel_all, None);
        let flow = Flow::new(id, options.job.priority, cancel, None);
        let stream = Stream::new(flow, options, vad, Arc::clone(&shared.info), events);
        let (feed, handle) = Feed::new(stream, self.open.subscribe());
        // Fails when the engine has just been cancelled; the dropped stream tells its end.
        let _ = self.jobs.send(Admitted::Stream(feed));
        Ok(handle)
    }

    fn check_open(&self) -> Result<()> {
        match self.shared.cancel_all.cause() {
            Some(Cause::Failed(why)) => Err(Error::failed(&why)),
            Some(_) => Err(Error::closed()),
            None => Ok(()),
        }
    }

    fn place(&self, held_bytes: usize) -> Result<Place> {
        Place::take(&self.admission, held_bytes).map_err(|full| {
            let options = &self.shared.options;
            let gpu = self.shared.info.recognizer.gpu.as_ref();
            let lanes = gpu.map_or(1, |gpu| gpu.lanes);
            let retry_after_ms = self.shared.stats.retry_after_ms(full, lanes);
            let what = match full {
                Full::Jobs => format!("{} jobs are in the queue", options.max_queue),
                Full::Bytes(excess) => format!(
                    "the jobs in the queue would hold {excess} bytes of input more than \
                     maxQueuedBytes, {}",
                    options.max_queued_bytes
                ),
                Full::Leaving => "jobs that were given up still fill the queue".to_owned(),
            };
            Error::new(
                ErrorKind::QueueFull,
                format!("{what}; try again in {retry_after_ms} ms"),
            )
            .retry_after(retry_after_ms)
        })
    }

    /// Hands the job's outcome to `done`, on a thread of the engine's; `done` must not wait.
    pub fn deliver(
        &self,
        handle: JobHandle,
        done: impl FnOnce(Result<Transcript>) + Send + 'static,
    ) {
        let settling = self.settling.clone();
        self.runtime.spawn(async move {
            done(handle.outcome().await);
            drop(settling);
        });
    }

    /// Takes nothing more in; calls `join`, which waits for the stages; returns when the last
    /// outcome is delivered.
    pub fn close(self, join: impl FnOnce()) {
        let Self {
            runtime,
            jobs,
            open,
            settling,
            mut settled,
            ..
        } = self;
        drop(jobs);
        drop(open);
        join();
        drop(settling);
        // Nothing is ever sent: this ends when the last `deliver` has dropped its sender.
        settled.blocking_recv();
        runtime.shutdown_timeout(HANGING_READ);
    }
}

/// Starts the decoding of each job that comes.
async fn start_each(
    mut admitted: mpsc::UnboundedReceiver<Admitted>,
    next: Sender<Arrival>,
    shared: Shared,
) {
    let turns = Turns::default();
    loop {
        let job = tokio::select! {
            biased;
            _ = shared.cancel_all.cancelled() => return,
            job = admitted.recv() => job,
        };
        let Some(admitted) = job else { return };
        let worker = |flow| Worker {
            flow,
            turns: turns.clone(),
            log: shared.log.clone(),
            stats: Arc::clone(&shared.stats),
        };
        match admitted {
            Admitted::Job {
                flow,
                ticket,
                input,
            } => {
                let decoding = Decoding {
                    worker: worker(flow),
                    next: next.clone(),
                    timings: Timings::default(),
                };
                tokio::spawn(decoding.run(ticket, input));
            }
            Admitted::Stream(feed) => {
                let worker = worker(feed.flow());
                tokio::spawn(feed.run(worker, next.clone()));
            }
        }
        // tokio runs the youngest task first. Each asks for its turn to decode before the next is
        // there, so that the last of many does not pass them all.
        tokio::task::yield_now().await;
    }
}

/// The engine's own threads: one that delivers and watches deadlines, and those that decode.
pub(crate) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(decode::THREADS)
        .thread_name("opuscribe-io")
        .enable_time()
        .build()
        .map_err(|cause| {
            Error::new(ErrorKind::OutOfMemory, "cannot start the engine's threads").caused_by(cause)
        })
}

fn next_id() -> Arc<str> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("job-{}", NEXT.fetch_add(1, Ordering::Relaxed)).into()
}
