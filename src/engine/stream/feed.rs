//! Where a stream's audio comes in: taken on the caller's thread, decoded in the stream's turn.

use std::cell::Cell;
use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio::sync::{mpsc, watch};

use super::Stream;
use super::decoding::Decoding;
use super::lag::{Gauge, Lag};
use super::listen::{Heard, What};
use super::written::Written;
use crate::audio::samples_to_ms;
use crate::cancel::{Cancel, Cause};
use crate::engine::decode::Worker;
use crate::engine::detect::Arrival;
use crate::engine::flow::Flow;
use crate::error::Result;
use crate::opus::PacketList;
use crate::transcript::PacketCounts;

/// Decoded in one go: few enough that others get their turn, and giving up is noticed.
const STEP_PACKETS: usize = 100;
const STEP_FRAMES: usize = 48_000;

/// One piece of a stream's input.
enum Piece {
    Packets(PacketList),
    /// Interleaved.
    Pcm(Vec<f32>),
    /// Nothing comes for the time being.
    Idle,
    End,
}

/// The writing side of a stream. Dropping it gives the stream up, unless it was ended.
pub struct StreamHandle {
    pieces: mpsc::UnboundedSender<(Piece, Lag)>,
    gauge: Arc<Gauge>,
    cancel: Cancel,
    written: Cell<Written>,
    ended: bool,
}

impl StreamHandle {
    /// Writes Opus packets. False if the writer is to wait for [`StreamEvent::Ready`](super::StreamEvent::Ready):
    /// 30 s of audio wait to be heard, or have been said and wait for their text.
    #[allow(clippy::must_use_candidate)] // A writer of little need not wait.
    pub fn push_packets(&self, packets: PacketList) -> bool {
        let samples = self.count(|written| written.add_packets(&packets));
        self.push(Piece::Packets(packets), samples)
    }

    /// Writes interleaved samples.
    #[allow(clippy::must_use_candidate)] // As above.
    pub fn push_pcm(&self, samples: Vec<f32>) -> bool {
        let waiting = self.count(|written| written.add_floats(samples.len()));
        self.push(Piece::Pcm(samples), waiting)
    }

    /// Nothing comes for the time being: who was speaking has ended.
    pub fn idle(&self) {
        // One sample of lag, so that an answer is still to be expected.
        self.push(Piece::Idle, 1);
    }

    /// Nothing follows.
    pub fn end(&mut self) {
        self.ended = true;
        self.push(Piece::End, 0);
    }

    /// Audio that waits, in milliseconds.
    #[must_use]
    pub fn lag_ms(&self) -> f64 {
        samples_to_ms(self.gauge.samples())
    }

    /// How long what was written lasts, as far as its packets tell, in milliseconds.
    #[must_use]
    pub fn written_ms(&self) -> f64 {
        self.written.get().ms()
    }

    /// Gives the stream up.
    pub fn abandon(&self) {
        self.cancel.abort();
    }

    /// Counts in what is written; gives how many samples at 16 kHz it is.
    fn count(&self, add: impl FnOnce(&mut Written)) -> usize {
        let before = self.written.get();
        let mut after = before;
        add(&mut after);
        self.written.set(after);
        after.samples() - before.samples()
    }

    fn push(&self, piece: Piece, samples: usize) -> bool {
        // Refused when the stream is over, which its last event tells.
        let _ = self.pieces.send((piece, Lag::new(&self.gauge, samples)));
        self.gauge.has_room()
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        if !self.ended {
            self.cancel.abort();
        }
    }
}

/// The reading side, before anybody reads.
pub(in crate::engine) struct Feed {
    stream: Arc<Stream>,
    pieces: mpsc::UnboundedReceiver<(Piece, Lag)>,
    closing: watch::Receiver<()>,
}

/// A stream that is being decoded.
struct Feeding {
    stream: Arc<Stream>,
    worker: Worker,
    next: Sender<Arrival>,
    decoding: Decoding,
}

/// What one turn gave.
struct Decoded {
    pcm: Vec<f32>,
    counts: Option<PacketCounts>,
}

impl Feed {
    /// Both sides of a stream. The engine closes when `closing` says so.
    pub fn new(stream: Arc<Stream>, closing: watch::Receiver<()>) -> (Self, StreamHandle) {
        // Bounded by those who write: they are told when to wait.
        let (sender, pieces) = mpsc::unbounded_channel();
        let options = &stream.options;
        let resume = options.resume.as_ref();
        let handle = StreamHandle {
            pieces: sender,
            gauge: Arc::clone(&stream.gauge),
            cancel: stream.flow.cancel.clone(),
            written: Cell::new(Written::new(
                resume.map_or(0.0, |resume| resume.written_ms),
                options.sample_rate_hz as usize * options.channels,
            )),
            ended: false,
        };
        let feed = Self {
            stream,
            pieces,
            closing,
        };
        (feed, handle)
    }

