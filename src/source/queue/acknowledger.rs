//! Acknowledges messages: extends those that take long, deletes those that are settled, releases those that were not begun.
//!
//! Input: the parts of messages and their results. Output: requests in batches, and a [`QueueReport`]. It also runs the receive
//! requests of the intake, because it outlives the source: messages that arrive when the source has ended are released.
//! Invariant: it ends once the source has ended and no message is in flight, or when there is nothing more that it can do. A
//! batch that is refused in part, or gets no response, is repeated for the messages concerned. A message that is left is reported
//! once, with others that have the same cause.
//! Not here: what becomes of a message (see `tracker`).

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    MessageDeletion, QueueOptions, QueueResources,
    client::{MAX_BATCH, QueueClient, RefusedEntry},
    error::{QueueError, QueueRecovery},
    shared::{IntakeEvent, SharedState},
    tracker::{Disposal, EndedMessage, MessageKey, MessagePart},
};
use crate::{
    event::{PartitionResult, ResultReceiver},
    limit::Backoff,
    report::{Log, Metrics, format},
    shutdown::{ShutdownLevel, ShutdownSignal},
    source::task_output,
};

/// Requests in flight: at a latency of 20 ms, 8,000 messages a second.
const MAX_CALLS: usize = 16;

/// How long a message that is settled waits for others, so that a batch is full: SQS charges each request.
const LINGER: Duration = Duration::from_millis(200);

/// Waits before a request is repeated.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(20) };

/// Failures in a row after which a run that is ending gives up: about a minute.
const MAX_FAILURES_AT_END: u32 = 10;

/// Failures in a row after which the user is told.
const FAILURES_TO_REPORT: u32 = 3;

/// Causes that are reported; messages with further ones are only counted.
const MAX_CAUSES: usize = 20;

/// How a queue was left.
#[derive(Debug, Default)]
pub struct QueueReport {
    /// What happened to the messages.
    pub counts: MessageCounts,
    /// Why messages could not be deleted, unless the source has reported it.
    pub fault: Option<QueueError>,
}

/// What happened to the messages that were received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Deleted, because everything from them is settled.
    pub deleted: u64,
    /// Settled, but kept.
    pub kept: u64,
    /// Not CloudTrail, and left in the queue.
    pub foreign: u64,
    /// Of those deleted: not CloudTrail.
    pub foreign_deleted: u64,
    /// Could not be read, and left in the queue.
    pub failed: u64,
    /// Released, because the run ended before.
    pub released: u64,
    /// Settled, but not deleted, because requests failed: they are received again.
    pub undeleted: u64,
}

/// Acknowledges messages.
pub struct Acknowledger {
    queue: QueueClient,
    shared: Arc<SharedState>,
    events: UnboundedReceiver<IntakeEvent>,
    log: Log,
    metrics: Arc<Metrics>,
    source_number: usize,
    name: String,
    deletion: MessageDeletion,
    results: PendingResults,
    calls: JoinSet<EndedCall>,
    /// Receive requests; each returns messages that nobody waits for any more.
    receives: JoinSet<Vec<EndedMessage>>,
    deletes: Batcher,
    releases: Batcher,
    extensions: Batcher,
    /// When messages are next looked at for being extended.
    next_extension: Instant,
    causes: BTreeMap<String, u64>,
    /// Whether the user was told that messages are no longer in flight.
    has_reported_lost: bool,
    has_reported_extension: bool,
    report: QueueReport,
}

/// Results that are still to come.
type PendingResults = FuturesUnordered<
    std::pin::Pin<Box<dyn Future<Output = (MessagePart, Option<PartitionResult>)> + Send>>,
>;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallKind {
    Delete,
    Release,
    Extend,
}

/// A request that has ended.
struct EndedCall {
    kind: CallKind,
    keys: Vec<MessageKey>,
    /// The receipts that were sent.
    receipts: Vec<String>,
    result: Result<Vec<RefusedEntry>, QueueError>,
}

/// Messages that wait for a request of one kind.
#[derive(Debug, Default)]
struct Batcher {
    keys: Vec<MessageKey>,
    /// When the first of them was added.
    since: Option<Instant>,
    /// Nothing is sent before, because the last request failed.
    retry_at: Option<Instant>,
    /// Failed requests in a row.
    failures: u32,
}

impl Batcher {
    fn add(&mut self, key: MessageKey) {
        self.since.get_or_insert_with(Instant::now);
        self.keys.push(key);
    }

    /// Returns when the next batch is to be sent.
    fn due(&self, linger: Duration) -> Option<Instant> {
        let since = self.since?;
        let full = self.keys.len() >= MAX_BATCH;
        let due = if full { since } else { since + linger };
        Some(self.retry_at.map_or(due, |retry| retry.max(due)))
    }

