//! Whisper on whisper.cpp.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::path::Path;
use std::ptr::from_ref;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

use super::guard::{self, Attempt};
use super::interrupt::{self, is_cancelled, stop_before_encoding, while_wanted};
use super::window::audio_positions;
use super::{Recognition, Recognizer, RecognizerInfo, Request, WindowSegment, model_file};
use crate::audio::SAMPLE_RATE_HZ;
use crate::cancel::Cancel;
use crate::cpu::CpuLevel;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Device;

/// Decoders that sample in parallel at temperatures above 0; whisper.cpp's own default.
const BEST_OF: c_int = 5;
/// whisper.cpp gives no text for less than 100 ms, and little for less than a second.
const MIN_SAMPLES: usize = SAMPLE_RATE_HZ as usize;
/// Prompt tokens that count (whisper.cpp: half the text context, less one).
const MAX_PROMPT_TOKENS: usize = 223;
/// The end of a prompt that is tokenised: more than the tokens that count can hold, and little
/// enough for whisper.cpp's recursive regular expressions on a 16 MB stack.
const PROMPT_TAIL_BYTES: usize = 4096;
const MILLISECONDS_PER_CENTISECOND: i64 = 10;

/// Version of the bundled whisper.cpp.
#[must_use]
pub fn library_version() -> &'static str {
    whisper_rs::WHISPER_CPP_VERSION
}

/// A Whisper model and the one state it runs on.
///
/// The state is reused by every window that is decoded greedily. What whisper.cpp carries over from
/// one run of a state to the next is ruled out: the padding of the attention cache by the sizes of
/// [`audio_positions`], the random generator by a fresh state for whatever draws from it.
pub struct Whisper {
    context: WhisperContext,
    state: WhisperState,
    threads: c_int,
    info: RecognizerInfo,
    /// Parameters by language and strategy. `set_language` leaks its string, so it is called once
    /// for each pair that is used, not once for each window.
    params: HashMap<(&'static str, Strategy), FullParams<'static, 'static>>,
}

impl Whisper {
    /// Loads the model at `path`, after checking the file, and runs it once.
    pub fn load(path: &Path, device: Device, threads: usize) -> Result<Self> {
        if device == Device::Gpu {
            return Err(Error::new(
                ErrorKind::DeviceUnavailable,
                "device 'gpu' was asked for, but this build has no GPU backend; use 'auto' or 'cpu'",
            ));
        }
        CpuLevel::check()?;
        let model_bytes = model_file::check(path)?;
        whisper_rs::install_logging_hooks();
        interrupt::install();
        let mut parameters = WhisperContextParameters::default();
        parameters.use_gpu(false).flash_attn(true);
        let context = WhisperContext::new_with_params(path, parameters).map_err(|cause| {
            Error::new(
                ErrorKind::ModelInvalid,
                format!("whisper.cpp cannot load the model '{}'", path.display()),
            )
            .caused_by(cause)
        })?;
        let state = new_state(&context)?;
        let info = RecognizerInfo {
            languages: languages(&context),
            backend: "cpu",
            device: format!("cpu ({})", CpuLevel::BUILT_FOR.as_str()),
            model_bytes,
        };
        let mut whisper = Self {
            context,
            state,
            threads: c_int::try_from(threads).unwrap_or(c_int::MAX),
            info,
            params: HashMap::new(),
        };
        whisper.warm_up()?;
        Ok(whisper)
    }

    /// The first run allocates and touches what later ones reuse.
    fn warm_up(&mut self) -> Result<()> {
        let request = Request {
            language: Some("en"),
            translate: false,
            initial_prompt: None,
            beam_size: 1,
            temperatures: &[0.0],
        };
        self.recognize(&vec![0.0; MIN_SAMPLES], &request, &Cancel::never())?;
        Ok(())
    }

