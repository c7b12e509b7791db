//! Regular expressions with look-around whose time is bounded.
//!
//! Input: a text of an event. Output: whether the pattern matches somewhere in it, or that this could not be decided.
//! Invariant: a pattern gives up after [`BACKTRACK_LIMIT`] steps back, so that no event can stop a search; in a long text
//! after fewer, if a step may look at the whole text.

use std::sync::OnceLock;

use fancy_regex::{CompileError, Error, Expr, Regex, RegexBuilder};

/// How many steps back a pattern may take in one text. At this limit the known worst patterns end within 6 ms in texts as
/// events hold them. Patterns without look-around and back-references need no step at all.
pub const BACKTRACK_LIMIT: usize = 100_000;

/// Bounds of the lengths of long texts, in bytes, and the limits there: with `(?=.*a)(?=.*b)`, every place of the text is
/// a step that looks at the whole text, which in a text of 100 KiB took half a minute. Steps times bytes stay the same.
const LONG_TEXTS: [(usize, usize); 4] =
    [(8 << 10, 25_000), (32 << 10, 6_250), (128 << 10, 1_560), (usize::MAX, 390)];

/// Texts up to this length are searched with [`BACKTRACK_LIMIT`].
const LONG_TEXT_BYTES: usize = 2 << 10;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// The same with the lower limits for long texts, compiled when the first text of that length comes. `None` if no
    /// step looks at the whole text.
    for_long_texts: Option<[OnceLock<Option<Regex>>; LONG_TEXTS.len()]>,
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

/// Why a pattern is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    /// The offset in the pattern, in bytes.
    pub(super) offset: usize,
    /// What is wrong, in lower case.
    pub(super) message: String,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// If it is invalid or too large.
    pub(super) fn compile(pattern: &str) -> Result<Self, PatternError> {
        let regex = build(pattern, BACKTRACK_LIMIT).map_err(|error| describe(pattern, &error))?;
        let is_unbounded = |part: &Expr| matches!(part, Expr::Repeat { hi: usize::MAX, .. });
        let for_long_texts = Expr::parse_tree(pattern)
            .is_ok_and(|tree| tree.expr.has_descendant_or_self(is_unbounded))
            .then(Default::default);
        Ok(Self { regex, for_long_texts })
    }

    /// Searches in a text.
    pub(super) fn search(&self, text: &str) -> Verdict {
        let regex = self.for_length(text.len()).unwrap_or(&self.regex);
        match regex.is_match(text) {
            Ok(true) => Verdict::Matched,
            Ok(false) => Verdict::NotMatched,
            Err(_) => Verdict::GaveUp,
        }
    }

    /// Returns the pattern with the limit for a long text.
    fn for_length(&self, bytes: usize) -> Option<&Regex> {
        let compiled = self.for_long_texts.as_ref().filter(|_| bytes > LONG_TEXT_BYTES)?;
        let at = LONG_TEXTS.iter().position(|(bound, _)| bytes <= *bound)?;
        compiled[at].get_or_init(|| build(self.regex.as_str(), LONG_TEXTS[at].1).ok()).as_ref()
    }
}

fn build(pattern: &str, limit: usize) -> Result<Regex, Error> {
    RegexBuilder::new(pattern).backtrack_limit(limit).build()
}

/// Describes what is wrong with a pattern.
fn describe(pattern: &str, error: &Error) -> PatternError {
    let (offset, message) = match error {
        Error::ParseError(offset, error) => ((*offset).min(pattern.len()), error.to_string()),
        Error::CompileError(error) => match &**error {
            CompileError::InnerError(error) => match error.syntax_error() {
                Some(error) => describe_class(pattern, &error.to_string()),
                None => (0, "it is too large".to_owned()),
            },
            other => (0, other.to_string()),
        },
        other => (0, other.to_string()),
    };
    // Only the first letter: `Unknown group flag: (?Z` keeps its flag.
    let mut letters = message.chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    PatternError { offset, message: first.chain(letters).collect() }
}

/// Reads an error that consists of a part of the pattern, a caret below it, and a message, each on its line.
fn describe_class(pattern: &str, report: &str) -> (usize, String) {
    let lines: Vec<&str> = report.lines().collect();
    let message = lines.last().map_or(report, |line| line.trim_start_matches("error: "));
    let caret = lines.iter().position(|line| line.trim_start().starts_with('^'));
    let place = caret.filter(|at| *at > 0).and_then(|at| {
        let (part, below) = (lines[at - 1], lines[at]);
        let indent = part.len() - part.trim_start().len();
        Some(pattern.find(part.trim())? + below.find('^')?.saturating_sub(indent))
    });
    (place.unwrap_or(0), message.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn search(pattern: &str, text: &str) -> Verdict {
        Pattern::compile(pattern).expect(pattern).search(text)
    }

    #[test]
    fn a_pattern_is_searched_anywhere_and_knows_look_around() {
        for (pattern, text, verdict) in [
            ("b", "abc", Verdict::Matched),
            ("^b", "abc", Verdict::NotMatched),
            ("^(?!.*:Alice$)", "AIDA:Bob", Verdict::Matched),
            ("^(?!.*:Alice$)", "AIDA:Alice", Verdict::NotMatched),
            ("(?<=user/)alice", "arn:user/alice", Verdict::Matched),
            (r"(\w)\1", "abba", Verdict::Matched),
            ("", "", Verdict::Matched),
        ] {
            assert_eq!(search(pattern, text), verdict, "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let many = "a".repeat(200_000);
        let some = "a".repeat(40);
        for (pattern, text) in [
            (r"(a*)*\1b", &some),
            ("(a|a)*(?=b)c", &some),
            ("^(a+)+(?=$)b", &some),
            ("(?<!a.*)b", &many),
            ("(?=.*a)(?=.*a)(?=.*a)(?=.*a)b", &many),
            (r"(x+x+)+y(?=z)|(a*)*\1b", &many),
        ] {
            let start = Instant::now();
            let _ = search(pattern, text);
            // Generous, because tests run unoptimized on machines with other work; without a limit, none would end.
            assert!(start.elapsed() < Duration::from_secs(20), "{pattern}");
        }
        assert_eq!(search(r"(a*)*\1b", &some), Verdict::GaveUp);
    }

    #[test]
    fn errors_have_a_place_and_a_message() {
        for (pattern, offset, message) in [
            ("x[z-a]", 2, "invalid character class range, the start must be <= the end"),
            ("x(y", 3, "opening parenthesis without closing parenthesis"),
            ("a*?*", 3, "target of repeat operator is invalid"),
            (r"\8", 0, "invalid back reference to group 8"),
            ("(a{1000}){1000}", 0, "it is too large"),
        ] {
            let error = Pattern::compile(pattern).expect_err(pattern);
            assert_eq!((error.offset, error.message.as_str()), (offset, message), "{pattern}");
        }
        let nested = format!("{}a{}", "(".repeat(1_000), ")".repeat(1_000));
        assert_eq!(Pattern::compile(&nested).unwrap_err().message, "pattern too deeply nested");
    }
}
