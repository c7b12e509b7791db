//! Which messages are in flight, what each of them waits for, and what becomes of it.
//!
//! ```text
//!  received ─▶ in flight ─▶ every part has a result ─▶ settled: deleted │ left: visible again when its time ends │ released
//!                 ▲  └─ extended while it takes long
//!                 └──── received again: only its receipt changes
//! ```
//!
//! Input: messages as they are received, and the results of their parts. Output: what to do with a message that has all of
//! them, and which messages have to be extended.
//! Invariant: a message is [`Disposal::Delete`] only if each of its parts is complete, or foreign and that is to be deleted. An
//! object is read once for all messages that name it while it is read. Memory is bounded by the messages in flight, by the objects
//! that are claimed for them, and by [`MAX_KNOWN`] messages and objects that are done.
//! Not here: requests.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use super::{MessageDeletion, client::ReceivedMessage};
use crate::{
    event::{Partition, PartitionResult},
    source::s3::ObjectReference,
};

/// Messages that are remembered once they are done, 32 bytes each.
const MAX_KNOWN: usize = 100_000;

/// Objects that are remembered once they are read, about 100 bytes each.
const MAX_KNOWN_OBJECTS: usize = 20_000;

/// The number of a message in flight.
pub(super) type MessageKey = u64;

/// The number of an object that is being read.
pub(super) type ObjectKey = u64;

/// What has a result of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessagePart {
    /// The events in the body of a message.
    Body(MessageKey),
    /// An object, which several messages may name.
    Object(ObjectKey),
}

/// What to do with a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    /// It is new: read it.
    New(MessageKey),
    /// It is in flight already, and its earlier receipt is of no use any more.
    InFlight,
    /// It was settled before: delete it again.
    Delete(MessageKey),
    /// It was read in this run and left in the queue: ignore it.
    Known,
}

/// What to do for an object that a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectClaim {
    /// Read it.
    Read(ObjectKey),
    /// Another message has it read.
    Joined,
    /// The message has ended without it.
    Unwanted,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disposal {
    /// It is settled, and deleted.
    Delete,
    /// It is settled, but messages are kept.
    Keep,
    /// It is not CloudTrail, and left in the queue.
    LeaveForeign {
        /// What it is instead.
        reason: String,
    },
    /// It is not CloudTrail, and deleted.
    DeleteForeign {
        /// What it is instead.
        reason: String,
    },
    /// It could not be read, and is left in the queue.
    LeaveFailed {
        /// The cause.
        cause: String,
    },
    /// Reading it was not begun, or not ended: others may read it at once.
    Release,
}

/// A message that has the results of all of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndedMessage {
    pub(super) key: MessageKey,
    /// The ID of the message.
    pub(super) id: String,
    pub(super) disposal: Disposal,
}

/// The messages in flight.
#[derive(Debug)]
pub(super) struct Tracker {
    visibility: Duration,
    deletion: MessageDeletion,
    /// How often a message is read that fails each time. The redrive policy of the queue may end it before.
    max_attempts: u32,
    next_key: u64,
    messages: HashMap<MessageKey, InFlightMessage>,
    by_id: HashMap<String, MessageKey>,
    objects: HashMap<ObjectKey, ObjectInFlight>,
    /// Objects that are being read, by their URI.
    by_uri: HashMap<String, Vec<ObjectKey>>,
    known: KnownMessages,
    known_objects: KnownObjects,
}

/// A message in flight.
#[derive(Debug)]
struct InFlightMessage {
    id: String,
    receipt: String,
    /// How often it was received when it got this receipt.
    receive_count: u32,
    /// When it becomes visible to others, unless it is extended.
    visible_at: Instant,
    /// When it was sent, in milliseconds of the Unix epoch.
    sent: Option<i64>,
    /// Parts without a result.
    parts_left: usize,
    /// Those of them that nobody reads yet.
    unclaimed: usize,
    /// The results so far, as one.
    result: CombinedResult,
    phase: MessagePhase,
    /// Dropped when it has the results of all of its parts.
    on_end: Option<oneshot::Sender<()>>,
    /// Counts as in flight until dropped.
    _slot: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessagePhase {
    /// Its parts are being read.
    Reading,
    /// It is being deleted or released.
    Ending,
    /// It is no longer in flight at the service, but still read.
    Lost,
}

/// The results of the parts of a message as one, from the best to the worst.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum CombinedResult {
    #[default]
    Nothing,
    Foreign(String),
    Complete,
    Failed(String),
    Abandoned,
}

