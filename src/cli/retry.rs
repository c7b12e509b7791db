//! `trailload retry`: sends dead letters again, or accepts that they stay out of the index.
//!
//! Input: arguments, environment, clock. Output: an exit code, and the summary of a run without sources.
//! Invariant: an accepted dead letter keeps its content and its reason, and `trailload status` counts it.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{
    args::{engine::EngineArgs, load::LoadArgs},
    environment::Environment,
    exit::Exit,
    failure::Failure,
    load,
    plan::{Plan, sources::SourceList},
    status,
};
use crate::{
    checkpoint::{self, CheckpointReader, RetrySelection},
    report::{Log, format, run_record::RunCommand},
};

/// The end of `trailload retry --help`.
const AFTER_HELP: &str = "\
Every load retries the dead letters that an index, an ingest pipeline or a limit kept out. After a
change of the mapping or of trailload, it also retries those that were rejected for their content.
This command retries all of them.

Examples:
  Retry after an ingest pipeline was repaired
    trailload retry --into http://localhost:9200
  Accept that these documents stay out, so that the nightly load can end with exit code 0
    trailload retry --into http://localhost:9200 --accept

Exit codes:
  0  no dead letters are left, except accepted ones
  3  dead letters are left; see 'trailload status'
  1, 2, 4 as for 'trailload load'";

/// The arguments of `trailload retry`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(mut_arg("into", |into| into.required_unless_present("accept")))]
#[command(next_help_heading = "Retry options")]
pub struct RetryArgs {
    /// Retry accepted dead letters, too
    #[arg(long, conflicts_with = "accept")]
    pub all: bool,
    /// Accept that the present dead letters stay out of the index, and that alerts among them are never
    /// sent; they are kept and counted, but runs can end with exit code 0
    #[arg(long)]
    pub accept: bool,

    /// Where documents are sent.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Use this profile from the AWS configuration to sign requests [default: the standard credential
    /// chain of AWS]
    #[arg(long, value_name = "NAME", requires = "aws_auth", help_heading = "Engine options")]
    pub profile: Option<String>,

    /// Read the field rules and field kinds from this folder, as in the load
    #[arg(long, value_name = "DIR", help_heading = "Document options")]
    pub mappings: Option<PathBuf>,

    /// Write the counts of the run to this file as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "accept", help_heading = "Output options")]
    pub summary: Option<PathBuf>,
}

/// Runs `trailload retry`.
///
/// # Errors
///
/// Returns a [`Failure`] if the arguments are invalid, or if there is no checkpoint.
pub(super) fn run(
    args: &RetryArgs,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    if args.accept {
        args.accept(environment, now, log)?;
        return Ok(Exit::Success);
    }
    let plan = args.plan(environment, now)?;
    Ok(load::execute(&plan, log))
}

impl RetryArgs {
    /// Returns the plan of a load without sources.
    fn plan(&self, environment: &Environment, now: Timestamp) -> Result<Plan, Failure> {
        let mut load = LoadArgs::defaults()?;
        load.engine = self.engine.clone();
        load.aws.access.profile.clone_from(&self.profile);
        load.documents.mappings.clone_from(&self.mappings);
        load.summary.clone_from(&self.summary);
        let mut plan = load.plan(environment, now)?;
        plan.sources = SourceList::default();
        plan.command = RunCommand::Retry;
        plan.retry = if self.all { RetrySelection::All } else { RetrySelection::NotAccepted };
        if !plan.checkpoint.exists() {
            // A mistyped name must not create a file.
            return Err(checkpoint::Error::NotFound { path: plan.checkpoint }.into());
        }
        // If the checkpoint cannot be read here, the run reports the error when it opens it.
        if let Ok(Some(by)) =
            CheckpointReader::open(&plan.checkpoint).and_then(|reader| reader.index_by())
        {
            plan.index_by = by;
        }
        Ok(plan)
    }

    fn accept(&self, environment: &Environment, now: Timestamp, log: &Log) -> Result<(), Failure> {
        let EngineArgs { connection, checkpoint } = &self.engine;
        let (into, index) = (&connection.into, &connection.index);
        let (into, file) = (into.as_ref(), checkpoint.as_deref());
        let path = status::checkpoint_file(into, index, file, environment)?;
        let accepted = checkpoint::accept_dead_letters(&path, now)?;
        let alerts = checkpoint::accept_undelivered_alerts(&path, now)?;
        let dead_letters = format::plural(accepted, "dead letter");
        let about = path.display().to_string();
        if alerts > 0 {
            let alerts = format::plural(alerts, "alert");
            log.info(&about, format_args!("accepted: {alerts} not to be sent"));
        }
        log.info(
            &about,
            match accepted {
                0 if alerts > 0 => return Ok(()),
                0 => "no dead letters to accept".to_owned(),
                _ => format!(
                    "accepted {dead_letters}; they are kept, 'trailload status' counts them, and \
                     'trailload retry --all' sends them again"
                ),
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestCli {
        #[command(flatten)]
        args: RetryArgs,
    }

    fn plan(typed: &[&str]) -> Result<Plan, Failure> {
        let cli = TestCli::try_parse_from(["retry"].iter().chain(typed)).unwrap();
        cli.args.plan(&Environment::default(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn every_option_reaches_a_plan_that_reads_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.sqlite");
        std::fs::write(&file, "").unwrap();
        let file = file.to_str().unwrap();
        let plan = plan(&[
            "--into",
            "http://u:hunter2@h:1",
            "--index",
            "org",
            "--ca-file",
            "ca.pem",
            "--checkpoint",
            file,
            "--mappings",
            "m",
            "--summary",
            "s.json",
            "--all",
        ])
        .unwrap();
        assert_eq!(plan.sources, SourceList::default());
        assert_eq!(plan.retry, RetrySelection::All);
        assert_eq!((plan.target.url.as_str(), plan.index.as_str()), ("http://h:1/", "org"));
        assert_eq!(plan.checkpoint.to_str(), Some(file));
        assert_eq!((plan.ca_file, plan.mappings), (Some("ca.pem".into()), Some("m".into())));
        assert_eq!(plan.summary, Some("s.json".into()));
    }

    #[test]
    fn a_checkpoint_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.sqlite");
        let failure =
            plan(&["--into", "http://h:1", "--checkpoint", file.to_str().unwrap()]).unwrap_err();
        assert_eq!(failure.exit, Exit::ActionRequired, "{failure:?}");
        assert!(!file.exists());
    }

    #[test]
    fn an_engine_is_needed_to_send_and_not_to_accept() {
        let parse = |typed: &[&str]| TestCli::try_parse_from(["retry"].iter().chain(typed));
        assert!(parse(&[]).is_err());
        assert!(parse(&["--accept"]).is_ok());
        assert!(parse(&["--accept", "--all"]).is_err());
    }
}
