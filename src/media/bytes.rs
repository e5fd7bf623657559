//! Bytes in order, from a file, from memory or as they arrive, through a window of bounded size.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::Source;
use crate::error::{Error, Result};

/// What is asked of a file at a time.
const READ_BYTES: usize = 64 * 1024;

/// A forward reader with a window to look ahead in. The window grows with the bytes that are
/// there, never with what a header claims.
pub(super) struct ByteReader {
    origin: Origin,
    window: Vec<u8>,
    /// Where the unread part of the window begins.
    start: usize,
    /// Offset in the input of the first unread byte.
    offset: u64,
    /// Length of the whole input, where known.
    len: Option<u64>,
}

enum Origin {
    File(File),
    /// All of it is in the window.
    Memory,
    Live(Box<dyn Iterator<Item = Vec<u8>> + Send>),
    /// Nothing more comes.
    Ended,
}

impl ByteReader {
    pub(super) fn new(source: Source) -> Result<Self> {
        let (origin, window, len) = match source {
            Source::File(file) => {
                let len = file
                    .metadata()
                    .map_err(|error| read_failed(0, error))?
                    .len();
                (Origin::File(file), Vec::new(), Some(len))
            }
            Source::Bytes(bytes) => {
                let len = bytes.len() as u64;
                (Origin::Memory, bytes, Some(len))
            }
            Source::Live(arriving) => (Origin::Live(arriving), Vec::new(), None),
        };
        Ok(Self {
            origin,
            window,
            start: 0,
            offset: 0,
            len,
        })
    }

    /// The source again, at its beginning, for a reader that seeks. None for a live one.
    pub(super) fn into_seekable(self) -> Result<Option<Source>> {
        match self.origin {
            Origin::File(mut file) => {
                file.rewind().map_err(|error| read_failed(0, error))?;
                Ok(Some(Source::File(file)))
            }
            Origin::Memory => Ok(Some(Source::Bytes(self.window))),
            Origin::Live(_) | Origin::Ended => Ok(None),
        }
    }

    /// Offset in the input of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the whole input, unless it is live.
    pub(super) fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether looking ahead may have to wait for bytes that have not been sent yet.
    pub(super) fn is_live(&self) -> bool {
        self.len.is_none()
    }

    /// How much memory looking ahead has taken.
    #[cfg(test)]
    pub(super) fn window_capacity(&self) -> usize {
        self.window.capacity()
    }

    /// The bytes of the window that are not consumed.
    pub(super) fn window(&self) -> &[u8] {
        &self.window[self.start..]
    }

    /// Looks ahead until the window holds `count` bytes. False when the input ends before; then
    /// the window holds all that is left.
    pub(super) fn ensure(&mut self, count: usize) -> Result<bool> {
        while self.window.len() - self.start < count {
            if !self.read_more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes past `count` bytes of the window.
    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.window().len(), "consumed what is not there");
        self.start += count;
        self.offset += count as u64;
    }

    /// Goes past `count` bytes without keeping them. False when the input ends before.
    pub(super) fn skip(&mut self, count: u64) -> Result<bool> {
        let mut left = count;
        loop {
            let here = left.min(self.window().len() as u64);
            self.consume(here as usize);
            left -= here;
            if left == 0 {
                return Ok(true);
            }
            if let (Origin::File(file), Some(len)) = (&mut self.origin, self.len) {
                // What was cut off since it was opened is not there to go past.
                let now = file.metadata().map_or(len, |now| now.len()).min(len);
                let step = left.min(now.saturating_sub(self.offset));
                file.seek(SeekFrom::Start(self.offset + step))
                    .map_err(|error| read_failed(self.offset, error))?;
                self.offset += step;
                left -= step;
                if left == 0 {
                    return Ok(true);
                }
            }
            if !self.read_more()? {
                return Ok(false);
            }
        }
    }

    fn read_more(&mut self) -> Result<bool> {
        if matches!(self.origin, Origin::Memory | Origin::Ended) {
            return Ok(false);
        }
        self.window.drain(..self.start);
        self.start = 0;
        match &mut self.origin {
            Origin::File(file) => {
                let at = self.offset + self.window.len() as u64;
                let read = (&*file)
                    .take(READ_BYTES as u64)
                    .read_to_end(&mut self.window)
                    .map_err(|error| read_failed(at, error))?;
                Ok(read > 0)
            }
            Origin::Live(arriving) => {
                if let Some(bytes) = arriving.next() {
                    self.window.extend_from_slice(&bytes);
                    return Ok(true);
                }
                self.origin = Origin::Ended;
                Ok(false)
            }
            Origin::Memory | Origin::Ended => Ok(false),
        }
    }
}

/// The file system's own refusal, while reading.
pub(super) fn read_failed(offset: u64, error: std::io::Error) -> Error {
    Error::invalid_argument(format!("reading the file failed at byte {offset}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_source_is_read_as_far_as_asked_and_no_further() {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let mut reader = ByteReader::new(Source::Live(Box::new(receiver.into_iter()))).unwrap();
        sender.send(vec![1, 2]).unwrap();
        sender.send(vec![3]).unwrap();
        assert!(reader.ensure(3).unwrap());
        assert_eq!(reader.window(), [1, 2, 3]);
        reader.consume(2);
        drop(sender);
        assert!(!reader.ensure(2).unwrap());
        assert_eq!((reader.window(), reader.offset()), (&[3][..], 2));
    }

    #[test]
    fn skipping_past_the_end_says_so_and_stops_there() {
        for source in [Source::Bytes(vec![7; 100]), live(&[7; 100])] {
            let mut reader = ByteReader::new(source).unwrap();
            assert!(reader.skip(40).unwrap());
            assert!(!reader.skip(u64::MAX).unwrap());
            assert_eq!(reader.offset(), 100);
        }
    }

    fn live(bytes: &[u8]) -> Source {
        let (sender, receiver) = crossbeam_channel::unbounded();
        for piece in bytes.chunks(30) {
            sender.send(piece.to_vec()).unwrap();
        }
        Source::Live(Box::new(receiver.into_iter()))
    }
}
