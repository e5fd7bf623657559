//! libopus as this bench needs it: 20 ms packets of 16 kHz mono speech.
//!
//! The `opus` crate, which the addon uses, has no way to set a decoder's complexity. So the
//! decoder, and only it, speaks to the C library.

use opusic_sys as ffi;
use std::error::Error;
use std::ffi::c_int;
use std::ptr::{NonNull, null};

const SAMPLE_RATE_HZ: u32 = 16_000;
pub const PACKET_MS: usize = 20;
pub const PACKET_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 1000 * PACKET_MS;
/// libopus's recommendation for the buffer of an encoder.
const MAX_PACKET_BYTES: usize = 4000;

/// Encodes as a call would; `fec_percent` is the loss that the encoder is told to expect, 0 for
/// no FEC.
pub fn encode(
    samples: &[i16],
    kbits: i32,
    fec_percent: i32,
) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut encoder = opus::Encoder::new(
        SAMPLE_RATE_HZ,
        opus::Channels::Mono,
        opus::Application::Voip,
    )?;
    encoder.set_bitrate(opus::Bitrate::Bits(kbits * 1000))?;
    if fec_percent > 0 {
        encoder.set_inband_fec(true)?;
        encoder.set_packet_loss_perc(fec_percent)?;
    }
    let mut packets = Vec::new();
    for piece in samples.chunks(PACKET_SAMPLES) {
        let mut frame = piece.to_vec();
        frame.resize(PACKET_SAMPLES, 0);
        packets.push(encoder.encode_vec(&frame, MAX_PACKET_BYTES)?);
    }
    Ok(packets)
}

/// Whether the packet carries the one before it a second time.
pub fn has_fec(packet: &[u8]) -> bool {
    // SAFETY: libopus reads no more than the length that goes with the pointer.
    unsafe { ffi::opus_packet_has_lbrr(packet.as_ptr(), packet.len() as i32) == 1 }
}

/// A decoder that owns its state in C.
pub struct Decoder {
    state: NonNull<ffi::OpusDecoder>,
}

impl Decoder {
    /// From complexity 5 on the neural build conceals with deep PLC, from 6 it also improves what
    /// it decodes with LACE, from 7 with `NoLACE`.
    pub fn new(complexity: i32) -> Result<Self, Box<dyn Error>> {
        let mut code: c_int = 0;
        // SAFETY: `code` outlives the call.
        let state = unsafe { ffi::opus_decoder_create(SAMPLE_RATE_HZ as i32, 1, &raw mut code) };
        let state = NonNull::new(state).ok_or_else(|| format!("no decoder: error {code}"))?;
        let decoder = Self { state };
        // SAFETY: this request takes one int by value; the state is alive.
        let code = unsafe {
            ffi::opus_decoder_ctl(
                decoder.state.as_ptr(),
                ffi::OPUS_SET_COMPLEXITY_REQUEST,
                complexity,
            )
        };
        if code == ffi::OPUS_OK {
            Ok(decoder)
        } else {
            Err(format!("complexity {complexity} is refused: error {code}").into())
        }
    }

    /// Fills `out` with the packet, or, with `fec`, with the one before it.
    pub fn decode(&mut self, packet: &[u8], out: &mut [f32], fec: bool) -> Result<(), String> {
        self.fill(packet.as_ptr(), packet.len(), out, fec)
    }

    /// Fills `out` with what the audio before it leads to.
    pub fn conceal(&mut self, out: &mut [f32]) -> Result<(), String> {
        self.fill(null(), 0, out, false)
    }

    fn fill(
        &mut self,
        packet: *const u8,
        bytes: usize,
        out: &mut [f32],
        fec: bool,
    ) -> Result<(), String> {
        // SAFETY: the state is alive and borrowed alone; `packet` is null or has `bytes` bytes,
        // and libopus writes at most `out.len()` samples of its one channel.
        let samples = unsafe {
            ffi::opus_decode_float(
                self.state.as_ptr(),
                packet,
                bytes as i32,
                out.as_mut_ptr(),
                out.len() as c_int,
                c_int::from(fec),
            )
        };
        if samples as usize == out.len() {
            Ok(())
        } else {
            Err(format!(
                "libopus gave {samples} instead of {} samples",
                out.len()
            ))
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_decoder_create`, and nothing uses it afterwards.
        unsafe { ffi::opus_decoder_destroy(self.state.as_ptr()) }
    }
}
