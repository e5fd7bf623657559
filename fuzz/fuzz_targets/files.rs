//! WAV, FLAC, MP3, M4A and AAC: whatever is told apart by its first bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opuscribe_fuzz::media;

fuzz_target!(|bytes: &[u8]| media(bytes));
