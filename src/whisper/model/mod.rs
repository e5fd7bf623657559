//! A Whisper model on whisper.cpp.

mod load;
mod prompt;

use std::borrow::Cow;
use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;

pub(in crate::whisper) use load::Model;
pub use load::cpu_device;

use super::Request;
use super::align;
use super::exceptions;
use super::full::{self, Parameters, Strategy};
use super::greedy::{self, Limits};
use super::guard::{self, Attempt, Doubt, Try};
use super::second_look;
use super::softmax::probabilities;
use super::state::{Prompted, State};
use super::timestamps;
use super::window::{FULL_POSITIONS, audio_positions};
use super::words;
use crate::audio::SAMPLE_RATE_HZ;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::options::Device;

/// The model gives little for less than a second.
const MIN_SAMPLES: usize = SAMPLE_RATE_HZ as usize;
pub(in crate::whisper) const SAMPLES_PER_MS: usize = SAMPLE_RATE_HZ as usize / 1000;
/// More tokens than these are not speech. Whisper's own 448 for 30 s allow for 15 a second.
const TOKENS_AT_ONCE: usize = 16;
const TOKENS_PER_SECOND: usize = 25;
/// Version of the bundled whisper.cpp.
#[must_use]
pub fn library_version() -> &'static str {
    whisper_rs::WHISPER_CPP_VERSION
}

/// A Whisper model and the one state it runs on.
///
/// The most probable text is decoded a token at a time on a state that is reused: nothing of it but
/// the size of the encoder outlives a window. What needs several decoders at once is whisper.cpp's
/// own loop, on a fresh state.
pub struct Whisper {
    // Freed before the model that it is a state of.
    state: State,
    parameters: Parameters,
    model: Arc<Model>,
}

/// What a window is decoded with, whichever try it is.
pub(in crate::whisper) struct Task<'job> {
    request: &'job Request<'job>,
    /// What goes before the text: the prompt, and the token that the text starts with.
    start: Vec<i32>,
    prompt: &'job [i32],
    cancel: &'job Cancel,
}

/// A window, and what the tries of it share.
struct Listening<'window> {
    /// At least [`MIN_SAMPLES`].
    window: &'window [f32],
    /// The audio without what it was padded with.
    audio_ms: i64,
    mel: Option<Vec<f32>>,
    /// The size that the encoder ran with, as long as nothing is decoded behind the start.
    encoded: Option<usize>,
    /// Probability that nobody speaks, from the last time that it was encoded.
    no_speech: Option<f32>,
}

impl Whisper {
    /// Loads the model at `path`, after checking the file, and runs it once. On a GPU there may be
    /// several `lanes`, of which this is one.
    pub fn load(path: &Path, device: Device, lanes: usize, threads: usize) -> Result<Self> {
        Self::on(&Arc::new(Model::load(path, device, lanes, threads)?))
    }

    /// Another state of a model, which has been run.
    fn on(model: &Arc<Model>) -> Result<Self> {
        exceptions::take();
        let ready = || {
            let mut whisper = Self {
                state: State::new(model.new_state()?, model.threads),
                parameters: Parameters::default(),
                model: Arc::clone(model),
            };
            whisper.warm_up()?;
            Ok(whisper)
        };
        ready().map_err(|error| model.failure(error))
    }

