//! The memory of alerts against simple models, and the life of deliveries.

use std::{collections::BTreeSet, fmt::Write as _, path::Path, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::Index};
use rusqlite::Connection;
use serde_json::json;

use super::{memory::AlertMemory, *};
use crate::{
    checkpoint::migrate,
    event::NewMatch,
    filter::rule::{AlertGate, Rule, RuleMatch, RuleSet, parse_rule_file},
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// The time at which everything is recorded.
const NOW: i64 = 1_700_000_000_000;

fn rules(keys: &[&str]) -> Arc<RuleSet> {
    let rule = |(number, keys): (usize, &&str)| {
        let name =
            if keys.contains("name:") { String::new() } else { format!("name: r{number}\n") };
        let actions = if keys.contains("actions:") { "" } else { "actions: [a]\n" };
        parse_rule_file(&format!("{name}events: [A]\n{actions}{keys}")).rules.remove(0)
    };
    Arc::new(RuleSet::new(keys.iter().enumerate().map(rule).collect()))
}

/// A checkpoint file in memory, and the rules that are evaluated.
struct Memory {
    connection: Connection,
    rules: Arc<RuleSet>,
    options: AlertOptions,
    alerts: AlertMemory,
}

impl Memory {
    fn new(rules: &Arc<RuleSet>, options: AlertOptions) -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.set_prepared_statement_cache_capacity(64);
        migrate::migrate(&mut connection, Path::new("memory")).unwrap();
        let alerts =
            AlertMemory::open(&connection, Arc::clone(rules), options.clone(), NOW).unwrap();
        Self { connection, rules: Arc::clone(rules), options, alerts }
    }

    /// A memory of one rule.
    fn of(keys: &str) -> Self {
        Self::new(&rules(&[keys]), AlertOptions::default())
    }

    /// As after the end of a run and the start of another.
    fn restart(&mut self) {
        self.restart_at(NOW);
    }

    fn restart_with(&mut self, rules: &Arc<RuleSet>, options: AlertOptions) {
        (self.rules, self.options) = (Arc::clone(rules), options);
        self.restart();
    }

    /// As [`restart`](Self::restart), at a time.
    fn restart_at(&mut self, now: i64) {
        let (rules, options) = (Arc::clone(&self.rules), self.options.clone());
        self.alerts = AlertMemory::open(&self.connection, rules, options, now).unwrap();
    }

    fn record(&mut self, matches: &[NewMatch]) {
        self.record_at(NOW, matches);
    }

    fn record_at(&mut self, now: i64, matches: &[NewMatch]) {
        self.alerts.record(&self.connection, matches, now).unwrap();
    }

    fn rows(&self) -> DeliveryRows<'_> {
        DeliveryRows::new(&self.connection)
    }

    fn pending(&self) -> Vec<Delivery> {
        self.rows().pending("a", 0, usize::MAX).unwrap()
    }

    /// Returns the ids of the events of pending alerts, in the order in which they were raised.
    fn alerted(&self) -> Vec<String> {
        self.pending().into_iter().map(|delivery| delivery.alert.event_id).collect()
    }

    /// Returns the times around which alerts cover events.
    fn covers(&self) -> Vec<i64> {
        let mut statement =
            self.connection.prepare("SELECT time FROM alert_windows ORDER BY time").unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

/// Returns a match of the first rule, of one group and combination. The time is in milliseconds.
pub(in crate::checkpoint) fn event(id: &str, time: i64) -> NewMatch {
    NewMatch {
        rule: 0,
        group: json!(["g"]),
        combination: Some(json!(["c"])),
        time: Some(time),
        evaluated_from: None,
        event_id: id.to_owned(),
        event: format!("{{\"eventID\":\"{id}\"}}").into(),
    }
}

/// Events whose ids are their minutes.
fn minutes(minutes: &[i64]) -> Vec<NewMatch> {
    minutes.iter().map(|minute| event(&minute.to_string(), minute * MINUTE)).collect()
}

/// The limits of a random rule, in seconds.
#[derive(Clone, Debug)]
struct Limits {
    window: Option<i64>,
    threshold: usize,
    first_seen: Option<(i64, i64)>,
}

impl Limits {
    fn keys(&self) -> String {
        let mut keys = String::new();
        if let Some(window) = self.window {
            writeln!(keys, "window: {window}s\nthreshold: {}", self.threshold).unwrap();
        }
        if let Some((within, learning)) = self.first_seen {
            writeln!(
                keys,
                "first_seen: {{by: [detail.a], within: {within}s, learning: {learning}s}}"
            )
            .unwrap();
        }
        keys
    }
}

fn window_limits() -> impl Strategy<Value = Limits> {
    (1_i64..12, 1_usize..5).prop_map(|(window, threshold)| Limits {
        window: Some(window),
        threshold,
        first_seen: None,
    })
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let first_seen = proptest::option::of((1_i64..20, 0_i64..10));
    let window = proptest::option::of((1_i64..12, 1_usize..5));
    (window, first_seen).prop_map(|(window, first_seen)| Limits {
        window: window.map(|(window, _)| window),
        threshold: window.map_or(1, |(_, threshold)| threshold),
        first_seen,
    })
}

/// Random events: half seconds within a minute and a half, in some groups and combinations.
fn events(groups: u8) -> impl Strategy<Value = Vec<NewMatch>> {
    vec((0_i64..180, 0..groups, 0_u8..3), 0..70).prop_map(|events| {
        let event = |(number, (time, group, combination)): (usize, (i64, u8, u8))| NewMatch {
            group: json!([group]),
            combination: Some(json!([combination])),
            ..event(&format!("e{number:03}"), time * 500)
        };
        events.into_iter().enumerate().map(event).collect()
    })
}

/// Records events in receipts that end at random places, with a restart after some.
fn record_all(memory: &mut Memory, events: &[NewMatch], cuts: &[Index]) {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(events.len() + 1)).collect();
    ends.push(events.len());
    ends.sort_unstable();
    let mut start = 0;
    for (number, end) in ends.into_iter().enumerate() {
        memory.record(&events[start..end]);
        start = end;
        if number % 2 == 0 {
            memory.restart();
        }
    }
}

