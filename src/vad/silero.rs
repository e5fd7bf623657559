//! Silero VAD on ONNX Runtime. The only file that names `ort`.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::value::{Outlet, Tensor, ValueType};

use super::{CONTEXT_SAMPLES, RECURRENT_SIZE, Vad, VadState, WINDOW_SAMPLES};
use crate::error::{Error, ErrorKind, Result};

/// The network of silero-vad 6.2.3, MIT, its convolutions written as products: `scripts/make_vad.py`.
const MODEL: &[u8] = include_bytes!("../../assets/silero_vad_16k_products.onnx");
/// A second of public-domain speech, 16-bit 16 kHz mono, for the self-check.
const KNOWN_SPEECH: &[u8] = include_bytes!("../../assets/known_speech.s16le");

/// What the reference package gives for each of its windows.
const KNOWN_PROBABILITIES: [f32; 32] = [
    0.228, 0.258, 0.195, 0.135, 0.093, 0.063, 0.050, 0.049, 0.061, 0.113, 0.600, 0.671, 0.613,
    0.716, 0.649, 0.299, 0.189, 0.112, 0.067, 0.041, 0.056, 0.166, 0.641, 0.919, 0.976, 0.976,
    0.977, 0.974, 0.966, 0.964, 0.946, 0.701,
];
/// Without the context the same windows are off by up to 0.25.
const SELF_CHECK_TOLERANCE: f32 = 0.02;
const SELF_CHECK_SILENCE: f32 = 0.1;

const INPUT_SAMPLES: usize = CONTEXT_SAMPLES + WINDOW_SAMPLES;

/// The network and the session that runs it.
pub struct Silero {
    session: Session,
    /// The windows of one call with their contexts, kept to save the allocation.
    input: Vec<f32>,
}

impl Silero {
    /// Loads the embedded model with the ONNX Runtime library at `onnx_runtime` and checks it.
    pub fn load(onnx_runtime: &Path) -> Result<Self> {
        Self::from_bytes(onnx_runtime, MODEL)
    }

    /// Loads any sequence model of the same interface.
    pub fn from_bytes(onnx_runtime: &Path, model: &[u8]) -> Result<Self> {
        let environment = environment(onnx_runtime)?;
        let session = session(&environment, model).map_err(|cause| {
            Error::new(
                ErrorKind::ModelInvalid,
                "ONNX Runtime cannot load the VAD model",
            )
            .caused_by(cause)
        })?;
        check_interface(&session)?;
        let mut silero = Self {
            session,
            input: Vec::new(),
        };
        silero.self_check()?;
        Ok(silero)
    }

    /// A network that is fed wrongly answers all the same, so it must give the known answers first.
    fn self_check(&mut self) -> Result<()> {
        let speech: Vec<f32> = KNOWN_SPEECH
            .chunks_exact(2)
            .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
            .collect();
        let found = self.fresh(&speech)?;
        let silence = self.fresh(&vec![0.0; 16 * WINDOW_SAMPLES])?;
        if is_right(&found, &silence) {
            return Ok(());
        }
        let furthest = apart(&found).fold(0.0, f32::max);
        let loudest = silence.into_iter().fold(0.0, f32::max);
        Err(Error::new(
            ErrorKind::ModelInvalid,
            format!(
                "the VAD model is off by {furthest:.3} on known speech and gives {loudest:.3} for \
                 silence; it cannot be trusted with this ONNX Runtime"
            ),
        ))
    }

    fn fresh(&mut self, pcm: &[f32]) -> Result<Vec<f32>> {
        let mut probabilities = Vec::new();
        self.probabilities(&mut VadState::default(), pcm, &mut probabilities)?;
        Ok(probabilities)
    }

    /// Lays out `pcm` in windows, each behind the last samples of the one before.
    fn lay_out(&mut self, state: &VadState, pcm: &[f32]) {
        self.input.clear();
        let mut context = state.context.as_slice();
        for window in pcm.chunks(WINDOW_SAMPLES) {
            self.input.extend_from_slice(context);
            self.input.extend_from_slice(window);
            self.input
                .resize(self.input.len() + WINDOW_SAMPLES - window.len(), 0.0);
            // Only the last window can be short, and its context is taken from the padded input.
            context = window
                .last_chunk::<CONTEXT_SAMPLES>()
                .map_or(&[], |last| last);
        }
    }

    fn run(&mut self, state: &mut VadState, probabilities: &mut Vec<f32>) -> ort::Result<()> {
        let windows = self.input.len() / INPUT_SAMPLES;
        let recurrent = |values: &[f32; RECURRENT_SIZE]| {
            Tensor::from_array(([1, 1, RECURRENT_SIZE], values.to_vec()))
        };
        let outputs = self.session.run(ort::inputs![
            "input" => Tensor::from_array(([windows, INPUT_SAMPLES], self.input.clone()))?,
            "h" => recurrent(&state.hidden)?,
            "c" => recurrent(&state.cell)?,
        ])?;
        let (_, speech) = outputs["speech_probs"].try_extract_tensor::<f32>()?;
        let (_, hidden) = outputs["hn"].try_extract_tensor::<f32>()?;
        let (_, cell) = outputs["cn"].try_extract_tensor::<f32>()?;
        probabilities.extend_from_slice(speech);
        state.hidden.copy_from_slice(hidden);
        state.cell.copy_from_slice(cell);
        Ok(())
    }
}

fn apart(found: &[f32]) -> impl Iterator<Item = f32> {
    let pairs = found.iter().zip(KNOWN_PROBABILITIES);
    pairs.map(|(found, known)| (found - known).abs())
}

