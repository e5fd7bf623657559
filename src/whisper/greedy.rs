//! The text of one encoded window, the most probable token at a time. Pure, but for the network.

use super::rules::{Token, Vocabulary};
use crate::error::Result;

/// Tokens that a window has room for (whisper.cpp: half the text context, less four).
pub const MAX_TOKENS: usize = 220;
/// A text that ends with this many tokens of one pattern over and over…
const REPEATED_TOKENS: usize = 40;
/// …at least so many times is a loop: nobody says anything 40 tokens long five times in a row.
const REPETITIONS: usize = 5;
/// More tokens a second than this, and at least so many times, is a loop sooner: in the margin behind
/// a short recording its text is written again and again.
const HASTY_TOKENS_PER_SECOND: i64 = 12;
const HASTY_REPETITIONS: usize = 3;
/// A text that is broken off before this has come nowhere.
const LEAST_PROGRESS_MS: i64 = 500;
/// An end that comes this close to the end of the audio is the last (whisper.cpp's own figure).
const END_TOLERANCE_MS: i64 = 100;

/// The decoder after its prompt.
pub trait Network {
    /// The logits for the first token, to be used up.
    fn first(&mut self) -> Result<&mut [f32]>;
    /// Feeds one token more and gives the logits for the next, to be used up.
    fn feed(&mut self, token: i32) -> Result<&mut [f32]>;
    /// Forgets all that was fed but the first `kept` tokens.
    fn rewind(&mut self, kept: usize);
}

/// How long a text can be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of the audio.
    pub audio_ms: i64,
    /// Tokens that can have been said in it.
    pub tokens: usize,
}

/// Why the text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model says so, or has come to the end of the audio.
    Complete,
    /// It had begun to repeat itself.
    Repetition,
    /// There is more of it than anybody can have spoken.
    TooFast,
    /// It has no more room.
    Full,
    /// It was only wanted if it was probable.
    Improbable,
}

/// What the decoder wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Text and timestamps in order.
    pub tokens: Vec<Token>,
    /// For each of them the next in probability, where that is a word in place of a word.
    pub runners_up: Vec<Option<Token>>,
    /// Why it stopped.
    pub end: End,
}

/// Decodes until the text ends. A text that is broken off goes back to its last timestamp, so that
/// what follows can be heard again, unless it has come no further than the beginning.
pub fn decode(
    network: &mut impl Network,
    vocabulary: &Vocabulary,
    limits: Limits,
) -> Result<Decoded> {
    let first = vocabulary.choose(network.first()?, &[]);
    let nothing = (Vec::new(), Vec::new());
    let mut decoded = follow(network, vocabulary, limits, nothing, first, |_| true)?;
    if decoded.end != End::Complete {
        let time = |token: &Token| vocabulary.time_ms(token.id);
        let mut tokens = decoded.tokens.iter();
        if let Some(last) = tokens.rposition(|token| time(token) >= Some(LEAST_PROGRESS_MS)) {
            decoded.tokens.truncate(last + 1);
            decoded.runners_up.truncate(last + 1);
        }
    }
    Ok(decoded)
}

/// Decodes on from `before`, tokens and their runners-up that the network was fed, and `next`, as long
/// as `is_wanted` says so of the tokens.
pub fn follow(
    network: &mut impl Network,
    vocabulary: &Vocabulary,
    limits: Limits,
    before: (Vec<Token>, Vec<Option<Token>>),
    next: (Token, Option<Token>),
    is_wanted: impl Fn(&[Token]) -> bool,
) -> Result<Decoded> {
    let (mut tokens, mut runners_up) = before;
    let (mut token, mut runner_up) = next;
    let texts = tokens.iter().map(|token| token.id);
    let mut texts: Vec<i32> = texts.filter(|&id| vocabulary.is_text(id)).collect();
    let end = loop {
        if token.id == vocabulary.end_of_text {
            break End::Complete;
        }
        tokens.push(token);
        runners_up.push(runner_up);
        match vocabulary.time_ms(token.id) {
            Some(ms) if ms + END_TOLERANCE_MS >= limits.audio_ms && !texts.is_empty() => {
                break End::Complete;
            }
            Some(_) => {}
            None => texts.push(token.id),
        }
        if is_loop(&texts) || is_hasty_loop(&texts, limits.audio_ms) {
            break End::Repetition;
        }
        if tokens.len() >= limits.tokens {
            break End::TooFast;
        }
        if tokens.len() >= MAX_TOKENS {
            break End::Full;
        }
        if !is_wanted(&tokens) {
            break End::Improbable;
        }
        (token, runner_up) = vocabulary.choose(network.feed(token.id)?, &tokens);
    };
    Ok(Decoded {
        tokens,
        runners_up,
        end,
    })
}

/// Whether the text ends with one pattern over and over.
pub fn is_loop(texts: &[i32]) -> bool {
    (1..=REPEATED_TOKENS / REPETITIONS * 2).any(|period| {
        let needed = REPEATED_TOKENS.max(REPETITIONS * period);
        texts.len() >= needed && {
            let tail = &texts[texts.len() - needed..];
            tail[period..] == tail[..needed - period]
        }
    })
}

/// Whether all of the text is one pattern so many times, or more.
pub fn is_all_repetition(texts: &[i32], times: usize) -> bool {
    (1..=texts.len() / times).any(|period| texts[period..] == texts[..texts.len() - period])
}

