//! Gets bodies here, whole or piece by piece.
//!
//! Holds: the bodies that are held, and those under way, fit into the memory given; what broke off is fetched
//! on from where it broke, and only from the object that was listed (`If-Match`).
//! Absent on purpose: what is in them. `Content-Encoding` is not looked at either: the bytes tell.

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
    },
    task::JoinSet,
};

use super::{
    bucket::{InFlightBody, Attempts},
    error::{FailedRequest, ErrorScope, S3Error},
    objects::{DayFolder, FetchJob},
};
use crate::source::{Content, Error, SourceEvent, ReservedBytes, Input};

/// The largest body that is held whole. Trail files have 50 MB unpacked at most, a tenth of it packed.
const MAX_BUFFERED_BYTES: u64 = 32 << 20;

/// What a body takes that comes piece by piece: `STREAM_CHUNKS` of what the connection reads at once, and those in hand.
const STREAM_BYTES: u64 = 8 << 20;

/// Pieces that wait for a worker.
const STREAM_CHUNKS: usize = 8;

/// Memory is counted in pieces of this size, so that the counters hold terabytes.
const PERMIT_BYTES: u64 = 1 << 10;

/// Memory that an object takes beside its body, however small: names, tasks, buffers of the connection.
const OBJECT_OVERHEAD_BYTES: u64 = 8 << 10;

/// Bodies that are fetched, or wait to be fetched or handed over, at once: some for each that a bucket lets through.
/// A task of the SDK takes three times the memory of a small body.
const MAX_TASKS: usize = 256;

/// How long a body may stand still.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches what it is told to.
pub(super) struct Fetcher {
    memory: Arc<Semaphore>,
    units: u32,
    out: Sender<(usize, SourceEvent)>,
}

