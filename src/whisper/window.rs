//! Packs speech segments into windows for Whisper, and sizes the encoder to them. Pure.

use std::collections::VecDeque;
use std::ops::Range;

use super::evidence::STEP_SAMPLES;
use crate::audio::{SAMPLE_RATE_HZ, Timeline};

/// Samples that one encoder position stands for: 20 ms (Whisper paper, section 2.2).
const SAMPLES_PER_POSITION: usize = 320;
/// Positions kept free behind the audio. With fewer than about 64 the decoder begins to loop.
const MARGIN_POSITIONS: usize = 96;
/// Sizes are rounded up to this, which is what the matrix products are cut into.
const POSITION_STEP: usize = 32;
/// The smallest size, 6.4 s: with less a short text is written several times (docs/benchmarks.md).
const MIN_POSITIONS: usize = 320;
/// Positions of the full window of 30 s, which the model was trained with.
pub const FULL_POSITIONS: usize = 1500;
/// Longest window, 23.04 s.
pub const MAX_WINDOW_SAMPLES: usize = 1152 * SAMPLES_PER_POSITION;

/// A speech segment that does not fit is cut at its quietest place in this last part of the window.
const SPLIT_SEARCH_SAMPLES: usize = MAX_WINDOW_SAMPLES / 3;
/// Speech further apart than this does not share a window, so that the text of what was said is
/// not held back until somebody speaks again.
const MAX_GAP_SAMPLES: usize = 30 * SAMPLE_RATE_HZ as usize;
/// Length over which quietness is measured: about a short pause between words.
const QUIET_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 20;

/// Encoder positions for a window of `samples`: the audio, the margin, rounded up.
#[must_use]
pub fn audio_positions(samples: usize) -> usize {
    (samples.div_ceil(SAMPLES_PER_POSITION) + MARGIN_POSITIONS)
        .next_multiple_of(POSITION_STEP)
        .clamp(MIN_POSITIONS, FULL_POSITIONS)
}

/// One window's audio and where in the input it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// 16 kHz mono, at most [`MAX_WINDOW_SAMPLES`].
    pub audio: Vec<f32>,
    /// Maps its time to the input's.
    pub timeline: Timeline,
    /// Probability of speech in each 32 ms of `audio`; empty where nobody looked for speech.
    pub speech: Vec<f32>,
}

/// Packs speech segments into as few windows as fit them in order, while the input comes in. Every
/// sample of every segment is in exactly one window. Keeps no more audio than may still be needed.
#[derive(Debug, Default)]
pub struct Packer {
    /// The input from sample `start` on.
    audio: Vec<f32>,
    start: usize,
    /// Probabilities of speech, from the one of sample `start` on.
    probabilities: Vec<f32>,
    /// The window that is being filled.
    window: Vec<f32>,
    speech: Vec<f32>,
    spans: Vec<Range<usize>>,
    /// How far the growing segment is packed.
    packed: Option<usize>,
}

impl Packer {
    /// A segment is not cut in its first samples, nor so soon behind a cut.
    pub const UNCUT_SAMPLES: usize = MAX_WINDOW_SAMPLES - SPLIT_SEARCH_SAMPLES;

    /// For an input that is heard from sample `start` on, which is a multiple of [`STEP_SAMPLES`].
    #[must_use]
    pub fn starting_at(start: usize) -> Self {
        Self {
            start,
            ..Self::default()
        }
    }

    /// Takes the next samples of the input, and the next probabilities of speech, one for each
    /// [`STEP_SAMPLES`]; they may lag behind, and there are none where nobody looks.
    pub fn hear(&mut self, pcm: &[f32], probabilities: &[f32]) {
        self.audio.extend_from_slice(pcm);
        self.probabilities.extend_from_slice(probabilities);
    }

    /// Packs a segment that is complete.
    pub fn complete(&mut self, segment: &Range<usize>, windows: &mut VecDeque<Window>) {
        let rest = self.packed.take().unwrap_or(segment.start)..segment.end;
        let Range { start, end } = self.held(&rest);
        let from = self.split(start, end, windows);
        self.add(from..end, windows);
    }

