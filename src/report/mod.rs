//! What the user sees while a run works, and the numbers that must add up at its end.
//!
//! In: the counters of a [`Tally`], lines from everyone through [`Log`]. Out: standard error, and
//! the JSON file of a [`Summary`].
//! Holds: one thread draws, one lock writes, so that no line tears a progress bar apart.
//! Absent on purpose: standard output (it is for data) and the clock (`cli` passes it down).

pub mod bar;
pub mod figures;
pub mod lines;
pub mod log;
pub mod lookup_progress;
pub mod rate;
pub mod regions;
pub mod reporter;
pub mod summary;
pub mod tally;
pub mod terminal;
pub mod waits;
pub use log::Log;
pub use lookup_progress::{LookupProgress, RegionFigures, RegionProgress, RegionStage};
pub use reporter::Reporter;
pub use summary::Summary;
pub use tally::Tally;
pub use terminal::Terminal;
pub use waits::WaitTeller;
