//! The text of one encoded window, the most probable token at a time. Pure, but for the network.

use super::WindowSegment;
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
    /// Feeds one token more and gives the logits for the next, to be used up.
    fn feed(&mut self, token: i32) -> Result<&mut [f32]>;
    /// The logits for the first token.
    fn first(&mut self) -> Result<&mut [f32]>;
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
}

/// What the decoder wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Text and timestamps in order.
    pub tokens: Vec<Token>,
    /// Why it stopped.
    pub end: End,
}

/// Decodes until the text ends, from `audio_ms` of audio, in which at most `plausible` tokens can have
/// been said. A text that is broken off goes back to its last timestamp, so that what follows can be
/// heard again, unless it has come no further than the beginning.
pub fn decode(
    network: &mut impl Network,
    vocabulary: &Vocabulary,
    audio_ms: i64,
    plausible: usize,
) -> Result<Decoded> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut texts: Vec<i32> = Vec::new();
    let mut token = vocabulary.choose(network.first()?, &tokens);
    let end = loop {
        if token.id == vocabulary.end_of_text {
            break End::Complete;
        }
        tokens.push(token);
        match vocabulary.time_ms(token.id) {
            Some(ms) if ms + END_TOLERANCE_MS >= audio_ms => break End::Complete,
            Some(_) => {}
            None => texts.push(token.id),
        }
        if is_loop(&texts) || is_hasty_loop(&texts, audio_ms) {
            break End::Repetition;
        }
        if tokens.len() >= plausible {
            break End::TooFast;
        }
        if tokens.len() >= MAX_TOKENS {
            break End::Full;
        }
        token = vocabulary.choose(network.feed(token.id)?, &tokens);
    };
    if end != End::Complete {
        let time = |token: &Token| vocabulary.time_ms(token.id);
        let last = tokens
            .iter()
            .rposition(|token| time(token) >= Some(LEAST_PROGRESS_MS));
        tokens.truncate(last.map_or(tokens.len(), |last| last + 1));
    }
    Ok(Decoded { tokens, end })
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

/// Cuts the tokens into segments, each with its own text tokens, at their timestamps. What has no end lasts until `audio_ms`, and
/// no time lies behind it. `text` gives the bytes of a token.
pub fn segments<'text>(
    tokens: &[Token],
    vocabulary: &Vocabulary,
    audio_ms: i64,
    no_speech_probability: f32,
    text: impl Fn(i32) -> &'text [u8],
) -> Vec<(WindowSegment, Vec<Token>)> {
    let mut segments = Vec::new();
    let mut start_ms = 0;
    let mut open: Vec<Token> = Vec::new();
    let mut close = |tokens: &mut Vec<Token>, start_ms: i64, end_ms: i64| {
        if tokens.is_empty() {
            return;
        }
        // A character may be spread over tokens.
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|token| text(token.id))
            .copied()
            .collect();
        let log_probs = tokens.iter().map(|token| token.log_prob);
        let segment = WindowSegment {
            start_ms,
            end_ms: end_ms.max(start_ms),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            avg_log_prob: log_probs.sum::<f32>() / tokens.len() as f32,
            no_speech_probability,
            words: None,
        };
        segments.push((segment, std::mem::take(tokens)));
    };
    for token in tokens {
        match vocabulary.time_ms(token.id) {
            Some(ms) => {
                let ms = ms.min(audio_ms);
                close(&mut open, start_ms, ms);
                start_ms = ms;
            }
            None => open.push(*token),
        }
    }
    close(&mut open, start_ms, audio_ms);
    segments
}

/// Where the model says that the last segment begins and ends: what has no end ends with the audio.
pub fn last_segment_ms(tokens: &[Token], vocabulary: &Vocabulary, audio_ms: i64) -> (i64, i64) {
    let times = tokens.iter().rev();
    let mut times = times.filter_map(|token| vocabulary.time_ms(token.id));
    let last_ms = times.next().unwrap_or(0);
    if ends_in_text(tokens, vocabulary) {
        (last_ms, audio_ms.max(last_ms))
    } else {
        (times.next().unwrap_or(0), last_ms)
    }
}