impl CombinedResult {
    fn rank(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Foreign(_) => 1,
            Self::Complete => 2,
            Self::Failed(_) => 3,
            Self::Abandoned => 4,
        }
    }

    fn add(&mut self, other: Self) {
        if other.rank() > self.rank() {
            *self = other;
        }
    }

    /// Returns the result of a part; `None` if the run ended before.
    fn of_part(result: Option<PartitionResult>) -> Self {
        match result {
            Some(PartitionResult::Complete) => Self::Complete,
            Some(PartitionResult::Foreign { kind }) => Self::Foreign(kind),
            Some(PartitionResult::Failed { cause }) => Self::Failed(cause),
            None => Self::Abandoned,
        }
    }
}

/// An object that is being read.
#[derive(Debug)]
struct ObjectInFlight {
    uri: String,
    etag: Option<String>,
    /// The partition, once it is known.
    partition: Option<Partition>,
    /// The messages that name it.
    waiting: Vec<WaitingMessage>,
}

/// A message that names an object.
#[derive(Debug)]
struct WaitingMessage {
    key: MessageKey,
    /// The version that it names, unless the object is read for this message first: then, what is read is newer if it differs.
    etag: Option<String>,
    /// Counts as in progress until dropped.
    _place: OwnedSemaphorePermit,
}

impl WaitingMessage {
    /// Returns whether another version was read than this message names.
    fn names_other_version(&self, partition: Option<&Partition>) -> bool {
        let read = partition.and_then(|partition| partition.fingerprint.split_once(':'));
        self.etag.as_deref().zip(read).is_some_and(|(named, (_, read))| named != read)
    }
}

impl Tracker {
    /// Returns a tracker without messages. `visibility` is the time for which messages are received.
    pub(super) fn new(visibility: Duration, deletion: MessageDeletion, max_attempts: u32) -> Self {
        Self {
            visibility,
            deletion,
            max_attempts,
            next_key: 0,
            messages: HashMap::new(),
            by_id: HashMap::new(),
            objects: HashMap::new(),
            by_uri: HashMap::new(),
            known: KnownMessages::default(),
            known_objects: KnownObjects::default(),
        }
    }

    /// Adds a message that was received. `requested` is when the request was sent: its time runs at least since then.
    pub(super) fn receive(
        &mut self,
        message: &ReceivedMessage,
        slot: OwnedSemaphorePermit,
        requested: Instant,
    ) -> Reception {
        let visible_at = requested + self.visibility;
        if let Some(known) = self.by_id.get(&message.id)
            && let Some(in_flight) = self.messages.get_mut(known)
        {
            // Responses may arrive in another order than they were made in.
            if message.receive_count >= in_flight.receive_count {
                in_flight.receipt.clone_from(&message.receipt);
                in_flight.receive_count = message.receive_count;
            }
            in_flight.visible_at = visible_at;
            if in_flight.phase == MessagePhase::Lost {
                in_flight.phase = MessagePhase::Reading;
            }
            return Reception::InFlight;
        }
        let known = self.known.get(&message.id);
        let phase = match known {
            Some(KnownMessage::Left) => return Reception::Known,
            Some(KnownMessage::Failed(attempts)) if attempts >= self.max_attempts => {
                return Reception::Known;
            }
            Some(KnownMessage::Deleted) => MessagePhase::Ending,
            Some(KnownMessage::Failed(_)) | None => MessagePhase::Reading,
        };
        let key = self.next_key();
        self.by_id.insert(message.id.clone(), key);
        self.messages.insert(
            key,
            InFlightMessage {
                id: message.id.clone(),
                receipt: message.receipt.clone(),
                receive_count: message.receive_count,
                visible_at,
                sent: message.sent,
                parts_left: 0,
                unclaimed: 0,
                result: CombinedResult::default(),
                phase,
                on_end: None,
                _slot: slot,
            },
        );
        if phase == MessagePhase::Ending { Reception::Delete(key) } else { Reception::New(key) }
    }

