//! Whole files, against what ffmpeg finds in them, and damaged in every way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::opus::packet::samples_48k;

/// What came out of a source.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    format: String,
    heads: usize,
    packets: usize,
    /// Opus audio after trimming, gaps included.
    samples_48k: u64,
    gap_48k: u64,
    frames: u64,
    gap_frames: u64,
    rate_hz: u32,
    channels: usize,
    warnings: Vec<String>,
}

fn listen(source: Source) -> Result<Heard> {
    let mut media = Media::open(source)?;
    let mut heard = Heard {
        format: media.format().to_string(),
        ..Heard::default()
    };
    while let Some(step) = media.next_step()? {
        match step {
            Step::OpusHead { .. } => heard.heads += 1,
            Step::OpusPacket {
                bytes,
                skip_48k,
                drop_48k,
            } => {
                heard.packets += 1;
                let duration = samples_48k(&bytes).unwrap_or(960);
                assert!(skip_48k + drop_48k <= 5760);
                heard.samples_48k += duration.saturating_sub(skip_48k + drop_48k) as u64;
            }
            Step::OpusGap { samples_48k } => {
                assert!(samples_48k <= 3600 * 48_000);
                heard.samples_48k += samples_48k;
                heard.gap_48k += samples_48k;
            }
            Step::Pcm {
                interleaved,
                rate_hz,
                channels,
            } => {
                assert!(interleaved.len().is_multiple_of(channels) && !interleaved.is_empty());
                assert!(interleaved.len() / channels <= 65_536);
                heard.frames += (interleaved.len() / channels) as u64;
                (heard.rate_hz, heard.channels) = (rate_hz, channels);
            }
            Step::PcmGap { frames, .. } => {
                heard.frames += frames;
                heard.gap_frames += frames;
            }
        }
        assert!(
            media
                .share()
                .is_none_or(|share| (0.0..=1.0).contains(&share))
        );
    }
    heard.warnings = media.take_warnings();
    Ok(heard)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("__test__/fixtures/media")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap()
}

fn heard(bytes: Vec<u8>) -> Heard {
    listen(Source::Bytes(bytes)).unwrap()
}

fn live(bytes: &[u8], piece: usize) -> Source {
    let (sender, receiver) = crossbeam_channel::unbounded();
    for piece in bytes.chunks(piece) {
        sender.send(piece.to_vec()).unwrap();
    }
    Source::Live(Box::new(receiver.into_iter()))
}

fn message(bytes: Vec<u8>) -> String {
    let error = listen(Source::Bytes(bytes)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedMedia);
    error.message().to_owned()
}

/// What ffmpeg found.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    packets: Option<usize>,
    samples48k: Option<u64>,
    frames: Option<u64>,
    rate_hz: Option<u32>,
    channels: Option<usize>,
}

fn references() -> BTreeMap<String, Reference> {
    serde_json::from_slice(&fixture("media.json")).unwrap()
}

#[test]
fn every_file_holds_what_ffmpeg_finds_in_it() {
    for (name, reference) in references() {
        let from_file = listen(Source::open(&fixtures().join(&name)).unwrap()).unwrap();
        assert_eq!(from_file.warnings, [""; 0], "{name}");
        match reference {
            Reference {
                packets: Some(packets),
                samples48k: Some(samples),
                ..
            } => {
                assert_eq!(
                    (from_file.packets, from_file.samples_48k),
                    (packets, samples),
                    "{name}"
                );
            }
            Reference {
                frames,
                rate_hz,
                channels,
                ..
            } => assert_eq!(
                (
                    Some(from_file.frames),
                    Some(from_file.rate_hz),
                    Some(from_file.channels)
                ),
                (frames, rate_hz, channels),
                "{name}"
            ),
        }
        assert_eq!(heard(fixture(&name)), from_file, "{name} from memory");
    }
}

/// What the browser that recorded it says of a recording.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recording {
    file: String,
    duration_ms: u64,
    #[serde(default)]
    blob_lengths: Vec<usize>,
}

fn chromium_recordings() -> Vec<Recording> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        recordings: Vec<Recording>,
    }
    let manifest: Manifest = serde_json::from_slice(&fixture("../chromium.json")).unwrap();
    let is_container = |recording: &Recording| !recording.file.ends_with(".packets");
    manifest
        .recordings
        .into_iter()
        .filter(is_container)
        .collect()
}

#[test]
fn chromiums_recordings_last_as_long_as_they_did() {
    for recording in chromium_recordings() {
        let heard = heard(fixture(&format!("../{}", recording.file)));
        assert_eq!(
            heard.samples_48k,
            recording.duration_ms * 48,
            "{}",
            recording.file
        );
        assert_eq!(
            (heard.gap_48k, heard.warnings.len()),
            (0, 0),
            "{}: {heard:?}",
            recording.file
        );
    }
}

#[test]
fn a_blob_that_is_missing_is_a_gap_and_one_alone_is_refused() {
    let recording = chromium_recordings()
        .into_iter()
        .find(|recording| recording.blob_lengths.len() > 1)
        .unwrap();
    let bytes = fixture(&format!("../{}", recording.file));
    let mut rest = bytes.as_slice();
    let mut blobs = Vec::new();
    for length in recording.blob_lengths {
        let (blob, tail) = rest.split_at(length);
        blobs.push(blob);
        rest = tail;
    }
    for index in 1..blobs.len() {
        let refused = message(blobs[index].to_vec());
        assert!(refused.contains("concatenate"), "blob {index}: {refused}");
        let mut others = blobs.clone();
        others.remove(index);
        let heard = heard(others.concat());
        if index + 1 < blobs.len() {
            assert!(
                (45_000..52_000).contains(&heard.gap_48k),
                "blob {index}: {heard:?}"
            );
            assert!(heard.samples_48k.abs_diff(recording.duration_ms * 48) < 960);
            assert!(!heard.warnings.is_empty());
        }
    }
}

