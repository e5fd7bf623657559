//! Words and their times, from tokens and the moments at which they end. Pure.

use super::evidence::{STEP_MS, is_silent_at};
use super::rules::Token;

/// The least that is left of a word.
const LEAST_MS: i64 = 2 * STEP_MS;
/// So many silent steps are a pause, some 100 ms; the closures within words are shorter.
const PAUSE_STEPS: usize = 3;
/// Longest word, as a multiple of the median one, where nobody looked for silence: a longer one has
/// a pause before it (OpenAI's figures).
const LONGEST_OF_MEDIAN: i64 = 2;
/// The median word counts for no more than this.
const MEDIAN_AT_MOST_MS: i64 = 700;

/// A word on the window's own timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowWord {
    /// Start, in milliseconds of the window.
    pub start_ms: i64,
    /// End, in milliseconds of the window.
    pub end_ms: i64,
    /// The word with its punctuation, without spaces around it.
    pub text: String,
    /// Mean probability of its tokens.
    pub probability: f32,
}

/// The words of one segment. `ends_ms` has the end of each token, or of as many as are known;
/// `start_ms` is where the first may begin, `end_ms` where the last must end. `text` gives the bytes
/// of a token, `speech` the probability of speech in each 32 ms, if anybody looked.
pub fn words<'text>(
    tokens: &[Token],
    ends_ms: &[i64],
    (start_ms, end_ms): (i64, i64),
    text: impl Fn(i32) -> &'text [u8],
    speech: &[f32],
) -> Vec<WindowWord> {
    let mut words: Vec<WindowWord> = Vec::new();
    let mut from_ms = start_ms;
    for range in split(tokens, &text) {
        let bytes: Vec<u8> = tokens[range.clone()]
            .iter()
            .flat_map(|token| text(token.id))
            .copied()
            .collect();
        let until_ms = ends_ms.get(range.end - 1).copied().unwrap_or(end_ms);
        let until_ms = until_ms.clamp(from_ms, end_ms.max(from_ms));
        let probabilities = tokens[range.clone()]
            .iter()
            .map(|token| token.log_prob.exp());
        words.push(WindowWord {
            start_ms: from_ms,
            end_ms: until_ms,
            text: String::from_utf8_lossy(&bytes).trim().to_owned(),
            probability: probabilities.sum::<f32>() / range.len() as f32,
        });
        from_ms = until_ms;
    }
    words.retain(|word| !word.text.is_empty());
    if speech.is_empty() {
        shorten(&mut words);
    } else {
        for word in &mut words {
            leave_out_silence(word, speech);
        }
    }
    words
}

/// Where words begin: at a space, or, in writing without spaces, at every character that a token
/// begins. Punctuation belongs to the word before it.
fn split<'text>(
    tokens: &[Token],
    text: &impl Fn(i32) -> &'text [u8],
) -> Vec<std::ops::Range<usize>> {
    let mut starts = Vec::new();
    let mut pending: Vec<u8> = Vec::new();
    let mut last = ' ';
    for (index, token) in tokens.iter().enumerate() {
        let begins = pending.is_empty();
        let from = index;
        pending.extend_from_slice(text(token.id));
        let Ok(piece) = std::str::from_utf8(&pending) else {
            // In the middle of a character: what begins here is known when it is whole.
            if begins {
                starts.push(from);
            }
            continue;
        };
        let first = piece.trim_start().chars().next().unwrap_or(' ');
        let is_word = first.is_alphanumeric() || !first.is_ascii();
        let spaced = piece.starts_with(' ') && is_word;
        let is_new = index == 0
            || spaced
            || (writes_without_spaces(first) || writes_without_spaces(last))
                && is_word
                && !is_mark(first);
        match (begins, is_new) {
            (true, true) => starts.push(from),
            (false, false) => {
                starts.pop();
            }
            _ => {}
        }
        last = piece.chars().last().unwrap_or(last);
        pending.clear();
    }
    let ends = starts.iter().skip(1).copied().chain([tokens.len()]);
    starts
        .iter()
        .copied()
        .zip(ends.collect::<Vec<_>>())
        .map(|(start, end)| start..end)
        .filter(|range| !range.is_empty())
        .collect()
}

