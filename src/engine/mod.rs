//! The engine: three stages with a channel between each, and one way through them.
//!
//! A job's parts go from stage to stage in order, and its ticket with the first of them. The
//! channels themselves are unbounded, so that no stage ever waits to hand on: admission bounds the
//! number of jobs and the bytes of their input, and credit the pieces that each has on its way.

mod admission;
mod decode;
mod detect;
mod fault;
mod flow;
mod handle;
mod intake;
mod job;
mod queue;
mod recognize;
mod stage;
mod stats;
mod stream;
mod text;
mod times;
mod way;

use std::cell::Cell;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, bounded, unbounded};

pub use handle::JobHandle;
pub use job::{Event, EventSink, Input};
pub use stage::Build;
pub use stats::StatsSnapshot;
pub use stream::{StreamEvent, StreamHandle, StreamSink};
pub use times::{Quantiles, TimeQuantiles};

use crate::cancel::CancelAll;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Log, LogSink};
use crate::memory;
use crate::options::{Device, EngineOptions, JobOptions, StreamOptions};
use crate::opus;
use crate::transcript::Transcript;
use crate::vad::{Silero, Vad};
use crate::whisper::{self, Recognizer, RecognizerInfo, Whisper};
use admission::Admission;
use detect::Arrival;
use intake::{Intake, Shared};
use recognize::Lanes;
use stage::Surroundings;
use stats::Stats;

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
    admission: Arc<Admission>,
    shared: Shared,
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
                let options = options.clone();
                let was_loaded = Cell::new(false);
                move || {
                    let loaded = load(&options, was_loaded.get())?;
                    was_loaded.set(true);
                    Ok(Box::new(loaded))
                }
            }),
        };
        Self::open_with(options, models, log)
    }

    /// Opens an engine with any models.
    pub fn open_with(options: EngineOptions, models: Models, log: Option<LogSink>) -> Result<Self> {
        options.validate()?;
        let runtime = intake::runtime()?;
        let surroundings = Surroundings {
            log: Log::new(log),
            stats: Arc::default(),
            cancel_all: CancelAll::default(),
            runtime: runtime.handle().clone(),
        };
        let stats = &surroundings.stats;
        let (to_vad, from_decode) = unbounded::<Arrival>();
        let (to_gpu, from_vad) = way::way();
        let (vad_ready, vad_opened) = bounded::<Result<()>>(1);
        let (gpu_ready, gpu_opened) = bounded::<Result<RecognizerInfo>>(1);
        let gpu = stage::spawn(
            "opuscribe-gpu",
            surroundings.clone(),
            models.recognizer,
            gpu_ready,
            {
                let stats = Arc::clone(stats);
                move |recognizer| {
                    let lanes = Lanes::start(recognizer, &stats);
                    Ok((lanes.info()?, lanes))
                }
            },
            {
                let stats = Arc::clone(stats);
                move |lanes| recognize::run(from_vad, lanes, &stats)
            },
        )?;
        let vad = stage::spawn(
            "opuscribe-vad",
            surroundings.clone(),
            models.vad,
            vad_ready,
            |vad| Ok(((), vad)),
            {
                let stats = Arc::clone(stats);
                move |vad| detect::run(&from_decode, to_gpu, vad, &stats)
            },
        );
        let stages = match vad {
            Ok(vad) => vec![vad, gpu],
            Err(error) => {
                join(vec![gpu]);
                return Err(error);
            }
        };
        let opened = opened(&gpu_opened).and_then(|recognizer| {
            opened(&vad_opened)?;
            Ok(recognizer)
        });
        let recognizer = match opened {
            Ok(opened) => opened,
            Err(error) => {
                drop(to_vad);
                join(stages);
                return Err(error);
            }
        };
        let info = EngineInfo {
            model: options.model.display().to_string(),
            recognizer,
            threads: options.effective_threads(),
            whisper_version: whisper::library_version(),
            opus_version: opus::library_version(),
        };
        let admission = Arc::new(Admission::new(options.max_queue, options.max_queued_bytes));
        let shared = Shared {
            options: Arc::new(options),
            info: Arc::new(info),
            stats: surroundings.stats,
            cancel_all: surroundings.cancel_all,
            log: surroundings.log,
        };
        let intake = Intake::new(runtime, to_vad, Arc::clone(&admission), shared.clone());
        Ok(Self {
            intake: Some(intake),
            stages,
            admission,
            shared,
        })
    }

    /// Takes a job in or refuses it at once; never waits. `input` is checked by the stages.
    pub fn submit(
        &self,
        input: Input,
        options: JobOptions,
        events: Option<EventSink>,
    ) -> Result<JobHandle> {
        let intake = self.intake.as_ref().ok_or_else(Error::closed)?;
        intake.submit(input, options, events)
    }

    /// Hands the job's outcome to `done`, on a thread of the engine's; `done` must not wait. The
    /// engine is not gone before every `done` has returned.
    pub fn deliver(
        &self,
        handle: JobHandle,
        done: impl FnOnce(Result<Transcript>) + Send + 'static,
    ) {
        match &self.intake {
            Some(intake) => intake.deliver(handle, done),
            None => done(Err(Error::closed())),
        }
    }

    /// Opens a live stream, which tells its `events` until the last. Fails for options that cannot
    /// be; otherwise no stream is refused.
    pub fn open_stream(&self, options: StreamOptions, events: StreamSink) -> Result<StreamHandle> {
        let intake = self.intake.as_ref().ok_or_else(Error::closed)?;
        intake.open_stream(options, events)
    }

    /// What the engine is made of.
    #[must_use]
    pub fn info(&self) -> &Arc<EngineInfo> {
        &self.shared.info
    }

    /// The options it was opened with.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.shared.options
    }

    /// A reader of the counters that outlives the engine.
    #[must_use]
    pub fn stats(&self) -> StatsReader {
        StatsReader {
            stats: Arc::clone(&self.shared.stats),
            admission: Arc::clone(&self.admission),
        }
    }

    /// Gives up every job, from any thread, while the engine lives or closes.
    #[must_use]
    pub fn cancel_all(&self) -> CancelAll {
        self.shared.cancel_all.clone()
    }

    /// Takes nothing more in, finishes what it holds if `drain`, else gives it up, and waits until
    /// every model is freed on its own thread and every job is answered.
    pub fn close(mut self, drain: bool) {
        self.shut_down(drain);
    }

    fn shut_down(&mut self, drain: bool) {
        let Some(intake) = self.intake.take() else {
            return;
        };
        if !drain {
            self.shared.cancel_all.cancel();
        }
        // The VAD stage ends when the intake and the last decoder have let go of the channel, and
        // the GPU stage when the VAD stage has; each drops its model on its way out.
        let stages = std::mem::take(&mut self.stages);
        intake.close(|| join(stages));
        memory::trim();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down(false);
    }
}

/// Reads the counters of an engine, also after it is gone.
#[derive(Debug, Clone)]
pub struct StatsReader {
    stats: Arc<Stats>,
    admission: Arc<Admission>,
}

impl StatsReader {
    /// The counters now; never waits.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        self.stats.snapshot(self.admission.load())
    }
}

/// The recognizer, again where one was lost: on the CPU then, if the GPU is too.
fn load(options: &EngineOptions, again: bool) -> Result<Whisper> {
    let EngineOptions {
        model,
        device,
        lanes,
        ..
    } = options;
    let threads = options.effective_threads();
    match Whisper::load(model, *device, *lanes, threads) {
        Err(error) if again && options.may_fall_back && *device != Device::Cpu => {
            tracing::warn!("the CPU takes the place of the GPU: {error}");
            Whisper::load(model, Device::Cpu, 1, threads)
        }
        loaded => loaded,
    }
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
