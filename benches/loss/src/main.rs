//! Encodes speech, drops packets and decodes the rest, in every way that the decoder could.
//!
//!     loss encode KBITS FEC_PERCENT SAMPLES PACKETS
//!     loss decode PACKETS PATTERN SEED COMPLEXITY FEC LIMIT_MS SAMPLES
//!     loss cost   PACKETS PATTERN SEED COMPLEXITY FEC LIMIT_MS
//!
//! SAMPLES are 16-bit little-endian at 16 kHz, mono. In PACKETS each stands behind its length as
//! uint16 little-endian. PATTERN is that of `pattern.rs`, FEC 0 or 1. `encode` prints how many
//! packets carry FEC, and of how many; `cost` the milliseconds per second of audio. `run.mjs` calls
//! all this.

mod codec;
mod pattern;

use codec::{Decoder, PACKET_MS, PACKET_SAMPLES};
use pattern::Pattern;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::Instant;

const COST_ROUNDS: usize = 5;

/// How to bridge a gap.
struct Bridge {
    complexity: i32,
    /// Take the last packet of a gap from the one behind it.
    fec: bool,
    /// Beyond this much of a gap comes silence.
    limit_ms: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["encode", kbits, percent, samples, packets] => {
            let encoded = codec::encode(&read_samples(samples)?, kbits.parse()?, percent.parse()?)?;
            let with_fec = encoded.iter().filter(|packet| codec::has_fec(packet));
            println!("{} {}", with_fec.count(), encoded.len());
            write_packets(packets, &encoded)?;
        }
        ["decode", packets, ref how @ .., samples] => {
            let packets = read_packets(packets)?;
            let (lost, bridge) = parse(how, packets.len())?;
            write_samples(samples, &decode(&packets, &lost, &bridge)?)?;
        }
        ["cost", packets, ref how @ ..] => {
            let packets = read_packets(packets)?;
            let (lost, bridge) = parse(how, packets.len())?;
            println!("{}", cost(&packets, &lost, &bridge)?);
        }
        _ => return Err("what main.rs says at its top is expected".into()),
    }
    Ok(())
}

fn parse(how: &[&str], packets: usize) -> Result<(Vec<bool>, Bridge), Box<dyn Error>> {
    let [pattern, seed, complexity, fec, limit_ms] = how else {
        return Err("PATTERN SEED COMPLEXITY FEC LIMIT_MS are expected".into());
    };
    let bridge = Bridge {
        complexity: complexity.parse()?,
        fec: *fec == "1",
        limit_ms: limit_ms.parse()?,
    };
    if bridge.complexity >= 5 && !cfg!(feature = "neural") {
        return Err("complexity 5 and above means nothing without the feature `neural`".into());
    }
    let losses = Pattern::parse(pattern)?.losses(packets, seed.parse()?);
    Ok((losses, bridge))
}

/// What `src/opus/stream.rs` does, with every choice open.
fn decode(packets: &[Vec<u8>], lost: &[bool], bridge: &Bridge) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut decoder = Decoder::new(bridge.complexity)?;
    let mut pcm = vec![0.0; packets.len() * PACKET_SAMPLES];
    let mut gap_ms = 0;
    for (index, out) in pcm.chunks_exact_mut(PACKET_SAMPLES).enumerate() {
        if !lost[index] {
            decoder.decode(&packets[index], out, false)?;
            gap_ms = 0;
            continue;
        }
        gap_ms += PACKET_MS;
        let next = packets
            .get(index + 1)
            .filter(|next| bridge.fec && !lost[index + 1] && codec::has_fec(next));
        if let Some(next) = next {
            decoder.decode(next, out, true)?;
        } else if gap_ms <= bridge.limit_ms {
            decoder.conceal(out)?;
        }
    }
    Ok(pcm)
}

/// Milliseconds for each second of audio: the best of several rounds, on one thread.
fn cost(packets: &[Vec<u8>], lost: &[bool], bridge: &Bridge) -> Result<f64, Box<dyn Error>> {
    let mut best = f64::MAX;
    for _ in 0..COST_ROUNDS {
        let start = Instant::now();
        black_box(decode(packets, lost, bridge)?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best * 1e6 / (packets.len() * PACKET_MS) as f64)
}

fn read_packets(path: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let mut rest = &bytes[..];
    let mut packets = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (packet, behind) = behind
            .split_at_checked(u16::from_le_bytes(*length).into())
            .ok_or("the last packet is cut")?;
        packets.push(packet.to_vec());
        rest = behind;
    }
    Ok(packets)
}

fn write_packets(path: &str, packets: &[Vec<u8>]) -> std::io::Result<()> {
    let framed = |packet: &Vec<u8>| [&(packet.len() as u16).to_le_bytes(), &packet[..]].concat();
    fs::write(path, packets.iter().flat_map(framed).collect::<Vec<u8>>())
}

fn read_samples(path: &str) -> std::io::Result<Vec<i16>> {
    let bytes = fs::read(path)?;
    let (samples, _) = bytes.as_chunks();
    Ok(samples
        .iter()
        .map(|bytes| i16::from_le_bytes(*bytes))
        .collect())
}

fn write_samples(path: &str, pcm: &[f32]) -> std::io::Result<()> {
    let bytes = pcm
        .iter()
        .map(|sample| (sample * 32768.0).round() as i16)
        .flat_map(i16::to_le_bytes);
    fs::write(path, bytes.collect::<Vec<u8>>())
}
