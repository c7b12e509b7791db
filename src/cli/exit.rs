//! Exit codes, and the only place that decides which one a run ends with.
//!
//! Input: a [`RunReport`], a [`SearchReport`] or a [`WatchReport`]. Output: an [`Exit`], which the checkpoint stores, the summary shows and
//! the process returns.
//! Invariant: the code of a load is 0 only if everything requested is in the index; that of a search only if something
//! was found and everything requested was read.

use std::process::ExitCode;

use crate::{
    checkpoint::{Outstanding, indices::MissingDocuments},
    report::summary::RunEnd,
};

/// The exit codes of the program. Scripts depend on them, so they are part of the command-line interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything requested is in the index, or was found.
    Success = 0,
    /// The user must change something first: credentials, permissions or an address.
    ActionRequired = 1,
    /// The command line is invalid.
    Usage = 2,
    /// Finished, but with dead letters, duplicates that differ, unreadable inputs, or documents missing from an index.
    Incomplete = 3,
    /// Stopped early with the position saved: running the same command again continues.
    StoppedEarly = 4,
    /// A search found nothing.
    NothingFound = 5,
}

/// Everything about a run that its exit code depends on.
#[derive(Debug)]
pub struct RunReport {
    /// How the run ended.
    pub ending: RunEnd,
    /// The exit codes of the failures of the run, in order of occurrence. Each failure was logged.
    pub failures: Vec<Exit>,
    /// Compared duplicates that differ from the document in the index.
    pub duplicates_differing: u64,
    /// Inputs that this run could not read completely.
    pub failed_inputs: u64,
    /// SOURCE arguments under which inputs were read, none of which is CloudTrail.
    pub sources_without_events: u64,
    /// Dead letters of this and earlier runs.
    pub outstanding: Outstanding,
    /// Indices that lack documents that this or earlier runs loaded.
    pub missing: Vec<(String, MissingDocuments)>,
    /// Alerts of this and earlier runs that are not delivered, if rules were evaluated.
    pub undelivered_alerts: u64,
}

/// Everything about a search that its exit code depends on.
#[derive(Clone, Debug)]
pub struct SearchReport {
    /// How the search ended.
    pub ending: SearchEnding,
    /// The exit codes of the failures, in order of occurrence. Each failure was logged.
    pub failures: Vec<Exit>,
    /// Events that were found.
    pub found: u64,
    /// Inputs that could not be read completely.
    pub failed_inputs: u64,
    /// SOURCE arguments under which inputs were read, none of which is CloudTrail.
    pub sources_without_events: u64,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEnding {
    /// Everything was read.
    Complete,
    /// The limit was reached, or the reader closed the output: nothing more was asked for.
    Satisfied,
    /// A signal stopped it.
    Stopped,
    /// A failure ended it.
    Failed,
}

/// Everything about a run of `watch` that its exit code depends on.
#[derive(Clone, Debug, Default)]
pub struct WatchReport {
    /// How the run ended.
    pub ending: WatchEnding,
    /// The exit codes of the failures, in order of occurrence. Each failure was logged.
    pub failures: Vec<Exit>,
    /// Inputs that could not be read or evaluated completely.
    pub failed_inputs: u64,
    /// SOURCE arguments under which inputs were read, none of which is CloudTrail.
    pub sources_without_events: u64,
    /// Alerts of this and earlier runs that are not delivered: pending ones, and dead letters that are not accepted.
    pub undelivered: u64,
}

/// How a run of `watch` ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchEnding {
    /// Everything was read, unless there are failures.
    #[default]
    Complete,
    /// The reader of standard output closed the pipe: nobody asks for more.
    PipeClosed,
    /// A signal stopped it.
    Stopped,
}

impl Exit {
    /// Returns the exit code of a run of `watch`.
    ///
    /// A signal takes precedence, then the first failure, then what could not be read or delivered.
    pub fn of_watch(report: &WatchReport) -> Self {
        match (report.ending, report.failures.first()) {
            (WatchEnding::Stopped, _) => Self::StoppedEarly,
            (_, Some(exit)) => *exit,
            (WatchEnding::Complete, None)
                if report.failed_inputs + report.sources_without_events + report.undelivered
                    > 0 =>
            {
                Self::Incomplete
            }
            (WatchEnding::PipeClosed | WatchEnding::Complete, None) => Self::Success,
        }
    }

    /// Returns the exit code of a search.
    ///
    /// A signal takes precedence, then the first failure, then what could not be read, then whether anything was found.
    pub fn of_search(report: &SearchReport) -> Self {
        match (report.ending, report.failures.first()) {
            (SearchEnding::Stopped, _) => Self::StoppedEarly,
            (_, Some(exit)) => *exit,
            (SearchEnding::Failed, None) => Self::ActionRequired,
            (SearchEnding::Complete, None)
                if report.failed_inputs + report.sources_without_events > 0 =>
            {
                Self::Incomplete
            }
            (SearchEnding::Complete, None) if report.found == 0 => Self::NothingFound,
            (SearchEnding::Satisfied | SearchEnding::Complete, None) => Self::Success,
        }
    }

    /// Returns the exit code of a run.
    ///
    /// A shutdown takes precedence, then the first failure, then whatever is missing from the index.
    pub fn of(report: &RunReport) -> Self {
        match (report.ending, report.failures.first()) {
            (RunEnd::Stopped, _) => Self::StoppedEarly,
            (_, Some(exit)) => *exit,
            (RunEnd::Failed, None) => Self::ActionRequired,
            (RunEnd::Done | RunEnd::DryRun, None) if report.is_complete() => Self::Success,
            (RunEnd::Done | RunEnd::DryRun, None) => Self::Incomplete,
        }
    }

