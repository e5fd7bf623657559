//! What JavaScript gets back: the engine's plain data, field by field.

use std::collections::HashMap;

use napi::bindgen_prelude::Either3;
use napi_derive::napi;

use crate::cpu::CpuLevel;
use crate::engine;
use crate::log;
use crate::transcript;
use crate::whisper;

/// The text of one job and what is known about it. Every time is in milliseconds on the input's own
/// timeline, lost packets and removed silence included.
#[napi(object, object_from_js = false)]
pub struct Transcript {
    /// The job's id: the one given, or one made up.
    pub id: String,
    /// All segments' text, joined and trimmed. Empty exactly when `emptyReason` is set.
    pub text: String,
    /// ISO 639-1 code of the spoken language; `und` when no speech was heard to tell.
    pub language: String,
    /// Probability of the language, 0 to 1; 1 when it was given or the model knows no other.
    pub language_probability: f64,
    /// Whisper's segments in order.
    pub segments: Vec<Segment>,
    /// Where the VAD found speech, padding included.
    pub speech: Vec<SpeechSegment>,
    /// Length of the input, lost packets included.
    pub duration_ms: f64,
    /// Summed length of `speech`.
    pub speech_duration_ms: f64,
    /// Why there is no text: no audio at all, no speech in it, or nothing that could be believed.
    #[napi(ts_type = "'no-audio' | 'no-speech' | 'low-confidence'")]
    pub empty_reason: Option<String>,
    /// What became of the packets, for Opus input.
    pub packets: Option<PacketCounts>,
    /// What was missing or damaged in a file, in words; only there if something was.
    pub warnings: Option<Vec<String>>,
    /// Where the time went.
    pub timings: Timings,
    /// The device that ran Whisper.
    pub device: String,
}

/// A piece of text that Whisper gave one start and one end.
#[napi(object, object_from_js = false)]
pub struct Segment {
    /// Start in milliseconds.
    pub start_ms: f64,
    /// End in milliseconds, never before the start.
    pub end_ms: f64,
    /// The text, trimmed.
    pub text: String,
    /// Mean natural-log probability of its tokens, 0 at best; below -1 it is doubtful.
    pub avg_log_prob: f64,
    /// Whisper's probability that there is no speech, 0 to 1.
    pub no_speech_probability: f64,
    /// Its words in order; only there with `wordTimestamps`.
    pub words: Option<Vec<Word>>,
}

/// A word and when it was said, on the input's own timeline.
#[napi(object, object_from_js = false)]
pub struct Word {
    /// Start in milliseconds.
    pub start_ms: f64,
    /// End in milliseconds, never before the start.
    pub end_ms: f64,
    /// The word with its punctuation. In writing without spaces, what one of the model's tokens holds.
    pub text: String,
    /// Mean probability of its tokens, 0 to 1.
    pub probability: f64,
}

/// A stretch in which the VAD found speech.
#[napi(object, object_from_js = false)]
pub struct SpeechSegment {
    /// Start in milliseconds.
    pub start_ms: f64,
    /// End in milliseconds.
    pub end_ms: f64,
}

/// What became of the packets of one job.
#[napi(object, object_from_js = false)]
pub struct PacketCounts {
    /// Entries of the list, lost ones included.
    pub received: u32,
    /// Entries that were `null` or empty.
    pub lost: u32,
    /// Entries that were not valid Opus, and concealed.
    pub corrupt: u32,
    /// The indexes of those, in order.
    pub corrupt_indexes: Vec<u32>,
    /// Audio made up for lost and corrupt packets, in milliseconds. What the packets behind them
    /// carried again (in-band FEC) is not made up, and what lies beyond the first second of a gap
    /// is silence.
    pub concealed_ms: f64,
}

/// Where a job's time went, in milliseconds of wall clock.
#[napi(object, object_from_js = false)]
pub struct Timings {
    /// From the call until decoding began.
    pub queue_ms: f64,
    /// Decoding and resampling.
    pub decode_ms: f64,
    /// Voice activity detection.
    pub vad_ms: f64,
    /// Waiting between the stages for other jobs.
    pub wait_ms: f64,
    /// Whisper.
    pub inference_ms: f64,
    /// From the call to the result.
    pub total_ms: f64,
    /// `totalMs` divided by the input's length; below 1 is faster than real time. 0 for no audio.
    pub real_time_factor: f64,
}