    /// What was loaded.
    pub(in crate::whisper) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Makes the other lanes of the model.
    pub(in crate::whisper) fn lane(&self) -> impl Fn() -> Result<Self> + Send + 'static {
        let model = Arc::clone(&self.model);
        move || Self::on(&model)
    }

    /// The first run allocates and touches what later ones reuse. Once, whatever it writes: the full
    /// window, which most never need, has its memory when it is needed.
    fn warm_up(&mut self) -> Result<()> {
        let request = Request::default();
        let never = Cancel::never();
        let task = self.task(&request, &[], &never);
        let silence = vec![0.0; MIN_SAMPLES];
        let mut listening = Listening {
            window: &silence,
            audio_ms: (MIN_SAMPLES / SAMPLES_PER_MS) as i64,
            mel: self.model.mel.as_ref().map(|mel| mel.compute(&silence)),
            encoded: None,
            no_speech: None,
        };
        self.decode(&mut listening, audio_positions(MIN_SAMPLES), &task, "en")?;
        Ok(())
    }

    pub(in crate::whisper) fn task<'job>(
        &self,
        request: &'job Request<'job>,
        prompt: &'job [i32],
        cancel: &'job Cancel,
    ) -> Task<'job> {
        let mut start = prompt.to_vec();
        if !start.is_empty() {
            start.insert(0, self.model.context.token_prev());
        }
        start.push(self.model.context.token_sot());
        Task {
            request,
            start,
            prompt,
            cancel,
        }
    }

    /// The text of a window, or of its beginning, as far as it can be believed.
    pub(in crate::whisper) fn hear(
        &mut self,
        audio: &[f32],
        task: &Task<'_>,
        language: &mut Option<(&'static str, f32)>,
    ) -> Result<Option<Attempt>> {
        let window = &at_least_a_second(audio);
        let sized = audio_positions(window.len());
        let mut listening = Listening {
            window,
            audio_ms: (audio.len() / SAMPLES_PER_MS) as i64,
            mel: self.model.mel.as_ref().map(|mel| mel.compute(window)),
            encoded: None,
            no_speech: None,
        };
        let language = if let Some((language, _)) = *language {
            language
        } else {
            self.listen(&mut listening, sized, task)?;
            language.insert(self.detected_language()?).0
        };
        let mut order = guard::tries(task.request.temperatures, sized < FULL_POSITIONS);
        if task.request.draft {
            return match order.next() {
                None => Ok(None),
                Some(first) => {
                    let attempt = self.attempt(&mut listening, first, task, language)?;
                    let doubt = attempt.doubt(listening.audio_ms, true);
                    let found_its_way = matches!(doubt, None | Some(Doubt::LowProbability));
                    Ok(found_its_way.then_some(attempt))
                }
            };
        }
        guard::climb(order, listening.audio_ms, |next| {
            self.attempt(&mut listening, next, task, language)
        })
    }

    /// Encodes the window, unless it is, and feeds the start: the logits behind it tell the
    /// language, and whether anybody speaks.
    fn listen(
        &mut self,
        listening: &mut Listening<'_>,
        positions: usize,
        task: &Task<'_>,
    ) -> Result<()> {
        if listening.encoded != Some(positions) {
            let mel = listening.mel.as_deref();
            self.state
                .encode(listening.window, mel, positions, task.cancel)?;
            self.state.feed(&task.start, 0, task.cancel)?;
            listening.encoded = Some(positions);
            let nobody = std::iter::once(self.model.vocabulary.no_speech);
            listening.no_speech = probabilities(self.state.logits(), nobody).pop();
        }
        Ok(())
    }

    /// Decodes the window once.
    fn attempt(
        &mut self,
        listening: &mut Listening<'_>,
        next: Try,
        task: &Task<'_>,
        language: &'static str,
    ) -> Result<Attempt> {
        let positions = if next.full_window {
            FULL_POSITIONS
        } else {
            audio_positions(listening.window.len())
        };
        let strategy = match task.request.beam_size {
            _ if next.temperature > 0.0 => Strategy::Sampled,
            beams @ 2.. => Strategy::Beam(beams),
            _ => return self.decode(listening, positions, task, language),
        };
        // For what whisper.cpp does not tell: behind a prompt of more than one token it reads the
        // probability that nobody speaks off logits that it did not compute.
        if listening.no_speech.is_none() {
            self.listen(listening, positions, task)?;
        }
        let run = full::Run {
            window: listening.window,
            audio_ms: listening.audio_ms,
            positions,
            threads: self.model.threads,
            strategy,
            temperature: next.temperature,
            language,
            translate: task.request.translate,
            prompt: task.prompt,
            no_speech: listening.no_speech.unwrap_or(0.0),
        };
        let state = self.model.new_state()?;
        let (parameters, vocabulary) = (&mut self.parameters, &self.model.vocabulary);
        full::decode(state, parameters, vocabulary, &run, task.cancel)
    }

    /// The most probable text.
    fn decode(
        &mut self,
        listening: &mut Listening<'_>,
        positions: usize,
        task: &Task<'_>,
        language: &'static str,
    ) -> Result<Attempt> {
        self.listen(listening, positions, task)?;
        listening.encoded = None;
        let no_speech = listening.no_speech.unwrap_or(0.0);
        let rest = self.purpose(language, task.request.translate);
        let mut network = Prompted {
            state: &mut self.state,
            prompt: task.start.len(),
            rest: &rest,
            text: 0,
            cancel: task.cancel,
        };
        let audio_ms = listening.audio_ms;
        let seconds = listening.window.len().div_ceil(MIN_SAMPLES);
        let limits = Limits {
            audio_ms,
            tokens: TOKENS_AT_ONCE + TOKENS_PER_SECOND * seconds,
        };
        let vocabulary = &self.model.vocabulary;
        let decoded = if task.request.draft {
            greedy::decode(&mut network, vocabulary, limits)?
        } else {
            second_look::decode(&mut network, vocabulary, limits)?
        };
        let text = |id| self.model.context.token_to_bytes(id).unwrap_or_default();
        let tokens = &decoded.tokens;
        let cut = timestamps::segments(tokens, vocabulary, audio_ms, no_speech, text);
        let (segments, texts) = cut.into_iter().unzip();
        Ok(Attempt {
            segments,
            texts,
            end: decoded.end,
            last_ms: timestamps::last_segment_ms(tokens, vocabulary, audio_ms),
            last_tokens: timestamps::last_segment_tokens(tokens, vocabulary),
            heard_ms: timestamps::heard_ms(tokens, vocabulary, audio_ms),
        })
    }

    /// Finds out when each word of the text was said. `speech` is that of `audio`.
    pub(in crate::whisper) fn align(
        &mut self,
        audio: &[f32],
        speech: &[f32],
        heard: &mut Attempt,
        task: &Task<'_>,
        language: &'static str,
    ) -> Result<()> {
        let tokens: Vec<i32> = heard.tokens().map(|token| token.id).collect();
        if tokens.is_empty() {
            return Ok(());
        }
        let window = at_least_a_second(audio);
        let positions = audio_positions(window.len());
        let mut params = self.parameters.of(language, Strategy::Single);
        params.set_n_threads(c_int::try_from(self.model.threads).unwrap_or(c_int::MAX));
        // At most 1500.
        params.set_audio_ctx(positions as c_int);
        params.set_translate(task.request.translate);
        let state = self.state.lend();
        let dictation = align::Dictation::new(&self.model.context, &self.model.vocabulary, &tokens);
        let ends_ms = align::ends_ms(state, params, &window, &dictation, task.cancel)?;
        let text = |id| self.model.context.token_to_bytes(id).unwrap_or_default();
        let audio_ms = (audio.len() / SAMPLES_PER_MS) as i64;
        let mut ends_ms = ends_ms.as_slice();
        let mut start_ms = 0;
        for (segment, texts) in heard.segments.iter_mut().zip(&heard.texts) {
            let (own, rest) = ends_ms.split_at(texts.len().min(ends_ms.len()));
            ends_ms = rest;
            let words = words::words(texts, own, (start_ms, audio_ms), text, speech);
            if let (Some(first), Some(last)) = (words.first(), words.last()) {
                (segment.start_ms, segment.end_ms) = (first.start_ms, last.end_ms);
                start_ms = last.end_ms;
            }
            segment.words = Some(words);
        }
        Ok(())
    }
}

fn at_least_a_second(audio: &[f32]) -> Cow<'_, [f32]> {
    let mut window = Cow::Borrowed(audio);
    if window.len() < MIN_SAMPLES {
        window.to_mut().resize(MIN_SAMPLES, 0.0);
    }
    window
}
