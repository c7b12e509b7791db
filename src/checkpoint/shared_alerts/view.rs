//! What a decision depends on: some items as they were read, and the changes that the decisions make to them.
//!
//! Input: items. Output: a [`MatchHistory`], then [`Changes`].
//! Invariant: a change is written only if every item that was looked at is unchanged in the table. What is decided is therefore what
//! one process would have decided that looks at all matches in turn.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
};

use super::items::{
    AlertItem, Claim, Combination, Item, ItemKey, MAX_SPANS, RuleItem, Segment, Segments,
    StoredItem,
};
use crate::{
    checkpoint::alerts::{
        counted_events::{CountedEvent, Threshold},
        judge::{
            Candidate, Handling, MatchHistory, Raised, SeenCombination, Sighting, milliseconds,
        },
    },
    filter::rule::{FirstSeen, Rule},
};

/// The items that some matches of a rule depend on.
pub(super) struct View<'r> {
    rule: &'r Rule,
    first_seen_by: &'r str,
    segments: Option<Segments>,
    items: HashMap<ItemKey, StoredItem>,
    changed: BTreeSet<ItemKey>,
    /// Items that decisions depend on, also those that do not exist.
    examined: BTreeSet<ItemKey>,
    /// The last alert of each group in this view.
    last: HashMap<[u8; 16], ItemKey>,
}

/// An item that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: ItemKey,
    pub(super) item: StoredItem,
    /// The version that is replaced; `None` if the item must not exist.
    pub(super) replaces: Option<u64>,
}

/// What is written at once, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) writes: Vec<Write>,
    /// Other items on which the decisions depend, with their versions; `None` if one must not exist.
    pub(super) unchanged: Vec<(ItemKey, Option<u64>)>,
}

/// Who raises an alert, and when.
pub(super) struct Raising<'a> {
    /// The owner of the lease.
    pub(super) owner: &'a str,
    /// The end of the lease.
    pub(super) until: i64,
    /// The current time.
    pub(super) now: i64,
    /// The actions by which the alert is to be delivered.
    pub(super) actions: &'a [String],
}

/// Returns the keys of the items that a match depends on.
pub(super) fn keys(rule: &Rule, first_seen_by: &str, candidate: &Candidate<'_>) -> Vec<ItemKey> {
    let mut keys = vec![alert_key(rule, candidate)];
    if rule.grouping.first_seen.is_some()
        && let Some(values) = &candidate.found.combination
    {
        keys.push(ItemKey::combination(rule, first_seen_by, values));
        keys.push(ItemKey::rule(rule, first_seen_by));
    }
    if let Some(segments) = Segments::of(rule) {
        keys.extend(segments.around(candidate).map(|(_, key)| key));
    }
    keys
}

/// Returns the key of the alert of a candidate.
pub(super) fn alert_key(rule: &Rule, candidate: &Candidate<'_>) -> ItemKey {
    ItemKey::alert(&rule.name, &candidate.found.event_id, candidate.time)
}

impl<'r> View<'r> {
    pub(super) fn new(
        rule: &'r Rule,
        first_seen_by: &'r str,
        items: HashMap<ItemKey, StoredItem>,
    ) -> Self {
        Self {
            rule,
            first_seen_by,
            segments: Segments::of(rule),
            items,
            changed: BTreeSet::new(),
            examined: BTreeSet::new(),
            last: HashMap::new(),
        }
    }

    /// Returns the alert that was raised for the event of a candidate.
    pub(super) fn alert(&self, candidate: &Candidate<'_>) -> Option<&AlertItem> {
        match &self.items.get(&alert_key(self.rule, candidate))?.item {
            Item::Alert(alert) => Some(alert),
            _ => None,
        }
    }

