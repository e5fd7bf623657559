//! Second stage, the thread `opuscribe-vad`: where is speech, and how is it cut into windows.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::decode::Audio;
use super::job::{Event, Job, Outcome, Ticket, elapsed_ms};
use super::stage::Supervised;
use super::stats::Stats;
use crate::audio::Timeline;
use crate::error::Result;
use crate::transcript::EmptyReason;
use crate::vad::{self, Vad};
use crate::whisper;

/// Share of a job's progress that lies behind it once its speech is found.
pub(crate) const PROGRESS: f64 = 0.05;

/// Audio with its speech, cut into windows that are still to be recognized.
pub(crate) struct Speech {
    pub audio: Audio,
    pub segments: Vec<Range<usize>>,
    pub windows: VecDeque<Timeline>,
}

/// Runs until the stage before is gone and its last job is done.
pub(crate) fn run(
    jobs: &Receiver<Job<Audio>>,
    next: &Sender<Job<Speech>>,
    mut vad: Supervised<dyn Vad>,
    stats: &Stats,
) {
    for mut job in jobs {
        stats.begin();
        let started = Instant::now();
        let found = find(&mut vad, &job);
        job.ticket.timings.vad_ms = elapsed_ms(started);
        stats.detected(job.ticket.timings.vad_ms);
        stats.end();
        match found {
            Ok(segments) if segments.is_empty() => complete_without_speech(job),
            Ok(segments) => {
                job.ticket.tell(Event::Progress(PROGRESS));
                let windows = whisper::pack(&segments, &job.payload.pcm).into();
                // Fails only when the stage is gone, and then drops the job, which answers it.
                let _ = next.send(job.with(|audio| Speech {
                    audio,
                    segments,
                    windows,
                }));
            }
            Err(error) => job.fail(error),
        }
    }
}

fn find(vad: &mut Supervised<dyn Vad>, job: &Job<Audio>) -> Result<Vec<Range<usize>>> {
    let Ticket {
        cancel,
        vad: options,
        ..
    } = &job.ticket;
    let pcm = &job.payload.pcm;
    cancel.check()?;
    if pcm.is_empty() {
        return Ok(Vec::new());
    }
    let Some(options) = options else {
        let everything = 0..pcm.len();
        return Ok(vec![everything]);
    };
    let probabilities = vad.call(|vad| vad::detect(vad, pcm, cancel))?;
    Ok(vad::segments(&probabilities, pcm.len(), options))
}

/// There is nothing to recognize: the GPU never hears of it. The language was not heard either, so
/// it is the only one there is, or the one that was asked for, or undetermined.
fn complete_without_speech(job: Job<Audio>) {
    let requested = job.ticket.options.language.clone();
    let language = match (requested.as_deref(), job.ticket.engine.only_language()) {
        (_, Some(only)) => (only, 1.0),
        (None | Some("auto"), None) => ("und", 0.0),
        (Some(language), None) => (language, 1.0),
    };
    let audio = job.payload;
    job.ticket.complete(Outcome {
        input_samples: audio.pcm.len(),
        packets: audio.packets,
        speech: &[],
        text: String::new(),
        segments: Vec::new(),
        language,
        empty_reason: if audio.pcm.is_empty() {
            EmptyReason::NoAudio
        } else {
            EmptyReason::NoSpeech
        },
    });
}
