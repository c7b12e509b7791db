//! Detects whether a file changed since an earlier run.
//!
//! Input: the metadata of a file, and its content only if needed. Output: a [`Fingerprint`] that the checkpoint
//! stores, and a [`FileChange`].
//!
//! Size and modification time are compared first, so that a hundred thousand loaded files cost one `stat` each. If
//! only the time differs (the file was touched, copied or moved), a hash of the first and last 4 KiB decides; the end
//! of a gzip file contains a checksum of all of it. A change in the middle of a file that keeps its size and both
//! ends is not detected once the time differs too: no program writes logs that way.

use std::{
    fmt,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    str::FromStr,
};

/// Bytes at each end of a file that are hashed: one page each, so one read.
const END_BYTES: usize = 4 << 10;

/// Identity of a file's content. Its text form is the size, the modification time in nanoseconds and, if known, the
/// hash, separated by colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Size of the stored file in bytes.
    pub size: u64,
    /// Modification time, in nanoseconds of the Unix epoch.
    pub modified: i128,
    /// Hash of both ends, if the file was opened.
    pub content: Option<u64>,
}

impl Fingerprint {
    /// Creates a fingerprint without opening the file.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let changed =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { size: metadata.size(), modified: changed, content: None }
    }

    /// Returns the fingerprint with the hash of both ends of `file`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn with_content_hash(self, file: &File) -> io::Result<Self> {
        let mut ends = [0; 2 * END_BYTES];
        let length = read_ends(file, self.size, &mut ends)?;
        Ok(Self { content: Some(hash(&ends[..length])), ..self })
    }

    /// Returns the fingerprint with the hash of both ends of `stored`, the whole content of the file.
    #[must_use]
    pub fn with_content_hash_of(self, stored: &[u8]) -> Self {
        let head = &stored[..stored.len().min(END_BYTES)];
        let tail = &stored[stored.len().saturating_sub(END_BYTES).max(head.len())..];
        Self { content: Some(hash(&[head, tail].concat())), ..self }
    }

    /// Returns whether the content is the same, as far as both fingerprints show: same size, and same time or hash.
    pub fn has_same_content(self, other: Self) -> bool {
        let same_hash = self.content.is_some() && self.content == other.content;
        self.size == other.size && (self.modified == other.modified || same_hash)
    }

    /// Compares the file at `path`, whose current fingerprint is `self`, with an earlier fingerprint.
    ///
    /// Opens the file only if size and time do not decide. A file that cannot be opened counts as changed, so that
    /// the worker that reads it reports the error.
    pub fn change_since(self, before: Self, path: &Path) -> FileChange {
        if self.size != before.size {
            return FileChange::Changed;
        }
        if self.modified == before.modified {
            return FileChange::Unchanged;
        }
        match File::open(path).and_then(|file| self.with_content_hash(&file)) {
            Ok(now) if before.content.is_some() && now.content == before.content => {
                FileChange::Touched(now)
            }
            _ => FileChange::Changed,
        }
    }
}

/// Change of a file since an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// The file is unchanged.
    Unchanged,
    /// The content is the same, but the modification time differs. The new fingerprint saves opening the file next
    /// time.
    Touched(Fingerprint),
    /// The content differs.
    Changed,
}

/// Reads both ends of a file, without overlap, and returns the number of bytes read.
fn read_ends(file: &File, size: u64, ends: &mut [u8; 2 * END_BYTES]) -> io::Result<usize> {
    let end = END_BYTES as u64;
    let head = usize::try_from(size.min(end)).unwrap_or(END_BYTES);
    file.read_exact_at(&mut ends[..head], 0)?;
    let tail_at = size.saturating_sub(end).max(end.min(size));
    let tail = usize::try_from(size - tail_at).unwrap_or(END_BYTES);
    file.read_exact_at(&mut ends[head..head + tail], tail_at)?;
    Ok(head + tail)
}

/// Two checksums side by side: fast and stable across platforms and versions. They need not be collision-resistant.
fn hash(ends: &[u8]) -> u64 {
    u64::from(libdeflater::crc32(ends)) << 32 | u64::from(libdeflater::adler32(ends))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.size, self.modified)?;
        self.content.map_or(Ok(()), |content| write!(f, ":{content:016x}"))
    }
}

/// The text is not a file fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint of a file")]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(ParseFingerprintError);
        let size = part()?.parse().map_err(|_| ParseFingerprintError)?;
        let changed = part()?.parse().map_err(|_| ParseFingerprintError)?;
        let content = part().ok().map(|hash| u64::from_str_radix(hash, 16)).transpose();
        Ok(Self { size, modified: changed, content: content.map_err(|_| ParseFingerprintError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_being_text() {
        for content in [None, Some(7), Some(u64::MAX)] {
            let fingerprint = Fingerprint { size: 5, modified: -3, content };
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }
        assert_eq!("".parse::<Fingerprint>(), Err(ParseFingerprintError));
        assert_eq!("1:2:x".parse::<Fingerprint>(), Err(ParseFingerprintError));
    }

    #[test]
    fn both_ways_to_hash_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for size in [0, 1, END_BYTES, END_BYTES + 1, 2 * END_BYTES, 3 * END_BYTES + 5] {
            let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
            std::fs::write(&path, &bytes).unwrap();
            let plain = Fingerprint::from_metadata(&std::fs::metadata(&path).unwrap());
            let opened = plain.with_content_hash(&File::open(&path).unwrap()).unwrap();
            assert_eq!(opened, plain.with_content_hash_of(&bytes), "{size}");
        }
    }
}
