//! The part of a text that is in memory; it slides forward.
//!
//! Invariant: a window grows only while the text that must be kept fills it, and never beyond its limit.

use std::io::{self, ErrorKind, Read};

/// The part of a text that is in memory.
pub(in crate::source) struct TextWindow<'a> {
    buffer: &'a mut Vec<u8>,
    filled: usize,
    /// Bytes of the buffer that are used initially.
    initial_size: usize,
    /// Bytes of the buffer that are used at most now.
    size: usize,
    /// The largest `size`.
    limit: usize,
    /// Number of bytes of the text before the window.
    before: u64,
    reader: Option<Box<dyn Read + 'a>>,
    /// The error behind the last byte; returned when that is reached.
    failed: Option<io::Error>,
}

/// The result of reading more text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum WindowRead {
    /// There is more text in the window.
    Read,
    /// The text has ended.
    End,
    /// The text to be kept fills the largest window.
    Full,
}

impl<'a> TextWindow<'a> {
    /// Returns a window on a whole text in memory: the first `filled` bytes of `buffer`.
    pub(in crate::source) fn whole(buffer: &'a mut Vec<u8>, filled: usize) -> Self {
        Self {
            buffer,
            filled,
            initial_size: filled,
            size: filled,
            limit: filled,
            before: 0,
            reader: None,
            failed: None,
        }
    }

    /// Returns a window of `size` bytes on the text of `reader`. It grows up to `limit`.
    pub(in crate::source) fn sliding(
        buffer: &'a mut Vec<u8>,
        reader: Box<dyn Read + 'a>,
        size: usize,
        limit: usize,
    ) -> Self {
        let size = size.max(1);
        let limit = limit.max(size);
        Self {
            buffer,
            filled: 0,
            initial_size: size,
            size,
            limit,
            before: 0,
            reader: Some(reader),
            failed: None,
        }
    }

    /// Returns the text in the window.
    pub(in crate::source) fn text(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Returns the offset, in the whole text, of the window's first byte.
    pub(in crate::source) fn before(&self) -> u64 {
        self.before
    }

    /// Returns the number of bytes of the text that were read so far.
    pub(in crate::source) fn end(&self) -> u64 {
        self.before + self.filled as u64
    }

    /// Returns whether the window has its initial size, so that it does not hold a long record.
    pub(in crate::source) fn has_initial_size(&self) -> bool {
        self.size <= self.initial_size
    }

    /// Returns the size to which the window has to grow before it can read more text and keep that from `keep` on; `None`
    /// if it need not grow.
    pub(in crate::source) fn growth(&self, keep: usize) -> Option<usize> {
        let full = keep == 0 && self.filled == self.size && self.size < self.limit;
        (full && self.reader.is_some()).then(|| self.grown())
    }

    fn grown(&self) -> usize {
        self.size.saturating_mul(2).min(self.limit)
    }

    /// Drops the text before `keep`, and reads more.
    ///
    /// At least as much is read as was kept, so that scanning the kept part again costs at most twice the length of the
    /// text in total.
    pub(in crate::source) fn read_more(&mut self, keep: usize) -> io::Result<WindowRead> {
        self.drop_before(keep);
        if self.reader.is_none() {
            return self.failed.take().map_or(Ok(WindowRead::End), Err);
        }
        if self.filled == self.size && self.size >= self.limit {
            return Ok(WindowRead::Full);
        }
        self.make_room();
        let before = self.filled;
        self.fill(before.saturating_mul(2).clamp(before + 1, self.size));
        if self.filled > before {
            return Ok(WindowRead::Read);
        }
        self.failed.take().map_or(Ok(WindowRead::End), Err)
    }

    fn drop_before(&mut self, keep: usize) {
        self.buffer.copy_within(keep..self.filled, 0);
        self.filled -= keep;
        self.before += keep as u64;
        // The long record is over. Its memory is freed, not kept for the next one.
        if self.size > self.initial_size && self.filled <= self.initial_size / 2 {
            self.size = self.initial_size;
            self.buffer.truncate(self.initial_size);
            self.buffer.shrink_to_fit();
        }
    }

    fn make_room(&mut self) {
        if self.filled == self.size {
            self.size = self.grown();
        }
        if self.buffer.len() < self.size {
            self.buffer.resize(self.size, 0);
        }
    }

    fn fill(&mut self, wanted: usize) {
        let Some(reader) = &mut self.reader else { return };
        while self.filled < wanted {
            match reader.read(&mut self.buffer[self.filled..self.size]) {
                Ok(0) => {
                    self.reader = None;
                    return;
                }
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    self.reader = None;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slides_grows_and_ends() {
        let mut buffer = Vec::new();
        let mut window = TextWindow::sliding(&mut buffer, Box::new(&b"abcdefghij"[..]), 4, 8);
        assert_eq!(window.read_more(0).unwrap(), WindowRead::Read);
        assert_eq!(window.text(), b"abcd");
        assert_eq!(window.read_more(2).unwrap(), WindowRead::Read);
        assert_eq!((window.text(), window.before()), (&b"cdef"[..], 2));
        assert_eq!(window.read_more(0).unwrap(), WindowRead::Read);
        assert_eq!(window.text(), b"cdefghij");
        assert_eq!(window.read_more(0).unwrap(), WindowRead::Full);
        assert_eq!(window.read_more(8).unwrap(), WindowRead::End);
        assert_eq!((window.text(), window.end()), (&b""[..], 10));
    }

    #[test]
    fn the_memory_of_a_long_record_is_freed() {
        let text = [b'x'; 100];
        let mut buffer = Vec::new();
        let mut window = TextWindow::sliding(&mut buffer, Box::new(&text[..]), 4, 32);
        for size in [None, Some(8), Some(16), Some(32)] {
            assert_eq!(window.growth(0), size);
            assert_eq!(window.read_more(0).unwrap(), WindowRead::Read);
        }
        assert!(!window.has_initial_size() && window.growth(0).is_none());
        assert_eq!(window.read_more(31).unwrap(), WindowRead::Read);
        assert!(window.has_initial_size() && window.buffer.len() == 4, "{}", window.buffer.len());
    }

    #[test]
    fn an_error_waits_until_the_text_before_it_is_used() {
        struct Failing(bool);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("gone"));
                }
                buffer[0] = b'x';
                Ok(1)
            }
        }
        let mut buffer = Vec::new();
        let mut window = TextWindow::sliding(&mut buffer, Box::new(Failing(false)), 4, 8);
        assert_eq!(window.read_more(0).unwrap(), WindowRead::Read);
        assert_eq!(window.read_more(0).unwrap_err().to_string(), "gone");
        assert_eq!(window.read_more(0).unwrap(), WindowRead::End);
        assert_eq!(window.text(), b"x");
    }
}
