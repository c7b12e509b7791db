//! Searches whose answer is one response: aggregations, and the first few documents.
//!
//! Input: names of indices, and the body of a search. Output: a [`SearchAnswer`].
//! Invariant: an answer from a part of the shards is marked as incomplete. A request that fails is retried as in a load.
//! Deliberately absent: all documents of an index (see `search_session`).

use serde_json::Value;

use super::client::Method;
use super::reader::EngineReader;
use super::search_session::incomplete;
use super::{paths, unless_immediate};
use crate::error::chain;
use crate::sink::error::Error;

/// Query of the requests: what some shards can answer is better than nothing, and an index may be deleted meanwhile.
const LENIENT: &str =
    "allow_partial_search_results=true&ignore_unavailable=true&allow_no_indices=true";

/// The answer to a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchAnswer {
    /// The response of the engine.
    pub response: Value,
    /// Why the response is not complete, if it is not.
    pub incomplete: Option<String>,
}

impl EngineReader {
    /// Searches indices, whose names or patterns are joined by commas.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond, or refuses the search.
    pub async fn search(&self, indices: &str, body: &Value) -> Result<SearchAnswer, Error> {
        let path = format!("{}?{LENIENT}", paths::search(indices));
        let api = self.api();
        let searching = api.send(Method::Post, &path, Some(body), "searching");
        let response = unless_immediate(self.shutdown(), self.client(), searching).await?;
        if !response.is_success() {
            return Err(api.refused("searching", &response));
        }
        let cause = incomplete(&response.body);
        let incomplete = cause.map(|cause| {
            let causes: Vec<String> = chain(&cause).map(ToString::to_string).collect();
            causes.join(": ")
        });
        Ok(SearchAnswer { response: response.json, incomplete })
    }
}
