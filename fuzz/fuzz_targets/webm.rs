//! WebM, whole and live.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opuscribe_fuzz::media;

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
        media(bytes);
    }
});
