//! Ogg pages (RFC 3533): found, checked, and found again after damage.
//!
//! Written here because the sequence number, by which a lost page is known, is not handed out by
//! the readers there are: symphonia-format-ogg 0.6 logs a lost page and joins what is around it,
//! and dates what follows from what came before; ogg 0.9 gives packets without it and refuses
//! what continues a packet that was lost.

use super::super::bytes::ByteReader;
use crate::error::Result;

const CAPTURE_PATTERN: &[u8] = b"OggS";
const HEADER_BYTES: usize = 27;
const CRC_AT: std::ops::Range<usize> = 22..26;

/// One page whose checksum is right.
#[derive(Debug)]
pub(super) struct Page {
    /// Offset in the input.
    pub(super) offset: u64,
    /// Whether it begins with the rest of a packet.
    pub(super) continued: bool,
    /// Whether it begins a logical stream.
    pub(super) first: bool,
    /// Whether it ends one.
    pub(super) last: bool,
    /// Granule position; none where no packet ends.
    pub(super) granule: Option<i64>,
    pub(super) serial: u32,
    pub(super) sequence: u32,
    lacing: Vec<u8>,
    body: Vec<u8>,
}

/// A packet or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether the packet ends here.
    pub(super) ends: bool,
}

impl Page {
    /// The packets and parts of packets in it.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut lacing = self.lacing.iter();
        let mut rest = self.body.as_slice();
        std::iter::from_fn(move || {
            let mut length = usize::from(*lacing.next()?);
            let mut ends = length < 255;
            while !ends && let Some(&more) = lacing.next() {
                length += usize::from(more);
                ends = more < 255;
            }
            let (bytes, tail) = rest.split_at_checked(length)?;
            rest = tail;
            Some(Piece { bytes, ends })
        })
    }
}

/// The next page, and how many bytes before it were no page.
pub(super) struct Found {
    /// None at the end of the input.
    pub(super) page: Option<Page>,
    pub(super) skipped: u64,
}

/// Reads the next page with a right checksum, past whatever is in the way.
pub(super) fn next_page(reader: &mut ByteReader) -> Result<Found> {
    let begun_at = reader.offset();
    loop {
        let found_pattern = seek_pattern(reader)?;
        let offset = reader.offset();
        let at_end = Found {
            page: None,
            skipped: offset - begun_at,
        };
        if !found_pattern {
            return Ok(at_end);
        }
        if !reader.ensure(HEADER_BYTES)? {
            reader.consume(1);
            continue;
        }
        let segments = usize::from(reader.window()[26]);
        let header_bytes = HEADER_BYTES + segments;
        if !reader.ensure(header_bytes)? {
            reader.consume(1);
            continue;
        }
        let body_bytes: usize = reader.window()[HEADER_BYTES..header_bytes]
            .iter()
            .map(|&length| usize::from(length))
            .sum();
        if reader.window()[4] != 0 || !reader.ensure(header_bytes + body_bytes)? {
            reader.consume(1);
            continue;
        }
        let bytes = &reader.window()[..header_bytes + body_bytes];
        if !checksum_is_right(bytes) {
            // Past the whole header and not only its first byte, or crafted bytes could have a
            // checksum of 64 KB computed for every few of them.
            reader.consume(header_bytes);
            continue;
        }
        let page = parse(bytes, header_bytes, offset);
        reader.consume(header_bytes + body_bytes);
        return Ok(Found {
            page: Some(page),
            skipped: offset - begun_at,
        });
    }
}

fn seek_pattern(reader: &mut ByteReader) -> Result<bool> {
    loop {
        if !reader.ensure(CAPTURE_PATTERN.len())? {
            let left = reader.window().len();
            reader.consume(left);
            return Ok(false);
        }
        let window = reader.window();
        let at = window
            .windows(CAPTURE_PATTERN.len())
            .position(|bytes| bytes == CAPTURE_PATTERN);
        if let Some(at) = at {
            reader.consume(at);
            return Ok(true);
        }
        // The last three bytes may begin the pattern.
        let past = window.len() + 1 - CAPTURE_PATTERN.len();
        reader.consume(past);
    }
}

fn parse(bytes: &[u8], header_bytes: usize, offset: u64) -> Page {
    let (header, body) = bytes.split_at(header_bytes);
    let field = |at: usize| -> [u8; 4] { std::array::from_fn(|byte| header[at + byte]) };
    let granule =
        u64::from(u32::from_le_bytes(field(10))) << 32 | u64::from(u32::from_le_bytes(field(6)));
    Page {
        offset,
        continued: header[5] & 1 != 0,
        first: header[5] & 2 != 0,
        last: header[5] & 4 != 0,
        granule: (granule != u64::MAX).then_some(granule as i64),
        serial: u32::from_le_bytes(field(14)),
        sequence: u32::from_le_bytes(field(18)),
        lacing: header[HEADER_BYTES..].to_vec(),
        body: body.to_vec(),
    }
}

fn checksum_is_right(page: &[u8]) -> bool {
    let said: [u8; 4] = std::array::from_fn(|byte| page[CRC_AT.start + byte]);
    u32::from_le_bytes(said) == checksum(page)
}

/// The page's checksum, its own field taken as zeros (RFC 3533, section 6).
pub(super) fn checksum(page: &[u8]) -> u32 {
    page.iter().enumerate().fold(0, |crc, (at, &byte)| {
        let byte = if CRC_AT.contains(&at) { 0 } else { byte };
        crc << 8 ^ CRC_TABLE[usize::from((crc >> 24) as u8 ^ byte)]
    })
}

/// Polynomial 0x04c11db7, not reflected.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
