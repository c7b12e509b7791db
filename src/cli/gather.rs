//! Makes one source of all that was asked for.
//!
//! In: a plan, who we are at AWS, and what the checkpoint knows. Out: a [`Many`].
//! Holds: without a word that is about AWS, nothing of AWS is touched; what is fetched and waits for a worker stays
//! within its share of the memory.

use std::path::Path;

use jiff::Timestamp;

use super::{
    enter::{self, Entered, Shelves},
    environment, estimate,
    failure::Failure,
    load::{self, Plan},
};
use crate::{
    aws::Access,
    checkpoint::Reader,
    report::{Log, Tally, figures},
    shutdown::{ShutdownLevel, ShutdownSignal},
    source::{
        self, Buckets, Files, Lookup, Many,
        files::Done,
        lookup::{self, Coverage},
        s3::{self, Closed},
    },
};

/// Who asks for 90 days does not want to hear that some seconds of them are gone.
const SLACK_SECONDS: i64 = 3_600;

/// What sources are made from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tally: &'a Tally,
    pub(super) log: &'a Log,
    pub(super) stop: &'a ShutdownSignal,
    /// The checkpoint file, if there is one.
    pub(super) checkpoint: Option<&'a Path>,
}

impl Sources<'_> {
    /// Makes the source; `None` if the user stopped it.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if a word makes no sense, or nothing of AWS can be entered.
    pub(super) async fn gather(self, caller: Option<Access>) -> Result<Option<Many>, Failure> {
        unless_stopped(self.stop, self.all(caller)).await
    }

    async fn all(self, caller: Option<Access>) -> Result<Many, Failure> {
        let words = &self.plan.words;
        let mut all = Many::default();
        if !words.files.is_empty() {
            let files = Files::new(&words.paths(), self.done()?)?;
            all = all.first(files, words.files.iter().map(|(word, _)| *word).collect());
        }
        let Some(caller) = caller else { return Ok(all) };
        if words.has_buckets() {
            let shelves = enter::shelves(&self.plan.cloud, words, &caller).await?;
            let whose = enter::whose(&shelves.access).await?;
            self.log.info("s3", format_args!("reading with the credentials of {whose}"));
            let first = shelves.targets.first().map_or(0, |(word, _)| *word);
            all = all.beside(first, self.buckets(shelves)?);
        }
        if let Some(word) = words.lookup {
            let entered = enter::accounts(&self.plan.cloud, &caller).await?;
            entered.warn(self.log);
            all = all.beside(word, self.lookup(word, &entered)?);
            all = all.failed(entered.refused.into_iter().map(|(account, error)| {
                (word, source::Error::Account { account, source: Box::new(error) })
            }));
        }
        Ok(all)
    }

    fn buckets(&self, shelves: Shelves) -> Result<Buckets, Failure> {
        let Shelves { access, targets, accounts } = shelves;
        for (word, address) in &targets {
            if let Some(name) =
                self.plan.words.names.get(*word).filter(|name| !name.starts_with("s3:"))
            {
                self.log.info(name, format_args!("delivers to {address}"));
            }
        }
        let options = bucket_options(self.plan, access.region(), accounts, self.share());
        let client = Box::new(move |region: &str| access.s3(region));
        Ok(Buckets::new(targets, options, client, self.done()?, self.closed()?, environment::now()))
    }

    fn lookup(&self, word: usize, entered: &Entered) -> Result<Lookup, Failure> {
        let places = entered.places(&self.plan.cloud);
        self.log.info(
            "lookup",
            format_args!(
                "looking into {} and {}",
                figures::counted(entered.accounts.len() as u64, "account"),
                figures::counted(
                    entered.accounts.iter().map(|account| account.regions.len() as u64).sum(),
                    "Region"
                ),
            ),
        );
        let options = self.lookup_options(word, environment::now());
        self.warn_of_age(&options);
        let (log, dry_run) = (self.log.clone(), self.plan.dry_run);
        let source = Lookup::new(places, options, self.coverage()?, self.stop.clone())
            .on_estimate(Box::new(move |all| estimate::tell(all, dry_run, &log)));
        // Set once, here.
        let _ = self.tally.lookup.set((word, source.progress()));
        Ok(source)
    }

    /// Says that events are wanted that AWS has forgotten.
    fn warn_of_age(&self, options: &lookup::Options) {
        let oldest = options.now.saturating_sub_unsigned(lookup::HISTORY.as_secs());
        let wanted = options.from.or(options.to).unwrap_or(oldest);
        // An age such as 90d was typed a moment ago.
        if wanted < oldest.saturating_sub(SLACK_SECONDS) {
            self.log.warn(
                "lookup",
                "the event history goes back 90 days; what is older is only in a trail's bucket (s3://BUCKET)",
            );
        }
    }

    fn lookup_options(&self, word: usize, now: Timestamp) -> lookup::Options {
        let Plan { cloud, range, dry_run, .. } = self.plan;
        lookup::Options {
            word,
            from: range.from.map(second_from),
            to: range.to.map(|to| second_from(to) - 1),
            settle: cloud.history.settle,
            overlap: cloud.history.overlap,
            held_bytes: usize::try_from(self.share()).unwrap_or(usize::MAX),
            dry_run: *dry_run,
            ..lookup::Options::new(now.as_second())
        }
    }

    /// Returns the memory for what one source at AWS has fetched.
    fn share(&self) -> u64 {
        let words = &self.plan.words;
        let sources = u64::from(words.lookup.is_some()) + u64::from(words.has_buckets());
        held_bytes(self.plan) / sources.max(1)
    }

    /// Opens the checkpoint file, if what it knows counts.
    fn reader(&self) -> Result<Option<Reader>, Failure> {
        match self.checkpoint.filter(|_| !self.plan.again) {
            Some(path) => Ok(Some(Reader::open(path)?)),
            None => Ok(None),
        }
    }

    // What cannot be looked up is read again, which is safe.

    fn done(&self) -> Result<Done, Failure> {
        let Some(reader) = self.reader()? else { return Ok(nothing_done()) };
        Ok(Box::new(move |key| reader.done_content(key).ok().flatten()))
    }

    fn closed(&self) -> Result<Closed, Failure> {
        let Some(reader) = self.reader()? else { return Ok(Box::new(|_| None)) };
        Ok(Box::new(move |prefix| reader.closed(prefix).ok().flatten()))
    }

    fn coverage(&self) -> Result<Coverage, Failure> {
        let Some(reader) = self.reader()? else { return Ok(Box::new(|_| Vec::new())) };
        Ok(Box::new(move |series| reader.coverage(series).unwrap_or_default()))
    }
}

