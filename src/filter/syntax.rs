//! Errors in the expressions that a user writes, and limits on their size.
//!
//! Input: the text of an expression. Output: a [`SyntaxError`] that shows the place of the error.
//! Invariant: the limits are checked before a parser sees the text, because the time or stack of some parsers grows
//! exponentially with the nesting. Text in quotation marks does not count as nesting.
//! Not here: the grammars (see [`match_expression`](super::match_expression) and [`jmespath`](super::jmespath)).

use std::fmt;

use console::measure_text_width;
use thiserror::Error;

use crate::report::terminal::escape_unprintable;

/// The longest expression, in bytes. The longest of the public rules that were looked at has 1.2 KiB.
pub const MAX_BYTES: usize = 4 * 1024;

/// How deep brackets, parentheses and braces may be nested. At 8 levels, the slowest of the parsers takes less than a
/// millisecond; every further level doubles that.
pub const MAX_NESTING: usize = 8;

/// The most characters of an expression that are shown on either side of the place of an error.
const SHOWN_CHARACTERS: usize = 50;

/// An expression that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// The expression as the user wrote it.
    pub expression: String,
    /// Offset in bytes of the place of the error; the length of the expression if something is missing at its end.
    pub offset: usize,
    /// What is wrong, in lower case without a full stop.
    pub message: String,
    /// What to write instead, if that is known.
    pub suggestion: Option<String>,
}

