//! Packets in order, some of them lost or damaged, to audio in which each keeps its place.

use super::decoder::Decoder;
use super::packet::{self, Outside};
use crate::audio::{SAMPLE_RATE_HZ, samples_to_ms};
use crate::error::{Error, ErrorKind, Result};
use crate::transcript::PacketCounts;

/// Gaps are concealed this far; beyond it comes silence, so that nothing is ever invented.
pub const MAX_CONCEALMENT_MS: usize = 1000;
/// After this many refusals in a row the decoder's own state is suspect, and replaced.
const REFUSALS_BEFORE_FRESH_DECODER: usize = 3;

/// libopus conceals multiples of 2.5 ms.
const CONCEALMENT_STEP: usize = SAMPLE_RATE_HZ as usize / 400;
const MAX_CONCEALMENT_SAMPLES: usize = MAX_CONCEALMENT_MS * SAMPLE_RATE_HZ as usize / 1000;

/// Samples at 48 kHz, in which Opus counts, as samples at 16 kHz. Every packet divides evenly.
#[must_use]
pub fn samples_16k(samples_48k: usize) -> usize {
    samples_48k / 3
}

/// A decoder with what it takes to bridge gaps. Belongs to one job or stream.
///
/// A lost packet waits for the one behind it, which may carry it a second time.
pub struct PacketDecoder {
    decoder: Decoder,
    gain_q8: i16,
    /// Of the last well-formed packet: lost ones are taken to be as long.
    last: Option<Outside>,
    /// Entries that were missing before the first well-formed packet told how long one is.
    leading: usize,
    /// Length of the last missing entry, while it waits.
    waiting: Option<usize>,
    gap_samples: usize,
    concealed_samples: usize,
    refusals: usize,
    decoded: usize,
    counts: PacketCounts,
}

impl PacketDecoder {
    /// A decoder with no past.
    pub fn new() -> Result<Self> {
        Ok(Self {
            decoder: Decoder::new(0)?,
            gain_q8: 0,
            last: None,
            leading: 0,
            waiting: None,
            gap_samples: 0,
            concealed_samples: 0,
            refusals: 0,
            decoded: 0,
            counts: PacketCounts::default(),
        })
    }

    /// Another stream follows, which knows nothing of this one's past; `gain_q8` is its output
    /// gain in 1/256 dB (RFC 7845, section 5.1). The counts go on.
    pub fn restart(&mut self, gain_q8: i16, pcm: &mut Vec<f32>) -> Result<()> {
        self.settle(None, pcm);
        self.decoder = Decoder::new(gain_q8)?;
        self.gain_q8 = gain_q8;
        (self.last, self.leading) = (None, 0);
        (self.gap_samples, self.refusals) = (0, 0);
        Ok(())
    }

    /// Takes the next packet, or `None` for a lost one, and appends what is ready. Gives back how
    /// many of the samples, at the end, are the packet's own: none if it is lost or damaged.
    pub fn push(&mut self, packet: Option<&[u8]>, pcm: &mut Vec<f32>) -> Result<usize> {
        let index = self.counts.received;
        self.counts.received += 1;
        let Some(packet) = packet else {
            self.counts.lost += 1;
            self.miss(None, pcm);
            return Ok(0);
        };
        let Ok(outside) = packet::parse(packet) else {
            self.counts.corrupt.push(index);
            self.miss(None, pcm);
            return Ok(0);
        };
        let samples = samples_16k(outside.samples_48k);
        for _ in 0..std::mem::take(&mut self.leading) {
            self.miss(Some(samples), pcm);
        }
        self.settle(Some((packet, outside)), pcm);
        self.last = Some(outside);
        let start = pcm.len();
        pcm.resize(start + samples, 0.0);
        if self.decoder.decode(packet, &mut pcm[start..]).is_ok() {
            self.decoded += 1;
            (self.gap_samples, self.refusals) = (0, 0);
            return Ok(samples);
        }
        pcm.truncate(start);
        self.counts.corrupt.push(index);
        self.refusals += 1;
        if self.refusals == REFUSALS_BEFORE_FRESH_DECODER {
            self.decoder = Decoder::new(self.gain_q8)?;
            self.refusals = 0;
        }
        self.miss(Some(samples), pcm);
        Ok(0)
    }

    /// Length of the last well-formed packet, in samples.
    #[must_use]
    pub fn packet_samples(&self) -> Option<usize> {
        self.last.map(|last| samples_16k(last.samples_48k))
    }

    /// Takes a packet of `samples` for lost.
    pub fn skip(&mut self, samples: usize, pcm: &mut Vec<f32>) {
        self.counts.received += 1;
        self.counts.lost += 1;
        self.miss(Some(samples), pcm);
    }

    /// No packet follows: appends what is left. Fails when packets came and none could be decoded.
    pub fn finish(&mut self, pcm: &mut Vec<f32>) -> Result<()> {
        self.settle(None, pcm);
        match self.counts.corrupt.first() {
            Some(&index) if self.decoded == 0 => Err(Error::new(
                ErrorKind::InvalidPacket,
                format!(
                    "none of the {} packets can be decoded, packet {index} first; pass whole Opus \
                     packets, without container or length prefix",
                    self.counts.received - self.counts.lost
                ),
            )
            .at(index)),
            _ => Ok(()),
        }
    }

    /// What became of the packets so far.
    pub fn take_counts(&mut self) -> PacketCounts {
        PacketCounts {
            concealed_ms: samples_to_ms(std::mem::take(&mut self.concealed_samples)),
            ..std::mem::take(&mut self.counts)
        }
    }

    /// An entry is missing: it waits for the next packet, and the one that waited is concealed.
    fn miss(&mut self, samples: Option<usize>, pcm: &mut Vec<f32>) {
        let Some(samples) = samples.or(self.packet_samples()) else {
            self.leading += 1;
            return;
        };
        self.settle(None, pcm);
        self.waiting = Some(samples);
    }

    /// Fills the place of the entry that waits: from `next` if that carries it, else by concealment.
    pub(super) fn settle(&mut self, next: Option<(&[u8], Outside)>, pcm: &mut Vec<f32>) {
        let Some(samples) = self.waiting.take() else {
            return;
        };
        let start = pcm.len();
        pcm.resize(start + samples, 0.0);
        let out = &mut pcm[start + samples % CONCEALMENT_STEP..];
        if let Some((packet, outside)) = next
            && outside.has_fec
            // libopus conceals instead if its own last packet had no SILK layer to go on from.
            && self.last.is_none_or(|last| !last.celt_only)
            && samples >= samples_16k(outside.frame_samples_48k)
            && self.decoder.recover(packet, out).is_ok()
        {
            self.gap_samples = 0;
            self.concealed_samples += samples - samples_16k(outside.frame_samples_48k);
            return;
        }
        self.gap_samples += samples;
        if self.gap_samples > MAX_CONCEALMENT_SAMPLES || self.decoder.conceal(out).is_err() {
            out.fill(0.0);
        } else {
            self.concealed_samples += samples;
        }
    }
}
