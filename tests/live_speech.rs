//! Twenty live streams of real speech on the real detector, with a recognizer that writes down which
//! samples it was given: every stream tells what it tells alone.
//!
//! By default two minutes each, as fast as it goes. At the pace of speech, ten minutes each:
//!
//! ```sh
//! STREAM_MINUTES=10 STREAM_PACE=1 cargo test --release --no-default-features --test live_speech
//! ```
#![allow(clippy::unwrap_used)]

mod common;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use opuscribe::Result;
use opuscribe::cancel::Cancel;
use opuscribe::engine::{Engine, Models, StreamEvent, StreamHandle};
use opuscribe::options::{EngineOptions, StreamOptions};
use opuscribe::vad::Silero;
use opuscribe::whisper::{Recognition, Recognizer, RecognizerInfo, Request, WindowSegment};

const STREAMS: usize = 20;
/// 20 ms.
const PIECE_SAMPLES: usize = 320;

struct Witness(RecognizerInfo);

impl Recognizer for Witness {
    fn info(&self) -> RecognizerInfo {
        self.0.clone()
    }

    fn recognize(&mut self, window: &[f32], _: &Request<'_>, _: &Cancel) -> Result<Recognition> {
        let mut hash = DefaultHasher::new();
        for sample in window {
            sample.to_bits().hash(&mut hash);
        }
        Ok(Recognition {
            segments: vec![WindowSegment {
                start_ms: 0,
                end_ms: (window.len() / 16) as i64,
                text: format!(" {:x}", hash.finish()),
                avg_log_prob: -0.1,
                no_speech_probability: 0.0,
                words: None,
            }],
            device: Arc::clone(&self.0.device),
            language: "en",
            language_probability: 1.0,
        })
    }
}

fn engine() -> Engine {
    let models = Models {
        vad: Box::new(|| Ok(Box::new(Silero::load(&common::onnx_runtime())?))),
        recognizer: Box::new(|| {
            Ok(Box::new(Witness(RecognizerInfo {
                languages: vec!["en"],
                backend: "cpu",
                device: "fake".into(),
                model_bytes: 0,
                gpu: None,
            })))
        }),
    };
    Engine::open_with(EngineOptions::new("fake", "/fake"), models, None).unwrap()
}

/// The final texts and where they lie.
type Finals = Vec<(String, f64, f64)>;

fn open(engine: &Engine) -> (StreamHandle, Receiver<StreamEvent>) {
    let (told, events) = unbounded();
    let sink = Arc::new(move |event| drop(told.send(event)));
    let stream = engine.open_stream(StreamOptions::default(), sink).unwrap();
    (stream, events)
}

fn finals(events: &Receiver<StreamEvent>) -> Finals {
    let mut finals = Vec::new();
    loop {
        match events.recv().unwrap() {
            StreamEvent::Final { transcript, .. } => {
                let speech = transcript.speech[0];
                finals.push((transcript.text, speech.start_ms, speech.end_ms));
            }
            StreamEvent::End(end) => {
                end.unwrap();
                return finals;
            }
            _ => {}
        }
    }
}

fn number(name: &str) -> Option<f64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn twenty_streams_of_speech_tell_what_each_tells_alone() {
    let minutes = number("STREAM_MINUTES").unwrap_or(2.0);
    let pace = number("STREAM_PACE");
    let speech: Vec<f32> = [common::wav("libri_moses"), common::wav("jfk")].concat();
    let pieces = (minutes * 60.0 * 50.0) as usize;
    // Each stream begins elsewhere, so that all are different.
    let piece = |stream: usize, index: usize| -> Vec<f32> {
        let from = stream * speech.len() / STREAMS + stream * 37 + index * PIECE_SAMPLES;
        (from..from + PIECE_SAMPLES)
            .map(|at| speech[at % speech.len()])
            .collect()
    };
    let engine = engine();
    let alone: Vec<Finals> = (0..STREAMS)
        .map(|stream| {
            let (mut handle, events) = open(&engine);
            for index in 0..pieces {
                handle.push_pcm(piece(stream, index));
                while handle.lag_ms() > 5000.0 {
                    std::thread::yield_now();
                }
            }
            handle.end();
            finals(&events)
        })
        .collect();
    assert!(
        alone
            .iter()
            .all(|finals| finals.len() as f64 >= minutes * 4.0)
    );

    let mut streams: Vec<_> = (0..STREAMS).map(|_| open(&engine)).collect();
    let begun = Instant::now();
    for index in 0..pieces {
        if let Some(pace) = pace {
            // The pace of the input, not a wait for anything.
            let due = begun + Duration::from_secs_f64(index as f64 * 0.02 / pace);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        for (stream, (handle, _)) in streams.iter().enumerate() {
            handle.push_pcm(piece(stream, index));
            while handle.lag_ms() > 5000.0 {
                std::thread::yield_now();
            }
        }
    }
    for (handle, _) in &mut streams {
        handle.end();
    }
    for ((_, events), alone) in streams.iter().zip(&alone) {
        assert_eq!(finals(events), *alone);
    }
}
