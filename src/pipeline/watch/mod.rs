//! The consumers of `trailload watch`.
//!
//! | file | responsibility |
//! |---|---|
//! | `run`, `consumer` | evaluates rules, records matches, delivers alerts |
//! | `dry_run` | hands over the alerts that would be raised, without a memory |
//! | `context` | what the workers share |

mod consumer;
mod context;
mod dry_run;
mod run;

pub use context::InputReport;
pub use dry_run::{DryRunConfig, DryRunEnd, DryRunError, dry_run};
pub use run::{WatchConfig, WatchEnd, watch};
