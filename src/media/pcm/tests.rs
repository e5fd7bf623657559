//! Headers that lie, and damage in the middle.

use crate::error::ErrorKind;
use crate::media::{Media, Source, Step};

#[derive(Debug, Default, PartialEq)]
struct Heard {
    samples: Vec<f32>,
    frames: u64,
    gap_frames: u64,
    rate_hz: u32,
    channels: usize,
    warnings: Vec<String>,
}

fn listen(bytes: &[u8]) -> crate::Result<Heard> {
    let mut media = Media::open(Source::Bytes(bytes.to_vec()))?;
    let mut heard = Heard::default();
    while let Some(step) = media.next_step()? {
        match step {
            Step::Pcm {
                interleaved,
                rate_hz,
                channels,
            } => {
                heard.frames += (interleaved.len() / channels) as u64;
                (heard.rate_hz, heard.channels) = (rate_hz, channels);
                heard.samples.extend(interleaved);
            }
            Step::PcmGap { frames, .. } => {
                heard.frames += frames;
                heard.gap_frames += frames;
            }
            _ => panic!("this is not Opus"),
        }
    }
    heard.warnings = media.take_warnings();
    Ok(heard)
}

fn heard(bytes: &[u8]) -> Heard {
    listen(bytes).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/__test__/fixtures/media/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(path).unwrap()
}

fn message(bytes: &[u8]) -> String {
    let error = listen(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedMedia);
    error.message().to_owned()
}

/// A WAV file: format tag, channels, bits, the sizes of RIFF and data as told, and the data.
fn wav(tag: u16, channels: u16, bits: u16, told: Option<u32>, data: &[u8]) -> Vec<u8> {
    let block = channels * (bits / 8);
    let told = told.unwrap_or(data.len() as u32);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(told.wrapping_add(36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0");
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend((16_000 * u32::from(block)).to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(told.to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn samples_of_every_width_have_their_values() {
    let near = |bytes: &[u8], expected: &[f32]| {
        let samples = heard(bytes).samples;
        assert_eq!(samples.len(), expected.len());
        for (sample, expected) in samples.iter().zip(expected) {
            assert!((sample - expected).abs() < 1e-3, "{samples:?}");
        }
    };
    near(&wav(1, 1, 8, None, &[0x80, 0xc0, 0x40]), &[0.0, 0.5, -0.5]);
    near(
        &wav(1, 1, 16, None, &[0, 0, 0, 0x40, 0, 0xc0]),
        &[0.0, 0.5, -0.5],
    );
    near(
        &wav(1, 1, 24, None, &[0, 0, 0x40, 0, 0, 0xc0]),
        &[0.5, -0.5],
    );
    near(
        &wav(1, 1, 32, None, &[0, 0, 0, 0x40, 0, 0, 0, 0xc0]),
        &[0.5, -0.5],
    );
    let floats = [0.25_f32, -1.5].map(f32::to_le_bytes).concat();
    near(&wav(3, 1, 32, None, &floats), &[0.25, -1.5]);
    // With the short format chunk that recorders write for it.
    near(&wav(7, 1, 8, None, &[0xff, 0x80]), &[0.0, 0.98]);
}

#[test]
fn numbers_that_are_no_samples_become_silence() {
    let floats = [0.5_f32, f32::NAN, f32::INFINITY, 1e30, -0.5]
        .map(f32::to_le_bytes)
        .concat();
    let heard = heard(&wav(3, 1, 32, None, &floats));
    assert_eq!(heard.samples, [0.5, 0.0, 0.0, 0.0, -0.5]);
    assert_eq!(heard.warnings.len(), 1);
}

#[test]
fn sizes_that_were_never_set_reach_to_the_end() {
    let data = [0x40; 2000];
    for told in [0, u32::MAX, 0x7fff_ffff, u32::MAX - 36] {
        let heard = heard(&wav(1, 1, 16, Some(told), &data));
        assert_eq!((heard.frames, heard.warnings.len()), (1000, 0), "{told:#x}");
    }
}

#[test]
fn sizes_that_are_wrong_are_told() {
    let data = [0x40; 2000];
    let more = heard(&wav(1, 1, 16, Some(1 << 30), &data));
    assert_eq!(more.frames, 1000);
    assert!(
        more.warnings[0].contains("cut short"),
        "{:?}",
        more.warnings
    );
    let less = heard(&wav(1, 1, 16, Some(500), &data));
    assert_eq!(less.frames, 250);
    assert!(
        less.warnings[0].contains("1500 bytes"),
        "{:?}",
        less.warnings
    );
}

#[test]
fn an_empty_recording_with_a_tag_behind_is_empty() {
    let mut bytes = wav(1, 1, 16, Some(0), &[]);
    bytes.extend(b"LIST\x04\0\0\0INFO");
    assert_eq!(heard(&bytes), Heard::default());
}

#[test]
fn what_no_decoder_takes_is_named() {
    assert!(message(&wav(1, 0, 16, None, &[0; 8])).contains("0 channels"));
    assert!(message(&wav(1, 12, 16, None, &[0; 48])).contains("12 channels"));
    assert!(message(&wav(0x11, 1, 4, None, &[0; 8])).contains("IMA ADPCM"));
    assert!(message(&wav(3, 1, 16, None, &[0; 8])).contains("16 bits"));
    assert!(message(&wav(1, 1, 16, None, &[])[..30]).contains("data chunk"));
    assert!(message(&fixture("s16_16000.flac")[..20]).contains("cut short"));
    assert!(message(&fixture("aac.m4a")[..5000]).contains("index"));
}

#[test]
fn damage_in_flac_and_aac_keeps_the_times() {
    for name in ["s16_16000.flac", "aac.m4a", "cbr.mp3"] {
        let bytes = fixture(name);
        let whole = heard(&bytes);
        let mut damaged = bytes.clone();
        let middle = bytes.len() / 2;
        // As long as a frame of the MP3, so that a frame header is hit.
        damaged[middle..middle + 110].fill(0x55);
        let heard = heard(&damaged);
        assert!(!heard.warnings.is_empty(), "{name}");
        // MP3 frames have no numbers: what was lost there is told and not counted.
        if name != "cbr.mp3" {
            assert_eq!(heard.frames, whole.frames, "{name}: {:?}", heard.warnings);
        }
        assert!(
            heard.frames + 2400 > whole.frames,
            "{name}: {:?}",
            heard.warnings
        );
    }
}

#[test]
fn mp3_that_is_joined_is_heard_to_its_end() {
    let bytes = fixture("cbr.mp3");
    let one = heard(&bytes);
    let two = heard(&[&bytes[..], &bytes[..]].concat());
    assert!(
        two.frames >= 2 * one.frames,
        "{} of {}",
        two.frames,
        one.frames
    );
}

#[test]
fn tags_at_either_end_are_no_audio() {
    let bytes = fixture("untagged.mp3");
    let mut tagged = b"ID3\x04\0\0\0\0\x02\x00".to_vec();
    tagged.extend([0xff; 256]);
    tagged.extend(&bytes);
    tagged.extend(b"APETAGEX\xd0\x07\0\0\x34\0\0\0\0\0\0\0\0\0\0\xa0\0\0\0\0\0\0\0\0");
    tagged.extend([0xff; 20]);
    tagged.extend(b"APETAGEX\xd0\x07\0\0\x34\0\0\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\0");
    tagged.extend(b"TAG");
    tagged.extend([0xfb; 125]);
    let (plain, tagged) = (heard(&bytes), heard(&tagged));
    assert_eq!(
        (tagged.frames, tagged.warnings),
        (plain.frames, plain.warnings)
    );
}
