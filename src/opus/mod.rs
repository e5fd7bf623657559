//! Opus packets to 16 kHz mono, on the input's own timeline: every packet, lost or not, keeps its
//! place.

mod decoder;
mod packet;

pub use decoder::library_version;

use crate::audio::SAMPLE_RATE_HZ;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::transcript::PacketCounts;
use decoder::Decoder;

/// Longest input, four hours: past it the samples alone pass 900 MB.
pub const MAX_DURATION_S: usize = 4 * 3600;
/// Gaps are concealed this far; beyond it comes silence, so that nothing is ever invented.
pub const MAX_CONCEALMENT_MS: usize = 1000;
/// After this many refusals in a row the decoder's own state is suspect, and replaced.
const REFUSALS_BEFORE_FRESH_DECODER: usize = 3;

const SAMPLES_PER_MS: usize = SAMPLE_RATE_HZ as usize / 1000;
/// A frame length that every mode has; used only when no packet says better.
const DEFAULT_PACKET_SAMPLES: usize = 20 * SAMPLES_PER_MS;

/// A list of packets in one allocation; an entry can be a packet known to be lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PacketList {
    bytes: Vec<u8>,
    /// Length of each entry, `None` for a lost one. They sum up to `bytes.len()`.
    lengths: Vec<Option<usize>>,
}

impl PacketList {
    /// Room for `bytes` of packets.
    #[must_use]
    pub fn with_capacity(packets: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            lengths: Vec::with_capacity(packets),
        }
    }

    /// Adds a packet, or one known to be lost.
    pub fn push(&mut self, packet: Option<&[u8]>) {
        if let Some(packet) = packet {
            self.bytes.extend_from_slice(packet);
        }
        self.lengths.push(packet.map(<[u8]>::len));
    }

    /// Entries, lost ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |length| {
            length.map(|length| {
                let (packet, tail) = rest.split_at(length);
                rest = tail;
                packet
            })
        })
    }
}

/// Where a packet list led.
#[derive(Debug)]
pub struct Decoded {
    /// 16 kHz mono.
    pub pcm: Vec<f32>,
    /// What became of the packets.
    pub packets: PacketCounts,
}

/// Decodes a list with a decoder of its own. A list without any packet gives no audio; a list of
/// packets none of which is Opus fails with [`ErrorKind::InvalidPacket`].
pub fn decode(list: &PacketList, cancel: &Cancel) -> Result<Decoded> {
    let durations = durations(list)?;
    let mut decoder = Decoder::new()?;
    let mut pcm = vec![0.0; durations.iter().map(Duration::samples).sum()];
    let mut packets = PacketCounts {
        received: list.len(),
        ..PacketCounts::default()
    };
    let mut rest = pcm.as_mut_slice();
    let mut gap_samples = 0;
    let mut concealed_samples = 0;
    let mut refusals = 0;
    for (packet, duration) in list.iter().zip(&durations) {
        cancel.check()?;
        let (out, tail) = rest.split_at_mut(duration.samples());
        rest = tail;
        if let (Some(packet), Duration::Told(_)) = (packet, duration)
            && decoder.decode(packet, out).is_ok()
        {
            (gap_samples, refusals) = (0, 0);
            continue;
        }
        match (packet, duration) {
            (None, _) => packets.lost += 1,
            (Some(_), Duration::Guessed(_)) => packets.corrupt += 1,
            (Some(_), Duration::Told(_)) => {
                packets.corrupt += 1;
                refusals += 1;
                if refusals == REFUSALS_BEFORE_FRESH_DECODER {
                    decoder = Decoder::new()?;
                    refusals = 0;
                }
            }
        }
        gap_samples += out.len();
        if gap_samples > MAX_CONCEALMENT_MS * SAMPLES_PER_MS || decoder.conceal(out).is_err() {
            out.fill(0.0);
        } else {
            concealed_samples += out.len();
        }
    }
    packets.concealed_ms = concealed_samples as f64 / SAMPLES_PER_MS as f64;
    Ok(Decoded { pcm, packets })
}

/// How long an entry is, in samples at 16 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duration {
    /// A well-formed packet says so itself.
    Told(usize),
    /// Lost or malformed: as long as the well-formed packet before it, or else the first.
    Guessed(usize),
}

impl Duration {
    fn samples(&self) -> usize {
        match self {
            Self::Told(samples) | Self::Guessed(samples) => *samples,
        }
    }
}

/// The duration of every entry, from the packets' outsides alone: what is too long or not Opus at
/// all is refused before any audio is allocated.
fn durations(list: &PacketList) -> Result<Vec<Duration>> {
    const DECIMATION: usize = 48_000 / SAMPLE_RATE_HZ as usize;
    let told: Vec<Option<Result<usize, packet::Malformed>>> = list
        .iter()
        .map(|packet| packet.map(packet::samples_48k))
        .collect();
    let first_told = told.iter().flatten().find_map(|told| told.ok());
    if first_told.is_none()
        && let Some((index, reason)) = told
            .iter()
            .enumerate()
            .find_map(|(index, told)| (*told)?.err().map(|reason| (index, reason)))
    {
        return Err(Error::new(
            ErrorKind::InvalidPacket,
            format!(
                "none of the {} packets is valid Opus; packet {index}: {reason}. Pass whole Opus \
                 packets, without container or length prefix",
                told.iter().flatten().count()
            ),
        )
        .at(index));
    }
    if first_told.is_none() {
        // Nothing but lost packets: there is no audio to keep a place for.
        return Ok(vec![Duration::Guessed(0); told.len()]);
    }
    let mut last = first_told.map_or(DEFAULT_PACKET_SAMPLES, |samples| samples / DECIMATION);
    let mut total = 0;
    let mut durations = Vec::with_capacity(told.len());
    for (index, told) in told.into_iter().enumerate() {
        let duration = match told {
            Some(Ok(samples)) => {
                last = samples / DECIMATION;
                Duration::Told(last)
            }
            _ => Duration::Guessed(last),
        };
        total += duration.samples();
        if total > MAX_DURATION_S * SAMPLE_RATE_HZ as usize {
            return Err(Error::invalid_argument(format!(
                "the packets last more than {MAX_DURATION_S} s; split the input before packet \
                 {index}"
            ))
            .at(index));
        }
        durations.push(duration);
    }
    Ok(durations)
}

#[cfg(test)]
mod tests;
