//! The messages of an invocation, as a source of the pipeline.
//!
//! Input: what the messages contain. Output: one [`Input`] for the events in a message, and one for each object that it names; then
//! what became of each message.
//! Invariant: the result of a message is [`MessageResult::Done`] only if every part of it was read to its end and settled. No partition
//! is recorded as complete: a message that comes again is read again, because its alerts may not be delivered yet.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};

use super::{
    answer::MessageResult, context::FunctionContext, settings::NO_CREDENTIALS_HINT,
    undelivered::MessageContent,
};
use crate::{
    aws::{ErrorKind, Session},
    cli::{
        args::aws::AwsArgs,
        environment::Environment,
        failure::Failure,
        plan::{
            aws::{AwsOptions, EngineAuth},
            sources::SourceList,
        },
        sources::accounts,
    },
    event::{Partition, PartitionResult, ResultReceiver, ResultSender, result_channel},
    pending::PendingRequests,
    shutdown::ShutdownSignal,
    source::{
        Content, EventSender, Input, ReceiverClosed, ReservedBytes, Source, SourceEvent, SourceRun,
        message::{Message, Work},
        s3::{InputMemory, NotifiedObject, NotifiedObjects, ObjectReference, S3Error},
        task_output,
    },
};

/// The name of the one source of an invocation.
pub(super) const SOURCE_NAME: &str = "messages";

/// The common start of the keys of partitions.
const KEY_PREFIX: &str = "lambda://";

/// Bytes, as stored, that are kept to find the messages whose alerts are not delivered.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// Objects that are fetched at the same time.
const MAX_FETCHES: usize = 16;

/// What is read of a message.
enum PartContent {
    Events(Bytes),
    Object(ObjectReference),
}

/// A part of a message that is to be read.
pub(super) struct Part {
    /// The number of the message in the invocation.
    message: usize,
    /// The key of its partition.
    key: String,
    /// The name of the message in the log.
    name: String,
    content: PartContent,
    result: ResultSender,
}

/// The messages of an invocation.
pub(super) struct Messages {
    /// The results of messages of which nothing is read.
    results: Vec<Option<MessageResult>>,
    /// The parts of all messages: the number of the message, the key of the partition, and its result.
    pending: Vec<(usize, String, ResultReceiver)>,
    kept: Arc<KeptContent>,
}

/// What was read, as far as there is memory for it.
pub(super) struct KeptContent {
    free: AtomicUsize,
    messages: Mutex<Vec<MessageContent>>,
}

impl KeptContent {
    fn new(messages: usize) -> Self {
        let messages = vec![MessageContent::default(); messages];
        Self { free: MAX_KEPT_BYTES.into(), messages: Mutex::new(messages) }
    }

    /// Keeps a part of a message, or records that it is not kept.
    fn add(&self, message: usize, part: Option<&Bytes>) {
        let take = |free: usize| free.checked_sub(part?.len());
        let is_kept = self.free.fetch_update(Relaxed, Relaxed, take).is_ok();
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(content) = messages.get_mut(message) else { return };
        match part.filter(|_| is_kept) {
            Some(part) => content.parts.push(part.clone()),
            None => content.is_cut = true,
        }
    }
}

impl Messages {
    /// Divides the bodies of messages into parts that are read, and the results of those without any. `names` are those of the log.
    pub(super) fn new(bodies: &[Bytes], names: &[String]) -> (Self, Vec<Part>) {
        let mut messages = Self {
            results: Vec::new(),
            pending: Vec::new(),
            kept: Arc::new(KeptContent::new(bodies.len())),
        };
        let mut parts = Vec::new();
        for (message, body) in bodies.iter().enumerate() {
            let (result, contents) = match Message::parse(body) {
                Message::Work(Work { events, objects }) => {
                    let objects = objects.into_iter().map(PartContent::Object);
                    (None, events.map(PartContent::Events).into_iter().chain(objects).collect())
                }
                Message::Ignorable(_) => (Some(MessageResult::Done), Vec::new()),
                Message::Foreign { reason } => {
                    (Some(MessageResult::Foreign { reason }), Vec::new())
                }
                Message::Invalid { reason } => {
                    (Some(MessageResult::Failed { cause: reason }), Vec::new())
                }
            };
            messages.results.push(result);
            for content in contents {
                let (result, receiver) = result_channel();
                let key = format!("{KEY_PREFIX}{}", messages.pending.len());
                messages.pending.push((message, key.clone(), receiver));
                let name = names.get(message).cloned().unwrap_or_default();
                parts.push(Part { message, key, name, content, result });
            }
        }
        (messages, parts)
    }

