//! Options as JavaScript gives them, and their conversion to the engine's. Defaults live there.

use std::time::Duration;

use napi::bindgen_prelude::Either;
use napi_derive::napi;

use crate::error::{Error, Result};
use crate::options;

/// How to open a transcriber.
#[napi(object, object_to_js = false)]
pub struct EngineOptions {
    /// Path of a Whisper model in ggml format, or a catalogue name such as `tiny.en`.
    pub model: String,
    /// Index of the GPU that Whisper runs on, among those of this addon's backend. Without it: the
    /// CPU.
    pub gpu: Option<f64>,
    /// Windows that the GPU is given at once, 1 to 64. Each takes memory of its own there. Default: as
    /// many as were worth it when the device was probed, which is 1 on all but large ones. The CPU
    /// works on one.
    pub lanes: Option<f64>,
    /// Whether the CPU takes the place of a GPU that is lost. Default false.
    pub may_fall_back: Option<bool>,
    /// CPU threads for inference, 1 to 512. Default: the number of cores, at most 8.
    pub threads: Option<f64>,
    /// Jobs admitted at once, waiting and running, 1 to 65536. Default 64. Above it:
    /// `ERR_QUEUE_FULL`.
    pub max_queue: Option<f64>,
    /// Bytes of input that the admitted jobs may hold together: packets, samples and files given as
    /// bytes, from 1 up. Default 1073741824 (1 GiB). Above it: `ERR_QUEUE_FULL`. A job that comes
    /// alone may hold more, and a file given by its path holds none.
    pub max_queued_bytes: Option<f64>,
    /// Whether the log records of finished jobs carry their text. Default false.
    pub log_text: Option<bool>,
    /// Defaults for jobs that bring no `vad` of their own.
    pub vad: Option<VadOptions>,
}

/// Voice activity detection, by Silero VAD. The defaults are tuned for text: a word that is cut
/// costs more than a little silence.
#[napi(object, object_to_js = false)]
#[derive(Clone, Copy)]
pub struct VadOptions {
    /// Probability from which a window of 32 ms is speech, 0.01 to 0.99. Default 0.5 (Silero).
    pub threshold: Option<f64>,
    /// Probability below which speech ends, at most `threshold`. Default `threshold - 0.15`, at
    /// least 0.01 (Silero).
    pub neg_threshold: Option<f64>,
    /// Shorter speech is dropped, 0 to 60000 ms. Default 100.
    pub min_speech_duration_ms: Option<f64>,
    /// Speech ends after this much silence, 0 to 60000 ms. Default 300.
    pub min_silence_duration_ms: Option<f64>,
    /// Audio kept before and after speech, 0 to 10000 ms. Default 400.
    pub speech_pad_ms: Option<f64>,
    /// Longer speech is split at its longest pause, from 1 s. Default `Infinity`.
    pub max_speech_duration_s: Option<f64>,
}

/// How one job is to be transcribed.
#[napi(object, object_to_js = false)]
pub struct JobOptions {
    /// Appears in the transcript and in every log record of the job. Default: made up.
    pub id: Option<String>,
    /// ISO 639-1 code of the spoken language, or `auto` to detect it. Default: `en` for an
    /// English-only model, else `auto`.
    pub language: Option<String>,
    /// Translate to English; needs a multilingual model. Default false.
    pub translate: Option<bool>,
    /// Text that goes before the audio and hints at names and spelling. Its last 223 tokens count.
    pub initial_prompt: Option<String>,
    /// Width of the beam, 1 to 8. 1 takes the most probable token each time, and tries another where
    /// the text is unsure; beams take three to five times as long. Default 1.
    pub beam_size: Option<f64>,
    /// One temperature, or those to try in order until the text can be believed; each 0 to 1. What
    /// cannot be believed at the first is decoded with the full window before the second. Default
    /// `[0, 0.2, 0.4, 0.6, 0.8, 1]` (Whisper paper, section 4.5).
    pub temperature: Option<Either<f64, Vec<f64>>>,
    /// Also give the times of single words, in `Segment.words`; recognition takes up to twice as
    /// long. Default false.
    pub word_timestamps: Option<bool>,
    /// Replaces single VAD options of the transcriber; `false` takes the whole input as speech.
    #[napi(ts_type = "VadOptions | false")]
    pub vad: Option<Either<bool, VadOptions>>,
    /// `interactive` passes `batch` at the next window of at most 23 s. Default `interactive`.
    #[napi(ts_type = "'interactive' | 'batch'")]
    pub priority: Option<String>,
    /// Milliseconds after which the job is stopped with `ERR_TIMEOUT`, waiting included; from 1 to
    /// 2147483647. Default: none.
    pub timeout_ms: Option<f64>,
    /// Longest input that is taken, in milliseconds, up to a week. Default 14400000, four hours;
    /// longer input is `ERR_INVALID_ARGUMENT`. Memory does not grow with it.
    pub max_duration_ms: Option<f64>,
}

