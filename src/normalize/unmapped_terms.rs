//! What no field finds, as `path=value` terms: the content of `trailload.unmapped`. Values that the index does not map, and
//! texts that are too long for a keyword field.
//!
//! Bounded three ways, so that no document grows much by it; the whole value stays in the document.

use super::{IGNORE_ABOVE, text, tree::Tree};

/// Terms of one document: far more than any event seen has unmapped values.
const MAX_TERMS: usize = 512;

/// Bytes of one term; a longer value is found by its beginning.
const MAX_TERM_BYTES: usize = 512;

/// Bytes of the longest inside of a JSON string that every keyword field takes: no character has less than one byte.
pub(super) const MAX_KEYWORD_BYTES: usize = IGNORE_ABOVE as usize;

/// Bytes of all terms of one document.
const MAX_TOTAL_BYTES: usize = 32 * 1024;

/// The terms of one document, as the inside of a JSON list.
#[derive(Debug, Default)]
pub(super) struct UnmappedTerms {
    list: Vec<u8>,
    terms: usize,
}

impl UnmappedTerms {
    /// Forgets all terms.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.terms = 0;
    }

    /// Returns the terms, each in quotes, separated by commas.
    pub(super) fn list(&self) -> &[u8] {
        &self.list
    }

    /// Adds a term for a value without parts; `null` gives none.
    pub(super) fn add(&mut self, path: &[u8], value: &Tree<'_>) {
        match value {
            Tree::Token(token) if &**token == b"null" => {}
            Tree::Token(inside) | Tree::Text(inside) | Tree::BareWord(inside) => {
                self.add_raw(path, inside);
            }
            Tree::TooDeep(_) | Tree::List(_) | Tree::Object(_) => {}
        }
    }

    /// Adds a term for a text of a mapped path, if a keyword field ignores the text for its length. Only one longer
    /// than [`MAX_KEYWORD_BYTES`] bytes can be so.
    #[cold]
    pub(super) fn add_if_ignored(&mut self, path: &[u8], inside: &[u8]) {
        if text::utf16_len(inside) > IGNORE_ABOVE as usize {
            self.add_raw(path, inside);
        }
    }

    /// Adds a term; both parts are the insides of JSON strings.
    #[inline]
    pub(super) fn add_raw(&mut self, path: &[u8], inside: &[u8]) {
        if self.terms == MAX_TERMS
            || path.len() >= MAX_TERM_BYTES
            || self.list.len() + path.len() + inside.len().min(MAX_TERM_BYTES) > MAX_TOTAL_BYTES
        {
            return;
        }
        if self.terms > 0 {
            self.list.push(b',');
        }
        self.terms += 1;
        self.list.push(b'"');
        self.list.extend_from_slice(path);
        self.list.push(b'=');
        let fits = text::truncation_point(inside, MAX_TERM_BYTES - path.len());
        self.list.extend_from_slice(&inside[..fits]);
        self.list.push(b'"');
    }
}
