//! Brings a model into memory, on the CPU or on a GPU.

use std::mem::ManuallyDrop;
use std::path::Path;

use whisper_rs::{WhisperContext, WhisperContextParameters};

use super::prompt;
use crate::cpu::CpuLevel;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Device;
use crate::whisper::exceptions::{self, Exception};
use crate::whisper::gpu::{self, Gpu};
use crate::whisper::gpu_memory::{self, GpuMemory};
use crate::whisper::mel::{BINS, LogMel};
use crate::whisper::model_file::{self, ModelFile};
use crate::whisper::rules::Vocabulary;
use crate::whisper::state::{OwnState, SETTABLE_BANDS};
use crate::whisper::{RecognizerInfo, align, exit, interrupt};

/// Vocabulary of large-v3 and what is distilled from it.
const LARGE_V3_TOKENS: u32 = 51_866;

/// The CPU, as `device` names it.
#[must_use]
pub fn cpu_device() -> String {
    format!("cpu ({})", CpuLevel::BUILT_FOR.as_str())
}

/// What all lanes of a model share. None of them changes it.
pub(in crate::whisper) struct Model {
    pub context: ManuallyDrop<WhisperContext>,
    pub threads: usize,
    pub lanes: usize,
    pub info: RecognizerInfo,
    /// None for bands that cannot be set.
    pub mel: Option<LogMel>,
    pub vocabulary: Vocabulary,
    /// The GPU that it is on, as it was before, and what a state takes there.
    on: Option<(Gpu, u64)>,
}

impl Model {
    pub fn load(path: &Path, device: Device, lanes: usize, threads: usize) -> Result<Self> {
        CpuLevel::check()?;
        let file = model_file::check(path)?;
        exceptions::install();
        interrupt::install();
        let (on, lanes) = match device {
            Device::Cpu => (None, 1),
            Device::Gpu(index) => {
                let gpu = gpu::find(index)?;
                let fit = gpu_memory::fitting(&file, lanes, &gpu)?;
                if fit < lanes {
                    tracing::warn!(
                        wanted = lanes,
                        fit,
                        "the GPU's memory is enough for fewer lanes"
                    );
                }
                #[cfg(feature = "faults")]
                crate::whisper::fake_gpu::at_load();
                (Some((gpu, gpu_memory::state_bytes(&file))), fit)
            }
        };
        let context = context(path, &file, on.as_ref().map(|(gpu, _)| gpu))?;
        let text = |id| context.token_to_bytes(id).unwrap_or_default();
        // The first distilled models, which whisper.cpp knows by this too.
        let timed = file.text_layers != 2 || file.vocabulary == LARGE_V3_TOKENS;
        Ok(Self {
            threads,
            lanes,
            info: info(&file, &context, lanes, on.as_ref().map(|(gpu, _)| gpu)),
            mel: (file.mel_filters.len() == SETTABLE_BANDS * BINS)
                .then(|| LogMel::new(&file.mel_filters)),
            vocabulary: Vocabulary::new(
                context.token_eot(),
                context.token_beg(),
                context.token_nosp(),
                timed,
                text,
            ),
            context: ManuallyDrop::new(context),
            on,
        })
    }

    /// The index of the GPU that it is on.
    fn gpu(&self) -> Option<usize> {
        self.on.as_ref().map(|(gpu, _)| gpu.index)
    }

    pub fn new_state(&self) -> Result<OwnState> {
        if self.on.is_some() {
            gpu::check()?;
        }
        let state = self.context.create_state().map_err(|cause| {
            Error::new(
                ErrorKind::OutOfMemory,
                "whisper.cpp could not allocate a state; use a smaller or quantised model",
            )
            .caused_by(cause)
        })?;
        Ok(OwnState::new(state, self.gpu()))
    }

    /// What was loaded, and what it takes of the GPU's memory now.
    pub fn info(&self) -> RecognizerInfo {
        let mut info = self.info.clone();
        if let (Some((before, _)), Some(gpu)) = (&self.on, &mut info.gpu) {
            let now = gpu::gpu(before.index);
            gpu.used_bytes = now.map_or(0, |now| before.free_bytes.saturating_sub(now.free_bytes));
        }
        info
    }

