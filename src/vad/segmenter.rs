//! Probabilities to speech segments, as the Silero package's `get_speech_timestamps` draws them
//! (silero-vad 6.2.3; compared on real speech in `tests/vad_reference.rs`). Pure.

use std::ops::Range;

use super::WINDOW_SAMPLES;
use super::tracker::{Tracker, ms_to_samples};
use crate::options::VadOptions;

/// Draws segments while the probabilities come in. Belongs to one input. What it tells does not
/// depend on how the probabilities are divided into calls.
pub struct Segmenter {
    tracker: Tracker,
    pad: usize,
    /// The last kept speech, while it is open how far its padding reaches.
    held: Option<Range<usize>>,
    /// Padding that the next speech may have at its front.
    lead: usize,
    /// Samples that have a probability.
    position: usize,
}

impl Segmenter {
    /// A segmenter of one input.
    #[must_use]
    pub fn new(options: &VadOptions) -> Self {
        let pad = ms_to_samples(options.speech_pad_ms) as usize;
        Self {
            tracker: Tracker::new(options),
            pad,
            held: None,
            lead: pad,
            position: 0,
        }
    }

    /// Takes the probabilities of the next windows and appends the segments, in samples, that they
    /// complete: padded, ordered and disjoint.
    pub fn push(&mut self, probabilities: &[f32], segments: &mut Vec<Range<usize>>) {
        for &probability in probabilities {
            self.tracker.push(self.position, probability);
            self.position += WINDOW_SAMPLES;
            self.pad(segments);
        }
    }

    /// The input ends here: appends the segments that were still open.
    pub fn finish(&mut self, input_samples: usize, segments: &mut Vec<Range<usize>>) {
        self.tracker.finish(input_samples);
        self.pad(segments);
        if let Some(held) = self.held.take() {
            segments.push(held.start..held.end + self.pad);
        }
        for segment in segments {
            segment.end = segment.end.min(input_samples);
        }
    }

    /// The segment that is still growing, as far as it is certain to be part of the result.
    #[must_use]
    pub fn growing(&self) -> Option<Range<usize>> {
        let certain = self.tracker.certain()?;
        // Its padding is settled only when the speech before it is.
        (self.held.is_none()).then(|| certain.start.saturating_sub(self.lead)..certain.end)
    }

    /// No segment that is yet to be completed begins before this sample.
    #[must_use]
    pub fn settled(&self) -> usize {
        match (&self.held, self.tracker.speech_start) {
            (Some(held), _) => held.start,
            (None, Some(start)) => start.saturating_sub(self.lead),
            (None, None) => self.position.saturating_sub(self.pad),
        }
    }

    /// Widens kept speech. Where two would meet they share the silence between them, so the end of
    /// one is known only when the next has come, or has not come for twice the padding.
    fn pad(&mut self, segments: &mut Vec<Range<usize>>) {
        for next in std::mem::take(&mut self.tracker.found) {
            if let Some(held) = self.held.take() {
                self.lead = self.share(next.start - held.end);
                segments.push(held.start..held.end + self.lead);
            }
            self.held = Some(next.start.saturating_sub(self.lead)..next.end);
        }
        let Some(held) = &self.held else { return };
        let next = self.tracker.speech_start;
        let gap = next.unwrap_or(self.position).saturating_sub(held.end);
        let next_is_kept = self.tracker.certain().is_some();
        if gap >= 2 * self.pad || next_is_kept {
            self.lead = self.share(gap);
            segments.push(held.start..held.end + self.lead);
            self.held = None;
        }
    }

    fn share(&self, gap: usize) -> usize {
        if gap < 2 * self.pad {
            gap / 2
        } else {
            self.pad
        }
    }
}

/// The speech segments of a whole input of `input_samples`.
#[must_use]
pub fn segments(
    probabilities: &[f32],
    input_samples: usize,
    options: &VadOptions,
) -> Vec<Range<usize>> {
    let mut segments = Vec::new();
    let mut segmenter = Segmenter::new(options);
    segmenter.push(probabilities, &mut segments);
    segmenter.finish(input_samples, &mut segments);
    segments
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
        let options = VadOptions {
            speech_pad_ms: 96.0,
            ..TIGHT
        };
        assert_eq!(
            drawn("-----SS-----S-----------SS-", &options),
            [2..9, 9..16, 21..27]
        );
    }

    /// Or the audio of an hour's talk without a pause would pile up behind its first word.
    #[test]
    fn speech_that_goes_on_is_told_while_it_does_also_close_behind_other_speech() {
        let options = VadOptions {
            speech_pad_ms: 400.0,
            ..TIGHT
        };
        let mut segmenter = Segmenter::new(&options);
        let mut found = Vec::new();
        let mut probabilities = vec![0.9; 3];
        probabilities.extend([0.1; 6]);
        probabilities.extend([0.9; 50]);
        segmenter.push(&probabilities, &mut found);
        assert_eq!(found, [0..6 * WINDOW_SAMPLES]);
        let growing = 6 * WINDOW_SAMPLES..58 * WINDOW_SAMPLES;
        assert_eq!(segmenter.growing(), Some(growing));
        assert_eq!(segmenter.settled(), 6 * WINDOW_SAMPLES);
    }

    /// A number from 0 on, different for each `seed` and `at`.
    fn noise(seed: u32, at: u32) -> u32 {
        let mixed = (seed.wrapping_mul(0x9e37_79b9) ^ at).wrapping_mul(0x85eb_ca6b);
        (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35) >> 16
    }

    #[test]
    fn what_is_told_early_is_what_is_found_in_the_end() {
        for seed in 0..500 {
            let options = VadOptions {
                speech_pad_ms: f64::from(noise(seed, 1) % 500),
                min_silence_duration_ms: f64::from(noise(seed, 2) % 400),
                min_speech_duration_ms: f64::from(noise(seed, 3) % 400),
                max_speech_duration_s: if seed % 3 == 0 { 3.0 } else { f64::INFINITY },
                ..TIGHT
            };
            // Runs of speech and silence of up to 24 windows.
            let probabilities: Vec<f32> = (0..40)
                .flat_map(|run| {
                    let loud = noise(seed, 100 + run) < 0x8000;
                    let windows = noise(seed, 200 + run) % 24;
                    std::iter::repeat_n(if loud { 0.9 } else { 0.1 }, windows as usize)
                })
                .collect();
            let input = probabilities.len() * WINDOW_SAMPLES;
            let input = input.saturating_sub(noise(seed, 4) as usize % WINDOW_SAMPLES);
            let whole = segments(&probabilities, input, &options);

            let mut segmenter = Segmenter::new(&options);
            let mut found = Vec::new();
            for piece in probabilities.chunks(1 + noise(seed, 5) as usize % 30) {
                let settled = segmenter.settled();
                let known = found.len();
                segmenter.push(piece, &mut found);
                assert!(found[known..].iter().all(|s| s.start >= settled), "{seed}");
                if let Some(growing) = segmenter.growing() {
                    let inside =
                        |s: &Range<usize>| s.start == growing.start && s.end >= growing.end;
                    assert!(whole.iter().any(inside), "{seed}: {growing:?} {whole:?}");
                }
            }
            segmenter.finish(input, &mut found);
            assert_eq!(found, whole, "{seed}");
            assert!(whole.is_sorted_by(|a, b| a.end <= b.start), "{seed}");
        }
    }
}
