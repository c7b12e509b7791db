//! Compares duplicates with the documents that the index holds under their ids.
//!
//! Input: documents that the engine reported as duplicates. Output: how many differ, and warnings that name the first of
//! them.
//! Sends a request for up to [`MAX_DOCUMENTS`] duplicates and receives all of these documents, so it is done only if
//! requested. Writes nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::api::{ApiClient, ApiResponse, refusal};
use super::client::Method;
use super::{error_response, paths};
use crate::normalize;
use crate::report::{Log, Metrics};
use crate::sink::cause::Cause;
use crate::sink::error::Error;

/// Maximum number of documents in one request.
const MAX_DOCUMENTS: usize = 500;

/// Maximum total size in bytes of the documents of one request, estimated by the documents that were sent.
const MAX_BYTES: usize = 4 << 20;

/// Documents that are named in a warning; further ones are counted.
const MAX_WARNINGS: u64 = 20;

/// Keys of a document that are named.
const MAX_KEYS: usize = 5;

/// What a request for stored documents does, for errors.
const ACTION: &str = "reading documents to compare them";

/// A document whose id the index already holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Duplicate<'d> {
    /// The index it was sent to.
    pub(super) index: &'d str,
    /// Its id.
    pub(super) id: &'d str,
    /// The document that was sent.
    pub(super) sent: &'d [u8],
}

/// Compares duplicates, and limits the number of warnings.
#[derive(Debug)]
pub(super) struct DuplicateComparer {
    log: Log,
    warnings: AtomicU64,
}

impl DuplicateComparer {
    pub(super) fn new(log: Log) -> Self {
        Self { log, warnings: AtomicU64::new(0) }
    }

    /// Compares documents with those stored under their ids.
    pub(super) async fn compare(
        &self,
        api: &ApiClient<'_>,
        metrics: &Metrics,
        mut duplicates: &[Duplicate<'_>],
    ) -> Result<(), Error> {
        while !duplicates.is_empty() {
            let (current, remaining) = duplicates.split_at(count_for_one_request(duplicates));
            let response = fetch_stored(api, current).await?;
            let Some(stored) = parse_stored(&response, current.len()) else {
                return Err(api.refused(ACTION, &response));
            };
            if let Some(cause) = denied_item(&response) {
                return Err(refusal(api.address(), ACTION, cause));
            }
            let mut differing = 0;
            for (duplicate, stored) in current.iter().zip(stored) {
                let keys = differing_keys(duplicate, stored);
                if !keys.is_empty() {
                    differing += 1;
                    self.warn(duplicate, &keys);
                }
            }
            metrics.duplicates_compared.fetch_add(current.len() as u64, Ordering::Relaxed);
            metrics.duplicates_differing.fetch_add(differing, Ordering::Relaxed);
            duplicates = remaining;
        }
        Ok(())
    }

    fn warn(&self, duplicate: &Duplicate<'_>, keys: &[String]) {
        let others = match keys.len().saturating_sub(MAX_KEYS) {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let keys = keys[..keys.len().min(MAX_KEYS)].join(", ");
        let document = format!("{}/{}", duplicate.index, duplicate.id);
        let message =
            format!("the index holds another event under this id; it differs in {keys}{others}");
        match self.warnings.fetch_add(1, Ordering::Relaxed) {
            0..MAX_WARNINGS => self.log.warn(&document, message),
            MAX_WARNINGS => self.log.warn(
                &document,
                format_args!("{message}; further ones are only counted (-v names them)"),
            ),
            _ => self.log.debug(&document, message),
        }
    }
}

/// Returns how many of these duplicates are read with one request, at least one.
fn count_for_one_request(duplicates: &[Duplicate<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = duplicates.iter().take(MAX_DOCUMENTS).take_while(|duplicate| {
        bytes += duplicate.sent.len();
        bytes <= MAX_BYTES
    });
    fitting.count().max(1)
}

async fn fetch_stored(
    api: &ApiClient<'_>,
    duplicates: &[Duplicate<'_>],
) -> Result<ApiResponse, Error> {
    let documents: Vec<_> = duplicates
        .iter()
        .map(|duplicate| json!({ "_index": duplicate.index, "_id": duplicate.id }))
        .collect();
    let body = json!({ "docs": documents });
    api.send(Method::Post, &paths::multi_get(), Some(&body), ACTION).await
}

/// Parses the stored documents, in the order of the request. `None` if the response has another form.
fn parse_stored(response: &ApiResponse, documents: usize) -> Option<Vec<Option<&RawValue>>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        docs: Vec<Stored<'a>>,
    }
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(borrow, rename = "_source")]
        source: Option<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(&response.body).ok()?;
    (body.docs.len() == documents)
        .then(|| body.docs.into_iter().map(|stored| stored.source).collect())
}

/// Returns the cause of the first document that the user may not read: the engine answers 200 even if it denies them all.
fn denied_item(response: &ApiResponse) -> Option<Cause> {
    let mut errors = response.json["docs"].as_array()?.iter().map(|item| &item["error"]);
    let denied = errors.find(|error| error["type"] == "security_exception")?;
    let body = json!({ "error": denied, "status": 403 }).to_string();
    Some(error_response::parse(403, body.as_bytes()))
}

/// Returns the keys that differ; `everything` if no document of trailload is stored.
fn differing_keys(duplicate: &Duplicate<'_>, stored: Option<&RawValue>) -> Vec<String> {
    let differences =
        |stored: &RawValue| normalize::differences(duplicate.sent, stored.get().as_bytes()).ok();
    stored.and_then(differences).unwrap_or_else(|| vec!["everything".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_limited_by_count_and_by_bytes() {
        let long = vec![b'x'; MAX_BYTES / 2];
        let duplicate = |sent| Duplicate { index: "i", id: "d", sent };
        let many = vec![duplicate(b"{}"); MAX_DOCUMENTS + 1];
        assert_eq!(count_for_one_request(&many), MAX_DOCUMENTS);
        let large = [duplicate(&long), duplicate(&long), duplicate(b"{}")];
        assert_eq!(count_for_one_request(&large), 2);
        let huge = vec![b'x'; MAX_BYTES + 1];
        assert_eq!(count_for_one_request(&[duplicate(&huge), duplicate(&huge)]), 1, "at least one");
    }
}