#[test]
fn live_input_gives_the_same_whatever_its_pieces() {
    for name in [
        "chained.ogg",
        "opus_live.webm",
        "opus.webm",
        "video_opus.mkv",
    ] {
        let bytes = fixture(name);
        let whole = heard(bytes.clone());
        for piece in [1, 7, 1000] {
            assert_eq!(
                listen(live(&bytes, piece)).unwrap(),
                whole,
                "{name} by {piece}"
            );
        }
    }
    let refused = listen(live(&fixture("s16_11025.wav"), 100)).unwrap_err();
    assert!(refused.message().contains("live"), "{refused}");
}

#[test]
fn what_is_not_supported_is_named() {
    let cases = [
        ("vorbis.ogg", "Vorbis"),
        ("flac.ogg", "FLAC"),
        ("surround.ogg", "6 channels"),
        ("vorbis.webm", "Vorbis"),
        ("pcm.mkv", "PCM"),
        ("video_only.webm", "V_VP8"),
        ("video_only.mp4", "mp4v"),
        ("video_only.avi", "AVI"),
        ("ac3.mp4", "AC-3"),
        ("adpcm.wav", "ADPCM"),
        ("speech.amr", "AMR"),
        ("speech.wma", "WMA"),
        ("speech.aiff", "AIFF"),
        ("speech.caf", "CAF"),
        ("speech.m2t", "transport stream"),
        ("speech.mp2", "layer 1 or 2"),
        ("speech.au", "AU"),
    ];
    for (name, found) in cases {
        let message = message(fixture(name));
        assert!(message.contains(found), "{name}: {message}");
    }
}

#[test]
fn what_is_cut_off_is_told() {
    for (name, reference) in references() {
        let bytes = fixture(&name);
        let step = (bytes.len() / 100).max(1);
        for end in (0..bytes.len()).step_by(step) {
            let Ok(heard) = listen(Source::Bytes(bytes[..end].to_vec())) else {
                continue;
            };
            let missing = reference
                .packets
                .is_some_and(|packets| heard.packets < packets)
                || reference.frames.is_some_and(|frames| heard.frames < frames);
            assert!(
                !missing || !heard.warnings.is_empty() || tells_no_length(&name),
                "{name} cut at {end}: {heard:?}"
            );
        }
    }
}

/// Formats that can end anywhere: a stop between two blocks or frames is no damage in them.
fn tells_no_length(name: &str) -> bool {
    [
        "live.webm",
        "piped.wav",
        "killed.wav",
        "untagged.mp3",
        "aac.aac",
        "fragmented.mp4",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}

#[test]
fn a_source_moves_between_threads_and_is_a_regular_file() {
    fn is_send<T: Send>() {}
    is_send::<Media>();
    is_send::<Source>();
    for path in ["/dev/null", "/", "/no/such/file.ogg"] {
        let refused = Source::open(Path::new(path)).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{refused}");
    }
}

/// xorshift; the same bytes on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn damaged_bytes_end_in_audio_or_an_error() {
    let rounds: usize = std::env::var("MEDIA_ROUNDS").map_or(60, |rounds| rounds.parse().unwrap());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let recordings = chromium_recordings().into_iter();
    let recordings = recordings.map(|recording| fixtures().join("..").join(recording.file));
    let entries = std::fs::read_dir(fixtures()).unwrap();
    for path in entries.map(|entry| entry.unwrap().path()).chain(recordings) {
        let bytes = std::fs::read(&path).unwrap();
        for _ in 0..rounds {
            let mut damaged = bytes.clone();
            for _ in 0..=random.below(8) {
                let at = random.below(damaged.len());
                // Headers are where damage matters most; MP4 may have its own at the end.
                let near = random.below(1500).min(damaged.len() - 1);
                let at = [at, near.min(512), damaged.len() - 1 - near][random.below(3)];
                match random.below(6) {
                    0 => damaged[at] = random.below(256) as u8,
                    1 => damaged[at] ^= 1 << random.below(8),
                    2 => damaged[at] = 0xff,
                    3 => drop(damaged.drain(at..(at + random.below(64)).min(damaged.len()))),
                    4 => {
                        let piece =
                            damaged[at..(at + random.below(256)).min(damaged.len())].to_vec();
                        damaged.splice(at..at, piece);
                    }
                    _ => damaged.truncate(at.max(1)),
                }
                if damaged.is_empty() {
                    damaged.push(0);
                }
            }
            let begun = std::time::Instant::now();
            let _ = listen(Source::Bytes(damaged.clone()));
            if begun.elapsed().as_secs() >= 5 {
                let kept = std::env::temp_dir().join("slow_media");
                std::fs::write(&kept, &damaged).unwrap();
                panic!(
                    "{} damaged took {:?}: {kept:?}",
                    path.display(),
                    begun.elapsed()
                );
            }
        }
    }
}

/// `MEDIA_FILES=a:b cargo test media::tests::shows -- --ignored --nocapture`
#[test]
#[ignore = "shows what is in given files"]
#[allow(clippy::print_stdout)]
fn shows_files() {
    for path in std::env::var("MEDIA_FILES").unwrap().split(':') {
        println!(
            "{path}: {:?}",
            Source::open(Path::new(path)).and_then(listen)
        );
    }
}
