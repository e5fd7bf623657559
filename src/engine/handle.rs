//! The waiting side of a job: one answer, whatever becomes of the stages.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::flow::Flow;
use super::intake::Shared;
use crate::cancel::{Cancel, Cause};
use crate::error::{Error, ErrorKind, Result};
use crate::log;
use crate::transcript::{Timings, Transcript};

/// The waiting side of a job. Dropping it gives the job up.
#[must_use = "dropping the handle gives the job up"]
pub struct JobHandle {
    pub(super) cancel: Cancel,
    pub(super) reply: oneshot::Receiver<Result<Transcript>>,
    /// For the job's place, which the answer frees.
    pub(super) flow: Arc<Flow>,
    pub(super) id: Arc<str>,
    pub(super) held_bytes: usize,
    pub(super) shared: Shared,
    pub(super) settled: bool,
}

impl JobHandle {
    /// Gives the job up, from any thread and however often.
    #[must_use]
    pub fn canceller(&self) -> Cancel {
        self.cancel.clone()
    }

    /// The answer, or the reason why there will be none: the caller is not kept waiting for a
    /// stage to notice that the job was given up.
    pub async fn outcome(mut self) -> Result<Transcript> {
        let result = tokio::select! {
            biased;
            reply = &mut self.reply => reply.unwrap_or_else(|_| Err(self.abandoned())),
            cause = self.cancel.cancelled() => Err(cause.error()),
        };
        self.settle(result.as_ref());
        result
    }

    fn abandoned(&self) -> Error {
        self.cancel.cause().map_or_else(
            || {
                Error::new(
                    ErrorKind::WorkerFailed,
                    "the stage that held the job stopped without an answer; try again",
                )
            },
            Cause::error,
        )
    }

    fn settle(&mut self, result: Result<&Transcript, &Error>) {
        self.settled = true;
        // The place is free before the caller hears of it.
        self.flow.leave();
        self.shared.stats.settled(result, self.held_bytes);
        self.shared.log.scope(|| {
            let _job = log::job(&self.id);
            report(result, self.shared.options.log_text);
        });
    }
}

/// One record for each job that was answered.
fn report(result: Result<&Transcript, &Error>, with_text: bool) {
    match result {
        Ok(transcript) => {
            let Timings {
                total_ms,
                inference_ms,
                ..
            } = transcript.timings;
            tracing::info!(
                duration_ms = transcript.duration_ms,
                speech_duration_ms = transcript.speech_duration_ms,
                inference_ms,
                total_ms,
                text = with_text.then_some(transcript.text.as_str()),
                "transcribed"
            );
        }
        Err(error) => {
            let code = error.kind().code();
            match error.kind() {
                ErrorKind::WorkerFailed | ErrorKind::OutOfMemory => {
                    tracing::error!(code, "not transcribed: {error}");
                }
                _ => tracing::info!(code, "not transcribed: {error}"),
            }
        }
    }
}

impl Drop for JobHandle {
    fn drop(&mut self) {
        if !self.settled {
            self.cancel.abort();
            self.settle(Err(&Cause::Aborted.error()));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cancel::CancelAll;
    use crate::engine::EngineInfo;
    use crate::engine::admission::{Admission, Place};
    use crate::engine::job::Reply;
    use crate::log::Log;
    use crate::options::{EngineOptions, Priority};
    use crate::whisper::RecognizerInfo;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    /// What can happen to a job, each at most once.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Step {
        Answer,
        /// A stage dies with the ticket.
        Lose,
        Abort,
        Close,
        /// The caller looks.
        Poll,
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn permutations(steps: &[Step]) -> Vec<Vec<Step>> {
        if steps.is_empty() {
            return vec![vec![]];
        }
        let mut all = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let rest = [&steps[..at], &steps[at + 1..]].concat();
            for mut tail in permutations(&rest) {
                tail.insert(0, *step);
                all.push(tail);
            }
        }
        all
    }

    pub fn shared() -> Shared {
        Shared {
            options: Arc::new(EngineOptions::new("fake", "/fake")),
            info: Arc::new(EngineInfo {
                model: "fake".into(),
                recognizer: RecognizerInfo {
                    languages: vec!["en"],
                    backend: "cpu",
                    device: "fake".into(),
                    gpu: None,
                    model_bytes: 0,
                },
                threads: 1,
                whisper_version: "",
                opus_version: "",
            }),
            stats: Arc::default(),
            cancel_all: CancelAll::default(),
            log: Log::new(None),
        }
    }

    /// A job is answered once and its caller is woken, whatever happens in whatever order.
    fn play(steps: &[Step]) {
        let shared = shared();
        let admission = Arc::new(Admission::new(1, 1));
        let cancel = Cancel::new(&shared.cancel_all, None);
        let place = Place::take(&admission, 1).unwrap();
        let flow = Flow::new("id".into(), Priority::Batch, cancel.clone(), Some(place));
        let (reply, answer) = Reply::new();
        let handle = JobHandle {
            cancel: cancel.clone(),
            reply: answer,
            flow: Arc::clone(&flow),
            id: "id".into(),
            held_bytes: 1,
            shared: shared.clone(),
            settled: false,
        };
        let (stats, cancel_all) = (Arc::clone(&shared.stats), shared.cancel_all.clone());
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut outcome = pin!(handle.outcome());
        let (mut reply, mut flow) = (Some(reply), Some(flow));
        let mut answers = 0;
        let mut asleep_since = None;
        for step in steps {
            match step {
                Step::Answer => {
                    flow = None;
                    if let Some(reply) = reply.take() {
                        reply.send(Ok(Transcript::default()));
                    }
                }
                Step::Lose => {
                    flow = None;
                    reply = None;
                }
                Step::Abort => cancel.abort(),
                Step::Close => cancel_all.cancel(),
                Step::Poll if answers == 0 => match outcome.as_mut().poll(&mut context) {
                    Poll::Ready(_) => answers += 1,
                    Poll::Pending => asleep_since = Some(wakes.0.load(Ordering::SeqCst)),
                },
                Step::Poll => {}
            }
            if let (Some(since), 0, false) = (asleep_since, answers, *step == Step::Poll) {
                assert!(
                    wakes.0.load(Ordering::SeqCst) > since,
                    "asleep in {steps:?}"
                );
            }
        }
        if answers == 0 {
            assert!(outcome.as_mut().poll(&mut context).is_ready(), "{steps:?}");
        }
        let snapshot = stats.snapshot(admission.load());
        let failed: u64 = snapshot.failed.iter().map(|(_, count)| count).sum();
        assert_eq!(snapshot.completed + failed, 1, "{steps:?}");
        assert_eq!(snapshot.queued, 0, "the place is free in {steps:?}");
        drop(flow);
    }

    #[test]
    fn every_job_is_answered_once_and_its_caller_woken_in_every_order_of_events() {
        use Step::{Abort, Answer, Close, Lose, Poll};
        let events = [Answer, Lose, Abort, Close];
        for chosen in 1..1_usize << events.len() {
            let mut steps: Vec<_> = (0..events.len())
                .filter(|event| chosen & (1 << event) != 0)
                .map(|event| events[event])
                .collect();
            steps.extend([Poll, Poll]);
            for order in permutations(&steps) {
                play(&order);
            }
        }
    }
}
