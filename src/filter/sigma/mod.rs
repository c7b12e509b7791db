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
//! - `null` matches a field that is null or missing.
//!
//! Not here: other log sources, aggregations and correlations.
//!
//! | module | responsible for |
//! |---|---|
//! | `definition` | the rule: title, level, log source, search identifiers |
//! | `condition` | `selection and not 1 of filter_*` |
//! | `item` | one field with its modifiers and values |
//! | `pattern` | text with wildcards |

mod condition;
mod definition;
mod item;
mod pattern;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub(super) use self::definition::{SigmaLevel, SigmaRule, is_sigma_rule, parse_sigma_rule};
use self::item::Item;

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
}
