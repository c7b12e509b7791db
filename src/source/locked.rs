//! Names archives and formats that are not opened here, by their first bytes, and what opens them.

/// A format that is not opened here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Locked {
    /// What it is, with its article.
    pub(super) what: &'static str,
    /// The command that unpacks it, without the file.
    pub(super) command: &'static str,
}

/// Every such format, by the bytes that it begins with.
static FORMATS: [(&[u8], Locked); 11] = [
    (b"7z\xbc\xaf\x27\x1c", Locked { what: "a 7-Zip archive", command: "7z x" }),
    (b"Rar!\x1a\x07", Locked { what: "a RAR archive", command: "unrar x" }),
    (b"\x04\x22\x4d\x18", Locked { what: "an LZ4 file", command: "lz4 -d" }),
    (b"\x1f\x9d", Locked { what: "a file of compress", command: "gzip -d" }),
    (b"LZIP", Locked { what: "an lzip file", command: "lzip -d" }),
    (b"\x5d\0\0", Locked { what: "an LZMA file", command: "xz -d -F lzma" }),
    (b"\xff\x06\0\0sNaPpY", Locked { what: "a Snappy file", command: "snzip -d" }),
    (b"070701", Locked { what: "a cpio archive", command: "cpio -id <" }),
    (b"070707", Locked { what: "a cpio archive", command: "cpio -id <" }),
    (b"!<arch>\n", Locked { what: "an ar archive", command: "ar x" }),
    (b"MSCF\0\0\0\0", Locked { what: "a cabinet archive", command: "cabextract" }),
];

/// Returns the format of bytes that begin like this.
pub(super) fn locked(head: &[u8]) -> Option<&'static Locked> {
    FORMATS.iter().find(|(begin, _)| head.starts_with(begin)).map(|(_, locked)| locked)
}

impl Locked {
    /// Says what to do about it.
    pub(super) fn advice(&self) -> String {
        format!(
            "{} is not opened here: unpack it ({} FILE) and load what was in it",
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
            assert_eq!(locked(&head), Some(wanted));
            assert_eq!(locked(&head[..begin.len() - 1]), None);
        }
        assert!(locked(b"7z\xbc\xaf\x27\x1c").unwrap().advice().contains("unpack it (7z x FILE)"));
        for text in [&b"{\"Records\":[]}"[..], b"07070", b"Rare", b"LZ", b"", b"2024-01-01T"] {
            assert_eq!(locked(text), None);
        }
    }
}
