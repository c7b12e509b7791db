//! Errors in the expressions that a user writes, and limits on their size.
//!
//! Input: the text of an expression. Output: a [`SyntaxError`] that shows the place of the error.
//! Invariant: the limits are checked before a parser sees the text, because the time or stack of some parsers grows
//! exponentially with the nesting.

use std::fmt;

use thiserror::Error;

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
    /// Returns the expression with a caret below the place of the error, as two lines.
    pub fn caret(&self) -> impl fmt::Display {
        let before = self.expression.get(..self.offset).unwrap_or(&self.expression);
        format!("{}\n{}^", self.expression, " ".repeat(before.chars().count()))
    }
}
