//! Reporting: log messages, progress and the final summary.
//!
//! Input: the counters of [`Metrics`], and messages through [`Log`]. Output: standard error, and the JSON file of a
//! [`Summary`].
//! Invariant: one thread draws progress and one lock serializes all output, so that no message interrupts a progress bar.
//! Deliberately not here: standard output (which is for data) and the clock (which `cli` passes in).

mod follow_lines;
pub mod format;
pub mod log;
pub mod lookup_progress;
pub mod metrics;
mod progress_bars;
mod progress_lines;
mod region_progress;
mod reporter;
pub mod run_record;
pub mod summary;
pub mod terminal;
mod throughput;
mod waits;
pub(crate) mod whole_file;

pub use follow_lines::FollowReporter;
pub use log::Log;
pub use lookup_progress::{LookupProgress, RegionFigures, RegionProgress, RegionStage};
pub use metrics::Metrics;
pub use reporter::Reporter;
pub use summary::Summary;
pub use terminal::Terminal;
pub use waits::WaitReporter;
