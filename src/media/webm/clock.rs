//! What is missing between blocks, from timestamps that are rounded to milliseconds, jitter, and
//! drift against the samples.

/// Rounding of a timestamp at both ends of a gap.
const ROUNDING_48K: i64 = 96;
/// Recorders stamp blocks when they come, so a shorter absence is not told from jitter.
const MIN_THRESHOLD_48K: i64 = 480;
/// Farther back than jitter.
const BACKWARDS_48K: i64 = 48_000;
/// Where a cluster's own timestamp is lost, the blocks in it seem to lie back by as much as a
/// cluster can last (16-bit milliseconds). What stays back longer is a clock that was reset.
const MAX_BEHIND_48K: i64 = 33 * 48_000;
/// The share of an error that is taken for drift, and followed.
const DRIFT_SHARE: i64 = 32;

/// Follows a track's timestamps, in samples at 48 kHz.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Where the next block should begin by the audio so far, drift followed.
    expected: Option<i64>,
    /// Where the last block ended by its own timestamp, while that is trusted.
    last_end: Option<i64>,
    behind: i64,
}

/// What a timestamp says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    InOrder,
    /// Samples missing before the block.
    Missing(i64),
    /// Samples that it lies back.
    Backwards(i64),
}

impl Clock {
    /// Takes a block's timestamp and duration; `usual` is how long packets are. A gap of more than
    /// `max_gap` is told once and then forgotten.
    pub(super) fn advance(
        &mut self,
        timestamp: i64,
        duration: i64,
        usual: i64,
        max_gap: i64,
    ) -> Finding {
        let expected = self.expected.unwrap_or(timestamp);
        let error = timestamp.saturating_sub(expected);
        // Both against the block before and against all before: the first alone would add a gap
        // at each swing of a jitter, the second alone a gap whenever drift sums up to a packet.
        let jump = self
            .last_end
            .map_or(error, |end| timestamp.saturating_sub(end));
        let threshold = (usual - ROUNDING_48K).max(MIN_THRESHOLD_48K - ROUNDING_48K);
        let mut begin = expected;
        let mut finding = Finding::InOrder;
        self.last_end = Some(timestamp.saturating_add(duration));
        if error.min(jump) >= threshold {
            let missing = whole_packets(error.min(jump), usual);
            finding = Finding::Missing(missing);
            begin = if missing > max_gap {
                timestamp
            } else {
                expected.saturating_add(missing)
            };
        } else if error <= -BACKWARDS_48K {
            if self.behind == 0 {
                finding = Finding::Backwards(error.saturating_neg());
            }
            self.last_end = None;
            self.behind += duration;
            if self.behind > MAX_BEHIND_48K {
                (begin, self.behind) = (timestamp, 0);
            }
        } else {
            self.behind = 0;
            begin = expected.saturating_add(error / DRIFT_SHARE);
        }
        self.expected = Some(begin.saturating_add(duration));
        finding
    }
}

/// A block's timestamp in samples, from those of its cluster and its own, in ticks of `scale_ns`.
pub(super) fn samples_48k(cluster: u64, relative: i16, scale_ns: u64) -> i64 {
    let ticks = i128::from(cluster) + i128::from(relative);
    let ns = ticks.saturating_mul(i128::from(scale_ns));
    i64::try_from(ns / 1_000_000 * 48 + ns % 1_000_000 * 48 / 1_000_000).unwrap_or(i64::MAX)
}

/// Packets that were lost are lost whole.
fn whole_packets(missing: i64, usual: i64) -> i64 {
    let whole = (missing + usual / 2) / usual * usual;
    if (whole - missing).abs() <= ROUNDING_48K {
        whole
    } else {
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 48;
    const HOUR: i64 = 3_600_000 * MS;

    fn missing(stamps_ms: impl IntoIterator<Item = i64>, packet_ms: i64) -> Vec<Finding> {
        let mut clock = Clock::default();
        stamps_ms
            .into_iter()
            .map(|ms| clock.advance(ms * MS, packet_ms * MS, packet_ms * MS, HOUR))
            .filter(|finding| *finding != Finding::InOrder)
            .collect()
    }

    #[test]
    fn one_lost_packet_is_found_whole() {
        assert_eq!(missing([0, 60, 181, 240], 60), [Finding::Missing(60 * MS)]);
        assert_eq!(missing([0, 20, 59, 80], 20), [Finding::Missing(20 * MS)]);
    }

    #[test]
    fn jitter_is_no_gap() {
        let stamps = (0..1000).map(|block| block * 20 + [0, 11, 3, 15, 0, 7][block as usize % 6]);
        assert_eq!(missing(stamps, 20), []);
    }

    #[test]
    fn drift_is_no_gap_in_either_direction() {
        assert_eq!(
            missing((0..60_000).map(|block| block * 60 + block / 80), 60),
            []
        );
        assert_eq!(
            missing((0..60_000).map(|block| block * 60 - block / 80), 60),
            []
        );
    }

    #[test]
    fn a_gap_is_found_in_a_drifting_stream() {
        let stamps =
            (0..10_000).map(|block| block * 60 - block / 50 + if block >= 9_000 { 600 } else { 0 });
        let found = missing(stamps, 60);
        assert!(
            matches!(found[..], [Finding::Missing(samples)] if (samples - 600 * MS).abs() < 20 * MS),
            "{found:?}"
        );
    }

    #[test]
    fn a_lost_cluster_header_moves_nothing() {
        // The third cluster's header is lost: its blocks are dated as of the second, and some of
        // its blocks are missing.
        let first = (0..40).map(|block| block * 100);
        let third = (0..40).map(|block| 1000 + block * 100);
        let fourth = (0..40).map(|block| 8500 + block * 100);
        let found = missing(first.chain(third).chain(fourth), 100);
        assert_eq!(
            found,
            [Finding::Backwards(3000 * MS), Finding::Missing(500 * MS)]
        );
    }

    #[test]
    fn a_clock_that_was_reset_is_followed_again() {
        let first = (0..1000).map(|block| block * 60);
        let reset = (0..1000).map(|block| block * 60);
        let later = (0..10).map(|block| 1000 * 60 + 300 + block * 60);
        let found = missing(first.chain(reset).chain(later), 60);
        assert_eq!(
            found,
            [Finding::Backwards(60_000 * MS), Finding::Missing(300 * MS)]
        );
    }

    #[test]
    fn absurd_timestamps_do_not_overflow() {
        let mut clock = Clock::default();
        for stamp in [i64::MAX, 0, i64::MIN, i64::MAX, i64::MIN, 5] {
            clock.advance(stamp, 5760, 960, HOUR);
        }
    }
}
