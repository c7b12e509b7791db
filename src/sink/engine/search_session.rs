//! A search that reads all documents of a query, page by page, newest first.
//!
//! Input: a [`SearchQuery`]. Output: [`SearchPage`]s until there are no more documents.
//! Invariant: the pages together hold every document that the query found when the session was opened, each once. The engine
//! keeps that state: as a point in time, which is closed at the end, also if the session is dropped; or, in engines without
//! them, as a scroll. A response with failed shards, or after a time limit, is an error.
//!
//! A page continues behind the sort values of the one before. So they must be unique, or documents would be lost between two
//! pages. Elasticsearch adds a unique value (`_shard_doc`). That of OpenSearch is not unique: of 40 documents in 6 shards
//! with the same time, 32 were returned (3.8.0, and 2.19 does not have it). The number of a document in its index (`_doc`)
//! is, if the index has one shard; otherwise the document's id is used, which costs the engine memory.
//!
//! Documents without a time come in a pass of their own, because OpenSearch loses some of them when it sorts them by time
//! without counting all (2.19 and 3.8.0; up to 10 % in an index of several segments).

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::api::refusal;
use super::client::{Client, Method};
use super::identify::Distribution;
use super::reader::EngineReader;
use super::{error_response, paths, unless_immediate};
use crate::sink::cause::Cause;
use crate::sink::error::Error;

/// How long the engine keeps the state after a page. Longer than a search is retried, and than a consumer takes for a page.
const KEEP_ALIVE: &str = "10m";

/// Longest wait for the end of a session: the engine ends it by itself later.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Documents in a page of a scroll, which cannot be asked for again. Small, as documents may be large.
const SCROLL_PAGE: usize = 200;

/// Query of search requests: an engine that lacks a shard responds with an error, not with the rest.
const STRICT: &str = "allow_partial_search_results=false";

/// What a session searches for.
#[derive(Clone, Debug)]
pub struct SearchQuery {
    /// The names of the indices, joined by commas.
    pub indices: String,
    /// Whether each index has only one shard.
    pub has_single_shards: bool,
    /// Whether documents are sorted by `@timestamp`, which then must be a date in every index.
    pub is_sorted: bool,
    /// The query.
    pub query: Value,
}

/// One page of documents.
#[derive(Debug)]
pub struct SearchPage {
    /// The documents, as they were indexed.
    pub documents: Vec<Bytes>,
    /// Number of documents of the pass, if this is its first page.
    pub total: Option<u64>,
    /// Whether there are no further pages.
    pub is_last: bool,
}

/// The result of asking for a page.
#[derive(Debug)]
pub enum PageResponse {
    /// The page, which may be empty.
    Page(SearchPage),
    /// The response would exceed the limit. The next request has to ask for fewer documents.
    TooLarge,
}

/// A search in progress.
#[derive(Debug)]
pub struct SearchSession {
    reader: EngineReader,
    query: SearchQuery,
    state: EngineState,
    pass: Pass,
    /// Sort values of the last document, or `None` before the first page of a pass.
    last: Option<Value>,
    /// Dropped when the session is closed.
    closed: Option<oneshot::Sender<()>>,
}

/// A part of the documents, which is read in an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Documents with a time, the newest first.
    Dated,
    /// Documents without a time.
    Undated,
    /// All documents, in any order.
    Unsorted,
}

/// What the engine keeps for a session.
#[derive(Debug)]
enum EngineState {
    PointInTime(String),
    /// `None` before the first page.
    Scroll(Option<String>),
    Closed,
}

impl SearchSession {
    /// Opens a session over the present state of the indices.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond, or does not allow it.
    pub async fn open(reader: EngineReader, query: SearchQuery) -> Result<Self, Error> {
        let opening = open_point_in_time(&reader, &query.indices);
        let opened = unless_immediate(reader.shutdown(), reader.client(), opening).await?;
        let state = match opened {
            Some(id) => EngineState::PointInTime(id),
            None => EngineState::Scroll(None),
        };
        let pass = if query.is_sorted { Pass::Dated } else { Pass::Unsorted };
        Ok(Self { reader, query, state, pass, last: None, closed: None })
    }

