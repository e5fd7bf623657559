//! Did anybody say this? Whisper writes "Thank you." over a cough and "♪♪" over a music box, and
//! surely so; a person may say the same. The text alone is therefore never a reason to drop it: what
//! was heard decides. Pure.

use super::WindowSegment;

/// Samples that one probability of the detector stands for.
pub const STEP_SAMPLES: usize = crate::vad::WINDOW_SAMPLES;
pub const STEP_MS: i64 = (STEP_SAMPLES / 16) as i64;
/// A segment's times are this far off at times.
const TOLERANCE_MS: i64 = 500;
/// Below this the detector takes a window for silence (Silero: its threshold less 0.15).
const SILENT: f32 = 0.35;
/// Speech, mumbled digits included, has a mean of 0.68 to 1 over the windows that are not silent;
/// clatter, coughs and music that get past the detector 0.50 to 0.82 (docs/benchmarks.md).
const UNSURE_SPEECH: f32 = 0.85;
/// Whisper's own probability that nobody speaks: up to 0.25 in nine of ten recordings of speech,
/// 0.32 and more in all that were none.
const UNSURE_SILENCE: f32 = 0.3;
/// Where nobody looked for speech, the paper's threshold.
const SILENCE: f32 = 0.6;
/// Below this mean log probability the paper believes that threshold alone.
const IMPROBABLE: f32 = -1.0;
/// The same where the detector is unsure too.
const UNSURE_TEXT: f32 = -0.3;
/// Less than one step of 16-bit audio.
const DIGITAL_SILENCE: f32 = 1.0 / 32768.0;

/// What Whisper learned to write where nobody speaks: the ends of films, and sounds. Lower case,
/// without punctuation.
const USUAL: &[&str] = &[
    "thank you",
    "thanks",
    "thank you very much",
    "thank you so much",
    "thanks for watching",
    "thank you for watching",
    "thank you for listening",
    "please subscribe",
    "bye",
    "bye bye",
    "goodbye",
    "see you next time",
    "the end",
    "you",
    "okay",
    "ok",
    "oh",
    "ah",
    "uh",
    "um",
    "hm",
    "hmm",
    "mm",
    "whoo",
    "wow",
    "so",
    "music",
    "applause",
    "laughter",
    "silence",
    "subtitles by the amara org community",
    "untertitel der amara org community",
    "untertitelung des zdf 2020",
    "vielen dank",
    "vielen dank fürs zuschauen",
    "danke",
    "tschüss",
    "sous titres réalisés par la communauté d amara org",
    "sous titrage société radio canada",
    "merci",
    "merci d avoir regardé cette vidéo",
    "gracias",
    "gracias por ver el video",
    "subtítulos realizados por la comunidad de amara org",
    "obrigado",
    "obrigada",
    "legendas pela comunidade amara org",
    "sottotitoli creati dalla comunità amara org",
    "grazie",
    "ご視聴ありがとうございました",
    "谢谢观看",
    "продолжение следует",
];

/// Whether the detector was silent at that time.
pub fn is_silent_at(speech: &[f32], ms: i64) -> bool {
    let step = usize::try_from(ms / STEP_MS).unwrap_or(0);
    speech
        .get(step)
        .is_some_and(|&probability| probability < SILENT)
}

/// What is known of a window besides its text.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'window> {
    /// 16 kHz mono.
    pub audio: &'window [f32],
    /// The detector's probability for each [`STEP_SAMPLES`]; empty where nobody looked.
    pub speech: &'window [f32],
    /// What Whisper was told before.
    pub prompt: &'window str,
}

impl Evidence<'_> {
    /// Whether what was heard speaks against the segment.
    pub fn contradicts(&self, segment: &WindowSegment) -> bool {
        let nobody = segment.no_speech_probability;
        let is_silence = nobody > SILENCE && segment.avg_log_prob < IMPROBABLE;
        // Dots and notes: nobody says them.
        if is_silence || self.is_digital_silence() || words(&segment.text).is_empty() {
            return true;
        }
        let (is_usual, is_echo) = (is_usual(&segment.text), is_echo(&segment.text, self.prompt));
        match self.speech_probability(segment) {
            Some(speech) => {
                let is_unsure = nobody > UNSURE_SILENCE && speech < UNSURE_SPEECH;
                is_unsure && (is_usual || is_echo || segment.avg_log_prob < UNSURE_TEXT)
            }
            None => (nobody > SILENCE && is_usual) || (nobody > UNSURE_SILENCE && is_echo),
        }
    }

    fn is_digital_silence(&self) -> bool {
        self.audio
            .iter()
            .all(|sample| sample.abs() < DIGITAL_SILENCE)
    }

    /// Mean of what is not silent in the segment; `None` where nobody looked.
    fn speech_probability(&self, segment: &WindowSegment) -> Option<f32> {
        let step = |ms: i64| usize::try_from(ms / STEP_MS).unwrap_or(0);
        let end = step(segment.end_ms + TOLERANCE_MS).min(self.speech.len().checked_sub(1)?);
        let start = step(segment.start_ms - TOLERANCE_MS).min(end);
        let heard: Vec<f32> = self.speech[start..=end]
            .iter()
            .copied()
            .filter(|&probability| probability >= SILENT)
            .collect();
        Some(heard.iter().sum::<f32>() / heard.len().max(1) as f32)
    }
}

