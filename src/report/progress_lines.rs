//! Progress lines at regular intervals, for a file, a pipe or a cron mail.
//!
//! Input: the counters. Output: one text line or JSON object per interval.
//! Invariant: text and JSON report the same numbers.

use std::{fmt::Write as _, sync::atomic::Ordering::Relaxed, time::Duration};

use serde_json::{Map, Value};

use super::{
    Metrics, format,
    log::Log,
    region_progress::{self, RegionGroup, RegionGroupStatus},
    throughput::{Throughput, ThroughputMeter},
};

/// Time between two lines: keeps the log of a long run readable, and shows a stall within a minute.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);

/// The state kept between lines.
#[derive(Debug, Default)]
pub(super) struct ProgressLines {
    rate: ThroughputMeter,
    /// All accounts and Regions of the event history, once known.
    regions: Option<RegionGroup>,
}

impl ProgressLines {
    /// Writes one progress line at the time `elapsed` since the start of the run.
    ///
    /// Writes nothing once sources are followed: there is no end to progress to.
    pub(super) fn write(&mut self, log: &Log, metrics: &Metrics, elapsed: Duration) {
        if metrics.sources.iter().any(|source| source.observation().is_some()) {
            return;
        }
        let speed = self.rate.sample(elapsed, metrics.into());
        let history = self.history(metrics, elapsed);
        log.event("progress", &text(metrics, &speed, history.as_ref()), || {
            fields(metrics, &speed, history.as_ref(), elapsed)
        });
    }

    /// Returns the progress of the event history, if it is being loaded.
    fn history(&mut self, metrics: &Metrics, elapsed: Duration) -> Option<RegionGroupStatus> {
        let (_, progress) = metrics.lookup.get()?;
        let row =
            self.regions.get_or_insert_with(|| region_progress::all(progress, Duration::ZERO));
        Some(row.look(progress, elapsed))
    }
}

/// Returns the estimated remaining time. For the event history it is derived from requests instead of files.
fn left(speed: &Throughput, history: Option<&RegionGroupStatus>) -> Option<Duration> {
    history.map_or(speed.left, |view| view.left)
}

fn fields(
    metrics: &Metrics,
    speed: &Throughput,
    history: Option<&RegionGroupStatus>,
    elapsed: Duration,
) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, number) in [
        ("read", &metrics.read),
        ("created", &metrics.created),
        ("duplicates", &metrics.duplicates),
        ("dead_letters", &metrics.dead_letters),
        ("bytes_consumed", &metrics.bytes_consumed),
        ("bytes_found", &metrics.bytes_found),
        ("retries", &metrics.retries),
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
    fields.insert("documents_per_second".into(), format::round(speed.records).into());
    fields.insert("seconds".into(), elapsed.as_secs().into());
    fields.insert("seconds_left".into(), seconds_left.map_or(Value::Null, Value::from));
    fields
}

fn text(metrics: &Metrics, speed: &Throughput, history: Option<&RegionGroupStatus>) -> String {
    let mut line = format!(
        "progress: {} read, {} created, {} duplicates, {} dead letters; ",
        format::count(metrics.read.load(Relaxed)),
        format::count(metrics.created.load(Relaxed)),
        format::count(metrics.duplicates.load(Relaxed)),
        format::count(metrics.dead_letters.load(Relaxed)),
    );
    // Pages of the event history are not files: their total size is unknown.
    let bytes_found = metrics.bytes_found.load(Relaxed);
    if bytes_found > 0 || history.is_none() {
        let consumed = format::bytes(metrics.bytes_consumed.load(Relaxed));
        let _ = write!(line, "{consumed} of {} found; ", format::bytes(bytes_found));
    }
    if let Some(view) = history {
        let (over, regions) = (view.over, format::plural(view.regions as u64, "Region"));
        let _ = write!(line, "{over} of {regions} done, ");
        let requests = format::count(view.requests);
        let _ = match view.expected {
            0 => write!(line, "{requests} requests"),
            expected => write!(line, "{requests} of about {} requests", format::count(expected)),
        };
        if let Some(quota) = view.quota {
            let _ = write!(line, ", quota {}", region_progress::percent(quota));
        }
        line.push_str("; ");
    }
    let _ = write!(
        line,
        "{} documents/s, {}/s",
        format::count(format::round(speed.records)),
        format::bytes(format::round(speed.bytes)),
    );
    if let Some(left) = left(speed, history) {
        let _ = write!(line, "; about {} left", format::duration(left));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{super::metrics::RecordTotals, *};
    use crate::report::log::{LogFormat, Verbosity, tests::page};

    fn half_way() -> Metrics {
        let metrics = Metrics::new(["trail".to_owned()]);
        metrics.add_found(0, 2_097_152);
        metrics.add_consumed(0, 1_048_576);
        metrics.listed.store(true, Relaxed);
        metrics.add_read(
            0,
            RecordTotals { records: 12_000, bytes: 9_437_184, ..RecordTotals::default() },
        );
        metrics.created.store(11_500, Relaxed);
        metrics
    }

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        ProgressLines::default().write(&log, &half_way(), INTERVAL);
        assert_eq!(
            page.text(),
            "progress: 12,000 read, 11,500 created, 0 duplicates, 0 dead letters; \
             1.0 MiB of 2.0 MiB found; 400 documents/s, 307.2 KiB/s; about 30.0 s left\n"
        );
    }

    #[test]
    fn the_same_numbers_as_json() {
        let (log, page) = page(LogFormat::Json, Verbosity::Normal);
        ProgressLines::default().write(&log, &half_way(), INTERVAL);
        let line: Value = serde_json::from_str(&page.text()).unwrap();
        assert_eq!(line["about"], "progress");
        assert_eq!(line["read"], 12_000);
        assert_eq!(line["created"], 11_500);
        assert_eq!(line["documents_per_second"], 400);
        assert_eq!(line["seconds_left"], 30);
    }

    #[test]
    fn the_event_history_has_requests_and_no_bytes() {
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        let metrics = Metrics::new(["lookup".to_owned()]);
        metrics.lookup.set((0, region_progress::tests::half_way(1, 2).into())).unwrap();
        metrics.add_read(
            0,
            RecordTotals { records: 5_000, bytes: 9_437_184, ..RecordTotals::default() },
        );
        ProgressLines::default().write(&log, &metrics, Duration::from_secs(50));
        assert_eq!(
            page.text(),
            "progress: 5,000 read, 0 created, 0 duplicates, 0 dead letters; 0 of 2 Regions done, 100 of about \
             200 requests, quota 50 %; 100 documents/s, 184.3 KiB/s; about 50.0 s left\n"
        );
    }
}
