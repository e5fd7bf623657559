//! First stage, on the blocking pool: input to 16 kHz mono, piece by piece, with a decoder of the
//! job's own. A job takes one turn for one piece at a time, so long files pass no short job by.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::detect::Arrival;
use super::fault::{self, Place};
use super::flow::{Credit, Flow, Message, Part, Summary};
use super::job::{Input, Ticket, elapsed_ms};
use super::stats::Stats;
use crate::audio::{MaxDuration, SAMPLE_RATE_HZ, Source, samples_to_ms};
use crate::cancel::Cause;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;
use crate::options::Priority;
use crate::transcript::Timings;

/// Samples in a piece, 30 s: a window for Whisper and some.
const PIECE_SAMPLES: usize = 30 * SAMPLE_RATE_HZ as usize;

/// A piece of the input, decoded.
pub(crate) struct Audio {
    pub pcm: Vec<f32>,
    /// Share of the input that lies behind with it.
    pub share: f64,
    pub credit: Credit,
}

/// Threads that decode: the two whose turn it is, and those that hang in a read of a job that was
/// given up.
pub(crate) const THREADS: usize = 8;

/// Whose turn it is to decode. Decoding a second of Opus takes about a millisecond, so two at a time
/// keep any device busy, and batch work never takes both.
#[derive(Clone)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    batch: Arc<Semaphore>,
    threads: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(2)),
            batch: Arc::new(Semaphore::new(1)),
            threads: Arc::new(Semaphore::new(THREADS)),
        }
    }
}

/// One turn, until it is dropped.
type Turn = [Option<OwnedSemaphorePermit>; 2];

impl Turns {
    async fn take(&self, priority: Priority) -> Turn {
        let batch = match priority {
            Priority::Interactive => None,
            // The semaphores are never closed.
            Priority::Batch => Arc::clone(&self.batch).acquire_owned().await.ok(),
        };
        [batch, Arc::clone(&self.all).acquire_owned().await.ok()]
    }
}

/// What decodes for one job or stream, in its turn.
pub(crate) struct Worker {
    pub flow: Arc<Flow>,
    pub turns: Turns,
    pub log: Log,
    pub stats: Arc<Stats>,
}

/// The decoding of one job.
pub(crate) struct Decoding {
    pub worker: Worker,
    pub next: Sender<Arrival>,
    pub timings: Timings,
}

impl Worker {
    /// Runs `work` on the blocking pool when its turn comes, and tells how long it took. A panic in it fails the job and nothing
    /// else. Once the job is given up, nobody waits: a read may hang, in a network that is gone.
    pub async fn turn<Output: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<Output> + Send + 'static,
    ) -> Result<(Result<Output>, f64)> {
        let (flow, log) = (Arc::clone(&self.flow), self.log.clone());
        let taken = async {
            let _turn = self.turns.take(self.flow.priority).await;
            // Waited for here, where giving up drops `work` and the input with it.
            let thread = Arc::clone(&self.turns.threads).acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _thread = thread;
                log.scope(|| {
                    let _at_work = flow.work();
                    let started = Instant::now();
                    fault::inject(Place::Decode, &flow.id);
                    let outcome = flow.cancel.check().and_then(|()| work());
                    (outcome, elapsed_ms(started))
                })
            })
            .await
        };
        let taken = tokio::select! {
            biased;
            taken = taken => taken,
            cause = self.flow.cancel.cancelled() => return Err(cause.error()),
        };
        let (outcome, took_ms) = taken.map_err(|cause| {
            Error::new(
                ErrorKind::WorkerFailed,
                "the decoder failed on this input; please report it",
            )
            .caused_by(cause)
        })?;
        self.stats.decoding_took(took_ms);
        Ok((outcome, took_ms))
    }
}

impl Decoding {
    /// Decodes the whole input and hands it on as the stages behind take it.
    pub async fn run(mut self, ticket: Box<Ticket>, input: Input) {
        let max = MaxDuration::from_ms(ticket.options.max_duration_ms);
        let submitted = ticket.submitted;
        let opened = self
            .turn(move || {
                let queue_ms = elapsed_ms(submitted);
                Ok((queue_ms, input.open(max)?))
            })
            .await;
        match opened {
            Err(error) => ticket.fail(error),
            Ok((queue_ms, source)) => {
                self.timings.queue_ms = queue_ms;
                self.send(Part::Begin(ticket));
                let end = self.feed(source, max).await;
                self.send(Part::End(end));
            }
        }
    }

