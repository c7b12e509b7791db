//! `trailload watch`: evaluates rules on events and sends alerts; checks, tests and translates rules.
//!
//! Input: rule files and folders, an action file, or a Drools file. Output: alerts, what is wrong in the files, the results of
//! tests, an event pattern, or a rule file.
//! Invariant: no rule is used before all are valid and their actions exist.
//! Not here: the rule language (see [`filter::rule`](crate::filter::rule)), and what is sent (see
//! [`sink::alert`](crate::sink::alert)).

mod check;
mod checkpoint;
mod dry_run;
mod input;
mod mode;
mod report;
mod rule_tests;
mod run;
mod table;

use std::{
    path::{Path, PathBuf},
    slice,
};

use jiff::Timestamp;

use self::{dry_run::DryRun, input::InputArgs, mode::Mode, rule_tests::run_tests, run::WatchRun};
use super::{
    alerts::AlertAges,
    args::{alerts::AlertArgs, given::GivenOptions},
    environment::Environment,
    exit::Exit,
    failure::Failure,
    rule_files::{self, LoadedRules, counted, load_valid_rules},
    time_notes::explain_range,
};
use crate::{
    filter::rule::{EventPattern, MAX_PATTERN_CHARACTERS, Rule, event_pattern, translate_drools},
    report::{Log, terminal::escape_unprintable},
};

pub(in crate::cli) use self::checkpoint::{
    PREFIX as CHECKPOINT_PREFIX, TARGET as CHECKPOINT_TARGET, default_checkpoint,
};