    /// Returns a receiver that ends when the session is closed in the engine, or could not be.
    pub fn closed(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.closed = Some(sender);
        receiver
    }

    /// Replaces the query. Allowed before the first page only, since pages continue behind the one before.
    pub fn set_query(&mut self, query: Value) {
        self.query.query = query;
    }

    /// Returns whether pages have a fixed size, because they cannot be asked for again.
    pub fn is_scroll(&self) -> bool {
        matches!(self.state, EngineState::Scroll(_))
    }

    /// Fetches the next page: at most `size` documents in at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond, or not completely.
    pub async fn next_page(
        &mut self,
        size: usize,
        max_bytes: usize,
    ) -> Result<PageResponse, Error> {
        let request = self.request(size);
        let fetching = fetch(&self.reader, &request, max_bytes);
        let shutdown = self.reader.shutdown().clone();
        let Some(body) = unless_immediate(&shutdown, self.reader.client(), fetching).await? else {
            return Ok(PageResponse::TooLarge);
        };
        let response: ResponseBody<'_> = parse(&self.reader, &body)?;
        if let Some(id) = response.pit_id {
            self.state = EngineState::PointInTime(id);
        }
        if let Some(id) = response.scroll_id {
            self.state = EngineState::Scroll(Some(id));
        }
        let Hits { total, hits } = response.hits;
        let total = total.filter(|_| self.last.is_none()).map(|total| total.value);
        let documents =
            hits.iter().map(|hit| body.slice_ref(hit.source.get().as_bytes())).collect();
        self.last = hits.into_iter().last().map(|hit| hit.sort);
        let is_last = self.last.is_none() && !self.start_next_pass().await;
        Ok(PageResponse::Page(SearchPage { documents, total, is_last }))
    }

    /// Starts the next pass. Returns whether there is one.
    async fn start_next_pass(&mut self) -> bool {
        if self.pass != Pass::Dated {
            return false;
        }
        self.pass = Pass::Undated;
        if self.is_scroll() {
            if let Some(closing) = self.take_closing() {
                closing.await;
            }
            self.state = EngineState::Scroll(None);
        }
        true
    }

    /// Returns path and body of the next request.
    fn request(&self, size: usize) -> PageRequest {
        let is_first = self.last.is_none();
        let mut body = json!({ "size": size, "query": self.pass_query(), "sort": self.sort() });
        let body_of = |body: &Value| Bytes::from(body.to_string());
        match &self.state {
            EngineState::Scroll(Some(id)) => PageRequest {
                path: "_search/scroll".to_owned(),
                body: body_of(&json!({ "scroll": KEEP_ALIVE, "scroll_id": id })),
                is_repeatable: false,
            },
            EngineState::Scroll(None) | EngineState::Closed => {
                body["size"] = json!(SCROLL_PAGE);
                body["track_total_hits"] = json!(true);
                let path = paths::search(&self.query.indices);
                let path = format!(
                    "{path}?{STRICT}&scroll={KEEP_ALIVE}&ignore_unavailable=true&allow_no_indices=true"
                );
                PageRequest { path, body: body_of(&body), is_repeatable: true }
            }
            EngineState::PointInTime(id) => {
                body["pit"] = json!({ "id": id, "keep_alive": KEEP_ALIVE });
                body["track_total_hits"] = json!(is_first);
                if let Some(last) = &self.last {
                    body["search_after"] = last.clone();
                }
                let path = format!("{}?{STRICT}", paths::search(""));
                PageRequest { path, body: body_of(&body), is_repeatable: true }
            }
        }
    }

    /// Returns the query of the current pass.
    fn pass_query(&self) -> Value {
        let query = &self.query.query;
        let has_time = json!({ "exists": { "field": "@timestamp" } });
        match self.pass {
            Pass::Dated => json!({ "bool": { "filter": [query, has_time] } }),
            Pass::Undated => json!({ "bool": { "filter": [query], "must_not": [has_time] } }),
            Pass::Unsorted => query.clone(),
        }
    }

