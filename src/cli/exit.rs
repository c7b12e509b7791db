//! Exit codes, and the only place that decides which of them a run ends with.
//!
//! In: a [`RunReport`]. Out: an [`Exit`], which the checkpoint stores, the summary shows and the process returns.
//! Invariant: 0 only if everything asked for is in the index.

use std::process::ExitCode;

use super::failure::Failure;
use crate::{
    checkpoint::{Outstanding, indices::Missing},
    report::summary::Ending,
};

/// The exit codes of the program; part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is in the index.
    Done = 0,
    /// A person has to change something: credentials, permission, address.
    Person = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Done, but documents are set aside or differ, inputs could not be read, or an index lacks what was loaded into it.
    SetAside = 3,
    /// Stopped early, position saved: run the same command again.
    Early = 4,
}

/// All of a run that its exit code depends on.
#[derive(Debug)]
pub struct RunReport {
    /// How the run came to its end.
    pub ending: Ending,
    /// What went wrong with the run as a whole, in the order it happened; each was reported.
    pub failures: Vec<Failure>,
    /// Events under whose id the index holds another one, as far as they were compared.
    pub duplicates_differing: u64,
    /// Inputs that this run could not read to their end.
    pub failed_inputs: u64,
    /// What keeps the index from being complete, whichever run met it.
    pub outstanding: Outstanding,
    /// The indices that lack documents that were loaded into them, whichever run met it.
    pub missing: Vec<(String, Missing)>,
}

impl Exit {
    /// Returns the exit code of a run.
    ///
    /// What ended the run comes first, then a stop, then anything else that went wrong (a contradiction in the numbers,
    /// a summary that cannot be written), then what is missing from the index.
    pub fn of(report: &RunReport) -> Self {
        match (report.ending, report.failures.first()) {
            (Ending::Stopped, _) => Self::Early,
            (_, Some(failure)) => failure.exit,
            (Ending::Failed, None) => Self::Person,
            (Ending::Done | Ending::DryRun, None) if report.is_complete() => Self::Done,
            (Ending::Done | Ending::DryRun, None) => Self::SetAside,
        }
    }

    /// Returns the code as a number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl RunReport {
    fn is_complete(&self) -> bool {
        // What is accepted was told, and may stay out.
        let Outstanding { set_aside, accepted: _ } = self.outstanding;
        self.duplicates_differing == 0
            && self.failed_inputs == 0
            && set_aside == 0
            && self.missing.is_empty()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::indices::Why, event::IndexIdentity};

    fn report(ending: Ending, failures: &[Exit]) -> RunReport {
        let failure = |exit: &Exit| Failure { exit: *exit, ..Failure::person("it failed") };
        RunReport {
            ending,
            failures: failures.iter().map(failure).collect(),
            duplicates_differing: 0,
            failed_inputs: 0,
            outstanding: Outstanding::default(),
            missing: Vec::new(),
        }
    }

    fn lost() -> Missing {
        Missing {
            identity: IndexIdentity::default(),
            why: Why::Deleted,
            documents: 1,
            wanted: 1,
            found: 0,
            accepted: None,
        }
    }

    #[test]
    fn exit_codes_are_the_contract() {
        let codes = [Exit::Done, Exit::Person, Exit::Usage, Exit::SetAside, Exit::Early];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_ended_the_run_decides_first() {
        use Ending::{Done, DryRun, Failed, Stopped};
        for (ending, failures, exit) in [
            (Done, &[][..], Exit::Done),
            (DryRun, &[], Exit::Done),
            (Stopped, &[], Exit::Early),
            (Stopped, &[Exit::Person], Exit::Early),
            (Failed, &[Exit::Usage, Exit::Person], Exit::Usage),
            (Failed, &[Exit::Early, Exit::Person], Exit::Early),
            (Done, &[Exit::Person], Exit::Person),
        ] {
            assert_eq!(Exit::of(&report(ending, failures)), exit, "{ending:?} {failures:?}");
        }
    }

    #[test]
    fn whatever_is_missing_from_the_index_is_exit_3() {
        let done = || report(Ending::Done, &[]);
        let outstanding = Outstanding { set_aside: 1, accepted: 1 };
        for missing in [
            RunReport { failed_inputs: 1, ..done() },
            RunReport { duplicates_differing: 1, ..done() },
            RunReport { outstanding, ..done() },
            RunReport { missing: vec![("ct-2024.06".to_owned(), lost())], ..done() },
        ] {
            assert_eq!(Exit::of(&missing), Exit::SetAside, "{missing:?}");
        }
        let failed = RunReport { outstanding, ..report(Ending::Failed, &[Exit::Person]) };
        assert_eq!(Exit::of(&failed), Exit::Person);
        let outstanding = Outstanding { set_aside: 0, accepted: 7 };
        assert_eq!(Exit::of(&RunReport { outstanding, ..done() }), Exit::Done, "all is accepted");
    }
}
