//! `--explain`: how a search would run.
//!
//! Input: a [`SearchPlan`]. Output: a page on standard output: the conditions with the presets expanded, what AWS or the
//! engine evaluates, what is evaluated here, and the requests and time to expect.
//! Invariant: no request for events is sent. Credentials, accounts, Regions and indices are resolved if that is possible;
//! without them, the page contains why not.

use std::{fmt::Write as _, ops::ControlFlow, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::{plan::SearchPlan, presets::command_line};
use crate::{
    cli::{
        args::search::ConditionArgs,
        failure::Failure,
        index_endpoint::IndexEndpoint,
        plan::aws::EngineAuth,
        print, runtime,
        sources::{
            accounts::{self, ResolvedAccounts},
            nothing_done,
        },
    },
    pipeline::search::{EventSummary, SearchOutput, TimeOrder},
    report::{Log, Metrics, format, lookup_progress::LOOKUP_QUOTA, terminal::escape_unprintable},
    shutdown::shutdown_channel,
    sink::events::EventFormat,
    source::{Files, SourceEvent, for_each_event, index::IndexPlan, lookup::EVENT_HISTORY},
};

/// How long credentials, accounts and indices are waited for. A person is waiting.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Columns of the names of rows.
const LABEL_COLUMNS: usize = 12;

/// Events of a page of LookupEvents, the most that the API allows.
const EVENTS_PER_REQUEST: u64 = 50;

/// Accounts that are listed by their ID.
const MAX_ACCOUNTS_SHOWN: usize = 5;

/// Prints the page.
///
/// # Errors
///
/// Returns a [`Failure`] if a path does not exist, or if the page cannot be printed.
pub(super) fn run(plan: &SearchPlan, log: &Log) -> Result<(), Failure> {
    let page = runtime::block_on(&plan.sources, Explanation { plan, log }.page())??;
    print(&page)
}

/// Explains a plan.
struct Explanation<'a> {
    plan: &'a SearchPlan,
    log: &'a Log,
}

/// The page under construction.
#[derive(Default)]
struct Page(String);

impl Page {
    fn section(&mut self, name: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "\n{}", escape_unprintable(name));
    }

    fn row(&mut self, label: &str, text: impl AsRef<str>) {
        let text = escape_unprintable(text.as_ref());
        let _ = writeln!(self.0, "  {label:LABEL_COLUMNS$}{text}");
    }

    fn rows(&mut self, label: &str, texts: impl IntoIterator<Item = impl AsRef<str>>) {
        for (at, text) in texts.into_iter().enumerate() {
            self.row(if at == 0 { label } else { "" }, text);
        }
    }

    fn failure(&mut self, label: &str, failure: &Failure) {
        self.row(label, format!("unknown: {}", failure.heading));
        self.rows("", failure.causes.iter().map(|cause| format!("caused by: {cause}")));
        self.rows("", failure.hint.iter().map(|hint| format!("hint: {hint}")));
    }
}

