//! A live WebM or Ogg stream as a JavaScript class: bytes in, packets out.
//!
//! The demuxer pulls its bytes, so it has a thread of its own, which sleeps until some arrive. It
//! holds no native library, and ends with its JavaScript object.

use std::cell::RefCell;
use std::thread::Builder;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use napi::Env;
use napi::bindgen_prelude::{Either, Object, Uint8Array};
use napi_derive::napi;

use super::promise::Promise;
use crate::error::Result;
use crate::media::{Media, Source, Step};
use crate::opus::samples_48k;

/// 20 ms at 48 kHz, until a packet tells how long one is.
const DEFAULT_PACKET_SAMPLES_48K: usize = 960;

/// What a stretch of bytes led to.
#[napi(object, object_from_js = false)]
pub struct Demuxed {
    /// Opus packets in order; a number stands for so many that are missing.
    pub packets: Vec<Either<Uint8Array, u32>>,
    /// What was found missing or damaged since the last call.
    pub warnings: Vec<String>,
}

/// Bytes and whom to tell that they have been used; no bytes for the end.
struct Arrival {
    bytes: Vec<u8>,
    is_end: bool,
    done: Promise<Demuxed>,
}

/// Demuxes one live stream.
#[napi]
pub struct NativeDemuxer {
    /// `None` when it was closed. Dropping it ends the thread.
    arrivals: RefCell<Option<Sender<Arrival>>>,
}

#[napi]
impl NativeDemuxer {
    /// Starts its thread.
    #[napi(constructor)]
    pub fn new() -> napi::Result<Self> {
        // JavaScript hands over one stretch at a time and waits for its end.
        let (arrivals, arriving) = bounded(1);
        Builder::new()
            .name("opuscribe-demux".to_owned())
            .spawn(|| demux(arriving))
            .map_err(|cause| napi::Error::from_reason(format!("cannot start a thread: {cause}")))?;
        Ok(Self {
            arrivals: RefCell::new(Some(arrivals)),
        })
    }

    /// Takes the next bytes; resolves when they have been used. One call at a time.
    #[napi(ts_return_type = "Promise<Demuxed | Failure>")]
    pub fn push<'env>(&self, env: &'env Env, bytes: Uint8Array) -> napi::Result<Object<'env>> {
        self.send(env, bytes.to_vec(), false)
    }

    /// The stream is at its end; called once.
    #[napi(ts_return_type = "Promise<Demuxed | Failure>")]
    pub fn end<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.send(env, Vec::new(), true)
    }

    fn send<'env>(
        &self,
        env: &'env Env,
        bytes: Vec<u8>,
        is_end: bool,
    ) -> napi::Result<Object<'env>> {
        let (done, object) = Promise::new(env)?;
        let arrival = Arrival {
            bytes,
            is_end,
            done,
        };
        // Refused by a second call before the first is done, or after the end: the dropped promise
        // tells.
        if let Some(arrivals) = &*self.arrivals.borrow() {
            let _ = arrivals.try_send(arrival);
        }
        Ok(object)
    }

    /// Ends the thread; nothing comes any more.
    #[napi]
    pub fn close(&self) {
        self.arrivals.take();
    }
}

/// The bytes as they arrive. Asking for more tells that those before have been used.
struct Arriving {
    arrivals: Receiver<Arrival>,
    used: Option<Promise<Demuxed>>,
    found: Receiver<Found>,
    /// Kept for the last answer, when the stream has ended.
    end: Sender<Promise<Demuxed>>,
}

enum Found {
    Packet(Vec<u8>),
    Missing(u32),
    Warning(String),
}

impl Iterator for Arriving {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(used) = self.used.take() {
            answer(used, &self.found, Ok(()));
        }
        let arrival = self.arrivals.recv().ok()?;
        if arrival.is_end {
            let _ = self.end.send(arrival.done);
            return None;
        }
        self.used = Some(arrival.done);
        Some(arrival.bytes)
    }
}

impl Drop for Arriving {
    /// The demuxer has failed on these bytes: the answer is left to who knows why.
    fn drop(&mut self) {
        if let Some(used) = self.used.take() {
            let _ = self.end.send(used);
        }
    }
}

fn demux(arrivals: Receiver<Arrival>) {
    let (packets, found) = unbounded();
    let (end, ended) = unbounded();
    let arriving = Arriving {
        arrivals,
        used: None,
        found: found.clone(),
        end,
    };
    let outcome = read(arriving, &packets);
    if let Ok(last) = ended.try_recv() {
        answer(last, &found, outcome);
    }
}

fn read(arriving: Arriving, found: &Sender<Found>) -> Result<()> {
    let mut media = Media::open(Source::Live(Box::new(arriving)))?;
    let mut packet_samples = DEFAULT_PACKET_SAMPLES_48K;
    let tell = |media: &mut Media| {
        for warning in media.take_warnings() {
            let _ = found.send(Found::Warning(warning));
        }
    };
    while let Some(step) = media.next_step()? {
        match step {
            Step::OpusPacket { bytes, .. } => {
                packet_samples = samples_48k(&bytes).unwrap_or(packet_samples);
                let _ = found.send(Found::Packet(bytes));
            }
            Step::OpusGap { samples_48k } => {
                let missing = (samples_48k as f64 / packet_samples as f64).round() as u32;
                let _ = found.send(Found::Missing(missing));
            }
            Step::OpusHead { .. } | Step::Pcm { .. } | Step::PcmGap { .. } => {}
        }
        tell(&mut media);
    }
    tell(&mut media);
    Ok(())
}

fn answer(promise: Promise<Demuxed>, found: &Receiver<Found>, outcome: Result<()>) {
    let found: Vec<Found> = found.try_iter().collect();
    promise.settle(move || {
        outcome?;
        let mut demuxed = Demuxed {
            packets: Vec::new(),
            warnings: Vec::new(),
        };
        for found in found {
            match found {
                Found::Packet(packet) => demuxed.packets.push(Either::A(packet.into())),
                Found::Missing(count) => demuxed.packets.push(Either::B(count)),
                Found::Warning(warning) => demuxed.warnings.push(warning),
            }
        }
        Ok(demuxed)
    });
}
