//! Sigma rules for CloudTrail, evaluated as they are written.
//!
//! Input: a rule in YAML; an event. Output: an error with line and column, or a [`Detection`]; whether it matches.
//! Invariant: a rule is evaluated completely or refused; what is not supported is named. Nothing of the event is copied but
//! the text of objects that are compared as a whole.
//!
//! Where Sigma leaves open what a comparison means on JSON, it means this:
//!
//! - names with dots lead through objects, and through the elements of arrays;
//! - text is compared without regard to case, and `*` and `?` are wildcards;
//! - numbers and booleans are compared by their text: `'false'` matches `false`;
//! - an array of scalars matches if one of them does;
//! - an object, or an array with objects, is compared as compact JSON text;
//! - `null` matches a field that is null or missing, and `exists` takes null as missing;
//! - `neq` needs a field that is there, and none of whose values is equal;
//! - keywords are in the compact JSON text of the event, or in one of its values.
//!
//! Not here: other log sources, aggregations and correlations.
//!
//! | module | responsible for |
//! |---|---|
//! | `definition` | the rule: title, level, log source, search identifiers |
//! | `condition` | `selection and not 1 of filter_*` |
//! | `item`, `value_test` | one field with its tests |
//! | `modifiers` | `contains`, `re`, `base64offset` and the others: what a value means |
//! | `pattern` | text with wildcards |

mod condition;
mod definition;
mod item;
mod modifiers;
mod pattern;
#[cfg(test)]
mod tests;
mod value_test;

use serde_json::Value;

pub(super) use self::definition::{
    SigmaError, SigmaLevel, SigmaRule, is_sigma_rule, parse_sigma_rule,
};
use self::item::Item;
use super::{
    event_part::{EventPart, Extent, MemberPath},
    field_test::Requirement,
};

/// What a Sigma rule detects.
#[derive(Clone, Debug)]
pub struct Detection {
    root: Search,
}

/// A part of a detection.
#[derive(Clone, Debug)]
enum Search {
    All(Vec<Search>),
    Any(Vec<Search>),
    Not(Box<Search>),
    Item(Item),
}

impl Detection {
    /// Returns whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        self.root.matches(event)
    }

    /// Returns texts of which a field at the top level of the event must have one, in any case, for the rule to match; `None`
    /// if it can match whatever the field is.
    pub fn required_texts(&self, field: &str) -> Option<Vec<&str>> {
        self.root.required_texts(field)
    }

    /// Returns what the rule requires of single fields; an event has to meet all of the requirements.
    pub fn requirements(&self) -> Vec<Requirement> {
        self.root.requirements()
    }

    /// Returns the parts of an event that decide whether it matches, or `None` if that may be the whole event.
    pub fn required_parts(&self) -> Option<Vec<EventPart>> {
        let mut paths = Vec::new();
        let part =
            |path: &[String]| EventPart { path: MemberPath::from(path), extent: Extent::Value };
        self.root.add_paths(&mut paths).then(|| paths.into_iter().map(part).collect())
    }
}

impl Search {
    fn matches(&self, event: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(event)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(event)),
            Self::Not(inner) => !inner.matches(event),
            Self::Item(item) => item.matches(event),
        }
    }

    fn required_texts(&self, field: &str) -> Option<Vec<&str>> {
        match self {
            Self::All(parts) => {
                parts.iter().filter_map(|part| part.required_texts(field)).min_by_key(Vec::len)
            }
            Self::Any(parts) => {
                let each: Option<Vec<_>> =
                    parts.iter().map(|part| part.required_texts(field)).collect();
                Some(each?.concat())
            }
            Self::Not(_) => None,
            Self::Item(item) => item.required_texts(field),
        }
    }

    fn requirements(&self) -> Vec<Requirement> {
        match self {
            Self::All(parts) => parts.iter().flat_map(Self::requirements).collect(),
            Self::Any(parts) => {
                let narrowest = |part: &Self| part.requirements().into_iter().min_by_key(Vec::len);
                let any: Option<Vec<Requirement>> = parts.iter().map(narrowest).collect();
                any.into_iter().map(|each| each.concat()).collect()
            }
            Self::Not(_) => Vec::new(),
            Self::Item(item) => item.requirements(),
        }
    }

    /// Adds the names that lead to the fields that are looked at. Returns whether these are all.
    fn add_paths<'s>(&'s self, paths: &mut Vec<&'s [String]>) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().all(|part| part.add_paths(paths)),
            Self::Not(inner) => inner.add_paths(paths),
            Self::Item(item) => item.add_paths(paths),
        }
    }
}
