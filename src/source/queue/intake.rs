//! Receives messages, and has read what they hold and name.
//!
//! Input: messages of a queue. Output: inputs for the pipeline, and for the acknowledger what each message waits for.
//! Invariant: a message is tracked before anything is waited for, and counts as unfinished until each of its parts is claimed and has
//! a result: whatever is dropped from then on is released. Bodies, objects and messages in flight are bounded, however many objects
//! a message names; a slow pipeline holds up receiving.
//! Not here: what becomes of a message (see `acknowledger`).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    MessageOrder, QueueMode, QueueOptions, QueueResources, UnreadableBucket,
    client::{MAX_BATCH, QueueClient, ReceiveOptions, ReceivedMessage},
    error::{QueueError, QueueRecovery},
    shared::{IntakeEvent, IntakeEvents, SharedState},
    tracker::{EndedMessage, MessageKey, MessagePart, ObjectClaim, ObjectKey, Reception},
};
use crate::{
    event::{
        FinishedPartition, Partition, PartitionResult, ResultSender, SourceObservation,
        result_channel,
    },
    limit::Backoff,
    report::{Log, Metrics, format},
    source::{
        Content, Error, EventSender, Input, ReceiverClosed, ReservedBytes, SourceEvent,
        message::{Message, Work},
        s3::{
            ObjectReference,
            notified::{InputMemory, NotifiedObject, NotifiedObjects},
        },
        task_output,
    },
};

/// The end of the names of FIFO queues.
const FIFO: &str = ".fifo";

/// Messages that are received and not deleted yet: at a second from receipt to deletion, 4,000 a second.
const MAX_IN_FLIGHT: usize = 4_096;

/// [`MAX_BATCH`], as permits.
const BATCH_SLOTS: u32 = 10;

/// Receive requests at the same time, while messages come. At a latency of 20 ms, 8,000 messages a second.
const MAX_RECEIVES: usize = 16;

/// Messages of a response from which on another request is sent at the same time.
const BUSY_RESPONSE: usize = MAX_BATCH / 2;

/// A response with messages that takes longer shows that the service is busy: fewer requests are sent at the same time. SQS
/// responds within 50 ms.
const SLOW_RESPONSE: Duration = Duration::from_secs(1);

/// The longest long poll of SQS, in seconds.
const LONG_POLL_SECONDS: u16 = 20;

/// Time to the next request if a long poll of a queue without messages ends earlier.
const MIN_LONG_POLL: Duration = Duration::from_millis(200);

/// How long a further request waits while one is a long poll, in seconds: it is only sent while messages come.
const SHORT_POLL_SECONDS: u16 = 1;

/// The longest time from when SQS hands out a message until its response is here.
const MAX_LATENCY: Duration = Duration::from_secs(5);

/// Memory that a receive request reserves before it is sent, unless recent responses were longer: ten messages of EventBridge or S3
/// mostly have less.
const RECEIVE_BYTES: u64 = 1 << 20;

/// The part of the memory that responses take; the others are for objects. They are apart, because a response waits for objects.
const RECEIVE_SHARE: u64 = 4;

/// Objects that messages wait for, each time a message waits for one: about a kilobyte each. A message may name ten thousand.
const MAX_OBJECTS: usize = 4_096;

/// How long a receive request is waited for when the source has ended, so that the messages of its response can be released.
/// SQS responds within a second unless it is a long poll of an empty queue.
const RESPONSE_GRACE: Duration = Duration::from_secs(2);

/// Objects that are fetched, or wait to be passed on.
const MAX_FETCHES: usize = 128;

/// Objects that wait to be fetched.
const QUEUED_FETCHES: usize = 64;

/// Waits after a receive request that failed.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30) };

/// Failed requests in a row after which the user is told.
const FAILURES_TO_REPORT: u32 = 3;

/// How long a run that does not follow waits for a queue that does not respond.
const MAX_OUTAGE: Duration = Duration::from_mins(2);

