//! `trailload dashboards`: the dashboards as files that Kibana and OpenSearch Dashboards import, or as one page that shows them.
//!
//! Input: the prefix of the indices; for a page, an engine or sources of events. Output: saved objects on standard output, one a
//! line; or an HTML page.
//! Invariant: the whole command line is checked before anything is read or requested. `--print` sends no request, and prints
//! the same bytes for the same arguments. A page is written as a whole, or not at all.
//!
//! | file | responsibility |
//! |---|---|
//! | `plan` | arguments to a checked plan |
//! | `filling` | what the ways to fill a page have in common |
//! | `sources` | fills a page from files, buckets and the event history |
//! | `engine` | fills a page from the indices of an engine |
//! | `notes` | what a reader has to know about the numbers |
//! | `target` | where a page is written to |
//! | `run` | runs a plan: reads, writes the page, reports the end |

mod engine;
mod filling;
mod notes;
mod plan;
mod run;
mod sources;
mod target;

use std::{ffi::OsString, path::PathBuf};

use jiff::Timestamp;

use self::plan::PagePlan;
use super::{
    args::{
        aws::{AccessArgs, BucketArgs},
        engine::ConnectionArgs,
        given::GivenOptions,
        time::{Age, SearchTime},
    },
    environment::Environment,
    exit::Exit,
    failure::Failure,
};
use crate::{
    dashboard::{Dashboards, lens_objects, saved_objects, to_ndjson},
    report::Log,
};

/// The end of `trailload dashboards --help`.
const AFTER_HELP: &str = "\
With --html, the page needs no engine, no network and no script: it can be mailed, printed and kept.
From files, it shows the same numbers as an engine that they were loaded into.
With --print, import the file under Management > Saved objects > Import, in Kibana and in OpenSearch
Dashboards. An import may be repeated: it replaces the dashboards of the one before.

Examples:
  Show an account without any engine, from the files of its trail
    trailload dashboards --html report.html --from trail/
  The last 30 days from the bucket of a trail, and from the event history of the account
    trailload dashboards --html report.html --from s3://my-trail --last 30d
    trailload dashboards --html report.html --from lookup
  What the indices of an engine contain
    trailload dashboards --html report.html --into http://localhost:9200
  Write the dashboards to a file for import
    trailload dashboards --print > dashboards.ndjson
  The same for indices that a load with --index acme has written
    trailload dashboards --print --index acme > acme.ndjson
  Dashboards with panels of Lens, for Kibana 9
    trailload dashboards --print --lens > lens.ndjson

Exit codes:
  0  written
  1  action required: fix the credentials, permissions, address or folder named in the error
  2  invalid command line
  3  written, but some input or panel is not complete; the page names it
  4  stopped by a signal, or the engine did not respond; no page is written
  5  written, but there are no events";

/// Heading of the options about a page.
const PAGE: &str = "Options of --html";

/// The arguments of `trailload dashboards`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DashboardsArgs {
    /// Write the dashboards and what they show to this file, as one HTML page; '-' for standard output
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    html: Option<PathBuf>,
    /// Print the saved objects, which Kibana and OpenSearch Dashboards import
    #[arg(long)]
    print: bool,
    /// Print dashboards with panels of Lens, which only Kibana has
    #[arg(long, requires = "print")]
    lens: bool,
    /// Count the events in files, folders, s3:// addresses, 'lookup' (the event history) or '-' (standard input), instead of those
    /// in an engine; several are counted together (can be repeated)
    #[arg(long, value_name = "SOURCE", num_args = 1.., help_heading = PAGE)]
    from: Vec<OsString>,
    /// Count only events at or after this time: '2024-06-01 14:00:12', 2024-06-01, today, yesterday, now-2h, or an age such as
    /// 7d; UTC unless a zone is given [default: all there are]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = PAGE)]
    since: Option<SearchTime>,
    /// Count only events before this time [default: all there are]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = PAGE)]
    to: Option<SearchTime>,
    /// Count only events of this age or newer, such as 12h or 90d
    #[arg(long, value_name = "AGE", conflicts_with = "since", help_heading = PAGE)]
    last: Option<Age>,
    /// The engine, and the prefix of its indices.
    #[command(flatten)]
    engine: ConnectionArgs,
    /// How AWS is accessed.
    #[command(flatten)]
    access: AccessArgs,
    /// What is read from trail buckets.
    #[command(flatten)]
    buckets: BucketArgs,
}

impl DashboardsArgs {
    /// Returns whether a page is filled from sources, and not from an engine.
    fn reads_sources(&self) -> bool {
        !self.from.is_empty() || !self.buckets.trail.is_empty()
    }
}

/// Rejects options that have no effect with `--print`.
fn check_print(given: &GivenOptions) -> Result<(), Failure> {
    let has_effect = |option: &str| matches!(option, "--print" | "--lens" | "--index");
    match given.iter().find(|option| !has_effect(option)) {
        None => Ok(()),
        Some(option) => Err(Failure::usage(format!("'{option}' has no effect with '--print'"))
            .hint("use --html FILE for a page with the numbers of events")),
    }
}

/// Runs `trailload dashboards`.
///
/// # Errors
///
/// Returns a [`Failure`] if the arguments are invalid, or if nothing can be written.
pub(super) fn run(
    args: &DashboardsArgs,
    given: &GivenOptions,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    let dashboards =
        Dashboards::shared().map_err(|error| Failure::from_error(Exit::ActionRequired, error))?;
    if args.print {
        check_print(given)?;
        return print_objects(args, dashboards).map(|()| Exit::Success);
    }
    let Some(path) = &args.html else {
        return Err(Failure::usage("neither '--html' nor '--print' is given").hint(
            "--html report.html --from trail/ writes a page from files, --html report.html --into URL from an engine; \
             --print prints the dashboards for import",
        ));
    };
    let plan = PagePlan::new(args, path, environment, now)?;
    run::execute(&plan, dashboards, log)
}

fn print_objects(args: &DashboardsArgs, dashboards: &Dashboards) -> Result<(), Failure> {
    let prefix = args.engine.index.as_str();
    let objects = if args.lens {
        lens_objects(dashboards, prefix)
    } else {
        saved_objects(dashboards, prefix)
    };
    super::print(&to_ndjson(&objects))
}
