//! Decides which matches are alerts, and stores them with their deliveries.
//!
//! Input: matches, in any order. Output: rows, within the transaction of the caller; what became of the matches.
//! Invariant: see [`alerts`](super). What is held in memory is a state for each rule and the counted events of one receipt.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::{
    AlertOptions, AlertTotals, UndeliveredCount,
    bounds::{BoundedTable, Sizes},
    combinations, content,
    counted_events::{self, CountedEvent, Threshold},
    deliveries::DeliveryRows,
    judge::{
        Candidate, EvaluationStart, Handling, Judgement, MatchHistory, NO_TIME, Raised,
        SeenCombination, judge, milliseconds,
    },
    keys::{Key, combination_key, first_seen_by, hexadecimal, key},
};
use crate::{
    checkpoint::values::integer,
    event::{Alert, DecidedMatches, NewMatch, RuleDecisions},
    filter::{
        jmespath::Expression,
        rule::{FirstSeen, Rule, RuleSet},
    },
};

/// The memory of alerts of a run. Everything but the state of rules is in the checkpoint file.
#[derive(Debug)]
pub(in crate::checkpoint) struct AlertMemory {
    rules: Arc<RuleSet>,
    options: AlertOptions,
    /// The state of each rule, by number.
    states: Vec<RuleState>,
    sizes: Sizes,
    totals: AlertTotals,
    undelivered: UndeliveredCount,
    /// Divisor of all bounds; 1 except in tests of them.
    bound_divisor: i64,
}

/// What is known of a rule.
#[derive(Clone, Debug, Default)]
struct RuleState {
    /// The expressions of `first_seen`, as they are part of keys; empty without them.
    first_seen_by: String,
    /// The earliest event time that was evaluated.
    learning_from: Option<i64>,
    /// What is not yet stored.
    unsaved: Unsaved,
}

/// Changes of a rule since it was last stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unsaved {
    alerts: i64,
    recorded: i64,
    last_alert: Option<i64>,
    learning_from: Option<i64>,
}

/// The events of a bucket during a receipt.
struct Bucket {
    events: Vec<CountedEvent>,
    is_stored: bool,
    is_changed: bool,
}

impl AlertMemory {
    /// Opens the memory for the rules of a run that starts at a time, and stores the rules.
    pub(in crate::checkpoint) fn open(
        connection: &Connection,
        rules: Arc<RuleSet>,
        options: AlertOptions,
        now: i64,
    ) -> rusqlite::Result<Self> {
        let from = options.evaluated_from.map(Timestamp::as_millisecond);
        let open = |rule| open_rule(connection, rule, EvaluationStart { from, now });
        let states: rusqlite::Result<Vec<RuleState>> = rules.rules().iter().map(open).collect();
        let (states, sizes) = (states?, Sizes::read(connection)?);
        Ok(Self {
            rules,
            options,
            states,
            sizes,
            totals: AlertTotals::default(),
            undelivered: UndeliveredCount::new(DeliveryRows::new(connection).count()?),
            bound_divisor: 1,
        })
    }

    /// Divides all bounds, for tests.
    #[cfg(test)]
    pub(super) fn divide_bounds(&mut self, divisor: i64) {
        self.bound_divisor = divisor;
    }

    /// Returns the age of events from which alerts are only recorded.
    pub(in crate::checkpoint) fn max_age(&self) -> Option<Duration> {
        self.options.max_age
    }

    /// Returns what became of the matches so far.
    pub(in crate::checkpoint) fn totals(&self) -> AlertTotals {
        self.totals
    }

    /// Returns the number of deliveries that are not made, in all runs.
    pub(in crate::checkpoint) fn undelivered(&self) -> &UndeliveredCount {
        &self.undelivered
    }

    /// Counts deliveries that were made.
    pub(in crate::checkpoint) fn add_delivered(&self, deliveries: u64) {
        self.undelivered.remove(deliveries);
    }

