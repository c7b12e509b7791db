//! Reads the members of a tar archive, one after another.

use std::{
    cell::Cell,
    io::{self, BufReader, ErrorKind, Read},
    rc::Rc,
};

use super::{MemberReader, add_damage, is_system_file};
use crate::source::{
    decoded::Decoded,
    error::Error,
    unpack::{self, HEAD_BYTES},
};

/// The most that a header takes, with the long name and the extended attributes before it.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Reads all members of the archive.
///
/// # Errors
///
/// Returns [`Error`] if the archive cannot be read.
pub(in crate::source) fn read_tar(
    stored: Box<dyn Read + '_>,
    members: &mut dyn MemberReader,
) -> Result<Decoded, Error> {
    let mut decoded = Decoded::for_archive();
    let progress = Rc::<TarProgress>::default();
    let reader = TarReader { inner: BufReader::new(stored), progress: Rc::clone(&progress) };
    let mut archive = tar::Archive::new(reader);
    // Archives may be concatenated.
    archive.set_ignore_zeros(true);
    let mut entries = archive.entries().map_err(|error| members.read_error(error))?;
    loop {
        progress.header_bytes_left.set(Some(MAX_HEADER_BYTES));
        let entry = entries.next();
        progress.header_bytes_left.set(None);
        let mut entry = match entry {
            None => break,
            Some(Ok(entry)) => entry,
            Some(Err(error)) => {
                add_damage(members, &mut decoded, &error, "tar")?;
                return Ok(decoded);
            }
        };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        let is_file = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
        let size = entry.size();
        let mut member = ExactSize { left: size, inner: &mut entry };
        if is_file && !is_system_file(&name) {
            let stored = unpack::guard(Box::new(&mut member), &members.counter());
            members.read_member(&mut decoded, name, size, stored)?;
        }
        if decoded.stopped {
            return Ok(decoded);
        }
        // Skips the rest of the member, so that only the next header counts as one.
        if let Err(error) = io::copy(&mut member, &mut io::sink()) {
            add_damage(members, &mut decoded, &error, "tar")?;
            return Ok(decoded);
        }
    }
    if progress.trailing_zeros.get() < HEAD_BYTES as u64 {
        decoded.add_defect(
            members.counter().bytes.get(),
            "the tar archive is cut off between two files: it has no end marker",
        );
    }
    Ok(decoded)
}

/// What was read of a tar archive.
#[derive(Default)]
struct TarProgress {
    /// Bytes that may still be read for a header; `None` inside a member, which may have any size.
    header_bytes_left: Cell<Option<u64>>,
    /// Zero bytes that were read last: an archive ends with at least a block of them.
    trailing_zeros: Cell<u64>,
}

/// Reads an archive as far as [`TarProgress`] allows, and records what was read in it.
struct TarReader<R> {
    inner: R,
    progress: Rc<TarProgress>,
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let TarProgress { header_bytes_left, trailing_zeros } = &*self.progress;
        if let Some(left) = header_bytes_left.get() {
            let Some(rest) = left.checked_sub(read as u64) else {
                let text = "a header that takes more than 1 MiB";
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            };
            // Zero bytes between archives do not belong to a header.
            let is_header = buffer[..read].iter().any(|byte| *byte != 0);
            header_bytes_left.set(Some(if is_header { rest } else { left }));
        }
        let zeros = buffer[..read].iter().rev().take_while(|byte| **byte == 0).count();
        let before = if zeros == read { trailing_zeros.get() } else { 0 };
        trailing_zeros.set(before + zeros as u64);
        Ok(read)
    }
}

/// Reads a member that must have the size that its archive states.
struct ExactSize<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for ExactSize<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the tar archive is cut off inside a file",
            ));
        }
        Ok(read)
    }
}
