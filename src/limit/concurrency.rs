//! How many requests are under way at once: one more after a row of good answers, half as many when a service
//! says that it has too much to do.
//!
//! Holds: the complaints of one storm count once. Requests that began before the last cut know nothing of it, so what
//! they say is about the same storm, however late it comes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Lets so many through at once.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    permits: Semaphore,
    max_limit: usize,
    /// Good answers, for each that may be under way, before one more is allowed.
    successes_to_grow: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current_limit: usize,
    /// Good answers since that last changed.
    successes: usize,
    /// Slots to take out when they come back, because they were in use when there had to be fewer.
    permits_to_forget: usize,
    /// Grows with each cut.
    throttle_epoch: u64,
}

/// One request that is under way, until this is dropped.
#[derive(Debug)]
pub struct ConcurrencyPermit<'a> {
    limiter: &'a ConcurrencyLimiter,
    permit: Option<SemaphorePermit<'a>>,
    throttle_epoch: u64,
}

impl ConcurrencyLimiter {
    /// Allows `first` at once, and `most` in the end: one more after `row` good answers for each.
    pub fn new(first: usize, most: usize, row: usize) -> Self {
        let most = most.max(1);
        let now = first.clamp(1, most);
        let state =
            State { current_limit: now, successes: 0, permits_to_forget: 0, throttle_epoch: 0 };
        Self {
            permits: Semaphore::new(now),
            max_limit: most,
            successes_to_grow: row,
            state: Mutex::new(state),
        }
    }

    /// Waits until one more may be under way.
    pub async fn acquire(&self) -> ConcurrencyPermit<'_> {
        // Nobody closes it; without a permit we would only be a little too fast.
        let permit = self.permits.acquire().await.ok();
        ConcurrencyPermit { limiter: self, permit, throttle_epoch: self.state().throttle_epoch }
    }

    /// Takes in a good answer.
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
    /// Takes in that the service has too much to do.
    pub fn on_throttled(&self) {
        let mut state = self.limiter.state();
        state.successes = 0;
        if self.throttle_epoch != state.throttle_epoch {
            return;
        }
        state.throttle_epoch += 1;
        let fewer = state.current_limit / 2;
        state.current_limit -= fewer;
        state.permits_to_forget += fewer - self.limiter.permits.forget_permits(fewer);
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

    /// Returns how many may be under way in all, and how many more may enter now.
    fn of(width: &ConcurrencyLimiter) -> (usize, usize) {
        (width.state().current_limit, width.permits.available_permits())
    }

    fn went_well(width: &ConcurrencyLimiter, times: usize) {
        (0..times).for_each(|_| width.on_success());
    }

    async fn enter(width: &ConcurrencyLimiter, times: usize) -> Vec<ConcurrencyPermit<'_>> {
        let mut slots = Vec::new();
        while slots.len() < times {
            slots.push(width.acquire().await);
        }
        slots
    }

    #[test]
    fn grows_slowly_to_its_most() {
        let width = ConcurrencyLimiter::new(2, 4, 3);
        went_well(&width, 3 * 2 - 1);
        assert_eq!(of(&width), (2, 2));
        went_well(&width, 1);
        assert_eq!(of(&width), (3, 3));
        went_well(&width, 100);
        assert_eq!(of(&width), (4, 4));
        assert_eq!(of(&ConcurrencyLimiter::new(2, 0, 3)), (1, 1), "at least one");
        assert_eq!(of(&ConcurrencyLimiter::new(9, 4, 3)), (4, 4));
    }

    #[tokio::test]
    async fn a_storm_halves_what_is_under_way_once_and_good_answers_bring_it_back() {
        let width = ConcurrencyLimiter::new(8, 8, 4);
        let under_way = enter(&width, 3).await;
        under_way.iter().for_each(ConcurrencyPermit::on_throttled);
        assert_eq!(of(&width), (4, 1));
        let later = width.acquire().await;
        drop(under_way);
        later.on_throttled();
        assert_eq!(of(&width), (2, 1), "the next storm counts");
        drop(later);
        went_well(&width, 4 * (2 + 3 + 4 + 5 + 6 + 7));
        assert_eq!(of(&width), (8, 8));
    }

    #[tokio::test]
    async fn slots_in_use_are_taken_out_when_they_come_back_and_one_always_stays() {
        let width = ConcurrencyLimiter::new(4, 4, 2);
        let first = enter(&width, 4).await;
        first[0].on_throttled();
        assert_eq!((of(&width), width.state().permits_to_forget), ((2, 0), 2));
        drop(first);
        for _ in 0..5 {
            width.acquire().await.on_throttled();
        }
        let held = width.acquire().await;
        assert_eq!(of(&width), (1, 0), "only one at a time now");
        drop(held);
        assert_eq!(of(&width), (1, 1));
    }

    #[tokio::test]
    async fn what_is_owed_is_let_off_when_good_answers_come_first() {
        let width = ConcurrencyLimiter::new(4, 4, 1);
        let under_way = enter(&width, 4).await;
        under_way[0].on_throttled();
        went_well(&width, 2 + 3);
        assert_eq!((of(&width), width.state().permits_to_forget), ((4, 0), 0));
        drop(under_way);
        assert_eq!(of(&width), (4, 4));
    }
}