/// Whether every sentence is one of those that Whisper writes over silence.
fn is_usual(text: &str) -> bool {
    let mut sentences = text
        .split(['.', '!', '?', '…'])
        .map(words)
        .filter(|sentence| !sentence.is_empty());
    sentences.all(|sentence| USUAL.contains(&sentence.as_str()))
}

fn is_echo(text: &str, prompt: &str) -> bool {
    let (text, prompt) = (words(text), words(prompt));
    !text.is_empty() && format!(" {prompt} ").contains(&format!(" {text} "))
}

/// Lower case, words and numbers only, one space between them.
fn words(text: &str) -> String {
    text.to_lowercase()
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: &[f32] = &[0.1, 0.97, 0.99, 0.95, 0.2];
    const UNCLEAR: &[f32] = &[0.1, 0.5, 0.6, 0.4, 0.2];

    fn segment(text: &str, avg_log_prob: f32, no_speech_probability: f32) -> WindowSegment {
        WindowSegment {
            start_ms: 0,
            end_ms: 5 * STEP_MS,
            text: text.into(),
            avg_log_prob,
            no_speech_probability,
            words: None,
        }
    }

    fn contradicts(speech: &[f32], prompt: &str, segment: &WindowSegment) -> bool {
        let audio = &[0.1; 5 * STEP_SAMPLES];
        let evidence = Evidence {
            audio,
            speech,
            prompt,
        };
        evidence.contradicts(segment)
    }

    #[test]
    fn thanks_over_a_cough_are_dropped_and_thanks_that_were_said_are_not() {
        let written = segment(" Thank you. Thank you!", -0.1, 0.5);
        assert!(contradicts(UNCLEAR, "", &written));
        assert!(!contradicts(CLEAR, "", &written));
        assert!(!contradicts(
            UNCLEAR,
            "",
            &segment(" Thank you.", -0.1, 0.1)
        ));
    }

    #[test]
    fn text_that_nobody_usually_makes_up_is_kept_as_long_as_it_is_probable() {
        assert!(!contradicts(UNCLEAR, "", &segment(" Three.", -0.1, 0.6)));
        assert!(contradicts(UNCLEAR, "", &segment(" Three.", -0.7, 0.6)));
        assert!(!contradicts(CLEAR, "", &segment(" Three.", -0.7, 0.6)));
        assert!(!contradicts(
            UNCLEAR,
            "",
            &segment(" Thank you, Jim.", -0.1, 0.6)
        ));
    }

    #[test]
    fn symbols_alone_are_no_text() {
        assert!(contradicts(CLEAR, "", &segment(" ♪♪ ...", -0.1, 0.1)));
        assert!(!contradicts(CLEAR, "", &segment(" 5", -0.1, 0.1)));
    }

    #[test]
    fn a_prompt_that_comes_back_from_silence_is_dropped() {
        let echo = segment(" Ask not what", -0.1, 0.5);
        assert!(contradicts(UNCLEAR, "And so, ask not what your", &echo));
        assert!(!contradicts(CLEAR, "And so, ask not what your", &echo));
        assert!(!contradicts(UNCLEAR, "And so, task not what your", &echo));
    }

    #[test]
    fn the_papers_rule_needs_both_signs() {
        assert!(contradicts(CLEAR, "", &segment(" Word.", -1.1, 0.7)));
        assert!(!contradicts(CLEAR, "", &segment(" Word.", -0.9, 0.7)));
        assert!(!contradicts(CLEAR, "", &segment(" Word.", -1.1, 0.5)));
    }

    #[test]
    fn where_nobody_looked_whisper_alone_has_to_be_surer() {
        assert!(!contradicts(&[], "", &segment(" Thank you.", -0.1, 0.5)));
        assert!(!contradicts(&[], "", &segment(" One.", -0.7, 0.7)));
        assert!(contradicts(&[], "", &segment(" Thank you.", -0.1, 0.7)));
        assert!(contradicts(
            &[],
            "Thank you",
            &segment(" Thank you.", -0.1, 0.5)
        ));
    }

    #[test]
    fn digital_silence_says_nothing() {
        let evidence = Evidence {
            audio: &[0.0; 100],
            speech: &[],
            prompt: "",
        };
        assert!(evidence.contradicts(&segment(" Word.", -0.1, 0.0)));
    }

    #[test]
    fn evidence_is_that_of_the_segments_own_time() {
        let mut speech = vec![0.5; 100];
        speech.extend([0.99; 100]);
        let mut thanks = segment(" Thank you.", -0.1, 0.5);
        thanks.end_ms = 1000;
        assert!(contradicts(&speech, "", &thanks));
        (thanks.start_ms, thanks.end_ms) = (4500, 6000);
        assert!(!contradicts(&speech, "", &thanks));
        (thanks.start_ms, thanks.end_ms) = (90_000, 95_000);
        assert!(!contradicts(&speech, "", &thanks));
    }
}
