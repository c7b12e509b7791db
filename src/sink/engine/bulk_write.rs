//! Writes one batch: sends bulk requests until every document is settled.
//!
//! Input: a batch. Output: its receipt, which is complete up to the document at which an error ended the run.
//!
//! What happens to a refused request or document (`bulk_response` classifies both):
//!
//! | refused | reason | then |
//! |---|---|---|
//! | request | transient | sent again after a wait (`retry`) |
//! | request | too large, or lost several times in a row | split into halves; a single document becomes a dead letter |
//! | request | rejected | split into halves; a single document is handled as below |
//! | document | transient | sent again after a wait |
//! | document | rejected for its content | sent in its next form (`fallback`), at last a dead letter |
//! | document | its index was deleted a moment ago | sent again after the index was created again; left out if it has expired |
//! | document | its index is closed or blocked, or its ingest pipeline fails | a dead letter at once; other documents are sent |
//! | either | any further document would fail too | the run ends |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::time::Instant;

use super::api::{ApiClient, refusal};
use super::bulk_request::{BulkRequest, BulkRequestBuilder, RequestDocument, Stage};
use super::bulk_response::{
    self, BulkResponse, FailedItem, FailureKind, ItemDetail, RequestOutcome, SentRequest,
    document_id,
};
use super::client::Client;
use super::dead_letters;
use super::duplicates::{Duplicate, DuplicateComparer};
use super::fallback::{Fallback, Rewriters};
use super::mapping::Mappings;
use super::retry::{RetryContext, RetryState};
use crate::event::{Batch, DeadLetter, DeadLetterCause, Entry, IndexCount, Receipt, TargetIndex};
use crate::limit::ConcurrencyLimiter;
use crate::normalize::FieldRegistry;
use crate::report::Metrics;
use crate::sink::cause::Cause;
use crate::sink::error::Error;

/// A request that was lost this often in a row is split: a proxy may not accept its size.
const LOSSES_BEFORE_SPLIT: u32 = 3;

/// The error type of a document whose index does not exist, and is not created by itself: it was deleted while the request was
/// processed, or the cluster forbids automatic creation.
const INDEX_NOT_FOUND: &str = "index_not_found_exception";

/// Requests up to this size are not split when they are lost; no proxy has a lower limit.
const MIN_SPLIT_BYTES: usize = 256 * 1024;

/// What all batches share.
pub(super) struct BulkWriter {
    pub(super) client: Client,
    pub(super) retry: RetryContext,
    pub(super) limiter: ConcurrencyLimiter,
    pub(super) fields: Arc<FieldRegistry>,
    /// `None` for an endpoint that does not support mappings.
    pub(super) mappings: Option<Mappings>,
    /// Compares duplicates, if requested.
    pub(super) comparer: Option<DuplicateComparer>,
    pub(super) metrics: Arc<Metrics>,
    /// Size in bytes of the smallest request that was rejected as too large.
    pub(super) too_large: AtomicUsize,
    /// Whether the engine ever accepted a document in this run.
    pub(super) has_accepted: AtomicBool,
}

impl BulkWriter {
    /// Returns the client for APIs other than `_bulk`.
    pub(super) fn api(&self) -> ApiClient<'_> {
        ApiClient { client: &self.client, retry: &self.retry }
    }

    /// Writes a batch. `receipt` is an [`empty_receipt`]; what the indices hold of the batch is in it after an error, too.
    pub(super) async fn write(&self, batch: &Batch, receipt: &mut Receipt) -> Result<(), Error> {
        let whole = BulkRequest::from_batch(batch);
        let requests = if whole.documents.is_empty() { Vec::new() } else { vec![whole] };
        let retry = self.retry.start();
        BulkWrite { writer: self, batch, receipt, requests, retry }.run().await
    }
}

/// Returns the receipt of a batch that was not sent yet.
pub(super) fn empty_receipt(batch: &Batch) -> Receipt {
    let uncounted = |index: &String| IndexCount { index: index.clone(), ..IndexCount::default() };
    Receipt {
        shares: batch.shares.clone(),
        indices: batch.targets.iter().map(|target| uncounted(&target.index)).collect(),
        dead_letters: batch.dead_letters.clone(),
        ..Receipt::default()
    }
}

