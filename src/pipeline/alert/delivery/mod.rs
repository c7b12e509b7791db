//! Delivers alerts: one queue for each action, while events are still read.
//!
//! Input: pending deliveries in the memory of alerts, also those that an earlier run left. Output: calls of receivers, and
//! outcomes in the memory.
//! Invariant: a delivery is `delivered` in the memory only after its receiver acknowledged it, and pending until then or until it
//! is a dead letter. A slow receiver delays nothing but its own deliveries, until so many wait that reading waits too (see `backlog`).
//! Not here: what is sent (see `sink::alert`), and which matches are alerts (see `checkpoint::alerts`).
//!
//! | file | responsible for |
//! |---|---|
//! | `backlog` | makes reading wait while receivers work off many alerts |
//! | `checkpoint_memory` | the deliveries in the checkpoint |
//! | `queue` | the deliveries of one action: order, retries, dead letters |
//! | `throttle` | the most messages in a time |
//! | `totals` | what became of the deliveries |

mod backlog;
mod checkpoint_memory;
mod queue;
#[cfg(test)]
mod tests;
mod throttle;
mod totals;

use std::{
    future::{pending, ready},
    path::Path,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{sync::watch, task::JoinSet};

use self::{
    checkpoint_memory::CheckpointMemory,
    queue::{ActionQueue, QueueContext, QueueParts},
    throttle::Throttle,
    totals::ActionTotals,
};
use crate::{
    aws::Clock,
    checkpoint::{
        self,
        alerts::{Delivery, DeliveryUpdate, UndeliveredCount},
        shared_alerts::{self, Claim, SharedAlerts},
    },
    event::Alert,
    limit::Backoff,
    pending::PendingRequests,
    pipeline::checkpoint_writer::CheckpointSender,
    report::Log,
    shutdown::{ShutdownSignal, ShutdownTrigger},
    sink::alert::{DeliveryError, ThrottleLimit},
};

pub(in crate::pipeline) use self::backlog::Backlog;
pub use self::totals::ActionReport;

/// How deliveries are made.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryPolicy {
    /// The longest attempt.
    pub attempt_timeout: Duration,
    /// The waits before further attempts.
    pub backoff: Backoff,
    /// How long a delivery is tried before it is a dead letter.
    pub deliver_within: Duration,
    /// Attempts, in all runs, after which a delivery is a dead letter if the receiver always asks for another one later and
    /// acknowledges nothing. `deliver_within` and twice the wait that it asks for have to pass, too.
    pub max_put_offs: u32,
    /// The same for a receiver that acknowledges others meanwhile.
    pub max_attempts: u32,
    /// How long the end of a run waits for a receiver that settles nothing.
    pub max_idle_close: Duration,
    /// How long the end of a run waits at most.
    pub max_close: Duration,
}

impl DeliveryPolicy {
    /// Returns the policy for a time after which a delivery is a dead letter.
    pub fn new(deliver_within: Duration) -> Self {
        Self {
            // Receivers have limits of their own, which are shorter unless the user sets them.
            attempt_timeout: Duration::from_mins(16),
            backoff: Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(30) },
            deliver_within,
            // A receiver that limits its rate acknowledges something within a few attempts.
            max_put_offs: 10,
            // Others share its limit, and each may be unlucky.
            max_attempts: 100,
            // The last attempt may start just before the end of its time.
            max_idle_close: deliver_within + Duration::from_secs(40),
            // Longer queues are left to the next run, which a cron job starts within minutes.
            max_close: Duration::from_mins(15).max(deliver_within * 2),
        }
    }
}

/// A receiver of the messages of an action.
///
/// A trait, so that tests of the queue need no server.
pub trait Receive: Send + Sync + 'static {
    /// Delivers an alert; returns when the receiver has acknowledged it.
    fn deliver(&self, alert: &Alert) -> impl Future<Output = Result<(), DeliveryError>> + Send;

    /// Returns how many deliveries are made at the same time, each of another group.
    fn concurrency(&self) -> usize;
}

