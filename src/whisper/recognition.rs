//! One window to its text: as many runs as it takes to hear all of it, and without what nobody said.

use std::sync::Arc;

use super::evidence::{Evidence, STEP_SAMPLES};
use super::exceptions;
use super::model::{SAMPLES_PER_MS, Whisper};
use super::{Lanes, Recognition, Recognizer, RecognizerInfo, Request};
use crate::audio::SAMPLE_RATE_HZ;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};

/// A text that ends this long before the window does has left something out: what follows is heard
/// on its own. The pauses within a window are shorter.
const UNHEARD_SAMPLES: usize = 2 * SAMPLE_RATE_HZ as usize;
/// A text stands for this much at least, so that a window ends after so many runs.
const LEAST_HEARD_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 2;

impl Recognizer for Whisper {
    fn info(&self) -> RecognizerInfo {
        self.model().info()
    }

    fn recognize(
        &mut self,
        window: &[f32],
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<Recognition> {
        let model = Arc::clone(self.model());
        // Of what was freed since.
        exceptions::take();
        let failed = |error: Error| match error.kind() {
            ErrorKind::WorkerFailed | ErrorKind::OutOfMemory if cancel.cause().is_none() => {
                model.failure(error)
            }
            // Nobody waits for it any more, and it fell apart all the same.
            _ if exceptions::take().is_some() => error.with_broken_model(),
            _ => error,
        };
        self.hear_all(window, request, cancel).map_err(failed)
    }

    fn lanes(&self) -> Option<Lanes> {
        let build = self.lane();
        (self.model().lanes > 1).then(|| Lanes {
            count: self.model().lanes,
            build: Arc::new(move || Ok(Box::new(build()?))),
        })
    }
}

impl Whisper {
    fn hear_all(
        &mut self,
        window: &[f32],
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<Recognition> {
        let prompt = self.prompt(request.initial_prompt)?;
        let task = self.task(request, &prompt, cancel);
        let mut language = self
            .known_language(request.language)
            .map(|known| (known, 1.0));
        let evidence = Evidence {
            audio: window,
            speech: request.speech,
            prompt: request.initial_prompt.unwrap_or_default(),
        };
        let mut segments = Vec::new();
        let mut from = 0;
        while let Some(mut heard) = self.hear(&window[from..], &task, &mut language)? {
            if let Some((language, _)) = language
                && request.words
            {
                let speech = request
                    .speech
                    .get(from / STEP_SAMPLES..)
                    .unwrap_or_default();
                self.align(&window[from..], speech, &mut heard, &task, language)?;
            }
            let offset_ms = (from / SAMPLES_PER_MS) as i64;
            let said_something = !heard.segments.is_empty();
            for mut segment in heard.segments {
                segment.start_ms += offset_ms;
                segment.end_ms += offset_ms;
                for word in segment.words.iter_mut().flatten() {
                    word.start_ms += offset_ms;
                    word.end_ms += offset_ms;
                }
                #[cfg(feature = "faults")]
                if self.model().info.gpu.is_some() {
                    super::fake_gpu::spoil(&mut segment.text);
                }
                if evidence.contradicts(&segment) {
                    // Not the text: that is the user's own.
                    tracing::debug!(
                        start_ms = segment.start_ms,
                        avg_log_prob = segment.avg_log_prob,
                        no_speech_probability = segment.no_speech_probability,
                        "nobody seems to have said this"
                    );
                } else {
                    segments.push(segment);
                }
            }
            let heard_samples = usize::try_from(heard.heard_ms).unwrap_or(0) * SAMPLES_PER_MS;
            from += heard_samples.max(LEAST_HEARD_SAMPLES);
            if !said_something || from + UNHEARD_SAMPLES > window.len() {
                break;
            }
            tracing::debug!(heard_ms = heard.heard_ms, "the text ends before the window");
        }
        let (language, language_probability) = language.unwrap_or(("und", 0.0));
        Ok(Recognition {
            segments,
            language,
            language_probability,
            device: Arc::clone(&self.model().info.device),
        })
    }
}