/// Time between two requests for the state of the queue.
const OBSERVATION_INTERVAL: Duration = Duration::from_mins(1);

/// Causes that are reported; objects with further ones are only counted with their messages.
const MAX_CAUSES: usize = 100;

/// What follows for a message that cannot be read.
const LEFT: &str =
    "left in the queue, which delivers it again or moves it to the dead-letter queue";

/// Objects that are reported for each cause; further ones are only counted with their messages.
const MAX_REPORTS: u32 = 3;

/// Receives messages.
pub(super) struct MessageIntake {
    queue: QueueClient,
    shared: Arc<SharedState>,
    acknowledger: IntakeEvents,
    objects: NotifiedObjects,
    /// The memory of responses.
    memory: InputMemory,
    order: MessageOrder,
    recovery_interval: Duration,
    log: Log,
    metrics: Arc<Metrics>,
    source_number: usize,
    name: String,
    slots: Arc<Semaphore>,
    /// Places for objects that messages wait for.
    places: Arc<Semaphore>,
    reservation: Reservation,
    /// Whether a request for messages has succeeded.
    has_received: AtomicBool,
    reports: Mutex<HashMap<String, u32>>,
    /// Whether an object was read.
    has_read_object: AtomicBool,
    /// When the newest message was sent, in milliseconds of the Unix epoch.
    newest_sent: Mutex<Option<i64>>,
}

/// Why the source ends before the queue is empty.
pub(super) enum IntakeError {
    Queue(Box<QueueError>),
    Bucket(Box<UnreadableBucket>),
}

impl IntakeError {
    /// Returns the error of the source, which reads the queue of this name.
    pub(super) fn named(self, name: String) -> Error {
        match self {
            Self::Queue(source) => Error::Queue { name, source },
            Self::Bucket(bucket) => {
                let UnreadableBucket { name, error } = *bucket;
                Error::Bucket { name: format!("s3://{name}"), source: Box::new(error) }
            }
        }
    }
}

/// An object to read.
struct ObjectJob {
    key: ObjectKey,
    reference: ObjectReference,
    result: ResultSender,
}

/// The memory that a receive request reserves: that of the longest of the recent responses.
struct Reservation {
    bytes: AtomicU64,
    least: u64,
    most: u64,
}

impl Reservation {
    fn new(memory_bytes: u64) -> Self {
        let least = RECEIVE_BYTES.min(memory_bytes / 4);
        Self { bytes: AtomicU64::new(least), least, most: memory_bytes }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Adapts to a response of so many bytes: at once to a longer one, slowly to shorter ones.
    fn on_response(&self, bytes: u64) {
        let before = self.bytes();
        let next = bytes.max(before - before / 8).clamp(self.least, self.most);
        self.bytes.store(next, Relaxed);
    }
}

/// The response to a receive request.
struct ReceiveResponse {
    messages: Vec<ReceivedMessage>,
    /// A slot for each message.
    slots: OwnedSemaphorePermit,
    /// When the time of the messages began at the earliest.
    handed_out: Instant,
    latency: Duration,
}

/// A message that is tracked, and was not parsed yet.
struct TrackedMessage {
    key: MessageKey,
    id: String,
    receive_count: u32,
    body: Bytes,
    /// The group in which it is read after the one before.
    group: Option<String>,
}

/// A receive request, as it was sent.
#[derive(Clone, Copy)]
struct ReceiveRequest {
    is_long_poll: bool,
    sent: Instant,
    had_in_flight: bool,
}

/// The result of a receive request.
struct ReceiveEnd {
    request: ReceiveRequest,
    result: Result<Received, QueueError>,
}

#[derive(Clone, Copy)]
struct Received {
    messages: usize,
    new: usize,
    /// How long the response took.
    latency: Duration,
}

impl MessageIntake {
    pub(super) fn new(
        resources: QueueResources,
        shared: Arc<SharedState>,
        acknowledger: IntakeEvents,
        options: QueueOptions,
    ) -> Self {
        let QueueResources { queue, s3, finished, log, metrics } = resources;
        let response_bytes = options.memory_bytes / RECEIVE_SHARE;
        let memory = InputMemory::new(response_bytes);
        let object_memory = InputMemory::new(options.memory_bytes - response_bytes);
        let (known, finished) = (Arc::clone(&shared), Mutex::new(finished));
        let lookup = Arc::new(move |uri: &str| {
            let read = known.tracker().known_objects().fingerprint(uri);
            if let Some(fingerprint) = read {
                return Some(FinishedPartition { fingerprint, is_foreign: false });
            }
            (finished.lock().unwrap_or_else(PoisonError::into_inner))(uri)
        });
        let QueueOptions {
            region,
            requester_pays,
            source_number,
            name,
            order,
            recovery_interval,
            ..
        } = options;
        let objects = NotifiedObjects::new(s3, region, requester_pays, object_memory, lookup);
        Self {
            queue,
            shared,
            acknowledger,
            objects,
            memory,
            order,
            recovery_interval,
            log,
            metrics,
            source_number,
            name,
            slots: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            places: Arc::new(Semaphore::new(MAX_OBJECTS)),
            reservation: Reservation::new(response_bytes),
            has_received: AtomicBool::new(false),
            reports: Mutex::default(),
            has_read_object: AtomicBool::new(false),
            newest_sent: Mutex::default(),
        }
    }

