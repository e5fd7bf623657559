//! The engine with fake models: scheduling, giving up, failing and closing, in milliseconds.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use opuscribe::audio::{Pcm, Samples};
use opuscribe::cancel::Cancel;
use opuscribe::engine::{Engine, Event, Input, JobHandle, Models};
use opuscribe::options::{EngineOptions, JobOptions, Priority};
use opuscribe::transcript::{EmptyReason, Transcript};
use opuscribe::vad::{Vad, VadState, WINDOW_SAMPLES};
use opuscribe::whisper::{
    MAX_WINDOW_SAMPLES, Recognition, Recognizer, RecognizerInfo, Request, WindowSegment,
};
use opuscribe::{Error, ErrorKind, Result};

const SECOND: usize = 16_000;

/// Everything that is loud is speech; a sample of exactly 2 makes it panic.
struct LoudnessVad;

impl Vad for LoudnessVad {
    fn probabilities(
        &mut self,
        _: &mut VadState,
        pcm: &[f32],
        probabilities: &mut Vec<f32>,
    ) -> Result<()> {
        for window in pcm.chunks(WINDOW_SAMPLES) {
            assert!(!window.contains(&2.0), "the detector broke on purpose");
            let loud = window.iter().any(|sample| sample.abs() > 0.1);
            probabilities.push(f32::from(u8::from(loud)));
        }
        Ok(())
    }
}

/// Writes the first loud sample of each window as a word, so that every window has its own text.
struct EchoRecognizer {
    info: RecognizerInfo,
    script: Script,
    owner: ThreadId,
}

/// How the recognizer behaves and what it has seen, as the test holds it.
#[derive(Clone, Default)]
struct Script {
    seen: Arc<Mutex<Vec<String>>>,
    /// With a gate, each window announces itself and waits to be let through, or to be given up.
    gate: Option<(Sender<()>, Receiver<()>)>,
    built: Arc<AtomicUsize>,
    dropped_on_owner: Arc<AtomicUsize>,
}

