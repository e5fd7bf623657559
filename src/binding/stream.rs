//! A live stream as a JavaScript class: audio in, events out.

use std::cell::RefCell;

use napi::bindgen_prelude::{Either, Float32Array, Int32Array, Uint8Array};
use napi_derive::napi;

use super::error::Failure;
use super::options::{JobOptions, VadOptions, integer};
use super::results::Transcript;
use super::transcriber::packet_list;
use crate::engine::{StreamEvent, StreamHandle};
use crate::error::{Error, Result};
use crate::options;

/// How a live stream is to be transcribed.
#[napi(object, object_to_js = false)]
pub struct LiveOptions {
    /// Begins the ids of the utterances, `id-0` and so on, and appears in every log record of the
    /// stream. Default: made up.
    pub id: Option<String>,
    /// ISO 639-1 code of the spoken language, or `auto` to detect it for each utterance. Default:
    /// `en` for an English-only model, else `auto`.
    pub language: Option<String>,
    /// Translate to English; needs a multilingual model. Default false.
    pub translate: Option<bool>,
    /// Text that goes before each utterance and hints at names and spelling. Its last 223 tokens
    /// count.
    pub initial_prompt: Option<String>,
    /// Give the text of the last utterance to the model before the next, behind `initialPrompt`.
    /// Default false: a mistake would be carried on.
    pub condition_on_previous_text: Option<bool>,
    /// Width of the beam of final texts, 1 to 8. Default 1.
    pub beam_size: Option<f64>,
    /// As for `transcribe`; interim texts take the first temperature alone.
    pub temperature: Option<Either<f64, Vec<f64>>>,
    /// Also give the times of single words, in the segments of final texts; a segment that keeps
    /// committed words of another hypothesis has none. Default false.
    pub word_timestamps: Option<bool>,
    /// Replaces single VAD options of the transcriber. Three have defaults of their own here: an
    /// utterance ends after `minSilenceDurationMs`, default 800, takes along `speechPadMs`, default
    /// 500, before it and half that silence behind it at most, and one that lasts longer than
    /// `maxSpeechDurationS`, default 30, is cut in a pause of its last third, or else at its quietest
    /// place there, and goes on as the next.
    pub vad: Option<VadOptions>,
    /// Of final texts: `interactive` passes `batch`. Interim texts come between. Default
    /// `interactive`.
    #[napi(ts_type = "'interactive' | 'batch'")]
    pub priority: Option<String>,
    /// Tell the text of an utterance while it is being spoken. Default true.
    pub interim: Option<bool>,
    /// Of `Float32Array`s that are written: frames a second, 4000 to 384000. Default 16000.
    pub sample_rate: Option<f64>,
    /// Of `Float32Array`s that are written: interleaved channels, 1 to 8, averaged into one.
    /// Default 1.
    pub channels: Option<f64>,
}

/// Where a stream goes on from another that could not, as that one told it. Its audio is written
/// again from a little before `fromMs`. All zero and empty for one that begins.
#[napi(object, object_to_js = false)]
pub struct StreamResume {
    /// Where on the stream's timeline the writing begins again.
    pub written_ms: f64,
    /// So many packets or samples lie before that.
    pub received: f64,
    /// Texts of audio before this have been told.
    pub from_ms: f64,
    /// The number of the utterance that is next, or has begun there.
    pub utterance: u32,
    /// Set if it has begun: where somebody was first heard to speak in it.
    pub spoken_ms: Option<f64>,
    /// What was committed of it and of those behind it.
    pub committed: Vec<String>,
    /// The last text.
    pub previous: Option<String>,
}

/// Something a stream tells. What is set depends on the kind.
#[napi(object, object_from_js = false)]
pub struct LiveEvent {
    #[napi(
        ts_type = "'speech-start' | 'interim' | 'final' | 'speech-end' | 'kept' | 'ready' | 'end'"
    )]
    pub kind: String,
    pub at_ms: Option<f64>,
    pub utterance: Option<u32>,
    pub committed: Option<String>,
    pub tentative: Option<String>,
    pub transcript: Option<Transcript>,
    /// `kept`: audio from `atMs` on is still needed, by this utterance, which has begun there or is
    /// the next.
    pub is_open: Option<bool>,
    pub failure: Option<Failure>,
}

/// The writing side of a stream.
#[napi]
pub struct NativeStream {
    /// None when it was closed.
    handle: RefCell<Option<StreamHandle>>,
}

impl NativeStream {
    pub fn new(handle: StreamHandle) -> Self {
        Self {
            handle: RefCell::new(Some(handle)),
        }
    }
}

