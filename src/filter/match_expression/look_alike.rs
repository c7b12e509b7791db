//! Values that a user would call equal, but that are not.
//!
//! Input: a condition and a value that it selects and that does not match. Output: how they resemble each other, and a
//! condition that would match.
//! Invariant: pure, and cheap enough for a sample of the events.

use fancy_regex::escape;
use serde_json::Value;

use super::super::literal::{Literal, LiteralNumber};
use super::{Condition, Operator, pattern::Verdict};
use crate::report::terminal::{escape_unprintable, truncate_middle};

/// The most columns of a value that are shown in a hint.
const SHOWN_COLUMNS: usize = 60;

/// How a value of an event resembles the literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookAlike {
    /// The event has `"true"` where `true` was compared, or `"5"` where `5` was.
    Text,
    /// The event has `true` where `"true"` was compared, or `5` where `"5"` was.
    NoText,
    /// The texts differ in upper and lower case only.
    Case,
    /// The value is a list that contains the literal.
    InList,
    /// The literal contains `*`, and the text matches it as a glob.
    Glob,
    /// The text contains the literal.
    Part,
}

impl LookAlike {
    /// Compares a value that does not match with the condition.
    pub(super) fn of(condition: &Condition, value: &Value) -> Option<Self> {
        if let Value::Array(elements) = value {
            let fits = |element: &Value| condition.fits(element);
            return elements.iter().any(fits).then_some(Self::InList);
        }
        match condition.operator {
            Operator::Equal => Self::of_literal(&condition.literal, value),
            Operator::NotEqual => None,
            Operator::Regex => Self::of_pattern(condition, value),
        }
    }

    fn of_literal(literal: &Literal, value: &Value) -> Option<Self> {
        match (literal, value) {
            (Literal::Bool(wanted), Value::String(found)) => {
                found.eq_ignore_ascii_case(&wanted.to_string()).then_some(Self::Text)
            }
            (Literal::Number(wanted), Value::String(found)) => {
                is_number(found, *wanted).then_some(Self::Text)
            }
            (Literal::Null, Value::String(found)) => {
                matches!(found.to_ascii_lowercase().as_str(), "" | "null" | "none")
                    .then_some(Self::Text)
            }
            (Literal::Text(wanted), Value::Bool(found)) => {
                wanted.eq_ignore_ascii_case(&found.to_string()).then_some(Self::NoText)
            }
            (Literal::Text(wanted), Value::Number(found)) => {
                is_number(wanted, found.into()).then_some(Self::NoText)
            }
            (Literal::Text(wanted), Value::String(found)) => Self::of_texts(wanted, found),
            _ => None,
        }
    }

    fn of_texts(wanted: &str, found: &str) -> Option<Self> {
        if wanted.to_lowercase() == found.to_lowercase() {
            return Some(Self::Case);
        }
        if wanted.contains('*') {
            return is_glob_match(wanted, found).then_some(Self::Glob);
        }
        // Shorter texts are contained in others by chance.
        (wanted.len() >= 3 && found.contains(wanted)).then_some(Self::Part)
    }

    fn of_pattern(condition: &Condition, value: &Value) -> Option<Self> {
        match value {
            Value::String(found) => {
                let ignoring_case = condition.ignoring_case.as_ref()?;
                (ignoring_case.search(found) == Verdict::Matched).then_some(Self::Case)
            }
            Value::Number(_) | Value::Bool(_) => {
                let pattern = condition.pattern.as_ref()?;
                (pattern.search(&value.to_string()) == Verdict::Matched).then_some(Self::NoText)
            }
            _ => None,
        }
    }

    /// Describes what the events have; `events` is a number with its noun.
    pub(super) fn describe(self, events: &str, example: &str) -> String {
        match self {
            Self::Text => format!("the field is the text {example} in {events}"),
            Self::NoText => format!("the field is {example}, which is no text, in {events}"),
            Self::Case => format!(
                "the field differs in upper and lower case only in {events}, for example {example}"
            ),
            Self::InList => format!("the field is a list that contains the value in {events}"),
            Self::Glob => format!(
                "* is no wildcard here; as one, it would match {events}, for example {example}"
            ),
            Self::Part => {
                format!("the text is only a part of the field in {events}, for example {example}")
            }
        }
    }

    /// Returns a condition that matches.
    pub(super) fn suggest(self, condition: &Condition, example: &str) -> Option<String> {
        let path = &condition.path_text;
        let is_whole = !example.contains('…') && !example.contains("\\u{");
        Some(match (self, condition.operator) {
            (Self::InList, operator) => {
                format!("write {path}[*] {operator} {}", condition.literal_text)
            }
            (Self::Case, Operator::Regex) => {
                let pattern = condition.literal.as_text()?;
                format!("write {}", condition.with_pattern(&format!("(?i){pattern}")))
            }
            (Self::Text | Self::NoText | Self::Case, _) if is_whole => {
                format!("write {path} == {example}")
            }
            (Self::Text | Self::NoText | Self::Case, _) => return None,
            (Self::Glob, _) => {
                let wanted = condition.literal.as_text()?;
                let pattern: Vec<_> = wanted.split('*').map(escape).collect();
                format!("write {}", condition.with_pattern(&format!("^{}$", pattern.join(".*"))))
            }
            (Self::Part, _) => {
                let wanted = condition.literal.as_text()?;
                format!("write {}", condition.with_pattern(&escape(wanted)))
            }
        })
    }
}

/// Returns a value as it is shown in a hint: as JSON, escaped and shortened.
pub(super) fn show(value: &Value) -> String {
    let text = match value {
        Value::Array(_) | Value::Object(_) => String::new(),
        other => other.to_string(),
    };
    truncate_middle(&escape_unprintable(&text), SHOWN_COLUMNS)
}

/// Returns whether a text is a number of this value.
fn is_number(text: &str, number: LiteralNumber) -> bool {
    matches!(Literal::parse(text, 0), Ok(Literal::Number(read)) if read.equals(number))
}

/// Returns whether a text matches a pattern in which only `*` is special.
fn is_glob_match(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let last = parts.next_back().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    parts.all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}