    fn next_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Returns what is closed when a message has the results of all of its parts, whatever they are. To be called once for a message.
    pub(super) fn end_of(&mut self, message: MessageKey) -> oneshot::Receiver<()> {
        let (on_end, end) = oneshot::channel();
        if let Some(message) = self.messages.get_mut(&message) {
            message.on_end = Some(on_end);
        }
        end
    }

    /// Sets the number of parts of a message that are to be claimed, so that it does not end before.
    pub(super) fn expect_parts(&mut self, message: MessageKey, parts: usize) {
        if let Some(message) = self.messages.get_mut(&message) {
            message.parts_left = message.parts_left - message.unclaimed + parts;
            message.unclaimed = parts;
        }
    }

    /// Claims the part of a message that is the events in its body.
    pub(super) fn claim_body(&mut self, message: MessageKey) -> MessagePart {
        if let Some(message) = self.messages.get_mut(&message) {
            message.unclaimed = message.unclaimed.saturating_sub(1);
        }
        MessagePart::Body(message)
    }

    /// Claims the part of a message that is an object. `place` bounds the objects in progress.
    pub(super) fn claim_object(
        &mut self,
        message: MessageKey,
        object: &ObjectReference,
        place: OwnedSemaphorePermit,
    ) -> ObjectClaim {
        let Some(in_flight) = self.messages.get_mut(&message) else { return ObjectClaim::Unwanted };
        let Some(unclaimed) = in_flight.unclaimed.checked_sub(1) else {
            return ObjectClaim::Unwanted;
        };
        in_flight.unclaimed = unclaimed;
        let uri = object.uri();
        let same = self.by_uri.get(&uri).into_iter().flatten().copied().find(|key| {
            let reading = self.objects.get(key).and_then(|reading| reading.etag.as_ref());
            reading.is_none() || object.etag.is_none() || reading == object.etag.as_ref()
        });
        if let Some(reading) = same.and_then(|key| self.objects.get_mut(&key)) {
            let etag = object.etag.clone();
            reading.waiting.push(WaitingMessage { key: message, etag, _place: place });
            return ObjectClaim::Joined;
        }
        let key = self.next_key();
        self.by_uri.entry(uri.clone()).or_default().push(key);
        let etag = object.etag.clone();
        let waiting = vec![WaitingMessage { key: message, etag: None, _place: place }];
        let reading = ObjectInFlight { uri, etag, partition: None, waiting };
        self.objects.insert(key, reading);
        ObjectClaim::Read(key)
    }

    /// Records the partition of an object, so that it is known once it was read.
    pub(super) fn identify(&mut self, object: ObjectKey, partition: Partition) {
        if let Some(object) = self.objects.get_mut(&object) {
            object.partition = Some(partition);
        }
    }

    /// Returns the objects that were read in this run.
    pub(super) fn known_objects(&self) -> &KnownObjects {
        &self.known_objects
    }

    /// Ends a message that has no parts.
    pub(super) fn end(&mut self, message: MessageKey, result: PartitionResult) -> EndedMessage {
        if let Some(message) = self.messages.get_mut(&message) {
            message.result.add(CombinedResult::of_part(Some(result)));
        }
        self.ended(message)
    }

    /// Ends a message of which nothing was read.
    pub(super) fn abandon(&mut self, message: MessageKey) -> EndedMessage {
        if let Some(message) = self.messages.get_mut(&message) {
            message.result.add(CombinedResult::Abandoned);
        }
        self.ended(message)
    }

    /// Gives up the parts that nobody has claimed: the source has ended. Returns the messages that have the results of all others.
    pub(super) fn abandon_unclaimed(&mut self) -> Vec<EndedMessage> {
        let mut ended = Vec::new();
        for (key, message) in &mut self.messages {
            if message.unclaimed == 0 {
                continue;
            }
            message.parts_left -= std::mem::take(&mut message.unclaimed);
            message.result.add(CombinedResult::Abandoned);
            if message.parts_left == 0 {
                ended.push(*key);
            }
        }
        ended.into_iter().map(|key| self.ended(key)).collect()
    }