/// One batch.
struct BulkWrite<'a> {
    writer: &'a BulkWriter,
    batch: &'a Batch,
    /// Counts the documents of each index of the batch, in the batch's order.
    receipt: &'a mut Receipt,
    /// The requests that are to be sent, last one first.
    requests: Vec<BulkRequest>,
    retry: RetryState<'a>,
}

/// Why an index gets no documents.
enum Exclusion {
    Unwritable(Cause),
    /// All its events are older than the retention.
    Expired,
}

/// Collects the documents of a response that are sent again.
struct Resend<'a> {
    fallback: Fallback<'a>,
    builder: BulkRequestBuilder,
    /// Why the engine could not accept some of them now, if so.
    transient: Option<Cause>,
    /// The indices that were prepared again because the engine did not find them.
    prepared_again: Vec<u16>,
}

impl<'a> BulkWrite<'a> {
    async fn run(mut self) -> Result<(), Error> {
        self.exclude_indices();
        self.rewrite_for_indices().await;
        while let Some(request) = self.requests.pop() {
            if request.body.len() >= self.writer.too_large.load(Ordering::Relaxed) {
                match request.split() {
                    Ok((front, back)) => self.requests.extend([back, front]),
                    Err(request) => self.deliver(request).await?,
                }
            } else {
                self.deliver(request).await?;
            }
        }
        Ok(())
    }

    /// Turns the documents of indices that are known to accept none into dead letters, and leaves out those of expired
    /// indices.
    fn exclude_indices(&mut self) {
        let Some(mappings) = &self.writer.mappings else { return };
        let exclusion = |target: &TargetIndex| match mappings.unwritable_cause(&target.index) {
            Some(cause) => Some(Exclusion::Unwritable(cause)),
            None if mappings.has_expired(&target.index) => Some(Exclusion::Expired),
            None => None,
        };
        let excluded: Vec<_> = self.batch.targets.iter().map(exclusion).collect();
        if excluded.iter().all(Option::is_none) {
            return;
        }
        let whole = BulkRequest::from_batch(self.batch);
        let mut builder = BulkRequestBuilder::default();
        for document in &whole.documents {
            let index = usize::from(self.batch.entries[document.entry].index);
            match &excluded[index] {
                Some(Exclusion::Expired) => {
                    let name = self.batch.targets[index].index.clone();
                    *self.receipt.expired.entry(name).or_default() += 1;
                }
                Some(Exclusion::Unwritable(cause)) => {
                    let letter = dead_letters::for_unwritable_index(self.batch, document, cause);
                    self.receipt.dead_letters.push(letter);
                }
                None => builder.push_unchanged(&whole, document),
            }
        }
        self.requests = builder.build().into_iter().collect();
    }

    /// Rewrites the documents of indices whose mapping is not managed by trailload, or that have refused fields which were
    /// expected when the documents were normalized. All others are sent as they are.
    async fn rewrite_for_indices(&mut self) {
        let Some(mappings) = &self.writer.mappings else { return };
        let mut rewriters = Rewriters::default();
        for (number, target) in (0..).zip(&self.batch.targets) {
            let version = self.batch.fields_version;
            if let Some(rewriter) = mappings.rewriter(&target.index, version).await {
                rewriters.insert(number, rewriter);
            }
        }
        if rewriters.is_empty() {
            return;
        }
        for request in std::mem::take(&mut self.requests) {
            let mut builder = BulkRequestBuilder::default();
            for document in &request.documents {
                let rewriter = rewriters.get_mut(&self.batch.entries[document.entry].index);
                let line = request.document_line(document);
                match rewriter.and_then(|rewriter| rewriter.rewrite(line)) {
                    Some(rewritten) => {
                        builder.push_changed(&request, document, document.stage, &rewritten);
                    }
                    None => builder.push_unchanged(&request, document),
                }
                // Rewriting thousands of documents takes a while; other tasks must have their turn.
                tokio::task::yield_now().await;
            }
            self.requests.extend(builder.build());
        }
    }