    /// Returns where the source keeps what it reads.
    pub(super) fn kept(&self) -> Arc<KeptContent> {
        Arc::clone(&self.kept)
    }

    /// Returns what became of each message, and what is left of it. To be called after the run.
    pub(super) async fn results(
        self,
        rejected: &BTreeSet<String>,
    ) -> (Vec<MessageResult>, Vec<MessageContent>) {
        let mut results: Vec<MessageResult> =
            self.results.into_iter().map(|result| result.unwrap_or(MessageResult::Done)).collect();
        for (message, key, receiver) in self.pending {
            let result = match receiver.recv().await {
                Some(PartitionResult::Complete) if rejected.contains(&key) => {
                    let cause = "the engine rejected documents of it".to_owned();
                    MessageResult::Failed { cause }
                }
                Some(PartitionResult::Complete) => continue,
                Some(PartitionResult::Foreign { kind }) => MessageResult::Foreign { reason: kind },
                Some(PartitionResult::Failed { cause }) => MessageResult::Failed { cause },
                None => MessageResult::Unfinished,
            };
            if let Some(known) = results.get_mut(message) {
                known.add(result);
            }
        }
        let content =
            std::mem::take(&mut *self.kept.messages.lock().unwrap_or_else(PoisonError::into_inner));
        (results, content)
    }
}

/// Opens what messages name. Connections are kept from one invocation to the next.
pub(super) struct MessageReader {
    aws: AwsOptions,
    requester_pays: bool,
    session: Option<Session>,
    objects: Option<Arc<NotifiedObjects>>,
}

/// The parts of the messages of an invocation, as a source.
pub(super) struct MessageSource {
    parts: Vec<Part>,
    kept: Arc<KeptContent>,
    /// The reader of objects, if there are any.
    objects: Option<Arc<NotifiedObjects>>,
}

impl MessageReader {
    /// Creates the reader; sends nothing.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the settings of AWS are invalid.
    pub(super) fn new(requester_pays: bool, environment: &Environment) -> Result<Self, Failure> {
        let sources = SourceList::new(&[], &[])?;
        let aws = AwsArgs::default().plan(&sources, EngineAuth::SigV4, environment)?;
        Ok(Self { aws, requester_pays, session: None, objects: None })
    }

    /// Returns the AWS session, and opens it at the first call.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the certificates of the environment cannot be used.
    pub(super) async fn session(&mut self, waits: &PendingRequests) -> Result<Session, Failure> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let session = accounts::new_session(&self.aws, waits).await?;
        self.session = Some(session.clone());
        Ok(session)
    }

    /// Returns the source that reads the parts.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if objects cannot be read at all.
    pub(super) async fn open(
        &mut self,
        parts: Vec<Part>,
        kept: Arc<KeptContent>,
        context: &FunctionContext,
    ) -> Result<MessageSource, Failure> {
        let has_objects = parts.iter().any(|part| matches!(part.content, PartContent::Object(_)));
        if has_objects && self.objects.is_none() {
            let session = self.session(&context.waits).await?;
            let region = session.region();
            let memory = InputMemory::new(context.memory.fetched_bytes_per_source());
            let client = Box::new(move |region: &str| session.s3(region));
            // What earlier invocations read is read again: its alerts may not be delivered.
            let unknown = Arc::new(|_: &str| None);
            let objects =
                NotifiedObjects::new(client, region, self.requester_pays, memory, unknown);
            self.objects = Some(Arc::new(objects));
        }
        let objects = self.objects.clone().filter(|_| has_objects);
        Ok(MessageSource { parts, kept, objects })
    }
}

