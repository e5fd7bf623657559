//! Length-prefixed bytes, as sockets and dumps carry packets, to a packet list. Pure.
//!
//! The caller says how the bytes are framed; nothing is guessed.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};

/// The longest legal packet: 48 frames of 1275 bytes (RFC 6716, rules R2 and R5), their lengths,
/// and a table of contents.
pub const MAX_PACKET_BYTES: usize = 2 + 48 * 1275 + 47 * 2;
/// A jump ahead by more than ten minutes of 20 ms packets is a damaged or foreign number.
const MAX_SEQUENCE_GAP: i64 = 30_000;
/// Lost packets for each that came, beyond one long gap: a line that loses nine of ten carries no
/// speech, and a few bytes must not stand for millions of packets.
const MAX_LOST_PER_PACKET: i64 = 9;

/// How the bytes are framed: `[length][sequence?][packet][sequence?]`. The length counts the packet
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Width of the length.
    pub length: LengthWidth,
    /// Byte order of the length and of the sequence number.
    pub order: ByteOrder,
    /// Where each packet's 32-bit sequence number is, if it has one.
    pub sequence: Option<SequencePlace>,
    /// How far behind the highest number so far a packet may come and still take its place.
    pub reorder_window: u32,
    /// Take what is there when the bytes end inside a packet, instead of failing.
    pub allow_partial: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            length: LengthWidth::Two,
            order: ByteOrder::Little,
            sequence: None,
            reorder_window: Self::DEFAULT_REORDER_WINDOW,
            allow_partial: false,
        }
    }
}

impl Framing {
    /// Over a second of 20 ms packets: more than networks reorder.
    pub const DEFAULT_REORDER_WINDOW: u32 = 64;
}

/// Bytes of a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthWidth {
    /// 16 bits.
    Two,
    /// 32 bits.
    Four,
}

/// Byte order of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Network order.
    Big,
}

/// Where the sequence number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequencePlace {
    /// Between the length and the packet.
    Before,
    /// Behind the packet.
    After,
}

/// Finds the packets: where each lies in `bytes`, in order, `None` for one that is missing between
/// two sequence numbers. Duplicates are dropped, and late packets take their place. What cannot be
/// framed so fails with the byte offset.
pub fn split(bytes: &[u8], framing: &Framing) -> Result<Vec<Option<Range<usize>>>> {
    let mut reader = Reader {
        bytes,
        framing,
        at: 0,
    };
    let mut in_order = Vec::new();
    let mut numbered = Numbered::default();
    while reader.at < bytes.len() {
        let start = reader.at;
        match reader.next()? {
            None if framing.allow_partial => break,
            None => return Err(truncated(bytes.len(), start)),
            Some((packet, None)) => in_order.push(Some(packet)),
            Some((packet, Some(number))) => {
                numbered.add(number, packet, start, framing.reorder_window)?;
            }
        }
    }
    in_order.extend(numbered.in_order());
    Ok(in_order)
}

struct Reader<'bytes> {
    bytes: &'bytes [u8],
    framing: &'bytes Framing,
    at: usize,
}

