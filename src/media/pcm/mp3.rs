//! MP3 and ADTS: the frames without the tags at either end.

use super::input::Input;
use crate::error::Result;

const ID3V1_BYTES: u64 = 128;
const APE_FOOTER_BYTES: u64 = 32;

/// Has the input show the frames, from `at` on.
pub(super) fn prepare(input: &mut Input, at: u64) -> Result<()> {
    let mut end = input.len();
    if end >= at + ID3V1_BYTES && input.peek(end - ID3V1_BYTES, 3)? == b"TAG" {
        end -= ID3V1_BYTES;
    }
    if end >= at + APE_FOOTER_BYTES {
        let footer = input.peek(end - APE_FOOTER_BYTES, APE_FOOTER_BYTES as usize)?;
        if footer.starts_with(b"APETAGEX")
            && let Some(size) = footer.get(12..).and_then(|size| size.first_chunk())
        {
            // The size has the footer in it, but not the header, which a flag tells of.
            let header = if footer[23] & 0x80 == 0 {
                0
            } else {
                APE_FOOTER_BYTES
            };
            let tag = u64::from(u32::from_le_bytes(*size)) + header;
            end = end.checked_sub(tag).filter(|&end| end >= at).unwrap_or(end);
        }
    }
    input.show(Vec::new(), at..end);
    Ok(())
}

/// Bytes before each frame of ADTS: two more where there is a checksum.
pub(super) fn adts_header_bytes(input: &mut Input, at: u64) -> Result<u64> {
    let header = input.peek(at, 2)?;
    Ok(if header.get(1).is_some_and(|byte| byte & 1 == 0) {
        9
    } else {
        7
    })
}
