//! What whisper.cpp threw. `native/exceptions.h` catches it before it comes to Rust, and the call fails
//! as it does for other reasons; why is told here, on the thread that called.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

use whisper_rs::whisper_rs_sys as sys;

use super::gpu;

/// ggml's words before it gives up because of CUDA, which come without the reason.
const CUDA: &str = "CUDA error";

type Log = unsafe extern "C" fn(sys::ggml_log_level, *const c_char, *mut c_void);

/// Who heard ggml's log before; set once.
static HEARER: OnceLock<Option<Log>> = OnceLock::new();

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exception {
    /// Memory ran out, of the GPU or of the machine.
    OutOfMemory,
    /// The GPU is gone for as long as the process lives.
    Lost,
    /// Anything else.
    Other,
}

thread_local! {
    static CAUGHT: RefCell<Option<(Exception, String)>> = const { RefCell::new(None) };
    /// The reason, which CUDA's backend logs before.
    static REASON: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has the logs of whisper.cpp and ggml go to `tracing`, once for the process, and before anything is
/// asked of them.
pub fn install() {
    whisper_rs::install_logging_hooks();
    HEARER.get_or_init(|| {
        let (mut hearer, mut data) = (None, std::ptr::null_mut());
        // SAFETY: both are written. The callback is whisper-rs's, a function without data, which is
        // static. It is read without a lock; other threads come here first and wait. whisper.cpp gives
        // ggml its own again with every state, so it has to be whisper.cpp's.
        unsafe {
            sys::ggml_log_get(&raw mut hearer, &raw mut data);
            sys::whisper_log_set(Some(hear), data);
        }
        hearer
    });
}

unsafe extern "C" fn hear(level: sys::ggml_log_level, text: *const c_char, data: *mut c_void) {
    if !text.is_null() {
        // SAFETY: ggml passes a C string.
        let said = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        if said.contains(CUDA) {
            REASON.set(Some(said.trim().to_owned()));
        }
    }
    if let Some(Some(hearer)) = HEARER.get() {
        // SAFETY: the function that ggml had, with the arguments that ggml gave.
        unsafe { hearer(level, text, data) };
    }
}

/// What was thrown on this thread since it was last asked.
pub fn take() -> Option<(Exception, String)> {
    CAUGHT.take()
}

#[unsafe(no_mangle)]
extern "C" fn opuscribe_caught(what: *const c_char) {
    // SAFETY: the header passes a C string.
    let mut what = unsafe { CStr::from_ptr(what) }
        .to_string_lossy()
        .into_owned();
    if let Some(reason) = REASON.take() {
        what = format!("{reason} ({what})");
    }
    tracing::error!("whisper.cpp gave up: {what}");
    let exception = classify(&what);
    if exception == Exception::Lost {
        gpu::lose();
    }
    CAUGHT.set(Some((exception, what)));
}

/// As vulkan.hpp, CUDA, cuBLAS and the standard library say it.
fn classify(what: &str) -> Exception {
    const MEMORY: [&str; 5] = [
        "ErrorOutOfDeviceMemory",
        "ErrorOutOfHostMemory",
        "out of memory",
        "resource allocation failed",
        "bad_alloc",
    ];
    // CUDA answers every call of a process with the error that one of them met.
    const LOST: [&str; 2] = ["ErrorDeviceLost", CUDA];
    let says = |all: &[&str]| all.iter().any(|one| what.contains(one));
    if says(&MEMORY) {
        Exception::OutOfMemory
    } else if says(&LOST) {
        Exception::Lost
    } else {
        Exception::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::Cell;
    use std::ffi::CString;
    use std::fs;
    use std::path::Path;

    unsafe extern "C-unwind" {
        fn ggml_abort(file: *const c_char, line: i32, format: *const c_char, ...) -> !;
    }

    thread_local! {
        static GIVES_UP: Cell<bool> = const { Cell::new(false) };
    }

    /// A model of whisper.cpp's as far as the sizes of its filters, which no memory holds.
    fn impossible() -> Vec<u8> {
        const MAGIC: i32 = 0x6767_6d6c;
        let shape = [51_864, 1500, 384, 6, 4, 448, 384, 6, 4, 80, 1];
        let filters = [-1, 1];
        let numbers = [MAGIC].into_iter().chain(shape).chain(filters);
        numbers.flat_map(i32::to_le_bytes).collect()
    }

    /// Plain cargo builds whisper.cpp without the header, and what it throws ends the tests.
    #[allow(clippy::print_stdout)]
    fn is_contained() -> bool {
        let is = option_env!("CXXFLAGS").is_some_and(|flags| flags.contains("exceptions.h"));
        if !is {
            println!("skipped: built without native/exceptions.h, which the scripts set");
        }
        is
    }

    fn load(path: &Path) -> Option<(Exception, String)> {
        install();
        let name = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a C string, and the parameters that whisper.cpp gives.
        let context = unsafe {
            let parameters = sys::whisper_context_default_params();
            sys::whisper_init_from_file_with_params_no_state(name.as_ptr(), parameters)
        };
        assert!(context.is_null());
        take()
    }

    #[test]
    fn what_whisper_cpp_throws_fails_the_call_and_not_the_process() {
        if !is_contained() {
            return;
        }
        let path = std::env::temp_dir().join(format!("opuscribe-{}.bin", std::process::id()));
        fs::write(&path, impossible()).unwrap();
        let caught = load(&path);
        fs::remove_file(&path).unwrap();
        let (exception, what) = caught.expect("it throws");
        assert_eq!(exception, Exception::Other);
        assert!(what.contains("vector"), "{what}");
        assert_eq!(take(), None);
    }

    /// Gives up in the middle of whisper.cpp as CUDA's backend does.
    unsafe extern "C-unwind" fn give_up(_: sys::ggml_log_level, _: *const c_char, _: *mut c_void) {
        if GIVES_UP.replace(false) {
            let level = sys::ggml_log_level_GGML_LOG_LEVEL_ERROR;
            // SAFETY: C strings. Nothing on the way to whisper.cpp's caller is to be dropped.
            unsafe {
                let nothing = std::ptr::null_mut();
                hear(level, c"CUDA error: out of memory\n".as_ptr(), nothing);
                hear(level, c"  current device: 0\n".as_ptr(), nothing);
                ggml_abort(
                    c"/x/ggml-cuda/ggml-cuda.cu".as_ptr(),
                    96,
                    c"CUDA error".as_ptr(),
                );
            }
        }
    }

    #[test]
    fn what_ggml_says_before_it_aborts_for_cuda_fails_the_call_and_not_the_process() {
        if !is_contained() {
            return;
        }
        install();
        // SAFETY: the same function but for what passes through it, and static.
        unsafe {
            let give_up: Log = std::mem::transmute(give_up as *const ());
            sys::whisper_log_set(Some(give_up), std::ptr::null_mut());
        }
        GIVES_UP.set(true);
        let caught = load(Path::new("/no/such/model"));
        let what = "CUDA error: out of memory (/x/ggml-cuda/ggml-cuda.cu:96: CUDA error)";
        assert_eq!(caught, Some((Exception::OutOfMemory, what.to_owned())));
        assert_eq!(load(Path::new("/no/such/model")), None);
        // SAFETY: what `install` sets, again.
        unsafe { sys::whisper_log_set(Some(hear), std::ptr::null_mut()) };
    }

    #[test]
    fn the_reason_is_told_by_the_words_of_the_backends() {
        let cases = [
            (
                "vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
                Exception::OutOfMemory,
            ),
            (
                "No suitable memory type found: ErrorOutOfDeviceMemory",
                Exception::OutOfMemory,
            ),
            (
                "CUDA error: out of memory (ggml-cuda.cu:96: CUDA error)",
                Exception::OutOfMemory,
            ),
            (
                "CUDA error: the resource allocation failed (x)",
                Exception::OutOfMemory,
            ),
            ("std::bad_alloc", Exception::OutOfMemory),
            ("vk::Queue::submit: ErrorDeviceLost", Exception::Lost),
            (
                "CUDA error: an illegal memory access was encountered (x)",
                Exception::Lost,
            ),
            (
                "ggml-cuda/softmax.cu:12: GGML_ASSERT(x) failed",
                Exception::Other,
            ),
            ("regex_error", Exception::Other),
        ];
        for (what, exception) in cases {
            assert_eq!(classify(what), exception, "{what}");
        }
    }
}