/// The memory of alerts, as far as deliveries need it.
///
/// A trait, so that tests can turn the clock, which a real disk does not follow.
pub(super) trait DeliveryMemory: Clone + Send + Sync + 'static {
    /// Returns committed pending deliveries of an action whose number is above `after`, in the order of their numbers.
    fn pending(
        &self,
        action: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, DeliveryFault>;

    /// Stores a change; returns when it is on disk.
    fn update(
        &self,
        update: DeliveryUpdate,
    ) -> impl Future<Output = Result<(), DeliveryFault>> + Send;

    /// Claims a delivery before an attempt, so that no other process makes it.
    fn claim(
        &self,
        _delivery: &Delivery,
    ) -> impl Future<Output = Result<Claim, DeliveryFault>> + Send {
        ready(Ok(Claim::Granted))
    }

    /// Keeps a claim during an attempt. Returns only if it is lost.
    fn hold(&self, _delivery: &Delivery) -> impl Future<Output = ()> + Send {
        pending()
    }

    /// Tells other processes that a delivery was made.
    fn tell_delivered(
        &self,
        _delivery: &Delivery,
    ) -> impl Future<Output = Result<(), DeliveryFault>> + Send {
        ready(Ok(()))
    }

    /// Returns a claim on a delivery that became a dead letter.
    fn release(
        &self,
        _delivery: &Delivery,
    ) -> impl Future<Output = Result<(), DeliveryFault>> + Send {
        ready(Ok(()))
    }
}

/// Why no further delivery can be made.
#[derive(Debug, Error)]
pub enum DeliveryFault {
    /// The memory cannot be read.
    #[error(transparent)]
    Read(#[from] checkpoint::Error),
    /// The checkpoint has ended; its own error is the reason.
    #[error("the checkpoint accepts nothing more")]
    CheckpointClosed,
    /// The reader of standard output wants no more.
    #[error("the reader of the alerts has closed the pipe")]
    ClosedPipe,
    /// Standard output cannot be written. Its deliveries stay pending.
    #[error("cannot write alerts to {cause}")]
    Output {
        /// The cause, with the name of the output.
        cause: String,
    },
    /// The state that processes share cannot be used.
    #[error(transparent)]
    Shared(#[from] shared_alerts::Error),
    /// A task of this program panicked.
    #[error("a delivery ended unexpectedly")]
    Panic,
}

/// What the queues do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Further alerts are expected.
    Open,
    /// All alerts are in the memory: the queue ends when they are delivered.
    Closing,
}

/// The queues of all actions.
struct Deliveries {
    queues: JoinSet<Result<(), DeliveryFault>>,
    phase: watch::Sender<Phase>,
    totals: Vec<Arc<ActionTotals>>,
}

/// Who receives the alerts of a run, and how.
pub struct DeliveryConfig<R> {
    /// The actions.
    pub receivers: Vec<ActionReceiver<R>>,
    /// How deliveries are made.
    pub policy: DeliveryPolicy,
    /// The requests in progress, which are reported when they take long.
    pub waits: PendingRequests,
    /// Receives messages.
    pub log: Log,
    /// Ends the deliveries.
    pub shutdown: ShutdownSignal,
    /// Ends the run when the reader of standard output closes the pipe, if that is to end it.
    pub on_closed_pipe: Option<ShutdownTrigger>,
    /// Tells for how long deliveries of earlier runs are tried.
    pub clock: Clock,
    /// The state of alerts that is shared with other processes, if it is.
    pub shared: Option<SharedAlerts>,
}

/// An action and its receiver.
#[derive(Clone, Debug)]
pub struct ActionReceiver<R> {
    /// The name of the action.
    pub action: String,
    /// Its receiver.
    pub receiver: R,
    /// The most messages in a time, if they are limited.
    pub throttle: Option<ThrottleLimit>,
}

/// What became of the deliveries of a run.
#[derive(Debug, Default)]
pub struct DeliveryReport {
    /// The deliveries of each action.
    pub actions: Vec<ActionReport>,
    /// Why deliveries ended early, if they did.
    pub fault: Option<DeliveryFault>,
}

/// The delivery of the alerts of a run, from the start of the run to its end.
pub(in crate::pipeline) struct AlertDelivery(Result<(Deliveries, CheckpointMemory), DeliveryFault>);

impl AlertDelivery {
    /// Starts with what earlier runs left in the checkpoint. Without a sender, the checkpoint has ended already.
    pub(in crate::pipeline) fn start<R: Receive>(
        checkpoint: &Path,
        sender: Option<CheckpointSender>,
        config: DeliveryConfig<R>,
    ) -> Self {
        let shared = config.shared.clone();
        let memory = sender
            .ok_or(DeliveryFault::CheckpointClosed)
            .and_then(|sender| Ok(CheckpointMemory::open(checkpoint, sender, shared)?));
        Self(memory.map(|memory| (Deliveries::start(&memory, config), memory)))
    }

