//! The transcriber as a JavaScript class: one field that does the work, and methods that convert.

use std::cell::RefCell;
use std::sync::Arc;

use napi::Status;
use napi::bindgen_prelude::{
    Either, Env, Float32Array, Function, Int16Array, Int32Array, Object, Uint8Array,
};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use super::engines::{self, Slot, State};
use super::error::Failure;
use super::options::{EngineOptions, JobOptions, integer};
use super::promise::Promise;
use super::results::{EngineInfo, JobEvent, LogRecord, Transcript};
use super::stats::EngineCounters;
use super::stream::{LiveEvent, LiveOptions, NativeStream, StreamResume};
use crate::audio::{Pcm, Samples};
use crate::cancel::{Cancel, Cause};
use crate::engine::{Engine, EventSink, Input, StatsReader, StreamEvent};
use crate::error::{Error, Result};
use crate::log::LogSink;
use crate::opus::PacketList;

/// Calls back into JavaScript from any thread, without keeping the process alive.
type Callback<Argument> = ThreadsafeFunction<Argument, (), Argument, Status, false, true>;

/// Gives one job up. Made before the job, so that it is there whenever the signal comes.
#[napi]
#[derive(Default)]
pub struct CancelToken {
    job: RefCell<Option<Cancel>>,
}

#[napi]
impl CancelToken {
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the job's computation. Does nothing before the job was taken in or after its end.
    #[napi]
    pub fn cancel(&self) {
        if let Some(job) = &*self.job.borrow() {
            job.abort();
        }
    }
}

/// An engine and what stays readable when it is closed.
#[napi]
pub struct NativeTranscriber {
    slot: Slot,
    info: EngineInfo,
    stats: StatsReader,
}