    /// Stores the matches of a receipt at a time. They are looked at in the order of their times, so the order within a receipt is
    /// irrelevant.
    pub(in crate::checkpoint) fn record(
        &mut self,
        connection: &Connection,
        matches: &[NewMatch],
        now: i64,
    ) -> rusqlite::Result<()> {
        let mut ordered: Vec<&NewMatch> = matches.iter().collect();
        ordered.sort_by(|one, other| order(one).cmp(&order(other)));
        let rules = Arc::clone(&self.rules);
        let remember_event = connection.prepare_cached(REMEMBER_EVENT)?;
        let mut receipt =
            Recording { memory: self, connection, remember_event, now, buckets: HashMap::new() };
        for found in ordered {
            // A number without a rule cannot occur: matches and memory have the same rules.
            if let Some(rule) = rules.rules().get(found.rule) {
                receipt.add(rule, found)?;
            }
        }
        receipt.store_buckets()?;
        self.save_rules(connection)?;
        self.sizes.enforce(connection, self.bound_divisor)
    }

    /// Stores what a shared state has decided about matches at a time.
    pub(in crate::checkpoint) fn record_decided(
        &mut self,
        connection: &Connection,
        decided: &DecidedMatches,
        now: i64,
    ) -> rusqlite::Result<()> {
        for rule in &decided.rules {
            self.totals.add_decisions(rule);
            if let Some(state) = self.states.get_mut(rule.rule) {
                state.unsaved.add(rule, now);
            }
        }
        for alert in &decided.alerts {
            self.insert_unless_known(connection, alert, now)?;
        }
        self.save_rules(connection)
    }

    /// Stores an alert with its deliveries, unless it is there already: it may have been raised by this process, whose attempt to
    /// store it the shared state does not know of.
    fn insert_unless_known(
        &mut self,
        connection: &Connection,
        alert: &Alert,
        now: i64,
    ) -> rusqlite::Result<()> {
        let is_known: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM alerts WHERE id = ?1)")?
            .query_row([&alert.id], |row| row.get(0))?;
        if is_known { Ok(()) } else { self.insert(connection, alert, now) }
    }

    /// Stores an alert with its deliveries.
    fn insert(&mut self, connection: &Connection, alert: &Alert, now: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO alerts (id, rule, raised, content) VALUES (?1, ?2, ?3, ?4)";
        let content = content::encode(alert);
        let values = params![alert.id, alert.rule, now, content.as_bytes()];
        connection.prepare_cached(sql)?.execute(values)?;
        let number = connection.last_insert_rowid();
        let sql = "INSERT INTO alert_deliveries (alert, action, state) VALUES (?1, ?2, 'pending')";
        let mut statement = connection.prepare_cached(sql)?;
        for action in &alert.actions {
            statement.execute(params![number, action])?;
        }
        let deliveries = alert.actions.len() as u64;
        self.totals.deliveries += deliveries;
        self.undelivered.add(deliveries);
        Ok(())
    }

    fn save_rules(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE alert_rules SET alerts = alerts + ?2, recorded = recorded + ?3, \
             last_alert = coalesce(?4, last_alert), learning_from = coalesce(?5, learning_from) WHERE name = ?1";
        for (rule, state) in self.rules.rules().iter().zip(&mut self.states) {
            let unsaved = std::mem::take(&mut state.unsaved);
            if unsaved == Unsaved::default() {
                continue;
            }
            let Unsaved { alerts, recorded, last_alert, learning_from } = unsaved;
            let values = params![rule.name, alerts, recorded, last_alert, learning_from];
            connection.prepare_cached(sql)?.execute(values)?;
        }
        Ok(())
    }
}

impl AlertTotals {
    fn add_decisions(&mut self, decided: &RuleDecisions) {
        let RuleDecisions { rule: _, duplicates, suppressed, learned, alerts, recorded } = *decided;
        self.matches += duplicates + suppressed + learned + alerts + recorded;
        self.duplicates += duplicates;
        self.suppressed += suppressed;
        self.learned += learned;
        self.alerts += alerts;
        self.recorded += recorded;
    }
}