impl Drop for EchoRecognizer {
    fn drop(&mut self) {
        if std::thread::current().id() == self.owner {
            self.script.dropped_on_owner.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Recognizer for EchoRecognizer {
    fn info(&self) -> &RecognizerInfo {
        &self.info
    }

    fn recognize(
        &mut self,
        window: &[f32],
        _: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<Recognition> {
        assert_eq!(
            std::thread::current().id(),
            self.owner,
            "used by another thread"
        );
        assert!(window.len() <= MAX_WINDOW_SAMPLES, "the window is too long");
        let loud = window.iter().find(|sample| sample.abs() > 0.1);
        let word = format!("w{}", (loud.copied().unwrap_or(0.0) * 100.0).round());
        assert_ne!(word, "w66", "the recognizer broke on purpose");
        self.script.seen.lock().unwrap().push(word.clone());
        if let Some((at_work, let_through)) = &self.script.gate {
            at_work.send(()).unwrap();
            while let_through.recv_timeout(Duration::from_millis(1)).is_err() {
                cancel.check()?;
            }
        }
        cancel.check()?;
        Ok(Recognition {
            segments: vec![WindowSegment {
                start_ms: 0,
                end_ms: (window.len() / 16) as i64,
                text: if word == "w77" {
                    String::new()
                } else {
                    format!(" {word}")
                },
                avg_log_prob: -0.1,
                no_speech_probability: 0.0,
            }],
            language: "en",
            language_probability: 1.0,
        })
    }
}

impl Script {
    fn gated() -> (Self, Receiver<()>, Sender<()>) {
        let (at_work, works) = unbounded();
        let (open, gate) = bounded(1000);
        let script = Self {
            gate: Some((at_work, gate)),
            ..Self::default()
        };
        (script, works, open)
    }

    fn engine(&self, max_queue: usize) -> Engine {
        self.try_engine(max_queue).unwrap()
    }

    fn try_engine(&self, max_queue: usize) -> Result<Engine> {
        let mut options = EngineOptions::new("fake", "/fake");
        options.max_queue = max_queue;
        let script = self.clone();
        let models = Models {
            vad: Box::new(|| Ok(Box::new(LoudnessVad))),
            recognizer: Box::new(move || {
                script.built.fetch_add(1, Ordering::SeqCst);
                Ok(Box::new(EchoRecognizer {
                    info: RecognizerInfo {
                        languages: vec!["en"],
                        backend: "cpu",
                        device: "fake".into(),
                    },
                    script: script.clone(),
                    owner: std::thread::current().id(),
                }))
            }),
        };
        Engine::open_with(options, models, None)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn pcm(samples: Vec<f32>) -> Input {
    Input::Pcm(Pcm {
        samples: Samples::F32(samples),
        sample_rate_hz: 16_000,
        channels: 1,
    })
}

fn word(level: u8) -> Input {
    pcm(vec![f32::from(level) / 100.0; SECOND])
}

fn submit(engine: &Engine, input: Input) -> JobHandle {
    engine.submit(input, JobOptions::default(), None).unwrap()
}

fn submit_batch(engine: &Engine, input: Input) -> JobHandle {
    let options = JobOptions {
        priority: Priority::Batch,
        ..JobOptions::default()
    };
    engine.submit(input, options, None).unwrap()
}

/// Waits without a runtime of its own: an engine's futures need none but the engine's.
fn wait(engine: &Engine, handle: JobHandle) -> Result<Transcript> {
    let (sender, receiver) = bounded(1);
    engine.deliver(handle, move |result| sender.send(result).unwrap());
    receiver.recv().unwrap()
}

fn kind(result: Result<Transcript>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn text_comes_back_on_the_inputs_timeline() {
    let script = Script::default();
    let engine = script.engine(8);
    let mut samples = vec![0.0; 10 * SECOND];
    samples[4 * SECOND..6 * SECOND].fill(0.5);
    let transcript = wait(&engine, submit(&engine, pcm(samples))).unwrap();
    assert_eq!(transcript.text, "w50");
    assert_eq!(transcript.empty_reason, None);
    assert!((transcript.duration_ms - 10_000.0).abs() < 1e-9);
    let (segment, speech) = (&transcript.segments[0], transcript.speech[0]);
    assert!((segment.start_ms - speech.start_ms).abs() < 1.0);
    assert!((segment.end_ms - speech.end_ms).abs() < 1.0);
    assert!((3_000.0..=4_000.0).contains(&speech.start_ms), "{speech:?}");
    assert!((6_000.0..=7_000.0).contains(&speech.end_ms), "{speech:?}");
}

#[test]
fn without_speech_the_recognizer_is_never_called() {
    let script = Script::default();
    let engine = script.engine(8);
    let silence = wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    assert_eq!(silence.empty_reason, Some(EmptyReason::NoSpeech));
    let nothing = wait(&engine, submit(&engine, pcm(vec![]))).unwrap();
    assert_eq!(nothing.empty_reason, Some(EmptyReason::NoAudio));
    assert!(script.seen().is_empty());
}

#[test]
fn text_that_is_empty_after_all_says_so() {
    let engine = Script::default().engine(8);
    let transcript = wait(&engine, submit(&engine, word(77))).unwrap();
    assert_eq!(transcript.empty_reason, Some(EmptyReason::LowConfidence));
    assert!(transcript.segments.is_empty());
}

#[test]
fn a_long_input_goes_through_in_windows_and_none_is_lost() {
    let script = Script::default();
    let engine = script.engine(8);
    let levels: Vec<u8> = (20..40).collect();
    let mut samples = Vec::new();
    for level in &levels {
        samples.extend(vec![f32::from(*level) / 100.0; 9 * SECOND]);
        samples.extend(vec![0.0; 2 * SECOND]);
    }
    let (events, told) = unbounded();
    let sink = Box::new(move |event| events.send(event).unwrap());
    let handle = engine
        .submit(pcm(samples), JobOptions::default(), Some(sink))
        .unwrap();
    let transcript = wait(&engine, handle).unwrap();
    // Two of 9 s fit a window, and each window is named by its first.
    let expected: Vec<_> = levels
        .iter()
        .step_by(2)
        .map(|level| format!("w{level}"))
        .collect();
    assert_eq!(transcript.text, expected.join(" "));
    assert_eq!(transcript.speech.len(), levels.len());
    let told: Vec<_> = told.try_iter().collect();
    let segments = told
        .iter()
        .filter(|event| matches!(event, Event::Segment(_)));
    assert_eq!(segments.count(), expected.len());
    let progress: Vec<f64> = told
        .iter()
        .filter_map(|event| match event {
            Event::Progress(share) => Some(*share),
            Event::Segment(_) => None,
        })
        .collect();
    assert!(
        progress.is_sorted() && progress.last() == Some(&1.0),
        "{progress:?}"
    );
}

#[test]
fn interactive_work_passes_a_long_file_between_two_windows() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(8);
    let mut file = Vec::new();
    for level in [11, 12, 13] {
        file.extend(vec![f32::from(level as u8) / 100.0; 20 * SECOND]);
        file.extend(vec![0.0; SECOND]);
    }
    let file = submit_batch(&engine, pcm(file));
    works.recv().unwrap();
    let urgent = submit(&engine, word(90));
    while engine.stats().snapshot().audio_ms < 64_000.0 {
        std::thread::yield_now();
    }
    // What is silent ends at the stage before the GPU, which the urgent job has passed by then,
    // while the first window still runs.
    wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    for _ in 0..4 {
        open.send(()).unwrap();
    }
    wait(&engine, urgent).unwrap();
    wait(&engine, file).unwrap();
    let seen = script.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0], "w11");
    let passed = seen.iter().position(|word| word == "w90").unwrap();
    assert!(passed < 3, "{seen:?}");
}

/// A file's decoder waits for the slowest stage, and its credit comes back.
#[test]
fn a_file_of_any_length_has_little_of_it_on_its_way() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(8);
    let minutes = 20;
    let file = submit(&engine, pcm(vec![0.5; minutes * 60 * SECOND]));
    works.recv().unwrap();
    // Other jobs go through decoder and detector meanwhile, each with turns that the file would
    // take as well if it could: it holds neither.
    let others = 50;
    for _ in 0..others {
        wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    }
    let ahead_ms = engine.stats().snapshot().audio_ms - f64::from(others) * 1000.0;
    assert!(ahead_ms <= 5.0 * 30_000.0, "{ahead_ms} ms are decoded");
    for _ in 0..minutes * 6 {
        open.send(()).unwrap();
    }
    let transcript = wait(&engine, file).unwrap();
    let windows = (minutes * 60 * SECOND).div_ceil(MAX_WINDOW_SAMPLES);
    assert!(script.seen().len() >= windows);
    assert_eq!(transcript.speech.len(), 1);
    assert!((transcript.duration_ms - minutes as f64 * 60_000.0).abs() < 1e-6);
}

/// What a later stage cannot use is not decoded to its end.
#[test]
fn a_file_whose_job_has_failed_is_not_read_on() {
    let engine = Script::default().engine(8);
    let samples = vec![0.66; 60 * 60 * SECOND];
    assert_eq!(
        kind(wait(&engine, submit(&engine, pcm(samples)))),
        ErrorKind::WorkerFailed
    );
    while engine.stats().snapshot().queued + engine.stats().snapshot().running > 0 {
        std::thread::yield_now();
    }
    let decoded_ms = engine.stats().snapshot().audio_ms;
    assert!(decoded_ms < 10.0 * 60_000.0, "{decoded_ms}");
    assert_eq!(
        wait(&engine, submit(&engine, word(30))).unwrap().text,
        "w30"
    );
}

/// A limit that is found only while reading: the text so far is no success.
#[test]
fn a_long_input_with_a_broken_end_is_an_error_not_a_shorter_text() {
    let engine = Script::default().engine(8);
    let mut samples = vec![0.5; 90 * SECOND];
    samples[80 * SECOND] = 2.0;
    assert_eq!(
        kind(wait(&engine, submit(&engine, pcm(samples)))),
        ErrorKind::WorkerFailed
    );
    assert_eq!(engine.stats().snapshot().completed, 0);
}

#[test]
fn a_full_queue_refuses_at_once_and_places_come_back() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(2);
    let jobs = [submit(&engine, word(30)), submit(&engine, word(31))];
    works.recv().unwrap();
    let Err(error) = engine.submit(word(32), JobOptions::default(), None) else {
        panic!("admitted")
    };
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(error.retry_after_ms().unwrap() > 0);
    open.send(()).unwrap();
    open.send(()).unwrap();
    for job in jobs {
        wait(&engine, job).unwrap();
    }
    open.send(()).unwrap();
    // The place comes back when the job is gone, a moment after its answer.
    while engine.stats().snapshot().queued > 0 {
        std::thread::yield_now();
    }
    assert_eq!(
        wait(&engine, submit(&engine, word(33))).unwrap().text,
        "w33"
    );
}

#[test]
fn a_job_that_is_given_up_is_answered_at_once_and_its_work_stops() {
    let (script, works, _open) = Script::gated();
    let engine = script.engine(8);
    let running = submit(&engine, word(30));
    works.recv().unwrap();
    let waiting = submit(&engine, word(31));
    let (stop_waiting, stop_running) = (waiting.canceller(), running.canceller());
    // The gate stays shut: were the caller to wait for the stage, this would never come back.
    stop_waiting.abort();
    assert_eq!(kind(wait(&engine, waiting)), ErrorKind::Aborted);
    stop_running.abort();
    assert_eq!(kind(wait(&engine, running)), ErrorKind::Aborted);
    // The work stops too: both leave the engine.
    while engine.stats().snapshot().queued + engine.stats().snapshot().running > 0 {
        std::thread::yield_now();
    }
    assert_eq!(script.seen(), ["w30"]);
    assert_eq!(engine.stats().snapshot().failed, [(ErrorKind::Aborted, 2)]);
}

#[test]
fn timed_out_work_does_not_keep_running() {
    let (script, _works, _open) = Script::gated();
    let engine = script.engine(8);
    let options = JobOptions {
        timeout: Some(Duration::from_millis(20)),
        ..JobOptions::default()
    };
    let jobs: Vec<_> = (30..33)
        .map(|level| engine.submit(word(level), options.clone(), None).unwrap())
        .collect();
    for job in jobs {
        assert_eq!(kind(wait(&engine, job)), ErrorKind::Timeout);
    }
    while engine.stats().snapshot().queued + engine.stats().snapshot().running > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_handle_that_is_dropped_gives_its_job_up() {
    let (script, works, _open) = Script::gated();
    let engine = script.engine(8);
    let handle = submit(&engine, word(30));
    works.recv().unwrap();
    drop(handle);
    while engine.stats().snapshot().queued + engine.stats().snapshot().running > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn no_caller_is_left_waiting_when_a_stage_dies_and_the_stage_comes_back() {
    let script = Script::default();
    let engine = script.engine(8);
    let mut poison = vec![0.5; SECOND];
    poison[700] = 2.0;
    for _ in 0..2 {
        assert_eq!(
            kind(wait(&engine, submit(&engine, word(66)))),
            ErrorKind::WorkerFailed
        );
        assert_eq!(
            wait(&engine, submit(&engine, word(30))).unwrap().text,
            "w30"
        );
        let broken_vad = wait(&engine, submit(&engine, pcm(poison.clone())));
        assert_eq!(kind(broken_vad), ErrorKind::WorkerFailed);
        assert_eq!(
            wait(&engine, submit(&engine, word(31))).unwrap().text,
            "w31"
        );
    }
    assert_eq!(engine.stats().snapshot().restarts, 4);
    assert_eq!(script.built.load(Ordering::SeqCst), 3);
}

#[test]
fn a_stage_that_keeps_failing_gives_up_and_still_answers() {
    let engine = Script::default().engine(8);
    for _ in 0..10 {
        assert_eq!(
            kind(wait(&engine, submit(&engine, word(66)))),
            ErrorKind::WorkerFailed
        );
    }
    assert_eq!(
        kind(wait(&engine, submit(&engine, word(30)))),
        ErrorKind::WorkerFailed
    );
}

#[test]
fn closing_answers_every_job_and_frees_each_model_on_its_own_thread() {
    for drain in [false, true] {
        let (script, works, open) = Script::gated();
        let engine = script.engine(16);
        let (sender, answers) = unbounded();
        for level in 30..36 {
            let sender = sender.clone();
            engine.deliver(submit(&engine, word(level)), move |result| {
                sender
                    .send(result.map(|transcript| transcript.text))
                    .unwrap();
            });
        }
        works.recv().unwrap();
        if drain {
            for _ in 0..6 {
                open.send(()).unwrap();
            }
        }
        engine.close(drain);
        let answers: Vec<_> = answers.try_iter().collect();
        assert_eq!(answers.len(), 6, "every answer is there when close returns");
        for answer in answers {
            match answer {
                Ok(_) => assert!(drain),
                Err(error) => assert!(!drain && error.kind() == ErrorKind::Closed, "{error}"),
            }
        }
        assert_eq!(script.dropped_on_owner.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn dropping_an_engine_closes_it() {
    let (script, works, _open) = Script::gated();
    let engine = script.engine(8);
    let handle = submit(&engine, word(30));
    works.recv().unwrap();
    let (sender, answer) = bounded(1);
    engine.deliver(handle, move |result| sender.send(result).unwrap());
    drop(engine);
    assert_eq!(kind(answer.recv().unwrap()), ErrorKind::Closed);
    assert_eq!(script.dropped_on_owner.load(Ordering::SeqCst), 1);
}

#[test]
fn an_engine_whose_model_cannot_be_built_does_not_open() {
    let broken: [fn() -> Models; 3] = [
        || Models {
            vad: Box::new(|| Err(Error::new(ErrorKind::ModelInvalid, "no detector"))),
            recognizer: Box::new(|| panic!("no recognizer either")),
        },
        || Models {
            vad: Box::new(|| Err(Error::new(ErrorKind::ModelInvalid, "no detector"))),
            recognizer: Box::new(|| Err(Error::new(ErrorKind::ModelNotFound, "no model"))),
        },
        || Models {
            vad: Box::new(|| Ok(Box::new(LoudnessVad))),
            recognizer: Box::new(|| Err(Error::new(ErrorKind::ModelNotFound, "no model"))),
        },
    ];
    for models in broken {
        let options = EngineOptions::new("fake", "/fake");
        assert!(Engine::open_with(options, models(), None).is_err());
    }
}

#[test]
fn bad_options_are_refused_before_anything_is_started() {
    let script = Script::default();
    assert!(script.try_engine(0).is_err());
    let engine = script.engine(8);
    let german = JobOptions {
        language: Some("de".into()),
        ..JobOptions::default()
    };
    assert!(engine.submit(word(30), german, None).is_err());
    let nan = wait(&engine, submit(&engine, pcm(vec![0.0, f32::NAN]))).unwrap_err();
    assert_eq!(
        (nan.kind(), nan.index()),
        (ErrorKind::InvalidArgument, Some(1))
    );
}
