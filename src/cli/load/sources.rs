//! Builds the source of a run from the SOURCE arguments.
//!
//! Input: a plan, an AWS session, the checkpoint. Output: a [`CombinedSource`].
//! Invariant: AWS is not used unless an argument names something in AWS; what was fetched and waits for a worker stays
//! within its share of the memory.

use std::path::Path;

use jiff::Timestamp;

use super::{
    accounts::{self, BucketTargets, ResolvedAccounts},
    estimate::{self, Detail},
    setup::{RunContext, unless_shut_down},
};
use crate::{
    aws::Session,
    checkpoint::CheckpointReader,
    cli::{environment, failure::Failure, plan::Plan},
    report::format,
    source::{
        self, CombinedSource, Files, LookupSource, S3Source,
        files::FinishedLookup,
        lookup::{self, CoverageFn},
        s3::{self, ClosedFolders},
    },
};

/// A range that begins up to this long before the event history does gives no warning: `--last 90d` was resolved some
/// seconds ago.
const HISTORY_TOLERANCE_SECONDS: i64 = 3_600;

/// Builds the source of a run.
#[derive(Clone, Copy)]
pub(super) struct SourceBuilder<'a> {
    pub(super) context: RunContext<'a>,
    /// The checkpoint file, if it exists.
    pub(super) checkpoint: Option<&'a Path>,
}

impl SourceBuilder<'_> {
    /// Builds the source; returns `None` after a shutdown signal.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if an argument is invalid, or if no account can be accessed.
    pub(super) async fn build(
        self,
        session: Option<Session>,
    ) -> Result<Option<CombinedSource>, Failure> {
        unless_shut_down(self.context.shutdown, self.build_all(session)).await
    }

    async fn build_all(self, session: Option<Session>) -> Result<CombinedSource, Failure> {
        let sources = &self.context.plan.sources;
        let mut all = CombinedSource::default();
        if !sources.files.is_empty() {
            let files = Files::new(&sources.paths(), self.done()?)?;
            let numbers = sources.files.iter().map(|(number, _)| *number).collect();
            all = all.with_local(files.numbered(numbers));
        }
        let Some(session) = session else { return Ok(all) };
        if sources.has_buckets() {
            let targets =
                accounts::bucket_targets(&self.context.plan.aws, sources, &session).await?;
            let caller = accounts::caller_name(&targets.session).await?;
            let log = self.context.log;
            log.info("s3", format_args!("reading with the credentials of {caller}"));
            let first = targets.targets.first().map_or(0, |(number, _)| *number);
            all = all.with_remote(first, self.buckets(targets)?);
        }
        if let Some(number) = sources.lookup {
            let resolved = accounts::resolve_accounts(&self.context.plan.aws, &session).await?;
            resolved.warn(self.context.log);
            all = all.with_remote(number, self.lookup(number, &resolved)?);
            all = all.with_failures(resolved.failed.into_iter().map(|(account, error)| {
                (number, source::Error::Account { account, source: Box::new(error) })
            }));
        }
        Ok(all)
    }

    fn buckets(&self, targets: BucketTargets) -> Result<S3Source, Failure> {
        let BucketTargets { session, targets, accounts } = targets;
        let plan = self.context.plan;
        for (number, address) in &targets {
            let name = plan.sources.names.get(*number);
            if let Some(name) = name.filter(|name| !name.starts_with("s3:")) {
                self.context.log.info(name, format_args!("delivers to {address}"));
            }
        }
        let memory = plan.memory_budget().fetched_bytes_per_source();
        let options = bucket_options(plan, session.region(), accounts, memory);
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

    fn lookup(&self, number: usize, accounts: &ResolvedAccounts) -> Result<LookupSource, Failure> {
        let RunContext { plan, metrics, log, .. } = self.context;
        let targets = accounts.lookup_targets(&plan.aws);
        log.info(
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
        let options = self.lookup_options(number, environment::now());
        self.warn_about_age(&options);
        let detail = if plan.dry_run { Detail::AllRegions } else { Detail::SlowRegions };
        let log = log.clone();
        let source = LookupSource::new(targets, options, self.coverage()?)
            .on_estimate(Box::new(move |all| estimate::log_estimate(all, detail, &log)));
        // It is set only here, so this cannot fail.
        let _ = metrics.lookup.set((number, source.progress()));
        Ok(source)
    }

    /// Warns if events are requested that are older than the event history.
    fn warn_about_age(&self, options: &lookup::LookupOptions) {
        let oldest = options.now.saturating_sub_unsigned(lookup::EVENT_HISTORY.as_secs());
        let wanted = options.from.or(options.to).unwrap_or(oldest);
        if wanted < oldest.saturating_sub(HISTORY_TOLERANCE_SECONDS) {
            self.context.log.warn(
                "lookup",
                "the event history covers 90 days; load older events from the bucket of a trail (s3://BUCKET)",
            );
        }
    }

    fn lookup_options(&self, number: usize, now: Timestamp) -> lookup::LookupOptions {
        let Plan { aws, range, dry_run, .. } = self.context.plan;
        let memory = self.context.plan.memory_budget().fetched_bytes_per_source();
        lookup::LookupOptions {
            source_number: number,
            from: range.from.map(second_from),
            to: range.to.map(|to| second_from(to) - 1),
            delay: aws.history.delay,
            overlap: aws.history.overlap,
            held_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
            dry_run: *dry_run,
            ..lookup::LookupOptions::new(now.as_second())
        }
    }

    /// Opens the checkpoint, unless everything is read again.
    fn reader(&self) -> Result<Option<CheckpointReader>, Failure> {
        match self.checkpoint.filter(|_| !self.context.plan.reload) {
            Some(path) => Ok(Some(CheckpointReader::open(path)?)),
            None => Ok(None),
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

    fn coverage(&self) -> Result<CoverageFn, Failure> {
        let Some(reader) = self.reader()? else { return Ok(Box::new(|_| Vec::new())) };
        Ok(Box::new(move |series| reader.coverage(series).unwrap_or_default()))
    }
}

/// Returns the options for reading buckets. `region` is the Region of the session.
pub(in crate::cli) fn bucket_options(
    plan: &Plan,
    region: String,
    accounts: Vec<String>,
    memory_bytes: u64,
) -> s3::S3Options {
    let Plan { aws, range, reload, .. } = plan;
    s3::S3Options {
        region,
        accounts,
        regions: aws.regions.clone().unwrap_or_default(),
        kinds: aws.trails.kinds.clone(),
        from: range.from,
        to: range.to,
        late_days: aws.trails.late_days,
        requester_pays: aws.trails.requester_pays,
        memory_bytes,
        reload: *reload,
    }
}

/// Returns a lookup that knows no finished input, for runs without a checkpoint.
pub(in crate::cli) fn nothing_done() -> FinishedLookup {
    Box::new(|_| None)
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