impl Unsaved {
    fn add(&mut self, decided: &RuleDecisions, now: i64) {
        let RuleDecisions { alerts, recorded, .. } = *decided;
        self.alerts += integer(alerts);
        self.recorded += integer(recorded);
        if alerts + recorded > 0 {
            self.last_alert = Some(now);
        }
    }
}

/// Returns what the matches of a receipt are sorted by.
fn order(found: &NewMatch) -> (i64, &str, usize) {
    (found.time.unwrap_or(NO_TIME), &found.event_id, found.rule)
}

/// Reads and updates the row of a rule.
fn open_rule(
    connection: &Connection,
    rule: &Rule,
    start: EvaluationStart,
) -> rusqlite::Result<RuleState> {
    let first_seen_by = first_seen_by(rule);
    let known: Option<(Option<String>, Option<i64>)> = connection
        .prepare_cached("SELECT first_seen_by, learning_from FROM alert_rules WHERE name = ?1")?
        .query_row([&rule.name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let known = known.filter(|(by, _)| by.as_ref() == Some(&first_seen_by));
    let learning_from = Some(start.learning_from(known.and_then(|(_, from)| from)));
    connection
        .prepare_cached(
            "INSERT INTO alert_rules (name, first_seen_by, learning_from) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE SET first_seen_by = excluded.first_seen_by, \
             learning_from = excluded.learning_from",
        )?
        .execute(params![rule.name, first_seen_by, learning_from])?;
    Ok(RuleState { first_seen_by, learning_from, unsaved: Unsaved::default() })
}

/// Remembers that an event has raised an alert. No row changes if that is known.
const REMEMBER_EVENT: &str = "INSERT INTO alerted_events (time, event_key, delivered) VALUES (?1, ?2, ?3) \
     ON CONFLICT (time, event_key) DO UPDATE SET delivered = excluded.delivered \
     WHERE excluded.delivered > delivered";

/// The recording of the matches of a receipt.
struct Recording<'r> {
    memory: &'r mut AlertMemory,
    connection: &'r Connection,
    remember_event: CachedStatement<'r>,
    now: i64,
    /// Buckets of counted events, by key and number. Each is read and written once for a receipt.
    buckets: HashMap<(Key, i64), Bucket>,
}

impl Recording<'_> {
    fn add(&mut self, rule: &Rule, found: &NewMatch) -> rusqlite::Result<()> {
        let candidate = Candidate::new(rule, found, self.memory.options.max_age, self.now);
        let judgement = if rule.grouping.depends_on_other_events() {
            judge(self, rule, &candidate)?
        } else {
            self.judge_alone(&candidate)?
        };
        self.memory.totals.matches += 1;
        let counter = match &judgement {
            Judgement::Duplicate => &mut self.memory.totals.duplicates,
            Judgement::Learned => &mut self.memory.totals.learned,
            Judgement::Suppressed => &mut self.memory.totals.suppressed,
            Judgement::Alert(Raised { handling: Handling::Recorded, .. }) => {
                &mut self.memory.totals.recorded
            }
            Judgement::Alert(Raised { handling: Handling::Delivered, .. }) => {
                &mut self.memory.totals.alerts
            }
        };
        *counter += 1;
        match judgement {
            Judgement::Alert(raised) => self.raise(rule, &candidate, raised),
            _ => Ok(()),
        }
    }

    /// Decides, as [`judge`] does, about a match of a rule without window and `first_seen`, and remembers the event in the same
    /// statement: such rules have the most matches.
    fn judge_alone(&mut self, candidate: &Candidate<'_>) -> rusqlite::Result<Judgement> {
        let handling = candidate.handling;
        let changed = self.remember_event(candidate, handling)?;
        if changed == 0 {
            return Ok(Judgement::Duplicate);
        }
        Ok(Judgement::Alert(Raised { handling, events: 1, covers: None }))
    }

    /// Remembers that an event has raised an alert. Returns the number of changed rows: none if that is known.
    fn remember_event(
        &mut self,
        candidate: &Candidate<'_>,
        handling: Handling,
    ) -> rusqlite::Result<usize> {
        let is_delivered = handling == Handling::Delivered;
        let values = params![candidate.time, candidate.event_key, is_delivered];
        let changed = self.remember_event.execute(values)?;
        self.memory.sizes.add(BoundedTable::Events, integer(changed as u64));
        Ok(changed)
    }

    fn bucket(&mut self, count_key: Key, number: i64) -> rusqlite::Result<&mut Bucket> {
        let connection = self.connection;
        match self.buckets.entry((count_key, number)) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let sql = "SELECT events FROM alert_counts WHERE count_key = ?1 AND bucket = ?2";
                let stored: Option<Vec<u8>> = connection
                    .prepare_cached(sql)?
                    .query_row(params![count_key, number], |row| row.get(0))
                    .optional()?;
                Ok(entry.insert(Bucket {
                    events: stored.as_deref().map(counted_events::decode).unwrap_or_default(),
                    is_stored: stored.is_some(),
                    is_changed: false,
                }))
            }
        }
    }

    fn store_buckets(self) -> rusqlite::Result<()> {
        let mut changed: Vec<_> =
            self.buckets.iter().filter(|(_, bucket)| bucket.is_changed).collect();
        // In the order of the table, so that each page is written once.
        changed.sort_unstable_by_key(|(key, _)| **key);
        let sql = "INSERT INTO alert_counts (count_key, bucket, newest, events) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (count_key, bucket) DO UPDATE SET newest = excluded.newest, events = excluded.events";
        let mut statement = self.connection.prepare_cached(sql)?;
        for ((count_key, number), bucket) in changed {
            let newest = bucket.events.last().map_or(0, |event| event.time);
            let events = counted_events::encode(&bucket.events);
            statement.execute(params![count_key, number, newest, events])?;
            self.memory.sizes.add(BoundedTable::Counts, i64::from(!bucket.is_stored));
        }
        Ok(())
    }

    fn raise(
        &mut self,
        rule: &Rule,
        candidate: &Candidate<'_>,
        raised: Raised,
    ) -> rusqlite::Result<()> {
        let is_delivered = raised.handling == Handling::Delivered;
        if rule.grouping.depends_on_other_events() {
            self.remember_event(candidate, raised.handling)?;
        }
        if let Some(time) = raised.covers {
            let sql = "INSERT INTO alert_windows (group_key, time, delivered) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (group_key, time) DO UPDATE SET delivered = max(delivered, excluded.delivered)";
            let values = params![candidate.group_key(), time, is_delivered];
            self.connection.prepare_cached(sql)?.execute(values)?;
            self.memory.sizes.add(BoundedTable::Windows, 1);
        }
        let now = self.now;
        if let Some(unsaved) = self.unsaved(candidate.found.rule) {
            unsaved.alerts += i64::from(is_delivered);
            unsaved.recorded += i64::from(!is_delivered);
            unsaved.last_alert = Some(now);
        }
        if is_delivered { self.store_alert(rule, candidate, raised.events) } else { Ok(()) }
    }

    /// Stores an alert with its deliveries, if it has any.
    fn store_alert(
        &mut self,
        rule: &Rule,
        candidate: &Candidate<'_>,
        events: u64,
    ) -> rusqlite::Result<()> {
        let default_actions = &self.memory.options.default_actions;
        let alert = raised_alert(rule, candidate.found, events, default_actions);
        if alert.actions.is_empty() {
            return Ok(());
        }
        self.memory.insert(self.connection, &alert, self.now)
    }

    fn unsaved(&mut self, rule: usize) -> Option<&mut Unsaved> {
        self.memory.states.get_mut(rule).map(|state| &mut state.unsaved)
    }
}

