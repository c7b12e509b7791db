//! `trailload load`: the words typed, the plan they make, and the frame around a run.
//!
//! In: [`Args`], environment, clock. Out: an exit code, the last line, the file of `--summary`.
//! Holds: whatever happens to the run, its numbers are told and checked.

use std::{
    ffi::OsString,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use jiff::Timestamp;

use super::{
    Shown,
    assemble::{self, Ended},
    cloud::{self, Cloud},
    engine::{self, Address, DEFAULT_INDEX, IndexPrefix, SecretFiles, Target},
    environment::Environment,
    exit::{Exit, RunReport},
    failure::Failure,
    presence,
    size::ByteCount,
    time::{Age, Moment},
    words::Words,
};
use crate::{
    checkpoint::{self, Outstanding, Retry, indices::Missing},
    normalize::{IndexBy, Profile, TimeRange},
    pipeline::{self, Outcome},
    report::{
        Log, Reporter, Summary, Tally, figures,
        summary::{Ending, Facts, Lacking},
    },
    sink,
};

/// Memory for all stages together: little for a server, and enough for the largest log file.
const DEFAULT_MEMORY: ByteCount = ByteCount::mebibytes(256);

/// Less would not hold a batch in each stage and a large record beside it.
const LEAST_MEMORY: ByteCount = ByteCount::mebibytes(32);

/// Body of one bulk request. Engines gain nothing beyond a few MiB, and a refused one is sent again.
const DEFAULT_BATCH: ByteCount = ByteCount::mebibytes(5);

/// Below this the overhead of a request is larger than what it carries.
const LEAST_BATCH: ByteCount = ByteCount(4 << 10);

/// Engines refuse requests above 100 MB by default (`http.max_content_length`).
const LARGEST_BATCH: ByteCount = ByteCount::mebibytes(90);

/// A batch is in the making, on its way, and waiting, while files are being unpacked.
const BATCHES_IN_MEMORY: u64 = 4;

/// Fields of one index. Engines refuse more than 1,000 by default; the template raises it to this.
const DEFAULT_MAX_FIELDS: u32 = 5_000;

/// More threads than any machine gains from.
const MOST_WORKERS: i64 = 256;

/// The end of `trailload load --help`.
const AFTER_HELP: &str = "\
Environment:
  TRAILLOAD_USERNAME, TRAILLOAD_PASSWORD  Log in with a name and a password
  TRAILLOAD_API_KEY                       Log in with an API key, as the engine printed it (encoded)
  TRAILLOAD_PASSWORD_FILE                 Read the password from this file
  TRAILLOAD_API_KEY_FILE                  Read the API key from this file

  AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, ...  As for every AWS tool

Examples:
  The event history of this account: 90 days of every Region, and again tonight only what is new
    trailload load --into http://localhost:9200
  Look before you load: how many events, how long
    trailload load --into http://localhost:9200 --dry-run
  All accounts of an organization
    trailload load --into http://localhost:9200 --accounts organization \\
      --assume-role 'arn:aws:iam::{account}:role/trailload'
  Years from a trail's bucket, one Region
    trailload load s3://my-trail --into http://localhost:9200 --regions eu-west-1 --from 2022-01-01
  A folder of logs; or the last week only, from a pipe
    trailload load trail/ --into http://localhost:9200
    zcat *.json.gz | trailload load - --into http://localhost:9200 --last 7d
  From cron, with a summary for the monitoring
    trailload load --into https://search.example:9200 --quiet --summary last.json";

/// The words of `trailload load`.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "it is the help, and a terminal shows no markup")]
#[expect(clippy::struct_excessive_bools, reason = "flags are what a command line has")]
#[command(after_help = AFTER_HELP)]
#[command(override_usage = "trailload load [OPTIONS] --into <URL> [SOURCE]...")]
#[command(next_help_heading = "What to load")]
pub struct Args {
    /// 'lookup' for the event history of AWS accounts, 's3://BUCKET[/PREFIX]' for what a trail
    /// delivered, files, folders (with all below them), '-' for standard input [default: lookup]
    #[arg(value_name = "SOURCE", help_heading = None::<&str>)]
    pub sources: Vec<OsString>,
    /// Load events from this time on: a time, a date (midnight UTC), or an age
    #[arg(long, value_name = "TIME")]
    pub from: Option<Moment>,
    /// Load events before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<Moment>,
    /// Load events of this age or younger, such as 12h or 7d
    #[arg(long, value_name = "AGE", conflicts_with = "from")]
    pub last: Option<Age>,
    /// Read everything, also what the checkpoint says is done
    #[arg(long)]
    pub again: bool,
    /// Compare events whose id the index holds already with what it holds, and name those that differ
    #[arg(long)]
    pub check_duplicates: bool,
    /// Read and count, report fields and conflicts, send nothing; of lookup, estimate only
    #[arg(long)]
    pub dry_run: bool,

    /// What is asked of AWS.
    #[command(flatten)]
    pub cloud: cloud::Args,

    /// Load into the engine at this address
    #[arg(long, value_name = "URL", required = true, help_heading = "Where to")]
    pub into: Option<Address>,
    /// Begin index names with this; documents go to PREFIX-YYYY.MM
    #[arg(long, value_name = "PREFIX", default_value = DEFAULT_INDEX, help_heading = "Where to")]
    pub index: IndexPrefix,
    /// Start a new index for each of these, or use one for all
    #[arg(
        long,
        value_name = "month|day|year|none",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Where to"
    )]
    pub index_by: IndexBy,
    /// Trust the authorities in this PEM file
    #[arg(long, value_name = "FILE", help_heading = "Where to")]
    pub ca_file: Option<PathBuf>,
    /// Files with secrets.
    #[command(flatten)]
    pub secret_files: SecretFiles,
    /// Sign requests to the engine with AWS credentials, for Amazon OpenSearch Service and Serverless
    #[arg(long, help_heading = "Where to")]
    pub aws_auth: bool,
    /// Go on although another cluster answers than before, because its indices were restored from a snapshot
    #[arg(long, help_heading = "Where to")]
    pub accept_cluster: bool,
    /// Accept that indices are gone, or lack documents that were loaded into them: all, or those named ('*' stands for
    /// anything)
    #[arg(
        long,
        value_name = "INDEX",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "*",
        help_heading = "Where to"
    )]
    pub accept_missing: Option<String>,
    /// Replace an index template that is newer, or not ours
    #[arg(long, help_heading = "Where to")]
    pub force: bool,
    /// Remember in this file what is done [default: one per engine and prefix in the state folder]
    #[arg(long, value_name = "FILE", help_heading = "Where to")]
    pub checkpoint: Option<PathBuf>,

    /// Map every field that fits, or leave out request and response details (lean)
    #[arg(
        long,
        value_name = "lean|standard",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "What the documents hold"
    )]
    pub fields: Profile,
    /// Map at most this many fields; others are found in trailload.more
    #[arg(
        long,
        value_name = "FIELDS",
        default_value_t = DEFAULT_MAX_FIELDS,
        help_heading = "What the documents hold"
    )]
    pub max_fields: u32,
    /// Keep each record as it came, as one text that is not indexed
    #[arg(long, help_heading = "What the documents hold")]
    pub keep_original: bool,
    /// Take the rules and the kinds of fields from this folder
    #[arg(long, value_name = "DIR", help_heading = "What the documents hold")]
    pub mappings: Option<PathBuf>,

    /// Use at most this much memory, all stages together
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MEMORY, help_heading = "How fast")]
    pub memory: ByteCount,
    /// Unpack and rewrite in this many threads [default: one per processor; half as many beside a local engine]
    #[arg(
        long,
        value_name = "THREADS",
        value_parser = clap::value_parser!(u16).range(1..=MOST_WORKERS),
        help_heading = "How fast"
    )]
    pub workers: Option<u16>,
    /// Send about this much in one request: 4KiB to 90MiB, and a quarter of --memory at most
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_BATCH, help_heading = "How fast")]
    pub batch: ByteCount,

    /// Write the numbers of the run to this file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "What is shown")]
    pub summary: Option<PathBuf>,
    /// How much is said.
    #[command(flatten)]
    pub shown: Shown,
}

