//! Can this text be believed, and if not, what next: the temperature ladder of the Whisper paper,
//! section 4.5. Pure.

use std::collections::HashMap;

use super::WindowSegment;
use crate::error::Result;

/// Below this mean log probability the paper decodes again.
const MIN_AVG_LOG_PROB: f32 = -1.0;
/// Repetition shows in the last tokens: fewer than this many are judged by probability alone.
const REPETITION_TOKENS: usize = 32;
/// Entropy in nats under which the last tokens repeat themselves; whisper.cpp's own threshold.
const MIN_ENTROPY: f32 = 2.4;

/// One decoding of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What came out.
    pub segments: Vec<WindowSegment>,
    /// Every text token in order, with its natural-log probability.
    pub tokens: Vec<(i32, f32)>,
}

/// Why an attempt is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The tokens are improbable.
    LowProbability,
    /// The tokens repeat themselves.
    Repetition,
}

impl Attempt {
    /// Mean log probability of the text tokens; 0 without any.
    pub fn avg_log_prob(&self) -> f32 {
        if self.tokens.is_empty() {
            return 0.0;
        }
        self.tokens
            .iter()
            .map(|(_, log_prob)| log_prob)
            .sum::<f32>()
            / self.tokens.len() as f32
    }

    /// The reason not to believe it, if there is one.
    pub fn doubt(&self) -> Option<Doubt> {
        if self.avg_log_prob() < MIN_AVG_LOG_PROB {
            Some(Doubt::LowProbability)
        } else if self.repeats() {
            Some(Doubt::Repetition)
        } else {
            None
        }
    }

    fn repeats(&self) -> bool {
        self.tokens
            .last_chunk::<REPETITION_TOKENS>()
            .is_some_and(|last| entropy(last) < MIN_ENTROPY)
    }
}

fn entropy(tokens: &[(i32, f32)]) -> f32 {
    let mut counts: HashMap<i32, u32> = HashMap::new();
    for (token, _) in tokens {
        *counts.entry(*token).or_default() += 1;
    }
    counts
        .values()
        .map(|count| {
            let share = *count as f32 / tokens.len() as f32;
            -share * share.ln()
        })
        .sum()
}

/// Decodes at each temperature until the result can be believed. If none can, the most probable
/// one that does not repeat itself is taken, or else the most probable: text is never thrown away
/// for being improbable. No temperature, no text.
pub fn climb(
    temperatures: &[f32],
    mut decode: impl FnMut(f32) -> Result<Attempt>,
) -> Result<Vec<WindowSegment>> {
    let mut best: Option<Attempt> = None;
    for &temperature in temperatures {
        let attempt = decode(temperature)?;
        let Some(doubt) = attempt.doubt() else {
            return Ok(attempt.segments);
        };
        tracing::debug!(?doubt, temperature, "the text cannot be believed");
        let rank = |attempt: &Attempt| (!attempt.repeats(), attempt.avg_log_prob());
        if best.as_ref().is_none_or(|best| rank(&attempt) > rank(best)) {
            best = Some(attempt);
        }
    }
    Ok(best.map(|attempt| attempt.segments).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The segment tells the attempts apart.
    fn attempt(tokens: Vec<(i32, f32)>) -> Attempt {
        Attempt {
            segments: vec![WindowSegment {
                start_ms: 0,
                end_ms: 1000,
                text: format!("{:?}", tokens.first()),
                avg_log_prob: 0.0,
                no_speech_probability: 0.0,
            }],
            tokens,
        }
    }

    fn sure() -> Attempt {
        attempt((0..40).map(|token| (token, -0.2)).collect())
    }

    fn unsure(log_prob: f32) -> Attempt {
        attempt((0..40).map(|token| (token, log_prob)).collect())
    }

    fn looping() -> Attempt {
        attempt((0..40).map(|token| (token % 4, -0.05)).collect())
    }

    #[test]
    fn doubts_are_told_apart() {
        assert_eq!(sure().doubt(), None);
        assert_eq!(unsure(-1.5).doubt(), Some(Doubt::LowProbability));
        assert_eq!(looping().doubt(), Some(Doubt::Repetition));
        assert_eq!(attempt(vec![]).doubt(), None);
    }

    #[test]
    fn a_short_sentence_may_repeat_a_word() {
        let no_no_no = attempt(vec![(7, -0.3); 6]);
        assert_eq!(no_no_no.doubt(), None);
    }

    #[test]
    fn the_ladder_is_climbed_only_while_in_doubt() {
        let mut tried = Vec::new();
        let result = climb(&[0.0, 0.2, 0.4], |temperature| {
            tried.push(temperature);
            Ok(if temperature < 0.2 { looping() } else { sure() })
        });
        assert_eq!(tried, [0.0, 0.2]);
        assert_eq!(result.unwrap(), sure().segments);
    }

    #[test]
    fn if_nothing_can_be_believed_the_best_is_taken_and_nothing_deleted() {
        let mut attempts = vec![looping(), unsure(-1.2), unsure(-3.0)].into_iter();
        let result = climb(&[0.0, 0.5, 1.0], |_| Ok(attempts.next().unwrap()));
        assert_eq!(result.unwrap(), unsure(-1.2).segments);
    }
}
