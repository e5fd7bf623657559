//! Checks a ggml model file before whisper.cpp sees it: what is damaged aborts the process there.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::mel::BINS;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: u32 = 0x6767_6d6c;
/// Lengths in a real file stay far below; a damaged length must not become an allocation.
const MAX_TOKEN_BYTES: u32 = 1 << 16;
const MAX_NAME_BYTES: u32 = 256;

/// What is read of a file before whisper.cpp loads it.
#[derive(Debug)]
pub struct ModelFile {
    /// Its size, which is that of the weights but for some thousand.
    pub bytes: u64,
    /// Tokens of its vocabulary.
    pub vocabulary: u32,
    /// Width of the encoder.
    pub audio_state: u32,
    /// Attention heads of an encoder layer.
    pub audio_heads: u32,
    /// Encoder layers.
    pub audio_layers: u32,
    /// Width of the decoder.
    pub text_state: u32,
    /// Decoder layers.
    pub text_layers: u32,
    /// Attention heads of a decoder layer.
    pub text_heads: u32,
    /// A row of weights for each mel band.
    pub mel_filters: Vec<f32>,
}

/// Fails unless the file at `path` is a complete Whisper model in ggml format.
pub fn check(path: &Path) -> Result<ModelFile> {
    let not_found = |cause: io::Error| {
        Error::new(
            ErrorKind::ModelNotFound,
            format!("cannot open the model file '{}'", path.display()),
        )
        .caused_by(cause)
    };
    let invalid = |what: String| {
        Error::new(
            ErrorKind::ModelInvalid,
            format!(
                "'{}' is not a usable Whisper model: {what}; fetch it again",
                path.display()
            ),
        )
    };
    // Looked at first: opening a pipe waits for a writer.
    let metadata = std::fs::metadata(path).map_err(not_found)?;
    if !metadata.is_file() {
        return Err(invalid("it is not a regular file".into()));
    }
    let file = File::open(path).map_err(not_found)?;
    match check_reader(BufReader::new(file)) {
        Ok(found) => Ok(found),
        Err(Damage::Format(what)) => Err(invalid(what)),
        Err(Damage::Io(cause)) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            Err(invalid("the file is truncated".into()))
        }
        Err(Damage::Io(cause)) => Err(invalid("it cannot be read".into()).caused_by(cause)),
    }
}

#[derive(Debug)]
enum Damage {
    Io(io::Error),
    Format(String),
}

impl From<io::Error> for Damage {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

struct Header {
    vocabulary: u32,
    audio_state: u32,
    audio_heads: u32,
    audio_layers: u32,
    text_state: u32,
    text_heads: u32,
    text_layers: u32,
    mels: u32,
}

fn check_reader(mut file: impl Read + Seek) -> std::result::Result<ModelFile, Damage> {
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let header = read_header(&mut file)?;
    let mel_filters = read_mel_filters(&mut file, header.mels)?;
    skip_vocabulary(&mut file)?;
    let mut tensors = 0;
    while file.stream_position()? < size {
        skip_tensor(&mut file, size)?;
        tensors += 1;
    }
    // Seven encoder tensors and four decoder tensors of their own, then those of each layer.
    let expected = 11 + 15 * header.audio_layers + 24 * header.text_layers;
    if tensors != expected {
        return Err(Damage::Format(format!(
            "it holds {tensors} tensors where {expected} belong"
        )));
    }
    Ok(ModelFile {
        bytes: size,
        vocabulary: header.vocabulary,
        audio_state: header.audio_state,
        audio_heads: header.audio_heads,
        audio_layers: header.audio_layers,
        text_state: header.text_state,
        text_layers: header.text_layers,
        text_heads: header.text_heads,
        mel_filters,
    })
}

fn read_header(file: &mut impl Read) -> std::result::Result<Header, Damage> {
    let magic = read_u32(file)?;
    if magic != MAGIC {
        return Err(Damage::Format(format!(
            "it begins with {magic:#010x}, not with ggml's {MAGIC:#010x}"
        )));
    }
    let mut field = |name: &str, max: u32| {
        let value = read_u32(file)?;
        if value == 0 || value > max {
            return Err(Damage::Format(format!("its header says {name} {value}")));
        }
        Ok(value)
    };
    let vocabulary = field("n_vocab", 100_000)?;
    field("n_audio_ctx", 1500)?;
    let audio_state = field("n_audio_state", 8192)?;
    let audio_heads = field("n_audio_head", 256)?;
    let audio_layers = field("n_audio_layer", 128)?;
    field("n_text_ctx", 4096)?;
    let text_state = field("n_text_state", 8192)?;
    let text_heads = field("n_text_head", 256)?;
    let text_layers = field("n_text_layer", 128)?;
    let mels = field("n_mels", 128)?;
    // The type of the weights, 0 for f32; each tensor names its own.
    read_u32(file)?;
    Ok(Header {
        vocabulary,
        audio_state,
        audio_heads,
        audio_layers,
        text_state,
        text_heads,
        text_layers,
        mels,
    })
}

fn read_mel_filters(file: &mut impl Read, mels: u32) -> std::result::Result<Vec<f32>, Damage> {
    let (bands, bins) = (read_u32(file)?, read_u32(file)?);
    if bands != mels || bins as usize != BINS {
        return Err(Damage::Format(format!(
            "its mel filters are {bands} × {bins}, expected {mels} × {BINS}"
        )));
    }
    // At most 128 bands.
    (0..bands * bins)
        .map(|_| Ok(f32::from_bits(read_u32(file)?)))
        .collect()
}

fn skip_vocabulary(file: &mut (impl Read + Seek)) -> std::result::Result<(), Damage> {
    let tokens = read_u32(file)?;
    if tokens == 0 || tokens > 100_000 {
        return Err(Damage::Format(format!(
            "its vocabulary has {tokens} tokens"
        )));
    }
    for index in 0..tokens {
        let length = read_u32(file)?;
        if length > MAX_TOKEN_BYTES {
            return Err(Damage::Format(format!(
                "token {index} is {length} bytes long"
            )));
        }
        skip(file, u64::from(length))?;
    }
    Ok(())
}

fn skip_tensor(file: &mut (impl Read + Seek), size: u64) -> std::result::Result<(), Damage> {
    let (dimensions, name_bytes, kind) = (read_u32(file)?, read_u32(file)?, read_u32(file)?);
    if !(1..=4).contains(&dimensions) || name_bytes == 0 || name_bytes > MAX_NAME_BYTES {
        return Err(Damage::Format("a tensor's header is damaged".into()));
    }
    let mut elements = 1_u64;
    for _ in 0..dimensions {
        elements = elements.saturating_mul(u64::from(read_u32(file)?));
    }
    skip(file, u64::from(name_bytes))?;
    let Some((block_elements, block_bytes)) = block(kind) else {
        return Err(Damage::Format(format!(
            "a tensor has the unknown type {kind}"
        )));
    };
    if elements == 0 || !elements.is_multiple_of(block_elements) {
        return Err(Damage::Format("a tensor's shape is damaged".into()));
    }
    let bytes = (elements / block_elements).saturating_mul(block_bytes);
    if bytes > size.saturating_sub(file.stream_position()?) {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    skip(file, bytes)
}

/// Elements and bytes of a block of ggml's tensor types.
fn block(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 => (1, 4),      // f32
        1 | 30 => (1, 2), // f16, bf16
        2 => (32, 18),    // q4_0
        3 => (32, 20),    // q4_1
        6 => (32, 22),    // q5_0
        7 => (32, 24),    // q5_1
        8 => (32, 34),    // q8_0
        10 => (256, 84),  // q2_K
        11 => (256, 110), // q3_K
        12 => (256, 144), // q4_K
        13 => (256, 176), // q5_K
        14 => (256, 210), // q6_K
        _ => return None,
    })
}

