//! Packs speech segments into windows for Whisper, and sizes the encoder to them. Pure.

use std::ops::Range;

use crate::audio::{SAMPLE_RATE_HZ, Timeline};

/// Samples that one encoder position stands for: 20 ms (Whisper paper, section 2.2).
const SAMPLES_PER_POSITION: usize = 320;
/// Positions kept free behind the audio. With fewer than about 128 the decoder begins to loop.
const MARGIN_POSITIONS: usize = 128;
/// whisper.cpp's decoder attends, under flash attention, to the cross-attention cache padded to a
/// multiple of this, without a mask; only at exact multiples is nothing of an earlier inference in
/// the padding. 1500, the full window, is not one, so it is never used on the long-lived state.
const POSITION_STEP: usize = 256;
/// The largest multiple below the model's 1500 positions.
const MAX_POSITIONS: usize = 1280;
/// Longest window, 23.04 s: what the largest encoder size holds behind its margin.
pub const MAX_WINDOW_SAMPLES: usize = (MAX_POSITIONS - MARGIN_POSITIONS) * SAMPLES_PER_POSITION;

/// A speech segment that does not fit is cut at its quietest place in this last part of the window.
const SPLIT_SEARCH_SAMPLES: usize = MAX_WINDOW_SAMPLES / 3;
/// Length over which quietness is measured: about a short pause between words.
const QUIET_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 20;

/// Encoder positions for a window of `samples`: the audio, the margin, rounded up.
#[must_use]
pub fn audio_positions(samples: usize) -> usize {
    (samples.div_ceil(SAMPLES_PER_POSITION) + MARGIN_POSITIONS)
        .next_multiple_of(POSITION_STEP)
        .min(MAX_POSITIONS)
}

/// Packs ordered, disjoint speech segments of `pcm` into as few windows as fit them in order.
/// Every sample of every segment is in exactly one window.
#[must_use]
pub fn pack(speech: &[Range<usize>], pcm: &[f32]) -> Vec<Timeline> {
    let mut windows = Vec::new();
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut filled = 0;
    for piece in speech
        .iter()
        .flat_map(|segment| split(segment.clone(), pcm))
    {
        if filled + piece.len() > MAX_WINDOW_SAMPLES {
            windows.push(Timeline::new(std::mem::take(&mut spans)));
            filled = 0;
        }
        filled += piece.len();
        spans.push(piece);
    }
    if !spans.is_empty() {
        windows.push(Timeline::new(spans));
    }
    windows
}

/// Cuts a segment into pieces that each fit a window.
fn split(segment: Range<usize>, pcm: &[f32]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = segment.start;
    while segment.end - start > MAX_WINDOW_SAMPLES {
        let latest = start + MAX_WINDOW_SAMPLES;
        let cut = quietest(pcm, latest - SPLIT_SEARCH_SAMPLES..latest);
        pieces.push(start..cut);
        start = cut;
    }
    pieces.push(start..segment.end);
    pieces
}

/// The middle of the quietest stretch of [`QUIET_SAMPLES`].
fn quietest(pcm: &[f32], range: Range<usize>) -> usize {
    let energy = |start: usize| -> f32 {
        let stretch = &pcm[start..start + QUIET_SAMPLES];
        stretch.iter().map(|sample| sample * sample).sum()
    };
    range
        .clone()
        .step_by(QUIET_SAMPLES / 4)
        .take_while(|start| start + QUIET_SAMPLES <= range.end)
        .map(|start| (start, energy(start)))
        .reduce(|best, next| if next.1 < best.1 { next } else { best })
        .map_or(range.end, |(start, _)| start + QUIET_SAMPLES / 2)
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
        assert_eq!(audio_positions(SECOND), 256);
        assert_eq!(audio_positions(11 * SECOND), 768);
        assert_eq!(audio_positions(MAX_WINDOW_SAMPLES), MAX_POSITIONS);
    }

    #[test]
    fn short_segments_share_a_window_and_silence_between_them_is_left_out() {
        let pcm = vec![0.0; 60 * SECOND];
        let speech = [SECOND..4 * SECOND, 30 * SECOND..35 * SECOND];
        let windows = pack(&speech, &pcm);
        assert_eq!(windows.len(), 1);
        assert_eq!(windows[0].spans(), speech);
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
            .map(|window| window.spans().len())
            .collect();
        assert_eq!(spans, [2, 1]);
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
                .all(|window| window.len() <= MAX_WINDOW_SAMPLES)
        );
        assert!(pause.contains(&windows[0].spans()[0].end));
        let mut next = segment.start;
        for span in windows.iter().flat_map(Timeline::spans) {
            assert_eq!(span.start, next);
            next = span.end;
        }
        assert_eq!(next, segment.end);
    }

    #[test]
    fn no_speech_gives_no_window() {
        assert!(pack(&[], &[0.0; 10]).is_empty());
    }
}
