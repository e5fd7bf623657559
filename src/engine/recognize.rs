//! Third stage, the thread `opuscribe-gpu`: windows to text, one window a turn.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::detect::Speech;
use super::fault::{self, Place};
use super::flow::{Flow, Message, Part, Summary};
use super::job::{Event, Outcome, Ticket, elapsed_ms};
use super::queue::Queue;
use super::stage::Supervised;
use super::stats::Stats;
use crate::audio::{SAMPLE_RATE_HZ, Timeline, samples_to_ms};
use crate::error::{Error, Result};
use crate::transcript::{EmptyReason, Segment, Word};
use crate::whisper::{Recognition, Recognizer, Request, Window, WindowSegment, WindowWord};

/// A job between its windows, with what the ones behind it gave.
struct Recognizing {
    flow: Arc<Flow>,
    ticket: Ticket,
    /// What is still to be recognized; a piece leaves with its last window.
    ahead: VecDeque<Speech>,
    /// Set when nothing more comes.
    end: Option<Summary>,
    /// The job is in the queue.
    queued: bool,
    speech: Vec<Range<usize>>,
    text: String,
    segments: Vec<Segment>,
    /// Heard in the first window, and kept for the others.
    language: Option<(&'static str, f32)>,
    inference_ms: f64,
}

/// Runs until the stage before is gone and its last job is done.
pub(crate) fn run(
    mailbox: &Receiver<Message<Speech>>,
    recognizer: Supervised<dyn Recognizer>,
    stats: &Stats,
) {
    let mut stage = Stage {
        recognizer,
        jobs: HashMap::new(),
        queue: Queue::default(),
    };
    loop {
        if stage.queue.is_empty() {
            match mailbox.recv() {
                Ok(message) => stage.take(message),
                Err(_) => return,
            }
        }
        for message in mailbox.try_iter() {
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
    jobs: HashMap<u64, Recognizing>,
    /// Jobs with a window that waits.
    queue: Queue<()>,
}

impl Stage {
    fn take(&mut self, Message { flow, part }: Message<Speech>) {
        let key = flow.key;
        match part {
            Part::Begin(ticket) => {
                self.jobs.insert(key, Recognizing::new(flow, *ticket));
            }
            Part::Piece(speech) => {
                // What follows a failure is dropped with its credit.
                let Some(job) = self.jobs.get_mut(&key) else {
                    return;
                };
                job.hear(speech);
                if !job.queued && !job.ahead.is_empty() {
                    job.queued = true;
                    self.queue.push(flow.priority, key, ());
                }
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
            let outcome = job.recognize(&mut self.recognizer);
            let took_ms = elapsed_ms(started);
            job.inference_ms += took_ms;
            stats.recognized(took_ms);
            outcome
        };
        job.queued = !job.ahead.is_empty();
        match outcome {
            Err(error) => self.fail(key, error),
            Ok(()) if job.queued => self.queue.push(flow.priority, key, ()),
            Ok(()) => self.complete_if_done(key),
        }
    }

    fn fail(&mut self, key: u64, error: Error) {
        let Some(job) = self.jobs.remove(&key) else {
            return;
        };
        job.flow.stop();
        if job.queued {
            self.queue.remove(key);
        }
        job.ticket.fail(error);
    }

    fn complete_if_done(&mut self, key: u64) {
        let done = |job: &Recognizing| job.end.is_some() && job.ahead.is_empty();
        if self.jobs.get(&key).is_some_and(done)
            && let Some(job) = self.jobs.remove(&key)
        {
            job.complete();
        }
    }
}

impl Recognizing {
    fn new(flow: Arc<Flow>, ticket: Ticket) -> Self {
        Self {
            flow,
            ticket,
            ahead: VecDeque::new(),
            end: None,
            queued: false,
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

    fn recognize(&mut self, recognizer: &mut Supervised<dyn Recognizer>) -> Result<()> {
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
        let options = &self.ticket.options;
        let heard = self.language.map(|(language, _)| language);
        let asked = options.language.as_deref().filter(|code| *code != "auto");
        let request = Request {
            language: asked.or(heard),
            translate: options.translate,
            initial_prompt: options.initial_prompt.as_deref(),
            beam_size: options.beam_size,
            temperatures: &options.temperatures,
            words: options.word_timestamps,
            speech: &window.speech,
        };
        let cancel = &self.flow.cancel;
        tracing::debug!(
            start_ms = samples_to_ms(timeline.start(0)),
            window_ms = samples_to_ms(audio.len()),
            "recognizing"
        );
        let recognition = recognizer.call(|model| {
            fault::inject(Place::Gpu, &self.flow.id);
            model.recognize(audio, &request, cancel)
        })?;
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

    fn complete(self) {
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

/// Whisper writes its own spaces, so segments are joined as they are. Only between two windows,
/// where it does not know what went before, one may be missing between words.
fn append(text: &mut String, next: &str, starts_window: bool) {
    let ends_in_word = text.ends_with(|last: char| !last.is_whitespace());
    let begins_with_word = next.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts_window && ends_in_word && begins_with_word {
        text.push(' ');
    }
    text.push_str(next);
}

/// Moves a segment from the window's timeline to the input's.
fn place(segment: &WindowSegment, timeline: &Timeline) -> Segment {
    let sample = |ms: i64| ms.max(0).unsigned_abs() as usize * SAMPLE_RATE_HZ as usize / 1000;
    let times = |start_ms: i64, end_ms: i64| {
        let start_ms = samples_to_ms(timeline.start(sample(start_ms)));
        let end_ms = samples_to_ms(timeline.end(sample(end_ms)));
        (start_ms, end_ms.max(start_ms))
    };
    let word = |word: &WindowWord| {
        let (start_ms, end_ms) = times(word.start_ms, word.end_ms);
        Word {
            start_ms,
            end_ms,
            text: word.text.clone(),
            probability: word.probability,
        }
    };
    let (start_ms, end_ms) = times(segment.start_ms, segment.end_ms);
    Segment {
        start_ms,
        end_ms,
        words: segment
            .words
            .as_ref()
            .map(|words| words.iter().map(word).collect()),
        text: segment.text.trim().to_owned(),
        avg_log_prob: segment.avg_log_prob,
        no_speech_probability: segment.no_speech_probability,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(windows: &[&[&str]]) -> String {
        let mut text = String::new();
        for window in windows {
            for (index, segment) in window.iter().enumerate() {
                append(&mut text, segment, index == 0);
            }
        }
        text
    }

    #[test]
    fn segments_keep_whispers_own_spaces_and_windows_never_glue_words() {
        assert_eq!(
            joined(&[&[" And so", ", my"], &[" fellow"]]),
            " And so, my fellow"
        );
        assert_eq!(joined(&[&[" one"], &["two"]]), " one two");
        assert_eq!(joined(&[&["你好"], &["世界"]]), "你好世界");
    }

    #[test]
    fn times_that_lie_past_the_window_or_before_it_stay_on_the_timeline() {
        let timeline = Timeline::new(vec![16_000..32_000, 160_000..176_000]);
        let at = |start_ms, end_ms| {
            let segment = WindowSegment {
                start_ms,
                end_ms,
                text: " x ".into(),
                avg_log_prob: 0.0,
                no_speech_probability: 0.0,
                words: None,
            };
            let placed = place(&segment, &timeline);
            (placed.start_ms, placed.end_ms)
        };
        assert_eq!(at(0, 1000), (1000.0, 2000.0));
        assert_eq!(at(1000, 30_000), (10_000.0, 11_000.0));
        assert_eq!(at(-20, 0), (1000.0, 1000.0));
    }
}
