//! `trailload doctor`: checks whether a load would succeed.
//!
//! Input: the arguments of a load. Output: one line for each check, marked `✓` (pass), `!` (warning) or `✗` (failure), with
//! the fix below each problem; exit code 1 if a check fails.
//! Invariant: it uses the same clients and sources as a load, and changes nothing: nothing is written to the engine, and no
//! file is created.
//! Not here: how much there is to load, which a dry run shows.

mod alert_state;
mod aws;
mod engine;

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use tokio::runtime;

use super::{
    args::load::LoadArgs, environment::Environment, exit::Exit, failure::Failure, load::setup,
    plan::Plan, sources::nothing_done,
};
use crate::{
    checkpoint::{self, CheckpointState, shared_alerts::AlertStateAddress},
    pending::PendingRequests,
    report::{Log, WaitReporter, format, terminal::escape_unprintable},
    source::Files,
};

/// The whole of `trailload doctor --help`, below its usage.
const AFTER_HELP: &str = "\
Takes the arguments of a load (see 'trailload load --help') and checks everything that it needs:
credentials, accounts, Regions, buckets, clock, engine, checkpoint, and the table of --alert-state.

Examples:
  trailload doctor --into http://localhost:9200
  trailload doctor s3://my-trail --into https://search.example:9200

Exit codes:
  0  the load can run, possibly with warnings (!)
  1  a check failed (✗); the fix is shown below it
  2  invalid command line";

/// The arguments of `trailload doctor`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(override_usage = "trailload doctor [OPTIONS OF LOAD] --into <URL> [SOURCE]...")]
#[group(skip)]
#[command(mut_args(|arg| arg.hide(true)))]
pub struct DoctorArgs {
    /// The arguments of the load.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Runs `trailload doctor`.
///
/// # Errors
///
/// Returns a [`Failure`] if the arguments are invalid, or if the result cannot be printed.
pub(super) fn run(
    args: &DoctorArgs,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    let plan = args.load.plan(environment, now)?;
    // As in a load, a path that does not exist is a usage error.
    Files::new(&plan.sources.paths(), nothing_done())?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::ActionRequired, &error))?;
    let pending = PendingRequests::default();
    let _reporter = WaitReporter::start(pending.clone(), log.clone());
    let options = plan.alerts.as_ref().map_or(&args.load.alerts, |alerts| &alerts.options);
    let mut doctor = Doctor {
        plan: &plan,
        alert_state: options.alert_state.as_ref(),
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

/// How a problem affects the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// The load cannot run.
    Failure,
    /// The load can run, but incompletely.
    Warning,
}

/// Runs the checks and counts the problems.
struct Doctor<'a> {
    plan: &'a Plan,
    /// The table of alerts. It can be checked for a function of AWS Lambda, without its rules.
    alert_state: Option<&'a AlertStateAddress>,
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
        let rules = setup::field_rules(self.plan);
        self.files()?;
        let session = self.aws().await?;
        match rules {
            Ok(rules) => self.engine(Arc::new(rules), session.as_ref()).await?,
            Err(failure) => self.report_problem(Severity::Failure, &failure)?,
        }
        self.alert_state(session.as_ref()).await?;
        self.checkpoint()
    }

    /// Prints the result in a last line.
    fn summarize(&mut self) -> Result<Exit, Failure> {
        let (line, exit) = match (self.failures, self.warnings) {
            (0, _) if !self.any_source_readable => {
                ("this load cannot run: no source can be read".to_owned(), Exit::ActionRequired)
            }
            (0, 0) => ("this load can run".to_owned(), Exit::Success),
            (0, warnings) => (
                format!("this load can run; {}", format::plural(warnings, "warning")),
                Exit::Success,
            ),
            (failures, _) => (
                format!("this load cannot run: {}", format::plural(failures, "problem")),
                Exit::ActionRequired,
            ),
        };
        super::print(&format!("{line}\n"))?;
        Ok(exit)
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
        for (_, file) in &self.plan.sources.files {
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

    fn checkpoint(&mut self) -> Result<(), Failure> {
        let name = format!("checkpoint {}", self.plan.checkpoint.display());
        match checkpoint::examine(&self.plan.checkpoint, &self.plan.target_name()) {
            Ok(CheckpointState::New) => pass(&name, "does not exist yet; the load creates it"),
            Ok(CheckpointState::Ours) => pass(&name, "belongs to this target and can be used"),
            Ok(CheckpointState::Older) => {
                pass(&name, "belongs to this target; the load updates its schema")
            }
            Err(error) => self.report_problem(Severity::Failure, &error.into()),
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
