//! The corridor: from the lanes of a source to a ledger that knows what is safe.
//!
//! ```text
//!  lister ──Work──▶ workers ──Product──▶ corridor ──Batch──▶ sink
//!  (thread)         (threads)            (tokio)  ◀─Receipt─┘
//!                                            └──Note──▶ ledger and store (thread)
//! ```
//!
//! One way, and bounded: a slow engine holds the corridor up, the corridor the workers, the workers the
//! lister. It ends in the same order: no more work, no more products, the last receipts, the last notes.

mod gate;
mod notebook;
mod pack;
mod paged;
mod pipe;
mod retry;
mod run;
#[cfg(test)]
mod tests;
mod worker;

pub use run::{Error, Finished, KeptOut, Load, Outcome, READING_BYTES, least_memory, load, survey};
pub use worker::Survey;
