//! Where speech begins and ends in a live stream, told as soon as the audio shows it. Pure.

use super::WINDOW_SAMPLES;
use super::tracker::Tracker;
use crate::options::VadOptions;

/// What a window showed, in samples of the stream and without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Speech began here, and has lasted long enough to be kept.
    Start(usize),
    /// Speech ended here: a long enough silence has followed.
    End(usize),
}

/// Follows one stream. Its starts and ends take turns, and are those of the speech that
/// [`segments`](super::segments) finds, but for the last, if the stream ends before its silence is
/// long enough: that speech ends where it was last heard.
pub struct Endpointer {
    tracker: Tracker,
    /// Samples that have a probability.
    position: usize,
    /// The start has been told, the end not yet.
    speaking: bool,
}

impl Endpointer {
    /// Nothing heard yet. The longest speech is not looked at.
    #[must_use]
    pub fn new(options: &VadOptions) -> Self {
        Self {
            tracker: Tracker::new(&VadOptions {
                max_speech_duration_s: f64::INFINITY,
                ..*options
            }),
            position: 0,
            speaking: false,
        }
    }

    /// Goes on from another at `position`, inside speech whose start that one has told, or outside.
    pub fn go_on(&mut self, position: usize, speaking: bool) {
        self.position = position;
        self.tracker.speech_start = speaking.then_some(position);
        self.speaking = speaking;
    }

    /// Takes the probability of the next window.
    pub fn push(&mut self, probability: f32) -> Option<Boundary> {
        self.tracker.push(self.position, probability);
        self.position += WINDOW_SAMPLES;
        if let Some(speech) = self.tracker.found.pop() {
            self.speaking = false;
            return Some(Boundary::End(speech.end));
        }
        let start = self.tracker.speech_start?;
        let lasts = self.tracker.pause_start.unwrap_or(self.position) - start;
        if self.speaking || lasts as f64 <= self.tracker.min_speech {
            return None;
        }
        self.speaking = true;
        Some(Boundary::Start(start))
    }

    /// No audio follows, or none for the time being: speech that was told ends where the audio does,
    /// or where the pause began that it ends with.
    pub fn flush(&mut self) -> Option<Boundary> {
        let end = self.tracker.pause_start.unwrap_or(self.position);
        self.tracker.forget();
        std::mem::take(&mut self.speaking).then_some(Boundary::End(end))
    }

    /// Samples that have been judged.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Where the pause began that may become the end of the speech.
    #[must_use]
    pub fn pause(&self) -> Option<usize> {
        self.tracker.pause_start
    }

    /// Where speech began that may be too short to be kept.
    #[must_use]
    pub fn perhaps(&self) -> Option<usize> {
        self.tracker.speech_start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vad::segments;

    const OPTIONS: VadOptions = VadOptions {
        threshold: 0.5,
        neg_threshold: None,
        min_speech_duration_ms: 100.0,
        min_silence_duration_ms: 300.0,
        speech_pad_ms: 0.0,
        max_speech_duration_s: f64::INFINITY,
    };

    /// What is told, and after how many windows.
    fn told(windows: &str) -> Vec<(usize, Boundary)> {
        let mut endpointer = Endpointer::new(&OPTIONS);
        let mut told = Vec::new();
        for (index, window) in windows.chars().enumerate() {
            let probability = if window == 'S' { 0.9 } else { 0.1 };
            if let Some(boundary) = endpointer.push(probability) {
                told.push((index + 1, boundary));
            }
        }
        if let Some(boundary) = endpointer.flush() {
            told.push((windows.len(), boundary));
        }
        told
    }

    #[test]
    fn a_start_is_told_once_the_speech_is_long_enough_and_an_end_once_the_silence_is() {
        let windows = format!("--{}{}", "S".repeat(10), "-".repeat(20));
        assert_eq!(
            told(&windows),
            [
                (6, Boundary::Start(2 * WINDOW_SAMPLES)),
                // 300 ms are 9.4 windows.
                (12 + 11, Boundary::End(12 * WINDOW_SAMPLES)),
            ]
        );
    }

    #[test]
    fn a_click_is_no_speech_and_a_short_pause_no_end() {
        let windows = format!("--SS{}SSSSS----SSSSS", "-".repeat(20));
        let at = |windows| windows * WINDOW_SAMPLES;
        assert_eq!(
            told(&windows),
            [(28, Boundary::Start(at(24))), (38, Boundary::End(at(38)))]
        );
    }

    #[test]
    fn a_flush_ends_speech_where_its_pause_began_and_the_next_begins_anew() {
        let mut endpointer = Endpointer::new(&OPTIONS);
        let mut told = Vec::new();
        let mut hear = |endpointer: &mut Endpointer, windows: &str| {
            for window in windows.chars() {
                told.extend(endpointer.push(if window == 'S' { 0.9 } else { 0.1 }));
            }
        };
        hear(&mut endpointer, "SSSSSS--");
        assert_eq!(endpointer.flush(), Some(Boundary::End(6 * WINDOW_SAMPLES)));
        assert_eq!(endpointer.flush(), None);
        hear(&mut endpointer, "SSSSSS");
        assert_eq!(
            told,
            [Boundary::Start(0), Boundary::Start(8 * WINDOW_SAMPLES)]
        );
    }

    #[test]
    fn what_is_told_is_what_is_found_in_the_end() {
        // Runs of one to 24 windows.
        for seed in 1..400_u64 {
            let mut windows = String::new();
            let mut number = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for run in 0..30 {
                let length = 1 + (number % 24) as usize;
                number = number.rotate_left(7).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                windows.push_str(&if run % 2 == 0 { "S" } else { "-" }.repeat(length));
            }
            windows.push_str(&"-".repeat(10));
            let probabilities: Vec<f32> = windows
                .chars()
                .map(|window| if window == 'S' { 0.9 } else { 0.1 })
                .collect();
            let found: Vec<_> = segments(
                &probabilities,
                probabilities.len() * WINDOW_SAMPLES,
                &OPTIONS,
            )
            .iter()
            .flat_map(|speech| [Boundary::Start(speech.start), Boundary::End(speech.end)])
            .collect();
            let told: Vec<_> = told(&windows).into_iter().map(|(_, told)| told).collect();
            assert_eq!(told, found, "{seed}");
        }
    }
}
