//! One field of a search identifier, with its modifiers and values.
//!
//! Input: a key such as `userAgent|contains|all` and its values; an event. Output: an error, or whether the event matches.
//! Invariant: a modifier that is not supported is refused, so no test is weaker than it is written.

use std::{borrow::Cow, net::IpAddr};

use fancy_regex::{Regex, RegexBuilder};
use ipnet::IpNet;
use serde_json::Value;

use super::pattern::{Anchor, Case, Pattern};
use crate::filter::yaml::{DefinitionError, TextPosition, YamlNode};

/// Steps of a regular expression after which it counts as not matching, as in `--match`.
const BACKTRACK_LIMIT: usize = 100_000;

/// A field with its tests, or a keyword that may be anywhere in the event.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The names that lead to the field; `None` for keywords.
    path: Option<Vec<String>>,
    tests: Vec<Test>,
    quantifier: Quantifier,
}

/// How many of the values have to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    Any,
    All,
}

/// A test of a value.
#[derive(Clone, Debug)]
enum Test {
    Text(Pattern),
    Regex(Box<Regex>),
    /// Null or missing.
    Absent,
    Exists(bool),
    Network(IpNet),
    Number(Order, f64),
    /// The text of another field.
    Field(Vec<String>, Anchor, Case),
}

/// A comparison with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The modifiers of a field.
struct Modifiers {
    anchor: Anchor,
    case: Case,
    quantifier: Quantifier,
    kind: Kind,
    /// The flags of a regular expression.
    flags: Vec<char>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Regex,
    Exists,
    Network,
    Number(Order),
    Field,
}

impl Modifiers {
    fn parse<'k>(
        words: impl Iterator<Item = &'k str>,
        position: TextPosition,
    ) -> Result<Self, DefinitionError> {
        let mut modifiers = Self {
            anchor: Anchor::Whole,
            case: Case::Ignored,
            quantifier: Quantifier::Any,
            kind: Kind::Text,
            flags: Vec::new(),
        };
        for word in words {
            match word {
                "contains" => modifiers.anchor = Anchor::Anywhere,
                "startswith" => modifiers.anchor = Anchor::Start,
                "endswith" => modifiers.anchor = Anchor::End,
                "all" => modifiers.quantifier = Quantifier::All,
                "cased" => modifiers.case = Case::Respected,
                "re" => modifiers.kind = Kind::Regex,
                "i" | "m" | "s" if modifiers.kind == Kind::Regex => {
                    modifiers.flags.extend(word.chars());
                }
                "exists" => modifiers.kind = Kind::Exists,
                "cidr" => modifiers.kind = Kind::Network,
                "lt" => modifiers.kind = Kind::Number(Order::Less),
                "lte" => modifiers.kind = Kind::Number(Order::LessOrEqual),
                "gt" => modifiers.kind = Kind::Number(Order::Greater),
                "gte" => modifiers.kind = Kind::Number(Order::GreaterOrEqual),
                "fieldref" => modifiers.kind = Kind::Field,
                other => {
                    return Err(DefinitionError::new(position, format!("the modifier `{other}` is not supported"))
                        .suggest("supported are contains, startswith, endswith, all, cased, re, exists, cidr, lt, lte, gt, gte and fieldref"));
                }
            }
        }
        Ok(modifiers)
    }

    fn test(&self, value: &YamlNode) -> Result<Test, DefinitionError> {
        let invalid = |what: &str| {
            DefinitionError::new(
                value.position,
                format!("{what} is expected here, not {}", value.description()),
            )
        };
        if value.is_null() && self.kind == Kind::Text {
            return if self.anchor == Anchor::Whole {
                Ok(Test::Absent)
            } else {
                Err(invalid("text"))
            };
        }
        let text = value.as_text().ok_or_else(|| invalid("a value"))?;
        match self.kind {
            Kind::Text => Ok(Test::Text(Pattern::parse(text, self.anchor, self.case))),
            Kind::Regex => self.regex(text, value.position),
            Kind::Exists => {
                value.to_json().as_bool().map(Test::Exists).ok_or_else(|| invalid("true or false"))
            }
            Kind::Network => {
                let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
                network.map(Test::Network).map_err(|_| invalid("a network such as 10.0.0.0/8"))
            }
            Kind::Number(order) => value
                .to_json()
                .as_f64()
                .map(|number| Test::Number(order, number))
                .ok_or_else(|| invalid("a number")),
            Kind::Field => Ok(Test::Field(path(text), self.anchor, self.case)),
        }
    }

    fn regex(&self, text: &str, position: TextPosition) -> Result<Test, DefinitionError> {
        let flags: String = self.flags.iter().collect();
        let pattern = if flags.is_empty() { text.to_owned() } else { format!("(?{flags}){text}") };
        let regex = RegexBuilder::new(&pattern).backtrack_limit(BACKTRACK_LIMIT).build();
        regex.map(|regex| Test::Regex(Box::new(regex))).map_err(|error| {
            DefinitionError::new(position, format!("the regular expression is not valid: {error}"))
        })
    }
}

