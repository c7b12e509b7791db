//! Builds the source of a run from the SOURCE arguments.
//!
//! Input: a plan, an AWS session, the checkpoint. Output: a [`CombinedSource`].
//! Invariant: AWS is not used unless an argument names something in AWS; what was fetched and waits for a worker stays
//! within its share of the memory.

pub(super) mod accounts;
mod estimate;
pub(super) mod queues;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use jiff::Timestamp;
use url::Url;

use self::{
    accounts::{BucketTargets, ResolvedAccounts},
    estimate::Detail,
    queues::QueueReading,
};
use super::{
    environment,
    failure::Failure,
    plan::{aws::AwsOptions, sources::SourceList},
};
use crate::{
    aws::Session,
    checkpoint::CheckpointReader,
    limit::MemoryBudget,
    normalize::TimeRange,
    pending::PendingRequests,
    report::{Log, Metrics, format},
    shutdown::{ShutdownLevel, ShutdownSignal},
    sink::{Service, Signing},
    source::{
        self, CombinedSource, Files, LookupSource, S3Source,
        files::FinishedLookup,
        lookup::{
            self, CatchUp, CoverageFn, EpochClock, FollowOptions, FollowStart, LookupFollow,
            LookupSearch, LookupSearchOptions,
        },
        queue::QueueMode,
        s3::{self, ClosedFolders, S3Follow, S3FollowOptions},
    },
};

/// A range that begins up to this long before the event history does gives no warning: `--last 90d` was resolved some
/// seconds ago.
const HISTORY_TOLERANCE_SECONDS: i64 = 3_600;

/// What a run reads, and within which limits; builds its source.
#[derive(Clone, Copy)]
pub(in crate::cli) struct SourceBuilder<'a> {
    /// The sources.
    pub(in crate::cli) sources: &'a SourceList,
    /// How AWS is accessed.
    pub(in crate::cli) aws: &'a AwsOptions,
    /// Only events in this range are read.
    pub(in crate::cli) range: TimeRange,
    /// The memory limit of the run.
    pub(in crate::cli) memory: MemoryBudget,
    /// What earlier runs read.
    pub(in crate::cli) history: History<'a>,
    /// How the event history is read.
    pub(in crate::cli) lookup: LookupMode,
    /// How queues are read.
    pub(in crate::cli) queues: QueueReading<'a>,
    /// The metrics of the run.
    pub(in crate::cli) metrics: &'a Arc<Metrics>,
    /// Receives messages.
    pub(in crate::cli) log: &'a Log,
    /// Cancels the building.
    pub(in crate::cli) shutdown: &'a ShutdownSignal,
}

/// What of the work of earlier runs is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum History<'a> {
    /// Nothing: everything is read.
    Ignored,
    /// What this checkpoint file records as complete; nothing if there is no file.
    Checkpoint(Option<&'a Path>),
}

/// How the event history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum LookupMode {
    /// Completely.
    Load(FollowMode),
    /// Only sampled, for an estimate.
    Estimate,
    /// Newest events first, for a search.
    Search(FollowMode),
}

/// Whether reading continues with new events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum FollowMode {
    /// It ends at the end of the sources.
    Off,
    /// It polls for new events until a shutdown.
    On,
}

impl FollowMode {
    /// Returns when the reading of queues ends.
    pub(in crate::cli) fn queue_mode(self) -> QueueMode {
        match self {
            Self::Off => QueueMode::UntilEmpty,
            Self::On => QueueMode::Follow,
        }
    }
}

