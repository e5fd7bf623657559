//! First stage, on the blocking pool: input to 16 kHz mono, with a decoder of the job's own.

use std::time::Instant;

use crossbeam_channel::Sender;

use super::job::{Input, Job, elapsed_ms};
use super::stats::Stats;
use crate::audio::samples_to_ms;
use crate::error::Result;
use crate::opus;
use crate::transcript::PacketCounts;

/// What the input has become.
pub(crate) struct Audio {
    pub pcm: Vec<f32>,
    pub packets: Option<PacketCounts>,
}

/// Decodes one job and hands it to the VAD stage, or answers it.
pub(crate) fn run(mut job: Job<Input>, stats: &Stats, next: &Sender<Job<Audio>>) {
    stats.begin();
    let started = Instant::now();
    job.ticket.timings.queue_ms = elapsed_ms(job.ticket.submitted);
    let input = std::mem::replace(
        &mut job.payload,
        Input::Packets(opus::PacketList::default()),
    );
    let decoded = decode(input, &job);
    job.ticket.timings.decode_ms = elapsed_ms(started);
    stats.end();
    match decoded {
        Ok(audio) => {
            stats.decoded(samples_to_ms(audio.pcm.len()), job.ticket.timings.decode_ms);
            // Fails only when the stage is gone, and then drops the job, which answers it.
            let _ = next.send(job.with(|_| audio));
        }
        Err(error) => job.fail(error),
    }
}

fn decode(input: Input, job: &Job<Input>) -> Result<Audio> {
    let cancel = &job.ticket.cancel;
    cancel.check()?;
    match input {
        Input::Packets(list) => {
            let decoded = opus::decode(&list, cancel)?;
            Ok(Audio {
                pcm: decoded.pcm,
                packets: Some(decoded.packets),
            })
        }
        Input::Pcm(pcm) => Ok(Audio {
            pcm: pcm.into_mono_16k()?,
            packets: None,
        }),
    }
}
