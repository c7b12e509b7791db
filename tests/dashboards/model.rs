//! A plain count over events: lists are filtered and grouped again for each panel, and nothing is kept.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;
use trailload::dashboard::{
    AnswerRow, Dashboards, Data, GroupKey, KqlExpression, Panel, PanelBucket, PanelMetric,
    SortOrder,
};
use trailload::filter::principal::short_principal;

use crate::support::samples::Samples;

/// An event and its time in milliseconds since 1970.
pub(super) struct DatedEvent {
    pub(super) event: Value,
    time: i64,
    /// The values that an index has, by field.
    values: BTreeMap<String, Vec<String>>,
}

impl DatedEvent {
    fn values(&self, field: &str) -> &[String] {
        self.values.get(field).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Returns the sample events with a time, each with an id of its own, so that each becomes a document.
pub(super) fn sample_events() -> Vec<DatedEvent> {
    let fields = Dashboards::embedded().unwrap().fields(Data::Events);
    let mut events = Vec::new();
    for (number, line) in Samples::shipped().lines().iter().enumerate() {
        let Ok(mut event) = serde_json::from_slice::<Value>(line) else { continue };
        let time = event["eventTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let Some(time) = time.filter(|time| time.as_second() > 1_000_000_000) else { continue };
        event["eventID"] = format!("00000000-0000-4000-8000-{number:012x}").into();
        let values = fields.iter().map(|field| (field.clone(), values(&event, field))).collect();
        events.push(DatedEvent { event, time: time.as_millisecond(), values });
    }
    assert!(events.len() > 4_000);
    events
}

/// Returns the values that an index has for a field of an event.
fn values(event: &Value, field: &str) -> Vec<String> {
    match field {
        "trailload.principal" => vec![short_principal(event).into_owned()],
        "source.ip" => {
            let address = event["sourceIPAddress"].as_str().unwrap_or_default();
            address.parse::<IpAddr>().iter().map(ToString::to_string).collect()
        }
        _ => {
            let mut found = BTreeSet::new();
            let keys: Vec<&str> = field.split('.').collect();
            collect(event, &keys, &mut found);
            found.into_iter().collect()
        }
    }
}

fn collect(value: &Value, keys: &[&str], found: &mut BTreeSet<String>) {
    match (value, keys) {
        (Value::Array(list), keys) => list.iter().for_each(|part| collect(part, keys, found)),
        (Value::Object(members), [key, below @ ..]) => {
            if let Some(value) = members.get(*key) {
                collect(value, below, found);
            }
        }
        // Longer texts are in the document, but not in the index.
        (Value::String(text), []) if text.encode_utf16().count() <= 1_024 => {
            found.insert(text.clone());
        }
        (Value::Bool(_) | Value::Number(_), []) => {
            found.insert(value.to_string());
        }
        _ => {}
    }
}

fn matches(query: &KqlExpression, event: &DatedEvent) -> bool {
    let mut read: Vec<&[String]> = Vec::new();
    let query = query.map_fields(&mut |field: &String| {
        read.push(event.values(field));
        read.len() - 1
    });
    query.holds(&|number: &usize| read[*number])
}

/// Returns the events that a panel is about.
pub(super) fn matching<'e>(panel: &Panel, events: &'e [DatedEvent]) -> Vec<&'e DatedEvent> {
    events.iter().filter(|event| matches(&panel.expression, event)).collect()
}

/// Returns the start of the interval of a time axis that contains a time.
pub(super) type StartOf = fn(i64) -> i64;

/// What is computed for groups.
struct Computed<'p> {
    metrics: &'p [PanelMetric],
    start_of: StartOf,
}

/// Returns the rows of a panel.
pub(super) fn rows(panel: &Panel, events: &[&DatedEvent], start_of: StartOf) -> Vec<AnswerRow> {
    let mut buckets: Vec<&PanelBucket> = panel.buckets.iter().collect();
    // A series has its own time axis.
    let is_series = buckets.len() == 2 && *buckets[0] == PanelBucket::Time;
    if is_series {
        buckets.reverse();
    }
    let mut rows = Vec::new();
    let computed = Computed { metrics: &panel.metrics, start_of };
    add_rows(&computed, &buckets, events, &[], &mut rows);
    if is_series {
        for row in &mut rows {
            row.keys.reverse();
        }
    }
    rows
}