    /// What a failure of whisper.cpp means. On a CPU one window failed; a GPU that fails may be gone
    /// or full, and what is on it with it. So is a state that an exception went through.
    pub fn failure(&self, error: Error) -> Error {
        let (thrown, why) = exceptions::take().unzip();
        let why = why.unwrap_or_else(|| error.to_string());
        let failure = match (&self.on, thrown) {
            (None, None) => return error,
            // A state of its own for one window: the others have theirs.
            (Some((gpu, _)), None) if error.kind() == ErrorKind::OutOfMemory => {
                return gpu_memory::exhausted(gpu).caused_by(error);
            }
            (None, Some(Exception::OutOfMemory)) => exhausted(),
            (None, Some(_)) => Error::new(
                ErrorKind::WorkerFailed,
                format!("whisper.cpp failed: {why}"),
            ),
            (Some((gpu, _)), Some(Exception::OutOfMemory)) => gpu_memory::exhausted(gpu),
            (Some((gpu, state_bytes)), None) if is_full(gpu, *state_bytes) => {
                gpu_memory::exhausted(gpu)
            }
            (Some((gpu, _)), _) => {
                let what = format!("the GPU '{}' failed: {why}; try again", gpu.name);
                return Error::new(ErrorKind::WorkerFailed, what).with_broken_model();
            }
        };
        failure.caused_by(error).with_broken_model()
    }
}

impl Drop for Model {
    /// As [`OwnState`] is.
    fn drop(&mut self) {
        if !self.gpu().is_some_and(gpu::is_gone) {
            // SAFETY: it is dropped once, and not used behind that.
            #[allow(unsafe_code)]
            unsafe {
                ManuallyDrop::drop(&mut self.context);
            }
        }
    }
}

fn exhausted() -> Error {
    Error::new(
        ErrorKind::OutOfMemory,
        "memory ran out; use a smaller or quantised model",
    )
}

/// Whether so much is not free on it.
fn is_full(gpu: &Gpu, bytes: u64) -> bool {
    let now = gpu::gpu(gpu.index);
    now.is_some_and(|now| now.total_bytes > 0 && now.free_bytes < bytes)
}

fn context(path: &Path, file: &ModelFile, gpu: Option<&Gpu>) -> Result<WhisperContext> {
    let mut parameters = WhisperContextParameters::default();
    // Flash attention attends to parts of the cache that nobody wrote, and leaves nothing to find the
    // times of words in. On a CPU it takes longer than the products it saves, too: docs/benchmarks.md.
    parameters.use_gpu(gpu.is_some()).flash_attn(false);
    if let Some(gpu) = gpu {
        // A count of devices.
        parameters.gpu_device(gpu.index as std::ffi::c_int);
    }
    parameters.dtw_parameters(align::parameters(file));
    // Of what was freed before.
    exceptions::take();
    WhisperContext::new_with_params(path, parameters).map_err(|cause| {
        let error = match (gpu, exceptions::take()) {
            (Some(gpu), Some((exception, why))) if is_fatal(exception, &why) => {
                gpu::lose();
                exit::spare_statics();
                let what = format!("the GPU '{}' failed as it was opened: {why}", gpu.name);
                Error::new(ErrorKind::WorkerFailed, what)
            }
            // The file has been checked.
            (Some(gpu), _) => gpu_memory::exhausted(gpu),
            (None, Some((Exception::OutOfMemory, _))) => exhausted(),
            (None, _) => Error::new(
                ErrorKind::ModelInvalid,
                format!("whisper.cpp cannot load the model '{}'", path.display()),
            ),
        };
        error.caused_by(cause)
    })
}

/// Where making the device failed ggml's Vulkan backend keeps one that is half made, and uses it the
/// next time.
fn is_fatal(exception: Exception, why: &str) -> bool {
    exception != Exception::OutOfMemory || why.contains("createDevice")
}

fn info(
    file: &ModelFile,
    context: &WhisperContext,
    lanes: usize,
    gpu: Option<&Gpu>,
) -> RecognizerInfo {
    RecognizerInfo {
        languages: prompt::languages(context),
        backend: gpu.map_or("cpu", |gpu| gpu.backend),
        device: match gpu {
            None => cpu_device().into(),
            Some(gpu) => format!("{} {}: {}", gpu.backend, gpu.index, gpu.name).into(),
        },
        model_bytes: file.bytes,
        gpu: gpu.map(|gpu| GpuMemory {
            index: gpu.index,
            lanes,
            driver: gpu.driver.clone(),
            total_bytes: gpu.total_bytes,
            estimated_bytes: gpu_memory::model_bytes(file, lanes),
            used_bytes: 0,
        }),
    }
}
