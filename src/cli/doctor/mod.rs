//! `trailload doctor`: checks whether a load, or another command that reads the same sources, would succeed.
//!
//! Input: the arguments of a load; without an engine, only sources, rules and the table of alerts are checked. Output: one line for each
//! check, marked `✓` (pass), `!` (warning) or `✗` (failure), with the fix below each problem; exit code 1 if a check fails.
//! Invariant: it uses the same clients and sources as a load, and changes nothing: nothing is written to the engine, and no
//! file is created.
//! Not here: how much there is to load, which a dry run shows.

mod alert_state;
mod aws;
mod dashboards;
mod engine;
mod rules;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::runtime;

use super::{
    args::{alerts::AlertArgs, given::GivenOptions, load::LoadArgs},
    environment::Environment,
    exit::Exit,
    failure::Failure,
    load::setup,
    plan::{Plan, ReadingPlan, sources::SourceList},
    sources::nothing_done,
};
use crate::{
    checkpoint::{self, CheckpointState},
    pending::PendingRequests,
    report::{Log, WaitReporter, format, terminal::escape_unprintable},
    source::Files,
};

/// The whole of `trailload doctor --help`, below its usage.
const AFTER_HELP: &str = "\
Takes the arguments of a load (see 'trailload load --help') and checks everything that it needs:
credentials, accounts, Regions, buckets, queues, clock, engine, checkpoint, rules, actions, and the
table of --alert-state. Without --into, checks what 'trailload watch' and 'search' need: the sources
that are named, the rules and the table.

Examples:
  trailload doctor --into http://localhost:9200
  trailload doctor s3://my-trail --into https://search.example:9200
  trailload doctor lookup
  trailload doctor sqs://trail-events --rules rules/ --actions actions.yml \\
    --alert-state dynamodb://trailload-alerts

Exit codes:
  0  no check failed, possibly with warnings (!)
  1  a check failed (✗); the fix is shown below it
  2  invalid command line";

/// The arguments of `trailload doctor`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(override_usage = "trailload doctor [OPTIONS OF LOAD] [--into <URL>] [SOURCE]...")]
#[group(skip)]
#[command(mut_arg("into", |into| into.required(false)), mut_args(|arg| arg.hide(true)))]
pub struct DoctorArgs {
    /// The arguments of the load.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// The options that have an effect only with an engine.
const ENGINE_OPTIONS: [&str; 17] = [
    "--ca-file",
    "--password-file",
    "--api-key-file",
    "--aws-auth",
    "--index",
    "--index-by",
    "--checkpoint",
    "--accept-cluster",
    "--accept-missing",
    "--check-duplicates",
    "--dashboards",
    "--force",
    "--fields",
    "--max-fields",
    "--keep-original",
    "--mappings",
    "--dry-run",
];

/// What is checked.
struct Subjects {
    reading: ReadingPlan,
    /// The load, if an engine is given.
    load: Option<Plan>,
    /// How alerts are sent.
    alerts: AlertArgs,
}

impl DoctorArgs {
    /// Checks the arguments.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] for invalid arguments, for options without effect, and if there is nothing to check.
    fn subjects(
        &self,
        given: &GivenOptions,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Subjects, Failure> {
        let Self { load } = self;
        // A variable has no effect without rules; the option can also be that of a function of AWS Lambda.
        let alerts = if load.rules.is_empty() {
            load.alerts.clone()
        } else {
            load.alerts.with_environment(environment)?
        };
        if load.engine.connection.into.is_some() {
            let plan = load.plan(environment, now)?;
            let Plan { sources, aws, range, reload, .. } = plan.clone();
            let reading = ReadingPlan { sources, aws, range, reload };
            return Ok(Subjects { reading, load: Some(plan), alerts });
        }
        if let Some(option) = given.iter().find(|option| ENGINE_OPTIONS.contains(option)) {
            let heading = format!("'{option}' has no effect without '--into'");
            let hint = format!("add --into http://localhost:9200, or remove {option}");
            return Err(Failure::usage(heading).hint(hint));
        }
        let names_source = !load.source.sources.is_empty() || !load.aws.buckets.trail.is_empty();
        if !names_source && load.rules.is_empty() && alerts.alert_state.is_none() {
            return Err(Failure::usage("there is nothing to check").hint(
                "add --into http://localhost:9200 to check a load, or name what a search or a watch reads, such as lookup",
            ));
        }
        let mut reading = load.reading(environment, now)?;
        if !names_source {
            reading.sources = SourceList::default();
        }
        Ok(Subjects { reading, load: None, alerts })
    }
}

/// Runs `trailload doctor`.
///
/// # Errors
///
/// Returns a [`Failure`] if the arguments are invalid, or if the result cannot be printed.
pub(super) fn run(
    args: &DoctorArgs,
    given: &GivenOptions,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    let Subjects { reading, load, alerts } = args.subjects(given, environment, now)?;
    // As in a load, a path that does not exist is a usage error.
    Files::new(&reading.sources.paths(), nothing_done())?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::ActionRequired, &error))?;
    let pending = PendingRequests::default();
    let _reporter = WaitReporter::start(pending.clone(), log.clone());
    let mut doctor = Doctor {
        reading: &reading,
        load: load.as_ref(),
        rules: &args.load.rules,
        alerts: &alerts,
        log,
        now,
        any_source_readable: false,
        failures: 0,
        warnings: 0,
        pending,
    };
    let result = runtime.block_on(doctor.run_checks());
    runtime.shutdown_background();
    result?;
    doctor.summarize()
}