/// Returns the ids of events that raise an alert according to the memory of a dry run.
fn alerts_of_gate(rule: &Rule, events: &[NewMatch]) -> Vec<String> {
    let mut gate = AlertGate::default();
    let is_alert = |event: &&NewMatch| {
        let combination = event.combination.clone();
        let combination = rule.grouping.first_seen.as_ref().and(combination);
        let found = RuleMatch { group: event.group.clone(), combination };
        gate.add(0, rule, event.time.unwrap(), &found).is_some()
    };
    events.iter().filter(is_alert).map(|event| event.event_id.clone()).collect()
}

/// Returns whether an event of one group is among `threshold` events whose first and last are less than a window apart.
fn qualifies(events: &[&NewMatch], event: &NewMatch, window: i64, threshold: usize) -> bool {
    let time = |event: &NewMatch| event.time.unwrap();
    events.iter().map(|first| time(first)).any(|start| {
        let is_in = |event: &NewMatch| (start..start + window).contains(&time(event));
        is_in(event) && events.iter().filter(|event| is_in(event)).count() >= threshold
    })
}

proptest! {
    #[test]
    fn matches_in_the_order_of_time_raise_the_alerts_of_a_dry_run(
        limits in any_limits(), mut events in events(2), cuts in vec(any::<Index>(), 0..5)
    ) {
        events.sort_by_key(|event| (event.time, event.event_id.clone()));
        let rules = rules(&[&limits.keys()]);
        let mut memory = Memory::new(&rules, AlertOptions::default());
        record_all(&mut memory, &events, &cuts);
        prop_assert_eq!(memory.alerted(), alerts_of_gate(&rules.rules()[0], &events));
    }

    #[test]
    fn in_any_order_alerts_cover_what_qualifies_and_are_a_window_apart(
        limits in window_limits(),
        events in events(1).prop_shuffle(),
        repeated in vec(any::<Index>(), 0..20),
        cuts in vec(any::<Index>(), 0..5)
    ) {
        let mut read = events.clone();
        if !events.is_empty() {
            // Some are read again, later.
            read.extend(repeated.iter().map(|index| index.get(&events).clone()));
        }
        let mut memory = Memory::of(&limits.keys());
        record_all(&mut memory, &read, &cuts);

        let window = limits.window.unwrap() * 1_000;
        let all: Vec<&NewMatch> = events.iter().collect();
        let qualified: BTreeSet<i64> = events
            .iter()
            .filter(|event| qualifies(&all, event, window, limits.threshold))
            .map(|event| event.time.unwrap())
            .collect();
        let covers = memory.covers();
        prop_assert!(covers.windows(2).all(|pair| pair[1] - pair[0] >= window), "{covers:?}");
        prop_assert!(covers.iter().all(|time| qualified.contains(time)), "{covers:?} {qualified:?}");
        for time in &qualified {
            let is_covered = covers.iter().any(|cover| (cover - time).abs() < window);
            prop_assert!(is_covered, "{time} is not covered by {covers:?}");
        }
        let alerted = memory.alerted();
        prop_assert_eq!(alerted.len(), covers.len());
        prop_assert_eq!(alerted.iter().collect::<BTreeSet<_>>().len(), alerted.len());
    }

    #[test]
    fn a_clock_that_jumps_changes_neither_windows_nor_thresholds(
        limits in window_limits(), events in events(3), clocks in vec(-HOUR..2 * NOW, 1..10),
    ) {
        let rules = rules(&[&limits.keys()]);
        let mut right = Memory::new(&rules, AlertOptions::default());
        let mut jumping = Memory::new(&rules, AlertOptions::default());
        for (number, event) in events.iter().enumerate() {
            right.record(std::slice::from_ref(event));
            let now = clocks[number % clocks.len()];
            if number % 3 == 0 {
                jumping.restart_at(now);
            }
            jumping.record_at(now, std::slice::from_ref(event));
        }
        prop_assert_eq!(jumping.alerted(), right.alerted());
        prop_assert_eq!(jumping.covers(), right.covers());
    }

    #[test]
    fn in_any_order_a_combination_has_one_alert_within_its_time(
        within in 1_i64..20, events in events(1).prop_shuffle(), cuts in vec(any::<Index>(), 0..5)
    ) {
        let limits = Limits { window: None, threshold: 1, first_seen: Some((within, 0)) };
        let mut memory = Memory::of(&limits.keys());
        record_all(&mut memory, &events, &cuts);
        record_all(&mut memory, &events, &[]);
        let within = within * 1_000;
        for combination in 0..3 {
            let of_combination =
                |event: &&NewMatch| event.combination == Some(json!([combination]));
            let mut times: Vec<i64> =
                events.iter().filter(of_combination).map(|event| event.time.unwrap()).collect();
            times.sort_unstable();
            let alerted = memory.alerted();
            let mut alerts: Vec<i64> = events
                .iter()
                .filter(of_combination)
                .filter(|event| alerted.contains(&event.event_id))
                .map(|event| event.time.unwrap())
                .collect();
            alerts.sort_unstable();
            prop_assert!(alerts.windows(2).all(|pair| pair[1] - pair[0] >= within), "{alerts:?}");
            // Each run of events that follow each other within the time has an alert.
            for run in times.chunk_by(|one, other| other - one < within) {
                let has_alert = alerts.iter().any(|alert| run.contains(alert));
                prop_assert!(has_alert, "{run:?} {alerts:?}");
            }
        }
    }

    #[test]
    fn rows_of_a_count_are_bounded(events in vec(0_i64..1_000, 0..500)) {
        let mut memory = Memory::of("window: 1s\nthreshold: 3\n");
        let events: Vec<_> = (0..).zip(events).map(|(id, time)| event(&format!("{id}"), time)).collect();
        memory.record(&events);
        let sql = "SELECT coalesce(sum(length(events)) / 16, 0) FROM alert_counts";
        let stored: i64 = memory.connection.query_row(sql, [], |row| row.get(0)).unwrap();
        prop_assert!(stored <= 12, "{stored}");
    }
}

