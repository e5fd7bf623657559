//! A job between its windows, with what the ones behind it gave.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::audio::{Timeline, samples_to_ms};
use crate::engine::detect::Speech;
use crate::engine::fault::{self, Place};
use crate::engine::flow::{Flow, Summary};
use crate::engine::job::{Event, Outcome, Ticket, elapsed_ms};
use crate::engine::queue::Class;
use crate::engine::stage::Supervised;
use crate::engine::stats::Stats;
use crate::engine::stream::{Growing, Growth};
use crate::engine::text::{append, place};
use crate::engine::way::Urgency;
use crate::error::Result;
use crate::transcript::{EmptyReason, Segment};
use crate::whisper::{Recognition, Recognizer, Request, Window};

/// A job between its windows, with what the ones behind it gave.
pub(super) struct Recognizing {
    pub flow: Arc<Flow>,
    pub ticket: Ticket,
    /// What is still to be recognized; a piece leaves with its last window.
    pub ahead: VecDeque<Speech>,
    /// Set when nothing more comes.
    pub end: Option<Summary>,
    /// Where the job is in the queue.
    pub queued: Option<Class>,
    /// The part of an utterance that is being spoken.
    growing: Option<Growing>,
    speech: Vec<Range<usize>>,
    pub text: String,
    segments: Vec<Segment>,
    /// Heard in the first window, and kept for the others.
    language: Option<(&'static str, f32)>,
    inference_ms: f64,
    /// What recognized the last of it.
    device: Option<Arc<str>>,
}

impl Recognizing {
    pub fn new(flow: Arc<Flow>, ticket: Ticket) -> Self {
        let growing = ticket.live.clone();
        Self {
            growing: growing.map(|live| Growing::new(live, &flow.cancel)),
            flow,
            ticket,
            ahead: VecDeque::new(),
            end: None,
            queued: None,
            speech: Vec::new(),
            text: String::new(),
            segments: Vec::new(),
            language: None,
            inference_ms: 0.0,
            device: None,
        }
    }

    pub fn hear(&mut self, mut speech: Speech) {
        self.speech.append(&mut speech.segments);
        self.ahead.push_back(speech);
        self.pass_silence();
    }

    /// Pieces without a window that waits are behind, and their credit goes back.
    fn pass_silence(&mut self) {
        while let Some(passed) = self.ahead.pop_front_if(|speech| speech.windows.is_empty()) {
            self.ticket.progress(passed.share);
        }
    }

    pub fn grow(&mut self, growth: Growth) {
        if let Some(growing) = &mut self.growing {
            growing.take(growth);
        }
    }

    /// The stream whose utterance it is.
    pub fn stream(&self) -> Option<u64> {
        Some(self.ticket.live.as_ref()?.stream.flow.key)
    }

    /// What the job's next turn is for.
    pub fn wants(&self) -> Option<Class> {
        if !self.ahead.is_empty() {
            return Some(self.flow.priority.into());
        }
        // The speech of an utterance comes with its last window.
        let growing = self.growing.as_ref().filter(|_| self.speech.is_empty());
        let interim = Class::interim(self.flow.priority);
        growing?.wants_interim().then_some(interim)
    }

    /// Its next turn. `prompt` is what goes before it.
    pub fn turn(
        &mut self,
        recognizer: &mut Supervised<dyn Recognizer>,
        prompt: Option<&str>,
        urgency: Option<&Urgency>,
        stats: &Stats,
    ) -> Result<()> {
        let flow = Arc::clone(&self.flow);
        let _at_work = flow.work();
        let started = Instant::now();
        let outcome = if self.queued.take().is_some_and(Class::is_interim) {
            self.glimpse(recognizer, prompt, urgency)
        } else {
            self.recognize(recognizer, prompt)
        };
        let took_ms = elapsed_ms(started);
        self.inference_ms += took_ms;
        stats.recognized(took_ms);
        if let Some(device) = &self.device {
            stats.ran_elsewhere(*device != self.ticket.engine.recognizer.device);
        }
        outcome
    }

