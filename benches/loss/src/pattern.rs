//! Which packets are lost: the same ones for every decoder and bit rate.

use crate::codec::PACKET_MS;

/// Mean length of a burst, in packets.
const BURST_PACKETS: f64 = 4.0;
/// One gap falls into each stretch of this many packets, not within the margin at its ends.
const GAP_EVERY: usize = 5000 / PACKET_MS;
const GAP_MARGIN: usize = 500 / PACKET_MS;

/// How packets get lost.
#[derive(Clone, Copy)]
pub enum Pattern {
    /// Each with this probability, on its own.
    Random(f64),
    /// This share of them, in bursts: the two states of Gilbert's model.
    Burst(f64),
    /// This many milliseconds in a row, once in 5 s.
    Gap(usize),
}

impl Pattern {
    /// `random:PERCENT`, `burst:PERCENT` or `gap:MILLISECONDS`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unknown = || format!("unknown pattern {text}");
        let (kind, number) = text.split_once(':').ok_or_else(unknown)?;
        let number: usize = number.parse().map_err(|_| unknown())?;
        match kind {
            "random" if number < 100 => Ok(Self::Random(number as f64 / 100.0)),
            "burst" if number < 80 => Ok(Self::Burst(number as f64 / 100.0)),
            "gap" if number <= 4000 => Ok(Self::Gap(number)),
            _ => Err(unknown()),
        }
    }

    /// For each of `count` packets, whether it is lost.
    pub fn losses(self, count: usize, seed: u64) -> Vec<bool> {
        let mut random = Random::new(seed);
        match self {
            Self::Random(share) => (0..count).map(|_| random.next() < share).collect(),
            Self::Burst(share) => {
                let leave = 1.0 / BURST_PACKETS;
                let enter = share * leave / (1.0 - share);
                let mut lost = false;
                let mut step = || {
                    let drawn = random.next();
                    lost = if lost { drawn >= leave } else { drawn < enter };
                    lost
                };
                (0..count).map(|_| step()).collect()
            }
            Self::Gap(ms) => {
                let gap = ms / PACKET_MS;
                let room = GAP_EVERY - GAP_MARGIN - gap;
                let mut lost = vec![false; count];
                for stretch in lost.chunks_exact_mut(GAP_EVERY) {
                    let start = GAP_MARGIN + (random.next() * room as f64) as usize;
                    stretch[start..start + gap].fill(true);
                }
                lost
            }
        }
    }
}

/// `SplitMix64`, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        // Seeds that lie side by side have drifted apart by then.
        for _ in 0..8 {
            random.next();
        }
        random
    }

    /// In 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
