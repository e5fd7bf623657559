//! The outside of an Opus packet: table of contents, frame lengths, duration (RFC 6716, section 3).
//!
//! Every packet is checked here before libopus sees it. Pure.

use std::fmt;

/// The longest packet, 120 ms at 48 kHz (RFC 6716, section 3.2.5, rule R5).
const MAX_PACKET_SAMPLES_48K: usize = 5760;
/// The longest frame in bytes (section 3.2.1, rule R2).
const MAX_FRAME_BYTES: usize = 1275;

/// Why a packet breaks RFC 6716, section 3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// R1: no byte at all.
    Empty,
    /// R2: a frame of more than 1275 bytes.
    FrameTooLong,
    /// R3: code 1 with an odd number of bytes to share.
    OddCode1,
    /// R4 or R7: a length points past the end.
    Truncated,
    /// R5: no frame, or more than 120 ms.
    FrameCount,
    /// R6: constant bit rate with bytes that do not divide by the frames.
    UnevenCbr,
    /// R6 or R7: padding beyond the end.
    Padding,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty (R1)",
            Self::FrameTooLong => "a frame is longer than 1275 bytes (R2)",
            Self::OddCode1 => "two equal frames in an odd number of bytes (R3)",
            Self::Truncated => "a frame reaches past its end (R4, R7)",
            Self::FrameCount => "it holds no frame or more than 120 ms (R5)",
            Self::UnevenCbr => "its bytes do not divide by its frames (R6)",
            Self::Padding => "its padding reaches past its end (R6, R7)",
        })
    }
}

/// What the outside of a well-formed packet tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outside {
    /// Duration in samples at 48 kHz.
    pub samples_48k: usize,
    /// Duration of each of its frames.
    pub frame_samples_48k: usize,
    /// The packet carries its predecessor a second time, at a lower rate (in-band FEC).
    pub has_fec: bool,
    /// Coded by CELT alone, which has no FEC.
    pub celt_only: bool,
}

/// Reads the outside of a packet, or tells the rule it breaks.
pub fn parse(packet: &[u8]) -> Result<Outside, Malformed> {
    let (&toc, body) = packet.split_first().ok_or(Malformed::Empty)?;
    let frame_samples_48k = frame_samples_48k(toc);
    let (frames, first) = match toc & 0b11 {
        0 => {
            check_frame(body.len())?;
            (1, body)
        }
        1 => {
            if !body.len().is_multiple_of(2) {
                return Err(Malformed::OddCode1);
            }
            check_frame(body.len() / 2)?;
            (2, &body[..body.len() / 2])
        }
        2 => {
            let (length, rest) = take_length(body)?;
            let (first, second) = rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
            check_frame(first.len())?;
            check_frame(second.len())?;
            (2, first)
        }
        _ => parse_code3(frame_samples_48k, body)?,
    };
    Ok(Outside {
        samples_48k: frames * frame_samples_48k,
        frame_samples_48k,
        has_fec: has_fec(toc, frame_samples_48k, first),
        celt_only: is_celt_only(toc),
    })
}

/// The duration of a well-formed packet in samples at 48 kHz, or the rule it breaks.
pub fn samples_48k(packet: &[u8]) -> Result<usize, Malformed> {
    parse(packet).map(|outside| outside.samples_48k)
}

fn is_celt_only(toc: u8) -> bool {
    toc >> 3 >= 16
}

/// Section 4.2.3: a SILK layer begins, for each channel, with a bit of voice activity for each of
/// its 20 ms and one bit that says whether redundancy follows.
fn has_fec(toc: u8, frame_samples_48k: usize, first_frame: &[u8]) -> bool {
    const MS_20: usize = 960;
    let Some(&bits) = first_frame.first() else {
        return false;
    };
    let activity_bits = frame_samples_48k.div_ceil(MS_20);
    let mid = bits >> (7 - activity_bits) & 1 == 1;
    // The second channel's bits follow the first's, unless they lie past the byte.
    let side =
        toc & 0b100 != 0 && 2 * activity_bits <= 6 && bits >> (6 - 2 * activity_bits) & 1 == 1;
    !is_celt_only(toc) && (mid || side)
}

/// Section 3.1, table 2: the top five bits name mode, bandwidth and frame size.
fn frame_samples_48k(toc: u8) -> usize {
    const MS_10: usize = 480;
    let config = toc >> 3;
    let step = usize::from(config & 0b11);
    match config {
        0..=11 => [MS_10, 2 * MS_10, 4 * MS_10, 6 * MS_10][step],
        12..=15 => MS_10 << (config & 1),
        _ => (MS_10 / 4) << step,
    }
}

/// Section 3.2.5: a frame count byte, optional padding, then constant or variable lengths. Gives
/// the number of frames and the first of them.
fn parse_code3(frame_samples: usize, body: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let (&head, mut rest) = body.split_first().ok_or(Malformed::Truncated)?;
    let frames = usize::from(head & 0x3f);
    if frames == 0 || frames * frame_samples > MAX_PACKET_SAMPLES_48K {
        return Err(Malformed::FrameCount);
    }
    if head & 0x40 != 0 {
        let mut padding = 0;
        loop {
            let (&byte, tail) = rest.split_first().ok_or(Malformed::Padding)?;
            rest = tail;
            // 255 says: 254 bytes of padding, and another length byte follows.
            padding += usize::from(byte.min(254));
            if byte != 255 {
                break;
            }
        }
        let kept = rest.len().checked_sub(padding).ok_or(Malformed::Padding)?;
        rest = &rest[..kept];
    }
    if head & 0x80 == 0 {
        if !rest.len().is_multiple_of(frames) {
            return Err(Malformed::UnevenCbr);
        }
        let length = rest.len() / frames;
        check_frame(length)?;
        return Ok((frames, &rest[..length]));
    }
    let mut sum = 0;
    let mut first = None;
    for _ in 1..frames {
        let (length, tail) = take_length(rest)?;
        check_frame(length)?;
        first.get_or_insert(length);
        sum += length;
        rest = tail;
    }
    let last = rest.len().checked_sub(sum).ok_or(Malformed::Truncated)?;
    check_frame(last)?;
    Ok((frames, &rest[..first.unwrap_or(last)]))
}

