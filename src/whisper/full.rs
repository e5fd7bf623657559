//! whisper.cpp's own loop, for what needs several decoders at once: beams and drawing.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::from_ref;

use whisper_rs::{FullParams, SamplingStrategy, WhisperState};

use super::WindowSegment;
use super::greedy::{End, is_loop};
use super::guard::Attempt;
use super::interrupt::{is_cancelled, while_wanted};
use super::rules::{Token, Vocabulary};
use super::state::{OwnState, failed};
use crate::cancel::Cancel;
use crate::error::Result;

/// Decoders that sample in parallel at temperatures above 0; whisper.cpp's own default.
const BEST_OF: c_int = 5;
const MILLISECONDS_PER_CENTISECOND: i64 = 10;

/// How several decoders share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// One decoder, which takes the most probable token.
    Single,
    Sampled,
    Beam(usize),
}

impl Strategy {
    fn sampling(self) -> SamplingStrategy {
        match self {
            Self::Single => SamplingStrategy::Greedy { best_of: 1 },
            Self::Sampled => SamplingStrategy::Greedy { best_of: BEST_OF },
            Self::Beam(size) => SamplingStrategy::BeamSearch {
                beam_size: c_int::try_from(size).unwrap_or(c_int::MAX),
                patience: -1.0,
            },
        }
    }
}

/// What one run is asked for.
pub struct Run<'run> {
    pub window: &'run [f32],
    pub audio_ms: i64,
    pub positions: usize,
    pub threads: usize,
    pub strategy: Strategy,
    pub temperature: f32,
    pub language: &'static str,
    pub translate: bool,
    pub prompt: &'run [c_int],
    /// Probability that nobody speaks.
    pub no_speech: f32,
}

/// Parameters by language and strategy. `set_language` leaks its string, so it is called once for
/// each pair that is used, not once for each window.
#[derive(Default)]
pub struct Parameters(HashMap<(&'static str, Strategy), FullParams<'static, 'static>>);

impl Parameters {
    pub fn of(
        &mut self,
        language: &'static str,
        strategy: Strategy,
    ) -> FullParams<'static, 'static> {
        self.0
            .entry((language, strategy))
            .or_insert_with(|| {
                let mut params = FullParams::new(strategy.sampling());
                // whisper.cpp's own default is a static "en".
                if language != "en" {
                    params.set_language(Some(language));
                }
                params.set_print_progress(false);
                params.set_print_realtime(false);
                params.set_print_special(false);
                params.set_print_timestamps(false);
                params.set_no_context(true);
                params.set_suppress_nst(true);
                params.set_temperature_inc(0.0);
                // What nobody said is left out elsewhere, and by better evidence.
                params.set_no_speech_thold(f32::INFINITY);
                params
            })
            .clone()
    }
}

/// Decodes the window once. `state` must be fresh: drawing takes from a generator that lives in it,
/// and so does beam search, which draws its candidates, and the text must not depend on what was
/// drawn before.
pub fn decode(
    mut state: OwnState,
    parameters: &mut Parameters,
    vocabulary: &Vocabulary,
    run: &Run<'_>,
    cancel: &Cancel,
) -> Result<Attempt> {
    cancel.check()?;
    let mut params = parameters.of(run.language, run.strategy);
    params.set_n_threads(c_int::try_from(run.threads).unwrap_or(c_int::MAX));
    // At most 1500.
    params.set_audio_ctx(run.positions as c_int);
    params.set_translate(run.translate);
    params.set_temperature(run.temperature);
    if !run.prompt.is_empty() {
        params.set_tokens(run.prompt);
    }
    // SAFETY: whisper.cpp calls back only during `full` below, and `cancel` outlives it; the
    // callback only reads through the pointer.
    #[allow(unsafe_code)]
    unsafe {
        params.set_abort_callback(Some(is_cancelled));
        params.set_abort_callback_user_data(from_ref(cancel).cast_mut().cast::<c_void>());
    }
    let outcome = while_wanted(cancel, || state.full(params, run.window));
    cancel.check()?;
    outcome.map_err(failed)?;
    Ok(attempt(&state, vocabulary, run))
}

fn attempt(state: &WhisperState, vocabulary: &Vocabulary, run: &Run<'_>) -> Attempt {
    let mut segments = Vec::new();
    let mut texts = Vec::new();
    for segment in state.as_iter() {
        let own: Vec<Token> = (0..segment.n_tokens())
            .filter_map(|index| segment.get_token(index))
            .map(|token| token.token_data())
            .filter(|token| vocabulary.is_text(token.id))
            .map(|token| Token {
                id: token.id,
                log_prob: token.plog,
            })
            .collect();
        segments.push(WindowSegment {
            start_ms: segment.start_timestamp() * MILLISECONDS_PER_CENTISECOND,
            end_ms: segment.end_timestamp() * MILLISECONDS_PER_CENTISECOND,
            text: segment.to_str_lossy().unwrap_or_default().into_owned(),
            avg_log_prob: own.iter().map(|token| token.log_prob).sum::<f32>()
                / own.len().max(1) as f32,
            no_speech_probability: run.no_speech,
            words: None,
        });
        texts.push(own);
    }
    let tokens = texts.iter().flatten();
    let ids: Vec<i32> = tokens.map(|token: &Token| token.id).collect();
    Attempt {
        last_ms: segments
            .last()
            .map_or((0, 0), |last| (last.start_ms, last.end_ms)),
        last_tokens: texts.last().map_or(0, Vec::len),
        // It goes on by itself where its text ends before the window does.
        heard_ms: run.audio_ms,
        end: if is_loop(&ids) {
            End::Repetition
        } else {
            End::Complete
        },
        segments,
        texts,
    }
}
