//! Reads events back from the indices of an engine.
//!
//! Input: an [`IndexPlan`]. Output: [`SourceEvent`]s: one [`Input`] for each page of documents, newest first.
//! Invariant: each document that the query finds is handed over once, as the event that was loaded: what a load changed in it
//! is undone. A document of another program is handed over as it is, so that the event in it is found as in a file. What
//! cannot be read is an error.
//! Deliberately absent: filtering, which is the consumer's; the query only leaves out what cannot match.
//!
//! | file | responsible for |
//! |---|---|
//! | [`plan`] | which indices are read, and with which query |
//! | [`pushdown`] | translating the conditions of a search into a query |
//! | `fields` | how the indices map the fields of these conditions |
//! | `page_size` | how many documents a request asks for |
//! | [`error`] | why an index cannot be read |

pub mod error;
mod fields;
mod page_size;
pub mod plan;
pub mod pushdown;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::spawn_blocking,
};

use self::page_size::PageSize;
use super::{Content, Error, EventSender, Input, ReservedBytes, Source, SourceEvent, SourceRun};
use crate::{
    event::Partition,
    normalize::{DocumentRecord, record_of_document},
    report::Log,
    shutdown::ShutdownSignal,
    sink::{self, PageResponse, SearchPage, SearchSession},
};

pub use error::IndexError;
pub use plan::IndexPlan;

/// Pages that are fetched, or wait for a worker: the next one is fetched while the last one is processed.
const MAX_PAGES_HELD: usize = 3;

/// Bytes around a document in the text of a page.
const LINE_OVERHEAD: usize = 16;

/// Reads the events of a plan.
pub struct IndexSource {
    plan: IndexPlan,
    source_number: usize,
    log: Log,
    closed: Option<oneshot::Sender<oneshot::Receiver<()>>>,
}

/// Waits until the engine has released the state of a search. Search ends by itself after some minutes otherwise.
pub struct Closing(oneshot::Receiver<oneshot::Receiver<()>>);

impl IndexSource {
    /// Creates the source, with the index of its SOURCE argument; no request is sent yet.
    pub fn new(plan: IndexPlan, source_number: usize, log: Log) -> Self {
        Self { plan, source_number, log, closed: None }
    }

    /// Returns what to wait for after the run, so that the engine keeps no state when the process ends.
    pub fn closing(&mut self) -> Closing {
        let (sender, receiver) = oneshot::channel();
        self.closed = Some(sender);
        Closing(receiver)
    }
}

impl Closing {
    /// Waits. Returns at once if the source never started.
    pub async fn wait(self) {
        if let Ok(closed) = self.0.await {
            let _ = closed.await;
        }
    }
}

impl Source for IndexSource {
    fn run(self: Box<Self>, out: EventSender, _shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(async move {
            let until = out.clone();
            tokio::select! {
                biased;
                () = until.closed() => Ok(()),
                read = self.read(out) => read,
            }
        })
    }
}

impl IndexSource {
    async fn read(mut self, out: EventSender) -> Result<(), Error> {
        for index in std::mem::take(&mut self.plan.closed) {
            let closed = SourceEvent::Failed(IndexError::Closed { index }.into());
            if out.send(self.source_number, closed).await.is_err() {
                return Ok(());
            }
        }
        if self.plan.open_indices() == Some(0) {
            return Ok(());
        }
        for error in self.plan.unreadable().await? {
            if out.send(self.source_number, SourceEvent::Failed(error.into())).await.is_err() {
                return Ok(());
            }
        }
        let session = self.open().await.map_err(IndexError::from)?;
        let permits = Arc::new(Semaphore::new(MAX_PAGES_HELD));
        Reading { source: self, session, out, permits, received: 0, pages: 0 }.run().await
    }

    async fn open(&mut self) -> Result<SearchSession, sink::Error> {
        let plan = &self.plan;
        let mut session = SearchSession::open(plan.reader.clone(), plan.search.clone()).await?;
        if let Some(closed) = self.closed.take() {
            let _ = closed.send(session.closed());
        }
        Ok(session)
    }
}

/// A source that is read.
struct Reading {
    source: IndexSource,
    session: SearchSession,
    out: EventSender,
    permits: Arc<Semaphore>,
    /// Documents received so far.
    received: u64,
    /// Pages handed over so far.
    pages: u32,
}

