//! Opus in MP4, as MediaRecorder writes it where it writes MP4: demuxed by symphonia, not decoded.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::packet::Packet;

use super::super::opus_head::OpusHead;
use super::super::opus_steps::{MAX_PACKET_BYTES, OpusSteps};
use super::super::unsupported;
use super::mp4::Mp4;
use crate::error::Result;

/// The Opus track of an MP4 file.
pub(super) struct OpusTrack {
    pub(super) steps: OpusSteps,
    /// Samples until the end, where an edit list says it.
    left_48k: Option<u64>,
}

impl OpusTrack {
    pub(super) fn new(params: &AudioCodecParameters, mp4: Option<&Mp4>) -> Result<Self> {
        let header = params.extra_data.as_deref().unwrap_or_default();
        let head = mp4_head(header)
            .map_err(|reason| unsupported(format!("this is MP4 with Opus, but {reason}")))?;
        let mut steps = OpusSteps::default();
        steps.begin(head);
        Ok(Self {
            steps,
            left_48k: mp4.and_then(|mp4| mp4.length(48_000)),
        })
    }

    pub(super) fn take(&mut self, packet: &Packet) {
        if packet.data.is_empty() {
            return;
        }
        if packet.data.len() > MAX_PACKET_BYTES {
            let now = self.steps.now();
            self.steps.warnings.note("too long", || {
                format!("a packet at {now} is longer than Opus can be and was left out")
            });
            return;
        }
        let bytes = packet.data.to_vec();
        let duration = self.steps.duration(&bytes);
        let audible = duration.saturating_sub(self.steps.pre_skip_left());
        let drop = self.left_48k.as_mut().map_or(0, |left| {
            let kept = (audible as u64).min(*left);
            *left -= kept;
            audible - kept as usize
        });
        self.steps.packets(vec![(bytes, duration)], 0, drop);
    }

    pub(super) fn end(&mut self, reason: Option<&str>) {
        if let Some(reason) = reason {
            let now = self.steps.now();
            self.steps.warnings.note("ends early", || {
                format!("the Opus audio ends at {now}: {reason}")
            });
        }
    }
}

/// The header as MP4 has it: version 0, and its numbers big-endian.
fn mp4_head(header: &[u8]) -> Result<OpusHead, String> {
    let mut ogg = header.to_vec();
    if let Some(fields) = ogg.get_mut(8..19) {
        fields[0] = 1;
        fields[2..4].reverse();
        fields[4..8].reverse();
        fields[8..10].reverse();
    }
    OpusHead::parse(&ogg)
}
