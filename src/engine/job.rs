//! A job as the stages have it: what was asked, and whom to answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::EngineInfo;
use super::flow::Summary;
use super::stream::{Live, Owed};
use crate::audio::{MaxDuration, Pcm, Source, samples_to_ms};
use crate::error::{Error, Result};
use crate::media::{self, MediaAudio};
use crate::options::{JobOptions, VadOptions};
use crate::opus::PacketList;
use crate::transcript::{EmptyReason, Segment, SpeechSegment, Timings, Transcript};

/// What a job starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Opus packets.
    Packets(PacketList),
    /// Uncompressed audio.
    Pcm(Pcm),
    /// A file by path.
    File(PathBuf),
    /// A file's bytes.
    FileBytes(Vec<u8>),
}

impl Input {
    /// The audio of the input, piece by piece; what is wrong with all of it fails here.
    pub fn open(self, max: MaxDuration) -> Result<Box<dyn Source>> {
        Ok(match self {
            Self::Packets(list) => Box::new(list.open(max)?),
            Self::Pcm(pcm) => Box::new(pcm.open(max)?),
            Self::File(path) => Box::new(MediaAudio::open(media::Source::open(&path)?)?),
            Self::FileBytes(bytes) => Box::new(MediaAudio::open(media::Source::Bytes(bytes))?),
        })
    }

    /// Memory that the input takes while it waits. A file is read when its turn comes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Packets(list) => list.held_bytes(),
            Self::Pcm(pcm) => pcm.samples.held_bytes(),
            Self::File(_) => 0,
            Self::FileBytes(bytes) => bytes.len(),
        }
    }
}

/// What a job tells while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Share of the work that is done, 0 to 1, never falling.
    Progress(f64),
    /// A segment is final.
    Segment(Segment),
}

/// Receives a job's events on the stage's thread; must not wait.
pub type EventSink = Box<dyn Fn(Event) + Send>;

/// The job itself: what was asked, and whom to answer. One stage at a time holds it.
pub(crate) struct Ticket {
    pub id: Arc<str>,
    pub options: JobOptions,
    /// The job's own VAD options over the engine's; `None` takes the whole input as speech.
    pub vad: Option<VadOptions>,
    pub events: Option<EventSink>,
    /// The share that was told last, by whichever stage.
    pub progress: f64,
    pub submitted: Instant,
    /// Of the engine that runs the job.
    pub engine: Arc<EngineInfo>,
    /// The stream whose utterance it is.
    pub live: Option<Live>,
    pub reply: Reply,
}

impl Ticket {
    pub fn tell(&self, event: Event) {
        if let Some(events) = &self.events {
            events(event);
        }
    }

    /// Tells how much is behind, if that is news. The last step is told with the answer.
    pub fn progress(&mut self, share: f64) {
        if share > self.progress && share < 0.9999 {
            self.progress = share;
            self.tell(Event::Progress(share));
        }
    }
}

/// Answers at most once, because answering consumes it; dropped without an answer, say in a panic,
/// it tells the waiting side so.
pub(crate) enum Reply {
    Caller(oneshot::Sender<Result<Transcript>>),
    Stream(Owed),
}

impl Reply {
    pub fn new() -> (Self, oneshot::Receiver<Result<Transcript>>) {
        let (sender, receiver) = oneshot::channel();
        (Self::Caller(sender), receiver)
    }

    pub fn send(self, result: Result<Transcript>) {
        match self {
            // The other side is gone when the job was given up; then nobody waits for an answer.
            Self::Caller(sender) => drop(sender.send(result)),
            Self::Stream(owed) => owed.pay(result),
        }
    }
}

/// What came of a job when all stages are done with it.
pub(crate) struct Outcome<'a> {
    pub summary: Summary,
    pub speech: &'a [std::ops::Range<usize>],
    pub text: String,
    pub segments: Vec<Segment>,
    pub language: (&'a str, f32),
    pub empty_reason: EmptyReason,
    /// What recognized it, if anything did.
    pub device: Option<Arc<str>>,
}

impl Ticket {
    pub fn fail(self, error: Error) {
        self.reply.send(Err(error));
    }

    pub fn complete(self, outcome: Outcome<'_>) {
        self.tell(Event::Progress(1.0));
        let Summary {
            report,
            input_samples,
            timings,
            asked,
            lag,
        } = outcome.summary;
        let duration_ms = samples_to_ms(input_samples);
        let speech: Vec<SpeechSegment> = outcome
            .speech
            .iter()
            .map(|range| SpeechSegment {
                start_ms: samples_to_ms(range.start),
                end_ms: samples_to_ms(range.end),
            })
            .collect();
        let transcript = Transcript {
            id: self.id.to_string(),
            empty_reason: outcome.text.is_empty().then_some(outcome.empty_reason),
            text: outcome.text,
            language: outcome.language.0.to_owned(),
            language_probability: outcome.language.1,
            segments: outcome.segments,
            speech_duration_ms: speech.iter().map(|s| s.end_ms - s.start_ms).sum(),
            speech,
            duration_ms,
            packets: report.packets,
            warnings: report.warnings,
            timings: finish_timings(timings, asked.unwrap_or(self.submitted), duration_ms),
            device: outcome
                .device
                .unwrap_or_else(|| Arc::clone(&self.engine.recognizer.device))
                .to_string(),
        };
        self.reply.send(Ok(transcript));
        drop(lag);
    }
}

fn finish_timings(timings: Timings, submitted: Instant, duration_ms: f64) -> Timings {
    let total_ms = elapsed_ms(submitted);
    let busy_ms = timings.queue_ms + timings.decode_ms + timings.vad_ms + timings.inference_ms;
    Timings {
        total_ms,
        // The stages of a long input work at the same time, and then there was no wait.
        wait_ms: (total_ms - busy_ms).max(0.0),
        real_time_factor: if duration_ms > 0.0 {
            total_ms / duration_ms
        } else {
            0.0
        },
        ..timings
    }
}

pub(crate) fn elapsed_ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::handle::tests::shared;
    use crossbeam_channel::unbounded;

    /// The detector may call a piece done whose last speech it has not settled yet, and a stage may
    /// take over that knows nothing of it.
    #[test]
    fn progress_never_falls_and_ends_with_the_answer() {
        let (events, told) = unbounded();
        let mut ticket = Ticket {
            id: "id".into(),
            options: JobOptions::default(),
            vad: None,
            events: Some(Box::new(move |event| events.send(event).unwrap())),
            progress: 0.0,
            submitted: Instant::now(),
            engine: shared().info,
            live: None,
            reply: Reply::new().0,
        };
        for share in [0.2, 0.97, 0.9648, 0.97, 1.0, 0.98] {
            ticket.progress(share);
        }
        let progress: Vec<_> = told.try_iter().collect();
        assert_eq!(progress, [0.2, 0.97, 0.98].map(Event::Progress));
    }
}