/// Does something that may take a while; returns `None` if the user stopped it.
///
/// # Errors
///
/// Returns the [`Failure`] of what was to be done.
pub(super) async fn unless_stopped<T>(
    stop: &ShutdownSignal,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        biased;
        () = stop.reached(ShutdownLevel::Draining) => Ok(None),
        done = work => done.map(Some),
    }
}

/// Returns what is asked of buckets; `region` is the reader's own.
pub(super) fn bucket_options(
    plan: &Plan,
    region: String,
    accounts: Vec<String>,
    memory_bytes: u64,
) -> s3::Options {
    let Plan { cloud, range, again, .. } = plan;
    s3::Options {
        region,
        accounts,
        regions: cloud.regions.clone().unwrap_or_default(),
        kinds: cloud.trails.kinds.clone(),
        from: range.from,
        to: range.to,
        late_days: cloud.trails.late_days,
        requester_pays: cloud.trails.requester_pays,
        memory_bytes,
        again: *again,
    }
}

/// Returns the memory for what was fetched from AWS; none if nothing is.
pub(super) fn held_bytes(plan: &Plan) -> u64 {
    if plan.words.is_aws() { load::held_bytes(plan.memory) } else { 0 }
}

/// Returns the answer of a checkpoint that knows nothing.
pub(super) fn nothing_done() -> Done {
    Box::new(|_| None)
}

/// Returns the first whole second that is not before a moment: events are told by the second.
fn second_from(moment: Timestamp) -> i64 {
    let second = moment.as_second();
    // Truncated towards zero, so what lies before 1970 is whole or later already.
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
