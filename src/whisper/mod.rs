//! Speech recognition: the text of one window of audio.

mod align;
mod driver;
mod evidence;
mod exceptions;
mod exit;
#[cfg(feature = "faults")]
pub(crate) mod fake_gpu;
mod full;
mod gpu;
mod gpu_memory;
mod greedy;
mod guard;
mod interrupt;
mod mel;
mod model;
mod model_file;
#[cfg(target_arch = "x86_64")]
mod product;
mod recognition;
mod rules;
mod second_look;
mod softmax;
mod state;
mod timestamps;
mod window;
mod words;

pub use gpu::{GPU_BACKEND, Gpu, gpus};
pub use gpu_memory::GpuMemory;
pub use model::{Whisper, cpu_device, library_version};
pub use window::{MAX_WINDOW_SAMPLES, Packer, Window, audio_positions};
pub use words::WindowWord;

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::error::Result;

/// What the job asks of every one of its windows.
#[derive(Debug, Clone, Copy)]
pub struct Request<'job> {
    /// ISO 639-1 code, or `None` to detect it.
    pub language: Option<&'job str>,
    /// Translate to English.
    pub translate: bool,
    /// Text that goes before the audio.
    pub initial_prompt: Option<&'job str>,
    /// Beam width at temperature 0; 1 is greedy.
    pub beam_size: usize,
    /// Tried in order until the text can be believed. Never empty.
    pub temperatures: &'job [f32],
    /// Find out when each word was said.
    pub words: bool,
    /// A glimpse of what will be heard again: the first try alone, and no text where that one lost its
    /// way.
    pub draft: bool,
    /// Probability of speech in each 32 ms of the window; empty where nobody looked for speech.
    pub speech: &'job [f32],
}

/// A language to be detected, greedy and at temperature 0 alone.
impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            language: None,
            translate: false,
            initial_prompt: None,
            beam_size: 1,
            temperatures: &[0.0],
            words: false,
            draft: false,
            speech: &[],
        }
    }
}

/// The text of a window, on the window's own timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognition {
    /// Segments in order.
    pub segments: Vec<WindowSegment>,
    /// ISO 639-1 code that was used.
    pub language: &'static str,
    /// Probability of the language, 1 if it was given.
    pub language_probability: f32,
    /// What recognized it.
    pub device: Arc<str>,
}

/// A segment on the window's own timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSegment {
    /// Start, in milliseconds of the window.
    pub start_ms: i64,
    /// End, in milliseconds of the window; can lie past it.
    pub end_ms: i64,
    /// Text as Whisper wrote it, leading space included.
    pub text: String,
    /// Mean natural-log probability of the text tokens.
    pub avg_log_prob: f32,
    /// Probability that the window holds no speech.
    pub no_speech_probability: f32,
    /// Its words, if they were asked for.
    pub words: Option<Vec<WindowWord>>,
}

/// What a loaded model is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecognizerInfo {
    /// Languages by ISO 639-1 code; `["en"]` for an English-only model.
    pub languages: Vec<&'static str>,
    /// `cpu`, or the GPU backend in use.
    pub backend: &'static str,
    /// The device by name.
    pub device: Arc<str>,
    /// Bytes of the model's weights, which are in memory once.
    pub model_bytes: u64,
    /// The GPU, if it runs on one.
    pub gpu: Option<GpuMemory>,
}

/// The seam to the model. Implementations are built, used and dropped on one thread.
pub trait Recognizer {
    /// What was loaded, and what it takes now.
    fn info(&self) -> RecognizerInfo;

    /// The text of `window`, 16 kHz mono of at most [`MAX_WINDOW_SAMPLES`]. The result depends on
    /// the arguments alone, not on what ran before. Fails with the cause's error soon after
    /// `cancel` is raised.
    fn recognize(
        &mut self,
        window: &[f32],
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<Recognition>;

    /// Where windows are to be recognized side by side: how many, and what builds a recognizer on the
    /// same weights for each, on the thread that is to use it.
    fn lanes(&self) -> Option<Lanes> {
        None
    }
}

/// Recognizers that share their weights. All are to be dropped before the one that they are of.
pub struct Lanes {
    /// How many, from 2 up.
    pub count: usize,
    /// Builds one.
    pub build: Arc<dyn Fn() -> Result<Box<dyn Recognizer>> + Send + Sync>,
}
