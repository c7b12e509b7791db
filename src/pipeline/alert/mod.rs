//! Alerts of a run: matches of rules on their way into the checkpoint, and deliveries on their way out of it.
//!
//! ```text
//!  worker: RuleEvaluator ─▶ Receipt::matches ─▶ CheckpointStore: alerts and deliveries, in the transaction that advances
//!                                               the partitions of the receipt
//!  queue of an action ◀─ CheckpointReader::pending_deliveries (committed ones only)
//!                     ─▶ Receive::deliver ─▶ CheckpointEvent::DeliveriesChanged ─▶ CheckpointStore, committed at once
//! ```
//!
//! Every write goes through the thread of the [`CheckpointStore`](crate::checkpoint::CheckpointStore), on its connection: the store
//! holds the write lock for up to 200 ms at a time, so a second writing connection would wait for it again and again.
//!
//! | file | responsibility |
//! |---|---|
//! | `evaluator` | evaluates rules on records, on worker threads |
//! | `deciding_text` | finds the fields in a record that decide which rules may match |
//! | `projections` | parses only the parts of a record that decide about rules |
//! | `matches` | the memory of matches that wait for the disk |
//! | [`delivery`] | the queues of actions |
//! | `receiver` | the receiver of an action |
//!
//! `watch` has a consumer of its own (see [`watch`](super::watch)); `load --rules` evaluates rules beside the normalizer.

mod deciding_text;
pub mod delivery;
pub(super) mod evaluator;
pub(super) mod matches;
mod projections;
mod receiver;
#[cfg(test)]
mod text_tests;

pub use self::{evaluator::RuleFailures, receiver::AlertReceiver};
