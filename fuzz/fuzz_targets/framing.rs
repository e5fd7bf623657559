//! Length-prefixed bytes. The first byte chooses the framing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opuscribe::opus::framing::{self, ByteOrder, Framing, LengthWidth, SequencePlace};

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let framing = Framing {
        length: if choice & 1 == 0 {
            LengthWidth::Two
        } else {
            LengthWidth::Four
        },
        order: if choice & 2 == 0 {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        },
        sequence: match choice >> 2 & 3 {
            0 | 3 => None,
            1 => Some(SequencePlace::Before),
            _ => Some(SequencePlace::After),
        },
        reorder_window: u32::from(choice >> 5) * 10,
        allow_partial: choice & 16 != 0,
    };
    match framing::split(bytes, &framing) {
        Ok(packets) => {
            for packet in packets.into_iter().flatten() {
                assert!(!bytes[packet].is_empty());
            }
        }
        Err(error) => assert!(error.byte_offset().is_some_and(|at| at < bytes.len())),
    }
});
