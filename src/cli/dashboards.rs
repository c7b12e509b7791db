//! `trailload dashboards`: prints the dashboards as files that Kibana and OpenSearch Dashboards import.
//!
//! Input: the prefix of the indices. Output: saved objects on standard output, one a line.
//! Invariant: no request is sent; the same arguments print the same bytes.

use super::{args::engine::IndexPrefix, exit::Exit, failure::Failure};
use crate::dashboard::{Dashboards, lens_objects, saved_objects, to_ndjson};

/// The end of `trailload dashboards --help`.
const AFTER_HELP: &str = "\
Import the file under Management > Saved objects > Import, in Kibana and in OpenSearch Dashboards.
An import may be repeated: it replaces the dashboards of the one before.

Examples:
  Write the dashboards to a file
    trailload dashboards --print > dashboards.ndjson
  The same for indices that a load with --index acme has written
    trailload dashboards --print --index acme > acme.ndjson
  Dashboards with panels of Lens, for Kibana 9
    trailload dashboards --print --lens > lens.ndjson";

/// The arguments of `trailload dashboards`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DashboardsArgs {
    /// Print the saved objects, which Kibana and OpenSearch Dashboards import
    #[arg(long, required = true)]
    print: bool,
    /// Print dashboards with panels of Lens, which only Kibana has
    #[arg(long, requires = "print")]
    lens: bool,
    /// First part of the names of the indices
    #[arg(long, value_name = "PREFIX", default_value = "cloudtrail")]
    index: IndexPrefix,
}

/// Runs `trailload dashboards`.
///
/// # Errors
///
/// Returns a [`Failure`] if standard output cannot be written.
pub(super) fn run(args: &DashboardsArgs) -> Result<(), Failure> {
    let dashboards = Dashboards::embedded()
        .map_err(|error| Failure::from_error(Exit::ActionRequired, &error))?;
    let prefix = args.index.as_str();
    let objects = if args.lens {
        lens_objects(&dashboards, prefix)
    } else {
        saved_objects(&dashboards, prefix)
    };
    super::print(&to_ndjson(&objects))
}