/// A load that is ready to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what a command line has")]
pub struct Plan {
    /// What to read.
    pub words: Words,
    /// What is asked of AWS.
    pub cloud: Cloud,
    /// Which events.
    pub range: TimeRange,
    /// Whether what is done is read again.
    pub again: bool,
    /// Whether events whose id the index holds already are compared with what it holds.
    pub check_duplicates: bool,
    /// Whether nothing is sent.
    pub dry_run: bool,
    /// Where documents go, and as whom.
    pub target: Target,
    /// Whether requests to the engine are signed.
    pub aws_auth: bool,
    /// Authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// What index names begin with.
    pub index: IndexPrefix,
    /// How index names go on.
    pub index_by: IndexBy,
    /// Whether another cluster may answer than before.
    pub accept_cluster: bool,
    /// Which indices may lack documents, as a pattern.
    pub accept_missing: Option<String>,
    /// Whether a newer or foreign template is replaced.
    pub force: bool,
    /// Where positions are stored.
    pub checkpoint: PathBuf,
    /// How many fields are mapped, in kind.
    pub fields: Profile,
    /// How many fields are mapped, in number.
    pub max_fields: u32,
    /// Whether documents hold the record as it came.
    pub keep_original: bool,
    /// Folder that replaces the embedded rules.
    pub mappings: Option<PathBuf>,
    /// Which documents that earlier runs set aside are sent first.
    pub retry: Retry,
    /// Bytes for all stages together.
    pub memory: ByteCount,
    /// Threads that unpack and rewrite.
    pub workers: NonZeroUsize,
    /// Bytes of one request.
    pub batch: ByteCount,
    /// Where the numbers go.
    pub summary: Option<PathBuf>,
}