    /// Returns what makes reading wait, unless deliveries could not be started.
    pub(in crate::pipeline) fn backlog(
        &self,
        undelivered: UndeliveredCount,
        shutdown: ShutdownSignal,
        log: Log,
    ) -> Option<Backlog> {
        let (deliveries, _) = self.0.as_ref().ok()?;
        Some(Backlog::new(undelivered, deliveries.totals.clone(), shutdown, log))
    }

    /// Waits until all alerts are delivered or dead letters, for as long as the policy allows or until a shutdown. To be called
    /// when everything is settled.
    pub(in crate::pipeline) async fn close(self) -> DeliveryReport {
        let (deliveries, memory) = match self.0 {
            Ok(started) => started,
            Err(fault) => return DeliveryReport { actions: Vec::new(), fault: Some(fault) },
        };
        // Queues see committed alerts only. If the checkpoint has ended, the queues find that too.
        let _ = memory.update(DeliveryUpdate::Flush).await;
        drop(memory);
        let (actions, result) = deliveries.close().await;
        DeliveryReport { actions, fault: result.err() }
    }
}

impl Deliveries {
    /// Starts a queue for each action.
    fn start<R: Receive, M: DeliveryMemory>(memory: &M, config: DeliveryConfig<R>) -> Self {
        let DeliveryConfig {
            receivers, policy, waits, log, shutdown, on_closed_pipe, clock, ..
        } = config;
        let (phase, watched) = watch::channel(Phase::Open);
        let shared =
            QueueContext { policy, waits, phase: watched, shutdown, on_closed_pipe, clock };
        let mut queues = JoinSet::new();
        let mut all_totals = Vec::new();
        for ActionReceiver { action, receiver, throttle } in receivers {
            let totals = Arc::new(ActionTotals::new(&action, &log));
            all_totals.push(Arc::clone(&totals));
            let queue = ActionQueue::new(QueueParts {
                action,
                receiver: Arc::new(receiver),
                throttle: Throttle::new(throttle),
                memory: memory.clone(),
                totals: Arc::clone(&totals),
                context: shared.clone(),
            });
            queues.spawn(async move {
                let ended = queue.run().await;
                if let Err(fault) = &ended {
                    totals.report_fault(fault);
                }
                totals.set_busy_until(None);
                ended
            });
        }
        Self { queues, phase, totals: all_totals }
    }

    /// Ends the queues, and returns what they did with the first fault of one.
    async fn close(mut self) -> (Vec<ActionReport>, Result<(), DeliveryFault>) {
        self.phase.send_replace(Phase::Closing);
        let mut result = Ok(());
        while let Some(ended) = self.queues.join_next().await {
            let ended = ended.unwrap_or(Err(DeliveryFault::Panic));
            if result.is_ok() {
                result = ended;
            }
        }
        (self.totals.iter().map(|totals| totals.report()).collect(), result)
    }
}
