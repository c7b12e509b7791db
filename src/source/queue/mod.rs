//! Reads events from a queue of SQS: events that messages hold, and log files that messages name.
//!
//! ```text
//!  MessageIntake ──Input──▶ pipeline ──PartitionResult──▶ Acknowledger
//!  receives, parses         reads, settles                extends what takes long, deletes what is settled,
//!  fetches objects                                        releases what was not begun
//! ```
//!
//! Input: a queue, and what earlier runs finished. Output: one [`Input`](super::Input) for each message with events and each
//! object; the messages are deleted.
//! Invariant: a message is deleted only after everything that it holds or names is settled. A message that is foreign or cannot be
//! read is left to the redrive policy of the queue, and reported once. A run that is killed loses nothing: its messages become
//! visible again, and what it had settled is known to the checkpoint and to the engine.
//! Not here: what a body means (see [`message`](super::message)), how objects are fetched (see `s3::notified`).
//!
//! | file | responsible for |
//! |---|---|
//! | [`address`] | how queues are named |
//! | [`client`], [`error`] | requests, and what a failed one means |
//! | `access` | whether messages may be deleted, extended and released |
//! | [`attributes`] | the settings of a queue, and what is wrong with them |
//! | `tracker` | pure: which messages are in flight, and what becomes of each |
//! | `intake` | how many messages are received at a time, what is read for them, and when the source ends |
//! | `acknowledger` | which messages are extended, deleted and released, and what is reported |

mod access;
mod acknowledger;
pub mod address;
pub mod attributes;
pub mod client;
pub mod error;
mod intake;
mod shared;
mod tracker;

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

pub use self::{
    access::AcknowledgementProblems,
    acknowledger::{Acknowledger, QueueReport},
    address::{QueueAddress, QueueAddressError},
    attributes::{QueueAttributes, Redrive, Weakness},
    client::QueueClient,
    error::{QueueError, QueueRecovery},
};
use self::{intake::MessageIntake, shared::SharedState};
use super::{
    EventSender, Source, SourceRun,
    files::FinishedLookup,
    s3::{ClientFor, S3Error},
};
use crate::{
    report::{Log, Metrics},
    shutdown::ShutdownSignal,
};

/// The actions that this source calls, as in policies. Objects need those of [`s3`](super::s3::ACTIONS), too.
pub const ACTIONS: [&str; 5] = [
    "sqs:GetQueueUrl",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
];

/// The usual [`QueueOptions::recovery_interval`].
pub const RECOVERY_INTERVAL: Duration = Duration::from_mins(5);

/// How long messages are received for, if the queue does not tell.
const DEFAULT_VISIBILITY: Duration = Duration::from_mins(2);

/// The shortest time that messages are received for: enough to extend it twice although SQS is slow.
const MIN_VISIBILITY: Duration = Duration::from_secs(30);

/// The longest visibility timeout of SQS.
const MAX_VISIBILITY: Duration = Duration::from_hours(12);

/// When reading a queue ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueMode {
    /// When no new message arrives for one long poll.
    UntilEmpty,
    /// At a shutdown, or when the queue cannot be read any more.
    Follow,
    /// At a shutdown: other sources are followed, too, so a queue that cannot be read any more is tried again.
    FollowAmongOthers,
}

/// Which messages are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageDeletion {
    /// None.
    None,
    /// Those from which everything is settled.
    #[default]
    Settled,
    /// Those from which everything is settled, and those that are not CloudTrail.
    SettledAndForeign,
}

/// Whether the order of messages matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOrder {
    /// All messages are read at the same time.
    Any,
    /// A message of a FIFO queue is read when the one before it in its group has ended.
    WithinGroup,
}

/// Options of the source.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Index of the SOURCE argument.
    pub source_number: usize,
    /// The queue in messages, as the user would write it.
    pub name: String,
    /// When reading ends.
    pub mode: QueueMode,
    /// Which messages are deleted.
    pub deletion: MessageDeletion,
    /// Whether the order of messages matters.
    pub order: MessageOrder,
    /// The visibility timeout of the queue, if it is known.
    pub visibility: Option<Duration>,
    /// Maximum bytes of bodies and objects in flight or not yet dropped by a worker.
    pub memory_bytes: u64,
    /// The Region that receives the first request to a bucket whose Region no message contains.
    pub region: String,
    /// Whether requests for objects are sent as requester-pays.
    pub requester_pays: bool,
    /// How soon a queue that could not be read any more is tried again, if other sources are followed.
    pub recovery_interval: Duration,
}

/// What the source works with.
pub struct QueueResources {
    /// The queue.
    pub queue: QueueClient,
    /// Creates clients for objects.
    pub s3: ClientFor,
    /// What earlier runs finished.
    pub finished: FinishedLookup,
    /// Receives messages.
    pub log: Log,
    /// The metrics of the run.
    pub metrics: Arc<Metrics>,
}

/// Reads the messages of a queue.
pub struct QueueSource {
    intake: MessageIntake,
    mode: QueueMode,
    name: String,
}

/// All objects of a bucket seem to be unreadable, so that reading further messages would only use up their receives.
#[derive(Clone, Debug)]
struct UnreadableBucket {
    name: String,
    error: S3Error,
}

impl QueueSource {
    /// Creates the source, and what has to run beside it: the acknowledger outlives the source, because messages are deleted
    /// once the pipeline has settled them. No request is sent yet.
    pub fn new(resources: QueueResources, options: QueueOptions) -> (Self, Acknowledger) {
        let visibility = options.visibility.unwrap_or(DEFAULT_VISIBILITY);
        let visibility = visibility.clamp(MIN_VISIBILITY, MAX_VISIBILITY);
        let (mode, name) = (options.mode, options.name.clone());
        let shared = SharedState::new(visibility, &options);
        let (events, received) = mpsc::unbounded_channel();
        let acknowledger = Acknowledger::new(&resources, Arc::clone(&shared), received, &options);
        let intake = MessageIntake::new(resources, shared, events, options);
        (Self { intake, mode, name }, acknowledger)
    }
}

impl Source for QueueSource {
    fn run(self: Box<Self>, out: EventSender, _shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(async move {
            let until = out.clone();
            let Self { intake, mode, name } = *self;
            tokio::select! {
                biased;
                () = until.closed() => Ok(()),
                result = intake.run(mode, out) => result.map_err(|error| error.named(name)),
            }
        })
    }
}
