//! The event names and sources that a rule is bound to.
//!
//! Input: a rule. Output: the texts of which a field must have one.
//! Invariant: the rule is not true on an event whose field has none of them.

use super::{Rule, RuleCondition};
use crate::filter::field_test::lowercase;

/// What the event name and the event source must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) names: Bound,
    pub(super) sources: Bound,
}

impl Bounds {
    pub(super) fn of(rule: &Rule) -> Self {
        Self {
            names: Bound::of(rule, rule.selection.events.as_deref(), "eventName"),
            sources: Bound::of(rule, rule.selection.sources.as_deref(), "eventSource"),
        }
    }
}

/// The texts of which a field must have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Any,
    Exactly(Vec<String>),
    /// In small letters.
    InAnyCase(Vec<String>),
}

impl Bound {
    /// Returns the texts that a rule lists for a field, reduced to those that its condition requires.
    fn of(rule: &Rule, listed: Option<&[String]>, field: &str) -> Self {
        let required =
            rule.condition.as_ref().and_then(|condition| condition.required_texts(field));
        let is_sigma = matches!(rule.condition, Some(RuleCondition::Sigma(_)));
        let texts = match (listed, required) {
            (None, None) => return Self::Any,
            (Some(listed), None) => listed.to_vec(),
            (None, Some(required)) if is_sigma => {
                return Self::InAnyCase(unique(required.into_iter().map(lowercase).collect()));
            }
            (None, Some(required)) => required.into_iter().map(str::to_owned).collect(),
            (Some(listed), Some(required)) => {
                listed.iter().filter(|text| required.contains(&text.as_str())).cloned().collect()
            }
        };
        Self::Exactly(unique(texts))
    }

    /// Returns whether a field may have this text.
    pub(super) fn contains(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(texts) => texts.iter().any(|known| known == text),
            // The known texts are in small letters already.
            Self::InAnyCase(texts) if text.is_ascii() => {
                texts.iter().any(|known| known.eq_ignore_ascii_case(text))
            }
            Self::InAnyCase(texts) => texts.contains(&lowercase(text)),
        }
    }
}

fn unique(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts.dedup();
    texts
}
