//! Turns arguments into a [`Plan`]: every decision that needs no file, network or engine.
//!
//! Input: [`LoadArgs`], environment, clock. Output: a [`Plan`], or a usage failure that names the option.
//! Invariant: only the files that options name for secrets and roles are read; nothing is written or sent.

pub mod aws;
pub mod engine;
pub mod sources;

use std::{num::NonZeroUsize, path::PathBuf};

use jiff::Timestamp;

use self::{
    aws::{AwsOptions, EngineAuth},
    engine::EngineEndpoint,
    sources::SourceList,
};
use super::{
    args::{
        alerts::AlertArgs,
        engine::{EngineUrl, IndexPrefix},
        load::LoadArgs,
        size::ByteCount,
        time::{Moment, SearchTime},
    },
    dashboards_endpoint::dashboards_target,
    environment::{self, Environment},
    failure::Failure,
};
use crate::{
    checkpoint::{self, RetrySelection},
    limit::MemoryBudget,
    normalize::{FieldProfile, IndexBy, TimeRange},
    report::run_record::RunCommand,
    sink,
};

/// In a smaller request, the overhead exceeds the payload.
const MIN_BATCH: ByteCount = ByteCount(4 << 10);

/// Engines reject requests above 100 MB by default (`http.max_content_length`).
const MAX_BATCH: ByteCount = ByteCount::mebibytes(90);

/// Everything that a run needs to know, checked and with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is one option of the command line")]
pub struct Plan {
    /// What is read.
    pub sources: SourceList,
    /// How AWS is accessed.
    pub aws: AwsOptions,
    /// Only events in this range are loaded.
    pub range: TimeRange,
    /// Whether everything is read again, including what the checkpoint records as loaded.
    pub reload: bool,
    /// Whether new events are loaded until the run is stopped.
    pub follow: bool,
    /// Whether duplicates are compared with the document in the index.
    pub check_duplicates: bool,
    /// Whether nothing is sent to the engine.
    pub dry_run: bool,
    /// The engine, and the credentials for it.
    pub target: EngineEndpoint,
    /// How requests to the engine are authenticated.
    pub engine_auth: EngineAuth,
    /// File with CA certificates to trust for the engine.
    pub ca_file: Option<PathBuf>,
    /// Prefix of the index names.
    pub index: IndexPrefix,
    /// The period of one index.
    pub index_by: IndexBy,
    /// Whether a different cluster than in earlier runs is accepted.
    pub accept_cluster: bool,
    /// Pattern of the indices whose missing documents are accepted.
    pub accept_missing: Option<String>,
    /// Whether an index template that is newer or foreign is replaced.
    pub force: bool,
    /// OpenSearch Dashboards whose field list is refreshed after the load.
    pub dashboards: Option<EngineUrl>,
    /// The checkpoint file.
    pub checkpoint: PathBuf,
    /// Which fields are mapped.
    pub fields: FieldProfile,
    /// The maximum number of mapped fields.
    pub max_fields: u32,
    /// Whether documents keep the original record.
    pub keep_original: bool,
    /// Folder with field rules that replace the built-in ones.
    pub mappings: Option<PathBuf>,
    /// Which dead letters of earlier runs are sent again.
    pub retry: RetrySelection,
    /// Memory limit for all stages together.
    pub memory: ByteCount,
    /// Threads that decompress and normalize.
    pub workers: NonZeroUsize,
    /// Target size of a bulk request.
    pub batch: ByteCount,
    /// File for the summary of the run.
    pub summary: Option<PathBuf>,
    /// The rules that are evaluated, if there are any.
    pub alerts: Option<AlertRequest>,
    /// What the run is recorded as in the engine.
    pub command: RunCommand,
}

/// What a load reads: the part of a [`Plan`] that needs no engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadingPlan {
    /// What is read.
    pub sources: SourceList,
    /// How AWS is accessed.
    pub aws: AwsOptions,
    /// Only events in this range are read.
    pub range: TimeRange,
    /// Whether everything is read again, including what the checkpoint records as loaded.
    pub reload: bool,
}