#[napi]
impl NativeTranscriber {
    /// Opens an engine on a thread of its own.
    #[napi(
        ts_args_type = "options: EngineOptions, onnxRuntime: string, onLog?: (record: LogRecord) => void",
        ts_return_type = "Promise<NativeTranscriber | Failure>"
    )]
    pub fn open<'env>(
        env: &'env Env,
        options: EngineOptions,
        onnx_runtime: String,
        on_log: Option<Function<'_, LogRecord, ()>>,
    ) -> napi::Result<Object<'env>> {
        let log = on_log.map(log_sink).transpose()?;
        let (promise, object) = Promise::new(env)?;
        match crate::options::EngineOptions::try_from(options) {
            Err(error) => promise.settle(|| Err(error)),
            // If no thread can be had, the dropped promise tells.
            Ok(mut options) => {
                options.onnx_runtime = onnx_runtime.into();
                let _ = engines::open(options, log, |opened| {
                    promise.settle(|| opened.adopt().map(Self::new));
                });
            }
        }
        Ok(object)
    }

    fn new(engine: Box<Engine>) -> Self {
        Self {
            info: EngineInfo::from(&**engine.info()),
            stats: engine.stats(),
            slot: engines::keep(engine),
        }
    }

    /// Transcribes Opus packets: their bytes end to end, and the length of each, -1 for a lost one.
    #[napi(
        ts_args_type = "bytes: Uint8Array, lengths: Int32Array, options: JobOptions, cancel: CancelToken, onEvent?: (event: JobEvent) => void",
        ts_return_type = "Promise<Transcript | Failure>"
    )]
    pub fn transcribe<'env>(
        &self,
        env: &'env Env,
        bytes: Uint8Array,
        lengths: Int32Array,
        options: JobOptions,
        cancel: &CancelToken,
        on_event: Option<Function<'_, JobEvent, ()>>,
    ) -> napi::Result<Object<'env>> {
        let input = || packet_list(&bytes, &lengths).map(Input::Packets);
        self.submit(env, input, options, cancel, on_event)
    }

    /// Transcribes interleaved float samples.
    #[napi(
        ts_args_type = "pcm: Float32Array, sampleRate: number, channels: number, options: JobOptions, cancel: CancelToken, onEvent?: (event: JobEvent) => void",
        ts_return_type = "Promise<Transcript | Failure>"
    )]
    #[allow(clippy::too_many_arguments)] // One for each thing JavaScript passes.
    pub fn transcribe_float<'env>(
        &self,
        env: &'env Env,
        pcm: Float32Array,
        sample_rate: f64,
        channels: f64,
        options: JobOptions,
        cancel: &CancelToken,
        on_event: Option<Function<'_, JobEvent, ()>>,
    ) -> napi::Result<Object<'env>> {
        let input = || pcm_input(Samples::F32(pcm.to_vec()), sample_rate, channels);
        self.submit(env, input, options, cancel, on_event)
    }

    /// Transcribes interleaved 16-bit samples.
    #[napi(
        ts_args_type = "pcm: Int16Array, sampleRate: number, channels: number, options: JobOptions, cancel: CancelToken, onEvent?: (event: JobEvent) => void",
        ts_return_type = "Promise<Transcript | Failure>"
    )]
    #[allow(clippy::too_many_arguments)] // One for each thing JavaScript passes.
    pub fn transcribe_int16<'env>(
        &self,
        env: &'env Env,
        pcm: Int16Array,
        sample_rate: f64,
        channels: f64,
        options: JobOptions,
        cancel: &CancelToken,
        on_event: Option<Function<'_, JobEvent, ()>>,
    ) -> napi::Result<Object<'env>> {
        let input = || pcm_input(Samples::I16(pcm.to_vec()), sample_rate, channels);
        self.submit(env, input, options, cancel, on_event)
    }

    /// Transcribes a file by its path, or a file's bytes.
    #[napi(
        ts_args_type = "source: string | Uint8Array, options: JobOptions, cancel: CancelToken, onEvent?: (event: JobEvent) => void",
        ts_return_type = "Promise<Transcript | Failure>"
    )]
    pub fn transcribe_file<'env>(
        &self,
        env: &'env Env,
        source: Either<String, Uint8Array>,
        options: JobOptions,
        cancel: &CancelToken,
        on_event: Option<Function<'_, JobEvent, ()>>,
    ) -> napi::Result<Object<'env>> {
        let input = || {
            Ok(match source {
                Either::A(path) => Input::File(path.into()),
                Either::B(bytes) => Input::FileBytes(bytes.to_vec()),
            })
        };
        self.submit(env, input, options, cancel, on_event)
    }

    fn submit<'env>(
        &self,
        env: &'env Env,
        input: impl FnOnce() -> Result<Input>,
        options: JobOptions,
        cancel: &CancelToken,
        on_event: Option<Function<'_, JobEvent, ()>>,
    ) -> napi::Result<Object<'env>> {
        let events = on_event.map(event_sink).transpose()?;
        let (promise, object) = Promise::<Transcript>::new(env)?;
        let State::Open(engine) = &*self.slot.borrow() else {
            promise.settle(|| Err(Error::closed()));
            return Ok(object);
        };
        let submitted = crate::options::JobOptions::try_from(options)
            .and_then(|options| engine.submit(input()?, options, events));
        match submitted {
            Err(error) => promise.settle(|| Err(error)),
            Ok(job) => {
                cancel.job.replace(Some(job.canceller()));
                engine.deliver(job, |result| promise.settle(|| result.map(Into::into)));
            }
        }
        Ok(object)
    }

    /// Opens a live stream. With `resume` it tells what another would need to go on from it.
    #[napi(
        ts_args_type = "options: LiveOptions, onEvent: (event: LiveEvent) => void, resume?: StreamResume",
        ts_return_type = "NativeStream | Failure"
    )]
    pub fn open_stream(
        &self,
        options: LiveOptions,
        on_event: Function<'_, LiveEvent, ()>,
        resume: Option<StreamResume>,
    ) -> napi::Result<Either<NativeStream, Failure>> {
        let callback = weak(on_event)?;
        let State::Open(engine) = &*self.slot.borrow() else {
            return Ok(Either::B(Error::closed().into()));
        };
        let sink = Arc::new(move |event: StreamEvent| {
            callback.call(event.into(), ThreadsafeFunctionCallMode::NonBlocking);
        });
        let opened = crate::options::StreamOptions::try_from(options).and_then(|mut options| {
            options.resume = resume.map(Into::into);
            engine.open_stream(options, sink)
        });
        Ok(match opened {
            Ok(stream) => Either::A(NativeStream::new(stream)),
            Err(error) => Either::B(error.into()),
        })
    }

    /// Model, languages, device and versions.
    #[napi(getter)]
    pub fn info(&self) -> EngineInfo {
        let info = self.info.clone();
        if self.stats.snapshot().fell_back {
            info.on_cpu()
        } else {
            info
        }
    }

    /// Why the engine closed itself, if it has.
    #[napi(getter)]
    pub fn broken(&self) -> Option<String> {
        let State::Open(engine) = &*self.slot.borrow() else {
            return None;
        };
        match engine.cancel_all().cause() {
            Some(Cause::Failed(why)) => Some(why.to_string()),
            _ => None,
        }
    }

    /// The counters now.
    #[napi]
    pub fn stats(&self) -> EngineCounters {
        EngineCounters::new(self.stats.snapshot(), &self.info)
    }

    /// Closes the engine; called once. Resolves when its models are freed.
    #[napi(ts_return_type = "Promise<undefined | Failure>")]
    pub fn close<'env>(&self, env: &'env Env, drain: bool) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<()>::new(env)?;
        // Closed already, or no thread to be had: the dropped promise tells.
        let _ = engines::close(&self.slot, drain, move || promise.settle(|| Ok(())));
        Ok(object)
    }

    /// Gives up what a draining close still waits for.
    #[napi]
    pub fn hurry(&self) {
        engines::hurry(&self.slot);
    }
}