    /// Adds the result of a part; `None` if the run ended before. Returns the messages that have all of theirs.
    pub(super) fn on_result(
        &mut self,
        part: MessagePart,
        result: Option<PartitionResult>,
    ) -> Vec<EndedMessage> {
        let result = CombinedResult::of_part(result);
        let results = match part {
            MessagePart::Body(message) => vec![(message, result)],
            MessagePart::Object(object) => self.remove_object(object, &result),
        };
        let mut ended = Vec::new();
        for (key, result) in results {
            let Some(message) = self.messages.get_mut(&key) else { continue };
            message.result.add(result);
            message.parts_left = message.parts_left.saturating_sub(1);
            if message.parts_left == 0 {
                ended.push(self.ended(key));
            }
        }
        ended
    }

    /// Removes an object, and remembers it if it is complete. Returns the result of each message that names it: one that names
    /// another version has none, and is received again.
    fn remove_object(
        &mut self,
        key: ObjectKey,
        result: &CombinedResult,
    ) -> Vec<(MessageKey, CombinedResult)> {
        let Some(object) = self.objects.remove(&key) else { return Vec::new() };
        let results = object.waiting.iter().map(|waiting| {
            let is_other = waiting.names_other_version(object.partition.as_ref());
            (waiting.key, if is_other { CombinedResult::Abandoned } else { result.clone() })
        });
        let results = results.collect();
        if let Some(partition) = object.partition.filter(|_| *result == CombinedResult::Complete) {
            self.known_objects.insert(partition);
        }
        if let Some(reading) = self.by_uri.get_mut(&object.uri) {
            reading.retain(|other| *other != key);
            if reading.is_empty() {
                self.by_uri.remove(&object.uri);
            }
        }
        results
    }

    /// Decides what becomes of a message. What is left is no longer tracked, only known.
    fn ended(&mut self, key: MessageKey) -> EndedMessage {
        let (id, result) = match self.messages.get_mut(&key) {
            Some(message) => {
                message.phase = MessagePhase::Ending;
                message.on_end = None;
                (message.parts_left, message.unclaimed) = (0, 0);
                (message.id.clone(), std::mem::take(&mut message.result))
            }
            None => (String::new(), CombinedResult::Abandoned),
        };
        let disposal = match (result, self.deletion) {
            (CombinedResult::Complete | CombinedResult::Nothing, MessageDeletion::None) => {
                Disposal::Keep
            }
            (CombinedResult::Complete | CombinedResult::Nothing, _) => Disposal::Delete,
            (CombinedResult::Foreign(reason), MessageDeletion::SettledAndForeign) => {
                Disposal::DeleteForeign { reason }
            }
            (CombinedResult::Foreign(reason), _) => Disposal::LeaveForeign { reason },
            (CombinedResult::Failed(cause), _) => Disposal::LeaveFailed { cause },
            (CombinedResult::Abandoned, _) => Disposal::Release,
        };
        match &disposal {
            Disposal::Keep | Disposal::LeaveForeign { .. } => {
                self.known.insert(&id, KnownMessage::Left);
                self.remove(key);
            }
            Disposal::LeaveFailed { .. } => {
                let before = match self.known.get(&id) {
                    Some(KnownMessage::Failed(attempts)) => attempts,
                    _ => 0,
                };
                self.known.insert(&id, KnownMessage::Failed(before + 1));
                self.remove(key);
            }
            Disposal::Delete | Disposal::DeleteForeign { .. } => {
                self.known.insert(&id, KnownMessage::Deleted);
            }
            Disposal::Release => {}
        }
        EndedMessage { key, id, disposal }
    }

    /// Forgets a message: it was deleted or released, or that is given up.
    pub(super) fn remove(&mut self, key: MessageKey) {
        if let Some(message) = self.messages.remove(&key) {
            self.by_id.remove(&message.id);
        }
    }

    /// Returns the current receipt of a message.
    pub(super) fn receipt(&self, key: MessageKey) -> Option<String> {
        self.messages.get(&key).map(|message| message.receipt.clone())
    }

