//! Ogg Opus (RFC 7845) to steps: chained streams, lost pages, trimming by granule position.

mod page;

use super::bytes::ByteReader;
use super::opus_head::{self, OpusHead};
use super::opus_steps::{MAX_PACKET_BYTES, MIN_GAP_48K, OpusSteps};
use super::{Step, unsupported};
use crate::error::Result;
use page::Page;

/// A stream whose first page begins later than this was joined while it ran, as web radio is;
/// earlier, its first pages are lost.
const MAX_LOST_START_48K: i64 = 10 * 48_000;

/// Demuxes Ogg; other codecs beside Opus are passed over.
pub(super) struct OggOpus {
    reader: ByteReader,
    steps: OpusSteps,
    link: Option<Link>,
    /// Codecs of the link that begins, while its first pages come.
    beginning: Option<Vec<&'static str>>,
    ended: bool,
}

/// One logical stream of a chain.
struct Link {
    serial: u32,
    next_sequence: u32,
    /// Granule position that the last packet ended at.
    position: Option<i64>,
    partial: Partial,
    /// Whether the comment header is behind.
    tags_seen: bool,
    last_page_seen: bool,
}

/// A packet that goes on in the next page.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    open: bool,
    /// Longer than any packet; a comment header with a picture, say. Its bytes are not kept.
    too_long: bool,
}

