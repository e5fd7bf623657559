//! What the first bytes are, in the words of the person who has the file.

use super::bytes::ByteReader;
use super::pcm::Container;
use super::{SUPPORTED, unsupported};
use crate::error::{Error, Result};

/// What can be read, by who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ogg,
    Webm,
    Pcm(Container),
}

/// Bytes that name a kind; no signature here needs more.
const SIGNATURE_BYTES: usize = 16;
/// How far the traces of a recording's later pieces are looked for, in messages only.
const TRACE_BYTES: usize = 64 * 1024;

/// Names the kind and consumes nothing but an ID3 tag in front.
pub(super) fn sniff(reader: &mut ByteReader) -> Result<Kind> {
    reader.ensure(SIGNATURE_BYTES)?;
    let front = reader.window();
    if let Some(kind) = supported(front) {
        return Ok(kind);
    }
    if let Some(tag_bytes) = id3_bytes(front) {
        let whole = reader.skip(tag_bytes)?;
        reader.ensure(SIGNATURE_BYTES)?;
        return match supported(reader.window()) {
            Some(kind) => Ok(kind),
            None if whole => Err(refused("an ID3 tag without MP3 audio after it")),
            None => Err(refused(
                "an ID3 tag and nothing else; the file is cut short",
            )),
        };
    }
    // Live input is judged by what has come, rather than waited for.
    if !reader.is_live() {
        reader.ensure(TRACE_BYTES)?;
    }
    Err(explain(reader.window()))
}

fn supported(front: &[u8]) -> Option<Kind> {
    let at = |offset: usize, magic: &[u8]| {
        front
            .get(offset..)
            .is_some_and(|bytes| bytes.starts_with(magic))
    };
    let is_riff = at(0, b"RIFF") || at(0, b"RF64") || at(0, b"BW64");
    if at(0, b"OggS") {
        Some(Kind::Ogg)
    } else if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
        Some(Kind::Webm)
    } else if is_riff && at(8, b"WAVE") {
        Some(Kind::Pcm(Container::Wav))
    } else if at(0, b"fLaC") {
        Some(Kind::Pcm(Container::Flac))
    } else if at(4, b"ftyp") {
        Some(Kind::Pcm(Container::Mp4))
    } else {
        mpeg_audio(front).map(Kind::Pcm)
    }
}

/// MPEG audio has no signature, only frame headers: eleven set bits and fields with values that
/// are not allowed.
fn mpeg_audio(front: &[u8]) -> Option<Container> {
    let &[0xff, second, third, ..] = front else {
        return None;
    };
    if second & 0xf6 == 0xf0 {
        let rate_index = third >> 2 & 0xf;
        return (rate_index < 13).then_some(Container::Adts);
    }
    let version = second >> 3 & 0b11;
    let layer = second >> 1 & 0b11;
    let valid = second & 0xe0 == 0xe0
        && version != 1
        && third >> 4 != 15
        && third >> 4 != 0
        && third >> 2 & 0b11 != 3;
    // Layer 3; layers 1 and 2 are named as unsupported.
    (valid && layer == 1).then_some(Container::Mp3)
}

/// Length of an ID3 tag in front, header included.
fn id3_bytes(front: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', _, _, flags, size @ ..] = front else {
        return None;
    };
    let size = size.get(..4)?;
    if size.iter().any(|&byte| byte & 0x80 != 0) {
        return None;
    }
    let size = size
        .iter()
        .fold(0, |size, &byte| size << 7 | u64::from(byte));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    Some(10 + size + footer)
}

fn refused(found: &str) -> Error {
    unsupported(format!(
        "this is {found}; supported are {SUPPORTED} (live: Ogg and WebM). Convert it to one of them"
    ))
}