impl SourceBuilder<'_> {
    /// Builds the source; returns `None` after a shutdown signal.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if an argument is invalid, or if no account can be accessed.
    pub(in crate::cli) async fn build(
        self,
        session: Option<Session>,
    ) -> Result<Option<CombinedSource>, Failure> {
        unless_shut_down(self.shutdown, self.build_all(session)).await
    }

    async fn build_all(self, session: Option<Session>) -> Result<CombinedSource, Failure> {
        let sources = self.sources;
        let mut all = CombinedSource::default();
        if !sources.files.is_empty() {
            let files = Files::new(&sources.paths(), self.done()?)?;
            let numbers = sources.files.iter().map(|(number, _)| *number).collect();
            all = all.with_local(files.numbered(numbers));
        }
        let Some(session) = session else { return Ok(all) };
        if sources.has_buckets() {
            let targets = accounts::bucket_targets(self.aws, sources, &session).await?;
            let caller = accounts::caller_name(&targets.session).await?;
            self.log.info("s3", format_args!("reading with the credentials of {caller}"));
            let first = targets.targets.first().map_or(0, |(number, _)| *number);
            let buckets = self.buckets(targets)?;
            all = match self.lookup {
                LookupMode::Load(FollowMode::Off) | LookupMode::Estimate => {
                    all.with_remote(first, buckets)
                }
                LookupMode::Load(FollowMode::On) => {
                    all.with_remote(first, self.follow_buckets(buckets, &session))
                }
                LookupMode::Search(FollowMode::Off) => {
                    all.with_remote(first, buckets.newest_first())
                }
                LookupMode::Search(FollowMode::On) => {
                    let buckets = buckets.newest_first();
                    all.with_remote(first, self.follow_buckets(buckets, &session))
                }
            };
        }
        if sources.has_queues() {
            for (number, queue) in self.queue_sources(&session).await? {
                all = all.with_remote(number, queue);
            }
        }
        if let Some(number) = sources.lookup {
            let resolved = accounts::resolve_accounts(self.aws, &session).await?;
            resolved.warn(self.log);
            all = match self.lookup {
                LookupMode::Load(FollowMode::Off) | LookupMode::Estimate => {
                    all.with_remote(number, self.lookup(number, &resolved)?)
                }
                LookupMode::Search(FollowMode::Off) => {
                    all.with_remote(number, self.lookup_search(number, &resolved))
                }
                LookupMode::Load(FollowMode::On) | LookupMode::Search(FollowMode::On) => {
                    all.with_remote(number, self.follow_lookup(number, &resolved, &session))
                }
            };
            all = all.with_failures(resolved.failed.into_iter().map(|(account, error)| {
                (number, source::Error::Account { account, source: Box::new(error) })
            }));
        }
        Ok(all)
    }

    fn buckets(&self, targets: BucketTargets) -> Result<S3Source, Failure> {
        let BucketTargets { session, targets, accounts } = targets;
        for (number, address) in &targets {
            let name = self.sources.names.get(*number);
            if let Some(name) = name.filter(|name| !name.starts_with("s3:")) {
                self.log.info(name, format_args!("delivers to {address}"));
            }
        }
        let options = s3::S3Options {
            reload: self.history == History::Ignored,
            memory_bytes: self.memory.fetched_bytes_per_source(),
            ..bucket_options(self.aws, self.range, session.region(), accounts)
        };
        let client = Box::new(move |region: &str| session.s3(region));
        Ok(S3Source::new(
            targets,
            options,
            client,
            self.done()?,
            self.closed()?,
            environment::now(),
        ))
    }

    fn log_accounts(&self, accounts: &ResolvedAccounts) {
        self.log.info(
            "lookup",
            format_args!(
                "reading the event history of {} in {}",
                format::plural(accounts.accounts.len() as u64, "account"),
                format::plural(
                    accounts.accounts.iter().map(|account| account.regions.len() as u64).sum(),
                    "Region"
                ),
            ),
        );
    }

    fn lookup(&self, number: usize, accounts: &ResolvedAccounts) -> Result<LookupSource, Failure> {
        let targets = accounts.lookup_targets(self.aws);
        self.log_accounts(accounts);
        let options = self.lookup_options(number, environment::now());
        self.warn_about_age(options.now, options.from.or(options.to));
        let detail = match self.lookup {
            LookupMode::Estimate => Detail::AllRegions,
            LookupMode::Load(_) | LookupMode::Search(_) => Detail::SlowRegions,
        };
        let log = self.log.clone();
        let source = LookupSource::new(targets, options, self.coverage()?)
            .on_estimate(Box::new(move |all| estimate::log_estimate(all, detail, &log)));
        // It is set only here, so this cannot fail.
        let _ = self.metrics.lookup.set((number, source.progress()));
        Ok(source)
    }

    fn lookup_search(&self, number: usize, accounts: &ResolvedAccounts) -> LookupSearch {
        self.log_accounts(accounts);
        let options = self.search_options(number);
        self.warn_about_age(environment::now().as_second(), options.from.or(options.to));
        let source = LookupSearch::new(accounts.lookup_targets(self.aws), options);
        // It is set only here, so this cannot fail.
        let _ = self.metrics.lookup.set((number, source.progress()));
        source
    }

    fn search_options(&self, number: usize) -> LookupSearchOptions {
        let memory = self.memory.fetched_bytes_per_source();
        LookupSearchOptions {
            source_number: number,
            from: self.range.from.map(second_from),
            to: self.range.to.map(|to| second_from(to) - 1),
            held_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
            ..LookupSearchOptions::new(EpochClock::new(|| environment::now().as_second()))
        }
    }

    /// Returns the source that follows the event history, after it has caught up if this is no search.
    fn follow_lookup(
        &self,
        number: usize,
        accounts: &ResolvedAccounts,
        session: &Session,
    ) -> LookupFollow {
        self.log_accounts(accounts);
        let mut search = self.search_options(number);
        search.follow = Some(FollowOptions::default());
        let options = self.lookup_options(number, environment::now());
        self.warn_about_age(options.now, options.from);
        let start = match self.lookup {
            LookupMode::Search(_) => FollowStart::Search,
            LookupMode::Load(_) | LookupMode::Estimate => {
                let log = self.log.clone();
                FollowStart::CatchUp(CatchUp {
                    options,
                    coverage: self.coverage_of_each_group(),
                    on_estimate: Some(Box::new(move |all| {
                        estimate::log_estimate(all, Detail::SlowRegions, &log);
                    })),
                })
            }
        };
        let discovery = accounts::discovery(self.aws, session);
        let targets = accounts.lookup_targets(self.aws);
        let source = LookupFollow::new(targets, start, search, discovery);
        // It is set only here, so this cannot fail.
        let _ = self.metrics.lookup.set((number, source.progress()));
        source
    }

    fn follow_buckets(&self, buckets: S3Source, session: &Session) -> S3Follow {
        let clock = Box::new(environment::now);
        let follow = buckets.follow(S3FollowOptions::default(), clock);
        match accounts::account_discovery(self.aws, session) {
            Some(discovery) => follow.with_accounts(discovery),
            None => follow,
        }
    }

    /// Warns if events are requested that are older than the event history. `wanted` is the first second.
    fn warn_about_age(&self, now: i64, wanted: Option<i64>) {
        let oldest = now.saturating_sub_unsigned(lookup::EVENT_HISTORY.as_secs());
        if wanted.unwrap_or(oldest) < oldest.saturating_sub(HISTORY_TOLERANCE_SECONDS) {
            self.log.warn(
                "lookup",
                "the event history covers 90 days; read older events from the bucket of a trail (s3://BUCKET)",
            );
        }
    }

    fn lookup_options(&self, number: usize, now: Timestamp) -> lookup::LookupOptions {
        let Self { aws, range, memory, .. } = self;
        let memory = memory.fetched_bytes_per_source();
        lookup::LookupOptions {
            source_number: number,
            from: range.from.map(second_from),
            to: range.to.map(|to| second_from(to) - 1),
            delay: aws.history.delay,
            overlap: aws.history.overlap,
            held_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
            dry_run: self.lookup == LookupMode::Estimate,
            ..lookup::LookupOptions::new(now.as_second())
        }
    }

    /// Opens the checkpoint, unless everything is read again.
    fn reader(&self) -> Result<Option<CheckpointReader>, Failure> {
        match self.history {
            History::Checkpoint(Some(path)) => Ok(Some(CheckpointReader::open(path)?)),
            History::Checkpoint(None) | History::Ignored => Ok(None),
        }
    }

    // If the checkpoint cannot be queried, the input is read again, which is safe.

    fn done(&self) -> Result<FinishedLookup, Failure> {
        let Some(reader) = self.reader()? else { return Ok(nothing_done()) };
        Ok(Box::new(move |key| reader.finished_partition(key).ok().flatten()))
    }

    fn closed(&self) -> Result<ClosedFolders, Failure> {
        let Some(reader) = self.reader()? else { return Ok(Box::new(|_| None)) };
        Ok(Box::new(move |prefix| reader.complete_folder(prefix).ok().flatten()))
    }

    /// Returns what opens the checkpoint for each group of accounts and Regions.
    fn coverage_of_each_group(&self) -> Box<dyn Fn() -> CoverageFn + Send + Sync> {
        let path = match self.history {
            History::Checkpoint(path) => path.map(Path::to_owned),
            History::Ignored => None,
        };
        Box::new(move || match path.as_deref().map(CheckpointReader::open) {
            Some(Ok(reader)) => Box::new(move |series| reader.coverage(series).unwrap_or_default()),
            Some(Err(_)) | None => Box::new(|_| Vec::new()),
        })
    }

    fn coverage(&self) -> Result<CoverageFn, Failure> {
        let Some(reader) = self.reader()? else { return Ok(Box::new(|_| Vec::new())) };
        Ok(Box::new(move |series| reader.coverage(series).unwrap_or_default()))
    }
}

