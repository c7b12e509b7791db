//! Fetches object bodies, whole or as a stream.
//!
//! Invariant: all bodies in memory and in flight fit into the memory budget. A body that breaks off is resumed where
//! it broke off, and only from the version that was listed (`If-Match`).
//! Deliberately absent: decompression. `Content-Encoding` is ignored; the decoder detects the format from the bytes.

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf, Bytes};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    task::JoinSet,
};

use super::{
    bucket::{Attempts, BucketClient, InFlightBody},
    error::{ErrorScope, FailedRequest, S3Error},
    list_step::ListOrder,
    objects::{DayFolder, FetchJob, S3Object},
};
use crate::source::{Content, Error, Input, ReservedBytes, SourceEvent, task_output};

/// The largest body that is buffered as a whole. CloudTrail log files have at most 50 MB uncompressed, about a tenth
/// of that compressed.
pub(super) const MAX_BUFFERED_BYTES: u64 = 32 << 20;

/// Memory of a streamed body: `STREAM_CHUNKS` read buffers of the connection, and those in use.
pub(super) const STREAM_BYTES: u64 = 8 << 20;

/// Chunks buffered for the worker.
const STREAM_CHUNKS: usize = 8;

/// Bytes for each permit of the semaphore, so that its counter covers terabytes.
pub(super) const PERMIT_BYTES: u64 = 1 << 10;

/// Memory of an object in addition to its body: names, tasks, buffers of the connection.
const OBJECT_OVERHEAD_BYTES: u64 = 8 << 10;

/// Maximum number of bodies that are fetched or wait to be fetched or sent: several for each concurrent request. A
/// task of the SDK takes three times the memory of a small body.
const MAX_TASKS: usize = 256;

/// Maximum time without any bytes from a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches the objects that the filter let through.
pub(super) struct Fetcher {
    memory: Arc<Semaphore>,
    units: u32,
    order: ListOrder,
    events: Sender<(usize, SourceEvent)>,
}

