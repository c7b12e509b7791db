//! A test of the values of a field.
//!
//! Input: the values that a path leads to, and the event. Output: whether one of them passes.
//! Invariant: text of objects is their compact JSON; nothing else of the event is copied.

use std::{borrow::Cow, cmp::Ordering, net::IpAddr};

use fancy_regex::Regex;
use ipnet::IpNet;
use serde_json::Value;

use super::pattern::{Anchor, Pattern};
use crate::filter::{
    field_test::{Case, FieldTest, OnNull, OnOther, PathStep, Requirement, TextOperand, TextTest},
    required_text::longest_text_of_regex,
};

/// A test of a value.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Text(Pattern),
    /// One of several ways to write a text.
    OneOf(Vec<Pattern>),
    /// A number, compared by its value or by its text.
    NumberOrText(ExactNumber, Pattern),
    Regex(Box<Regex>),
    /// Null or missing.
    Absent,
    Exists(bool),
    Network(IpNet),
    Number(NumberTest),
    DatePart(DatePart, NumberTest),
    /// The text of another field.
    Field(Vec<String>, Anchor, Case),
}

/// A number, in a rule or an event. Integers are exact; other numbers have the precision of `f64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ExactNumber {
    float: f64,
    integer: Option<i128>,
}

impl ExactNumber {
    /// Reads a number as it is written in YAML and JSON. Words such as `inf` are none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        let float: f64 = text.parse().ok().filter(|_| is_number)?;
        float.is_finite().then_some(Self { float, integer: text.parse().ok() })
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self.integer, other.integer) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => self.float.partial_cmp(&other.float),
        }
    }
}

impl From<i8> for ExactNumber {
    fn from(integer: i8) -> Self {
        i16::from(integer).into()
    }
}

impl From<i16> for ExactNumber {
    fn from(integer: i16) -> Self {
        Self { float: integer.into(), integer: Some(integer.into()) }
    }
}

/// A comparison with a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NumberTest {
    pub(super) order: Order,
    pub(super) limit: ExactNumber,
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl NumberTest {
    fn passes(self, number: ExactNumber) -> bool {
        number.compare(self.limit).is_some_and(|order| match self.order {
            Order::Equal => order.is_eq(),
            Order::Less => order.is_lt(),
            Order::LessOrEqual => order.is_le(),
            Order::Greater => order.is_gt(),
            Order::GreaterOrEqual => order.is_ge(),
        })
    }

    fn passes_text(self, text: &str) -> bool {
        ExactNumber::parse(text).is_some_and(|number| self.passes(number))
    }
}

/// A part of a date, as it is written; nothing is converted to another time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatePart {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl DatePart {
    /// Returns the part that a modifier names.
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    fn of(self, text: &str) -> Option<ExactNumber> {
        // The civil time in front of the offset.
        let end = text
            .char_indices()
            .skip(11)
            .find(|(_, character)| matches!(character, 'Z' | 'z' | '+' | '-'));
        let civil = text.get(..end.map_or(text.len(), |(offset, _)| offset))?;
        let time: jiff::civil::DateTime = civil.parse().ok()?;
        Some(match self {
            Self::Minute => time.minute().into(),
            Self::Hour => time.hour().into(),
            Self::Day => time.day().into(),
            Self::Week => time.date().iso_week_date().week().into(),
            Self::Month => time.month().into(),
            Self::Year => time.year().into(),
        })
    }
}

/// Returns the test that the field at a path is there.
pub(super) fn present(path: &[String]) -> FieldTest {
    FieldTest::present(path.iter().cloned().map(PathStep::Member).collect())
}

impl Test {
    /// Returns whether one of the values of a field passes.
    pub(super) fn passes(&self, hits: &[&Value], event: &Value) -> bool {
        match self {
            Self::Absent => hits.iter().all(|hit| hit.is_null()),
            Self::Exists(expected) => hits.iter().any(|hit| !hit.is_null()) == *expected,
            Self::Text(pattern) => any_text(hits, |text| pattern.matches(text)),
            Self::OneOf(patterns) => {
                any_text(hits, |text| patterns.iter().any(|pattern| pattern.matches(text)))
            }
            Self::NumberOrText(number, pattern) => {
                let test = NumberTest { order: Order::Equal, limit: *number };
                any_text(hits, |text| pattern.matches(text) || test.passes_text(text))
            }
            Self::Regex(regex) => any_text(hits, |text| regex.is_match(text).unwrap_or(false)),
            Self::Network(network) => any_text(hits, |text| {
                text.parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }),
            Self::Number(test) => any_text(hits, |text| test.passes_text(text)),
            Self::DatePart(part, test) => {
                any_text(hits, |text| part.of(text).is_some_and(|number| test.passes(number)))
            }
            Self::Field(path, anchor, case) => {
                let mut others = Vec::new();
                collect(event, path, &mut others);
                any_text(&others, |other| {
                    let pattern = Pattern::literal(other, *anchor, *case);
                    any_text(hits, |text| pattern.matches(text))
                })
            }
        }
    }

