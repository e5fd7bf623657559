//! Probabilities to speech segments, as the Silero package's `get_speech_timestamps` draws them
//! (silero-vad 6.2.3; compared on real speech in `tests/vad_reference.rs`). Pure.

use std::ops::Range;

use super::WINDOW_SAMPLES;
use crate::audio::SAMPLE_RATE_HZ;
use crate::options::VadOptions;

/// A pause must be longer than this to be preferred when too long a speech has to be cut (Silero).
const MIN_PAUSE_AT_MAX_SPEECH_MS: f64 = 98.0;

/// The speech segments of an input of `input_samples`, in samples, padded, ordered and disjoint.
#[must_use]
pub fn segments(
    probabilities: &[f32],
    input_samples: usize,
    options: &VadOptions,
) -> Vec<Range<usize>> {
    let mut tracker = Tracker::new(options);
    for (window, &probability) in probabilities.iter().enumerate() {
        tracker.push(window * WINDOW_SAMPLES, probability);
    }
    let mut speech = tracker.finish(input_samples);
    pad(
        &mut speech,
        input_samples,
        ms_to_samples(options.speech_pad_ms) as usize,
    );
    speech
}

fn ms_to_samples(ms: f64) -> f64 {
    ms * f64::from(SAMPLE_RATE_HZ) / 1000.0
}

/// A stretch below the exit threshold inside speech.
#[derive(Debug, Clone, Copy)]
struct Pause {
    start: usize,
    samples: usize,
}

/// Follows the probability with two thresholds: speech begins above one and ends when the
/// probability has stayed below the other for long enough.
struct Tracker {
    threshold: f32,
    neg_threshold: f32,
    min_speech: f64,
    min_silence: f64,
    max_speech: f64,
    min_pause_at_max_speech: f64,
    /// Where the speech that is being followed began.
    speech_start: Option<usize>,
    /// Where the pause that may become its end began.
    pause_start: Option<usize>,
    /// Pauses inside it, for the case that it grows too long.
    pauses: Vec<Pause>,
    found: Vec<Range<usize>>,
}

impl Tracker {
    fn new(options: &VadOptions) -> Self {
        let pad = ms_to_samples(options.speech_pad_ms);
        Self {
            threshold: options.threshold,
            neg_threshold: options.effective_neg_threshold(),
            min_speech: ms_to_samples(options.min_speech_duration_ms),
            min_silence: ms_to_samples(options.min_silence_duration_ms),
            max_speech: ms_to_samples(options.max_speech_duration_s * 1000.0)
                - WINDOW_SAMPLES as f64
                - 2.0 * pad,
            min_pause_at_max_speech: ms_to_samples(MIN_PAUSE_AT_MAX_SPEECH_MS),
            speech_start: None,
            pause_start: None,
            pauses: Vec::new(),
            found: Vec::new(),
        }
    }

    fn push(&mut self, at: usize, probability: f32) {
        if probability >= self.threshold {
            if let Some(start) = self.pause_start.take()
                && (at - start) as f64 > self.min_pause_at_max_speech
            {
                self.pauses.push(Pause {
                    start,
                    samples: at - start,
                });
            }
            if self.speech_start.is_none() {
                self.speech_start = Some(at);
                return;
            }
        }
        let Some(mut start) = self.speech_start else {
            return;
        };
        if (at - start) as f64 > self.max_speech {
            match self.split(start, at) {
                Some(next) => start = next,
                None => return,
            }
        }
        if probability < self.neg_threshold {
            let pause = *self.pause_start.get_or_insert(at);
            if (at - pause) as f64 >= self.min_silence {
                if (pause - start) as f64 > self.min_speech {
                    self.found.push(start..pause);
                }
                self.forget();
            }
        }
    }

