//! Following over days, with the real SDK client against a strict model of the service, in paused time. The tests settle what is
//! delivered, as the pipeline and the checkpoint do, and restart from the coverage that was recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::task::JoinSet;

use super::super::tests::{ACCOUNT, Connection, DAY, NOW, model::Model, target};
use super::super::{FollowOptions, plan::SecondRange, plan::missing_ranges};
use super::*;
use crate::{
    event::{PartitionResult, ResultSender},
    shutdown::shutdown_channel,
    source::{Slice, for_each_event},
};

/// Longer than in practice, so that a week takes seconds: requests are compared by their number for a poll.
const INTERVAL: Duration = Duration::from_mins(5);
const OTHER: &str = "444455556666";
const HOUR: i64 = 3_600;

/// How long the pipeline takes to settle a slice.
const SETTLING: Duration = Duration::from_secs(3);

/// What runs have recorded, and everything that was delivered.
#[derive(Debug, Default)]
struct Recorded {
    /// Final coverage by series, as the next run finds it.
    covered: BTreeMap<String, Vec<(i64, i64)>>,
    /// How often each event was delivered by the current run.
    delivered: BTreeMap<String, u32>,
    settled: BTreeSet<String>,
    failed: Vec<String>,
    observed: Option<i64>,
}

/// A world in which events happen while they are followed.
struct World {
    connection: Connection,
    /// Targets, each with the second from which a discovery finds it.
    places: Vec<(i64, LookupTarget)>,
    recorded: Arc<Mutex<Recorded>>,
    /// The second at which the current run starts.
    start: i64,
    /// When events appear: second, Region index, age, number.
    events: Vec<(i64, usize, i64, u32)>,
    /// The seconds of events that only a late sweep finds.
    very_late: BTreeSet<i64>,
}

impl World {
    fn new(places: &[(i64, &str, &str)]) -> Self {
        let connection = Connection::new();
        let place = |(since, account, region): &(i64, &str, &str)| {
            (*since, target(&connection, account, region))
        };
        let places = places.iter().map(place).collect();
        let (recorded, events, very_late) = (Arc::default(), Vec::new(), BTreeSet::new());
        Self { connection, places, recorded, start: NOW, events, very_late }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.connection.model.lock().unwrap()
    }

    fn targets_at(&self, second: i64) -> Vec<LookupTarget> {
        let places = self.places.iter().filter(|(since, _)| *since <= second);
        places.map(|(_, target)| target.clone()).collect()
    }

    /// Adds an event that appears in a place at a second, and happened so long before.
    fn put(&mut self, at: i64, place: usize, age: i64, count: u32) {
        self.events.push((at, place, age, count));
        if age >= HOUR {
            self.very_late.insert(at - age);
        }
    }