impl Drop for NativeTranscriber {
    /// Collected without `close`: the garbage collector must not wait, so a thread closes it, and
    /// the environment waits for that thread.
    fn drop(&mut self) {
        let _ = engines::close(&self.slot, false, || ());
    }
}

pub fn packet_list(bytes: &[u8], lengths: &[i32]) -> Result<PacketList> {
    let mut list = PacketList::with_capacity(lengths.len(), bytes.len());
    let mut rest = bytes;
    for (index, &length) in lengths.iter().enumerate() {
        let Ok(length) = usize::try_from(length) else {
            list.push(None);
            continue;
        };
        let (packet, tail) = rest.split_at_checked(length).ok_or_else(|| {
            Error::invalid_argument(format!("packet {index} reaches past the bytes")).at(index)
        })?;
        list.push(Some(packet));
        rest = tail;
    }
    Ok(list)
}

fn pcm_input(samples: Samples, sample_rate: f64, channels: f64) -> Result<Input> {
    let pcm = Pcm {
        samples,
        sample_rate_hz: integer("sampleRate", sample_rate)? as u32,
        channels: integer("channels", channels)?,
    };
    pcm.validate()?;
    Ok(Input::Pcm(pcm))
}

fn event_sink(callback: Function<'_, JobEvent, ()>) -> napi::Result<EventSink> {
    let callback = weak(callback)?;
    Ok(Box::new(move |event| {
        callback.call(event.into(), ThreadsafeFunctionCallMode::NonBlocking);
    }))
}

fn log_sink(callback: Function<'_, LogRecord, ()>) -> napi::Result<LogSink> {
    let callback = weak(callback)?;
    Ok(Arc::new(move |record| {
        callback.call(record.into(), ThreadsafeFunctionCallMode::NonBlocking);
    }))
}

fn weak<Argument>(callback: Function<'_, Argument, ()>) -> napi::Result<Callback<Argument>>
where
    Argument: napi::bindgen_prelude::JsValuesTupleIntoVec + 'static,
{
    callback
        .build_threadsafe_function::<Argument>()
        .callee_handled::<false>()
        .weak::<true>()
        .build()
}
