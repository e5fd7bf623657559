//! Blocks and their lacing (RFC 9559, section 10).

use super::ebml::vint;

/// A block's own header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) track: u64,
    /// Relative to its cluster, in ticks.
    pub(super) timestamp: i16,
    pub(super) flags: u8,
    lacing: Lacing,
    /// Bytes of the header.
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacing {
    None,
    Xiph,
    Fixed,
    Ebml,
}

/// The longest header: a track number of eight bytes, timestamp, flags.
pub(super) const MAX_HEADER_BYTES: usize = 8 + 2 + 1;

impl BlockHeader {
    /// None where it is cut short.
    pub(super) fn parse(block: &[u8]) -> Option<Self> {
        let (track, at) = vint(block)?;
        let &[high, low, flags] = block.get(at..at + 3)? else {
            return None;
        };
        Some(Self {
            track: track?,
            timestamp: i16::from_be_bytes([high, low]),
            flags,
            lacing: match flags >> 1 & 0b11 {
                0 => Lacing::None,
                1 => Lacing::Xiph,
                2 => Lacing::Fixed,
                _ => Lacing::Ebml,
            },
            bytes: at + 3,
        })
    }

    /// Whether it holds one frame and not a lace of them.
    pub(super) fn is_plain(&self) -> bool {
        self.lacing == Lacing::None
    }

    /// The frames of the block, none where the lace does not add up.
    pub(super) fn frames<'a>(&self, block: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let data = block.get(self.bytes..)?;
        if self.lacing == Lacing::None {
            return Some(vec![data]);
        }
        let (&last, mut rest) = data.split_first()?;
        let laced = usize::from(last);
        if self.lacing == Lacing::Fixed {
            let frames = laced + 1;
            if rest.is_empty() || !rest.len().is_multiple_of(frames) {
                return None;
            }
            return Some(rest.chunks(rest.len() / frames).collect());
        }
        let mut sizes = Vec::with_capacity(laced);
        let mut size: i64 = 0;
        for index in 0..laced {
            if self.lacing == Lacing::Xiph {
                let full = rest.iter().take_while(|&&byte| byte == 255).count();
                let end = *rest.get(full)?;
                size = 255 * full as i64 + i64::from(end);
                rest = &rest[full + 1..];
            } else {
                let (value, bytes) = vint(rest)?;
                let value = value? as i64;
                size = if index == 0 {
                    value
                } else {
                    // Differences are stored with half their range added.
                    let half = (1_i64 << (7 * bytes - 1)) - 1;
                    size.checked_add(value - half)?
                };
                rest = &rest[bytes..];
            }
            sizes.push(usize::try_from(size).ok()?);
        }
        let mut frames = Vec::with_capacity(laced + 1);
        for size in sizes {
            let (frame, tail) = rest.split_at_checked(size)?;
            frames.push(frame);
            rest = tail;
        }
        frames.push(rest);
        Some(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(flags: u8, data: &[u8]) -> Option<Vec<usize>> {
        let block: Vec<u8> = [0x81, 0, 5, flags].iter().chain(data).copied().collect();
        let header = BlockHeader::parse(&block).unwrap();
        assert_eq!((header.track, header.timestamp), (1, 5));
        header
            .frames(&block)
            .map(|frames| frames.iter().map(|frame| frame.len()).collect())
    }

    #[test]
    fn every_lacing_is_taken_apart() {
        assert_eq!(frames(0x80, &[1, 2, 3]), Some(vec![3]));
        let xiph: Vec<u8> = [2, 255, 5, 3].into_iter().chain([0; 265]).collect();
        assert_eq!(frames(0x02, &xiph), Some(vec![260, 3, 2]));
        assert_eq!(frames(0x04, &[2, 1, 1, 2, 2, 3, 3]), Some(vec![2, 2, 2]));
        // 5, then 5 - 2, the rest.
        let ebml = [2, 0x85, 0xbf - 2, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(frames(0x06, &ebml), Some(vec![5, 3, 1]));
    }

    #[test]
    fn a_lace_that_does_not_add_up_is_refused() {
        assert_eq!(frames(0x02, &[255, 255]), None);
        assert_eq!(frames(0x02, &[1, 9, 0]), None);
        assert_eq!(frames(0x04, &[2, 1, 1]), None);
        assert_eq!(frames(0x04, &[255]), None);
        assert_eq!(frames(0x06, &[2, 0x81, 0x80, 0]), None);
        assert_eq!(frames(0x06, &[]), None);
        assert_eq!(BlockHeader::parse(&[0x81, 0, 0]), None);
    }
}