    /// Packs what can be cut off a segment that certainly reaches the end of `segment`.
    pub fn grow(&mut self, segment: &Range<usize>, windows: &mut VecDeque<Window>) {
        let rest = self.packed.unwrap_or(segment.start)..segment.end;
        let Range { start, end } = self.held(&rest);
        self.packed = Some(self.split(start, end, windows));
    }

    /// No segment to come begins before `settled`: forgets the audio before it, and gives out a
    /// window that nothing will join any more.
    pub fn settle(&mut self, settled: usize, windows: &mut VecDeque<Window>) {
        let needed = self.packed.unwrap_or(settled);
        self.give_out_before(needed, windows);
        let forget = needed.saturating_sub(self.start).min(self.audio.len());
        self.audio.drain(..forget);
        let steps = (self.start + forget) / STEP_SAMPLES - self.start / STEP_SAMPLES;
        self.probabilities
            .drain(..steps.min(self.probabilities.len()));
        self.start += forget;
    }

    /// Gives out the last window.
    pub fn finish(&mut self, windows: &mut VecDeque<Window>) {
        if !self.spans.is_empty() {
            windows.push_back(Window {
                audio: std::mem::take(&mut self.window),
                speech: std::mem::take(&mut self.speech),
                timeline: Timeline::new(std::mem::take(&mut self.spans)),
            });
        }
    }

    /// Whether no speech waits in a window that is being filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.packed.is_none()
    }

    /// Where in the growing segment that begins at `start` the part begins that no window has yet.
    #[must_use]
    pub fn part(&self, start: usize) -> usize {
        self.packed.unwrap_or(start)
    }

    /// The samples of `range`, which are not settled yet, and their probabilities of speech as a
    /// window has them that begins at `start`.
    #[must_use]
    pub fn excerpt(&self, start: usize, range: Range<usize>) -> (Vec<f32>, Vec<f32>) {
        // As many as have their middle before the sample.
        let steps =
            |sample: usize| (sample.saturating_sub(start) + STEP_SAMPLES / 2 - 1) / STEP_SAMPLES;
        let speech = (steps(range.start)..steps(range.end))
            .filter_map(|step| self.probability(start + step * STEP_SAMPLES + STEP_SAMPLES / 2))
            .collect();
        (self.samples(&self.held(&range)).to_vec(), speech)
    }

    /// The quietest place of `range`, which is not settled yet.
    #[must_use]
    pub fn quietest(&self, range: Range<usize>) -> usize {
        let held = self.held(&range);
        held.start + quietest(self.samples(&held))
    }

    /// What there is of the range. What is settled is in a window already or in none, and a stream
    /// may end before the audio of an utterance that goes on: neither is to stop the stage.
    fn held(&self, range: &Range<usize>) -> Range<usize> {
        let start = range.start.max(self.start);
        start..range.end.min(self.start + self.audio.len()).max(start)
    }

    /// The samples of a range that is held.
    fn samples(&self, held: &Range<usize>) -> &[f32] {
        let held = held.start - self.start..held.end - self.start;
        self.audio.get(held).unwrap_or_default()
    }

    /// Of the 32 ms around the sample, or the last there is; none where nobody looked.
    fn probability(&self, sample: usize) -> Option<f32> {
        let step = (sample / STEP_SAMPLES).saturating_sub(self.start / STEP_SAMPLES);
        let last = self.probabilities.last();
        self.probabilities.get(step).or(last).copied()
    }

    /// Cuts pieces of a window's length off a segment and gives back where the rest begins.
    fn split(&mut self, from: usize, end: usize, windows: &mut VecDeque<Window>) -> usize {
        let mut from = from;
        while end - from > MAX_WINDOW_SAMPLES {
            let search = from + Self::UNCUT_SAMPLES..from + MAX_WINDOW_SAMPLES;
            let cut = search.start + quietest(self.samples(&search));
            self.add(from..cut, windows);
            from = cut;
        }
        from
    }

    fn add(&mut self, piece: Range<usize>, windows: &mut VecDeque<Window>) {
        if piece.is_empty() {
            return;
        }
        self.give_out_before(piece.start, windows);
        if self.window.len() + piece.len() > MAX_WINDOW_SAMPLES {
            self.finish(windows);
        }
        let audio = piece.start - self.start..piece.end - self.start;
        self.window.extend_from_slice(&self.audio[audio]);
        self.judge(&piece);
        self.spans.push(piece);
    }

    /// Appends the probabilities up to the window's end, each from the middle of its 32 ms.
    fn judge(&mut self, piece: &Range<usize>) {
        let before = self.window.len() - piece.len();
        loop {
            let middle = self.speech.len() * STEP_SAMPLES + STEP_SAMPLES / 2;
            if middle >= self.window.len() {
                return;
            }
            match self.probability(piece.start + middle.saturating_sub(before)) {
                Some(probability) => self.speech.push(probability),
                None => return,
            }
        }
    }

    fn give_out_before(&mut self, next: usize, windows: &mut VecDeque<Window>) {
        let far = |last: &Range<usize>| next.saturating_sub(last.end) > MAX_GAP_SAMPLES;
        if self.spans.last().is_some_and(far) {
            self.finish(windows);
        }
    }
}

