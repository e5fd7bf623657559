//! A stream on the VAD thread: where its utterances begin and end, and what of them goes on.

mod utterance;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use self::utterance::Utterance;
use super::lag::Lag;
use super::tally::Tally;
use super::{Stream, StreamEvent};
use crate::audio::{SAMPLE_RATE_HZ, ms_to_samples, samples_to_ms};
use crate::engine::fault::{self, Place};
use crate::engine::flow::{Credit, Part};
use crate::engine::job::elapsed_ms;
use crate::engine::stage::Supervised;
use crate::engine::way::Outbox;
use crate::error::{Error, Result};
use crate::options::{Resume, VadOptions};
use crate::transcript::PacketCounts;
use crate::vad::{Boundary, Endpointer, MAX_CALL_SAMPLES, Vad, VadState, WINDOW_SAMPLES};
use crate::whisper::Packer;

/// How far what is needed moves on before it is told again.
const KEPT_STEP_SAMPLES: usize = SAMPLE_RATE_HZ as usize;

/// What happens to a stream.
pub(in crate::engine) struct Heard {
    pub stream: Arc<Stream>,
    pub what: What,
}

pub(in crate::engine) enum What {
    Begin,
    Audio {
        pcm: Vec<f32>,
        counts: Option<PacketCounts>,
        decode_ms: f64,
        /// Let go of when it is heard.
        _lag: Option<Lag>,
        _credit: Credit,
    },
    /// Nothing comes for the time being.
    Idle {
        _lag: Lag,
    },
    End,
    GivenUp,
}

/// One stream. What the network remembers of it is its own.
pub(in crate::engine) struct Listening {
    stream: Arc<Stream>,
    state: VadState,
    endpointer: Endpointer,
    /// Samples that do not fill a window yet.
    rest: Vec<f32>,
    packer: Packer,
    /// Samples that have come.
    heard: usize,
    utterance: Option<Utterance>,
    /// Utterances that have begun.
    count: u32,
    /// Where the last one ended: no sample is in two.
    free_from: usize,
    /// Samples of a stream that goes on that are dropped, so that its windows are those it had.
    unaligned: usize,
    /// An utterance has begun in the stream that this one goes on from, and before this somebody was
    /// heard to speak in it.
    spoken: Option<usize>,
    /// What was told of the audio that is still needed, if anybody wants to know.
    kept: Option<usize>,
    /// Since the last utterance ended.
    tally: Tally,
    lead: usize,
    trail: usize,
    shortest_silence: usize,
    longest: usize,
}

impl Listening {
    pub fn new(stream: &Arc<Stream>, next: &Outbox) -> Self {
        let VadOptions {
            speech_pad_ms,
            min_silence_duration_ms,
            max_speech_duration_s,
            ..
        } = stream.vad;
        let mut listening = Self {
            endpointer: Endpointer::new(&stream.vad),
            lead: ms_to_samples(speech_pad_ms),
            // The other half of the shortest silence is for what may follow.
            trail: ms_to_samples(speech_pad_ms.min(min_silence_duration_ms / 2.0)),
            shortest_silence: ms_to_samples(min_silence_duration_ms),
            longest: ms_to_samples(max_speech_duration_s * 1000.0),
            state: VadState::default(),
            rest: Vec::new(),
            packer: Packer::default(),
            heard: 0,
            utterance: None,
            count: 0,
            free_from: 0,
            unaligned: 0,
            spoken: None,
            kept: None,
            tally: Tally::default(),
            stream: Arc::clone(stream),
        };
        if let Some(resume) = &stream.options.resume {
            listening.go_on_from(resume, next);
        }
        listening
    }

    fn go_on_from(&mut self, resume: &Resume, next: &Outbox) {
        let written = ms_to_samples(resume.written_ms);
        let first = written.next_multiple_of(WINDOW_SAMPLES);
        self.unaligned = first - written;
        self.heard = first;
        self.packer = Packer::starting_at(first);
        self.free_from = ms_to_samples(resume.from_ms);
        self.spoken = resume.spoken_ms.map(ms_to_samples);
        self.endpointer.go_on(first, self.spoken.is_some());
        self.count = resume.utterance;
        self.kept = Some(self.free_from);
        if self.spoken.is_some() {
            self.open(self.free_from, next);
        }
    }

    /// Hears the next samples; `false` when the stream is over.
    pub fn take(
        &mut self,
        what: What,
        vad: &mut Supervised<dyn Vad>,
        next: &Outbox,
    ) -> Result<bool> {
        match what {
            What::Begin => {}
            What::Audio {
                pcm,
                counts,
                decode_ms,
                ..
            } => {
                let started = Instant::now();
                self.tally.add(counts, decode_ms);
                self.hear(&pcm, vad, next)?;
                self.tally.vad_ms += elapsed_ms(started);
            }
            What::Idle { .. } => self.flush(next),
            What::End => {
                // A last, shorter window, padded with silence.
                self.follow(self.rest.len(), vad, next)?;
                self.flush(next);
                self.stream.complete();
                return Ok(false);
            }
            What::GivenUp => self.stream.flow.cancel.check()?,
        }
        Ok(true)
    }