#[napi]
impl NativeStream {
    /// Writes packets, end to end, and the length of each, -1 for a lost one. False if the writer is
    /// to wait for `ready`.
    #[napi(ts_return_type = "boolean | Failure")]
    pub fn write_packets(&self, bytes: Uint8Array, lengths: Int32Array) -> Either<bool, Failure> {
        match packet_list(&bytes, &lengths) {
            Ok(list) => Either::A(self.write(|handle| handle.push_packets(list))),
            Err(error) => Either::B(error.into()),
        }
    }

    /// Writes interleaved samples.
    #[napi]
    pub fn write_floats(&self, samples: Float32Array) -> bool {
        self.write(|handle| handle.push_pcm(samples.to_vec()))
    }

    fn write(&self, push: impl FnOnce(&StreamHandle) -> bool) -> bool {
        self.handle.borrow().as_ref().is_none_or(push)
    }

    /// Nothing comes for the time being.
    #[napi]
    pub fn idle(&self) {
        if let Some(handle) = &*self.handle.borrow() {
            handle.idle();
        }
    }

    /// Nothing follows.
    #[napi]
    pub fn end(&self) {
        if let Some(handle) = &mut *self.handle.borrow_mut() {
            handle.end();
        }
    }

    /// Gives up what is not told yet.
    #[napi]
    pub fn close(&self) {
        if let Some(handle) = self.handle.take() {
            handle.abandon();
        }
    }

    /// How long what was written lasts.
    #[napi(getter)]
    pub fn written_ms(&self) -> f64 {
        let handle = self.handle.borrow();
        handle.as_ref().map_or(0.0, StreamHandle::written_ms)
    }

    /// Audio that is not heard yet, or has been said and has no text yet.
    #[napi(getter)]
    pub fn lag_ms(&self) -> f64 {
        let handle = self.handle.borrow();
        handle.as_ref().map_or(0.0, StreamHandle::lag_ms)
    }
}

impl TryFrom<LiveOptions> for options::StreamOptions {
    type Error = Error;

    fn try_from(from: LiveOptions) -> Result<Self> {
        let defaults = Self::default();
        let job = JobOptions {
            id: from.id,
            language: from.language,
            translate: from.translate,
            initial_prompt: from.initial_prompt,
            beam_size: from.beam_size,
            temperature: from.temperature,
            word_timestamps: from.word_timestamps,
            vad: None,
            priority: from.priority,
            timeout_ms: None,
            max_duration_ms: None,
        };
        let rate = |rate| integer("sampleRate", rate).map(|rate| rate as u32);
        Ok(Self {
            job: job.try_into()?,
            vad: from.vad.map(Into::into).unwrap_or_default(),
            interim: from.interim.unwrap_or(defaults.interim),
            condition_on_previous_text: from
                .condition_on_previous_text
                .unwrap_or(defaults.condition_on_previous_text),
            sample_rate_hz: from.sample_rate.map_or(Ok(defaults.sample_rate_hz), rate)?,
            channels: from
                .channels
                .map_or(Ok(defaults.channels), |n| integer("channels", n))?,
            resume: None,
        })
    }
}

impl From<StreamResume> for options::Resume {
    fn from(from: StreamResume) -> Self {
        Self {
            written_ms: from.written_ms,
            received: from.received as usize,
            from_ms: from.from_ms,
            utterance: from.utterance,
            spoken_ms: from.spoken_ms,
            committed: from.committed,
            previous: from.previous,
        }
    }
}

impl From<StreamEvent> for LiveEvent {
    fn from(from: StreamEvent) -> Self {
        let mut event = Self {
            kind: String::new(),
            at_ms: None,
            utterance: None,
            committed: None,
            tentative: None,
            transcript: None,
            is_open: None,
            failure: None,
        };
        let kind = match from {
            StreamEvent::SpeechStart { at_ms } => {
                event.at_ms = Some(at_ms);
                "speech-start"
            }
            StreamEvent::SpeechEnd { at_ms } => {
                event.at_ms = Some(at_ms);
                "speech-end"
            }
            StreamEvent::Interim {
                utterance,
                committed,
                tentative,
            } => {
                event.utterance = Some(utterance);
                event.committed = Some(committed);
                event.tentative = Some(tentative);
                "interim"
            }
            StreamEvent::Final {
                utterance,
                transcript,
            } => {
                event.utterance = Some(utterance);
                event.transcript = Some((*transcript).into());
                "final"
            }
            StreamEvent::Kept {
                utterance,
                from_ms,
                is_open,
            } => {
                event.utterance = Some(utterance);
                event.at_ms = Some(from_ms);
                event.is_open = Some(is_open);
                "kept"
            }
            StreamEvent::Ready => "ready",
            StreamEvent::End(outcome) => {
                event.failure = outcome.err().map(Into::into);
                "end"
            }
        };
        kind.clone_into(&mut event.kind);
        event
    }
}
