//! The text of a window in the text of its job, and its times on the input's timeline. Pure.

use crate::audio::{SAMPLE_RATE_HZ, Timeline, samples_to_ms};
use crate::transcript::{Segment, Word};
use crate::whisper::{WindowSegment, WindowWord};

/// Whisper writes its own spaces, so segments are joined as they are. Only between two windows,
/// where it does not know what went before, one may be missing between words.
pub fn append(text: &mut String, next: &str, starts_window: bool) {
    let ends_in_word = text.ends_with(|last: char| !last.is_whitespace());
    let begins_with_word = next.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts_window && ends_in_word && begins_with_word {
        text.push(' ');
    }
    text.push_str(next);
}

/// Moves a segment from the window's timeline to the input's.
pub fn place(segment: &WindowSegment, timeline: &Timeline) -> Segment {
    let sample = |ms: i64| ms.max(0).unsigned_abs() as usize * SAMPLE_RATE_HZ as usize / 1000;
    let times = |start_ms: i64, end_ms: i64| {
        let start_ms = samples_to_ms(timeline.start(sample(start_ms)));
        let end_ms = samples_to_ms(timeline.end(sample(end_ms)));
        (start_ms, end_ms.max(start_ms))
    };
    let word = |word: &WindowWord| {
        let (start_ms, end_ms) = times(word.start_ms, word.end_ms);
        Word {
            start_ms,
            end_ms,
            text: word.text.clone(),
            probability: word.probability,
        }
    };
    let (start_ms, end_ms) = times(segment.start_ms, segment.end_ms);
    Segment {
        start_ms,
        end_ms,
        words: segment
            .words
            .as_ref()
            .map(|words| words.iter().map(word).collect()),
        text: segment.text.trim().to_owned(),
        avg_log_prob: segment.avg_log_prob,
        no_speech_probability: segment.no_speech_probability,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(windows: &[&[&str]]) -> String {
        let mut text = String::new();
        for window in windows {
            for (index, segment) in window.iter().enumerate() {
                append(&mut text, segment, index == 0);
            }
        }
        text
    }

    #[test]
    fn segments_keep_whispers_own_spaces_and_windows_never_glue_words() {
        assert_eq!(
            joined(&[&[" And so", ", my"], &[" fellow"]]),
            " And so, my fellow"
        );
        assert_eq!(joined(&[&[" one"], &["two"]]), " one two");
        assert_eq!(joined(&[&["你好"], &["世界"]]), "你好世界");
    }

    #[test]
    fn times_that_lie_past_the_window_or_before_it_stay_on_the_timeline() {
        let timeline = Timeline::new(vec![16_000..32_000, 160_000..176_000]);
        let at = |start_ms, end_ms| {
            let segment = WindowSegment {
                start_ms,
                end_ms,
                text: " x ".into(),
                avg_log_prob: 0.0,
                no_speech_probability: 0.0,
                words: None,
            };
            let placed = place(&segment, &timeline);
            (placed.start_ms, placed.end_ms)
        };
        assert_eq!(at(0, 1000), (1000.0, 2000.0));
        assert_eq!(at(1000, 30_000), (10_000.0, 11_000.0));
        assert_eq!(at(-20, 0), (1000.0, 1000.0));
    }
}
