//! Limits: requests in flight, requests per second, the wait before a retry, and memory.
//!
//! | file | limits |
//! |---|---|
//! | [`concurrency`] | requests in flight, by additive increase and multiplicative decrease |
//! | [`rate`] | requests per second, within a quota that others use as well |
//! | [`backoff`] | the wait before a retry |
//! | [`memory`], [`decoder`] | the bytes that each stage of a run may hold, and a decoder in particular |
//!
//! Deliberately absent: what counts as throttled (see `aws::error_kind` and `sink::engine::bulk_response`).

pub mod backoff;
pub mod concurrency;
pub mod decoder;
pub mod memory;
pub mod rate;

pub use backoff::Backoff;
pub use concurrency::{ConcurrencyLimiter, ConcurrencyPermit};
pub use decoder::DecoderLimits;
pub use memory::MemoryBudget;
pub use rate::RateLimiter;