    /// The most probable language of the window and its probability.
    fn detect_language(&mut self, window: &[f32], cancel: &Cancel) -> Result<(&'static str, f32)> {
        let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        quiet(&mut params);
        params.set_n_threads(self.threads);
        params.set_audio_ctx(positions(window));
        // SAFETY: the callback takes no user data and touches none of its arguments.
        unsafe { params.set_start_encoder_callback(Some(stop_before_encoding)) };
        // whisper.cpp's detection encodes with whatever size the run before it left behind. This
        // run computes the spectrogram, sets the size, and stops.
        while_wanted(cancel, || self.state.full(params, window)).map_err(failed)?;
        let threads = self.threads.unsigned_abs() as usize;
        let detected = while_wanted(cancel, || self.state.lang_detect(0, threads));
        cancel.check()?;
        let (_, probabilities) = detected.map_err(failed)?;
        let known = self.info.languages.iter().filter_map(|&language| {
            let id = usize::try_from(whisper_rs::get_lang_id(language)?).ok()?;
            Some((language, *probabilities.get(id)?))
        });
        known
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .ok_or_else(|| Error::new(ErrorKind::WorkerFailed, "the model knows no language"))
    }

    /// Parameters for a language and strategy, without the language's string being leaked again.
    fn params(
        &mut self,
        language: &'static str,
        strategy: Strategy,
    ) -> FullParams<'static, 'static> {
        self.params
            .entry((language, strategy))
            .or_insert_with(|| {
                let mut params = FullParams::new(strategy.sampling());
                // whisper.cpp's own default is a static "en".
                if language != "en" {
                    params.set_language(Some(language));
                }
                quiet(&mut params);
                params
            })
            .clone()
    }

    /// Decodes the window once.
    fn decode(
        &mut self,
        window: &[f32],
        request: &Request<'_>,
        language: &'static str,
        prompt: &[c_int],
        temperature: f32,
        cancel: &Cancel,
    ) -> Result<Attempt> {
        cancel.check()?;
        let strategy = Strategy::of(request.beam_size, temperature);
        let mut params = self.params(language, strategy);
        params.set_n_threads(self.threads);
        params.set_audio_ctx(positions(window));
        params.set_translate(request.translate);
        params.set_temperature(temperature);
        if !prompt.is_empty() {
            params.set_tokens(prompt);
        }
        // SAFETY: whisper.cpp calls back only during `full` below, and `cancel` outlives it; the
        // callback only reads through the pointer.
        unsafe {
            params.set_abort_callback(Some(is_cancelled));
            params.set_abort_callback_user_data(from_ref(cancel).cast_mut().cast::<c_void>());
        }
        // Sampling draws from a generator that lives in the state, and so does beam search, which
        // draws its candidates: on a fresh one the result does not depend on what was drawn before.
        let mut fresh;
        let state = if strategy == Strategy::Greedy {
            &mut self.state
        } else {
            fresh = new_state(&self.context)?;
            &mut fresh
        };
        let outcome = while_wanted(cancel, || state.full(params, window));
        cancel.check()?;
        outcome.map_err(failed)?;
        Ok(attempt(state, self.context.token_eot()))
    }

    /// The requested language as the static string that whisper.cpp knows it by.
    fn known_language(&self, requested: Option<&str>) -> Option<&'static str> {
        match (requested, self.info.languages.as_slice()) {
            (_, &[only]) => Some(only),
            (Some(requested), known) => known.iter().copied().find(|known| *known == requested),
            (None, _) => None,
        }
    }

    fn prompt(&self, text: Option<&str>) -> Result<Vec<c_int>> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Vec::new());
        };
        let tail = &text[text.ceil_char_boundary(text.len().saturating_sub(PROMPT_TAIL_BYTES))..];
        // Room for a token a byte: with less, whisper-rs takes the negative count for a length.
        let mut tokens = self
            .context
            .tokenize(tail, tail.len() + 1)
            .map_err(failed)?;
        let surplus = tokens.len().saturating_sub(MAX_PROMPT_TOKENS);
        if surplus > 0 || tail.len() < text.len() {
            tracing::warn!(
                kept = MAX_PROMPT_TOKENS,
                "the initial prompt is too long; only its last tokens are used"
            );
        }
        Ok(tokens.split_off(surplus))
    }
}

impl Recognizer for Whisper {
    fn info(&self) -> &RecognizerInfo {
        &self.info
    }

