//! Limits: requests in flight, requests per second, the wait before a retry, and memory.
//!
//! | file | limits |
//! |---|---|
//! | [`concurrency`] | requests in flight, by additive increase and multiplicative decrease |
//! | [`rate`] | requests per second, within a quota that others use as well |
//! | [`backoff`] | the wait before a retry |
//! | [`memory`] | the bytes that each stage of a run may hold |
//!
//! Deliberately absent: what counts as throttled (see `aws::error_kind` and `sink::engine::reply`).

pub mod backoff;
pub mod concurrency;
pub mod memory;
pub mod rate;

pub use backoff::Backoff;
pub use concurrency::{ConcurrencyLimiter, ConcurrencyPermit};
pub use memory::{DecoderLimits, MemoryBudget};
pub use rate::RateLimiter;
