//! A GPU that is none, so that tests can see what is done where one fails. In no build but one with the
//! feature `faults`. What it does is in the environment, as `OPUSCRIBE_FAULT_GPU`.

use std::time::Duration;

use super::gpu::{self, Gpu};
use crate::error::{Error, ErrorKind};

const GIB: u64 = 1 << 30;

fn fault() -> Option<String> {
    std::env::var("OPUSCRIBE_FAULT_GPU").ok()
}

/// It, if it is wanted; for `two` another beside it.
pub fn gpus() -> Option<Vec<Gpu>> {
    let fault = fault()?;
    match fault.as_str() {
        "crash-listing" => std::process::abort(),
        "hang-listing" => hang(),
        _ => {}
    }
    let names = ["Fake GPU 9000", "Fake GPU 9500 Ti"];
    let gpu = |(index, name): (usize, &&str)| Gpu {
        index,
        backend: "vulkan",
        name: (*name).into(),
        driver: "fake 1.0".into(),
        integrated: false,
        total_bytes: 8 * GIB,
        free_bytes: if fault == "full" { GIB / 16 } else { 7 * GIB },
    };
    let count = if fault == "two" { 2 } else { 1 };
    Some(names.iter().enumerate().take(count).map(gpu).collect())
}

/// When a model is loaded there.
pub fn at_load() {
    match fault().as_deref() {
        Some("crash-loading") => std::process::abort(),
        Some("hang-loading") => hang(),
        _ => {}
    }
}

/// What it makes of a text.
pub fn spoil(text: &mut String) {
    if fault().as_deref() == Some("garbled") {
        *text = " bzzt".into();
    }
}

/// Takes it away.
pub fn lose() -> Error {
    gpu::lose();
    Error::new(ErrorKind::WorkerFailed, "the GPU is lost on purpose").with_broken_model()
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}
