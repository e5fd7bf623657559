//! Options of the engine and of a job: defaults, ranges, validation. No IO.

use std::path::PathBuf;
use std::time::Duration;

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
    /// CPU threads for inference; `None` takes the number of cores, at most 8.
    pub threads: Option<usize>,
    /// Jobs admitted at once, waiting and running, 1 to 65536.
    pub max_queue: usize,
    /// Defaults for jobs that bring no VAD options of their own.
    pub vad: VadOptions,
}

impl EngineOptions {
    /// Jobs admitted at once unless said otherwise.
    pub const DEFAULT_MAX_QUEUE: usize = 64;
    /// More threads than this never helped a Whisper model and starve the application.
    pub const MAX_DEFAULT_THREADS: usize = 8;

    /// Options with every default, for the model and the runtime library at these paths.
    pub fn new(model: impl Into<PathBuf>, onnx_runtime: impl Into<PathBuf>) -> Self {
        Self {
            model: model.into(),
            onnx_runtime: onnx_runtime.into(),
            device: Device::Auto,
            threads: None,
            max_queue: Self::DEFAULT_MAX_QUEUE,
            vad: VadOptions::default(),
        }
    }

    /// Fails with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when a value is
    /// out of range.
    pub fn validate(&self) -> Result<()> {
        if let Some(threads) = self.threads {
            in_range("threads", threads as f64, 1.0, 512.0)?;
        }
        in_range("maxQueue", self.max_queue as f64, 1.0, 65536.0)?;
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

/// Where Whisper runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The best that works.
    #[default]
    Auto,
    /// A GPU or an error.
    Gpu,
    /// The CPU.
    Cpu,
}

/// Voice activity detection. Defaults are tuned for text, not for the tightest boundaries: a word
/// that is cut costs more than a little silence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VadOptions {
    /// Probability above which a window is speech, 0 to 1, exclusive. Silero's own default.
    pub threshold: f32,
    /// Probability below which speech ends; `None` is `threshold - 0.15` but at least 0.01 (Silero).
    pub neg_threshold: Option<f32>,
    /// Shorter speech is dropped.
    pub min_speech_duration_ms: f64,
    /// Speech ends after this much silence.
    pub min_silence_duration_ms: f64,
    /// Audio kept on both sides of speech.
    pub speech_pad_ms: f64,
    /// Longer speech is split at its longest pause, or else where the limit falls. Infinite by
    /// default: the windows for Whisper are cut with knowledge of the audio instead.
    pub max_speech_duration_s: f64,
}

impl Default for VadOptions {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            neg_threshold: None,
            min_speech_duration_ms: 100.0,
            min_silence_duration_ms: 300.0,
            speech_pad_ms: 400.0,
            max_speech_duration_s: f64::INFINITY,
        }
    }
}

impl VadOptions {
    /// Fails when a value is out of range.
    pub fn validate(&self) -> Result<()> {
        in_range("vad.threshold", f64::from(self.threshold), 0.01, 0.99)?;
        if let Some(neg) = self.neg_threshold {
            in_range("vad.negThreshold", f64::from(neg), 0.0, 0.99)?;
            if neg > self.threshold {
                return Err(Error::invalid_argument(format!(
                    "vad.negThreshold is {neg}, above vad.threshold {}; speech would end before it \
                     began: lower it or leave it out",
                    self.threshold
                )));
            }
        }
        in_range(
            "vad.minSpeechDurationMs",
            self.min_speech_duration_ms,
            0.0,
            60_000.0,
        )?;
        in_range(
            "vad.minSilenceDurationMs",
            self.min_silence_duration_ms,
            0.0,
            60_000.0,
        )?;
        in_range("vad.speechPadMs", self.speech_pad_ms, 0.0, 10_000.0)?;
        in_range(
            "vad.maxSpeechDurationS",
            self.max_speech_duration_s,
            1.0,
            f64::INFINITY,
        )
    }

    /// The exit threshold that will be used.
    #[must_use]
    pub fn effective_neg_threshold(&self) -> f32 {
        self.neg_threshold
            .unwrap_or_else(|| (self.threshold - 0.15).max(0.01))
    }
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
    /// Width of the beam at temperature 0, 1 to 8; 1 is greedy.
    pub beam_size: usize,
    /// Temperatures tried in order until the text can be believed, each 0 to 1, 1 to 8 of them.
    pub temperatures: Vec<f32>,
    /// `None` switches VAD off: the whole input is taken as speech.
    pub vad: Option<VadOptions>,
    /// Which queue the job waits in.
    pub priority: Priority,
    /// Counts from the call, waiting included.
    pub timeout: Option<Duration>,
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
            vad: Some(VadOptions::default()),
            priority: Priority::Interactive,
            timeout: None,
        }
    }
}

impl JobOptions {
    /// The fallback ladder of the Whisper paper, section 4.5.
    pub const DEFAULT_TEMPERATURES: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    /// whisper.cpp allocates at most eight decoders.
    pub const MAX_BEAM_SIZE: usize = 8;
    /// Bytes of prompt; 223 tokens are far fewer, and tokenising is not free.
    pub const MAX_PROMPT_BYTES: usize = 64 * 1024;

    /// Fails when a value is out of range. `languages` are the codes the model knows.
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
        if let Some(vad) = &self.vad {
            vad.validate()?;
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
                "language is '{language}', but this model knows English only; open a multilingual \
                 model such as 'base'"
            ))),
            Some(language) => Err(Error::invalid_argument(format!(
                "language '{language}' is unknown; expected 'auto' or one of {}",
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
    fn not_a_number_is_out_of_every_range() {
        let vad = VadOptions {
            threshold: f32::NAN,
            ..VadOptions::default()
        };
        assert!(vad.validate().is_err());
    }

    #[test]
    fn the_exit_threshold_may_not_lie_above_the_entry() {
        let vad = VadOptions {
            threshold: 0.4,
            neg_threshold: Some(0.5),
            ..VadOptions::default()
        };
        assert!(
            vad.validate()
                .unwrap_err()
                .message()
                .contains("negThreshold")
        );
    }

    #[test]
    fn the_exit_threshold_follows_the_entry() {
        let vad = VadOptions {
            threshold: 0.7,
            ..VadOptions::default()
        };
        assert!((vad.effective_neg_threshold() - 0.55).abs() < 1e-6);
        let low = VadOptions {
            threshold: 0.1,
            ..VadOptions::default()
        };
        assert!((low.effective_neg_threshold() - 0.01).abs() < 1e-6);
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
