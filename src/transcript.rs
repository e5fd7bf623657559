//! What comes out: plain data, every time in milliseconds on the input's own timeline.

/// The text of one job and what is known about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// The job's id: the caller's own, or one made up.
    pub id: String,
    /// All segments' text, joined and trimmed. Empty exactly when `empty_reason` is set.
    pub text: String,
    /// ISO 639-1 code of the spoken language, `en` for an English-only model.
    pub language: String,
    /// Probability of that language, 0 to 1; 1 when it was given or the model knows no other.
    pub language_probability: f32,
    /// Whisper's segments in order.
    pub segments: Vec<Segment>,
    /// Where the VAD found speech, padding included.
    pub speech: Vec<SpeechSegment>,
    /// Length of the input, lost packets included.
    pub duration_ms: f64,
    /// Summed length of `speech`.
    pub speech_duration_ms: f64,
    /// Why there is no text.
    pub empty_reason: Option<EmptyReason>,
    /// Counts of the packets, for Opus input.
    pub packets: Option<PacketCounts>,
    /// What was missing or damaged in the input, in words.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub timings: Timings,
    /// The device that ran Whisper.
    pub device: String,
}

/// Why a transcript has no text. Silence is not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyReason {
    /// The input holds no audio at all.
    NoAudio,
    /// The VAD found no speech; Whisper was not asked.
    NoSpeech,
    /// Whisper was asked and gave nothing that can be believed.
    LowConfidence,
}

impl EmptyReason {
    /// The string that callers see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoAudio => "no-audio",
            Self::NoSpeech => "no-speech",
            Self::LowConfidence => "low-confidence",
        }
    }
}

/// A piece of text that Whisper gave one start and one end.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Start on the input's timeline.
    pub start_ms: f64,
    /// End on the input's timeline, never before the start.
    pub end_ms: f64,
    /// The text, trimmed.
    pub text: String,
    /// Mean natural-log probability of the tokens, 0 at best.
    pub avg_log_prob: f32,
    /// Whisper's probability that the window holds no speech, 0 to 1.
    pub no_speech_probability: f32,
    /// Its words in order, if they were asked for.
    pub words: Option<Vec<Word>>,
}

/// A word and when it was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Start on the input's timeline.
    pub start_ms: f64,
    /// End on the input's timeline, never before the start.
    pub end_ms: f64,
    /// The word with its punctuation.
    pub text: String,
    /// Mean probability of its tokens, 0 to 1.
    pub probability: f32,
}

/// A stretch in which the VAD found speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeechSegment {
    /// Start on the input's timeline.
    pub start_ms: f64,
    /// End on the input's timeline.
    pub end_ms: f64,
}

/// What became of the packets of one job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PacketCounts {
    /// Entries of the list, lost ones included.
    pub received: usize,
    /// Entries that were `null`: known to be lost.
    pub lost: usize,
    /// Indexes of the entries that were not valid Opus, in order.
    pub corrupt: Vec<usize>,
    /// Audio made up for lost and corrupt packets: what the packets behind them carried again, and
    /// the silence of long gaps, is not counted.
    pub concealed_ms: f64,
}

/// Where a job's time went, in milliseconds of wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timings {
    /// From the call until decoding began.
    pub queue_ms: f64,
    /// Decoding and resampling.
    pub decode_ms: f64,
    /// Voice activity detection.
    pub vad_ms: f64,
    /// Waiting between the stages, for other jobs to finish.
    pub wait_ms: f64,
    /// Whisper.
    pub inference_ms: f64,
    /// From the call to the result.
    pub total_ms: f64,
    /// `total_ms` divided by the input's length; 0 for an empty input.
    pub real_time_factor: f64,
}
