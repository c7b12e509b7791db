//! Limits the requests in flight by additive increase and multiplicative decrease (AIMD).
//!
//! Input: successful and throttled responses. Output: permits to send a request.
//! Invariant: a burst of throttled responses halves the limit once. Responses to requests that started before the last
//! decrease are ignored, however late they arrive.
//! Deliberately absent: which responses count as throttled, and the wait before a retry (see `backoff`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// An AIMD limiter: the limit grows by one after a series of successes, and is halved when the service throttles.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    permits: Semaphore,
    max_limit: usize,
    /// Successes per permitted request before the limit grows by one.
    successes_to_grow: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current_limit: usize,
    /// Successes since the limit last changed.
    successes: usize,
    /// Permits to remove when they are returned, because they were in use when the limit decreased.
    permits_to_forget: usize,
    /// Number of decreases so far.
    throttle_epoch: u64,
}

/// Permission for one request in flight; returned when dropped.
#[derive(Debug)]
pub struct ConcurrencyPermit<'a> {
    limiter: &'a ConcurrencyLimiter,
    permit: Option<SemaphorePermit<'a>>,
    throttle_epoch: u64,
}

impl ConcurrencyLimiter {
    /// Returns a limiter that starts at `initial` and grows to `max`, each at least 1: by one after
    /// `successes_to_grow` successes per permitted request.
    pub fn new(initial: usize, max: usize, successes_to_grow: usize) -> Self {
        let max_limit = max.max(1);
        let current_limit = initial.clamp(1, max_limit);
        let state = State { current_limit, successes: 0, permits_to_forget: 0, throttle_epoch: 0 };
        Self {
            permits: Semaphore::new(current_limit),
            max_limit,
            successes_to_grow,
            state: Mutex::new(state),
        }
    }

    /// Waits for a permit.
    pub async fn acquire(&self) -> ConcurrencyPermit<'_> {
        // The semaphore is never closed; without a permit the request would only exceed the limit.
        let permit = self.permits.acquire().await.ok();
        ConcurrencyPermit { limiter: self, permit, throttle_epoch: self.state().throttle_epoch }
    }

    /// Records a successful response.
    pub fn on_success(&self) {
        let mut state = self.state();
        if state.current_limit == self.max_limit {
            return;
        }
        state.successes += 1;
        if state.successes < self.successes_to_grow * state.current_limit {
            return;
        }
        state.successes = 0;
        state.current_limit += 1;
        if state.permits_to_forget > 0 {
            state.permits_to_forget -= 1;
        } else {
            self.permits.add_permits(1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConcurrencyPermit<'_> {
    /// Records a throttled response to this request.
    pub fn on_throttled(&self) {
        let mut state = self.limiter.state();
        state.successes = 0;
        if self.throttle_epoch != state.throttle_epoch {
            return;
        }
        state.throttle_epoch += 1;
        let decrease = state.current_limit / 2;
        state.current_limit -= decrease;
        state.permits_to_forget += decrease - self.limiter.permits.forget_permits(decrease);
    }
}

impl Drop for ConcurrencyPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        if state.permits_to_forget > 0
            && let Some(permit) = self.permit.take()
        {
            state.permits_to_forget -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the limit and the number of free permits.
    fn limits(limiter: &ConcurrencyLimiter) -> (usize, usize) {
        (limiter.state().current_limit, limiter.permits.available_permits())
    }

    fn succeed(limiter: &ConcurrencyLimiter, times: usize) {
        (0..times).for_each(|_| limiter.on_success());
    }

    async fn acquire(limiter: &ConcurrencyLimiter, times: usize) -> Vec<ConcurrencyPermit<'_>> {
        let mut permits = Vec::new();
        while permits.len() < times {
            permits.push(limiter.acquire().await);
        }
        permits
    }

    #[test]
    fn the_limit_grows_slowly_to_its_maximum() {
        let limiter = ConcurrencyLimiter::new(2, 4, 3);
        succeed(&limiter, 3 * 2 - 1);
        assert_eq!(limits(&limiter), (2, 2));
        succeed(&limiter, 1);
        assert_eq!(limits(&limiter), (3, 3));
        succeed(&limiter, 100);
        assert_eq!(limits(&limiter), (4, 4));
        assert_eq!(limits(&ConcurrencyLimiter::new(2, 0, 3)), (1, 1), "at least one");
        assert_eq!(limits(&ConcurrencyLimiter::new(9, 4, 3)), (4, 4));
    }

    #[tokio::test]
    async fn a_burst_of_throttling_halves_the_limit_once_and_successes_restore_it() {
        let limiter = ConcurrencyLimiter::new(8, 8, 4);
        let in_flight = acquire(&limiter, 3).await;
        in_flight.iter().for_each(ConcurrencyPermit::on_throttled);
        assert_eq!(limits(&limiter), (4, 1));
        let later = limiter.acquire().await;
        drop(in_flight);
        later.on_throttled();
        assert_eq!(limits(&limiter), (2, 1), "the next burst counts");
        drop(later);
        succeed(&limiter, 4 * (2 + 3 + 4 + 5 + 6 + 7));
        assert_eq!(limits(&limiter), (8, 8));
    }

    #[tokio::test]
    async fn permits_in_use_are_removed_when_returned_and_one_always_remains() {
        let limiter = ConcurrencyLimiter::new(4, 4, 2);
        let first = acquire(&limiter, 4).await;
        first[0].on_throttled();
        assert_eq!((limits(&limiter), limiter.state().permits_to_forget), ((2, 0), 2));
        drop(first);
        for _ in 0..5 {
            limiter.acquire().await.on_throttled();
        }
        let held = limiter.acquire().await;
        assert_eq!(limits(&limiter), (1, 0), "only one at a time now");
        drop(held);
        assert_eq!(limits(&limiter), (1, 1));
    }

    #[tokio::test]
    async fn successes_cancel_permits_that_are_still_to_be_removed() {
        let limiter = ConcurrencyLimiter::new(4, 4, 1);
        let in_flight = acquire(&limiter, 4).await;
        in_flight[0].on_throttled();
        succeed(&limiter, 2 + 3);
        assert_eq!((limits(&limiter), limiter.state().permits_to_forget), ((4, 0), 0));
        drop(in_flight);
        assert_eq!(limits(&limiter), (4, 4));
    }
}
