//! Gives the memory of closed engines back to the system.
#![allow(unsafe_code)]

/// Returns what is free. glibc keeps the pages that a thread has freed for that thread's successors,
/// and the model of every engine is allocated by a thread of its own: after a few dozen engines that
/// is more than half a gigabyte. Takes some milliseconds, on the thread that closes.
pub(crate) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc's own function, for any thread at any time.
        unsafe {
            malloc_trim(0);
        }
    }
}
