//! Voice activity detection: where in the audio somebody speaks.

mod detection;
mod endpoint;
mod segmenter;
mod silero;
mod tracker;

pub use detection::Detection;
pub use endpoint::{Boundary, Endpointer};
pub use segmenter::{Segmenter, segments};
pub use silero::Silero;

use crate::error::Result;

/// New samples a window, 32 ms at 16 kHz (Silero).
pub const WINDOW_SAMPLES: usize = 512;
/// Samples in one call of the network, about 8 s: enough that the call's own cost vanishes, little
/// enough that giving up is noticed within 20 ms.
pub const MAX_CALL_SAMPLES: usize = 256 * WINDOW_SAMPLES;
/// Samples of the previous window that go before the new ones (Silero). Without them the network
/// answers near zero for everything, and says nothing.
pub const CONTEXT_SAMPLES: usize = 64;
/// Size of each of the network's two recurrent states.
const RECURRENT_SIZE: usize = 128;
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
