//! What went wrong, for a person and for a cron job: the text, the hint and the exit code.
//!
//! In: any room's error. Out: `error: … / caused by: … / hint: …` and one of five exit codes.
//! This is the only place that knows all rooms' errors.

use std::{error::Error, process::ExitCode};

use crate::report::{Log, summary};

/// The exit codes of the program; part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is in the index.
    Done = 0,
    /// A person has to change something: credentials, permission, address.
    Person = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Done, but documents were set aside or files could not be read to their end.
    SetAside = 3,
    /// Stopped early, position saved: run the same command again.
    Early = 4,
}

impl Exit {
    /// Returns the code as a number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Something that ends the program before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What we were doing, and to what.
    pub heading: String,
    /// Why, from the outermost cause to the innermost.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A person has to change something.
    pub fn person(heading: impl Into<String>) -> Self {
        Self { exit: Exit::Person, heading: heading.into(), causes: Vec::new(), hint: None }
    }

    /// The command line makes no sense.
    pub fn usage(heading: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::person(heading) }
    }

    /// Turns an error into a failure: its text is the heading, its sources are the causes.
    pub fn of(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self { exit, causes: chain(error.source()), ..Self::person(error.to_string()) }
    }

    /// Adds an error and everything below it as causes.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        self.causes.extend(chain(Some(error)));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Writes the failure, and returns the exit code.
    pub fn report(&self, log: &Log) -> Exit {
        log.failure(&self.heading, &self.causes, self.hint.as_deref());
        self.exit
    }
}

/// Returns the texts of an error and its sources.
///
/// A text that the one above ends with is left out: some libraries print their source themselves.
fn chain(mut error: Option<&(dyn Error + 'static)>) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    while let Some(cause) = error {
        let text = cause.to_string();
        if !causes.last().is_some_and(|above| above.ends_with(&text)) {
            causes.push(text);
        }
        error = cause.source();
    }
    causes
}

impl From<summary::Error> for Failure {
    fn from(error: summary::Error) -> Self {
        let hint = match error {
            summary::Error::Unbalanced { .. } => {
                "this is a bug in trailload: please report it with this line; loading again is safe"
            }
            summary::Error::Write { .. } => "give --summary a file in a folder you may write to",
        };
        Self::of(Exit::Person, &error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error as ThisError;

    use super::*;
    use crate::report::log::{Format, Verbosity, tests::page};

    #[derive(Debug, ThisError)]
    #[error("could not read the batch")]
    struct Outer(#[source] Inner);

    #[derive(Debug, ThisError)]
    #[error("the line broke")]
    struct Inner(#[source] io::Error);

    fn nested() -> Outer {
        Outer(Inner(io::Error::other("reset by peer")))
    }

    #[test]
    fn an_error_becomes_heading_causes_and_hint() {
        let failure = Failure::of(Exit::Early, &nested()).hint("run it again");
        let (log, page) = page(Format::Text, Verbosity::Quiet);
        assert_eq!(failure.report(&log), Exit::Early);
        assert_eq!(
            page.text(),
            "error: could not read the batch\n  caused by: the line broke\n  \
             caused by: reset by peer\n  hint: run it again\n"
        );
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        #[derive(Debug, ThisError)]
        #[error("connect: {0}")]
        struct Chatty(#[source] Inner);
        let failure =
            Failure::person("no answer").caused_by(&Chatty(Inner(io::Error::other("refused"))));
        assert_eq!(failure.causes, ["connect: the line broke", "refused"]);
    }

    #[test]
    fn exit_codes_are_the_contract() {
        let codes = [Exit::Done, Exit::Person, Exit::Usage, Exit::SetAside, Exit::Early];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn numbers_that_do_not_add_up_are_exit_1() {
        let error =
            summary::Error::Unbalanced { read: 3, created: 1, already_there: 0, set_aside: 0 };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Person);
        assert!(failure.heading.starts_with("the numbers do not add up: 3 read"));
    }
}