    /// Returns sort criteria whose values are unique.
    fn sort(&self) -> Value {
        let time = json!({ "@timestamp":
            { "order": "desc", "unmapped_type": "date", "numeric_type": "date" } });
        let mut sort = if self.pass == Pass::Dated { vec![time] } else { Vec::new() };
        if self.is_scroll() {
            sort.push(json!("_doc"));
        } else if self.reader.info().distribution == Distribution::Elasticsearch {
            sort.push(json!({ "_shard_doc": "asc" }));
        } else {
            sort.push(json!({ "_index": "asc" }));
            let number = if self.query.has_single_shards { "_doc" } else { "_id" };
            sort.push(json!({ number: "asc" }));
        }
        Value::Array(sort)
    }

    /// Ends the session in the engine.
    pub async fn close(mut self) {
        if let Some(closing) = self.take_closing() {
            closing.await;
        }
    }

    /// Returns the request that ends the session, once.
    fn take_closing(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let state = std::mem::replace(&mut self.state, EngineState::Closed);
        let is_elasticsearch = self.reader.info().distribution == Distribution::Elasticsearch;
        let (path, body) = match state {
            EngineState::PointInTime(id) if is_elasticsearch => ("_pit", json!({ "id": id })),
            EngineState::PointInTime(id) => ("_search/point_in_time", json!({ "pit_id": [id] })),
            EngineState::Scroll(Some(id)) => ("_search/scroll", json!({ "scroll_id": [id] })),
            EngineState::Scroll(None) | EngineState::Closed => return None,
        };
        let (reader, closed) = (self.reader.clone(), self.closed.take());
        Some(async move {
            let body = Some(Bytes::from(body.to_string()));
            let sent = reader.client().send_json(Method::Delete, path, body);
            // The engine ends the session by itself if this does not reach it.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, sent).await;
            drop(closed);
        })
    }
}

impl Drop for SearchSession {
    fn drop(&mut self) {
        if let (Some(closing), Ok(runtime)) = (self.take_closing(), Handle::try_current()) {
            runtime.spawn(closing);
        }
    }
}

/// A request for a page.
struct PageRequest {
    path: String,
    body: Bytes,
    /// Whether the same request returns the same page again.
    is_repeatable: bool,
}

/// Opens a point in time over indices. `None` if the engine has none.
async fn open_point_in_time(reader: &EngineReader, indices: &str) -> Result<Option<String>, Error> {
    let is_elasticsearch = reader.info().distribution == Distribution::Elasticsearch;
    let options = format!("keep_alive={KEEP_ALIVE}&expand_wildcards=open&ignore_unavailable=true");
    let (path, id) = if is_elasticsearch {
        (format!("{indices}/_pit?{options}"), "id")
    } else {
        let path = paths::point_in_time(indices);
        (format!("{path}?{options}&allow_partial_pit_creation=false"), "pit_id")
    };
    let (action, api) = ("opening a point in time", reader.api());
    let response = api.send(Method::Post, &path, None, action).await?;
    match (response.status, response.json[id].as_str()) {
        (200..=299, Some(id)) => Ok(Some(id.to_owned())),
        (400 | 404 | 405, _)
            if !response.is_engine_error() || is_unsupported(&response.cause()) =>
        {
            Ok(None)
        }
        (200..=299, None) => {
            let reason = "a response without a point in time".to_owned();
            let source = Cause::UnexpectedResponse { status: response.status, reason };
            Err(Error::NotAnEngine { url: api.address().to_owned(), source })
        }
        _ => Err(api.refused(action, &response)),
    }
}

/// Returns whether an engine does not know the request: it takes the path for that of a document or of an index.
fn is_unsupported(cause: &Cause) -> bool {
    matches!(cause.code(), "" | "invalid_index_name_exception" | "invalid_type_name_exception")
}

