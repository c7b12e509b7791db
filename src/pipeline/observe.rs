//! The consumer of `trailload schema --observed`: counts which paths the events of one call have.
//!
//! Input: the records of a source. Output: [`Observed`]: for each path how many events have it, and one value.
//! Invariant: an event of another call is not parsed, and one that occurs twice counts once. The result does not depend on the
//! order of the events. Memory is bounded: the number of paths and the length of an example are limited, and counting goes on
//! beyond.
//! Not here: which paths the API has (see `schema`).

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use memchr::memmem::Finder;
use serde_json::Value;

use super::{
    consumer::{
        Consumer, Disposition, LongRecord, Origin, Processed, RecordProcessor, Settlement,
        whole_record,
    },
    error::Error,
    run::{self, PipelineConfig, RunOutcome},
    search::{
        found_event::identity,
        seen_events::{REMEMBERED, SeenEvents},
    },
};
use crate::{event::Receipt, filter::query::EventHeader};

/// Paths that are kept. Calls have a few hundred, but keys of tags and headers are unbounded.
const MAX_PATHS: usize = 20_000;
/// Characters of an example.
const MAX_EXAMPLE: usize = 80;

/// The events to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedCall {
    /// `eventSource`.
    pub event_source: String,
    /// Values of `eventName`.
    pub event_names: Vec<String>,
    /// The members of the record whose paths are counted.
    pub members: Vec<&'static str>,
}

/// The paths that events of a call have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Number of events of the call.
    pub events: u64,
    /// Paths from the record, without list positions.
    pub paths: BTreeMap<String, Observation>,
}

/// What was seen at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Number of events that have the path.
    pub events: u64,
    /// The value in the newest event that has one; `None` for objects and empty values.
    pub example: Option<String>,
    /// When that event happened, and its id: events of the same second are in the order of their ids.
    newest: String,
}

impl Observation {
    /// Keeps an example if its event is the newest so far. The first value in an event counts.
    fn offer(&mut self, example: Option<String>, event: &str) {
        if example.is_some() && (self.example.is_none() || *self.newest < *event) {
            self.example = example;
            event.clone_into(&mut self.newest);
        }
    }
}

impl Observed {
    /// Returns what was seen at a path, in which `*` stands for any key.
    pub fn at(&self, path: &str) -> Option<Observation> {
        if !path.contains('*') {
            return self.paths.get(path).cloned();
        }
        let matching = self.paths.iter().filter(|(known, _)| matches_path(path, known));
        matching.map(|(_, observation)| observation).fold(None, |all, one| {
            let mut all = all.unwrap_or_else(Observation::default);
            all.offer(one.example.clone(), &one.newest);
            // The number of events with any of the keys is not known; the most frequent key is a lower bound.
            all.events = all.events.max(one.events);
            Some(all)
        })
    }

    fn add(&mut self, event: &Value, members: &[&str]) {
        self.events += 1;
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut seen = SeenPaths {
            event: format!("{} {}", text("eventTime"), text("eventID")),
            paths: BTreeSet::new(),
        };
        for member in members {
            if let Some(value) = event.get(*member) {
                self.add_value(member, value, &mut seen);
            }
        }
    }

    fn add_value(&mut self, path: &str, value: &Value, seen: &mut SeenPaths) {
        if value.is_null() {
            return;
        }
        if let Value::Array(items) = value {
            self.count(path, None, seen);
            for item in items {
                self.add_value(path, item, seen);
            }
            return;
        }
        self.count(path, example(value), seen);
        if let Value::Object(members) = value {
            for (key, below) in members {
                self.add_value(&format!("{path}.{key}"), below, seen);
            }
        }
    }

    /// Counts a path once per event.
    fn count(&mut self, path: &str, example: Option<String>, seen: &mut SeenPaths) {
        if !self.paths.contains_key(path) && self.paths.len() >= MAX_PATHS {
            return;
        }
        let observation = self.paths.entry(path.to_owned()).or_default();
        observation.offer(example, &seen.event);
        if seen.paths.insert(path.to_owned()) {
            observation.events += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        self.events += other.events;
        for (path, one) in other.paths {
            if !self.paths.contains_key(&path) && self.paths.len() >= MAX_PATHS {
                continue;
            }
            let observation = self.paths.entry(path).or_default();
            observation.events += one.events;
            observation.offer(one.example, &one.newest);
        }
    }
}

/// The paths of the event that is counted.
struct SeenPaths {
    /// Time and id of the event.
    event: String,
    paths: BTreeSet<String>,
}

/// Returns whether a path has the same keys as a pattern, in which `*` stands for a key that may contain dots.
pub fn matches_path(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((before, after)) => {
            let Some(rest) = path.strip_prefix(before) else { return false };
            let next = after.split('*').next().unwrap_or_default();
            if next.is_empty() {
                return after.is_empty() && !rest.is_empty();
            }
            rest.match_indices(next).any(|(at, _)| at > 0 && matches_path(after, &rest[at..]))
        }
    }
}

/// Returns a value as text; `None` for objects and empty values.
fn example(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) | Value::Null => return None,
        other => other.to_string(),
    };
    if text.is_empty() {
        return None;
    }
    if text.chars().count() <= MAX_EXAMPLE {
        return Some(text);
    }
    Some(text.chars().take(MAX_EXAMPLE).chain(['…']).collect())
}

