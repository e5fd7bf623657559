//! Options of the voice activity detection: the engine's, and a job's over them.

use super::in_range;
use crate::error::{Error, Result};

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

/// Single VAD options of a job, which replace the engine's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VadOverrides {
    /// See [`VadOptions::threshold`].
    pub threshold: Option<f32>,
    /// See [`VadOptions::neg_threshold`].
    pub neg_threshold: Option<f32>,
    /// See [`VadOptions::min_speech_duration_ms`].
    pub min_speech_duration_ms: Option<f64>,
    /// See [`VadOptions::min_silence_duration_ms`].
    pub min_silence_duration_ms: Option<f64>,
    /// See [`VadOptions::speech_pad_ms`].
    pub speech_pad_ms: Option<f64>,
    /// See [`VadOptions::max_speech_duration_s`].
    pub max_speech_duration_s: Option<f64>,
}

impl VadOverrides {
    /// `base` with what is set here in its place.
    #[must_use]
    pub fn over(self, base: VadOptions) -> VadOptions {
        VadOptions {
            threshold: self.threshold.unwrap_or(base.threshold),
            neg_threshold: self.neg_threshold.or(base.neg_threshold),
            min_speech_duration_ms: self
                .min_speech_duration_ms
                .unwrap_or(base.min_speech_duration_ms),
            min_silence_duration_ms: self
                .min_silence_duration_ms
                .unwrap_or(base.min_silence_duration_ms),
            speech_pad_ms: self.speech_pad_ms.unwrap_or(base.speech_pad_ms),
            max_speech_duration_s: self
                .max_speech_duration_s
                .unwrap_or(base.max_speech_duration_s),
        }
    }
}

/// What a job asks of the voice activity detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JobVad {
    /// The engine's options, with these in their place.
    On(VadOverrides),
    /// The whole input is taken as speech.
    Off,
}

impl Default for JobVad {
    fn default() -> Self {
        Self::On(VadOverrides::default())
    }
}

impl JobVad {
    /// The options that will be used, or `None` without detection.
    #[must_use]
    pub fn resolve(self, engine: VadOptions) -> Option<VadOptions> {
        match self {
            Self::On(overrides) => Some(overrides.over(engine)),
            Self::Off => None,
        }
    }
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
        in_range("vad.threshold", decimal(self.threshold), 0.01, 0.99)?;
        if let Some(neg) = self.neg_threshold {
            in_range("vad.negThreshold", decimal(neg), 0.0, 0.99)?;
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

/// What was written, and not its nearest neighbour in binary.
fn decimal(threshold: f32) -> f64 {
    (f64::from(threshold) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_jobs_vad_options_replace_the_engines_one_by_one() {
        let engine = VadOptions {
            threshold: 0.3,
            speech_pad_ms: 50.0,
            ..VadOptions::default()
        };
        assert_eq!(JobVad::default().resolve(engine), Some(engine));
        assert_eq!(JobVad::Off.resolve(engine), None);
        let job = JobVad::On(VadOverrides {
            speech_pad_ms: Some(70.0),
            ..VadOverrides::default()
        });
        let resolved = job.resolve(engine).unwrap();
        assert_eq!((resolved.threshold, resolved.speech_pad_ms), (0.3, 70.0));
    }
}
