//! A list of packets, and its audio piece by piece.

use super::packet;
use super::stream::{PacketDecoder, samples_16k};
use crate::audio::{MaxDuration, Report, Source};
use crate::error::{Error, ErrorKind, Result};

/// Packets decoded in one go: few enough that giving up is noticed at once.
const STEP_PACKETS: usize = 50;

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

    /// Adds a packet, or one known to be lost, which an empty one stands for too: RFC 6716 knows no
    /// empty packet, libopus takes one for a loss, and streams of Node cannot carry `null`.
    pub fn push(&mut self, packet: Option<&[u8]>) {
        let packet = packet.filter(|packet| !packet.is_empty());
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

    /// Memory that the list takes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(self.lengths.as_slice())
    }

    /// The audio of the list, piece by piece, with a decoder of its own. A list without any packet
    /// has none; a list of packets none of which is Opus fails with [`ErrorKind::InvalidPacket`].
    /// Looks at the packets' outsides alone: nothing is decoded or allocated yet.
    pub fn open(self, max: MaxDuration) -> Result<ListSource> {
        self.check(max)?;
        Ok(ListSource {
            decoder: PacketDecoder::new()?,
            list: self,
            entry: 0,
            byte: 0,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |length| {
            length.map(|length| {
                let (packet, tail) = rest.split_at(length);
                rest = tail;
                packet
            })
        })
    }

    fn check(&self, max: MaxDuration) -> Result<()> {
        let mut first_malformed = None;
        let mut last_samples = None;
        let mut leading = 0;
        let mut total = 0;
        for (index, packet) in self.iter().enumerate() {
            match (packet.map(packet::samples_48k), last_samples) {
                (Some(Ok(samples)), _) => {
                    let samples = samples_16k(samples);
                    last_samples = Some(samples);
                    total += samples * (1 + std::mem::take(&mut leading));
                }
                (missing, last) => {
                    if let Some(Err(reason)) = missing {
                        first_malformed.get_or_insert((index, reason));
                    }
                    match last {
                        Some(samples) => total += samples,
                        None => leading += 1,
                    }
                }
            }
            max.check(total, || format!(" before packet {index}"))
                .map_err(|error| error.at(index))?;
        }
        match (last_samples, first_malformed) {
            (None, Some((index, reason))) => Err(Error::new(
                ErrorKind::InvalidPacket,
                format!(
                    "none of the {} packets is valid Opus; packet {index}: {reason}. Pass whole \
                     Opus packets, without container or length prefix (splitPackets takes those \
                     off)",
                    self.lengths.iter().flatten().count()
                ),
            )
            .at(index)),
            _ => Ok(()),
        }
    }
}

/// Reads a [`PacketList`].
pub struct ListSource {
    list: PacketList,
    decoder: PacketDecoder,
    entry: usize,
    byte: usize,
}

impl Source for ListSource {
    fn read(&mut self, pcm: &mut Vec<f32>) -> Result<bool> {
        let until = self.list.len().min(self.entry + STEP_PACKETS);
        for length in &self.list.lengths[self.entry..until] {
            let packet = length.map(|length| {
                let from = self.byte;
                self.byte += length;
                &self.list.bytes[from..self.byte]
            });
            self.decoder.push(packet, pcm)?;
        }
        self.entry = until;
        if until < self.list.len() {
            return Ok(true);
        }
        self.decoder.finish(pcm)?;
        Ok(false)
    }

    fn share(&self) -> f64 {
        self.entry as f64 / self.list.len().max(1) as f64
    }

    fn report(&mut self) -> Report {
        Report {
            packets: Some(self.decoder.take_counts()),
            warnings: Vec::new(),
        }
    }
}
