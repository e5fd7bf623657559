//! WebM and Matroska with Opus to steps (RFC 9559), as recorders write them live: sizes unknown,
//! no cues, and now and then damaged.
//!
//! Written here because what matters most is lost in symphonia-format-mkv 0.6.1, the reader there
//! is: it parses `DiscardPadding` and drops it, ends at the first damaged element, passes over the
//! rest of a cluster without a word where a child is too long, and cannot tell a file that is cut
//! short from one whose size is unknown.
//!
//! The document is walked flat: segment, cluster and block group are entered, and where they end
//! is told by what comes next. So unknown sizes need no care, and wrong ones do little harm.

mod block;
mod clock;
mod ebml;
mod resync;
mod track;

use super::bytes::ByteReader;
use super::opus_steps::{MAX_GAP_48K, MAX_PACKET_BYTES, OpusSteps};
use super::{Step, unsupported};
use crate::error::Result;
use block::BlockHeader;
use clock::{Clock, Finding, samples_48k};
use ebml::{Front, Header, id, peek_header, signed, unsigned};
use track::Kind;

/// Room for a codec's header with all that may hang on it.
const MAX_TRACK_BYTES: u64 = 1 << 20;
/// A lace of 256 of the longest frames would be 300 KB.
const MAX_BLOCK_BYTES: u64 = 1 << 20;
/// Elements among blocks up to here are checked by what follows them.
const MAX_PASSED_OVER_BYTES: u64 = 1 << 16;
/// An element of a kind that no specification knows is more likely damage than the future.
const MAX_UNKNOWN_BYTES: u64 = 1024;
/// Codecs that an error names; more tracks are not read.
const MAX_TRACKS: usize = 64;
/// Ticks of a millisecond, unless the file says else.
const DEFAULT_SCALE_NS: u64 = 1_000_000;

/// Demuxes WebM; other tracks beside the first with Opus are passed over.
pub(super) struct WebmOpus {
    reader: ByteReader,
    steps: OpusSteps,
    scale_ns: u64,
    tracks: Vec<track::Track>,
    in_tracks: bool,
    /// Number of the track that is read.
    opus: Option<u64>,
    /// Where the segment ends, if it says so.
    segment_end: Option<u64>,
    cluster_timestamp: Option<u64>,
    in_clusters: bool,
    group: Option<Group>,
    clock: Clock,
    ended: bool,
}

/// A block group that is being read: what follows the block says how it is trimmed.
struct Group {
    end: u64,
    block: Option<Block>,
    discard_ns: i64,
}

struct Block {
    timestamp_48k: i64,
    packets: Vec<Vec<u8>>,
    offset: u64,
}

impl WebmOpus {
    /// Reads as far as the first cluster.
    pub(super) fn open(reader: ByteReader) -> Result<Self> {
        let mut webm = Self {
            reader,
            steps: OpusSteps::default(),
            scale_ns: DEFAULT_SCALE_NS,
            tracks: Vec::new(),
            in_tracks: false,
            opus: None,
            segment_end: None,
            cluster_timestamp: None,
            in_clusters: false,
            group: None,
            clock: Clock::default(),
            ended: false,
        };
        while webm.opus.is_none() && !webm.ended && !webm.in_clusters {
            webm.read_element()?;
        }
        if webm.opus.is_none() {
            return Err(unsupported(track::why_no_opus(&webm.tracks)));
        }
        Ok(webm)
    }

