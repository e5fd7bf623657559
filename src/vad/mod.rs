//! Voice activity detection: where in the audio somebody speaks.

mod segmenter;
mod silero;

pub use segmenter::segments;
pub use silero::Silero;

use crate::cancel::Cancel;
use crate::error::Result;

/// New samples a window, 32 ms at 16 kHz (Silero).
pub const WINDOW_SAMPLES: usize = 512;
/// Samples of the previous window that go before the new ones (Silero). Without them the network
/// answers near zero for everything, and says nothing.
pub const CONTEXT_SAMPLES: usize = 64;
/// Size of each of the network's two recurrent states.
const RECURRENT_SIZE: usize = 128;
/// Windows in one call, about a minute: enough that the call's own cost vanishes, little enough
/// that a long job can be given up in between.
const WINDOWS_PER_CALL: usize = 2048;

/// What the network remembers of one input. Belongs to one job or stream, never to the session.
#[derive(Debug, Clone, PartialEq)]
pub struct VadState {
    context: [f32; CONTEXT_SAMPLES],
    hidden: [f32; RECURRENT_SIZE],
    cell: [f32; RECURRENT_SIZE],
}

impl Default for VadState {
    fn default() -> Self {
        Self {
            context: [0.0; CONTEXT_SAMPLES],
            hidden: [0.0; RECURRENT_SIZE],
            cell: [0.0; RECURRENT_SIZE],
        }
    }
}

/// The seam to the network. Implementations are built, used and dropped on one thread.
pub trait Vad {
    /// Appends one probability for each window of `pcm` to `probabilities` and moves `state` on.
    /// A last, shorter window is padded with silence.
    fn probabilities(
        &mut self,
        state: &mut VadState,
        pcm: &[f32],
        probabilities: &mut Vec<f32>,
    ) -> Result<()>;
}

/// The probability of speech in each window of a whole input. Its state is born and dies here.
pub fn detect(vad: &mut dyn Vad, pcm: &[f32], cancel: &Cancel) -> Result<Vec<f32>> {
    let mut state = VadState::default();
    let mut probabilities = Vec::with_capacity(pcm.len().div_ceil(WINDOW_SAMPLES));
    for slice in pcm.chunks(WINDOWS_PER_CALL * WINDOW_SAMPLES) {
        cancel.check()?;
        vad.probabilities(&mut state, slice, &mut probabilities)?;
    }
    Ok(probabilities)
}
