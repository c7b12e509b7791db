//! Compares documents whose ids an index held already with what it holds under them.
//!
//! In: documents that the engine answered "is there already" for. Out: how many hold another event, and the names of the
//! first of them.
//! Costs a request for up to [`MOST_AT_ONCE`] duplicates, and each of their documents comes back over the network; so it is
//! done only when asked for. Nothing is written.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::calls::{Calls, Said};
use super::client::Method;
use super::paths;
use crate::normalize;
use crate::report::{Log, Tally};
use crate::sink::Error;

/// Documents asked for in one request.
const MOST_AT_ONCE: usize = 500;

/// Bytes of documents asked for in one request, as far as the documents sent tell.
const MOST_BYTES: usize = 4 << 20;

/// Documents that are named before they are only counted.
const NAMED: u64 = 20;

/// Keys that are named of one document.
const KEYS_NAMED: usize = 5;

/// A document that was there already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Duplicate<'d> {
    /// The index it was sent to.
    pub(super) index: &'d str,
    /// Its id.
    pub(super) id: &'d str,
    /// The document that was sent.
    pub(super) sent: &'d [u8],
}

/// What compares, and what it found so far.
#[derive(Debug)]
pub(super) struct Comparison {
    log: Log,
    named: AtomicU64,
}

impl Comparison {
    pub(super) fn new(log: Log) -> Self {
        Self { log, named: AtomicU64::new(0) }
    }

    /// Compares documents with those stored under their ids.
    pub(super) async fn compare(
        &self,
        calls: &Calls<'_>,
        tally: &Tally,
        mut duplicates: &[Duplicate<'_>],
    ) -> Result<(), Error> {
        while !duplicates.is_empty() {
            let (now, later) = duplicates.split_at(fitting(duplicates));
            let said = ask(calls, now).await?;
            let Some(stored) = read(&said, now.len()) else {
                return Err(calls.refused(ACTION, said));
            };
            let mut differing = 0;
            for (duplicate, stored) in now.iter().zip(stored) {
                let keys = differences(duplicate, stored);
                if !keys.is_empty() {
                    differing += 1;
                    self.name(duplicate, &keys);
                }
            }
            tally.duplicates_compared.fetch_add(now.len() as u64, Ordering::Relaxed);
            tally.duplicates_differing.fetch_add(differing, Ordering::Relaxed);
            duplicates = later;
        }
        Ok(())
    }

    fn name(&self, duplicate: &Duplicate<'_>, keys: &[String]) {
        let more = match keys.len().saturating_sub(KEYS_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let keys = keys[..keys.len().min(KEYS_NAMED)].join(", ");
        let about = format!("{}/{}", duplicate.index, duplicate.id);
        let told =
            format!("the index holds another event under this id: it differs in {keys}{more}");
        match self.named.fetch_add(1, Ordering::Relaxed) {
            0..NAMED => self.log.warn(&about, told),
            NAMED => self
                .log
                .warn(&about, format_args!("{told}; others are only counted (-v names them)")),
            _ => self.log.debug(&about, told),
        }
    }
}

/// What a request for stored documents does, for errors.
const ACTION: &str = "reading documents back to compare them";

/// Returns how many of some duplicates are asked for at once: one at least.
fn fitting(duplicates: &[Duplicate<'_>]) -> usize {
    let mut bytes = 0;
    let fits = duplicates.iter().take(MOST_AT_ONCE).take_while(|duplicate| {
        bytes += duplicate.sent.len();
        bytes <= MOST_BYTES
    });
    fits.count().max(1)
}

async fn ask(calls: &Calls<'_>, duplicates: &[Duplicate<'_>]) -> Result<Said, Error> {
    let documents: Vec<_> = duplicates
        .iter()
        .map(|duplicate| json!({ "_index": duplicate.index, "_id": duplicate.id }))
        .collect();
    calls.call(Method::Post, &paths::multi_get(), Some(&json!({ "docs": documents })), ACTION).await
}

/// Reads the stored documents from an answer, in the order in which they were asked for. `None` if it is no such answer.
fn read(said: &Said, documents: usize) -> Option<Vec<Option<&RawValue>>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        docs: Vec<Stored<'a>>,
    }
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(borrow, rename = "_source")]
        source: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = serde_json::from_slice(said.body()).ok()?;
    (answer.docs.len() == documents)
        .then(|| answer.docs.into_iter().map(|stored| stored.source).collect())
}

/// Returns the keys under which a stored document differs; all of them as one, if nothing is stored, or nothing of ours.
fn differences(duplicate: &Duplicate<'_>, stored: Option<&RawValue>) -> Vec<String> {
    let differences =
        |stored: &RawValue| normalize::differences(duplicate.sent, stored.get().as_bytes()).ok();
    stored.and_then(differences).unwrap_or_else(|| vec!["everything".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_by_number_and_by_bytes() {
        let long = vec![b'x'; MOST_BYTES / 2];
        let of = |sent| Duplicate { index: "i", id: "d", sent };
        assert_eq!(fitting(&vec![of(b"{}"); MOST_AT_ONCE + 1]), MOST_AT_ONCE);
        assert_eq!(fitting(&[of(&long), of(&long), of(b"{}")]), 2);
        let huge = vec![b'x'; MOST_BYTES + 1];
        assert_eq!(fitting(&[of(&huge), of(&huge)]), 1, "one goes in any case");
    }
}
