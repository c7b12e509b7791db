//! The content of `trailload.unmapped`: `path=value` terms, so that values without a field can be searched.
//!
//! Input: values that the index does not map, and strings that are too long for a keyword field. Output: a list of
//! terms. Invariant: their number, length and total size are limited, so that no document grows much; the last term of a
//! document that has not all of them is [`INCOMPLETE_TERM`]. The whole value stays in `_source`.

use super::{IGNORE_ABOVE, text, tree::Tree};

/// Maximum number of terms in a document, far more unmapped values than any known event has.
const MAX_TERMS: usize = 512;

/// Maximum length of a term; longer values are searchable by their prefix.
pub(crate) const MAX_TERM_BYTES: usize = 512;

/// Length in bytes up to which keyword fields index every string: each UTF-16 unit has at least one byte.
pub(super) const MAX_KEYWORD_BYTES: usize = IGNORE_ABOVE as usize;

/// Maximum size of all terms of a document.
const MAX_TOTAL_BYTES: usize = 32 * 1024;

/// The last term of a document that has not all of its terms. No other term is without a `=`.
pub(crate) const INCOMPLETE_TERM: &str = "...";

/// The terms of one document, as the content of a JSON list.
#[derive(Debug, Default)]
pub(super) struct UnmappedTerms {
    list: Vec<u8>,
    terms: usize,
    /// Whether [`INCOMPLETE_TERM`] was added.
    is_incomplete: bool,
}

impl UnmappedTerms {
    /// Removes all terms.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.terms = 0;
        self.is_incomplete = false;
    }

    /// Returns the terms, quoted and separated by commas.
    pub(super) fn list(&self) -> &[u8] {
        &self.list
    }

    /// Adds a term for a scalar; `null` adds none.
    pub(super) fn add(&mut self, path: &[u8], value: &Tree<'_>) {
        match value {
            Tree::Token(token) if &**token == b"null" => {}
            Tree::Token(inside) | Tree::Text(inside) | Tree::BareWord(inside) => {
                self.add_raw(path, inside);
            }
            Tree::TooDeep(_) | Tree::List(_) | Tree::Object(_) => {}
        }
    }

    /// Adds a term for a string of a mapped path, if it is too long for a keyword field. Only strings longer than
    /// [`MAX_KEYWORD_BYTES`] can be.
    #[cold]
    pub(super) fn add_if_ignored(&mut self, path: &[u8], inside: &[u8]) {
        if text::utf16_len(inside) > IGNORE_ABOVE as usize {
            self.add_raw(path, inside);
        }
    }

    /// Adds a term. Both parts are escaped for JSON.
    #[inline]
    pub(super) fn add_raw(&mut self, path: &[u8], inside: &[u8]) {
        if self.terms == MAX_TERMS
            || path.len() >= MAX_TERM_BYTES
            || self.list.len() + path.len() + inside.len().min(MAX_TERM_BYTES) > MAX_TOTAL_BYTES
        {
            self.add_incomplete();
            return;
        }
        self.begin_term();
        self.terms += 1;
        self.list.push(b'"');
        self.list.extend_from_slice(path);
        self.list.push(b'=');
        let fits = text::truncation_point(inside, MAX_TERM_BYTES - path.len());
        self.list.extend_from_slice(&inside[..fits]);
        self.list.push(b'"');
    }

    /// Adds [`INCOMPLETE_TERM`] if a change note is too long for its field.
    pub(super) fn add_if_not_searchable(&mut self, changes: &[Vec<u8>]) {
        if changes.iter().any(|change| change.len() > MAX_KEYWORD_BYTES) {
            self.add_incomplete();
        }
    }

    /// Records that a search of the terms and fields may miss a value of the document.
    #[cold]
    pub(super) fn add_incomplete(&mut self) {
        if self.is_incomplete {
            return;
        }
        self.is_incomplete = true;
        self.begin_term();
        self.list.push(b'"');
        self.list.extend_from_slice(INCOMPLETE_TERM.as_bytes());
        self.list.push(b'"');
    }

    fn begin_term(&mut self) {
        if !self.list.is_empty() {
            self.list.push(b',');
        }
    }
}
