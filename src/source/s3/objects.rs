//! What travels between the parts: objects that were listed, and the day they lie in.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use aws_sdk_s3::types;

use sha2::{Digest as _, Sha256};

use super::{bucket::BucketClient, lister::ListTarget};
use crate::{
    event::{Partition, ListingSummary},
    source::SourceEvent,
};

/// An object, as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct S3Object {
    pub(super) key: String,
    pub(super) size: u64,
    /// With its quotes, as S3 wants it back.
    pub(super) etag: Option<String>,
    /// When it was put, in seconds; 0 if the service does not say.
    pub(super) modified: i64,
}

/// Some objects that lie beside each other.
pub(super) struct ListedObjects {
    /// Which SOURCE word they belong to.
    pub(super) word: usize,
    pub(super) bucket: Arc<BucketClient>,
    pub(super) day: Option<Arc<DayFolder>>,
    pub(super) objects: Vec<S3Object>,
}

/// An object that is to be fetched.
pub(super) struct FetchJob {
    pub(super) word: usize,
    pub(super) bucket: Arc<BucketClient>,
    pub(super) day: Option<Arc<DayFolder>>,
    pub(super) object: S3Object,
}

/// A day that may be closed. Whoever has to do with its objects holds it: the last one says that it is over.
#[derive(Debug)]
pub(super) struct DayFolder {
    /// The lanes' common key, with its last slash.
    prefix: String,
    /// What it looks like, once it is listed whole.
    listed: OnceLock<ListingSummary>,
    /// How many of its inputs an earlier run closed it with, and are left alone now.
    known: u64,
    /// Whether one of them was not even tried, so that nobody may take it for done.
    incomplete: AtomicBool,
}

impl S3Object {
    /// Takes what a listing says, with the key in plain text.
    pub(super) fn new(listed: &types::Object, key: String) -> Self {
        Self {
            key,
            size: listed.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            etag: listed.e_tag.clone(),
            modified: listed.last_modified.map_or(0, |at| at.secs()),
        }
    }

    /// Returns what the checkpoint knows it by.
    pub(super) fn lane(&self, bucket: &str) -> Partition {
        Partition { key: s3_uri(bucket, &self.key), fingerprint: self.fingerprint() }
    }

    fn fingerprint(&self) -> String {
        let size = self.size;
        match &self.etag {
            Some(etag) => format!("{size}:{}", etag.trim_matches('"')),
            None => format!("{size}:{}", self.modified),
        }
    }

    /// Returns a hash of its name and what changes with its content. It is added to others, so it is a good one.
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

impl ListedObjects {
    /// Puts objects together that were found for a target.
    pub(super) fn new(target: &ListTarget, day: Option<Arc<DayFolder>>, objects: Vec<S3Object>) -> Self {
        let bucket = Arc::clone(&target.bucket);
        Self { word: target.word, bucket, day, objects }
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

    /// Takes in that it is listed whole.
    pub(super) fn listed(&self, listed: ListingSummary) {
        // Only its lister says it, once.
        let _ = self.listed.set(listed);
    }

    /// Takes in that one of its inputs is left out, neither handed over nor told as lost.
    pub(super) fn mark_incomplete(day: Option<&Arc<Self>>) {
        if let Some(day) = day {
            // Seen by whoever is the last: letting go of an `Arc` orders it.
            day.incomplete.store(true, Relaxed);
        }
    }

    /// Lets go of it. Returns what to say if nobody else has to do with it.
    pub(super) fn release(day: Option<Arc<Self>>) -> Option<SourceEvent> {
        let day = Arc::into_inner(day?)?;
        let listed = day.listed.into_inner()?;
        let whole = !day.incomplete.into_inner();
        let known = day.known;
        whole.then_some(SourceEvent::FolderComplete { prefix: day.prefix, listed, known })
    }
}

/// Returns an object or a folder as the user would name it; the checkpoint knows it by the same words.
pub(super) fn s3_uri(bucket: &str, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}
