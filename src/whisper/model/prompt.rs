//! What stands before a text: the caller's prompt, the language, and what to do with it.

use std::ffi::c_int;

use whisper_rs::WhisperContext;

use super::Whisper;
use crate::error::{Error, ErrorKind, Result};
use crate::whisper::softmax::probabilities;
use crate::whisper::state::failed;

/// Prompt tokens that count (whisper.cpp: half the text context, less one).
const MAX_PROMPT_TOKENS: usize = 223;
/// The end of a prompt that is tokenised: more than the tokens that count can hold, and little
/// enough for whisper.cpp's recursive regular expressions on a 16 MB stack.
const PROMPT_TAIL_BYTES: usize = 4096;

impl Whisper {
    /// The most probable language and its probability among all that the model knows.
    pub(super) fn detected_language(&self) -> Result<(&'static str, f32)> {
        let logit = |language: &&'static str| {
            let token = self.language_token(language)?;
            self.state
                .logits()
                .get(usize::try_from(token).ok()?)
                .copied()
        };
        let known = &self.model.info.languages;
        let logits: Vec<f32> = known
            .iter()
            .map(|language| logit(language).unwrap_or(f32::NEG_INFINITY))
            .collect();
        let shares = probabilities(&logits, 0..known.len() as i32);
        let pairs = known.iter().copied().zip(shares);
        pairs
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .ok_or_else(|| Error::new(ErrorKind::WorkerFailed, "the model knows no language"))
    }

    /// What follows the start of a text: its language, what to do with it, and whether with times.
    pub(super) fn purpose(&self, language: &str, translate: bool) -> Vec<i32> {
        let mut tokens = Vec::new();
        if self.model.context.is_multilingual() {
            tokens.extend(self.language_token(language));
            tokens.push(if translate {
                self.model.context.token_translate()
            } else {
                self.model.context.token_transcribe()
            });
        }
        if !self.model.vocabulary.timed {
            tokens.push(self.model.context.token_not());
        }
        tokens
    }

    fn language_token(&self, language: &str) -> Option<i32> {
        Some(
            self.model
                .context
                .token_lang(whisper_rs::get_lang_id(language)?),
        )
    }

    /// The requested language as the static string that whisper.cpp knows it by.
    pub(in crate::whisper) fn known_language(
        &self,
        requested: Option<&str>,
    ) -> Option<&'static str> {
        match (requested, self.model.info.languages.as_slice()) {
            (_, &[only]) => Some(only),
            (Some(requested), known) => known.iter().copied().find(|known| *known == requested),
            (None, _) => None,
        }
    }

    pub(in crate::whisper) fn prompt(&self, text: Option<&str>) -> Result<Vec<c_int>> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Vec::new());
        };
        let tail = &text[text.ceil_char_boundary(text.len().saturating_sub(PROMPT_TAIL_BYTES))..];
        // Room for a token a byte: with less, whisper-rs takes the negative count for a length.
        let mut tokens = self
            .model
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

pub(super) fn languages(context: &WhisperContext) -> Vec<&'static str> {
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