/// Written so that what is not a number fails too.
fn is_right(speech: &[f32], silence: &[f32]) -> bool {
    speech.len() == KNOWN_PROBABILITIES.len()
        && apart(speech).all(|apart| apart <= SELF_CHECK_TOLERANCE)
        && silence.iter().all(|&loud| loud <= SELF_CHECK_SILENCE)
}

impl Vad for Silero {
    fn probabilities(
        &mut self,
        state: &mut VadState,
        pcm: &[f32],
        probabilities: &mut Vec<f32>,
    ) -> Result<()> {
        if pcm.is_empty() {
            return Ok(());
        }
        self.lay_out(state, pcm);
        self.run(state, probabilities).map_err(|cause| {
            Error::new(
                ErrorKind::WorkerFailed,
                "ONNX Runtime failed to run the VAD model",
            )
            .caused_by(cause)
        })?;
        if let Some(last) = self.input.last_chunk() {
            state.context = *last;
        }
        Ok(())
    }
}

/// The one environment of this process: ort refuses a second, so it is never dropped, and every
/// engine of every thread shares it. The lock is held while the library loads, on the VAD threads
/// of engines that are just being opened.
fn environment(onnx_runtime: &Path) -> Result<Environment> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*environment {
        return Ok(environment.clone());
    }
    // Looked for first: ort would search the system for a relative path, and finds on Windows an
    // onnxruntime.dll of the system's own.
    if !onnx_runtime.is_absolute() || !onnx_runtime.is_file() {
        return Err(Error::new(
            ErrorKind::DeviceUnavailable,
            format!(
                "no ONNX Runtime library at '{}'; install the package onnxruntime-node or set \
                 ORT_DYLIB_PATH to the library's absolute path",
                onnx_runtime.display()
            ),
        ));
    }
    switch_telemetry_off();
    let unusable = |cause: ort::Error| {
        Error::new(
            ErrorKind::DeviceUnavailable,
            format!(
                "cannot use the ONNX Runtime library '{}'",
                onnx_runtime.display()
            ),
        )
        .caused_by(cause)
    };
    // ort panics where a file loads that is no ONNX Runtime.
    let built = std::panic::catch_unwind(|| {
        ort::init_from(onnx_runtime)
            .map_err(|cause| ort::Error::new(cause.to_string()))?
            .with_name("opuscribe")
            .with_telemetry(false)
            .build()
    });
    let built = built
        .unwrap_or_else(|_| Err(ort::Error::new("it is no ONNX Runtime that can be loaded")))
        .map_err(unusable)?;
    Ok(environment.insert(built).clone())
}

/// Since 1.29 the library for Linux and macOS reads the machine's id, writes files and calls
/// Microsoft from the moment its environment is made, before its API can be told not to. What it
/// obeys is this variable, unless somebody has set it already.
fn switch_telemetry_off() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: std's and glibc's own writers are kept apart by locks; a C library that reads the
        // environment in this very moment is not. js/native.ts sets the variable first, on the main
        // thread, so that this is left to workers that load the addon alone, once in a process.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(VARIABLE, "1");
        }
    }
}

fn session(environment: &Environment, model: &[u8]) -> ort::Result<Session> {
    // One thread without spinning: the network is too small to share, and idle cores must idle.
    Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_config_entry("session.intra_op.allow_spinning", "0")?
        .commit_from_memory(model)
}

/// The tensors that [`Silero::run`] relies on, by name and shape; -1 is any size.
fn check_interface(session: &Session) -> Result<()> {
    let inputs: [(&str, &[i64]); 3] = [
        ("input", &[-1, INPUT_SAMPLES as i64]),
        ("h", &[1, 1, RECURRENT_SIZE as i64]),
        ("c", &[1, 1, RECURRENT_SIZE as i64]),
    ];
    let outputs: [(&str, &[i64]); 3] = [
        ("speech_probs", &[-1]),
        ("hn", &[1, 1, RECURRENT_SIZE as i64]),
        ("cn", &[1, 1, RECURRENT_SIZE as i64]),
    ];
    for (found, expected) in [(session.inputs(), inputs), (session.outputs(), outputs)] {
        for (name, shape) in expected {
            check_tensor(found, name, shape)?;
        }
    }
    Ok(())
}

fn check_tensor(found: &[Outlet], name: &str, expected: &[i64]) -> Result<()> {
    let invalid = |what: String| Error::new(ErrorKind::ModelInvalid, what);
    let Some(outlet) = found.iter().find(|outlet| outlet.name() == name) else {
        let names: Vec<_> = found.iter().map(Outlet::name).collect();
        return Err(invalid(format!(
            "the VAD model has no tensor '{name}', only {}",
            names.join(", ")
        )));
    };
    let ValueType::Tensor { shape, .. } = outlet.dtype() else {
        return Err(invalid(format!("'{name}' of the VAD model is no tensor")));
    };
    let fits = shape.len() == expected.len()
        && shape
            .iter()
            .zip(expected)
            .all(|(found, expected)| found == expected || *found == -1 || *expected == -1);
    if !fits {
        return Err(invalid(format!(
            "tensor '{name}' of the VAD model has shape {shape:?}; expected {expected:?}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_wrong_or_gives_no_numbers_does_not_pass() {
        let silence = [0.01; 16];
        assert!(is_right(&KNOWN_PROBABILITIES, &silence));
        assert!(!is_right(&KNOWN_PROBABILITIES[1..], &silence));
        for wrong in [f32::NAN, 0.9] {
            let mut speech = KNOWN_PROBABILITIES;
            speech[7] = wrong;
            assert!(!is_right(&speech, &silence));
            assert!(!is_right(&KNOWN_PROBABILITIES, &[0.01, wrong]));
        }
    }
}
