//! Second stage, the thread `opuscribe-vad`: where is speech, and how is it cut into windows.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::decode::Audio;
use super::fault::{self, Place};
use super::flow::{Credit, Flow, Message, Part, Summary};
use super::job::{Outcome, Ticket, elapsed_ms};
use super::queue::Queue;
use super::recognize::Task;
use super::stage::Supervised;
use super::stats::Stats;
use super::stream::{Heard, Lag, Listening, What};
use super::way::Outbox;
use crate::error::{Error, Result};
use crate::transcript::EmptyReason;
use crate::vad::{Detection, Vad};
use crate::whisper::{Packer, Window};

/// What the speech of a piece of the input came to.
pub(crate) struct Speech {
    pub windows: VecDeque<Window>,
    /// Speech segments that were completed.
    pub segments: Vec<Range<usize>>,
    /// Share of the input that lies behind with it, and in samples.
    pub share: f64,
    pub heard: usize,
    /// Given back when its last window is recognized.
    pub _credit: Option<Credit>,
    /// Of a stream: it waits for its text.
    pub _lag: Option<Lag>,
}

/// What comes to this stage.
pub(crate) enum Arrival {
    Job(Message<Audio>),
    Stream(Heard),
}

impl Arrival {
    fn flow(&self) -> &Arc<Flow> {
        match self {
            Self::Job(message) => &message.flow,
            Self::Stream(heard) => &heard.stream.flow,
        }
    }
}

/// A job whose speech is being looked for.
struct Detecting {
    flow: Arc<Flow>,
    /// Handed on with the first window: until then this stage answers the job.
    ticket: Option<Box<Ticket>>,
    detection: Detection,
    packer: Packer,
    vad_ms: f64,
}

/// Runs until the stage before is gone and its last job is done.
pub(crate) fn run(
    mailbox: &Receiver<Arrival>,
    next: Outbox,
    vad: Supervised<dyn Vad>,
    stats: &Stats,
) {
    let mut stage = Stage {
        vad,
        next,
        jobs: HashMap::new(),
        streams: HashMap::new(),
    };
    let mut queue = Queue::default();
    let enqueue = |queue: &mut Queue<Arrival>, arrival: Arrival| {
        let flow = arrival.flow();
        queue.push(flow.priority.into(), flow.key, arrival);
    };
    loop {
        if queue.is_empty() {
            match mailbox.recv() {
                Ok(arrival) => enqueue(&mut queue, arrival),
                Err(_) => return,
            }
        }
        for arrival in mailbox.try_iter() {
            enqueue(&mut queue, arrival);
        }
        match queue.pop() {
            Some((_, Arrival::Job(message))) => stage.take(message, stats),
            Some((_, Arrival::Stream(heard))) => stage.listen(heard, stats),
            None => {}
        }
    }
}

struct Stage {
    vad: Supervised<dyn Vad>,
    next: Outbox,
    jobs: HashMap<u64, Detecting>,
    streams: HashMap<u64, Listening>,
}

impl Stage {
    fn listen(&mut self, Heard { stream, what }: Heard, stats: &Stats) {
        let key = stream.flow.key;
        if let What::Begin = what {
            self.streams
                .insert(key, Listening::new(&stream, &self.next));
            return;
        }
        // What follows a failure is dropped.
        let Some(mut listening) = self.streams.remove(&key) else {
            return;
        };
        let started = Instant::now();
        let _at_work = stream.flow.work();
        match listening.take(what, &mut self.vad, &self.next) {
            Ok(true) => drop(self.streams.insert(key, listening)),
            Ok(false) => {}
            Err(error) => listening.fail(error, &self.next),
        }
        stats.detected(elapsed_ms(started));
    }

    fn take(&mut self, Message { flow, part }: Message<Audio>, stats: &Stats) {
        let key = flow.key;
        if let Part::Begin(ticket) = part {
            let job = Detecting {
                flow,
                detection: Detection::new(ticket.vad.as_ref()),
                packer: Packer::default(),
                ticket: Some(ticket),
                vad_ms: 0.0,
            };
            self.jobs.insert(key, job);
            return;
        }
        // What follows a failure is dropped with its credit.
        let Some(mut job) = self.jobs.remove(&key) else {
            return;
        };
        let started = Instant::now();
        match part {
            Part::Begin(_) => {}
            Part::Piece(audio) => match job.hear(audio, &mut self.vad) {
                Err(error) => job.fail(error, &self.next),
                Ok(speech) => {
                    job.took(started, stats);
                    job.hand_on(speech, &self.next);
                    self.jobs.insert(key, job);
                }
            },
            Part::End(Err(error)) => job.fail(error, &self.next),
            Part::End(Ok(summary)) => match job.finish(&mut self.vad) {
                Err(error) => job.fail(error, &self.next),
                Ok(speech) => {
                    job.took(started, stats);
                    job.end(speech, summary, &self.next);
                }
            },
        }
    }
}

