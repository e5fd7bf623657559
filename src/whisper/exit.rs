//! Ends the process before ggml's statics do.
//!
//! A Vulkan device that is half made cannot be destroyed, which ggml's backend does at the end of the
//! process, or when the addon is unloaded with the worker thread that loaded it; and which aborts.
#![allow(unsafe_code)]

/// This process keeps the addon, and ends with the status that it has and without ggml's statics.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn spare_statics() {
    use std::ffi::{c_char, c_int, c_void};
    use std::ptr::{null, null_mut};

    const RTLD_NOW: c_int = 0x2;
    const RTLD_NODELETE: c_int = 0x1000;

    #[repr(C)]
    struct Location {
        file: *const c_char,
        base: *mut c_void,
        symbol: *const c_char,
        address: *mut c_void,
    }
    unsafe extern "C" {
        fn dladdr(address: *const c_void, found: *mut Location) -> c_int;
        fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
        fn on_exit(call: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        fn fflush(stream: *mut c_void) -> c_int;
        fn _exit(status: c_int) -> !;
    }
    extern "C" fn end(status: c_int, _: *mut c_void) {
        // SAFETY: null is every stream.
        unsafe {
            fflush(null_mut());
            _exit(status)
        }
    }
    let mut found = Location {
        file: null(),
        base: null_mut(),
        symbol: null(),
        address: null_mut(),
    };
    // SAFETY: glibc's own types. The file is this very library, which stays where it is, and so does
    // `end`. Where any of it fails the process ends as it would.
    unsafe {
        if dladdr(end as *const c_void, &raw mut found) != 0 {
            dlopen(found.file, RTLD_NOW | RTLD_NODELETE);
        }
        on_exit(end, null_mut());
    }
}

/// Only glibc tells the status.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn spare_statics() {}
