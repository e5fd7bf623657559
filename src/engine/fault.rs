//! Faults on purpose, so that tests of the built addon can see what a fault does. In no build but
//! one with the feature `faults`.

use crate::error::Result;

/// Where a fault can be.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "faults"), allow(dead_code))]
pub(crate) enum Place {
    Decode,
    Vad,
    Gpu,
}

/// Panics if the job's id asks for it: `fault:decode`, `fault:vad` or `fault:gpu`. Ends the process as
/// native code would on the GPU thread for `fault:abort`, `fault:segfault` and `fault:memory`.
#[cfg(feature = "faults")]
pub(crate) fn inject(place: Place, id: &str) {
    if let Place::Gpu = place {
        if id.starts_with("fault:abort") {
            std::process::abort();
        }
        if id.starts_with("fault:memory") {
            out_of_device_memory();
        }
        if id.starts_with("fault:segfault") {
            segfault();
        }
    }
    let asked = match place {
        Place::Decode => "fault:decode",
        Place::Vad => "fault:vad",
        Place::Gpu => "fault:gpu",
    };
    assert!(!id.starts_with(asked), "a fault on purpose in {place:?}");
}

/// Fails as where the GPU has gone, if the job's id asks for it: `fault:lost`.
#[cfg(feature = "faults")]
pub(crate) fn lose(id: &str) -> Result<()> {
    if id.starts_with("fault:lost") {
        return Err(crate::whisper::fake_gpu::lose());
    }
    Ok(())
}

/// Ends as where Vulkan has no memory left while it computes: an exception that nobody catches.
#[cfg(feature = "faults")]
#[allow(clippy::print_stderr)]
fn out_of_device_memory() -> ! {
    eprintln!("terminate called after throwing an instance of 'vk::OutOfDeviceMemoryError'");
    eprintln!("  what():  vk::Device::allocateMemory: ErrorOutOfDeviceMemory");
    std::process::abort();
}

/// Writes where no memory is.
#[cfg(feature = "faults")]
#[allow(unsafe_code)]
fn segfault() {
    // SAFETY: none: the process is meant to end here. The address is kept from the compiler, which
    // would take the write for unreachable.
    unsafe { std::hint::black_box(8 as *mut u8).write_volatile(1) }
}

#[cfg(not(feature = "faults"))]
pub(crate) fn inject(_: Place, _: &str) {}

#[cfg(not(feature = "faults"))]
#[allow(clippy::unnecessary_wraps)] // With the feature it may be one.
pub(crate) fn lose(_: &str) -> Result<()> {
    Ok(())
}
