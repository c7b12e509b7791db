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
    bucket::{Arriving, Tries},
    refusal::{Answer, Reach, Refusal},
    shelf::{Day, Job},
};
use crate::source::{Content, Error, Found, Held, Input};

/// The largest body that is held whole. Trail files have 50 MB unpacked at most, a tenth of it packed.
const HELD_MOST: u64 = 32 << 20;

/// What a body takes that comes piece by piece: `PIECES` of what the connection reads at once, and those in hand.
const STREAM_BYTES: u64 = 8 << 20;

/// Pieces that wait for a worker.
const PIECES: usize = 8;

/// Memory is counted in pieces of this size, so that the counters hold terabytes.
const UNIT: u64 = 1 << 10;

/// Memory that an object takes beside its body, however small: names, tasks, buffers of the connection.
const OVERHEAD: u64 = 8 << 10;

/// Bodies that are fetched, or wait to be fetched or handed over, at once: some for each that a bucket lets through.
/// A task of the SDK takes three times the memory of a small body.
const TASKS: usize = 256;

/// How long a body may stand still.
const STILL: Duration = Duration::from_secs(30);

/// Fetches what it is told to.
pub(super) struct Fetcher {
    memory: Arc<Semaphore>,
    units: u32,
    out: Sender<(usize, Found)>,
}

impl Fetcher {
    pub(super) fn new(memory_bytes: u64, out: Sender<(usize, Found)>) -> Self {
        let units = u32::try_from(memory_bytes / UNIT).unwrap_or(u32::MAX).max(1);
        let memory = Arc::new(Semaphore::new(units as usize));
        Self { memory, units, out }
    }

    /// Works until there is nothing more to fetch and all of it is handed over, or nobody wants more.
    pub(super) async fn run(self, mut jobs: Receiver<Job>) {
        let mut tasks = JoinSet::new();
        while let Some(job) = jobs.recv().await {
            while let Some(ended) = tasks.try_join_next() {
                super::ended(ended);
            }
            if tasks.len() >= TASKS
                && let Some(ended) = tasks.join_next().await
            {
                super::ended(ended);
            }
            if job.bucket.is_shut() || !job.bucket.is_worth_a_try(&job.object.key) {
                Day::spoil(job.day.as_ref());
                continue;
            }
            let held = job.object.size <= HELD_MOST && cost(job.object.size) <= self.units / 2;
            let units = if held { cost(job.object.size) } else { cost(STREAM_BYTES) };
            let memory = Arc::clone(&self.memory);
            // Nobody closes it.
            let Ok(room) = memory.acquire_many_owned(units.min(self.units)).await else { return };
            let out = self.out.clone();
            if held {
                tasks.spawn(hold(job, room, out));
            } else {
                tasks.spawn(stream(job, room, out));
            }
        }
        while let Some(ended) = tasks.join_next().await {
            super::ended(ended);
        }
    }
}

