//! Progress where nobody watches: a plain line now and then, in a file, a pipe or a cron mail.

use std::{fmt::Write as _, sync::atomic::Ordering::Relaxed, time::Duration};

use serde_json::{Map, Value};

use super::{
    Tally, figures,
    log::Log,
    rate::{Rate, Speed},
    regions::{self, Row, View},
};

/// Time between two lines: a night's log stays readable, and a stall is seen within a minute.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// What is remembered from one line to the next.
#[derive(Debug, Default)]
pub struct Lines {
    rate: Rate,
    /// All accounts and Regions of the event history, once it is known which there are.
    regions: Option<Row>,
}

impl Lines {
    /// Writes one progress line, `elapsed` after the start of the run.
    pub fn write(&mut self, log: &Log, tally: &Tally, elapsed: Duration) {
        let speed = self.rate.sample(elapsed, tally.into());
        let history = self.history(tally, elapsed);
        log.event("progress", &text(tally, &speed, history.as_ref()), || {
            fields(tally, &speed, history.as_ref(), elapsed)
        });
    }

    /// Returns how far the event history is, if it is read.
    fn history(&mut self, tally: &Tally, elapsed: Duration) -> Option<View> {
        let (_, progress) = tally.lookup.get()?;
        let row = self.regions.get_or_insert_with(|| regions::all(progress, Duration::ZERO));
        Some(row.look(progress, elapsed))
    }
}

/// Returns the time until all is done. Files that are found tell nothing about the event history.
fn left(speed: &Speed, history: Option<&View>) -> Option<Duration> {
    history.map_or(speed.left, |view| view.left)
}

fn fields(
    tally: &Tally,
    speed: &Speed,
    history: Option<&View>,
    elapsed: Duration,
) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, number) in [
        ("read", &tally.read),
        ("created", &tally.created),
        ("already_there", &tally.already_there),
        ("set_aside", &tally.set_aside),
        ("bytes_consumed", &tally.bytes_consumed),
        ("bytes_found", &tally.bytes_found),
        ("retries", &tally.retries),
    ] {
        fields.insert(name.into(), number.load(Relaxed).into());
    }
    if let Some(view) = history {
        fields.insert("requests".into(), view.requests.into());
        let expected = Some(view.expected).filter(|expected| *expected > 0);
        fields.insert("requests_expected".into(), expected.map_or(Value::Null, Value::from));
        fields.insert("regions".into(), view.regions.into());
        fields.insert("regions_done".into(), view.over.into());
        fields.insert("quota".into(), view.quota.map_or(Value::Null, Value::from));
    }
    let seconds_left = left(speed, history).map(|left| left.as_secs());
    fields.insert("documents_per_second".into(), figures::whole(speed.records).into());
    fields.insert("seconds".into(), elapsed.as_secs().into());
    fields.insert("seconds_left".into(), seconds_left.map_or(Value::Null, Value::from));
    fields
}

fn text(tally: &Tally, speed: &Speed, history: Option<&View>) -> String {
    let mut line = format!(
        "progress: {} read, {} created, {} already there, {} set aside; ",
        figures::count(tally.read.load(Relaxed)),
        figures::count(tally.created.load(Relaxed)),
        figures::count(tally.already_there.load(Relaxed)),
        figures::count(tally.set_aside.load(Relaxed)),
    );
    // Pages of the event history are no files: nobody knows their bytes before.
    let bytes_found = tally.bytes_found.load(Relaxed);
    if bytes_found > 0 || history.is_none() {
        let consumed = figures::bytes(tally.bytes_consumed.load(Relaxed));
        let _ = write!(line, "{consumed} of {} found; ", figures::bytes(bytes_found));
    }
    if let Some(view) = history {
        let (over, regions) = (view.over, figures::counted(view.regions as u64, "Region"));
        let _ = write!(line, "{over} of {regions} done, ");
        let requests = figures::count(view.requests);
        let _ = match view.expected {
            0 => write!(line, "{requests} requests"),
            expected => write!(line, "{requests} of about {} requests", figures::count(expected)),
        };
        if let Some(quota) = view.quota {
            let _ = write!(line, ", quota {}", regions::percent(quota));
        }
        line.push_str("; ");
    }
    let _ = write!(
        line,
        "{} documents/s, {}/s",
        figures::count(figures::whole(speed.records)),
        figures::bytes(figures::whole(speed.bytes)),
    );
    if let Some(left) = left(speed, history) {
        let _ = write!(line, "; about {} left", figures::duration(left));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{super::tally::Amount, *};
    use crate::report::log::{Format, Verbosity, tests::page};

    fn half_way() -> Tally {
        let tally = Tally::new(["trail".to_owned()]);
        tally.found(0, 2_097_152);
        tally.consumed(0, 1_048_576);
        tally.listed.store(true, Relaxed);
        tally.taken(0, Amount { records: 12_000, bytes: 9_437_184, ..Amount::default() });
        tally.created.store(11_500, Relaxed);
        tally
    }

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let (log, page) = page(Format::Text, Verbosity::Normal);
        Lines::default().write(&log, &half_way(), INTERVAL);
        assert_eq!(
            page.text(),
            "progress: 12,000 read, 11,500 created, 0 already there, 0 set aside; \
             1.0 MiB of 2.0 MiB found; 400 documents/s, 307.2 KiB/s; about 30.0 s left\n"
        );
    }

    #[test]
    fn the_same_numbers_as_json() {
        let (log, page) = page(Format::Json, Verbosity::Normal);
        Lines::default().write(&log, &half_way(), INTERVAL);
        let line: Value = serde_json::from_str(&page.text()).unwrap();
        assert_eq!(line["about"], "progress");
        assert_eq!(line["read"], 12_000);
        assert_eq!(line["created"], 11_500);
        assert_eq!(line["documents_per_second"], 400);
        assert_eq!(line["seconds_left"], 30);
    }

    #[test]
    fn the_event_history_has_requests_and_no_bytes() {
        let (log, page) = page(Format::Text, Verbosity::Normal);
        let tally = Tally::new(["lookup".to_owned()]);
        tally.lookup.set((0, regions::tests::half_way(1, 2).into())).unwrap();
        tally.taken(0, Amount { records: 5_000, bytes: 9_437_184, ..Amount::default() });
        Lines::default().write(&log, &tally, Duration::from_secs(50));
        assert_eq!(
            page.text(),
            "progress: 5,000 read, 0 created, 0 already there, 0 set aside; 0 of 2 Regions done, 100 of about \
             200 requests, quota 50 %; 100 documents/s, 184.3 KiB/s; about 50.0 s left\n"
        );
    }
}