#[test]
fn an_event_that_is_read_again_raises_no_second_alert() {
    let mut memory = Memory::of("");
    memory.record(&minutes(&[1, 2]));
    memory.restart();
    memory.record(&minutes(&[2, 1, 3, 3]));
    assert_eq!(memory.alerted(), ["1", "2", "3"]);
    let totals = memory.alerts.totals();
    assert_eq!((totals.matches, totals.alerts, totals.duplicates), (4, 1, 3));
}

#[test]
fn a_rule_is_told_from_another_that_fires_on_the_same_event() {
    let mut memory = Memory::new(&rules(&["", ""]), AlertOptions::default());
    let both = [event("e", 0), NewMatch { rule: 1, ..event("e", 0) }];
    memory.record(&both);
    memory.record(&both);
    let alerts: Vec<_> = memory.pending().into_iter().map(|delivery| delivery.alert).collect();
    assert_eq!(alerts.iter().map(|alert| &*alert.rule).collect::<Vec<_>>(), ["r0", "r1"]);
    assert_ne!(alerts[0].id, alerts[1].id);
    assert_ne!(alerts[0].group_id, alerts[1].group_id);
}

#[test]
fn an_event_that_completes_a_window_raises_the_alert_on_behalf_of_one_that_is_not_covered() {
    let mut memory = Memory::of("window: 10m\nthreshold: 2\n");
    for minute in [0, 1, 18, 9] {
        memory.record(&minutes(&[minute]));
    }
    // 9 is covered by the alert of minute 1, but 18 is not, and 9 and 18 are two events within 10 minutes.
    assert_eq!(memory.covers(), [MINUTE, 18 * MINUTE]);
    assert_eq!(memory.alerted(), ["1", "9"]);
}

