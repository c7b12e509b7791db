//! `trailload watch`: evaluates, checks, tests and translates rules.
//!
//! Input: rule files and folders, or a Drools file. Output: the alerts of a dry run, what is wrong in the rules, the results
//! of their tests, an event pattern, or a rule file.
//! Invariant: no rule is used before all are valid, and nothing is sent but requests for the events of a dry run.
//! Not here: the rule language (see [`filter::rule`](crate::filter::rule)).

mod replay;
mod rule_files;
mod rule_tests;
mod table;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use self::{
    replay::ReplayArgs,
    rule_files::{LoadedRules, load_rules},
    rule_tests::run_tests,
};
use super::{environment::Environment, exit::Exit, failure::Failure};
use crate::{
    filter::{
        rule::{event_pattern, translate_drools},
        yaml::line_of,
    },
    report::{Log, terminal::escape_unprintable},
};

/// The end of `trailload watch --help`.
const AFTER_HELP: &str = "\
A rule names the events it looks at; a JMESPath expression decides whether it fires:
  name: \"ec2.amazonaws.com: security group changed in the console\"
  events: [AuthorizeSecurityGroupIngress, RevokeSecurityGroupIngress]
  match: contains(detail.userAgent, 'console')
  except: [\"detail.userIdentity.invokedBy != null\"]
  severity: high
  tests: [{event: tests/by-hand.json, fires: true}]

Examples:
  trailload watch rules/ --dry-run --in AWSLogs/
  trailload watch rules/ --dry-run --in s3://my-trail --last 7d
  trailload watch --check rules/
  trailload watch --test rules/
  trailload watch --event-pattern rules/ > pattern.json
  trailload watch --from-drl security-group.drl > rules/security-group.yml

Exit codes:
  0  the rules are valid and their tests pass; everything was read
  1  a test failed, or credentials, permissions or an address have to be fixed
  2  a rule or the command line is invalid
  3  some input could not be read, or a part of the Drools file not be translated
  4  stopped by a signal";

/// The arguments of `trailload watch`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(next_help_heading = "Watch options")]
pub struct WatchArgs {
    /// Rule files (YAML), or folders with rule files
    #[arg(value_name = "RULES", required_unless_present = "from_drl", help_heading = None::<&str>)]
    pub rules: Vec<PathBuf>,
    /// What to do with them.
    #[command(flatten)]
    pub mode: WatchMode,
    /// What a dry run reads.
    #[command(flatten)]
    pub replay: ReplayArgs,
}

/// What to do with the rules.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "mode", required = true, multiple = false)]
#[command(next_help_heading = "Watch options")]
#[expect(clippy::struct_excessive_bools, reason = "one flag per mode; at most one is set")]
pub struct WatchMode {
    /// Evaluate the rules on the events of --in, and print one line of JSON for each alert that would
    /// be sent, in the order of time; sends nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Check the rules: errors with file, line and column, and expressions that probably mean something else
    #[arg(long)]
    pub check: bool,
    /// Run the tests of the rules and print a table of the results
    #[arg(long)]
    pub test: bool,
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
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    if let Some(file) = &args.mode.from_drl {
        return translate(file, log);
    }
    let loaded = load_rules(&args.rules)?;
    report_problems(&loaded, log);
    if loaded.error_count() > 0 {
        return Err(invalid_rules(&loaded));
    }
    if args.mode.dry_run {
        return replay::run(&args.replay, &loaded, environment, now, log);
    }
    if args.mode.test {
        return test(&loaded);
    }
    if args.mode.event_pattern {
        let rules: Vec<_> = loaded.rules().map(|(_, rule)| rule.clone()).collect();
        super::print(&format!("{:#}\n", event_pattern(&rules)))?;
        return Ok(Exit::Success);
    }
    super::print(&format!("{} valid\n", counted(loaded.rules().count(), "rule")))?;
    Ok(Exit::Success)
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

/// Logs the errors and warnings of all files.
fn report_problems(loaded: &LoadedRules, log: &Log) {
    for file in &loaded.files {
        let path = escape_unprintable(&file.path.to_string_lossy());
        for warning in &file.content.warnings {
            let heading =
                format!("{path}:{}: {}; write {}", warning.position, warning.message, warning.fix);
            log.warn(&warning.rule, heading);
        }
        for error in &file.content.errors {
            let excerpt = match &error.excerpt {
                Some(excerpt) => excerpt.lines().map(str::to_owned).collect(),
                None => excerpt_of(&file.text, error.position.line, error.position.column),
            };
            log.failure(
                &format!("{path}:{}: {}", error.position, error.message),
                &excerpt,
                &[],
                error.suggestion.as_deref(),
            );
        }
    }
}

/// Returns a line of a file with a caret below a column.
fn excerpt_of(text: &str, line: usize, column: usize) -> Vec<String> {
    let shown = line_of(text, line);
    if shown.trim().is_empty() {
        return Vec::new();
    }
    let before: String = shown.chars().take(column.saturating_sub(1)).collect();
    vec![shown, format!("{}^", " ".repeat(console::measure_text_width(&before)))]
}

fn invalid_rules(loaded: &LoadedRules) -> Failure {
    let errors = counted(loaded.error_count(), "error");
    Failure::usage(format!("{errors} in {}", counted(loaded.files.len(), "rule file")))
}

/// Returns a number with a noun in the right form.
fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
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
