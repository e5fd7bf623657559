//! Third stage, the thread `opuscribe-gpu`: windows to text, one window a turn.

mod job;
mod lanes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(crate) use lanes::Lanes;

use super::detect::Speech;
use super::flow::{Message, Part};
use super::queue::Queue;
use super::stats::Stats;
use super::stream::{Growth, Previous};
use super::way::{Inbox, Woken};
use crate::error::Error;
use job::Recognizing;
use lanes::{Done, Turn};

/// What comes to this stage of a job between its beginning and its end.
pub(crate) enum Task {
    Speech(Speech),
    /// Of an utterance that is being spoken.
    Growth(Growth),
}

/// Runs until the stage before is gone and its last job is done.
pub(crate) fn run(inbox: Inbox, lanes: Lanes, stats: &Arc<Stats>) {
    let mut stage = Stage {
        inbox,
        jobs: HashMap::new(),
        away: HashMap::new(),
        speaking: HashSet::new(),
        held: Vec::new(),
        queue: Queue::default(),
        previous: Previous::default(),
    };
    let mut lanes = lanes;
    let mut is_ended = false;
    loop {
        if stage.queue.is_empty() || lanes.is_full() {
            if is_ended && stage.away.is_empty() {
                return;
            }
            let woken = if is_ended {
                lanes.wait().map_or(Woken::End, Woken::Back)
            } else {
                stage.inbox.wait(lanes.back())
            };
            match woken {
                Woken::Message(message) => stage.take(message),
                Woken::Back(done) => stage.come_back(lanes.returned(done)),
                Woken::End if is_ended => return,
                Woken::End => is_ended = true,
            }
        }
        while let Some(message) = stage.inbox.next() {
            stage.take(message);
        }
        stage.drop_given_up();
        lanes.mend(stats);
        if lanes.is_full() {
            continue;
        }
        if let Some(turn) = stage.next_turn(lanes.is_alone())
            && let Some(done) = lanes.start_turn(turn, stats)
        {
            stage.come_back(done);
        }
    }
}

struct Stage {
    inbox: Inbox,
    jobs: HashMap<u64, Box<Recognizing>>,
    /// What has come for those that are having their turn.
    away: HashMap<u64, Vec<Message<Task>>>,
    /// Streams of which an utterance is having its turn: the next waits for its text.
    speaking: HashSet<u64>,
    /// Utterances that wait for that.
    held: Vec<u64>,
    /// Jobs with a window that waits, and utterances of which an interim is wanted.
    queue: Queue<()>,
    previous: Previous,
}

impl Stage {
    fn take(&mut self, message: Message<Task>) {
        let key = message.flow.key;
        if let Some(waiting) = self.away.get_mut(&key) {
            waiting.push(message);
            return;
        }
        let Message { flow, part } = message;
        match part {
            Part::Begin(ticket) => {
                let job = Box::new(Recognizing::new(flow, *ticket));
                self.jobs.insert(key, job);
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
        let causes: Vec<_> = self.jobs.values().filter_map(|job| given_up(job)).collect();
        for (key, cause) in causes {
            self.fail(key, cause.error());
        }
    }

    /// The job whose turn it is leaves the stage until it has had it.
    fn next_turn(&mut self, is_alone: bool) -> Option<Turn> {
        loop {
            let (key, ()) = self.queue.pop()?;
            let mut job = self.jobs.remove(&key)?;
            if let Some(stream) = job.stream()
                && !self.speaking.insert(stream)
            {
                job.queued = None;
                self.jobs.insert(key, job);
                self.held.push(key);
                continue;
            }
            self.away.insert(key, Vec::new());
            let initial = job.ticket.options.initial_prompt.as_deref();
            let prompt = self.previous.prompt(job.ticket.live.as_ref(), initial);
            return Some(Turn {
                prompt,
                urgency: is_alone.then(|| self.inbox.urgency()),
                job,
            });
        }
    }

    fn come_back(&mut self, done: Done) {
        let Done {
            key,
            stream,
            job,
            outcome,
        } = done;
        let waiting = self.away.remove(&key).unwrap_or_default();
        if let Some(stream) = stream {
            self.speaking.remove(&stream);
        }
        for key in std::mem::take(&mut self.held) {
            self.enqueue(key);
        }
        let Some(job) = job else {
            return;
        };
        self.jobs.insert(key, job);
        match outcome {
            Ok(()) => {
                self.enqueue(key);
                self.complete_if_done(key);
            }
            Err(error) => self.fail(key, error),
        }
        for message in waiting {
            self.take(message);
        }
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
        let is_done = |job: &Recognizing| job.end.is_some() && job.ahead.is_empty();
        if self.jobs.get(&key).is_some_and(|job| is_done(job))
            && let Some(job) = self.jobs.remove(&key)
        {
            if let Some(live) = &job.ticket.live {
                self.previous.keep(live, &job.text);
            }
            job.complete();
        }
    }
}
