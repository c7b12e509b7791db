//! Tests of the whole source with the real SDK client against a strict model of the service, in paused time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::MutexGuard;

use super::super::LookupFilter;
use super::super::tests::model::Model;
use super::super::tests::{ACCOUNT, Connection, DAY, Fault, NOW, target};
use super::*;
use crate::shutdown::{ShutdownLevel, shutdown_channel};
use crate::source::{Error as SourceError, Slice, SourceEvent, for_each_event};

/// Something that happens while a search runs.
type Happening = (Duration, Box<dyn Fn(&mut Model)>);

/// A search and the service that it asks.
struct SearchBench {
    connection: Connection,
    targets: Vec<LookupTarget>,
    options: LookupSearchOptions,
    /// Events after which no more are wanted.
    limit: usize,
    stop_after: Option<Duration>,
    happenings: Vec<Happening>,
}

/// What a search delivered.
#[derive(Debug, Default)]
struct Found {
    /// Time since the start, Region and ID of each event, in order.
    events: Vec<(Duration, String, String)>,
    slices: BTreeMap<String, (Slice, u32)>,
    open: BTreeSet<String>,
    failed: Vec<String>,
    result: Option<Result<(), SourceError>>,
    time: Duration,
}

impl SearchBench {
    fn new(regions: &[&str]) -> Self {
        let mut bench = Self {
            connection: Connection::new(),
            targets: Vec::new(),
            options: LookupSearchOptions::new(EpochClock::new(|| NOW)),
            limit: usize::MAX,
            stop_after: None,
            happenings: Vec::new(),
        };
        bench.options.source_number = 7;
        bench.set_regions(regions);
        bench
    }

    fn with_latency(regions: &[&str], latency: Duration) -> Self {
        let mut bench = Self::new(regions);
        bench.connection.latency = latency;
        bench.set_regions(regions);
        bench
    }

    fn set_regions(&mut self, regions: &[&str]) {
        let targets = regions.iter().map(|region| target(&self.connection, ACCOUNT, region));
        self.targets = targets.collect();
    }

    fn follow(&mut self, stop_after: Duration) {
        self.options.follow = Some(FollowOptions::default());
        self.stop_after = Some(stop_after);
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.connection.model.lock().unwrap()
    }

    fn put(&self, region: &str, days: i64, count: u32) {
        self.model().put(ACCOUNT, region, NOW - days * DAY, NOW - 1, count);
    }

    fn faults(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.connection.faults.lock().unwrap().extend(faults);
    }

    /// Adds an event to `us-east-1` that appears so many seconds after the start, and is that much older.
    fn put_late(&mut self, seconds_after_start: u64, age: i64) {
        let second = NOW + seconds_after_start.cast_signed() - age;
        let put = move |model: &mut Model| model.put(ACCOUNT, "us-east-1", second, second, 1);
        self.happenings.push((Duration::from_secs(seconds_after_start), Box::new(put)));
    }

    fn run(&mut self) -> Found {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(self.go())
    }

