//! First stage, on the blocking pool: input to 16 kHz mono, piece by piece, with a decoder of the
//! job's own. A job takes one thread for one piece at a time, so long files pass no short job by.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::flow::{Credit, Flow, Message, Part, Summary};
use super::job::{Input, Ticket, elapsed_ms};
use super::stats::Stats;
use crate::audio::{MaxDuration, SAMPLE_RATE_HZ, Source, samples_to_ms};
use crate::cancel::Cause;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;
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

/// The decoding of one job.
pub(crate) struct Decoding {
    pub flow: Arc<Flow>,
    pub log: Log,
    pub stats: Arc<Stats>,
    pub next: Sender<Message<Audio>>,
    pub timings: Timings,
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
            Err(error) => {
                drop(self);
                ticket.fail(error);
            }
            Ok((queue_ms, source)) => {
                self.timings.queue_ms = queue_ms;
                self.send(Part::Begin(ticket));
                let end = self.feed(source, max).await;
                // With the job's place, which is free when the last stage lets go of it.
                let Self { flow, next, .. } = self;
                let _ = next.send(Message {
                    flow,
                    part: Part::End(end),
                });
            }
        }
    }

    async fn feed(&mut self, mut source: Box<dyn Source>, max: MaxDuration) -> Result<Summary> {
        let mut input_samples = 0;
        loop {
            let Some(credit) = self.flow.credit().await.map_err(Cause::error)? else {
                return Err(Error::new(
                    ErrorKind::WorkerFailed,
                    "a later stage gave the job up",
                ));
            };
            let cancel = self.flow.cancel.clone();
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
                self.stats.decoded(samples_to_ms(pcm.len()));
                let share = source.share();
                self.send(Part::Piece(Audio { pcm, share, credit }));
            }
            if !more {
                return Ok(Summary {
                    report: source.report(),
                    input_samples,
                    timings: self.timings,
                });
            }
        }
    }

    /// Runs `work` on the blocking pool. A panic in it fails the job and nothing else.
    async fn turn<Output: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<Output> + Send + 'static,
    ) -> Result<Output> {
        let (flow, log) = (Arc::clone(&self.flow), self.log.clone());
        let turn = tokio::task::spawn_blocking(move || {
            let _at_work = flow.work();
            let started = Instant::now();
            let outcome = flow.cancel.check().and_then(|()| log.scope(work));
            (outcome, elapsed_ms(started))
        });
        let (outcome, took_ms) = turn.await.map_err(|cause| {
            Error::new(
                ErrorKind::WorkerFailed,
                "the decoder failed on this input; please report it",
            )
            .caused_by(cause)
        })?;
        self.timings.decode_ms += took_ms;
        self.stats.decoding_took(took_ms);
        outcome
    }

    fn send(&self, part: Part<Audio>) {
        let flow = Arc::clone(&self.flow);
        // Fails only when the stage is gone, and then drops the ticket, which answers the job.
        let _ = self.next.send(Message { flow, part });
    }
}
