//! Who has the turns: this stage's own thread, or where one window at a time leaves the GPU idle,
//! several that it starts and ends. Each has a state of its own on the one context, which is freed
//! behind all of them.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, never, unbounded};

use super::job::Recognizing;
use crate::engine::stage::{self, Supervised};
use crate::engine::stats::Stats;
use crate::engine::way::Urgency;
use crate::error::{Error, Result};
use crate::whisper::{self, Recognizer, RecognizerInfo};

/// A job that is to have its turn.
pub(super) struct Turn {
    pub job: Box<Recognizing>,
    /// What goes before it.
    pub prompt: Option<String>,
    /// What an interim gives way to.
    pub urgency: Option<Urgency>,
}

/// A job that has had its turn.
pub(super) struct Done {
    pub key: u64,
    /// The stream whose utterance it is.
    pub stream: Option<u64>,
    /// None if it was lost in a panic, which has answered it.
    pub job: Option<Box<Recognizing>>,
    pub outcome: Result<()>,
}

impl Turn {
    fn run(self, recognizer: &mut Supervised<dyn Recognizer>, stats: &Stats) -> Done {
        let Self {
            mut job,
            prompt,
            urgency,
        } = self;
        let outcome = job.turn(recognizer, prompt.as_deref(), urgency.as_ref(), stats);
        Done {
            key: job.flow.key,
            stream: job.stream(),
            job: Some(job),
            outcome,
        }
    }
}

/// Those who have the turns.
pub(crate) struct Lanes {
    /// Ended before what follows is dropped.
    threads: Option<Threads>,
    back: Receiver<Done>,
    /// Turns that are under way.
    running: usize,
    /// The model failed one of them for good.
    is_broken: bool,
    /// Lanes are to begin again when there is another.
    is_waiting: bool,
    own: Supervised<dyn Recognizer>,
}

struct Threads {
    turns: Sender<Turn>,
    lanes: Vec<JoinHandle<()>>,
}

impl Lanes {
    /// Starts as many as the recognizer wants, or as its memory is enough for.
    pub fn start(own: Supervised<dyn Recognizer>, stats: &Arc<Stats>) -> Self {
        let mut lanes = Self {
            threads: None,
            back: never(),
            running: 0,
            is_broken: false,
            is_waiting: false,
            own,
        };
        if let Ok(Some(wanted)) = lanes.own.peek(Recognizer::lanes) {
            lanes.begin(&wanted, stats);
        }
        lanes
    }

    fn begin(&mut self, wanted: &whisper::Lanes, stats: &Arc<Stats>) {
        let (turns, waiting) = unbounded::<Turn>();
        let (done, back) = unbounded();
        self.back = back;
        let threads = self.threads.insert(Threads {
            turns,
            lanes: Vec::new(),
        });
        for number in 0..wanted.count {
            match lane(&self.own, &wanted.build, &waiting, &done, stats) {
                Ok(lane) => threads.lanes.push(lane),
                Err(error) => {
                    tracing::warn!(lanes = number, "no more lanes than these: {error}");
                    break;
                }
            }
        }
        // One alone does nothing that this thread does not.
        if threads.lanes.len() < 2 {
            self.end();
        }
    }

    /// The model that all share is lost: once none is at work any more they end, the next turn loads
    /// another on this thread, and behind that they begin again.
    pub(super) fn mend(&mut self, stats: &Arc<Stats>) {
        if self.is_broken && self.running == 0 {
            self.end();
            self.back = never();
            self.own.lose();
            (self.is_broken, self.is_waiting) = (false, true);
        }
        if self.is_waiting
            && let Ok(wanted) = self.own.peek(Recognizer::lanes)
        {
            self.is_waiting = false;
            if let Some(wanted) = wanted {
                self.begin(&wanted, stats);
            }
        }
    }

    /// Whether an interim is in the way of what is more urgent: with several lanes one is soon free.
    pub(super) fn is_alone(&self) -> bool {
        self.threads.is_none()
    }

    /// Their states go before the context.
    fn end(&mut self) {
        if let Some(Threads { turns, lanes }) = self.threads.take() {
            drop(turns);
            for lane in lanes {
                // It contains the panics of its model, and has nothing else to tell.
                let _ = lane.join();
            }
        }
    }

    /// What was loaded, and what it takes now.
    pub fn info(&self) -> Result<RecognizerInfo> {
        let threads = self.threads.as_ref();
        let mut info = self.own.peek(Recognizer::info)?;
        if let Some(gpu) = &mut info.gpu {
            gpu.lanes = threads.map_or(1, |threads| threads.lanes.len());
        }
        Ok(info)
    }

    /// Whether no other turn can be started at the moment.
    pub(super) fn is_full(&self) -> bool {
        let threads = self.threads.as_ref();
        threads.is_some_and(|threads| self.is_broken || self.running >= threads.lanes.len())
    }

    /// Gives a job its turn: it comes back at once, or later.
    pub(super) fn start_turn(&mut self, turn: Turn, stats: &Stats) -> Option<Done> {
        match &self.threads {
            None => Some(turn.run(&mut self.own, stats)),
            Some(threads) => {
                self.running += 1;
                // The lanes end when this sender is dropped, and not before.
                let _ = threads.turns.send(turn);
                None
            }
        }
    }

    /// Where the jobs come back that have had their turn.
    pub(super) fn back(&self) -> &Receiver<Done> {
        &self.back
    }

    /// Waits for the next of them.
    pub(super) fn wait(&self) -> Option<Done> {
        self.back.recv().ok()
    }

    /// Counts one that has come back.
    pub(super) fn returned(&mut self, done: Done) -> Done {
        self.running -= 1;
        match &done.outcome {
            Ok(()) => self.own.worked(),
            Err(error) => self.is_broken |= error.breaks_model(),
        }
        done
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts one, and waits until its state is there.
fn lane(
    own: &Supervised<dyn Recognizer>,
    build: &Arc<dyn Fn() -> Result<Box<dyn Recognizer>> + Send + Sync>,
    turns: &Receiver<Turn>,
    done: &Sender<Done>,
    stats: &Arc<Stats>,
) -> Result<JoinHandle<()>> {
    let build = Arc::clone(build);
    let (turns, done, stats) = (turns.clone(), done.clone(), Arc::clone(stats));
    let (ready, opened) = bounded(1);
    let thread = stage::spawn(
        "opuscribe-lane",
        own.surroundings(),
        Box::new(move || build()),
        ready,
        |recognizer| Ok(((), recognizer)),
        move |mut recognizer| {
            for turn in turns {
                let (key, stream) = (turn.job.flow.key, turn.job.stream());
                let lost = OnDrop(|| {
                    let _ = done.send(Done {
                        key,
                        stream,
                        job: None,
                        outcome: Err(Error::closed()),
                    });
                });
                let had = turn.run(&mut recognizer, &stats);
                std::mem::forget(lost);
                // Nobody waits any more when the stage has come to its end in a panic.
                if done.send(had).is_err() {
                    return;
                }
            }
        },
    )?;
    match opened.recv().unwrap_or_else(|_| Err(Error::closed())) {
        Ok(()) => Ok(thread),
        Err(error) => {
            // It has nothing left to do.
            let _ = thread.join();
            Err(error)
        }
    }
}

/// Calls what it holds where a panic passes.
struct OnDrop<Call: FnMut()>(Call);

impl<Call: FnMut()> Drop for OnDrop<Call> {
    fn drop(&mut self) {
        (self.0)();
    }
}