/// The rules that a load evaluates. Their files are not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRequest {
    /// Rule files and folders.
    pub rules: Vec<PathBuf>,
    /// Which alerts are sent, and how.
    pub options: AlertArgs,
}

impl Plan {
    /// Returns the memory limit and its division between the stages.
    pub fn memory_budget(&self) -> MemoryBudget {
        memory_budget(self.memory, self.batch, &self.sources)
    }

    /// Returns the target of the sink.
    pub fn sink_target(&self) -> sink::Target {
        let mut target = sink::Target::new(self.target.url.clone(), self.index.as_str());
        target.credentials = self.target.credentials.clone();
        target.ca_file.clone_from(&self.ca_file);
        target.index_by = self.index_by;
        target.force = self.force;
        target.max_fields = self.max_fields;
        target.clock = Some(environment::now);
        if self.check_duplicates {
            target.duplicates = sink::DuplicateHandling::Compare;
        }
        target
    }

    /// Returns the name of the target in the checkpoint: host, port, path and prefix.
    ///
    /// The scheme is omitted, as in the name of the default file: `http://` and `https://` lead to the same engine.
    pub fn target_name(&self) -> String {
        let url = &self.target.url;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let host = checkpoint::canonical_host(host);
        format!("{host}:{port}{} {}", url.path().trim_end_matches('/'), self.index)
    }
}

impl LoadArgs {
    /// Returns the arguments of a load without any option but a placeholder for `--into`.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] if the defaults contradict each other; tests exclude that.
    pub(in crate::cli) fn defaults() -> Result<Self, Failure> {
        let load =
            <Self as clap::Args>::augment_args(clap::Command::new("load").no_binary_name(true));
        load.try_get_matches_from(["--into", "http://localhost"])
            .and_then(|matches| <Self as clap::FromArgMatches>::from_arg_matches(&matches))
            .map_err(|error| Failure::usage(error.to_string()))
    }

    /// Checks the arguments and fills in the defaults.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option, what was given, and what is expected.
    pub fn plan(&self, environment: &Environment, now: Timestamp) -> Result<Plan, Failure> {
        let ReadingPlan { sources, aws, range, reload } = self.reading(environment, now)?;
        if self.dry_run {
            self.aws.check_deletes_nothing("--dry-run")?;
        }
        self.check_sizes()?;
        let target = self.target(environment)?;
        if let Some(url) = &self.dashboards {
            dashboards_target(url, &target.credentials, None)?;
        }
        let checkpoint = match &self.engine.checkpoint {
            Some(path) => path.clone(),
            None => {
                engine::default_checkpoint(&target.url, &self.engine.connection.index, environment)?
            }
        };
        Ok(Plan {
            workers: self.workers(&sources, &target, environment),
            sources,
            aws,
            range,
            reload,
            follow: self.follow,
            check_duplicates: self.check_duplicates,
            // A user who reloads everything wants to know of each document whether the engine accepts it now.
            retry: if reload { RetrySelection::NotAccepted } else { RetrySelection::Due },
            dry_run: self.dry_run,
            target,
            engine_auth: self.engine_auth(),
            ca_file: self.engine.connection.ca_file.clone(),
            index: self.engine.connection.index.clone(),
            index_by: self.index_by,
            accept_cluster: self.accept_cluster,
            accept_missing: self.accept_missing.clone(),
            force: self.force,
            dashboards: self.dashboards.clone(),
            checkpoint,
            fields: self.documents.fields,
            max_fields: self.documents.max_fields,
            keep_original: self.documents.keep_original,
            mappings: self.documents.mappings.clone(),
            memory: self.resources.memory,
            batch: self.resources.batch,
            summary: self.summary.clone(),
            alerts: self.alert_request(environment)?,
            command: RunCommand::Load,
        })
    }

