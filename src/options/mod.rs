//! Options of the engine and of a job: defaults, ranges, validation. No IO.

mod stream;
mod vad;

use std::path::PathBuf;
use std::time::Duration;

pub use stream::{Resume, StreamOptions};
pub use vad::{JobVad, VadOptions, VadOverrides};

use crate::error::{Error, Result};

/// How to open an [`Engine`](crate::engine::Engine).
#[derive(Debug, Clone, PartialEq)]
pub struct EngineOptions {
    /// Path of a Whisper model in ggml format.
    pub model: PathBuf,
    /// Absolute path of the ONNX Runtime shared library.
    pub onnx_runtime: PathBuf,
    /// Where Whisper runs.
    pub device: Device,
    /// Windows that a GPU is given at once, 1 to 64. The CPU works on one.
    pub lanes: usize,
    /// Whether the CPU takes the place of a GPU that is lost, and cannot be had again.
    pub may_fall_back: bool,
    /// CPU threads for inference; `None` takes the number of cores, at most 8.
    pub threads: Option<usize>,
    /// Jobs admitted at once, waiting and running, 1 to 65536.
    pub max_queue: usize,
    /// Bytes of input that the admitted jobs may hold together, from 1 up. One job alone may hold
    /// more, and a file that is given by its path holds none.
    pub max_queued_bytes: usize,
    /// Whether the log records of finished jobs carry their text.
    pub log_text: bool,
    /// Defaults for jobs that bring no VAD options of their own.
    pub vad: VadOptions,
}

impl EngineOptions {
    /// Jobs admitted at once unless said otherwise.
    pub const DEFAULT_MAX_QUEUE: usize = 64;
    /// 1 GiB: a hundred hours of Opus, or almost five of float samples at 16 kHz.
    pub const DEFAULT_MAX_QUEUED_BYTES: usize = 1 << 30;
    /// More threads than this never helped a Whisper model and starve the application.
    pub const MAX_DEFAULT_THREADS: usize = 8;
    /// Each lane has memory of its own on the GPU, and no GPU that was measured gained from more.
    pub const MAX_LANES: usize = 64;

    /// Options with every default, for the model and the runtime library at these paths.
    pub fn new(model: impl Into<PathBuf>, onnx_runtime: impl Into<PathBuf>) -> Self {
        Self {
            model: model.into(),
            onnx_runtime: onnx_runtime.into(),
            device: Device::Cpu,
            lanes: 1,
            may_fall_back: false,
            threads: None,
            max_queue: Self::DEFAULT_MAX_QUEUE,
            max_queued_bytes: Self::DEFAULT_MAX_QUEUED_BYTES,
            log_text: false,
            vad: VadOptions::default(),
        }
    }

    /// Fails with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when a value is
    /// out of range.
    pub fn validate(&self) -> Result<()> {
        if let Some(threads) = self.threads {
            in_range("threads", threads as f64, 1.0, 512.0)?;
        }
        in_range("lanes", self.lanes as f64, 1.0, Self::MAX_LANES as f64)?;
        in_range("maxQueue", self.max_queue as f64, 1.0, 65536.0)?;
        let most = usize::MAX as f64;
        in_range("maxQueuedBytes", self.max_queued_bytes as f64, 1.0, most)?;
        self.vad.validate()
    }

    /// The thread count that will be used.
    #[must_use]
    pub fn effective_threads(&self) -> usize {
        self.threads.unwrap_or_else(|| {
            std::thread::available_parallelism()
                .map_or(1, std::num::NonZero::get)
                .min(Self::MAX_DEFAULT_THREADS)
        })
    }
}

/// Where Whisper runs. Which GPU is worth it, and works, is found out by who opens the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// The GPU with this index among [`gpus`](crate::whisper::gpus).
    Gpu(usize),
}

/// How one job is to be transcribed.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOptions {
    /// Appears in the transcript and in every log record of the job; made up when `None`.
    pub id: Option<String>,
    /// ISO 639-1 code, or `auto`; `None` is `en` for an English-only model, else `auto`.
    pub language: Option<String>,
    /// Translate to English instead of writing what was said.
    pub translate: bool,
    /// Text that goes before the audio: names, spelling, style. The last 223 tokens count.
    pub initial_prompt: Option<String>,
    /// Width of the beam at temperature 0, 1 to 8; 1 is greedy, with a second look where that is unsure.
    pub beam_size: usize,
    /// Temperatures tried in order until the text can be believed, each 0 to 1, 1 to 8 of them.
    pub temperatures: Vec<f32>,
    /// Find out when each word was said; takes about as long again.
    pub word_timestamps: bool,
    /// Voice activity detection.
    pub vad: JobVad,
    /// Which queue the job waits in.
    pub priority: Priority,
    /// Counts from the call, waiting included.
    pub timeout: Option<Duration>,
    /// Longest input that is taken, in milliseconds, up to a week.
    pub max_duration_ms: f64,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            id: None,
            language: None,
            translate: false,
            initial_prompt: None,
            beam_size: 1,
            temperatures: Self::DEFAULT_TEMPERATURES.to_vec(),
            word_timestamps: false,
            vad: JobVad::default(),
            priority: Priority::Interactive,
            timeout: None,
            max_duration_ms: Self::DEFAULT_MAX_DURATION_MS,
        }
    }
}