    fn take(&mut self) -> Vec<MessageKey> {
        let rest = self.keys.split_off(self.keys.len().min(MAX_BATCH));
        if rest.is_empty() {
            self.since = None;
        }
        mem::replace(&mut self.keys, rest)
    }

    fn on_success(&mut self) {
        (self.failures, self.retry_at) = (0, None);
    }

    fn on_failure(&mut self) {
        self.failures += 1;
        self.retry_at = Some(Instant::now() + BACKOFF.delay(self.failures));
    }
}

impl Acknowledger {
    pub(super) fn new(
        resources: &QueueResources,
        shared: Arc<SharedState>,
        events: UnboundedReceiver<IntakeEvent>,
        options: &QueueOptions,
    ) -> Self {
        Self {
            queue: resources.queue.clone(),
            next_extension: Instant::now() + shared.visibility / 4,
            shared,
            events,
            log: resources.log.clone(),
            metrics: Arc::clone(&resources.metrics),
            source_number: options.source_number,
            name: options.name.clone(),
            deletion: options.deletion,
            results: FuturesUnordered::new(),
            calls: JoinSet::new(),
            receives: JoinSet::new(),
            deletes: Batcher::default(),
            releases: Batcher::default(),
            extensions: Batcher::default(),
            causes: BTreeMap::new(),
            has_reported_lost: false,
            has_reported_extension: false,
            report: QueueReport::default(),
        }
    }

    /// Runs beside the source, and until no message is in flight.
    pub async fn run(mut self, shutdown: ShutdownSignal) -> QueueReport {
        let mut is_open = true;
        while is_open || !self.is_idle() {
            self.send_due(is_open);
            let wake = self.next_wake(is_open);
            tokio::select! {
                biased;
                () = shutdown.reached(ShutdownLevel::Immediate) => break,
                Some(ended) = self.calls.join_next(), if !self.calls.is_empty() => {
                    if let Some(ended) = task_output(ended) {
                        self.on_call(ended, is_open);
                    }
                }
                event = self.events.recv(), if is_open => if let Some(event) = event {
                    self.on_event(event);
                } else {
                    is_open = false;
                    let abandoned = self.shared.tracker().abandon_unclaimed();
                    self.on_all_ended(abandoned);
                },
                Some(unwanted) = self.receives.join_next(), if !self.receives.is_empty() => {
                    self.on_all_ended(task_output(unwanted).unwrap_or_default());
                }
                Some((part, result)) = self.results.next(), if !self.results.is_empty() => {
                    let ended = self.shared.tracker().on_result(part, result);
                    self.on_all_ended(ended);
                }
                () = sleep_until(wake) => {}
            }
        }
        self.finish()
    }

    /// Returns whether nothing is in flight any more.
    fn is_idle(&self) -> bool {
        self.results.is_empty()
            && self.calls.is_empty()
            && self.receives.is_empty()
            && self.shared.tracker().is_empty()
    }

    fn on_event(&mut self, event: IntakeEvent) {
        match event {
            IntakeEvent::Requested(request) => {
                self.receives.spawn(request);
            }
            IntakeEvent::Pending(part, result) => self.results.push(Box::pin(wait(part, result))),
            IntakeEvent::Ended(ended) => self.on_ended(ended),
        }
    }

    fn on_all_ended(&mut self, ended: Vec<EndedMessage>) {
        for ended in ended {
            self.on_ended(ended);
        }
    }

    /// Starts what becomes of a message, and reports it.
    fn on_ended(&mut self, ended: EndedMessage) {
        let EndedMessage { key, id, disposal } = ended;
        let counts = &mut self.report.counts;
        match disposal {
            Disposal::Delete | Disposal::DeleteForeign { .. } if self.shared.is_broken() => {
                self.give_up(CallKind::Delete, &[key]);
            }
            Disposal::Delete => self.deletes.add(key),
            Disposal::Keep => counts.kept += 1,
            Disposal::Release => self.releases.add(key),
            Disposal::DeleteForeign { reason } => {
                counts.foreign_deleted += 1;
                let about = self.about(&id);
                self.log.debug(&about, format_args!("deleted: {reason}"));
                self.deletes.add(key);
            }
            Disposal::LeaveForeign { reason } => {
                counts.foreign += 1;
                let advice = match self.deletion {
                    MessageDeletion::None => "",
                    _ => "; --delete-foreign-messages deletes such messages",
                };
                self.report_left(&id, &reason, &format!("left in the queue{advice}"));
            }
            Disposal::LeaveFailed { .. } => counts.failed += 1,
        }
    }

