//! Log records of one engine, from Rust, whisper.cpp and ONNX Runtime, to whoever opened it.
//!
//! Each thread of an engine reports to that engine's own sink, so two engines in one process do
//! not see each other's records, and without a sink nothing is made or printed.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// `error`, `warn`, `info` or `debug`.
    pub level: &'static str,
    /// The module that reports.
    pub target: String,
    /// The text.
    pub message: String,
    /// What the text is about, by name.
    pub fields: Vec<(&'static str, Value)>,
    /// The job that was worked on.
    pub job: Option<Arc<str>>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// Yes or no.
    Bool(bool),
    /// Anything else.
    Text(String),
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

thread_local! {
    static JOB: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// What this thread logs is the job's as long as the result lives.
pub(crate) fn job(id: &Arc<str>) -> JobScope {
    JobScope {
        before: JOB.replace(Some(Arc::clone(id))),
        _same_thread: PhantomData,
    }
}

pub(crate) struct JobScope {
    before: Option<Arc<str>>,
    _same_thread: PhantomData<*const ()>,
}

impl Drop for JobScope {
    fn drop(&mut self) {
        JOB.replace(self.before.take());
    }
}

thread_local! {
    static STOPPED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a library that this thread works with was stopped on purpose: what it reports as errors
/// then is news to nobody.
pub(crate) fn set_stopped(stopped: bool) {
    STOPPED.set(stopped);
}

struct Reporter(LogSink);

impl Subscriber for Reporter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::DEBUG
    }

    fn event(&self, event: &Event<'_>) {
        let mut content = Content::default();
        event.record(&mut content);
        (self.0)(LogRecord {
            level: match *event.metadata().level() {
                _ if STOPPED.get() => "debug",
                Level::ERROR => "error",
                Level::WARN => "warn",
                Level::INFO => "info",
                _ => "debug",
            },
            target: event.metadata().target().to_owned(),
            message: content.message,
            fields: content.fields,
            job: JOB.with_borrow(Clone::clone),
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
struct Content {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Content {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Content {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Number(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Number(value as f64));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Number(value as f64));
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
        let id = Arc::from("job-7");
        log.scope(|| {
            let _job = job(&id);
            tracing::warn!(kept = 223, code = "X", ?id, "prompt too long");
        });
        Log::new(None).scope(|| tracing::error!("somebody else's"));
        tracing::error!("nobody's");
        log.scope(|| tracing::trace!("too fine"));
        let records = seen.lock().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].level, "warn");
        assert_eq!(records[0].message, "prompt too long");
        assert_eq!(records[0].job, Some(id));
        let fields = [
            ("kept", Value::Number(223.0)),
            ("code", Value::Text("X".into())),
            ("id", Value::Text("\"job-7\"".into())),
        ];
        assert_eq!(records[0].fields, fields);
    }

    #[test]
    fn what_was_stopped_on_purpose_reports_no_error() {
        let seen: Arc<Mutex<Vec<&str>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let log = Log::new(Some(Arc::new(move |record| {
            sink.lock().unwrap().push(record.level);
        })));
        log.scope(|| {
            for stopped in [false, true, false] {
                set_stopped(stopped);
                tracing::error!("failed to encode");
            }
        });
        assert_eq!(*seen.lock().unwrap(), ["error", "debug", "error"]);
    }

    #[test]
    fn a_thread_logs_in_the_name_of_the_job_it_works_on_and_of_none_after_it() {
        let current = || JOB.with_borrow(Clone::clone);
        let (outer, inner) = (Arc::from("outer"), Arc::from("inner"));
        {
            let _outer = job(&outer);
            {
                let _inner = job(&inner);
                assert_eq!(current(), Some(inner.clone()));
            }
            assert_eq!(current(), Some(outer.clone()));
        }
        assert_eq!(current(), None);
    }
}