impl JobOptions {
    /// The fallback ladder of the Whisper paper, section 4.5.
    pub const DEFAULT_TEMPERATURES: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    /// Four hours: a slip that passes days of audio is noticed, a long meeting is not refused.
    pub const DEFAULT_MAX_DURATION_MS: f64 = 4.0 * 3_600_000.0;
    /// A week.
    const LONGEST_MAX_DURATION_MS: f64 = 7.0 * 24.0 * 3_600_000.0;
    /// whisper.cpp allocates at most eight decoders.
    pub const MAX_BEAM_SIZE: usize = 8;
    /// Bytes of prompt; 223 tokens are far fewer, and tokenising is not free.
    pub const MAX_PROMPT_BYTES: usize = 64 * 1024;

    /// Fails when a value is out of range. `languages` are the codes the model knows. The VAD
    /// options are checked when they are resolved against the engine's.
    pub fn validate(&self, languages: &[&str]) -> Result<()> {
        in_range(
            "beamSize",
            self.beam_size as f64,
            1.0,
            Self::MAX_BEAM_SIZE as f64,
        )?;
        in_range(
            "temperature.length",
            self.temperatures.len() as f64,
            1.0,
            8.0,
        )?;
        in_range(
            "maxDurationMs",
            self.max_duration_ms,
            1.0,
            Self::LONGEST_MAX_DURATION_MS,
        )?;
        for temperature in &self.temperatures {
            in_range("temperature", f64::from(*temperature), 0.0, 1.0)?;
        }
        if let Some(prompt) = &self.initial_prompt {
            if prompt.contains('\0') {
                return Err(Error::invalid_argument(
                    "initialPrompt holds a NUL character; remove it",
                ));
            }
            in_range(
                "initialPrompt.length",
                prompt.len() as f64,
                0.0,
                Self::MAX_PROMPT_BYTES as f64,
            )?;
        }
        self.validate_language(languages)
    }

    fn validate_language(&self, languages: &[&str]) -> Result<()> {
        let english_only = languages == ["en"];
        if self.translate && english_only {
            return Err(Error::invalid_argument(
                "translate needs a multilingual model; this one knows English only",
            ));
        }
        match self.language.as_deref() {
            None | Some("auto") => Ok(()),
            Some(language) if languages.contains(&language) => Ok(()),
            Some(language) if english_only => Err(Error::invalid_argument(format!(
                "language is '{language}', but this model knows English only: pass 'en' or leave it \
                 out, or open a multilingual model such as 'base'"
            ))),
            Some(language) => Err(Error::invalid_argument(format!(
                "language '{language}' is unknown; expected 'auto' or an ISO 639-1 code without \
                 region, one of {}",
                languages.join(", ")
            ))),
        }
    }
}

/// Which queue a job waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Somebody waits for it: it passes batch work at the next window.
    #[default]
    Interactive,
    /// Long files that may wait.
    Batch,
}

fn in_range(name: &str, value: f64, min: f64, max: f64) -> Result<()> {
    if value >= min && value <= max {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "{name} is {value}; expected {min} to {max}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTILINGUAL: [&str; 3] = ["en", "de", "fr"];

    #[test]
    fn defaults_are_valid() {
        assert!(EngineOptions::new("m", "/o").validate().is_ok());
        assert!(JobOptions::default().validate(&["en"]).is_ok());
    }

    #[test]
    fn languages_are_checked_against_the_model() {
        let with = |language: &str| JobOptions {
            language: Some(language.into()),
            ..JobOptions::default()
        };
        assert!(with("auto").validate(&["en"]).is_ok());
        assert!(with("de").validate(&MULTILINGUAL).is_ok());
        assert!(with("xx").validate(&MULTILINGUAL).is_err());
        let english_only = with("de").validate(&["en"]).unwrap_err();
        assert!(english_only.message().contains("English only"));
    }

    #[test]
    fn every_limit_is_enforced() {
        let broken: [fn(&mut JobOptions); 5] = [
            |options| options.beam_size = 0,
            |options| options.beam_size = 9,
            |options| options.temperatures = vec![],
            |options| options.temperatures = vec![1.5],
            |options| options.initial_prompt = Some("a\0b".into()),
        ];
        for (case, spoil) in broken.iter().enumerate() {
            let mut options = JobOptions::default();
            spoil(&mut options);
            assert!(options.validate(&["en"]).is_err(), "case {case}");
        }
    }
}
