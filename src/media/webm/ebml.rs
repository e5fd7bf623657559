//! EBML (RFC 8794): element headers from a stream, and whole small elements from memory.

use super::super::bytes::ByteReader;
use crate::error::Result;

/// Element identifiers of Matroska (RFC 9559) that are read, entered or passed over knowingly.
pub(super) mod id {
    pub(in super::super) const EBML: u32 = 0x1a45_dfa3;
    pub(in super::super) const SEGMENT: u32 = 0x1853_8067;
    pub(in super::super) const INFO: u32 = 0x1549_a966;
    pub(in super::super) const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
    pub(in super::super) const TRACKS: u32 = 0x1654_ae6b;
    pub(in super::super) const TRACK_ENTRY: u32 = 0xae;
    pub(in super::super) const TRACK_NUMBER: u32 = 0xd7;
    pub(in super::super) const TRACK_TYPE: u32 = 0x83;
    pub(in super::super) const CODEC_ID: u32 = 0x86;
    pub(in super::super) const CODEC_PRIVATE: u32 = 0x63a2;
    pub(in super::super) const CODEC_DELAY: u32 = 0x56aa;
    pub(in super::super) const CONTENT_ENCODINGS: u32 = 0x6d80;
    pub(in super::super) const AUDIO: u32 = 0xe1;
    pub(in super::super) const CHANNELS: u32 = 0x9f;
    pub(in super::super) const CLUSTER: u32 = 0x1f43_b675;
    pub(in super::super) const TIMESTAMP: u32 = 0xe7;
    pub(in super::super) const SIMPLE_BLOCK: u32 = 0xa3;
    pub(in super::super) const BLOCK_GROUP: u32 = 0xa0;
    pub(in super::super) const BLOCK: u32 = 0xa1;
    pub(in super::super) const DISCARD_PADDING: u32 = 0x75a2;

    /// What else may follow an element wherever blocks are: index, tags, padding and the like on
    /// the level of a segment, and what else a cluster or a block group has.
    const PASSED_OVER: [u32; 19] = [
        0x114d_9b74,
        0x1c53_bb6b,
        0x1254_c367,
        0x1941_a469,
        0x1043_a770,
        0xec,
        0xbf,
        0xa7,
        0xab,
        0x5854,
        0xaf,
        0x9b,
        0xfb,
        0xfa,
        0x75a1,
        0xfd,
        0xa4,
        0x8e,
        0xc8,
    ];

    /// Whether it can stand among blocks; other numbers are more likely damage.
    pub(in super::super) fn is_known(id: u32) -> bool {
        matches!(
            id,
            EBML | SEGMENT
                | INFO
                | TRACKS
                | CLUSTER
                | TIMESTAMP
                | SIMPLE_BLOCK
                | BLOCK_GROUP
                | BLOCK
                | DISCARD_PADDING
        ) || PASSED_OVER.contains(&id)
    }
}

/// The front of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u32,
    /// None where the size is unknown, as a live writer leaves it.
    pub(super) size: Option<u64>,
    /// Bytes of the header itself.
    pub(super) bytes: usize,
}

/// What stands where a header should.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    Header(Header),
    /// No header can look like this.
    Damaged,
    /// The input ends here, or within the header.
    End,
}

/// Looks at the header `ahead` bytes from here, without waiting for a byte more than it has.
pub(super) fn peek_header(reader: &mut ByteReader, ahead: usize) -> Result<Front> {
    let mut have = 1;
    loop {
        if !reader.ensure(ahead + have)? {
            return Ok(Front::End);
        }
        match parse_header(&reader.window()[ahead..ahead + have]) {
            Parsed::Header(header) => return Ok(Front::Header(header)),
            Parsed::Damaged => return Ok(Front::Damaged),
            Parsed::Needs(bytes) => have = bytes,
        }
    }
}

enum Parsed {
    Header(Header),
    Damaged,
    /// This many bytes, to know more.
    Needs(usize),
}