    /// Follows until a second.
    fn run_until(&mut self, end: i64) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        self.recorded.lock().unwrap().delivered.clear();
        runtime.block_on(self.run(end));
        self.start = end;
    }

    async fn run(&mut self, end: i64) {
        let started = Instant::now();
        self.connection.time.lock().unwrap().run_started_at = Some(started);
        let first = self.start;
        let clock = EpochClock::new(move || first + started.elapsed().as_secs().cast_signed());
        let at = move |second: i64| started + Duration::from_secs((second - first).unsigned_abs());
        let source = self.source(clock.clone());
        let (trigger, shutdown) = shutdown_channel();
        let mut open: BTreeMap<String, (Slice, Vec<String>)> = BTreeMap::new();
        let (recorded, model) = (Arc::clone(&self.recorded), Arc::clone(&self.connection.model));
        let mut settling = JoinSet::new();
        let run = for_each_event(Box::new(source), shutdown, |source_number, event| {
            assert_eq!(source_number, 7);
            on_event(event, &mut open, &mut settling, &recorded, &model);
            ControlFlow::Continue(())
        });
        let mut events = std::mem::take(&mut self.events);
        events.sort_unstable();
        let (now, later): (Vec<_>, Vec<_>) = events.into_iter().partition(|(at, ..)| *at < end);
        self.events = later;
        let places: Vec<_> = self.places.iter().map(|(_, target)| place(target)).collect();
        let model = Arc::clone(&self.connection.model);
        let happen = async {
            for (second, place, age, count) in now {
                tokio::time::sleep_until(at(second)).await;
                let (account, region) = &places[place];
                model.lock().unwrap().put(account, region, second - age, second - age, count);
            }
            tokio::time::sleep_until(at(end)).await;
            trigger.raise(ShutdownLevel::Draining);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = run => result.unwrap(),
            () = happen => unreachable!(),
        }
        self.connection.time.lock().unwrap().pause();
    }

    fn source(&self, clock: EpochClock) -> LookupFollow {
        let recorded = Arc::clone(&self.recorded);
        let coverage = move || -> CoverageFn {
            let recorded = Arc::clone(&recorded);
            Box::new(move |series| {
                recorded.lock().unwrap().covered.get(series).cloned().unwrap_or_default()
            })
        };
        let options = LookupOptions { source_number: 7, ..LookupOptions::new(clock.now()) };
        let catch_up = CatchUp { options, coverage: Box::new(coverage), on_estimate: None };
        let mut search = LookupSearchOptions::new(clock.clone());
        search.source_number = 7;
        search.follow = Some(FollowOptions { interval: INTERVAL, ..FollowOptions::default() });
        let places = self.places.clone();
        let now = clock.now();
        let discovery: TargetDiscovery = Box::new(move || {
            let second = clock.now();
            let places = places.iter().filter(|(since, _)| *since <= second);
            let targets = places.map(|(_, target)| target.clone()).collect();
            Box::pin(async move { Ok(FoundTargets { targets, failed: Vec::new() }) })
        });
        let start = FollowStart::CatchUp(catch_up);
        LookupFollow::new(self.targets_at(now), start, search, Some(discovery))
    }

    /// Asserts that every event was settled, except those of the last seconds, and very late ones that no late sweep has read yet.
    fn assert_settled_before(&self, second: i64) {
        let recorded = self.recorded.lock().unwrap();
        assert_eq!(recorded.failed, Vec::<String>::new());
        let mut missing = self.model().ids(0, second - 1);
        for late in self.very_late.range(second - 31 * HOUR..) {
            let ids = self.model().ids(*late, *late);
            missing.retain(|id| !ids.contains(id));
        }
        let missing: Vec<_> = missing.difference(&recorded.settled).collect();
        assert!(missing.is_empty(), "{} are missing: {missing:?}", missing.len());
    }

    fn assert_delivered_once(&self) {
        let recorded = self.recorded.lock().unwrap();
        let several: Vec<_> = recorded.delivered.iter().filter(|(_, times)| **times > 1).collect();
        assert!(several.is_empty(), "delivered several times: {several:?}");
    }
}

/// Takes in an event of the source as the pipeline would: slices are settled a little later, and coverage is recorded then.
fn on_event(
    event: SourceEvent,
    open: &mut BTreeMap<String, (Slice, Vec<String>)>,
    settling: &mut JoinSet<()>,
    recorded: &Arc<Mutex<Recorded>>,
    model: &Arc<Mutex<Model>>,
) {
    match event {
        SourceEvent::SliceStarted(slice) => {
            assert!(open.insert(slice.key.clone(), (slice, Vec::new())).is_none());
        }
        SourceEvent::Page(page) => {
            let (_, ids) = open.get_mut(&page.key).unwrap();
            let mut recorded = recorded.lock().unwrap();
            for event in page.content.events {
                let id = event.id.unwrap();
                *recorded.delivered.entry(id.clone()).or_default() += 1;
                ids.push(id);
            }
        }
        SourceEvent::SliceEnded { key, complete, .. } => {
            let (slice, ids) = open.remove(&key).unwrap();
            let (recorded, model) = (Arc::clone(recorded), Arc::clone(model));
            let settled_at = Instant::now() + SETTLING;
            settling.spawn(async move {
                tokio::time::sleep_until(settled_at).await;
                settle(slice, ids, complete, &mut recorded.lock().unwrap(), &model);
            });
        }
        SourceEvent::Failed(error) => {
            let failed = format!("{}: {}", error.subject(), error.describe());
            recorded.lock().unwrap().failed.push(failed);
        }
        SourceEvent::Observed(observation) => {
            let covered = observation.covered_until.map(jiff::Timestamp::as_second);
            let mut recorded = recorded.lock().unwrap();
            recorded.observed = covered.or(recorded.observed);
        }
        other => panic!("{other:?}"),
    }
}

/// Settles a slice, and checks that what is recorded as covered holds only events that are settled.
fn settle(
    slice: Slice,
    ids: Vec<String>,
    complete: bool,
    recorded: &mut Recorded,
    model: &Arc<Mutex<Model>>,
) {
    recorded.settled.extend(ids);
    let time_slice = slice.time_slice();
    if complete {
        let to = time_slice.to.min(time_slice.complete_until);
        let mut parts = slice.series.trim_start_matches("lookup:").split('/');
        let [account, region] = [(); 2].map(|()| parts.next().unwrap().to_owned());
        let model = model.lock().unwrap();
        let events = model.events.get(&(account, region, false)).into_iter().flatten();
        let covered = events.filter(|event| (time_slice.from..=to).contains(&event.second));
        for event in covered {
            assert!(
                recorded.settled.contains(&event.id),
                "{} is covered, but not settled",
                event.id
            );
        }
        if to >= time_slice.from {
            recorded.covered.entry(slice.series).or_default().push((time_slice.from, to));
        }
    }
    if let Some(result) = slice.result {
        ResultSender::send(result, PartitionResult::Complete);
    }
}

