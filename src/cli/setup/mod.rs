//! `trailload setup`: prepares an engine for loads and for people: templates, lifecycle, roles and dashboards.
//!
//! Input: arguments, environment, clock. Output: the plan on standard output, the changes in the engine and in Kibana or
//! OpenSearch Dashboards, the exit code.
//! Invariant: the plan is printed before anything is changed, and nothing else is changed. What belongs to somebody else is
//! named and left alone. If a change is refused, the others are made.
//!
//! | file | responsibility |
//! |---|---|
//! | `connection` | options to connections |
//! | `engine` | templates, lifecycle and roles |
//! | `dashboards` | saved objects, and the list of fields |
//! | `retention` | deletion of expired indices |
//! | `outcome` | lines, counts and the exit code |

mod connection;
mod dashboards;
mod engine;
mod outcome;
mod retention;

use std::str::FromStr;

use jiff::Timestamp;
use tokio::runtime;

use self::{connection::Connections, outcome::SetupOutcome};
use super::{
    args::{
        engine::{ConnectionArgs, EngineUrl},
        time::Moment,
    },
    environment::Environment,
    exit::Exit,
    failure::Failure,
};
use crate::{
    normalize::{InvalidRetention, Retention},
    pending::PendingRequests,
    report::{Log, WaitReporter, log::ProgressMode},
    sink::Requested,
};

/// The end of `trailload setup --help`.
const AFTER_HELP: &str = "\
Prints what it is going to change, then changes it. Run it again at any time: what is current stays
as it is, and so does everything that trailload did not create. Options that are not given leave
their values as they are.

Examples:
  Install templates and dashboards
    trailload setup --into http://localhost:9200 --dashboards http://localhost:5601
  Keep events for 400 days, and merge the segments of a month 60 days after its end
    trailload setup --into http://localhost:9200 --retention 400d --warm 60d
  Show the requests first, or let somebody else send them
    trailload setup --into http://localhost:9200 --retention 400d --print
  Delete the indices of expired months from a cron job; show them first
    trailload setup --into http://localhost:9200 --enforce-retention --dry-run
  Remove what setup created; events are not deleted
    trailload setup --into http://localhost:9200 --dashboards http://localhost:5601 --remove

Exit codes:
  0  everything is set up
  1  action required: fix the credentials, permissions or address named in the error
  2  invalid command line
  3  set up in part: some changes are not possible; they are named";

/// The arguments of `trailload setup`.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is one option of the command line")]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where markup is not rendered")]
#[command(after_help = AFTER_HELP)]
#[command(mut_arg("into", |into| into.required(true)))]
#[command(next_help_heading = "Setup options")]
pub struct SetupArgs {
    /// Install dashboards here: URL of Kibana or OpenSearch Dashboards, with its space (/s/SPACE) or
    /// tenant (?security_tenant=NAME)
    #[arg(long, value_name = "URL")]
    pub dashboards: Option<EngineUrl>,
    /// Print the plan and its requests, and change nothing
    #[arg(long)]
    pub print: bool,
    /// Remove what setup created. Events, and what others created, stay
    #[arg(long, conflicts_with_all = ["retention", "warm", "replicas"])]
    pub remove: bool,

    /// Keep events this long, counted from the end of the period of their index: loads leave out
    /// older ones, and the lifecycle deletes their indices ('none': keep them for ever)
    #[arg(long, value_name = "DAYS|none", help_heading = "Index options")]
    pub retention: Option<Days>,
    /// Merge the segments of an index this long after the end of its period; it stays writable for
    /// late events ('none': never)
    #[arg(long, value_name = "DAYS|none", help_heading = "Index options")]
    pub warm: Option<Days>,
    /// Number of replicas of new indices
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = parse_replicas,
        allow_negative_numbers = true,
        help_heading = "Index options"
    )]
    pub replicas: Option<u32>,

    /// Delete the indices whose events are all older than the retention, and do nothing else; for a
    /// cron job
    #[arg(
        long,
        help_heading = "Retention options",
        conflicts_with_all = ["dashboards", "print", "remove", "warm", "replicas"]
    )]
    pub enforce_retention: bool,
    /// Show what --enforce-retention would delete, and delete nothing
    #[arg(long, requires = "enforce_retention", help_heading = "Retention options")]
    pub dry_run: bool,
    /// Enforce the retention as of this time [default: now]
    #[arg(
        long,
        value_name = "TIME",
        requires = "enforce_retention",
        help_heading = "Retention options"
    )]
    pub now: Option<Moment>,

    /// The engine.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Use this profile from the AWS configuration to sign requests [default: the standard credential
    /// chain of AWS]
    #[arg(long, value_name = "NAME", requires = "aws_auth", help_heading = "Engine options")]
    pub profile: Option<String>,
}

