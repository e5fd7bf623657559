//! Pages that are lost, damaged, crafted.

use super::*;
use crate::media::{Media, Source};

/// A page as written; tests change it before it becomes bytes.
#[derive(Clone)]
struct Raw {
    flags: u8,
    granule: i64,
    serial: u32,
    sequence: u32,
    lacing: Vec<u8>,
    body: Vec<u8>,
}

const CONTINUED: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

impl Raw {
    fn new(flags: u8, granule: i64, sequence: u32, packets: &[&[u8]]) -> Self {
        let mut lacing = Vec::new();
        for packet in packets {
            lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
            lacing.push((packet.len() % 255) as u8);
        }
        Self {
            flags,
            granule,
            serial: 7,
            sequence,
            lacing,
            body: packets.concat(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"OggS\0".to_vec();
        bytes.push(self.flags);
        bytes.extend(self.granule.to_le_bytes());
        bytes.extend(self.serial.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.push(self.lacing.len() as u8);
        bytes.extend(&self.lacing);
        bytes.extend(&self.body);
        let checksum = page::checksum(&bytes);
        bytes[22..26].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

fn head(pre_skip: u16, gain: i16) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(pre_skip.to_le_bytes());
    head.extend(48_000_u32.to_le_bytes());
    head.extend(gain.to_le_bytes());
    head.push(0);
    head
}

/// 20 ms.
const PACKET: &[u8] = &[1 << 3, 1, 2];

/// A stream of `pages` pages with five packets each, 100 ms, after its headers.
fn stream(pre_skip: u16, pages: u32) -> Vec<Raw> {
    let mut stream = vec![
        Raw::new(FIRST, 0, 0, &[&head(pre_skip, -256)]),
        Raw::new(0, 0, 1, &[b"OpusTags\0\0\0\0\0\0\0\0"]),
    ];
    for page in 0..pages {
        let last = if page + 1 == pages { LAST } else { 0 };
        let granule = i64::from(page + 1) * 4800;
        stream.push(Raw::new(last, granule, page + 2, &[PACKET; 5]));
    }
    stream
}

fn bytes(pages: &[Raw]) -> Vec<u8> {
    pages.iter().flat_map(Raw::bytes).collect()
}

struct Heard {
    steps: Vec<Step>,
    warnings: Vec<String>,
}

impl Heard {
    fn gaps(&self) -> Vec<u64> {
        let gap = |step: &Step| match step {
            Step::OpusGap { samples_48k } => Some(*samples_48k),
            _ => None,
        };
        self.steps.iter().filter_map(gap).collect()
    }

    fn packets(&self) -> usize {
        let is_packet = |step: &&Step| matches!(step, Step::OpusPacket { .. });
        self.steps.iter().filter(is_packet).count()
    }

    fn samples_48k(&self) -> u64 {
        let samples = |step: &Step| match step {
            Step::OpusPacket {
                skip_48k, drop_48k, ..
            } => 960 - (skip_48k + drop_48k) as u64,
            Step::OpusGap { samples_48k } => *samples_48k,
            _ => 0,
        };
        self.steps.iter().map(samples).sum()
    }
}

fn listen(bytes: Vec<u8>) -> Heard {
    let mut media = Media::open(Source::Bytes(bytes)).unwrap();
    let mut steps = Vec::new();
    while let Some(step) = media.next_step().unwrap() {
        steps.push(step);
    }
    Heard {
        steps,
        warnings: media.take_warnings(),
    }
}

#[test]
fn the_gain_and_the_pre_skip_come_from_the_header() {
    let heard = listen(bytes(&stream(312, 2)));
    assert_eq!(
        heard.steps[0],
        Step::OpusHead {
            channels: 1,
            output_gain_q8: -256
        }
    );
    assert_eq!((heard.packets(), heard.samples_48k()), (10, 9600 - 312));
    assert!(heard.warnings.is_empty(), "{:?}", heard.warnings);
}

#[test]
fn a_lost_page_is_a_gap_of_its_length() {
    for lost in 3..8 {
        let mut pages = stream(312, 8);
        pages.remove(lost);
        let heard = listen(bytes(&pages));
        assert_eq!(heard.gaps(), [4800], "page {lost}");
        assert_eq!(heard.samples_48k(), 8 * 4800 - 312);
        assert!(
            heard.warnings[0].contains("missing"),
            "{:?}",
            heard.warnings
        );
    }
}

#[test]
fn a_damaged_page_is_a_gap_too_and_the_bytes_are_told() {
    let pages = stream(0, 5);
    let mut damaged = bytes(&pages);
    let at = bytes(&pages[..4]).len() + 40;
    damaged[at] ^= 1;
    let heard = listen(damaged);
    assert_eq!((heard.gaps(), heard.packets()), (vec![4800], 20));
    assert_eq!(heard.warnings.len(), 2, "{:?}", heard.warnings);
}

#[test]
fn first_pages_that_are_lost_count_unless_the_stream_was_joined() {
    let mut pages = stream(312, 8);
    pages.remove(2);
    let heard = listen(bytes(&pages));
    // The pre-skip lay in what is lost.
    assert_eq!(heard.gaps(), [4800 - 312]);
    let mut joined = stream(312, 8);
    for page in &mut joined[2..] {
        page.granule += 3600 * 48_000;
        page.sequence += 90_000;
    }
    assert_eq!(listen(bytes(&joined)).gaps(), [0; 0]);
}

#[test]
fn a_packet_whose_end_is_lost_leaves_its_place() {
    let long = [vec![1 << 3], vec![5; 299]].concat();
    let mut pages = stream(0, 2);
    // The sixth packet begins on one page and ends on the next.
    let mut begun = Raw::new(0, 2 * 4800, 3, &[PACKET; 5]);
    begun.lacing.push(255);
    begun.body.extend(&long[..255]);
    let mut ended = Raw::new(CONTINUED | LAST, 3 * 4800, 4, &[PACKET; 4]);
    ended.lacing.insert(0, 45);
    ended.body.splice(0..0, long[255..].iter().copied());
    pages.truncate(3);
    pages.extend([begun, ended.clone()]);
    let whole = listen(bytes(&pages));
    assert_eq!((whole.packets(), whole.gaps()), (15, vec![]));
    assert!(
        whole
            .steps
            .iter()
            .any(|step| matches!(step, Step::OpusPacket { bytes, .. } if *bytes == long))
    );
    // Without the page that it begins on, its end is of no use.
    let mut lost = pages.clone();
    lost.remove(3);
    let heard = listen(bytes(&lost));
    assert_eq!((heard.packets(), heard.gaps()), (9, vec![4800 + 960]));
}

#[test]
fn the_end_is_trimmed_on_the_last_page_only() {
    let mut pages = stream(312, 3);
    pages[4].granule -= 1500;
    let heard = listen(bytes(&pages));
    assert_eq!(heard.samples_48k(), 3 * 4800 - 312 - 1500);
    pages[4].flags = 0;
    let heard = listen(bytes(&pages));
    assert_eq!(heard.samples_48k(), 3 * 4800 - 312);
    assert!(heard.warnings.iter().any(|text| text.contains("last page")));
    assert!(heard.warnings.iter().any(|text| text.contains("backwards")));
}

#[test]
fn a_stream_of_one_page_is_trimmed_at_both_ends() {
    let mut pages = stream(312, 1);
    pages[2].granule = 2000;
    assert_eq!(listen(bytes(&pages)).samples_48k(), 2000 - 312);
}

#[test]
fn chained_streams_follow_each_other_even_under_one_serial() {
    let mut second = stream(100, 2);
    for page in &mut second {
        page.serial = 9;
    }
    let chain = [stream(312, 2), second, stream(0, 2)].concat();
    let heard = listen(bytes(&chain));
    let heads = heard
        .steps
        .iter()
        .filter(|step| matches!(step, Step::OpusHead { .. }));
    assert_eq!(heads.count(), 3);
    assert_eq!(heard.samples_48k(), 3 * 9600 - 412);
    assert!(heard.warnings.is_empty(), "{:?}", heard.warnings);
}

#[test]
fn a_chained_stream_that_is_not_opus_is_told() {
    let mut other = stream(0, 2);
    other[0] = Raw::new(FIRST, 0, 0, &[b"\x01vorbis"]);
    let heard = listen(bytes(&[stream(0, 2), other].concat()));
    assert_eq!(heard.packets(), 10);
    assert!(heard.warnings[0].contains("Vorbis"), "{:?}", heard.warnings);
}

#[test]
fn other_streams_beside_it_are_passed_over() {
    let mut other = stream(0, 2);
    for page in &mut other {
        page.serial = 1;
    }
    other[0] = Raw::new(FIRST, 0, 0, &[b"\x80theora"]);
    other[0].serial = 1;
    let mut mixed = Vec::new();
    for (theirs, ours) in other.into_iter().zip(stream(0, 2)) {
        mixed.extend([theirs, ours]);
    }
    assert_eq!(listen(bytes(&mixed)).packets(), 10);
}

#[test]
fn a_header_packet_of_megabytes_is_not_kept() {
    let mut pages = stream(0, 2);
    let mut tags = vec![Raw::new(0, -1, 1, &[])];
    tags[0].lacing = vec![255; 255];
    tags[0].body = vec![b'x'; 255 * 255];
    tags[0].body[..8].copy_from_slice(b"OpusTags");
    for sequence in 2..40 {
        let mut more = tags[0].clone();
        (more.flags, more.sequence) = (CONTINUED, sequence);
        tags.push(more);
    }
    tags.push(Raw::new(CONTINUED, 0, 40, &[b"end"]));
    for page in &mut pages[2..] {
        page.sequence += 39;
    }
    pages.splice(1..2, tags);
    let heard = listen(bytes(&pages));
    assert_eq!(
        (heard.packets(), heard.warnings.len()),
        (10, 0),
        "{:?}",
        heard.warnings
    );
}

#[test]
fn live_packets_come_with_their_page() {
    let pages = stream(0, 3);
    let (sender, receiver) = crossbeam_channel::unbounded();
    sender.send(pages[0].bytes()).unwrap();
    // The sender is still there: waiting for more than is needed would hang the test.
    let mut media = Media::open(Source::Live(Box::new(receiver.into_iter()))).unwrap();
    assert!(matches!(
        media.next_step().unwrap(),
        Some(Step::OpusHead { .. })
    ));
    sender.send(bytes(&pages[1..3])).unwrap();
    for _ in 0..5 {
        assert!(matches!(
            media.next_step().unwrap(),
            Some(Step::OpusPacket { .. })
        ));
    }
}

#[test]
fn timestamps_of_another_age_make_no_silence() {
    let mut pages = stream(0, 4);
    pages[4].granule = i64::MAX - 5;
    let heard = listen(bytes(&pages));
    assert_eq!((heard.packets(), heard.gaps()), (20, vec![]));
    assert!(
        heard.warnings[0].contains("forwards"),
        "{:?}",
        heard.warnings
    );
}

#[test]
fn later_pieces_and_empty_streams_say_what_they_are() {
    let refused = |pages: &[Raw]| {
        let mut media = match Media::open(Source::Bytes(bytes(pages))) {
            Ok(media) => media,
            Err(error) => return error.message().to_owned(),
        };
        loop {
            match media.next_step() {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(error) => return error.message().to_owned(),
            }
        }
    };
    assert!(refused(&stream(0, 5)[3..]).contains("concatenate"));
    // Cut off after the headers.
    assert!(refused(&stream(0, 5)[..2]).contains("no audio"));
    // Closed before anything was said.
    let mut silent = stream(0, 0);
    silent[1].flags = LAST;
    assert_eq!(refused(&silent), "");
}

#[test]
fn crafted_pages_with_right_checksums_do_no_harm() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for _ in 0..3000 {
        let mut pages = [stream(312, 4), stream(7, 3)].concat();
        for _ in 0..=random(6) {
            let at = random(pages.len());
            let mut page = pages[at].clone();
            match random(8) {
                0 => page.flags = random(8) as u8,
                1 => page.granule = [-1, 0, i64::MIN, i64::MAX, 5, 1 << 40][random(6)],
                2 => page.sequence = [0, u32::MAX, 3, 1 << 20][random(4)],
                3 => page.serial = random(3) as u32,
                4 if !page.lacing.is_empty() => {
                    let segment = random(page.lacing.len());
                    page.lacing[segment] = [0, 1, 254, 255][random(4)];
                    let body = page.lacing.iter().map(|&length| usize::from(length)).sum();
                    page.body.resize(body, 8);
                }
                5 if !page.body.is_empty() => {
                    let byte = random(page.body.len());
                    page.body[byte] = random(256) as u8;
                }
                6 => drop(pages.remove(at)),
                _ => pages.swap(at, 0),
            }
            if pages.is_empty() {
                break;
            }
            let at = at.min(pages.len() - 1);
            pages[at] = page;
        }
        let Ok(mut media) = Media::open(Source::Bytes(bytes(&pages))) else {
            continue;
        };
        while let Ok(Some(step)) = media.next_step() {
            if let Step::OpusGap { samples_48k } = step {
                assert!(samples_48k <= 3600 * 48_000);
            }
        }
    }
}
