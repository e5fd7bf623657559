//! What the tests with real models and recordings share.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::PathBuf;

use opuscribe::opus::PacketList;
use opuscribe::opus::framing::{self, Framing};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = root().join("__test__/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// 16-bit mono samples behind the 44-byte header that Python's wave module writes.
pub fn wav(name: &str) -> Vec<f32> {
    fixture(&format!("{name}.wav"))[44..]
        .chunks_exact(2)
        .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
        .collect()
}

pub fn packets(name: &str) -> PacketList {
    let bytes = fixture(&format!("{name}.packets"));
    let mut list = PacketList::default();
    for packet in framing::split(&bytes, &Framing::default()).unwrap() {
        list.push(packet.map(|range| &bytes[range]));
    }
    list
}

/// The library that `npm ci` has put into `node_modules`, or the one the environment names.
pub fn onnx_runtime() -> PathBuf {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return path.into();
    }
    let (os, file) = match std::env::consts::OS {
        "macos" => ("darwin", "libonnxruntime.1.dylib"),
        "windows" => ("win32", "onnxruntime.dll"),
        _ => ("linux", "libonnxruntime.so.1"),
    };
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    root()
        .join("node_modules/onnxruntime-node/bin/napi-v6")
        .join(os)
        .join(arch)
        .join(file)
}
