//! Options of a live stream.

use super::{JobOptions, Priority, VadOptions, VadOverrides};
use crate::audio::Pcm;
use crate::error::Result;

/// How a live stream is to be transcribed.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamOptions {
    /// What is asked of every utterance. The id is the stream's; neither `vad` nor the limits of time
    /// and length are looked at.
    pub job: JobOptions,
    /// Over [`Self::vad_defaults`].
    pub vad: VadOverrides,
    /// Tell the text of an utterance while it is being spoken.
    pub interim: bool,
    /// Give the text of the last utterance to the model before the next.
    pub condition_on_previous_text: bool,
    /// Of samples that are written, frames a second.
    pub sample_rate_hz: u32,
    /// Of samples that are written, averaged into one.
    pub channels: usize,
    /// The stream goes on from another that could not, and tells what it would need for that
    /// itself.
    pub resume: Option<Resume>,
}

/// Where a stream goes on from another, as that one told it: what is written is written again from
/// a little before `from_ms`, for the decoder and the detector to find their way back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resume {
    /// Where on the stream's timeline the writing begins again.
    pub written_ms: f64,
    /// So many packets or samples lie before that.
    pub received: usize,
    /// Texts of audio before this have been told.
    pub from_ms: f64,
    /// The number of the utterance that is next, or has begun there.
    pub utterance: u32,
    /// Set if it has begun: where somebody was first heard to speak in it.
    pub spoken_ms: Option<f64>,
    /// What was committed of it and of those behind it.
    pub committed: Vec<String>,
    /// The last text, for a stream whose utterances go on from it.
    pub previous: Option<String>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            job: JobOptions {
                priority: Priority::Interactive,
                ..JobOptions::default()
            },
            vad: VadOverrides::default(),
            interim: true,
            condition_on_previous_text: false,
            sample_rate_hz: 16_000,
            channels: 1,
            resume: None,
        }
    }
}

impl StreamOptions {
    /// An utterance ends after so much silence: shorter pauses are made in the middle of a sentence,
    /// and what is cut there is heard worse (docs/benchmarks.md).
    pub const MIN_SILENCE_MS: f64 = 800.0;
    /// An utterance has no other speech around it in its window, and is heard better with more silence.
    pub const SPEECH_PAD_MS: f64 = 500.0;
    /// Longer speech is another utterance, so that there is a final text before long. With less, speech
    /// of 15 s and more is cut within sentences and heard worse (docs/benchmarks.md).
    pub const MAX_SPEECH_S: f64 = 30.0;

    /// The VAD options of a stream that brings none: the engine's, but for when an utterance ends.
    #[must_use]
    pub fn vad_defaults(engine: VadOptions) -> VadOptions {
        VadOptions {
            min_silence_duration_ms: Self::MIN_SILENCE_MS,
            speech_pad_ms: Self::SPEECH_PAD_MS,
            max_speech_duration_s: Self::MAX_SPEECH_S,
            ..engine
        }
    }

    /// Fails when a value is out of range, and gives the VAD options that will be used.
    pub fn validate(&self, languages: &[&str], engine: VadOptions) -> Result<VadOptions> {
        self.job.validate(languages)?;
        Pcm::check_format(self.sample_rate_hz, self.channels)?;
        let vad = self.vad.over(Self::vad_defaults(engine));
        vad.validate()?;
        Ok(vad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_takes_the_engines_thresholds_and_its_own_ends() {
        let engine = VadOptions {
            threshold: 0.3,
            min_silence_duration_ms: 50.0,
            ..VadOptions::default()
        };
        let options = StreamOptions {
            vad: VadOverrides {
                max_speech_duration_s: Some(5.0),
                ..VadOverrides::default()
            },
            ..StreamOptions::default()
        };
        let vad = options.validate(&["en"], engine).unwrap();
        let expected = VadOptions {
            min_silence_duration_ms: StreamOptions::MIN_SILENCE_MS,
            speech_pad_ms: StreamOptions::SPEECH_PAD_MS,
            max_speech_duration_s: 5.0,
            ..engine
        };
        assert_eq!(vad, expected);
    }

    #[test]
    fn samples_of_no_rate_or_channel_are_refused() {
        let spoilt: [fn(&mut StreamOptions); 3] = [
            |options| options.sample_rate_hz = 1,
            |options| options.channels = 0,
            |options| options.job.beam_size = 0,
        ];
        for spoil in spoilt {
            let mut options = StreamOptions::default();
            spoil(&mut options);
            assert!(options.validate(&["en"], VadOptions::default()).is_err());
        }
    }
}
