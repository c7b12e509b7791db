//! The members of an object by name.
//!
//! Input: text, and the range of an object in it. Output: [`Fields`].
//! Invariant: the object is read once; of a name that repeats, the first value counts. Values are not parsed.

use std::ops::Range;

use bytes::Bytes;

use crate::source::json::{
    members::{Member, Members},
    skip::{skip_space, skip_value},
    unescape::unescape,
};

/// The ranges of an object's values, by the names that messages have.
#[derive(Clone, Debug)]
pub(super) struct Fields<'t> {
    text: &'t Bytes,
    /// The names that were asked for, each with the range of its value.
    found: Vec<(&'static [u8], Range<usize>)>,
}

/// The object is not JSON, or cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'t> Fields<'t> {
    /// Reads the members called `names` of the object at `text[object]`.
    ///
    /// # Errors
    ///
    /// Returns [`Malformed`] if the object cannot be read to its end.
    pub(super) fn read(
        text: &'t Bytes,
        object: usize,
        names: &[&'static [u8]],
    ) -> Result<Self, Malformed> {
        let mut members = Members::new(text, object);
        let mut found: Vec<(&[u8], Range<usize>)> = Vec::new();
        while let Some(Member { key, value }) = members.next_member().map_err(|_| Malformed)? {
            let Some(name) = names.iter().find(|name| **name == key) else { continue };
            if !found.iter().any(|(known, _)| known == name) {
                found.push((name, value));
            }
        }
        Ok(Self { text, found })
    }

    /// Returns the range of a value.
    pub(super) fn value(&self, name: &str) -> Option<Range<usize>> {
        let mut found = self.found.iter();
        found.find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value.clone())
    }

    fn of_kind(&self, name: &str, first: u8) -> Option<Range<usize>> {
        self.value(name).filter(|value| self.text.get(value.start) == Some(&first))
    }

    /// Returns the range of a value that is a string, with its quotes.
    pub(super) fn string_range(&self, name: &str) -> Option<Range<usize>> {
        self.of_kind(name, b'"')
    }

    /// Returns a value that is a string.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        self.string_range(name).map(|value| string(self.text, value))
    }

    /// Returns the range of a value that is an object.
    pub(super) fn object(&self, name: &str) -> Option<Range<usize>> {
        self.of_kind(name, b'{')
    }

    /// Returns the range of a value that is a list.
    pub(super) fn list(&self, name: &str) -> Option<Range<usize>> {
        self.of_kind(name, b'[')
    }

    /// Returns a value that is a whole number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let value = self.value(name)?;
        std::str::from_utf8(&self.text[value]).ok()?.parse().ok()
    }
}

/// Returns the text of the string at a range, which includes its quotes.
pub(super) fn string(text: &[u8], range: Range<usize>) -> String {
    let mut decoded = Vec::with_capacity(range.len());
    unescape(&text[range.start + 1..range.end - 1], &mut decoded);
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The values of a list that have not been read yet.
pub(super) struct Items<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Items<'t> {
    /// Returns the values of the list whose opening bracket is at `text[list]`.
    pub(super) fn new(text: &'t [u8], list: usize) -> Self {
        Self { text, at: list + 1 }
    }

    /// Returns the offset of the value that could not be read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Returns the range of the next value; `None` behind the last one.
    ///
    /// # Errors
    ///
    /// Returns [`Malformed`] if the list cannot be read further.
    pub(super) fn next_item(&mut self) -> Result<Option<Range<usize>>, Malformed> {
        loop {
            self.at = skip_space(self.text, self.at);
            match self.text.get(self.at) {
                Some(b']') => return Ok(None),
                Some(b',') => self.at += 1,
                Some(_) => {
                    let start = self.at;
                    let end = skip_value(self.text, start);
                    // It stays at a value that cannot be read.
                    self.at = end.map_err(|_| Malformed)?;
                    // Nothing that is skipped is empty; otherwise this would not end.
                    return if self.at > start { Ok(Some(start..self.at)) } else { Err(Malformed) };
                }
                None => return Err(Malformed),
            }
        }
    }
}
