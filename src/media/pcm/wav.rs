//! RIFF WAVE: where the audio is, found here, because recorders leave sizes unset and
//! symphonia-format-riff 0.6 takes a data size of 0 for silence, knows no RF64, and fails where
//! the outer size is wrong. It is shown a header that is right.

use super::super::unsupported;
use super::super::warnings::Warnings;
use super::input::Input;
use crate::error::Result;

/// Real files have a dozen.
const MAX_CHUNKS: usize = 1_000;
const MAX_FORMAT_BYTES: u64 = 1_024;
/// Sizes from here on are what writers to a pipe put where they cannot know: 2 GiB or 4 GiB less
/// some header.
const UNSET_SIZES: std::ops::RangeInclusive<u64> = 0x7fff_0000..=0xffff_ffff;

/// What the header says.
pub(super) struct Wav {
    /// For people: `16-bit PCM`.
    pub(super) codec: String,
}

/// Finds format and data, and has the input show just them.
pub(super) fn prepare(input: &mut Input, warnings: &mut Warnings) -> Result<Wav> {
    let is_64 = input.peek(0, 4)? != b"RIFF";
    let mut at = 12;
    let mut format = None;
    let mut data_size_64 = None;
    for _ in 0..MAX_CHUNKS {
        let header = input.peek(at, 8)?;
        let [a, b, c, d, size @ ..] = header.as_slice() else {
            break;
        };
        let Some(size) = size
            .first_chunk()
            .map(|size| u64::from(u32::from_le_bytes(*size)))
        else {
            break;
        };
        let body = at + 8;
        match [*a, *b, *c, *d] {
            [b'f', b'm', b't', b' '] => {
                if size > MAX_FORMAT_BYTES {
                    return Err(unsupported("this is WAV with a damaged format chunk"));
                }
                format = Some(input.peek(body, size as usize)?);
            }
            [b'd', b's', b'6', b'4'] => {
                let sizes = input.peek(body, 16)?;
                data_size_64 = sizes
                    .get(8..16)
                    .and_then(|size| size.first_chunk().copied())
                    .map(u64::from_le_bytes);
            }
            [b'd', b'a', b't', b'a'] => {
                let Some(format) = format else {
                    return Err(unsupported(
                        "this is WAV without a format chunk before its audio; it is damaged",
                    ));
                };
                let size = match data_size_64 {
                    Some(size_64) if is_64 && size == 0xffff_ffff => size_64,
                    _ => size,
                };
                return show(input, warnings, &format, body, size);
            }
            _ => {}
        }
        // Chunks are padded to even sizes.
        at = body + size + size % 2;
    }
    Err(unsupported(
        "this is WAV without audio: it ends before the data chunk. It is cut short or damaged",
    ))
}

fn show(
    input: &mut Input,
    warnings: &mut Warnings,
    format: &[u8],
    body: u64,
    size: u64,
) -> Result<Wav> {
    let there = input.len().saturating_sub(body);
    let unset = UNSET_SIZES.contains(&size) && size > there
        || size == 0 && !ends_with_chunk(input, body, there)?;
    let audio = if unset { there } else { size.min(there) };
    if size > there && !unset {
        warnings.note("cut short", || {
            format!(
                "the WAV header announces {size} bytes of audio and only {there} are there: the \
                 file is cut short"
            )
        });
    }
    if there > audio && !ends_with_chunk(input, body + audio + audio % 2, there - audio)? {
        warnings.note("more behind", || {
            format!(
                "{} bytes after the audio that the WAV header announces are not read (byte {})",
                there - audio,
                body + audio
            )
        });
    }
    let coding = Coding::parse(format)?;
    let format = coding.to_bytes();
    let mut prefix = b"RIFF\xff\xff\xff\xffWAVEfmt ".to_vec();
    prefix.extend((format.len() as u32).to_le_bytes());
    prefix.extend(format);
    prefix.extend(b"data");
    prefix.extend(u32::try_from(audio).unwrap_or(u32::MAX).to_le_bytes());
    input.show(prefix, body..body + audio);
    Ok(Wav {
        codec: coding.name(),
    })
}

