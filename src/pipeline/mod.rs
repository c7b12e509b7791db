//! The corridor: from the lanes of a source to a ledger that knows what is safe.

pub mod stop;
pub use stop::Stop;
