//! The bytes that symphonia sees: a part of the source, with another front and with some bytes
//! replaced.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::io::MediaSource;

use super::super::Source;
use super::super::bytes::read_failed;
use crate::error::Result;

/// A view of a source. What a demuxer trips over is kept from it here.
pub(super) struct Input {
    origin: Origin,
    len: u64,
    /// Put before the window.
    prefix: Vec<u8>,
    /// The part of the source that is shown.
    window: Range<u64>,
    /// Bytes of the source that are shown as others.
    patches: Vec<(u64, [u8; 4])>,
    seekable: bool,
    /// Position in prefix and window.
    at: u64,
    /// Farthest byte of the source read, for progress.
    progress: Arc<AtomicU64>,
}

enum Origin {
    File(File),
    Bytes(Vec<u8>),
}

impl Input {
    /// The whole source, or none for a live one.
    pub(super) fn new(source: Source) -> Result<Option<Self>> {
        let (origin, len) = match source {
            Source::File(file) => {
                let len = file
                    .metadata()
                    .map_err(|error| read_failed(0, error))?
                    .len();
                (Origin::File(file), len)
            }
            Source::Bytes(bytes) => {
                let len = bytes.len() as u64;
                (Origin::Bytes(bytes), len)
            }
            Source::Live(_) => return Ok(None),
        };
        Ok(Some(Self {
            origin,
            len,
            prefix: Vec::new(),
            window: 0..len,
            patches: Vec::new(),
            seekable: false,
            at: 0,
            progress: Arc::default(),
        }))
    }

    /// Length of the source.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Shows `window` of the source behind `prefix`.
    pub(super) fn show(&mut self, prefix: Vec<u8>, window: Range<u64>) {
        self.prefix = prefix;
        self.window = window.start.min(self.len)..window.end.min(self.len);
    }

    pub(super) fn allow_seeking(&mut self) {
        self.seekable = true;
    }

    /// Shows four bytes of the source as others.
    pub(super) fn patch(&mut self, offset: u64, bytes: [u8; 4]) {
        self.patches.push((offset, bytes));
    }

    /// Bytes of the source itself, fewer at its end.
    pub(super) fn peek(&mut self, offset: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count.min(self.len.saturating_sub(offset) as usize)];
        let mut filled = 0;
        while filled < bytes.len() {
            let read = self
                .origin
                .read_at(offset + filled as u64, &mut bytes[filled..])
                .map_err(|error| read_failed(offset, error))?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Length of what is shown.
    pub(super) fn shown(&self) -> u64 {
        self.prefix.len() as u64 + (self.window.end - self.window.start)
    }
}

impl Origin {
    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => {
                file.seek(SeekFrom::Start(offset))?;
                file.read(out)
            }
            Self::Bytes(bytes) => {
                let rest = usize::try_from(offset)
                    .ok()
                    .and_then(|offset| bytes.get(offset..))
                    .unwrap_or_default();
                let count = rest.len().min(out.len());
                out[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let front = self.prefix.len() as u64;
        let count = if self.at < front {
            let rest = &self.prefix[self.at as usize..];
            let count = rest.len().min(out.len());
            out[..count].copy_from_slice(&rest[..count]);
            count
        } else {
            let offset = self.window.start + (self.at - front);
            let left = self.window.end.saturating_sub(offset);
            let count = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = self.origin.read_at(offset, &mut out[..count])?;
            for (place, bytes) in &self.patches {
                for (index, byte) in bytes.iter().enumerate() {
                    let place = place + index as u64;
                    if (offset..offset + count as u64).contains(&place) {
                        out[(place - offset) as usize] = *byte;
                    }
                }
            }
            self.progress
                .fetch_max(offset + count as u64, Ordering::Relaxed);
            count
        };
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.shown().checked_add_signed(by),
        };
        self.at = to.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

impl MediaSource for Input {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_another_front_and_other_bytes() {
        let source: Vec<u8> = (0..20).collect();
        let mut input = Input::new(Source::Bytes(source)).unwrap().unwrap();
        input.show(vec![90, 91], 5..12);
        input.patch(3, [70; 4]);
        let mut seen = Vec::new();
        input.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, [90, 91, 70, 70, 7, 8, 9, 10, 11]);
        input.seek(SeekFrom::End(-2)).unwrap();
        seen.clear();
        input.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, [10, 11]);
        assert_eq!(input.peek(18, 9).unwrap(), [18, 19]);
        assert_eq!(input.read(&mut [0; 4]).unwrap(), 0);
    }
}
