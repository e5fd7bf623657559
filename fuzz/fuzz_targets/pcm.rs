//! PCM as a caller passes it: 4 bytes of rate, one of channels, one of the format, then samples.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opuscribe::audio::{MaxDuration, Pcm, Samples};
use opuscribe_fuzz::drain;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, bytes)) = bytes.split_first_chunk::<6>() else {
        return;
    };
    let [r0, r1, r2, r3, channels, format] = *head;
    let samples = if format & 1 == 0 {
        let (samples, _) = bytes.as_chunks::<4>();
        Samples::F32(samples.iter().copied().map(f32::from_le_bytes).collect())
    } else {
        let (samples, _) = bytes.as_chunks::<2>();
        Samples::I16(samples.iter().copied().map(i16::from_le_bytes).collect())
    };
    let pcm = Pcm {
        samples,
        sample_rate_hz: u32::from_le_bytes([r0, r1, r2, r3]) % 500_000,
        channels: usize::from(channels) % 10,
    };
    if let Ok(mut source) = pcm.open(MaxDuration::from_ms(600_000.0)) {
        drain(&mut source);
    }
});
