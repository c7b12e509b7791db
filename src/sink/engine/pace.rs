//! How many bulk requests are under way at once: additive increase, multiplicative decrease.
//!
//! More requests than the engine has cores gain nothing (measured), too many make it refuse. So the
//! limit starts low, grows by one after a round of good answers, and halves when the engine says stop.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests under way at first: one being answered while the next is being sent.
const START: u32 = 2;

/// Limits how many requests are under way.
#[derive(Debug)]
pub(super) struct Pace {
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: u32,
    most: u32,
    /// Good answers since the limit last changed.
    good: u32,
    /// Permits to swallow when they come back, because the limit fell while they were out.
    owed: u32,
    /// Grows with each cut, so that the failures of one round cut once.
    round: u64,
}

/// The right to have one request under way.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pace: &'a Pace,
    permit: Option<SemaphorePermit<'a>>,
    round: u64,
}

impl Pace {
    /// Starts with a few requests and allows `most` in the end.
    pub(super) fn new(most: u32) -> Self {
        let most = most.max(1);
        let limit = START.min(most);
        Self {
            permits: Semaphore::new(limit as usize),
            state: Mutex::new(State { limit, most, good: 0, owed: 0, round: 0 }),
        }
    }

    /// Waits until another request may start.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // The semaphore is never closed; without a permit we would only be a little too fast.
        let permit = self.permits.acquire().await.ok();
        Turn { pace: self, permit, round: self.state().round }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn limit(&self) -> u32 {
        self.state().limit
    }
}

impl Turn<'_> {
    /// Notes a good answer; after as many as are under way at once, one more is allowed.
    pub(super) fn went_well(self) {
        let mut state = self.pace.state();
        state.good += 1;
        if state.good < state.limit * 2 || state.limit == state.most {
            return;
        }
        state.good = 0;
        state.limit += 1;
        if state.owed > 0 {
            state.owed -= 1;
        } else {
            self.pace.permits.add_permits(1);
        }
    }

    /// Notes that the engine has too much to do: halves the limit, once for all requests of a round.
    pub(super) fn was_too_much(self) {
        let mut state = self.pace.state();
        if self.round != state.round {
            return;
        }
        let limit = (state.limit / 2).max(1);
        let fewer = state.limit - limit;
        let idle = self.pace.permits.forget_permits(fewer as usize);
        state.owed += fewer.saturating_sub(u32::try_from(idle).unwrap_or(fewer));
        state.limit = limit;
        state.good = 0;
        state.round += 1;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn grows_slowly_to_its_maximum() {
        let pace = Pace::new(4);
        for _ in 0..100 {
            pace.turn().await.went_well();
        }
        assert_eq!(pace.limit(), 4);
        assert_eq!(pace.permits.available_permits(), 4);
    }

    #[tokio::test]
    async fn halves_once_a_round_and_never_below_one() {
        let pace = Pace::new(8);
        while pace.limit() < 8 {
            pace.turn().await.went_well();
        }
        let (one, two) = (pace.turn().await, pace.turn().await);
        one.was_too_much();
        two.was_too_much();
        assert_eq!(pace.limit(), 4);
        for _ in 0..10 {
            pace.turn().await.was_too_much();
        }
        assert_eq!(pace.limit(), 1);
        let held = pace.turn().await;
        assert_eq!(pace.permits.available_permits(), 0, "only one at a time now");
        drop(held);
        for _ in 0..100 {
            pace.turn().await.went_well();
        }
        assert_eq!(pace.permits.available_permits(), 8, "and it recovers");
    }
}