    /// Adds an alert.
    pub(super) fn raise(&mut self, candidate: &Candidate<'_>, raised: Raised, by: &Raising<'_>) {
        let key = alert_key(self.rule, candidate);
        let is_delivered = raised.handling == Handling::Delivered && !by.actions.is_empty();
        let claim = Claim { owner: by.owner.to_owned(), until: by.until, delivered: None };
        let claims: BTreeMap<_, _> = by
            .actions
            .iter()
            .filter(|_| is_delivered)
            .map(|action| (action.clone(), claim.clone()))
            .collect();
        let alert = AlertItem {
            rule: self.rule.name.clone(),
            event_id: candidate.found.event_id.clone(),
            time: candidate.time,
            is_recorded: raised.handling == Handling::Recorded,
            events: raised.events,
            raised: by.now,
            after: if is_delivered { self.last_alert(candidate) } else { None },
            claims,
        };
        self.put(key.clone(), Item::Alert(alert));
        let (Some(time), Some(segments)) = (raised.covers, self.segments) else { return };
        let segment_key = segments.key(&candidate.group_key(), segments.number(time));
        let mut segment = self.segment(&segment_key);
        let handling = segment.covers.entry(time).or_insert(raised.handling);
        *handling = raised.handling.max(*handling);
        if is_delivered {
            segment.last = Some((by.now, key.clone()));
            self.last.insert(candidate.group_key(), key);
        }
        self.put(segment_key, Item::Segment(segment));
    }

    /// Returns the alert of the group that was raised last, as far as it is known here.
    fn last_alert(&mut self, candidate: &Candidate<'_>) -> Option<ItemKey> {
        if let Some(last) = self.last.get(&candidate.group_key()) {
            return Some(last.clone());
        }
        let keys: Vec<ItemKey> =
            self.segments?.around(candidate).map(|(_, segment)| segment).collect();
        let last = keys.iter().filter_map(|key| self.segment(key).last);
        last.max_by_key(|(raised, _)| *raised).map(|(_, alert)| alert)
    }

    /// Returns what is to be written.
    pub(super) fn into_changes(self) -> Changes {
        let Self { items, changed, examined, .. } = self;
        if changed.is_empty() {
            return Changes::default();
        }
        let version = |key: &ItemKey| items.get(key).map(|stored| stored.version);
        let unchanged = examined.difference(&changed).map(|key| (key.clone(), version(key)));
        let unchanged = unchanged.collect();
        let mut writes = Vec::with_capacity(changed.len());
        for key in changed {
            let Some(StoredItem { item, version }) = items.get(&key).cloned() else { continue };
            let item = StoredItem { item, version: version + 1 };
            writes.push(Write { key, item, replaces: (version > 0).then_some(version) });
        }
        Changes { writes, unchanged }
    }

    /// Stores a changed item. Its version stays that of the table; 0 stands for an item that does not exist there.
    fn put(&mut self, key: ItemKey, item: Item) {
        let version = self.items.get(&key).map_or(0, |stored| stored.version);
        self.changed.insert(key.clone());
        self.items.insert(key, StoredItem { item, version });
    }

    fn segment(&mut self, key: &ItemKey) -> Segment {
        self.examined.insert(key.clone());
        match self.items.get(key).map(|stored| &stored.item) {
            Some(Item::Segment(segment)) => segment.clone(),
            _ => Segment::default(),
        }
    }

    fn combination(&self, key: &ItemKey) -> Combination {
        match self.items.get(key).map(|stored| &stored.item) {
            Some(Item::Combination(combination)) => combination.clone(),
            _ => Combination::default(),
        }
    }

    /// Moves the start of the learning period back to a time, and returns where it starts.
    fn learn_from(&mut self, time: i64) -> i64 {
        let key = ItemKey::rule(self.rule, self.first_seen_by);
        let known = match self.items.get(&key).map(|stored| &stored.item) {
            Some(Item::Rule(rule)) if rule.learning_from <= time => return rule.learning_from,
            Some(Item::Rule(rule)) => rule.clone(),
            _ => RuleItem { rule: self.rule.name.clone(), learning_from: time },
        };
        self.put(key, Item::Rule(RuleItem { learning_from: time, ..known }));
        time
    }
}

