//! The counters as JavaScript gets them.

use std::collections::HashMap;

use napi_derive::napi;

use super::results::EngineInfo;
use crate::engine::{self, StatsSnapshot};
use crate::whisper::cpu_device;

/// A snapshot of the counters of a transcriber.
#[napi(object, object_from_js = false)]
pub struct EngineCounters {
    /// Jobs admitted that no stage works on at the moment.
    pub queued: u32,
    /// Jobs that a stage works on at the moment, also one that was given up and is about to stop.
    pub running: u32,
    /// Bytes of input that the admitted jobs hold; see `maxQueuedBytes`.
    pub queued_bytes: f64,
    /// Jobs answered with a transcript.
    pub completed: f64,
    /// Jobs answered with an error, by code; `ERR_ABORTED` counts aborted signals.
    pub failed: HashMap<String, f64>,
    /// Audio decoded or converted, in milliseconds.
    pub audio_ms: f64,
    /// Time spent decoding, added up over all jobs, in milliseconds.
    pub decode_ms: f64,
    /// Time spent in voice activity detection.
    pub vad_ms: f64,
    /// Time spent in Whisper.
    pub inference_ms: f64,
    /// The three times above divided by the audio; below 1 is faster than real time. 0 before the
    /// first job.
    pub real_time_factor: f64,
    /// Where the time of the completed jobs went.
    pub timings: TimingQuantiles,
    /// Stages that failed and were rebuilt.
    pub restarts: u32,
    /// Bytes of the model's weights, which are in memory once.
    pub model_bytes: f64,
    /// The device in use.
    pub device: String,
}

/// The times of a transcript's `timings`, over all completed jobs, to within 4 %.
#[napi(object, object_from_js = false)]
#[allow(clippy::struct_field_names)] // The unit.
pub struct TimingQuantiles {
    /// From the call until decoding began.
    pub queue_ms: Quantiles,
    /// Decoding and resampling.
    pub decode_ms: Quantiles,
    /// Voice activity detection.
    pub vad_ms: Quantiles,
    /// Waiting between the stages for other jobs.
    pub wait_ms: Quantiles,
    /// Whisper.
    pub inference_ms: Quantiles,
    /// From the call to the result.
    pub total_ms: Quantiles,
}

/// Milliseconds that 50, 95 and 99 % of the jobs stayed under; 0 before the first.
#[napi(object, object_from_js = false)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl EngineCounters {
    pub fn new(from: StatsSnapshot, info: &EngineInfo) -> Self {
        let busy_ms = from.decode_ms + from.vad_ms + from.inference_ms;
        Self {
            queued: from.queued as u32,
            running: from.running as u32,
            queued_bytes: from.queued_bytes as f64,
            completed: from.completed as f64,
            failed: from
                .failed
                .into_iter()
                .map(|(kind, count)| (kind.code().to_owned(), count as f64))
                .collect(),
            audio_ms: from.audio_ms,
            decode_ms: from.decode_ms,
            vad_ms: from.vad_ms,
            inference_ms: from.inference_ms,
            real_time_factor: if from.audio_ms > 0.0 {
                busy_ms / from.audio_ms
            } else {
                0.0
            },
            timings: from.times.into(),
            restarts: from.restarts as u32,
            model_bytes: info.model_bytes,
            device: if from.fell_back {
                cpu_device()
            } else {
                info.device.clone()
            },
        }
    }
}

impl From<engine::TimeQuantiles> for TimingQuantiles {
    fn from(from: engine::TimeQuantiles) -> Self {
        Self {
            queue_ms: from.queue.into(),
            decode_ms: from.decode.into(),
            vad_ms: from.vad.into(),
            wait_ms: from.wait.into(),
            inference_ms: from.inference.into(),
            total_ms: from.total.into(),
        }
    }
}

impl From<engine::Quantiles> for Quantiles {
    fn from(from: engine::Quantiles) -> Self {
        Self {
            p50: from.p50,
            p95: from.p95,
            p99: from.p99,
        }
    }
}