fn is_hasty_loop(texts: &[i32], audio_ms: i64) -> bool {
    texts.len() as i64 * 1000 > audio_ms * HASTY_TOKENS_PER_SECOND
        && is_all_repetition(texts, HASTY_REPETITIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_OF_TEXT: i32 = 100;
    const FIRST_TIME: i32 = 110;

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(END_OF_TEXT, FIRST_TIME, 105, true, |_| b" w")
    }

    /// Wants the tokens of a script, and after them the end.
    struct Script {
        wanted: Vec<i32>,
        fed: Vec<i32>,
        logits: Vec<f32>,
    }

    impl Script {
        fn new(wanted: &[i32]) -> Self {
            Self {
                wanted: wanted.to_vec(),
                fed: Vec::new(),
                logits: Vec::new(),
            }
        }

        fn want(&mut self) -> &mut [f32] {
            let next = self.wanted.get(self.fed.len()).unwrap_or(&END_OF_TEXT);
            self.logits = vec![0.0; FIRST_TIME as usize + 1501];
            self.logits[*next as usize] = 20.0;
            &mut self.logits
        }
    }

    impl Network for Script {
        fn feed(&mut self, token: i32) -> Result<&mut [f32]> {
            self.fed.push(token);
            Ok(self.want())
        }

        fn first(&mut self) -> Result<&mut [f32]> {
            Ok(self.want())
        }

        fn rewind(&mut self, kept: usize) {
            self.fed.truncate(kept);
        }
    }

    fn at(seconds: f32) -> i32 {
        FIRST_TIME + (seconds * 50.0) as i32
    }

    fn run(wanted: &[i32], audio_ms: i64) -> (Vec<i32>, End, usize) {
        let mut network = Script::new(wanted);
        let limits = Limits {
            audio_ms,
            tokens: 1000,
        };
        let decoded = decode(&mut network, &vocabulary(), limits).unwrap();
        let ids = decoded.tokens.iter().map(|token| token.id).collect();
        (ids, decoded.end, network.fed.len())
    }

    #[test]
    fn decodes_until_the_end_of_the_text() {
        let wanted = [at(0.0), 5, 6, at(2.0)];
        assert_eq!(run(&wanted, 5000), (wanted.to_vec(), End::Complete, 4));
    }

    #[test]
    fn the_end_of_the_audio_is_the_end_of_the_text() {
        let wanted = [at(0.0), 5, at(1.92), at(1.92), 6, 7, 8];
        let (ids, end, fed) = run(&wanted, 2000);
        assert_eq!((ids, end, fed), (wanted[..3].to_vec(), End::Complete, 2));
    }

    #[test]
    fn a_text_does_not_end_before_it_has_begun() {
        let wanted = [at(0.5), 5, 6];
        assert_eq!(run(&wanted, 600).0, wanted);
    }

    #[test]
    fn a_loop_is_left_as_soon_as_it_is_one() {
        let mut wanted = vec![at(0.0), 1, 2, 3];
        wanted.extend([7, 8, 9].repeat(70));
        let (ids, end, _) = run(&wanted, 30_000);
        assert_eq!(end, End::Repetition);
        assert!(ids.len() < 50, "{}", ids.len());
    }

    #[test]
    fn what_people_repeat_is_no_loop() {
        assert!(!is_loop(&[7; 39]));
        assert!(!is_loop(&(0..12).collect::<Vec<_>>().repeat(4)));
        let mut counting: Vec<i32> = (0..90).flat_map(|number| [7, number]).collect();
        assert!(!is_loop(&counting));
        counting.extend([7; 40]);
        assert!(is_loop(&counting));
        assert!(is_loop(&(0..12).collect::<Vec<_>>().repeat(5)));
    }

    #[test]
    fn a_text_that_comes_faster_than_anybody_speaks_is_a_loop_sooner() {
        let mut wanted = vec![at(0.0)];
        wanted.extend([7, 8].repeat(100));
        let (ids, end, _) = run(&wanted, 1000);
        assert_eq!((ids.len(), end), (14, End::Repetition));
        assert_eq!(run(&wanted, 10_000).0.len(), 41);
        assert!(is_all_repetition(&[7, 8, 7, 8, 7, 8], 3));
        assert!(!is_all_repetition(&[7, 8, 7, 8], 3));
        assert!(!is_all_repetition(&[6, 7, 8, 7, 8, 7, 8], 3));
        assert!(!is_all_repetition(&[], 2));
    }

    #[test]
    fn a_text_that_goes_on_and_on_is_left() {
        let wanted: Vec<i32> = (0..400).map(|index| index * 7 % 100).collect();
        let (ids, end, _) = run(&wanted, 30_000);
        assert_eq!((ids.len(), end), (MAX_TOKENS, End::Full));
        let mut network = Script::new(&wanted);
        let limits = Limits {
            audio_ms: 1000,
            tokens: 40,
        };
        let hasty = decode(&mut network, &vocabulary(), limits).unwrap();
        assert_eq!((hasty.tokens.len(), hasty.end), (40, End::TooFast));
    }

    #[test]
    fn a_text_that_is_broken_off_goes_back_to_its_last_timestamp() {
        let mut wanted = vec![at(0.0), 5, at(2.0), at(2.2)];
        wanted.extend((0..400).map(|index| index * 7 % 100));
        let (ids, end, _) = run(&wanted, 30_000);
        assert_eq!((ids, end), (wanted[..4].to_vec(), End::Full));
        // From the very beginning there is nothing to go back to.
        wanted.splice(..4, [at(0.0)]);
        assert_eq!(run(&wanted, 30_000).0.len(), MAX_TOKENS);
    }
}