impl Plan {
    /// Returns the target as the sink takes it.
    pub fn sink_target(&self) -> sink::Target {
        let mut target = sink::Target::new(self.target.url.clone(), self.index.as_str());
        target.credentials = self.target.credentials.clone();
        target.ca_file.clone_from(&self.ca_file);
        target.index_by = self.index_by;
        target.force = self.force;
        target.max_fields = self.max_fields;
        if self.check_duplicates {
            target.duplicates = sink::Duplicates::Compared;
        }
        target
    }

    /// Returns what the checkpoint knows the target by: host, port, path and prefix.
    ///
    /// The scheme is left out, as in the name of the default file: who tried http:// first and then
    /// https:// means the same engine.
    pub fn target_name(&self) -> String {
        let url = &self.target.url;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let host = checkpoint::one_name(host);
        format!("{host}:{port}{} {}", url.path().trim_end_matches('/'), self.index)
    }
}

impl Args {
    /// Returns the options of a load for which none was given.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] if they contradict each other, which the tests rule out.
    pub(super) fn defaults() -> Result<Self, Failure> {
        let load =
            <Self as clap::Args>::augment_args(clap::Command::new("load").no_binary_name(true));
        load.try_get_matches_from(["--into", "http://localhost"])
            .and_then(|matches| <Self as clap::FromArgMatches>::from_arg_matches(&matches))
            .map_err(|error| Failure::usage(error.to_string()))
    }

    /// Turns the words into a plan. Reads nothing but files with secrets.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option, what was given, and what is expected.
    pub fn plan(&self, environment: &Environment, now: Timestamp) -> Result<Plan, Failure> {
        let words = Words::new(&self.sources, &self.cloud.trail)?;
        let cloud = self.cloud.plan(&words, self.aws_auth, environment)?;
        self.check_sizes()?;
        let range = self.range(now)?;
        let target = self.target(environment)?;
        let checkpoint = match &self.checkpoint {
            Some(path) => path.clone(),
            None => engine::default_checkpoint(&target.url, &self.index, environment)?,
        };
        Ok(Plan {
            workers: self.workers(words.is_aws(), &target, environment),
            words,
            cloud,
            range,
            again: self.again,
            check_duplicates: self.check_duplicates,
            // Who reads everything again wants to know of everything whether it goes in now.
            retry: if self.again { Retry::Standing } else { Retry::Due },
            dry_run: self.dry_run,
            target,
            aws_auth: self.aws_auth,
            ca_file: self.ca_file.clone(),
            index: self.index.clone(),
            index_by: self.index_by,
            accept_cluster: self.accept_cluster,
            accept_missing: self.accept_missing.clone(),
            force: self.force,
            checkpoint,
            fields: self.fields,
            max_fields: self.max_fields,
            keep_original: self.keep_original,
            mappings: self.mappings.clone(),
            memory: self.memory,
            batch: self.batch,
            summary: self.summary.clone(),
        })
    }

