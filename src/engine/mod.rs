//! The engine: three stages with a channel between each, and one way through them.
//!
//! A job's parts go from stage to stage in order, and its ticket with the first of them. Admission
//! bounds the number of jobs and credit the pieces of each, and every channel has room for all of
//! them, so no stage ever waits to hand on.

mod decode;
mod detect;
mod flow;
mod job;
mod queue;
mod recognize;
mod stage;
mod stats;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

pub use job::{Event, EventSink, Input, JobHandle};
pub use stage::Build;
pub use stats::StatsSnapshot;

use crate::cancel::{Cancel, CancelAll};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Log, LogSink};
use crate::options::{EngineOptions, JobOptions};
use crate::opus;
use crate::transcript::{Timings, Transcript};
use crate::vad::{Silero, Vad};
use crate::whisper::{self, Recognizer, RecognizerInfo, Whisper};
use decode::{Audio, Decoding};
use flow::{Flow, Message, PARTS_PER_JOB, Place};
use job::{Reply, Ticket};
use stats::Stats;

/// Decoding a second of Opus takes about a millisecond, so two threads keep any device busy.
const DECODE_THREADS: usize = 2;

/// How the stages get their models. Each closure runs on its stage's own thread.
pub struct Models {
    /// Builds the voice activity detector.
    pub vad: Build<dyn Vad>,
    /// Builds the recognizer.
    pub recognizer: Build<dyn Recognizer>,
}

/// What an engine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The model as it was named.
    pub model: String,
    /// What the model is and where it runs.
    pub recognizer: RecognizerInfo,
    /// CPU threads for inference.
    pub threads: usize,
    /// Version of the bundled whisper.cpp.
    pub whisper_version: &'static str,
    /// Version of the bundled libopus.
    pub opus_version: &'static str,
}

impl EngineInfo {
    /// The language of a model that knows only one.
    #[must_use]
    pub fn only_language(&self) -> Option<&'static str> {
        match self.recognizer.languages.as_slice() {
            &[only] => Some(only),
            _ => None,
        }
    }
}

/// Opus in, text out. Opening loads both models; dropping closes, without draining.
pub struct Engine {
    /// `None` from the moment the engine closes.
    intake: Option<Intake>,
    stages: Vec<JoinHandle<()>>,
    settled: mpsc::Receiver<Infallible>,
    cancel_all: CancelAll,
    options: EngineOptions,
    info: Arc<EngineInfo>,
    stats: Arc<Stats>,
    log: Log,
}

/// What is needed to take a job in. Dropping it is what ends the stages, one after the other.
struct Intake {
    runtime: Runtime,
    jobs: Sender<Message<Audio>>,
    settling: mpsc::Sender<Infallible>,
}

impl Engine {
    /// Opens an engine with Silero and Whisper. Blocks until both have been loaded and run once.
    pub fn open(options: EngineOptions, log: Option<LogSink>) -> Result<Self> {
        let models = Models {
            vad: Box::new({
                let onnx_runtime = options.onnx_runtime.clone();
                move || Ok(Box::new(Silero::load(&onnx_runtime)?))
            }),
            recognizer: Box::new({
                let (model, device) = (options.model.clone(), options.device);
                let threads = options.effective_threads();
                move || Ok(Box::new(Whisper::load(&model, device, threads)?))
            }),
        };
        Self::open_with(options, models, log)
    }