/// The end of `trailload watch --help`.
const AFTER_HELP: &str = "\
A rule names the events it looks at; a JMESPath expression decides whether it fires:
  name: \"ec2.amazonaws.com: security group changed in the console\"
  events: [AuthorizeSecurityGroupIngress, RevokeSecurityGroupIngress]
  match: contains(detail.userAgent, 'console')
  except: [\"detail.userIdentity.invokedBy != null\"]
  severity: high
  actions: [security-slack]
  tests: [{event: tests/by-hand.json, fires: true}]

An action file defines where alerts are sent; secrets come from the environment or from files:
  security-slack: {kind: slack, url: \"${SLACK_URL}\"}

Later runs read only what is new. An alert is sent once, however often its event is read.

Examples:
  Try rules on a trail bucket: print what they would send
    trailload watch rules/ --dry-run --in s3://my-trail --last 7d
  Alert on new events of the account, from a cron job
    trailload watch rules/ --actions actions.yml --quiet
  Alert within minutes, as a service
    trailload watch rules/ --actions actions.yml --follow
  Send alerts for events of last month, too
    trailload watch rules/ --actions actions.yml --in s3://my-trail --last 30d --replay
  Send the alerts again that could not be delivered
    trailload watch rules/ --actions actions.yml --retry
  Check rules and actions, and run the tests of the rules
    trailload watch rules/ --check --actions actions.yml
    trailload watch rules/ --test
  Translate a Drools file; print the event pattern for EventBridge
    trailload watch --from-drl security-group.drl > rules/security-group.yml
    trailload watch rules/ --event-pattern > pattern.json

Exit codes:
  0  everything was read, and every alert delivered; the rules are valid and their tests pass
  1  a test failed, or credentials, permissions or an address have to be fixed
  2  a rule, an action or the command line is invalid
  3  some input could not be read, an alert was not delivered (see 'trailload status'), or a part of
     the Drools file could not be translated
  4  stopped by a signal, position saved";

/// The arguments of `trailload watch`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(override_usage = "trailload watch [OPTIONS] RULES...")]
#[command(next_help_heading = "Watch options")]
pub struct WatchArgs {
    /// Rule files (YAML), or folders with rule files
    #[arg(value_name = "RULES", required_unless_present_any = ["from_drl", "retry"], help_heading = None::<&str>)]
    pub rules: Vec<PathBuf>,
    /// What to do instead of sending alerts.
    #[command(flatten)]
    pub mode: WatchMode,
    /// Which alerts are sent, and how.
    #[command(flatten)]
    pub alerts: AlertArgs,
    /// Read everything again, and send alerts for events of any age; what was sent is not sent again
    #[arg(long, help_heading = "Alert options")]
    pub replay: bool,
    /// Checkpoint file, which records what was read and which alerts were sent [default: one for each
    /// set of sources and rules in the state folder]
    #[arg(long, value_name = "FILE", help_heading = "Alert options")]
    pub checkpoint: Option<PathBuf>,
    /// What is read.
    #[command(flatten)]
    pub input: InputArgs,
}

/// What to do instead of sending alerts.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "mode", multiple = false)]
#[command(next_help_heading = "Watch options")]
#[expect(clippy::struct_excessive_bools, reason = "one flag per mode; at most one is set")]
pub struct WatchMode {
    /// Print the alerts that would be sent, one line of JSON each, in the order of time; with --actions
    /// also each message; sends and records nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Check the rules and --actions: errors with file, line and column, and expressions that probably
    /// mean something else
    #[arg(long)]
    pub check: bool,
    /// Run the tests of the rules and print a table of the results
    #[arg(long)]
    pub test: bool,
    /// Read nothing; send the alerts again that could not be delivered
    #[arg(long)]
    pub retry: bool,
    /// Print the EventBridge event pattern that delivers the events of the rules
    #[arg(long)]
    pub event_pattern: bool,
    /// Translate a Drools file of the CloudTrail rules engine, and print it as a rule file
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    pub from_drl: Option<PathBuf>,
}

/// Runs `trailload watch`.
///
/// # Errors
///
/// Returns a [`Failure`] if a file cannot be read, a rule is invalid, or a test failed. Each error of a rule was logged.
pub(super) fn run(
    args: &WatchArgs,
    given: &GivenOptions,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    let mode = args.checked_mode(given)?;
    if let Some(file) = &args.mode.from_drl {
        return translate(file, log);
    }
    let loaded = if args.rules.is_empty() {
        LoadedRules::default()
    } else {
        load_valid_rules(&args.rules, log)?
    };
    match mode {
        Mode::Test => test(&loaded),
        Mode::EventPattern => {
            let rules: Vec<_> = loaded.rules().map(|(_, rule)| rule.clone()).collect();
            note_unlimited_rules(&rules, log);
            print_event_pattern(&event_pattern(&rules), log)?;
            Ok(Exit::Success)
        }
        Mode::Check => check::run(args, &loaded, log),
        Mode::DryRun => {
            let run = DryRun::new(args, &loaded, environment, now, log)?;
            explain_range(args.input.from.as_ref(), args.input.to.as_ref(), log);
            dry_run::run(&run)
        }
        Mode::Run | Mode::Retry | Mode::FromDrools => {
            let run = WatchRun::new(args, &loaded, environment, now, log)?;
            explain_range(args.input.from.as_ref(), args.input.to.as_ref(), log);
            run::run(&run)
        }
    }
}

impl WatchArgs {
    fn ages(&self) -> AlertAges {
        if self.replay { AlertAges::All } else { AlertAges::Recent }
    }
}

/// Names the rules for which a pattern has to deliver all events.
fn note_unlimited_rules(rules: &[Rule], log: &Log) {
    let is_unlimited =
        |rule: &&Rule| event_pattern(slice::from_ref(*rule)).pattern.get("detail").is_none();
    let names: Vec<String> = rules
        .iter()
        .filter(is_unlimited)
        .map(|rule| format!("'{}'", escape_unprintable(&rule.name)))
        .collect();
    if !names.is_empty() {
        let names = names.join(", ");
        log.info("event pattern", format_args!("matches all events of CloudTrail, because {names} selects neither names nor sources; without such rules, the pattern is narrower"));
    }
}

/// Prints an event pattern, on several lines unless it is longer than EventBridge accepts then.
fn print_event_pattern(pattern: &EventPattern, log: &Log) -> Result<(), Failure> {
    if !pattern.left_out.is_empty() {
        let fields = pattern.left_out.join(" and ");
        log.warn("event pattern", format_args!("{fields} left out: EventBridge accepts {MAX_PATTERN_CHARACTERS} characters; more events are delivered than the rules look at; give fewer rules at a time for narrower patterns"));
    }
    let lines = format!("{:#}", pattern.pattern);
    let fits = lines.chars().count() <= MAX_PATTERN_CHARACTERS;
    super::print(&if fits { format!("{lines}\n") } else { format!("{}\n", pattern.pattern) })
}

fn test(loaded: &LoadedRules) -> Result<Exit, Failure> {
    let report = run_tests(loaded);
    super::print(&report.to_string())?;
    match report.failed() {
        0 => Ok(Exit::Success),
        failed => {
            let heading = format!("{failed} of {} failed", counted(report.total(), "test"));
            Err(Failure::action_required(heading)
                .hint("change the rule or the test; the table has the reason"))
        }
    }
}

fn translate(path: &Path, log: &Log) -> Result<Exit, Failure> {
    let text = rule_files::read(path)?;
    let translation = translate_drools(&text);
    let shown = escape_unprintable(&path.to_string_lossy());
    for error in &translation.untranslated {
        let hint = error
            .suggestion
            .as_ref()
            .map(|suggestion| format!("; {suggestion}"))
            .unwrap_or_default();
        log.warn("not translated", format!("{shown}:{}: {}{hint}", error.position, error.message));
    }
    if translation.translated == 0 {
        return Err(Failure::usage(format!("{shown} has no rule that can be translated")));
    }
    super::print(&translation.yaml)?;
    Ok(if translation.untranslated.is_empty() { Exit::Success } else { Exit::Incomplete })
}