/// Text tokens of the last segment.
pub fn last_segment_tokens(tokens: &[Token], vocabulary: &Vocabulary) -> usize {
    let times = tokens.iter().rev();
    times
        .skip_while(|token| !vocabulary.is_text(token.id))
        .take_while(|token| vocabulary.is_text(token.id))
        .count()
}

/// How far the tokens tell of the window: to their last timestamp, or, where they end in words, to its
/// end.
pub fn heard_ms(tokens: &[Token], vocabulary: &Vocabulary, audio_ms: i64) -> i64 {
    match tokens.last().and_then(|last| vocabulary.time_ms(last.id)) {
        Some(ms) => ms.min(audio_ms),
        None => audio_ms,
    }
}

fn ends_in_text(tokens: &[Token], vocabulary: &Vocabulary) -> bool {
    tokens
        .last()
        .is_some_and(|token| vocabulary.is_text(token.id))
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
    }

    fn at(seconds: f32) -> i32 {
        FIRST_TIME + (seconds * 50.0) as i32
    }

    fn run(wanted: &[i32], audio_ms: i64) -> (Vec<i32>, End, usize) {
        let mut network = Script::new(wanted);
        let decoded = decode(&mut network, &vocabulary(), audio_ms, 1000).unwrap();
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
        let hasty = decode(&mut network, &vocabulary(), 1000, 40).unwrap();
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

    fn cut(ids: &[i32]) -> Vec<(i64, i64, String)> {
        let tokens: Vec<Token> = ids.iter().map(|&id| Token { id, log_prob: -0.5 }).collect();
        let text = |id: i32| -> &'static [u8] {
            match id {
                1 => &"é".as_bytes()[..1],
                2 => &"é".as_bytes()[1..],
                _ => b" w",
            }
        };
        segments(&tokens, &vocabulary(), 5000, 0.1, text)
            .into_iter()
            .map(|(segment, _)| (segment.start_ms, segment.end_ms, segment.text))
            .collect()
    }

    #[test]
    fn segments_are_cut_at_the_timestamps() {
        assert_eq!(
            cut(&[at(0.5), 5, 6, at(2.0), at(2.2), 7, at(9.0)]),
            [(500, 2000, " w w".into()), (2200, 5000, " w".into())]
        );
    }

    #[test]
    fn a_text_without_an_end_or_without_times_is_kept() {
        assert_eq!(
            cut(&[at(0.0), 5, at(2.0), at(2.0), 6]),
            [(0, 2000, " w".into()), (2000, 5000, " w".into())]
        );
        assert_eq!(cut(&[5]), [(0, 5000, " w".into())]);
        assert_eq!(cut(&[at(0.0)]), []);
    }

    #[test]
    fn a_character_that_two_tokens_share_is_whole() {
        assert_eq!(cut(&[at(0.0), 1, 2]), [(0, 5000, "é".into())]);
    }

    #[test]
    fn heard_until_the_last_timestamp_unless_the_text_goes_on_to_the_end() {
        let heard = |ids: &[i32]| {
            let tokens: Vec<Token> = ids.iter().map(|&id| Token { id, log_prob: 0.0 }).collect();
            heard_ms(&tokens, &vocabulary(), 5000)
        };
        let open = [at(0.0), 5, at(2.0), at(2.0), 6];
        assert_eq!(heard(&open[..3]), 2000);
        assert_eq!(heard(&open), 5000);
        assert_eq!(heard(&[at(0.0), 5, at(7.0)]), 5000);
        assert_eq!(heard(&[]), 5000);
    }

    #[test]
    fn the_last_segment_is_where_the_model_says() {
        let last = |ids: &[i32]| {
            let tokens: Vec<Token> = ids.iter().map(|&id| Token { id, log_prob: 0.0 }).collect();
            let (start_ms, end_ms) = last_segment_ms(&tokens, &vocabulary(), 5000);
            (
                start_ms,
                end_ms,
                last_segment_tokens(&tokens, &vocabulary()),
            )
        };
        assert_eq!(
            last(&[at(0.0), 5, at(2.0), at(2.5), 6, at(7.0)]),
            (2500, 7000, 1)
        );
        assert_eq!(last(&[at(0.0), 5, at(2.0), at(2.5), 6, 7]), (2500, 5000, 2));
        assert_eq!(last(&[5]), (0, 5000, 1));
        assert_eq!(last(&[]), (0, 0, 0));
    }
}
