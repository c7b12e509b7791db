//! Listed objects, and the day folder that they belong to.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use aws_sdk_s3::{
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    types,
};

use sha2::{Digest as _, Sha256};

use super::bucket::BucketClient;
use crate::{
    event::{ListingSummary, Partition},
    source::SourceEvent,
};

/// An object, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct S3Object {
    pub(super) key: String,
    pub(super) size: u64,
    /// The `ETag` with its quotes, as `If-Match` requires it.
    pub(super) etag: Option<String>,
    /// Last modified, in seconds of the Unix epoch; 0 if unknown.
    pub(super) modified: i64,
}

/// Objects of the same folder.
pub(super) struct ListedObjects {
    /// Index of the SOURCE argument.
    pub(super) source_number: usize,
    pub(super) bucket: Arc<BucketClient>,
    pub(super) day: Option<Arc<DayFolder>>,
    pub(super) objects: Vec<S3Object>,
}

/// An object to fetch.
pub(super) struct FetchJob {
    pub(super) source_number: usize,
    pub(super) bucket: Arc<BucketClient>,
    pub(super) day: Option<Arc<DayFolder>>,
    pub(super) object: S3Object,
}

/// A day folder that may be closed. Every task that processes one of its objects holds a reference; the last one to
/// release it reports that the folder is complete.
#[derive(Debug)]
pub(super) struct DayFolder {
    /// The common key prefix of its partitions, with a trailing slash.
    prefix: String,
    /// The summary of its listing, once it is listed completely.
    listed: OnceLock<ListingSummary>,
    /// Number of inputs with which an earlier run closed it; these are not processed again.
    known: u64,
    /// Whether one of its objects was neither sent nor reported, so that the folder must not be closed.
    incomplete: AtomicBool,
}

impl S3Object {
    /// Creates an object from a listing, with its decoded key.
    pub(super) fn new(listed: &types::Object, key: String) -> Self {
        Self {
            key,
            size: listed.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            etag: listed.e_tag.clone(),
            modified: listed.last_modified.map_or(0, |at| at.secs()),
        }
    }

    /// Creates an object from the response to a request for all of it.
    pub(super) fn of_response(key: String, response: &GetObjectOutput) -> Self {
        Self {
            key,
            size: response.content_length.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            etag: response.e_tag.clone(),
            modified: response.last_modified.map_or(0, |at| at.secs()),
        }
    }

    /// Creates an object from the response to a request for its metadata.
    pub(super) fn of_metadata(key: String, response: &HeadObjectOutput) -> Self {
        Self {
            key,
            size: response.content_length.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            etag: response.e_tag.clone(),
            modified: response.last_modified.map_or(0, |at| at.secs()),
        }
    }

    /// Returns its partition in the checkpoint.
    pub(super) fn partition(&self, bucket: &str) -> Partition {
        Partition { key: s3_uri(bucket, &self.key), fingerprint: self.fingerprint() }
    }

    fn fingerprint(&self) -> String {
        let size = self.size;
        match &self.etag {
            Some(etag) => format!("{size}:{}", etag.trim_matches('"')),
            None => format!("{size}:{}", self.modified),
        }
    }

    /// Returns a hash of the key and of the fingerprint. Hashes are summed, so they must be uniformly distributed.
    pub(super) fn hash(&self) -> u64 {
        let mut hash = Sha256::new();
        for part in [self.key.as_str(), "\0", &self.fingerprint()] {
            hash.update(part);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(first)
    }
}

impl DayFolder {
    pub(super) fn new(bucket: &str, prefix: &str, known: u64) -> Arc<Self> {
        Arc::new(Self {
            prefix: s3_uri(bucket, prefix),
            listed: OnceLock::new(),
            known,
            incomplete: AtomicBool::new(false),
        })
    }

    /// Records that the folder is listed completely.
    pub(super) fn listed(&self, listed: ListingSummary) {
        // Called once, by the lister.
        let _ = self.listed.set(listed);
    }

    /// Records that an object was neither sent nor reported.
    pub(super) fn mark_incomplete(day: Option<&Arc<Self>>) {
        if let Some(day) = day {
            // Dropping the last `Arc` synchronizes with this store.
            day.incomplete.store(true, Relaxed);
        }
    }

    /// Releases a reference. Returns the event to send if it was the last one.
    pub(super) fn release(day: Option<Arc<Self>>) -> Option<SourceEvent> {
        let day = Arc::into_inner(day?)?;
        let listed = day.listed.into_inner()?;
        let whole = !day.incomplete.into_inner();
        let known = day.known;
        whole.then_some(SourceEvent::FolderComplete { prefix: day.prefix, listed, known })
    }
}

/// Returns the S3 URI of an object or folder, which is also its key in the checkpoint.
pub(super) fn s3_uri(bucket: &str, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}