    fn target(&self, environment: &Environment) -> Result<Target, Failure> {
        let into = self.into.as_ref().ok_or_else(|| {
            Failure::usage("no engine was given").hint("name one with --into http://localhost:9200")
        })?;
        if !self.aws_auth {
            return Target::new(into, &self.secret_files, environment);
        }
        let target = Target::new(into, &self.secret_files, environment)?;
        if target.credentials != sink::Credentials::None {
            return Err(Failure::usage("'--aws-auth' and a user name or API key were given")
                .hint("keep one of them"));
        }
        Ok(target)
    }

    fn workers(&self, is_aws: bool, target: &Target, environment: &Environment) -> NonZeroUsize {
        let asked = self.workers.and_then(|workers| NonZeroUsize::new(workers.into()));
        asked
            .or_else(|| self.usual_workers(is_aws, target, environment))
            .unwrap_or(NonZeroUsize::MIN)
    }

    /// Returns how many workers the machine is for, as far as the memory goes; `None` if there is room for none.
    fn usual_workers(
        &self,
        is_aws: bool,
        target: &Target,
        environment: &Environment,
    ) -> Option<NonZeroUsize> {
        let processors = environment.processors?.get();
        // An engine on this machine needs ten times what we do: more workers would only wait for it, and hold memory.
        let beside = sink::is_loopback(&target.url) && !self.dry_run;
        let wanted = if beside { processors.div_ceil(2) } else { processors };
        // A third of the memory is left for requests under way.
        let each = pipeline::READING_BYTES + 2 * self.batch.0;
        let held = if is_aws { held_bytes(self.memory) } else { 0 };
        let room = (self.memory.0 - held) / 3 * 2 / each;
        NonZeroUsize::new(wanted.min(usize::try_from(room).unwrap_or(usize::MAX)))
    }

    fn check_sizes(&self) -> Result<(), Failure> {
        if self.memory < LEAST_MEMORY {
            return Err(invalid(
                "--memory <BYTES>",
                self.memory,
                &format!("at least {LEAST_MEMORY}"),
            ));
        }
        let quarter = ByteCount(self.memory.0 / BATCHES_IN_MEMORY);
        let most = LARGEST_BATCH.min(quarter);
        if !(LEAST_BATCH..=most).contains(&self.batch) {
            let why = if quarter < LARGEST_BATCH {
                format!(" (a quarter of --memory {})", self.memory)
            } else {
                String::new()
            };
            let expected = format!("a size from {LEAST_BATCH} to {most}{why}");
            return Err(invalid("--batch <BYTES>", self.batch, &expected));
        }
        Ok(())
    }

    fn range(&self, now: Timestamp) -> Result<TimeRange, Failure> {
        let resolve = |option: &str, moment: Option<Moment>| {
            let time = moment.map(|moment| moment.resolve(now));
            match time {
                Some(None) => Err(Failure::usage(format!(
                    "invalid value for '{option}': expected an age within the calendar"
                ))),
                Some(some) => Ok(some),
                None => Ok(None),
            }
        };
        let from = match self.last {
            Some(age) => resolve("--last <AGE>", Some(Moment::Ago(age)))?,
            None => resolve("--from <TIME>", self.from)?,
        };
        let to = resolve("--to <TIME>", self.to)?;
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(invalid(
                "--to <TIME>",
                to,
                &format!("a time after the first one ({from})"),
            ));
        }
        Ok(TimeRange { from, to })
    }
}

/// Returns the memory for what was fetched from AWS and waits for a worker: an eighth of all. By default that is half
/// a megabyte for each object under way, twice as much as a usual one has.
pub(super) fn held_bytes(memory: ByteCount) -> u64 {
    memory.0 / 8
}

fn invalid(option: &str, given: impl std::fmt::Display, expected: &str) -> Failure {
    Failure::usage(format!("invalid value '{given}' for '{option}': expected {expected}"))
}

/// Runs `trailload load`.
pub(super) fn run(args: &Args, environment: &Environment, now: Timestamp) -> Exit {
    let log = args.shown.log(environment);
    let plan = match args.plan(environment, now) {
        Ok(plan) => plan,
        Err(failure) => return failure.report(&log),
    };
    if args.workers.is_some() {
        warn_of_memory(&plan, &log);
    }
    perform(&plan, &log)
}

/// Does what is planned, and tells its numbers.
pub(super) fn perform(plan: &Plan, log: &Log) -> Exit {
    let tally = Arc::new(Tally::new(plan.words.names.clone()));
    let reporter = Reporter::start(Arc::clone(&tally), log.clone());
    let ended = assemble::load(plan, &tally, log);
    finish(plan, &tally, log, reporter, ended)
}