/// Whether `bytes` from here are whole chunks with printable names, or too few to be one.
fn ends_with_chunk(input: &mut Input, mut at: u64, bytes: u64) -> Result<bool> {
    let end = at + bytes;
    for _ in 0..MAX_CHUNKS {
        let header = input.peek(at, 8)?;
        let [id @ .., a, b, c, d] = header.as_slice() else {
            return Ok(true);
        };
        if id.len() < 4 {
            return Ok(true);
        }
        if id == b"RIFF" || !id.iter().all(|&byte| (0x20..0x7f).contains(&byte)) {
            return Ok(false);
        }
        let size = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
        at = at + 8 + size + size % 2;
        // A writer may leave the last pad byte out.
        if at >= end {
            return Ok(at <= end + 1);
        }
    }
    Ok(false)
}

/// How samples are written.
struct Coding {
    tag: u16,
    channels: u16,
    rate_hz: u32,
    bits: u16,
}

impl Coding {
    const PCM: u16 = 1;
    const FLOAT: u16 = 3;
    const A_LAW: u16 = 6;
    const MU_LAW: u16 = 7;
    const EXTENSIBLE: u16 = 0xfffe;

    /// Reads a format chunk of any length, or fails where the coding is not supported.
    fn parse(format: &[u8]) -> Result<Self> {
        let field = |at: usize| -> Option<u16> {
            Some(u16::from_le_bytes(*format.get(at..)?.first_chunk()?))
        };
        let (Some(tag), Some(channels), Some(low), Some(high)) =
            (field(0), field(2), field(4), field(6))
        else {
            return Err(unsupported(
                "this is WAV with a format chunk that is cut short",
            ));
        };
        let bits = field(14).unwrap_or(8);
        // The extensible format has the real tag at the front of its subformat.
        let tag = match field(24) {
            Some(subformat) if tag == Self::EXTENSIBLE => subformat,
            _ => tag,
        };
        let rate_hz = u32::from(high) << 16 | u32::from(low);
        // 20 bits are written as 24.
        let bits = bits.checked_next_multiple_of(8).unwrap_or(0);
        let supported = match tag {
            Self::PCM => (8..=32).contains(&bits),
            Self::FLOAT => bits == 32 || bits == 64,
            Self::A_LAW | Self::MU_LAW => bits == 8,
            _ => false,
        };
        if !supported {
            return Err(unsupported(format!(
                "this is WAV with {}; of WAV, PCM of 8 to 32 bits, float, A-law and mu-law are \
                 supported",
                unsupported_name(tag, bits)
            )));
        }
        super::check_shape(rate_hz, usize::from(channels))?;
        Ok(Self {
            tag,
            channels,
            rate_hz,
            bits,
        })
    }

    /// As the plain format chunk that every reader takes: symphonia refuses some lengths of it,
    /// and its arithmetic overflows on some channel masks.
    fn to_bytes(&self) -> Vec<u8> {
        let block = self.channels * self.bits / 8;
        let mut bytes = Vec::with_capacity(18);
        bytes.extend(self.tag.to_le_bytes());
        bytes.extend(self.channels.to_le_bytes());
        bytes.extend(self.rate_hz.to_le_bytes());
        bytes.extend((self.rate_hz * u32::from(block)).to_le_bytes());
        bytes.extend(block.to_le_bytes());
        bytes.extend(self.bits.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    fn name(&self) -> String {
        match self.tag {
            Self::A_LAW => "A-law".into(),
            Self::MU_LAW => "mu-law".into(),
            Self::FLOAT => format!("{}-bit float", self.bits),
            _ => format!("{}-bit PCM", self.bits),
        }
    }
}

fn unsupported_name(tag: u16, bits: u16) -> String {
    let name = match tag {
        Coding::PCM | Coding::FLOAT | Coding::A_LAW | Coding::MU_LAW => {
            return format!("samples of {bits} bits (format {tag})");
        }
        2 => "Microsoft ADPCM",
        0x11 => "IMA ADPCM",
        0x31 => "GSM 6.10",
        0x50 => "MPEG audio",
        0x55 => "MP3",
        0xff => "AAC",
        0x161 | 0x162 => "Windows Media audio",
        _ => "an unknown coding",
    };
    format!("{name} (format {tag:#06x})")
}
