//! Third stage, the thread `opuscribe-gpu`: windows to text, one window a turn.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::detect::Speech;
use super::fault::{self, Place};
use super::flow::{Flow, Message, Part, Summary};
use super::job::{Event, Outcome, Ticket, elapsed_ms};
use super::queue::{Class, Queue};
use super::stage::Supervised;
use super::stats::Stats;
use super::stream::{Growing, Growth, Previous};
use super::text::{append, place};
use super::way::Inbox;
use crate::audio::{Timeline, samples_to_ms};
use crate::error::{Error, Result};
use crate::transcript::{EmptyReason, Segment};
use crate::whisper::{Recognition, Recognizer, Request, Window};

/// What comes to this stage of a job between its beginning and its end.
pub(crate) enum Task {
    Speech(Speech),
    /// Of an utterance that is being spoken.
    Growth(Growth),
}

/// A job between its windows, with what the ones behind it gave.
struct Recognizing {
    flow: Arc<Flow>,
    ticket: Ticket,
    /// What is still to be recognized; a piece leaves with its last window.
    ahead: VecDeque<Speech>,
    /// Set when nothing more comes.
    end: Option<Summary>,
    /// Where the job is in the queue.
    queued: Option<Class>,
    /// The part of an utterance that is being spoken.
    growing: Option<Growing>,
    speech: Vec<Range<usize>>,
    text: String,
    segments: Vec<Segment>,
    /// Heard in the first window, and kept for the others.
    language: Option<(&'static str, f32)>,
    inference_ms: f64,
}

/// Runs until the stage before is gone and its last job is done.
pub(crate) fn run(inbox: Inbox, recognizer: Supervised<dyn Recognizer>, stats: &Stats) {
    let mut stage = Stage {
        recognizer,
        inbox,
        jobs: HashMap::new(),
        queue: Queue::default(),
        previous: Previous::default(),
    };
    loop {
        if stage.queue.is_empty() {
            match stage.inbox.wait() {
                Some(message) => stage.take(message),
                None => return,
            }
        }
        while let Some(message) = stage.inbox.next() {
            stage.take(message);
        }
        stage.drop_given_up();
        if let Some((key, ())) = stage.queue.pop() {
            stage.turn(key, stats);
        }
    }
}

struct Stage {
    recognizer: Supervised<dyn Recognizer>,
    inbox: Inbox,
    jobs: HashMap<u64, Recognizing>,
    /// Jobs with a window that waits, and utterances of which an interim is wanted.
    queue: Queue<()>,
    previous: Previous,
}

impl Stage {
    fn take(&mut self, Message { flow, part }: Message<Task>) {
        let key = flow.key;
        match part {
            Part::Begin(ticket) => {
                self.jobs.insert(key, Recognizing::new(flow, *ticket));
            }
            Part::Piece(task) => {
                // What follows a failure is dropped with its credit.
                let Some(job) = self.jobs.get_mut(&key) else {
                    return;
                };
                match task {
                    Task::Speech(speech) => job.hear(speech),
                    Task::Growth(growth) => job.grow(growth),
                }
                self.enqueue(key);
            }
            Part::End(Ok(summary)) => {
                if let Some(job) = self.jobs.get_mut(&key) {
                    job.end = Some(summary);
                    self.complete_if_done(key);
                }
            }
            Part::End(Err(error)) => self.fail(key, error),
        }
    }

    /// Given up while they waited: they free their memory now, not at their turn.
    fn drop_given_up(&mut self) {
        let given_up = |job: &Recognizing| Some((job.flow.key, job.flow.cancel.cause()?));
        let causes: Vec<_> = self.jobs.values().filter_map(given_up).collect();
        for (key, cause) in causes {
            self.fail(key, cause.error());
        }
    }

    fn turn(&mut self, key: u64, stats: &Stats) {
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        let flow = Arc::clone(&job.flow);
        let outcome = {
            let _at_work = flow.work();
            let started = Instant::now();
            let outcome = if job.queued.take().is_some_and(Class::is_interim) {
                job.glimpse(&mut self.recognizer, &self.previous, &self.inbox)
            } else {
                job.recognize(&mut self.recognizer, &self.previous)
            };
            let took_ms = elapsed_ms(started);
            job.inference_ms += took_ms;
            stats.recognized(took_ms);
            outcome
        };
        if let Err(error) = outcome {
            return self.fail(key, error);
        }
        self.enqueue(key);
        self.complete_if_done(key);
    }