    fn hear(&mut self, pcm: &[f32], vad: &mut Supervised<dyn Vad>, next: &Outbox) -> Result<()> {
        let dropped = self.unaligned.min(pcm.len());
        self.unaligned -= dropped;
        let pcm = &pcm[dropped..];
        self.heard += pcm.len();
        if self.heard <= self.free_from {
            // It came along for what follows, and was counted before.
            self.tally = Tally::default();
        }
        self.rest.extend_from_slice(pcm);
        self.packer.hear(pcm, &[]);
        let whole = self.rest.len() - self.rest.len() % WINDOW_SAMPLES;
        self.follow(whole, vad, next)
    }

    /// Judges so many of the samples that wait, and does what they show.
    fn follow(
        &mut self,
        samples: usize,
        vad: &mut Supervised<dyn Vad>,
        next: &Outbox,
    ) -> Result<()> {
        let mut probabilities = Vec::new();
        let flow = &self.stream.flow;
        for slice in self.rest[..samples].chunks(MAX_CALL_SAMPLES) {
            let state = &mut self.state;
            vad.call(|vad| {
                fault::inject(Place::Vad, &flow.id);
                flow.cancel.check()?;
                vad.probabilities(state, slice, &mut probabilities)
            })?;
        }
        self.rest.drain(..samples);
        self.packer.hear(&[], &probabilities);
        for probability in probabilities {
            let position = self.endpointer.position();
            let was_spoken = self.spoken.is_some_and(|spoken| position < spoken);
            let probability = if was_spoken { 1.0 } else { probability };
            let pause = self.endpointer.pause();
            match self.endpointer.push(probability) {
                Some(Boundary::Start(at)) => self.begin(at, next),
                Some(Boundary::End(at)) => self.end(at, next),
                None => {}
            }
            if self.endpointer.pause().is_none()
                && let Some(start) = pause
            {
                self.cut_in_pause(start..self.position() - WINDOW_SAMPLES, next);
            }
            self.cut_if_too_long(next);
        }
        self.grow(next);
        self.forget();
        Ok(())
    }

    /// The stream cannot go on, and neither can its utterance.
    pub fn fail(self, error: Error, next: &Outbox) {
        self.stream.fail(error);
        self.send(Part::End(Err(super::abandoned())), next);
    }

    fn position(&self) -> usize {
        self.endpointer.position().min(self.heard)
    }

    fn flush(&mut self, next: &Outbox) {
        let judged = self.endpointer.position();
        if let Some(Boundary::End(at)) = self.endpointer.flush() {
            // Without a pause up to the last sample, judged or not.
            self.end(if at == judged { self.heard } else { at }, next);
        }
        self.forget();
    }

    fn begin(&mut self, at: usize, next: &Outbox) {
        if self.position() <= self.free_from {
            // All of it was part of the last utterance, which a pause in the writing ended.
            return;
        }
        self.stream.tell(StreamEvent::SpeechStart {
            at_ms: samples_to_ms(at),
        });
        let start = at.saturating_sub(self.lead).max(self.free_from);
        self.open(start, next);
    }

    fn end(&mut self, at: usize, next: &Outbox) {
        if self.utterance.is_none() {
            return;
        }
        self.stream.tell(StreamEvent::SpeechEnd {
            at_ms: samples_to_ms(at),
        });
        self.close((at + self.trail).min(self.position().max(at)), next);
    }

    /// Keeps what an utterance may still need.
    fn forget(&mut self) {
        let settled = if let Some(utterance) = &self.utterance {
            utterance.part
        } else {
            let perhaps = self.endpointer.perhaps().unwrap_or(self.position());
            perhaps.saturating_sub(self.lead).max(self.free_from)
        };
        self.packer.settle(settled, &mut VecDeque::new());
        if self.utterance.is_none() {
            self.tell_kept(settled, false);
        }
    }

    /// Tells from where on the audio is still needed: by the utterance that has begun there, or by
    /// the next.
    fn tell_kept(&mut self, from: usize, is_open: bool) {
        let Some(kept) = self.kept else { return };
        if is_open || from >= kept + KEPT_STEP_SAMPLES {
            self.kept = Some(from);
            self.stream.tell(StreamEvent::Kept {
                utterance: self.count - u32::from(is_open),
                from_ms: samples_to_ms(from),
                is_open,
            });
        }
    }
}