/// Names what is not supported.
fn explain(front: &[u8]) -> Error {
    const LATER_PIECE: &str = "this is a later piece of a recording, without the header that only \
                               the first piece has: concatenate the pieces from the first one (for \
                               MediaRecorder, all blobs in their order)";
    if front.is_empty() {
        return unsupported("the input is empty, 0 bytes");
    }
    if front.iter().all(|&byte| byte == 0) {
        return refused("nothing but zeros, as a file that was never written to");
    }
    if front.starts_with(b"RIFF") {
        let found = match front.get(8..12) {
            Some(b"AVI ") => "AVI video",
            Some(_) => "a RIFF file that is not WAVE",
            None => "a RIFF file that is cut short",
        };
        return refused(found);
    }
    if let Some((_, name)) = KNOWN
        .iter()
        .find(|((offset, magic), _)| front.get(*offset..).is_some_and(|at| at.starts_with(magic)))
    {
        return refused(name);
    }
    if is_later_webm(front) || matches!(front.get(4..8), Some(b"moof" | b"styp" | b"sidx")) {
        return unsupported(LATER_PIECE);
    }
    if front.windows(4).any(|bytes| bytes == b"OggS") {
        return unsupported(format!(
            "{LATER_PIECE}; or bytes stand before its beginning"
        ));
    }
    if matches!(front, [0xff, 0xfa..=0xff | 0xf2..=0xf7 | 0xe2..=0xe7, ..]) {
        return refused("MPEG audio of layer 1 or 2, or a damaged MP3");
    }
    if front.first() == Some(&0x47) && (front.len() < 189 || front.get(188) == Some(&0x47)) {
        return refused("an MPEG transport stream");
    }
    if is_length_prefixed(front) {
        return refused(
            "what looks like bare packets behind their lengths; splitPackets takes them \
             apart for transcribe",
        );
    }
    if is_text(front) {
        return refused("text");
    }
    let shown: Vec<String> = front
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    refused(&format!(
        "of no known kind (it begins with the bytes {})",
        shown.join(" ")
    ))
}

/// Signatures of what is not supported, with their places.
const KNOWN: [((usize, &[u8]), &str); 29] = [
    ((4, b"moov"), "QuickTime of before MP4 (without ftyp)"),
    ((4, b"mdat"), "QuickTime of before MP4 (without ftyp)"),
    ((4, b"wide"), "QuickTime of before MP4 (without ftyp)"),
    ((0, b"#!AMR"), "AMR audio"),
    (
        (0, &[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11]),
        "Windows Media (ASF, WMA)",
    ),
    ((8, b"AIFF"), "AIFF audio"),
    ((8, b"AIFC"), "AIFF audio (AIFC)"),
    ((0, b"caff"), "Core Audio (CAF)"),
    ((0, b"RIFX"), "WAV with its bytes reversed (RIFX)"),
    ((0, b".snd"), "AU audio"),
    ((0, b"FLV"), "Flash video"),
    ((0, b"MAC "), "Monkey's Audio"),
    ((0, b"wvpk"), "WavPack"),
    ((0, b"TTA1"), "True Audio"),
    ((0, b"MThd"), "MIDI"),
    ((0, b"OpusHead"), "an Opus header without its container"),
    (
        (0, &[0x00, 0x00, 0x01, 0xba]),
        "MPEG video (program stream)",
    ),
    ((0, &[0x0b, 0x77]), "AC-3 audio"),
    ((0, b"{"), "JSON"),
    ((0, b"["), "JSON"),
    ((0, b"<"), "HTML or XML"),
    ((0, b"PK\x03\x04"), "a ZIP archive"),
    ((0, &[0x1f, 0x8b]), "a gzip archive"),
    ((0, b"%PDF"), "a PDF document"),
    ((0, b"\x89PNG"), "a PNG image"),
    ((0, &[0xff, 0xd8, 0xff]), "a JPEG image"),
    ((0, b"GIF8"), "a GIF image"),
    ((0, b"lmgg"), "a whisper.cpp model"),
    ((0, b"data:"), "a data: URL; decode its Base64 first"),
];

/// A cluster, or blocks of one, without the header before them.
fn is_later_webm(front: &[u8]) -> bool {
    const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
    let is_block = |at: usize| -> Option<usize> {
        let (size, size_bytes) = match *front.get(at + 1..)? {
            [first @ 0x80..=0xff, ..] => (usize::from(first & 0x7f), 1),
            [first @ 0x40..=0x7f, second, ..] => {
                (usize::from(first & 0x3f) << 8 | usize::from(second), 2)
            }
            _ => return None,
        };
        let track = *front.get(at + 1 + size_bytes)?;
        (front[at] == 0xa3 && (0x81..=0x88).contains(&track)).then_some(at + 1 + size_bytes + size)
    };
    // Two blocks, one after the other, are no accident.
    let two_blocks = |at: usize| {
        is_block(at).is_some_and(|next| next + 5 < front.len() && is_block(next).is_some())
    };
    front.windows(4).any(|bytes| bytes == CLUSTER)
        || is_block(0).is_some_and(|next| next >= front.len())
        || (0..front.len().saturating_sub(8)).any(two_blocks)
}

