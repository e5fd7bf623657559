//! The utterance that is being spoken: when it begins, is cut and ends, and what of it goes on.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::Listening;
use crate::audio::{Report, SAMPLE_RATE_HZ};
use crate::cancel::Cancel;
use crate::engine::detect::Speech;
use crate::engine::flow::{Flow, Message, Part, Summary};
use crate::engine::job::{Reply, Ticket};
use crate::engine::recognize::Task;
use crate::engine::stream::growing::Growth;
use crate::engine::stream::lag::Lag;
use crate::engine::stream::{Live, Owed};
use crate::engine::way::Outbox;
use crate::transcript::Timings;
use crate::whisper::{Packer, Window};

/// Between two phrases; words are closer together.
const SHORT_PAUSE_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 5;

/// The utterance that is being spoken.
pub(super) struct Utterance {
    flow: Arc<Flow>,
    start: usize,
    /// Where the part begins that no window has, and how far the growth was handed on.
    pub part: usize,
    sent: usize,
    interim: Cancel,
    settled: bool,
}

impl Utterance {
    /// What is under way is of what is no longer to be heard alone.
    fn give_up_interim(&mut self) {
        self.interim.abort();
        self.interim = self.flow.cancel.part();
    }
}

impl Listening {
    /// An utterance begins: a job like any other, but that it is answered to the stream.
    pub(super) fn open(&mut self, start: usize, next: &Outbox) {
        let stream = &self.stream;
        let number = self.count;
        self.count += 1;
        let id: Arc<str> = format!("{}-{number}", stream.flow.id).into();
        let options = &stream.options.job;
        let cancel = stream.flow.cancel.part();
        let flow = Flow::new(Arc::clone(&id), options.priority, cancel.clone(), None);
        let live = Live {
            stream: Arc::clone(stream),
            utterance: number,
        };
        let ticket = Ticket {
            id,
            options: options.clone(),
            vad: Some(stream.vad),
            events: None,
            progress: 0.0,
            submitted: Instant::now(),
            engine: Arc::clone(&stream.engine),
            reply: Reply::Stream(Owed::new(live.clone())),
            live: Some(live),
        };
        self.utterance = Some(Utterance {
            flow,
            start,
            part: start,
            sent: start,
            interim: cancel.part(),
            settled: false,
        });
        self.send(Part::Begin(Box::new(ticket)), next);
        self.tell_kept(start, true);
    }

    /// The utterance ends here, and what is not in a window yet becomes one.
    pub(super) fn close(&mut self, end: usize, next: &Outbox) {
        let Some(utterance) = &self.utterance else {
            return;
        };
        let end = end.max(utterance.part);
        let range = utterance.start..end;
        let interim = utterance.interim.clone();
        let is_rehearsed = utterance.settled && utterance.sent == end;
        let mut windows = VecDeque::new();
        self.packer.complete(&range, &mut windows);
        self.packer.finish(&mut windows);
        let tally = std::mem::take(&mut self.tally);
        let summary = Summary {
            report: Report {
                packets: tally.packets,
                warnings: Vec::new(),
            },
            input_samples: range.len(),
            timings: Timings {
                decode_ms: tally.decode_ms,
                vad_ms: tally.vad_ms,
                ..Timings::default()
            },
            asked: Some(Instant::now()),
            // Made before its windows are handed on: those may be done before the end is there.
            lag: Some(Lag::new(&self.stream.gauge, 1)),
        };
        self.free_from = end;
        self.hand_on(windows, vec![range], next);
        if !is_rehearsed {
            // Nobody needs it any more. Not sooner, or another would be begun in its place.
            interim.abort();
        }
        self.send(Part::End(Ok(summary)), next);
        self.utterance = None;
    }

    /// Speech that is about to be too long becomes another utterance in a short pause.
    pub(super) fn cut_in_pause(&mut self, pause: Range<usize>, next: &Outbox) {
        let middle = usize::midpoint(pause.start, pause.end);
        let is_late = self
            .utterance
            .as_ref()
            .is_some_and(|u| middle > self.uncut(u));
        if is_late && pause.len() >= SHORT_PAUSE_SAMPLES {
            self.close(middle, next);
            // A window may have taken more: the next begins where this one was really closed.
            self.open(self.free_from, next);
        }
    }

