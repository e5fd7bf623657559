//! Follows the probability of speech with two thresholds, as the Silero package does. Pure.

use std::ops::Range;

use super::WINDOW_SAMPLES;
use crate::audio::SAMPLE_RATE_HZ;
use crate::options::VadOptions;

/// A pause must be longer than this to be preferred when too long a speech has to be cut (Silero).
const MIN_PAUSE_AT_MAX_SPEECH_MS: f64 = 98.0;

pub fn ms_to_samples(ms: f64) -> f64 {
    ms * f64::from(SAMPLE_RATE_HZ) / 1000.0
}

/// A stretch below the exit threshold inside speech.
#[derive(Debug, Clone, Copy)]
struct Pause {
    start: usize,
    samples: usize,
}

/// Follows the probability with two thresholds: speech begins above one and ends when the
/// probability has stayed below the other for long enough.
pub struct Tracker {
    threshold: f32,
    neg_threshold: f32,
    pub min_speech: f64,
    min_silence: f64,
    max_speech: f64,
    min_pause_at_max_speech: f64,
    /// Where the last window began.
    last: usize,
    /// Where the speech that is being followed began.
    pub speech_start: Option<usize>,
    /// Where the pause that may become its end began.
    pub pause_start: Option<usize>,
    /// Pauses inside it, for the case that it grows too long.
    pauses: Vec<Pause>,
    /// Speech that has ended and was long enough, until somebody takes it.
    pub found: Vec<Range<usize>>,
}

impl Tracker {
    pub fn new(options: &VadOptions) -> Self {
        let pad = ms_to_samples(options.speech_pad_ms);
        Self {
            threshold: options.threshold,
            neg_threshold: options.effective_neg_threshold(),
            min_speech: ms_to_samples(options.min_speech_duration_ms),
            min_silence: ms_to_samples(options.min_silence_duration_ms),
            max_speech: ms_to_samples(options.max_speech_duration_s * 1000.0)
                - WINDOW_SAMPLES as f64
                - 2.0 * pad,
            min_pause_at_max_speech: ms_to_samples(MIN_PAUSE_AT_MAX_SPEECH_MS),
            last: 0,
            speech_start: None,
            pause_start: None,
            pauses: Vec::new(),
            found: Vec::new(),
        }
    }

    pub fn push(&mut self, at: usize, probability: f32) {
        self.last = at;
        if probability >= self.threshold {
            if let Some(start) = self.pause_start.take()
                && (at - start) as f64 > self.min_pause_at_max_speech
                && self.max_speech.is_finite()
            {
                self.pauses.push(Pause {
                    start,
                    samples: at - start,
                });
            }
            if self.speech_start.is_none() {
                self.speech_start = Some(at);
                return;
            }
        }
        let Some(mut start) = self.speech_start else {
            return;
        };
        if (at - start) as f64 > self.max_speech {
            match self.split(start, at) {
                Some(next) => start = next,
                None => return,
            }
        }
        if probability < self.neg_threshold {
            let pause = *self.pause_start.get_or_insert(at);
            if (at - pause) as f64 >= self.min_silence {
                if (pause - start) as f64 > self.min_speech {
                    self.found.push(start..pause);
                }
                self.forget();
            }
        }
    }

    /// Cuts speech that has grown too long: at its longest pause, and goes on behind it; or here,
    /// and begins again with the next window above the threshold.
    fn split(&mut self, start: usize, at: usize) -> Option<usize> {
        // The first of equally long pauses, as Python's max takes it.
        let longest = self.pauses.iter().copied().reduce(|best, pause| {
            if pause.samples > best.samples {
                pause
            } else {
                best
            }
        });
        self.forget();
        let Some(pause) = longest else {
            self.found.push(start..at);
            return None;
        };
        self.found.push(start..pause.start);
        self.speech_start = Some(pause.start + pause.samples);
        self.speech_start
    }

    pub fn forget(&mut self) {
        self.speech_start = None;
        self.pause_start = None;
        self.pauses.clear();
    }

    pub fn finish(&mut self, input_samples: usize) {
        if let Some(start) = self.speech_start.take()
            && (input_samples.saturating_sub(start)) as f64 > self.min_speech
        {
            self.found.push(start..input_samples);
        }
    }

    /// The speech that is being followed, as far as nothing that may come takes it back.
    pub fn certain(&self) -> Option<Range<usize>> {
        let start = self.speech_start?;
        // Not beyond the last window's start: the input may end inside it.
        let end = self.pause_start.unwrap_or(self.last);
        // With a limit, a pause in the past may yet be cut out.
        let kept = (end - start) as f64 > self.min_speech && self.max_speech.is_infinite();
        kept.then_some(start..end)
    }
}
