//! Ogg, whole and live, from valid files on. A page whose checksum is wrong is refused early, so
//! the target mends the checksums first.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opuscribe_fuzz::media;

fuzz_target!(|bytes: &[u8]| {
    if !bytes.starts_with(b"OggS") {
        return;
    }
    media(bytes);
    media(&with_right_checksums(bytes));
});

fn with_right_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(page_len) = page_len(&bytes[at..]) {
        let page = &mut bytes[at..at + page_len];
        page[22..26].fill(0);
        let checksum = page.iter().fold(0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
                crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
            })
        });
        page[22..26].copy_from_slice(&checksum.to_le_bytes());
        at += page_len;
    }
    bytes
}

fn page_len(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(b"OggS") {
        return None;
    }
    let segments = usize::from(*bytes.get(26)?);
    let lacing = bytes.get(27..27 + segments)?;
    let len = 27 + segments + lacing.iter().map(|&len| usize::from(len)).sum::<usize>();
    (len <= bytes.len()).then_some(len)
}