impl MessageSource {
    /// Sends the events of all messages, then the objects, as soon as each of them is fetched.
    async fn read(self, out: EventSender) -> Result<(), ReceiverClosed> {
        let Self { parts, kept, objects } = self;
        let mut fetching = JoinSet::new();
        for Part { message, key, name, content, result } in parts {
            match (content, &objects) {
                (PartContent::Events(bytes), _) => {
                    kept.add(message, Some(&bytes));
                    out.send(0, events(key, name, bytes, result)).await?;
                }
                (PartContent::Object(object), Some(objects)) => {
                    while fetching.len() >= MAX_FETCHES {
                        ended(fetching.join_next().await)?;
                    }
                    let part = ObjectPart { message, key, object, result };
                    let (kept, objects) = (Arc::clone(&kept), Arc::clone(objects));
                    fetching.spawn(part.read(objects, kept, out.clone()));
                }
                // The reader exists if there is an object.
                (PartContent::Object(_), None) => {}
            }
        }
        while !fetching.is_empty() {
            ended(fetching.join_next().await)?;
        }
        Ok(())
    }
}

/// Returns the result of a task, if there was one.
fn ended(
    joined: Option<Result<Result<(), ReceiverClosed>, JoinError>>,
) -> Result<(), ReceiverClosed> {
    joined.and_then(task_output).unwrap_or(Ok(()))
}

/// An object that a message names.
struct ObjectPart {
    message: usize,
    key: String,
    object: ObjectReference,
    result: ResultSender,
}

impl ObjectPart {
    /// Fetches the object, and sends it.
    async fn read(
        self,
        objects: Arc<NotifiedObjects>,
        kept: Arc<KeptContent>,
        out: EventSender,
    ) -> Result<(), ReceiverClosed> {
        let Self { message, key, object, result } = self;
        let partition = Partition { key, fingerprint: String::new() };
        match objects.read(&object).await {
            NotifiedObject::Readable { size, content, feed, .. } => {
                kept.add(message, stored_bytes(&content));
                let name = object.uri();
                let input = Input { partition, name, content, size, result: Some(result) };
                out.send(0, SourceEvent::Input(input)).await?;
                if let Some(feed) = feed {
                    feed.await;
                }
                Ok(())
            }
            NotifiedObject::Unreadable { error, .. } => {
                let cause = format!("{}: {}", object.uri(), described(&error));
                result.send(PartitionResult::Failed { cause });
                Ok(())
            }
            // Nothing is known, see `MessageReader::open`.
            NotifiedObject::Known { .. } => Ok(()),
        }
    }
}

/// Describes why an object cannot be read. The function may have no credentials.
fn described(error: &S3Error) -> String {
    let service = error.service_error.as_ref();
    let has_credentials = service.is_none_or(|service| {
        service.kind != ErrorKind::InvalidCredentials || service.status.is_some()
    });
    if has_credentials {
        return error.reason.clone();
    }
    format!("found no AWS credentials; {NO_CREDENTIALS_HINT}")
}

fn stored_bytes(content: &Content) -> Option<&Bytes> {
    match content {
        Content::Memory(stored) => Some(&stored.bytes),
        Content::File(_) | Content::Stream(_) => None,
    }
}

impl Source for MessageSource {
    fn run(self: Box<Self>, out: EventSender, _shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(async move {
            // A receiver that is gone wants nothing more.
            let _ = self.read(out).await;
            Ok(())
        })
    }
}

/// Returns the input for the events in a message.
fn events(key: String, name: String, bytes: Bytes, result: ResultSender) -> SourceEvent {
    SourceEvent::Input(Input {
        name,
        partition: Partition { key, fingerprint: String::new() },
        size: bytes.len() as u64,
        content: Content::Memory(ReservedBytes { bytes, permit: None }),
        result: Some(result),
    })
}