/// Says that more workers were asked for than the memory has room for. They are given: a person decides.
fn warn_of_memory(plan: &Plan, log: &Log) {
    let least = pipeline::least_memory(plan.workers.get(), plan.batch.0);
    if least > plan.memory.0 {
        let need = figures::bytes(least);
        log.warn(
            "--workers",
            format_args!(
                "{} of them may take {need}, more than --memory {}",
                plan.workers, plan.memory
            ),
        );
    }
}

/// Tells and checks the numbers, whatever happened, writes down the end of the run, and returns its exit code.
fn finish(plan: &Plan, tally: &Tally, log: &Log, mut reporter: Reporter, ended: Ended) -> Exit {
    let elapsed = reporter.elapsed();
    // Errors belong below the bars, not among them.
    reporter.stop();
    let Ended { outcome, store } = ended;
    let mut report = Reported { report: report(outcome, plan.dry_run, tally), log };
    for failure in &report.report.failures {
        failure.report(log);
    }
    if let Some(store) = &store
        && let Some(outstanding) = report.check(store.outstanding())
    {
        report.report.outstanding = outstanding;
    }
    if let Some(store) = &store
        && let Some(indices) = report.check(store.indices())
    {
        let open = indices.open().map(|(name, missing)| (name.clone(), missing.clone()));
        report.report.missing = open.collect();
    }
    // A dry run makes no checkpoint, but minds one that is there.
    let is_there = !plan.dry_run || plan.checkpoint.exists();
    let checkpoint = is_there.then(|| plan.checkpoint.clone());
    let facts = Facts { ending: report.report.ending, checkpoint };
    let mut summary = Summary::of(tally, elapsed, &facts);
    summary.missing = report.report.missing.iter().map(lacking).collect();
    report.check(summary.check());
    summary.exit = report.exit().code();
    if let Some(path) = &plan.summary {
        report.check(summary.write(path));
        summary.exit = report.exit().code();
    }
    if let Some(store) = store
        && report.check(store.end(summary.exit)).is_none()
    {
        summary.exit = report.exit().code();
        if let Some(path) = &plan.summary {
            report.check(summary.write(path));
        }
    }
    presence::warn(&report.report.missing, plan, log);
    advise(log, &summary, &report.report, &plan.checkpoint);
    reporter.finish(&summary);
    report.exit()
}

/// Returns what a run came to, as far as its counters know.
fn report(outcome: Result<Outcome, Failure>, dry_run: bool, tally: &Tally) -> RunReport {
    let (ending, failures) = match outcome {
        Err(failure) => (Ending::Failed, vec![failure]),
        Ok(Outcome::Stopped) => (Ending::Stopped, Vec::new()),
        Ok(Outcome::Complete) if dry_run => (Ending::DryRun, Vec::new()),
        Ok(Outcome::Complete) => (Ending::Done, Vec::new()),
    };
    RunReport {
        ending,
        failures,
        duplicates_differing: tally.duplicates_differing.load(Relaxed),
        failed_inputs: tally.sources_failed.load(Relaxed),
        // Until the checkpoint says what else there is, and what of it is accepted.
        outstanding: Outstanding { set_aside: tally.set_aside.load(Relaxed), accepted: 0 },
        missing: Vec::new(),
    }
}

/// Returns what the summary says of an index that lacks documents.
fn lacking((name, missing): &(String, Missing)) -> Lacking {
    Lacking { index: name.clone(), documents: missing.documents, why: missing.why.as_str() }
}

/// A report that is still being made, and where its failures are told.
struct Reported<'a> {
    report: RunReport,
    log: &'a Log,
}

impl Reported<'_> {
    /// Returns what was to be had, or reports why it could not.
    fn check<T, E>(&mut self, result: Result<T, E>) -> Option<T>
    where
        Failure: From<E>,
    {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let failure = Failure::from(error);
                failure.report(self.log);
                self.report.failures.push(failure);
                None
            }
        }
    }

    fn exit(&self) -> Exit {
        Exit::of(&self.report)
    }
}

