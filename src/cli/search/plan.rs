//! Turns the arguments of a search into a [`SearchPlan`]: every decision that needs no file, network or engine.
//!
//! Input: [`SearchArgs`], environment, clock. Output: a [`SearchPlan`], or a usage failure that names the option.
//! Invariant: an expression that is not valid is refused before anything is read or requested.

use std::{fmt, num::NonZeroUsize, path::PathBuf, sync::Arc};

use jiff::Timestamp;

use super::presets::{self, ExpandedPreset};
use crate::{
    cli::{
        args::{
            aws::{AwsArgs, HistoryArgs},
            search::{ConditionArgs, ResultArgs, SearchArgs},
            size::ByteCount,
            time::{Age, Moment, SearchTime},
        },
        environment::Environment,
        failure::Failure,
        index_endpoint::IndexEndpoint,
        plan::{
            aws::{AwsOptions, EngineAuth},
            sources::{LOOKUP, SourceList},
        },
    },
    filter::{
        action::ActionFilter,
        glob::Glob,
        jmespath::Expression,
        match_expression::MatchExpression,
        query::{Query, TimeBounds},
        resource::ResourcePattern,
        selectors::{AccessKeyError, AccessKeyId, AddressRange, CallKind, Selectors},
    },
    limit::MemoryBudget,
    normalize::TimeRange,
    pipeline::search::{
        Counts, EventSummary, Histogram, SearchOutput,
        policy::{DeniedCalls, LeastPolicy},
        trace::{Trace, TraceTarget},
    },
    sink::events::{EventFormat, OutputStyle},
    source::{lookup::lookup_filter_for, queue::MessageDeletion},
};

/// Size of a batch of events that are found: the pipeline's unit of memory. A small one, so that the first events are
/// printed at once.
const BATCH_BYTES: u64 = 256 << 10;

/// What all workers may hold of whole files, so that a search takes at most 100 MB on a machine with many processors.
/// With two workers, each reads files of 16 MiB of text as a whole, which is more than a trail writes.
const WHOLE_FILES_BYTES: u64 = 48 << 20;