fn read_u32(file: &mut impl Read) -> std::result::Result<u32, Damage> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn skip(file: &mut impl Seek, bytes: u64) -> std::result::Result<(), Damage> {
    // A seek past the end succeeds, and the next read finds the end of the file.
    let bytes = i64::try_from(bytes).map_err(|_| Damage::Format("a length is damaged".into()))?;
    file.seek_relative(bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn words(values: &[u32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn tensor(kind: u32, elements: u32, bytes: usize) -> Vec<u8> {
        let mut tensor = words(&[1, 1, kind, elements]);
        tensor.push(b'w');
        tensor.extend(vec![0; bytes]);
        tensor
    }

    /// One layer each: 50 tensors.
    fn model() -> Vec<u8> {
        let mut model = words(&[MAGIC, 3, 1500, 4, 1, 1, 448, 4, 1, 1, 2, 1, 2, 201]);
        model.extend(vec![0; 2 * 201 * 4]);
        model.extend(words(&[2, 1]));
        model.push(b'a');
        model.extend(words(&[3]));
        model.extend(b"abc");
        for _ in 0..49 {
            model.extend(tensor(1, 8, 16));
        }
        model.extend(tensor(8, 32, 34));
        model
    }

    fn check(bytes: Vec<u8>) -> std::result::Result<ModelFile, Damage> {
        check_reader(Cursor::new(bytes))
    }

    #[test]
    fn a_complete_file_passes() {
        let found = check(model()).unwrap();
        assert_eq!(found.bytes, model().len() as u64);
        assert_eq!(found.mel_filters.len(), 2 * BINS);
    }

    #[test]
    fn every_truncation_is_found() {
        let whole = model();
        for length in 0..whole.len() {
            assert!(check(whole[..length].to_vec()).is_err(), "{length}");
        }
    }

    #[test]
    fn bytes_behind_the_end_are_found() {
        let mut long = model();
        long.push(0);
        assert!(check(long).is_err());
    }

    #[test]
    fn a_wrong_magic_is_named() {
        let mut gguf = model();
        gguf[..4].copy_from_slice(b"GGUF");
        let Err(Damage::Format(what)) = check(gguf) else {
            panic!("accepted")
        };
        assert!(what.contains("not with ggml's"), "{what}");
    }

    #[test]
    fn damaged_lengths_never_become_allocations() {
        let whole = model();
        for at in (0..whole.len() - 4).step_by(3) {
            let mut damaged = whole.clone();
            damaged[at..at + 4].fill(0xff);
            let _ = check(damaged);
        }
    }
}
