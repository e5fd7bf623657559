//! Track entries: which one is Opus, and what its decoder must know.

use super::super::opus_head::OpusHead;
use super::ebml::{children, id, unsigned};

/// One track, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub(super) number: u64,
    pub(super) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Opus that can be decoded.
    Opus(OpusHead),
    /// Audio that cannot, and what it is.
    OtherAudio(String),
    /// No audio, and what it is.
    NoAudio(String),
}

const VIDEO: u64 = 1;
const AUDIO: u64 = 2;

/// Reads a track entry; none where it has no number.
pub(super) fn parse(entry: &[u8]) -> Option<Track> {
    let mut number = None;
    let mut kind = 0;
    let mut codec = String::new();
    let mut private = None;
    let mut delay_ns = 0;
    let mut channels = 1;
    let mut encoded = false;
    for (id, data) in children(entry) {
        match id {
            id::TRACK_NUMBER => number = unsigned(data),
            id::TRACK_TYPE => kind = unsigned(data)?,
            id::CODEC_ID => codec = codec_id(data),
            id::CODEC_PRIVATE => private = Some(data),
            id::CODEC_DELAY => delay_ns = unsigned(data)?,
            id::CONTENT_ENCODINGS => encoded = true,
            id::AUDIO => {
                channels = children(data)
                    .find_map(|(id, data)| (id == id::CHANNELS).then(|| unsigned(data)))
                    .flatten()
                    .unwrap_or(1);
            }
            _ => {}
        }
    }
    let kind = match (kind, codec.as_str()) {
        (AUDIO, "A_OPUS") if encoded => {
            Kind::OtherAudio("Opus that is compressed or encrypted once more".into())
        }
        (AUDIO, "A_OPUS") => match opus_head(private, delay_ns, channels) {
            Ok(head) => Kind::Opus(head),
            Err(reason) => Kind::OtherAudio(format!("Opus, but {reason}")),
        },
        (AUDIO, codec) => Kind::OtherAudio(codec_name(codec)),
        (VIDEO, codec) => Kind::NoAudio(format!("video ({codec})")),
        (_, codec) => Kind::NoAudio(codec.into()),
    };
    Some(Track {
        number: number?,
        kind,
    })
}

/// Says what the tracks are instead.
pub(super) fn why_no_opus(tracks: &[Track]) -> String {
    let names = |name_of: fn(&Kind) -> Option<&str>| {
        let mut names: Vec<&str> = Vec::new();
        for name in tracks.iter().filter_map(|track| name_of(&track.kind)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(" and ")
    };
    let audio = names(|kind| match kind {
        Kind::OtherAudio(name) => Some(name),
        _ => None,
    });
    let rest = names(|kind| match kind {
        Kind::NoAudio(name) => Some(name),
        _ => None,
    });
    match (audio.as_str(), rest.as_str()) {
        ("", "") => {
            "this is WebM or Matroska without a track: its header is cut short or damaged".into()
        }
        ("", rest) => format!("this is WebM or Matroska without audio, with {rest} only"),
        (audio, _) => format!(
            "this is WebM or Matroska with {audio}; of WebM and Matroska, only Opus in mono or \
             stereo is supported. Convert it to Opus, WAV, FLAC or MP3"
        ),
    }
}

/// Some writers leave the header out; then the track says the same in its own elements.
fn opus_head(private: Option<&[u8]>, delay_ns: u64, channels: u64) -> Result<OpusHead, String> {
    let delay_48k = u16::try_from(delay_ns.saturating_mul(48) / 1_000_000).unwrap_or(u16::MAX);
    match private {
        Some(private) if !private.is_empty() => OpusHead::parse(private),
        _ => Ok(OpusHead {
            channels: match channels {
                1 => 1,
                2 => 2,
                more => return Err(format!("it has {more} channels and no header")),
            },
            pre_skip_48k: delay_48k,
            output_gain_q8: 0,
        }),
    }
}

/// The identifier as text fit for a message.
fn codec_id(data: &[u8]) -> String {
    data.iter()
        .take(40)
        .take_while(|byte| byte.is_ascii_graphic())
        .map(|&byte| char::from(byte))
        .collect()
}

fn codec_name(codec: &str) -> String {
    let name = match codec {
        "A_VORBIS" => "Vorbis",
        "A_FLAC" => "FLAC",
        "A_AC3" => "AC-3",
        "A_EAC3" => "E-AC-3",
        "A_DTS" => "DTS",
        "A_MPEG/L3" => "MP3",
        _ if codec.starts_with("A_AAC") => "AAC",
        _ if codec.starts_with("A_PCM") => "PCM",
        "" => "audio of an unnamed codec",
        other => other,
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(id: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_vec();
        bytes.push(0x80 | data.len() as u8);
        bytes.extend(data);
        bytes
    }

    fn entry(kind: u8, codec: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = element(&[0xd7], &[3]);
        bytes.extend(element(&[0x83], &[kind]));
        bytes.extend(element(&[0x86], codec));
        bytes.extend(more.concat());
        bytes
    }

    #[test]
    fn without_a_header_the_delay_is_the_pre_skip() {
        let delay = element(&[0x56, 0xaa], &6_500_000_u32.to_be_bytes());
        let audio = element(&[0xe1], &element(&[0x9f], &[2]));
        let track = parse(&entry(2, b"A_OPUS", &[delay, audio])).unwrap();
        assert_eq!(track.number, 3);
        assert_eq!(
            track.kind,
            Kind::Opus(OpusHead {
                channels: 2,
                pre_skip_48k: 312,
                output_gain_q8: 0
            })
        );
    }

    #[test]
    fn other_tracks_are_named() {
        let kind = |kind, codec: &[u8]| parse(&entry(kind, codec, &[])).unwrap().kind;
        assert_eq!(kind(2, b"A_VORBIS"), Kind::OtherAudio("Vorbis".into()));
        assert_eq!(kind(1, b"V_VP9"), Kind::NoAudio("video (V_VP9)".into()));
        assert_eq!(kind(2, b"A_X\xff\x00\n"), Kind::OtherAudio("A_X".into()));
    }
}