/// The path of the ONNX Runtime library is left empty: only JavaScript can find it.
impl TryFrom<EngineOptions> for options::EngineOptions {
    type Error = Error;

    fn try_from(from: EngineOptions) -> Result<Self> {
        let mut engine = Self::new(from.model, "");
        if let Some(gpu) = from.gpu {
            engine.device = options::Device::Gpu(integer("gpu", gpu)?);
        }
        if let Some(lanes) = from.lanes {
            engine.lanes = integer("lanes", lanes)?;
        }
        engine.may_fall_back = from.may_fall_back.unwrap_or(engine.may_fall_back);
        engine.threads = from.threads.map(|n| integer("threads", n)).transpose()?;
        if let Some(max_queue) = from.max_queue {
            engine.max_queue = integer("maxQueue", max_queue)?;
        }
        if let Some(bytes) = from.max_queued_bytes {
            engine.max_queued_bytes = whole("maxQueuedBytes", bytes, MAX_SAFE_INTEGER)?;
        }
        engine.log_text = from.log_text.unwrap_or(engine.log_text);
        if let Some(vad) = from.vad {
            engine.vad = options::VadOverrides::from(vad).over(engine.vad);
        }
        engine.validate()?;
        Ok(engine)
    }
}

/// Ranges are checked by the engine, which knows the defaults.
impl From<VadOptions> for options::VadOverrides {
    fn from(from: VadOptions) -> Self {
        Self {
            threshold: from.threshold.map(|threshold| threshold as f32),
            neg_threshold: from.neg_threshold.map(|threshold| threshold as f32),
            min_speech_duration_ms: from.min_speech_duration_ms,
            min_silence_duration_ms: from.min_silence_duration_ms,
            speech_pad_ms: from.speech_pad_ms,
            max_speech_duration_s: from.max_speech_duration_s,
        }
    }
}

impl TryFrom<JobOptions> for options::JobOptions {
    type Error = Error;

    fn try_from(from: JobOptions) -> Result<Self> {
        let defaults = Self::default();
        Ok(Self {
            id: from.id,
            language: from.language,
            translate: from.translate.unwrap_or(defaults.translate),
            initial_prompt: from.initial_prompt,
            beam_size: from
                .beam_size
                .map_or(Ok(defaults.beam_size), |n| integer("beamSize", n))?,
            word_timestamps: from.word_timestamps.unwrap_or(defaults.word_timestamps),
            temperatures: match from.temperature {
                None => defaults.temperatures,
                Some(Either::A(one)) => vec![one as f32],
                Some(Either::B(many)) => many.into_iter().map(|one| one as f32).collect(),
            },
            vad: match from.vad {
                None => options::JobVad::default(),
                Some(Either::A(false)) => options::JobVad::Off,
                Some(Either::A(true)) => {
                    return Err(Error::invalid_argument(
                        "vad is true; expected an object of options, or false to switch it off",
                    ));
                }
                Some(Either::B(own)) => options::JobVad::On(own.into()),
            },
            priority: match from.priority.as_deref() {
                None | Some("interactive") => options::Priority::Interactive,
                Some("batch") => options::Priority::Batch,
                Some(other) => {
                    return Err(Error::invalid_argument(format!(
                        "priority is '{other}'; expected 'interactive' or 'batch'"
                    )));
                }
            },
            timeout: from.timeout_ms.map(timeout).transpose()?,
            max_duration_ms: from.max_duration_ms.unwrap_or(defaults.max_duration_ms),
        })
    }
}

fn timeout(ms: f64) -> Result<Duration> {
    // The range of Node's own timers.
    if (1.0..=2_147_483_647.0).contains(&ms) {
        return Ok(Duration::from_secs_f64(ms / 1000.0));
    }
    Err(Error::invalid_argument(format!(
        "timeoutMs is {ms}; expected 1 to 2147483647"
    )))
}

/// JavaScript has one number type; a count that is not a whole number is a mistake, not 0.
pub fn integer(name: &str, value: f64) -> Result<usize> {
    whole(name, value, f64::from(u32::MAX))
}

/// Up to here JavaScript's numbers tell all whole numbers apart.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

fn whole(name: &str, value: f64, max: f64) -> Result<usize> {
    if value >= 0.0 && value <= max && value.fract() == 0.0 {
        return Ok(value as usize);
    }
    Err(Error::invalid_argument(format!(
        "{name} is {value}; expected a whole number"
    )))
}
