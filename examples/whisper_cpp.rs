//! whisper.cpp itself as a peer of `npm run bench`: what its command line does, with the weights in
//! memory. Its own programs are not in the source that `whisper-rs-sys` has.
//!
//! Speaks the protocol of `benches/peers/child.mjs`, one JSON object a line on stdin and stdout.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde::Deserialize;
use serde_json::{Value, json};
use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Request {
    Open(Open),
    Run(Recording),
    Many(Many),
    Peak {},
}

#[derive(Deserialize)]
struct Open {
    ggml: String,
    threads: i32,
    variant: String,
    /// On the first GPU of the backend that is compiled in.
    #[serde(default)]
    gpu: bool,
}

#[derive(Deserialize)]
struct Recording {
    wav: String,
    language: Option<String>,
}

#[derive(Deserialize)]
struct Many {
    recordings: Vec<Recording>,
}

struct Whisper {
    state: WhisperState,
    multilingual: bool,
    threads: i32,
    strategy: SamplingStrategy,
}

fn main() {
    whisper_rs::install_logging_hooks();
    let mut whisper = None;
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&mut whisper, serde_json::from_str(&line.unwrap()).unwrap());
        println!("{answer}");
        std::io::stdout().flush().unwrap();
    }
}

fn answer(whisper: &mut Option<Whisper>, request: Request) -> Value {
    match request {
        Request::Open(open) => {
            let before = Instant::now();
            *whisper = Some(Whisper::open(&open));
            let version = whisper_rs::WHISPER_CPP_VERSION;
            json!({
                "ready": true,
                "ms": milliseconds(before.elapsed()),
                "versions": { "whisper.cpp": version },
                "system": whisper_rs::print_system_info(),
            })
        }
        Request::Run(recording) => {
            let pcm = read(&recording.wav);
            let whisper = whisper.as_mut().unwrap();
            let (text, wall, processor) = timed(|| whisper.transcribe(&pcm, &recording));
            json!({ "text": text, "ms": milliseconds(wall), "cpuMs": milliseconds(processor) })
        }
        // One after the other, as whisper.cpp's own server does: a context has one state.
        Request::Many(many) => {
            let pcm: Vec<_> = many.recordings.iter().map(|one| read(&one.wav)).collect();
            let whisper = whisper.as_mut().unwrap();
            let ((), wall, processor) = timed(|| {
                for (recording, pcm) in many.recordings.iter().zip(&pcm) {
                    whisper.transcribe(pcm, recording);
                }
            });
            json!({ "ms": milliseconds(wall), "cpuMs": milliseconds(processor) })
        }
        Request::Peak {} => json!({ "peakMb": peak_mb() }),
    }
}

impl Whisper {
    fn open(open: &Open) -> Self {
        let mut parameters = WhisperContextParameters::default();
        // As the command line of this version has it.
        parameters.use_gpu(open.gpu).flash_attn(true);
        let context = WhisperContext::new_with_params(&open.ggml, parameters).unwrap();
        Self {
            state: context.create_state().unwrap(),
            multilingual: context.is_multilingual(),
            threads: open.threads,
            strategy: match open.variant.as_str() {
                "greedy" => SamplingStrategy::Greedy { best_of: 5 },
                "beam5" => SamplingStrategy::BeamSearch {
                    beam_size: 5,
                    patience: -1.0,
                },
                other => panic!("no variant {other}"),
            },
        }
    }

    /// The whole recording in windows of 30 s, temperature fallback and all.
    fn transcribe(&mut self, pcm: &[f32], recording: &Recording) -> String {
        let mut params = FullParams::new(self.strategy.clone());
        params.set_n_threads(self.threads);
        params.set_print_progress(false);
        params.set_print_timestamps(false);
        params.set_language(match (&recording.language, self.multilingual) {
            (Some(language), true) => Some(language),
            (None, true) => Some("auto"),
            (_, false) => Some("en"),
        });
        self.state.full(params, pcm).unwrap();
        let segments = self.state.as_iter();
        let text: String = segments
            .map(|segment| segment.to_str_lossy().unwrap().into_owned())
            .collect();
        text.trim().to_owned()
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration, Duration) {
    let (wall, processor) = (Instant::now(), ProcessTime::now());
    let result = work();
    (result, wall.elapsed(), processor.elapsed())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// 16-bit mono at 16 kHz behind a header of 44 bytes, as `benches/peers/recordings.py` writes it.
fn read(wav: &str) -> Vec<f32> {
    std::fs::read(wav).unwrap()[44..]
        .chunks_exact(2)
        .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
        .collect()
}

/// Linux alone says it without a C API.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
