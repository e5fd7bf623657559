//! Opus packets to 16 kHz mono, on the input's own timeline: every packet, lost or not, keeps its
//! place.

mod decoder;
pub mod framing;
mod list;
pub(crate) mod packet;
mod stream;

pub use decoder::library_version;
pub use list::{ListSource, PacketList};
pub use packet::{Malformed, samples_48k};
pub use stream::{MAX_CONCEALMENT_MS, PacketDecoder, samples_16k};

#[cfg(test)]
mod tests;