#[test]
fn an_alert_has_everything_that_a_message_needs() {
    let keys = "description: d\nseverity: high\ngroup_by: [detail.x, account]\nwindow: 1h\n\
         first_seen: {by: [detail.y], within: 1h, learning: 0s}\nactions: [a, {index: {}}, a]\n";
    let mut memory = Memory::of(keys);
    let found = NewMatch { group: json!(["x", null]), ..event("e", NOW) };
    memory.record(std::slice::from_ref(&found));
    let alert = memory.pending().remove(0).alert;
    assert_eq!((&*alert.rule, alert.description.as_deref()), ("r0", Some("d")));
    assert_eq!(alert.severity, crate::event::Severity::High);
    assert_eq!(json!(alert.group), json!({"detail.x": "x", "account": null}));
    assert_eq!(json!(alert.combination), json!({"detail.y": "c"}));
    assert_eq!(alert.time, Timestamp::from_millisecond(NOW).ok());
    assert_eq!(alert.actions, ["a", "index"]);
    assert_eq!((&*alert.event_id, alert.event, alert.events), ("e", found.event, 1));
    assert_eq!(memory.rows().pending("index", 0, 9).unwrap().len(), 1);
}

#[test]
fn an_event_without_a_time_raises_an_alert_that_is_delivered() {
    let options = AlertOptions { max_age: Some(Duration::from_hours(1)), ..Default::default() };
    let mut memory = Memory::new(&rules(&["window: 1h\nthreshold: 2\n"]), options);
    let timeless = |id: &str| NewMatch { time: None, ..event(id, 0) };
    memory.record(&[timeless("a"), timeless("b"), timeless("c"), timeless("a")]);
    assert_eq!(memory.alerted(), ["b"]);
    assert_eq!(memory.pending()[0].alert.time, None);
}