/// Chinese and Japanese, Thai, Lao, Burmese and Khmer.
fn writes_without_spaces(character: char) -> bool {
    matches!(character, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// Punctuation of writing without spaces.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}')
}

/// A word takes the pauses before and behind it: what is left is its longest piece between pauses.
fn leave_out_silence(word: &mut WindowWord, speech: &[f32]) {
    let mut longest = (word.start_ms, word.start_ms);
    let mut piece_ms = word.start_ms;
    let mut silent = 0;
    let mut at_ms = word.start_ms;
    while at_ms < word.end_ms {
        if is_silent_at(speech, at_ms) {
            silent += 1;
        } else {
            if silent >= PAUSE_STEPS {
                piece_ms = at_ms;
            }
            silent = 0;
            let until_ms = (at_ms + STEP_MS).min(word.end_ms);
            if until_ms - piece_ms > longest.1 - longest.0 {
                longest = (piece_ms, until_ms);
            }
        }
        at_ms += STEP_MS;
    }
    // Or else the detector missed it.
    if longest.1 - longest.0 >= LEAST_MS {
        (word.start_ms, word.end_ms) = longest;
    }
}

fn shorten(words: &mut [WindowWord]) {
    let mut lengths: Vec<i64> = words
        .iter()
        .map(|word| word.end_ms - word.start_ms)
        .collect();
    lengths.sort_unstable();
    let Some(median) = lengths.get(lengths.len() / 2) else {
        return;
    };
    let longest = (*median).min(MEDIAN_AT_MOST_MS) * LONGEST_OF_MEDIAN;
    for word in words {
        word.start_ms = word.start_ms.max(word.end_ms - longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: &[&str] = &[
        " ask", " not", " what", ",", " coun", "try", "你", "好", "，", "世界", " é", " \"", "n't",
        "。",
    ];

    fn bytes(id: i32) -> &'static [u8] {
        match id {
            100 => &"é".as_bytes()[..1],
            101 => &"é".as_bytes()[1..],
            _ => TEXTS[id as usize].as_bytes(),
        }
    }

    fn of(ids: &[i32], ends_ms: &[i64], speech: &[f32]) -> Vec<(i64, i64, String)> {
        let tokens: Vec<Token> = ids.iter().map(|&id| Token { id, log_prob: 0.0 }).collect();
        words(&tokens, ends_ms, (100, 5000), bytes, speech)
            .into_iter()
            .map(|word| (word.start_ms, word.end_ms, word.text))
            .collect()
    }

    fn texts(ids: &[i32]) -> Vec<String> {
        let ends: Vec<i64> = (1..).map(|at| at * 200).take(ids.len()).collect();
        of(ids, &ends, &[0.9; 200])
            .into_iter()
            .map(|word| word.2)
            .collect()
    }

    #[test]
    fn words_are_parted_at_spaces_and_keep_their_punctuation() {
        assert_eq!(
            texts(&[0, 1, 3, 2, 4, 5]),
            ["ask", "not,", "what", "country"]
        );
        assert_eq!(texts(&[4, 12, 0]), ["counn't", "ask"]);
        assert_eq!(texts(&[]), [""; 0]);
    }

    #[test]
    fn writing_without_spaces_has_a_word_a_token() {
        assert_eq!(texts(&[6, 7, 8, 9, 13]), ["你", "好，", "世界。"]);
        assert_eq!(texts(&[0, 6, 7]), ["ask", "你", "好"]);
    }

    #[test]
    fn a_character_that_two_tokens_share_is_whole() {
        assert_eq!(texts(&[0, 100, 101, 1]), ["aské", "not"]);
    }

    #[test]
    fn a_word_ends_with_its_last_token_and_begins_with_the_end_of_the_one_before() {
        let ends = [500, 900, 1000, 1600];
        assert_eq!(
            of(&[0, 4, 5, 1], &ends, &[0.9; 200]),
            [
                (100, 500, "ask".into()),
                (500, 1000, "country".into()),
                (1000, 1600, "not".into())
            ]
        );
    }

    #[test]
    fn times_never_go_back_or_past_the_segment_and_unknown_ends_are_its_own() {
        assert_eq!(
            of(&[0, 1, 2], &[900, 500], &[0.9; 200]),
            [
                (100, 900, "ask".into()),
                (900, 900, "not".into()),
                (900, 5000, "what".into())
            ]
        );
    }

    #[test]
    fn a_pause_is_not_part_of_a_word() {
        let mut speech = vec![0.9; 200];
        // 640 to 960 ms.
        speech[20..30].fill(0.05);
        assert_eq!(
            of(&[0, 1], &[620, 1500], &speech),
            [(100, 620, "ask".into()), (972, 1500, "not".into())]
        );
        assert_eq!(of(&[0], &[1500], &[0.1; 200]), [(100, 1500, "ask".into())]);
    }

    #[test]
    fn without_a_detector_a_long_word_is_shortened() {
        let ends = [300, 500, 3000];
        let last = of(&[0, 1, 2], &ends, &[]).pop().unwrap();
        assert_eq!(last, (2600, 3000, "what".into()));
    }
}