    async fn go(&mut self) -> Found {
        let start = Instant::now();
        self.connection.time.lock().unwrap().run_started_at = Some(start);
        self.options.clock = EpochClock::new(move || NOW + start.elapsed().as_secs().cast_signed());
        let (trigger, shutdown) = shutdown_channel();
        let source = LookupSearch::new(self.targets.clone(), self.options.clone());
        let mut found = Found::default();
        let limit = self.limit;
        let run = for_each_event(Box::new(source), shutdown, |source_number, event| {
            assert_eq!(source_number, 7);
            note(event, &mut found, start);
            if found.events.len() >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let model = self.connection.model.clone();
        let happen = async {
            for (at, change) in &self.happenings {
                tokio::time::sleep_until(start + *at).await;
                change(&mut model.lock().unwrap());
            }
            std::future::pending::<()>().await;
        };
        let stop = async {
            match self.stop_after {
                Some(after) => tokio::time::sleep_until(start + after).await,
                None => std::future::pending().await,
            }
            trigger.raise(ShutdownLevel::Draining);
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = run => result,
            () = stop => unreachable!(),
            () = happen => unreachable!(),
        };
        found.time = start.elapsed();
        found.result = Some(result);
        found
    }

    /// Checks that exactly the events of these seconds were delivered, each once.
    fn assert_all(&self, found: &Found, from: i64, to: i64) {
        found.assert_fine();
        let ids: BTreeSet<_> = found.ids().into_iter().collect();
        assert_eq!(ids, self.model().ids(from, to));
        assert_eq!(found.events.len(), ids.len(), "some came twice");
    }
}

/// Takes in an event of the source, and checks the contract of pages and slices.
fn note(event: SourceEvent, found: &mut Found, start: Instant) {
    match event {
        SourceEvent::SliceStarted(slice) => {
            found.open.insert(slice.key.clone());
            assert!(found.slices.insert(slice.key.clone(), (slice, 0)).is_none());
        }
        SourceEvent::Page(page) => {
            assert!(found.open.contains(&page.key));
            let (slice, pages) = found.slices.get_mut(&page.key).unwrap();
            assert_eq!(page.number, *pages);
            *pages += 1;
            assert!(!page.content.events.is_empty());
            let region = slice.series.split('/').nth(1).unwrap();
            let at = start.elapsed();
            for event in page.content.events {
                found.events.push((at, region.to_owned(), event.id.unwrap()));
            }
        }
        SourceEvent::SliceEnded { key, pages, .. } => {
            assert!(found.open.remove(&key));
            assert_eq!(found.slices[&key].1, pages);
        }
        SourceEvent::Failed(error) => {
            found.failed.push(format!("{}: {}", error.subject(), error.describe()));
        }
        SourceEvent::Observed(_) => {}
        other => panic!("{other:?}"),
    }
}

impl Found {
    fn assert_fine(&self) {
        assert!(matches!(self.result, Some(Ok(()))), "{:?}", self.result);
        assert_eq!(self.failed, Vec::<String>::new());
    }

    fn ids(&self) -> Vec<String> {
        self.events.iter().map(|(_, _, id)| id.clone()).collect()
    }
}

/// Returns the seconds of events, newest last, by ID.
fn seconds_by_id(model: &Model) -> BTreeMap<String, i64> {
    model.events.values().flatten().map(|event| (event.id.clone(), event.second)).collect()
}

fn assert_newest_first(bench: &SearchBench, found: &Found) {
    let seconds = seconds_by_id(&bench.model());
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, region, id) in &found.events {
        let second = seconds[id];
        let before = last.insert(region, second).unwrap_or(i64::MAX);
        assert!(second <= before, "{region}: {second} after {before}");
    }
}

#[test]
fn all_events_come_once_and_newest_first_at_any_latency() {
    for millis in [50, 200, 700, 4_000] {
        let mut bench =
            SearchBench::with_latency(&["us-east-1", "eu-west-1"], Duration::from_millis(millis));
        bench.put("us-east-1", 80, 6_000);
        bench.put("eu-west-1", 3, 130);
        let found = bench.run();
        bench.assert_all(&found, NOW - 90 * DAY, NOW);
        assert_newest_first(&bench, &found);
        assert_eq!(found.open, BTreeSet::new());
        assert_eq!(found.slices.len(), 2, "one for each Region");
    }
}

/// Returns the share of the quota that was used from the first request to the last, and requests for each full page.
fn quota_used(bench: &SearchBench, pages: f64) -> (f64, f64) {
    let model = bench.model();
    let asked = model.asked()[&(ACCOUNT.to_owned(), "us-east-1".to_owned())];
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let granted = asked.granted as f64;
    ((granted - 1.0) / (asked.last - asked.first) / 2.0, granted / pages)
}

#[test]
fn the_quota_is_used_at_any_latency_and_few_requests_are_wasted() {
    for (millis, waste, pages) in
        [(50, 1.005, 400), (200, 1.005, 400), (1_000, 1.06, 400), (5_000, 1.10, 1_000)]
    {
        let mut bench = SearchBench::with_latency(&["us-east-1"], Duration::from_millis(millis));
        bench.put("us-east-1", 10, pages * 50);
        let found = bench.run();
        bench.assert_all(&found, NOW - 90 * DAY, NOW);
        let (quota, requests) = quota_used(&bench, pages.into());
        println!("{millis} ms: {:.1} % of the quota, {requests:.3} requests a page", quota * 100.0);
        assert!(quota >= 0.97, "{quota} at {millis} ms");
        assert!(requests < waste, "{requests} at {millis} ms");
        assert!(bench.model().asked().values().all(|asked| asked.throttled == 0));
    }
}

#[test]
fn a_short_search_takes_little_more_time_than_its_quota_at_a_high_latency() {
    let mut bench = SearchBench::with_latency(&["us-east-1"], Duration::from_secs(3));
    bench.put("us-east-1", 89, 40 * 50);
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW);
    // The first response, 39 pages at two a second, and the last response.
    let least = Duration::from_secs(3 + 20 + 3);
    println!("{:?} and {} requests for 40 pages", found.time, bench.model().granted());
    assert!(found.time < least + Duration::from_secs(12), "{:?}", found.time);
}

