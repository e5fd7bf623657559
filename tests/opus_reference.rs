//! Decoded samples against an independent decoder's, loss-free: `FFmpeg`'s own, which shares no code
//! with libopus. Made by `scripts/make_reference.py`.
#![allow(clippy::unwrap_used)]

mod common;

use opuscribe::audio::{MaxDuration, Source};

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    names: Vec<String>,
    min_snr_db: f32,
}

fn decoded(name: &str) -> Vec<f32> {
    let list = common::packets(name);
    let mut source = list.open(MaxDuration::from_ms(600_000.0)).unwrap();
    let mut pcm = Vec::new();
    while source.read(&mut pcm).unwrap() {}
    pcm
}

fn snr_db(pcm: &[f32], reference: &[f32]) -> f32 {
    let energy = |samples: &mut dyn Iterator<Item = f32>| samples.map(|s| s * s).sum::<f32>();
    let signal = energy(&mut reference.iter().copied());
    let noise = energy(&mut pcm.iter().zip(reference).map(|(a, b)| a - b));
    10.0 * (signal / noise).log10()
}

#[test]
fn decoded_samples_equal_an_independent_decoders() {
    let reference: Reference =
        serde_json::from_slice(&common::fixture("decode_reference.json")).unwrap();
    assert!(reference.names.len() >= 3);
    for name in &reference.names {
        let expected: Vec<f32> = common::fixture(&format!("{name}.reference.s16le"))
            .chunks_exact(2)
            .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
            .collect();
        let pcm = decoded(name);
        let snr = snr_db(&pcm, &expected);
        assert!(snr >= reference.min_snr_db, "{name}: {snr} dB");
        // The test would see a decoder that is off by one sample of 16 kHz.
        let shifted = snr_db(&pcm[1..], &expected);
        assert!(shifted < reference.min_snr_db, "{name}: {shifted} dB");
    }
}
