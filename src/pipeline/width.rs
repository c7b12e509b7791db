//! How many requests are under way at once: one more after a row of good answers, half as many when a service
//! says that it has too much to do.
//!
//! Holds: the complaints of one storm count once. Requests that began before the last cut know nothing of it, so what
//! they say is about the same storm, however late it comes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Lets so many through at once.
#[derive(Debug)]
pub struct Width {
    slots: Semaphore,
    most: usize,
    /// Good answers, for each that may be under way, before one more is allowed.
    row: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: usize,
    /// Good answers since that last changed.
    good: usize,
    /// Slots to take out when they come back, because they were in use when there had to be fewer.
    owed: usize,
    /// Grows with each cut.
    storm: u64,
}

/// One request that is under way, until this is dropped.
#[derive(Debug)]
pub struct Slot<'a> {
    width: &'a Width,
    permit: Option<SemaphorePermit<'a>>,
    storm: u64,
}

impl Width {
    /// Allows `first` at once, and `most` in the end: one more after `row` good answers for each.
    pub fn new(first: usize, most: usize, row: usize) -> Self {
        let most = most.max(1);
        let now = first.clamp(1, most);
        let state = State { now, good: 0, owed: 0, storm: 0 };
        Self { slots: Semaphore::new(now), most, row, state: Mutex::new(state) }
    }

    /// Waits until one more may be under way.
    pub async fn enter(&self) -> Slot<'_> {
        // Nobody closes it; without a permit we would only be a little too fast.
        let permit = self.slots.acquire().await.ok();
        Slot { width: self, permit, storm: self.state().storm }
    }

    /// Takes in a good answer.
    pub fn went_well(&self) {
        let mut state = self.state();
        if state.now == self.most {
            return;
        }
        state.good += 1;
        if state.good < self.row * state.now {
            return;
        }
        state.good = 0;
        state.now += 1;
        if state.owed > 0 {
            state.owed -= 1;
        } else {
            self.slots.add_permits(1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// Takes in that the service has too much to do.
    pub fn was_too_much(&self) {
        let mut state = self.width.state();
        state.good = 0;
        if self.storm != state.storm {
            return;
        }
        state.storm += 1;
        let fewer = state.now / 2;
        state.now -= fewer;
        state.owed += fewer - self.width.slots.forget_permits(fewer);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.width.state();
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

    /// Returns how many may be under way in all, and how many more may enter now.
    fn of(width: &Width) -> (usize, usize) {
        (width.state().now, width.slots.available_permits())
    }

    fn went_well(width: &Width, times: usize) {
        (0..times).for_each(|_| width.went_well());
    }

    async fn enter(width: &Width, times: usize) -> Vec<Slot<'_>> {
        let mut slots = Vec::new();
        while slots.len() < times {
            slots.push(width.enter().await);
        }
        slots
    }

    #[test]
    fn grows_slowly_to_its_most() {
        let width = Width::new(2, 4, 3);
        went_well(&width, 3 * 2 - 1);
        assert_eq!(of(&width), (2, 2));
        went_well(&width, 1);
        assert_eq!(of(&width), (3, 3));
        went_well(&width, 100);
        assert_eq!(of(&width), (4, 4));
        assert_eq!(of(&Width::new(2, 0, 3)), (1, 1), "at least one");
        assert_eq!(of(&Width::new(9, 4, 3)), (4, 4));
    }

    #[tokio::test]
    async fn a_storm_halves_what_is_under_way_once_and_good_answers_bring_it_back() {
        let width = Width::new(8, 8, 4);
        let under_way = enter(&width, 3).await;
        under_way.iter().for_each(Slot::was_too_much);
        assert_eq!(of(&width), (4, 1));
        let later = width.enter().await;
        drop(under_way);
        later.was_too_much();
        assert_eq!(of(&width), (2, 1), "the next storm counts");
        drop(later);
        went_well(&width, 4 * (2 + 3 + 4 + 5 + 6 + 7));
        assert_eq!(of(&width), (8, 8));
    }

    #[tokio::test]
    async fn slots_in_use_are_taken_out_when_they_come_back_and_one_always_stays() {
        let width = Width::new(4, 4, 2);
        let first = enter(&width, 4).await;
        first[0].was_too_much();
        assert_eq!((of(&width), width.state().owed), ((2, 0), 2));
        drop(first);
        for _ in 0..5 {
            width.enter().await.was_too_much();
        }
        let held = width.enter().await;
        assert_eq!(of(&width), (1, 0), "only one at a time now");
        drop(held);
        assert_eq!(of(&width), (1, 1));
    }

    #[tokio::test]
    async fn what_is_owed_is_let_off_when_good_answers_come_first() {
        let width = Width::new(4, 4, 1);
        let under_way = enter(&width, 4).await;
        under_way[0].was_too_much();
        went_well(&width, 2 + 3);
        assert_eq!((of(&width), width.state().owed), ((4, 0), 0));
        drop(under_way);
        assert_eq!(of(&width), (4, 4));
    }
}