impl Fetcher {
    pub(super) fn new(
        memory_bytes: u64,
        order: ListOrder,
        events: Sender<(usize, SourceEvent)>,
    ) -> Self {
        let units = u32::try_from(memory_bytes / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        let memory = Arc::new(Semaphore::new(units as usize));
        Self { memory, units, order, events }
    }

    /// Runs until all jobs are fetched and sent, or the receiver is gone.
    pub(super) async fn run(self, mut jobs: Receiver<FetchJob>) {
        let mut tasks = JoinSet::new();
        let mut turns = Turns::default();
        while let Some(job) = jobs.recv().await {
            while let Some(ended) = tasks.try_join_next() {
                task_output(ended);
            }
            if tasks.len() >= MAX_TASKS
                && let Some(ended) = tasks.join_next().await
            {
                task_output(ended);
            }
            if job.bucket.is_circuit_open() || !job.bucket.should_try(&job.object.key) {
                DayFolder::mark_incomplete(job.day.as_ref());
                continue;
            }
            let held =
                job.object.size <= MAX_BUFFERED_BYTES && cost(job.object.size) <= self.units / 2;
            let units = if held { cost(job.object.size) } else { cost(STREAM_BYTES) };
            let memory = Arc::clone(&self.memory);
            // The semaphore is never closed.
            let Ok(room) = memory.acquire_many_owned(units.min(self.units)).await else { return };
            let events = self.events.clone();
            let turn = match self.order {
                ListOrder::OldestFirst => Turn::default(),
                ListOrder::NewestFirst => turns.next(),
            };
            if held {
                tasks.spawn(fetch_buffered(job, room, turn, events));
            } else {
                tasks.spawn(fetch_streaming(job, room, turn, events));
            }
        }
        while let Some(ended) = tasks.join_next().await {
            task_output(ended);
        }
    }
}

/// Gives the objects that are fetched turns in which they are sent, in the order of their jobs. Each has its memory
/// before the next one gets any, so waiting cannot block the one whose turn it is.
#[derive(Default)]
struct Turns {
    /// Is closed when the turn of the last object is over.
    last: Option<oneshot::Receiver<()>>,
}

/// The turn of an object; it is over when this is dropped.
#[derive(Default)]
struct Turn {
    previous: Option<oneshot::Receiver<()>>,
    _own: Option<oneshot::Sender<()>>,
}

impl Turns {
    fn next(&mut self) -> Turn {
        let (own, last) = oneshot::channel();
        Turn { previous: self.last.replace(last), _own: Some(own) }
    }
}

impl Turn {
    /// Waits until the turns of all objects before are over.
    async fn wait(&mut self) {
        if let Some(previous) = self.previous.take() {
            // Nothing is ever sent: the sender is dropped.
            let _ = previous.await;
        }
    }
}

/// Returns the permits that a body takes.
pub(super) fn cost(bytes: u64) -> u32 {
    u32::try_from((bytes + OBJECT_OVERHEAD_BYTES).div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

/// Fetches a whole body into memory.
async fn fetch_buffered(
    job: FetchJob,
    room: OwnedSemaphorePermit,
    mut turn: Turn,
    events: Sender<(usize, SourceEvent)>,
) {
    let body = whole_body(&job.bucket, &job.object, None).await;
    turn.wait().await;
    match body {
        Ok(bytes) => {
            let held = ReservedBytes { bytes, permit: Some(room) };
            send_input(job, Content::Memory(held), &events).await;
        }
        Err(error) => report_failure(job, error, &events).await,
    }
}

/// Fetches a body in chunks, as fast as the worker reads them.
async fn fetch_streaming(
    job: FetchJob,
    room: OwnedSemaphorePermit,
    mut turn: Turn,
    events: Sender<(usize, SourceEvent)>,
) {
    let FetchJob { bucket, object, .. } = &job;
    let (bucket, object) = (Arc::clone(bucket), object.clone());
    let mut attempts = Attempts::default();
    let first = bucket.get(&object.key, object.etag.as_deref(), 0, &mut attempts).await;
    let response = match first {
        Ok(response) => response,
        Err(error) => return report_failure(job, error, &events).await,
    };
    let (reader, chunks) = body_channel(object.size, room);
    turn.wait().await;
    send_input(job, Content::Stream(reader), &events).await;
    drop(turn);
    stream_body(&bucket, &object, response, attempts, &chunks).await;
}

/// The channel through which a streamed body reaches the worker.
pub(super) type BodyChunks = Sender<io::Result<Bytes>>;

/// Creates the channel for a streamed body. The reader holds the permit for its memory.
pub(super) fn body_channel(
    size: u64,
    room: OwnedSemaphorePermit,
) -> (Box<dyn Read + Send>, BodyChunks) {
    let (chunks, from) = mpsc::channel(STREAM_CHUNKS);
    let reader = BodyReader { from, chunk: Bytes::new(), left: size, _room: room };
    (Box::new(reader), chunks)
}

/// Forwards a body, from its first response on, to its end, and resumes it where it breaks off.
pub(super) async fn stream_body(
    bucket: &BucketClient,
    object: &S3Object,
    mut response: InFlightBody<'_>,
    mut attempts: Attempts,
    chunks: &BodyChunks,
) {
    let mut got = 0;
    loop {
        let before = got;
        let how = match forward_body(&mut response.output.body, object.size, &mut got, chunks).await
        {
            Ok(()) => return bucket.on_success(),
            Err(how) => how,
        };
        let truncated = FailedRequest::truncated_body(got, object.size, how);
        let again = match bucket
            .on_body_error(&object.key, truncated, got - before, response.permit, &mut attempts)
            .await
        {
            Ok(()) => bucket.get(&object.key, object.etag.as_deref(), got, &mut attempts).await,
            Err(error) => Err(error),
        };
        response = match again {
            Ok(again) if got == 0 || is_partial(&again) => again,
            Ok(_) => {
                let _ = chunks.send(Err(io::Error::other("the download cannot be resumed"))).await;
                return;
            }
            Err(error) => {
                let _ = chunks.send(Err(io::Error::other(error))).await;
                return;
            }
        };
    }
}

/// Sends an input; if it was the last one of its day, also sends that the day is complete.
async fn send_input(job: FetchJob, content: Content, events: &Sender<(usize, SourceEvent)>) {
    let FetchJob { source_number, bucket, day, object } = job;
    let partition = object.partition(&bucket.name);
    let name = partition.key.clone();
    let input = Input { partition, name, content, size: object.size, result: None };
    send_event(source_number, SourceEvent::Input(input), day, events).await;
}

/// Reports that an object could not be fetched, and, once, that the whole bucket cannot.
async fn report_failure(job: FetchJob, error: S3Error, events: &Sender<(usize, SourceEvent)>) {
    let FetchJob { source_number, bucket, day, object } = job;
    // The failure of the bucket was already reported.
    if bucket.is_circuit_open()
        || error.scope == ErrorScope::MaybeBucket && bucket.is_access_doubtful()
    {
        DayFolder::mark_incomplete(day.as_ref());
        return;
    }
    let all = bucket.on_failure(error.scope);
    let partition = object.partition(&bucket.name);
    let name = partition.key.clone();
    let found =
        SourceEvent::Unreadable { partition, name, why: error.reason.clone(), size: object.size };
    send_event(source_number, found, day, events).await;
    if all {
        let name = format!("s3://{}", bucket.name);
        let error = Error::Bucket { name, source: Box::new(error) };
        let _ = events.send((source_number, SourceEvent::Failed(error))).await;
    }
}

async fn send_event(
    source_number: usize,
    found: SourceEvent,
    day: Option<Arc<DayFolder>>,
    events: &Sender<(usize, SourceEvent)>,
) {
    // A closed channel ends the task anyway.
    let _ = events.send((source_number, found)).await;
    if let Some(over) = DayFolder::release(day) {
        let _ = events.send((source_number, over)).await;
    }
}

/// Returns a body once it has arrived completely. `first` is the response to a request for the whole object, if one was made.
pub(super) async fn whole_body<'b>(
    bucket: &'b BucketClient,
    object: &S3Object,
    mut first: Option<InFlightBody<'b>>,
) -> Result<Bytes, S3Error> {
    let size = usize::try_from(object.size).unwrap_or(usize::MAX);
    let mut body = Vec::with_capacity(size);
    let mut attempts = Attempts::default();
    loop {
        let from = body.len() as u64;
        let mut response = match first.take() {
            Some(response) => response,
            None => bucket.get(&object.key, object.etag.as_deref(), from, &mut attempts).await?,
        };
        if !is_partial(&response) {
            body.clear();
        }
        let Err(how) = read_body(&mut body, size, &mut response.output.body).await else {
            bucket.on_success();
            return Ok(body.into());
        };
        let truncated = FailedRequest::truncated_body(body.len() as u64, object.size, how);
        let gained = (body.len() as u64).saturating_sub(from);
        bucket
            .on_body_error(&object.key, truncated, gained, response.permit, &mut attempts)
            .await?;
    }
}

/// Returns whether a response is the requested range; some services always return the whole object.
fn is_partial(response: &InFlightBody<'_>) -> bool {
    response.output.content_range.is_some()
}

/// Reads a body to its end, so that the connection can be reused.
async fn read_body(body: &mut Vec<u8>, size: usize, from: &mut ByteStream) -> Result<(), String> {
    loop {
        match next(from).await {
            Ok(Some(chunk)) if body.len() + chunk.len() > size => {
                body.clear();
                return Err("the object is larger than listed".to_owned());
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            _ if body.len() == size => return Ok(()),
            Ok(None) => return Err("the connection was closed".to_owned()),
            Err(how) => return Err(how),
        }
    }
}

/// Forwards a body to the worker until `size` bytes have arrived.
async fn forward_body(
    from: &mut ByteStream,
    size: u64,
    got: &mut u64,
    to: &Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    while *got < size {
        let Some(chunk) = next(from).await? else {
            return Err("the connection was closed".to_owned());
        };
        *got += chunk.len() as u64;
        if to.send(Ok(chunk)).await.is_err() {
            // The worker has stopped reading.
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the next chunk, or a description of the error.
async fn next(from: &mut ByteStream) -> Result<Option<Bytes>, String> {
    match tokio::time::timeout(BODY_TIMEOUT, from.try_next()).await {
        Ok(chunk) => chunk.map_err(|error| super::error::innermost_cause(&error)),
        Err(_) => Err(format!("no data for {} s", BODY_TIMEOUT.as_secs())),
    }
}

/// The worker's end of a streamed body.
struct BodyReader {
    from: Receiver<io::Result<Bytes>>,
    chunk: Bytes,
    /// Bytes still to come.
    left: u64,
    _room: OwnedSemaphorePermit,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.from.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None if self.left == 0 => return Ok(0),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}