    fn about(&self, id: &str) -> String {
        format!("{} message {id}", self.name)
    }

    /// Reports a message that is left, unless another one was for the same cause.
    fn report_left(&mut self, id: &str, cause: &str, consequence: &str) {
        let is_new = !self.causes.contains_key(cause);
        if is_new && self.causes.len() >= MAX_CAUSES {
            return;
        }
        *self.causes.entry(cause.to_owned()).or_default() += 1;
        if is_new {
            let about = self.about(id);
            self.log.warn(&about, format_args!("{cause}; {consequence}"));
            self.metrics.add_failed(self.source_number, &about, cause);
        }
    }

    /// Returns when something is due next.
    fn next_wake(&self, is_open: bool) -> Instant {
        let linger = if is_open { LINGER } else { Duration::ZERO };
        let may_call = self.calls.len() < MAX_CALLS;
        let batches = [
            self.deletes.due(linger),
            self.releases.due(Duration::ZERO),
            self.extensions.due(Duration::ZERO),
        ];
        let batches = batches.into_iter().flatten().filter(|_| may_call);
        batches.fold(self.next_extension, Instant::min)
    }

    /// Sends the requests that are due.
    fn send_due(&mut self, is_open: bool) {
        let now = Instant::now();
        self.find_extensions(now);
        let linger = if is_open { LINGER } else { Duration::ZERO };
        for kind in [CallKind::Extend, CallKind::Delete, CallKind::Release] {
            let linger = if kind == CallKind::Delete { linger } else { Duration::ZERO };
            while self.calls.len() < MAX_CALLS
                && self.batcher(kind).due(linger).is_some_and(|due| due <= now)
            {
                let keys = self.batcher(kind).take();
                self.call(kind, keys);
            }
        }
    }

    /// Finds the messages of whose time half has passed.
    fn find_extensions(&mut self, now: Instant) {
        if now < self.next_extension {
            return;
        }
        self.next_extension = now + self.shared.visibility / 8;
        let mut tracker = self.shared.tracker();
        let due = tracker.due(now);
        tracker.extend(&due, now);
        drop(tracker);
        for key in due {
            self.extensions.add(key);
        }
    }

    fn batcher(&mut self, kind: CallKind) -> &mut Batcher {
        match kind {
            CallKind::Delete => &mut self.deletes,
            CallKind::Release => &mut self.releases,
            CallKind::Extend => &mut self.extensions,
        }
    }

    /// Sends a request for messages that are still in flight.
    fn call(&mut self, kind: CallKind, keys: Vec<MessageKey>) {
        let tracker = self.shared.tracker();
        let found = keys.into_iter().filter_map(|key| Some((key, tracker.receipt(key)?)));
        let (keys, receipts): (Vec<_>, Vec<_>) = found.unzip();
        drop(tracker);
        if keys.is_empty() {
            return;
        }
        let queue = self.queue.clone();
        let visibility = u32::try_from(self.shared.visibility.as_secs()).unwrap_or(u32::MAX);
        self.calls.spawn(async move {
            let result = match kind {
                CallKind::Delete => queue.delete(&receipts).await,
                CallKind::Release => queue.change_visibility(&receipts, 0).await,
                CallKind::Extend => queue.change_visibility(&receipts, visibility).await,
            };
            EndedCall { kind, keys, receipts, result }
        });
    }

    fn on_call(&mut self, ended: EndedCall, is_open: bool) {
        let EndedCall { kind, keys, receipts, result } = ended;
        match result {
            Ok(refused) => {
                let sent = keys.into_iter().zip(receipts).enumerate();
                self.on_response(kind, sent, &refused);
            }
            Err(error) if error.recovery == QueueRecovery::Retry => {
                self.on_retry(kind, keys, &error, is_open);
            }
            Err(error) => self.on_error(kind, &keys, error),
        }
    }

    /// Handles a response, in which entries may be refused.
    fn on_response(
        &mut self,
        kind: CallKind,
        sent: impl Iterator<Item = (usize, (MessageKey, String))>,
        refused: &[RefusedEntry],
    ) {
        self.batcher(kind).on_success();
        for (index, (key, receipt)) in sent {
            let refusal = refused.iter().find(|entry| entry.index == index);
            let is_final = refusal.is_none_or(|entry| entry.is_sender_fault);
            match refusal {
                // It was received again meanwhile. A standard queue accepts the earlier receipt, and does nothing; a FIFO queue
                // refuses it.
                _ if is_final && self.is_outdated(key, &receipt) => {
                    // With the new receipt came new time, so there is nothing to extend.
                    if kind != CallKind::Extend {
                        self.batcher(kind).add(key);
                    }
                }
                None => self.on_done(kind, key),
                Some(entry) if entry.is_sender_fault => self.on_lost(kind, key, entry),
                Some(_) => self.batcher(kind).add(key),
            }
        }
        if refused.iter().any(|entry| !entry.is_sender_fault) {
            self.batcher(kind).on_failure();
        }
    }