    /// Before this an utterance is not cut.
    fn uncut(&self, utterance: &Utterance) -> usize {
        let uncut = self.longest - self.longest / 3;
        utterance.start.saturating_add(uncut)
    }

    /// Without a pause it does at its quietest place.
    pub(super) fn cut_if_too_long(&mut self, next: &Outbox) {
        let Some(utterance) = &self.utterance else {
            return;
        };
        let limit = utterance.start.saturating_add(self.longest);
        // A pause may be the end. It is soon known, and the quietest place besides.
        let waits = self.endpointer.pause().map_or(0, |_| self.shortest_silence);
        if self.position() < limit.saturating_add(waits) {
            return;
        }
        let from = self.uncut(utterance).max(utterance.part);
        // In a long pause windows go on beyond the limit, and there it is cut behind them.
        let cut = self.packer.quietest(from..limit.max(from));
        self.close(cut, next);
        self.open(self.free_from, next);
    }

    /// Hands on what the utterance has grown by: up to here, or to where it would end if the pause
    /// that has begun were its end, so that its text is there when it is.
    pub(super) fn grow(&mut self, next: &Outbox) {
        let position = self.position();
        let Some(utterance) = &self.utterance else {
            return;
        };
        if position <= utterance.start {
            // It began in the stream that this one goes on from.
            return;
        }
        let pause = self.endpointer.pause();
        let end = pause.map_or(position, |pause| position.min(pause + self.trail));
        let settled = pause.is_some_and(|pause| position >= pause + self.trail);
        let mut windows = VecDeque::new();
        let range = utterance.start..end.max(utterance.part);
        self.packer.grow(&range, &mut windows);
        self.packer.finish(&mut windows);
        let part = self.packer.part(utterance.start);
        self.hand_on(windows, Vec::new(), next);
        if let Some(utterance) = &mut self.utterance
            && part != utterance.part
        {
            (utterance.part, utterance.sent) = (part, part);
            utterance.give_up_interim();
        }
        if self.stream.options.interim {
            self.send_growth(end, settled, next);
        }
    }

    fn send_growth(&mut self, end: usize, settled: bool, next: &Outbox) {
        let uncut = self.utterance.as_ref().map_or(0, |u| self.uncut(u));
        let Some(utterance) = &mut self.utterance else {
            return;
        };
        let (part, new) = (utterance.part, utterance.sent..end.max(utterance.sent));
        if new.is_empty() && settled == utterance.settled {
            return;
        }
        if settled && !utterance.settled {
            // What is under way is of less than will be the utterance, if this is its end.
            utterance.give_up_interim();
        }
        (utterance.sent, utterance.settled) = (new.end, settled);
        let (audio, speech) = self.packer.excerpt(part, new);
        let growth = Growth {
            part,
            audio,
            speech,
            settled,
            may_be_cut: utterance.sent > part + Packer::UNCUT_SAMPLES || utterance.sent > uncut,
            cancel: utterance.interim.clone(),
        };
        self.send(Part::Piece(Task::Growth(growth)), next);
    }

    fn hand_on(&self, windows: VecDeque<Window>, segments: Vec<Range<usize>>, next: &Outbox) {
        if windows.is_empty() && segments.is_empty() {
            return;
        }
        let samples = windows.iter().map(|window| window.audio.len()).sum();
        let speech = Speech {
            windows,
            segments,
            share: 0.0,
            heard: samples,
            _credit: None,
            _lag: Some(Lag::new(&self.stream.gauge, samples)),
        };
        self.send(Part::Piece(Task::Speech(speech)), next);
    }

    pub(super) fn send(&self, part: Part<Task>, next: &Outbox) {
        let Some(utterance) = &self.utterance else {
            return;
        };
        let flow = Arc::clone(&utterance.flow);
        next.send(Message { flow, part });
    }
}
