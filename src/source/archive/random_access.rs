//! Bytes that can be read at any offset: in memory, or in a file.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    os::unix::fs::FileExt,
    rc::Rc,
};

use rawzip::ReaderAt;

use crate::source::unpack::{HEAD_BYTES, ReadCounter};

/// Bytes that can be read at any offset.
pub(in crate::source) enum RandomAccess<'a> {
    Bytes(&'a [u8]),
    /// A file with its size when it was opened. The counter records if it cannot be read.
    File {
        file: &'a File,
        size: u64,
        counter: Rc<ReadCounter>,
    },
}

impl RandomAccess<'_> {
    /// Returns the size.
    pub(in crate::source) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// Returns the first bytes, which show the format.
    ///
    /// # Errors
    ///
    /// Returns an error if they cannot be read.
    pub(in crate::source) fn head(&self) -> io::Result<Vec<u8>> {
        let mut head = vec![0; HEAD_BYTES];
        let mut filled = 0;
        while filled < head.len() {
            match self.read_at(&mut head[filled..], filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        head.truncate(filled);
        Ok(head)
    }
}

impl ReaderAt for RandomAccess<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
                rest.map_or(Ok(0), |mut rest| rest.read(buffer))
            }
            Self::File { file, counter, .. } => {
                let read = file.read_at(buffer, offset);
                counter.failed.set(counter.failed.get() || read.is_err());
                read
            }
        }
    }
}

/// Reads from the first byte on.
pub(in crate::source) struct FromStart<'s, 'a> {
    stored: &'s RandomAccess<'a>,
    at: u64,
}

impl<'s, 'a> FromStart<'s, 'a> {
    pub(in crate::source) fn new(stored: &'s RandomAccess<'a>) -> Self {
        Self { stored, at: 0 }
    }
}

impl Read for FromStart<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stored.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