    /// Sends a request, and queues what has to be sent again.
    async fn deliver(&mut self, request: BulkRequest) -> Result<(), Error> {
        let sent = Instant::now();
        match self.send(&request).await? {
            RequestOutcome::Items(response) => self.handle_items(&request, response, sent).await,
            RequestOutcome::TooLarge(cause) => {
                // The size of a lost request is only a suspicion; a 413 is certain.
                if cause.status().is_some() && request.documents.len() > 1 {
                    self.writer.too_large.fetch_min(request.body.len(), Ordering::Relaxed);
                }
                match request.split() {
                    Ok((front, back)) => self.requests.extend([back, front]),
                    Err(request) => {
                        let letter = dead_letters::for_too_large(self.batch, &request, &cause);
                        self.receipt.dead_letters.push(letter);
                    }
                }
                Ok(())
            }
            RequestOutcome::Rejected(cause) => match request.split() {
                Ok((front, back)) => {
                    self.requests.extend([back, front]);
                    Ok(())
                }
                Err(request) => self.handle_rejected_single(&request, cause, sent).await,
            },
            // `send` retries transient outcomes itself.
            RequestOutcome::Fatal(cause) | RequestOutcome::Transient(cause) => {
                Err(self.fatal(cause, None))
            }
        }
    }

    /// Sends a request until the outcome is not transient, or it may be too large.
    async fn send(&mut self, request: &BulkRequest) -> Result<RequestOutcome, Error> {
        let encoded = self.writer.client.encode(request.body.clone()).await;
        let mut losses = 0;
        loop {
            let permit = self.writer.limiter.acquire().await;
            let (outcome, retry_after) = match self.writer.client.send_bulk(encoded.clone()).await {
                Ok(response) => {
                    (self.parse(response.status, &response.body, request), response.retry_after)
                }
                Err(cause @ Cause::Redirect { .. }) => (RequestOutcome::Fatal(cause), None),
                Err(cause) => (RequestOutcome::Transient(cause), None),
            };
            if outcome.is_overload() {
                permit.on_throttled();
            } else if matches!(outcome, RequestOutcome::Items(_)) {
                self.writer.limiter.on_success();
            }
            drop(permit);
            let RequestOutcome::Transient(cause) = outcome else { return Ok(outcome) };
            losses = if bulk_response::may_be_too_large(&cause) { losses + 1 } else { 0 };
            if losses >= LOSSES_BEFORE_SPLIT
                && request.body.len() > MIN_SPLIT_BYTES
                && request.documents.len() > 1
            {
                return Ok(RequestOutcome::TooLarge(cause));
            }
            self.retry.wait(cause, retry_after).await?;
            self.count_retry();
        }
    }

    fn parse(&self, status: u16, body: &[u8], request: &BulkRequest) -> RequestOutcome {
        let mappings = self.writer.mappings.as_ref();
        let item_detail = if mappings.is_some() { ItemDetail::Full } else { ItemDetail::Status };
        let concrete_index =
            |name: &str| mappings.and_then(|mappings| mappings.concrete_index(name));
        let sent = SentRequest { request, item_detail, concrete_index: &concrete_index };
        bulk_response::parse(status, body, &sent)
    }

    /// Counts what was stored, and queues the failed documents that have to be sent again.
    async fn handle_items(
        &mut self,
        request: &BulkRequest,
        response: BulkResponse,
        sent: Instant,
    ) -> Result<(), Error> {
        self.count(request, &response);
        self.compare(request, &response.duplicates).await?;
        if response.failed.len() < request.documents.len() {
            self.writer.has_accepted.store(true, Ordering::Relaxed);
            self.retry.on_progress();
        }
        let mut resend = self.start_resend(sent);
        for item in response.failed {
            // Boxed: failures are rare, and every write would carry its size.
            Box::pin(self.handle_failed(request, item, &mut resend)).await?;
        }
        self.requests.extend(resend.builder.build());
        if let Some(cause) = resend.transient {
            self.retry.wait(cause, None).await?;
            self.count_retry();
        }
        Ok(())
    }