impl Detecting {
    fn hear(&mut self, audio: Audio, vad: &mut Supervised<dyn Vad>) -> Result<Speech> {
        let cancel = &self.flow.cancel;
        let _at_work = self.flow.work();
        let detection = &mut self.detection;
        let mut segments = Vec::new();
        vad.call(|vad| {
            fault::inject(Place::Vad, &self.flow.id);
            detection.push(vad, &audio.pcm, cancel, &mut segments)
        })?;
        self.packer.hear(&audio.pcm, self.detection.probabilities());
        let mut windows = VecDeque::new();
        for segment in &segments {
            self.packer.complete(segment, &mut windows);
        }
        if let Some(growing) = self.detection.growing() {
            self.packer.grow(&growing, &mut windows);
        }
        self.packer.settle(self.detection.settled(), &mut windows);
        Ok(Speech {
            windows,
            segments,
            share: audio.share,
            heard: self.detection.heard(),
            _credit: Some(audio.credit),
            _lag: None,
        })
    }

    fn finish(&mut self, vad: &mut Supervised<dyn Vad>) -> Result<Speech> {
        let cancel = &self.flow.cancel;
        let _at_work = self.flow.work();
        let detection = &mut self.detection;
        let mut segments = Vec::new();
        vad.call(|vad| detection.finish(vad, cancel, &mut segments))?;
        self.packer.hear(&[], self.detection.probabilities());
        let mut windows = VecDeque::new();
        for segment in &segments {
            self.packer.complete(segment, &mut windows);
        }
        self.packer.finish(&mut windows);
        Ok(Speech {
            windows,
            segments,
            share: 1.0,
            heard: self.detection.heard(),
            _credit: None,
            _lag: None,
        })
    }

    fn took(&mut self, started: Instant, stats: &Stats) {
        let took_ms = elapsed_ms(started);
        self.vad_ms += took_ms;
        stats.detected(took_ms);
    }

    /// The job goes on with its first window; then every piece does, so that all stays in order.
    fn hand_on(&mut self, speech: Speech, next: &Outbox) {
        match self.ticket.take() {
            Some(mut ticket) if speech.windows.is_empty() && speech.segments.is_empty() => {
                if self.packer.is_empty() {
                    ticket.progress(speech.share);
                }
                self.ticket = Some(ticket);
                return;
            }
            Some(ticket) => self.send(Part::Begin(ticket), next),
            None => {}
        }
        self.send(Part::Piece(Task::Speech(speech)), next);
    }

    fn end(mut self, speech: Speech, mut summary: Summary, next: &Outbox) {
        summary.timings.vad_ms = self.vad_ms;
        match self.ticket.take() {
            Some(ticket) if speech.windows.is_empty() => {
                return complete_without_speech(*ticket, summary);
            }
            Some(ticket) => self.send(Part::Begin(ticket), next),
            None => {}
        }
        self.send(Part::Piece(Task::Speech(speech)), next);
        self.send(Part::End(Ok(summary)), next);
    }

    fn fail(mut self, error: Error, next: &Outbox) {
        self.flow.stop();
        match self.ticket.take() {
            Some(ticket) => ticket.fail(error),
            None => self.send(Part::End(Err(error)), next),
        }
    }

    fn send(&self, part: Part<Task>, next: &Outbox) {
        let flow = Arc::clone(&self.flow);
        next.send(Message { flow, part });
    }
}

/// There is nothing to recognize: the GPU never hears of it. The language was not heard either, so
/// it is the only one there is, or the one that was asked for, or undetermined.
fn complete_without_speech(ticket: Ticket, summary: Summary) {
    let requested = ticket.options.language.clone();
    let language = match (requested.as_deref(), ticket.engine.only_language()) {
        (_, Some(only)) => (only, 1.0),
        (None | Some("auto"), None) => ("und", 0.0),
        (Some(language), None) => (language, 1.0),
    };
    let empty_reason = if summary.input_samples == 0 {
        EmptyReason::NoAudio
    } else {
        EmptyReason::NoSpeech
    };
    ticket.complete(Outcome {
        summary,
        speech: &[],
        text: String::new(),
        segments: Vec::new(),
        language,
        empty_reason,
        device: None,
    });
}