    /// Runs until the queue is empty or for ever, depending on the mode.
    pub(super) async fn run(self, mode: QueueMode, out: EventSender) -> Result<(), IntakeError> {
        let intake = Arc::new(self);
        let mut observing = JoinSet::new();
        observing.spawn(Arc::clone(&intake).observe(out.clone()));
        let mut reported = None;
        loop {
            let Err(error) = Arc::clone(&intake).read(mode, out.clone()).await else {
                observing.shutdown().await;
                intake.observe_end(&out).await;
                return Ok(());
            };
            if mode != QueueMode::FollowAmongOthers || !intake.has_received.load(Relaxed) {
                return Err(error);
            }
            let error = error.named(intake.name.clone());
            let description = error.describe();
            if reported.as_ref() != Some(&description) {
                let failed = SourceEvent::Failed(error);
                if out.send(intake.source_number, failed).await.is_err() {
                    return Ok(());
                }
                reported = Some(description);
            }
            for ended in intake.shared.tracker().abandon_unclaimed() {
                intake.tell(IntakeEvent::Ended(ended));
            }
            sleep_until(Instant::now() + intake.recovery_interval).await;
            intake.shared.recover();
        }
    }

    /// Reads the queue until it is empty or cannot be read any more.
    async fn read(self: Arc<Self>, mode: QueueMode, out: EventSender) -> Result<(), IntakeError> {
        let (fetches, to_fetch) = mpsc::channel(QUEUED_FETCHES);
        let receive = async {
            let receiving = Arc::clone(&self).receive_all(mode, out.clone(), fetches);
            receiving.await.map_err(|error| IntakeError::Queue(Box::new(error)))
        };
        let fetch = Arc::clone(&self).fetch_all(to_fetch, out.clone());
        let read = async {
            // The first error ends both: what is received after it would only use up receives.
            tokio::try_join!(receive, fetch).map(|((), ())| ())
        };
        tokio::select! {
            biased;
            error = self.shared.faulted() => Err(IntakeError::Queue(Box::new(error))),
            result = read => result,
        }
    }