    /// Handles the only document of a request that was rejected as a whole.
    async fn handle_rejected_single(
        &mut self,
        request: &BulkRequest,
        cause: Cause,
        sent: Instant,
    ) -> Result<(), Error> {
        let document = &request.documents[0];
        // As long as no document was ever accepted, the reason is more likely the request than this document.
        if document.stage == Stage::Raw && !self.writer.has_accepted.load(Ordering::Relaxed) {
            return Err(self.fatal(cause, Some(document)));
        }
        let mut resend = self.start_resend(sent);
        let kind = bulk_response::classify_single(&cause);
        let item = FailedItem { position: 0, kind, cause };
        Box::pin(self.handle_failed(request, item, &mut resend)).await?;
        self.requests.extend(resend.builder.build());
        Ok(())
    }

    /// Handles a document that is in no index: queues it, or makes it a dead letter.
    async fn handle_failed(
        &mut self,
        request: &BulkRequest,
        item: FailedItem,
        resend: &mut Resend<'a>,
    ) -> Result<(), Error> {
        let document = &request.documents[item.position];
        let letter = match self.failure_kind(document, &item).await {
            FailureKind::Transient => {
                resend.builder.push_unchanged(request, document);
                resend.transient = Some(item.cause);
                None
            }
            FailureKind::Rejected => self.fall_back(request, document, &item.cause, resend).await?,
            FailureKind::Pipeline => Some(self.pipeline_failure(document, &item.cause).await),
            FailureKind::IndexUnwritable => {
                if let Some(mappings) = &self.writer.mappings {
                    mappings.mark_unwritable(self.index(document), &item.cause);
                }
                Some(dead_letters::for_unwritable_index(self.batch, document, &item.cause))
            }
            FailureKind::Fatal if item.cause.code() == INDEX_NOT_FOUND => {
                self.after_deletion(request, item, resend).await?
            }
            FailureKind::Fatal => return Err(self.fatal(item.cause, Some(document))),
        };
        self.receipt.dead_letters.extend(letter);
        Ok(())
    }

    /// Queues a document whose index was deleted a moment ago. Returns its dead letter if the index accepts none any more.
    async fn after_deletion(
        &mut self,
        request: &BulkRequest,
        item: FailedItem,
        resend: &mut Resend<'a>,
    ) -> Result<Option<DeadLetter>, Error> {
        let document = &request.documents[item.position];
        let writer = self.writer;
        let Some(mappings) = &writer.mappings else {
            return Err(self.fatal(item.cause, Some(document)));
        };
        let number = self.batch.entries[document.entry].index;
        let target = &self.batch.targets[usize::from(number)];
        if !resend.prepared_again.contains(&number) {
            resend.prepared_again.push(number);
            mappings.prepare_again(&writer.api(), target).await?;
        }
        if mappings.has_expired(&target.index) {
            *self.receipt.expired.entry(target.index.clone()).or_default() += 1;
            return Ok(None);
        }
        if let Some(cause) = mappings.unwritable_cause(&target.index) {
            return Ok(Some(dead_letters::for_unwritable_index(self.batch, document, &cause)));
        }
        resend.builder.push_unchanged(request, document);
        resend.transient = Some(item.cause);
        Ok(None)
    }

    /// Queues the next form of a rejected document. Returns its dead letter if there is none left.
    async fn fall_back(
        &self,
        request: &BulkRequest,
        document: &RequestDocument,
        cause: &Cause,
        resend: &mut Resend<'a>,
    ) -> Result<Option<DeadLetter>, Error> {
        let line = request.document_line(document);
        let form = resend.fallback.next_form(document.entry, document.stage, line).await?;
        if let Some((stage, content)) = form {
            resend.builder.push_changed(request, document, stage, &content);
            return Ok(None);
        }
        let (cause, reason) = (DeadLetterCause::Content, cause.to_string());
        Ok(Some(dead_letters::dead_letter(self.batch, document, cause, reason)))
    }