    /// Opens an engine with any models.
    pub fn open_with(options: EngineOptions, models: Models, log: Option<LogSink>) -> Result<Self> {
        options.validate()?;
        let log = Log::new(log);
        let stats = Arc::new(Stats::default());
        let parts = options.max_queue * PARTS_PER_JOB;
        let (to_vad, from_decode) = bounded::<Message<Audio>>(parts);
        let (to_gpu, from_vad) = bounded(parts);
        let (vad_ready, vad_opened) = bounded::<Result<()>>(1);
        let (gpu_ready, gpu_opened) = bounded::<Result<RecognizerInfo>>(1);
        let gpu = stage::spawn(
            "opuscribe-gpu",
            &log,
            &stats,
            models.recognizer,
            gpu_ready,
            |recognizer| recognizer.info().clone(),
            {
                let stats = Arc::clone(&stats);
                move |recognizer| recognize::run(&from_vad, recognizer, &stats)
            },
        )?;
        let vad = stage::spawn(
            "opuscribe-vad",
            &log,
            &stats,
            models.vad,
            vad_ready,
            |_| (),
            {
                let stats = Arc::clone(&stats);
                move |vad| detect::run(&from_decode, to_gpu, vad, &stats)
            },
        )?;
        let stages = vec![vad, gpu];
        let opened = opened(&gpu_opened).and_then(|recognizer| {
            opened(&vad_opened)?;
            Ok((recognizer, runtime()?))
        });
        let (recognizer, runtime) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                drop(to_vad);
                join(stages);
                return Err(error);
            }
        };
        let (settling, settled) = mpsc::channel(1);
        let info = EngineInfo {
            model: options.model.display().to_string(),
            recognizer,
            threads: options.effective_threads(),
            whisper_version: whisper::library_version(),
            opus_version: opus::library_version(),
        };
        Ok(Self {
            intake: Some(Intake {
                runtime,
                jobs: to_vad,
                settling,
            }),
            stages,
            settled,
            cancel_all: CancelAll::default(),
            options,
            info: Arc::new(info),
            stats,
            log,
        })
    }

    /// Takes a job in or refuses it at once; never waits. `input` is checked by the stages.
    pub fn submit(
        &self,
        input: Input,
        options: JobOptions,
        events: Option<EventSink>,
    ) -> Result<JobHandle> {
        let submitted = Instant::now();
        let intake = self.intake.as_ref().ok_or_else(Error::closed)?;
        options.validate(&self.info.recognizer.languages)?;
        let vad = options.vad.resolve(self.options.vad);
        vad.map_or(Ok(()), |vad| vad.validate())?;
        let limit = self.options.max_queue;
        let place = Place::take(&self.stats, limit).ok_or_else(|| {
            let retry_after_ms = self.stats.retry_after_ms();
            Error::new(
                ErrorKind::QueueFull,
                format!("{limit} jobs are in the queue; try again in {retry_after_ms} ms"),
            )
            .retry_after(retry_after_ms)
        })?;
        let deadline = options
            .timeout
            .and_then(|timeout| submitted.checked_add(timeout));
        let cancel = Cancel::new(&self.cancel_all, deadline);
        let (reply, answer) = Reply::new();
        let ticket = Ticket {
            id: options.id.clone().unwrap_or_else(next_id),
            vad,
            events,
            submitted,
            engine: Arc::clone(&self.info),
            reply,
            options,
        };
        let decoding = Decoding {
            flow: Flow::new(ticket.options.priority, cancel.clone(), place),
            log: self.log.clone(),
            stats: Arc::clone(&self.stats),
            next: intake.jobs.clone(),
            timings: Timings::default(),
        };
        intake.runtime.spawn(decoding.run(Box::new(ticket), input));
        Ok(JobHandle {
            cancel,
            reply: answer,
            stats: Arc::clone(&self.stats),
            settled: false,
        })
    }

    /// Hands the job's outcome to `done`, on a thread of the engine's; `done` must not wait. The
    /// engine is not gone before every `done` has returned.
    pub fn deliver(
        &self,
        handle: JobHandle,
        done: impl FnOnce(Result<Transcript>) + Send + 'static,
    ) {
        let Some(intake) = &self.intake else {
            return done(Err(Error::closed()));
        };
        let settling = intake.settling.clone();
        intake.runtime.spawn(async move {
            done(handle.outcome().await);
            drop(settling);
        });
    }

    /// What the engine is made of.
    #[must_use]
    pub fn info(&self) -> &Arc<EngineInfo> {
        &self.info
    }

    /// The options it was opened with.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// A reader of the counters that outlives the engine.
    #[must_use]
    pub fn stats(&self) -> StatsReader {
        StatsReader(Arc::clone(&self.stats))
    }

    /// Gives up every job, from any thread, while the engine lives or closes.
    #[must_use]
    pub fn cancel_all(&self) -> CancelAll {
        self.cancel_all.clone()
    }

    /// Takes nothing more in, finishes what it holds if `drain`, else gives it up, and waits until
    /// every model is freed on its own thread and every job is answered.
    pub fn close(mut self, drain: bool) {
        self.shut_down(drain);
    }

    fn shut_down(&mut self, drain: bool) {
        let Some(Intake {
            runtime,
            jobs,
            settling,
        }) = self.intake.take()
        else {
            return;
        };
        if !drain {
            self.cancel_all.cancel();
        }
        // The VAD stage ends when the last decoder has let go of the channel, and the GPU stage
        // when the VAD stage has; each drops its model on its way out.
        drop(jobs);
        join(std::mem::take(&mut self.stages));
        drop(settling);
        // Nothing is ever sent: this ends when the last `deliver` has dropped its sender.
        self.settled.blocking_recv();
        drop(runtime);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down(false);
    }
}

/// Reads the counters of an engine, also after it is gone.
#[derive(Debug, Clone)]
pub struct StatsReader(Arc<Stats>);

impl StatsReader {
    /// The counters now; never waits.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        self.0.snapshot()
    }
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(DECODE_THREADS)
        .thread_name("opuscribe-io")
        .enable_time()
        .build()
        .map_err(|cause| {
            Error::new(ErrorKind::OutOfMemory, "cannot start the engine's threads").caused_by(cause)
        })
}

fn opened<Ready>(stage: &Receiver<Result<Ready>>) -> Result<Ready> {
    stage.recv().unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::WorkerFailed,
            "a stage ended before it was ready",
        ))
    })
}

fn join(stages: Vec<JoinHandle<()>>) {
    for stage in stages {
        // A stage contains the panics of its model; one of its own has failed its jobs already.
        let _ = stage.join();
    }
}

fn next_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("job-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
