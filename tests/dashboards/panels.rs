//! Every panel, on every engine and without one, over the sample events.

use std::sync::Arc;

use serde_json::{Value, json};
use trailload::dashboard::{
    AnswerRow, Dashboards, Data, GroupKey, Panel, PanelAnswer, PanelCounter, PanelMetric,
    RequestTimes, TimeScale,
};
use trailload::normalize::{FieldProfile, FieldRegistry, Normalized, Normalizer, Rules, Settings};

use super::model::{self, DatedEvent, StartOf};
use crate::engine::on_every_engine;
use crate::support::events::{event, lines, records};
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};

on_every_engine!(
    every_panel_equals_a_plain_count,
    every_field_exists_and_is_aggregatable,
    an_older_index_gets_the_principal,
);

/// From the first sample event to the last.
const ALL_TIMES: RequestTimes =
    RequestTimes { from: 0, to: 4_102_444_800_000, scale: TimeScale::Month };

fn load(corner: &Corner, events: &[Value], options: &[&str]) {
    let desk = Desk::new();
    let file = desk.file("events.ndjson", lines(events));
    let load = desk.load(&file, corner.url()).with(corner.index()).with(options.iter().copied());
    load.run().exits(0);
    corner.refresh();
}

fn every_panel_equals_a_plain_count(corner: &Corner) {
    let events = model::sample_events();
    let raw: Vec<Value> = events.iter().map(|event| event.event.clone()).collect();
    // Few indices: engines need longer for a new index than for all of these events.
    load(corner, &raw, &["--index-by", "year"]);
    assert_eq!(corner.count(), raw.len() as u64, "documents about runs are not among events");
    let dashboards = Dashboards::embedded().unwrap();
    let mut wrong = Vec::new();
    for (dashboard, panel) in dashboards.panels() {
        if dashboard.data == Data::Events {
            let path = format!("/{}-*/_search?allow_partial_search_results=false", corner.prefix());
            let response = corner.ask("POST", &path, &panel.search_request(ALL_TIMES));
            wrong.extend(differences(panel, &panel.answer(&response), &events, model::month));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_panel_without_an_engine_equals_a_plain_count() {
    let events = model::sample_events();
    let dashboards = Dashboards::embedded().unwrap();
    let counter = PanelCounter::new(&dashboards);
    let documents = documents(&events);
    let documents: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
    let (one, other) = documents.split_at(documents.len() / 2);
    std::thread::scope(|threads| {
        for part in [one, other] {
            threads.spawn(|| part.chunks(7).for_each(|part| assert_eq!(counter.add(part), 0)));
        }
    });
    assert_eq!(counter.seen().documents, events.len() as u64);
    let mut wrong = Vec::new();
    assert_eq!(counter.seen().scale(), TimeScale::Year, "the sample events are of many years");
    for (panel, answer) in counter.answers() {
        assert!(!answer.is_incomplete, "{}", panel.id);
        wrong.extend(differences(panel, &answer, &events, model::year));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the documents of events.
pub(super) fn documents(events: &[DatedEvent]) -> Vec<Vec<u8>> {
    let rules = Arc::new(Rules::embedded().unwrap());
    let fields = Arc::new(FieldRegistry::new(rules, FieldProfile::Standard, 5_000));
    let settings = Settings { prefix: "cloudtrail".to_owned(), ..Settings::default() };
    let mut normalizer = Normalizer::new(fields, Arc::new(settings));
    let normalize = |event: &DatedEvent| {
        let mut out = Vec::new();
        let record = event.event.to_string();
        let normalized = normalizer.rewrite(record.as_bytes(), &mut out).unwrap();
        let Normalized::Document(placement) = normalized else { panic!("{record}") };
        out.split_off(placement.action_bytes as usize)
    };
    events.iter().map(normalize).collect()
}

/// Returns what is wrong with an answer.
fn differences(
    panel: &Panel,
    answer: &PanelAnswer,
    events: &[DatedEvent],
    start_of: StartOf,
) -> Option<String> {
    let matching = model::matching(panel, events);
    let expected = model::rows(panel, &matching, start_of);
    let (id, title) = (&panel.id, &panel.title);
    if answer.documents != matching.len() as u64 {
        return Some(format!(
            "{id} {title}: {} documents, not {}",
            answer.documents,
            matching.len()
        ));
    }
    if matching.is_empty() || expected.iter().all(|row| row.values[0] == Some(0.0)) {
        return Some(format!("{id} {title}: the sample events do not answer it"));
    }
    let found = with_addresses(&answer.rows);
    let expected = with_addresses(&expected);
    if found.len() != expected.len() {
        return Some(format!("{id} {title}: {} rows, not {}", found.len(), expected.len()));
    }
    let differs = |(one, other): &(&AnswerRow, &AnswerRow)| !is_equal(panel, one, other);
    let (one, other) = found.iter().zip(&expected).find(differs)?;
    Some(format!("{id} {title}: {one:?}, not {other:?}"))
}

/// Returns rows with one spelling for each address.
fn with_addresses(rows: &[AnswerRow]) -> Vec<AnswerRow> {
    let one_spelling = |key: &GroupKey| match key {
        GroupKey::Text(text) => match text.parse::<std::net::IpAddr>() {
            Ok(address) => GroupKey::Text(address.to_string()),
            Err(_) => key.clone(),
        },
        GroupKey::Time(_) => key.clone(),
    };
    let convert = |row: &AnswerRow| AnswerRow {
        keys: row.keys.iter().map(one_spelling).collect(),
        values: row.values.clone(),
    };
    rows.iter().map(convert).collect()
}

fn is_equal(panel: &Panel, one: &AnswerRow, other: &AnswerRow) -> bool {
    let mut values = panel.metrics.iter().zip(one.values.iter().zip(&other.values));
    one.keys == other.keys
        && values.all(|(metric, (one, other))| match metric {
            // Engines estimate the number of different values.
            PanelMetric::Unique { .. } => {
                let (one, other) = (one.unwrap_or(0.0), other.unwrap_or(0.0));
                (one - other).abs() <= other / 100.0
            }
            _ => one == other,
        })
}

fn every_field_exists_and_is_aggregatable(corner: &Corner) {
    load(corner, &[event(1)], &["--fields", "lean"]);
    let dashboards = Dashboards::embedded().unwrap();
    for (data, index) in [(Data::Events, "*"), (Data::Runs, "runs")] {
        let fields: Vec<String> = dashboards.fields(data).into_iter().collect();
        let path = format!("/{}-{index}/_field_caps?fields={}", corner.prefix(), fields.join(","));
        let answer = corner.ask("GET", &path, &Value::Null);
        for field in fields {
            let kinds = answer["fields"][&field].as_object();
            let kinds = kinds.unwrap_or_else(|| panic!("{field} is not mapped"));
            for (kind, about) in kinds {
                assert_eq!(about["aggregatable"], true, "{field} {kind}");
                assert_eq!(about["searchable"], true, "{field} {kind}");
            }
        }
    }
}

fn an_older_index_gets_the_principal(corner: &Corner) {
    let mut event = event(1);
    event["eventTime"] = "2024-02-03T04:05:06Z".into();
    event["userIdentity"] = json!({ "type": "IAMUser", "userName": "alice" });
    let older = json!({ "mappings": {
        "dynamic": false,
        "_meta": { "managed_by": "trailload", "version": 4 },
        "properties": { "eventName": { "type": "keyword" } },
    } });
    corner.ask("PUT", &format!("/{}-2024.02", corner.prefix()), &older);
    let desk = Desk::new();
    let file = desk.file("a.json", records(&[event]));
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0).counted([1, 1, 0, 0]);
    corner.refresh();
    assert_eq!(corner.found(&json!({ "term": { "trailload.principal": "user/alice" } })), 1);
}
