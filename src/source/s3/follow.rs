//! Following a bucket: lists the days that may still get objects again and again, and passes on what is new.
//!
//! Input: the targets of an [`S3Source`]. Output: its events, then those of each further round.
//! Invariant: an object is passed on once, unless it is replaced by another version. An object that cannot be fetched is
//! tried again in further rounds, but reported once; so is an error that persists. A day that gets no further objects is listed
//! once more, so that the checkpoint can close it. Memory is bounded by the objects of the days that are listed again; objects
//! outside of day folders are remembered for good, eight bytes each.
//! Deliberately absent: listing and fetching (see [`S3Source`]), and notifications of new objects.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use sha2::{Digest as _, Sha256};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Address, ClientFor, ClosedFolders, S3Options, S3Source, done_filter::DoneCheck, layout,
    list_step::ListOrder, object_lister::Repetition,
};
use crate::{
    event::{FinishedPartition, Partition},
    shutdown::{ShutdownLevel, ShutdownSignal},
    source::{
        Error, EventSender, ReceiverClosed, Source, SourceEvent, SourceObservation, SourceRun,
        event_channel, task_output,
    },
};

/// The most rounds between two attempts to fetch an object: an hour. The wait doubles with each attempt.
const MAX_ROUNDS_BETWEEN_ATTEMPTS: u64 = 60;

/// How often the accounts whose logs are read are looked up again.
const DISCOVERY_INTERVAL: Duration = Duration::from_hours(1);

/// Rounds after which the late days are listed again too; in the others, only the current day is.
const LATE_DAYS_EVERY: u64 = 15;

/// Rounds after which days are no longer listed again because of an error that persists, an hour: each day costs a request in each
/// account and Region.
const MAX_INCOMPLETE_ROUNDS: u32 = 60;

/// Hours of a day in which the previous one is listed in every round: files of its last events are still expected.
const OVERLAP_HOURS: i8 = 1;

/// How new objects are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct S3FollowOptions {
    /// Time from the start of a round to the start of the next one.
    pub interval: Duration,
}

impl Default for S3FollowOptions {
    /// Returns a round a minute: a trail delivers files about every five minutes, and each round costs a request for
    /// each account and Region.
    fn default() -> Self {
        Self { interval: Duration::from_mins(1) }
    }
}

/// Returns the current time.
pub type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// Finds the accounts whose logs are read again.
pub type AccountDiscovery = Box<dyn Fn() -> AccountDiscoveryRun + Send + Sync>;

/// The future of an [`AccountDiscovery`]. Its error is shown to the user.
pub type AccountDiscoveryRun = Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send>>;

/// Reads the buckets of an [`S3Source`], and then their new objects until a shutdown.
pub struct S3Follow {
    targets: Vec<(usize, Address)>,
    options: S3Options,
    order: ListOrder,
    client: Arc<ClientFor>,
    clock: Clock,
    interval: Duration,
    /// What earlier runs finished.
    done: Arc<Mutex<DoneCheck>>,
    closed: Arc<Mutex<ClosedFolders>>,
    /// `None` if the accounts do not change.
    accounts: Option<AccountDiscovery>,
    accounts_error: Option<String>,
    seen: Arc<Mutex<SeenObjects>>,
    /// The first day that was not listed completely since it gets no further objects.
    unclosed: Option<Date>,
    /// Successive rounds in which something could not be listed.
    incomplete_rounds: u32,
    newest_delivery: Option<Timestamp>,
    /// Subjects of the errors of the previous round, which are not reported again.
    failing: HashSet<String>,
}

/// Objects that were passed on, or could not be fetched.
#[derive(Debug, Default)]
struct SeenObjects {
    /// By the day of delivery; `None` for objects outside of day folders.
    by_day: BTreeMap<Option<Date>, SeenDay>,
    /// The number of the round.
    round: u64,
}

/// The objects of one day, as hashes of keys and fingerprints.
#[derive(Debug, Default)]
struct SeenDay {
    passed_on: HashSet<u64>,
    failed: HashMap<u64, FailedObject>,
}

/// An object that could not be fetched.
#[derive(Clone, Copy, Debug, Default)]
struct FailedObject {
    attempts: u32,
    /// The round in which it is tried again.
    next_round: u64,
}

impl SeenObjects {
    /// Returns whether an object is not fetched in this round.
    fn contains(&self, partition: &Partition) -> bool {
        let hash = hash(partition);
        let waits = |failed: &FailedObject| failed.next_round > self.round;
        self.by_day.get(&day_of(&partition.key)).is_some_and(|day| {
            day.passed_on.contains(&hash) || day.failed.get(&hash).is_some_and(waits)
        })
    }

