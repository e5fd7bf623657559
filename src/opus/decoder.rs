//! One Opus decoder: packets in, 16 kHz mono out. The only file that names the `opus` crate.
//!
//! libopus resamples and downmixes by itself, so a 48 kHz stereo packet costs no step of ours.

use crate::audio::SAMPLE_RATE_HZ;
use crate::error::{Error, ErrorKind, Result};

/// Version of the bundled libopus.
#[must_use]
pub fn library_version() -> &'static str {
    opus::version()
}

/// A decoder that belongs to one job or stream and is never shared: its state is the stream's past.
pub struct Decoder {
    inner: opus::Decoder,
}

/// libopus refused a packet whose outside is well-formed.
#[derive(Debug)]
pub struct Refused;

impl Decoder {
    /// A decoder with no past, and a gain in 1/256 dB.
    pub fn new(gain_q8: i16) -> Result<Self> {
        let failed = |cause| {
            Error::new(ErrorKind::OutOfMemory, "libopus could not make a decoder").caused_by(cause)
        };
        let mut inner = opus::Decoder::new(SAMPLE_RATE_HZ, opus::Channels::Mono).map_err(failed)?;
        inner.set_gain(gain_q8.into()).map_err(failed)?;
        Ok(Self { inner })
    }

    /// Decodes one packet into `out`, which is as long as the packet's table of contents says.
    pub fn decode(&mut self, packet: &[u8], out: &mut [f32]) -> Result<(), Refused> {
        self.fill(packet, out, false)
    }

    /// Fills `out` with the audio before `packet`, whose last frame the packet carries again.
    pub fn recover(&mut self, packet: &[u8], out: &mut [f32]) -> Result<(), Refused> {
        self.fill(packet, out, true)
    }

    /// Fills `out`, a multiple of 2.5 ms, with what the audio before it leads to.
    pub fn conceal(&mut self, out: &mut [f32]) -> Result<(), Refused> {
        self.fill(&[], out, false)
    }

    fn fill(&mut self, packet: &[u8], out: &mut [f32], fec: bool) -> Result<(), Refused> {
        match self.inner.decode_float(packet, out, fec) {
            Ok(samples) if samples == out.len() => Ok(()),
            _ => Err(Refused),
        }
    }
}