/// Everything that a search needs to know, checked and with all defaults filled in.
#[derive(Clone, Debug)]
pub(super) struct SearchPlan {
    /// What is searched.
    pub(super) sources: SourceList,
    /// How AWS is accessed.
    pub(super) aws: AwsOptions,
    /// The engine of `--in index`.
    pub(super) index: Option<IndexEndpoint>,
    /// The conditions.
    pub(super) query: Arc<Query>,
    /// The conditions as they were given, with the options of the presets.
    pub(super) conditions: ConditionArgs,
    /// The presets that were given.
    pub(super) presets: Vec<ExpandedPreset>,
    /// The option of each time that was given, and the time.
    pub(super) times: Vec<(&'static str, SearchTime)>,
    /// What is done with the events that are found.
    pub(super) output: SearchOutput,
    /// How events and tables are printed.
    pub(super) style: OutputStyle,
    /// The format of a report that is no table, if one was given.
    pub(super) report_format: Option<EventFormat>,
    /// The largest number of events.
    pub(super) limit: Option<u64>,
    /// Whether the search continues with new events.
    pub(super) follow: bool,
    /// The memory limit.
    pub(super) memory: MemoryBudget,
    /// Threads that decompress and filter.
    pub(super) workers: NonZeroUsize,
    /// The folder for temporary files.
    pub(super) temporary: PathBuf,
    /// The time at the start, which relative times refer to.
    pub(super) now: Timestamp,
}

impl SearchPlan {
    /// Returns the time range as the sources expect it: with an exclusive end.
    pub(super) fn range(&self) -> TimeRange {
        let TimeBounds { from, to } = self.query.range;
        let time = |second: i64| Timestamp::from_second(second).ok();
        TimeRange { from: from.and_then(time), to: to.and_then(|to| time(to.saturating_add(1))) }
    }
}

impl SearchArgs {
    /// Checks the arguments and fills in the defaults.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option, what was given, and what is expected.
    pub(super) fn plan(
        &self,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<SearchPlan, Failure> {
        let (conditions, presets) = presets::expand(self)?;
        let sources = SourceList::for_search(&self.sources, &self.buckets.trail)?;
        check_actions_are_no_sources(&conditions.actions)?;
        let query = Query { range: self.bounds(now)?, ..conditions.query()? };
        let index = IndexEndpoint::of_sources(
            &sources,
            &self.engine,
            environment,
            "'--in index' is not given",
        )?;
        self.check_follow(&sources)?;
        self.check_summary()?;
        self.check_report_format()?;
        let auth = index.as_ref().map_or(EngineAuth::Credentials, |index| index.auth);
        let mut aws = self.aws_args().plan(&sources, auth, environment)?;
        aws.history.filter = lookup_filter_for(&query);
        aws.messages = self.message_deletion(aws.messages)?;
        let remote = sources.remote_sources() + usize::from(index.is_some());
        let memory = self.memory(remote)?;
        Ok(SearchPlan {
            workers: self.workers(&sources, memory, environment),
            memory,
            aws,
            index,
            sources,
            query: Arc::new(query),
            conditions,
            presets,
            times: self.times(),
            output: self.output(),
            style: self.style(environment),
            report_format: self.result.output,
            limit: self.result.limit.map(std::num::NonZeroU64::get),
            follow: self.result.follow,
            temporary: environment.temporary.clone(),
            now,
        })
    }

    fn aws_args(&self) -> AwsArgs {
        AwsArgs {
            access: self.access.clone(),
            history: HistoryArgs { insights: self.insights, ..HistoryArgs::default() },
            buckets: self.buckets.clone(),
            queues: self.queues,
        }
    }

    fn bounds(&self, now: Timestamp) -> Result<TimeBounds, Failure> {
        let time = &self.time;
        let resolve = |option: &str, moment: Moment| {
            moment.resolve(now).ok_or_else(|| {
                Failure::usage(format!("invalid value for '{option}': expected a shorter age"))
            })
        };
        let from = match (time.last, time.last_minute, &time.from) {
            (Some(age), _, _) => Some(resolve("--last <AGE>", Moment::Ago(age))?),
            (_, Some(minutes), _) => {
                Some(resolve("--last-minute <N>", Moment::Ago(Age::from_minutes(minutes)))?)
            }
            (_, _, Some(from)) => Some(resolve("--from <TIME>", from.moment)?),
            (None, None, None) => None,
        };
        let to = time.to.as_ref().map(|to| resolve("--to <TIME>", to.moment)).transpose()?;
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            let [from, to] =
                [from, to].map(|time| Timestamp::from_second(time.as_second()).unwrap_or_default());
            return Err(Failure::usage(format!(
                "the time range is reversed: it starts at {from} and ends at {to}"
            ))
            .hint("give the earlier time to --from, and the later one to --to"));
        }
        Ok(TimeBounds::new(from, to))
    }

    fn times(&self) -> Vec<(&'static str, SearchTime)> {
        let times = [("--from", &self.time.from), ("--to", &self.time.to)];
        times.into_iter().filter_map(|(option, time)| Some((option, time.clone()?))).collect()
    }

    /// Returns which messages of queues are deleted. What is printed only at the end keeps them all: they would be gone if the search
    /// ended before.
    fn message_deletion(&self, wanted: MessageDeletion) -> Result<MessageDeletion, Failure> {
        let sort = self.result.sort.map(|_| "--sort");
        match self.result.summary_option().or(sort) {
            None => Ok(wanted),
            Some(option) if wanted == MessageDeletion::SettledAndForeign => {
                Err(Failure::usage(format!(
                    "'--delete-foreign-messages' has no effect with '{option}', which keeps all messages"
                )))
            }
            Some(_) => Ok(MessageDeletion::None),
        }
    }

    fn check_follow(&self, sources: &SourceList) -> Result<(), Failure> {
        if self.result.follow {
            sources.check_follow()?;
        }
        match self.result.summary_option() {
            Some(option) if self.result.follow => Err(Failure::usage(format!(
                "'{option}' is printed at the end of a search, and '--follow' has none"
            ))),
            _ => Ok(()),
        }
    }