    /// Receives messages with as many requests at a time as there are messages for.
    async fn receive_all(
        self: Arc<Self>,
        mode: QueueMode,
        out: EventSender,
        fetches: Sender<ObjectJob>,
    ) -> Result<(), QueueError> {
        let mut receives = JoinSet::new();
        let (mut wanted, mut has_long_poll) = (1, false);
        let mut outage = Outage::default();
        let mut last_new = Instant::now();
        let mut is_ending = false;
        loop {
            while !is_ending && receives.len() < wanted {
                let is_long_poll = !has_long_poll;
                has_long_poll = true;
                let (out, fetches) = (out.clone(), fetches.clone());
                receives.spawn(Arc::clone(&self).receive(mode, is_long_poll, out, fetches));
            }
            let ended = receives.join_next().await.and_then(task_output);
            let Some(ReceiveEnd { request, result }) = ended else { return Ok(()) };
            has_long_poll &= !request.is_long_poll;
            match result {
                Ok(received) => {
                    outage.end(&self);
                    if received.new > 0 {
                        last_new = Instant::now();
                        is_ending = false;
                    }
                    wanted = received.next_receives(wanted, request.is_long_poll);
                    if mode == QueueMode::UntilEmpty && self.is_empty(request, received, last_new) {
                        // The others may have messages that they could not pass on yet.
                        is_ending = true;
                    }
                }
                Err(error) => {
                    wanted = 1;
                    outage.add(error, mode, &self).await?;
                }
            }
        }
    }

    /// Returns whether the queue is empty, as far as a response shows. `last_new` is when a message came that was not known.
    fn is_empty(&self, request: ReceiveRequest, received: Received, last_new: Instant) -> bool {
        let ReceiveRequest { is_long_poll, sent, had_in_flight } = request;
        if received.new > 0 {
            return false;
        }
        // Messages that are left may return again and again, so that no response is empty.
        let is_idle = last_new.elapsed() >= Duration::from_secs(LONG_POLL_SECONDS.into());
        // Another request may have received messages meanwhile. In a FIFO queue, they hold back others.
        let is_in_flight = had_in_flight || last_new > sent || !self.shared.tracker().is_empty();
        is_long_poll && !is_in_flight && (received.messages == 0 || is_idle)
    }

    /// Returns whether messages in flight hold back the later ones of their groups.
    fn is_fifo(&self) -> bool {
        self.queue.arn().ends_with(FIFO)
    }

    /// Returns how long a request waits for messages. While messages are in flight, no response ends the run, and that of a FIFO queue
    /// may not notice that messages are not held back any more.
    fn wait_seconds(&self, request: ReceiveRequest, mode: QueueMode) -> u16 {
        let is_final = !request.had_in_flight || mode != QueueMode::UntilEmpty && !self.is_fifo();
        if request.is_long_poll && is_final { LONG_POLL_SECONDS } else { SHORT_POLL_SECONDS }
    }

    /// Receives messages once, and passes on what they hold.
    async fn receive(
        self: Arc<Self>,
        mode: QueueMode,
        is_long_poll: bool,
        out: EventSender,
        fetches: Sender<ObjectJob>,
    ) -> ReceiveEnd {
        let slots = Arc::clone(&self.slots).acquire_many_owned(BATCH_SLOTS).await;
        let memory = self.memory.reserve(self.reservation.bytes()).await;
        let had_in_flight = !self.shared.tracker().is_empty();
        let request = ReceiveRequest { is_long_poll, sent: Instant::now(), had_in_flight };
        let end = |result| ReceiveEnd { request, result };
        let nothing = Ok(Received { messages: 0, new: 0, latency: Duration::ZERO });
        // The semaphores are never closed.
        let (Ok(slots), Some(memory)) = (slots, memory) else { return end(nothing) };
        let options = ReceiveOptions {
            wait_seconds: self.wait_seconds(request, mode),
            visibility_seconds: u32::try_from(self.shared.visibility.as_secs()).unwrap_or(u32::MAX),
        };
        let response = match self.request(options, slots).await {
            Some(Ok(response)) => response,
            Some(Err(error)) => return end(Err(error)),
            None => return end(nothing),
        };
        self.has_received.store(true, Relaxed);
        let ReceiveResponse { messages, mut slots, handed_out, latency } = response;
        let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
        self.reservation.on_response(bytes as u64);
        let received = messages.len();
        let mut new = Vec::new();
        for message in messages {
            // More than were asked for are not tracked, and return.
            let Some(slot) = slots.split(1) else { break };
            new.extend(self.track(message, slot, handed_out));
        }
        drop(slots);
        let received = Received { messages: received, new: new.len(), latency };
        if is_long_poll && received.messages == 0 && latency < MIN_LONG_POLL {
            // The service does not wait for messages that are held back.
            sleep_until(Instant::now() + MIN_LONG_POLL).await;
        }
        // A closed channel ends the run, and the task with it.
        let _ = self.read_messages(new, memory, &out, &fetches).await;
        end(Ok(received))
    }

