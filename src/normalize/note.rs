//! The notes in `trailload.renamed`: what was changed in a record, so that it can be undone.
//!
//! In: changes, from [`rewrite`](super::rewrite) and [`scan`](super::scan). Out: lines of text; the same taken
//! apart for [`undo`](super::undo); and words for a person.
//!
//! A note is one line, `WORD POINTER [ARGUMENT]`, its pointer a JSON Pointer (RFC 6901, with `~2` for a space)
//! into the result:
//!
//! | note | means |
//! |---|---|
//! | `key P OLD` | the key at P was OLD |
//! | `was P JSON` | the value at P was JSON |
//! | `value P` | the value at P stood in an object, under the key `value` |
//! | `split P KEY 3,5` | elements 3 and 5 of the list at P stand in the list under the sibling KEY |
//! | `json P` | the text at P is the JSON text of what stood there |
//! | `word P` | the text at P stood there without quotes |
//! | `mended` | bytes were no valid JSON; what they were is not kept |

use std::borrow::Cow;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A key got another name.
    Key,
    /// A value became another: nothing an empty object, a time one that date fields read.
    Was,
    /// A value was taken out of its wrapper.
    Value,
    /// A list was parted.
    Split,
    /// A value became its JSON text.
    Json,
    /// A word or number became text.
    Word,
    /// Bytes were mended; the only change that cannot be undone.
    Mended,
}

impl Change {
    const ALL: [Self; 7] =
        [Self::Key, Self::Was, Self::Value, Self::Split, Self::Json, Self::Word, Self::Mended];

    /// Returns the word that a note of it begins with.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Was => "was",
            Self::Value => "value",
            Self::Split => "split",
            Self::Json => "json",
            Self::Word => "word",
            Self::Mended => "mended",
        }
    }
}

/// A note, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note<'n> {
    /// What was changed.
    pub(super) change: Change,
    /// Where, in the result.
    pub(super) pointer: &'n [u8],
    /// What else there is to know; may be empty.
    pub(super) argument: &'n [u8],
}

impl<'n> Note<'n> {
    /// Takes a line apart. `None` if it is no note of ours.
    pub(super) fn read(line: &'n [u8]) -> Option<Self> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let word = parts.next()?;
        let change = Change::ALL.into_iter().find(|change| change.word().as_bytes() == word)?;
        let (pointer, argument) = (parts.next(), parts.next());
        let (pointer, argument) = (pointer.unwrap_or_default(), argument.unwrap_or_default());
        Some(Self { change, pointer, argument })
    }

    /// Returns the keys and positions that lead to the place.
    pub(super) fn segments(&self) -> impl Iterator<Item = Vec<u8>> {
        self.pointer.split(|byte| *byte == b'/').skip(1).map(unescape_segment)
    }

    /// Says in words what was changed: `requestParameters.policy_object (was policy)`.
    pub(super) fn described(&self) -> String {
        let is_position = |segment: &[u8]| segment.iter().all(u8::is_ascii_digit);
        let keys: Vec<Vec<u8>> = self.segments().filter(|segment| !is_position(segment)).collect();
        let keys = keys.join(&b'.');
        let path = String::from_utf8_lossy(&keys);
        match self.change {
            Change::Key => format!("{path} (was {})", String::from_utf8_lossy(self.argument)),
            Change::Was if is_empty_marker(self.argument) => {
                format!("{path} (empty, made an object)")
            }
            Change::Was => format!("{path} (spelled as dates are)"),
            Change::Value => format!("{path} (taken out of its wrapper)"),
            Change::Split => format!("{path} (mixed list, split)"),
            Change::Json => format!("{path} (kept as JSON text)"),
            Change::Word => format!("{path} (made text)"),
            Change::Mended => "broken bytes mended".to_owned(),
        }
    }
}

/// Returns whether JSON says nothing: it is `""`, or lists of that.
fn is_empty_marker(json: &[u8]) -> bool {
    json.iter().all(|byte| matches!(byte, b'"' | b'[' | b']' | b',' | b' '))
}

/// Writes a key as a segment of a pointer.
pub(super) fn pointer_segment(key: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr3(b'~', b'/', b' ', key).is_none() {
        return Cow::Borrowed(key);
    }
    let mut out = Vec::with_capacity(key.len() + 4);
    for byte in key {
        match byte {
            b'~' => out.extend_from_slice(b"~0"),
            b'/' => out.extend_from_slice(b"~1"),
            b' ' => out.extend_from_slice(b"~2"),
            byte => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

/// Reads a key from a segment of a pointer.
pub(super) fn unescape_segment(segment: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'~' => match bytes.next() {
                Some(b'1') => b'/',
                Some(b'2') => b' ',
                _ => b'~',
            },
            byte => *byte,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_read_by_its_word() {
        for change in Change::ALL {
            let line = format!("{} /a~1b/0/c~2d x y", change.word());
            let note = Note::read(line.as_bytes()).unwrap();
            assert_eq!((note.change, note.argument), (change, &b"x y"[..]));
            assert_eq!(note.segments().collect::<Vec<_>>(), [&b"a/b"[..], b"0", b"c d"]);
        }
        assert_eq!(Note::read(b"moved /a b"), None);
        assert_eq!(Note::read(b""), None);
    }

    #[test]
    fn a_person_reads_paths_without_positions() {
        let described = |line: &str| Note::read(line.as_bytes()).unwrap().described();
        assert_eq!(described("key /a/0/b~2c_object b c"), "a.b c_object (was b c)");
        assert_eq!(described("was /a/b \"\""), "a.b (empty, made an object)");
        assert_eq!(described("was /a/b [[\"\"], \"\"]"), "a.b (empty, made an object)");
        assert_eq!(described("was /eventTime 1717243200"), "eventTime (spelled as dates are)");
        assert_eq!(described("word /a/b/12"), "a.b (made text)");
        assert_eq!(described("mended"), "broken bytes mended");
    }

    #[test]
    fn a_segment_gives_its_key_back() {
        for key in [&b"plain"[..], b"a~/ b", b"~1", b"~", b""] {
            assert_eq!(unescape_segment(&pointer_segment(key)), key);
        }
    }
}
