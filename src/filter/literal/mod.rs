//! Values as they are written in a match expression, in the notation of Python or JSON.
//!
//! Input: the text behind the operator. Output: a [`Literal`], which can be compared with a value of an event.
//! Invariant: nothing is evaluated; whatever is not a text, number, boolean, null, list, tuple or dictionary is refused
//! with its place. Numbers are compared by value and exactly, and a boolean never equals a number.
//! Not here: the path and the operator (see [`match_expression`](super::match_expression)).

use std::fmt;

use serde_json::Value;

use self::{
    read::Reader,
    text::{Quotation, TextReader},
};
use super::syntax::SyntaxError;

mod read;
mod text;

/// A value to compare with.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `None` or `null`. A field that is missing has this value, too.
    Null,
    /// `True`, `False`, `true` or `false`.
    Bool(bool),
    /// An integer of any size, or a floating-point number.
    Number(LiteralNumber),
    /// Text in quotation marks.
    Text(String),
    /// A list or tuple.
    List(Vec<Literal>),
    /// A dictionary, with each key once, sorted by key.
    Object(Vec<(String, Literal)>),
}

/// A number, as precise as in an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LiteralNumber {
    /// An integer that fits into 64 bits, with or without a sign.
    Integer(i128),
    /// A floating-point number, or a larger integer, rounded as the parser of events rounds it.
    Float(f64),
}

impl Literal {
    /// Parses the rest of an expression, which starts at `offset`, as one value.
    ///
    /// # Errors
    ///
    /// If the rest is empty, is not a single value, or is nested too deeply.
    pub fn parse(expression: &str, offset: usize) -> Result<Self, SyntaxError> {
        Reader::new(expression, offset).read_all()
    }

    /// Returns whether a value of an event equals this one.
    ///
    /// Numbers are equal by value, lists by their members in order, objects by their members in any order.
    pub fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(found)) => wanted == found,
            (Self::Number(wanted), Value::Number(found)) => wanted.equals(found.into()),
            (Self::Text(wanted), Value::String(found)) => wanted == found,
            (Self::List(wanted), Value::Array(found)) => {
                wanted.len() == found.len()
                    && wanted.iter().zip(found).all(|(wanted, found)| wanted.equals(found))
            }
            (Self::Object(wanted), Value::Object(found)) => {
                wanted.len() == found.len()
                    && wanted.iter().all(|(key, wanted)| {
                        found.get(key).is_some_and(|found| wanted.equals(found))
                    })
            }
            _ => false,
        }
    }

    /// Returns the text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads a text in quotation marks at an offset; returns it and the offset behind it.
pub(super) fn parse_quoted(
    expression: &str,
    opening: usize,
) -> Result<(String, usize), SyntaxError> {
    let mark = if expression[opening..].starts_with('\'') { '\'' } else { '"' };
    TextReader::new(expression, opening + 1)
        .read(Quotation { mark, triple: false, raw: false }, opening)
}

impl LiteralNumber {
    /// Returns whether another number has the same value.
    pub fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Float(one), Self::Float(other)) => exactly_equal(one, other),
            (Self::Integer(integer), Self::Float(float))
            | (Self::Float(float), Self::Integer(integer)) => integer_of(float) == Some(integer),
        }
    }
}

impl From<&serde_json::Number> for LiteralNumber {
    /// Converts a number of an event.
    fn from(number: &serde_json::Number) -> Self {
        if let Some(integer) = number.as_i64() {
            Self::Integer(integer.into())
        } else if let Some(integer) = number.as_u64() {
            Self::Integer(integer.into())
        } else {
            Self::Float(number.as_f64().unwrap_or(f64::NAN))
        }
    }
}

/// Returns whether two floating-point numbers have the same value; zero has one value.
#[expect(clippy::float_cmp, reason = "equality by value is what `==` promises")]
fn exactly_equal(one: f64, other: f64) -> bool {
    one == other
}

/// Returns the integer with the same value, if there is one.
fn integer_of(float: f64) -> Option<i128> {
    // 2^127, from which on the cast would saturate.
    const BEYOND: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is in range")]
    (float.fract() == 0.0 && float.abs() < BEYOND).then_some(float as i128)
}

impl fmt::Display for Literal {
    /// Writes the value as JSON.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => to.write_str("null"),
            Self::Bool(value) => write!(to, "{value}"),
            Self::Number(LiteralNumber::Integer(value)) => write!(to, "{value}"),
            Self::Number(LiteralNumber::Float(value)) if value.is_finite() => {
                write!(to, "{}", Value::from(*value))
            }
            // An integer of more than 308 digits, which no event holds.
            Self::Number(LiteralNumber::Float(_)) => to.write_str("1e999"),
            Self::Text(text) => write!(to, "{}", Value::from(text.as_str())),
            Self::List(members) => {
                to.write_str("[")?;
                for (at, member) in members.iter().enumerate() {
                    write!(to, "{}{member}", if at > 0 { ", " } else { "" })?;
                }
                to.write_str("]")
            }
            Self::Object(members) => {
                to.write_str("{")?;
                for (at, (key, member)) in members.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(to, "{comma}{}: {member}", Value::from(key.as_str()))?;
                }
                to.write_str("}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
