//! Documents crafted as recorders write them, and damaged.

use super::*;
use crate::media::{Media, Source};

const UNKNOWN: [u8; 8] = [0x01, 255, 255, 255, 255, 255, 255, 255];
/// 20 ms.
const PACKET: &[u8] = &[1 << 3, 1, 2];

fn element(id: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = open(id);
    bytes.extend((1_u64 << 56 | data.len() as u64).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// Only the identifier.
fn open(id: u32) -> Vec<u8> {
    let bytes = id.to_be_bytes();
    bytes[bytes.iter().take_while(|&&byte| byte == 0).count()..].to_vec()
}

fn opus_track(number: u8, more: &[Vec<u8>]) -> Vec<u8> {
    let head = b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0";
    let mut entry = element(id::TRACK_NUMBER, &[number]);
    entry.extend(element(id::TRACK_TYPE, &[2]));
    entry.extend(element(id::CODEC_ID, b"A_OPUS"));
    entry.extend(element(id::CODEC_PRIVATE, head));
    entry.extend(more.concat());
    element(id::TRACK_ENTRY, &entry)
}

/// The front of a live recording, up to the first cluster.
fn front(tracks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = element(id::EBML, &element(0x4282, b"webm"));
    bytes.extend(open(id::SEGMENT));
    bytes.extend(UNKNOWN);
    bytes.extend(element(
        id::INFO,
        &element(id::TIMESTAMP_SCALE, &[0x0f, 0x42, 0x40]),
    ));
    bytes.extend(element(id::TRACKS, &tracks.concat()));
    bytes
}

fn cluster(timestamp_ms: u32) -> Vec<u8> {
    let mut bytes = open(id::CLUSTER);
    bytes.extend(UNKNOWN);
    bytes.extend(element(id::TIMESTAMP, &timestamp_ms.to_be_bytes()));
    bytes
}

fn block_data(track: u8, relative_ms: i16, flags: u8, data: &[u8]) -> Vec<u8> {
    let [high, low] = relative_ms.to_be_bytes();
    [&[0x80 | track, high, low, flags], data].concat()
}

fn block(relative_ms: i16) -> Vec<u8> {
    element(id::SIMPLE_BLOCK, &block_data(1, relative_ms, 0x80, PACKET))
}

fn group(relative_ms: i16, discard_ns: i32) -> Vec<u8> {
    let mut bytes = element(id::BLOCK, &block_data(1, relative_ms, 0, PACKET));
    bytes.extend(element(id::DISCARD_PADDING, &discard_ns.to_be_bytes()));
    element(id::BLOCK_GROUP, &bytes)
}

/// Clusters of a second, fifty packets each.
fn recording(clusters: u32) -> Vec<u8> {
    let mut bytes = front(&[opus_track(1, &[])]);
    for second in 0..clusters {
        bytes.extend(cluster(second * 1000));
        bytes.extend((0..50).flat_map(|packet| block(packet * 20)));
    }
    bytes
}

#[derive(Debug, Default, PartialEq)]
struct Heard {
    heads: usize,
    packets: usize,
    trims: Vec<(usize, usize)>,
    gaps_ms: Vec<u64>,
    warnings: Vec<String>,
}

fn listen(source: Source) -> Heard {
    let mut media = Media::open(source).unwrap();
    let mut heard = Heard::default();
    while let Some(step) = media.next_step().unwrap() {
        match step {
            Step::OpusHead { .. } => heard.heads += 1,
            Step::OpusPacket {
                skip_48k, drop_48k, ..
            } => {
                heard.packets += 1;
                if skip_48k + drop_48k > 0 {
                    heard.trims.push((skip_48k, drop_48k));
                }
            }
            Step::OpusGap { samples_48k } => heard.gaps_ms.push(samples_48k / 48),
            Step::Pcm { .. } | Step::PcmGap { .. } => panic!("this is Opus"),
        }
    }
    heard.warnings = media.take_warnings();
    heard
}

fn heard(bytes: &[u8]) -> Heard {
    listen(Source::Bytes(bytes.to_vec()))
}

#[test]
fn a_live_recording_has_all_its_packets_and_no_warning() {
    let heard = heard(&recording(3));
    assert_eq!((heard.heads, heard.packets), (1, 150));
    assert_eq!(heard.trims, [(312, 0)]);
    assert_eq!(
        (heard.gaps_ms.len(), heard.warnings.len()),
        (0, 0),
        "{heard:?}"
    );
}

#[test]
fn missing_clusters_and_packets_are_gaps() {
    let mut bytes = recording(1);
    bytes.extend(cluster(3000));
    bytes.extend([block(0), block(20), block(61), block(80)].concat());
    let heard = heard(&bytes);
    assert_eq!(heard.gaps_ms, [2000, 20]);
    assert!(
        heard.warnings[0].contains("at 0.99 s"),
        "{:?}",
        heard.warnings
    );
}

#[test]
fn discard_padding_trims_the_block_it_stands_with() {
    let mut bytes = recording(1);
    bytes.extend([group(1000, -5_000_000), group(1020, 13_500_000)].concat());
    assert_eq!(heard(&bytes).trims, [(312, 0), (240, 0), (0, 648)]);
}

#[test]
fn every_lacing_gives_its_packets() {
    let xiph = [&[1, PACKET.len() as u8], PACKET, PACKET].concat();
    let fixed = [&[2], PACKET, PACKET, PACKET].concat();
    let ebml = [&[1, 0x80 | PACKET.len() as u8], PACKET, PACKET].concat();
    let mut bytes = front(&[opus_track(1, &[])]);
    bytes.extend(cluster(0));
    bytes.extend(element(id::SIMPLE_BLOCK, &block_data(1, 0, 0x82, &xiph)));
    bytes.extend(element(id::SIMPLE_BLOCK, &block_data(1, 40, 0x84, &fixed)));
    bytes.extend(element(id::SIMPLE_BLOCK, &block_data(1, 100, 0x86, &ebml)));
    // Fifty frames of nothing, and a lace that lies.
    bytes.extend(element(
        id::SIMPLE_BLOCK,
        &block_data(1, 140, 0x82, &[255; 3]),
    ));
    let heard = heard(&bytes);
    assert_eq!((heard.packets, heard.gaps_ms.len()), (7, 0));
    assert!(
        heard.warnings[0].contains("left out"),
        "{:?}",
        heard.warnings
    );
}

#[test]
fn damage_costs_the_blocks_it_hits_and_no_more() {
    let bytes = recording(3);
    let one_block = block(0).len();
    let begin = bytes.len() - 40 * one_block;
    for damage in [
        &[0; 30][..],
        &[0xff; 30],
        b"no EBML at all, only text here",
        &[0xec; 30],
    ] {
        for shift in 0..one_block {
            let mut damaged = bytes.clone();
            damaged[begin + shift..][..damage.len()].copy_from_slice(damage);
            let heard = heard(&damaged);
            assert!(heard.packets >= 150 - 5, "{damage:?} at {shift}: {heard:?}");
            assert!(
                !heard.warnings.is_empty(),
                "{damage:?} at {shift}: {heard:?}"
            );
        }
    }
}

#[test]
fn a_size_that_lies_swallows_nothing() {
    let bytes = recording(2);
    let at = bytes.len() - 30 * block(0).len();
    // A block that says four gigabytes, a void that says a megabyte, both among whole ones.
    for (id, size) in [(id::SIMPLE_BLOCK, u64::from(u32::MAX)), (0xec, 1 << 20)] {
        let mut lie = open(id);
        lie.extend((1 << 56 | size).to_be_bytes());
        let mut damaged = bytes.clone();
        damaged.splice(at..at, lie);
        let heard = heard(&damaged);
        assert_eq!((heard.packets, heard.warnings.len()), (100, 1), "{heard:?}");
    }
}

#[test]
fn bytes_without_meaning_are_not_kept() {
    // An attachment and a video block of 8 MB each, live: more than is ever held.
    let mut bytes = front(&[opus_track(1, &[]), video_track()]);
    bytes.extend(element(0x1941_a469, &vec![7; 8 << 20]));
    bytes.extend(cluster(0));
    bytes.extend(element(
        id::SIMPLE_BLOCK,
        &block_data(2, 0, 0x80, &vec![9; 8 << 20]),
    ));
    bytes.extend(block(0));
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let writer = std::thread::spawn(move || {
        for piece in bytes.chunks(1000) {
            sender.send(piece.to_vec()).unwrap();
        }
    });
    let mut webm =
        WebmOpus::open(ByteReader::new(Source::Live(Box::new(receiver.into_iter()))).unwrap())
            .unwrap();
    let mut packets = 0;
    while let Some(step) = webm.next_step().unwrap() {
        packets += usize::from(matches!(step, Step::OpusPacket { .. }));
    }
    writer.join().unwrap();
    assert_eq!(packets, 1);
    assert!(webm.reader.window_capacity() < 1 << 17);
}

fn video_track() -> Vec<u8> {
    let mut entry = element(id::TRACK_NUMBER, &[2]);
    entry.extend(element(id::TRACK_TYPE, &[1]));
    entry.extend(element(id::CODEC_ID, b"V_VP8"));
    element(id::TRACK_ENTRY, &entry)
}

#[test]
fn recordings_one_behind_the_other_are_both_heard() {
    let heard = heard(&[recording(1), recording(2)].concat());
    assert_eq!((heard.heads, heard.packets), (2, 150));
    assert_eq!(
        (heard.gaps_ms.len(), heard.warnings.len()),
        (0, 0),
        "{heard:?}"
    );
}

#[test]
fn live_packets_come_without_waiting_for_the_next() {
    let (sender, receiver) = crossbeam_channel::unbounded();
    sender.send(recording(1)).unwrap();
    let mut media = Media::open(Source::Live(Box::new(receiver.into_iter()))).unwrap();
    // A head and fifty packets, with the sender still there: waiting would hang the test.
    for _ in 0..51 {
        assert!(media.next_step().unwrap().is_some());
    }
    sender.send(block(1000)).unwrap();
    assert!(matches!(
        media.next_step().unwrap(),
        Some(Step::OpusPacket { .. })
    ));
    drop(sender);
    assert_eq!(media.next_step().unwrap(), None);
}

#[test]
fn absurd_timestamps_make_no_silence() {
    let mut bytes = front(&[opus_track(1, &[])]);
    let scale = element(id::TIMESTAMP_SCALE, &[255; 8]);
    bytes.splice(bytes.len()..bytes.len(), element(id::INFO, &scale));
    for timestamp in [[255; 8], [0; 8], [127; 8]] {
        bytes.extend(open(id::CLUSTER));
        bytes.extend(UNKNOWN);
        bytes.extend(element(id::TIMESTAMP, &timestamp));
        bytes.extend(
            [
                block(0),
                block(i16::MAX),
                block(i16::MIN),
                group(0, i32::MIN),
            ]
            .concat(),
        );
    }
    let heard = heard(&bytes);
    assert_eq!((heard.packets, heard.gaps_ms.len()), (12, 0), "{heard:?}");
}

#[test]
fn a_track_that_is_encoded_once_more_is_refused() {
    let bytes = front(&[opus_track(1, &[element(id::CONTENT_ENCODINGS, &[])])]);
    let Err(error) = Media::open(Source::Bytes([bytes, cluster(0)].concat())) else {
        panic!("it was opened");
    };
    assert!(error.message().contains("encrypted"), "{error}");
}
