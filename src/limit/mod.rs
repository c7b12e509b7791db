//! Limits: how many requests are in flight, how many are sent a second, and how long to wait before a retry.
//!
//! | file | limits |
//! |---|---|
//! | [`concurrency`] | requests in flight, by additive increase and multiplicative decrease |
//! | [`rate`] | requests a second, within a quota that is shared with others |
//! | [`backoff`] | the wait before a retry |
//!
//! Deliberately absent: what counts as throttled (see `aws::trouble` and `sink::engine::reply`).

pub mod backoff;
pub mod concurrency;
pub mod rate;

pub use backoff::Backoff;
pub use concurrency::{ConcurrencyLimiter, ConcurrencyPermit};
pub use rate::RateLimiter;
