//! The detector against the silero-vad package itself, on real speech: the same probabilities and
//! the same segments. The reference was recorded by `scripts/make_fixtures.py`.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::ops::Range;

use opuscribe::cancel::Cancel;
use opuscribe::options::VadOptions;
use opuscribe::vad::{
    self, Boundary, Detection, Endpointer, Silero, Vad, VadState, WINDOW_SAMPLES,
};
use opuscribe::{ErrorKind, Result};

#[derive(serde::Deserialize)]
struct Reference {
    options: BTreeMap<String, ReferenceOptions>,
    inputs: Vec<Input>,
}

#[derive(serde::Deserialize)]
struct Input {
    name: String,
    probabilities: Vec<f32>,
    segments: BTreeMap<String, Vec<(usize, usize)>>,
}

/// The arguments of `get_speech_timestamps`, with its own defaults.
#[derive(serde::Deserialize)]
#[serde(default)]
struct ReferenceOptions {
    threshold: f32,
    neg_threshold: Option<f32>,
    min_speech_duration_ms: f64,
    min_silence_duration_ms: f64,
    speech_pad_ms: f64,
    max_speech_duration_s: f64,
}

impl Default for ReferenceOptions {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            neg_threshold: None,
            min_speech_duration_ms: 250.0,
            min_silence_duration_ms: 100.0,
            speech_pad_ms: 30.0,
            max_speech_duration_s: f64::INFINITY,
        }
    }
}

impl From<&ReferenceOptions> for VadOptions {
    fn from(options: &ReferenceOptions) -> Self {
        Self {
            threshold: options.threshold,
            neg_threshold: options.neg_threshold,
            min_speech_duration_ms: options.min_speech_duration_ms,
            min_silence_duration_ms: options.min_silence_duration_ms,
            speech_pad_ms: options.speech_pad_ms,
            max_speech_duration_s: options.max_speech_duration_s,
        }
    }
}

fn reference() -> Reference {
    serde_json::from_slice(&common::fixture("vad_reference.json")).unwrap()
}

fn silero() -> Silero {
    Silero::load(&common::onnx_runtime()).unwrap()
}

fn probabilities(silero: &mut Silero, pcm: &[f32]) -> Result<Vec<f32>> {
    let mut found = Vec::new();
    silero.probabilities(&mut VadState::default(), pcm, &mut found)?;
    Ok(found)
}

#[test]
fn probabilities_equal_the_reference() {
    let mut silero = silero();
    for input in reference().inputs {
        let pcm = common::wav(&input.name);
        let found = probabilities(&mut silero, &pcm).unwrap();
        assert_eq!(found.len(), input.probabilities.len(), "{}", input.name);
        for (found, expected) in found.iter().zip(&input.probabilities) {
            let apart = (found - expected).abs();
            assert!(apart < 1e-4, "{}: {apart}", input.name);
        }
    }
}

#[test]
fn segments_equal_the_reference_for_every_option_set() {
    let mut silero = silero();
    let reference = reference();
    let mut compared = 0;
    for input in &reference.inputs {
        let pcm = common::wav(&input.name);
        let probabilities = probabilities(&mut silero, &pcm).unwrap();
        for (name, options) in &reference.options {
            let options = options.into();
            let found = vad::segments(&probabilities, pcm.len(), &options);
            assert_eq!(found, in_pieces(&mut silero, &pcm, &options), "{name}");
            let expected = &input.segments[name];
            let what = format!("{} with {name}: {found:?} {expected:?}", input.name);
            assert_eq!(found.len(), expected.len(), "{what}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.start.abs_diff(expected.0) <= WINDOW_SAMPLES, "{what}");
                assert!(found.end.abs_diff(expected.1) <= WINDOW_SAMPLES, "{what}");
                compared += 1;
            }
        }
    }
    assert!(compared > 60, "only {compared} segments were compared");
}

/// Starts and ends as the reference draws them, and when in the audio they are told.
#[test]
fn a_stream_tells_the_references_boundaries_within_150_ms_of_what_shows_them() {
    const LATE_SAMPLES: f64 = 150.0 * 16.0;
    let mut silero = silero();
    let reference = reference();
    let mut compared = 0;
    for input in &reference.inputs {
        let pcm = common::wav(&input.name);
        for (name, options) in &reference.options {
            if options.max_speech_duration_s.is_finite() {
                continue;
            }
            let mut endpointer = Endpointer::new(&options.into());
            let mut state = VadState::default();
            let mut told = Vec::new();
            // Window by window, as it comes.
            for window in pcm.chunks(WINDOW_SAMPLES) {
                let mut found = Vec::new();
                silero
                    .probabilities(&mut state, window, &mut found)
                    .unwrap();
                if let Some(boundary) = endpointer.push(found[0]) {
                    let shown = match boundary {
                        Boundary::Start(at) => at as f64 + options.min_speech_duration_ms * 16.0,
                        Boundary::End(at) => at as f64 + options.min_silence_duration_ms * 16.0,
                    };
                    assert!(
                        endpointer.position() as f64 <= shown + LATE_SAMPLES,
                        "{name}"
                    );
                    told.push(boundary);
                }
            }
            let last = endpointer.flush();
            told.extend(last);
            let mut speech: Vec<Range<usize>> = told
                .chunks(2)
                .map(|pair| match pair {
                    [Boundary::Start(start), Boundary::End(end)] => *start..*end,
                    _ => panic!("{name}: {told:?}"),
                })
                .collect();
            if let (Some(_), Some(last)) = (last, speech.last_mut()) {
                // The reference takes a last pause along, which is too short to be told an end for.
                let pause = pcm.len().saturating_sub(last.end);
                assert!(pause as f64 <= options.min_silence_duration_ms * 16.0 + LATE_SAMPLES);
                last.end = pcm.len();
            }
            pad(
                &mut speech,
                (options.speech_pad_ms * 16.0) as usize,
                pcm.len(),
            );
            let expected = &input.segments[name];
            assert_eq!(speech.len(), expected.len(), "{name}: {told:?}");
            for (told, &(start, end)) in speech.iter().zip(expected) {
                let apart = told.start.abs_diff(start).max(told.end.abs_diff(end));
                assert!(apart <= WINDOW_SAMPLES, "{name}: {told:?} {start} {end}");
                compared += 2;
            }
        }
    }
    assert!(compared > 60, "only {compared} boundaries were compared");
}

