//! Third stage, the thread `opuscribe-gpu`: windows to text, one window a turn.

use std::time::Instant;

use crossbeam_channel::Receiver;

use super::detect::{PROGRESS, Speech};
use super::job::{Event, Job, Outcome, elapsed_ms};
use super::queue::Queue;
use super::stage::Supervised;
use super::stats::Stats;
use crate::audio::{SAMPLE_RATE_HZ, Timeline, samples_to_ms};
use crate::error::Result;
use crate::transcript::{EmptyReason, Segment};
use crate::whisper::{Recognition, Recognizer, Request, WindowSegment};

/// A job between its windows, with what the ones behind it gave.
struct Progress {
    speech: Speech,
    windows_total: usize,
    text: String,
    segments: Vec<Segment>,
    /// Heard in the first window, and kept for the others.
    language: Option<(&'static str, f32)>,
}

/// Runs until the stage before is gone and its last job is done.
pub(crate) fn run(
    jobs: &Receiver<Job<Speech>>,
    mut recognizer: Supervised<dyn Recognizer>,
    stats: &Stats,
) {
    let mut queue = Queue::default();
    let enter = |queue: &mut Queue<Job<Progress>>, job: Job<Speech>| {
        queue.push(job.ticket.options.priority, job.with(Progress::new));
    };
    loop {
        if queue.is_empty() {
            match jobs.recv() {
                Ok(job) => enter(&mut queue, job),
                Err(_) => return,
            }
        }
        for job in jobs.try_iter() {
            enter(&mut queue, job);
        }
        // Given up while they waited: they free their place and memory now, not at their turn.
        for job in queue.take_if(|job| job.ticket.cancel.cause().is_some()) {
            if let Err(error) = job.ticket.cancel.check() {
                job.fail(error);
            }
        }
        if let Some(job) = queue.pop() {
            take_turn(job, &mut recognizer, &mut queue, stats);
        }
    }
}

fn take_turn(
    mut job: Job<Progress>,
    recognizer: &mut Supervised<dyn Recognizer>,
    queue: &mut Queue<Job<Progress>>,
    stats: &Stats,
) {
    stats.begin();
    let started = Instant::now();
    let outcome = recognize_window(&mut job, recognizer);
    let took_ms = elapsed_ms(started);
    job.ticket.timings.inference_ms += took_ms;
    stats.recognized(took_ms);
    stats.end();
    match outcome {
        Err(error) => job.fail(error),
        Ok(()) if job.payload.speech.windows.is_empty() => complete(job),
        Ok(()) => {
            let progress = &job.payload;
            let done = 1.0 - progress.speech.windows.len() as f64 / progress.windows_total as f64;
            job.ticket
                .tell(Event::Progress(PROGRESS + (1.0 - PROGRESS) * done));
            queue.put_back(job.ticket.options.priority, job);
        }
    }
}

fn recognize_window(
    job: &mut Job<Progress>,
    recognizer: &mut Supervised<dyn Recognizer>,
) -> Result<()> {
    let progress = &mut job.payload;
    let options = &job.ticket.options;
    let Some(timeline) = progress.speech.windows.pop_front() else {
        return Ok(());
    };
    let heard = progress.language.map(|(language, _)| language);
    let asked = options.language.as_deref().filter(|code| *code != "auto");
    let request = Request {
        language: asked.or(heard),
        translate: options.translate,
        initial_prompt: options.initial_prompt.as_deref(),
        beam_size: options.beam_size,
        temperatures: &options.temperatures,
    };
    let window = timeline.cut(&progress.speech.audio.pcm);
    let cancel = &job.ticket.cancel;
    let recognition = recognizer.call(|model| model.recognize(&window, &request, cancel))?;
    let first_new = progress.segments.len();
    progress.add(recognition, &timeline);
    for segment in &job.payload.segments[first_new..] {
        job.ticket.tell(Event::Segment(segment.clone()));
    }
    Ok(())
}

impl Progress {
    fn new(speech: Speech) -> Self {
        Self {
            windows_total: speech.windows.len(),
            speech,
            text: String::new(),
            segments: Vec::new(),
            language: None,
        }
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
    let start_ms = samples_to_ms(timeline.start(sample(segment.start_ms)));
    let end_ms = samples_to_ms(timeline.end(sample(segment.end_ms)));
    Segment {
        start_ms,
        end_ms: end_ms.max(start_ms),
        text: segment.text.trim().to_owned(),
        avg_log_prob: segment.avg_log_prob,
        no_speech_probability: segment.no_speech_probability,
    }
}

fn complete(job: Job<Progress>) {
    let progress = job.payload;
    job.ticket.complete(Outcome {
        input_samples: progress.speech.audio.pcm.len(),
        packets: progress.speech.audio.packets,
        speech: &progress.speech.segments,
        text: progress.text.trim().to_owned(),
        segments: progress.segments,
        language: progress.language.unwrap_or(("und", 0.0)),
        empty_reason: EmptyReason::LowConfidence,
    });
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
            };
            let placed = place(&segment, &timeline);
            (placed.start_ms, placed.end_ms)
        };
        assert_eq!(at(0, 1000), (1000.0, 2000.0));
        assert_eq!(at(1000, 30_000), (10_000.0, 11_000.0));
        assert_eq!(at(-20, 0), (1000.0, 1000.0));
    }
}