    pub fn flow(&self) -> Arc<Flow> {
        Arc::clone(&self.stream.flow)
    }

    /// Until the stream ends, is given up, or the engine closes, which ends it with what has come.
    pub async fn run(self, worker: Worker, next: Sender<Arrival>) {
        let resume = self.stream.options.resume.as_ref();
        let decoding = Decoding::behind(resume.map_or(0, |resume| resume.received));
        let mut feeding = Feeding {
            stream: self.stream,
            worker,
            next,
            decoding,
        };
        feeding.send(What::Begin);
        match feeding.pass_on(self.pieces, self.closing).await {
            Ok(()) => feeding.send(What::End),
            Err(error) => {
                feeding.stream.fail(error);
                feeding.send(What::GivenUp);
            }
        }
    }
}

impl Feeding {
    async fn pass_on(
        &mut self,
        mut pieces: mpsc::UnboundedReceiver<(Piece, Lag)>,
        mut closing: watch::Receiver<()>,
    ) -> Result<()> {
        let cancel = self.stream.flow.cancel.clone();
        loop {
            let piece = tokio::select! {
                biased;
                cause = cancel.cancelled() => return Err(cause.error()),
                piece = pieces.recv() => piece,
                // What has come before is taken first.
                _ = closing.changed() => None,
            };
            match piece {
                Some((Piece::Packets(packets), lag)) => self.packets(packets, lag).await?,
                Some((Piece::Pcm(samples), lag)) => self.pcm(samples, lag).await?,
                Some((Piece::Idle, lag)) => self.send(What::Idle { _lag: lag }),
                Some((Piece::End, _)) | None => return self.finish().await,
            }
        }
    }

    async fn packets(&mut self, packets: PacketList, lag: Lag) -> Result<()> {
        let mut lag = Some(lag);
        let packets = Arc::new(packets);
        let mut from = 0;
        while from < packets.len() {
            let step = from..packets.len().min(from + STEP_PACKETS);
            from = step.end;
            let all = Arc::clone(&packets);
            let last = from == packets.len();
            let lag = if last { lag.take() } else { None };
            self.turn(lag, move |decoding, pcm| decoding.packets(&all, step, pcm))
                .await?;
        }
        Ok(())
    }

    async fn pcm(&mut self, samples: Vec<f32>, lag: Lag) -> Result<()> {
        let options = &self.stream.options;
        let (rate_hz, channels) = (options.sample_rate_hz, options.channels);
        let (mut lag, mut from) = (Some(lag), 0);
        let samples = Arc::new(samples);
        while from < samples.len() {
            let step = from..samples.len().min(from + STEP_FRAMES * channels);
            from = step.end;
            let all = Arc::clone(&samples);
            let last = from == samples.len();
            let lag = if last { lag.take() } else { None };
            self.turn(lag, move |decoding, pcm| {
                decoding.pcm(&all[step], rate_hz, channels, pcm)
            })
            .await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.turn(None, Decoding::finish).await
    }

    /// Decodes in the stream's turn and hands on what comes of it, when there is credit.
    async fn turn(
        &mut self,
        lag: Option<Lag>,
        decode: impl FnOnce(&mut Decoding, &mut Vec<f32>) -> Result<Option<PacketCounts>>
        + Send
        + 'static,
    ) -> Result<()> {
        let Some(credit) = self.stream.flow.credit().await.map_err(Cause::error)? else {
            return Err(super::abandoned());
        };
        let mut decoding = std::mem::take(&mut self.decoding);
        let (outcome, decode_ms) = self
            .worker
            .turn(move || {
                let mut pcm = Vec::new();
                let counts = decode(&mut decoding, &mut pcm)?;
                Ok((decoding, Decoded { pcm, counts }))
            })
            .await?;
        let (decoding, Decoded { pcm, counts }) = outcome?;
        self.decoding = decoding;
        self.worker.stats.decoded(samples_to_ms(pcm.len()));
        self.send(What::Audio {
            pcm,
            counts,
            decode_ms,
            _lag: lag,
            _credit: credit,
        });
        Ok(())
    }

    fn send(&self, what: What) {
        let stream = Arc::clone(&self.stream);
        // Fails only when the stage is gone; what it held of the stream has told its end.
        let _ = self.next.send(Arrival::Stream(Heard { stream, what }));
    }
}