/// Returns the options for reading buckets, without a share of the memory. `region` is the Region of the session.
pub(in crate::cli) fn bucket_options(
    aws: &AwsOptions,
    range: TimeRange,
    region: String,
    accounts: Vec<String>,
) -> s3::S3Options {
    s3::S3Options {
        region,
        accounts,
        regions: aws.regions.clone().unwrap_or_default(),
        kinds: aws.trails.kinds.clone(),
        from: range.from,
        to: range.to,
        late_days: aws.trails.late_days,
        requester_pays: aws.trails.requester_pays,
        memory_bytes: 0,
        reload: false,
    }
}

/// Opens the AWS session and checks its credentials, so that a run without credentials fails early.
///
/// # Errors
///
/// Returns a [`Failure`] if the certificates or credentials cannot be used, or if an access point cannot be reached.
pub(in crate::cli) async fn open_session(
    sources: &SourceList,
    aws: &AwsOptions,
    pending: &PendingRequests,
) -> Result<Session, Failure> {
    let session = accounts::new_session(aws, pending).await?;
    accounts::check_access_points(&sources.buckets, &session)?;
    if sources.lookup.is_some() {
        session.identity().await?;
    } else if sources.has_buckets() || sources.has_queues() {
        session.access_key_id().await?;
    }
    Ok(session)
}

