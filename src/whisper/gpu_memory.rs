//! What a model takes of a GPU's memory. Pure.
//!
//! Where it runs out in the middle of a window that window is lost, and with a backend whose aborts are
//! not caught the process. So it is looked at before: the weights are as large as their file, and of a
//! state whisper.cpp tells the parts when it makes one. The shapes below give its figures for tiny.en
//! and base to within a few percent.

use super::gpu::Gpu;
use super::model_file::ModelFile;
use crate::error::{Error, ErrorKind, Result};

const MIB: u64 = 1 << 20;
const FLOAT: u64 = 4;
/// Half floats, for keys and for values.
const KEY_AND_VALUE: u64 = 2 * 2;
/// Positions of the encoder, and the same rounded up as the caches are.
const POSITIONS: u64 = 1500;
const PADDED_POSITIONS: u64 = 1536;
/// Frames of the spectrogram of 30 s.
const FRAMES: u64 = 3000;
/// Tokens that whisper.cpp makes room to decode at once, and those of a text, rounded up.
const BATCH_TOKENS: u64 = 448;
const PADDED_TOKENS: u64 = 512;
/// What a driver and its libraries of products take for themselves: 0.3 to 0.5 GB with CUDA.
const DRIVER_BYTES: u64 = 384 * MIB;
/// What each lane but the first takes besides its state: cuBLAS has a workspace for each.
const LANE_BYTES: u64 = 64 * MIB;
const LANES_TO_A_SPARE: u64 = 4;

/// A GPU in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuMemory {
    /// Its place among those of its backend.
    pub index: usize,
    /// Windows that it works on at once.
    pub lanes: usize,
    /// Name and version of the driver.
    pub driver: String,
    /// Bytes of its memory.
    pub total_bytes: u64,
    /// What the model was expected to take.
    pub estimated_bytes: u64,
    /// What it took, as the difference of what was free before and after; 0 where the driver does
    /// not tell.
    pub used_bytes: u64,
}

/// One state: what it keeps of a window, and what it computes in.
pub fn state_bytes(file: &ModelFile) -> u64 {
    let audio = u64::from(file.audio_state);
    let audio_heads = u64::from(file.audio_heads);
    let text = u64::from(file.text_state);
    let text_heads = u64::from(file.text_heads);
    let layers = u64::from(file.text_layers);
    let caches =
        KEY_AND_VALUE * text * (layers * (PADDED_TOKENS + PADDED_POSITIONS) + PADDED_POSITIONS);
    let convolution = 3 * FRAMES * audio * FLOAT;
    let attention = POSITIONS * POSITIONS * audio_heads * FLOAT;
    let encoder = attention + 5 * POSITIONS * audio * FLOAT;
    let cross = 2 * POSITIONS * text * FLOAT;
    let logits = BATCH_TOKENS * u64::from(file.vocabulary) * FLOAT;
    let scores = BATCH_TOKENS * (PADDED_TOKENS + PADDED_POSITIONS) * text_heads * FLOAT;
    let decoder = logits + scores + 20 * BATCH_TOKENS * text * FLOAT;
    caches + convolution + encoder + cross + decoder
}

/// The model with so many lanes. With more than one, the thread that owns it has a state too.
pub fn model_bytes(file: &ModelFile, lanes: usize) -> u64 {
    let lanes = lanes as u64;
    let states = if lanes > 1 { lanes + 1 } else { 1 };
    file.bytes + states * state_bytes(file) + (lanes - 1) * LANE_BYTES
}

/// What must be free for it. A window that is decoded with beams, or drawn, has another state for
/// itself, which one in so many lanes may need at once.
fn needed_bytes(file: &ModelFile, lanes: usize) -> u64 {
    let spare = 1 + lanes as u64 / LANES_TO_A_SPARE;
    model_bytes(file, lanes) + spare * state_bytes(file) + DRIVER_BYTES
}

