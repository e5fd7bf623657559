//! One state of whisper.cpp: a spectrogram goes in, is encoded once, and tokens are fed and logits
//! read.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use whisper_rs::{FullParams, SamplingStrategy, WhisperState};

use super::gpu;
use super::greedy::Network;
use super::interrupt::{stop_before_encoding, while_wanted};
use crate::audio::SAMPLE_RATE_HZ;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};

/// Bands of every model before large-v3, and the only number that whisper-rs can set.
pub const SETTABLE_BANDS: usize = 80;
/// Enough for whisper.cpp not to leave before it has taken its parameters, 100 ms and a frame.
const SETTING: [f32; SAMPLE_RATE_HZ as usize / 5] = [0.0; SAMPLE_RATE_HZ as usize / 5];

/// A state of whisper.cpp's, which keeps its context. One that is on a GPU which is lost is not freed,
/// nor is its context: CUDA's backend aborts where freeing fails.
pub struct OwnState {
    inner: ManuallyDrop<WhisperState>,
    gpu: Option<usize>,
}

impl OwnState {
    pub fn new(inner: WhisperState, gpu: Option<usize>) -> Self {
        Self {
            inner: ManuallyDrop::new(inner),
            gpu,
        }
    }

    /// Fails on a GPU that was lost meanwhile, perhaps in another lane.
    fn check(&self) -> Result<()> {
        self.gpu.map_or(Ok(()), |_| gpu::check())
    }
}

impl Deref for OwnState {
    type Target = WhisperState;

    fn deref(&self) -> &WhisperState {
        &self.inner
    }
}

impl DerefMut for OwnState {
    fn deref_mut(&mut self) -> &mut WhisperState {
        &mut self.inner
    }
}

impl Drop for OwnState {
    fn drop(&mut self) {
        if !self.gpu.is_some_and(gpu::is_gone) {
            // SAFETY: it is dropped once, and not used behind that.
            #[allow(unsafe_code)]
            unsafe {
                ManuallyDrop::drop(&mut self.inner);
            }
        }
    }
}

pub struct State {
    inner: OwnState,
    threads: usize,
    /// The size of the encoder that whisper.cpp keeps from the last time it was set, if it is known.
    positions: Option<usize>,
    logits: Vec<f32>,
}

impl State {
    pub fn new(inner: OwnState, threads: usize) -> Self {
        Self {
            inner,
            threads,
            positions: None,
            logits: Vec::new(),
        }
    }

    /// Encodes `audio` with `positions` of the encoder. `mel` is its spectrogram, if it has the bands
    /// that can be set; else whisper.cpp computes its own.
    pub fn encode(
        &mut self,
        audio: &[f32],
        mel: Option<&[f32]>,
        positions: usize,
        cancel: &Cancel,
    ) -> Result<()> {
        cancel.check()?;
        self.inner.check()?;
        if self.positions != Some(positions) {
            self.resize(positions)?;
        }
        let set = match mel {
            Some(mel) => self.inner.set_mel(mel),
            None => self.inner.pcm_to_mel(audio, self.threads),
        };
        set.map_err(failed)?;
        let outcome = while_wanted(cancel, || self.inner.encode(0, self.threads));
        cancel.check()?;
        outcome.map_err(failed)
    }

    /// whisper.cpp sets the size nowhere but at the beginning of a whole run: this one stops there.
    fn resize(&mut self, positions: usize) -> Result<()> {
        let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        params.set_print_progress(false);
        params.set_n_threads(1);
        // At most 1500.
        params.set_audio_ctx(positions as std::ffi::c_int);
        // SAFETY: the callback takes no user data and touches none of its arguments.
        #[allow(unsafe_code)]
        unsafe {
            params.set_start_encoder_callback(Some(stop_before_encoding));
        }
        self.positions = None;
        while_wanted(&Cancel::never(), || self.inner.full(params, &SETTING)).map_err(failed)?;
        self.positions = Some(positions);
        Ok(())
    }

    /// The logits behind what was fed last.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// For a run of whisper.cpp's own loop, which sets the size itself, if it gets that far.
    pub fn lend(&mut self) -> &mut WhisperState {
        self.positions = None;
        &mut self.inner
    }

    /// Feeds `tokens` behind the first `past` and gives the logits for the next.
    pub fn feed(&mut self, tokens: &[i32], past: usize, cancel: &Cancel) -> Result<&mut [f32]> {
        // whisper.cpp keeps the logits of the last token in the last of as many rows as there are
        // tokens, and whisper-rs gives the first row: what counts goes alone.
        let (before, last) = tokens.split_at(tokens.len().saturating_sub(1));
        for (part, past) in [(before, past), (last, past + before.len())] {
            if !part.is_empty() {
                cancel.check()?;
                self.inner.check()?;
                let outcome = while_wanted(cancel, || self.inner.decode(part, past, self.threads));
                cancel.check()?;
                outcome.map_err(failed)?;
            }
        }
        self.logits.clear();
        self.logits
            .extend_from_slice(self.inner.get_logits().map_err(failed)?);
        Ok(&mut self.logits)
    }
}

/// The decoder behind a prompt, all of which but `rest` is fed.
pub struct Prompted<'run> {
    pub state: &'run mut State,
    /// Tokens of the prompt that are fed.
    pub prompt: usize,
    pub rest: &'run [i32],
    /// Tokens that are fed behind it.
    pub text: usize,
    pub cancel: &'run Cancel,
}

impl Network for Prompted<'_> {
    fn first(&mut self) -> Result<&mut [f32]> {
        if self.rest.is_empty() {
            return Ok(&mut self.state.logits);
        }
        let past = self.prompt;
        self.prompt += self.rest.len();
        self.state.feed(self.rest, past, self.cancel)
    }

    fn feed(&mut self, token: i32) -> Result<&mut [f32]> {
        let past = self.prompt + self.text;
        self.text += 1;
        self.state.feed(&[token], past, self.cancel)
    }

    fn rewind(&mut self, kept: usize) {
        self.text = self.text.min(kept);
    }
}

pub fn failed(cause: whisper_rs::WhisperError) -> Error {
    Error::new(ErrorKind::WorkerFailed, "whisper.cpp failed on this window").caused_by(cause)
}
