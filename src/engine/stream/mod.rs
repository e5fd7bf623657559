//! A live stream: audio comes in piece by piece, events go out, and every utterance is a job of its
//! own on the way that all jobs go.
//!
//! ```text
//! push ─▶ feed (decoder) ─▶ listen (VAD state, where utterances begin and end)
//!                             ├─ growth of the utterance ─▶ growing: interim text
//!                             └─ its windows ─────────────▶ the job's text ─▶ final
//! ```
//!
//! What belongs to a stream is owned by the stage that works on it. They share [`Stream`], which
//! nobody changes: whom to tell, and the flag that gives it up. When the last of them has let go of
//! it, the stream is told its end.

mod agreement;
mod decoding;
mod feed;
mod growing;
mod inherited;
mod lag;
mod listen;
mod previous;
mod tally;
mod written;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

pub(super) use feed::Feed;
pub use feed::StreamHandle;
pub(super) use growing::{Growing, Growth};
use lag::Gauge;
pub(super) use lag::Lag;
pub(super) use listen::{Heard, Listening, What};
pub(super) use previous::Previous;

use super::EngineInfo;
use super::flow::Flow;
use crate::cancel::Cause;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{StreamOptions, VadOptions};
use crate::transcript::Transcript;

/// What a stream tells.
#[derive(Debug)]
pub enum StreamEvent {
    /// Somebody began to speak.
    SpeechStart {
        /// Where, in milliseconds of the stream.
        at_ms: f64,
    },
    /// The utterance as far as it is known.
    Interim {
        /// Its number, from 0.
        utterance: u32,
        /// What stays: it only grows, and what comes later begins with it.
        committed: String,
        /// What may change, and continues it.
        tentative: String,
    },
    /// The speech has ended.
    SpeechEnd {
        /// Where, in milliseconds of the stream.
        at_ms: f64,
    },
    /// The text of an utterance, on the stream's timeline.
    Final {
        /// Its number, from 0.
        utterance: u32,
        /// The text and what is known of it.
        transcript: Box<Transcript>,
    },
    /// Of a stream with [`StreamOptions::resume`]: audio from here on is still needed, to go on from
    /// it in another stream. What comes before is in texts that were told, or in none.
    Kept {
        /// The utterance that needs it, or would.
        utterance: u32,
        /// In milliseconds of the stream.
        from_ms: f64,
        /// It has begun there.
        is_open: bool,
    },
    /// More may be written, after [`StreamHandle::push`] has said that it should wait.
    Ready,
    /// The last: everything is told, or why it will not be.
    End(Result<()>),
}

/// Receives a stream's events, in order, on the stages' threads; must neither wait nor panic.
pub type StreamSink = Arc<dyn Fn(StreamEvent) + Send + Sync>;

/// What the stages share of a stream.
pub(crate) struct Stream {
    pub flow: Arc<Flow>,
    pub options: StreamOptions,
    pub vad: VadOptions,
    pub engine: Arc<EngineInfo>,
    pub gauge: Arc<Gauge>,
    events: StreamSink,
    complete: AtomicBool,
    failure: OnceLock<Error>,
}

impl Stream {
    pub fn new(
        flow: Arc<Flow>,
        options: StreamOptions,
        vad: VadOptions,
        engine: Arc<EngineInfo>,
        events: StreamSink,
    ) -> Arc<Self> {
        Arc::new(Self {
            flow,
            options,
            vad,
            engine,
            gauge: Gauge::new(Arc::clone(&events)),
            events,
            complete: AtomicBool::new(false),
            failure: OnceLock::new(),
        })
    }

    pub fn tell(&self, event: StreamEvent) {
        (self.events)(event);
    }

    /// The stream cannot go on; the first failure is the one that is told.
    pub fn fail(&self, error: Error) {
        let _ = self.failure.set(error);
        self.flow.cancel.abort();
    }

    /// All of it has been heard; what is under way is yet to be answered.
    pub fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    fn outcome(&mut self) -> Result<()> {
        match (self.failure.take(), self.flow.cancel.cause()) {
            (Some(error), _) => Err(error),
            (None, Some(cause)) => Err(cause.error()),
            (None, None) if *self.complete.get_mut() => Ok(()),
            (None, None) => Err(abandoned()),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let outcome = self.outcome();
        self.tell(StreamEvent::End(outcome));
    }
}

/// An utterance of a stream.
#[derive(Clone)]
pub(super) struct Live {
    pub stream: Arc<Stream>,
    /// Its number, from 0.
    pub utterance: u32,
}

/// The text that is owed for an utterance: dropped unpaid, it fails the stream.
pub(super) struct Owed(Option<Live>);

impl Owed {
    pub fn new(live: Live) -> Self {
        Self(Some(live))
    }

    /// Tells the answer.
    pub fn pay(mut self, result: Result<Transcript>) {
        let Some(Live { stream, utterance }) = self.0.take() else {
            return;
        };
        match result {
            Ok(transcript) => stream.tell(StreamEvent::Final {
                utterance,
                transcript: Box::new(transcript),
            }),
            Err(error) => stream.fail(error),
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(Live { stream, .. }) = self.0.take() {
            let cause = stream.flow.cancel.cause();
            stream.fail(cause.map_or_else(abandoned, Cause::error));
        }
    }
}

fn abandoned() -> Error {
    Error::new(
        ErrorKind::WorkerFailed,
        "a stage that held the stream stopped; open another stream",
    )
}
