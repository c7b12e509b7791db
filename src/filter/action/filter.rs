//! Several action patterns, of which one has to match.
//!
//! Input: the patterns. Output: whether an event is searched for, and what of the filter an API can evaluate.
//! Invariant: without a pattern, every event is searched for.

use std::collections::BTreeSet;

use super::{known_events, pattern::ActionPattern, warning::ActionWarning};
use crate::filter::syntax::SyntaxError;

/// The events of any of several IAM actions.
#[derive(Clone, Debug, Default)]
pub struct ActionFilter {
    patterns: Vec<ActionPattern>,
}

impl ActionFilter {
    /// Parses patterns.
    ///
    /// # Errors
    ///
    /// Returns the first error of a pattern.
    pub fn parse<T: AsRef<str>>(patterns: &[T]) -> Result<Self, SyntaxError> {
        let patterns = patterns.iter().map(|text| ActionPattern::parse(text.as_ref()));
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Returns the patterns.
    pub fn patterns(&self) -> &[ActionPattern] {
        &self.patterns
    }

    /// Returns whether every event matches.
    pub fn matches_everything(&self) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(ActionPattern::matches_everything)
    }

    /// Returns whether an event is one of an action. Both texts are empty if the event has none.
    pub fn matches(&self, source: &str, name: &str) -> bool {
        self.patterns.is_empty()
            || self.patterns.iter().any(|pattern| pattern.matches(source, name))
    }

    /// Returns the event sources that the events can have, or `None` if they are not limited to some.
    pub fn sources(&self) -> Option<BTreeSet<String>> {
        if self.patterns.is_empty() {
            return None;
        }
        let mut sources = BTreeSet::new();
        for pattern in &self.patterns {
            let services = pattern.services()?;
            sources.extend(services.into_iter().map(|service| format!("{service}.amazonaws.com")));
        }
        Some(sources)
    }

    /// Returns warnings about patterns that find less than their author expects.
    pub fn warnings(&self) -> Vec<ActionWarning> {
        self.patterns.iter().flat_map(ActionWarning::about).collect()
    }

    /// Returns the event source, if all events have the same.
    pub fn single_source(&self) -> Option<String> {
        let mut sources = self.sources()?.into_iter();
        let source = sources.next()?;
        sources.next().is_none().then_some(source)
    }

    /// Returns the event name as AWS spells it, if all events have the same.
    ///
    /// A name that no table contains is not returned: it might be spelled differently, and the lookup attribute
    /// `EventName` compares exactly.
    pub fn single_event_name(&self) -> Option<&'static str> {
        let [pattern] = self.patterns.as_slice() else { return None };
        let name = pattern.name().literal()?;
        if pattern.has_other_names() {
            return None;
        }
        let accepts = |service: &str| {
            pattern.services().map_or_else(
                || pattern.service().matches(service),
                |services| services.contains(service),
            )
        };
        let is_name = |known: &&str| known.eq_ignore_ascii_case(name);
        let dated = known_events::of_services(|service| {
            known_events::has_dates(service) && accepts(service)
        });
        let is_dated = dated.iter().any(is_name);
        let known = known_events::of_services(accepts);
        let mut spellings = known.into_iter().filter(is_name);
        let spelling = spellings.next().filter(|_| !is_dated)?;
        spellings.next().is_none().then_some(spelling)
    }
}
