//! Following a bucket: lists the days that may still get objects again and again, and passes on what is new.
//!
//! Input: the targets of an [`S3Source`]. Output: its events, then those of each further round.
//! Invariant: an object is passed on once, unless it is replaced by another version. An object that cannot be fetched is
//! tried again in further rounds, but reported once; so is a folder that cannot be listed. A day that gets no further objects is
//! listed once more, so that the checkpoint can close it. Memory is bounded by the objects of the days that are listed again, and by
//! [`MAX_SEEN`].
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
    Address, ClientFor, ClosedFolders, ErrorScope, S3Options, S3Source, done_filter::DoneCheck,
    layout, list_step::ListOrder, object_lister::Repetition, objects::s3_uri,
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

/// Objects that are remembered, in 40 MB. Beyond that, those of the oldest day are forgotten; the checkpoint knows what is loaded.
const MAX_SEEN: usize = 2_000_000;

/// Objects and folders of earlier days that are tried again, each with a request of its own. Further ones wait for the next run.
const MAX_RETRIED: usize = 1_000;

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
    /// What further rounds may not list: folders that the first round could not list, and objects of earlier days that could not be
    /// fetched.
    retried: BTreeMap<String, FailedAttempts>,
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
    failed: HashMap<u64, FailedAttempts>,
}

/// Attempts to fetch an object, or to list a folder.
#[derive(Clone, Copy, Debug, Default)]
struct FailedAttempts {
    attempts: u32,
    /// The round of the next attempt.
    next_round: u64,
}

impl FailedAttempts {
    /// Counts an attempt in this round.
    fn add(&mut self, round: u64) {
        self.attempts += 1;
        let rounds = 1u64.checked_shl(self.attempts - 1).unwrap_or(u64::MAX);
        self.next_round = round + rounds.min(MAX_ROUNDS_BETWEEN_ATTEMPTS);
    }
}

impl SeenDay {
    fn objects(&self) -> usize {
        self.passed_on.len() + self.failed.len()
    }
}

impl SeenObjects {
    /// Returns whether an object is not fetched in this round.
    fn contains(&self, partition: &Partition) -> bool {
        let hash = hash(partition);
        let waits = |failed: &FailedAttempts| failed.next_round > self.round;
        self.by_day.get(&day_of(&partition.key)).is_some_and(|day| {
            day.passed_on.contains(&hash) || day.failed.get(&hash).is_some_and(waits)
        })
    }

    fn insert(&mut self, partition: &Partition) {
        let day = self.by_day.entry(day_of(&partition.key)).or_default();
        day.failed.remove(&hash(partition));
        day.passed_on.insert(hash(partition));
        self.forget_oldest();
    }

    /// Counts an attempt to fetch an object that failed. Returns whether it was the first one.
    fn fail(&mut self, partition: &Partition) -> bool {
        let day = self.by_day.entry(day_of(&partition.key)).or_default();
        let failed = day.failed.entry(hash(partition)).or_default();
        failed.add(self.round);
        let is_first = failed.attempts == 1;
        self.forget_oldest();
        is_first
    }

    /// Forgets that an object could not be fetched. Returns how often that was attempted.
    fn forget_failed(&mut self, partition: &Partition) -> u32 {
        let day = self.by_day.get_mut(&day_of(&partition.key));
        let failed = day.and_then(|day| day.failed.remove(&hash(partition)));
        failed.map_or(0, |failed| failed.attempts)
    }