    /// Returns the code as a number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl RunReport {
    fn is_complete(&self) -> bool {
        // Accepted dead letters are meant to stay out of the index.
        let Outstanding { dead_letters, accepted: _ } = self.outstanding;
        self.duplicates_differing == 0
            && self.failed_inputs == 0
            && self.sources_without_events == 0
            && dead_letters == 0
            && self.missing.is_empty()
            && self.undelivered_alerts == 0
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
    use crate::{checkpoint::indices::LossReason, event::IndexIdentity};

    fn report(ending: RunEnd, failures: &[Exit]) -> RunReport {
        RunReport {
            ending,
            failures: failures.to_vec(),
            duplicates_differing: 0,
            failed_inputs: 0,
            sources_without_events: 0,
            outstanding: Outstanding::default(),
            missing: Vec::new(),
            undelivered_alerts: 0,
        }
    }

    fn lost() -> MissingDocuments {
        MissingDocuments {
            identity: IndexIdentity::default(),
            reason: LossReason::Deleted,
            documents: 1,
            expected: 1,
            detected: 0,
            accepted: None,
        }
    }

    #[test]
    fn exit_codes_are_the_contract() {
        let codes = [
            Exit::Success,
            Exit::ActionRequired,
            Exit::Usage,
            Exit::Incomplete,
            Exit::StoppedEarly,
            Exit::NothingFound,
        ];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_search_reports_whether_it_found_anything() {
        use SearchEnding::{Complete, Failed, Satisfied, Stopped};
        let report = |ending, found, failed_inputs| SearchReport {
            ending,
            failures: Vec::new(),
            found,
            failed_inputs,
            sources_without_events: 0,
        };
        for (ending, found, failed_inputs, exit) in [
            (Complete, 1, 0, Exit::Success),
            (Complete, 0, 0, Exit::NothingFound),
            (Complete, 1, 1, Exit::Incomplete),
            (Complete, 0, 1, Exit::Incomplete),
            (Satisfied, 1, 1, Exit::Success),
            (Stopped, 1, 1, Exit::StoppedEarly),
            (Failed, 1, 0, Exit::ActionRequired),
        ] {
            let report = report(ending, found, failed_inputs);
            assert_eq!(Exit::of_search(&report), exit, "{report:?}");
        }
        let usage = SearchReport { failures: vec![Exit::Usage], ..report(Failed, 0, 0) };
        assert_eq!(Exit::of_search(&usage), Exit::Usage);
        let foreign = SearchReport { sources_without_events: 1, ..report(Complete, 0, 0) };
        assert_eq!(Exit::of_search(&foreign), Exit::Incomplete);
    }

    #[test]
    fn watch_reports_what_is_not_read_or_delivered() {
        use WatchEnding::{Complete, PipeClosed, Stopped};
        for (ending, failures, failed_inputs, undelivered, exit) in [
            (Complete, &[][..], 0, 0, Exit::Success),
            (Complete, &[], 1, 0, Exit::Incomplete),
            (Complete, &[], 0, 1, Exit::Incomplete),
            (Complete, &[Exit::ActionRequired], 1, 1, Exit::ActionRequired),
            (PipeClosed, &[], 1, 1, Exit::Success),
            (Stopped, &[Exit::ActionRequired], 1, 1, Exit::StoppedEarly),
        ] {
            let failures = failures.to_vec();
            let report = WatchReport {
                ending,
                failures,
                failed_inputs,
                undelivered,
                ..WatchReport::default()
            };
            assert_eq!(Exit::of_watch(&report), exit, "{report:?}");
        }
    }

    #[test]
    fn what_ended_the_run_decides_first() {
        use RunEnd::{Done, DryRun, Failed, Stopped};
        for (ending, failures, exit) in [
            (Done, &[][..], Exit::Success),
            (DryRun, &[], Exit::Success),
            (Stopped, &[], Exit::StoppedEarly),
            (Stopped, &[Exit::ActionRequired], Exit::StoppedEarly),
            (Failed, &[Exit::Usage, Exit::ActionRequired], Exit::Usage),
            (Failed, &[Exit::StoppedEarly, Exit::ActionRequired], Exit::StoppedEarly),
            (Done, &[Exit::ActionRequired], Exit::ActionRequired),
        ] {
            assert_eq!(Exit::of(&report(ending, failures)), exit, "{ending:?} {failures:?}");
        }
    }

    #[test]
    fn whatever_is_missing_from_the_index_is_exit_3() {
        let done = || report(RunEnd::Done, &[]);
        let outstanding = Outstanding { dead_letters: 1, accepted: 1 };
        for missing in [
            RunReport { failed_inputs: 1, ..done() },
            RunReport { duplicates_differing: 1, ..done() },
            RunReport { outstanding, ..done() },
            RunReport { missing: vec![("ct-2024.06".to_owned(), lost())], ..done() },
            RunReport { sources_without_events: 1, ..done() },
            RunReport { undelivered_alerts: 1, ..done() },
        ] {
            assert_eq!(Exit::of(&missing), Exit::Incomplete, "{missing:?}");
        }
        let failed = RunReport { outstanding, ..report(RunEnd::Failed, &[Exit::ActionRequired]) };
        assert_eq!(Exit::of(&failed), Exit::ActionRequired);
        let outstanding = Outstanding { dead_letters: 0, accepted: 7 };
        assert_eq!(
            Exit::of(&RunReport { outstanding, ..done() }),
            Exit::Success,
            "all is accepted"
        );
    }
}