#[test]
fn twenty_regions_use_their_quotas_at_the_same_time() {
    let regions: Vec<String> = (0..20).map(|number| format!("region-{number}-")).collect();
    let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
    let mut bench = SearchBench::with_latency(&regions, Duration::from_millis(700));
    for region in &regions {
        bench.put(region, 10, 100 * 50);
    }
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW);
    let model = bench.model();
    for ((_, region), asked) in model.asked() {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let share = (asked.granted as f64 - 1.0) / (asked.last - asked.first) / 2.0;
        assert!(share >= 0.97 && asked.throttled == 0, "{region}: {share}, {asked:?}");
    }
    println!("{:?} for {} pages in each Region", found.time, 100);
}

#[test]
fn the_first_events_come_after_one_latency_in_every_region() {
    let regions: Vec<String> = (0..20).map(|number| format!("region-{number}-")).collect();
    let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
    for millis in [100, 3_000] {
        let latency = Duration::from_millis(millis);
        let mut bench = SearchBench::with_latency(&regions, latency);
        for region in &regions {
            bench.put(region, 30, 500);
        }
        let found = bench.run();
        bench.assert_all(&found, NOW - 90 * DAY, NOW);
        for region in &regions {
            let (at, ..) = found.events.iter().find(|(_, of, _)| of == region).unwrap();
            assert!(*at <= latency + Duration::from_millis(10), "{region}: {at:?}");
        }
    }
}

#[test]
fn no_request_is_sent_once_enough_was_found() {
    for millis in [200, 4_000] {
        let mut bench = SearchBench::with_latency(&["us-east-1"], Duration::from_millis(millis));
        bench.put("us-east-1", 10, 60_000);
        bench.limit = 120;
        let found = bench.run();
        found.assert_fine();
        assert_newest_first(&bench, &found);
        let newest = bench.model().ids(NOW - 10 * DAY, NOW).len();
        assert_eq!(newest, 60_000);
        let seconds = seconds_by_id(&bench.model());
        let mut all: Vec<i64> = seconds.values().copied().collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        let delivered: Vec<i64> = found.events.iter().map(|(_, _, id)| seconds[id]).collect();
        assert_eq!(delivered, all[..delivered.len()], "exactly the newest ones");
        let granted = bench.model().granted();
        assert!(granted <= if millis == 200 { 3 } else { 24 }, "{granted} at {millis} ms");
    }
}

#[test]
fn a_quiet_region_costs_one_request() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.put("us-east-1", 60, 40);
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW);
    assert_eq!(bench.model().granted(), 1);
}