/// How a problem affects the command that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// The command cannot run.
    Failure,
    /// The command can run, but incompletely.
    Warning,
}

/// Runs the checks and counts the problems.
struct Doctor<'a> {
    reading: &'a ReadingPlan,
    /// The load, if an engine is given.
    load: Option<&'a Plan>,
    /// Rule files and folders.
    rules: &'a [PathBuf],
    /// How alerts are sent. The table can be that of a function of AWS Lambda, whose rules are elsewhere.
    alerts: &'a AlertArgs,
    log: &'a Log,
    now: Timestamp,
    /// Whether at least one source can be read.
    any_source_readable: bool,
    failures: u64,
    warnings: u64,
    /// The requests in flight, for messages about slow responses.
    pending: PendingRequests,
}

impl Doctor<'_> {
    async fn run_checks(&mut self) -> Result<(), Failure> {
        self.files()?;
        let session = self.aws().await?;
        if let Some(plan) = self.load {
            match setup::field_rules(plan) {
                Ok(rules) => self.engine(plan, Arc::new(rules), session.as_ref()).await?,
                Err(failure) => self.report_problem(Severity::Failure, &failure)?,
            }
            self.dashboards(plan, session.as_ref()).await?;
        }
        self.rules()?;
        self.alert_state(session.as_ref()).await?;
        self.load.map_or(Ok(()), |plan| self.checkpoint(plan))
    }

    /// Prints the result in a last line.
    fn summarize(&mut self) -> Result<Exit, Failure> {
        let has_sources = !self.reading.sources.names.is_empty();
        let result = CheckResult {
            is_load: self.load.is_some(),
            failures: self.failures,
            warnings: self.warnings,
            no_source_readable: has_sources && !self.any_source_readable,
        };
        super::print(&format!("{}\n", result.describe()))?;
        Ok(if result.has_failed() { Exit::ActionRequired } else { Exit::Success })
    }

    /// Prints a problem and its fix.
    fn report_problem(&mut self, severity: Severity, failure: &Failure) -> Result<(), Failure> {
        match severity {
            Severity::Failure => self.failures += 1,
            Severity::Warning => self.warnings += 1,
        }
        super::print(&problem_lines(severity, failure))
    }

    fn files(&mut self) -> Result<(), Failure> {
        for (_, file) in &self.reading.sources.files {
            let (path, name) = (Path::new(file), file.to_string_lossy());
            match try_open(path) {
                Ok(()) => {
                    self.any_source_readable = true;
                    pass(&name, "can be read")?;
                }
                Err(error) => {
                    let failure =
                        Failure::action_required(format!("cannot read {name}")).caused_by(&error);
                    self.report_problem(
                        Severity::Warning,
                        &failure.hint("check that this user has permission to read it"),
                    )?;
                }
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, plan: &Plan) -> Result<(), Failure> {
        let name = format!("checkpoint {}", plan.checkpoint.display());
        match checkpoint::examine(&plan.checkpoint, &plan.target_name()) {
            Ok(CheckpointState::New) => pass(&name, "does not exist yet; the load creates it"),
            Ok(CheckpointState::Ours) => pass(&name, "belongs to this target and can be used"),
            Ok(CheckpointState::Older) => {
                pass(&name, "belongs to this target; the load updates its schema")
            }
            Err(error) => self.report_problem(Severity::Failure, &error.into()),
        }
    }
}

/// The result of all checks.
#[derive(Clone, Copy, Debug)]
struct CheckResult {
    /// Whether the arguments are those of a load, and not only what other commands read.
    is_load: bool,
    failures: u64,
    warnings: u64,
    no_source_readable: bool,
}

impl CheckResult {
    fn has_failed(self) -> bool {
        self.failures > 0 || self.no_source_readable
    }

    fn describe(self) -> String {
        let subject =
            |load: &str, other: &str| (if self.is_load { load } else { other }).to_owned();
        match (self.failures, self.warnings) {
            (0, _) if self.no_source_readable => {
                subject("this load cannot run: no source can be read", "no source can be read")
            }
            (0, 0) => subject("this load can run", "all checks passed"),
            (0, warnings) => format!(
                "{}; {}",
                subject("this load can run", "no check failed"),
                format::plural(warnings, "warning")
            ),
            (failures, _) => {
                let problems = format::plural(failures, "problem");
                if self.is_load { format!("this load cannot run: {problems}") } else { problems }
            }
        }
    }
}

/// Opens a file or a folder, as the load does. Pipes are skipped, because they can be opened only once.
fn try_open(path: &Path) -> std::io::Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        fs::read_dir(path).map(|_| ())
    } else if kind.is_file() {
        File::open(path).map(|_| ())
    } else {
        Ok(())
    }
}

