//! What is counted of a stream's audio between two of its texts.

use crate::transcript::PacketCounts;

/// Damaged packets of which an utterance's transcript gives the index; more are counted as lost, so
/// that a stream of nothing else takes no memory.
const MAX_CORRUPT: usize = 1000;

/// What an utterance's transcript says of the audio that it came with.
#[derive(Default)]
pub struct Tally {
    pub packets: Option<PacketCounts>,
    pub decode_ms: f64,
    pub vad_ms: f64,
}

impl Tally {
    pub fn add(&mut self, counts: Option<PacketCounts>, decode_ms: f64) {
        self.decode_ms += decode_ms;
        let Some(counts) = counts else { return };
        let sum = self.packets.get_or_insert_default();
        sum.received += counts.received;
        let room = MAX_CORRUPT - sum.corrupt.len().min(MAX_CORRUPT);
        sum.lost += counts.lost + counts.corrupt.len().saturating_sub(room);
        sum.corrupt.extend(counts.corrupt.into_iter().take(room));
        sum.concealed_ms += counts.concealed_ms;
    }
}