#[test]
fn both_bounds_belong_to_the_range() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.model().put(ACCOUNT, "us-east-1", NOW - 1_000, NOW - 1, 1_000);
    bench.options.from = Some(NOW - 700);
    bench.options.to = Some(NOW - 500);
    let found = bench.run();
    bench.assert_all(&found, NOW - 700, NOW - 500);
    assert_eq!(found.events.len(), 201);
    bench.options.to = Some(NOW - 701);
    let found = bench.run();
    found.assert_fine();
    assert_eq!(found.events.len(), 0, "an empty range needs no request");
}

#[test]
fn an_attribute_is_pushed_and_the_others_stay_away() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.put("us-east-1", 10, 800);
    bench.targets[0].filter = Some("EventName=AssumeRole".parse::<LookupFilter>().unwrap());
    let found = bench.run();
    found.assert_fine();
    assert_eq!(found.events.len(), 200);
    assert!(bench.model().granted() <= 5);
}

#[test]
fn tokens_that_end_cost_requests_and_neither_lose_nor_repeat_events() {
    for life in [0.7, 3.0] {
        let mut bench = SearchBench::with_latency(&["us-east-1"], Duration::from_secs(1));
        bench.model().token_life = Some(life);
        bench.put("us-east-1", 3, 3_000);
        // Pages end inside of seconds.
        for second in 0..40 {
            let at = NOW - 7_200 + second * 3;
            bench.model().put(ACCOUNT, "us-east-1", at, at, 37);
        }
        let found = bench.run();
        bench.assert_all(&found, NOW - 90 * DAY, NOW);
        assert_newest_first(&bench, &found);
    }
}

#[test]
fn a_second_without_progress_is_reported_and_the_older_ones_are_read() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.put("us-east-1", 30, 200);
    bench.model().put(ACCOUNT, "us-east-1", NOW - 7_200, NOW - 7_200, 120);
    bench.model().token_life = Some(0.0);
    let found = bench.run();
    assert!(matches!(found.result, Some(Ok(()))));
    assert_eq!(found.failed.len(), 1, "{:?}", found.failed);
    assert!(found.failed[0].contains("no progress at second"), "{:?}", found.failed);
    let ids: BTreeSet<_> = found.ids().into_iter().collect();
    let others = bench.model().ids(NOW - 90 * DAY, NOW - 7_201);
    assert!(others.is_subset(&ids));
    assert_eq!(ids.len(), found.events.len());
}

#[test]
fn an_empty_page_with_a_token_is_not_the_end() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.model().empty_every = Some(3);
    bench.put("us-east-1", 30, 2_000);
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW);
}

#[test]
fn failed_requests_cost_time_only() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.put("us-east-1", 20, 2_000);
    let faults = [
        Fault::Status(503),
        Fault::Reset,
        Fault::Hang,
        Fault::Status(500),
        Fault::Code("InternalFailure"),
        Fault::Code("ThrottlingException"),
        Fault::Code("ExpiredTokenException"),
    ];
    bench.faults(faults.iter().flat_map(|fault| [None, Some(*fault), Some(*fault), None]));
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW);
    assert_newest_first(&bench, &found);
}

#[test]
fn denied_and_disabled_regions_are_reported_and_the_others_are_read() {
    let mut bench = SearchBench::new(&["us-east-1", "eu-west-1", "ap-east-1"]);
    bench.put("us-east-1", 20, 500);
    bench.model().denied = vec!["eu-west-1".to_owned()];
    bench.model().disabled = vec!["ap-east-1".to_owned()];
    let found = bench.run();
    assert!(matches!(found.result, Some(Ok(()))));
    assert_eq!(found.failed.len(), 2, "{:?}", found.failed);
    assert_eq!(found.events.len(), 500);
    for following in [false, true] {
        let mut bench = SearchBench::new(&["eu-west-1"]);
        bench.model().denied = vec!["eu-west-1".to_owned()];
        if following {
            bench.follow(Duration::from_hours(1));
        }
        let found = bench.run();
        assert!(matches!(found.result, Some(Err(_))), "{:?}", found.result);
        assert!(found.time < Duration::from_secs(2), "{:?}", found.time);
    }
}

