//! `trailload search`: finds events in any source and prints or summarizes them.
//!
//! Input: arguments, environment, clock. Output: events or a summary on standard output; messages, hints and the last
//! line on standard error; the exit code.
//! Invariant: the whole command line is checked before anything is read or requested.
//!
//! | file | responsibility |
//! |---|---|
//! | `presets` | names for sets of conditions |
//! | `plan` | arguments to a checked plan |
//! | `run` | opens the sources, runs the search, reports its end |
//! | `explain` | how the search would run |
//! | `reports` | prints policies and traces |
//! | `hints` | warnings where a search may find less than expected |

mod explain;
mod hints;
mod plan;
mod presets;
mod reports;
mod run;

use jiff::Timestamp;

use super::{
    args::search::SearchArgs, environment::Environment, exit::Exit, failure::Failure, print,
};
use crate::report::Log;

/// The width of lists without a terminal.
const DEFAULT_COLUMNS: usize = 100;

/// Runs `trailload search`.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the arguments are invalid.
pub(super) fn run(
    args: &SearchArgs,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    if args.presets {
        print(&presets::list(environment.output.columns.unwrap_or(DEFAULT_COLUMNS)))?;
        return Ok(Exit::Success);
    }
    let plan = args.plan(environment, now)?;
    hints::before_search(&plan, log);
    if args.result.explain {
        explain::run(&plan, log)?;
        return Ok(Exit::Success);
    }
    Ok(run::execute(&plan, log))
}
