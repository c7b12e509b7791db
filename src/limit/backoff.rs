//! Exponential backoff with full jitter.
//!
//! Full jitter spreads many clients best (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015); a lower
//! bound keeps a retry from following at once.

use std::time::Duration;

/// Smallest share of the upper bound that a wait lasts, so that no retry follows at once.
const MIN_SHARE: f64 = 0.05;

/// Doublings after which the upper bound no longer grows, so that it cannot overflow.
const MAX_DOUBLINGS: u32 = 16;

/// The waits between the attempts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait; it doubles with each further attempt.
    pub initial: Duration,
    /// Largest upper bound.
    pub max: Duration,
}

impl Backoff {
    /// Returns a random wait before retry number `attempt`, counted from 1.
    pub fn delay(&self, attempt: u32) -> Duration {
        self.delay_with(attempt, fastrand::f64())
    }

    /// Returns the wait before retry number `attempt`, counted from 1, for a random number from 0 to 1.
    pub fn delay_with(&self, attempt: u32, random: f64) -> Duration {
        self.upper_bound(attempt).mul_f64(random.clamp(MIN_SHARE, 1.0))
    }

    fn upper_bound(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(MAX_DOUBLINGS);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30) };

    #[test]
    fn the_upper_bound_doubles_up_to_the_maximum() {
        let bounds: Vec<_> = [1, 2, 3, 4, 5, 6, 7, 8, 1000, u32::MAX]
            .map(|attempt| BACKOFF.delay_with(attempt, 1.0).as_millis())
            .into();
        assert_eq!(bounds, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn jitter_spreads_over_the_whole_wait_but_never_to_nothing() {
        assert_eq!(BACKOFF.delay_with(2, 0.0), Duration::from_millis(50), "a twentieth at least");
        assert_eq!(BACKOFF.delay_with(2, 0.5), Duration::from_millis(500));
        let mut delays_in_tenth = [0; 11];
        for _ in 0..1000 {
            delays_in_tenth[usize::try_from(BACKOFF.delay(2).as_millis() / 100).unwrap()] += 1;
        }
        assert!(delays_in_tenth[1..10].iter().all(|&delays| delays > 20), "{delays_in_tenth:?}");
    }
}
