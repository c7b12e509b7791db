//! `trailload watch --check`: everything that a run would refuse, except what takes the network or secrets.
//!
//! Input: rules without an error, and the action file. Output: a line on standard output, or errors with their places.
//! Invariant: nothing is sent, and no secret is read.

use super::{WatchArgs, rule_tests};
use crate::{
    cli::{
        args::alerts::AlertArgs,
        exit::Exit,
        failure::Failure,
        rule_files::{self, LoadedRules, counted},
    },
    report::Log,
    sink::alert::Action,
};

/// Checks rules, their tests, and actions.
///
/// # Errors
///
/// Returns a [`Failure`] if something is wrong. Each error was logged.
pub(super) fn run(args: &WatchArgs, loaded: &LoadedRules, log: &Log) -> Result<Exit, Failure> {
    let rules = counted(loaded.rules().count(), "rule");
    let (actions, valid) = if args.alerts.actions.is_some() {
        let plan = args.alerts.plan(loaded, log)?;
        let actions = counted(plan.defined_actions(), "action");
        let all = plan.check_files(log)?;
        (all, format!("{rules} and {actions} valid\n"))
    } else {
        (AlertArgs::actions_of_rules(loaded, log)?, format!("{rules} valid\n"))
    };
    check_tests(loaded, log)?;
    note_engine(&actions, log);
    crate::cli::print(&valid)?;
    Ok(Exit::Success)
}

/// Checks that each test of a rule has an event.
fn check_tests(loaded: &LoadedRules, log: &Log) -> Result<(), Failure> {
    let mut errors = 0;
    for (file, rule) in loaded.rules() {
        for error in rule.tests.iter().filter_map(|test| rule_tests::event_error(file, test)) {
            errors += 1;
            rule_files::report_error(&file.path, &file.text, &error, log);
        }
    }
    match errors {
        0 => Ok(()),
        errors => {
            Err(Failure::usage(format!("{} in the tests of rules", counted(errors, "error"))))
        }
    }
}

/// Tells that a run needs an engine, which is not part of the files.
fn note_engine(actions: &[Action], log: &Log) {
    if let Some(action) = actions.iter().find(|action| action.needs_engine()) {
        let name = &action.name;
        log.info("--into", format_args!("the action `{name}` has no `url`: runs need --into"));
    }
}
