//! Finds the indices that a search would leave out because the user may not read them.
//!
//! Input: indices that the engine lists. Output: [`UnreadableIndices`], with the response that names what is missing.
//! Elasticsearch leaves out what a user may not read if unavailable indices are ignored, and responds with status 200 and fewer
//! shards, or none. OpenSearch does so with `do_not_fail_on_forbidden`. So the shards of a count are compared with those of the
//! indices.
//! Deliberately absent: engines that refuse such a count. They refuse the search too, which reports it.

use super::client::Method;
use super::reader::{EngineReader, ReadableIndex};
use super::{paths, unless_immediate};
use crate::sink::cause::Cause;
use crate::sink::error::Error;

/// Longest list of indices in the path of a request, in bytes: engines limit the first line of a request to 4 KiB, and the
/// names are escaped.
const MAX_NAMES_BYTES: usize = 2_000;

/// What the requests do, in errors.
const ACTION: &str = "reading the documents";

/// Indices whose documents cannot be read.
#[derive(Debug)]
pub struct UnreadableIndices {
    /// Their names.
    pub names: Vec<String>,
    /// Why.
    pub error: Error,
}

/// How many of the shards of some indices are searched.
enum Coverage {
    Complete,
    Partial,
    Nothing,
}

impl EngineReader {
    /// Returns the indices among these that a search leaves out. Those that were deleted meanwhile are not among them.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond.
    pub async fn unreadable(
        &self,
        indices: &[ReadableIndex],
    ) -> Result<Vec<UnreadableIndices>, Error> {
        let mut parts = parts(indices);
        let mut unreadable = Vec::new();
        while let Some(part) = parts.pop() {
            match self.coverage(part).await? {
                Coverage::Complete => {}
                Coverage::Nothing => unreadable.extend(self.cause(part).await?),
                Coverage::Partial if part.len() == 1 => {}
                Coverage::Partial => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(unreadable)
    }

    async fn coverage(&self, part: &[ReadableIndex]) -> Result<Coverage, Error> {
        let Ok((200, total)) = self.count_shards(part, true).await? else {
            return Ok(Coverage::Complete);
        };
        let shards: u64 = part.iter().map(|index| u64::from(index.shards)).sum();
        Ok(match total {
            Some(0) => Coverage::Nothing,
            Some(total) if total < shards => Coverage::Partial,
            _ => Coverage::Complete,
        })
    }

    /// Returns why nothing of some indices is searched: what the engine responds if none may be left out.
    async fn cause(&self, part: &[ReadableIndex]) -> Result<Option<UnreadableIndices>, Error> {
        let error = match self.count_shards(part, false).await? {
            Err(denied) => denied,
            Ok((200, Some(0))) => {
                let reason = "the search left out all of their shards".to_owned();
                let source = Cause::ErrorResponse { status: 200, code: String::new(), reason };
                let (url, action) = (self.address().to_owned(), ACTION.to_owned());
                Error::Denied { url, action, status: 403, source }
            }
            // They are gone.
            Ok(_) => return Ok(None),
        };
        let names = part.iter().map(|index| index.name.clone()).collect();
        Ok(Some(UnreadableIndices { names, error }))
    }

    /// Returns the status and the number of shards of a count; the inner error is that it is not allowed.
    async fn count_shards(
        &self,
        part: &[ReadableIndex],
        is_lenient: bool,
    ) -> Result<Result<(u16, Option<u64>), Error>, Error> {
        let names: Vec<&str> = part.iter().map(|index| index.name.as_str()).collect();
        let path = format!("{}?ignore_unavailable={is_lenient}", paths::count(&names));
        let api = self.api();
        let counting = api.send(Method::Get, &path, None, ACTION);
        match unless_immediate(self.shutdown(), self.client(), counting).await {
            Ok(response) => Ok(Ok((response.status, response.json["_shards"]["total"].as_u64()))),
            Err(error @ Error::Denied { .. }) => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }
}

/// Divides indices into parts whose names fit into a path.
fn parts(indices: &[ReadableIndex]) -> Vec<&[ReadableIndex]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (end, index) in indices.iter().enumerate() {
        bytes += index.name.len() + 1;
        if bytes > MAX_NAMES_BYTES && end > start {
            parts.push(&indices[start..end]);
            (start, bytes) = (end, index.name.len() + 1);
        }
    }
    if start < indices.len() {
        parts.push(&indices[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_hold_each_index_once_and_fit_into_a_path() {
        let index = |number: usize| ReadableIndex {
            name: format!("ct-{number:0>width$}", width = number % 300),
            is_closed: false,
            is_managed: true,
            other_names: Vec::new(),
            shards: 1,
        };
        for length in [0, 1, 7, 500] {
            let indices: Vec<ReadableIndex> = (0..length).map(index).collect();
            let parts = parts(&indices);
            assert_eq!(parts.concat(), indices);
            let names = |part: &&[ReadableIndex]| {
                part.iter().map(|index| index.name.len() + 1).sum::<usize>()
            };
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert!(parts.iter().map(names).all(|bytes| bytes <= MAX_NAMES_BYTES));
        }
    }
}