    /// Sends a receive request through the acknowledger, which outlives this source: what arrives when nobody waits for it any more
    /// is released. Returns `None` if the run is ending.
    async fn request(
        &self,
        options: ReceiveOptions,
        slots: OwnedSemaphorePermit,
    ) -> Option<Result<ReceiveResponse, QueueError>> {
        let (mut sender, response) = oneshot::channel();
        let (queue, shared) = (self.queue.clone(), Arc::clone(&self.shared));
        let request = async move {
            let requested = Instant::now();
            let received = tokio::select! {
                received = queue.receive(options) => received,
                () = nobody_waits(&mut sender) => return Vec::new(),
            };
            let latency = requested.elapsed();
            // A long poll ends with the first message, so its time does not run since the request.
            let handed_out = requested.max(Instant::now() - MAX_LATENCY);
            let response =
                received.map(|messages| ReceiveResponse { messages, slots, handed_out, latency });
            match sender.send(response) {
                Err(Ok(unwanted)) => release(unwanted, &shared),
                Ok(()) | Err(Err(_)) => Vec::new(),
            }
        };
        self.tell(IntakeEvent::Requested(Box::pin(request)));
        response.await.ok()
    }

    /// Tracks a message. Returns it if it has to be read.
    fn track(
        &self,
        message: ReceivedMessage,
        slot: OwnedSemaphorePermit,
        handed_out: Instant,
    ) -> Option<TrackedMessage> {
        let mut tracker = self.shared.tracker();
        let key = match tracker.receive(&message, slot, handed_out) {
            Reception::New(key) => key,
            Reception::Delete(key) => {
                let ended = tracker.end(key, PartitionResult::Complete);
                drop(tracker);
                self.tell(IntakeEvent::Ended(ended));
                return None;
            }
            Reception::InFlight | Reception::Known => return None,
        };
        // Its body, until it is parsed.
        tracker.expect_parts(key, 1);
        drop(tracker);
        self.note_sent(message.sent);
        let ReceivedMessage { id, body, receive_count, group, .. } = message;
        let group = group.filter(|_| self.order == MessageOrder::WithinGroup && self.is_fifo());
        Some(TrackedMessage { key, id, receive_count, body: body.into(), group })
    }

    /// Parses messages one after the other, and passes on what they hold and name. If their order matters, one waits until the one before
    /// it in its group has ended; SQS holds back those of later responses. Bodies take their memory from what was reserved for the
    /// response.
    async fn read_messages(
        &self,
        messages: Vec<TrackedMessage>,
        mut memory: OwnedSemaphorePermit,
        out: &EventSender,
        fetches: &Sender<ObjectJob>,
    ) -> Result<(), ReceiverClosed> {
        let mut ends = HashMap::new();
        for message in messages {
            if let Some(group) = &message.group {
                let end = self.shared.tracker().end_of(message.key);
                if let Some(before) = ends.insert(group.clone(), end) {
                    // It is closed without a value.
                    let _ = before.await;
                }
            }
            let Some(Work { events, objects }) = self.parse(&message) else { continue };
            let TrackedMessage { key, id, .. } = message;
            let parts = usize::from(events.is_some()) + objects.len();
            self.shared.tracker().expect_parts(key, parts);
            if let Some(text) = events {
                let mut input = self.body_input(key, &id, text);
                if let Content::Memory(content) = &mut input.content {
                    let units = InputMemory::units(input.size).min(memory.num_permits());
                    content.permit = memory.split(units);
                }
                out.send(self.source_number, SourceEvent::Input(input)).await?;
            }
            self.name_objects(key, objects, fetches).await?;
        }
        Ok(())
    }