    /// A window that waits goes before an interim, and a job has one turn at a time.
    fn enqueue(&mut self, key: u64) {
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        let wanted = job.wants();
        if wanted == job.queued {
            return;
        }
        if job.queued.is_some() {
            self.queue.remove(key);
        }
        if let Some(class) = wanted {
            self.queue.push(class, key, ());
        }
        job.queued = wanted;
    }

    fn fail(&mut self, key: u64, error: Error) {
        let Some(job) = self.jobs.remove(&key) else {
            return;
        };
        job.flow.stop();
        if job.queued.is_some() {
            self.queue.remove(key);
        }
        job.ticket.fail(error);
    }

    fn complete_if_done(&mut self, key: u64) {
        let done = |job: &Recognizing| job.end.is_some() && job.ahead.is_empty();
        if self.jobs.get(&key).is_some_and(done)
            && let Some(job) = self.jobs.remove(&key)
        {
            if let Some(live) = &job.ticket.live {
                self.previous.keep(live, &job.text);
            }
            job.complete();
        }
    }
}

impl Recognizing {
    fn new(flow: Arc<Flow>, ticket: Ticket) -> Self {
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
        }
    }

    fn hear(&mut self, mut speech: Speech) {
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

    fn grow(&mut self, growth: Growth) {
        if let Some(growing) = &mut self.growing {
            growing.take(growth);
        }
    }

    /// What the job's next turn is for.
    fn wants(&self) -> Option<Class> {
        if !self.ahead.is_empty() {
            return Some(self.flow.priority.into());
        }
        // The speech of an utterance comes with its last window.
        let growing = self.growing.as_ref().filter(|_| self.speech.is_empty());
        let interim = Class::interim(self.flow.priority);
        growing?.wants_interim().then_some(interim)
    }

    /// The utterance as far as it has been spoken.
    fn glimpse(
        &mut self,
        recognizer: &mut Supervised<dyn Recognizer>,
        previous: &Previous,
        inbox: &Inbox,
    ) -> Result<()> {
        let Some(growing) = &mut self.growing else {
            return Ok(());
        };
        let prompt = prompt(&self.ticket, previous);
        let interim = growing.interim();
        let cancel = if interim.rehearses {
            // What is more urgent may be its own final text, which it is about to be.
            interim.cancel.clone()
        } else {
            inbox.until_urgent(&interim.cancel)
        };
        let mut request = request(
            &self.ticket,
            self.language,
            prompt.as_deref(),
            &interim.speech,
        );
        if !interim.rehearses {
            (request.draft, request.beam_size, request.words) = (true, 1, false);
        }
        let started = Instant::now();
        let outcome = recognizer.call(|model| {
            fault::inject(Place::Gpu, &self.flow.id);
            model.recognize(&interim.audio, &request, &cancel)
        });
        match outcome {
            Ok(recognition) => {
                let text = recognition.segments.iter().map(|s| s.text.as_str());
                growing.hear(&self.text, &text.collect::<String>());
                growing.keep(recognition, &interim, prompt.map(Cow::into_owned));
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
        previous: &Previous,
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
        let prompt = prompt(&self.ticket, previous);
        let spans = timeline.spans();
        let rehearsed = self
            .growing
            .as_mut()
            .and_then(|growing| growing.rehearsed(spans, prompt.as_deref()));
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
            let request = request(
                &self.ticket,
                self.language,
                prompt.as_deref(),
                &window.speech,
            );
            recognizer.call(|model| {
                fault::inject(Place::Gpu, &self.flow.id);
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

    fn complete(mut self) {
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
        });
    }
}

/// What goes before a window of the job.
fn prompt<'job>(ticket: &'job Ticket, previous: &Previous) -> Option<Cow<'job, str>> {
    let initial = ticket.options.initial_prompt.as_deref();
    previous.prompt(ticket.live.as_ref(), initial)
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