/// Packets behind lengths of two or four bytes, either way round.
fn is_length_prefixed(front: &[u8]) -> bool {
    let chain = |prefix: usize, little: bool| {
        let mut at = 0;
        let mut packets = 0;
        while packets < 4 {
            let Some(length) = front.get(at..at + prefix) else {
                break;
            };
            let fold = |length: usize, byte: &u8| length << 8 | usize::from(*byte);
            let length = if little {
                length.iter().rev().fold(0, fold)
            } else {
                length.iter().fold(0, fold)
            };
            if !(1..=4000).contains(&length) {
                return false;
            }
            at += prefix + length;
            packets += 1;
        }
        packets >= 2
    };
    [(2, true), (2, false), (4, true), (4, false)]
        .iter()
        .any(|&(prefix, little)| chain(prefix, little))
}

fn is_text(front: &[u8]) -> bool {
    let front = &front[..front.len().min(1024)];
    front
        .iter()
        .all(|&byte| byte >= 0x20 && byte != 0x7f || matches!(byte, b'\n' | b'\r' | b'\t'))
        && (std::str::from_utf8(front).is_ok()
            || front.iter().filter(|b| b.is_ascii()).count() * 10 > front.len() * 9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Source;

    fn sniffed(bytes: &[u8]) -> Result<Kind> {
        sniff(&mut ByteReader::new(Source::Bytes(bytes.to_vec())).unwrap())
    }

    fn message(bytes: &[u8]) -> String {
        sniffed(bytes).unwrap_err().message().to_owned()
    }

    #[test]
    fn what_is_supported_is_known_by_its_first_bytes() {
        let wav = sniffed(b"RIFF\x24\0\0\0WAVEfmt ").unwrap();
        assert_eq!(wav, Kind::Pcm(Container::Wav));
        assert_eq!(sniffed(b"OggS\0\x02").unwrap(), Kind::Ogg);
        assert_eq!(
            sniffed(&[0x1a, 0x45, 0xdf, 0xa3, 0x9f]).unwrap(),
            Kind::Webm
        );
        let mp4 = sniffed(b"\0\0\0\x1cftypM4A ").unwrap();
        assert_eq!(mp4, Kind::Pcm(Container::Mp4));
        let mp3 = sniffed(&[0xff, 0xfb, 0x90, 0x64]).unwrap();
        assert_eq!(mp3, Kind::Pcm(Container::Mp3));
        let adts = sniffed(&[0xff, 0xf1, 0x50, 0x80]).unwrap();
        assert_eq!(adts, Kind::Pcm(Container::Adts));
        let tagged = b"ID3\x04\0\0\0\0\0\x03abcfLaC\0\0\0\x22";
        assert_eq!(sniffed(tagged).unwrap(), Kind::Pcm(Container::Flac));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let cases: [(&[u8], &str); 13] = [
            (b"#!AMR\n\x3c", "AMR"),
            (&[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 1], "WMA"),
            (b"FORM\0\0\0\x10AIFFCOMM", "AIFF"),
            (b"caff\0\x01\0\0", "CAF"),
            (b"RIFF\0\0\0\x10AVI LIST", "AVI"),
            (&[0x47; 400], "transport stream"),
            (b"{\"error\":\"not found\"}", "JSON"),
            (b"<!doctype html>", "HTML"),
            (b"Not found, sorry.", "text"),
            (b"", "empty"),
            (&[0; 5000], "zeros"),
            (b"ID3\x04\0\0\0\0\0\x7fabc", "cut short"),
            (
                &[0xde, 0xad, 0xbe, 0xef, 0x99, 0x12, 0x88, 0x81, 3],
                "de ad be ef",
            ),
        ];
        for (bytes, name) in cases {
            let message = message(bytes);
            assert!(message.contains(name), "{name}: {message}");
        }
        let packets = [3, 0, 0x78, 1, 2, 4, 0, 0x78, 1, 2, 3, 2, 0, 0x78, 9];
        assert!(message(&packets).contains("bare packets"));
    }

    #[test]
    fn later_pieces_say_to_begin_with_the_first() {
        let cluster = [
            0x1f, 0x43, 0xb6, 0x75, 0x01, 255, 255, 255, 255, 255, 255, 255,
        ];
        let mut blocks = vec![0xa3, 0x87, 0x81, 0, 9, 0x80, 1, 2, 3];
        blocks.extend(blocks.clone());
        let mut middle = vec![0x12, 0x99, 0x55, 0x77, 0xd3];
        middle.extend(&blocks);
        middle.extend(&blocks);
        for bytes in [&cluster[..], &blocks, &middle, b"\0\0\0\x68moof\0\0\0\x10"] {
            assert!(message(bytes).contains("concatenate"), "{bytes:?}");
        }
    }
}
