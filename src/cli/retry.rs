//! `trailload retry`: sends documents again that were set aside, or accepts that they stay out.
//!
//! In: [`Args`], environment, clock. Out: an exit code, and the last line of a run in which nothing is read.
//! Invariant: what is accepted keeps its content and its reason, and is counted by `trailload status`.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{
    Shown,
    engine::{Address, DEFAULT_INDEX, IndexPrefix, SecretFiles},
    environment::Environment,
    exit::Exit,
    failure::Failure,
    load::{self, Plan},
    status,
    words::Words,
};
use crate::{
    checkpoint::{self, Reader, Retry},
    report::{Log, figures},
};

/// The end of `trailload retry --help`.
const AFTER_HELP: &str = "\
Every load sends documents again that an index, a pipeline or a limit keeps out, and those that were
refused for their content once the mapping or this program has changed. This command sends them all.

Examples:
  The pipeline is repaired
    trailload retry --into http://localhost:9200
  Nobody needs these documents: let the nightly load end with exit 0 again
    trailload retry --into http://localhost:9200 --accept

Exit codes:
  0  no document is set aside, but those that are accepted
  3  documents are still set aside ('trailload status' tells why)
  1, 2, 4 as for 'trailload load'";

/// The words of `trailload retry`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(next_help_heading = "What to send")]
pub struct Args {
    /// Send accepted documents too
    #[arg(long, conflicts_with = "accept")]
    pub all: bool,
    /// Send nothing, and accept that what is set aside now stays out: it is kept and counted, but runs can end with 0
    #[arg(long)]
    pub accept: bool,

    /// Send to the engine at this address
    #[arg(long, value_name = "URL", required_unless_present = "accept", help_heading = "Where to")]
    pub into: Option<Address>,
    /// Send what was meant for indices with this prefix
    #[arg(long, value_name = "PREFIX", default_value = DEFAULT_INDEX, help_heading = "Where to")]
    pub index: IndexPrefix,
    /// Trust the authorities in this PEM file
    #[arg(long, value_name = "FILE", help_heading = "Where to")]
    pub ca_file: Option<PathBuf>,
    /// Files with secrets.
    #[command(flatten)]
    pub secret_files: SecretFiles,
    /// Sign requests to the engine with AWS credentials, for Amazon OpenSearch Service and Serverless
    #[arg(long, help_heading = "Where to")]
    pub aws_auth: bool,
    /// Use this profile of the AWS configuration to sign requests [default: as for every AWS tool]
    #[arg(long, value_name = "NAME", requires = "aws_auth", help_heading = "Where to")]
    pub profile: Option<String>,
    /// Use this checkpoint file [default: one per engine and prefix in the state folder]
    #[arg(long, value_name = "FILE", help_heading = "Where to")]
    pub checkpoint: Option<PathBuf>,

    /// Take the rules and the kinds of fields from this folder, as the load does
    #[arg(long, value_name = "DIR", help_heading = "What the documents hold")]
    pub mappings: Option<PathBuf>,

    /// Write the numbers of the run to this file, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "accept", help_heading = "What is shown")]
    pub summary: Option<PathBuf>,
    /// How much is said.
    #[command(flatten)]
    pub shown: Shown,
}

/// Runs `trailload retry`.
pub(super) fn run(args: &Args, environment: &Environment, now: Timestamp) -> Exit {
    let log = args.shown.log(environment);
    if args.accept {
        return match args.accept(environment, now, &log) {
            Ok(()) => Exit::Done,
            Err(failure) => failure.report(&log),
        };
    }
    match args.plan(environment, now) {
        Ok(plan) => load::perform(&plan, &log),
        Err(failure) => failure.report(&log),
    }
}

impl Args {
    /// Returns the plan of a load that reads nothing.
    fn plan(&self, environment: &Environment, now: Timestamp) -> Result<Plan, Failure> {
        let mut load = load::Args::defaults()?;
        load.into.clone_from(&self.into);
        load.index = self.index.clone();
        load.ca_file.clone_from(&self.ca_file);
        load.secret_files = self.secret_files.clone();
        load.aws_auth = self.aws_auth;
        load.cloud.profile.clone_from(&self.profile);
        load.checkpoint.clone_from(&self.checkpoint);
        load.mappings.clone_from(&self.mappings);
        load.summary.clone_from(&self.summary);
        let mut plan = load.plan(environment, now)?;
        plan.words = Words::default();
        plan.retry = if self.all { Retry::All } else { Retry::Standing };
        if !plan.checkpoint.exists() {
            // A mistyped name makes no file.
            return Err(checkpoint::Error::Missing { path: plan.checkpoint }.into());
        }
        // What cannot be read here is told when the run opens the file.
        if let Ok(Some(by)) = Reader::open(&plan.checkpoint).and_then(|reader| reader.index_by()) {
            plan.index_by = by;
        }
        Ok(plan)
    }

    fn accept(&self, environment: &Environment, now: Timestamp, log: &Log) -> Result<(), Failure> {
        let (into, file) = (self.into.as_ref(), self.checkpoint.as_deref());
        let path = status::checkpoint_file(into, &self.index, file, environment)?;
        let accepted = checkpoint::accept(&path, now)?;
        let documents = figures::counted(accepted, "document");
        log.info(
            &path.display().to_string(),
            match accepted {
                0 => "nothing to accept".to_owned(),
                _ => format!(
                    "{documents} accepted: kept with the reason and counted by 'trailload status'; \
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
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    fn plan(typed: &[&str]) -> Result<Plan, Failure> {
        let typed = Typed::try_parse_from(["retry"].iter().chain(typed)).unwrap();
        typed.args.plan(&Environment::default(), Timestamp::UNIX_EPOCH)
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
        assert_eq!(plan.words, Words::default());
        assert_eq!(plan.retry, Retry::All);
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
        assert_eq!(failure.exit, Exit::Person, "{failure:?}");
        assert!(!file.exists());
    }

    #[test]
    fn an_engine_is_needed_to_send_and_not_to_accept() {
        let parse = |typed: &[&str]| Typed::try_parse_from(["retry"].iter().chain(typed));
        assert!(parse(&[]).is_err());
        assert!(parse(&["--accept"]).is_ok());
        assert!(parse(&["--accept", "--all"]).is_err());
    }
}
