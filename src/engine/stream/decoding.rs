//! What decodes a stream: packets or samples, piece by piece.

use std::ops::Range;

use super::written::PACKET_SAMPLES;
use crate::audio::{Converter, Pcm};
use crate::error::{Error, ErrorKind, Result};
use crate::opus::{PacketDecoder, PacketList};
use crate::transcript::PacketCounts;

/// When so many packets have come and none was Opus, none will be.
const HOPELESS_PACKETS: usize = 250;

/// What decodes one stream: it goes to the thread whose turn it is, and comes back.
#[derive(Default)]
pub struct Decoding {
    packets: Option<PacketDecoder>,
    pcm: Option<Converter>,
    /// Packets and samples that lie behind.
    received: usize,
    /// Packets that were not lost.
    present: usize,
    decoded_any: bool,
    first_corrupt: Option<usize>,
}

impl Decoding {
    /// Of a stream of which so many packets or samples lie behind.
    pub fn behind(received: usize) -> Self {
        Self {
            received,
            ..Self::default()
        }
    }

    pub fn packets(
        &mut self,
        packets: &PacketList,
        step: Range<usize>,
        pcm: &mut Vec<f32>,
    ) -> Result<Option<PacketCounts>> {
        let decoder = match &mut self.packets {
            Some(decoder) => decoder,
            none => none.insert(PacketDecoder::new()?),
        };
        for packet in packets.iter().skip(step.start).take(step.len()) {
            if packet.is_none() && decoder.packet_samples().is_none() {
                // Nobody waits for the first packet to tell how long those were.
                decoder.skip(PACKET_SAMPLES, pcm);
            } else {
                self.decoded_any |= decoder.push(packet, pcm)? > 0;
            }
        }
        let mut counts = decoder.take_counts();
        for index in &mut counts.corrupt {
            *index += self.received;
        }
        self.received += counts.received;
        self.present += counts.received - counts.lost;
        self.first_corrupt = self.first_corrupt.or(counts.corrupt.first().copied());
        if self.present >= HOPELESS_PACKETS {
            self.check_any_is_opus()?;
        }
        Ok(Some(counts))
    }

    pub fn pcm(
        &mut self,
        samples: &[f32],
        rate_hz: u32,
        channels: usize,
        pcm: &mut Vec<f32>,
    ) -> Result<Option<PacketCounts>> {
        if !samples.len().is_multiple_of(channels) {
            return Err(Error::invalid_argument(format!(
                "{} samples were written, which do not divide by {channels} interleaved channels",
                samples.len()
            )));
        }
        Pcm::check_floats(samples, self.received)?;
        self.received += samples.len();
        let converter = match &mut self.pcm {
            Some(converter) => converter,
            none => none.insert(Converter::new(rate_hz, channels)?),
        };
        converter.push(samples, pcm)?;
        Ok(None)
    }

    pub fn finish(&mut self, pcm: &mut Vec<f32>) -> Result<Option<PacketCounts>> {
        if let Some(converter) = &mut self.pcm {
            converter.finish(pcm)?;
        }
        let Some(decoder) = &mut self.packets else {
            return Ok(None);
        };
        decoder.finish(pcm)?;
        let counts = decoder.take_counts();
        self.check_any_is_opus()?;
        Ok(Some(counts))
    }

    fn check_any_is_opus(&self) -> Result<()> {
        match self.first_corrupt {
            Some(index) if !self.decoded_any => Err(Error::new(
                ErrorKind::InvalidPacket,
                format!(
                    "none of the first {} packets can be decoded, packet {index} first; write whole \
                     Opus packets, without container or length prefix, or pipe a container through \
                     OpusDemuxer",
                    self.present
                ),
            )
            .at(index)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::stream::written::Written;

    /// SILK of the narrow band that was not transmitted.
    const MS_10: Option<&[u8]> = Some(&[0]);
    const MS_20: Option<&[u8]> = Some(&[1 << 3]);
    const MS_60: Option<&[u8]> = Some(&[3 << 3]);
    const LOST: Option<&[u8]> = None;
    /// A frame count of zero.
    const DAMAGED: Option<&[u8]> = Some(&[0xff, 0x00]);

    /// What is counted when all of it is written, and how many samples come of it.
    fn written_and_decoded(writes: &[Vec<Option<&[u8]>>]) -> (Written, usize) {
        let mut written = Written::new(0.0, 16_000);
        let mut decoding = Decoding::default();
        let mut pcm = Vec::new();
        for packets in writes {
            let mut list = PacketList::default();
            for packet in packets {
                list.push(*packet);
            }
            written.add_packets(&list);
            decoding.packets(&list, 0..list.len(), &mut pcm).unwrap();
        }
        decoding.finish(&mut pcm).unwrap();
        (written, pcm.len())
    }

    #[test]
    fn packets_of_60_ms_are_counted_as_long_as_they_are_decoded_lost_or_not() {
        let write = |at: usize| vec![if at % 7 == 3 { LOST } else { MS_60 }];
        let (written, decoded) = written_and_decoded(&(0..2000).map(write).collect::<Vec<_>>());
        assert_eq!((written.samples(), decoded), (2000 * 960, 2000 * 960));
        assert!((written.ms() - 120_000.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_counted_is_what_is_decoded_whatever_comes_first() {
        for writes in [
            vec![vec![LOST, LOST, MS_60], vec![LOST], vec![MS_10, LOST, LOST]],
            vec![vec![DAMAGED], vec![LOST, DAMAGED], vec![MS_60, DAMAGED]],
            vec![vec![MS_20], vec![], vec![DAMAGED, MS_60, LOST], vec![MS_10]],
        ] {
            let (written, decoded) = written_and_decoded(&writes);
            assert_eq!(written.samples(), decoded, "{writes:?}");
        }
    }
}