/// As many of the lanes as fit into what is free; fails where not one does.
pub fn fitting(file: &ModelFile, lanes: usize, gpu: &Gpu) -> Result<usize> {
    // A driver that does not tell its memory.
    if gpu.total_bytes == 0 {
        return Ok(lanes);
    }
    let needed = |lanes| needed_bytes(file, lanes);
    let fit = (1..=lanes)
        .rev()
        .find(|lanes| needed(*lanes) <= gpu.free_bytes);
    fit.ok_or_else(|| {
        Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "the model takes about {} MiB on '{}', of whose {} MiB {} are free; use a smaller \
                 or quantised model, or device: 'cpu'",
                needed(1) / MIB,
                gpu.name,
                gpu.total_bytes / MIB,
                gpu.free_bytes / MIB,
            ),
        )
    })
}

/// Memory ran out all the same.
pub fn exhausted(gpu: &Gpu) -> Error {
    Error::new(
        ErrorKind::OutOfMemory,
        format!(
            "the memory of '{}' does not suffice; use a smaller or quantised model, or device: 'cpu'",
            gpu.name
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(bytes: u64, state: u32, heads: u32, layers: u32, vocabulary: u32) -> ModelFile {
        ModelFile {
            bytes,
            vocabulary,
            audio_state: state,
            audio_heads: heads,
            audio_layers: layers,
            text_state: state,
            text_layers: layers,
            text_heads: heads,
            mel_filters: Vec::new(),
        }
    }

    fn gpu(free_bytes: u64) -> Gpu {
        Gpu {
            index: 0,
            backend: "vulkan",
            name: "a GPU".into(),
            driver: String::new(),
            integrated: false,
            total_bytes: 8192 * MIB,
            free_bytes,
        }
    }

    /// What whisper.cpp 1.8.3 tells of its caches and its four compute buffers, without flash attention.
    #[test]
    fn the_estimate_is_what_whisper_cpp_takes() {
        let tiny = model(77_704_715, 384, 6, 4, 51_864);
        let base = model(147_951_465, 512, 8, 6, 51_865);
        let tiny_takes = 3.15 + 9.44 + 2.36 + 13.21 + 64.81 + 3.89 + 134.23;
        let base_takes = 6.29 + 18.87 + 3.15 + 16.28 + 85.88 + 4.66 + 140.29;
        for (file, megabytes) in [(tiny, tiny_takes), (base, base_takes)] {
            let ratio = state_bytes(&file) as f64 / (megabytes * 1e6);
            assert!((0.97..1.1).contains(&ratio), "{ratio}");
        }
    }

    #[test]
    fn a_model_that_does_not_fit_is_refused_with_what_it_takes_and_what_is_free() {
        let large = model(3_095_033_483, 1280, 20, 32, 51_866);
        assert_eq!(fitting(&large, 1, &gpu(6144 * MIB)).unwrap(), 1);
        let error = fitting(&large, 8, &gpu(2048 * MIB)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        assert!(error.message().contains("of whose 8192 MiB 2048 are free"));
    }

    #[test]
    fn there_are_no_more_lanes_than_fit() {
        let large = model(3_095_033_483, 1280, 20, 32, 51_866);
        for lanes in [1, 2, 3, 7, 8] {
            let needed = needed_bytes(&large, lanes);
            assert_eq!(fitting(&large, 8, &gpu(needed)).unwrap(), lanes);
            let fewer = fitting(&large, 8, &gpu(needed - 1));
            assert_eq!(fewer.unwrap_or(0), lanes - 1);
        }
        // A state each, that of the owner, and three for windows that need one of their own.
        let extra = needed_bytes(&large, 8) - large.bytes - DRIVER_BYTES - 7 * LANE_BYTES;
        assert_eq!(extra, (8 + 1 + 3) * state_bytes(&large));
    }

    #[test]
    fn a_driver_that_does_not_tell_its_memory_is_no_reason_to_refuse() {
        let large = model(3_095_033_483, 1280, 20, 32, 51_866);
        let silent = Gpu {
            total_bytes: 0,
            ..gpu(0)
        };
        assert_eq!(fitting(&large, 8, &silent).unwrap(), 8);
    }
}
