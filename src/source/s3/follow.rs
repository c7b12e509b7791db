//! Following a bucket: lists the days that may still get objects again and again, and passes on what is new.
//!
//! Input: the targets of an [`S3Source`]. Output: its events, then those of each further round.
//! Invariant: an object is passed on once, unless it is replaced by another version. An object that cannot be fetched is
//! tried again in the next rounds, but reported once; so is an error that persists. Memory is bounded by the objects of
//! the days that are listed again; objects outside of day folders are remembered for good, eight bytes each.
//! Deliberately absent: listing and fetching (see [`S3Source`]), and notifications of new objects.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use sha2::{Digest as _, Sha256};
use tokio::{task::JoinSet, time::Instant};

use super::{Address, ClientFor, S3Options, S3Source, layout, list_step::ListOrder};
use crate::{
    event::{FinishedPartition, Partition},
    shutdown::{ShutdownLevel, ShutdownSignal},
    source::{
        Error, EventSender, ReceiverClosed, Source, SourceEvent, SourceRun, event_channel,
        task_output,
    },
};

/// Attempts to fetch an object, one a round.
const MAX_ATTEMPTS: u8 = 5;

/// Rounds after which the late days are listed again too; in the others, only the current day is.
const LATE_DAYS_EVERY: u64 = 15;

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

/// Reads the buckets of an [`S3Source`], and then their new objects until a shutdown.
pub struct S3Follow {
    targets: Vec<(usize, Address)>,
    options: S3Options,
    order: ListOrder,
    client: Arc<ClientFor>,
    clock: Clock,
    interval: Duration,
    seen: Arc<Mutex<SeenObjects>>,
    attempts: HashMap<u64, u8>,
    /// Subjects of the errors of the previous round, which are not reported again.
    failing: HashSet<String>,
}

/// Objects that were passed on.
#[derive(Debug, Default)]
struct SeenObjects {
    /// Hashes of keys and fingerprints, by the day of delivery; `None` for objects outside of day folders.
    by_day: BTreeMap<Option<Date>, HashSet<u64>>,
}

impl SeenObjects {
    fn contains(&self, partition: &Partition) -> bool {
        let hash = hash(partition);
        self.by_day.get(&day_of(&partition.key)).is_some_and(|hashes| hashes.contains(&hash))
    }

    fn insert(&mut self, partition: &Partition) {
        self.by_day.entry(day_of(&partition.key)).or_default().insert(hash(partition));
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
    /// Follows the buckets of a source. Nothing that earlier runs finished is skipped.
    pub(super) fn new(source: S3Source, options: S3FollowOptions, clock: Clock) -> Self {
        let S3Source { targets, options: s3, order, client, .. } = source;
        Self {
            targets,
            options: s3,
            order,
            client: Arc::new(client),
            clock,
            interval: options.interval,
            seen: Arc::default(),
            attempts: HashMap::new(),
            failing: HashSet::new(),
        }
    }

    async fn follow(mut self, out: &EventSender, shutdown: &ShutdownSignal) -> Result<(), Error> {
        let mut next = Instant::now();
        let (mut number, mut round) = (0, Round::First);
        loop {
            next += self.interval;
            let source = self.source(number);
            match self.run_round(round, source, out, shutdown).await {
                Ok(ended) if round == Round::First => ended?,
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let event = SourceEvent::Failed(error);
                    if self.forward(self.source_number(), round, event, out).await.is_err() {
                        return Ok(());
                    }
                }
                Err(ReceiverClosed) => return Ok(()),
            }
            (number, round) = (number + 1, Round::Further);
            next = next.max(Instant::now());
            tokio::time::sleep_until(next).await;
        }
    }

    fn source_number(&self) -> usize {
        self.targets.first().map_or(0, |(number, _)| *number)
    }

    /// Returns the source of a round.
    fn source(&self, number: u64) -> S3Source {
        let now = (self.clock)();
        let mut options = S3Options { to: None, ..self.options.clone() };
        if number > 0 {
            let first = self.first_day(number, now);
            options.from = options.from.max(Some(start_of(first)));
        }
        self.lock_seen().forget_before(self.late_day(now));
        let client = Arc::clone(&self.client);
        let client: ClientFor = Box::new(move |region: &str| (*client)(region));
        let closed = Box::new(|_: &str| None);
        let mut source =
            S3Source::new(self.targets.clone(), options, client, Box::new(|_| None), closed, now);
        source.order = self.order;
        let seen = Arc::clone(&self.seen);
        source.done = Box::new(move |partition| {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).contains(partition);
            let fingerprint = || partition.fingerprint.clone();
            seen.then(|| FinishedPartition { fingerprint: fingerprint(), is_foreign: false })
        });
        source
    }

    /// Returns the first day to list in a further round.
    fn first_day(&self, number: u64, now: Timestamp) -> Date {
        let now_in_utc = now.to_zoned(TimeZone::UTC);
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
                self.attempts.remove(&hash(&input.partition));
                self.lock_seen().insert(&input.partition);
                true
            }
            SourceEvent::Unreadable { partition, .. } => self.is_first_attempt(partition),
            SourceEvent::Failed(error) => self.failing.insert(error.subject().to_owned()),
            SourceEvent::AlreadyDone { .. } | SourceEvent::Skipped { .. } => round == Round::First,
            _ => true,
        };
        if is_new { out.send(source_number, event).await } else { Ok(()) }
    }

    /// Counts an attempt to fetch an object that failed. Returns whether it was the first one.
    fn is_first_attempt(&mut self, partition: &Partition) -> bool {
        let attempts = self.attempts.entry(hash(partition)).or_default();
        *attempts += 1;
        let attempts = *attempts;
        if attempts >= MAX_ATTEMPTS {
            self.attempts.remove(&hash(partition));
            self.lock_seen().insert(partition);
        }
        attempts == 1
    }
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
}