impl Reader<'_> {
    /// The next packet and its number, or `None` when the bytes end inside it.
    fn next(&mut self) -> Result<Option<(Range<usize>, Option<u32>)>> {
        let start = self.at;
        let length = match self.framing.length {
            LengthWidth::Two => self.take().map(|bytes| self.number16(bytes).into()),
            LengthWidth::Four => self.take().map(|bytes| self.number32(bytes)),
        };
        let Some(length) = length else {
            return Ok(None);
        };
        let length = length as usize;
        if !(1..=MAX_PACKET_BYTES).contains(&length) {
            return Err(Error::new(
                ErrorKind::InvalidPacket,
                format!(
                    "the length at byte {start} is {length}; an Opus packet has 1 to \
                     {MAX_PACKET_BYTES} bytes. Check lengthBytes, endian and sequence"
                ),
            )
            .at_byte(start));
        }
        let mut number = None;
        if self.framing.sequence == Some(SequencePlace::Before) {
            let Some(bytes) = self.take() else {
                return Ok(None);
            };
            number = Some(self.number32(bytes));
        }
        let packet = self.at..self.at + length;
        if packet.end > self.bytes.len() {
            return Ok(None);
        }
        self.at = packet.end;
        if self.framing.sequence == Some(SequencePlace::After) {
            let Some(bytes) = self.take() else {
                return Ok(None);
            };
            number = Some(self.number32(bytes));
        }
        Ok(Some((packet, number)))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(taken)
    }

    fn number16(&self, bytes: [u8; 2]) -> u16 {
        match self.framing.order {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }

    fn number32(&self, bytes: [u8; 4]) -> u32 {
        match self.framing.order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// Packets by sequence number, which goes on from 2³² - 1 to 0.
#[derive(Default)]
struct Numbered {
    packets: BTreeMap<i64, Range<usize>>,
    highest: Option<i64>,
}

impl Numbered {
    fn add(&mut self, number: u32, packet: Range<usize>, at: usize, window: u32) -> Result<()> {
        let Some(highest) = self.highest else {
            self.highest = Some(number.into());
            self.packets.insert(number.into(), packet);
            return Ok(());
        };
        // The nearest number to the highest that ends in these 32 bits (RFC 1982).
        let ahead = i64::from(number.wrapping_sub(highest as u32) as i32);
        let place = highest + ahead;
        if self.packets.contains_key(&place) {
            return Ok(());
        }
        let came = self.packets.len() as i64 + 1;
        let missing = self.missing() + ahead.max(1) - 1;
        let too_far = if ahead > MAX_SEQUENCE_GAP {
            Some(format!(
                "{ahead} ahead; more than {MAX_SEQUENCE_GAP} is no gap"
            ))
        } else if missing > MAX_SEQUENCE_GAP + MAX_LOST_PER_PACKET * came {
            Some(format!(
                "so that {missing} of {} packets are missing",
                missing + came
            ))
        } else if -ahead > i64::from(window) {
            Some(format!("{} behind; reorderWindow is {window}", -ahead))
        } else {
            None
        };
        if let Some(how_far) = too_far {
            return Err(Error::new(
                ErrorKind::InvalidPacket,
                format!(
                    "the packet at byte {at} has sequence number {number}, {how_far}. Split the \
                     bytes where a new stream begins, or check the framing"
                ),
            )
            .at_byte(at));
        }
        self.highest = Some(highest.max(place));
        self.packets.insert(place, packet);
        Ok(())
    }

    /// Numbers without a packet between the lowest and the highest.
    fn missing(&self) -> i64 {
        let lowest = self.packets.keys().next().copied().unwrap_or(0);
        let span = self.highest.map_or(0, |highest| highest + 1 - lowest);
        span - self.packets.len() as i64
    }

    fn in_order(mut self) -> impl Iterator<Item = Option<Range<usize>>> {
        let first = self.packets.keys().next().copied().unwrap_or(0);
        let end = self.highest.map_or(0, |highest| highest + 1);
        (first..end).map(move |number| self.packets.remove(&number))
    }
}

fn truncated(length: usize, start: usize) -> Error {
    Error::new(
        ErrorKind::InvalidPacket,
        format!(
            "the bytes end at {length}, inside the packet that begins at byte {start}; pass the \
             rest, or set allowPartial to leave it out; if there is no such packet, check \
             lengthBytes, endian and sequence"
        ),
    )
    .at_byte(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(packets: &[(&[u8], Option<u32>)], framing: Framing) -> Vec<u8> {
        let mut bytes = Vec::new();
        let big = framing.order == ByteOrder::Big;
        let number = |bytes: &mut Vec<u8>, number: u32, width: usize| {
            if big {
                bytes.extend_from_slice(&number.to_be_bytes()[4 - width..]);
            } else {
                bytes.extend_from_slice(&number.to_le_bytes()[..width]);
            }
        };
        for (packet, sequence) in packets {
            let width = if framing.length == LengthWidth::Two {
                2
            } else {
                4
            };
            number(&mut bytes, packet.len() as u32, width);
            if let (Some(sequence), Some(SequencePlace::Before)) = (sequence, framing.sequence) {
                number(&mut bytes, *sequence, 4);
            }
            bytes.extend_from_slice(packet);
            if let (Some(sequence), Some(SequencePlace::After)) = (sequence, framing.sequence) {
                number(&mut bytes, *sequence, 4);
            }
        }
        bytes
    }

    fn found(bytes: &[u8], framing: Framing) -> Vec<Option<&[u8]>> {
        let packets = split(bytes, &framing).unwrap();
        packets
            .into_iter()
            .map(|packet| packet.map(|range| &bytes[range]))
            .collect()
    }

    const NUMBERED: Framing = Framing {
        length: LengthWidth::Two,
        order: ByteOrder::Little,
        sequence: Some(SequencePlace::Before),
        reorder_window: 4,
        allow_partial: false,
    };

    #[test]
    fn every_framing_gives_its_packets_back() {
        let packets: [(&[u8], _); 3] = [(&[1; 300], Some(7)), (&[2], Some(8)), (&[3, 3], Some(9))];
        for length in [LengthWidth::Two, LengthWidth::Four] {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                for sequence in [
                    None,
                    Some(SequencePlace::Before),
                    Some(SequencePlace::After),
                ] {
                    let framing = Framing {
                        length,
                        order,
                        sequence,
                        ..Framing::default()
                    };
                    let bytes = framed(&packets, framing);
                    let expected = packets.map(|(packet, _)| Some(packet));
                    assert_eq!(found(&bytes, framing), expected, "{framing:?}");
                }
            }
        }
        assert!(found(&[], NUMBERED).is_empty());
    }

    #[test]
    fn gaps_are_lost_packets_duplicates_are_dropped_and_late_ones_take_their_place() {
        // The first of two packets with one number counts.
        let numbers = [
            (10, 10_u8),
            (11, 11),
            (11, 99),
            (14, 14),
            (13, 13),
            (10, 99),
            (16, 16),
        ];
        let packets: Vec<(&[u8], _)> = numbers
            .iter()
            .map(|(number, byte)| (std::slice::from_ref(byte), Some(*number)))
            .collect();
        let bytes = framed(&packets, NUMBERED);
        let numbers: Vec<_> = found(&bytes, NUMBERED)
            .into_iter()
            .map(|packet| packet.map(|packet| packet[0]))
            .collect();
        let expected = [Some(10), Some(11), None, Some(13), Some(14), None, Some(16)];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn numbers_go_on_from_the_highest_to_zero_and_a_first_packet_may_be_late() {
        let packets: [(&[u8], _); 4] = [
            (&[2], Some(u32::MAX)),
            (&[1], Some(u32::MAX - 1)),
            (&[4], Some(1)),
            (&[3], Some(0)),
        ];
        let bytes = framed(&packets, NUMBERED);
        let expected: [Option<&[u8]>; 4] = [Some(&[1]), Some(&[2]), Some(&[3]), Some(&[4])];
        assert_eq!(found(&bytes, NUMBERED), expected);
    }

    #[test]
    fn a_number_far_off_is_an_error_with_its_place_and_not_a_million_lost_packets() {
        for (number, word) in [(1_000_000, "ahead"), (3, "behind")] {
            let packets: [(&[u8], _); 2] = [(&[1], Some(50)), (&[2], Some(number))];
            let error = split(&framed(&packets, NUMBERED), &NUMBERED).unwrap_err();
            assert_eq!(
                (error.kind(), error.byte_offset()),
                (ErrorKind::InvalidPacket, Some(7))
            );
            assert!(error.message().contains(word), "{error}");
        }
    }

    #[test]
    fn a_few_bytes_cannot_stand_for_millions_of_packets() {
        let packets: Vec<(&[u8], _)> = (0..100).map(|n| (&[1_u8][..], Some(n * 30_000))).collect();
        let error = split(&framed(&packets, NUMBERED), &NUMBERED).unwrap_err();
        assert_eq!(error.byte_offset(), Some(14), "{error}");
        // Half of an hour lost, and one gap of ten minutes.
        let numbers = (0..90_000).map(|n| 2 * n).chain([209_000]);
        let packets: Vec<(&[u8], _)> = numbers.map(|n| (&[1_u8][..], Some(n))).collect();
        assert_eq!(found(&framed(&packets, NUMBERED), NUMBERED).len(), 209_001);
    }

    #[test]
    fn a_bad_length_is_an_error_with_its_place() {
        for bad in [[0_u8, 0], [0xff, 0xff]] {
            let mut bytes = framed(&[(&[1, 2, 3], None)], Framing::default());
            bytes.extend(bad);
            let error = split(&bytes, &Framing::default()).unwrap_err();
            assert_eq!(error.byte_offset(), Some(5));
        }
    }

    #[test]
    fn a_truncated_tail_is_an_error_unless_it_may_be_left_out() {
        for sequence in [
            None,
            Some(SequencePlace::Before),
            Some(SequencePlace::After),
        ] {
            let framing = Framing {
                sequence,
                ..NUMBERED
            };
            let partial = Framing {
                allow_partial: true,
                ..framing
            };
            let one = framed(&[(&[1, 2, 3], Some(1))], framing);
            let both = framed(&[(&[1, 2, 3], Some(1)), (&[4, 5], Some(2))], framing);
            for end in one.len() + 1..both.len() {
                let error = split(&both[..end], &framing).unwrap_err();
                assert_eq!(error.byte_offset(), Some(one.len()), "{end}");
                assert_eq!(found(&both[..end], partial).len(), 1);
            }
        }
    }
}
