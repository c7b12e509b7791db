//! Detects whether a file changed since an earlier run.
//!
//! Two steps, because a hundred thousand done files must cost one `stat` each: size and time of change
//! are compared first, and if they are equal the file is the same. If only the time differs (touched,
//! copied, moved away and back) a hash of the first and last 4 KiB decides; for a gzip file the end holds a
//! checksum of all of it. A file whose middle was changed in place, with size, head, tail kept and
//! the time changed, would be taken for unchanged: nothing writes logs that way.

use std::{
    fmt,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    str::FromStr,
};

/// Bytes at each end of a file that are hashed: one page, so one read.
const END_BYTES: usize = 4 << 10;

/// What a file looked like. As text: size, time of change in ns, and hash once known, with colons between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Bytes as stored.
    pub size: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub modified: i128,
    /// Hash of head and tail, if the file was opened.
    pub content: Option<u64>,
}

impl Fingerprint {
    /// Returns what can be known without opening the file.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let changed =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { size: metadata.size(), modified: changed, content: None }
    }

    /// Returns the same with the hash of the file's ends.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn with_content_hash(self, file: &File) -> io::Result<Self> {
        let mut ends = [0; 2 * END_BYTES];
        let length = read_ends(file, self.size, &mut ends)?;
        Ok(Self { content: Some(hash(&ends[..length])), ..self })
    }

    /// Returns the same with the hash of the ends of `stored`, which is all of the file.
    pub fn with_content_hash_of(self, stored: &[u8]) -> Self {
        let head = &stored[..stored.len().min(END_BYTES)];
        let tail = &stored[stored.len().saturating_sub(END_BYTES).max(head.len())..];
        Self { content: Some(hash(&[head, tail].concat())), ..self }
    }

    /// Returns whether the content was the same, as far as both know: by time, or by hash.
    pub fn has_same_content(self, other: Self) -> bool {
        let same_hash = self.content.is_some() && self.content == other.content;
        self.size == other.size && (self.modified == other.modified || same_hash)
    }

    /// Compares the file at `path`, which looks like `self` now, with the one that was `before`.
    ///
    /// Opens it only if size and time do not answer that. A file that cannot be opened is taken for a new
    /// one: the worker that reads it will say what is wrong.
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

/// What became of a file since an earlier look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// It is as it was.
    Unchanged,
    /// Its content is the same, but its time is not. With this it is known the next time without opening it.
    Touched(Fingerprint),
    /// It is another.
    Changed,
}

/// Reads the first and the last bytes of a file, which overlap nowhere, and returns how many there are.
fn read_ends(file: &File, size: u64, ends: &mut [u8; 2 * END_BYTES]) -> io::Result<usize> {
    let end = END_BYTES as u64;
    let head = usize::try_from(size.min(end)).unwrap_or(END_BYTES);
    file.read_exact_at(&mut ends[..head], 0)?;
    let tail_at = size.saturating_sub(end).max(end.min(size));
    let tail = usize::try_from(size - tail_at).unwrap_or(END_BYTES);
    file.read_exact_at(&mut ends[head..head + tail], tail_at)?;
    Ok(head + tail)
}

/// Two checksums side by side: fast, the same everywhere and for ever. It need not withstand an enemy.
fn hash(ends: &[u8]) -> u64 {
    u64::from(libdeflater::crc32(ends)) << 32 | u64::from(libdeflater::adler32(ends))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.size, self.modified)?;
        self.content.map_or(Ok(()), |content| write!(f, ":{content:016x}"))
    }
}

/// The text is no fingerprint of a file.
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