/// The middle of the quietest stretch of [`QUIET_SAMPLES`], or the end if there is none so long.
fn quietest(pcm: &[f32]) -> usize {
    pcm.windows(QUIET_SAMPLES)
        .step_by(QUIET_SAMPLES / 4)
        .map(|stretch| stretch.iter().map(|sample| sample * sample).sum::<f32>())
        .enumerate()
        .reduce(|best, next| if next.1 < best.1 { next } else { best })
        .map_or(pcm.len(), |(step, _)| {
            step * (QUIET_SAMPLES / 4) + QUIET_SAMPLES / 2
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: usize = SAMPLE_RATE_HZ as usize;

    #[test]
    fn positions_are_multiples_that_hold_audio_and_margin() {
        for samples in (0..=MAX_WINDOW_SAMPLES).step_by(1_111) {
            let positions = audio_positions(samples);
            assert_eq!(positions % POSITION_STEP, 0);
            assert!(positions >= samples.div_ceil(SAMPLES_PER_POSITION) + MARGIN_POSITIONS);
        }
        assert_eq!(audio_positions(SECOND), MIN_POSITIONS);
        assert_eq!(audio_positions(11 * SECOND), 672);
        assert_eq!(audio_positions(30 * SECOND), FULL_POSITIONS);
    }

    /// Everything at once.
    fn pack(speech: &[Range<usize>], pcm: &[f32]) -> VecDeque<Window> {
        let mut windows = VecDeque::new();
        let mut packer = Packer::default();
        packer.hear(pcm, &[]);
        for segment in speech {
            packer.complete(segment, &mut windows);
        }
        packer.finish(&mut windows);
        windows
    }

    #[test]
    fn short_segments_share_a_window_and_silence_between_them_is_left_out() {
        let pcm = vec![0.0; 60 * SECOND];
        let speech = [SECOND..4 * SECOND, 30 * SECOND..35 * SECOND];
        let windows = pack(&speech, &pcm);
        assert_eq!(windows.len(), 1);
        assert_eq!(windows[0].timeline.spans(), speech);
        assert_eq!(windows[0].audio.len(), 8 * SECOND);
    }

    #[test]
    fn a_window_that_is_full_is_followed_by_another() {
        let pcm = vec![0.0; 60 * SECOND];
        let speech = [
            0..10 * SECOND,
            11 * SECOND..21 * SECOND,
            22 * SECOND..32 * SECOND,
        ];
        let spans: Vec<usize> = pack(&speech, &pcm)
            .iter()
            .map(|window| window.timeline.spans().len())
            .collect();
        assert_eq!(spans, [2, 1]);
    }

    #[test]
    fn speech_far_apart_shares_no_window_and_the_first_is_not_held_back() {
        let mut packer = Packer::default();
        let mut windows = VecDeque::new();
        packer.hear(&vec![0.0; 40 * SECOND], &[]);
        packer.complete(&(0..SECOND), &mut windows);
        packer.settle(20 * SECOND, &mut windows);
        assert!(windows.is_empty());
        packer.settle(32 * SECOND, &mut windows);
        assert_eq!(windows.len(), 1);
        assert!(packer.audio.len() <= 8 * SECOND);
    }

    #[test]
    fn audio_over_30_s_is_cut_at_the_quietest_place_and_none_is_lost() {
        let mut pcm = vec![0.5; 100 * SECOND];
        let pause = 20 * SECOND..20 * SECOND + SECOND / 10;
        pcm[pause.clone()].fill(0.0);
        let segment = SECOND..99 * SECOND;
        let windows = pack(std::slice::from_ref(&segment), &pcm);
        assert!(
            windows
                .iter()
                .all(|window| window.audio.len() <= MAX_WINDOW_SAMPLES)
        );
        assert!(pause.contains(&windows[0].timeline.spans()[0].end));
        let mut next = segment.start;
        for span in windows.iter().flat_map(|window| window.timeline.spans()) {
            assert_eq!(span.start, next);
            next = span.end;
        }
        assert_eq!(next, segment.end);
    }

    #[test]
    fn windows_are_the_same_when_the_input_comes_in_pieces_and_little_is_kept() {
        let pcm: Vec<f32> = (0..400 * SECOND).map(|at| (at % 7919) as f32).collect();
        let probabilities: Vec<f32> = (0..400 * SECOND / STEP_SAMPLES)
            .map(|at| at as f32)
            .collect();
        let speech = [
            SECOND..3 * SECOND,
            5 * SECOND..120 * SECOND,
            121 * SECOND..122 * SECOND,
            180 * SECOND..399 * SECOND,
        ];
        for step in [SECOND / 3, 30 * SECOND] {
            let mut packer = Packer::default();
            let mut windows = VecDeque::new();
            let mut ahead = speech.iter().peekable();
            for (index, piece) in pcm.chunks(step).enumerate() {
                // As the detector does it: whole steps, and the rest later.
                let known =
                    index * step / STEP_SAMPLES..(index * step + piece.len()) / STEP_SAMPLES;
                packer.hear(piece, &probabilities[known]);
                let heard = index * step + piece.len();
                while let Some(segment) = ahead.next_if(|segment| segment.end <= heard) {
                    packer.complete(segment, &mut windows);
                }
                let growing = ahead.peek().filter(|segment| segment.start < heard);
                if let Some(segment) = growing {
                    packer.grow(&(segment.start..heard), &mut windows);
                }
                packer.settle(growing.map_or(heard, |s| s.start), &mut windows);
                assert!(packer.audio.len() <= MAX_WINDOW_SAMPLES + step);
            }
            packer.finish(&mut windows);
            for window in &windows {
                let middles = (window.audio.len() + STEP_SAMPLES / 2) / STEP_SAMPLES;
                assert!(window.speech.len().abs_diff(middles) <= 1);
                for (index, probability) in window.speech.iter().enumerate() {
                    let middle = index * STEP_SAMPLES + STEP_SAMPLES / 2;
                    let at = window.timeline.start(middle) / STEP_SAMPLES;
                    assert!((probability - at as f32).abs() <= 1.0, "{probability} {at}");
                }
            }
            for window in &mut windows {
                window.speech.clear();
            }
            assert_eq!(windows, pack(&speech, &pcm), "{step}");
        }
    }

    /// Whoever asks is mistaken about what is there, and gets what is.
    #[test]
    fn what_is_forgotten_or_has_not_come_is_left_out() {
        let mut packer = Packer::starting_at(512 * 100);
        let mut windows = VecDeque::new();
        packer.complete(&(512 * 200..512 * 200), &mut windows);
        packer.grow(&(512 * 200..512 * 200), &mut windows);
        assert_eq!(packer.part(0), 512 * 200);
        packer.complete(&(0..512 * 150), &mut windows);
        packer.hear(&vec![0.1; 512 * 10], &[0.5; 10]);
        let (audio, speech) = packer.excerpt(512 * 98, 512 * 98..512 * 102);
        assert_eq!((audio.len(), speech.len()), (512 * 2, 4));
        assert!(packer.excerpt(512 * 300, 512 * 300..512 * 301).0.is_empty());
        let reversed = Range {
            start: 512 * 105,
            end: 512 * 104,
        };
        assert_eq!(packer.quietest(reversed), 512 * 105);
        packer.complete(&(512 * 98..512 * 120), &mut windows);
        packer.finish(&mut windows);
        assert_eq!(windows[0].timeline.spans(), [512 * 100..512 * 110]);
        assert_eq!(windows.len(), 1);
    }

    #[test]
    fn no_speech_gives_no_window() {
        assert!(pack(&[], &[0.0; 10]).is_empty());
    }
}