/// Says what a person should look at, also when nothing else is shown.
fn advise(log: &Log, summary: &Summary, report: &RunReport, checkpoint: &Path) {
    let about = checkpoint.display().to_string();
    // A run that failed early may not have asked the checkpoint.
    let set_aside = report.outstanding.set_aside.max(summary.set_aside);
    if set_aside > 0 {
        log.warn(
            &about,
            format_args!(
                "{} set aside; see why with 'trailload status --checkpoint {about}', \
                 and 'trailload retry --help' for what to do",
                figures::counted(set_aside, "document")
            ),
        );
    }
    // A failure that ended the run early has said so already, with its hint.
    if summary.ending == Ending::Stopped {
        log.warn(&about, "stopped early, position saved; run the same command again to go on");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::report::log::{Format, Verbosity, tests::page};
    use crate::report::tally::Amount;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        args: Args,
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
        let words = Words::try_parse_from(always.iter().chain(words)).unwrap();
        words.args.plan(&environment(), now())
    }

    #[test]
    fn the_defaults_are_sensible() {
        let plan = plan(&["trail/"]).unwrap();
        assert_eq!(plan.words.names, ["trail/"]);
        assert!(plan.range == TimeRange::default());
        assert_eq!(plan.target.url.as_str(), "http://localhost:9200/");
        assert!(
            matches!(&plan.target.credentials, sink::Credentials::Basic { username, .. } if username == "u")
        );
        assert_eq!(plan.index.as_str(), "cloudtrail");
        assert_eq!((plan.index_by, plan.fields), (IndexBy::Month, Profile::Standard));
        assert_eq!(plan.checkpoint, Path::new("/state/trailload/localhost-9200-cloudtrail.sqlite"));
        assert_eq!((plan.memory.0, plan.batch.0), (256 << 20, 5 << 20));
        assert_eq!((plan.max_fields, plan.workers.get()), (5_000, 3));
        assert!(!plan.again && !plan.dry_run && !plan.force && !plan.keep_original);
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
    fn more_workers_than_memory_are_warned_of() {
        let said = |words: &[&str]| {
            let (log, page) = page(Format::Text, Verbosity::Quiet);
            warn_of_memory(&plan(words).unwrap(), &log);
            page.text()
        };
        assert_eq!(said(&["trail/"]), "", "the default fits");
        assert_eq!(said(&["trail/", "--workers", "7"]), "");
        assert_eq!(
            said(&["trail/", "--workers", "8"]),
            "warning: --workers: 8 of them may take 287.0 MiB, more than --memory 256MiB\n"
        );
        assert_eq!(said(&["trail/", "--workers", "8", "--memory", "300MiB"]), "");
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
            "--again",
            "--force",
            "--accept-cluster",
            "--accept-missing=org-2024.*",
            "--ca-file",
            "ca.pem",
            "--mappings",
            "m",
        ])
        .unwrap();
        assert_eq!(plan.words.paths(), ["a.json", "-"]);
        assert_eq!(plan.range.from, Some("2024-06-01T00:00:00Z".parse().unwrap()));
        assert_eq!(plan.range.to, Some("2024-06-08T00:00:00Z".parse().unwrap()));
        assert_eq!((plan.index.as_str(), plan.index_by), ("org", IndexBy::None));
        assert_eq!(plan.checkpoint, Path::new("c.sqlite"));
        assert_eq!((plan.memory.0, plan.batch.0, plan.workers.get()), (1 << 30, 1_000_000, 3));
        assert_eq!((plan.max_fields, plan.fields), (900, Profile::Lean));
        assert!(plan.keep_original && plan.dry_run && plan.again && plan.force);
        assert!(plan.accept_cluster);
        assert_eq!(plan.accept_missing.as_deref(), Some("org-2024.*"));
        assert_eq!(plan.ca_file, Some("ca.pem".into()));
        assert_eq!(plan.mappings, Some("m".into()));
        assert_eq!(plan.summary, Some("s.json".into()));
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
            (&["a", "--insights"], "'--insights' is about the event history, and no SOURCE is"),
            (&["--aws-auth"], "'--aws-auth' and a user name or API key were given"),
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
                "invalid value '2024-06-06T12:00:00Z' for '--to <TIME>': expected a time after the first one (2024-06-07T12:00:00Z)",
            ),
            (
                &["a", "--from", "2024-01-01", "--to", "2024-01-01"],
                "invalid value '2024-01-01T00:00:00Z' for '--to <TIME>': expected a time after the first one (2024-01-01T00:00:00Z)",
            ),
            (
                &["a", "--last", "9999999w"],
                "invalid value for '--last <AGE>': expected an age within the calendar",
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

    /// Ends a run with these counters and returns the exit code, standard error, and the summary.
    fn ended(tally: Tally, outcome: Result<Outcome, Failure>) -> (Exit, String, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        let plan = plan(&["a", "--summary", path.to_str().unwrap()]).unwrap();
        let (log, page) = page(Format::Text, Verbosity::Normal);
        let tally = Arc::new(tally);
        let reporter = Reporter::start(Arc::clone(&tally), log.clone());
        let exit = finish(&plan, &tally, &log, reporter, outcome.into());
        let summary = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        (exit, page.text(), summary)
    }

    fn counted(read: u64, created: u64, set_aside: u64) -> Tally {
        let tally = Tally::new(["a".to_owned()]);
        tally.taken(0, Amount { records: read, bytes: read * 1_000, ..Amount::default() });
        tally.created.store(created, std::sync::atomic::Ordering::Relaxed);
        tally.set_aside.store(set_aside, std::sync::atomic::Ordering::Relaxed);
        tally
    }

    #[test]
    fn a_clean_run_is_exit_0() {
        let (exit, text, summary) = ended(counted(5, 5, 0), Ok(Outcome::Complete));
        assert_eq!(exit, Exit::Done);
        assert!(text.starts_with("done: 5 read = 5 created + 0 already there + 0 set aside; "));
        assert_eq!((&summary["exit"], &summary["read"]), (&0.into(), &5.into()));
    }

    #[test]
    fn documents_set_aside_or_files_unreadable_are_exit_3() {
        let (exit, text, summary) = ended(counted(5, 4, 1), Ok(Outcome::Complete));
        assert_eq!(exit, Exit::SetAside);
        assert!(text.starts_with("warning: /state/trailload/"), "{text}");
        assert!(text.contains("1 document set aside; see why with 'trailload status"), "{text}");
        assert_eq!(summary["exit"], 3);

        let tally = counted(5, 5, 0);
        tally.failed(0, "a.json", "cut off");
        let (exit, _, summary) = ended(tally, Ok(Outcome::Complete));
        assert_eq!(exit, Exit::SetAside);
        assert_eq!(summary["failures"][0]["about"], "a.json");
    }

    #[test]
    fn a_run_stopped_early_is_exit_4_and_adds_up() {
        let (exit, text, summary) = ended(counted(9, 5, 1), Ok(Outcome::Stopped));
        assert_eq!(exit, Exit::Early);
        assert!(text.contains("run the same command again to go on"), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("stopped early: 6 read = 5 created"), "{text}");
        assert_eq!((&summary["read"], &summary["in_flight"]), (&6.into(), &3.into()));
    }

    #[test]
    fn a_failed_run_tells_its_numbers_too() {
        let failure = Failure::person("http://h refused a batch").hint("log in");
        let (exit, text, summary) = ended(counted(9, 5, 0), Err(failure));
        assert_eq!(exit, Exit::Person);
        assert!(text.starts_with("error: http://h refused a batch\n  hint: log in\n"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("failed: 5 read = 5 created"), "{text}");
        assert_eq!(summary["exit"], 1);
    }

    #[test]
    fn numbers_that_do_not_add_up_are_exit_1() {
        let (exit, text, summary) = ended(counted(9, 5, 0), Ok(Outcome::Complete));
        assert_eq!(exit, Exit::Person);
        assert!(text.starts_with("error: the numbers do not add up: 9 read"), "{text}");
        assert_eq!(summary["exit"], 1);
    }

    #[test]
    fn a_summary_that_cannot_be_written_is_exit_1() {
        let plan = plan(&["a", "--summary", "/dev/null/summary.json"]).unwrap();
        let (log, page) = page(Format::Text, Verbosity::Quiet);
        let tally = Arc::new(counted(0, 0, 0));
        let reporter = Reporter::start(Arc::clone(&tally), log.clone());
        let exit = finish(&plan, &tally, &log, reporter, Ok(Outcome::Complete).into());
        assert_eq!(exit, Exit::Person);
        let text = page.text();
        assert!(text.starts_with("error: could not write the summary to /dev/null/"), "{text}");
        assert!(text.contains("\n  caused by: ") && text.contains("\n  hint: "), "{text}");
    }
}