fn hour_limit() -> AlertOptions {
    AlertOptions { max_age: Some(Duration::from_hours(1)), ..AlertOptions::default() }
}

#[test]
fn alerts_for_old_events_are_recorded_and_not_delivered() {
    let mut memory = Memory::new(&rules(&[""]), hour_limit());
    memory.record(&[event("old", NOW - HOUR - 1), event("young", NOW - HOUR)]);
    assert_eq!(memory.alerted(), ["young"]);
    memory.record(&[event("old", NOW - HOUR - 1)]);
    let totals = memory.alerts.totals();
    assert_eq!((totals.recorded, totals.alerts, totals.duplicates), (1, 1, 1));
    let rule = &memory.rows().rules().unwrap()[0];
    assert_eq!((rule.alerts, rule.recorded, rule.last_alert), (1, 1, Some(NOW)));
}

#[test]
fn an_alert_that_was_recorded_by_a_clock_ahead_is_delivered_once_the_clock_is_right() {
    for keys in ["", "window: 1d\n"] {
        let mut memory = Memory::new(&rules(&[keys]), hour_limit());
        let young = [event("a", NOW - MINUTE)];
        memory.record_at(NOW + 48 * HOUR, &young);
        assert_eq!(memory.alerted(), [""; 0]);
        memory.restart();
        for _ in 0..2 {
            memory.record(&young);
        }
        assert_eq!(memory.alerted(), ["a"], "{keys}");
        // By a clock behind, no event is too old.
        memory.record_at(NOW - 48 * HOUR, &young);
        memory.record_at(NOW - 48 * HOUR, &[event("b", NOW - 40 * HOUR)]);
        assert_eq!(memory.alerted(), ["a", "b"], "{keys}");
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_end_the_learning_period() {
    let rules = rules(&["first_seen: {by: [detail.a], within: 2d, learning: 1d}\n"]);
    let mut memory = Memory::new(&rules, AlertOptions::default());
    memory.restart_at(NOW - 30 * 24 * HOUR);
    memory.record_at(NOW - 30 * 24 * HOUR, &[event("a", NOW + HOUR)]);
    assert_eq!(memory.alerted(), [""; 0]);
    assert_eq!(memory.alerts.totals().learned, 1);
    let other = NewMatch { combination: Some(json!(["d"])), ..event("d", NOW + 24 * HOUR) };
    memory.record_at(NOW - 30 * 24 * HOUR, &[other]);
    assert_eq!(memory.alerted(), ["d"], "it ends by the times of events");
}

#[test]
fn a_replay_delivers_what_was_recorded_and_nothing_twice() {
    let keys = ["", "window: 1d\n", "window: 1d\nthreshold: 2\n"];
    for keys in keys {
        let rules = rules(&[keys]);
        let mut memory = Memory::new(&rules, hour_limit());
        let events = [event("a", NOW - 9 * HOUR), event("b", NOW - 8 * HOUR), event("c", NOW)];
        memory.record(&events);
        let live = memory.alerted();
        assert_eq!(live.last().unwrap(), "c", "{keys}");
        assert_eq!(live.len(), 1, "a recorded alert does not keep another from being delivered");
        memory.restart_with(&rules, AlertOptions::default());
        for _ in 0..2 {
            memory.record(&events);
            memory.restart();
        }
        let mut alerted = memory.alerted();
        alerted.sort();
        // Within a day of the alert for c, a rule with a window raises no other.
        let expected = if keys.is_empty() { &["a", "b", "c"][..] } else { &["c"] };
        assert_eq!(alerted, expected, "{keys}");
    }
}

#[test]
fn combinations_that_were_recorded_are_delivered_by_a_replay() {
    let rules = rules(&["first_seen: {by: [detail.a], within: 30d, learning: 0s}\n"]);
    let mut memory = Memory::new(&rules, hour_limit());
    let events = [event("a", NOW - 9 * HOUR), event("b", NOW)];
    memory.record(&events);
    assert_eq!(memory.alerted(), [""; 0], "b is known from a");
    memory.restart_with(&rules, AlertOptions::default());
    memory.record(&events);
    assert_eq!(memory.alerted(), ["a"]);
}

#[test]
fn the_learning_period_starts_with_the_first_event_of_the_rule_or_of_the_run() {
    let rules = rules(&["first_seen: {by: [detail.a], within: 2h, learning: 1h}\n"]);
    let seen = |combination: &str, minute| NewMatch {
        combination: Some(json!([combination])),
        ..event(combination, minute * MINUTE)
    };
    let events = [seen("a", 0), seen("b", 59), seen("c", 60)];
    let mut memory = Memory::new(&rules, AlertOptions::default());
    memory.record(&events);
    memory.restart();
    memory.record(&[seen("d", 70)]);
    assert_eq!(memory.alerted(), ["c", "d"]);
    assert_eq!(memory.alerts.totals().learned, 0, "d is met after the period");

    let start = Timestamp::from_millisecond(-50 * MINUTE).ok();
    let options = AlertOptions { evaluated_from: start, ..AlertOptions::default() };
    let mut newest_first = Memory::new(&rules, options);
    for event in events.iter().rev() {
        newest_first.record(std::slice::from_ref(event));
    }
    assert_eq!(newest_first.alerted(), ["c", "b"]);
}

#[test]
fn the_learning_period_passes_without_a_match() {
    let rules = rules(&["first_seen: {by: [detail.a], within: 2d, learning: 1d}\n"]);
    // Events were evaluated, and the first match is the one that matters.
    let mut replay = Memory::new(&rules, AlertOptions::default());
    replay.record(&[NewMatch { evaluated_from: Some(0), ..event("a", 24 * HOUR) }]);
    assert_eq!(replay.alerted(), ["a"]);
    // As does that of a live source.
    let mut live = Memory::new(&rules, AlertOptions::default());
    live.record(&[event("b", NOW + 24 * HOUR - 1), event("c", NOW + 30 * HOUR)]);
    assert_eq!(live.alerted(), [""; 0], "c is known from b");
    let other = |id: &str, time| NewMatch { combination: Some(json!([id])), ..event(id, time) };
    live.record(&[other("d", NOW + 24 * HOUR)]);
    assert_eq!(live.alerted(), ["d"]);
}

#[test]
fn other_expressions_restart_the_learning_period() {
    let first = rules(&["first_seen: {by: [detail.a], within: 2h, learning: 1h}\n"]);
    let other = rules(&["first_seen: {by: [detail.b], within: 2h, learning: 1h}\n"]);
    let mut memory = Memory::new(&first, AlertOptions::default());
    memory.record(&minutes(&[0]));
    memory.restart_with(&other, AlertOptions::default());
    memory.record(&minutes(&[300]));
    assert_eq!(memory.alerted(), [""; 0], "all combinations are new to the changed rule");
    memory.restart_with(&first, AlertOptions::default());
    memory.record(&minutes(&[500]));
    assert_eq!(memory.alerted(), [""; 0]);
}

#[test]
fn an_alert_is_delivered_as_it_was_raised_when_its_rule_is_gone() {
    let mut memory = Memory::of("description: before\n");
    memory.record(&minutes(&[1]));
    memory.restart_with(&rules(&["name: other\n"]), AlertOptions::default());
    assert_eq!(memory.pending()[0].alert.description.as_deref(), Some("before"));
    // A rule with another name is another rule.
    memory.record(&minutes(&[1]));
    assert_eq!(memory.alerted(), ["1", "1"]);
}

#[test]
fn a_rule_without_actions_has_the_default_ones() {
    let rules = rules(&["actions: []\n"]);
    let mut memory = Memory::new(&rules, AlertOptions::default());
    memory.record(&minutes(&[1]));
    assert_eq!((memory.alerts.totals().alerts, memory.alerts.totals().deliveries), (1, 0));
    assert_eq!(memory.count("alerts"), 0);
    let options = AlertOptions { default_actions: vec!["a".to_owned()], ..Default::default() };
    memory.restart_with(&rules, options);
    memory.record(&minutes(&[1, 2]));
    assert_eq!(memory.alerted(), ["2"]);
}

fn update(memory: &Memory, update: &DeliveryUpdate, now: i64) {
    memory.rows().update(update, now).unwrap();
}

fn failed(number: i64, cause: &str) -> DeliveryUpdate {
    DeliveryUpdate::Ended(DeliveryOutcome::Failed { number, cause: cause.to_owned() })
}

#[test]
fn a_delivery_is_deleted_when_it_is_made_and_its_alert_with_the_last() {
    let mut memory = Memory::of("actions: [a, b]\n");
    memory.record(&minutes(&[1]));
    let delivered = |number| DeliveryUpdate::Ended(DeliveryOutcome::Delivered { number });
    update(&memory, &DeliveryUpdate::Started { numbers: vec![1] }, 10);
    let sending = memory.pending().remove(0);
    assert_eq!((sending.state, sending.attempts), (DeliveryState::Sending, 1));
    update(&memory, &delivered(1), 11);
    assert_eq!((memory.count("alerts"), memory.alerted().len()), (1, 0));
    update(&memory, &delivered(1), 12);
    update(&memory, &delivered(2), 13);
    assert_eq!((memory.count("alerts"), memory.count("alert_deliveries")), (0, 0));
    let status = memory.rows().actions().unwrap();
    let counts: Vec<_> = status
        .iter()
        .map(|action| (&*action.action, action.delivered, action.last_delivered))
        .collect();
    assert_eq!(counts, [("a", 1, Some(11)), ("b", 1, Some(13))]);
    // Numbers are not used again, so a cursor never skips a delivery.
    memory.record(&minutes(&[2]));
    assert_eq!(memory.pending()[0].number, 3);
}

#[test]
fn an_alert_that_its_receivers_have_acknowledged_is_not_undelivered() {
    let mut memory = Memory::of("actions: [a, b]\n");
    memory.record(&minutes(&[1]));
    let undelivered = |memory: &Memory| undelivered_events(&memory.connection).unwrap().len();
    let acknowledged = |number| DeliveryUpdate::Ended(DeliveryOutcome::Acknowledged { number });
    update(&memory, &acknowledged(1), 10);
    assert_eq!(undelivered(&memory), 1, "by one action of two");
    update(&memory, &acknowledged(2), 11);
    assert_eq!(undelivered(&memory), 0);
    assert_eq!(memory.pending()[0].state, DeliveryState::Acknowledged, "it is still to be told");
}

#[test]
fn a_dead_letter_keeps_its_cause_and_attempts_and_can_be_retried_or_accepted() {
    let mut memory = Memory::of("");
    memory.record(&minutes(&[1, 2, 3]));
    let postponed = DeliveryOutcome::Postponed { number: 1, cause: "503".to_owned() };
    update(&memory, &DeliveryUpdate::Started { numbers: vec![1, 2] }, 10);
    update(&memory, &DeliveryUpdate::Ended(postponed), 11);
    assert_eq!(memory.pending()[0].state, DeliveryState::Pending);
    update(&memory, &DeliveryUpdate::Started { numbers: vec![1] }, 20);
    update(&memory, &failed(1, "400 Bad Request"), 21);
    assert_eq!(memory.alerted(), ["2", "3"]);
    let dead = memory.rows().dead_letters(9).unwrap().remove(0);
    assert_eq!((dead.attempts, dead.first_attempt, dead.last_attempt), (2, Some(10), Some(21)));
    assert_eq!((&*dead.cause, &*dead.rule, &*dead.action), ("400 Bad Request", "r0", "a"));
    assert_eq!(memory.rows().retry().unwrap(), 1);
    assert_eq!(memory.alerted(), ["1", "2", "3"], "in the order in which they were raised");

    update(&memory, &failed(1, "400 Bad Request"), 30);
    assert_eq!(memory.rows().accept(31).unwrap(), 1);
    update(&memory, &failed(2, "404 Not Found"), 32);
    assert_eq!(memory.rows().retry().unwrap(), 1, "what is accepted stays");
    let status = memory.rows().actions().unwrap().remove(0);
    assert_eq!((status.pending, status.dead_letters, status.accepted), (2, 0, 1));
    assert_eq!(status.cause.as_deref(), Some("404 Not Found"));
    let sql = "SELECT count(*) FROM alerts WHERE content = x''";
    let emptied: i64 = memory.connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(emptied, 1, "the event of an accepted alert is not kept");
}

#[test]
fn deliveries_of_actions_that_are_not_defined_become_dead_letters() {
    let mut memory = Memory::of("actions: [a, b]\n");
    memory.record(&minutes(&[1]));
    assert_eq!(memory.rows().fail_unknown_actions(&["b".to_owned()]).unwrap(), 1);
    let dead = memory.rows().dead_letters(9).unwrap();
    assert_eq!(dead[0].cause, "the action a is not defined");
    assert_eq!(memory.rows().retry().unwrap(), 1);
    assert_eq!(memory.alerted(), ["1"]);
}

#[test]
fn pending_deliveries_are_returned_in_parts() {
    let mut memory = Memory::of("");
    memory.record(&minutes(&[1, 2, 3]));
    let rows = memory.rows();
    let first = rows.pending("a", 0, 2).unwrap();
    let rest = rows.pending("a", first[1].number, 2).unwrap();
    assert_eq!((first.len(), rest.len(), rows.pending("x", 0, 2).unwrap().len()), (2, 1, 0));
}

#[test]
fn all_tables_are_bounded_and_the_oldest_event_times_are_deleted() {
    let keys = "group_by: [detail.a]\nwindow: 1m\nthreshold: 2\n\
         first_seen: {by: [detail.a], within: 1m, learning: 0s}\n";
    let rules = rules(&[keys, ""]);
    let mut memory = Memory::new(&rules, AlertOptions::default());
    // 4,000 events, 2,000 windows, 1,500 counts, 2,000 combinations.
    memory.alerts.divide_bounds(1_000);
    for hundred in 0..100 {
        let numbers = hundred * 100..(hundred + 1) * 100;
        let matches = numbers.flat_map(|number| {
            // Two events each, of two combinations, in a group of its own.
            [0, 1].map(|half| NewMatch {
                group: json!([number]),
                combination: Some(json!([number, half])),
                ..event(&format!("{number}-{half}"), number * MINUTE)
            })
        });
        let matches: Vec<_> = matches.collect();
        memory.record(&matches);
        let other: Vec<_> =
            matches.into_iter().map(|found| NewMatch { rule: 1, ..found }).collect();
        memory.record(&other);
    }
    for (table, limit) in [
        ("alerted_events", 4_000),
        ("alert_windows", 2_000),
        ("alert_counts", 1_500),
        ("alert_combinations", 2_000),
    ] {
        let rows = memory.count(table);
        assert!(rows <= limit && rows > limit / 2, "{table} has {rows} rows");
        let sql = "SELECT size FROM alert_sizes WHERE name = ?1";
        let size: i64 = memory.connection.query_row(sql, [table], |row| row.get(0)).unwrap();
        assert_eq!(size, rows, "{table}");
    }
    let oldest: i64 = memory
        .connection
        .query_row("SELECT min(time) FROM alert_windows", [], |row| row.get(0))
        .unwrap();
    assert!(oldest > 8_000 * MINUTE, "the newest are kept");
}
