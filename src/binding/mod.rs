//! The JavaScript face: converts, calls, converts. The only folder that names `napi`.
//!
//! What goes wrong is answered as data (see [`error::Failure`]), so that the TypeScript layer makes
//! every error in one place and with the caller's stack.

// napi's macros generate code that these lints do not mean.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    clippy::undocumented_unsafe_blocks
)]

mod demuxer;
mod engines;
mod error;
mod framing;
mod options;
mod promise;
mod results;
mod stats;
mod stream;
mod transcriber;

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::cpu::CpuLevel;
use crate::whisper::gpus;
use results::NativeGpu;

/// Runs once in every environment that loads the addon: the main thread and each worker.
#[napi(module_exports)]
pub fn init(_exports: Object, env: Env) -> napi::Result<()> {
    // A panic is contained and reported through the log; nothing is printed.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    env.add_env_cleanup_hook((), |()| engines::close_all())?;
    Ok(())
}

/// Closes every transcriber of this environment and waits until their models are freed. For the
/// process's `exit` event: `process.exit()` does not run the environment's own cleanup hooks.
#[napi]
pub fn close_all() {
    engines::close_all();
}

/// The highest instruction set level of this processor: `x86-64-v4`, `x86-64-v3` or `baseline`.
#[napi]
pub fn cpu_level() -> &'static str {
    CpuLevel::detect().as_str()
}

/// The GPUs that this addon's backend finds. Loads their driver, which may crash or hang.
#[napi]
pub fn list_gpus() -> Vec<NativeGpu> {
    gpus().into_iter().map(Into::into).collect()
}