    /// Returns what has to be read for a message. If that is nothing, the message ends.
    fn parse(&self, message: &TrackedMessage) -> Option<Work> {
        let TrackedMessage { key, id, receive_count, body, group: _ } = message;
        let about = format!("{} message {id}", self.name);
        let result = match Message::parse(body) {
            Message::Work(work) => return Some(work),
            Message::Ignorable(ignorable) => {
                self.log.debug(&about, format_args!("nothing to read: {ignorable}"));
                PartitionResult::Complete
            }
            Message::Foreign { reason } => PartitionResult::Foreign { kind: reason },
            Message::Invalid { reason } => {
                if self.is_to_be_reported(&reason) {
                    let count = format::plural((*receive_count).into(), "receive");
                    self.log.warn(&about, format_args!("{reason}; {LEFT} ({count} so far)"));
                    self.metrics.add_failed(self.source_number, &about, &reason);
                }
                PartitionResult::Failed { cause: reason }
            }
        };
        let ended = self.shared.tracker().end(*key, result);
        self.tell(IntakeEvent::Ended(ended));
        None
    }

    /// Returns the input for the events in the body of a message.
    fn body_input(&self, message: MessageKey, id: &str, text: Bytes) -> Input {
        let part = self.shared.tracker().claim_body(message);
        let result = self.expect(part);
        let key = format!("{}#{id}", self.name);
        let name = format!("{} message {id}", self.name);
        let size = text.len() as u64;
        let content = Content::Memory(ReservedBytes { bytes: text, permit: None });
        let partition = Partition { key, fingerprint: String::new() };
        Input { partition, name, content, size, result: Some(result) }
    }

    /// Has the objects read that a message names. Each is claimed when there is a place for it.
    async fn name_objects(
        &self,
        message: MessageKey,
        objects: Vec<ObjectReference>,
        fetches: &Sender<ObjectJob>,
    ) -> Result<(), ReceiverClosed> {
        for reference in objects {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_| ReceiverClosed)?;
            let claim = self.shared.tracker().claim_object(message, &reference, place);
            if let ObjectClaim::Read(key) = claim {
                let result = self.expect(MessagePart::Object(key));
                let job = ObjectJob { key, reference, result };
                fetches.send(job).await.map_err(|_| ReceiverClosed)?;
            }
        }
        Ok(())
    }

    /// Has the acknowledger wait for the result of a part.
    fn expect(&self, part: MessagePart) -> ResultSender {
        let (sender, receiver) = result_channel();
        self.tell(IntakeEvent::Pending(part, receiver));
        sender
    }

    fn tell(&self, event: IntakeEvent) {
        // It ends before the source only at an immediate shutdown.
        let _ = self.acknowledger.send(event);
    }

    fn note_sent(&self, sent: Option<i64>) {
        let mut newest = self.newest_sent.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (*newest).max(sent);
    }