fn add_rows(
    computing: &Computed<'_>,
    buckets: &[&PanelBucket],
    events: &[&DatedEvent],
    keys: &[GroupKey],
    rows: &mut Vec<AnswerRow>,
) {
    let [bucket, inside @ ..] = buckets else {
        let metrics = computing.metrics.iter();
        let values = metrics.map(|metric| computed(metric, events)).collect();
        rows.push(AnswerRow { keys: keys.to_vec(), values });
        return;
    };
    for (key, group) in groups(bucket, computing, events) {
        let keys: Vec<GroupKey> = keys.iter().cloned().chain([key]).collect();
        add_rows(computing, inside, &group, &keys, rows);
    }
}

fn groups<'e>(
    bucket: &PanelBucket,
    computing: &Computed<'_>,
    events: &[&'e DatedEvent],
) -> Vec<(GroupKey, Vec<&'e DatedEvent>)> {
    let (first, start_of) = (&computing.metrics[0], computing.start_of);
    let having = |holds: &dyn Fn(&DatedEvent) -> bool| -> Vec<&'e DatedEvent> {
        events.iter().copied().filter(|event| holds(event)).collect()
    };
    match bucket {
        PanelBucket::Time => {
            let starts: BTreeSet<i64> = events.iter().map(|event| start_of(event.time)).collect();
            let group = |start| having(&|event| start_of(event.time) == start);
            starts.into_iter().map(|start| (GroupKey::Time(start), group(start))).collect()
        }
        PanelBucket::Filters { filters, .. } => filters
            .iter()
            .map(|filter| {
                let group = having(&|event| matches(&filter.expression, event));
                (GroupKey::Text(filter.label.clone()), group)
            })
            .collect(),
        PanelBucket::Terms { field, size, order, .. } => {
            let mut groups: BTreeMap<&str, Vec<&DatedEvent>> = BTreeMap::new();
            for event in events {
                for value in event.values(field) {
                    groups.entry(value).or_default().push(event);
                }
            }
            let mut groups: Vec<(&str, Vec<&DatedEvent>)> = groups.into_iter().collect();
            groups.sort_by(|(one, a), (other, b)| {
                let by_value = computed(first, a).partial_cmp(&computed(first, b)).unwrap();
                let by_value =
                    if *order == SortOrder::Descending { by_value.reverse() } else { by_value };
                by_value.then_with(|| match field.as_str() {
                    "source.ip" => by_address(one, other),
                    _ => one.cmp(other),
                })
            });
            groups.truncate(*size);
            let key = |value: &str| GroupKey::Text(value.to_owned());
            groups.into_iter().map(|(value, group)| (key(value), group)).collect()
        }
    }
}

fn by_address(one: &str, other: &str) -> Ordering {
    let address = |text: &str| match text.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => Some(address.to_ipv6_mapped()),
        IpAddr::V6(address) => Some(address),
    };
    match (address(one), address(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.cmp(other),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds and numbers of events are below 2^53")]
fn computed(metric: &PanelMetric, events: &[&DatedEvent]) -> Option<f64> {
    let times = events.iter().map(|event| event.time as f64);
    match metric {
        PanelMetric::Count { .. } => Some(events.len() as f64),
        PanelMetric::Unique { field, .. } => {
            let all: BTreeSet<&String> =
                events.iter().flat_map(|event| event.values(field)).collect();
            Some(all.len() as f64)
        }
        PanelMetric::Min { .. } => times.reduce(f64::min),
        PanelMetric::Max { .. } => times.reduce(f64::max),
        PanelMetric::Sum { .. } => panic!("no panel about events sums"),
    }
}

/// Returns the start of a calendar month.
pub(super) fn month(time: i64) -> i64 {
    let date = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(time).unwrap()).date();
    midnight(Date::new(date.year(), date.month(), 1).unwrap())
}

/// Returns the start of a calendar year.
pub(super) fn year(time: i64) -> i64 {
    let date = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(time).unwrap()).date();
    midnight(Date::new(date.year(), 1, 1).unwrap())
}

fn midnight(date: Date) -> i64 {
    date.to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond()
}
