//! What the user sees while a run works, and the numbers that must add up at its end.

pub mod log;
pub mod tally;
pub use log::Log;
pub use tally::Tally;