/// Widens speech as the reference does: where two would meet they share the silence between them.
fn pad(speech: &mut [Range<usize>], pad: usize, samples: usize) {
    let mut before = pad;
    for index in 0..speech.len() {
        let next = speech.get(index + 1).map(|next| next.start);
        let gap = next.map_or(usize::MAX, |next| next - speech[index].end);
        let behind = if gap < 2 * pad { gap / 2 } else { pad };
        let one = &mut speech[index];
        one.start = one.start.saturating_sub(before);
        one.end = (one.end + behind).min(samples);
        before = behind;
    }
}

/// The segments of an input that comes as it does from the decoder of a long file.
fn in_pieces(silero: &mut Silero, pcm: &[f32], options: &VadOptions) -> Vec<Range<usize>> {
    let mut detection = Detection::new(Some(options));
    let mut found = Vec::new();
    let cancel = Cancel::never();
    for piece in pcm.chunks(100_001) {
        detection.push(silero, piece, &cancel, &mut found).unwrap();
    }
    detection.finish(silero, &cancel, &mut found).unwrap();
    found
}

/// A job's probabilities do not change when another input runs between its slices.
#[test]
fn state_belongs_to_the_job_not_to_the_session() {
    let mut silero = silero();
    let (one, two) = (common::wav("jfk"), common::wav("libri_moses"));
    let mut alone = || -> Result<Vec<Vec<f32>>> {
        [&one, &two]
            .into_iter()
            .map(|pcm| probabilities(&mut silero, pcm))
            .collect()
    };
    let expected = alone().unwrap();
    let mut states = [VadState::default(), VadState::default()];
    let mut found = [Vec::new(), Vec::new()];
    let slices = |pcm: &[f32]| -> Vec<Vec<f32>> {
        pcm.chunks(7 * WINDOW_SAMPLES)
            .map(<[f32]>::to_vec)
            .collect()
    };
    let (one, two) = (slices(&one), slices(&two));
    for slice in 0..one.len().max(two.len()) {
        for (speaker, slices) in [&one, &two].into_iter().enumerate() {
            if let Some(pcm) = slices.get(slice) {
                silero
                    .probabilities(&mut states[speaker], pcm, &mut found[speaker])
                    .unwrap();
            }
        }
    }
    assert_eq!(found.to_vec(), expected);
}

#[test]
fn a_model_with_wrong_tensors_is_refused() {
    let model = include_bytes!("../assets/silero_vad_16k_products.onnx");
    let renamed = replace(model, b"speech_probs", b"speech_probz");
    // The last dimension of `input`, 576 as protobuf's field 1.
    let reshaped = replace(model, &[0x08, 0xc0, 0x04], &[0x08, 0xc1, 0x04]);
    for (model, what) in [
        (renamed, "no tensor 'speech_probs'"),
        (reshaped, "VAD model"),
        (vec![1; 64], "cannot load"),
    ] {
        let Err(error) = Silero::from_bytes(&common::onnx_runtime(), &model) else {
            panic!("accepted: {what}")
        };
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        assert!(error.message().contains(what), "{error}");
    }
}

#[test]
fn a_missing_runtime_library_is_an_error_not_a_hang() {
    // In a process of its own: the first library that loads serves the whole process.
    if std::env::var_os("OPUSCRIBE_TEST_NO_RUNTIME").is_some() {
        let Err(error) = Silero::load(std::path::Path::new("/nowhere/libonnxruntime.so")) else {
            panic!("loaded")
        };
        assert_eq!(error.kind(), ErrorKind::DeviceUnavailable);
        return;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_missing_runtime_library_is_an_error_not_a_hang",
        ])
        .env("OPUSCRIBE_TEST_NO_RUNTIME", "1")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut replaced = bytes.to_vec();
    let mut hits = 0;
    for at in 0..bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from {
            replaced[at..at + from.len()].copy_from_slice(to);
            hits += 1;
        }
    }
    assert!(hits > 0);
    replaced
}