/// A week: three Regions, a fourth one from the third day, another account from the fifth; events that are minutes, hours, or
/// most of a day late.
fn week() -> World {
    let mut world = World::new(&[
        (0, ACCOUNT, "us-east-1"),
        (0, ACCOUNT, "eu-west-1"),
        (0, ACCOUNT, "ap-south-1"),
        (NOW + 2 * DAY + HOUR / 2, ACCOUNT, "eu-central-2"),
        (NOW + 4 * DAY + HOUR / 2, OTHER, "us-east-1"),
    ]);
    world.model().put(ACCOUNT, "us-east-1", NOW - 20 * DAY, NOW - 400, 900);
    world.model().put(ACCOUNT, "eu-west-1", NOW - 2 * DAY, NOW - 400, 60);
    for minute in 0..7 * 1_440 {
        let at = NOW + 60 * minute + 7;
        // The busy Region: six events a minute, some of them in bursts.
        world.put(at, 0, 90 + minute % 240, 6);
        if minute % 97 == 0 {
            world.put(at + 20, 0, 60, 130);
        }
        if minute % 11 == 0 {
            world.put(at, 1, 200, 1);
        }
        // Late by up to 14 minutes.
        if minute % 31 == 0 {
            world.put(at, usize::from(minute % 2 == 0), (minute * 53) % 840, 1);
        }
        // Very late.
        if minute % 173 == 0 {
            world.put(at, 0, HOUR + (minute * 7_919) % (20 * HOUR), 2);
        }
        if minute > 2 * 1_440 && minute % 60 == 0 {
            world.put(at, 3, 100, 3);
        }
        if minute > 4 * 1_440 && minute % 20 == 0 {
            world.put(at, 4, 100, 5);
        }
    }
    world
}

/// The fewest requests of a week with which each event that is up to 15 minutes late is found by the poll after it appears, and each
/// later one within a day:
///
/// - One for each poll of a Region: an event that appeared since the last one can be found in no other way.
/// - One for each 50 new events: a page has no more, whatever finds them.
/// - One more for each poll of a busy Region. LookupEvents returns events by their time, and tells nothing of when they appeared: a
///   late one stands between known ones, and only the page on which it would stand shows that there is none. A page with a new event
///   shows that for no second before its own oldest one. So a poll with new events has not ended before a page without one, unless a
///   page reaches back over all 15 minutes, as in a quiet Region. In the busy Region of this week, each poll has new events (six a
///   minute appear), and a page has those of eight minutes.
/// - The pages of the sweeps that read each second again when it is a day old: those of all events once more, and at least one for each
///   sweep, four a day.
///
/// Not allowed for are the sweeps of seconds that are 15 minutes old: the pages that end the polls of a busy Region have read most of
/// these seconds by then. What they cost, with the requests at pages' ends, must stay within the twentieth.
fn minimum(world: &World, days: i64) -> f64 {
    let polls = |since: i64| {
        // A discovery finds it within the hour.
        let from = if since == 0 { NOW } else { since };
        (NOW + days * DAY - from) / INTERVAL.as_secs().cast_signed()
    };
    let mut requests: i64 = world.places.iter().map(|(since, _)| polls(*since)).sum();
    for (since, target) in &world.places {
        let model = world.model();
        let key = (target.account.clone(), target.region.clone(), false);
        let events = model.events.get(&key).map_or(0, Vec::len);
        let pages = i64::try_from(events).unwrap() / 50;
        let late_sweeps = (polls(*since) * 60 / DAY - 1).max(0) * 4;
        let is_busy = events > 20_000;
        requests += pages + pages.max(late_sweeps);
        requests += if is_busy { polls(*since) } else { 0 };
    }
    f64::from(i32::try_from(requests).unwrap())
}

