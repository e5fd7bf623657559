//! The GPUs that this build can run Whisper on.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use whisper_rs::whisper_rs_sys as sys;

use super::driver;
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

/// Every GPU that the compiled backend finds, in the order in which whisper.cpp counts them. The
/// first call loads the driver, which may crash or hang: call it where that costs nothing.
#[must_use]
pub fn gpus() -> Vec<Gpu> {
    #[cfg(feature = "faults")]
    if let Some(fake) = super::fake_gpu::gpus() {
        return fake;
    }
    let Some(backend) = GPU_BACKEND else {
        return Vec::new();
    };
    // ggml would tell of its devices on the standard error output.
    whisper_rs::install_logging_hooks();
    // SAFETY: the registry is ggml's own, built on first use under its own lock.
    let count = unsafe { sys::ggml_backend_dev_count() };
    (0..count)
        // SAFETY: the index is below the count, and a device lives as long as the process.
        .map(|index| unsafe { sys::ggml_backend_dev_get(index) })
        .filter_map(|device| {
            // SAFETY: a device of the registry.
            let integrated = match unsafe { sys::ggml_backend_dev_type(device) } {
                sys::ggml_backend_dev_type_GGML_BACKEND_DEVICE_TYPE_GPU => false,
                sys::ggml_backend_dev_type_GGML_BACKEND_DEVICE_TYPE_IGPU => true,
                _ => return None,
            };
            Some((device, integrated))
        })
        .enumerate()
        .map(|(index, (device, integrated))| {
            let (mut free, mut total) = (0, 0);
            // SAFETY: a device of the registry, and two numbers to write.
            unsafe { sys::ggml_backend_dev_memory(device, &raw mut free, &raw mut total) };
            // SAFETY: a device of the registry.
            let name = text(unsafe { sys::ggml_backend_dev_description(device) });
            Gpu {
                index,
                backend,
                driver: driver::version(&name),
                name,
                integrated,
                total_bytes: total as u64,
                free_bytes: free as u64,
            }
        })
        .collect()
}

/// The GPU with this index, if it can be started.
pub fn find(index: usize) -> Result<Gpu> {
    let mut gpus = gpus();
    if index >= gpus.len() {
        let found: Vec<&str> = gpus.iter().map(|gpu| gpu.name.as_str()).collect();
        let what = match (GPU_BACKEND, found.as_slice()) {
            (None, _) => "this addon is without a GPU backend".to_owned(),
            (Some(backend), []) => format!("{backend} finds no GPU"),
            (Some(backend), found) => format!("{backend} finds only {}", found.join(", ")),
        };
        return Err(Error::new(
            ErrorKind::DeviceUnavailable,
            format!("there is no GPU {index}: {what}; use 'auto' or 'cpu'"),
        ));
    }
    Ok(gpus.swap_remove(index))
}

fn text(from: *const c_char) -> String {
    if from.is_null() {
        return String::new();
    }
    // SAFETY: ggml gives C strings that live as long as their device.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_string_lossy().trim().to_owned()
}