    fn insert(&mut self, partition: &Partition) {
        let day = self.by_day.entry(day_of(&partition.key)).or_default();
        day.failed.remove(&hash(partition));
        day.passed_on.insert(hash(partition));
    }

    /// Counts an attempt to fetch an object that failed. Returns whether it was the first one.
    fn fail(&mut self, partition: &Partition) -> bool {
        let day = self.by_day.entry(day_of(&partition.key)).or_default();
        let failed = day.failed.entry(hash(partition)).or_default();
        failed.attempts += 1;
        let rounds = 1u64.checked_shl(failed.attempts - 1).unwrap_or(u64::MAX);
        failed.next_round = self.round + rounds.min(MAX_ROUNDS_BETWEEN_ATTEMPTS);
        failed.attempts == 1
    }

    /// Forgets the days before `first`, which are not listed again.
    fn forget_before(&mut self, first: Date) {
        self.by_day.retain(|day, _| day.is_none_or(|day| day >= first));
    }
}

/// Returns the day of delivery of an object, by its URI.
fn day_of(uri: &str) -> Option<Date> {
    let folder = &uri[..=uri.rfind('/')?];
    layout::LogFolder::from_prefix(folder).last_day(folder)
}

/// Returns a hash of a key and its fingerprint: the names of a million objects would take 200 MB.
fn hash(partition: &Partition) -> u64 {
    let mut hash = Sha256::new();
    for part in [partition.key.as_str(), "\0", &partition.fingerprint] {
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

/// What of a round is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Everything.
    First,
    /// New objects, and new errors.
    Further,
}

impl S3Follow {
    /// Follows the buckets of a source.
    pub(super) fn new(source: S3Source, options: S3FollowOptions, clock: Clock) -> Self {
        let S3Source { targets, options: s3, order, client, done, closed, .. } = source;
        Self {
            targets,
            options: s3,
            order,
            client: Arc::new(client),
            clock,
            interval: options.interval,
            done: Arc::new(Mutex::new(done)),
            closed: Arc::new(Mutex::new(closed)),
            accounts: None,
            accounts_error: None,
            seen: Arc::default(),
            unclosed: None,
            incomplete_rounds: 0,
            newest_delivery: None,
            failing: HashSet::new(),
        }
    }

    /// Looks up the accounts whose logs are read again, every hour.
    #[must_use]
    pub fn with_accounts(mut self, discovery: AccountDiscovery) -> Self {
        self.accounts = Some(discovery);
        self
    }

    async fn follow(mut self, out: &EventSender, shutdown: &ShutdownSignal) -> Result<(), Error> {
        let mut next = Instant::now();
        let mut discover_at = next + DISCOVERY_INTERVAL;
        let (mut number, mut round) = (0, Round::First);
        loop {
            next += self.interval;
            if Instant::now() >= discover_at {
                discover_at = Instant::now() + DISCOVERY_INTERVAL;
                if self.discover_accounts(out).await.is_err() {
                    return Ok(());
                }
            }
            // One time for the whole round: midnight may pass between two readings of the clock.
            let now = (self.clock)();
            let late_day = self.late_day(now);
            let source = self.source(number, now);
            match self.run_round(round, source, out, shutdown).await {
                Ok(ended) if round == Round::First => {
                    ended?;
                    self.on_round(late_day);
                }
                Ok(Ok(())) => self.on_round(late_day),
                Ok(Err(error)) => {
                    let event = SourceEvent::Failed(error);
                    if self.forward(self.source_number(), round, event, out).await.is_err() {
                        return Ok(());
                    }
                }
                Err(ReceiverClosed) => return Ok(()),
            }
            let newest_event = self.newest_delivery;
            let observation = SourceObservation { newest_event, ..SourceObservation::default() };
            let event = SourceEvent::Observed(observation);
            if out.send(self.source_number(), event).await.is_err() {
                return Ok(());
            }
            (number, round) = (number + 1, Round::Further);
            next = next.max(Instant::now());
            tokio::time::sleep_until(next).await;
        }
    }

    /// Ends a round that listed the days from `late_day` on, and older ones that were not closed. Those are listed again if
    /// something could not be listed.
    fn on_round(&mut self, late_day: Date) {
        self.incomplete_rounds =
            if self.failing.is_empty() { 0 } else { self.incomplete_rounds + 1 };
        let is_listed = matches!(self.incomplete_rounds, 0 | MAX_INCOMPLETE_ROUNDS..);
        // Only a list in the order of days closes them.
        if is_listed && self.order == ListOrder::OldestFirst {
            self.unclosed = Some(late_day);
        }
    }

    async fn discover_accounts(&mut self, out: &EventSender) -> Result<(), ReceiverClosed> {
        let Some(discovery) = &self.accounts else { return Ok(()) };
        match discovery().await {
            Ok(accounts) => {
                self.options.accounts = accounts;
                self.accounts_error = None;
                Ok(())
            }
            Err(why) if self.accounts_error.as_ref() == Some(&why) => Ok(()),
            Err(why) => {
                self.accounts_error = Some(why.clone());
                let why = format!("could not look for new accounts: {why}");
                let event = SourceEvent::Skipped { name: "s3".to_owned(), why };
                out.send(self.source_number(), event).await
            }
        }
    }

    fn source_number(&self) -> usize {
        self.targets.first().map_or(0, |(number, _)| *number)
    }

    /// Returns the source of a round that starts at `now`.
    fn source(&mut self, number: u64, now: Timestamp) -> S3Source {
        let mut options = S3Options { to: None, ..self.options.clone() };
        if number > 0 {
            let first = self.first_day(number, now);
            options.from = options.from.max(Some(start_of(first)));
        }
        let late_day = self.late_day(now);
        {
            let mut seen = self.lock_seen();
            seen.round = number;
            seen.forget_before(late_day);
        }
        let client = Arc::clone(&self.client);
        let client: ClientFor = Box::new(move |region: &str| (*client)(region));
        let closed = Arc::clone(&self.closed);
        let closed: ClosedFolders =
            Box::new(move |prefix| closed.lock().unwrap_or_else(PoisonError::into_inner)(prefix));
        let targets = self.targets.clone();
        let mut source = S3Source::new(targets, options, client, Box::new(|_| None), closed, now);
        source.order = self.order;
        source.repetition = Repetition::Followed;
        let (seen, done) = (Arc::clone(&self.seen), Arc::clone(&self.done));
        source.done = Box::new(move |partition| {
            if seen.lock().unwrap_or_else(PoisonError::into_inner).contains(partition) {
                let fingerprint = partition.fingerprint.clone();
                return Some(FinishedPartition { fingerprint, is_foreign: false });
            }
            done.lock().unwrap_or_else(PoisonError::into_inner)(partition)
        });
        source
    }

    /// Returns the first day to list in a further round.
    fn first_day(&self, number: u64, now: Timestamp) -> Date {
        let now_in_utc = now.to_zoned(TimeZone::UTC);
        if let Some(unclosed) = self.unclosed.filter(|unclosed| *unclosed < self.late_day(now)) {
            return unclosed;
        }
        if number.is_multiple_of(LATE_DAYS_EVERY) {
            self.late_day(now)
        } else if now_in_utc.hour() < OVERLAP_HOURS {
            now_in_utc.date().saturating_sub(1.day())
        } else {
            now_in_utc.date()
        }
    }

    /// Returns the first day that may still get objects.
    fn late_day(&self, now: Timestamp) -> Date {
        let days = i64::from(self.options.late_days.clamp(1, super::MAX_LATE_DAYS));
        layout::utc_date(now).saturating_sub(days.days())
    }

    fn lock_seen(&self) -> std::sync::MutexGuard<'_, SeenObjects> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a round to its end; returns the result of its source.
    async fn run_round(
        &mut self,
        round: Round,
        source: S3Source,
        out: &EventSender,
        shutdown: &ShutdownSignal,
    ) -> Result<Result<(), Error>, ReceiverClosed> {
        let failing_before = std::mem::take(&mut self.failing);
        let (sender, mut events) = event_channel();
        // Dropping the set cancels the requests in flight.
        let mut running = JoinSet::new();
        running.spawn(Box::new(source).run(sender, shutdown.clone()));
        while let Some(batch) = events.recv().await {
            for (source_number, event) in batch {
                if let SourceEvent::Failed(error) = &event
                    && failing_before.contains(error.subject())
                {
                    self.failing.insert(error.subject().to_owned());
                    continue;
                }
                self.forward(source_number, round, event, out).await?;
            }
        }
        Ok(running.join_next().await.and_then(task_output).unwrap_or(Ok(())))
    }

    /// Passes an event on, unless it was before.
    async fn forward(
        &mut self,
        source_number: usize,
        round: Round,
        event: SourceEvent,
        out: &EventSender,
    ) -> Result<(), ReceiverClosed> {
        let is_new = match &event {
            SourceEvent::Input(input) => {
                self.newest_delivery = self.newest_delivery.max(delivery_time(&input.name));
                self.lock_seen().insert(&input.partition);
                true
            }
            SourceEvent::Unreadable { partition, .. } => self.lock_seen().fail(partition),
            SourceEvent::Failed(error) => self.failing.insert(error.subject().to_owned()),
            SourceEvent::AlreadyDone { .. } | SourceEvent::Skipped { .. } => round == Round::First,
            _ => true,
        };
        if is_new { out.send(source_number, event).await } else { Ok(()) }
    }
}

/// Returns when a log file was delivered, by its name: `ACCOUNT_CloudTrail_REGION_20240601T1205Z_….json.gz`.
fn delivery_time(name: &str) -> Option<Timestamp> {
    let time = name.rsplit('/').next()?.split('_').nth(3)?;
    let time = DateTime::strptime("%Y%m%dT%H%MZ", time).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Returns the first moment of a day.
fn start_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MIN, |start| start.timestamp())
}