#[test]
fn pages_that_nobody_takes_stop_the_requests() {
    let mut bench = SearchBench::with_latency(&["us-east-1"], Duration::from_secs(4));
    bench.put("us-east-1", 10, 60_000);
    bench.options.held_bytes = 0;
    bench.stop_after = Some(Duration::from_mins(2));
    let found = bench.run();
    assert!(found.events.len() > 500, "held pages must not block the first chain");
    assert_newest_first(&bench, &found);
}

#[test]
fn following_finds_new_and_late_events_once() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.put("us-east-1", 20, 700);
    for number in 1..200 {
        // Every 30 seconds one that is up to 14 minutes late.
        bench.put_late(number * 30, (number.cast_signed() * 97) % 840);
    }
    bench.follow(Duration::from_hours(2));
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW + 7_200);
    assert_eq!(found.events.len(), 700 + 199);
    // Each within one interval of its arrival.
    let late: Vec<_> = found.events[700..].iter().map(|(at, ..)| at.as_secs()).collect();
    for (number, at) in (1..).zip(&late) {
        assert!((number * 30..=number * 30 + 12).contains(at), "{number}: {at}");
    }
}

#[test]
fn following_a_quiet_region_costs_one_request_an_interval() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.put("us-east-1", 20, 40);
    for number in 1..24 {
        bench.put_late(number * 3_600, 300);
    }
    bench.follow(Duration::from_hours(24));
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW + DAY);
    let granted = bench.model().granted();
    assert!((8_600..=8_645).contains(&granted), "{granted} in 8,640 intervals");
}

#[test]
fn following_a_busy_region_reads_each_second_twice_and_finds_late_events() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    // Ten events a second, each a minute late; and some that are up to 14 minutes late.
    for second in 0..3_600 {
        let at = NOW + second - 60;
        let put = move |model: &mut Model| model.put(ACCOUNT, "us-east-1", at, at, 10);
        bench.happenings.push((Duration::from_secs(second.unsigned_abs()), Box::new(put)));
        if second % 40 == 0 {
            bench.put_late(second.unsigned_abs(), (second * 7) % 840);
        }
    }
    bench.follow(Duration::from_mins(100));
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW + DAY);
    let granted = bench.model().granted();
    // 36,090 events fill 722 pages; each is read by a poll and a sweep, and each poll may need one page more.
    println!("{granted} requests");
    assert!(granted < 722 * 2 + 2 * 600, "{granted}");
}

#[test]
fn following_survives_outages_and_credentials_that_expire() {
    for fault in [
        Fault::Status(503),
        Fault::Code("ExpiredTokenException"),
        Fault::Code("AccessDeniedException"),
    ] {
        let mut bench = SearchBench::new(&["us-east-1"]);
        bench.put("us-east-1", 20, 40);
        for number in 1..100 {
            bench.put_late(number * 120, 90);
        }
        bench.faults(std::iter::repeat_n(None, 20));
        bench.faults(std::iter::repeat_n(Some(fault), 60));
        bench.follow(Duration::from_hours(9));
        let found = bench.run();
        assert!(matches!(found.result, Some(Ok(()))));
        assert!(found.failed.len() <= 1, "{:?}", found.failed);
        let ids: BTreeSet<_> = found.ids().into_iter().collect();
        assert_eq!(ids, bench.model().ids(NOW - 90 * DAY, NOW + DAY), "{fault:?}");
        assert_eq!(found.events.len(), ids.len(), "some came twice after {fault:?}");
    }
}

#[test]
fn following_reads_the_wanted_range_too_and_stops_at_once() {
    let mut bench = SearchBench::new(&["us-east-1"]);
    bench.put("us-east-1", 20, 20_000);
    bench.put_late(30, 200);
    bench.follow(Duration::from_mins(10));
    let found = bench.run();
    bench.assert_all(&found, NOW - 90 * DAY, NOW + DAY);
    assert!(found.time < Duration::from_millis(600_010), "{:?}", found.time);
    let late = found.events.iter().position(|(at, ..)| at.as_secs() >= 30).unwrap();
    assert!(late < 4_000, "new events wait for old ones");
}