/// The highest number of replicas. An engine has as many nodes at least, or the index stays yellow.
const MAX_REPLICAS: u32 = 1_000;

fn parse_replicas(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number <= MAX_REPLICAS);
    number.ok_or_else(|| format!("expected a number from 0 to {MAX_REPLICAS}"))
}

/// The value of an option in days: a number of days, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(Option<Retention>);

impl FromStr for Days {
    type Err = InvalidRetention;

    fn from_str(text: &str) -> Result<Self, InvalidRetention> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|days| Self(Some(days))) }
    }
}

impl Days {
    fn requested(given: Option<Self>) -> Requested<Retention> {
        match given {
            None => Requested::Unchanged,
            Some(Self(None)) => Requested::Unset,
            Some(Self(Some(days))) => Requested::Set(days),
        }
    }
}

/// Runs `trailload setup`.
///
/// # Errors
///
/// Returns a [`Failure`] if the arguments are invalid, if a server cannot be used, or if the plan cannot be printed.
pub(super) fn run(
    args: &SetupArgs,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    args.check()?;
    let now = args.enforced_at(now)?;
    let connections = Connections::new(args, environment)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::ActionRequired, &error))?;
    let pending = PendingRequests::default();
    let _reporter = WaitReporter::start(pending.clone(), log.clone());
    let setup = Setup { args, connections, log, pending, now };
    let result = runtime.block_on(setup.run());
    runtime.shutdown_background();
    Ok(result?.exit())
}

/// What every step needs.
struct Setup<'a> {
    args: &'a SetupArgs,
    connections: Connections,
    log: &'a Log,
    pending: PendingRequests,
    now: Timestamp,
}

impl SetupArgs {
    /// Checks what the parser cannot.
    fn check(&self) -> Result<(), Failure> {
        if let (Some(Days(Some(warm))), Some(Days(Some(retention)))) = (self.warm, self.retention)
            && warm.days() >= retention.days()
        {
            return Err(Failure::usage(format!(
                "invalid value '{warm}' for '--warm <DAYS|none>': expected less than the retention ({retention})"
            )));
        }
        if self.enforce_retention && matches!(self.retention, Some(Days(None))) {
            return Err(Failure::usage(
                "'--enforce-retention' cannot be used with '--retention none'",
            )
            .hint("give a number of days, or omit --retention to use the recorded one"));
        }
        Ok(())
    }
}

impl SetupArgs {
    /// Returns the time that retention is enforced at. What expires later is shown, and never deleted.
    fn enforced_at(&self, now: Timestamp) -> Result<Timestamp, Failure> {
        let Some(moment) = self.now else { return Ok(now) };
        let at = moment.resolve(now).ok_or_else(|| {
            Failure::usage("invalid value for '--now <TIME>': expected a shorter age")
        })?;
        if at > now && !self.dry_run {
            return Err(Failure::usage(
                "invalid value for '--now <TIME>': a time in the future requires '--dry-run'",
            ));
        }
        Ok(at)
    }
}