/// Returns the memory that a body takes, in units.
fn cost(bytes: u64) -> u32 {
    u32::try_from((bytes + OVERHEAD).div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// Fetches a body whole.
async fn hold(job: Job, room: OwnedSemaphorePermit, out: Sender<(usize, Found)>) {
    match whole(&job).await {
        Ok(bytes) => {
            let held = Held { bytes, room: Some(room) };
            hand_over(job, Content::Held(held), &out).await;
        }
        Err(refusal) => lost(job, refusal, &out).await,
    }
}

/// Fetches a body piece by piece, as fast as a worker takes it.
async fn stream(job: Job, room: OwnedSemaphorePermit, out: Sender<(usize, Found)>) {
    let Job { bucket, object, .. } = &job;
    let (bucket, object) = (Arc::clone(bucket), object.clone());
    let mut tries = Tries::default();
    let first = bucket.get(&object.key, object.etag.as_deref(), 0, &mut tries).await;
    let mut arriving = match first {
        Ok(arriving) => arriving,
        Err(refusal) => return lost(job, refusal, &out).await,
    };
    let (pieces, from) = mpsc::channel(PIECES);
    let reader = Pieces { from, piece: Bytes::new(), left: object.size, _room: room };
    hand_over(job, Content::Stream(Box::new(reader)), &out).await;
    let mut got = 0;
    loop {
        let before = got;
        let how = match pump(&mut arriving.output.body, object.size, &mut got, &pieces).await {
            Ok(()) => return bucket.granted(),
            Err(how) => how,
        };
        let cut = Answer::cut(got, object.size, how);
        let again =
            match bucket.broken(&object.key, cut, got - before, arriving.slot, &mut tries).await {
                Ok(()) => bucket.get(&object.key, object.etag.as_deref(), got, &mut tries).await,
                Err(refusal) => Err(refusal),
            };
        arriving = match again {
            Ok(again) if got == 0 || is_rest(&again) => again,
            Ok(_) => {
                let _ = pieces.send(Err(io::Error::other("it cannot be fetched on"))).await;
                return;
            }
            Err(refusal) => {
                let _ = pieces.send(Err(io::Error::other(refusal))).await;
                return;
            }
        };
    }
}

/// Hands an input over, and then says that its day is over if this was the last of it.
async fn hand_over(job: Job, content: Content, out: &Sender<(usize, Found)>) {
    let Job { word, bucket, day, object } = job;
    let lane = object.lane(&bucket.name);
    let name = lane.key.clone();
    let input = Input { lane, name, content, size: object.size };
    say(word, Found::Input(input), day, out).await;
}

/// Says that an object could not be had, and so, once, if that is true for the whole bucket.
async fn lost(job: Job, refusal: Refusal, out: &Sender<(usize, Found)>) {
    let Job { word, bucket, day, object } = job;
    // What is true for all was said once.
    if bucket.is_shut() || refusal.reach == Reach::Perhaps && bucket.is_doubted() {
        Day::spoil(day.as_ref());
        return;
    }
    let all = bucket.refused(refusal.reach);
    let lane = object.lane(&bucket.name);
    let name = lane.key.clone();
    let found = Found::Lost { lane, name, why: refusal.why.clone(), size: object.size };
    say(word, found, day, out).await;
    if all {
        let name = format!("s3://{}", bucket.name);
        let error = Error::Bucket { name, source: Box::new(refusal) };
        let _ = out.send((word, Found::Failed(error))).await;
    }
}

async fn say(word: usize, found: Found, day: Option<Arc<Day>>, out: &Sender<(usize, Found)>) {
    // Who does not want it will not want the rest either: the task ends in any case.
    let _ = out.send((word, found)).await;
    if let Some(over) = Day::leave(day) {
        let _ = out.send((word, over)).await;
    }
}

/// Returns a body once all of it is here.
async fn whole(job: &Job) -> Result<Bytes, Refusal> {
    let Job { bucket, object, .. } = job;
    let size = usize::try_from(object.size).unwrap_or(usize::MAX);
    let mut body = Vec::with_capacity(size);
    let mut tries = Tries::default();
    loop {
        let from = body.len() as u64;
        let mut arriving =
            bucket.get(&object.key, object.etag.as_deref(), from, &mut tries).await?;
        if !is_rest(&arriving) {
            body.clear();
        }
        let Err(how) = fill(&mut body, size, &mut arriving.output.body).await else {
            bucket.granted();
            return Ok(body.into());
        };
        let cut = Answer::cut(body.len() as u64, object.size, how);
        let gained = (body.len() as u64).saturating_sub(from);
        bucket.broken(&object.key, cut, gained, arriving.slot, &mut tries).await?;
    }
}

/// Returns whether an answer is the part that was asked for; some services send everything, always.
fn is_rest(arriving: &Arriving<'_>) -> bool {
    arriving.output.content_range.is_some()
}

/// Appends what arrives, to its end, so that the connection can be used again.
async fn fill(body: &mut Vec<u8>, size: usize, from: &mut ByteStream) -> Result<(), String> {
    loop {
        match next(from).await {
            Ok(Some(piece)) if body.len() + piece.len() > size => {
                body.clear();
                return Err("it is longer than it was listed".to_owned());
            }
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            _ if body.len() == size => return Ok(()),
            Ok(None) => return Err("the connection was closed".to_owned()),
            Err(how) => return Err(how),
        }
    }
}

/// Hands on what arrives until there were `size` bytes.
async fn pump(
    from: &mut ByteStream,
    size: u64,
    got: &mut u64,
    to: &Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    while *got < size {
        let Some(piece) = next(from).await? else {
            return Err("the connection was closed".to_owned());
        };
        *got += piece.len() as u64;
        if to.send(Ok(piece)).await.is_err() {
            // The worker has what it wants.
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the next piece, or how it broke off.
async fn next(from: &mut ByteStream) -> Result<Option<Bytes>, String> {
    match tokio::time::timeout(STILL, from.try_next()).await {
        Ok(piece) => piece.map_err(|error| super::refusal::first_cause(&error)),
        Err(_) => Err(format!("nothing came for {} s", STILL.as_secs())),
    }
}

/// The worker's end of a body that comes piece by piece.
struct Pieces {
    from: Receiver<io::Result<Bytes>>,
    piece: Bytes,
    /// Bytes that are still to come.
    left: u64,
    _room: OwnedSemaphorePermit,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None if self.left == 0 => return Ok(0),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}