    /// Cuts speech that has grown too long: at its longest pause, and goes on behind it; or here,
    /// and begins again with the next window above the threshold.
    fn split(&mut self, start: usize, at: usize) -> Option<usize> {
        // The first of equally long pauses, as Python's max takes it.
        let longest = self.pauses.iter().copied().reduce(|best, pause| {
            if pause.samples > best.samples {
                pause
            } else {
                best
            }
        });
        self.forget();
        let Some(pause) = longest else {
            self.found.push(start..at);
            return None;
        };
        self.found.push(start..pause.start);
        self.speech_start = Some(pause.start + pause.samples);
        self.speech_start
    }

    fn forget(&mut self) {
        self.speech_start = None;
        self.pause_start = None;
        self.pauses.clear();
    }

    fn finish(mut self, input_samples: usize) -> Vec<Range<usize>> {
        if let Some(start) = self.speech_start
            && (input_samples.saturating_sub(start)) as f64 > self.min_speech
        {
            self.found.push(start..input_samples);
        }
        self.found
    }
}

/// Widens every segment; where two would meet they share the silence between them.
fn pad(speech: &mut [Range<usize>], input_samples: usize, pad: usize) {
    let mut lead = pad;
    for index in 0..speech.len() {
        let gap = speech
            .get(index + 1)
            .map(|next| next.start - speech[index].end);
        let tail = match gap {
            Some(gap) if gap < 2 * pad => gap / 2,
            _ => pad,
        };
        let segment = &mut speech[index];
        segment.start = segment.start.saturating_sub(lead);
        segment.end = (segment.end + tail).min(input_samples);
        lead = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIGHT: VadOptions = VadOptions {
        threshold: 0.5,
        neg_threshold: None,
        min_speech_duration_ms: 0.0,
        min_silence_duration_ms: 100.0,
        speech_pad_ms: 0.0,
        max_speech_duration_s: f64::INFINITY,
    };

    /// `S` is a window of speech, `-` one of silence, `~` one between the thresholds.
    fn drawn(windows: &str, options: &VadOptions) -> Vec<Range<usize>> {
        let probabilities: Vec<f32> = windows
            .chars()
            .map(|window| match window {
                'S' => 0.9,
                '~' => 0.4,
                _ => 0.1,
            })
            .collect();
        segments(
            &probabilities,
            probabilities.len() * WINDOW_SAMPLES,
            options,
        )
        .into_iter()
        .map(|segment| segment.start / WINDOW_SAMPLES..segment.end / WINDOW_SAMPLES)
        .collect()
    }

    #[test]
    fn silence_is_no_speech() {
        assert_eq!(drawn("----------", &TIGHT), []);
        assert_eq!(segments(&[], 0, &TIGHT), []);
    }

    #[test]
    fn speech_ends_where_the_long_enough_silence_began() {
        assert_eq!(drawn("--SSS------SS-----", &TIGHT), [2..5, 11..13]);
    }

    #[test]
    fn short_silence_and_half_sure_windows_do_not_end_it() {
        assert_eq!(drawn("-SS---SS~~~~~~SS-----", &TIGHT), [1..16]);
    }

    #[test]
    fn speech_reaches_the_end_of_the_input() {
        assert_eq!(drawn("---SSSS", &TIGHT), [3..7]);
    }

    #[test]
    fn short_speech_is_dropped() {
        let options = VadOptions {
            min_speech_duration_ms: 100.0,
            ..TIGHT
        };
        assert_eq!(drawn("-SS------SSSS------", &options), [9..13]);
    }

    #[test]
    fn too_long_speech_is_cut_at_its_longest_pause() {
        let options = VadOptions {
            max_speech_duration_s: 1.0,
            min_silence_duration_ms: 400.0,
            ..TIGHT
        };
        let windows = format!(
            "{}-----{}----{}",
            "S".repeat(8),
            "S".repeat(8),
            "S".repeat(15)
        );
        assert_eq!(drawn(&windows, &options), [0..8, 13..40]);
    }

    #[test]
    fn padding_shares_a_narrow_gap_and_stays_inside_the_input() {
        let mut speech = [100..200, 250..300, 900..1000];
        pad(&mut speech, 1050, 60);
        assert_eq!(speech, [40..225, 225..360, 840..1050]);
    }
}
