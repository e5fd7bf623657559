//! What whisper.cpp itself writes with its command line's defaults: greedy, the full 30 s window,
//! the whole recording in one call, no VAD. The yardstick of `__test__/accuracy.spec.ts`.
//!
//! ```text
//! cargo run --release --no-default-features --example whisper_cpp_greedy -- MODEL FILE...
//! ```
//!
//! FILE is a `.packets` fixture, or raw 16 kHz mono s16le. Prints one JSON object.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use opuscribe::audio::{MaxDuration, Source};
use opuscribe::opus::PacketList;
use opuscribe::opus::framing::{self, Framing};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().unwrap();
    whisper_rs::install_logging_hooks();
    let context =
        WhisperContext::new_with_params(&model, WhisperContextParameters::default()).unwrap();
    let texts: BTreeMap<String, String> = arguments
        .map(|file| {
            let path = Path::new(&file);
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, transcribe(&context, &pcm(path)))
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&texts).unwrap());
}

fn transcribe(context: &WhisperContext, pcm: &[f32]) -> String {
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 5 });
    params.set_print_progress(false);
    params.set_print_timestamps(false);
    if context.is_multilingual() {
        params.set_language(None);
    }
    let mut state = context.create_state().unwrap();
    state.full(params, pcm).unwrap();
    state
        .as_iter()
        .map(|segment| segment.to_str_lossy().unwrap().into_owned())
        .collect::<String>()
        .trim()
        .to_owned()
}

fn pcm(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    if path
        .extension()
        .is_none_or(|extension| extension != "packets")
    {
        return bytes
            .chunks_exact(2)
            .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
            .collect();
    }
    let mut list = PacketList::default();
    for packet in framing::split(&bytes, &Framing::default()).unwrap() {
        list.push(packet.map(|range| &bytes[range]));
    }
    let mut source = list.open(MaxDuration::from_ms(3_600_000.0)).unwrap();
    let mut pcm = Vec::new();
    while source.read(&mut pcm).unwrap() {}
    pcm
}
