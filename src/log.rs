//! Log records of one engine, from Rust, whisper.cpp and ONNX Runtime, to whoever opened it.
//!
//! Each thread of an engine reports to that engine's own sink, so two engines in one process do
//! not see each other's records, and without a sink nothing is made or printed.

use std::fmt::Write as _;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// `error`, `warn`, `info` or `debug`.
    pub level: &'static str,
    /// The module that reports.
    pub target: String,
    /// The text, with the record's fields behind it.
    pub message: String,
}

/// Receives records on the engine's threads; must not wait.
pub type LogSink = Arc<dyn Fn(LogRecord) + Send + Sync>;

/// Where an engine's threads report to.
#[derive(Clone)]
pub(crate) struct Log(Dispatch);

impl Log {
    pub fn new(sink: Option<LogSink>) -> Self {
        Self(sink.map_or_else(Dispatch::none, |sink| Dispatch::new(Reporter(sink))))
    }

    /// Runs `work` with this thread reporting here.
    pub fn scope<Output>(&self, work: impl FnOnce() -> Output) -> Output {
        dispatcher::with_default(&self.0, work)
    }
}

struct Reporter(LogSink);

impl Subscriber for Reporter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::DEBUG
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        (self.0)(LogRecord {
            level: match *event.metadata().level() {
                Level::ERROR => "error",
                Level::WARN => "warn",
                Level::INFO => "info",
                _ => "debug",
            },
            target: event.metadata().target().to_owned(),
            message: message.0,
        });
    }

    // Spans are not reported.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{rest}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn each_log_sees_its_own_records_only() {
        let seen: Arc<Mutex<Vec<LogRecord>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let log = Log::new(Some(Arc::new(move |record| {
            sink.lock().unwrap().push(record);
        })));
        log.scope(|| tracing::warn!(kept = 223, "prompt too long"));
        Log::new(None).scope(|| tracing::error!("somebody else's"));
        tracing::error!("nobody's");
        log.scope(|| tracing::trace!("too fine"));
        let records = seen.lock().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].level, "warn");
        assert_eq!(records[0].message, "prompt too long kept=223");
    }
}
