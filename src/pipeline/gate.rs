//! Lets one long record through at a time, because each takes as much memory as many usual ones.
//!
//! Holds: a pass is free again when the record's text is given back and its document is settled, so that two long
//! records are never held at once by two workers. Who waits stops waiting when the run is to end.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use crate::shutdown::ShutdownSignal;

/// How often the wish to end is looked at while another one has the pass.
const LOOK: Duration = Duration::from_millis(100);

/// Where the pass is given out.
#[derive(Debug, Default)]
pub(super) struct Gate {
    taken: Mutex<bool>,
    free: Condvar,
}

/// Lets a long record through, until all clones of it are dropped.
#[derive(Debug)]
pub(super) struct Pass(Arc<Gate>);

impl Gate {
    /// Waits for the pass; `None` if the run is to end.
    pub(super) fn enter(self: &Arc<Self>, stop: &ShutdownSignal) -> Option<Arc<Pass>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            if stop.is_requested() {
                return None;
            }
            let waited = self.free.wait_timeout(taken, LOOK);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Arc::new(Pass(Arc::clone(self))))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::shutdown::{ShutdownLevel, shutdown_channel};

    #[test]
    fn the_next_one_waits_until_every_clone_is_dropped() {
        let (_raise, stop) = shutdown_channel();
        let gate = Arc::<Gate>::default();
        let first = gate.enter(&stop).unwrap();
        let travels = Arc::clone(&first);
        let (entered, told) = mpsc::channel();
        let theirs = Arc::clone(&gate);
        let next = thread::spawn(move || entered.send(theirs.enter(&stop).is_some()).unwrap());
        drop(first);
        assert!(told.try_recv().is_err(), "the document is still on its way");
        drop(travels);
        assert!(told.recv().unwrap());
        next.join().unwrap();
    }

    #[test]
    fn nobody_waits_once_the_run_is_to_end() {
        let (raise, stop) = shutdown_channel();
        let gate = Arc::<Gate>::default();
        let _held = gate.enter(&stop).unwrap();
        raise.raise(ShutdownLevel::Draining);
        assert!(gate.enter(&stop).is_none());
    }
}