    /// Rejects options that have no meaning for what is printed instead of events.
    fn check_summary(&self) -> Result<(), Failure> {
        let result = &self.result;
        let Some(option) = result.summary_option() else { return Ok(()) };
        if result.trace.as_ref().is_some_and(|target| target.trim().is_empty()) {
            return Err(empty("--trace <IDENTITY>"));
        }
        if result.sort.is_some() {
            return Err(Failure::usage(format!(
                "'--sort' sorts events, and '{option}' prints none"
            ))
            .hint("remove --sort; counts are sorted by number, and intervals by time"));
        }
        if result.limit.is_some() && result.count_by.is_none() {
            return Err(Failure::usage(format!(
                "'--limit' limits events and the values of '--count-by', and '{option}' prints neither"
            ))
            .hint("remove --limit; a time range, such as --last 7d, makes the search smaller"));
        }
        Ok(())
    }

    /// Rejects formats that a policy or a trace does not have.
    fn check_report_format(&self) -> Result<(), Failure> {
        match (self.result.summary_option(), self.result.output) {
            (
                Some(option @ ("--policy" | "--trace")),
                Some(EventFormat::Csv | EventFormat::Tsv),
            ) => Err(Failure::usage(format!("'{option}' prints no rows, so it has no CSV or TSV"))
                .hint("use --output json, or omit the option")),
            _ => Ok(()),
        }
    }

    fn memory(&self, remote_sources: usize) -> Result<MemoryBudget, Failure> {
        let least = ByteCount(MemoryBudget::MIN_TOTAL_BYTES);
        if self.memory < least {
            return Err(Failure::usage(format!(
                "invalid value '{}' for '--memory <BYTES>': expected at least {least}",
                self.memory
            )));
        }
        let budget = MemoryBudget::new(self.memory.0, BATCH_BYTES, remote_sources);
        Ok(budget.with_whole_files(WHOLE_FILES_BYTES))
    }

    fn workers(
        &self,
        sources: &SourceList,
        memory: MemoryBudget,
        environment: &Environment,
    ) -> NonZeroUsize {
        let given = self.workers.and_then(|workers| NonZeroUsize::new(workers.into()));
        let default = || {
            if is_history_only(sources) {
                // One worker prints the pages of a Region in their order, and is faster than any quota.
                return Some(NonZeroUsize::MIN);
            }
            let processors = environment.processors?.get();
            NonZeroUsize::new(processors.min(memory.affordable_workers()))
        };
        given.or_else(default).unwrap_or(NonZeroUsize::MIN)
    }

    fn output(&self) -> SearchOutput {
        let result = &self.result;
        if let Some(target) = &result.trace {
            SearchOutput::Summary(EventSummary::Trace(Box::new(Trace::new(TraceTarget::new(
                target,
            )))))
        } else if result.policy {
            let denied =
                if result.include_denied { DeniedCalls::Include } else { DeniedCalls::LeaveOut };
            SearchOutput::Summary(EventSummary::Policy(LeastPolicy::new(denied)))
        } else if let Some(interval) = result.histogram {
            let histogram = Histogram::new(interval.length(), result.count_by.clone());
            SearchOutput::Summary(EventSummary::Histogram(histogram))
        } else if let Some(fields) = &result.count_by {
            SearchOutput::Summary(EventSummary::Counts(Counts::new(fields.clone())))
        } else if let Some(order) = result.sort {
            SearchOutput::Sorted(order)
        } else {
            SearchOutput::Events
        }
    }

    fn style(&self, environment: &Environment) -> OutputStyle {
        let is_terminal = environment.output.columns.is_some();
        let default = if is_terminal { EventFormat::Table } else { EventFormat::Ndjson };
        OutputStyle {
            format: self.result.output.unwrap_or(default),
            fields: self.result.fields.clone(),
            terminal: environment.output,
        }
    }
}

/// Returns whether only the event history is searched.
fn is_history_only(sources: &SourceList) -> bool {
    sources.lookup.is_some()
        && sources.files.is_empty()
        && !sources.has_buckets()
        && sources.index.is_none()
}

impl ResultArgs {
    /// Returns the option that prints something else than events.
    fn summary_option(&self) -> Option<&'static str> {
        let options = [
            ("--policy", self.policy),
            ("--trace", self.trace.is_some()),
            ("--histogram", self.histogram.is_some()),
            ("--count-by", self.count_by.is_some()),
        ];
        options.into_iter().find_map(|(option, is_given)| is_given.then_some(option))
    }
}