impl Partial {
    fn push(&mut self, bytes: &[u8]) {
        self.open = true;
        let room = MAX_PACKET_BYTES.saturating_sub(self.bytes.len());
        self.too_long |= bytes.len() > room;
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl OggOpus {
    /// Reads the first pages, as far as the first Opus header.
    pub(super) fn open(reader: ByteReader) -> Result<Self> {
        let mut ogg = Self {
            reader,
            steps: OpusSteps::default(),
            link: None,
            beginning: None,
            ended: false,
        };
        while ogg.link.is_none() && !ogg.ended {
            ogg.read_page(true)?;
        }
        if ogg.link.is_none() {
            return Err(match ogg.beginning {
                Some(found) => no_opus(&found),
                None => {
                    unsupported("the Ogg stream holds no whole page: it is cut short or damaged")
                }
            });
        }
        Ok(ogg)
    }

    pub(super) fn next_step(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(step) = self.steps.pop() {
                return Ok(Some(step));
            }
            if self.ended {
                return Ok(None);
            }
            self.read_page(false)?;
        }
    }

    pub(super) fn steps(&mut self) -> &mut OpusSteps {
        &mut self.steps
    }

    pub(super) fn reader(&self) -> &ByteReader {
        &self.reader
    }

    fn read_page(&mut self, opening: bool) -> Result<()> {
        let found = page::next_page(&mut self.reader)?;
        if found.skipped > 0 {
            let now = self.steps.now();
            let end = self.reader.offset();
            self.steps.warnings.note("no page", || {
                format!(
                    "{} bytes at {now} are damaged or no Ogg page (before byte {end})",
                    found.skipped
                )
            });
        }
        let Some(page) = found.page else {
            self.ended = true;
            self.end_link();
            return Ok(());
        };
        if page.first {
            return self.begin_stream(&page, opening);
        }
        if let Some(found) = self.beginning.take()
            && self.link.is_none()
        {
            if opening {
                return Err(no_opus(&found));
            }
            let now = self.steps.now();
            self.steps.warnings.note("chained codec", || {
                format!(
                    "the stream that follows at {now} (byte {}) is not Opus ({}) and is left out",
                    page.offset,
                    names(&found)
                )
            });
        }
        match &self.link {
            Some(link) if link.serial == page.serial => self.read_audio(&page),
            None if opening => {
                return Err(unsupported(
                    "this is Ogg without its beginning, as the later pieces of a recording are: \
                     concatenate them from the first, which holds the header",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_stream(&mut self, page: &Page, opening: bool) -> Result<()> {
        if self.beginning.is_none() {
            self.end_link();
        }
        let found = self.beginning.get_or_insert_default();
        let packet = page.pieces().next().map_or(&[][..], |piece| piece.bytes);
        if !packet.starts_with(opus_head::MAGIC) {
            let name = codec_name(packet);
            // A set of a few names, however many streams there are.
            if !found.contains(&name) {
                found.push(name);
            }
            return Ok(());
        }
        if self.link.is_some() {
            self.steps.warnings.note("second track", || {
                "the file has several Opus streams side by side; only the first is used".into()
            });
            return Ok(());
        }
        match OpusHead::parse(packet) {
            Ok(head) => {
                self.steps.begin(head);
                self.link = Some(Link {
                    serial: page.serial,
                    next_sequence: page.sequence.wrapping_add(1),
                    position: None,
                    partial: Partial::default(),
                    tags_seen: false,
                    last_page_seen: page.last,
                });
            }
            Err(reason) if opening => {
                return Err(unsupported(format!("this is Ogg Opus, but {reason}")));
            }
            Err(reason) => {
                found.push("an Opus stream that cannot be decoded");
                let now = self.steps.now();
                self.steps.warnings.note("chained head", || {
                    format!("the stream that follows at {now} is left out: {reason}")
                });
            }
        }
        Ok(())
    }

    fn end_link(&mut self) {
        let Some(link) = self.link.take() else {
            return;
        };
        if !link.last_page_seen {
            let now = self.steps.now();
            let end = self.reader.offset();
            self.steps.warnings.note("no last page", || {
                format!(
                    "the stream ends at {now} (byte {end}) without its last page: it is cut short, \
                     or was not closed"
                )
            });
        }
    }

    fn read_audio(&mut self, page: &Page) {
        let Some(link) = &mut self.link else {
            return;
        };
        let pages_lost = page.sequence != link.next_sequence;
        link.next_sequence = page.sequence.wrapping_add(1);
        link.last_page_seen |= page.last;
        if pages_lost || !page.continued {
            link.partial = Partial::default();
        }
        let mut skip_piece = page.continued && !link.partial.open;
        let mut packets = Vec::new();
        for piece in page.pieces() {
            if skip_piece {
                // The front of this packet was in a page that is lost.
                skip_piece = false;
                continue;
            }
            link.partial.push(piece.bytes);
            if !piece.ends {
                break;
            }
            let packet = std::mem::take(&mut link.partial);
            let is_tags = !std::mem::replace(&mut link.tags_seen, true)
                && packet.bytes.starts_with(b"OpusTags");
            if is_tags || packet.bytes.is_empty() {
                continue;
            }
            if packet.too_long {
                self.steps.warnings.note("too long", || {
                    format!(
                        "a packet of more than {MAX_PACKET_BYTES} bytes, which is not Opus, was \
                         left out at byte {}",
                        page.offset
                    )
                });
                continue;
            }
            packets.push(packet.bytes);
        }
        self.place(page, packets, pages_lost);
    }

    /// Finds from the granule position what is missing before the packets of a page, and what of
    /// them lies beyond the end.
    fn place(&mut self, page: &Page, packets: Vec<Vec<u8>>, pages_lost: bool) {
        let Some(link) = &mut self.link else {
            return;
        };
        if packets.is_empty() {
            return;
        }
        let packets: Vec<(Vec<u8>, usize)> = packets
            .into_iter()
            .map(|bytes| {
                let duration = self.steps.duration(&bytes);
                (bytes, duration)
            })
            .collect();
        let duration = packets.iter().map(|(_, duration)| *duration).sum::<usize>() as i64;
        let Some(end) = page.granule else {
            link.position = link
                .position
                .map(|position| position.saturating_add(duration));
            self.steps.packets(packets, 0, 0);
            return;
        };
        let begin = end.saturating_sub(duration);
        let expected = link.position.replace(end).unwrap_or({
            if pages_lost && (0..=MAX_LOST_START_48K).contains(&begin) || page.last && begin < 0 {
                0
            } else {
                begin
            }
        });
        let missing = begin.saturating_sub(expected);
        let mut drop = 0;
        if missing >= MIN_GAP_48K {
            self.steps.gap(missing, page.offset);
        } else if page.last {
            drop = missing.saturating_neg().max(0) as usize;
        } else if missing <= -(packets[0].1 as i64) {
            self.steps.backwards(missing.saturating_neg(), page.offset);
        }
        self.steps.packets(packets, 0, drop);
    }
}

fn no_opus(found: &[&'static str]) -> crate::error::Error {
    unsupported(format!(
        "this is Ogg with {}; of Ogg, only Opus is supported. Convert it to Opus, WAV, FLAC or MP3",
        names(found)
    ))
}

fn names(found: &[&'static str]) -> String {
    found.join(" and ")
}

/// Names a codec by the first packet of its stream.
fn codec_name(packet: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 9] = [
        (b"\x01vorbis", "Vorbis audio"),
        (b"Speex   ", "Speex audio"),
        (b"\x7fFLAC", "FLAC audio"),
        (b"PCM     ", "PCM audio"),
        (b"CELT    ", "CELT audio"),
        (b"\x80theora", "Theora video"),
        (b"OVP80", "VP8 video"),
        (b"BBCD", "Dirac video"),
        (b"fishead\0", "a Skeleton index"),
    ];
    KNOWN
        .iter()
        .find(|(magic, _)| packet.starts_with(magic))
        .map_or("an unknown codec", |(_, name)| name)
}

#[cfg(test)]
mod tests;
