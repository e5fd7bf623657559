//! Opus packets in, text out: the engine behind the Node.js package `opuscribe`.
//!
//! The library knows nothing of JavaScript; the module `binding`, behind the feature `napi`, is
//! its only caller that does. The way through it:
//!
//! ```text
//! submit → decode (blocking pool) → opuscribe-vad (ONNX Runtime) → opuscribe-gpu (Whisper) → reply
//! ```
#![cfg_attr(not(feature = "napi"), deny(unsafe_code))]

pub mod audio;
// Unit tests call nothing of it, and need no Node to link.
#[cfg(all(feature = "napi", not(test)))]
mod binding;
pub mod cancel;
pub mod cpu;
pub mod engine;
mod error;
mod log;
pub mod media;
mod memory;
pub mod options;
pub mod opus;
pub mod transcript;
pub mod vad;
pub mod whisper;

pub use engine::Engine;
pub use error::{Error, ErrorKind, Result};
pub use log::{LogRecord, LogSink};