    /// The utterance as far as it has been spoken.
    fn glimpse(
        &mut self,
        recognizer: &mut Supervised<dyn Recognizer>,
        prompt: Option<&str>,
        urgency: Option<&Urgency>,
    ) -> Result<()> {
        let Some(growing) = &mut self.growing else {
            return Ok(());
        };
        let interim = growing.interim();
        let cancel = match urgency {
            Some(urgency) if !interim.rehearses => urgency.until_urgent(&interim.cancel),
            // What is more urgent may be its own final text, which it is about to be.
            _ => interim.cancel.clone(),
        };
        let mut request = request(&self.ticket, self.language, prompt, &interim.speech);
        if !interim.rehearses {
            (request.draft, request.beam_size, request.words) = (true, 1, false);
        }
        let started = Instant::now();
        let outcome = recognizer.call(|model| {
            fault::inject(Place::Gpu, &self.flow.id);
            fault::lose(&self.flow.id)?;
            model.recognize(&interim.audio, &request, &cancel)
        });
        match outcome {
            Ok(recognition) => {
                let text = recognition.segments.iter().map(|s| s.text.as_str());
                growing.hear(&self.text, &text.collect::<String>());
                self.device = Some(Arc::clone(&recognition.device));
                growing.keep(recognition, &interim, prompt.map(ToOwned::to_owned));
                growing.took(elapsed_ms(started));
                Ok(())
            }
            // Given up for what is more urgent, and not the utterance with it.
            Err(_) if cancel.cause().is_some() && self.flow.cancel.cause().is_none() => {
                growing.try_again();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn recognize(
        &mut self,
        recognizer: &mut Supervised<dyn Recognizer>,
        prompt: Option<&str>,
    ) -> Result<()> {
        let Some(speech) = self.ahead.front_mut() else {
            return Ok(());
        };
        let share_per_sample = speech.share / speech.heard.max(1) as f64;
        let Some(window) = speech.windows.pop_front() else {
            return Ok(());
        };
        let Window {
            audio, timeline, ..
        } = &window;
        let spans = timeline.spans();
        let rehearsed = self
            .growing
            .as_mut()
            .and_then(|growing| growing.rehearsed(spans, prompt));
        let cancel = &self.flow.cancel;
        tracing::debug!(
            start_ms = samples_to_ms(timeline.start(0)),
            window_ms = samples_to_ms(audio.len()),
            rehearsed = rehearsed.is_some(),
            "recognizing"
        );
        let mut recognition = if let Some(recognition) = rehearsed {
            recognition
        } else {
            let request = request(&self.ticket, self.language, prompt, &window.speech);
            recognizer.call(|model| {
                fault::inject(Place::Gpu, &self.flow.id);
                fault::lose(&self.flow.id)?;
                model.recognize(audio, &request, cancel)
            })?
        };
        if let Some(growing) = &mut self.growing {
            growing.settle(&mut recognition.segments, samples_to_ms(audio.len()) as i64);
        }
        let first_new = self.segments.len();
        self.add(recognition, timeline);
        for segment in &self.segments[first_new..] {
            self.ticket.tell(Event::Segment(segment.clone()));
        }
        self.ticket
            .progress(timeline.end(audio.len()) as f64 * share_per_sample);
        self.pass_silence();
        Ok(())
    }

    fn add(&mut self, recognition: Recognition, timeline: &Timeline) {
        self.device = Some(recognition.device);
        self.language
            .get_or_insert((recognition.language, recognition.language_probability));
        let mut starts_window = true;
        for segment in recognition.segments {
            append(&mut self.text, &segment.text, starts_window);
            starts_window = false;
            if !segment.text.trim().is_empty() {
                self.segments.push(place(&segment, timeline));
            }
        }
    }

    pub fn complete(mut self) {
        let left = self.growing.as_mut().and_then(Growing::finish);
        if let Some(left) = left
            && let Some(last) = self.segments.last_mut()
        {
            self.text.push_str(&left);
            last.text.push_str(&left);
            // They would not spell it, and nobody knows when the rest was said.
            last.words = None;
        }
        let mut summary = self.end.unwrap_or_default();
        summary.timings.inference_ms = self.inference_ms;
        self.ticket.complete(Outcome {
            summary,
            speech: &self.speech,
            text: self.text.trim().to_owned(),
            segments: self.segments,
            language: self.language.unwrap_or(("und", 0.0)),
            empty_reason: EmptyReason::LowConfidence,
            device: self.device,
        });
    }
}

/// What the job asks of one of its windows.
fn request<'job>(
    ticket: &'job Ticket,
    heard: Option<(&'static str, f32)>,
    prompt: Option<&'job str>,
    speech: &'job [f32],
) -> Request<'job> {
    let options = &ticket.options;
    let asked = options.language.as_deref().filter(|code| *code != "auto");
    Request {
        language: asked.or(heard.map(|(language, _)| language)),
        translate: options.translate,
        initial_prompt: prompt,
        beam_size: options.beam_size,
        temperatures: &options.temperatures,
        words: options.word_timestamps,
        draft: false,
        speech,
    }
}
