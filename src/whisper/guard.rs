//! Can this text be believed, and if not, what next: the full window, then the temperature ladder of
//! the Whisper paper, section 4.5. Pure.

use std::collections::HashMap;

use miniz_oxide::deflate::compress_to_vec_zlib;

use super::WindowSegment;
use super::greedy::{End, is_all_repetition, is_loop};
use super::rules::Token;
use crate::error::Result;

/// Below this mean log probability the paper decodes again.
const MIN_AVG_LOG_PROB: f32 = -1.0;
/// A sized window loses some of what the full one hears in a recording of one to three seconds, the
/// more the larger the model is, and is less sure then: docs/benchmarks.md.
pub const MIN_AVG_LOG_PROB_SIZED: f32 = -0.6;
/// Longer ones lose nothing.
const MAX_LOSSY_MS: i64 = 10_000;
/// A text that zlib makes this many times shorter repeats itself (the paper's figure).
const MAX_COMPRESSION_RATIO: f32 = 2.4;
/// zlib's own default.
const ZLIB_LEVEL: u8 = 6;
/// Repetition shows in the last tokens too: fewer than this many are not judged.
const REPETITION_TOKENS: usize = 32;
/// Entropy in nats under which the last tokens repeat themselves; whisper.cpp's own threshold.
const MIN_ENTROPY: f32 = 2.4;
/// Nobody speaks faster for the length of a segment: English has some five tokens a second.
const MAX_TOKENS_PER_SECOND: u64 = 12;

/// One decoding of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What came out.
    pub segments: Vec<WindowSegment>,
    /// The text tokens of each segment.
    pub texts: Vec<Vec<Token>>,
    /// Why it stopped.
    pub end: End,
    /// Where the model says that the last segment begins and ends, in milliseconds of the window.
    pub last_ms: (i64, i64),
    /// Text tokens of the last segment.
    pub last_tokens: usize,
    /// How far the window was heard: all of it, or up to where the text ends and speech may follow.
    pub heard_ms: i64,
}

/// Why an attempt is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The tokens are improbable.
    LowProbability,
    /// The tokens repeat themselves.
    Repetition,
    /// There are more than anybody speaks in this time.
    TooFast,
    /// The last segment goes on behind the audio, and nobody can have said it before that.
    PastEnd,
}

/// How to decode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Try {
    /// With the encoder's full window, instead of one that is sized to the audio.
    pub full_window: bool,
    /// 0 takes what is most probable, above it draws.
    pub temperature: f32,
}

/// The order of tries: the sized window, if the window is one, then the full one, and that at the
/// other temperatures.
pub fn tries(temperatures: &[f32], is_sized: bool) -> impl Iterator<Item = Try> {
    let once = temperatures.iter().take(usize::from(is_sized));
    let sized = once.map(|&temperature| Try {
        full_window: false,
        temperature,
    });
    sized.chain(temperatures.iter().map(|&temperature| Try {
        full_window: true,
        temperature,
    }))
}

impl Attempt {
    /// Mean log probability of the text tokens; 0 without any.
    pub fn avg_log_prob(&self) -> f32 {
        let count = self.tokens().count().max(1);
        self.tokens().map(|token| token.log_prob).sum::<f32>() / count as f32
    }

    /// Every text token in order.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.texts.iter().flatten()
    }

    /// The reason not to believe it, if there is one.
    pub fn doubt(&self, audio_ms: i64, full_window: bool) -> Option<Doubt> {
        let least = if full_window || audio_ms > MAX_LOSSY_MS {
            MIN_AVG_LOG_PROB
        } else {
            MIN_AVG_LOG_PROB_SIZED
        };
        if self.repeats() || (!full_window && self.says_one_thing()) {
            Some(Doubt::Repetition)
        } else if self.end == End::TooFast {
            Some(Doubt::TooFast)
        } else if self.runs_past(audio_ms) {
            Some(Doubt::PastEnd)
        } else if self.avg_log_prob() < least {
            Some(Doubt::LowProbability)
        } else {
            None
        }
    }

    fn runs_past(&self, audio_ms: i64) -> bool {
        let (start_ms, end_ms) = self.last_ms;
        let room_ms = u64::try_from(audio_ms - start_ms).unwrap_or(0);
        end_ms > audio_ms && self.last_tokens as u64 * 1000 > room_ms * MAX_TOKENS_PER_SECOND
    }

    fn repeats(&self) -> bool {
        let ids: Vec<i32> = self.tokens().map(|token| token.id).collect();
        self.end == End::Repetition
            || is_loop(&ids)
            || ids
                .last_chunk::<REPETITION_TOKENS>()
                .is_some_and(|last| entropy(last) < MIN_ENTROPY)
            || self.compression_ratio() > MAX_COMPRESSION_RATIO
    }

    /// A sized window may write a short text twice, in the margin behind it. People say a thing twice,
    /// too: the full window is believed in it.
    fn says_one_thing(&self) -> bool {
        let ids: Vec<i32> = self.tokens().map(|token| token.id).collect();
        is_all_repetition(&ids, 2)
    }

    /// People do say a thing again. A decoder that has lost its way does not end by itself, and not
    /// with the same words in a window of another size.
    fn says_the_same(&self, other: &Self) -> bool {
        let ids = |attempt: &Self| -> Vec<i32> { attempt.tokens().map(|token| token.id).collect() };
        let ended = |attempt: &Self| attempt.end == End::Complete && !is_loop(&ids(attempt));
        let spoken = |attempt: &Self| -> String {
            let written = attempt.segments.iter().flat_map(|s| s.text.chars());
            let letters = written.filter(|letter| letter.is_alphanumeric());
            letters.flat_map(char::to_lowercase).collect()
        };
        ended(self) && ended(other) && spoken(self) == spoken(other)
    }

    fn compression_ratio(&self) -> f32 {
        let text: String = self.segments.iter().map(|s| s.text.as_str()).collect();
        let compressed = compress_to_vec_zlib(text.as_bytes(), ZLIB_LEVEL);
        text.len() as f32 / compressed.len().max(1) as f32
    }
}