/// Reads everything that the source lists, and returns what the events of a call have.
///
/// # Errors
///
/// Returns [`Error`] if the source cannot be read.
pub async fn observe(
    config: PipelineConfig,
    call: ObservedCall,
) -> Result<(Observed, RunOutcome), Error<Infallible>> {
    let consumer = Arc::new(ObserveConsumer {
        call: Arc::new(call),
        seen: Arc::new(SeenEvents::new(REMEMBERED)),
        observed: Mutex::default(),
    });
    let outcome = run::run(config, Arc::clone(&consumer), None).await.outcome?;
    let mut observed = consumer.observed.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((std::mem::take(&mut *observed), outcome))
}

struct ObserveConsumer {
    call: Arc<ObservedCall>,
    seen: Arc<SeenEvents>,
    observed: Mutex<Observed>,
}

impl Consumer for ObserveConsumer {
    type Processor = ObserveProcessor;
    type Error = Infallible;

    fn processor(&self) -> ObserveProcessor {
        let names = self.call.event_names.iter().map(|name| Finder::new(name).into_owned());
        ObserveProcessor {
            names: names.collect(),
            call: Arc::clone(&self.call),
            seen: Arc::clone(&self.seen),
            observed: Observed::default(),
        }
    }

    async fn settle(&self, observed: Observed) -> Settlement<Infallible> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).merge(observed);
        Settlement { receipt: Receipt::default(), next: Ok(ControlFlow::Continue(())) }
    }
}

/// The part on a worker thread.
struct ObserveProcessor {
    call: Arc<ObservedCall>,
    seen: Arc<SeenEvents>,
    names: Vec<Finder<'static>>,
    observed: Observed,
}

impl RecordProcessor for ObserveProcessor {
    type Batch = Observed;

    fn process(&mut self, text: &[u8], start: usize, _: Origin) -> Processed {
        let record = match whole_record(text, start) {
            Ok(record) => record,
            Err(processed) => return processed,
        };
        if self.names.iter().any(|name| name.find(record).is_some())
            && let Ok(event) = serde_json::from_slice::<Value>(record)
            && is_call(&event, &self.call)
            && self.is_new(&event, record)
        {
            self.observed.add(&event, &self.call.members);
        }
        Processed::Record { end: start + record.len(), disposition: Disposition::Settled }
    }

    fn process_long(&mut self, _: LongRecord<'_>, _: Origin) -> Disposition {
        Disposition::Settled
    }

    fn is_full(&self) -> bool {
        false
    }

    fn take_batch(&mut self) -> Option<Observed> {
        let observed = std::mem::take(&mut self.observed);
        (observed.events > 0).then_some(observed)
    }
}

impl ObserveProcessor {
    /// Returns whether an event is not a copy of one that was counted.
    fn is_new(&self, event: &Value, record: &[u8]) -> bool {
        let event_id = event.get("eventID").and_then(Value::as_str);
        let header = EventHeader { event_id, ..EventHeader::default() };
        identity(&header, record).is_ok_and(|id| self.seen.is_new(id))
    }
}

fn is_call(event: &Value, call: &ObservedCall) -> bool {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = text("eventName");
    text("eventSource") == call.event_source && call.event_names.iter().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_path_counts_once_per_event() {
        let mut observed = Observed::default();
        let event = json!({ "requestParameters": {
            "tags": [{ "key": "a" }, { "key": "b" }], "name": "x", "none": null, "empty": {},
        }});
        observed.add(&event, &["requestParameters"]);
        observed.add(&json!({ "requestParameters": { "name": "y" } }), &["requestParameters"]);
        let at = |path: &str| observed.at(path).map(|one| (one.events, one.example));
        assert_eq!(observed.events, 2);
        assert_eq!(at("requestParameters.name"), Some((2, Some("x".to_owned()))));
        assert_eq!(at("requestParameters.tags.key"), Some((1, Some("a".to_owned()))));
        assert_eq!(at("requestParameters.empty"), Some((1, None)));
        assert_eq!(at("requestParameters.none"), None);
        assert_eq!(at("requestParameters.*"), Some((2, Some("x".to_owned()))));
    }

    #[test]
    fn the_example_is_that_of_the_newest_event_in_any_order() {
        let event = |time: &str, name: &str| json!({ "eventTime": time, "requestParameters": { "name": name } });
        let events = [event("2024-01-02", "b"), event("2024-01-03", "c"), event("2024-01-01", "a")];
        let example = |order: [usize; 3]| {
            let mut all = Observed::default();
            for number in order {
                let mut one = Observed::default();
                one.add(&events[number], &["requestParameters"]);
                all.merge(one);
            }
            all.at("requestParameters.name").unwrap().example
        };
        for order in [[0, 1, 2], [1, 2, 0], [2, 1, 0]] {
            assert_eq!(example(order).as_deref(), Some("c"), "{order:?}");
        }
    }

    #[test]
    fn a_star_is_one_key_that_may_contain_dots() {
        for (pattern, path, matches) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", true),
            ("a.*", "a", false),
            ("a.*.m", "a.b.m", true),
            ("a.*.m", "a.b.c.m", true),
            ("a.*.m", "a.m", false),
            ("a.*.m.*", "a.b.m.c", true),
            ("a.*.m.*", "a.b.m", false),
        ] {
            assert_eq!(matches_path(pattern, path), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn long_values_are_cut() {
        let text = example(&json!("x".repeat(200))).unwrap();
        assert_eq!(text.chars().count(), MAX_EXAMPLE + 1);
        assert_eq!(example(&json!("")), None);
        assert_eq!(example(&json!(7)), Some("7".to_owned()));
    }
}