impl Setup<'_> {
    async fn run(&self) -> Result<SetupOutcome, Failure> {
        let is_quiet = self.log.progress() == ProgressMode::Off;
        let mut outcome = match self.args {
            SetupArgs { print: true, .. } => SetupOutcome::with_comments(),
            SetupArgs { dry_run: false, .. } if is_quiet => SetupOutcome::quiet(),
            _ => SetupOutcome::default(),
        };
        let engine = self.connections.engine(self.log, &self.pending).await?;
        if self.args.enforce_retention {
            retention::enforce(self, &engine, &mut outcome).await?;
            return Ok(outcome);
        }
        // Both servers have to respond before anything is changed in one of them.
        let dashboards = self.connections.dashboards(self.log, &self.pending).await?;
        let engine_changes = engine::EnginePlan::new(self, &engine).await?;
        let objects = match &dashboards {
            Some(client) => Some(dashboards::ObjectPlan::new(self, client).await?),
            None => None,
        };
        engine_changes.print(&engine, &mut outcome)?;
        if let (Some(plan), Some(client)) = (&objects, &dashboards) {
            plan.print(client, &mut outcome)?;
        }
        if self.args.print {
            engine_changes.print_requests(&engine)?;
            if let (Some(plan), Some(client)) = (&objects, &dashboards) {
                plan.print_requests(client)?;
            }
            return Ok(outcome);
        }
        engine_changes.apply(self, &engine, &mut outcome).await?;
        if let (Some(plan), Some(client)) = (&objects, &dashboards) {
            plan.apply(self, client, &mut outcome).await?;
        }
        outcome.print_totals()?;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestCli {
        #[command(flatten)]
        args: SetupArgs,
    }

    fn args(words: &[&str]) -> Result<SetupArgs, String> {
        let always = ["setup", "--into", "http://localhost:9200"];
        let parsed = TestCli::try_parse_from(always.iter().chain(words));
        parsed.map(|cli| cli.args).map_err(|error| error.to_string())
    }

    #[test]
    fn options_without_an_effect_are_refused_by_name() {
        for (words, named) in [
            (&["--dry-run"][..], "--enforce-retention"),
            (&["--now", "2024-01-01"], "--enforce-retention"),
            (&["--remove", "--retention", "400d"], "--retention"),
            (&["--remove", "--warm", "40d"], "--warm"),
            (&["--remove", "--replicas", "1"], "--replicas"),
            (&["--enforce-retention", "--replicas", "1"], "--replicas"),
            (&["--enforce-retention", "--dashboards", "http://k"], "--dashboards"),
            (&["--enforce-retention", "--print"], "--print"),
            (&["--profile", "a"], "--aws-auth"),
        ] {
            let error = args(words).unwrap_err();
            assert!(error.contains(named), "{words:?}: {error}");
        }
    }

    #[test]
    fn days_are_a_number_or_none() {
        assert_eq!(Days::requested(args(&[]).unwrap().retention), Requested::Unchanged);
        let none = args(&["--retention", "none"]).unwrap();
        assert_eq!(Days::requested(none.retention), Requested::Unset);
        let given = args(&["--retention", "400d", "--warm", "60d"]).unwrap();
        assert_eq!(Days::requested(given.retention), Requested::Set("400d".parse().unwrap()));
        given.check().unwrap();
        for (words, exit) in [
            (&["--retention", "60d", "--warm", "60d"][..], 2),
            (&["--enforce-retention", "--retention", "none"], 2),
        ] {
            assert_eq!(args(words).unwrap().check().unwrap_err().exit.code(), exit, "{words:?}");
        }
        for value in ["12h", "400", "0d", "-5", "", "1.5d", "99999999d"] {
            let error = args(&[&format!("--retention={value}")]).unwrap_err();
            assert!(error.contains("expected whole days"), "{value}: {error}");
        }
    }

    #[test]
    fn replicas_are_a_number() {
        assert_eq!(args(&["--replicas", "0"]).unwrap().replicas, Some(0));
        for value in ["-1", "abc", "1001", "99999999999"] {
            let error = args(&["--replicas", value]).unwrap_err();
            assert!(error.contains("expected a number from 0 to 1000"), "{value}: {error}");
        }
    }

    #[test]
    fn what_has_not_expired_yet_is_shown_and_not_deleted() {
        let now: Timestamp = "2024-06-01T00:00:00Z".parse().unwrap();
        let at = |words: &[&str]| {
            args(&[&["--enforce-retention"], words].concat()).unwrap().enforced_at(now)
        };
        assert_eq!(at(&[]).unwrap(), now);
        assert!(at(&["--now", "2020-01-01"]).unwrap() < now);
        assert!(at(&["--now", "2027-01-01", "--dry-run"]).unwrap() > now);
        assert_eq!(at(&["--now", "2027-01-01"]).unwrap_err().exit.code(), 2);
    }

    #[test]
    fn the_password_of_either_url_is_not_in_debug() {
        let args = args(&["--dashboards", "http://u:hunter2@k:5601"]).unwrap();
        assert!(!format!("{args:?}").contains("hunter2"));
    }
}
