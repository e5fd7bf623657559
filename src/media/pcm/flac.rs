//! FLAC: the stream information and the frames. Pictures and tags between them are kept from the
//! demuxer, which would hold them in memory.

use super::super::unsupported;
use super::input::Input;
use crate::error::Result;

/// Real files have a dozen.
const MAX_METADATA_BLOCKS: usize = 10_000;
const STREAM_INFO_BYTES: usize = 34;
const LAST_BLOCK: u8 = 0x80;

/// Has the input show the stream information and the frames, from `at` on.
pub(super) fn prepare(input: &mut Input, at: u64) -> Result<()> {
    let mut block_at = at + 4;
    let mut prefix = b"fLaC".to_vec();
    for index in 0..MAX_METADATA_BLOCKS {
        let header = input.peek(block_at, 4)?;
        let &[kind, a, b, c] = header.as_slice() else {
            return Err(cut_short());
        };
        let size = u32::from_be_bytes([0, a, b, c]);
        if index == 0 {
            let info = input.peek(block_at + 4, STREAM_INFO_BYTES)?;
            if kind & !LAST_BLOCK != 0 || info.len() < STREAM_INFO_BYTES {
                return Err(cut_short());
            }
            prefix.extend([LAST_BLOCK, 0, 0, STREAM_INFO_BYTES as u8]);
            prefix.extend(info);
        }
        block_at += 4 + u64::from(size);
        if kind & LAST_BLOCK != 0 {
            input.show(prefix, block_at..input.len());
            return Ok(());
        }
    }
    Err(cut_short())
}

fn cut_short() -> crate::error::Error {
    unsupported("this is FLAC whose header is cut short or damaged")
}