    /// Checks the arguments that say what is read, and fills in their defaults.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] as [`LoadArgs::plan`] does.
    pub(in crate::cli) fn reading(
        &self,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<ReadingPlan, Failure> {
        let sources = SourceList::new(&self.source.sources, &self.aws.buckets.trail)?;
        if self.follow {
            sources.check_follow()?;
        }
        let aws = self.aws.plan(&sources, self.engine_auth(), environment)?;
        Ok(ReadingPlan { sources, aws, range: self.range(now)?, reload: self.reload })
    }

    /// Returns the rules that are evaluated while loading, if there are any.
    fn alert_request(&self, environment: &Environment) -> Result<Option<AlertRequest>, Failure> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        let options = self.alerts.with_environment(environment)?;
        Ok(Some(AlertRequest { rules: self.rules.clone(), options }))
    }

    /// Returns how requests to the engine are authenticated.
    pub(in crate::cli) fn engine_auth(&self) -> EngineAuth {
        self.engine.connection.auth()
    }

    fn target(&self, environment: &Environment) -> Result<EngineEndpoint, Failure> {
        self.engine.connection.endpoint(environment)
    }

    fn workers(
        &self,
        sources: &SourceList,
        target: &EngineEndpoint,
        environment: &Environment,
    ) -> NonZeroUsize {
        let given = self.resources.workers.and_then(|workers| NonZeroUsize::new(workers.into()));
        given
            .or_else(|| self.default_workers(sources, target, environment))
            .unwrap_or(NonZeroUsize::MIN)
    }

    /// Returns the number of workers that processors and memory allow; `None` if the memory is too small for one.
    fn default_workers(
        &self,
        sources: &SourceList,
        target: &EngineEndpoint,
        environment: &Environment,
    ) -> Option<NonZeroUsize> {
        let processors = environment.processors?.get();
        // A local engine needs ten times the processor time of trailload: more workers would only wait for it and hold
        // memory.
        let has_local_engine = sink::is_loopback(&target.url) && !self.dry_run;
        let wanted = if has_local_engine { processors.div_ceil(2) } else { processors };
        let memory = memory_budget(self.resources.memory, self.resources.batch, sources);
        NonZeroUsize::new(wanted.min(memory.affordable_workers()))
    }

    fn check_sizes(&self) -> Result<(), Failure> {
        let min_memory = ByteCount(MemoryBudget::MIN_TOTAL_BYTES);
        if self.resources.memory < min_memory {
            return Err(invalid(
                "--memory <BYTES>",
                self.resources.memory,
                &format!("at least {min_memory}"),
            ));
        }
        let quarter = ByteCount(MemoryBudget::max_batch_bytes(self.resources.memory.0));
        let most = MAX_BATCH.min(quarter);
        if !(MIN_BATCH..=most).contains(&self.resources.batch) {
            let why = if quarter < MAX_BATCH {
                format!(" (a quarter of --memory {})", self.resources.memory)
            } else {
                String::new()
            };
            let expected = format!("a size from {MIN_BATCH} to {most}{why}");
            return Err(invalid("--batch <BYTES>", self.resources.batch, &expected));
        }
        Ok(())
    }

    fn range(&self, now: Timestamp) -> Result<TimeRange, Failure> {
        let resolve = |option: &str, moment: Option<Moment>| {
            let time = moment.map(|moment| moment.resolve(now));
            match time {
                Some(None) => Err(Failure::usage(format!(
                    "invalid value for '{option}': expected a shorter age"
                ))),
                Some(some) => Ok(some),
                None => Ok(None),
            }
        };
        let moment = |time: &Option<SearchTime>| time.as_ref().map(|time| time.moment);
        let from = match self.source.last {
            Some(age) => resolve("--last <AGE>", Some(Moment::Ago(age)))?,
            None => resolve("--from <TIME>", moment(&self.source.from))?,
        };
        let to = resolve("--to <TIME>", moment(&self.source.to))?;
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(invalid("--to <TIME>", to, &format!("a time after the start ({from})")));
        }
        Ok(TimeRange { from, to })
    }
}

fn memory_budget(memory: ByteCount, batch: ByteCount, sources: &SourceList) -> MemoryBudget {
    MemoryBudget::new(memory.0, batch.0, sources.remote_sources())
}

