//! Models that are none, for tests of the engine in milliseconds.
// Each file of tests is a crate of its own and uses what it needs.
#![allow(dead_code, clippy::unwrap_used)]

pub mod live;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use opuscribe::audio::{Pcm, Samples};
use opuscribe::cancel::Cancel;
use opuscribe::engine::{Engine, Input, JobHandle, Models};
use opuscribe::options::{EngineOptions, JobOptions, Priority};
use opuscribe::transcript::Transcript;
use opuscribe::vad::{Vad, VadState, WINDOW_SAMPLES};
use opuscribe::whisper::{
    Lanes, MAX_WINDOW_SAMPLES, Recognition, Recognizer, RecognizerInfo, Request, WindowSegment,
    WindowWord,
};
use opuscribe::{Error, ErrorKind, Result};

pub const SECOND: usize = 16_000;

/// Everything that is loud is speech; a sample of exactly 2 makes it panic.
pub struct LoudnessVad {
    script: Script,
}

impl Drop for LoudnessVad {
    fn drop(&mut self) {
        self.script.vads_dropped.fetch_add(1, Ordering::SeqCst);
    }
}

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
pub struct EchoRecognizer {
    info: RecognizerInfo,
    script: Script,
    owner: ThreadId,
    is_lane: bool,
}

/// How the recognizer behaves and what it has seen, as the test holds it.
#[derive(Clone, Default)]
pub struct Script {
    pub seen: Arc<Mutex<Vec<String>>>,
    /// With a gate, each window announces itself and waits to be let through, or to be given up.
    pub gate: Option<(Sender<()>, Receiver<()>)>,
    /// The recognizer says that it is being built, which it is until something comes through.
    pub building: Option<(Sender<()>, Receiver<()>)>,
    pub built: Arc<AtomicUsize>,
    pub dropped_on_owner: Arc<AtomicUsize>,
    pub vads_dropped: Arc<AtomicUsize>,
    /// The context is at work.
    pub in_use: Arc<AtomicBool>,
    /// Every level of the window is a word, and one that lasts less than half a second at its end is
    /// heard wrongly.
    pub every_word: bool,
    /// Every window, where a test looks at them.
    pub windows: Option<Arc<Mutex<Vec<Vec<f32>>>>>,
    /// What each window was to go on from.
    pub prompts: Arc<Mutex<Vec<Option<String>>>>,
    /// What it runs on, if not on the fake.
    pub device: Option<Arc<str>>,
    /// Recognizers on one model, if there are several.
    pub lanes: Option<usize>,
    pub lanes_built: Arc<AtomicUsize>,
    pub lanes_dropped: Arc<AtomicUsize>,
    /// From which lane on there is no memory.
    pub lanes_that_fit: Option<usize>,
    /// Lanes that had been dropped when the model was.
    pub dropped_before_model: Arc<AtomicUsize>,
}

impl Drop for EchoRecognizer {
    fn drop(&mut self) {
        if std::thread::current().id() == self.owner {
            self.script.dropped_on_owner.fetch_add(1, Ordering::SeqCst);
        }
        let dropped = &self.script.lanes_dropped;
        if self.is_lane {
            dropped.fetch_add(1, Ordering::SeqCst);
        } else {
            let before = dropped.load(Ordering::SeqCst);
            self.script
                .dropped_before_model
                .store(before, Ordering::SeqCst);
        }
    }
}

impl Recognizer for EchoRecognizer {
    fn info(&self) -> RecognizerInfo {
        self.info.clone()
    }