impl Source for S3Follow {
    fn run(self: Box<Self>, out: EventSender, shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = shutdown.reached(ShutdownLevel::Draining) => Ok(()),
                () = out.closed() => Ok(()),
                result = self.follow(&out, &shutdown) => result,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "s3://logs/AWSLogs/123456789012/CloudTrail/eu-west-1/2024/06/01/123456789012_x.json.gz";

    fn partition(key: &str, etag: &str) -> Partition {
        Partition { key: key.to_owned(), fingerprint: etag.to_owned() }
    }

    #[test]
    fn a_new_version_is_new_and_old_days_are_forgotten() {
        let mut seen = SeenObjects::default();
        let other = KEY.replace("/01/", "/02/");
        let loose = "s3://logs/mine/x.json";
        for key in [KEY, &other, loose] {
            assert!(!seen.contains(&partition(key, "1")));
            seen.insert(&partition(key, "1"));
            assert!(seen.contains(&partition(key, "1")));
            assert!(!seen.contains(&partition(key, "2")));
        }
        seen.forget_before("2024-06-02".parse().unwrap());
        let left = [KEY, &other, loose].map(|key| seen.contains(&partition(key, "1")));
        assert_eq!(left, [false, true, true]);
    }

    #[test]
    fn an_object_that_cannot_be_fetched_is_tried_again_less_and_less_often() {
        let mut seen = SeenObjects::default();
        let object = partition(KEY, "1");
        let mut attempts = Vec::new();
        for round in 0..200 {
            seen.round = round;
            if !seen.contains(&object) {
                assert_eq!(seen.fail(&object), attempts.is_empty());
                attempts.push(round);
            }
        }
        assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        seen.round = 1_000;
        seen.insert(&object);
        assert!(seen.contains(&object));
    }

    #[test]
    fn a_day_is_listed_until_that_succeeds_or_fails_for_long() {
        let options = S3Options {
            region: String::new(),
            accounts: Vec::new(),
            regions: Vec::new(),
            kinds: Vec::new(),
            from: None,
            to: None,
            late_days: 1,
            requester_pays: false,
            memory_bytes: 0,
            reload: false,
        };
        let now: Timestamp = "2024-06-05T12:00:00Z".parse().unwrap();
        let client: ClientFor = Box::new(|_: &str| unreachable!("no round is run"));
        let nothing = Box::new(|_: &str| None);
        let source =
            S3Source::new(Vec::new(), options, client, nothing, Box::new(|_: &str| None), now);
        let follow = S3FollowOptions::default();
        let mut follow = S3Follow::new(source, follow, Box::new(move || now));
        let day = |day: i8| jiff::civil::date(2024, 6, day);
        follow.on_round(day(3));
        assert_eq!(follow.first_day(1, now), day(3), "it gets no further objects, and is closed");
        follow.on_round(day(4));
        assert_eq!(follow.first_day(2, now), day(5));
        follow.unclosed = Some(day(2));
        follow.failing.insert("logs/AWSLogs".to_owned());
        for _ in 1..MAX_INCOMPLETE_ROUNDS {
            follow.on_round(day(4));
            assert_eq!(follow.first_day(2, now), day(2));
        }
        follow.on_round(day(4));
        assert_eq!(follow.first_day(2, now), day(5), "an error persists");
    }

    #[test]
    fn the_name_of_a_log_file_holds_the_time_of_its_delivery() {
        let name = "s3://logs/AWSLogs/1/111122223333_CloudTrail_eu-west-1_20240601T1205Z_x.json.gz";
        assert_eq!(delivery_time(name), Some("2024-06-01T12:05:00Z".parse().unwrap()));
        assert_eq!(delivery_time("s3://logs/mine/a_b_c_d.json"), None);
    }
}
