//! Detects archives and compression formats that are not supported, and names the command that unpacks them.
//!
//! Input: the first bytes of a file. Output: an [`UnsupportedArchive`] with its advice.

/// A format that is recognized but not supported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnsupportedArchive {
    /// Its name, with an article.
    pub(super) what: &'static str,
    /// The command that unpacks a file of it, without the file name.
    pub(super) command: &'static str,
}

/// The formats, by their first bytes.
static FORMATS: [(&[u8], UnsupportedArchive); 11] = [
    (b"7z\xbc\xaf\x27\x1c", UnsupportedArchive { what: "a 7-Zip archive", command: "7z x" }),
    (b"Rar!\x1a\x07", UnsupportedArchive { what: "a RAR archive", command: "unrar x" }),
    (b"\x04\x22\x4d\x18", UnsupportedArchive { what: "an LZ4 file", command: "lz4 -d" }),
    (b"\x1f\x9d", UnsupportedArchive { what: "a file of compress(1)", command: "gzip -d" }),
    (b"LZIP", UnsupportedArchive { what: "an lzip file", command: "lzip -d" }),
    (b"\x5d\0\0", UnsupportedArchive { what: "an LZMA file", command: "xz -d -F lzma" }),
    (b"\xff\x06\0\0sNaPpY", UnsupportedArchive { what: "a Snappy file", command: "snzip -d" }),
    (b"070701", UnsupportedArchive { what: "a cpio archive", command: "cpio -id <" }),
    (b"070707", UnsupportedArchive { what: "a cpio archive", command: "cpio -id <" }),
    (b"!<arch>\n", UnsupportedArchive { what: "an ar archive", command: "ar x" }),
    (b"MSCF\0\0\0\0", UnsupportedArchive { what: "a cabinet archive", command: "cabextract" }),
];

/// Returns the format of a file that starts with `head`.
pub(super) fn unsupported_archive(head: &[u8]) -> Option<&'static UnsupportedArchive> {
    FORMATS.iter().find(|(begin, _)| head.starts_with(begin)).map(|(_, format)| format)
}

impl UnsupportedArchive {
    /// Returns the error message, with the command to run.
    pub(super) fn advice(&self) -> String {
        format!(
            "{} is not supported: unpack it ({} FILE) and load the files in it",
            self.what, self.command
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes_and_come_with_a_command() {
        for (begin, wanted) in &FORMATS {
            let head = [begin, &[7_u8; 500][..]].concat();
            assert_eq!(unsupported_archive(&head), Some(wanted));
            assert_eq!(unsupported_archive(&head[..begin.len() - 1]), None);
        }
        assert!(
            unsupported_archive(b"7z\xbc\xaf\x27\x1c")
                .unwrap()
                .advice()
                .contains("unpack it (7z x FILE)")
        );
        for text in [&b"{\"Records\":[]}"[..], b"07070", b"Rare", b"LZ", b"", b"2024-01-01T"] {
            assert_eq!(unsupported_archive(text), None);
        }
    }
}
