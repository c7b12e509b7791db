//! How many requests are under way at once, and how long to wait before the next try.
//!
//! Holds: a service that says "slow down" is asked by half as many at once, and by one more again only after
//! a row of good answers; the waits are random, so that lanes that failed together do not come back together.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Good answers, for each that may be under way, before one more is allowed.
const GOOD_ROW: usize = 4;

/// One storm counts once: complaints that come this soon after another are about the same requests.
const SAME_STORM: Duration = Duration::from_millis(200);

/// The first wait is this long on average; each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// No wait is longer: S3 splits its partitions within minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Lets so many through at once, and fewer when told.
#[derive(Debug)]
pub(super) struct Pace {
    slots: Semaphore,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many may be under way.
    width: usize,
    /// Slots that are to be taken out as soon as they are free.
    owed: usize,
    good: usize,
    slowed: Option<Instant>,
}

/// One request that is under way.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    pace: &'a Pace,
    permit: Option<SemaphorePermit<'a>>,
}

impl Pace {
    /// Allows `most` at once, at first and at most.
    pub(super) fn new(most: usize) -> Self {
        let state = State { width: most, owed: 0, good: 0, slowed: None };
        Self { slots: Semaphore::new(most), most, state: Mutex::new(state) }
    }

    /// Waits until one more may be under way.
    pub(super) async fn enter(&self) -> Slot<'_> {
        // Nobody closes it.
        Slot { pace: self, permit: self.slots.acquire().await.ok() }
    }

    /// Takes in a good answer.
    pub(super) fn good(&self) {
        let mut state = self.state();
        if state.width == self.most {
            return;
        }
        state.good += 1;
        if state.good < GOOD_ROW * state.width {
            return;
        }
        state.good = 0;
        state.width += 1;
        if state.owed > 0 {
            state.owed -= 1;
        } else {
            self.slots.add_permits(1);
        }
    }

    /// Takes in a wish to be asked less.
    fn slower(&self, now: Instant) {
        let mut state = self.state();
        state.good = 0;
        if state.slowed.is_some_and(|before| now.duration_since(before) < SAME_STORM) {
            return;
        }
        state.slowed = Some(now);
        let fewer = state.width / 2;
        state.width -= fewer;
        state.owed += fewer - self.slots.forget_permits(fewer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// Takes in a wish to be asked less.
    pub(super) fn slower(&self, now: Instant) {
        self.pace.slower(now);
    }
}

impl Drop for Slot<'_> {
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

/// Waits before try number `tries`, counted from 1.
pub(super) async fn wait(tries: u32) {
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tries)).min(LONGEST_WAIT);
    sleep(longest.mul_f64(fastrand::f64())).await;
}

#[expect(clippy::disallowed_methods, reason = "the one place where buckets are waited for")]
async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many may enter now.
    fn free(pace: &Pace) -> usize {
        pace.slots.available_permits()
    }

    #[tokio::test]
    async fn a_storm_halves_what_is_under_way_and_good_answers_bring_it_back() {
        let pace = Pace::new(8);
        let start = Instant::now();
        let under_way: Vec<_> =
            [pace.enter().await, pace.enter().await, pace.enter().await].into_iter().collect();
        pace.slower(start);
        pace.slower(start + SAME_STORM / 2);
        assert_eq!((pace.state().width, free(&pace)), (4, 1));
        drop(under_way);
        assert_eq!(free(&pace), 4);
        for _ in 0..GOOD_ROW * (4 + 5 + 6 + 7) {
            pace.good();
        }
        assert_eq!((pace.state().width, free(&pace)), (8, 8));
    }

    #[tokio::test]
    async fn slots_in_use_are_taken_out_when_they_are_given_back_and_one_always_stays() {
        let pace = Pace::new(4);
        let mut under_way = Vec::new();
        for _ in 0..4 {
            under_way.push(pace.enter().await);
        }
        let start = Instant::now();
        for storm in 0..5 {
            pace.slower(start + storm * SAME_STORM);
        }
        let (width, owed) = {
            let state = pace.state();
            (state.width, state.owed)
        };
        assert_eq!((width, owed, free(&pace)), (1, 3, 0));
        drop(under_way);
        assert_eq!(free(&pace), 1);
    }
}