impl MatchHistory for Recording<'_> {
    type Error = rusqlite::Error;

    fn earlier_alert(&mut self, candidate: &Candidate<'_>) -> rusqlite::Result<Option<Handling>> {
        let sql = "SELECT delivered FROM alerted_events WHERE time = ?1 AND event_key = ?2";
        let delivered: Option<bool> = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![candidate.time, candidate.event_key], |row| row.get(0))
            .optional()?;
        let handling = |is_delivered| {
            if is_delivered { Handling::Delivered } else { Handling::Recorded }
        };
        Ok(delivered.map(handling))
    }

    fn remember_combination(
        &mut self,
        rule: &Rule,
        first_seen: &FirstSeen,
        candidate: &Candidate<'_>,
    ) -> rusqlite::Result<Option<SeenCombination>> {
        let Some(combination) = &candidate.found.combination else { return Ok(None) };
        let Some(state) = self.memory.states.get_mut(candidate.found.rule) else {
            return Ok(None);
        };
        let combination = combination_key(rule, &state.first_seen_by, combination);
        let known = [state.learning_from, candidate.found.evaluated_from];
        let learning_from = known.into_iter().flatten().fold(candidate.time, i64::min);
        if state.learning_from != Some(learning_from) {
            state.learning_from = Some(learning_from);
            state.unsaved.learning_from = Some(learning_from);
        }
        let (time, within) = (candidate.time, milliseconds(first_seen.within));
        let (sighting, rows) = combinations::remember(self.connection, &combination, time, within)?;
        self.memory.sizes.add(BoundedTable::Combinations, rows);
        Ok(Some(SeenCombination { sighting, learning_from }))
    }

    /// Adds an event to its bucket, and returns the events of this bucket and those around it.
    fn count(
        &mut self,
        candidate: &Candidate<'_>,
        threshold: Threshold,
    ) -> rusqlite::Result<Vec<CountedEvent>> {
        let group = hexadecimal(&candidate.group_key());
        let count_key = key("count", &[&group, &threshold.window.to_string()]);
        let number = threshold.bucket(candidate.time);
        let bucket = self.bucket(count_key, number)?;
        bucket.is_changed |= threshold.insert(&mut bucket.events, candidate.counted());
        let mut events = Vec::new();
        for number in number.saturating_sub(1)..=number.saturating_add(1) {
            events.extend_from_slice(&self.bucket(count_key, number)?.events);
        }
        Ok(events)
    }

    fn covers(&mut self, candidate: &Candidate<'_>, window: i64) -> rusqlite::Result<Vec<i64>> {
        let reach = window.saturating_mul(2);
        let sql = "SELECT time FROM alert_windows \
             WHERE group_key = ?1 AND time > ?2 AND time < ?3 AND delivered >= ?4";
        let values = params![
            candidate.group_key(),
            candidate.time.saturating_sub(reach),
            candidate.time.saturating_add(reach),
            candidate.handling == Handling::Delivered
        ];
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_map(values, |row| row.get(0))?.collect()
    }
}

