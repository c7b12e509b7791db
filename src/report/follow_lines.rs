//! One line an interval on a run that follows its sources: what was read since the last one, and the lag of each source.
//!
//! Input: the counters, with the state of each source. Output: a text line or a JSON object.
//! Invariant: text and JSON report the same numbers. Nothing is written before a source was asked for new events.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Log, Metrics, format, metrics::RecordCounts};
use crate::event::SourceObservation;

/// Time between two lines: a day has 1,440, which logs keep, and a lag is noticed within a minute.
const INTERVAL: Duration = Duration::from_mins(1);

/// Writes lines until it is dropped.
#[derive(Debug)]
pub struct FollowReporter {
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl FollowReporter {
    /// Starts to write lines. `now` returns the current time.
    pub fn start(metrics: Arc<Metrics>, log: Log, now: fn() -> Timestamp) -> Self {
        let (finish, finished) = mpsc::channel::<()>();
        let write = move || {
            let mut lines = FollowLines::default();
            while finished.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                lines.write(&log, &metrics, now());
            }
        };
        // If the thread cannot be started, the run works as well, without lines.
        let thread = thread::Builder::new().name("follow".to_owned()).spawn(write).ok();
        Self { thread: thread.map(|thread| (finish, thread)) }
    }
}

impl Drop for FollowReporter {
    fn drop(&mut self) {
        if let Some((finish, thread)) = self.thread.take() {
            drop(finish);
            // If the thread panicked, its message was printed.
            let _ = thread.join();
        }
    }
}

/// The counters at the last line.
#[derive(Debug, Default)]
struct FollowLines {
    last: RecordCounts,
}

impl FollowLines {
    fn write(&mut self, log: &Log, metrics: &Metrics, now: Timestamp) {
        let states = metrics.sources.iter();
        let states = states.filter_map(|source| Some((&*source.name, source.observation()?)));
        let states: Vec<_> = states.collect();
        if states.is_empty() {
            return;
        }
        let counts = metrics.record_counts();
        let since = counts.since(self.last);
        self.last = counts;
        let is_load = metrics.engine.get().is_some();
        log.event("follow", &text(since, is_load, &states, now), || {
            fields(since, is_load, &states, now)
        });
    }
}

fn text(
    counts: RecordCounts,
    is_load: bool,
    states: &[(&str, SourceObservation)],
    now: Timestamp,
) -> String {
    let RecordCounts { read, created, duplicates, dead_letters } = counts;
    let mut line = format!("following: {} read", format::count(read));
    if is_load {
        let [created, duplicates, dead_letters] =
            [created, duplicates, dead_letters].map(format::count);
        let _ = write!(
            line,
            ", {created} created, {duplicates} duplicates, {dead_letters} dead letters"
        );
    }
    for (name, state) in states {
        let _ = write!(line, "; {name}: {}", lag(state, now));
    }
    line
}

/// Describes how far a source is behind.
fn lag(state: &SourceObservation, now: Timestamp) -> String {
    let ago = |time: Timestamp| format!("{} ago", format::duration(age(time, now)));
    let SourceObservation { oldest_waiting, waiting, in_flight, newest_event, covered_until } =
        state;
    let parts = [
        waiting.map(|messages| format!("{} waiting", format::plural(messages, "message"))),
        in_flight.map(|messages| format!("{} in flight", format::count(messages))),
        oldest_waiting.map(|time| format!("the oldest sent {}", ago(time))),
        newest_event.map(|time| format!("newest event {}", ago(time))),
        covered_until.map(|time| format!("complete to {}", ago(time))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing yet".to_owned() } else { parts.join(", ") }
}

fn age(time: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(time).try_into().unwrap_or(Duration::ZERO)
}

fn fields(
    counts: RecordCounts,
    is_load: bool,
    states: &[(&str, SourceObservation)],
    now: Timestamp,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let RecordCounts { read, created, duplicates, dead_letters } = counts;
    fields.insert("read".into(), read.into());
    if is_load {
        fields.insert("created".into(), created.into());
        fields.insert("duplicates".into(), duplicates.into());
        fields.insert("dead_letters".into(), dead_letters.into());
    }
    let sources = states.iter().map(|(name, state)| source_fields(name, state, now));
    fields.insert("sources".into(), sources.collect());
    fields
}

fn source_fields(name: &str, state: &SourceObservation, now: Timestamp) -> Value {
    let seconds = |time: Option<Timestamp>| time.map(|time| age(time, now).as_secs());
    let SourceObservation { oldest_waiting, waiting, in_flight, newest_event, covered_until } =
        *state;
    let mut fields = Map::new();
    fields.insert("source".into(), name.into());
    for (key, value) in [
        ("waiting", waiting),
        ("in_flight", in_flight),
        ("oldest_message_seconds", seconds(oldest_waiting)),
        ("newest_event_seconds", seconds(newest_event)),
        ("covered_until_seconds", seconds(covered_until)),
    ] {
        if let Some(value) = value {
            fields.insert(key.into(), value.into());
        }
    }
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        log::{LogFormat, Verbosity, tests::page},
        metrics::RecordTotals,
    };

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_has_the_counts_since_the_last_one_and_the_lag_of_each_source() {
        let metrics = Metrics::new(["lookup".to_owned(), "sqs://events".to_owned()]);
        let now = time("2024-06-01T12:00:00Z");
        let write = |format, lines: &mut FollowLines| {
            let (log, page) = page(format, Verbosity::Normal);
            lines.write(&log, &metrics, now);
            page.text()
        };
        let mut lines = FollowLines::default();
        assert_eq!(write(LogFormat::Text, &mut lines), "", "nothing was asked yet");
        metrics.sources[0].observe(SourceObservation {
            newest_event: Some(time("2024-06-01T11:59:20Z")),
            covered_until: Some(time("2024-06-01T11:44:00Z")),
            ..SourceObservation::default()
        });
        metrics.sources[1].observe(SourceObservation {
            oldest_waiting: Some(time("2024-06-01T11:58:00Z")),
            waiting: Some(1_200),
            in_flight: Some(40),
            ..SourceObservation::default()
        });
        let records = RecordTotals { records: 7, bytes: 70, ..RecordTotals::default() };
        metrics.add_read(0, records);
        assert_eq!(
            write(LogFormat::Text, &mut lines),
            "following: 7 read; lookup: newest event 40.0 s ago, complete to 16 min 0 s ago; sqs://events: 1,200 messages \
             waiting, 40 in flight, the oldest sent 2 min 0 s ago\n"
        );
        let _ = metrics.engine.set("OpenSearch".to_owned());
        let json: Value = serde_json::from_str(&write(LogFormat::Json, &mut lines)).unwrap();
        assert_eq!((&json["read"], &json["created"]), (&0.into(), &0.into()));
        assert_eq!(json["sources"][0]["newest_event_seconds"], 40);
        assert_eq!(json["sources"][1]["oldest_message_seconds"], 120);
    }
}
