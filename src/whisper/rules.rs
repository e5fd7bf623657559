//! Which token may come next, and which one does: OpenAI's decoding rules for Whisper with
//! timestamps (Whisper paper, section 2.3, and its reference code). Pure.

use super::softmax::{exponentials, maximum, position_of_maximum};

/// A text may begin up to this many timestamps of 20 ms into the window: one second.
const LATEST_FIRST_TIMESTAMP: usize = 50;
/// A timestamp token stands for a multiple of this.
pub const TIMESTAMP_MS: i64 = 20;

/// What the model's tokens mean.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// Ends the text; every token below it is text.
    pub end_of_text: i32,
    /// Stands for 0 s; every token from it on is a timestamp.
    pub first_timestamp: i32,
    /// Its probability at the beginning says whether anybody speaks.
    pub no_speech: i32,
    /// Never written: symbols that are not speech, and what only a prompt holds.
    suppressed: Vec<i32>,
    /// Not written first: a text does not begin with a lone space.
    blank: Option<i32>,
    /// The model writes timestamps.
    pub timed: bool,
}

/// A token that was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: i32,
    /// Natural-log probability among all that were allowed.
    pub log_prob: f32,
}

impl Vocabulary {
    /// `text` gives the bytes of a token below `end_of_text`. Of the special tokens only timestamps
    /// and the end are ever written.
    pub fn new<'text>(
        end_of_text: i32,
        first_timestamp: i32,
        no_speech: i32,
        timed: bool,
        text: impl Fn(i32) -> &'text [u8],
    ) -> Self {
        let is_symbol = |id: &i32| is_not_speech(text(*id));
        Self {
            end_of_text,
            first_timestamp,
            no_speech,
            suppressed: (0..end_of_text)
                .filter(is_symbol)
                .chain(end_of_text + 1..first_timestamp)
                .collect(),
            blank: (0..end_of_text).find(|&id| text(id) == b" "),
            timed,
        }
    }

    /// Whether the token is a word or part of one.
    pub fn is_text(&self, id: i32) -> bool {
        id < self.end_of_text
    }

    /// The time that a timestamp token stands for, in milliseconds of the window.
    pub fn time_ms(&self, id: i32) -> Option<i64> {
        let steps = id.checked_sub(self.first_timestamp)?;
        (steps >= 0).then(|| i64::from(steps) * TIMESTAMP_MS)
    }

    /// The most probable token after `before`, and the next to it where both are words or parts of
    /// words. `logits` has one number for each token, and is used up.
    pub fn choose(&self, logits: &mut [f32], before: &[Token]) -> (Token, Option<Token>) {
        const NEVER: f32 = f32::NEG_INFINITY;
        let times = index(self.first_timestamp).min(logits.len());
        let texts = index(self.end_of_text).min(times);
        for &id in &self.suppressed {
            if let Some(logit) = logits.get_mut(index(id)) {
                *logit = NEVER;
            }
        }
        let is_time = |token: &Token| token.id >= self.first_timestamp;
        // Timestamps come in pairs, end and start, except before the end of the text.
        match before {
            [] => {
                for id in [Some(self.end_of_text), self.blank].into_iter().flatten() {
                    logits[index(id)] = NEVER;
                }
                let latest = (times + LATEST_FIRST_TIMESTAMP + 1).min(logits.len());
                logits[latest..].fill(NEVER);
            }
            [.., last] if is_time(last) => {
                let pair = before.len() < 2 || is_time(&before[before.len() - 2]);
                if pair {
                    logits[times..].fill(NEVER);
                } else {
                    logits[..texts].fill(NEVER);
                }
            }
            _ => {}
        }
        if !self.timed {
            logits[times..].fill(NEVER);
        }
        // Time does not go back, and a segment is not empty.
        if let Some(latest) = before.iter().rfind(|token| is_time(token)) {
            let follows_end = before.last().is_some_and(is_time);
            let from = (index(latest.id) + usize::from(!follows_end)).min(logits.len());
            logits[times..from].fill(NEVER);
        }

        let highest = maximum(logits);
        let shares = exponentials(logits, highest);
        let timed = exponentials(&logits[times..], highest);
        // Together the timestamps may be likelier than any one word.
        let is_timed = timed.ln() + highest > maximum(&logits[..times]);
        let from = if is_timed { times } else { 0 };
        let log_sum = highest + shares.ln();
        let take = |logits: &mut [f32]| {
            let id = position_of_maximum(&logits[from..]) + from;
            let logit = logits.get_mut(id).filter(|logit| logit.is_finite())?;
            Some(Token {
                // A vocabulary has some 50,000 tokens.
                id: id as i32,
                log_prob: std::mem::replace(logit, NEVER) - log_sum,
            })
        };
        let Some(best) = take(logits) else {
            // Nothing is allowed, or the network gave no numbers.
            let end = Token {
                id: self.end_of_text,
                log_prob: NEVER,
            };
            return (end, None);
        };
        let is_text = |token: &Token| self.is_text(token.id);
        let next = || take(logits).filter(is_text);
        (best, is_text(&best).then(next).flatten())
    }
}

