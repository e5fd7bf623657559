//! What an encoder put before and after the audio, taken off again.

use std::collections::VecDeque;

use super::super::warnings::Warnings;
use super::super::{Step, opus_steps};
use super::mp4::Mp4;

/// More than any encoder pads with; what is held back at the end is bounded by it.
const MAX_PADDING_FRAMES: u64 = 1 << 16;

/// Takes frames off both ends. The padding is known to be padding only at the end, so as many
/// frames are held back.
pub(super) struct Trim {
    skip_left: u64,
    /// Frames that may be padding.
    padding: u64,
    /// Frames the audio has, if that is known: padding is only what exceeds them.
    length: Option<u64>,
    /// Where the audio ends by an edit list, which may cut more than padding.
    edited: bool,
    held: VecDeque<Step>,
    held_frames: u64,
    ready: VecDeque<Step>,
    handed_out: u64,
    received: u64,
    /// How much of that is gaps.
    gaps: u64,
}

impl Trim {
    pub(super) fn new(delay: u32, padding: u32, length: Option<u64>) -> Self {
        Self {
            skip_left: u64::from(delay),
            padding: u64::from(padding).min(MAX_PADDING_FRAMES),
            length,
            edited: false,
            held: VecDeque::new(),
            held_frames: 0,
            ready: VecDeque::new(),
            handed_out: 0,
            received: 0,
            gaps: 0,
        }
    }

    /// As an MP4 edit list says.
    pub(super) fn edit(mp4: &Mp4, rate_hz: u32) -> Self {
        let length = mp4.length(rate_hz);
        Self {
            skip_left: mp4.delay(rate_hz),
            length,
            edited: true,
            padding: if length.is_some() {
                MAX_PADDING_FRAMES
            } else {
                0
            },
            ..Self::new(0, 0, None)
        }
    }

    /// The frames that are due of `frames` that the container announces.
    pub(super) fn without_edit(&self, frames: u64) -> u64 {
        match self.length {
            Some(length) if self.edited => length.min(frames),
            _ if self.edited => 0,
            _ => frames,
        }
    }

    pub(super) fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// A place in the audio, for warnings.
    pub(super) fn now(&self, rate_hz: u32) -> String {
        format!("{:.2} s", self.received as f64 / f64::from(rate_hz.max(1)))
    }

    pub(super) fn pop(&mut self) -> Option<Step> {
        self.ready.pop_front()
    }

    pub(super) fn push(&mut self, mut interleaved: Vec<f32>, rate_hz: u32, channels: usize) {
        let frames = (interleaved.len() / channels) as u64;
        let skip = self.skip_left.min(frames);
        self.skip_left -= skip;
        interleaved.drain(..skip as usize * channels);
        if !interleaved.is_empty() {
            self.hold(
                Step::Pcm {
                    interleaved,
                    rate_hz,
                    channels,
                },
                frames - skip,
            );
        }
    }

    /// Frames that could not be decoded.
    pub(super) fn gap(&mut self, frames: u64, rate_hz: u32, warnings: &mut Warnings) {
        let now = self.now(rate_hz);
        let gap = i64::try_from(frames).unwrap_or(i64::MAX);
        if !opus_steps::is_believable(gap, self.gaps, self.received, rate_hz) {
            warnings.note("jump forwards", || {
                format!(
                    "the timestamps jump by hours at {now}; taken as damage, the audio goes on \
                     without a gap"
                )
            });
            return;
        }
        let skip = self.skip_left.min(frames);
        self.skip_left -= skip;
        let frames = frames - skip;
        if frames == 0 {
            return;
        }
        warnings.note("gap", || {
            let seconds = frames as f64 / f64::from(rate_hz.max(1));
            format!("{seconds:.2} s of audio at {now} are damaged and left out as silence")
        });
        self.gaps += frames;
        self.hold(Step::PcmGap { frames, rate_hz }, frames);
    }

    fn hold(&mut self, step: Step, frames: u64) {
        self.received += frames;
        self.held_frames += frames;
        self.held.push_back(step);
        while let Some(front) = self.held.front().map(frames_of)
            && self.held_frames - front >= self.padding
        {
            self.held_frames -= front;
            self.handed_out += front;
            self.ready.extend(self.held.pop_front());
        }
    }

    /// No more comes: what of the frames held back is padding is dropped.
    pub(super) fn finish(&mut self) {
        let excess = match self.length {
            Some(length) => self.received.saturating_sub(length),
            None => self.padding,
        };
        // More than padding can be is audio that the header does not know of: it stays.
        let mut drop = if excess <= self.padding || self.edited {
            excess.min(self.held_frames)
        } else {
            0
        };
        while drop > 0
            && let Some(step) = self.held.pop_back()
        {
            let frames = frames_of(&step);
            let dropped = drop.min(frames);
            drop -= dropped;
            let kept = frames - dropped;
            self.held_frames -= dropped;
            if kept > 0 {
                self.held.push_back(shortened(step, kept));
            }
        }
        self.handed_out += self.held_frames;
        self.held_frames = 0;
        self.ready.append(&mut self.held);
    }
}

fn frames_of(step: &Step) -> u64 {
    match step {
        Step::Pcm {
            interleaved,
            channels,
            ..
        } => (interleaved.len() / channels) as u64,
        Step::PcmGap { frames, .. } => *frames,
        _ => 0,
    }
}

fn shortened(mut step: Step, kept: u64) -> Step {
    match &mut step {
        Step::Pcm {
            interleaved,
            channels,
            ..
        } => interleaved.truncate(kept as usize * *channels),
        Step::PcmGap { frames, .. } => *frames = kept,
        _ => {}
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mut trim: Trim, packets: &[usize]) -> usize {
        for &frames in packets {
            trim.push(vec![0.5; frames * 2], 8_000, 2);
        }
        trim.finish();
        std::iter::from_fn(|| trim.pop())
            .map(|step| frames_of(&step) as usize)
            .sum()
    }

    #[test]
    fn delay_and_padding_are_taken_off() {
        assert_eq!(
            run(Trim::new(1105, 700, Some(4608 - 1805)), &[1152; 4]),
            4608 - 1805
        );
        assert_eq!(run(Trim::new(0, 0, None), &[1152; 4]), 4608);
    }

    #[test]
    fn what_was_cut_short_has_no_padding() {
        assert_eq!(
            run(Trim::new(1105, 700, Some(9000)), &[1152; 4]),
            4608 - 1105
        );
    }

    #[test]
    fn audio_that_the_header_does_not_know_of_is_kept() {
        assert_eq!(run(Trim::new(0, 700, Some(1000)), &[1152; 4]), 4608);
    }

    #[test]
    fn damage_is_silence_of_the_same_length() {
        let mut warnings = Warnings::default();
        let mut trim = Trim::new(100, 0, None);
        trim.gap(300, 8_000, &mut warnings);
        trim.gap(u64::MAX, 8_000, &mut warnings);
        trim.finish();
        assert_eq!(
            trim.pop(),
            Some(Step::PcmGap {
                frames: 200,
                rate_hz: 8_000
            })
        );
        assert_eq!(trim.pop(), None);
        assert_eq!(warnings.take().len(), 2);
    }
}