/// Prints that a check passed.
fn pass(about: &str, text: &str) -> Result<(), Failure> {
    super::print(&format!("✓ {}: {}\n", single_line(about), single_line(text)))
}

/// Returns the lines of a problem and its fix.
fn problem_lines(severity: Severity, failure: &Failure) -> String {
    let mark = match severity {
        Severity::Failure => '✗',
        Severity::Warning => '!',
    };
    let causes = failure.causes.iter().map(|cause| single_line(cause));
    let all: Vec<_> = std::iter::once(single_line(&failure.heading)).chain(causes).collect();
    let fix = failure.hint.as_deref().unwrap_or("fix the problem above and run doctor again");
    format!("{mark} {}\n  fix: {}\n", all.join(": "), single_line(fix))
}

/// Returns a text in one line and without control characters: names and causes come from AWS, engines and files.
fn single_line(text: &str) -> String {
    escape_unprintable(&text.replace(['\n', '\r', '\t'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_one_line_and_its_fix_another() {
        let mut failure = Failure::action_required("could not read s3://b").hint("allow\nit");
        failure.causes.push("403\u{1b}[2J".to_owned());
        assert_eq!(
            problem_lines(Severity::Failure, &failure),
            "✗ could not read s3://b: 403\\u{1b}[2J\n  fix: allow it\n"
        );
        assert!(
            problem_lines(Severity::Warning, &Failure::action_required("broken"))
                .starts_with("! broken\n  fix: "),
            "there is always something to do"
        );
    }
}