    /// Returns tests of the field at a path of which one passes wherever this does; `None` if this may pass without the field.
    pub(super) fn requirement(&self, path: &[String]) -> Option<Requirement> {
        let test = |test: TextTest| FieldTest {
            test,
            on_null: OnNull::Rejected,
            on_other: OnOther::Undecided,
            ..present(path)
        };
        match self {
            Self::Absent | Self::Exists(false) => None,
            Self::Text(pattern) => Some(vec![test(pattern.required_test())]),
            Self::OneOf(patterns) => {
                Some(patterns.iter().map(|pattern| test(pattern.required_test())).collect())
            }
            Self::Regex(regex) => Some(vec![test(required_test(regex))]),
            Self::NumberOrText(..)
            | Self::Exists(true)
            | Self::Network(_)
            | Self::Number(_)
            | Self::DatePart(..)
            | Self::Field(..) => Some(vec![present(path)]),
        }
    }
}

/// Returns a test that each text passes in which an expression matches.
fn required_test(regex: &Regex) -> TextTest {
    match longest_text_of_regex(regex.as_str()) {
        Some(text) if !text.is_empty() => {
            TextTest::Contains(TextOperand { text, case: Case::Respected })
        }
        _ => TextTest::Any,
    }
}

/// What a path leads to.
pub(super) enum Lookup<'a> {
    Single(&'a Value),
    Missing,
    /// Perhaps several values, in the elements of an array.
    ThroughArray,
}

/// Returns what a path leads to. Most paths lead to one value at most, which takes no memory.
pub(super) fn lookup<'a>(event: &'a Value, path: &[String]) -> Lookup<'a> {
    let mut value = event;
    for name in path {
        match value {
            Value::Object(entries) => match entries.get(name) {
                Some(entry) => value = entry,
                None => return Lookup::Missing,
            },
            Value::Array(_) => return Lookup::ThroughArray,
            _ => return Lookup::Missing,
        }
    }
    Lookup::Single(value)
}

/// Collects the values that a path leads to, through the elements of arrays.
pub(super) fn collect<'a>(value: &'a Value, path: &[String], hits: &mut Vec<&'a Value>) {
    let Some((name, rest)) = path.split_first() else {
        hits.push(value);
        return;
    };
    match value {
        Value::Object(entries) => {
            if let Some(entry) = entries.get(name) {
                collect(entry, rest, hits);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, hits)),
        _ => {}
    }
}

/// Collects an event, whose text has the names of its fields, and all values in it, whose texts have no escapes.
pub(super) fn collect_all<'a>(value: &'a Value, hits: &mut Vec<&'a Value>) {
    hits.push(value);
    match value {
        Value::Object(entries) => entries.values().for_each(|entry| collect_leaves(entry, hits)),
        Value::Array(items) => items.iter().for_each(|item| collect_leaves(item, hits)),
        _ => {}
    }
}

fn collect_leaves<'a>(value: &'a Value, hits: &mut Vec<&'a Value>) {
    match value {
        Value::Object(entries) => entries.values().for_each(|entry| collect_leaves(entry, hits)),
        Value::Array(items) => items.iter().for_each(|item| collect_leaves(item, hits)),
        leaf => hits.push(leaf),
    }
}

/// Returns whether a text of the values passes: scalars by their text, arrays of scalars element by element, and objects and
/// arrays with objects as compact JSON.
fn any_text(hits: &[&Value], passes: impl Fn(&str) -> bool) -> bool {
    hits.iter().any(|hit| match hit {
        Value::Array(items) if items.iter().all(is_scalar) => {
            items.iter().filter_map(scalar_text).any(|text| passes(&text))
        }
        Value::Array(_) | Value::Object(_) => passes(&hit.to_string()),
        scalar => scalar_text(scalar).is_some_and(|text| passes(&text)),
    })
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(boolean) => Some(Cow::Borrowed(if *boolean { "true" } else { "false" })),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}