fn parse_header(bytes: &[u8]) -> Parsed {
    let Some(&first) = bytes.first() else {
        return Parsed::Needs(1);
    };
    let id_bytes = first.leading_zeros() as usize + 1;
    if id_bytes > 4 {
        return Parsed::Damaged;
    }
    let Some(&size_first) = bytes.get(id_bytes) else {
        return Parsed::Needs(id_bytes + 1);
    };
    let size_bytes = size_first.leading_zeros() as usize + 1;
    if size_bytes > 8 {
        return Parsed::Damaged;
    }
    let all = id_bytes + size_bytes;
    if bytes.len() < all {
        return Parsed::Needs(all);
    }
    let id = bytes[..id_bytes]
        .iter()
        .fold(0, |id, &byte| id << 8 | u32::from(byte));
    Parsed::Header(Header {
        id,
        size: vint(&bytes[id_bytes..all]).and_then(|(value, _)| value),
        bytes: all,
    })
}

/// A number of variable length and its bytes; the number is none where all its bits are set.
pub(super) fn vint(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let rest = bytes.get(1..length)?;
    let marker = 0x80_u8 >> (length - 1);
    let value = rest.iter().fold(u64::from(first ^ marker), |value, &byte| {
        value << 8 | u64::from(byte)
    });
    let all_set = (1 << (7 * length)) - 1;
    Some(((value != all_set).then_some(value), length))
}

/// The children of an element that is in memory, as far as they are whole.
pub(super) fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let Parsed::Header(header) = parse_header(bytes) else {
            return None;
        };
        let end = header
            .bytes
            .checked_add(usize::try_from(header.size?).ok()?)?;
        let data = bytes.get(header.bytes..end)?;
        bytes = &bytes[end..];
        Some((header.id, data))
    })
}

/// An unsigned number, none where it is longer than a number can be.
pub(super) fn unsigned(data: &[u8]) -> Option<u64> {
    (data.len() <= 8).then(|| {
        data.iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte))
    })
}

/// A signed number.
pub(super) fn signed(data: &[u8]) -> Option<i64> {
    let value = unsigned(data)?;
    let unused = 64 - 8 * data.len() as u32;
    if unused == 64 {
        return Some(0);
    }
    Some((value << unused) as i64 >> unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_length_are_read() {
        let header = |bytes: &[u8]| match parse_header(bytes) {
            Parsed::Header(header) => Some((header.id, header.size, header.bytes)),
            _ => None,
        };
        assert_eq!(header(&[0xa3, 0x81]), Some((0xa3, Some(1), 2)));
        assert_eq!(header(&[0xa3, 0x40, 0x05]), Some((0xa3, Some(5), 3)));
        assert_eq!(header(&[0xa3, 0xff]), Some((0xa3, None, 2)));
        let unknown = [
            0x1f, 0x43, 0xb6, 0x75, 0x01, 255, 255, 255, 255, 255, 255, 255,
        ];
        assert_eq!(header(&unknown), Some((id::CLUSTER, None, 12)));
        for length in 0..unknown.len() {
            assert_eq!(header(&unknown[..length]), None);
        }
        assert_eq!(header(&[0x0f, 0, 0, 0, 0, 0x81]), None);
        assert_eq!(header(&[0xa3, 0x00, 0x81]), None);
    }

    #[test]
    fn numbers_keep_their_sign() {
        assert_eq!(signed(&[0xff]), Some(-1));
        assert_eq!(signed(&[0x00, 0xff]), Some(255));
        assert_eq!(signed(&[]), Some(0));
        assert_eq!(signed(&[0; 9]), None);
        assert_eq!(unsigned(&[1, 0]), Some(256));
    }

    #[test]
    fn children_end_where_one_is_cut_short() {
        let bytes = [0xd7, 0x81, 1, 0x83, 0x81, 2, 0x86, 0x84, b'A'];
        let found: Vec<_> = children(&bytes).collect();
        assert_eq!(found, [(0xd7, &[1][..]), (0x83, &[2])]);
    }
}