    /// Returns the messages of whose time at least half has passed.
    pub(super) fn due(&self, now: Instant) -> Vec<MessageKey> {
        let soon = now + self.visibility / 2;
        let reading =
            self.messages.iter().filter(|(_, message)| message.phase == MessagePhase::Reading);
        reading.filter(|(_, message)| message.visible_at <= soon).map(|(key, _)| *key).collect()
    }

    /// Records that messages were extended at a time, or are about to be.
    pub(super) fn extend(&mut self, keys: &[MessageKey], now: Instant) {
        for key in keys {
            if let Some(message) = self.messages.get_mut(key) {
                message.visible_at = now + self.visibility;
            }
        }
    }

    /// Records that a message cannot be extended: it was deleted, or is visible to others.
    pub(super) fn lose(&mut self, key: MessageKey) {
        if let Some(message) = self.messages.get_mut(&key)
            && message.phase == MessagePhase::Reading
        {
            message.phase = MessagePhase::Lost;
        }
    }

    /// Returns whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns when the oldest message in flight was sent, in milliseconds of the Unix epoch.
    pub(super) fn oldest_sent(&self) -> Option<i64> {
        self.messages.values().filter_map(|message| message.sent).min()
    }
}

/// What became of a message that was received in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownMessage {
    /// It was read, and left in the queue.
    Left,
    /// It could not be read, so often.
    Failed(u32),
    /// It was settled. It is received again if deleting it failed, or if the service delivers it twice.
    Deleted,
}

/// Messages that were received in this run, by hashes of their IDs; the oldest are forgotten.
#[derive(Debug, Default)]
struct KnownMessages {
    messages: HashMap<u64, KnownMessage>,
    /// In the order in which they became known.
    order: VecDeque<u64>,
}

impl KnownMessages {
    fn get(&self, id: &str) -> Option<KnownMessage> {
        self.messages.get(&hash(id)).copied()
    }

    fn insert(&mut self, id: &str, message: KnownMessage) {
        let id = hash(id);
        if self.messages.insert(id, message).is_none() {
            self.order.push_back(id);
            if self.order.len() > MAX_KNOWN
                && let Some(oldest) = self.order.pop_front()
            {
                self.messages.remove(&oldest);
            }
        }
    }
}

/// Objects that were read in this run, by hashes of their URIs; the oldest are forgotten.
#[derive(Debug, Default)]
pub(super) struct KnownObjects {
    fingerprints: HashMap<u64, String>,
    order: VecDeque<u64>,
}

impl KnownObjects {
    /// Returns the fingerprint with which an object was read.
    pub(super) fn fingerprint(&self, uri: &str) -> Option<String> {
        self.fingerprints.get(&hash(uri)).cloned()
    }

    /// Records that an object was read.
    fn insert(&mut self, partition: Partition) {
        let uri = hash(&partition.key);
        if self.fingerprints.insert(uri, partition.fingerprint).is_none() {
            self.order.push_back(uri);
            if self.order.len() > MAX_KNOWN_OBJECTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.fingerprints.remove(&oldest);
            }
        }
    }
}