impl Explanation<'_> {
    async fn page(&self) -> Result<String, Failure> {
        let plan = self.plan;
        let mut page = Page("search\n".to_owned());
        self.conditions(&mut page);
        if !plan.sources.files.is_empty() {
            self.files(&mut page).await?;
        }
        if plan.sources.lookup.is_some() {
            self.lookup(&mut page).await;
        }
        for name in self.bucket_names() {
            self.bucket(&mut page, &name);
        }
        if let Some(index) = &plan.index {
            self.index(&mut page, index).await;
        }
        Ok(page.0)
    }

    fn conditions(&self, page: &mut Page) {
        let plan = self.plan;
        for preset in &plan.presets {
            page.row("preset", format!("{}: {preset}", preset.name));
        }
        let actions = match plan.conditions.actions.as_slice() {
            [] => "all".to_owned(),
            actions => actions.join(", "),
        };
        page.row("actions", actions);
        if let Some(sources) = plan.query.actions.sources() {
            let sources: Vec<String> = sources.into_iter().collect();
            page.row("", format!("events of {}", sources.join(", ")));
        }
        page.rows("conditions", written_conditions(&plan.conditions));
        page.row("time", self.time());
        page.row("result", self.result());
    }

    fn time(&self) -> String {
        let shown = |second: i64| {
            Timestamp::from_second(second).map_or_else(|_| second.to_string(), |at| at.to_string())
        };
        let range = self.plan.query.range;
        match (range.from.map(shown), range.to.map(shown)) {
            (None, None) => "all there is".to_owned(),
            (Some(from), None) => format!("from {from} (included)"),
            (None, Some(to)) => format!("to {to} (included)"),
            (Some(from), Some(to)) => format!("{from} to {to} (both included)"),
        }
    }

    fn result(&self) -> String {
        let plan = self.plan;
        let format = match plan.style.format {
            EventFormat::Ndjson => "ndjson",
            EventFormat::Json => "json",
            EventFormat::Csv => "csv",
            EventFormat::Tsv => "tsv",
            EventFormat::Table => "a table",
        };
        let what = match &plan.output {
            SearchOutput::Events if plan.follow => {
                format!("events as {format} as they are found, then new ones")
            }
            SearchOutput::Events => format!("events as {format} as they are found"),
            SearchOutput::Sorted(TimeOrder::Ascending) => {
                format!("events as {format} at the end, oldest first")
            }
            SearchOutput::Sorted(TimeOrder::Descending) => {
                format!("events as {format} at the end, newest first")
            }
            SearchOutput::Summary(EventSummary::Counts(_)) => "counts at the end".to_owned(),
            SearchOutput::Summary(EventSummary::Histogram(_)) => {
                "counts over time at the end".to_owned()
            }
            SearchOutput::Summary(EventSummary::Policy(_)) => {
                "the least policies at the end".to_owned()
            }
            SearchOutput::Summary(EventSummary::Trace(_)) => {
                "trees of a trace at the end".to_owned()
            }
        };
        match plan.limit {
            Some(limit) => format!("{what}; at most {}", format::count(limit)),
            None => what,
        }
    }

    /// Returns the conditions that are evaluated here, as a row of each source.
    fn here(&self) -> &'static str {
        if self.plan.query.matches_everything() { "no condition" } else { "all conditions" }
    }

    async fn files(&self, page: &mut Page) -> Result<(), Failure> {
        let files = Files::new(&self.plan.sources.paths(), nothing_done())?;
        page.section("files");
        let (mut count, mut bytes, mut streams) = (0, 0, 0);
        let (_trigger, shutdown) = shutdown_channel();
        // What cannot be read is reported by the search.
        let _ = for_each_event(Box::new(files), shutdown, |_, event| {
            if let SourceEvent::Input(input) = event {
                let is_stream = matches!(input.content, crate::source::Content::Stream(_));
                (count, bytes) = (count + u64::from(!is_stream), bytes + input.size);
                streams += u64::from(is_stream);
            }
            ControlFlow::Continue(())
        })
        .await;
        let mut read = vec![format!("{}, {}", format::plural(count, "file"), format::bytes(bytes))];
        if streams > 0 {
            read.push(format!("{}, as much as arrives", format::plural(streams, "stream")));
        }
        page.rows("read", read);
        page.row("here", self.here());
        Ok(())
    }

    async fn lookup(&self, page: &mut Page) {
        let plan = self.plan;
        page.section("lookup (LookupEvents)");
        let resolving = timeout(RESOLVE_TIMEOUT, self.accounts());
        let targets = match resolving.await {
            Ok(Ok(resolved)) => Some(describe_accounts(page, &resolved)),
            Ok(Err(failure)) => {
                page.failure("accounts", &failure);
                None
            }
            Err(_) => {
                page.row("accounts", "unknown: no response from AWS in time");
                None
            }
        };
        match &plan.aws.history.filter {
            Some(filter) => page.row("sent", format!("{filter}; AWS returns no other events")),
            None => page.row("sent", "only the time range: no condition is exact enough"),
        }
        page.row("here", self.here());
        let regions = targets.unwrap_or(1);
        let per_region = if targets.is_some() { "" } else { " for each account and Region" };
        page.row(
            "requests",
            format!(
                "{} or more{per_region}, each for up to {EVENTS_PER_REQUEST} events",
                format::count(regions)
            ),
        );
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few hundred"
        )]
        let events_per_second = (LOOKUP_QUOTA * format::as_f64(EVENTS_PER_REQUEST)) as u64;
        page.row(
            "time",
            format!(
                "the latency of one request, then {events_per_second} events a second in each account and Region, which \
                 are read at the same time"
            ),
        );
        if self.starts_before_history() {
            page.row(
                "note",
                "the event history covers 90 days; older events are in the bucket of a trail",
            );
        }
    }

    fn starts_before_history(&self) -> bool {
        let history = SignedDuration::try_from(EVENT_HISTORY).unwrap_or_default();
        let oldest = self.plan.now.as_second() - history.as_secs();
        self.plan.query.range.from.is_some_and(|from| from < oldest)
    }

    async fn accounts(&self) -> Result<ResolvedAccounts, Failure> {
        let metrics = Metrics::default();
        let session = accounts::new_session(&self.plan.aws, &metrics.waits).await?;
        accounts::resolve_accounts(&self.plan.aws, &session).await
    }

    fn bucket_names(&self) -> Vec<String> {
        let sources = &self.plan.sources;
        let buckets = sources.buckets.iter().map(|(number, _)| number);
        let numbers = buckets.chain(sources.trails.iter().map(|(number, _)| number));
        numbers.filter_map(|number| sources.names.get(*number).cloned()).collect()
    }

    fn bucket(&self, page: &mut Page, name: &str) {
        let plan = self.plan;
        page.section(name);
        let list = |names: Option<&Vec<String>>, all: &str| {
            names.map_or_else(|| all.to_owned(), |names| names.join(", "))
        };
        page.row("Regions", list(plan.aws.regions.as_ref(), "all that are found"));
        let days = match (plan.query.range.from, plan.query.range.to) {
            (None, None) => "all".to_owned(),
            _ => format!(
                "those of the time range, and {} after it for late deliveries",
                format::plural(plan.aws.trails.late_days.into(), "day")
            ),
        };
        page.row("days", days);
        page.row("here", self.here());
        page.row(
            "requests",
            "one for each day, account and Region to list, and one for each log file",
        );
    }

    async fn index(&self, page: &mut Page, index: &IndexEndpoint) {
        page.section(&format!("index {}", index.prefix));
        page.row("engine", index.endpoint.url.as_str().trim_end_matches('/'));
        match timeout(RESOLVE_TIMEOUT, self.index_plan(index)).await {
            Ok(Ok(index)) => {
                page.row("indices", index.indices());
                page.rows("pushed", index.pushed());
                page.rows("here", index.filtered());
                page.row("query", index.query().to_string());
            }
            Ok(Err(failure)) => page.failure("indices", &failure),
            Err(_) => page.row("indices", "unknown: no response from the engine in time"),
        }
    }

    async fn index_plan(&self, index: &IndexEndpoint) -> Result<IndexPlan, Failure> {
        let metrics = Metrics::default();
        let (_trigger, shutdown) = shutdown_channel();
        let session = match index.auth {
            EngineAuth::SigV4 => Some(accounts::new_session(&self.plan.aws, &metrics.waits).await?),
            EngineAuth::Credentials => None,
        };
        let reader = index.connect(session.as_ref(), &metrics, self.log, &shutdown).await?;
        Ok(IndexPlan::new(reader, &self.plan.query).await?)
    }
}

