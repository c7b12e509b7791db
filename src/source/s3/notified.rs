//! Reads objects that notifications name.
//!
//! Input: [`ObjectReference`]s, and what was read before. Output: a [`NotifiedObject`] for each.
//! Invariant: the partition of an object is the one that a listing of its bucket yields, so that an object that is named and
//! listed is read once. All bodies fit into the memory that the caller shares with its other inputs.
//! Not here: which objects are named, and what becomes of what names them.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::{
    ClientFor,
    bucket::{Attempts, BucketClient, ClientCache},
    error::{ErrorScope, S3Error, is_plain_region},
    fetcher::{self, MAX_BUFFERED_BYTES, PERMIT_BYTES, STREAM_BYTES, cost},
    objects::S3Object,
    reference::ObjectReference,
};
use crate::{
    aws::AwsPartition,
    event::{FinishedPartition, Partition},
    source::{Content, ReservedBytes},
};

/// Buckets that are remembered: what a message names may be made up.
const MAX_BUCKETS: usize = 256;

/// Returns what is known about an object with this URI. May block.
pub(in crate::source) type ObjectLookup =
    Arc<dyn Fn(&str) -> Option<FinishedPartition> + Send + Sync>;

/// Reads objects of any bucket.
pub struct NotifiedObjects {
    clients: Arc<ClientCache>,
    /// By name and Region: a Region that is made up affects only the objects that are named with it.
    buckets: Mutex<HashMap<(String, String), Arc<BucketClient>>>,
    /// The Region that receives the first request for a bucket whose Region is unknown.
    region: String,
    requester_pays: bool,
    memory: InputMemory,
    finished: ObjectLookup,
}

/// The memory for what is fetched and waits for a worker. Clones share it.
#[derive(Clone, Debug)]
pub struct InputMemory {
    semaphore: Arc<Semaphore>,
    /// All permits, of [`PERMIT_BYTES`] each.
    units: u32,
}

impl InputMemory {
    /// Returns memory of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self { semaphore: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits for memory of so many bytes, or of all bytes if there are fewer. `None` if the run is ending.
    pub(in crate::source) async fn reserve(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = cost(bytes).min(self.units);
        // The semaphore is never closed.
        Arc::clone(&self.semaphore).acquire_many_owned(units).await.ok()
    }

    /// Returns the permits for so many bytes that are in memory already.
    pub(in crate::source) fn units(bytes: u64) -> usize {
        usize::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(usize::MAX)
    }

    /// Returns whether so many bytes leave room for something else.
    fn has_room_beside(&self, bytes: u64) -> bool {
        cost(bytes) <= self.units / 2
    }
}

/// What became of an object that a notification names.
pub enum NotifiedObject {
    /// It was read before.
    Known {
        /// Its partition.
        partition: Partition,
        /// Size as stored.
        size: u64,
        /// Whether it contains no CloudTrail events.
        is_foreign: bool,
    },
    /// It can be read.
    Readable {
        /// Its partition.
        partition: Partition,
        /// Size as stored.
        size: u64,
        /// Its bytes.
        content: Content,
        /// What has to run for a content that is a stream.
        feed: Option<BodyFeed>,
    },
    /// It cannot be fetched.
    Unreadable {
        /// Its partition, as far as it is known.
        partition: Partition,
        /// Size as stored; 0 if unknown.
        size: u64,
        /// The cause.
        error: S3Error,
        /// Whether this failure shows that all objects of the bucket cannot be fetched.
        is_whole_bucket: bool,
    },
}

/// Feeds a stream until its end.
pub type BodyFeed = Pin<Box<dyn Future<Output = ()> + Send>>;

impl NotifiedObjects {
    /// Returns a reader that shares `memory`.
    pub fn new(
        client: ClientFor,
        region: String,
        requester_pays: bool,
        memory: InputMemory,
        finished: ObjectLookup,
    ) -> Self {
        let clients = Arc::new(ClientCache::new(client));
        Self { clients, buckets: Mutex::default(), region, requester_pays, memory, finished }
    }

    /// Reads an object, unless it was read before.
    pub async fn read(&self, reference: &ObjectReference) -> NotifiedObject {
        let bucket = self.bucket(reference);
        match self.try_read(&bucket, reference).await {
            Ok(object) => object,
            Err((object, error)) => NotifiedObject::Unreadable {
                partition: object.partition(&bucket.name),
                size: object.size,
                // A message may name a bucket that does not exist.
                is_whole_bucket: bucket.on_failure(error.scope) && !is_missing_bucket(&error),
                error: explained(error),
            },
        }
    }