    /// Returns whether a message in flight has another receipt now.
    fn is_outdated(&self, key: MessageKey, receipt: &str) -> bool {
        self.shared.tracker().receipt(key).is_some_and(|current| current != receipt)
    }

    fn on_done(&mut self, kind: CallKind, key: MessageKey) {
        let counts = &mut self.report.counts;
        match kind {
            CallKind::Delete => counts.deleted += 1,
            CallKind::Release => counts.released += 1,
            CallKind::Extend => return,
        }
        self.shared.tracker().remove(key);
    }

    /// Handles a message that is not in flight any more for SQS. If it is received again, it is deleted again.
    fn on_lost(&mut self, kind: CallKind, key: MessageKey, entry: &RefusedEntry) {
        if kind == CallKind::Extend {
            self.shared.tracker().lose(key);
        } else {
            self.shared.tracker().remove(key);
            if kind == CallKind::Delete {
                self.report.counts.undeleted += 1;
            }
        }
        if !mem::replace(&mut self.has_reported_lost, true) {
            let RefusedEntry { code, message, .. } = entry;
            self.log.warn(
                &self.name,
                format_args!(
                    "messages are no longer in flight ({code}: {message}): the queue was purged, or another reader has received them after their visibility timeout; what they hold was read, and is not loaded twice"
                ),
            );
        }
    }

    /// Repeats a request after a wait; at the end of the run, only for some time.
    fn on_retry(
        &mut self,
        kind: CallKind,
        keys: Vec<MessageKey>,
        error: &QueueError,
        is_open: bool,
    ) {
        let batcher = self.batcher(kind);
        for key in keys {
            batcher.add(key);
        }
        batcher.on_failure();
        let failures = batcher.failures;
        if failures == FAILURES_TO_REPORT {
            self.log.warn(&self.name, format_args!("{error}; trying again"));
        }
        if !is_open && failures >= MAX_FAILURES_AT_END {
            let keys = mem::take(&mut self.batcher(kind).keys);
            self.give_up(kind, &keys);
            if kind == CallKind::Delete {
                self.shared.fail(error.clone());
            }
        }
    }

    /// Handles an error that does not pass. Without permission to delete, reading further makes no sense.
    fn on_error(&mut self, kind: CallKind, keys: &[MessageKey], error: QueueError) {
        self.give_up(kind, keys);
        if kind == CallKind::Delete || error.missing_permission.is_none() {
            self.shared.fail(error);
            let waiting = mem::take(&mut self.deletes.keys);
            self.give_up(CallKind::Delete, &waiting);
        } else if !mem::replace(&mut self.has_reported_extension, true) {
            let reason = error.to_string();
            self.log.warn(&self.name, &reason);
            self.metrics.add_failed(self.source_number, &self.name, &reason);
        }
    }

    fn give_up(&mut self, kind: CallKind, keys: &[MessageKey]) {
        if kind == CallKind::Extend {
            return;
        }
        if kind == CallKind::Delete {
            self.report.counts.undeleted += keys.len() as u64;
        }
        let mut tracker = self.shared.tracker();
        for key in keys {
            tracker.remove(*key);
        }
    }

    /// Reports how the queue was left.
    fn finish(mut self) -> QueueReport {
        self.report.fault = self.shared.take_fault();
        let counts = self.report.counts;
        if counts != MessageCounts::default() {
            self.log.info(&self.name, counts.text());
        }
        self.report
    }
}

impl MessageCounts {
    /// Returns the counts as text.
    fn text(&self) -> String {
        let parts = [
            (self.deleted, "deleted"),
            (self.kept, "read and kept"),
            (self.foreign, "foreign and left"),
            (self.failed, "failed and left"),
            (self.released, "released"),
            (self.undeleted, "not deleted, and delivered again"),
        ];
        let shown = parts.into_iter().filter(|(count, _)| *count > 0);
        let shown: Vec<String> =
            shown.map(|(count, what)| format!("{} {what}", format::count(count))).collect();
        format!("messages: {}", shown.join(", "))
    }
}

async fn wait(part: MessagePart, result: ResultReceiver) -> (MessagePart, Option<PartitionResult>) {
    (part, result.recv().await)
}
