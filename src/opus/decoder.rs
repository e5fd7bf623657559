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
    /// A decoder with no past.
    pub fn new() -> Result<Self> {
        let inner = opus::Decoder::new(SAMPLE_RATE_HZ, opus::Channels::Mono).map_err(|cause| {
            Error::new(ErrorKind::OutOfMemory, "libopus could not make a decoder").caused_by(cause)
        })?;
        Ok(Self { inner })
    }

    /// Decodes one packet into `out`, which is as long as the packet's table of contents says.
    pub fn decode(&mut self, packet: &[u8], out: &mut [f32]) -> Result<(), Refused> {
        match self.inner.decode_float(packet, out, false) {
            Ok(samples) if samples == out.len() => Ok(()),
            _ => Err(Refused),
        }
    }

    /// Fills `out`, a multiple of 2.5 ms, with what the audio before it leads to.
    pub fn conceal(&mut self, out: &mut [f32]) -> Result<(), Refused> {
        self.decode(&[], out)
    }
}
