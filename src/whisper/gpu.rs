//! The GPUs that this build can run Whisper on.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicBool, Ordering};

use whisper_rs::whisper_rs_sys as sys;

use super::driver;
use super::exceptions::{self, Exception};
use crate::error::{Error, ErrorKind, Result};

#[cfg(any(
    all(feature = "cuda", feature = "vulkan"),
    all(feature = "cuda", feature = "metal"),
    all(feature = "vulkan", feature = "metal"),
))]
compile_error!("one backend an addon: choose one of the features cuda, vulkan and metal");

/// The backend that is compiled in besides the CPU's.
pub const GPU_BACKEND: Option<&str> = if cfg!(feature = "cuda") {
    Some("cuda")
} else if cfg!(feature = "vulkan") {
    Some("vulkan")
} else if cfg!(feature = "metal") {
    Some("metal")
} else {
    None
};

/// Set once: ggml keeps a device for as long as the process lives, also one that is lost.
static LOST: AtomicBool = AtomicBool::new(false);

/// The GPU is gone: this process asks nothing of it any more, because CUDA's backend aborts where
/// it is asked for as little as the memory that is free.
pub fn lose() {
    LOST.store(true, Ordering::SeqCst);
}

fn is_lost() -> bool {
    LOST.load(Ordering::SeqCst)
}

/// Whether it is lost, which nobody may have noticed yet: CUDA is asked, which tells it by failing.
pub fn is_gone(index: usize) -> bool {
    if cfg!(feature = "cuda") {
        gpu(index);
    }
    is_lost()
}

/// Fails once it is.
pub fn check() -> Result<()> {
    if is_lost() {
        let what = "it is lost";
        return Err(Error::new(ErrorKind::WorkerFailed, what).with_broken_model());
    }
    Ok(())
}

/// A GPU, and its memory now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its place among those of this backend, from 0.
    pub index: usize,
    /// `cuda`, `vulkan` or `metal`.
    pub backend: &'static str,
    /// As its driver names it.
    pub name: String,
    /// Name and version of the driver, as far as it tells them.
    pub driver: String,
    /// Shares its memory with the CPU.
    pub integrated: bool,
    /// Bytes of its memory.
    pub total_bytes: u64,
    /// Bytes of it that are free.
    pub free_bytes: u64,
}

/// Every GPU that the compiled backend finds, in the order in which whisper.cpp counts them. Loads the
/// driver and asks each for its memory, which may crash or hang: call it where that costs nothing.
#[must_use]
pub fn gpus() -> Vec<Gpu> {
    if is_lost() {
        return Vec::new();
    }
    #[cfg(feature = "faults")]
    if let Some(fake) = super::fake_gpu::gpus() {
        return fake;
    }
    let devices = devices().into_iter().enumerate();
    devices
        .filter_map(|(index, device)| describe(index, device))
        .collect()
}

/// The one with this index. The others are left alone: CUDA takes memory on each that is asked for its.
pub fn gpu(index: usize) -> Option<Gpu> {
    if is_lost() {
        return None;
    }
    #[cfg(feature = "faults")]
    if let Some(fake) = super::fake_gpu::gpus() {
        return fake.into_iter().nth(index);
    }
    describe(index, *devices().get(index)?)
}

/// What whisper.cpp takes for GPUs.
fn devices() -> Vec<sys::ggml_backend_dev_t> {
    if GPU_BACKEND.is_none() {
        return Vec::new();
    }
    // ggml would tell of its devices on the standard error output.
    exceptions::install();
    // SAFETY: the registry is ggml's own, built on first use under its own lock.
    let count = unsafe { sys::ggml_backend_dev_count() };
    (0..count)
        // SAFETY: the index is below the count, and a device lives as long as the process.
        .map(|index| unsafe { sys::ggml_backend_dev_get(index) })
        .filter(|device| is_integrated(*device).is_some())
        .collect()
}

/// None for what is no GPU.
fn is_integrated(device: sys::ggml_backend_dev_t) -> Option<bool> {
    // SAFETY: a device of the registry.
    match unsafe { sys::ggml_backend_dev_type(device) } {
        sys::ggml_backend_dev_type_GGML_BACKEND_DEVICE_TYPE_GPU => Some(false),
        sys::ggml_backend_dev_type_GGML_BACKEND_DEVICE_TYPE_IGPU => Some(true),
        _ => None,
    }
}

fn describe(index: usize, device: sys::ggml_backend_dev_t) -> Option<Gpu> {
    let (mut free, mut total) = (0, 0);
    // SAFETY: a device of the registry, and two numbers to write.
    unsafe { sys::ggml_backend_dev_memory(device, &raw mut free, &raw mut total) };
    if let Some((Exception::Lost, _)) = exceptions::take() {
        return None;
    }
    // SAFETY: a device of the registry.
    let name = text(unsafe { sys::ggml_backend_dev_description(device) });
    Some(Gpu {
        index,
        backend: GPU_BACKEND?,
        driver: driver::version(&name),
        name,
        integrated: is_integrated(device)?,
        total_bytes: total as u64,
        // Over its budget Vulkan counts below zero, which is a large number there.
        free_bytes: if free > total { 0 } else { free as u64 },
    })
}

/// The GPU with this index, or why there is none.
pub fn find(index: usize) -> Result<Gpu> {
    gpu(index).ok_or_else(|| {
        let what = match (GPU_BACKEND, devices().len()) {
            _ if is_lost() => "it was lost, and this process cannot get it back".to_owned(),
            (None, _) => "this addon is without a GPU backend".to_owned(),
            (Some(backend), 0) => format!("{backend} finds no GPU"),
            (Some(backend), count) => format!("{backend} finds {count}, counted from 0"),
        };
        Error::new(
            ErrorKind::DeviceUnavailable,
            format!("there is no GPU {index}: {what}; use 'auto' or 'cpu'"),
        )
    })
}

fn text(from: *const c_char) -> String {
    if from.is_null() {
        return String::new();
    }
    // SAFETY: ggml gives C strings that live as long as their device.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_string_lossy().trim().to_owned()
}
