//! The one error type of the crate. Knows nothing of JavaScript.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, and with it what to do about it. The code is public API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument has the wrong type, range or combination. Correct the call.
    InvalidArgument,
    /// No packet of the input can be Opus. Check that whole packets are passed, without framing.
    InvalidPacket,
    /// The file is no audio that can be read here. The message names what was found.
    UnsupportedMedia,
    /// The model file does not exist or cannot be read. Check the path or fetch the model.
    ModelNotFound,
    /// The file is not a model of the expected kind, or is damaged. Fetch it again.
    ModelInvalid,
    /// The requested device, CPU feature or runtime library is missing on this machine.
    DeviceUnavailable,
    /// The bounded queue is full. Try again after [`Error::retry_after_ms`].
    QueueFull,
    /// The job's time was up, waiting included. Its computation has been stopped.
    Timeout,
    /// The caller gave the job up. Its computation has been stopped.
    Aborted,
    /// The engine is closed or closing. Open another.
    Closed,
    /// A stage failed while it held the job. Other jobs are not affected; try again.
    WorkerFailed,
    /// Memory ran out. Use a smaller or quantised model.
    OutOfMemory,
}

impl ErrorKind {
    /// Every kind, for tables and exhaustive tests.
    pub const ALL: [Self; 12] = [
        Self::InvalidArgument,
        Self::InvalidPacket,
        Self::UnsupportedMedia,
        Self::ModelNotFound,
        Self::ModelInvalid,
        Self::DeviceUnavailable,
        Self::QueueFull,
        Self::Timeout,
        Self::Aborted,
        Self::Closed,
        Self::WorkerFailed,
        Self::OutOfMemory,
    ];

    /// The stable string that callers switch on.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidArgument => "ERR_INVALID_ARGUMENT",
            Self::InvalidPacket => "ERR_INVALID_PACKET",
            Self::UnsupportedMedia => "ERR_UNSUPPORTED_MEDIA",
            Self::ModelNotFound => "ERR_MODEL_NOT_FOUND",
            Self::ModelInvalid => "ERR_MODEL_INVALID",
            Self::DeviceUnavailable => "ERR_DEVICE_UNAVAILABLE",
            Self::QueueFull => "ERR_QUEUE_FULL",
            Self::Timeout => "ERR_TIMEOUT",
            Self::Aborted => "ERR_ABORTED",
            Self::Closed => "ERR_CLOSED",
            Self::WorkerFailed => "ERR_WORKER_FAILED",
            Self::OutOfMemory => "ERR_OUT_OF_MEMORY",
        }
    }
}

/// An error with a stable code, a message that says what, where and what to do, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    index: Option<usize>,
    byte_offset: Option<usize>,
    retry_after_ms: Option<u32>,
    broken_model: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` says what was wrong, where, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            index: None,
            byte_offset: None,
            retry_after_ms: None,
            broken_model: false,
            source: None,
        }
    }

    /// Shorthand for the most frequent kind.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Every way of being too late for an engine.
    pub(crate) fn closed() -> Self {
        Self::new(
            ErrorKind::Closed,
            "the transcriber is closed; open another one",
        )
    }

    /// The engine closed itself, and this is why.
    pub(crate) fn failed(why: &str) -> Self {
        Self::new(
            ErrorKind::Closed,
            format!("the transcriber closed itself: {why}; open another one"),
        )
    }

    /// Where in the input it went wrong: the index of a packet or sample.
    #[must_use]
    pub fn at(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }

    /// Where in the bytes it went wrong.
    #[must_use]
    pub fn at_byte(mut self, offset: usize) -> Self {
        self.byte_offset = Some(offset);
        self
    }

    /// How long to wait before trying again.
    #[must_use]
    pub fn retry_after(mut self, ms: u32) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// The error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The model that it happened to is not to be used again, because the GPU it is on may be gone.
    #[must_use]
    pub fn with_broken_model(mut self) -> Self {
        self.broken_model = true;
        self
    }

    /// Whether the model must be loaded again.
    #[must_use]
    pub fn breaks_model(&self) -> bool {
        self.broken_model
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without its cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Index of the offending packet or sample, if the error has one.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        self.index
    }

    /// Where in the bytes it went wrong, if the error has such a place.
    #[must_use]
    pub fn byte_offset(&self) -> Option<usize> {
        self.byte_offset
    }

    /// Milliseconds to wait before trying again; set for [`ErrorKind::QueueFull`].
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u32> {
        self.retry_after_ms
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, " (cause: {source})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| -> &(dyn StdError + 'static) { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_distinct_and_prefixed() {
        let codes: HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert!(codes.iter().all(|code| code.starts_with("ERR_")));
    }

    #[test]
    fn the_cause_is_shown_and_kept() {
        let io = std::io::Error::other("disk on fire");
        let error = Error::new(ErrorKind::ModelNotFound, "cannot read the model").caused_by(io);
        assert_eq!(
            error.to_string(),
            "cannot read the model (cause: disk on fire)"
        );
        assert!(error.source().is_some());
    }
}