    async fn feed(&mut self, mut source: Box<dyn Source>, max: MaxDuration) -> Result<Summary> {
        let mut input_samples = 0;
        loop {
            let Some(credit) = self.worker.flow.credit().await.map_err(Cause::error)? else {
                return Err(Error::new(
                    ErrorKind::WorkerFailed,
                    "a later stage gave the job up",
                ));
            };
            let cancel = self.worker.flow.cancel.clone();
            let (returned, pcm, more) = self
                .turn(move || {
                    let mut pcm = Vec::new();
                    let mut more = true;
                    while more && pcm.len() < PIECE_SAMPLES {
                        cancel.check()?;
                        more = source.read(&mut pcm)?;
                    }
                    Ok((source, pcm, more))
                })
                .await?;
            source = returned;
            input_samples += pcm.len();
            max.check(input_samples, String::new)?;
            if !pcm.is_empty() {
                self.worker.stats.decoded(samples_to_ms(pcm.len()));
                let share = source.share();
                self.send(Part::Piece(Audio { pcm, share, credit }));
            }
            if !more {
                return Ok(Summary {
                    report: source.report(),
                    input_samples,
                    timings: self.timings,
                    asked: None,
                    lag: None,
                });
            }
        }
    }

    async fn turn<Output: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<Output> + Send + 'static,
    ) -> Result<Output> {
        let (outcome, took_ms) = self.worker.turn(work).await?;
        self.timings.decode_ms += took_ms;
        outcome
    }

    fn send(&self, part: Part<Audio>) {
        let flow = Arc::clone(&self.worker.flow);
        // Fails only when the stage is gone, and then drops the ticket, which answers the job.
        let _ = self.next.send(Arrival::Job(Message { flow, part }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::engine::admission::{Admission, Place};
    use crate::engine::intake;
    use crossbeam_channel::{Receiver, bounded, unbounded};

    fn decoding(turns: &Turns, priority: Priority, cancel: &Cancel) -> Decoding {
        let admission = Arc::new(Admission::new(1, 1));
        let place = Place::take(&admission, 0).unwrap();
        Decoding {
            worker: Worker {
                flow: Flow::new("id".into(), priority, cancel.clone(), Some(place)),
                turns: turns.clone(),
                log: Log::new(None),
                stats: Arc::default(),
            },
            next: unbounded().0,
            timings: Timings::default(),
        }
    }

    /// A read that returns when `never` does, which is to say that it tells when it begins to hang.
    fn hang(begun: &Sender<()>, never: &Receiver<()>) -> impl FnOnce() -> Result<()> + use<> {
        let (begun, never) = (begun.clone(), never.clone());
        move || {
            begun.send(()).unwrap();
            let _ = never.recv();
            Ok(())
        }
    }

    /// So many reads hang until the result is dropped, and their jobs have been given up.
    fn leave_hanging(count: usize, runtime: &tokio::runtime::Runtime, turns: &Turns) -> Sender<()> {
        let (end, never) = bounded(0);
        let (begun, has_begun) = unbounded();
        for _ in 0..count {
            let cancel = Cancel::never();
            let mut job = decoding(turns, Priority::Interactive, &cancel);
            let read = hang(&begun, &never);
            let hanging = runtime.spawn(async move { job.turn(read).await });
            has_begun.recv().unwrap();
            cancel.abort();
            let outcome = runtime.block_on(hanging).unwrap();
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Aborted);
        }
        end
    }

    #[test]
    fn a_read_that_hangs_keeps_nobody_waiting_once_its_job_is_given_up() {
        let runtime = intake::runtime().unwrap();
        let turns = Turns::default();
        let end = leave_hanging(3, &runtime, &turns);
        let mut next = decoding(&turns, Priority::Interactive, &Cancel::never());
        assert_eq!(runtime.block_on(next.turn(|| Ok(7))).unwrap(), 7);
        drop(end);
    }

    #[test]
    fn an_input_is_let_go_when_every_thread_hangs_and_its_job_is_given_up() {
        let runtime = intake::runtime().unwrap();
        let turns = Turns::default();
        let end = leave_hanging(THREADS, &runtime, &turns);
        let cancel = Cancel::never();
        let mut next = decoding(&turns, Priority::Interactive, &cancel);
        let input = Arc::new(());
        let held = Arc::clone(&input);
        cancel.abort();
        let outcome = runtime.block_on(next.turn(move || Ok(held)));
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Aborted);
        assert_eq!(Arc::strong_count(&input), 1);
        drop(end);
    }

    #[test]
    fn batch_work_leaves_a_turn_to_interactive_work() {
        let runtime = intake::runtime().unwrap();
        let turns = Turns::default();
        let (end, never) = bounded(0);
        let (begun, has_begun) = unbounded();
        let cancel = Cancel::never();
        let batch: Vec<_> = (0..5)
            .map(|_| {
                let mut job = decoding(&turns, Priority::Batch, &cancel);
                let read = hang(&begun, &never);
                runtime.spawn(async move { job.turn(read).await })
            })
            .collect();
        has_begun.recv().unwrap();
        let mut urgent = decoding(&turns, Priority::Interactive, &cancel);
        assert_eq!(runtime.block_on(urgent.turn(|| Ok(7))).unwrap(), 7);
        assert!(has_begun.is_empty(), "two batch jobs decode at once");
        drop(end);
        for job in batch {
            runtime.block_on(job).unwrap().unwrap();
        }
    }
}
