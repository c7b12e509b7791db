//! Why a receiver did not acknowledge an alert, and whether it is worth trying again.

use std::{fmt::Write as _, time::Duration};

use crate::report::terminal::escape_unprintable;

/// Longest cause, in characters. Services explain a refusal in a sentence or two; some send a page of HTML.
const MAX_CAUSE_CHARS: usize = 600;

/// Why a receiver did not acknowledge an alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct DeliveryError {
    /// Whether it is worth trying again.
    pub retry: RetryAdvice,
    /// The cause in one line, with what to do about it if that is known. It contains no secret and nothing that a terminal
    /// interprets.
    pub cause: String,
    /// Why no further alert can be written to standard output, if that is so.
    pub output: Option<OutputFailure>,
}

/// Why nothing more can be written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFailure {
    /// Its reader has closed the pipe, so nobody is interested in more.
    ClosedPipe,
    /// The device or file is full or broken.
    Unwritable,
}

/// Whether a delivery is worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAdvice {
    /// No: the receiver refuses the message, or the settings of the action are wrong.
    Never,
    /// After this time; the receiver wants no message before.
    After(Duration),
    /// After a growing time.
    Backoff,
}

impl DeliveryError {
    /// Creates an error.
    pub fn new(retry: RetryAdvice, cause: impl AsRef<str>) -> Self {
        let cause = escape_unprintable(cause.as_ref().trim());
        let cause = match cause.char_indices().nth(MAX_CAUSE_CHARS) {
            Some((end, _)) => format!("{}…", &cause[..end]),
            None => cause,
        };
        Self { retry, cause, output: None }
    }

    /// Creates an error that another attempt meets again.
    pub fn permanent(cause: impl AsRef<str>) -> Self {
        Self::new(RetryAdvice::Never, cause)
    }

    /// Creates an error that another attempt may not meet.
    pub fn transient(cause: impl AsRef<str>) -> Self {
        Self::new(RetryAdvice::Backoff, cause)
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.cause, "; {hint}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_one_short_line() {
        let error = DeliveryError::permanent(format!("a\n\u{1b}[2J{}", "x".repeat(10_000)));
        assert!(error.cause.starts_with("a\\n\\u{1b}[2Jxxx") && error.cause.ends_with('…'));
        assert_eq!(error.cause.chars().count(), MAX_CAUSE_CHARS + 1);
        assert_eq!(DeliveryError::transient("400").hint("try").to_string(), "400; try");
    }
}
