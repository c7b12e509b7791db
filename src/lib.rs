//! trailload puts AWS CloudTrail events into Elasticsearch or OpenSearch.
//!
//! # How an event flows
//!
//! ```text
//!  source ──window──▶ normalize ──Batch──▶ sink ──Receipt──▶ checkpoint::Ledger ──▶ checkpoint::Store
//!     └──────────── everyone ──▶ report::Tally ──▶ bars, lines, summary (stderr)
//! ```
//!
//! The modules below stand in the order the event meets them.

pub mod checkpoint;
pub mod cli;
pub mod event;
pub mod normalize;
pub mod pipeline;
pub mod report;
pub mod sink;
pub mod source;
