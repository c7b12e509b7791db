//! The lines of a plan, the totals, and the exit code.
//!
//! Input: what happens to each object. Output: lines on standard output.
//! Invariant: whatever is not possible is counted, and the exit code is then not 0.

use std::fmt;

use crate::{
    cli::{exit::Exit, failure::Failure, print},
    report::{Log, terminal::escape_unprintable},
    sink::provision::Action,
};

/// What became of all objects.
#[derive(Debug, Default)]
pub(super) struct SetupOutcome {
    created: usize,
    changed: usize,
    deleted: usize,
    kept: usize,
    not_possible: usize,
    /// What every line begins with.
    margin: &'static str,
    /// Whether only what is not possible is printed.
    is_quiet: bool,
}

impl SetupOutcome {
    /// Returns an outcome whose lines are comments between requests.
    pub(super) fn with_comments() -> Self {
        Self { margin: "# ", ..Self::default() }
    }

    /// Returns an outcome that prints only what is not possible: a cron job that prints nothing sends no mail.
    pub(super) fn quiet() -> Self {
        Self { is_quiet: true, ..Self::default() }
    }

    /// Prints a line.
    pub(super) fn line(&self, text: &str) -> Result<(), Failure> {
        if self.is_quiet { Ok(()) } else { self.print(text) }
    }

    /// Prints a line, also if all others are left out. Names and reasons come from servers.
    fn print(&self, text: &str) -> Result<(), Failure> {
        print(&format!("{}{}\n", self.margin, escape_unprintable(text)))
    }

    /// Prints what happens to an object, and counts what does not change.
    pub(super) fn plan(
        &mut self,
        action: &Action,
        object: impl fmt::Display,
    ) -> Result<(), Failure> {
        match action {
            Action::Keep(_) | Action::Unavailable(_) => self.kept += 1,
            Action::Blocked(_) => self.not_possible += 1,
            Action::Create | Action::Update(_) | Action::Delete => {}
        }
        let text = line(action, &object.to_string());
        if matches!(action, Action::Blocked(_)) { self.print(&text) } else { self.line(&text) }
    }

    /// Counts objects that do not change, without a line.
    pub(super) fn kept(&mut self, objects: usize) {
        self.kept += objects;
    }

    /// Counts an object that was changed as planned.
    pub(super) fn done(&mut self, action: &Action) {
        match action {
            Action::Create => self.created += 1,
            Action::Update(_) => self.changed += 1,
            Action::Delete => self.deleted += 1,
            Action::Keep(_) | Action::Unavailable(_) | Action::Blocked(_) => {}
        }
    }

    /// Logs why an object was not changed, and counts it.
    pub(super) fn failed(&mut self, failure: &Failure, log: &Log) {
        failure.report(log);
        self.not_possible += 1;
    }

    /// Prints the last line.
    pub(super) fn print_totals(&self) -> Result<(), Failure> {
        let Self { created, changed, deleted, kept, not_possible, .. } = self;
        let state = if *not_possible == 0 { "done" } else { "done in part" };
        let text = format!(
            "{state}: {created} created, {changed} changed, {deleted} deleted, {kept} kept, {not_possible} not possible"
        );
        if *not_possible > 0 { self.print(&text) } else { self.line(&text) }
    }

    /// Returns the exit code.
    pub(super) fn exit(&self) -> Exit {
        if self.not_possible > 0 { Exit::Incomplete } else { Exit::Success }
    }
}

/// Returns the line of a plan for one object.
pub(super) fn line(action: &Action, object: &str) -> String {
    let (verb, reason) = match action {
        Action::Create => ("create", None),
        Action::Update(reason) => ("change", Some(reason)),
        Action::Delete => ("delete", None),
        Action::Keep(reason) => ("keep", Some(reason)),
        Action::Unavailable(reason) => ("skip", Some(reason)),
        Action::Blocked(reason) => ("cannot", Some(reason)),
    };
    match reason {
        Some(reason) => format!("  {verb:<6} {object}: {reason}"),
        None => format!("  {verb:<6} {object}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_not_possible_decides_the_exit_code() {
        let mut outcome = SetupOutcome::default();
        for action in [Action::Create, Action::Keep("current".to_owned()), Action::Delete] {
            outcome.plan(&action, "x").unwrap();
            outcome.done(&action);
        }
        outcome.plan(&Action::Unavailable("no".to_owned()), "x").unwrap();
        assert_eq!(outcome.exit(), Exit::Success);
        outcome.plan(&Action::Blocked("no".to_owned()), "x").unwrap();
        assert_eq!(outcome.exit(), Exit::Incomplete);
        let counts = (outcome.created, outcome.deleted, outcome.kept, outcome.not_possible);
        assert_eq!(counts, (1, 1, 2, 1));
    }

    #[test]
    fn a_line_names_deed_object_and_reason() {
        let object = "index template 'ct'";
        assert_eq!(line(&Action::Create, object), "  create index template 'ct'");
        let blocked = Action::Blocked("no".to_owned());
        assert_eq!(line(&blocked, object), "  cannot index template 'ct': no");
    }
}