    /// Fetches objects, several at a time, until nothing is received any more.
    async fn fetch_all(
        self: Arc<Self>,
        mut jobs: Receiver<ObjectJob>,
        out: EventSender,
    ) -> Result<(), IntakeError> {
        let mut fetching = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(ended) = fetching.join_next(), if !fetching.is_empty() => {
                    if let Some(ended) = task_output(ended) {
                        ended?;
                    }
                }
                job = jobs.recv(), if fetching.len() < MAX_FETCHES => match job {
                    Some(job) => {
                        fetching.spawn(Arc::clone(&self).fetch(job, out.clone()));
                    }
                    None if fetching.is_empty() => return Ok(()),
                    None => {
                        if let Some(ended) = fetching.join_next().await.and_then(task_output) {
                            ended?;
                        }
                    }
                },
            }
        }
    }

    /// Fetches an object, and passes it on.
    async fn fetch(self: Arc<Self>, job: ObjectJob, out: EventSender) -> Result<(), IntakeError> {
        let ObjectJob { key, reference, result } = job;
        let number = self.source_number;
        // A closed channel ends the run, and the task with it.
        match self.objects.read(&reference).await {
            NotifiedObject::Known { partition, size, is_foreign } => {
                self.shared.tracker().identify(key, partition);
                let event = SourceEvent::AlreadyDone { size, touched: None, is_foreign };
                let _ = out.send(number, event).await;
                result.send(if is_foreign {
                    PartitionResult::Foreign {
                        kind: "an object without CloudTrail events".to_owned(),
                    }
                } else {
                    PartitionResult::Complete
                });
            }
            NotifiedObject::Readable { partition, size, content, feed } => {
                self.has_read_object.store(true, Relaxed);
                self.shared.tracker().identify(key, partition.clone());
                let name = partition.key.clone();
                let input = Input { partition, name, content, size, result: Some(result) };
                let _ = out.send(number, SourceEvent::Input(input)).await;
                if let Some(feed) = feed {
                    feed.await;
                }
            }
            NotifiedObject::Unreadable { partition, size, error, is_whole_bucket } => {
                let (name, why) = (partition.key.clone(), error.reason.clone());
                result.send(PartitionResult::Failed { cause: why.clone() });
                if self.is_to_be_reported(&why) {
                    let event = SourceEvent::Unreadable { partition, name, why, size };
                    let _ = out.send(number, event).await;
                }
                if is_whole_bucket && !self.has_read_object.load(Relaxed) {
                    let bucket = UnreadableBucket { name: reference.bucket, error };
                    return Err(IntakeError::Bucket(Box::new(bucket)));
                }
            }
        }
        Ok(())
    }

    /// Returns whether a failure is to be reported: some were not for the same cause.
    fn is_to_be_reported(&self, cause: &str) -> bool {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if !reports.contains_key(cause) && reports.len() >= MAX_CAUSES {
            return false;
        }
        let reported = reports.entry(cause.to_owned()).or_default();
        *reported += 1;
        *reported <= MAX_REPORTS
    }

    /// Reports the state of the queue now and then. Ends if it must not be read, which `doctor` reports.
    async fn observe(self: Arc<Self>, out: EventSender) {
        let mut next = Instant::now();
        loop {
            match self.observation().await {
                Ok(observation) => {
                    let event = SourceEvent::Observed(observation);
                    if out.send(self.source_number, event).await.is_err() {
                        return;
                    }
                }
                Err(error) if error.recovery == QueueRecovery::GiveUp => return,
                Err(_) => {}
            }
            next += OBSERVATION_INTERVAL;
            next = next.max(Instant::now());
            sleep_until(next).await;
        }
    }

    /// Reports the state of the queue at the end of the run, which is recorded as that of the source.
    async fn observe_end(&self, out: &EventSender) {
        if let Ok(observation) = self.observation().await {
            // A closed channel ends the run as well.
            let _ = out.send(self.source_number, SourceEvent::Observed(observation)).await;
        }
    }

    /// Returns the present state of the queue.
    async fn observation(&self) -> Result<SourceObservation, QueueError> {
        let attributes = self.queue.attributes().await?;
        let time = |millis| Timestamp::from_millisecond(millis).ok();
        let newest = *self.newest_sent.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(SourceObservation {
            oldest_waiting: self.shared.tracker().oldest_sent().and_then(time),
            waiting: attributes.waiting,
            in_flight: attributes.in_flight,
            newest_event: newest.and_then(time),
            covered_until: None,
        })
    }
}

/// Waits until nobody waits for a response, and somewhat longer.
async fn nobody_waits<T>(response: &mut oneshot::Sender<T>) {
    response.closed().await;
    sleep_until(Instant::now() + RESPONSE_GRACE).await;
}

