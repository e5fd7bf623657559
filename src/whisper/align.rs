//! When each token was said: whisper.cpp's dynamic time warping over the attention of the heads that
//! OpenAI found to follow the audio (Whisper paper's repository, `alignment_heads`).
//!
//! whisper.cpp aligns what its own loop wrote, and nothing else, and aborts the process where a piece
//! of that is very short. So its loop is made to write the text that was decoded already, all of the
//! window at once.

use std::ffi::{c_int, c_void};
use std::ptr::from_ref;

use whisper_rs::{DtwMode, DtwModelPreset, DtwParameters, FullParams, WhisperContext};
use whisper_rs::{WhisperState, whisper_rs_sys as sys};

use super::greedy::MAX_TOKENS;
use super::interrupt::{is_cancelled, leave_alone, while_wanted};
use super::model_file::ModelFile;
use super::rules::Vocabulary;
use super::state::failed;
use super::window::FULL_POSITIONS;
use crate::cancel::Cancel;
use crate::error::Result;

/// Tokens around the text.
const FRAME_TOKENS: usize = 4;
/// Copies that whisper.cpp makes of the attention, and a little.
const COPIES: usize = 4;
const SPARE_BYTES: usize = 16 << 20;
const MILLISECONDS_PER_CENTISECOND: i64 = 10;

/// The heads that align, by the shape of the model; those of the upper half of the decoder where
/// OpenAI names none.
pub fn parameters(file: &ModelFile) -> DtwParameters<'static> {
    use DtwModelPreset as Preset;
    let english = file.vocabulary <= 51_864;
    let choose = |english_only, multilingual| if english { english_only } else { multilingual };
    let preset = match (file.audio_layers, file.text_layers) {
        (4, 4) => Some((choose(Preset::TinyEn, Preset::Tiny), 8)),
        (6, 6) => Some((choose(Preset::BaseEn, Preset::Base), 8)),
        (12, 12) => Some((choose(Preset::SmallEn, Preset::Small), 19)),
        (24, 24) => Some((choose(Preset::MediumEn, Preset::Medium), 18)),
        (32, 32) if file.vocabulary >= 51_866 => Some((Preset::LargeV3, 10)),
        // Nothing in the file tells large-v1 from its successor.
        (32, 32) => Some((Preset::LargeV2, 23)),
        (32, 4) => Some((Preset::LargeV3Turbo, 6)),
        _ => None,
    };
    let upper = file.text_layers.div_ceil(2);
    let heads = preset
        .as_ref()
        .map_or(upper * file.text_heads, |preset| preset.1);
    DtwParameters {
        mode: match preset {
            Some((model_preset, _)) => DtwMode::ModelPreset { model_preset },
            None => DtwMode::TopMost {
                // At most 128 layers.
                n_top: upper as c_int,
            },
        },
        dtw_mem_size: COPIES
            * heads as usize
            * (MAX_TOKENS + FRAME_TOKENS)
            * FULL_POSITIONS
            * size_of::<f32>()
            + SPARE_BYTES,
    }
}

/// A text that whisper.cpp's loop has to write.
pub struct Dictation<'text> {
    tokens: &'text [i32],
    vocabulary: &'text Vocabulary,
    /// Numbers that the loop has for each token.
    logits: usize,
}

impl<'text> Dictation<'text> {
    pub fn new(
        context: &WhisperContext,
        vocabulary: &'text Vocabulary,
        tokens: &'text [i32],
    ) -> Self {
        Self {
            // Room for the end of the text.
            tokens: &tokens[..tokens.len().min(MAX_TOKENS - 1)],
            vocabulary,
            logits: usize::try_from(context.n_vocab()).unwrap_or(0),
        }
    }
}

/// The end of each token of the dictation, in milliseconds of the window. `params` are those of the
/// window, at temperature 0 with one decoder.
pub fn ends_ms(
    state: &mut WhisperState,
    mut params: FullParams<'_, '_>,
    window: &[f32],
    dictation: &Dictation<'_>,
    cancel: &Cancel,
) -> Result<Vec<i64>> {
    cancel.check()?;
    tracing::debug!("aligning");
    params.set_no_timestamps(true);
    params.set_single_segment(true);
    params.set_suppress_nst(false);
    params.set_suppress_blank(false);
    // SAFETY: whisper.cpp calls back only during `full` below, and what it is given outlives that;
    // the callbacks only read through the pointers.
    #[allow(unsafe_code)]
    unsafe {
        params.set_filter_logits_callback(Some(dictate));
        params.set_filter_logits_callback_user_data(from_ref(dictation).cast_mut().cast());
        params.set_abort_callback(Some(is_cancelled));
        params.set_abort_callback_user_data(from_ref(cancel).cast_mut().cast::<c_void>());
    }
    let outcome = while_wanted(cancel, || state.full(params, window));
    cancel.check()?;
    outcome.map_err(failed)?;
    let segments = state.as_iter();
    Ok(segments
        .flat_map(|segment| {
            let tokens = (0..segment.n_tokens()).filter_map(|index| segment.get_token(index));
            tokens.map(|token| token.token_data()).collect::<Vec<_>>()
        })
        .filter(|token| dictation.vocabulary.is_text(token.id))
        .map(|token| token.t_dtw * MILLISECONDS_PER_CENTISECOND)
        .collect())
}

/// Leaves the next token of the dictation as the only one that is possible.
#[allow(unsafe_code)]
unsafe extern "C" fn dictate(
    _: *mut sys::whisper_context,
    _: *mut sys::whisper_state,
    _: *const sys::whisper_token_data,
    written: c_int,
    logits: *mut f32,
    dictation: *mut c_void,
) {
    // From here on whisper.cpp itself asks between two steps; the alignment behind the last of them
    // must not be interrupted, or it aborts the process.
    leave_alone();
    // SAFETY: `ends_ms` passes a `Dictation` that lives while whisper.cpp runs, and whisper.cpp a
    // number for each token of its vocabulary.
    let (dictation, logits) = unsafe {
        let dictation = &*dictation.cast::<Dictation<'_>>();
        (
            dictation,
            std::slice::from_raw_parts_mut(logits, dictation.logits),
        )
    };
    let next = usize::try_from(written)
        .ok()
        .and_then(|at| dictation.tokens.get(at));
    let next = *next.unwrap_or(&dictation.vocabulary.end_of_text);
    logits.fill(f32::NEG_INFINITY);
    if let Some(logit) = usize::try_from(next).ok().and_then(|at| logits.get_mut(at)) {
        *logit = 0.0;
    }
}
