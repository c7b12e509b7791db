//! Arguments to a checked plan of a page.
//!
//! Input: [`DashboardsArgs`], environment, clock. Output: a [`PagePlan`].
//! Invariant: an option without effect is rejected by name; nothing is read but files that list roles, and secrets.

use std::{ffi::OsStr, num::NonZeroUsize, path::Path};

use jiff::Timestamp;

use super::{DashboardsArgs, target::PageTarget};
use crate::{
    cli::{
        args::{
            aws::AwsArgs,
            time::{Moment, SearchTime},
        },
        environment::Environment,
        failure::Failure,
        index_endpoint::IndexEndpoint,
        plan::{
            aws::{AwsOptions, EngineAuth},
            sources::{INDEX, SourceList},
        },
    },
    normalize::TimeRange,
};

/// Which page is written, and from what.
pub(super) struct PagePlan {
    /// Where the page is written to.
    pub(super) target: PageTarget,
    /// Which events are counted.
    pub(super) range: TimeRange,
    /// Where the events are.
    pub(super) origin: PageOrigin,
    /// How AWS is accessed.
    pub(super) aws: AwsOptions,
    /// Processors for reading.
    pub(super) processors: NonZeroUsize,
    /// The current time.
    pub(super) now: Timestamp,
}

/// Where the events of a page are.
pub(super) enum PageOrigin {
    /// In files, buckets or the event history.
    Sources(SourceList),
    /// In the indices of an engine.
    Engine(Box<IndexEndpoint>),
}

impl PagePlan {
    /// Checks the arguments.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option, what was given, and what is expected.
    pub(super) fn new(
        args: &DashboardsArgs,
        path: &Path,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let target = PageTarget::new(path)?;
        let range = args.range(now)?;
        let origin = args.origin(environment)?;
        let (sources, auth) = match &origin {
            PageOrigin::Sources(sources) => (sources.clone(), EngineAuth::Credentials),
            PageOrigin::Engine(endpoint) => (SourceList::default(), endpoint.auth),
        };
        let aws = AwsArgs {
            access: args.access.clone(),
            buckets: args.buckets.clone(),
            ..AwsArgs::default()
        };
        Ok(Self {
            target,
            range,
            origin,
            aws: aws.plan(&sources, auth, environment)?,
            processors: environment.processors.unwrap_or(NonZeroUsize::MIN),
            now,
        })
    }

    /// Returns the time range in words; `None` if all events are counted.
    pub(super) fn range_name(&self) -> Option<String> {
        let TimeRange { from, to } = self.range;
        match (from, to) {
            (None, None) => None,
            (Some(from), None) => Some(format!("events from {from:.0} on")),
            (None, Some(to)) => Some(format!("events before {to:.0}")),
            (Some(from), Some(to)) => Some(format!("events from {from:.0} to {to:.0}")),
        }
    }

    /// Returns the sources that are read; none if an engine is asked.
    pub(super) fn sources(&self) -> SourceList {
        match &self.origin {
            PageOrigin::Sources(sources) => sources.clone(),
            PageOrigin::Engine(_) => SourceList::default(),
        }
    }
}

impl DashboardsArgs {
    fn origin(&self, environment: &Environment) -> Result<PageOrigin, Failure> {
        if self.reads_sources() {
            if let Some(option) = self.engine.given_option() {
                return Err(Failure::usage(format!(
                    "'{option}' has no effect with '--from' or '--trail': no engine is read"
                ))
                .hint("remove the option, or remove --from to show what an engine contains"));
            }
            if self.from.iter().any(|source| source == OsStr::new(INDEX)) {
                return Err(Failure::usage(format!("'--from {INDEX}' names no source of events"))
                    .hint(
                        "use --into URL without --from to show what an engine contains; for a file of that name, use ./index",
                    ));
            }
            return Ok(PageOrigin::Sources(SourceList::new(&self.from, &self.buckets.trail)?));
        }
        if self.engine.into.is_none() {
            return Err(Failure::usage("'--html' needs events: no source and no engine is given")
                .hint(
                    "add --from trail/ for files, --from lookup for the event history, or --into http://localhost:9200 for an engine",
                ));
        }
        Ok(PageOrigin::Engine(Box::new(IndexEndpoint::new(&self.engine, environment)?)))
    }

    fn range(&self, now: Timestamp) -> Result<TimeRange, Failure> {
        let resolve = |option: &str, moment: Moment| {
            moment.resolve(now).ok_or_else(|| {
                Failure::usage(format!("invalid value for '{option}': expected a shorter age"))
            })
        };
        let moment = |time: &SearchTime| time.moment;
        let from = match (self.last, &self.since) {
            (Some(age), _) => Some(resolve("--last <AGE>", Moment::Ago(age))?),
            (None, Some(since)) => Some(resolve("--since <TIME>", moment(since))?),
            (None, None) => None,
        };
        let to = self.to.as_ref().map(|to| resolve("--to <TIME>", moment(to))).transpose()?;
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(Failure::usage(format!(
                "the time range is empty: it starts at {from} and ends before {to}"
            ))
            .hint("give the earlier time to --since, and the later one to --to"));
        }
        Ok(TimeRange { from, to })
    }
}
