//! Many rules at once, indexed by the events that they select.
//!
//! Input: rules; an event. Output: the verdicts of the rules that select the event.
//! Invariant: the result is that of evaluating each rule on its own. A rule is looked at only on events that it selects,
//! and whose name and source its condition can be true for.

use std::collections::HashMap;

use serde_json::Value;

use super::{Rule, Verdict};

/// Rules with an index.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// Rules that are bound to event names, by name in small letters, because Sigma compares without regard to case; each
    /// with its sources, if it is bound to any.
    by_name: HashMap<String, Vec<Candidate>>,
    /// Rules that are bound to event sources only.
    by_source: HashMap<String, Vec<usize>>,
    /// Rules for all events.
    unbound: Vec<usize>,
}

/// A rule in the index of names.
#[derive(Debug)]
struct Candidate {
    rule: usize,
    sources: Option<Vec<String>>,
}

impl RuleSet {
    /// Creates the index of rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut set = Self::default();
        for (number, rule) in rules.iter().enumerate() {
            let sources = bound(rule.selection.sources.as_deref(), rule, "eventSource");
            match (bound(rule.selection.events.as_deref(), rule, "eventName"), sources) {
                (Some(names), sources) => {
                    for name in names {
                        let candidate = Candidate { rule: number, sources: sources.clone() };
                        set.by_name.entry(name).or_default().push(candidate);
                    }
                }
                (None, Some(sources)) => {
                    for source in sources {
                        set.by_source.entry(source).or_default().push(number);
                    }
                }
                (None, None) => set.unbound.push(number),
            }
        }
        set.rules = rules;
        set
    }

    /// Returns the rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns whether there is a rule to look at for an event. An event without any needs no parsing.
    pub fn has_candidate(&self, event_source: &str, event_name: &str) -> bool {
        let (source, name) = (event_source.to_lowercase(), event_name.to_lowercase());
        self.candidates(&source, &name)
            .filter_map(|number| self.rules.get(number))
            .any(|rule| rule.selection.selects(event_source, event_name))
    }

    /// Returns the numbers of the rules to look at for an event, in no particular order, with source and name in small
    /// letters. The selection of a rule may be narrower.
    fn candidates(&self, event_source: &str, event_name: &str) -> impl Iterator<Item = usize> {
        let by_name = self.by_name.get(event_name).into_iter().flatten().filter(move |candidate| {
            candidate
                .sources
                .as_ref()
                .is_none_or(|sources| sources.iter().any(|source| source == event_source))
        });
        let by_source = self.by_source.get(event_source).into_iter().flatten();
        by_name
            .map(|candidate| candidate.rule)
            .chain(by_source.copied())
            .chain(self.unbound.iter().copied())
    }

    /// Calls `visit` with each rule that selects the event, its number and its verdict.
    pub fn evaluate<'s>(&'s self, event: &Value, mut visit: impl FnMut(usize, &'s Rule, Verdict)) {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        let (event_source, event_name) = (text("eventSource"), text("eventName"));
        for number in self.candidates(&event_source.to_lowercase(), &event_name.to_lowercase()) {
            match self.rules.get(number) {
                Some(rule) if rule.selection.selects(event_source, event_name) => {
                    visit(number, rule, rule.verdict(event));
                }
                _ => {}
            }
        }
    }
}

/// Returns the names that an event must have one of, in small letters: those that are listed, reduced to those that the
/// condition requires.
fn bound(listed: Option<&[String]>, rule: &Rule, field: &str) -> Option<Vec<String>> {
    let required = rule.condition.as_ref().and_then(|condition| condition.required_texts(field));
    let required: Option<Vec<String>> =
        required.map(|texts| texts.into_iter().map(str::to_lowercase).collect());
    let listed: Option<Vec<String>> =
        listed.map(|names| names.iter().map(|name| name.to_lowercase()).collect());
    let mut names = match (listed, required) {
        (Some(mut listed), Some(required)) => {
            listed.retain(|name| required.contains(name));
            listed
        }
        (Some(names), None) | (None, Some(names)) => names,
        (None, None) => return None,
    };
    names.sort_unstable();
    names.dedup();
    Some(names)
}