impl ConditionArgs {
    /// Parses the conditions. The time range is left open.
    fn query(&self) -> Result<Query, Failure> {
        let actions = ActionFilter::parse(&self.actions)
            .map_err(|error| Failure::syntax("[ACTION]...", &error))?;
        Ok(Query {
            actions,
            matches: expressions("--match <PATH OP VALUE>", &self.matches)?,
            exceptions: expressions("--except <PATH OP VALUE>", &self.exceptions)?,
            conditions: self
                .conditions
                .iter()
                .map(|text| Expression::parse(text))
                .collect::<Result<_, _>>()
                .map_err(|error| Failure::syntax("--where <JMESPATH>", &error))?,
            selectors: self.selectors()?,
            range: TimeBounds::default(),
        })
    }

    fn selectors(&self) -> Result<Selectors, Failure> {
        let calls = match (self.read_only, self.write_only) {
            (true, true) => {
                return Err(Failure::usage(
                    "'--read-only' and '--write-only' exclude each other: no call is both",
                )
                .hint("a preset may have added one of them; --presets lists their options"));
            }
            (true, false) => Some(CallKind::Read),
            (false, true) => Some(CallKind::Write),
            (false, false) => None,
        };
        Ok(Selectors {
            errors_only: self.errors_only,
            calls,
            principals: patterns("--principal <PATTERN>", &self.principal, Glob::new)?,
            resources: patterns("--resource <PATTERN>", &self.resource, ResourcePattern::new)?,
            addresses: self.ip.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
            access_keys: self
                .access_key
                .iter()
                .map(|text| access_key(text))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Parses the expressions of an option. An empty one among others is left out with a warning; alone, it is rejected,
/// because the search would then find every event, as with `--match "$UNSET"`.
fn expressions(option: &str, texts: &[String]) -> Result<Vec<MatchExpression>, Failure> {
    if !texts.is_empty() && texts.iter().all(|text| text.trim().is_empty()) {
        return Err(Failure::usage(format!(
            "invalid value '' for '{option}': expected PATH OP VALUE"
        ))
        .hint(
            "write a condition such as '$.errorCode == \"AccessDenied\"', or leave the option out",
        ));
    }
    let parsed = texts.iter().map(|text| MatchExpression::parse(text));
    parsed.collect::<Result<_, _>>().map_err(|error| Failure::syntax(option, &error))
}

/// Parses the patterns of an option. An empty one, as from `--resource "$UNSET"`, is rejected.
fn patterns<T>(
    option: &str,
    texts: &[String],
    parse: impl Fn(&str) -> T,
) -> Result<Vec<T>, Failure> {
    let is_empty = |text: &String| text.trim().is_empty();
    if texts.iter().any(is_empty) {
        return Err(empty(option));
    }
    Ok(texts.iter().map(|text| parse(text)).collect())
}

fn empty(option: &str) -> Failure {
    Failure::usage(format!("the value of '{option}' is empty"))
        .hint("leave the option out, or check the variable that the value comes from")
}

fn address(text: &str) -> Result<AddressRange, Failure> {
    text.trim().parse().map_err(|error| {
        let failure = invalid("--ip <ADDRESS|CIDR>", text, &error);
        let is_domain = text.rsplit_once('.').is_some_and(|(_, domain)| domain == "com");
        if is_domain || text.contains("AWS") {
            let expression = format!("$.sourceIPAddress == \"{text}\"");
            let option = presets::command_line(&["--match", &expression]);
            return failure.hint(format!("for calls of an AWS service, write {option}"));
        }
        failure
    })
}

fn access_key(text: &str) -> Result<AccessKeyId, Failure> {
    text.parse().map_err(|error: AccessKeyError| match error {
        // The value is not repeated: it may be a secret.
        AccessKeyError::Secret => {
            Failure::usage(format!("invalid value for '--access-key <ID>': {error}"))
        }
        AccessKeyError::Id => invalid("--access-key <ID>", text, &error),
    })
}

/// Rejects a source that was given as an ACTION, which would find nothing.
fn check_actions_are_no_sources(actions: &[String]) -> Result<(), Failure> {
    let is_source = |action: &&String| {
        let action = action.trim();
        action == LOOKUP || action == "-" || action.contains('/')
    };
    match actions.iter().find(is_source) {
        None => Ok(()),
        Some(action) => Err(Failure::usage(format!("'{action}' is a source, not an action"))
            .hint(format!("write --in {}", presets::command_line(&[action])))),
    }
}

fn invalid(option: &str, given: &str, error: &impl fmt::Display) -> Failure {
    Failure::usage(format!("invalid value '{given}' for '{option}': {error}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{cli::exit::Exit, pipeline::search::TimeOrder, report::terminal::Terminal};

    #[derive(clap::Parser)]
    struct TestCli {
        #[command(flatten)]
        args: SearchArgs,
    }

    fn now() -> Timestamp {
        "2024-06-08T12:00:00Z".parse().unwrap()
    }

    fn plan_on(terminal: Terminal, words: &[&str]) -> Result<SearchPlan, Failure> {
        let cli = TestCli::try_parse_from(["search"].iter().chain(words)).unwrap();
        let environment = Environment {
            processors: NonZeroUsize::new(6),
            output: terminal,
            ..Environment::default()
        };
        cli.args.plan(&environment, now())
    }

    fn plan(words: &[&str]) -> Result<SearchPlan, Failure> {
        plan_on(Terminal::default(), words)
    }

    #[test]
    fn what_is_printed_at_the_end_keeps_all_messages() {
        let messages = |words: &[&str]| {
            plan(&[&["--in", "sqs://queue"], words].concat()).map(|plan| plan.aws.messages)
        };
        assert_eq!(messages(&[]).unwrap(), MessageDeletion::Settled);
        assert_eq!(messages(&["--limit", "3"]).unwrap(), MessageDeletion::Settled);
        let at_the_end: [&[&str]; 5] = [
            &["--sort", "time"],
            &["--count-by", "name"],
            &["--histogram", "1h"],
            &["--policy"],
            &["--trace", "*"],
        ];
        for words in at_the_end {
            assert_eq!(messages(words).unwrap(), MessageDeletion::None, "{words:?}");
            let failure = messages(&[words, &["--delete-foreign-messages"]].concat()).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.heading.contains(words[0]), "{failure:?}");
        }
    }

    #[test]
    fn an_empty_expression_is_rejected_unless_another_one_is_given() {
        for words in [
            &["--match", ""][..],
            &["--match= "],
            &["--match", "", "--match", ""],
            &["--match", "$.a == 1", "--except", ""],
        ] {
            let failure = plan(words).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{words:?}");
        }
        let plan = plan(&["--match", "$.a == 1", "--match", ""]).unwrap();
        assert_eq!(plan.query.matches.len(), 2);
        assert!(!plan.query.matches_everything());
    }

    #[test]
    fn without_options_the_whole_event_history_is_searched() {
        let plan = plan(&[]).unwrap();
        assert_eq!(plan.sources.names, ["lookup"]);
        assert!(plan.query.matches_everything());
        assert_eq!((plan.range(), plan.limit, plan.follow), (TimeRange::default(), None, false));
        assert_eq!(plan.style.format, EventFormat::Ndjson);
        assert!(matches!(plan.output, SearchOutput::Events));
        let terminal = Terminal { columns: Some(80), ..Terminal::default() };
        assert_eq!(plan_on(terminal, &[]).unwrap().style.format, EventFormat::Table);
        let csv = plan_on(terminal, &["--output", "csv"]).unwrap();
        assert_eq!(csv.style.format, EventFormat::Csv);
    }

    #[test]
    fn both_ends_of_the_range_are_included() {
        let bounds = |words: &[&str]| {
            let plan = plan(words).unwrap();
            let TimeRange { from, to } = plan.range();
            [from, to].map(|time| time.map(|time| time.to_string()))
        };
        let day = ["--from", "2024-06-01", "--to", "2024-06-01 23:59:59"];
        let time = |text: &str| Some(text.to_owned());
        assert_eq!(bounds(&day), [time("2024-06-01T00:00:00Z"), time("2024-06-02T00:00:00Z")]);
        assert_eq!(bounds(&["--last", "3h"]), [time("2024-06-08T09:00:00Z"), None]);
        assert_eq!(bounds(&["--last-minute", "90"]), [time("2024-06-08T10:30:00Z"), None]);
        let now = ["--from", "now-1h", "--to", "now-1h"];
        assert_eq!(bounds(&now), [time("2024-06-08T11:00:00Z"), time("2024-06-08T11:00:01Z")]);
        let last = ["--last-minute", "0", "--to", "now"];
        assert_eq!(bounds(&last)[0], time("2024-06-08T12:00:00Z"), "not the whole history");
        let reversed = plan(&["--from", "now", "--to", "now-1s"]).unwrap_err();
        assert_eq!(reversed.exit, Exit::Usage);
    }

    #[test]
    fn every_option_reaches_the_plan() {
        let plan = plan(&[
            "s3:Get*",
            "root",
            "--match",
            "$.a == 1",
            "--where",
            "detail.b",
            "--except",
            "$.c == 2",
            "--errors-only",
            "--read-only",
            "--principal",
            "user/*",
            "--resource",
            "bucket",
            "--ip",
            "192.0.2.0/24",
            "--access-key",
            "AKIAIOSFODNN7EXAMPLE",
            "--in",
            "a.json",
            "--in",
            "index",
            "--into",
            "http://u:p@localhost:9200",
            "--index",
            "org",
            "--limit",
            "5",
            "--sort",
            "-time",
            "--workers",
            "3",
        ])
        .unwrap();
        let query = &plan.query;
        assert_eq!(query.actions.patterns().len(), 1);
        assert_eq!(
            (query.matches.len(), query.exceptions.len(), query.conditions.len()),
            (4, 1, 1)
        );
        let Selectors { errors_only, calls, principals, resources, addresses, access_keys } =
            &query.selectors;
        assert_eq!((*errors_only, *calls), (true, Some(CallKind::Read)));
        let lengths = [principals.len(), resources.len(), addresses.len(), access_keys.len()];
        assert_eq!(lengths, [1; 4]);
        assert_eq!(plan.sources.names, ["a.json", "index"]);
        assert_eq!(plan.index.unwrap().prefix.as_str(), "org");
        assert!(matches!(plan.output, SearchOutput::Sorted(TimeOrder::Descending)));
        assert_eq!((plan.limit, plan.workers.get()), (Some(5), 3));
        assert_eq!(plan.presets[0].name, "root");
    }

    #[test]
    fn one_attribute_is_sent_to_the_event_history() {
        let sent = |words: &[&str]| {
            plan(words).unwrap().aws.history.filter.map(|filter| filter.to_string())
        };
        let event_source = Some("EventSource=cloudtrail.amazonaws.com".to_owned());
        assert_eq!(sent(&["cloudtrail:*"]), event_source);
        assert_eq!(sent(&["--write-only"]), Some("ReadOnly=false".to_owned()));
        let key = Some("AccessKeyId=AKIAIOSFODNN7EXAMPLE".to_owned());
        assert_eq!(sent(&["key", "AKIAIOSFODNN7EXAMPLE", "cloudtrail:*"]), key);
        assert_eq!(sent(&["--resource", "a"]), None);
    }

    #[test]
    fn an_invalid_expression_is_shown_with_its_place() {
        let failure = plan(&["--match", "$.a = 1"]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.heading.starts_with("invalid value for '--match"), "{failure:?}");
        assert_eq!(failure.excerpt.len(), 2);
        let secret = plan(&["--access-key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"]);
        assert!(!format!("{:?}", secret.unwrap_err()).contains("wJalr"));
    }
}
