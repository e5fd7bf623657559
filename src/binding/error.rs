//! Errors as data. The only place where the engine's errors are mapped.

use napi_derive::napi;

use crate::error::Error;

/// What went wrong, as the TypeScript layer makes an `OpuscribeError` of it.
#[napi(object, object_from_js = false)]
pub struct Failure {
    /// Stable, for instance `ERR_QUEUE_FULL`.
    pub code: String,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// Index of the packet or sample it is about.
    pub index: Option<u32>,
    /// Where in the bytes it is.
    pub byte_offset: Option<f64>,
    /// When to try again, with `ERR_QUEUE_FULL`.
    pub retry_after_ms: Option<u32>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: error.kind().code().to_owned(),
            message: error.to_string(),
            index: error.index().and_then(|index| u32::try_from(index).ok()),
            byte_offset: error.byte_offset().map(|offset| offset as f64),
            retry_after_ms: error.retry_after_ms(),
        }
    }
}