/// Adds rows about accounts and Regions, and returns the number of pairs of both.
fn describe_accounts(page: &mut Page, resolved: &ResolvedAccounts) -> u64 {
    let ids: Vec<&str> =
        resolved.accounts.iter().map(|account| account.identity.account.as_str()).collect();
    let shown = ids[..ids.len().min(MAX_ACCOUNTS_SHOWN)].join(", ");
    let more = ids.len().saturating_sub(MAX_ACCOUNTS_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    page.row("accounts", format!("{}: {shown}{more}", format::count(ids.len() as u64)));
    for (account, error) in &resolved.failed {
        page.row("", format!("{account} cannot be read: {error}"));
    }
    let pairs: u64 = resolved.accounts.iter().map(|account| account.regions.len() as u64).sum();
    let mut regions: Vec<&str> =
        resolved.accounts.iter().flat_map(|account| &account.regions).map(String::as_str).collect();
    regions.sort_unstable();
    regions.dedup();
    page.row("Regions", format!("{}: {}", format::count(regions.len() as u64), regions.join(", ")));
    pairs
}

/// Returns the conditions as options, each on its own.
fn written_conditions(conditions: &ConditionArgs) -> Vec<String> {
    let mut written = Vec::new();
    let mut add = |option: &str, values: &[String]| {
        written.extend(values.iter().map(|value| format!("{option} {}", command_line(&[value]))));
    };
    add("--match", &conditions.matches);
    add("--where", &conditions.conditions);
    add("--except", &conditions.exceptions);
    add("--principal", &conditions.principal);
    add("--resource", &conditions.resource);
    add("--ip", &conditions.ip);
    add("--access-key", &conditions.access_key);
    for (option, is_given) in [
        ("--errors-only", conditions.errors_only),
        ("--read-only", conditions.read_only),
        ("--write-only", conditions.write_only),
    ] {
        written.extend(is_given.then(|| option.to_owned()));
    }
    written
}
