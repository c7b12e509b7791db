//! Finds the operator of a match expression.
//!
//! Input: an expression. Output: the operator and its offsets.
//! Invariant: what stands in brackets or quotation marks is part of the path, and so is a name that contains the word
//! `regex`.

use std::fmt;
use std::ops::Range;

use serde_json::Value;

use super::super::{literal::Literal, syntax::SyntaxError};
use super::path_reader::unclosed_bracket;

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `==`: any of the values equals the literal.
    Equal,
    /// `!=`: none of the values equals the literal.
    NotEqual,
    /// `regex`: the pattern matches somewhere in any of the values, as far as they are texts.
    Regex,
}

impl fmt::Display for Operator {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Regex => "regex",
        })
    }
}

/// Returns the first operator outside of brackets and quotation marks, and its place.
///
/// # Errors
///
/// If there is none.
pub(super) fn find_operator(expression: &str) -> Result<(Operator, Range<usize>), SyntaxError> {
    let start = expression.len() - expression.trim_start().len();
    let mut brackets = Vec::new();
    let mut letters = expression.char_indices().skip_while(|(at, _)| *at < start);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '[' | '(' => brackets.push(at),
            ']' | ')' => {
                brackets.pop();
            }
            '\'' | '"' => skip_quoted(&mut letters, letter)
                .ok_or_else(|| unclosed_quotation(expression, at, letter))?,
            _ if !brackets.is_empty() => {}
            _ => {
                if let Some((operator, len)) = operator_at(expression, start, at) {
                    return Ok((operator, at..at + len));
                }
            }
        }
    }
    Err(match brackets.first() {
        Some(opening) => unclosed_bracket(expression, *opening),
        None => no_operator(expression),
    })
}

/// Returns the operator at an offset, and its length.
fn operator_at(expression: &str, start: usize, at: usize) -> Option<(Operator, usize)> {
    let rest = &expression[at..];
    if rest.starts_with("==") {
        return Some((Operator::Equal, 2));
    }
    if rest.starts_with("!=") {
        return Some((Operator::NotEqual, 2));
    }
    let behind = rest.strip_prefix("regex")?.chars().next();
    let before = expression[start..at].chars().next_back()?;
    let is_word = (before.is_whitespace() || matches!(before, ']' | '*'))
        && !behind.is_some_and(|letter| letter.is_alphanumeric() || "_-:.[=!".contains(letter));
    // A prefix of a text may follow without a blank: `regexr"…"` is no word, but nobody writes it.
    is_word.then_some((Operator::Regex, 5))
}

/// Skips to behind a quotation mark; a backslash escapes the next character.
fn skip_quoted(letters: &mut impl Iterator<Item = (usize, char)>, mark: char) -> Option<()> {
    loop {
        match letters.next()?.1 {
            '\\' => {
                letters.next();
            }
            letter if letter == mark => return Some(()),
            _ => {}
        }
    }
}

fn unclosed_quotation(expression: &str, at: usize, mark: char) -> SyntaxError {
    SyntaxError::new(expression, at, "the quotation mark is not closed")
        .suggest(format!("add {mark} at the end of the text"))
}

/// Creates the error for an expression without an operator, at what was probably meant as one.
fn no_operator(expression: &str) -> SyntaxError {
    const OTHERS: [(&str, &str); 16] = [
        ("=~", "regex"),
        ("<>", "!="),
        ("<=", ""),
        (">=", ""),
        ("<", ""),
        (">", ""),
        ("=", "=="),
        (" matches ", "regex"),
        (" match ", "regex"),
        (" like ", "regex"),
        (" contains ", "regex"),
        (" in ", ""),
        (" is not ", "!="),
        (" is ", "=="),
        (" eq ", "=="),
        (" ne ", "!="),
    ];
    let lower = expression.to_ascii_lowercase();
    let found = OTHERS
        .iter()
        .filter_map(|(other, meant)| lower.find(other).map(|at| (at, *other, *meant)))
        .min_by_key(|(at, other, _)| (*at, usize::MAX - other.len()));
    if let Some(at) = lower.find(" regex") {
        let error = SyntaxError::new(expression, at + 1, "this is no operator");
        return error.suggest("write regex and a text in quotation marks");
    }
    let Some((at, other, meant)) = found else {
        let path = expression.trim();
        return SyntaxError::new(expression, expression.len(), "the operator is missing")
            .suggest(format!("to find events that have this field, write {path} != null"));
    };
    let blanks = other.len() - other.trim_start().len();
    let error =
        SyntaxError::new(expression, at + blanks, format!("{} is no operator", other.trim()));
    let (path, value) = (expression[..at].trim(), expression[at + other.len()..].trim());
    let suggestion = if other == " in " {
        format!("for one of several texts, write {path} regex \"^(a|b)$\"")
    } else if meant.is_empty() {
        "the operators are ==, != and regex; for order, use --where".to_owned()
    } else if value.is_empty() || Literal::parse(value, 0).is_ok() {
        format!("write {path} {meant} {value}")
    } else {
        format!("write {path} {meant} {}", Value::from(value))
    };
    error.suggest(suggestion)
}
