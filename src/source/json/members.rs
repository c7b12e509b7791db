//! Iterates over the members of a JSON object that is in memory.
//!
//! Input: a text and the offset of an object's opening brace. Output: one [`Member`] after another.
//! Invariant: no value is parsed; only its end is found. Commas are optional, as in everything that reads records.

use std::ops::Range;

use super::skip::{SkipError, skip_space, skip_string, skip_value};

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct Member<'t> {
    /// The key without its quotes; escapes are not decoded.
    pub(in crate::source) key: &'t [u8],
    /// The range of the value in the text.
    pub(in crate::source) value: Range<usize>,
}

/// The members of an object that have not been read yet.
#[derive(Clone, Debug)]
pub(in crate::source) struct Members<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Members<'t> {
    /// Returns the members of the object whose opening brace is at `text[object]`.
    pub(in crate::source) fn new(text: &'t [u8], object: usize) -> Self {
        Self { text, at: object + 1 }
    }

    /// Reads the next key, and returns it with the offset of its value; `None` behind the last member. The value has to
    /// be skipped by [`Self::skip_value`] before the next call.
    ///
    /// # Errors
    ///
    /// Returns [`SkipError`] if the text ends before the value, or if no key and colon are there.
    #[inline]
    pub(in crate::source) fn next_key(&mut self) -> Result<Option<(&'t [u8], usize)>, SkipError> {
        let text = self.text;
        loop {
            self.at = skip_space(text, self.at);
            match text.get(self.at) {
                Some(b'"') => break,
                Some(b',') => self.at += 1,
                Some(b'}') => return Ok(None),
                Some(_) => return Err(invalid(self.at, "expected a key")),
                None => return Err(SkipError::Incomplete),
            }
        }
        let key_end = skip_string(text, self.at).ok_or(SkipError::Incomplete)?;
        let colon = skip_space(text, key_end);
        match text.get(colon) {
            Some(b':') => {}
            Some(_) => return Err(invalid(colon, "expected a colon")),
            None => return Err(SkipError::Incomplete),
        }
        let key = &text[self.at + 1..key_end - 1];
        self.at = skip_space(text, colon + 1);
        if self.at >= text.len() {
            return Err(SkipError::Incomplete);
        }
        Ok(Some((key, self.at)))
    }

    /// Skips the value of the key that was read last, and returns the offset behind it.
    ///
    /// # Errors
    ///
    /// Returns [`SkipError`] if the text ends inside the value or if its brackets do not match.
    #[inline]
    pub(in crate::source) fn skip_value(&mut self) -> Result<usize, SkipError> {
        self.at = skip_value(self.text, self.at)?;
        Ok(self.at)
    }

    /// Reads the next member; `None` behind the last one.
    ///
    /// # Errors
    ///
    /// Returns [`SkipError`] if the text ends inside the member or if it is not JSON.
    pub(in crate::source) fn next_member(&mut self) -> Result<Option<Member<'t>>, SkipError> {
        let Some((key, start)) = self.next_key()? else { return Ok(None) };
        let end = self.skip_value()?;
        Ok(Some(Member { key, value: start..end }))
    }

    /// Returns the offset behind the object. Correct only after the last member was read.
    pub(in crate::source) fn end(&self) -> usize {
        self.at + 1
    }
}

fn invalid(offset: usize, cause: &'static str) -> SkipError {
    SkipError::Invalid { offset, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The members of an object, and the offset behind it.
    type Found<'t> = (Vec<(String, &'t str)>, usize);

    fn all(text: &str) -> Result<Found<'_>, SkipError> {
        let mut members = Members::new(text.as_bytes(), 0);
        let mut all = Vec::new();
        while let Some(Member { key, value }) = members.next_member()? {
            all.push((String::from_utf8_lossy(key).into_owned(), &text[value]));
        }
        Ok((all, members.end()))
    }

    #[test]
    fn members_come_with_their_values() {
        let text = r#"{ "a" : [1, {"b":2}] , "c\"":"}", "d":7} , "#;
        let (members, end) = all(text).unwrap();
        let members: Vec<(&str, &str)> =
            members.iter().map(|(key, value)| (&**key, *value)).collect();
        assert_eq!(members, [("a", r#"[1, {"b":2}]"#), (r#"c\""#, r#""}""#), ("d", "7")]);
        assert_eq!(&text[..end], text.trim_end_matches(" , "));
        assert_eq!(all("{}").unwrap(), (vec![], 2));
    }

    #[test]
    fn every_cut_is_incomplete_and_invalid_text_has_an_offset() {
        let text = r#"{"a":[1,"x"],"b":{"c":true}}"#;
        for cut in 1..text.len() {
            assert_eq!(all(&text[..cut]), Err(SkipError::Incomplete), "{cut}");
        }
        for (text, offset) in
            [(r#"{"a" 1}"#, 5), ("{a:1}", 1), (r#"{"a":]}"#, 5), (r#"{"a":1]"#, 6)]
        {
            let Err(SkipError::Invalid { offset: at, .. }) = all(text) else { panic!("{text}") };
            assert_eq!(at, offset, "{text}");
        }
    }
}
