//! Stops whisper.cpp in the middle of its network.
//!
//! whisper.cpp asks its abort callback only after the whole encoder and after each step of the
//! decoder, and its language detection not at all. ggml's CPU backend can ask before every node of
//! a graph, but whisper.cpp keeps the backend to itself. It looks up one function of the backend by
//! name before every graph, though, to set the number of threads: the table it looks in is given a
//! function of ours, which does the same and sets the abort callback too.
//!
//! The table's layout is `ggml_backend_reg` of `ggml-backend-impl.h`; its `api_version` guards it.
//! Where it is another, everything works as without: giving up is noticed when the encoder is done.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{from_ref, null};
use std::sync::OnceLock;

use whisper_rs::whisper_rs_sys as sys;

use crate::cancel::Cancel;
use crate::log;

/// `GGML_BACKEND_API_VERSION` of the headers that [`Registration`] was read from.
const API_VERSION: c_int = 2;
const SET_N_THREADS: &CStr = c"ggml_backend_set_n_threads";

type LookUp = unsafe extern "C" fn(sys::ggml_backend_reg_t, *const c_char) -> *mut c_void;

/// `struct ggml_backend_reg`, up to the function that is replaced.
#[repr(C)]
struct Registration {
    api_version: c_int,
    get_name: *const c_void,
    get_device_count: *const c_void,
    get_device: *const c_void,
    get_proc_address: Option<LookUp>,
}

/// What the table held before; set once, and with it the table.
static ORIGINAL: OnceLock<Option<LookUp>> = OnceLock::new();

thread_local! {
    /// What gives up the work that this thread does; null between two works.
    static CURRENT: Cell<*const Cancel> = const { Cell::new(null()) };
}

/// Runs `work`, every graph of which ends soon after `cancel` is raised.
pub fn while_wanted<Output>(cancel: &Cancel, work: impl FnOnce() -> Output) -> Output {
    /// Also when `work` panics: the pointer must not outlive the reference.
    struct Restore(*const Cancel);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
            log::set_stopped(false);
        }
    }
    let _restore = Restore(CURRENT.replace(from_ref(cancel)));
    work()
}

/// The rest of this thread's work, up to the end of [`while_wanted`], is not interrupted.
pub fn leave_alone() {
    CURRENT.set(null());
}

/// Replaces the look-up, once for the process, before any model is loaded. ggml is linked into this
/// library alone, so the table is nobody else's.
pub fn install() {
    ORIGINAL.get_or_init(|| {
        // SAFETY: the registration is a writable static of ggml's and never moves. Only its first
        // field is read before the version tells that the others are where they are expected. No
        // other thread writes it, and none reads it before it has come here and waited.
        unsafe {
            let registration = sys::ggml_backend_cpu_reg().cast::<Registration>();
            if (*registration).api_version != API_VERSION {
                tracing::warn!("ggml has another layout; giving up waits for the encoder");
                return None;
            }
            (*registration).get_proc_address.replace(look_up)
        }
    });
}

unsafe extern "C" fn look_up(
    registration: sys::ggml_backend_reg_t,
    name: *const c_char,
) -> *mut c_void {
    // SAFETY: ggml passes a C string.
    if unsafe { CStr::from_ptr(name) } == SET_N_THREADS {
        let ours: unsafe extern "C" fn(sys::ggml_backend_t, c_int) = set_n_threads;
        return ours as *mut c_void;
    }
    match ORIGINAL.get() {
        // SAFETY: the function that ggml had there, with the arguments that ggml gave.
        Some(Some(original)) => unsafe { original(registration, name) },
        _ => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn set_n_threads(backend: sys::ggml_backend_t, threads: c_int) {
    let current = CURRENT.get();
    let callback: sys::ggml_abort_callback = if current.is_null() {
        None
    } else {
        Some(is_cancelled)
    };
    // SAFETY: ggml calls this with a CPU backend, on the thread that computes the graph that comes
    // next. The pointer it is given lives for as long as `while_wanted` runs; every later graph
    // comes here first and replaces it.
    unsafe {
        sys::ggml_backend_cpu_set_n_threads(backend, threads);
        sys::ggml_backend_cpu_set_abort_callback(
            backend,
            callback,
            current.cast_mut().cast::<c_void>(),
        );
    }
}

/// whisper.cpp's and ggml's question. `cancel` is a [`Cancel`] that lives while they run.
pub unsafe extern "C" fn is_cancelled(cancel: *mut c_void) -> bool {
    // SAFETY: see the caller: the pointer is a `Cancel` that outlives the computation.
    let cancel = unsafe { &*cancel.cast::<Cancel>() };
    let stop = cancel.cause().is_some();
    if stop {
        log::set_stopped(true);
    }
    stop
}

/// Stops whisper.cpp before it encodes, as a callback for the beginning of it.
pub unsafe extern "C" fn stop_before_encoding(
    _: *mut sys::whisper_context,
    _: *mut sys::whisper_state,
    _: *mut c_void,
) -> bool {
    log::set_stopped(true);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes a graph on the CPU the way whisper.cpp does: the function for the threads is looked
    /// up by name and called first.
    fn compute() -> sys::ggml_status {
        // SAFETY: ggml's own order of calls; everything is freed at the end and used on this thread.
        unsafe {
            let context = sys::ggml_init(sys::ggml_init_params {
                mem_size: 1 << 20,
                mem_buffer: std::ptr::null_mut(),
                no_alloc: false,
            });
            let backend = sys::ggml_backend_cpu_init();
            let tensor = sys::ggml_new_tensor_1d(context, sys::ggml_type_GGML_TYPE_F32, 16);
            let sum = sys::ggml_add(context, tensor, tensor);
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, sum);
            let found = sys::ggml_backend_reg_get_proc_address(
                sys::ggml_backend_cpu_reg(),
                SET_N_THREADS.as_ptr(),
            );
            let set_n_threads: unsafe extern "C" fn(sys::ggml_backend_t, c_int) =
                std::mem::transmute(found);
            set_n_threads(backend, 1);
            let status = sys::ggml_backend_graph_compute(backend, graph);
            sys::ggml_backend_free(backend);
            sys::ggml_free(context);
            status
        }
    }

    #[test]
    fn a_graph_stops_in_its_middle_when_the_work_is_given_up_and_only_then() {
        install();
        let cancel = Cancel::never();
        assert_eq!(
            while_wanted(&cancel, compute),
            sys::ggml_status_GGML_STATUS_SUCCESS
        );
        cancel.abort();
        assert_eq!(
            while_wanted(&cancel, compute),
            sys::ggml_status_GGML_STATUS_ABORTED
        );
        assert_eq!(compute(), sys::ggml_status_GGML_STATUS_SUCCESS);
        let panicked = std::panic::catch_unwind(|| while_wanted(&cancel, || panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(compute(), sys::ggml_status_GGML_STATUS_SUCCESS);
    }

    #[test]
    fn every_other_function_is_found_as_before() {
        install();
        let look_up = |name: &CStr| {
            // SAFETY: ggml's own registration and a C string.
            unsafe {
                sys::ggml_backend_reg_get_proc_address(sys::ggml_backend_cpu_reg(), name.as_ptr())
            }
        };
        assert!(!look_up(c"ggml_backend_set_abort_callback").is_null());
        assert!(look_up(c"no such function").is_null());
    }
}