/// Ends the messages of a response that nobody waits for.
fn release(response: ReceiveResponse, shared: &SharedState) -> Vec<EndedMessage> {
    let ReceiveResponse { messages, mut slots, handed_out, .. } = response;
    let mut tracker = shared.tracker();
    let mut ended = Vec::new();
    for message in messages {
        let Some(slot) = slots.split(1) else { break };
        match tracker.receive(&message, slot, handed_out) {
            Reception::New(key) => ended.push(tracker.abandon(key)),
            Reception::Delete(key) => ended.push(tracker.end(key, PartitionResult::Complete)),
            Reception::InFlight | Reception::Known => {}
        }
    }
    ended
}

impl Received {
    /// Returns how many requests are to be sent at the same time, of which there are `receives` now.
    fn next_receives(self, receives: usize, is_long_poll: bool) -> usize {
        // The time of a long poll is mostly that until the first message is sent.
        let is_slow = !is_long_poll && self.latency > SLOW_RESPONSE;
        match self.messages {
            0 => receives.saturating_sub(1).max(1),
            _ if is_slow => receives.saturating_sub(1).max(1),
            BUSY_RESPONSE.. if self.latency <= SLOW_RESPONSE => (receives + 1).min(MAX_RECEIVES),
            _ => receives,
        }
    }
}

/// A time without a response to receive requests.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    failures: u32,
}

impl Outage {
    /// Records a failed request, and waits before the next one.
    ///
    /// # Errors
    ///
    /// Returns the error if there is to be no other request.
    async fn add(
        &mut self,
        error: QueueError,
        mode: QueueMode,
        intake: &MessageIntake,
    ) -> Result<(), QueueError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.failures += 1;
        let is_over = mode == QueueMode::UntilEmpty && since.elapsed() > MAX_OUTAGE;
        if error.recovery == QueueRecovery::GiveUp || is_over {
            return Err(error);
        }
        if self.failures == FAILURES_TO_REPORT {
            intake.log.warn(&intake.name, format_args!("{error}; trying again"));
        }
        sleep_until(Instant::now() + BACKOFF.delay(self.failures)).await;
        Ok(())
    }

    /// Records a response.
    fn end(&mut self, intake: &MessageIntake) {
        if self.failures >= FAILURES_TO_REPORT {
            intake.log.info(&intake.name, "the queue responds again");
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_the_messages_and_the_service() {
        let received = |messages, millis| Received {
            messages,
            new: messages,
            latency: Duration::from_millis(millis),
        };
        for (received, is_long_poll, expected) in [
            (received(10, 20), false, 5),
            (received(10, 20), true, 5),
            (received(5, 20), false, 5),
            (received(2, 20), false, 4),
            (received(0, 1_000), false, 3),
            (received(0, 20_000), true, 3),
            // After a quiet time, one message does not show that there are many.
            (received(10, 9_000), true, 4),
            // A busy service.
            (received(10, 1_500), false, 3),
        ] {
            assert_eq!(received.next_receives(4, is_long_poll), expected, "{is_long_poll}");
        }
        assert_eq!(received(0, 0).next_receives(1, false), 1);
        assert_eq!(received(10, 0).next_receives(MAX_RECEIVES, false), MAX_RECEIVES);
    }

    #[test]
    fn long_responses_are_expected_after_one_and_forgotten_slowly() {
        let reservation = Reservation::new(64 << 20);
        reservation.on_response(10 << 20);
        assert_eq!(reservation.bytes(), 10 << 20);
        reservation.on_response(0);
        assert_eq!(reservation.bytes(), (10 << 20) - (10 << 17));
        for _ in 0..100 {
            reservation.on_response(0);
        }
        assert_eq!(reservation.bytes(), RECEIVE_BYTES);
        reservation.on_response(1 << 30);
        assert_eq!(reservation.bytes(), 64 << 20);
        assert_eq!(Reservation::new(1 << 20).bytes(), 1 << 18);
    }
}