/// What a transcriber is made of.
#[napi(object, object_from_js = false)]
#[derive(Clone)]
pub struct EngineInfo {
    /// Path of the model file.
    pub model: String,
    /// ISO 639-1 codes of the languages the model knows; `['en']` for an English-only one.
    pub languages: Vec<String>,
    /// What runs Whisper: `cpu`, or a GPU backend.
    pub backend: String,
    /// The device really in use.
    pub device: String,
    /// More of the GPU, if it is one.
    pub gpu: Option<GpuInfo>,
    /// Bytes of the model's weights.
    pub model_bytes: f64,
    /// CPU threads for inference.
    pub threads: u32,
    /// Instruction set level that this addon was compiled for.
    pub cpu_level: String,
    /// Versions of what is inside.
    pub versions: Versions,
}

/// The GPU that a transcriber runs on.
#[napi(object, object_from_js = false)]
#[derive(Clone)]
pub struct GpuInfo {
    /// Its place among those of its backend, from 0.
    pub index: u32,
    /// Windows that it works on at once.
    pub lanes: u32,
    /// Name and version of its driver.
    pub driver: String,
    /// Bytes of its memory.
    pub total_bytes: f64,
    /// Bytes that the model was expected to take.
    pub estimated_bytes: f64,
    /// Bytes less that were free when it was loaded; 0 where the driver does not tell.
    pub used_bytes: f64,
}

/// A GPU that this addon's backend finds, and its memory now.
#[napi(object, object_from_js = false)]
pub struct NativeGpu {
    pub index: u32,
    pub backend: String,
    pub name: String,
    pub driver: String,
    pub integrated: bool,
    pub total_bytes: f64,
    pub free_bytes: f64,
}

/// Versions of the libraries in use.
#[napi(object, object_from_js = false)]
#[derive(Clone)]
pub struct Versions {
    /// This package.
    pub opuscribe: String,
    /// whisper.cpp, bundled.
    pub whisper: String,
    /// libopus, bundled.
    pub opus: String,
}

/// Something a job tells while it runs; one of the two is set.
#[napi(object, object_from_js = false)]
pub struct JobEvent {
    /// Share of the work that is done, 0 to 1.
    pub progress: Option<f64>,
    /// A segment that is final.
    pub segment: Option<Segment>,
}

/// A log record of the engine, whisper.cpp or ONNX Runtime.
#[napi(object, object_from_js = false)]
pub struct LogRecord {
    /// How serious it is.
    #[napi(ts_type = "'error' | 'warn' | 'info' | 'debug'")]
    pub level: String,
    /// The module that reports.
    pub target: String,
    /// The text.
    pub message: String,
    /// The job it is about, if there is one.
    pub id: Option<String>,
    /// Details by name, if there are any.
    #[napi(ts_type = "Record<string, string | number | boolean>")]
    pub fields: Option<HashMap<String, Either3<String, f64, bool>>>,
}

impl From<transcript::Transcript> for Transcript {
    fn from(from: transcript::Transcript) -> Self {
        Self {
            id: from.id,
            text: from.text,
            language: from.language,
            language_probability: from.language_probability.into(),
            segments: from.segments.into_iter().map(Into::into).collect(),
            speech: from.speech.into_iter().map(Into::into).collect(),
            duration_ms: from.duration_ms,
            speech_duration_ms: from.speech_duration_ms,
            empty_reason: from.empty_reason.map(|reason| reason.as_str().to_owned()),
            packets: from.packets.map(Into::into),
            warnings: (!from.warnings.is_empty()).then_some(from.warnings),
            timings: from.timings.into(),
            device: from.device,
        }
    }
}

impl From<transcript::Segment> for Segment {
    fn from(from: transcript::Segment) -> Self {
        Self {
            start_ms: from.start_ms,
            end_ms: from.end_ms,
            text: from.text,
            avg_log_prob: from.avg_log_prob.into(),
            no_speech_probability: from.no_speech_probability.into(),
            words: from
                .words
                .map(|words| words.into_iter().map(Word::from).collect()),
        }
    }
}

