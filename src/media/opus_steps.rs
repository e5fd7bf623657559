//! What Ogg and WebM have in common once packets are found: durations, trimming at both ends, and
//! gaps that are believable.

use std::collections::VecDeque;

use super::Step;
use super::opus_head::OpusHead;
use super::warnings::{Warnings, at_time};
use crate::opus::packet::samples_48k;

/// More than any legal packet has (RFC 7845, section 3).
pub(super) const MAX_PACKET_BYTES: usize = 61_440;
/// A longer jump is a damaged timestamp rather than an hour of lost packets: believed, it would
/// become hours of silence.
pub(super) const MAX_GAP_48K: i64 = 3600 * 48_000;
/// Whether a gap can be real. All of them together are no longer than an hour and what is heard:
/// beyond, a few damaged timestamps would become days.
pub(super) fn is_believable(gap: i64, gaps_before: u64, clock: u64, rate_hz: u32) -> bool {
    let max_gap = MAX_GAP_48K as u64 / 48_000 * u64::from(rate_hz);
    let heard = clock - gaps_before;
    gap.max(0) as u64 <= max_gap && gaps_before + gap.max(0) as u64 <= max_gap + heard
}

/// The shortest frame. What is below is rounding.
pub(super) const MIN_GAP_48K: i64 = 120;
/// Packets up to here hold no coded frame (RFC 6716, section 2.1.9, discontinuous transmission).
const MAX_SILENCE_BYTES: usize = 2;
/// The usual packet, for one that does not tell its duration.
const DEFAULT_PACKET_48K: usize = 960;

/// Steps that are ready, and what is needed to make the next ones. Holds no more than one page or
/// block of packets.
#[derive(Debug, Default)]
pub(super) struct OpusSteps {
    ready: VecDeque<Step>,
    /// Samples before the audio begins that are still to come.
    pre_skip_left: usize,
    last_packet_48k: Option<usize>,
    /// Whether the last packet only announced that none follows while there is nothing to hear.
    silence_announced: bool,
    /// Audio handed out so far, gaps included; for places in warnings.
    clock_48k: u64,
    /// How much of that is gaps.
    gaps_48k: u64,
    pub(super) warnings: Warnings,
}

impl OpusSteps {
    pub(super) fn pop(&mut self) -> Option<Step> {
        self.ready.pop_front()
    }

    /// A place in the audio, for warnings.
    pub(super) fn now(&self) -> String {
        at_time(self.clock_48k)
    }

    /// How much of the pre-skip is still to come.
    pub(super) fn pre_skip_left(&self) -> usize {
        self.pre_skip_left
    }

    /// A new stream begins.
    pub(super) fn begin(&mut self, head: OpusHead) {
        self.pre_skip_left = usize::from(head.pre_skip_48k);
        self.last_packet_48k = None;
        self.silence_announced = false;
        self.ready.push_back(Step::OpusHead {
            channels: head.channels,
            output_gain_q8: head.output_gain_q8,
        });
    }

    /// The duration that a packet tells, or else that of the packet before it.
    pub(super) fn duration(&mut self, packet: &[u8]) -> usize {
        if let Ok(samples) = samples_48k(packet) {
            self.last_packet_48k = Some(samples);
            return samples;
        }
        let now = self.now();
        self.warnings.note("malformed packet", || {
            format!("a packet at {now} is not valid Opus")
        });
        self.usual_packet()
    }

    /// How long packets are at this place.
    pub(super) fn usual_packet(&self) -> usize {
        self.last_packet_48k.unwrap_or(DEFAULT_PACKET_48K)
    }

    /// Audio is missing. What falls into the pre-skip would not have been heard.
    pub(super) fn gap(&mut self, samples_48k: i64, offset: u64) {
        let now = self.now();
        if !is_believable(samples_48k, self.gaps_48k, self.clock_48k, 48_000) {
            self.warnings.note("jump forwards", || {
                format!(
                    "the timestamps jump {:.0} s forwards at {now} (byte {offset}); taken as \
                     damage, the audio goes on without a gap",
                    samples_48k as f64 / 48_000.0
                )
            });
            return;
        }
        let skipped = self.pre_skip_left.min(samples_48k.max(0) as usize);
        self.pre_skip_left -= skipped;
        let samples_48k = samples_48k.max(0) as u64 - skipped as u64;
        if samples_48k == 0 {
            return;
        }
        if !self.silence_announced {
            self.warnings.note("gap", || {
                format!(
                    "{} of audio is missing at {now} (byte {offset})",
                    at_time(samples_48k)
                )
            });
        }
        self.clock_48k += samples_48k;
        self.gaps_48k += samples_48k;
        self.ready.push_back(Step::OpusGap { samples_48k });
    }