    async fn try_read(
        &self,
        bucket: &Arc<BucketClient>,
        reference: &ObjectReference,
    ) -> Result<NotifiedObject, (S3Object, S3Error)> {
        let named = S3Object {
            key: reference.key.clone(),
            size: reference.size.unwrap_or_default(),
            etag: reference.etag.as_ref().map(|etag| format!("\"{etag}\"")),
            modified: 0,
        };
        let finished = self.finished(&reference.uri()).await;
        if let Some(finished) = &finished {
            let current = if reference.size.is_some() && reference.etag.is_some() {
                named.clone()
            } else {
                let metadata = bucket.head(&named.key).await;
                let metadata = metadata.map_err(|error| (named.clone(), error))?;
                S3Object::of_metadata(named.key.clone(), &metadata)
            };
            if let Some(known) = known(&bucket.name, &current, finished) {
                return Ok(known);
            }
        }
        let mut attempts = Attempts::default();
        let mut first = bucket.get(&named.key, named.etag.as_deref(), 0, &mut attempts).await;
        if first.as_ref().is_err_and(is_other_version) {
            // The object was replaced. What is there now is read; the notification about it finds that it was.
            attempts = Attempts::default();
            first = bucket.get(&named.key, None, 0, &mut attempts).await;
        }
        let response = first.map_err(|error| (named.clone(), error))?;
        let object = S3Object::of_response(named.key, &response.output);
        if let Some(known) = finished.and_then(|finished| known(&bucket.name, &object, &finished)) {
            return Ok(known);
        }
        let partition = object.partition(&bucket.name);
        let size = object.size;
        let is_buffered = size <= MAX_BUFFERED_BYTES && self.memory.has_room_beside(size);
        let bytes = if is_buffered { size } else { STREAM_BYTES };
        let Some(permit) = self.memory.reserve(bytes).await else {
            return Err((object, S3Error::from_reason("the run is ending".to_owned())));
        };
        if is_buffered {
            let body = fetcher::whole_body(bucket, &object, Some(response)).await;
            let bytes = body.map_err(|error| (object, error))?;
            let content = Content::Memory(ReservedBytes { bytes, permit: Some(permit) });
            return Ok(NotifiedObject::Readable { partition, size, content, feed: None });
        }
        drop(response);
        let (reader, chunks) = fetcher::body_channel(size, permit);
        let bucket = Arc::clone(bucket);
        let feed: BodyFeed = Box::pin(async move {
            let mut attempts = Attempts::default();
            match bucket.get(&object.key, object.etag.as_deref(), 0, &mut attempts).await {
                Ok(response) => {
                    fetcher::stream_body(&bucket, &object, response, attempts, &chunks).await;
                }
                Err(error) => {
                    let _ = chunks.send(Err(std::io::Error::other(error))).await;
                }
            }
        });
        Ok(NotifiedObject::Readable {
            partition,
            size,
            content: Content::Stream(reader),
            feed: Some(feed),
        })
    }

    fn bucket(&self, reference: &ObjectReference) -> Arc<BucketClient> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let region = first_region(reference.region.as_deref(), &self.region);
        let id = (reference.bucket.clone(), region.to_owned());
        if let Some(known) = buckets.get(&id) {
            return Arc::clone(known);
        }
        if buckets.len() >= MAX_BUCKETS {
            buckets.clear();
        }
        let (name, clients) = (reference.bucket.clone(), Arc::clone(&self.clients));
        let bucket = Arc::new(BucketClient::new(name, clients, region, self.requester_pays));
        buckets.insert(id, Arc::clone(&bucket));
        bucket
    }

    async fn finished(&self, uri: &str) -> Option<FinishedPartition> {
        let (lookup, uri) = (Arc::clone(&self.finished), uri.to_owned());
        // If the task is cancelled, the run is ending.
        spawn_blocking(move || lookup(&uri)).await.ok().flatten()
    }
}

/// Returns the Region that receives the first request: the one that a notification names, unless requests would leave the partition of
/// `own`, or AWS. It becomes part of the name of a host to which the credentials are shown.
fn first_region<'r>(named: Option<&'r str>, own: &'r str) -> &'r str {
    let partition = AwsPartition::from_region(own).unwrap_or(AwsPartition::Aws);
    let is_trusted = |region: &&str| {
        is_plain_region(region)
            && AwsPartition::from_region(region).is_none_or(|named| named == partition)
    };
    named.filter(is_trusted).unwrap_or(own)
}

/// Returns the object as known, if it has the fingerprint of the partition that was read.
fn known(bucket: &str, object: &S3Object, finished: &FinishedPartition) -> Option<NotifiedObject> {
    let partition = object.partition(bucket);
    let is_same = partition.fingerprint == finished.fingerprint;
    let (size, is_foreign) = (object.size, finished.is_foreign);
    is_same.then_some(NotifiedObject::Known { partition, size, is_foreign })
}

/// Returns whether the object has another `ETag` than the one that was asked for.
fn is_other_version(error: &S3Error) -> bool {
    error.service_error.as_ref().is_some_and(|service| service.status == Some(412))
}

fn is_missing_bucket(error: &S3Error) -> bool {
    let code = error.service_error.as_ref().and_then(|service| service.code.as_deref());
    matches!(code, Some("NoSuchBucket" | "NoSuchAccessPoint"))
}

/// Returns the error with what it means for an object that was named and not listed.
fn explained(mut error: S3Error) -> S3Error {
    let Some(service) = &error.service_error else { return error };
    if service.status == Some(404) && error.scope == ErrorScope::Object {
        let meaning =
            "the object does not exist: it was deleted, or has expired, after the message was sent";
        meaning.clone_into(&mut error.reason);
    } else if error.missing_permission.as_ref().is_some_and(|it| it.action == "s3:GetObject") {
        error.reason.push_str(
            " (S3 returns the same for an object that does not exist, unless s3:ListBucket is allowed)",
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_a_message_names_leads_to_no_other_host_than_those_of_aws() {
        for region in ["eu-west-1", "us-east-1", "xx-new-9", "garage"] {
            assert_eq!(first_region(Some(region), "eu-central-1"), region);
        }
        for region in [
            "",
            "evil.example/#",
            "evil.example#",
            "x.evil.example",
            "evil.example:443/",
            "a@evil.example",
            "eu-west-1\n",
            "eu-west-1%00",
            "é",
            "cn-north-1",
            "us-gov-west-1",
            &"a".repeat(64),
        ] {
            assert_eq!(first_region(Some(region), "eu-central-1"), "eu-central-1", "{region}");
        }
        assert_eq!(first_region(Some("cn-north-1"), "cn-northwest-1"), "cn-north-1");
        assert_eq!(first_region(None, "eu-central-1"), "eu-central-1");
    }
}