    fn recognize(
        &mut self,
        window: &[f32],
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<Recognition> {
        let mut padded;
        let window = if window.len() < MIN_SAMPLES {
            padded = window.to_vec();
            padded.resize(MIN_SAMPLES, 0.0);
            &padded
        } else {
            window
        };
        let prompt = self.prompt(request.initial_prompt)?;
        cancel.check()?;
        let (language, language_probability) = match self.known_language(request.language) {
            Some(language) => (language, 1.0),
            None => self.detect_language(window, cancel)?,
        };
        let segments = guard::climb(request.temperatures, |temperature| {
            self.decode(window, request, language, &prompt, temperature, cancel)
        })?;
        Ok(Recognition {
            segments,
            language,
            language_probability,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Strategy {
    Greedy,
    Sampled,
    Beam(usize),
}

impl Strategy {
    fn of(beam_size: usize, temperature: f32) -> Self {
        if temperature > 0.0 {
            Self::Sampled
        } else if beam_size > 1 {
            Self::Beam(beam_size)
        } else {
            Self::Greedy
        }
    }

    fn sampling(self) -> SamplingStrategy {
        match self {
            // Copies for best-of are not made for a temperature at which nothing is drawn.
            Self::Greedy => SamplingStrategy::Greedy { best_of: 1 },
            Self::Sampled => SamplingStrategy::Greedy { best_of: BEST_OF },
            Self::Beam(size) => SamplingStrategy::BeamSearch {
                beam_size: c_int::try_from(size).unwrap_or(c_int::MAX),
                patience: -1.0,
            },
        }
    }
}

/// What every run has in common: nothing printed, nothing remembered, one temperature at a time.
fn quiet(params: &mut FullParams<'_, '_>) {
    params.set_print_progress(false);
    params.set_print_realtime(false);
    params.set_print_special(false);
    params.set_print_timestamps(false);
    params.set_no_context(true);
    params.set_suppress_nst(true);
    params.set_temperature_inc(0.0);
}

fn positions(window: &[f32]) -> c_int {
    // At most 1500.
    audio_positions(window.len()) as c_int
}

fn new_state(context: &WhisperContext) -> Result<WhisperState> {
    context.create_state().map_err(|cause| {
        Error::new(
            ErrorKind::OutOfMemory,
            "whisper.cpp could not allocate a state; use a smaller or quantised model",
        )
        .caused_by(cause)
    })
}

fn languages(context: &WhisperContext) -> Vec<&'static str> {
    if !context.is_multilingual() {
        return vec!["en"];
    }
    // As whisper.cpp counts them: 99 before large-v3, 100 from it on.
    let count = usize::try_from(context.model_n_vocab()).map_or(0, |n| n.saturating_sub(51_766));
    (0..=whisper_rs::get_lang_max_id())
        .filter_map(whisper_rs::get_lang_str)
        .take(count)
        .collect()
}

fn attempt(state: &WhisperState, first_special_token: c_int) -> Attempt {
    let mut segments = Vec::new();
    let mut tokens = Vec::new();
    for segment in state.as_iter() {
        let own: Vec<(c_int, f32)> = (0..segment.n_tokens())
            .filter_map(|index| segment.get_token(index))
            .map(|token| token.token_data())
            .filter(|token| token.id < first_special_token)
            .map(|token| (token.id, token.plog))
            .collect();
        segments.push(WindowSegment {
            start_ms: segment.start_timestamp() * MILLISECONDS_PER_CENTISECOND,
            end_ms: segment.end_timestamp() * MILLISECONDS_PER_CENTISECOND,
            text: segment.to_str_lossy().unwrap_or_default().into_owned(),
            avg_log_prob: own.iter().map(|(_, log_prob)| log_prob).sum::<f32>()
                / own.len().max(1) as f32,
            no_speech_probability: segment.no_speech_probability(),
        });
        tokens.extend(own);
    }
    Attempt { segments, tokens }
}

fn failed(cause: whisper_rs::WhisperError) -> Error {
    Error::new(ErrorKind::WorkerFailed, "whisper.cpp failed on this window").caused_by(cause)
}