/// Returns how requests to an engine are signed: for the service and Region in its host name, or else as for a managed
/// domain in the Region of the session.
pub(in crate::cli) fn signing(url: &Url, session: &Session) -> Signing {
    let named = Service::from_host(url);
    let (service, region) = named.unwrap_or_else(|| (Service::Domain, session.region()));
    Signing { service, region, credentials: session.credentials_provider() }
}

/// Warns about each SOURCE argument under which inputs were read, none of which is CloudTrail. Returns their number.
pub(in crate::cli) fn warn_about_sources_without_events(metrics: &Metrics, log: &Log) -> u64 {
    let mut sources = 0;
    for source in &metrics.sources {
        let inputs = source.inputs_without_events();
        if inputs > 0 {
            sources += 1;
            let inputs = format::plural(inputs, "input");
            log.warn(
                &source.name,
                format_args!("no CloudTrail events in {inputs}; check the path"),
            );
        }
    }
    sources
}

/// Warns about each folder that holds no file.
pub(in crate::cli) fn warn_about_empty_folders(sources: &SourceList, metrics: &Metrics, log: &Log) {
    for (number, _) in &sources.files {
        let Some(source) = metrics.sources.get(*number) else { continue };
        if source.found.load(Relaxed) == 0 {
            log.warn(&source.name, "no file was found here; check the path");
        }
    }
}

/// Returns a lookup that knows no finished input, for runs without a checkpoint.
pub(in crate::cli) fn nothing_done() -> FinishedLookup {
    Box::new(|_| None)
}

/// Waits for work that may take a while; returns `None` if a shutdown signal comes first.
///
/// # Errors
///
/// Returns the [`Failure`] of the work.
pub(in crate::cli) async fn unless_shut_down<T>(
    shutdown: &ShutdownSignal,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        biased;
        () = shutdown.reached(ShutdownLevel::Draining) => Ok(None),
        result = work => result.map(Some),
    }
}

/// Rounds a time up to a whole second, the resolution of LookupEvents.
fn second_from(moment: Timestamp) -> i64 {
    let second = moment.as_second();
    // `as_second` truncates towards zero, so times before 1970 are rounded up already.
    if moment > Timestamp::from_second(second).unwrap_or(moment) { second + 1 } else { second }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_belongs_to_the_one_before() {
        for (moment, second) in [
            ("2024-06-01T00:00:00Z", 1_717_200_000),
            ("2024-06-01T00:00:00.5Z", 1_717_200_001),
            ("1969-12-31T23:59:59.5Z", 0),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(second_from(moment.parse().unwrap()), second, "{moment}");
        }
    }
}