impl Fetcher {
    pub(super) fn new(memory_bytes: u64, out: Sender<(usize, SourceEvent)>) -> Self {
        let units = u32::try_from(memory_bytes / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        let memory = Arc::new(Semaphore::new(units as usize));
        Self { memory, units, out }
    }

    /// Works until there is nothing more to fetch and all of it is handed over, or nobody wants more.
    pub(super) async fn run(self, mut jobs: Receiver<FetchJob>) {
        let mut tasks = JoinSet::new();
        while let Some(job) = jobs.recv().await {
            while let Some(join_result) = tasks.try_join_next() {
                super::join_result(join_result);
            }
            if tasks.len() >= MAX_TASKS
                && let Some(join_result) = tasks.join_next().await
            {
                super::join_result(join_result);
            }
            if job.bucket.is_circuit_open() || !job.bucket.should_try(&job.object.key) {
                DayFolder::mark_incomplete(job.day.as_ref());
                continue;
            }
            let held = job.object.size <= MAX_BUFFERED_BYTES && cost(job.object.size) <= self.units / 2;
            let units = if held { cost(job.object.size) } else { cost(STREAM_BYTES) };
            let memory = Arc::clone(&self.memory);
            // Nobody closes it.
            let Ok(room) = memory.acquire_many_owned(units.min(self.units)).await else { return };
            let out = self.out.clone();
            if held {
                tasks.spawn(fetch_buffered(job, room, out));
            } else {
                tasks.spawn(fetch_streaming(job, room, out));
            }
        }
        while let Some(join_result) = tasks.join_next().await {
            super::join_result(join_result);
        }
    }
}

/// Returns the memory that a body takes, in units.
fn cost(bytes: u64) -> u32 {
    u32::try_from((bytes + OBJECT_OVERHEAD_BYTES).div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

/// Fetches a body whole.
async fn fetch_buffered(job: FetchJob, room: OwnedSemaphorePermit, out: Sender<(usize, SourceEvent)>) {
    match whole_body(&job).await {
        Ok(bytes) => {
            let held = ReservedBytes { bytes, permit: Some(room) };
            send_input(job, Content::Memory(held), &out).await;
        }
        Err(refusal) => report_failure(job, refusal, &out).await,
    }
}

/// Fetches a body piece by piece, as fast as a worker takes it.
async fn fetch_streaming(job: FetchJob, room: OwnedSemaphorePermit, out: Sender<(usize, SourceEvent)>) {
    let FetchJob { bucket, object, .. } = &job;
    let (bucket, object) = (Arc::clone(bucket), object.clone());
    let mut attempts = Attempts::default();
    let first = bucket.get(&object.key, object.etag.as_deref(), 0, &mut attempts).await;
    let mut response = match first {
        Ok(response) => response,
        Err(refusal) => return report_failure(job, refusal, &out).await,
    };
    let (chunks, from) = mpsc::channel(STREAM_CHUNKS);
    let reader = BodyReader { from, chunk: Bytes::new(), left: object.size, _room: room };
    send_input(job, Content::Stream(Box::new(reader)), &out).await;
    let mut got = 0;
    loop {
        let before = got;
        let how = match forward_body(&mut response.output.body, object.size, &mut got, &chunks).await {
            Ok(()) => return bucket.on_success(),
            Err(how) => how,
        };
        let truncated = FailedRequest::truncated_body(got, object.size, how);
        let again =
            match bucket.on_body_error(&object.key, truncated, got - before, response.permit, &mut attempts).await {
                Ok(()) => bucket.get(&object.key, object.etag.as_deref(), got, &mut attempts).await,
                Err(refusal) => Err(refusal),
            };
        response = match again {
            Ok(again) if got == 0 || is_partial(&again) => again,
            Ok(_) => {
                let _ = chunks.send(Err(io::Error::other("it cannot be fetched on"))).await;
                return;
            }
            Err(refusal) => {
                let _ = chunks.send(Err(io::Error::other(refusal))).await;
                return;
            }
        };
    }
}

/// Hands an input over, and then says that its day is over if this was the last of it.
async fn send_input(job: FetchJob, content: Content, out: &Sender<(usize, SourceEvent)>) {
    let FetchJob { word, bucket, day, object } = job;
    let lane = object.lane(&bucket.name);
    let name = lane.key.clone();
    let input = Input { lane, name, content, size: object.size };
    send_event(word, SourceEvent::Input(input), day, out).await;
}

/// Says that an object could not be had, and so, once, if that is true for the whole bucket.
async fn report_failure(job: FetchJob, refusal: S3Error, out: &Sender<(usize, SourceEvent)>) {
    let FetchJob { word, bucket, day, object } = job;
    // What is true for all was said once.
    if bucket.is_circuit_open() || refusal.scope == ErrorScope::MaybeBucket && bucket.is_access_doubtful() {
        DayFolder::mark_incomplete(day.as_ref());
        return;
    }
    let all = bucket.on_failure(refusal.scope);
    let lane = object.lane(&bucket.name);
    let name = lane.key.clone();
    let found = SourceEvent::Unreadable { lane, name, why: refusal.reason.clone(), size: object.size };
    send_event(word, found, day, out).await;
    if all {
        let name = format!("s3://{}", bucket.name);
        let error = Error::Bucket { name, source: Box::new(refusal) };
        let _ = out.send((word, SourceEvent::Failed(error))).await;
    }
}

async fn send_event(word: usize, found: SourceEvent, day: Option<Arc<DayFolder>>, out: &Sender<(usize, SourceEvent)>) {
    // Who does not want it will not want the rest either: the task ends in any case.
    let _ = out.send((word, found)).await;
    if let Some(over) = DayFolder::release(day) {
        let _ = out.send((word, over)).await;
    }
}

/// Returns a body once all of it is here.
async fn whole_body(job: &FetchJob) -> Result<Bytes, S3Error> {
    let FetchJob { bucket, object, .. } = job;
    let size = usize::try_from(object.size).unwrap_or(usize::MAX);
    let mut body = Vec::with_capacity(size);
    let mut attempts = Attempts::default();
    loop {
        let from = body.len() as u64;
        let mut response =
            bucket.get(&object.key, object.etag.as_deref(), from, &mut attempts).await?;
        if !is_partial(&response) {
            body.clear();
        }
        let Err(how) = read_body(&mut body, size, &mut response.output.body).await else {
            bucket.on_success();
            return Ok(body.into());
        };
        let truncated = FailedRequest::truncated_body(body.len() as u64, object.size, how);
        let gained = (body.len() as u64).saturating_sub(from);
        bucket.on_body_error(&object.key, truncated, gained, response.permit, &mut attempts).await?;
    }
}

/// Returns whether an answer is the part that was asked for; some services send everything, always.
fn is_partial(response: &InFlightBody<'_>) -> bool {
    response.output.content_range.is_some()
}

/// Appends what arrives, to its end, so that the connection can be used again.
async fn read_body(body: &mut Vec<u8>, size: usize, from: &mut ByteStream) -> Result<(), String> {
    loop {
        match next(from).await {
            Ok(Some(chunk)) if body.len() + chunk.len() > size => {
                body.clear();
                return Err("it is longer than it was listed".to_owned());
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            _ if body.len() == size => return Ok(()),
            Ok(None) => return Err("the connection was closed".to_owned()),
            Err(how) => return Err(how),
        }
    }
}

/// Hands on what arrives until there were `size` bytes.
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
            // The worker has what it wants.
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the next piece, or how it broke off.
async fn next(from: &mut ByteStream) -> Result<Option<Bytes>, String> {
    match tokio::time::timeout(BODY_TIMEOUT, from.try_next()).await {
        Ok(chunk) => chunk.map_err(|error| super::error::innermost_cause(&error)),
        Err(_) => Err(format!("nothing came for {} s", BODY_TIMEOUT.as_secs())),
    }
}

/// The worker's end of a body that comes piece by piece.
struct BodyReader {
    from: Receiver<io::Result<Bytes>>,
    chunk: Bytes,
    /// Bytes that are still to come.
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
