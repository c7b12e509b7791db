//! One word that everyone watches: go on, drain, or leave at once.

use tokio::sync::watch;

/// How urgently the run is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nobody asked.
    #[default]
    GoOn,
    /// Take in nothing new, finish what is in flight, save, end.
    Drain,
    /// Wait for nothing. Safe, by the ledger: it costs repeated work only.
    Leave,
}

/// The watcher's end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Urgency>);

/// The end that raises the word; it never goes back.
#[derive(Clone, Debug)]
pub struct Raise(watch::Sender<Urgency>);

/// Returns a pair of both ends.
pub fn stop() -> (Raise, Stop) {
    let (raise, stop) = watch::channel(Urgency::GoOn);
    (Raise(raise), Stop(stop))
}

impl Raise {
    /// Raises the urgency; a lower one than before changes nothing.
    pub fn raise(&self, to: Urgency) {
        self.0.send_if_modified(|now| {
            let higher = to > *now;
            if higher {
                *now = to;
            }
            higher
        });
    }
}

impl Stop {
    /// Returns the urgency right now.
    pub fn now(&self) -> Urgency {
        *self.0.borrow()
    }

    /// Returns whether nothing new is to be taken in.
    pub fn requested(&self) -> bool {
        self.now() >= Urgency::Drain
    }

    /// Waits until the urgency is at least `level`; for ever if nobody raises it any more.
    pub async fn reaches(&self, level: Urgency) {
        let mut watched = self.0.clone();
        if watched.wait_for(|now| *now >= level).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