impl Reading {
    async fn run(mut self) -> Result<(), Error> {
        let mut size = PageSize::new();
        let mut expected = 0;
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { break };
            let (documents, max_bytes) = size.next();
            let page = match self.session.next_page(documents, max_bytes).await {
                Ok(PageResponse::Page(page)) => page,
                Ok(PageResponse::TooLarge) => {
                    size.on_too_large();
                    continue;
                }
                Err(error) if self.may_be_refused_for_its_query(&error) => {
                    self.search_without_conditions(&error);
                    continue;
                }
                Err(error) => return Err(IndexError::new(error, self.received).into()),
            };
            expected += page.total.unwrap_or(0);
            self.received += page.documents.len() as u64;
            size.on_page(&page);
            if page.is_last {
                break;
            }
            if !page.documents.is_empty() && self.send(page, permit).await.is_err() {
                return Ok(());
            }
        }
        let (received, url) = (self.received, self.source.plan.reader.address().to_owned());
        self.session.close().await;
        if received == expected {
            Ok(())
        } else {
            Err(IndexError::Incomplete { url, expected, received }.into())
        }
    }

    /// Returns whether the engine refused the first request for a reason that its conditions may be.
    fn may_be_refused_for_its_query(&self, error: &sink::Error) -> bool {
        let plan = &self.source.plan;
        matches!(error, sink::Error::Refused { status: 400, .. })
            && self.pages == 0
            && plan.search.query != plan.unconditional
    }

    /// Lets the engine return all documents: a cluster may forbid queries that cost much.
    fn search_without_conditions(&mut self, error: &sink::Error) {
        let plan = &mut self.source.plan;
        plan.search.query = plan.unconditional.clone();
        self.session.set_query(plan.unconditional.clone());
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let message =
            format!("refused the conditions of the search ({cause}); reading all documents");
        self.source.log.warn(plan.reader.address(), message);
    }

    /// Hands a page over. Fails if no more events are wanted.
    async fn send(&mut self, page: SearchPage, permit: OwnedSemaphorePermit) -> Result<(), ()> {
        let text = match spawn_blocking(move || page_text(&page.documents)).await {
            Ok(text) => text,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        self.pages += 1;
        let prefix = self.source.plan.reader.prefix();
        let input = Input {
            partition: Partition {
                key: format!("index:{prefix}/{}", self.pages),
                fingerprint: String::new(),
            },
            name: format!("index {prefix}, page {}", self.pages),
            size: text.len() as u64,
            content: Content::Memory(ReservedBytes { bytes: text.into(), permit: Some(permit) }),
            result: None,
        };
        let sent = self.out.send(self.source.source_number, SourceEvent::Input(input)).await;
        sent.map_err(|_closed| ())
    }
}

/// Returns documents as the text of a file that holds their events: one line each.
///
/// The event of a document that trailload wrote stands where it stood before it was loaded: in a log file, or in a response
/// of LookupEvents if the document holds what that adds. So it is read as it was then. Any other document stands where
/// search results have theirs.
fn page_text(documents: &[Bytes]) -> Vec<u8> {
    let bytes: usize = documents.iter().map(|document| document.len() + LINE_OVERHEAD).sum();
    let mut text = Vec::with_capacity(bytes);
    for document in documents {
        match record_of_document(document) {
            Some(DocumentRecord { record, lookup }) if lookup.is_empty() => {
                push_line(&mut text, b"{\"Records\":[", &record, b"]}\n");
            }
            Some(DocumentRecord { record, lookup }) => {
                let event = lookup_event(&record, &lookup).to_string();
                push_line(&mut text, b"{\"Events\":[", event.as_bytes(), b"]}\n");
            }
            None => push_line(&mut text, b"{\"_source\":", document, b"}\n"),
        }
    }
    text
}

fn push_line(text: &mut Vec<u8>, start: &[u8], middle: &[u8], end: &[u8]) {
    for part in [start, middle, end] {
        text.extend_from_slice(part);
    }
}

/// Returns an event as LookupEvents returns it, from its record and `trailload.lookup`.
fn lookup_event(record: &[u8], lookup: &[u8]) -> Value {
    let mut event = json!({ "CloudTrailEvent": String::from_utf8_lossy(record) });
    let lookup: Value = serde_json::from_slice(lookup).unwrap_or_default();
    if let Some(username) = lookup.get("username") {
        event["Username"] = username.clone();
    }
    let resources = lookup.get("resources").and_then(Value::as_array).into_iter().flatten();
    event["Resources"] = resources
        .map(|resource| json!({ "ResourceType": resource["type"], "ResourceName": resource["name"] }))
        .collect();
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_stand_where_they_are_read_as_before() {
        let documents = [
            r#"{"@timestamp":"2024-01-01T00:00:00Z","eventTime":"2024-01-01T00:00:00Z","eventName":"A"}"#,
            r#"{"@timestamp":"2024-01-01T00:00:00Z","trailload":{"lookup":{"username":"al","resources":[{"type":"T","name":"n"}]}},"eventTime":"2024-01-01T00:00:00Z"}"#,
            r#"{"message":"text"}"#,
        ];
        let text = page_text(&documents.map(|document| Bytes::from_static(document.as_bytes())));
        let lines = [
            r#"{"Records":[{"eventTime":"2024-01-01T00:00:00Z","eventName":"A"}]}"#,
            r#"{"Events":[{"CloudTrailEvent":"{\"eventTime\":\"2024-01-01T00:00:00Z\"}","Username":"al","Resources":[{"ResourceType":"T","ResourceName":"n"}]}]}"#,
            r#"{"_source":{"message":"text"}}"#,
        ];
        assert_eq!(
            String::from_utf8(text).unwrap(),
            lines.map(|line| format!("{line}\n")).concat()
        );
    }
}