fn entropy(ids: &[i32]) -> f32 {
    let mut counts: HashMap<i32, u32> = HashMap::new();
    for id in ids {
        *counts.entry(*id).or_default() += 1;
    }
    counts
        .values()
        .map(|count| {
            let share = *count as f32 / ids.len() as f32;
            -share * share.ln()
        })
        .sum()
}

/// Tries until the result can be believed. If none can, the most probable one that does not repeat
/// itself is taken, or else the most probable: text is never thrown away for being improbable, nor
/// because the next try has none. No try, no text.
pub fn climb(
    tries: impl Iterator<Item = Try>,
    audio_ms: i64,
    mut decode: impl FnMut(Try) -> Result<Attempt>,
) -> Result<Option<Attempt>> {
    let mut best: Option<((bool, f32), Attempt)> = None;
    for next in tries {
        let attempt = decode(next)?;
        if best.is_some() && attempt.tokens().next().is_none() {
            break;
        }
        let Some(doubt) = attempt.doubt(audio_ms, next.full_window) else {
            return Ok(Some(attempt));
        };
        tracing::debug!(
            ?doubt,
            audio_ms,
            last_start_ms = attempt.last_ms.0,
            last_end_ms = attempt.last_ms.1,
            avg_log_prob = attempt.avg_log_prob(),
            full_window = next.full_window,
            temperature = next.temperature,
            "the text cannot be believed"
        );
        let again = best
            .as_ref()
            .is_some_and(|(_, best)| best.says_the_same(&attempt));
        if doubt == Doubt::Repetition && again {
            return Ok(Some(attempt));
        }
        let rank = (doubt != Doubt::Repetition, attempt.avg_log_prob());
        if best.as_ref().is_none_or(|(best, _)| rank > *best) {
            best = Some((rank, attempt));
        }
    }
    Ok(best.map(|(_, attempt)| attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIO_MS: i64 = 10_000;

    /// The text tells the attempts apart.
    fn attempt(texts: Vec<(i32, f32)>) -> Attempt {
        Attempt {
            segments: vec![WindowSegment {
                start_ms: 0,
                end_ms: 1000,
                text: format!("{:?}", texts.first()),
                avg_log_prob: 0.0,
                no_speech_probability: 0.0,
                words: None,
            }],
            texts: vec![
                texts
                    .into_iter()
                    .map(|(id, log_prob)| Token { id, log_prob })
                    .collect(),
            ],
            end: End::Complete,
            last_ms: (0, 1000),
            last_tokens: 20,
            heard_ms: AUDIO_MS,
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
        let doubt = |attempt: Attempt| attempt.doubt(AUDIO_MS, true);
        assert_eq!(doubt(sure()), None);
        assert_eq!(doubt(unsure(-1.5)), Some(Doubt::LowProbability));
        assert_eq!(doubt(unsure(-0.8)), None);
        let sized = unsure(-0.8).doubt(AUDIO_MS, false);
        assert_eq!(sized, Some(Doubt::LowProbability));
        assert_eq!(unsure(-0.8).doubt(MAX_LOSSY_MS + 1, false), None);
        assert_eq!(doubt(looping()), Some(Doubt::Repetition));
        let mut long = sure();
        long.end = End::Full;
        assert_eq!(doubt(long.clone()), None);
        long.end = End::TooFast;
        assert_eq!(doubt(long), Some(Doubt::TooFast));
        let mut late = sure();
        late.last_ms = (AUDIO_MS - 2000, AUDIO_MS + 2000);
        assert_eq!(late.doubt(AUDIO_MS, true), None);
        late.last_ms.0 += 1000;
        assert_eq!(doubt(late), Some(Doubt::PastEnd));
    }

    #[test]
    fn sentences_that_come_again_and_again_are_a_repetition() {
        // Too long a pattern for the last tokens to show it.
        let sentence = "The quick brown fox jumps over the lazy dog near the bank of the river. ";
        let mut song = sure();
        song.segments[0].text = sentence.repeat(4);
        assert_eq!(song.doubt(AUDIO_MS, true), Some(Doubt::Repetition));
        song.segments[0].text = sentence.into();
        assert_eq!(song.doubt(AUDIO_MS, true), None);
    }

    #[test]
    fn a_repetition_is_believed_when_the_next_window_hears_it_too_and_a_loop_never() {
        let mut song = sure();
        song.segments[0].text = "what you can do for your country ".repeat(8);
        assert_eq!(song.doubt(AUDIO_MS, true), Some(Doubt::Repetition));
        let heard_twice = [song.clone(), song.clone(), sure()];
        assert_eq!(climbed(&heard_twice), (Some(song.clone()), 2));
        let mut other = song.clone();
        other.segments[0].text = "What you can do, for your country. ".repeat(8);
        assert_eq!(
            climbed(&[song.clone(), other.clone()]),
            (Some(other.clone()), 2)
        );
        other.segments[0].text += "no";
        assert_eq!(climbed(&[song.clone(), other, sure()]), (Some(sure()), 3));
        assert_eq!(climbed(&[looping(), looping(), sure()]).1, 3);
        song.end = End::Repetition;
        assert_eq!(climbed(&[song.clone(), song, sure()]).1, 3);
    }

    #[test]
    fn a_text_of_one_word_is_believed_when_the_full_window_says_so_too() {
        let no = attempt(vec![(7, -0.1); 2]);
        assert_eq!(no.doubt(AUDIO_MS, false), Some(Doubt::Repetition));
        assert_eq!(no.doubt(AUDIO_MS, true), None);
    }

    #[test]
    fn the_full_window_is_tried_before_the_next_temperature() {
        let order: Vec<(bool, f32)> = tries(&[0.0, 0.2, 0.4], true)
            .map(|next| (next.full_window, next.temperature))
            .collect();
        assert_eq!(order, [(false, 0.0), (true, 0.0), (true, 0.2), (true, 0.4)]);
        assert_eq!(tries(&[0.6], true).count(), 2);
        assert_eq!(tries(&[0.6], false).count(), 1);
        assert_eq!(tries(&[], true).count(), 0);
    }

    fn climbed(attempts: &[Attempt]) -> (Option<Attempt>, usize) {
        let mut made = 0;
        let best = climb(
            tries(&[0.0; 9], false).take(attempts.len()),
            AUDIO_MS,
            |_| {
                made += 1;
                Ok(attempts[made - 1].clone())
            },
        );
        (best.unwrap(), made)
    }

    #[test]
    fn the_first_that_can_be_believed_is_taken() {
        let (best, made) = climbed(&[looping(), sure(), unsure(-2.0)]);
        assert_eq!((best, made), (Some(sure()), 2));
    }

    #[test]
    fn unsure_text_is_kept_and_the_most_probable_of_it() {
        let (best, made) = climbed(&[unsure(-3.0), unsure(-1.5), unsure(-2.0)]);
        assert_eq!((best, made), (Some(unsure(-1.5)), 3));
    }

    #[test]
    fn text_is_not_lost_because_the_next_try_has_none() {
        let nothing = attempt(Vec::new());
        assert_eq!(
            climbed(&[unsure(-1.5), nothing.clone()]),
            (Some(unsure(-1.5)), 2)
        );
        assert_eq!(climbed(&[nothing.clone(), sure()]), (Some(nothing), 1));
    }

    #[test]
    fn a_loop_is_only_taken_when_there_is_nothing_else() {
        assert_eq!(climbed(&[looping(), unsure(-3.0)]).0, Some(unsure(-3.0)));
        assert_eq!(climbed(&[looping()]).0, Some(looping()));
        assert_eq!(climbed(&[]).0, None);
    }

    #[test]
    fn a_failure_ends_it() {
        let mut made = 0;
        let outcome = climb(tries(&[0.0, 0.2], false), AUDIO_MS, |_| {
            made += 1;
            Err(crate::Error::new(crate::ErrorKind::Aborted, "given up"))
        });
        assert!(outcome.is_err());
        assert_eq!(made, 1);
    }
}