/// Section 3.2.1: one byte up to 251, else two bytes, the second counting fours.
fn take_length(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    match bytes {
        [first @ 0..=251, rest @ ..] => Ok((usize::from(*first), rest)),
        [first, second, rest @ ..] => Ok((usize::from(*first) + 4 * usize::from(*second), rest)),
        _ => Err(Malformed::Truncated),
    }
}

fn check_frame(bytes: usize) -> Result<(), Malformed> {
    if bytes > MAX_FRAME_BYTES {
        return Err(Malformed::FrameTooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toc(config: u8, code: u8) -> u8 {
        config << 3 | code
    }

    #[test]
    fn durations_follow_table_2() {
        let ms = |config| samples_48k(&[toc(config, 0), 0]).unwrap() as f64 / 48.0;
        let silk: Vec<_> = (0..4).map(ms).collect();
        assert_eq!(silk, [10.0, 20.0, 40.0, 60.0]);
        assert_eq!((ms(12), ms(13), ms(14), ms(15)), (10.0, 20.0, 10.0, 20.0));
        let celt: Vec<_> = (28..32).map(ms).collect();
        assert_eq!(celt, [2.5, 5.0, 10.0, 20.0]);
    }

    #[test]
    fn each_rule_is_enforced() {
        let long = [toc(0, 0)].into_iter().chain(vec![0; 1276]).collect();
        let cases: [(Vec<u8>, Malformed); 9] = [
            (vec![], Malformed::Empty),
            (long, Malformed::FrameTooLong),
            (vec![toc(1, 1), 1, 2, 3], Malformed::OddCode1),
            (vec![toc(1, 2), 9, 1], Malformed::Truncated),
            (vec![toc(1, 2), 252], Malformed::Truncated),
            (vec![toc(1, 3), 0], Malformed::FrameCount),
            (vec![toc(1, 3), 7], Malformed::FrameCount),
            (vec![toc(1, 3), 2, 0], Malformed::UnevenCbr),
            (vec![toc(1, 3), 0x41, 9, 0], Malformed::Padding),
        ];
        for (packet, rule) in cases {
            assert_eq!(samples_48k(&packet), Err(rule), "{packet:?}");
        }
        let vbr_short = [toc(1, 3), 0x82, 5, 0];
        assert_eq!(samples_48k(&vbr_short), Err(Malformed::Truncated));
    }

    #[test]
    fn every_frame_packing_gives_its_duration() {
        let ms = |packet: &[u8]| samples_48k(packet).map(|samples| samples as f64 / 48.0);
        assert_eq!(ms(&[toc(1, 0)]), Ok(20.0));
        assert_eq!(ms(&[toc(1, 1), 1, 2]), Ok(40.0));
        assert_eq!(ms(&[toc(1, 2), 1, 7, 8, 9]), Ok(40.0));
        assert_eq!(ms(&[toc(1, 3), 3, 1, 2, 3]), Ok(60.0));
        assert_eq!(ms(&[toc(1, 3), 0x83, 1, 1, 1, 2, 3, 4]), Ok(60.0));
        assert_eq!(ms(&[toc(1, 3), 0x41, 2, 5, 0, 0]), Ok(20.0));
        assert_eq!(ms(&[toc(28, 3), 48]), Ok(120.0));
    }

    #[test]
    fn redundancy_is_told_by_the_bit_behind_the_voice_activity() {
        let fec = |packet: &[u8]| parse(packet).unwrap().has_fec;
        // 20 ms and 10 ms: one bit of activity. 60 ms: three.
        assert!(fec(&[toc(9, 0), 0b0100_0000, 0]) && !fec(&[toc(9, 0), 0b1011_1111, 0]));
        assert!(fec(&[toc(8, 0), 0b0100_0000, 0]));
        assert!(fec(&[toc(11, 0), 0b0001_0000, 0]) && !fec(&[toc(11, 0), 0b1110_1111, 0]));
        // Stereo: the second channel's bits follow.
        let stereo = toc(9, 0) | 0b100;
        assert!(fec(&[stereo, 0b0001_0000, 0]) && !fec(&[stereo, 0b1010_1111, 0]));
        // CELT has none, and neither has a frame of no bytes.
        assert!(!fec(&[toc(31, 0), 0xff, 0]) && !fec(&[toc(9, 0)]));
        // In the first frame of several.
        assert!(fec(&[toc(9, 3), 0x82, 1, 0b0100_0000, 0]));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for first in 0..=255 {
            for second in 0..=255 {
                for length in 0..6 {
                    let mut packet = vec![255; length + 2];
                    (packet[0], packet[1]) = (first, second);
                    let _ = samples_48k(&packet);
                }
            }
        }
    }
}