impl MatchHistory for View<'_> {
    type Error = Infallible;

    fn earlier_alert(&mut self, candidate: &Candidate<'_>) -> Result<Option<Handling>, Infallible> {
        Ok(self
            .alert(candidate)
            .map(|alert| if alert.is_recorded { Handling::Recorded } else { Handling::Delivered }))
    }

    fn remember_combination(
        &mut self,
        rule: &Rule,
        first_seen: &FirstSeen,
        candidate: &Candidate<'_>,
    ) -> Result<Option<SeenCombination>, Infallible> {
        let Some(values) = &candidate.found.combination else { return Ok(None) };
        let earliest = candidate.found.evaluated_from.unwrap_or(candidate.time).min(candidate.time);
        let learning_from = self.learn_from(earliest);
        let key = ItemKey::combination(rule, self.first_seen_by, values);
        let mut combination = self.combination(&key);
        let before = combination.clone();
        let within = milliseconds(first_seen.within);
        let sighting = combination.remember(candidate.time, within);
        if combination != before {
            self.put(key, Item::Combination(combination));
        }
        Ok(Some(SeenCombination { sighting, learning_from }))
    }

    fn count(
        &mut self,
        candidate: &Candidate<'_>,
        threshold: Threshold,
    ) -> Result<Vec<CountedEvent>, Infallible> {
        let Some(segments) = self.segments else { return Ok(Vec::new()) };
        let own = segments.number(candidate.time);
        let mut events = Vec::new();
        for (number, key) in segments.around(candidate) {
            let mut segment = self.segment(&key);
            let is_counted = number == own && segment.count(candidate.counted(), threshold);
            events.extend_from_slice(&segment.counted);
            if is_counted {
                self.put(key, Item::Segment(segment));
            }
        }
        Ok(events)
    }

    fn covers(&mut self, candidate: &Candidate<'_>, window: i64) -> Result<Vec<i64>, Infallible> {
        let Some(segments) = self.segments else { return Ok(Vec::new()) };
        let reach = window.saturating_mul(2);
        let mut covers = Vec::new();
        for (_, key) in segments.around(candidate) {
            let segment = self.segment(&key);
            let near = segment.covers.into_iter().filter(|(time, handling)| {
                time.saturating_sub(candidate.time).saturating_abs() < reach
                    && *handling >= candidate.handling
            });
            covers.extend(near.map(|(time, _)| time));
        }
        Ok(covers)
    }
}

impl Combination {
    /// Remembers an event with the combination. Returns whether the combination is new.
    fn remember(&mut self, time: i64, within: i64) -> Sighting {
        let (start, end) = (time.saturating_sub(within), time.saturating_add(within));
        let first = self.spans.partition_point(|(_, until)| *until <= start);
        let last = self.spans.partition_point(|(since, _)| *since < end);
        let near = &self.spans[first..last.max(first)];
        let is_new = near.is_empty();
        let since = near.first().map_or(time, |(since, _)| time.min(*since));
        let until = near.last().map_or(time, |(_, until)| time.max(*until));
        self.spans.splice(first..last.max(first), [(since, until)]);
        // The oldest go first, as in the checkpoint.
        let excess = self.spans.len().saturating_sub(MAX_SPANS);
        self.spans.drain(..excess);
        if is_new { Sighting::New } else { Sighting::Known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_combination_that_follow_each_other_are_one_span() {
        let mut combination = Combination::default();
        let mut remember = |time| combination.remember(time, 10) == Sighting::New;
        assert_eq!(
            [100, 109, 119, 80, 90, 129].map(&mut remember),
            [true, false, true, true, true, true]
        );
        assert_eq!(combination.spans, [(80, 80), (90, 90), (100, 109), (119, 119), (129, 129)]);
        assert_eq!(combination.remember(110, 10), Sighting::Known);
        assert_eq!(combination.spans, [(80, 80), (90, 90), (100, 119), (129, 129)]);
        assert_eq!(combination.remember(105, 10), Sighting::Known);
        assert_eq!(combination.remember(85, 10), Sighting::Known);
        assert_eq!(combination.spans, [(80, 90), (100, 119), (129, 129)]);
    }
}