/// Returns a hash of an ID. One of 10^14 messages has the hash of another one that is known.
fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn tracker(deletion: MessageDeletion) -> Tracker {
        Tracker::new(2 * MINUTE, deletion, 2)
    }

    fn message(id: &str, receipt: &str) -> ReceivedMessage {
        ReceivedMessage {
            id: id.to_owned(),
            receipt: receipt.to_owned(),
            body: String::new(),
            sent: None,
            receive_count: 1,
            group: None,
        }
    }

    fn receive(tracker: &mut Tracker, id: &str, receipt: &str, now: Instant) -> Reception {
        let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        tracker.receive(&message(id, receipt), slot, now)
    }

    /// Receives a message that is new.
    fn new(tracker: &mut Tracker, id: &str) -> MessageKey {
        match receive(tracker, id, "1", Instant::now()) {
            Reception::New(key) => key,
            other => panic!("{other:?}"),
        }
    }

    /// Adds the part of a message that is the events in its body.
    fn add_body(tracker: &mut Tracker, message: MessageKey) -> MessagePart {
        expect_another(tracker, message);
        tracker.claim_body(message)
    }

    /// Adds an object to a message.
    fn add_object(
        tracker: &mut Tracker,
        message: MessageKey,
        object: &ObjectReference,
    ) -> ObjectClaim {
        expect_another(tracker, message);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        tracker.claim_object(message, object, place)
    }

    fn expect_another(tracker: &mut Tracker, message: MessageKey) {
        let unclaimed = tracker.messages[&message].unclaimed;
        tracker.expect_parts(message, unclaimed + 1);
    }

    fn object(key: &str, etag: Option<&str>) -> ObjectReference {
        ObjectReference {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            size: None,
            etag: etag.map(str::to_owned),
            region: None,
        }
    }

    fn read(claim: ObjectClaim) -> MessagePart {
        match claim {
            ObjectClaim::Read(key) => MessagePart::Object(key),
            other => panic!("{other:?}"),
        }
    }

    fn disposals(ended: &[EndedMessage]) -> Vec<(&str, &Disposal)> {
        let mut all: Vec<_> = ended.iter().map(|end| (end.id.as_str(), &end.disposal)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    #[test]
    fn a_message_ends_with_its_last_part_and_the_worst_result_counts() {
        let complete = || Some(PartitionResult::Complete);
        let foreign = || Some(PartitionResult::Foreign { kind: "text".to_owned() });
        let failed = || Some(PartitionResult::Failed { cause: "cut off".to_owned() });
        for (results, expected) in [
            ([complete(), complete()], Disposal::Delete),
            ([complete(), foreign()], Disposal::Delete),
            ([foreign(), foreign()], Disposal::LeaveForeign { reason: "text".to_owned() }),
            ([complete(), failed()], Disposal::LeaveFailed { cause: "cut off".to_owned() }),
            ([failed(), None], Disposal::Release),
            ([None, complete()], Disposal::Release),
        ] {
            let mut tracker = tracker(MessageDeletion::Settled);
            let key = new(&mut tracker, "m");
            let body = add_body(&mut tracker, key);
            let part = read(add_object(&mut tracker, key, &object("a", None)));
            let [first, second] = results;
            assert_eq!(tracker.on_result(part, first), []);
            let ended = tracker.on_result(body, second);
            assert_eq!(disposals(&ended), [("m", &expected)]);
        }
    }

    #[test]
    fn deletion_decides_what_becomes_of_settled_and_foreign_messages() {
        let foreign = || PartitionResult::Foreign { kind: "text".to_owned() };
        for (deletion, settled, other) in [
            (
                MessageDeletion::None,
                Disposal::Keep,
                Disposal::LeaveForeign { reason: "text".to_owned() },
            ),
            (
                MessageDeletion::SettledAndForeign,
                Disposal::Delete,
                Disposal::DeleteForeign { reason: "text".to_owned() },
            ),
        ] {
            let mut tracker = tracker(deletion);
            let (one, two) = (new(&mut tracker, "1"), new(&mut tracker, "2"));
            assert_eq!(tracker.end(one, PartitionResult::Complete).disposal, settled);
            assert_eq!(tracker.end(two, foreign()).disposal, other);
        }
    }

    #[test]
    fn an_object_is_read_once_for_all_messages_that_name_it() {
        let mut tracker = tracker(MessageDeletion::Settled);
        let keys = ["a", "b", "c"].map(|id| new(&mut tracker, id));
        let part = read(add_object(&mut tracker, keys[0], &object("x", Some("1"))));
        assert_eq!(add_object(&mut tracker, keys[1], &object("x", None)), ObjectClaim::Joined);
        // Another version is another object.
        let other = read(add_object(&mut tracker, keys[2], &object("x", Some("2"))));
        let ended = tracker.on_result(part, Some(PartitionResult::Complete));
        assert_eq!(disposals(&ended), [("a", &Disposal::Delete), ("b", &Disposal::Delete)]);
        assert_eq!(tracker.on_result(other, None).len(), 1);
        assert!(tracker.by_uri.is_empty() && tracker.objects.is_empty());
    }

    #[test]
    fn a_message_about_a_later_version_is_released_if_the_earlier_one_was_read() {
        let mut tracker = tracker(MessageDeletion::Settled);
        let keys = ["any", "read", "later"].map(|id| new(&mut tracker, id));
        let ObjectClaim::Read(reading) = add_object(&mut tracker, keys[0], &object("x", None))
        else {
            panic!()
        };
        for (key, etag) in [(keys[1], "1"), (keys[2], "2")] {
            assert_eq!(
                add_object(&mut tracker, key, &object("x", Some(etag))),
                ObjectClaim::Joined
            );
        }
        let fingerprint = "5:1".to_owned();
        tracker.identify(reading, Partition { key: "s3://b/x".to_owned(), fingerprint });
        let ended =
            tracker.on_result(MessagePart::Object(reading), Some(PartitionResult::Complete));
        let expected = [
            ("any", &Disposal::Delete),
            ("later", &Disposal::Release),
            ("read", &Disposal::Delete),
        ];
        assert_eq!(disposals(&ended), expected);
    }

    #[test]
    fn only_what_was_read_completely_is_known() {
        let mut tracker = tracker(MessageDeletion::Settled);
        let partition = Partition { key: "s3://b/x".to_owned(), fingerprint: "5:etag".to_owned() };
        for (result, expected) in [
            (Some(PartitionResult::Failed { cause: String::new() }), None),
            (Some(PartitionResult::Complete), Some("5:etag")),
        ] {
            let key = new(&mut tracker, expected.unwrap_or("failed"));
            let ObjectClaim::Read(object) = add_object(&mut tracker, key, &object("x", None))
            else {
                panic!()
            };
            tracker.identify(object, partition.clone());
            tracker.on_result(MessagePart::Object(object), result);
            let known = tracker.known_objects().fingerprint("s3://b/x");
            assert_eq!(known.as_deref(), expected);
        }
    }

    #[test]
    fn a_message_that_comes_again_is_not_read_again() {
        let now = Instant::now();
        let mut tracker = tracker(MessageDeletion::Settled);
        let key = new(&mut tracker, "m");
        let body = add_body(&mut tracker, key);
        assert_eq!(receive(&mut tracker, "m", "2", now), Reception::InFlight);
        assert_eq!(tracker.receipt(key).as_deref(), Some("2"), "the earlier one is of no use");
        tracker.on_result(body, Some(PartitionResult::Complete));
        tracker.remove(key);
        // Deleting failed, or was of no effect.
        assert!(matches!(receive(&mut tracker, "m", "3", now), Reception::Delete(_)));
        let foreign = new(&mut tracker, "foreign");
        tracker.end(foreign, PartitionResult::Foreign { kind: String::new() });
        assert_eq!(receive(&mut tracker, "foreign", "2", now), Reception::Known);
    }

    #[test]
    fn a_response_that_is_late_does_not_bring_back_an_earlier_receipt() {
        let mut tracker = tracker(MessageDeletion::Settled);
        let receive = |tracker: &mut Tracker, receive_count, receipt| {
            let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            let message = ReceivedMessage { receive_count, ..message("m", receipt) };
            tracker.receive(&message, slot, Instant::now())
        };
        let Reception::New(key) = receive(&mut tracker, 2, "second") else { panic!() };
        assert_eq!(receive(&mut tracker, 1, "first"), Reception::InFlight);
        assert_eq!(tracker.receipt(key).as_deref(), Some("second"));
        assert_eq!(receive(&mut tracker, 3, "third"), Reception::InFlight);
        assert_eq!(tracker.receipt(key).as_deref(), Some("third"));
    }

    #[test]
    fn a_message_that_fails_is_read_again_some_times() {
        let now = Instant::now();
        let mut tracker = tracker(MessageDeletion::Settled);
        for _ in 0..2 {
            let key = new(&mut tracker, "m");
            tracker.end(key, PartitionResult::Failed { cause: String::new() });
        }
        assert_eq!(receive(&mut tracker, "m", "3", now), Reception::Known);
        assert!(tracker.is_empty());
    }

    #[test]
    fn a_message_ends_without_the_parts_that_nobody_claimed_only_when_the_source_has_ended() {
        let mut tracker = tracker(MessageDeletion::Settled);
        let keys = ["none claimed", "one claimed", "all claimed", "nothing to read"];
        let keys = keys.map(|id| new(&mut tracker, id));
        for key in &keys[..3] {
            tracker.expect_parts(*key, 1);
            tracker.expect_parts(*key, 2);
        }
        let place = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut claim = |message, key| {
            let object = object(key, None);
            read(tracker.claim_object(message, &object, place()))
        };
        let first = claim(keys[1], "a");
        let (second, third) = (claim(keys[2], "b"), claim(keys[2], "c"));
        let complete = || Some(PartitionResult::Complete);
        assert_eq!(tracker.on_result(second, complete()), [], "another part is left");
        tracker.expect_parts(keys[3], 1);
        let foreign = tracker.end(keys[3], PartitionResult::Complete);
        assert_eq!(foreign.disposal, Disposal::Delete);
        let ended = tracker.abandon_unclaimed();
        assert_eq!(disposals(&ended), [("none claimed", &Disposal::Release)]);
        let object = object("d", None);
        assert_eq!(tracker.claim_object(keys[1], &object, place()), ObjectClaim::Unwanted);
        let ended = tracker.on_result(first, complete());
        assert_eq!(disposals(&ended), [("one claimed", &Disposal::Release)]);
        let ended = tracker.on_result(third, complete());
        assert_eq!(disposals(&ended), [("all claimed", &Disposal::Delete)]);
    }

    #[test]
    fn messages_are_extended_when_half_of_their_time_has_passed() {
        let now = Instant::now();
        let mut tracker = tracker(MessageDeletion::Settled);
        let key = new(&mut tracker, "m");
        add_body(&mut tracker, key);
        assert!(tracker.due(now + MINUTE / 2).is_empty());
        assert_eq!(tracker.due(now + MINUTE + MINUTE / 10), [key]);
        tracker.extend(&[key], now + MINUTE);
        assert!(tracker.due(now + MINUTE + MINUTE / 2).is_empty());
        tracker.lose(key);
        assert!(tracker.due(now + 10 * MINUTE).is_empty(), "there is nothing to extend");
        receive(&mut tracker, "m", "2", now + 10 * MINUTE);
        assert_eq!(tracker.due(now + 12 * MINUTE), [key]);
    }

    #[test]
    fn memory_stays_flat_over_a_month_of_messages() {
        let now = Instant::now();
        let mut tracker = tracker(MessageDeletion::Settled);
        for number in 0..3 * MAX_KNOWN {
            let key = new(&mut tracker, &number.to_string());
            let day = number / (MAX_KNOWN / 10);
            let uri = format!("day {day}/{number}");
            let ObjectClaim::Read(claimed) = add_object(&mut tracker, key, &object(&uri, None))
            else {
                panic!()
            };
            let (key_of_object, fingerprint) = (format!("s3://b/{uri}"), "1:e".to_owned());
            tracker.identify(claimed, Partition { key: key_of_object, fingerprint });
            let result = match number % 3 {
                0 => PartitionResult::Complete,
                1 => PartitionResult::Foreign { kind: number.to_string() },
                _ => PartitionResult::Failed { cause: number.to_string() },
            };
            for ended in tracker.on_result(MessagePart::Object(claimed), Some(result)) {
                tracker.remove(ended.key);
            }
        }
        assert!(tracker.is_empty() && tracker.due(now + 10 * MINUTE).is_empty());
        let Tracker { by_id, objects, by_uri, known, known_objects, .. } = &tracker;
        assert_eq!((by_id.len(), objects.len(), by_uri.len()), (0, 0, 0));
        assert_eq!((known.messages.len(), known.order.len()), (MAX_KNOWN, MAX_KNOWN));
        let objects = (known_objects.fingerprints.len(), known_objects.order.len());
        assert_eq!(objects, (MAX_KNOWN_OBJECTS, MAX_KNOWN_OBJECTS));
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut known = KnownMessages::default();
        for number in 0..=MAX_KNOWN {
            known.insert(&number.to_string(), KnownMessage::Left);
        }
        assert_eq!((known.messages.len(), known.order.len()), (MAX_KNOWN, MAX_KNOWN));
        assert_eq!(known.get("0"), None);
        assert_eq!(known.get("1"), Some(KnownMessage::Left));
    }
}