impl SyntaxError {
    /// Creates an error at an offset in bytes, without a suggestion.
    pub fn new(expression: &str, offset: usize, message: impl Into<String>) -> Self {
        Self {
            expression: expression.to_owned(),
            offset: offset.min(expression.len()),
            message: message.into(),
            suggestion: None,
        }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Returns the expression with a caret below the place of the error, as two lines.
    ///
    /// Control characters are escaped, wide characters are measured, and of a long expression only the surroundings of
    /// the error are returned.
    pub fn caret(&self) -> impl fmt::Display {
        let place = floor_char_boundary(&self.expression, self.offset);
        let (before, after) = self.expression.split_at(place);
        let start = before.char_indices().rev().nth(SHOWN_CHARACTERS).map(|(at, _)| at);
        let end = after.char_indices().nth(SHOWN_CHARACTERS).map(|(at, _)| at);
        let shown_before = match start {
            Some(start) => format!("…{}", escape_unprintable(&before[start..])),
            None => escape_unprintable(before),
        };
        let shown_after = escape_unprintable(&after[..end.unwrap_or(after.len())]);
        let ellipsis = if end.is_some() { "…" } else { "" };
        let blanks = " ".repeat(measure_text_width(&shown_before));
        format!("{shown_before}{shown_after}{ellipsis}\n{blanks}^")
    }
}

/// Returns the largest offset up to `offset` at which the text can be split.
fn floor_char_boundary(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Checks the length and the nesting of an expression before it is parsed.
///
/// Brackets, parentheses and braces count as nesting, and so does a sequence of negations (`!!!`). Text in quotation
/// marks or backticks does not.
///
/// # Errors
///
/// If the expression is longer than [`MAX_BYTES`] or nested deeper than [`MAX_NESTING`].
pub fn check_limits(expression: &str) -> Result<(), SyntaxError> {
    if expression.len() > MAX_BYTES {
        let message = format!(
            "the expression has {} bytes; at most {MAX_BYTES} are allowed",
            expression.len()
        );
        return Err(SyntaxError::new(expression, MAX_BYTES, message));
    }
    let (mut depth, mut negations) = (0_usize, 0_usize);
    let mut bytes = expression.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        negations = match byte {
            b'!' => negations + 1,
            _ if byte.is_ascii_whitespace() => negations,
            _ => 0,
        };
        match byte {
            b'[' | b'(' | b'{' => depth += 1,
            b']' | b')' | b'}' => depth = depth.saturating_sub(1),
            b'\'' | b'"' | b'`' => skip_quoted(&mut bytes, byte),
            _ => {}
        }
        if depth > MAX_NESTING || negations > MAX_NESTING {
            let message =
                format!("the expression is nested deeper than {MAX_NESTING} levels from here");
            return Err(SyntaxError::new(expression, at, message));
        }
    }
    Ok(())
}

/// Skips to behind the closing quotation mark, or to the end if there is none. A backslash escapes the next byte.
fn skip_quoted(bytes: &mut impl Iterator<Item = (usize, u8)>, quote: u8) {
    while let Some((_, byte)) = bytes.next() {
        if byte == b'\\' {
            bytes.next();
        } else if byte == quote {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caret(expression: &str, offset: usize) -> String {
        SyntaxError::new(expression, offset, "wrong").caret().to_string()
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        assert_eq!(caret("$.a == ", 7), "$.a == \n       ^");
        assert_eq!(caret("$.a = 1", 4), "$.a = 1\n    ^");
        assert_eq!(caret("", 0), "\n^");
        assert_eq!(caret("abc", 99), "abc\n   ^", "an offset beyond the end is the end");
    }

    #[test]
    fn wide_and_control_characters_keep_the_caret_in_place() {
        assert_eq!(caret("$.世界 = 1", 9), "$.世界 = 1\n       ^");
        assert_eq!(caret("a\nb\u{1b} = 1", 5), "a\\nb\\u{1b} = 1\n           ^");
        assert_eq!(caret("ö = 1", 1), "ö = 1\n^", "inside a character");
    }

    #[test]
    fn a_long_expression_is_shown_around_the_error() {
        let long = format!("{}!{}", "a".repeat(200), "b".repeat(200));
        let shown = caret(&long, 200);
        let (line, below) = shown.split_once('\n').unwrap();
        assert_eq!(line, format!("…{}!{}…", "a".repeat(51), "b".repeat(49)));
        assert_eq!(line.chars().nth(below.chars().count() - 1), Some('!'));
    }

    #[test]
    fn nesting_is_limited_outside_of_quotation_marks() {
        let nested = |open: &str, close: &str, levels: usize| {
            check_limits(&format!("a{}{}", open.repeat(levels), close.repeat(levels)))
        };
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{", "}"), ("[?(", ")]"), ("!", ""), ("! ", "")]
        {
            let per_level = open.bytes().filter(|byte| b"([{!".contains(byte)).count();
            assert_eq!(nested(open, close, 8 / per_level), Ok(()), "{open}");
            assert!(nested(open, close, 8 / per_level + 1).is_err(), "{open}");
            assert!(nested(open, close, 1_000).is_err(), "{open}");
        }
        for quoted in ["'((((((((((('", "\"[[[[[[[[[[[[\"", "`{{{{{{{{{{{`", r"'\'(((((((((((('"] {
            assert_eq!(check_limits(quoted), Ok(()), "{quoted}");
        }
        let error = check_limits("a == 'x' || [[[[[[[[[1").unwrap_err();
        assert_eq!(error.offset, 20, "the first bracket that is too deep");
        assert_eq!(check_limits("[1][2][3][4][5][6][7][8][9][10]"), Ok(()));
    }

    #[test]
    fn length_is_limited() {
        assert_eq!(check_limits(&"a".repeat(MAX_BYTES)), Ok(()));
        let error = check_limits(&"ö".repeat(MAX_BYTES)).unwrap_err();
        assert_eq!(error.message, "the expression has 8192 bytes; at most 4096 are allowed");
        assert!(error.caret().to_string().len() < 1_000);
    }

    proptest! {
        #[test]
        fn any_text_can_be_checked_and_shown(text in any::<String>(), offset in 0_usize..200) {
            let _ = check_limits(&text);
            let shown = caret(&text, offset);
            prop_assert_eq!(shown.lines().count(), 2);
            prop_assert!(shown.ends_with('^'));
        }
    }
}