/// Symbols that annotate rather than speak, as OpenAI's tokenizer lists them, alone or after a
/// space. Hyphen and apostrophe are part of words, but do not begin one.
fn is_not_speech(text: &[u8]) -> bool {
    const SYMBOLS: &[&str] = &[
        "\"",
        "#",
        "(",
        ")",
        "*",
        "+",
        "/",
        ":",
        ";",
        "<",
        "=",
        ">",
        "@",
        "[",
        "\\",
        "]",
        "^",
        "_",
        "`",
        "{",
        "|",
        "}",
        "~",
        "「",
        "」",
        "『",
        "』",
        "<<",
        ">>",
        "<<<",
        ">>>",
        "--",
        "---",
        "-(",
        "-[",
        "('",
        "(\"",
        "((",
        "))",
        "(((",
        ")))",
        "[[",
        "]]",
        "{{",
        "}}",
        "♪♪",
        "♪♪♪",
        "♩",
        "♪",
        "♫",
        "♬",
        "♭",
        "♮",
        "♯",
    ];
    // Of the notes of music most vocabularies know only the first two bytes.
    const NOTE: &[u8] = b"\xe2\x99";
    let bare = text.strip_prefix(b" ").unwrap_or(text);
    matches!(text, b" -" | b" '")
        || bare == NOTE
        || SYMBOLS.iter().any(|symbol| symbol.as_bytes() == bare)
}

pub fn index(id: i32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i32 = 10;
    const NO_SPEECH: i32 = 12;
    const FIRST_TIME: i32 = 14;
    const SIZE: usize = 14 + 101;

    fn vocabulary() -> Vocabulary {
        let text = |id: i32| -> &'static [u8] {
            match id {
                0 => b" ",
                1 => b" -",
                2 => b"[",
                3 => &" ♪".as_bytes()[..3],
                _ => b" word",
            }
        };
        Vocabulary::new(END, FIRST_TIME, NO_SPEECH, true, text)
    }

    #[test]
    fn a_model_without_timestamps_writes_none() {
        let untimed = Vocabulary::new(END, FIRST_TIME, NO_SPEECH, false, |_| b" word");
        let mut logits = vec![0.0; SIZE];
        logits[index(FIRST_TIME)] = 30.0;
        logits[7] = 20.0;
        assert_eq!(untimed.choose(&mut logits, &[]).0.id, 7);
    }

    fn choose(favourites: &[(i32, f32)], before: &[i32]) -> i32 {
        let mut logits = vec![0.0; SIZE];
        for (id, logit) in favourites {
            logits[index(*id)] = *logit;
        }
        let before: Vec<Token> = before
            .iter()
            .map(|&id| Token { id, log_prob: 0.0 })
            .collect();
        vocabulary().choose(&mut logits, &before).0.id
    }

    fn time(seconds: f32) -> i32 {
        FIRST_TIME + (seconds * 50.0) as i32
    }

    #[test]
    fn symbols_and_prompt_tokens_are_never_written() {
        for forbidden in [1, 2, 3, 11, 12, 13] {
            assert_eq!(
                choose(&[(forbidden, 30.0), (7, 20.0)], &[time(0.0)]),
                7,
                "{forbidden}"
            );
        }
    }

    #[test]
    fn a_text_begins_with_neither_a_space_nor_its_end_nor_late() {
        assert_eq!(choose(&[(0, 30.0), (END, 25.0), (7, 20.0)], &[]), 7);
        assert_eq!(
            choose(&[(time(1.5), 30.0), (time(1.0), 20.0)], &[]),
            time(1.0)
        );
        assert_eq!(choose(&[(0, 30.0), (7, 20.0)], &[7]), 0);
    }

    #[test]
    fn timestamps_come_in_pairs() {
        // A lone one is followed by its pair or the end, a pair by text.
        assert_eq!(
            choose(&[(7, 30.0), (time(1.0), 20.0)], &[time(0.0), 7, time(1.0)]),
            time(1.0)
        );
        assert_eq!(
            choose(&[(7, 30.0), (END, 20.0)], &[time(0.0), 7, time(1.0)]),
            END
        );
        let pair = [time(0.0), 7, time(1.0), time(1.0)];
        assert_eq!(choose(&[(time(1.2), 30.0), (7, 20.0)], &pair), 7);
        assert_eq!(choose(&[(time(1.2), 30.0), (7, 20.0)], &[time(0.0)]), 7);
    }

    #[test]
    fn time_does_not_go_back_and_a_segment_is_not_empty() {
        let inside = [time(0.0), 7, time(1.0), time(1.0), 8];
        let favourites = [(time(0.5), 30.0), (time(1.0), 25.0), (time(1.4), 20.0)];
        assert_eq!(choose(&favourites, &inside), time(1.4));
        // The next segment may begin where this one ends.
        assert_eq!(choose(&favourites, &inside[..3]), time(1.0));
    }

    #[test]
    fn timestamps_that_are_likelier_together_win() {
        let mut spread: Vec<(i32, f32)> = (0..20).map(|step| (time(1.0) + step, 9.0)).collect();
        spread.push((7, 10.0));
        assert_eq!(choose(&spread, &[time(0.0), 8]), time(1.0));
        spread.truncate(1);
        spread.push((7, 10.0));
        assert_eq!(choose(&spread, &[time(0.0), 8]), 7);
    }

    #[test]
    fn log_probabilities_are_among_what_is_allowed() {
        let mut logits = vec![f32::NEG_INFINITY; SIZE];
        logits[7] = 1.0;
        logits[8] = 0.0;
        logits[2] = 5.0;
        let (token, _) = vocabulary().choose(
            &mut logits,
            &[Token {
                id: 9,
                log_prob: 0.0,
            }],
        );
        let expected = (1.0_f32.exp() / (1.0_f32.exp() + 1.0)).ln();
        assert_eq!(token.id, 7);
        assert!((token.log_prob - expected).abs() < 1e-4);
    }

    #[test]
    fn a_network_without_numbers_ends_the_text() {
        let mut logits = vec![f32::NAN; SIZE];
        assert_eq!(vocabulary().choose(&mut logits, &[]).0.id, END);
    }
}
