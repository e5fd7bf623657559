//! Packet lists: each packet behind its length as uint16 little-endian, 65535 for a lost one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opuscribe::audio::MaxDuration;
use opuscribe::opus::PacketList;
use opuscribe_fuzz::drain;

fuzz_target!(|bytes: &[u8]| {
    let mut list = PacketList::default();
    let mut rest = bytes;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = u16::from_le_bytes(*length);
        if length == u16::MAX {
            list.push(None);
            rest = tail;
            continue;
        }
        let (packet, tail) = tail.split_at(usize::from(length).min(tail.len()));
        list.push(Some(packet));
        rest = tail;
    }
    if let Ok(mut source) = list.open(MaxDuration::from_ms(600_000.0)) {
        drain(&mut source);
    }
});