impl From<transcript::Word> for Word {
    fn from(from: transcript::Word) -> Self {
        Self {
            start_ms: from.start_ms,
            end_ms: from.end_ms,
            text: from.text,
            probability: from.probability.into(),
        }
    }
}

impl From<transcript::SpeechSegment> for SpeechSegment {
    fn from(from: transcript::SpeechSegment) -> Self {
        Self {
            start_ms: from.start_ms,
            end_ms: from.end_ms,
        }
    }
}

impl From<transcript::PacketCounts> for PacketCounts {
    fn from(from: transcript::PacketCounts) -> Self {
        Self {
            received: from.received as u32,
            lost: from.lost as u32,
            corrupt: from.corrupt.len() as u32,
            corrupt_indexes: from.corrupt.iter().map(|index| *index as u32).collect(),
            concealed_ms: from.concealed_ms,
        }
    }
}

impl From<transcript::Timings> for Timings {
    fn from(from: transcript::Timings) -> Self {
        Self {
            queue_ms: from.queue_ms,
            decode_ms: from.decode_ms,
            vad_ms: from.vad_ms,
            wait_ms: from.wait_ms,
            inference_ms: from.inference_ms,
            total_ms: from.total_ms,
            real_time_factor: from.real_time_factor,
        }
    }
}

impl From<&engine::EngineInfo> for EngineInfo {
    fn from(from: &engine::EngineInfo) -> Self {
        let recognizer = &from.recognizer;
        Self {
            model: from.model.clone(),
            languages: recognizer
                .languages
                .iter()
                .copied()
                .map(Into::into)
                .collect(),
            backend: recognizer.backend.to_owned(),
            device: recognizer.device.to_string(),
            gpu: recognizer.gpu.as_ref().map(Into::into),
            model_bytes: recognizer.model_bytes as f64,
            threads: from.threads as u32,
            cpu_level: CpuLevel::BUILT_FOR.as_str().to_owned(),
            versions: Versions {
                opuscribe: env!("CARGO_PKG_VERSION").to_owned(),
                whisper: from.whisper_version.to_owned(),
                opus: from.opus_version.to_owned(),
            },
        }
    }
}

impl EngineInfo {
    /// The same where the CPU has taken the place of the GPU.
    pub fn on_cpu(self) -> Self {
        Self {
            backend: "cpu".to_owned(),
            device: whisper::cpu_device(),
            gpu: None,
            ..self
        }
    }
}

impl From<&whisper::GpuMemory> for GpuInfo {
    fn from(from: &whisper::GpuMemory) -> Self {
        Self {
            index: from.index as u32,
            lanes: from.lanes as u32,
            driver: from.driver.clone(),
            total_bytes: from.total_bytes as f64,
            estimated_bytes: from.estimated_bytes as f64,
            used_bytes: from.used_bytes as f64,
        }
    }
}

impl From<whisper::Gpu> for NativeGpu {
    fn from(from: whisper::Gpu) -> Self {
        Self {
            index: from.index as u32,
            backend: from.backend.to_owned(),
            name: from.name,
            driver: from.driver,
            integrated: from.integrated,
            total_bytes: from.total_bytes as f64,
            free_bytes: from.free_bytes as f64,
        }
    }
}

impl From<engine::Event> for JobEvent {
    fn from(from: engine::Event) -> Self {
        match from {
            engine::Event::Progress(fraction) => Self {
                progress: Some(fraction),
                segment: None,
            },
            engine::Event::Segment(segment) => Self {
                progress: None,
                segment: Some(segment.into()),
            },
        }
    }
}

impl From<log::LogRecord> for LogRecord {
    fn from(from: log::LogRecord) -> Self {
        let fields = from.fields.into_iter().map(|(name, value)| {
            let value = match value {
                log::Value::Text(text) => Either3::A(text),
                log::Value::Number(number) => Either3::B(number),
                log::Value::Bool(yes) => Either3::C(yes),
            };
            (name.to_owned(), value)
        });
        let fields: HashMap<_, _> = fields.collect();
        Self {
            level: from.level.to_owned(),
            target: from.target,
            message: from.message,
            id: from.job.map(|id| id.to_string()),
            fields: (!fields.is_empty()).then_some(fields),
        }
    }
}
