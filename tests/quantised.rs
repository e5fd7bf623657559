//! Quantised models: the same recordings, transcribed with weights of other types.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod common;

use std::path::{Path, PathBuf};

use opuscribe::cancel::Cancel;
use opuscribe::options::Device;
use opuscribe::whisper::{Recognizer, Request, Whisper};

const F16: i32 = 1;
const BLOCK: usize = 32;

/// ggml's number of the type, whisper.cpp's number of the file type, and how a block is packed.
struct Format {
    kind: i32,
    file_type: i32,
    pack: fn(&[f32]) -> Vec<u8>,
}

const Q8_0: Format = Format {
    kind: 8,
    file_type: 7,
    pack: |block| {
        let largest = block
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let mut bytes = half(scale).to_le_bytes().to_vec();
        bytes.extend(
            block
                .iter()
                .map(|value| (value * inverse).round() as i8 as u8),
        );
        bytes
    },
};

const Q5_1: Format = Format {
    kind: 7,
    file_type: 9,
    pack: |block| {
        let least = block.iter().copied().fold(f32::MAX, f32::min);
        let most = block.iter().copied().fold(f32::MIN, f32::max);
        let scale = (most - least) / 31.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let level = |value: f32| ((value - least) * inverse + 0.5) as u32;
        let mut bytes = half(scale).to_le_bytes().to_vec();
        bytes.extend(half(least).to_le_bytes());
        let (low, high) = block.split_at(BLOCK / 2);
        let mut fifth = 0_u32;
        let mut nibbles = Vec::new();
        for (index, (&low, &high)) in low.iter().zip(high).enumerate() {
            let (low, high) = (level(low).min(31), level(high).min(31));
            fifth |= (low >> 4) << index | (high >> 4) << (index + BLOCK / 2);
            nibbles.push((low & 15 | (high & 15) << 4) as u8);
        }
        bytes.extend(fifth.to_le_bytes());
        bytes.extend(nibbles);
        bytes
    },
};

/// Rounds towards zero: good enough for a scale.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    if exponent <= 0 {
        // Subnormal: a multiple of 2^-24.
        return sign | (value.abs() * 16_777_216.0) as u16;
    }
    sign | (exponent.min(30) as u16) << 10 | (bits >> 13 & 0x3ff) as u16
}

fn single(bits: [u8; 2]) -> f32 {
    let bits = u16::from_le_bytes(bits);
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 0x3ff));
    let value = match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        _ => (1024.0 + fraction) * 2.0_f32.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

/// Copies a model of 16-bit weights with its matrices packed.
fn quantise(model: &Path, format: &Format) -> Vec<u8> {
    let bytes = std::fs::read(model).expect("no model: run `npm run setup`");
    let mut rest = bytes.as_slice();
    let mut packed = Vec::new();
    let take = |rest: &mut &[u8], count: usize| {
        let (taken, left) = rest.split_at(count);
        *rest = left;
        taken.to_vec()
    };
    let number = |bytes: &[u8]| i32::from_le_bytes(bytes[..4].try_into().unwrap());
    let mut header = take(&mut rest, 48);
    header[44..].copy_from_slice(&(2000 + format.file_type).to_le_bytes());
    packed.extend(header);
    let filters = take(&mut rest, 8);
    let count = number(&filters) * number(&filters[4..]);
    packed.extend(filters);
    packed.extend(take(&mut rest, count as usize * 4));
    let tokens = take(&mut rest, 4);
    packed.extend(&tokens);
    for _ in 0..number(&tokens) {
        let length = take(&mut rest, 4);
        packed.extend(&length);
        packed.extend(take(&mut rest, number(&length) as usize));
    }
    while !rest.is_empty() {
        let head = take(&mut rest, 12);
        let (dimensions, name, kind) = (number(&head), number(&head[4..]), number(&head[8..]));
        let shape = take(&mut rest, 4 * dimensions as usize);
        let elements: i32 = shape.chunks_exact(4).map(number).product();
        let name = take(&mut rest, name as usize);
        let size = if kind == F16 { 2 } else { 4 };
        let data = take(&mut rest, elements as usize * size);
        let is_matrix = kind == F16 && dimensions == 2;
        packed.extend(&head[..8]);
        packed.extend(if is_matrix { format.kind } else { kind }.to_le_bytes());
        packed.extend(shape);
        packed.extend(name);
        if is_matrix {
            let values: Vec<f32> = data
                .chunks_exact(2)
                .map(|two| single([two[0], two[1]]))
                .collect();
            packed.extend(
                values
                    .chunks_exact(BLOCK)
                    .flat_map(|block| (format.pack)(block)),
            );
        } else {
            packed.extend(data);
        }
    }
    packed
}

fn model() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    cache.join("opuscribe/models/ggml-tiny.en.bin")
}

fn transcribe(format: &Format, name: &str) -> String {
    let path = std::env::temp_dir().join(format!("opuscribe-{}-{name}.bin", std::process::id()));
    std::fs::write(&path, quantise(&model(), format)).unwrap();
    let whisper = Whisper::load(&path, Device::Cpu, 1, 2);
    std::fs::remove_file(&path).unwrap();
    let heard =
        whisper
            .unwrap()
            .recognize(&common::wav("jfk"), &Request::default(), &Cancel::never());
    let segments = heard.unwrap().segments.into_iter();
    segments
        .map(|segment| segment.text.to_lowercase())
        .collect()
}

#[test]
fn models_with_quantised_weights_are_taken() {
    for (format, name) in [(&Q8_0, "q8_0"), (&Q5_1, "q5_1")] {
        let text = transcribe(format, name);
        println!("{name}: {text}");
        for part in [
            "fellow americans",
            "ask not what your country can do for you",
            "what you can do",
        ] {
            assert!(text.contains(part), "{name}: {text}");
        }
    }
}
