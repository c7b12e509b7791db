//! The notes in `trailload.changes`: what was changed in a record, so that [`restore`](super::restore) can undo it.
//!
//! Input: changes, from [`rewrite`](super::rewrite) and [`scan`](super::scan). Output: notes, their parsed form, and
//! descriptions for log messages.
//!
//! A note is one line, `WORD POINTER [ARGUMENT]`. The pointer is a JSON Pointer (RFC 6901, with `~2` for a space) into
//! the document:
//!
//! | note | means |
//! |---|---|
//! | `renamed P OLD` | the key at P was OLD |
//! | `replaced P JSON` | the value at P was JSON |
//! | `unwrapped P` | the value at P was wrapped in an object, under the key `value` |
//! | `split P KEY 3,5` | elements 3 and 5 of the list at P were moved to the list under the sibling KEY |
//! | `serialized P` | the string at P is the JSON text of the value |
//! | `quoted P` | the string at P had no quotes |
//! | `repaired` | the record held invalid JSON; the original bytes are not kept |

use std::borrow::Cow;

/// Kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A key was renamed.
    Renamed,
    /// A value was replaced: an empty string by an empty object, or a time by a form that date fields accept.
    Replaced,
    /// A value was taken out of its wrapper object.
    Unwrapped,
    /// The objects and the scalars of a mixed list were separated.
    Split,
    /// A value was replaced by its JSON text.
    Serialized,
    /// A bare word or an overlong number was put in quotes.
    Quoted,
    /// Invalid JSON was repaired; the only change that cannot be undone.
    Repaired,
}

impl Change {
    const ALL: [Self; 7] = [
        Self::Renamed,
        Self::Replaced,
        Self::Unwrapped,
        Self::Split,
        Self::Serialized,
        Self::Quoted,
        Self::Repaired,
    ];

    /// Returns the first word of the note.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Renamed => "renamed",
            Self::Replaced => "replaced",
            Self::Unwrapped => "unwrapped",
            Self::Split => "split",
            Self::Serialized => "serialized",
            Self::Quoted => "quoted",
            Self::Repaired => "repaired",
        }
    }
}

/// A parsed note.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChangeNote<'n> {
    /// Kind of the change.
    pub(super) change: Change,
    /// JSON Pointer into the document; empty for [`Change::Repaired`].
    pub(super) pointer: &'n [u8],
    /// Details of the change; may be empty.
    pub(super) argument: &'n [u8],
}

impl<'n> ChangeNote<'n> {
    /// Parses a note. `None` if the line is not one.
    pub(super) fn parse(line: &'n [u8]) -> Option<Self> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let word = parts.next()?;
        let change = Change::ALL.into_iter().find(|change| change.word().as_bytes() == word)?;
        let (pointer, argument) = (parts.next(), parts.next());
        let (pointer, argument) = (pointer.unwrap_or_default(), argument.unwrap_or_default());
        Some(Self { change, pointer, argument })
    }

    /// Returns the keys and list positions of the pointer.
    pub(super) fn segments(&self) -> impl Iterator<Item = Vec<u8>> {
        self.pointer.split(|byte| *byte == b'/').skip(1).map(unescape_segment)
    }

    /// Returns a description of the change, such as `requestParameters.policy_object (was policy)`.
    pub(super) fn description(&self) -> String {
        let is_position = |segment: &[u8]| segment.iter().all(u8::is_ascii_digit);
        let keys: Vec<Vec<u8>> = self.segments().filter(|segment| !is_position(segment)).collect();
        let keys = keys.join(&b'.');
        let path = String::from_utf8_lossy(&keys);
        match self.change {
            Change::Renamed => format!("{path} (was {})", String::from_utf8_lossy(self.argument)),
            Change::Replaced if is_empty_marker(self.argument) => {
                format!("{path} (was empty, now an empty object)")
            }
            Change::Replaced => format!("{path} (time reformatted)"),
            Change::Unwrapped => format!("{path} (unwrapped)"),
            Change::Split => format!("{path} (mixed list split)"),
            Change::Serialized => format!("{path} (serialized as JSON text)"),
            Change::Quoted => format!("{path} (put in quotes)"),
            Change::Repaired => "invalid JSON repaired".to_owned(),
        }
    }
}

/// Returns whether JSON is `""`, or lists of empty strings.
fn is_empty_marker(json: &[u8]) -> bool {
    json.iter().all(|byte| matches!(byte, b'"' | b'[' | b']' | b',' | b' '))
}

/// Escapes a key as a segment of a pointer.
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

/// Unescapes a segment of a pointer.
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
            let note = ChangeNote::parse(line.as_bytes()).unwrap();
            assert_eq!((note.change, note.argument), (change, &b"x y"[..]));
            assert_eq!(note.segments().collect::<Vec<_>>(), [&b"a/b"[..], b"0", b"c d"]);
        }
        assert_eq!(ChangeNote::parse(b"moved /a b"), None);
        assert_eq!(ChangeNote::parse(b""), None);
    }

    #[test]
    fn a_person_reads_paths_without_positions() {
        let description = |line: &str| ChangeNote::parse(line.as_bytes()).unwrap().description();
        assert_eq!(description("renamed /a/0/b~2c_object b c"), "a.b c_object (was b c)");
        assert_eq!(description("replaced /a/b \"\""), "a.b (was empty, now an empty object)");
        assert_eq!(
            description("replaced /a/b [[\"\"], \"\"]"),
            "a.b (was empty, now an empty object)"
        );
        assert_eq!(description("replaced /eventTime 1717243200"), "eventTime (time reformatted)");
        assert_eq!(description("quoted /a/b/12"), "a.b (put in quotes)");
        assert_eq!(description("repaired"), "invalid JSON repaired");
    }

    #[test]
    fn a_segment_gives_its_key_back() {
        for key in [&b"plain"[..], b"a~/ b", b"~1", b"~", b""] {
            assert_eq!(unescape_segment(&pointer_segment(key)), key);
        }
    }
}