fn invalid(option: &str, given: impl std::fmt::Display, expected: &str) -> Failure {
    Failure::usage(format!("invalid value '{given}' for '{option}': expected {expected}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use std::path::Path;

    use super::*;
    use crate::cli::exit::Exit;

    #[derive(Parser)]
    struct TestCli {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn environment() -> Environment {
        Environment {
            state: Some("/state".into()),
            processors: NonZeroUsize::new(6),
            ..Environment::default()
        }
    }

    fn now() -> Timestamp {
        "2024-06-08T12:00:00Z".parse().unwrap()
    }

    fn plan(words: &[&str]) -> Result<Plan, Failure> {
        plan_into("http://u:hunter2@localhost:9200", words)
    }

    fn plan_into(url: &str, words: &[&str]) -> Result<Plan, Failure> {
        let always = ["load", "--into", url];
        let cli = TestCli::try_parse_from(always.iter().chain(words)).unwrap();
        cli.args.plan(&environment(), now())
    }

    #[test]
    fn the_defaults_are_sensible() {
        let plan = plan(&["trail/"]).unwrap();
        assert_eq!(plan.sources.names, ["trail/"]);
        assert!(plan.range == TimeRange::default());
        assert_eq!(plan.target.url.as_str(), "http://localhost:9200/");
        assert!(
            matches!(&plan.target.credentials, sink::Credentials::Basic { username, .. } if username == "u")
        );
        assert_eq!(plan.index.as_str(), "cloudtrail");
        assert_eq!((plan.index_by, plan.fields), (IndexBy::Month, FieldProfile::Standard));
        assert_eq!(plan.checkpoint, Path::new("/state/trailload/localhost-9200-cloudtrail.sqlite"));
        assert_eq!((plan.memory.0, plan.batch.0), (256 << 20, 5 << 20));
        assert_eq!((plan.max_fields, plan.workers.get()), (5_000, 3));
        assert!(!plan.reload && !plan.dry_run && !plan.force && !plan.keep_original);
        assert_eq!((plan.ca_file, plan.mappings, plan.summary), (None, None, None));
    }

    #[test]
    fn workers_leave_room_for_an_engine_beside_them_and_for_requests() {
        let workers = |url, words: &[&str]| plan_into(url, words).unwrap().workers.get();
        let (here, there) = ("http://127.0.0.1:9200", "https://search.example.com");
        assert_eq!(workers(here, &["a"]), 3, "half of six processors");
        assert_eq!(workers(there, &["a", "--memory", "1GiB"]), 6);
        assert_eq!(workers(there, &["a"]), 5, "as far as the memory goes");
        assert_eq!(workers(here, &["a", "--dry-run", "--memory", "1GiB"]), 6, "nobody is beside");
        assert_eq!(workers(here, &["a", "--workers", "4"]), 4);
    }

    #[test]
    fn every_option_reaches_the_plan() {
        let plan = plan(&[
            "a.json",
            "-",
            "--index",
            "org",
            "--index-by",
            "none",
            "--checkpoint",
            "c.sqlite",
            "--from",
            "2024-06-01",
            "--to",
            "12h",
            "--memory",
            "1GiB",
            "--workers",
            "3",
            "--batch",
            "1MB",
            "--max-fields",
            "900",
            "--fields",
            "lean",
            "--keep-original",
            "--summary",
            "s.json",
            "--dry-run",
            "--reload",
            "--force",
            "--accept-cluster",
            "--accept-missing=org-2024.*",
            "--ca-file",
            "ca.pem",
            "--mappings",
            "m",
        ])
        .unwrap();
        assert_eq!(plan.sources.paths(), ["a.json", "-"]);
        assert_eq!(plan.range.from, Some("2024-06-01T00:00:00Z".parse().unwrap()));
        assert_eq!(plan.range.to, Some("2024-06-08T00:00:00Z".parse().unwrap()));
        assert_eq!((plan.index.as_str(), plan.index_by), ("org", IndexBy::None));
        assert_eq!(plan.checkpoint, Path::new("c.sqlite"));
        assert_eq!((plan.memory.0, plan.batch.0, plan.workers.get()), (1 << 30, 1_000_000, 3));
        assert_eq!((plan.max_fields, plan.fields), (900, FieldProfile::Lean));
        assert!(plan.keep_original && plan.dry_run && plan.reload && plan.force);
        assert!(plan.accept_cluster);
        assert_eq!(plan.accept_missing.as_deref(), Some("org-2024.*"));
        assert_eq!(plan.ca_file, Some("ca.pem".into()));
        assert_eq!(plan.mappings, Some("m".into()));
        assert_eq!(plan.summary, Some("s.json".into()));
    }

    #[test]
    fn times_are_those_of_a_search() {
        let range = plan(&["a", "--from", "yesterday", "--to", "now"]).unwrap().range;
        let time = |text: &str| Some(text.parse().unwrap());
        assert_eq!(range.from, time("2024-06-07T00:00:00Z"));
        assert_eq!(range.to, time("2024-06-08T12:00:00Z"));
        let range = plan(&["a", "--from", "2024-06-01 14:00:12", "--to", "today"]).unwrap().range;
        assert_eq!(range.from, time("2024-06-01T14:00:12Z"));
        assert_eq!(range.to, time("2024-06-08T00:00:00Z"));
    }

    #[test]
    fn last_is_an_age_before_now() {
        let range = plan(&["a", "--last", "7d"]).unwrap().range;
        assert_eq!(
            range,
            TimeRange { from: Some("2024-06-01T12:00:00Z".parse().unwrap()), to: None }
        );
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_failure() {
        let table: &[(&[&str], &str)] = &[
            (&["s3://"], "cannot read s3://"),
            (
                &["a", "--insights"],
                "'--insights' applies only to the event history, and no such SOURCE is given",
            ),
            (&["--aws-auth"], "'--aws-auth' cannot be combined with a user name or an API key"),
            (
                &["a", "--memory", "1MiB"],
                "invalid value '1MiB' for '--memory <BYTES>': expected at least 32MiB",
            ),
            (
                &["a", "--batch", "1KiB"],
                "invalid value '1KiB' for '--batch <BYTES>': expected a size from 4KiB to 64MiB (a quarter of --memory 256MiB)",
            ),
            (
                &["a", "--batch", "1GiB", "--memory", "1GiB"],
                "invalid value '1GiB' for '--batch <BYTES>': expected a size from 4KiB to 90MiB",
            ),
            (
                &["a", "--memory", "32MiB", "--batch", "9MiB"],
                "invalid value '9MiB' for '--batch <BYTES>': expected a size from 4KiB to 8MiB (a quarter of --memory 32MiB)",
            ),
            (
                &["a", "--from", "1d", "--to", "2d"],
                "invalid value '2024-06-06T12:00:00Z' for '--to <TIME>': expected a time after the start (2024-06-07T12:00:00Z)",
            ),
            (
                &["a", "--from", "2024-01-01", "--to", "2024-01-01"],
                "invalid value '2024-01-01T00:00:00Z' for '--to <TIME>': expected a time after the start (2024-01-01T00:00:00Z)",
            ),
            (
                &["a", "--last", "9999999w"],
                "invalid value for '--last <AGE>': expected a shorter age",
            ),
        ];
        for (words, heading) in table {
            let failure = plan(words).unwrap_err();
            assert_eq!((failure.exit, failure.heading.as_str()), (Exit::Usage, *heading));
        }
    }

    #[test]
    fn a_plan_shows_no_password() {
        let shown = format!("{:#?}", plan(&["a"]).unwrap());
        assert!(shown.contains("Basic(…)") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_sink_gets_what_was_asked_for() {
        let plan = plan(&["a", "--force", "--max-fields", "9", "--ca-file", "ca.pem"]).unwrap();
        let target = plan.sink_target();
        assert_eq!(target.url.as_str(), "http://localhost:9200/");
        assert!(target.force && target.max_fields == 9 && target.ca_file.is_some());
        let expected = ("u".to_owned(), "hunter2".to_owned());
        assert!(matches!(
            target.credentials,
            sink::Credentials::Basic { username, password } if (username.clone(), password.clone()) == expected
        ));
        assert_eq!(plan.target_name(), "localhost:9200 cloudtrail");
    }
}
