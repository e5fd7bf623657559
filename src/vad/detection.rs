//! The speech of one input, found while the input comes in.

use std::ops::Range;

use super::{MAX_CALL_SAMPLES, Segmenter, Vad, VadState, WINDOW_SAMPLES};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::options::VadOptions;

/// Where one input has speech. The network's state is born and dies with it.
pub struct Detection {
    /// `None` takes everything as speech.
    following: Option<Following>,
    heard: usize,
}

struct Following {
    state: VadState,
    segmenter: Segmenter,
    /// Samples that do not fill a window yet.
    rest: Vec<f32>,
    probabilities: Vec<f32>,
}

impl Detection {
    /// Nothing heard yet. Without options the whole input is speech.
    #[must_use]
    pub fn new(options: Option<&VadOptions>) -> Self {
        Self {
            following: options.map(|options| Following {
                state: VadState::default(),
                segmenter: Segmenter::new(options),
                rest: Vec::new(),
                probabilities: Vec::new(),
            }),
            heard: 0,
        }
    }

    /// Samples heard so far.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.heard
    }

    /// Hears the next samples and appends the speech segments that they complete.
    pub fn push(
        &mut self,
        vad: &mut dyn Vad,
        pcm: &[f32],
        cancel: &Cancel,
        segments: &mut Vec<Range<usize>>,
    ) -> Result<()> {
        self.heard += pcm.len();
        self.forget_probabilities();
        let Some(following) = &mut self.following else {
            return Ok(());
        };
        following.rest.extend_from_slice(pcm);
        let whole = following.rest.len() - following.rest.len() % WINDOW_SAMPLES;
        following.follow(vad, whole, cancel, segments)?;
        following.rest.drain(..whole);
        Ok(())
    }

    /// The input ends: appends the segments that were open. A last, shorter window is padded with
    /// silence.
    pub fn finish(
        &mut self,
        vad: &mut dyn Vad,
        cancel: &Cancel,
        segments: &mut Vec<Range<usize>>,
    ) -> Result<()> {
        let heard = self.heard;
        self.forget_probabilities();
        match &mut self.following {
            None if heard > 0 => segments.push(0..heard),
            None => {}
            Some(following) => {
                following.follow(vad, following.rest.len(), cancel, segments)?;
                following.segmenter.finish(heard, segments);
            }
        }
        Ok(())
    }

    /// Probability of speech of each window that the last call completed.
    #[must_use]
    pub fn probabilities(&self) -> &[f32] {
        self.following
            .as_ref()
            .map_or(&[], |following| &following.probabilities)
    }

    fn forget_probabilities(&mut self) {
        if let Some(following) = &mut self.following {
            following.probabilities.clear();
        }
    }

    /// The segment that is still growing, as far as it is certain.
    #[must_use]
    pub fn growing(&self) -> Option<Range<usize>> {
        match &self.following {
            None => Some(0..self.heard),
            Some(following) => following.segmenter.growing(),
        }
    }

    /// No segment that is yet to be completed begins before this sample.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.following
            .as_ref()
            .map_or(0, |following| following.segmenter.settled())
    }
}

impl Following {
    fn follow(
        &mut self,
        vad: &mut dyn Vad,
        samples: usize,
        cancel: &Cancel,
        segments: &mut Vec<Range<usize>>,
    ) -> Result<()> {
        for slice in self.rest[..samples].chunks(MAX_CALL_SAMPLES) {
            cancel.check()?;
            let known = self.probabilities.len();
            vad.probabilities(&mut self.state, slice, &mut self.probabilities)?;
            self.segmenter.push(&self.probabilities[known..], segments);
        }
        Ok(())
    }
}