/// Fetches a page, and retries as long as that may help. `None` if the response exceeds the limit.
async fn fetch(
    reader: &EngineReader,
    request: &PageRequest,
    max_bytes: usize,
) -> Result<Option<Bytes>, Error> {
    let action = "searching";
    let mut retry = reader.retry().start();
    loop {
        let client: &Client = reader.client();
        let body = Some(request.body.clone());
        let sent = client.send_json_limited(Method::Post, &request.path, body, max_bytes).await;
        let (cause, retry_after) = match sent {
            Ok(response) if response.is_truncated => return Ok(None),
            Ok(response) if response.status == 200 => match incomplete(&response.body) {
                None => return Ok(Some(response.body)),
                Some(cause) => (cause, None),
            },
            Ok(response) => {
                let cause = error_response::parse(response.status, &response.body);
                if !matches!(response.status, 408 | 429 | 500 | 502..=599) {
                    return Err(refusal(client.address(), action, cause));
                }
                (cause, response.retry_after)
            }
            Err(cause @ Cause::Redirect { .. }) => {
                return Err(refusal(client.address(), action, cause));
            }
            Err(cause) => (cause, None),
        };
        if !request.is_repeatable {
            return Err(refusal(client.address(), action, cause));
        }
        retry.wait(cause, retry_after).await?;
    }
}

/// Returns what is missing in a response of status 200, if anything is.
pub(super) fn incomplete(body: &[u8]) -> Option<Cause> {
    let status = 200;
    let Ok(outcome) = serde_json::from_slice::<Outcome>(body) else {
        let reason = format!("a response of {} bytes that is not a search result", body.len());
        return Some(Cause::UnexpectedResponse { status, reason });
    };
    if outcome.timed_out {
        let reason = "the search timed out in the engine".to_owned();
        return Some(Cause::ErrorResponse { status, code: String::new(), reason });
    }
    let Shards { total, failed, .. } = outcome.shards;
    if failed == 0 {
        return None;
    }
    let first = outcome.shards.failures.first();
    let (code, why) = first
        .map(|failure| error_response::code_and_reason(&failure.reason.to_string()))
        .unwrap_or_default();
    let mut reason = format!("{failed} of {total} shards failed");
    if !why.is_empty() {
        reason = format!("{reason}: {why}");
    }
    Some(Cause::ErrorResponse { status, code, reason })
}

fn parse<'b>(reader: &EngineReader, body: &'b [u8]) -> Result<ResponseBody<'b>, Error> {
    serde_json::from_slice(body).map_err(|error| {
        let reason = format!("a search result that cannot be read: {error}");
        let source = Cause::UnexpectedResponse { status: 200, reason };
        Error::NotAnEngine { url: reader.address().to_owned(), source }
    })
}

/// Whether a response is complete.
#[derive(Deserialize)]
struct Outcome {
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: Shards,
}

#[derive(Deserialize)]
struct Shards {
    total: u64,
    failed: u64,
    #[serde(default)]
    failures: Vec<ShardFailure>,
}

#[derive(Deserialize)]
struct ShardFailure {
    #[serde(default)]
    reason: Value,
}

#[derive(Deserialize)]
struct ResponseBody<'b> {
    pit_id: Option<String>,
    #[serde(rename = "_scroll_id")]
    scroll_id: Option<String>,
    #[serde(borrow)]
    hits: Hits<'b>,
}

#[derive(Deserialize)]
struct Hits<'b> {
    total: Option<Total>,
    #[serde(borrow)]
    hits: Vec<Hit<'b>>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit<'b> {
    #[serde(borrow, rename = "_source")]
    source: &'b RawValue,
    #[serde(default)]
    sort: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_without_all_shards_is_incomplete() {
        let body = |timed_out: bool, failed: u32| {
            let failure =
                json!({ "reason": { "type": "node_not_connected_exception", "reason": "gone" } });
            let failures = vec![failure; failed as usize];
            let shards = json!({ "total": 3, "failed": failed, "failures": failures });
            json!({ "timed_out": timed_out, "_shards": shards, "hits": { "hits": [] } }).to_string()
        };
        assert_eq!(incomplete(body(false, 0).as_bytes()), None);
        let cause = incomplete(body(false, 2).as_bytes()).unwrap().to_string();
        assert_eq!(cause, "200 node_not_connected_exception: 2 of 3 shards failed: gone");
        let cause = incomplete(body(true, 0).as_bytes()).unwrap().to_string();
        assert_eq!(cause, "200 OK: the search timed out in the engine");
        for foreign in ["<html>", "{}", r#"{"hits":{"hits":[]}}"#] {
            let cause = incomplete(foreign.as_bytes());
            assert!(matches!(cause, Some(Cause::UnexpectedResponse { .. })), "{foreign}");
        }
    }
}