    /// Timestamps go back: nothing is missing, but something is wrong.
    pub(super) fn backwards(&mut self, samples_48k: i64, offset: u64) {
        let now = self.now();
        self.warnings.note("jump backwards", || {
            format!(
                "the timestamps jump {:.2} s backwards at {now} (byte {offset}); taken as damage, \
                 the audio goes on in the file's order",
                samples_48k as f64 / 48_000.0
            )
        });
    }

    /// Packets of one page or block, of which `skip` samples at the front and `drop` at the back
    /// are not part of the audio. Both may span packets.
    pub(super) fn packets(&mut self, packets: Vec<(Vec<u8>, usize)>, skip: usize, drop: usize) {
        let mut skip_left = self.pre_skip_left.saturating_add(skip);
        let mut until_drop = packets
            .iter()
            .map(|(_, duration)| duration)
            .sum::<usize>()
            .saturating_sub(drop);
        for (bytes, duration) in packets {
            let skip_48k = skip_left.min(duration);
            skip_left -= skip_48k;
            let kept = until_drop.min(duration);
            until_drop -= kept;
            self.clock_48k += kept.saturating_sub(skip_48k) as u64;
            // Discontinuous transmission: a table of contents without a frame.
            self.silence_announced = bytes.len() <= MAX_SILENCE_BYTES;
            self.ready.push_back(Step::OpusPacket {
                bytes,
                skip_48k,
                drop_48k: (duration - kept).min(duration - skip_48k),
            });
        }
        // What the block itself wanted skipped ends with it; the pre-skip goes on.
        self.pre_skip_left = self.pre_skip_left.min(skip_left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 ms each.
    fn packets(count: usize) -> Vec<(Vec<u8>, usize)> {
        vec![(vec![1 << 3], 960); count]
    }

    fn trims(steps: &mut OpusSteps) -> Vec<(usize, usize)> {
        std::iter::from_fn(|| steps.pop())
            .filter_map(|step| match step {
                Step::OpusPacket {
                    skip_48k, drop_48k, ..
                } => Some((skip_48k, drop_48k)),
                _ => None,
            })
            .collect()
    }

    fn begun(pre_skip_48k: u16) -> OpusSteps {
        let mut steps = OpusSteps::default();
        steps.begin(OpusHead {
            channels: 1,
            pre_skip_48k,
            output_gain_q8: 0,
        });
        steps
    }

    #[test]
    fn pre_skip_and_end_trimming_span_packets() {
        let mut steps = begun(2000);
        steps.packets(packets(2), 0, 0);
        steps.packets(packets(3), 0, 1000);
        assert_eq!(
            trims(&mut steps),
            [(960, 0), (960, 0), (80, 0), (0, 40), (0, 960)]
        );
    }

    #[test]
    fn trimming_never_exceeds_a_packet() {
        let mut steps = begun(500);
        steps.packets(packets(1), 0, 5000);
        assert_eq!(trims(&mut steps), [(500, 460)]);
    }

    #[test]
    fn a_gap_within_the_pre_skip_is_not_heard() {
        let mut steps = begun(1200);
        steps.gap(960, 0);
        steps.gap(960, 0);
        assert_eq!(
            steps.ready.pop_back(),
            Some(Step::OpusGap { samples_48k: 720 })
        );
        assert_eq!(steps.ready.len(), 1);
    }

    #[test]
    fn days_of_silence_are_not_believed() {
        let mut steps = begun(0);
        steps.gap(48 * 3600 * 48_000, 7);
        assert_eq!(steps.ready.len(), 1);
        for _ in 0..5 {
            steps.gap(50 * 60 * 48_000, 7);
        }
        assert_eq!(steps.ready.len(), 2);
        assert!(steps.warnings.first().unwrap().contains("172800 s"));
    }
}