    /// Forgets the objects of the oldest day if there are too many, or half of those of the only day.
    fn forget_oldest(&mut self) {
        if self.by_day.values().map(SeenDay::objects).sum::<usize>() <= MAX_SEEN {
            return;
        }
        if self.by_day.len() > 1 {
            self.by_day.pop_first();
        } else if let Some(mut only) = self.by_day.first_entry() {
            let mut is_kept = false;
            let mut every_other = || {
                is_kept = !is_kept;
                is_kept
            };
            only.get_mut().passed_on.retain(|_| every_other());
            only.get_mut().failed.retain(|_, _| every_other());
        }
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
    /// The same, of folders and objects that are tried again.
    Again,
}

/// How a round ended.
struct RoundEnd {
    /// The result of its source.
    result: Result<(), Error>,
    /// The folders that could not be listed, and the objects of earlier days that could not be fetched.
    failed: Vec<FailedName>,
}

/// A folder or an object that failed.
struct FailedName {
    name: String,
    /// Attempts before this one.
    attempts: u32,
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
            retried: BTreeMap::new(),
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
            let Ok(RoundEnd { result, mut failed }) =
                self.run_round(round, source, now, out, shutdown).await
            else {
                return Ok(());
            };
            match result {
                Err(error) if round == Round::First => return Err(error),
                Ok(()) => self.on_round(late_day),
                Err(error) => {
                    let event = SourceEvent::Failed(error);
                    if self.forward(self.source_number(), round, event, out).await.is_err() {
                        return Ok(());
                    }
                }
            }
            if round != Round::First {
                // Further rounds list the same folders.
                failed.retain(|failed| !failed.name.ends_with('/'));
            }
            self.retry_later(number, failed, &BTreeMap::new());
            if round != Round::First && self.retry(number, now, out, shutdown).await.is_err() {
                return Ok(());
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

    /// Tries again what failed before, if that is due.
    async fn retry(
        &mut self,
        round: u64,
        now: Timestamp,
        out: &EventSender,
        shutdown: &ShutdownSignal,
    ) -> Result<(), ReceiverClosed> {
        let due: BTreeMap<String, FailedAttempts> =
            self.retried.extract_if(.., |_, failed| failed.next_round <= round).collect();
        if due.is_empty() {
            return Ok(());
        }
        let targets = due.keys().flat_map(|name| self.addresses_of(name)).collect();
        let options = S3Options { to: None, ..self.options.clone() };
        let source = self.source_of(targets, options, HashSet::new(), now);
        // Errors of this round, and of earlier attempts, were reported.
        let failing = self.failing.clone();
        self.failing.extend(due.keys().cloned());
        let RoundEnd { result, mut failed } =
            self.run_round(Round::Again, source, now, out, shutdown).await?;
        if let Err(error) = &result {
            failed.extend(self.folder_of(error));
        }
        self.failing = failing;
        // Of a bucket that failed as a whole, only what was tried again.
        let failed = failed.into_iter().flat_map(|failed| names_within(&due, failed)).collect();
        self.retry_later(round, failed, &due);
        Ok(())
    }

    /// Has folders and objects that failed tried again in later rounds. `before` has the earlier attempts, also those for folders
    /// above.
    fn retry_later(
        &mut self,
        round: u64,
        failed: Vec<FailedName>,
        before: &BTreeMap<String, FailedAttempts>,
    ) {
        for FailedName { name, attempts } in failed {
            let above = before.iter().filter(|(before, _)| name.starts_with(before.as_str()));
            let attempts = above.map(|(_, failed)| failed.attempts).fold(attempts, u32::max);
            let mut failed = FailedAttempts { attempts, next_round: round };
            failed.add(round);
            self.retried.insert(name, failed);
        }
    }

    /// Returns the folder that could not be listed, or its bucket if no further request was sent to that.
    fn folder_of(&self, error: &Error) -> Option<FailedName> {
        let Error::Bucket { name, source } = error else { return None };
        let bucket = |target: &Address| s3_uri(&target.bucket, "");
        let is_within = |target: &&Address| format!("{name}/").starts_with(&bucket(target));
        let bucket = self.targets.iter().map(|(_, target)| target).find(is_within).map(bucket)?;
        let is_folder = matches!(source.scope, ErrorScope::Object | ErrorScope::MaybeBucket);
        let name = if is_folder && name.starts_with(&bucket) { name.clone() } else { bucket };
        Some(FailedName { name, attempts: 0 })
    }

    /// Returns the targets to list for an object or a folder: those within a whole bucket.
    fn addresses_of(&self, name: &str) -> Vec<(usize, Address)> {
        let is_within = |uri: &str, outer: &str| uri.starts_with(outer);
        let uri = |address: &Address| s3_uri(&address.bucket, &address.prefix);
        let above = self.targets.iter().filter(|(_, target)| is_within(name, &uri(target)));
        let above = above.max_by_key(|(_, target)| target.prefix.len());
        if let Some((number, target)) = above {
            let prefix = name.strip_prefix(&s3_uri(&target.bucket, "")).unwrap_or_default();
            return vec![(*number, Address { prefix: prefix.to_owned(), ..target.clone() })];
        }
        let below = self.targets.iter().filter(|(_, target)| is_within(&uri(target), name));
        below.cloned().collect()
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
    fn source(&self, number: u64, now: Timestamp) -> S3Source {
        let mut options = S3Options { to: None, ..self.options.clone() };
        if number > 0 {
            let first = self.first_day(number, now);
            options.from = options.from.max(Some(start_of(first)));
        }
        let late_day = self.late_day(now);
        {
            let mut seen = self.lock_seen();
            seen.round = number;
            // Objects of other days may be listed again with what is tried again.
            if self.retried.is_empty() || number > u64::from(MAX_INCOMPLETE_ROUNDS) {
                seen.forget_before(late_day);
            }
        }
        let objects = self.retried.keys().filter(|name| !name.ends_with('/'));
        self.source_of(self.targets.clone(), options, objects.cloned().collect(), now)
    }

    /// Returns a source that passes over what was passed on before, or finished by earlier runs, and over `retried` objects.
    fn source_of(
        &self,
        targets: Vec<(usize, Address)>,
        options: S3Options,
        retried: HashSet<String>,
        now: Timestamp,
    ) -> S3Source {
        let client = Arc::clone(&self.client);
        let client: ClientFor = Box::new(move |region: &str| (*client)(region));
        let closed = Arc::clone(&self.closed);
        let closed: ClosedFolders =
            Box::new(move |prefix| closed.lock().unwrap_or_else(PoisonError::into_inner)(prefix));
        let mut source = S3Source::new(targets, options, client, Box::new(|_| None), closed, now);
        source.order = self.order;
        source.repetition = Repetition::Followed;
        let (seen, done) = (Arc::clone(&self.seen), Arc::clone(&self.done));
        source.done = Box::new(move |partition| {
            if retried.contains(&partition.key)
                || seen.lock().unwrap_or_else(PoisonError::into_inner).contains(partition)
            {
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

    /// Runs a round to its end.
    async fn run_round(
        &mut self,
        round: Round,
        source: S3Source,
        now: Timestamp,
        out: &EventSender,
        shutdown: &ShutdownSignal,
    ) -> Result<RoundEnd, ReceiverClosed> {
        let today = layout::utc_date(now);
        let failing_before = std::mem::take(&mut self.failing);
        let (sender, mut events) = event_channel();
        // Dropping the set cancels the requests in flight.
        let mut running = JoinSet::new();
        running.spawn(Box::new(source).run(sender, shutdown.clone()));
        let mut failed = Vec::new();
        while let Some(batch) = events.recv().await {
            for (source_number, event) in batch {
                match &event {
                    SourceEvent::Failed(error) => {
                        failed.extend(self.folder_of(error));
                        if failing_before.contains(error.subject()) {
                            self.failing.insert(error.subject().to_owned());
                            continue;
                        }
                    }
                    SourceEvent::Unreadable { partition, .. }
                        if day_of(&partition.key).is_some_and(|day| day < today)
                            && self.retried.len() + failed.len() < MAX_RETRIED =>
                    {
                        let attempts = self.lock_seen().forget_failed(partition);
                        failed.push(FailedName { name: partition.key.clone(), attempts });
                        if attempts == 0 && !failing_before.contains(&partition.key) {
                            out.send(source_number, event).await?;
                        }
                        continue;
                    }
                    _ => {}
                }
                self.forward(source_number, round, event, out).await?;
            }
        }
        let result = running.join_next().await.and_then(task_output).unwrap_or(Ok(()));
        Ok(RoundEnd { result, failed })
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

/// Returns what was tried again within a folder that failed, or the folder if that is nothing.
fn names_within(tried: &BTreeMap<String, FailedAttempts>, failed: FailedName) -> Vec<FailedName> {
    let within = tried.keys().filter(|name| name.starts_with(&failed.name)).cloned();
    let within: Vec<_> = within.map(|name| FailedName { name, attempts: 0 }).collect();
    if within.is_empty() { vec![failed] } else { within }
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
    use super::{super::S3Error, *};

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
    fn memory_is_bounded_however_many_objects_there_are() {
        let day = |number: i8| Some(jiff::civil::date(2024, 6, number));
        let hashes = |count: usize| (0..count as u64).collect::<HashSet<u64>>();
        let mut seen = SeenObjects::default();
        seen.by_day.entry(day(1)).or_default().passed_on = hashes(MAX_SEEN / 2);
        let second = seen.by_day.entry(day(2)).or_default();
        second.passed_on = hashes(MAX_SEEN / 2 - 1);
        let second = |name: &str| KEY.replace("/01/123456789012_x", &format!("/02/{name}"));
        seen.insert(&partition(&second("a"), "1"));
        assert_eq!(seen.by_day.len(), 2);
        assert!(seen.fail(&partition(&second("b"), "1")));
        assert_eq!(seen.by_day.keys().copied().collect::<Vec<_>>(), [day(2)], "the oldest day");
        assert!(seen.contains(&partition(&second("a"), "1")));
        seen.by_day.entry(day(2)).or_default().passed_on.extend(hashes(MAX_SEEN));
        seen.insert(&partition(&second("c"), "1"));
        let left = seen.by_day.values().map(SeenDay::objects).sum::<usize>();
        assert!((MAX_SEEN / 3..=MAX_SEEN).contains(&left), "{left}");
    }

    #[test]
    fn folders_that_could_not_be_listed_are_listed_again_less_and_less_often() {
        let mut follow = idle(&["s3://logs/a/", "s3://logs/b/", "s3://logs2"]);
        let error = |name: &str, scope| Error::Bucket {
            name: name.to_owned(),
            source: Box::new(S3Error { scope, ..S3Error::from_reason(String::new()) }),
        };
        let folder = follow.folder_of(&error("s3://logs/a/x/", ErrorScope::Object)).unwrap().name;
        assert_eq!(folder, "s3://logs/a/x/");
        let below = format!("{folder}y/");
        let failed = |name: &str| vec![FailedName { name: name.to_owned(), attempts: 0 }];
        follow.retry_later(0, failed(&folder), &BTreeMap::new());
        let mut rounds = Vec::new();
        for round in 1..200 {
            let due: BTreeMap<_, _> =
                follow.retried.extract_if(.., |_, failed| failed.next_round <= round).collect();
            if !due.is_empty() {
                rounds.push(round);
                // From the second attempt on, it is only a folder below.
                follow.retry_later(round, failed(&below), &due);
            }
        }
        assert_eq!(rounds, [1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(follow.retried.keys().collect::<Vec<_>>(), [&below]);
        let prefixes = |follow: &S3Follow, folder: &str| {
            let found = follow.addresses_of(folder).into_iter();
            found.map(|(number, address)| (number, address.prefix)).collect::<Vec<_>>()
        };
        assert_eq!(prefixes(&follow, &below), [(0, "a/x/y/".to_owned())]);
        // Nothing else of the bucket was listed.
        for failed in [
            error("s3://logs/b/x/", ErrorScope::Network),
            error("s3://logs/b/x/", ErrorScope::Bucket),
            error("s3://logs", ErrorScope::MaybeBucket),
        ] {
            let folder = follow.folder_of(&failed).unwrap().name;
            assert_eq!(prefixes(&follow, &folder), [(0, "a/".to_owned()), (1, "b/".to_owned())]);
        }
        let whole = follow.folder_of(&error("s3://logs2", ErrorScope::Bucket)).unwrap().name;
        assert_eq!(prefixes(&follow, &whole), [(2, String::new())]);
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

    /// Follows addresses, without a round.
    fn idle(addresses: &[&str]) -> S3Follow {
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
        let addresses = addresses.iter().map(|address| Address::parse(address).unwrap());
        let targets = addresses.enumerate().collect();
        let source =
            S3Source::new(targets, options, client, nothing, Box::new(|_: &str| None), now);
        S3Follow::new(source, S3FollowOptions::default(), Box::new(move || now))
    }

    #[test]
    fn a_day_is_listed_until_that_succeeds_or_fails_for_long() {
        let mut follow = idle(&[]);
        let now = (follow.clock)();
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
