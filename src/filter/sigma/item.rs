//! One field of a search identifier, with its modifiers and values.
//!
//! Input: a key such as `userAgent|contains|all` and its values; an event. Output: an error, or whether the event matches.
//! Invariant: a modifier that is not supported is refused, so no test is weaker than it is written.

use serde_json::Value;

use super::{
    modifiers::{Modifiers, Quantifier},
    pattern::{Anchor, Pattern},
    value_test::{Lookup, Test, collect, collect_all, lookup, present},
};
use crate::filter::{
    field_test::{Case, Requirement},
    yaml::{DefinitionError, TextPosition, YamlNode},
};

/// A field with its tests, or keywords that may be anywhere in the event.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The names that lead to the field; `None` for keywords.
    path: Option<Vec<String>>,
    tests: Vec<Test>,
    quantifier: Quantifier,
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
        let path: Option<Vec<String>> =
            (!name.is_empty()).then(|| name.split('.').map(str::to_owned).collect());
        let anchor = if path.is_some() { Anchor::Whole } else { Anchor::Anywhere };
        let tests: Result<Vec<Test>, _> =
            values.into_iter().map(|value| modifiers.test(value, anchor)).collect();
        let tests = tests?;
        let needs_field =
            |test: &Test| !matches!(test, Test::Text(_) | Test::OneOf(_) | Test::Regex(_));
        if path.is_none() && tests.iter().any(needs_field) {
            return Err(DefinitionError::new(
                position,
                "the modifier needs the name of a field before it",
            ));
        }
        Ok(Self { path, tests, quantifier: modifiers.quantifier() })
    }

    /// Reads a keyword, which may be anywhere in the event.
    pub(super) fn keyword(value: &YamlNode) -> Result<Self, DefinitionError> {
        let text = value.as_text().filter(|text| !text.is_empty() && !value.is_null()).ok_or_else(
            || {
                DefinitionError::new(
                    value.position,
                    format!("a keyword is expected here, not {}", value.description()),
                )
            },
        )?;
        let test = Test::Text(Pattern::parse(text, Anchor::Anywhere, Case::Ignored));
        Ok(Self { path: None, tests: vec![test], quantifier: Quantifier::Any })
    }

    /// Returns whether an event matches.
    pub(super) fn matches(&self, event: &Value) -> bool {
        let mut several = Vec::new();
        let mut single = None;
        match self.path.as_deref().map(|path| (path, lookup(event, path))) {
            Some((_, Lookup::Single(hit))) => single = Some(hit),
            Some((_, Lookup::Missing)) => {}
            Some((path, Lookup::ThroughArray)) => collect(event, path, &mut several),
            None => collect_all(event, &mut several),
        }
        let hits = single.as_ref().map_or(&several[..], std::slice::from_ref);
        let passes = |test: &Test| test.passes(hits, event);
        match self.quantifier {
            Quantifier::Any => self.tests.iter().any(passes),
            Quantifier::All => self.tests.iter().all(passes),
            Quantifier::None => {
                hits.iter().any(|hit| !hit.is_null()) && !self.tests.iter().any(passes)
            }
        }
    }

    /// Returns the texts of which the field must have one, in small letters or as they are written, if these are tests of
    /// this field for whole texts.
    pub(super) fn required_texts(&self, field: &str) -> Option<Vec<&str>> {
        let is_field =
            self.path.as_ref().is_some_and(|path| matches!(&path[..], [name] if name == field));
        if !is_field || self.quantifier == Quantifier::None {
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

    /// Returns what the item requires of its field.
    pub(super) fn requirements(&self) -> Vec<Requirement> {
        let Some(path) = &self.path else { return Vec::new() };
        let tests: Vec<Option<Requirement>> =
            self.tests.iter().map(|test| test.requirement(path)).collect();
        match self.quantifier {
            Quantifier::All => tests.into_iter().flatten().collect(),
            Quantifier::Any => {
                let any: Option<Vec<Requirement>> = tests.into_iter().collect();
                any.into_iter().map(|tests| tests.concat()).collect()
            }
            Quantifier::None => vec![vec![present(path)]],
        }
    }

    /// Adds the names that lead to the fields that the item looks at. Returns whether these are all.
    pub(super) fn add_paths<'i>(&'i self, paths: &mut Vec<&'i [String]>) -> bool {
        let Some(path) = &self.path else { return false };
        paths.push(path);
        paths.extend(self.tests.iter().filter_map(|test| match test {
            Test::Field(path, ..) => Some(&path[..]),
            _ => None,
        }));
        true
    }
}
