//! Regular expressions with look-around whose time is bounded.
//!
//! Input: a text of an event. Output: whether the pattern matches somewhere in it, or that this could not be decided.
//! Invariant: a pattern gives up after [`BACKTRACK_LIMIT`] steps back, so that no event can stop a search.

use fancy_regex::{Regex, RegexBuilder};

/// How many steps back a pattern may take in one text. At this limit the known worst patterns end within 6 ms; patterns
/// without look-around and back-references need no step at all.
pub const BACKTRACK_LIMIT: usize = 100_000;

/// A pattern and its compiled form.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
}

/// Whether a pattern matches a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It matches somewhere in the text.
    Matched,
    /// It does not match.
    NotMatched,
    /// The limit was reached before that was known.
    GaveUp,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// If it is invalid or too large; the error is a message and the offset in the pattern.
    pub(super) fn compile(pattern: &str) -> Result<Self, (usize, String)> {
        let regex = RegexBuilder::new(pattern).backtrack_limit(BACKTRACK_LIMIT).build();
        regex.map(|regex| Self { regex }).map_err(|error| describe(&error))
    }

    /// Searches in a text.
    pub(super) fn search(&self, text: &str) -> Verdict {
        match self.regex.is_match(text) {
            Ok(true) => Verdict::Matched,
            Ok(false) => Verdict::NotMatched,
            Err(_) => Verdict::GaveUp,
        }
    }
}

/// Returns the offset and the message of an error.
fn describe(error: &fancy_regex::Error) -> (usize, String) {
    match error {
        fancy_regex::Error::ParseError(offset, error) => (*offset, error.to_string()),
        other => (0, other.to_string()),
    }
}