#[test]
fn a_week_delivers_every_event_once_at_few_requests() {
    let mut world = week();
    world.run_until(NOW + 7 * DAY);
    world.assert_settled_before(NOW + 7 * DAY - 600);
    world.assert_delivered_once();
    let requests = f64::from(u32::try_from(world.model().granted()).unwrap());
    let minimum = minimum(&world, 7);
    println!("{requests} requests, at least {minimum}: {:.3}", requests / minimum);
    assert!(requests <= 1.05 * minimum, "{requests} instead of {minimum}");
    let observed = world.recorded.lock().unwrap().observed.unwrap();
    // A sweep begins up to two polls after the delay of 15 minutes.
    assert!((NOW + 7 * DAY - 1_800..NOW + 7 * DAY).contains(&observed), "{observed}");
    // Everything is covered to the end, but for the last overlap and the time between two late sweeps.
    for (_, target) in &world.places[..3] {
        let covered = &world.recorded.lock().unwrap().covered[&target.series()];
        let end = NOW + 7 * DAY;
        let wanted = SecondRange { from: end - 90 * DAY, to: end - 31 * HOUR };
        // The oldest second of the history had passed when it was read.
        let missing = missing_ranges(wanted, covered);
        assert!(missing.iter().all(|range| range.to < NOW - 80 * DAY), "{missing:?}");
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let mut world = week();
    // What was delivered and not settled is lost with each run.
    for (number, hours) in [1, 7, 2, 30, 3, 11, 26, 5].into_iter().enumerate() {
        let end = world.start + hours * HOUR + 977 * i64::try_from(number).unwrap() % 600;
        world.run_until(end);
        world.assert_delivered_once();
    }
    let end = world.start + 30 * HOUR;
    world.run_until(end);
    world.assert_settled_before(end - 900);
}

#[test]
fn a_region_that_fails_is_reported_once_and_tried_again() {
    let mut world = World::new(&[(0, ACCOUNT, "us-east-1"), (0, ACCOUNT, "eu-west-1")]);
    world.model().put(ACCOUNT, "eu-west-1", NOW - 20 * DAY, NOW - 400, 300);
    world.model().put(ACCOUNT, "us-east-1", NOW - 20 * DAY, NOW - 400, 60);
    world.model().denied.push("eu-west-1".to_owned());
    world.put(NOW + 2 * HOUR, 0, 100, 5);
    world.run_until(NOW + 3 * HOUR);
    {
        let mut recorded = world.recorded.lock().unwrap();
        assert_eq!(recorded.failed.len(), 1, "{:?}", recorded.failed);
        assert!(recorded.failed[0].starts_with("eu-west-1: "), "{:?}", recorded.failed);
        recorded.failed.clear();
    }
    assert!(world.recorded.lock().unwrap().settled.len() >= 65);
    // The same run again, in which the permission is added after a while.
    let model = Arc::clone(&world.connection.model);
    let allow = std::thread::spawn(move || model.lock().unwrap().denied.clear());
    allow.join().unwrap();
    world.put(NOW + 4 * HOUR, 1, 100, 5);
    world.run_until(NOW + 5 * HOUR);
    world.assert_settled_before(NOW + 5 * HOUR - 600);
}

#[test]
fn a_region_that_has_caught_up_is_polled_while_another_one_catches_up_for_long() {
    let mut world = World::new(&[(0, ACCOUNT, "us-east-1"), (0, ACCOUNT, "eu-west-1")]);
    // At most 100 events a second: more than ten minutes.
    world.model().put(ACCOUNT, "us-east-1", NOW - 20 * DAY, NOW - 2 * DAY, 60_000);
    world.model().put(ACCOUNT, "eu-west-1", NOW - 20 * DAY, NOW - 400, 60);
    world.put(NOW + 20, 1, 10, 5);
    let end = NOW + 2 * INTERVAL.as_secs().cast_signed() - 60;
    world.run_until(end);
    let quiet = world.model().ids(NOW, NOW + 20);
    assert_eq!(quiet.len(), 5);
    let recorded = world.recorded.lock().unwrap();
    assert!(quiet.is_subset(&recorded.settled), "they waited for the other Region");
    assert!(recorded.settled.len() < 60_000, "the other Region has caught up");
    assert_eq!(recorded.observed, None, "not all Regions are complete to any second");
}

#[test]
fn a_run_that_can_read_nothing_fails() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = World::new(&[(0, ACCOUNT, "us-east-1")]);
    world.model().denied.push("us-east-1".to_owned());
    let source = world.source(EpochClock::new(|| NOW));
    let (_trigger, shutdown) = shutdown_channel();
    let run = for_each_event(Box::new(source), shutdown, |_, _| ControlFlow::Continue(()));
    let result =
        runtime.block_on(async { tokio::time::timeout(Duration::from_hours(1), run).await });
    assert!(matches!(result, Ok(Err(Error::Lookup(_)))), "{result:?}");
}