    /// Warns about an ingest pipeline, once for each index, and returns the dead letter of a document.
    async fn pipeline_failure(&self, document: &RequestDocument, cause: &Cause) -> DeadLetter {
        let pipelines = self.pipelines(document).await;
        let pipeline = match pipelines.as_slice() {
            [] => "an ingest pipeline".to_owned(),
            [one] => format!("ingest pipeline '{one}'"),
            several => format!("ingest pipelines '{}'", several.join("' and '")),
        };
        if let Some(mappings) = &self.writer.mappings {
            mappings.warn_of_pipeline(self.index(document), &pipeline, cause);
        }
        dead_letters::for_pipeline(self.batch, document, &pipeline, cause)
    }

    /// Returns why a document failed. If its index has an ingest pipeline, errors of unknown origin are attributed to it.
    async fn failure_kind(&self, document: &RequestDocument, item: &FailedItem) -> FailureKind {
        let may_be_pipeline = matches!(
            item.kind,
            FailureKind::Transient | FailureKind::Rejected | FailureKind::Fatal
        ) && bulk_response::may_be_pipeline_error(&item.cause);
        if may_be_pipeline && !self.pipelines(document).await.is_empty() {
            FailureKind::Pipeline
        } else {
            item.kind
        }
    }

    /// Returns the ingest pipelines of the index of a document.
    async fn pipelines(&self, document: &RequestDocument) -> Vec<String> {
        let Some(mappings) = &self.writer.mappings else { return Vec::new() };
        mappings.pipelines(&self.writer.client, self.index(document)).await
    }

    /// Counts the documents that are in their index. The response names those that were not created.
    fn count(&mut self, request: &BulkRequest, response: &BulkResponse) {
        let index_of = |position: usize| {
            let entry = request.documents[position].entry;
            usize::from(self.batch.entries[entry].index)
        };
        let indices = &mut self.receipt.indices;
        for position in 0..request.documents.len() {
            indices[index_of(position)].created += 1;
        }
        for position in &response.duplicates {
            indices[index_of(*position)].created -= 1;
            indices[index_of(*position)].duplicates += 1;
        }
        for item in &response.failed {
            indices[index_of(item.position)].created -= 1;
        }
    }

    /// Compares duplicates with the stored documents, if requested.
    async fn compare(&self, request: &BulkRequest, positions: &[usize]) -> Result<(), Error> {
        let Some(comparer) = &self.writer.comparer else { return Ok(()) };
        let body = &self.batch.body;
        let entry = |position: &usize| &self.batch.entries[request.documents[*position].entry];
        let id = |entry: &Entry| document_id(&body[entry.action as usize..entry.document as usize]);
        let ids: Vec<String> = positions.iter().map(entry).map(id).collect();
        let duplicates = positions.iter().map(entry).zip(&ids).map(|(entry, id)| Duplicate {
            index: &self.batch.targets[usize::from(entry.index)].index,
            id,
            sent: &body[entry.document as usize..entry.end as usize],
        });
        let duplicates: Vec<Duplicate<'_>> = duplicates.collect();
        // Boxed: comparing is rarely requested, and every write would carry its size.
        Box::pin(comparer.compare(&self.writer.api(), &self.writer.metrics, &duplicates)).await
    }

    fn start_resend(&self, sent: Instant) -> Resend<'a> {
        let (writer, batch) = (self.writer, self.batch);
        let mappings = writer.mappings.as_ref();
        Resend {
            fallback: Fallback::new(writer.api(), &writer.fields, mappings, batch, sent),
            builder: BulkRequestBuilder::default(),
            transient: None,
            prepared_again: Vec::new(),
        }
    }

    fn index(&self, document: &RequestDocument) -> &'a str {
        let entry = &self.batch.entries[document.entry];
        &self.batch.targets[usize::from(entry.index)].index
    }

    fn fatal(&self, cause: Cause, document: Option<&RequestDocument>) -> Error {
        let action = match document {
            Some(document) => format!("writing to the index '{}'", self.index(document)),
            None => "writing documents".to_owned(),
        };
        refusal(self.writer.client.address(), &action, cause)
    }

    fn count_retry(&self) {
        self.writer.metrics.retries.fetch_add(1, Ordering::Relaxed);
    }
}