    pub(super) fn next_step(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(step) = self.steps.pop() {
                return Ok(Some(step));
            }
            if self.ended {
                return Ok(None);
            }
            self.read_element()?;
        }
    }

    pub(super) fn steps(&mut self) -> &mut OpusSteps {
        &mut self.steps
    }

    pub(super) fn reader(&self) -> &ByteReader {
        &self.reader
    }

    fn read_element(&mut self) -> Result<()> {
        if let Some(group) = &self.group
            && self.reader.offset() >= group.end
        {
            self.end_group();
            return Ok(());
        }
        let header = match peek_header(&mut self.reader, 0)? {
            Front::Header(header) => header,
            Front::Damaged => return self.resync(),
            Front::End => {
                self.end();
                return Ok(());
            }
        };
        match header.id {
            id::EBML | id::SEGMENT => self.begin_segment(header),
            id::INFO | id::TRACKS => {
                self.in_tracks = header.id == id::TRACKS;
                self.reader.consume(header.bytes);
                Ok(())
            }
            id::TIMESTAMP_SCALE if !self.in_clusters => {
                let scale = self.read_unsigned(header)?;
                self.scale_ns = scale.filter(|&scale| scale > 0).unwrap_or(DEFAULT_SCALE_NS);
                Ok(())
            }
            id::TRACK_ENTRY if self.in_tracks => self.read_track(header),
            id::CLUSTER => {
                self.end_group();
                self.in_tracks = false;
                self.in_clusters = true;
                self.cluster_timestamp = None;
                self.reader.consume(header.bytes);
                Ok(())
            }
            id::TIMESTAMP => {
                self.cluster_timestamp = self.read_unsigned(header)?;
                Ok(())
            }
            id::SIMPLE_BLOCK | id::BLOCK if self.in_clusters => self.read_block(header),
            id::BLOCK_GROUP if self.in_clusters => self.begin_group(header),
            id::DISCARD_PADDING if self.group.is_some() => self.read_discard(header),
            _ => self.pass_over(header),
        }
    }

    /// A new document or segment: nothing of the one before holds.
    fn begin_segment(&mut self, header: Header) -> Result<()> {
        self.end_group();
        self.tracks.clear();
        (self.in_tracks, self.in_clusters) = (false, false);
        (self.opus, self.cluster_timestamp) = (None, None);
        self.scale_ns = DEFAULT_SCALE_NS;
        self.clock = Clock::default();
        if header.id == id::EBML {
            return self.pass_over(header);
        }
        self.reader.consume(header.bytes);
        self.segment_end = header
            .size
            .map(|size| self.reader.offset().saturating_add(size));
        Ok(())
    }

    fn read_track(&mut self, header: Header) -> Result<()> {
        let Some(entry) = self.read_whole(header, MAX_TRACK_BYTES)? else {
            return self.resync();
        };
        let Some(track) = track::parse(&entry) else {
            return Ok(());
        };
        match &track.kind {
            Kind::Opus(head) if self.opus.is_none() => {
                self.opus = Some(track.number);
                self.steps.begin(*head);
            }
            Kind::Opus(_) => self.steps.warnings.note("second track", || {
                "the file has several Opus tracks; only the first is used".into()
            }),
            _ => {}
        }
        if self.tracks.len() < MAX_TRACKS {
            self.tracks.push(track);
        }
        Ok(())
    }

    fn begin_group(&mut self, header: Header) -> Result<()> {
        self.end_group();
        let Some(size) = header.size else {
            return self.resync();
        };
        self.reader.consume(header.bytes);
        self.group = Some(Group {
            end: self.reader.offset().saturating_add(size),
            block: None,
            discard_ns: 0,
        });
        Ok(())
    }

    fn read_discard(&mut self, header: Header) -> Result<()> {
        let data = self.read_whole(header, 8)?;
        let (Some(group), Some(ns)) = (&mut self.group, data.as_deref().and_then(signed)) else {
            return self.resync();
        };
        group.discard_ns = ns;
        Ok(())
    }

    fn read_unsigned(&mut self, header: Header) -> Result<Option<u64>> {
        let value = self.read_whole(header, 8)?.and_then(|data| unsigned(&data));
        if value.is_none() {
            self.resync()?;
        }
        Ok(value)
    }

    /// The data of an element that is whole and not longer than `most`; else nothing is consumed.
    fn read_whole(&mut self, header: Header, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(size) = header.size.filter(|&size| size <= most) else {
            return Ok(None);
        };
        let end = header.bytes + size as usize;
        if !self.reader.ensure(end)? {
            return Ok(None);
        }
        let data = self.reader.window()[header.bytes..end].to_vec();
        self.reader.consume(end);
        Ok(Some(data))
    }

    /// Goes past an element that is of no use here, unless it is damage that looks like one.
    fn pass_over(&mut self, header: Header) -> Result<()> {
        let Some(size) = header.size else {
            return self.resync();
        };
        let end = self
            .reader
            .offset()
            .saturating_add(header.bytes as u64)
            .saturating_add(size);
        let beyond = self.reader.len().is_some_and(|len| end > len);
        // Among blocks, two damaged bytes can look like an element that swallows the next ones, so
        // what follows is looked at, where that costs no waiting. A block of another track was
        // told by its track.
        let is_block = matches!(header.id, id::SIMPLE_BLOCK | id::BLOCK);
        let known = id::is_known(header.id);
        let trusted = is_block
            || !self.in_clusters && (known || size <= MAX_UNKNOWN_BYTES)
            || known && (self.reader.is_live() || size > MAX_PASSED_OVER_BYTES);
        if beyond || (!trusted && !self.is_followed(header)?) {
            return self.resync();
        }
        if !known && !is_block && size > MAX_UNKNOWN_BYTES {
            let at = self.reader.offset();
            self.steps.warnings.note("unknown", || {
                format!("{size} bytes at byte {at} are of an unknown kind and were passed over")
            });
        }
        self.reader.consume(header.bytes);
        if !self.reader.skip(size)? {
            self.end();
        }
        Ok(())
    }

    fn read_block(&mut self, header: Header) -> Result<()> {
        let offset = self.reader.offset();
        let Some(size) = header.size else {
            return self.resync();
        };
        let front_bytes = size.min(block::MAX_HEADER_BYTES as u64) as usize;
        self.reader.ensure(header.bytes + front_bytes)?;
        let front = self.reader.window().get(header.bytes..).unwrap_or_default();
        let Some(block) = BlockHeader::parse(front) else {
            return self.resync();
        };
        if Some(block.track) != self.opus {
            let known = self.tracks.iter().any(|track| track.number == block.track);
            // Of a track that was damaged or one too many.
            let unread = self.tracks.len() == MAX_TRACKS;
            return if known || unread {
                self.pass_over(header)
            } else {
                self.resync()
            };
        }
        // What follows is looked at where that costs no waiting: a wrong size is found here, and
        // otherwise a packet too late.
        if size > MAX_BLOCK_BYTES || (!self.reader.is_live() && !self.is_followed(header)?) {
            return self.resync();
        }
        let Some(data) = self.read_whole(header, MAX_BLOCK_BYTES)? else {
            return self.resync();
        };
        let Some(cluster) = self.cluster_timestamp else {
            self.lost_block("has no cluster timestamp", offset);
            return Ok(());
        };
        let Some(frames) = block.frames(&data) else {
            self.lost_block("is damaged", offset);
            return Ok(());
        };
        let block = Block {
            timestamp_48k: samples_48k(cluster, block.timestamp, self.scale_ns),
            packets: self.packets(&frames, offset),
            offset,
        };
        match &mut self.group {
            Some(group) => group.block = Some(block),
            None => self.place(block, 0),
        }
        Ok(())
    }

    fn packets(&mut self, frames: &[&[u8]], offset: u64) -> Vec<Vec<u8>> {
        let mut packets = Vec::with_capacity(frames.len());
        for frame in frames {
            if frame.len() > MAX_PACKET_BYTES {
                self.lost_block("is longer than an Opus packet can be", offset);
            } else if !frame.is_empty() {
                packets.push(frame.to_vec());
            }
        }
        packets
    }

    fn lost_block(&mut self, reason: &str, offset: u64) {
        let now = self.steps.now();
        self.steps.warnings.note("lost block", || {
            format!("a block at {now} (byte {offset}) {reason} and was left out")
        });
    }

    fn end_group(&mut self) {
        if let Some(group) = self.group.take()
            && let Some(block) = group.block
        {
            self.place(block, group.discard_ns);
        }
    }

    /// Finds what is missing before a block and what of it lies beyond the audio.
    fn place(&mut self, block: Block, discard_ns: i64) {
        let packets: Vec<(Vec<u8>, usize)> = block
            .packets
            .into_iter()
            .map(|bytes| {
                let duration = self.steps.duration(&bytes);
                (bytes, duration)
            })
            .collect();
        let duration: usize = packets.iter().map(|(_, duration)| *duration).sum();
        let usual = self.steps.usual_packet() as i64;
        match self
            .clock
            .advance(block.timestamp_48k, duration as i64, usual, MAX_GAP_48K)
        {
            Finding::InOrder => {}
            Finding::Missing(samples) => self.steps.gap(samples, block.offset),
            Finding::Backwards(samples) => self.steps.backwards(samples, block.offset),
        }
        let discard = (discard_ns
            .unsigned_abs()
            .saturating_mul(48)
            .saturating_add(500_000)
            / 1_000_000) as usize;
        let (skip, drop) = if discard_ns < 0 {
            (discard, 0)
        } else {
            (0, discard)
        };
        self.steps.packets(packets, skip, drop);
    }

    fn end(&mut self) {
        self.end_group();
        self.ended = true;
        let shrunk = self
            .reader
            .len()
            .is_some_and(|len| self.reader.offset() < len);
        let cut = shrunk
            || !self.reader.window().is_empty()
            || self
                .segment_end
                .is_some_and(|end| end > self.reader.offset());
        if cut {
            let now = self.steps.now();
            let end = self.reader.offset();
            self.steps.warnings.note("cut short", || {
                format!("the file ends at {now} (byte {end}) in the middle: it is cut short")
            });
        }
    }
}

#[cfg(test)]
mod tests;
