//! The time that pacing, rests and time limits go by.
//!
//! In the tests of this room it is turned by hand: a day of requests passes in a second, and always alike.

use tokio::time::Instant;

/// A clock. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    /// The machine's.
    Real,
    /// One that jumps to the next moment that anybody waits for.
    #[cfg(test)]
    Turned(std::sync::Arc<turned::Turned>),
}

impl Clock {
    /// Returns what time it is.
    pub(super) fn now(&self) -> Instant {
        match self {
            Self::Real => Instant::now(),
            #[cfg(test)]
            Self::Turned(turned) => turned.now(),
        }
    }

    /// Waits until then.
    pub(super) async fn reaches(&self, then: Instant) {
        match self {
            Self::Real => tokio::time::sleep_until(then).await,
            #[cfg(test)]
            Self::Turned(turned) => turned.reaches(then).await,
        }
    }
}

#[cfg(test)]
pub(super) mod turned {
    //! A clock without time of its own.

    use std::collections::BTreeMap;
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::task::{Poll, Waker};

    use tokio::time::Instant;

    /// Times that every task may run before nothing more is expected to happen at this moment: more than there are
    /// steps from a timer to the request it causes.
    const ROUNDS: usize = 40;

    #[derive(Debug)]
    struct State {
        now: Instant,
        waiting: BTreeMap<Instant, Vec<Waker>>,
    }

    #[derive(Debug)]
    pub(in super::super) struct Turned(Mutex<State>);

    impl Turned {
        pub(in super::super) fn new() -> Self {
            Self(Mutex::new(State { now: Instant::now(), waiting: BTreeMap::new() }))
        }

        pub(super) fn now(&self) -> Instant {
            self.0.lock().unwrap().now
        }

        pub(super) async fn reaches(&self, then: Instant) {
            poll_fn(|context| {
                let mut state = self.0.lock().unwrap();
                if state.now >= then {
                    return Poll::Ready(());
                }
                state.waiting.entry(then).or_default().push(context.waker().clone());
                Poll::Pending
            })
            .await;
        }

        /// Goes to the next moment whenever nothing happens at this one.
        pub(in super::super) async fn turn(&self) {
            loop {
                for _ in 0..ROUNDS {
                    tokio::task::yield_now().await;
                }
                let mut state = self.0.lock().unwrap();
                if let Some((then, wakers)) = state.waiting.pop_first() {
                    state.now = state.now.max(then);
                    drop(state);
                    wakers.into_iter().for_each(Waker::wake);
                }
            }
        }
    }
}