fn path(name: &str) -> Vec<String> {
    name.split('.').map(str::to_owned).collect()
}

impl Item {
    /// Reads a field: its key with modifiers, and its value or list of values.
    pub(super) fn parse(
        key: &str,
        position: TextPosition,
        value: &YamlNode,
    ) -> Result<Self, DefinitionError> {
        let mut words = key.split('|');
        let name = words.next().unwrap_or_default();
        let modifiers = Modifiers::parse(words, position)?;
        let values: Vec<&YamlNode> =
            value.as_list().map_or_else(|| vec![value], |items| items.iter().collect());
        if values.is_empty() {
            return Err(DefinitionError::new(value.position, format!("`{key}` has no value")));
        }
        let tests: Result<Vec<Test>, _> =
            values.into_iter().map(|value| modifiers.test(value)).collect();
        let path = (!name.is_empty()).then(|| path(name));
        Ok(Self { path, tests: tests?, quantifier: modifiers.quantifier })
    }

    /// Reads a keyword, which may be anywhere in the event.
    pub(super) fn keyword(value: &YamlNode) -> Result<Self, DefinitionError> {
        let text = value.as_text().ok_or_else(|| {
            DefinitionError::new(
                value.position,
                format!("a keyword is expected here, not {}", value.description()),
            )
        })?;
        let test = Test::Text(Pattern::parse(text, Anchor::Anywhere, Case::Ignored));
        Ok(Self { path: None, tests: vec![test], quantifier: Quantifier::Any })
    }

    /// Returns whether an event matches.
    pub(super) fn matches(&self, event: &Value) -> bool {
        let mut hits = Vec::new();
        match &self.path {
            Some(path) => collect(event, path, &mut hits),
            None => hits.push(event),
        }
        let passes = |test: &Test| test.passes(&hits, event);
        match self.quantifier {
            Quantifier::Any => self.tests.iter().any(passes),
            Quantifier::All => self.tests.iter().all(passes),
        }
    }

    /// Returns the texts of which the field must have one, if these are tests of this field for whole texts.
    pub(super) fn required_texts(&self, field: &str) -> Option<Vec<&str>> {
        let is_field =
            self.path.as_ref().is_some_and(|path| matches!(&path[..], [name] if name == field));
        if !is_field {
            return None;
        }
        self.tests
            .iter()
            .map(|test| match test {
                Test::Text(pattern) => pattern.as_plain(),
                _ => None,
            })
            .collect()
    }
}

impl Test {
    /// Returns whether one of the values of a field passes.
    fn passes(&self, hits: &[&Value], event: &Value) -> bool {
        match self {
            Self::Absent => hits.iter().all(|hit| hit.is_null()),
            Self::Exists(expected) => hits.iter().any(|hit| !hit.is_null()) == *expected,
            Self::Text(pattern) => any_text(hits, |text| pattern.matches(text)),
            Self::Regex(regex) => any_text(hits, |text| regex.is_match(text).unwrap_or(false)),
            Self::Network(network) => any_text(hits, |text| {
                text.parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }),
            Self::Number(order, limit) => any_text(hits, |text| {
                text.parse::<f64>().is_ok_and(|number| match order {
                    Order::Less => number < *limit,
                    Order::LessOrEqual => number <= *limit,
                    Order::Greater => number > *limit,
                    Order::GreaterOrEqual => number >= *limit,
                })
            }),
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
}

/// Collects the values that a path leads to, through the elements of arrays.
fn collect<'a>(value: &'a Value, path: &[String], hits: &mut Vec<&'a Value>) {
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
