//! Tokens to segments, by the timestamps among them. Pure.

use super::WindowSegment;
use super::rules::{Token, Vocabulary};

/// Cuts the tokens into segments, each with its own text tokens, at their timestamps. What has no end
/// lasts until `audio_ms`, and no time lies behind it. `text` gives the bytes of a token.
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

    fn at(seconds: f32) -> i32 {
        FIRST_TIME + (seconds * 50.0) as i32
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