    fn recognize(
        &mut self,
        window: &[f32],
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<Recognition> {
        if let Some(windows) = &self.script.windows {
            windows.lock().unwrap().push(window.to_vec());
        }
        let prompt = request.initial_prompt.map(String::from);
        self.script.prompts.lock().unwrap().push(prompt);
        assert_eq!(
            std::thread::current().id(),
            self.owner,
            "used by another thread"
        );
        assert!(
            !self.script.in_use.swap(true, Ordering::SeqCst) || self.is_lane,
            "used twice at once"
        );
        let text = self.echo(window, cancel);
        self.script.in_use.store(false, Ordering::SeqCst);
        let (text, end_ms) = (text?, (window.len() / 16) as i64);
        let word = |word: &str| WindowWord {
            start_ms: 0,
            end_ms,
            text: word.to_owned(),
            probability: 1.0,
        };
        let words = text.split_whitespace().map(word);
        Ok(Recognition {
            segments: vec![WindowSegment {
                start_ms: 0,
                end_ms,
                words: request.words.then(|| words.collect()),
                avg_log_prob: -0.1,
                no_speech_probability: 0.0,
                text,
            }],
            device: Arc::clone(&self.info.device),
            language: "en",
            language_probability: 1.0,
        })
    }

    fn lanes(&self) -> Option<Lanes> {
        let script = self.script.clone();
        let info = self.info.clone();
        let build = move || -> Result<Box<dyn Recognizer>> {
            let number = script.lanes_built.fetch_add(1, Ordering::SeqCst);
            if script.lanes_that_fit.is_some_and(|fit| number >= fit) {
                return Err(Error::new(ErrorKind::OutOfMemory, "no memory is left"));
            }
            Ok(Box::new(EchoRecognizer {
                info: info.clone(),
                script: script.clone(),
                owner: std::thread::current().id(),
                is_lane: true,
            }))
        };
        Some(Lanes {
            count: self.script.lanes?,
            build: Arc::new(build),
        })
    }
}

impl EchoRecognizer {
    fn echo(&self, window: &[f32], cancel: &Cancel) -> Result<String> {
        assert!(window.len() <= MAX_WINDOW_SAMPLES, "the window is too long");
        if self.script.every_word {
            cancel.check()?;
            return Ok(words(window));
        }
        let loud = window.iter().find(|sample| sample.abs() > 0.1);
        let word = format!("w{}", (loud.copied().unwrap_or(0.0) * 100.0).round());
        if word == "w66" {
            self.script.in_use.store(false, Ordering::SeqCst);
            panic!("the recognizer broke on purpose");
        }
        if word == "w99" {
            let lost = Error::new(ErrorKind::WorkerFailed, "the GPU is lost on purpose");
            return Err(lost.with_broken_model());
        }
        self.script.seen.lock().unwrap().push(word.clone());
        if let Some((at_work, let_through)) = &self.script.gate {
            at_work.send(()).unwrap();
            while let_through.recv_timeout(Duration::from_millis(1)).is_err() {
                cancel.check()?;
            }
        }
        cancel.check()?;
        Ok(match word.as_str() {
            "w77" => String::new(),
            // What a filter of texts would take for a hallucination.
            "w88" => " Thank you.".into(),
            word => format!(" {word}"),
        })
    }
}

/// A word for each stretch of one loud level.
fn words(window: &[f32]) -> String {
    let level = |sample: &f32| (sample * 100.0).round() as i32;
    let runs: Vec<&[f32]> = window.chunk_by(|a, b| level(a) == level(b)).collect();
    let last = runs.len().saturating_sub(1);
    let loud = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| level(&run[0]) > 10);
    let word = |(at, run): (usize, &&[f32])| {
        let is_half_heard = at == last && run.len() < SECOND / 2;
        level(&run[0]) + i32::from(is_half_heard)
    };
    loud.map(word)
        .fold(String::new(), |text, heard| text + &format!(" w{heard}"))
}

impl Script {
    pub fn gated() -> (Self, Receiver<()>, Sender<()>) {
        let (at_work, works) = unbounded();
        let (open, gate) = bounded(1000);
        let script = Self {
            gate: Some((at_work, gate)),
            ..Self::default()
        };
        (script, works, open)
    }

    pub fn engine(&self, max_queue: usize) -> Engine {
        self.try_engine(max_queue).unwrap()
    }

    pub fn try_engine(&self, max_queue: usize) -> Result<Engine> {
        let mut options = EngineOptions::new("fake", "/fake");
        options.max_queue = max_queue;
        Engine::open_with(options, self.models(), None)
    }

    pub fn models(&self) -> Models {
        let (script, for_vad) = (self.clone(), self.clone());
        Models {
            vad: Box::new(move || {
                Ok(Box::new(LoudnessVad {
                    script: for_vad.clone(),
                }))
            }),
            recognizer: Box::new(move || {
                if let Some((begun, finish)) = &script.building {
                    begun.send(()).unwrap();
                    finish.recv().unwrap();
                }
                script.built.fetch_add(1, Ordering::SeqCst);
                Ok(Box::new(EchoRecognizer {
                    info: RecognizerInfo {
                        languages: vec!["en"],
                        backend: "cpu",
                        device: script.device.clone().unwrap_or_else(|| "fake".into()),
                        model_bytes: 0,
                        gpu: None,
                    },
                    script: script.clone(),
                    owner: std::thread::current().id(),
                    is_lane: false,
                }))
            }),
        }
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub fn pcm(samples: Vec<f32>) -> Input {
    Input::Pcm(Pcm {
        samples: Samples::F32(samples),
        sample_rate_hz: 16_000,
        channels: 1,
    })
}

pub fn word(level: u8) -> Input {
    pcm(vec![f32::from(level) / 100.0; SECOND])
}

pub fn submit(engine: &Engine, input: Input) -> JobHandle {
    engine.submit(input, JobOptions::default(), None).unwrap()
}

pub fn submit_batch(engine: &Engine, input: Input) -> JobHandle {
    let options = JobOptions {
        priority: Priority::Batch,
        ..JobOptions::default()
    };
    engine.submit(input, options, None).unwrap()
}

/// Waits without a runtime of its own: an engine's futures need none but the engine's.
pub fn wait(engine: &Engine, handle: JobHandle) -> Result<Transcript> {
    let (sender, receiver) = bounded(1);
    engine.deliver(handle, move |result| sender.send(result).unwrap());
    receiver.recv().unwrap()
}

pub fn kind(result: Result<Transcript>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Every job has been settled, and no stage works on what is left of one.
pub fn until_idle(engine: &Engine) {
    until(|| {
        let stats = engine.stats().snapshot();
        stats.queued + stats.running == 0
    });
}

pub fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}
