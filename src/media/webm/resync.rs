//! Finding the way again after damage: the next place that looks like a cluster, a document or a
//! block of the track that is read.

use super::WebmOpus;
use super::block::{self, BlockHeader};
use super::ebml::{Front, Header, id, peek_header};
use crate::error::Result;

/// Blocks that are looked for; recorders put one packet in each.
const MAX_BLOCK_BYTES: u64 = 16 * 1024;
/// Bits of the flags that are reserved, and lacing.
const ODD_FLAGS: u8 = 0b0111_0110;

impl WebmOpus {
    /// Goes past at least one byte, to the next place where reading can go on, or to the end.
    pub(super) fn resync(&mut self) -> Result<()> {
        self.end_group();
        let begun_at = self.reader.offset();
        let now = self.steps.now();
        loop {
            if !self.reader.ensure(1)? {
                break;
            }
            self.reader.consume(1);
            if self.looks_right()? {
                let skipped = self.reader.offset() - begun_at;
                self.steps.warnings.note("damage", || {
                    format!("{skipped} bytes at {now} (byte {begun_at}) are damaged and left out")
                });
                return Ok(());
            }
        }
        let skipped = self.reader.offset() - begun_at;
        self.steps.warnings.note("cut short", || {
            format!(
                "the file ends at {now} (byte {begun_at}) in the middle, or its last {skipped} \
                 bytes are damaged"
            )
        });
        self.ended = true;
        Ok(())
    }

    /// Whether another element that can be read, or the end, follows this one.
    pub(super) fn is_followed(&mut self, header: Header) -> Result<bool> {
        let Some(size) = header.size.filter(|&size| size <= super::MAX_BLOCK_BYTES) else {
            return Ok(false);
        };
        let end = header.bytes + size as usize;
        if !self.reader.ensure(end)? {
            return Ok(false);
        }
        Ok(match peek_header(&mut self.reader, end)? {
            Front::Header(next) => id::is_known(next.id),
            Front::Damaged => false,
            Front::End => true,
        })
    }

    fn looks_right(&mut self) -> Result<bool> {
        // Cheap first: this is asked at every byte.
        let Some(&first) = self.reader.window().first() else {
            return Ok(false);
        };
        if !matches!(first, 0x1f | 0x1a | 0xa3 | 0xa0) {
            return Ok(false);
        }
        let Front::Header(header) = peek_header(&mut self.reader, 0)? else {
            return Ok(false);
        };
        match header.id {
            id::CLUSTER | id::EBML => Ok(true),
            id::SIMPLE_BLOCK => Ok(self.is_block_of_track(header, 0)? && self.is_followed(header)?),
            id::BLOCK_GROUP => {
                let Front::Header(inner) = peek_header(&mut self.reader, header.bytes)? else {
                    return Ok(false);
                };
                Ok(inner.id == id::BLOCK
                    && self.is_block_of_track(inner, header.bytes)?
                    && self.is_followed(header)?)
            }
            _ => Ok(false),
        }
    }

    fn is_block_of_track(&mut self, header: Header, ahead: usize) -> Result<bool> {
        let Some(size) = header.size.filter(|&size| size <= MAX_BLOCK_BYTES) else {
            return Ok(false);
        };
        let begin = ahead + header.bytes;
        let end = begin + (size as usize).min(block::MAX_HEADER_BYTES);
        if !self.reader.ensure(end)? {
            return Ok(false);
        }
        let front = &self.reader.window()[begin..end];
        Ok(BlockHeader::parse(front).is_some_and(|block| {
            Some(block.track) == self.opus && block.is_plain() && block.flags & ODD_FLAGS == 0
        }))
    }
}