/// Returns the alert that a match raises, with the number of events in its window.
pub fn raised_alert(
    rule: &Rule,
    found: &NewMatch,
    events: u64,
    default_actions: &[String],
) -> Alert {
    let by = rule.grouping.first_seen.as_ref().map_or(&[][..], |first_seen| &first_seen.by);
    let group = found.group.to_string();
    Alert {
        id: hexadecimal(&key("alert", &[&rule.name, &group, &found.event_id])),
        group_id: hexadecimal(&key("group", &[&rule.name, &group])),
        rule: rule.name.clone(),
        severity: rule.severity,
        description: rule.description.clone(),
        group: named_values(&rule.grouping.group_by, Some(&found.group)),
        combination: named_values(by, found.combination.as_ref()),
        time: found.time.and_then(|time| Timestamp::from_millisecond(time).ok()),
        events,
        actions: alert_actions(rule, default_actions),
        event_id: found.event_id.clone(),
        event: found.event.clone(),
    }
}

/// Returns the names of the actions of a rule, each once.
pub(in crate::checkpoint) fn alert_actions(rule: &Rule, default_actions: &[String]) -> Vec<String> {
    let mut names: Vec<String> =
        rule.actions.iter().map(|action| action.name().into_owned()).collect();
    if names.is_empty() {
        names = default_actions.to_vec();
    }
    let mut unique: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

fn named_values(expressions: &[Expression], values: Option<&Value>) -> Map<String, Value> {
    let names = expressions.iter().map(|expression| expression.text().to_owned());
    names.zip(values.and_then(Value::as_array).into_iter().flatten().cloned()).collect()
}
