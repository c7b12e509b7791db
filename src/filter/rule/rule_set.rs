//! Many rules at once, indexed by the events that they select.
//!
//! Input: rules; an event. Output: the verdicts of the rules that select the event.
//! Invariant: the result is that of evaluating each rule on its own. A rule is looked at only on events that it selects,
//! and whose name and source its condition can be true for.

use std::collections::HashMap;

use serde_json::Value;

use super::{Rule, Verdict};

/// The paths to the event name and source in an expression.
const EVENT_NAME: &[&[&str]] = &[&["detail", "eventName"], &["flat", "eventName"]];
const EVENT_SOURCE: &[&[&str]] = &[&["detail", "eventSource"], &["flat", "eventSource"]];

/// Rules with an index.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// Rules that are bound to event names, by name; each with its sources, if it is bound to any.
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
            let sources = bound(rule.selection.sources.as_deref(), rule, EVENT_SOURCE);
            match (bound(rule.selection.events.as_deref(), rule, EVENT_NAME), sources) {
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

    /// Returns the rules to look at for an event, in no particular order. An event without any needs no parsing.
    pub fn candidates(&self, event_source: &str, event_name: &str) -> impl Iterator<Item = &Rule> {
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
            .filter_map(|number| self.rules.get(number))
    }

    /// Calls `visit` with each rule that selects the event, and its verdict.
    pub fn evaluate<'s>(&'s self, event: &Value, mut visit: impl FnMut(&'s Rule, Verdict)) {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        for rule in self.candidates(text("eventSource"), text("eventName")) {
            visit(rule, rule.verdict(event));
        }
    }
}

/// Returns the names that an event must have one of: those that are listed, reduced to those that the condition requires.
fn bound(listed: Option<&[String]>, rule: &Rule, field: &[&[&str]]) -> Option<Vec<String>> {
    let required = rule.condition.as_ref().and_then(|condition| condition.required_texts(field));
    let mut names: Vec<String> = match (listed, required) {
        (Some(listed), Some(required)) => {
            listed.iter().filter(|name| required.contains(&name.as_str())).cloned().collect()
        }
        (Some(listed), None) => listed.to_vec(),
        (None, Some(required)) => required.into_iter().map(str::to_owned).collect(),
        (None, None) => return None,
    };
    names.sort_unstable();
    names.dedup();
    Some(names)
}
