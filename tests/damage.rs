//! What foreign bytes can do, in seconds and the same in every run: the long runs are in `fuzz/`,
//! most of those of files in `src/media/tests.rs`.
#![allow(clippy::unwrap_used)]

mod common;

use opuscribe::ErrorKind;
use opuscribe::audio::{MaxDuration, Pcm, Samples, Source};
use opuscribe::media::{self, Media};
use opuscribe::opus::framing::{self, ByteOrder, Framing, LengthWidth, SequencePlace};
use opuscribe::opus::{PacketList, samples_48k};

const HOUR: f64 = 3_600_000.0;

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % limit.max(1) as u64) as usize
    }

    /// A few bytes changed, cut off or doubled.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = [0, 0xff, 0x7f, 0x80][self.below(4)],
                2 => bytes.truncate(at),
                _ => bytes.extend_from_within(at..),
            }
        }
    }
}

fn packets_of(name: &str) -> Vec<Vec<u8>> {
    let bytes = common::fixture(&format!("{name}.packets"));
    let ranges = framing::split(&bytes, &Framing::default()).unwrap();
    let packets = ranges.into_iter().flatten();
    packets.map(|range| bytes[range].to_vec()).collect()
}

fn read(source: &mut dyn Source) -> opuscribe::Result<Vec<f32>> {
    let mut pcm = Vec::new();
    while source.read(&mut pcm)? {}
    Ok(pcm)
}

/// Whatever happens to packets, every one keeps its place and is accounted for.
#[test]
fn a_damaged_list_is_as_long_as_its_packets_say_and_all_are_counted() {
    let mut random = Random(1);
    let kinds = [
        "jfk",
        "mediarecorder",
        "chromium_webcodecs_60ms",
        "chromium_webcodecs_10ms",
    ];
    let recordings = kinds.map(packets_of);
    for round in 0..300 {
        let recording = &recordings[random.below(recordings.len())];
        let from = random.below(recording.len() - 60);
        let mut list = PacketList::default();
        let mut expected = 0;
        let (mut last, mut leading) = (None, 0);
        let (mut lost, mut malformed) = (0, Vec::new());
        for (index, packet) in recording[from..from + 60].iter().enumerate() {
            let mut packet = packet.clone();
            if random.below(3) == 0 {
                random.damage(&mut packet);
            }
            let kept = random.below(10) > 0 && !packet.is_empty();
            list.push(kept.then_some(packet.as_slice()));
            match samples_48k(&packet) {
                Ok(samples) if kept => {
                    expected += samples * (1 + std::mem::take(&mut leading));
                    last = Some(samples);
                }
                _ => {
                    if kept {
                        malformed.push(index);
                    } else {
                        lost += 1;
                    }
                    match last {
                        Some(samples) => expected += samples,
                        None => leading += 1,
                    }
                }
            }
        }
        let mut source = list.open(MaxDuration::from_ms(HOUR)).unwrap();
        let pcm = read(&mut source).unwrap();
        assert_eq!(pcm.len(), expected / 3, "round {round}");
        assert!(pcm.iter().all(|sample| sample.is_finite()));
        let counts = source.report().packets.unwrap();
        assert_eq!((counts.received, counts.lost), (60, lost), "round {round}");
        assert!(malformed.iter().all(|index| counts.corrupt.contains(index)));
    }
}

#[test]
fn no_bytes_make_framing_panic_and_every_error_has_its_place() {
    let mut random = Random(2);
    let original = common::fixture("jfk.packets")[..4_000].to_vec();
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bytes = original[random.below(2_000)..].to_vec();
        bytes.truncate(random.below(bytes.len()));
        random.damage(&mut bytes);
        let framing = Framing {
            length: [LengthWidth::Two, LengthWidth::Four][random.below(2)],
            order: [ByteOrder::Little, ByteOrder::Big][random.below(2)],
            sequence: [
                None,
                Some(SequencePlace::Before),
                Some(SequencePlace::After),
            ][random.below(3)],
            reorder_window: random.below(100) as u32,
            allow_partial: random.below(2) == 0,
        };
        match framing::split(&bytes, &framing) {
            Ok(packets) => {
                assert!(packets.into_iter().flatten().all(|p| p.end <= bytes.len()));
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::InvalidPacket);
                assert!(error.byte_offset().is_some_and(|at| at < bytes.len()));
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn pcm_of_any_shape_is_converted_to_its_length_or_refused() {
    let mut random = Random(3);
    for _ in 0..200 {
        let channels = random.below(10);
        let rate = [
            3_999, 4_000, 7_919, 11_025, 44_100, 96_000, 384_000, 384_001,
        ][random.below(8)];
        let frames = random.below(5_000);
        let odd = usize::from(random.below(8) == 0);
        let samples = (0..frames * channels + odd)
            .map(|_| match random.below(2_000_000) {
                0 => f32::NAN,
                value => value as f32 / 1e6 - 1.0,
            })
            .collect();
        let pcm = Pcm {
            samples: Samples::F32(samples),
            sample_rate_hz: rate,
            channels,
        };
        if let Ok(mut source) = pcm.open(MaxDuration::from_ms(HOUR)) {
            let mono = read(&mut source).unwrap();
            let expected = (frames * 16_000).div_ceil(rate as usize);
            assert!(mono.len().abs_diff(expected) <= 1, "{rate} {frames}");
            assert!(mono.iter().all(|sample| sample.is_finite()));
        }
    }
}

/// Found by an attack: one byte made these empty, and nothing was said.
#[test]
fn one_damaged_byte_does_not_make_a_recording_empty_without_a_word() {
    for (name, at, byte) in [
        ("media/opus.webm", 412, 0x3c),
        ("media/opus_2_5ms.mkv", 372, 0xa4),
        ("media/opus.mp4", 41, 0x20),
        ("media/aac_fragmented.mp4", 725, b'q'),
        ("chromium_mediarecorder.mp4", 641, 0xff),
        ("chromium_mediarecorder.mp4", 727, 0xff),
    ] {
        let mut bytes = common::fixture(name);
        bytes[at] = byte;
        let told = Media::open(media::Source::Bytes(bytes)).and_then(|mut media| {
            while media.next_step()?.is_some() {}
            Ok(media.take_warnings())
        });
        let silent = told.is_ok_and(|warnings| warnings.is_empty());
        assert!(!silent, "{name} at {at}");
    }
}

/// Found by an attack: a fragment that is not whole was left out without a word.
#[test]
fn mp4_in_fragments_that_is_cut_short_says_so_and_gives_what_is_there() {
    for name in ["chromium_mediarecorder.mp4", "media/aac_fragmented.mp4"] {
        let bytes = common::fixture(name);
        let mut media =
            Media::open(media::Source::Bytes(bytes[..bytes.len() - 700].to_vec())).unwrap();
        let mut steps = 0;
        while media.next_step().unwrap().is_some() {
            steps += 1;
        }
        assert!(steps > 10, "{name}: {steps}");
        assert!(!media.take_warnings().is_empty(), "{name}");
    }
}
