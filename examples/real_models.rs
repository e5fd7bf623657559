//! An engine with its real models on every path through the native libraries, for memory checkers:
//! `node scripts/sanitize.mjs`. What the text is, other tests say.
//!
//! ```text
//! cargo run --no-default-features --example real_models -- MODEL
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use opuscribe::engine::{Engine, Input, JobHandle};
use opuscribe::options::{EngineOptions, JobOptions};
use opuscribe::opus::PacketList;
use opuscribe::opus::framing::{self, Framing};
use opuscribe::transcript::Transcript;
use opuscribe::{ErrorKind, Result};

/// 2.6 s of 20 ms each: a sentence for the smallest size of the encoder.
const PACKETS: usize = 130;

fn main() {
    let model = std::env::args_os().nth(1).unwrap();
    let mut options = EngineOptions::new(model, common::onnx_runtime());
    // Valgrind runs one thread at a time, and whisper.cpp's wait for each other by spinning.
    options.threads = Some(1);
    let engine = Engine::open(options.clone(), None).unwrap();
    let whole = packets_of("jfk");

    let plain = transcribe(&engine, opus(&whole), JobOptions::default());
    assert!(!plain.text.is_empty());
    println!("plain: {}", plain.text);
    let beam = JobOptions {
        beam_size: 2,
        initial_prompt: Some("An inaugural address.".into()),
        ..JobOptions::default()
    };
    println!("beam: {}", transcribe(&engine, opus(&whole), beam).text);
    // Above 0 each window gets a state of its own, which is freed with it.
    let sampled = JobOptions {
        temperatures: vec![0.4],
        ..JobOptions::default()
    };
    println!(
        "sampled: {}",
        transcribe(&engine, opus(&whole), sampled).text
    );
    let words = JobOptions {
        word_timestamps: true,
        ..JobOptions::default()
    };
    let timed = transcribe(&engine, opus(&whole), words);
    println!("words: {:?}", timed.segments[0].words);
    let damaged = transcribe(&engine, opus(&damage(whole.clone())), JobOptions::default());
    println!("damaged: {} {:?}", damaged.text, damaged.packets.unwrap());
    abort(&engine, &whole, plain.timings.inference_ms);
    engine.close(true);

    // What the process keeps of the first engine serves the second, which closes with a job in it.
    let engine = Engine::open(options, None).unwrap();
    let running = submit(&engine, opus(&whole), JobOptions::default());
    wait_for_inference(&engine, 0.0);
    drop(engine);
    drop(running);
    println!("closed");
}

/// Aborts a job in the encoder, of work that took `inference_ms` before; whisper.cpp asks whether
/// to go on when the encoder is done.
fn abort(engine: &Engine, packets: &[Option<Vec<u8>>], inference_ms: f64) {
    let before = engine.stats().snapshot();
    let job = submit(engine, opus(packets), JobOptions::default());
    let canceller = job.canceller();
    wait_for_inference(engine, before.vad_ms);
    std::thread::sleep(Duration::from_secs_f64(inference_ms / 4.0 / 1000.0));
    canceller.abort();
    let error = wait(engine, job).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Aborted);
    while engine.stats().snapshot().queued + engine.stats().snapshot().running > 0 {
        std::thread::yield_now();
    }
    let took_ms = engine.stats().snapshot().inference_ms - before.inference_ms;
    assert!(took_ms > 0.0, "given up before Whisper had the job");
    println!("aborted after {took_ms:.0} of {inference_ms:.0} ms");
}

/// The detector is done with the job's only piece: Whisper is next.
fn wait_for_inference(engine: &Engine, vad_ms: f64) {
    while engine.stats().snapshot().vad_ms <= vad_ms {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn transcribe(engine: &Engine, input: Input, options: JobOptions) -> Transcript {
    let job = submit(engine, input, options);
    wait(engine, job).unwrap()
}

fn submit(engine: &Engine, input: Input, options: JobOptions) -> JobHandle {
    engine.submit(input, options, None).unwrap()
}

fn wait(engine: &Engine, job: JobHandle) -> Result<Transcript> {
    let (sender, receiver) = std::sync::mpsc::channel();
    engine.deliver(job, move |result| sender.send(result).unwrap());
    receiver.recv().unwrap()
}

fn packets_of(name: &str) -> Vec<Option<Vec<u8>>> {
    let bytes = common::fixture(&format!("{name}.packets"));
    let ranges = framing::split(&bytes, &Framing::default()).unwrap();
    let packets = ranges.into_iter().take(PACKETS);
    packets
        .map(|range| range.map(|range| bytes[range].to_vec()))
        .collect()
}

/// Lost packets are concealed, and what is no packet at all is counted.
fn damage(mut packets: Vec<Option<Vec<u8>>>) -> Vec<Option<Vec<u8>>> {
    for index in (5..packets.len()).step_by(10) {
        packets[index] = None;
    }
    for index in (8..packets.len()).step_by(10) {
        packets[index] = packets[index]
            .take()
            .map(|packet| packet[..packet.len() / 2].to_vec());
    }
    packets[20] = Some(vec![0xff; 3]);
    packets
}

fn opus(packets: &[Option<Vec<u8>>]) -> Input {
    let mut list = PacketList::default();
    for packet in packets {
        list.push(packet.as_deref());
    }
    Input::Packets(list)
}
