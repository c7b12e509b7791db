//! Sends the dead letters of earlier runs again, before anything new is settled.
//!
//! Input: dead letters in the checkpoint. Output: batches to the sink, and a checkpoint event with the result of each
//! document.
//! Invariant: a dead letter is removed from the checkpoint only after the sink has settled its document. Its index and id
//! never change, so a run that is killed here sends it again without duplicating it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{
    consumer::{LoadConsumer, LoadError},
    processor::LoadContext,
};
use crate::{
    checkpoint::{
        self, CheckpointEvent, CheckpointReader, DeadLetterKey, RetryCandidate, RetryOutcome,
        RetrySelection,
    },
    event::{
        Batch, CompressedText, DeadLetter, DeadLetterCause, DeadLetterContent, Entry, Receipt,
        Share, TargetIndex,
    },
    normalize::{Normalized, Normalizer, Settings, TimeRange},
    pipeline::{coordinator::Coordinator, error::Error},
    report::format,
    sink::{self, Sink},
    source::unescape,
};

/// Dead letters that one query lists. Their contents are read one at a time.
const ROWS_PER_QUERY: u32 = 1_000;

/// Reads dead letters from the checkpoint and makes documents of them.
pub(super) struct DeadLetterReader {
    reader: CheckpointReader,
    selection: RetrySelection,
    normalizer: Normalizer,
    settings: Arc<Settings>,
    batch_bytes: usize,
    /// Length of the longest record that --memory allows.
    record_bytes: u64,
    /// Number of documents that cannot be sent, by reason.
    unsendable: BTreeMap<String, u64>,
}

impl DeadLetterReader {
    pub(super) fn new(
        reader: CheckpointReader,
        selection: RetrySelection,
        context: &LoadContext,
    ) -> Self {
        let range = TimeRange { from: None, to: None };
        let settings = Arc::new(Settings { range, ..Settings::clone(&context.settings) });
        Self {
            reader,
            selection,
            normalizer: Normalizer::new(Arc::clone(&context.fields), Arc::clone(&settings)),
            settings,
            batch_bytes: context.batch_bytes,
            record_bytes: context.max_record_bytes as u64,
            unsendable: BTreeMap::new(),
        }
    }

    /// Adds a document to a batch, or counts why it cannot be sent.
    fn add(
        &mut self,
        candidate: RetryCandidate,
        batch: &mut ResendBatch,
    ) -> Result<(), checkpoint::Error> {
        if let Err(reason) = self.document(candidate, batch)? {
            *self.unsendable.entry(reason).or_default() += 1;
        }
        Ok(())
    }

    fn document(
        &mut self,
        candidate: RetryCandidate,
        batch: &mut ResendBatch,
    ) -> Result<Result<(), String>, checkpoint::Error> {
        if self.has_expired(&candidate.key.index) {
            return Ok(Err("the events of its index are older than the retention".to_owned()));
        }
        Ok(match self.reader.dead_letter_content(&candidate)? {
            Some(DeadLetterContent::Document(content)) => decompress(&content).map(|document| {
                let (document, required_fields) =
                    self.normalizer.rewrite_document(&document).unwrap_or((document, 0));
                let DeadLetterKey { index, id } = candidate.key.clone();
                let text = &document;
                batch.add(Document { index, id, text, required_fields }, candidate.key);
            }),
            Some(DeadLetterContent::Record { content, bytes, .. }) => {
                let content = content.filter(|_| bytes <= self.record_bytes);
                match content {
                    Some(content) => decompress(&content)
                        .and_then(|content| self.record(&content, candidate.key, batch)),
                    None => Err(format!(
                        "the record is longer than {}, the longest that can be loaded",
                        format::bytes(self.record_bytes)
                    )),
                }
            }
            None => {
                Err("the checkpoint has no content; load the source again with --reload".into())
            }
        })
    }

    /// Returns whether all events of an index are left out.
    fn has_expired(&self, index: &str) -> bool {
        let Settings { prefix, index_by, kept_from, .. } = &*self.settings;
        let end = index_by.time_range(prefix, index).and_then(|range| range.to);
        end.is_some_and(|end| kept_from.is_past(end))
    }

    /// Makes a document of a record that was too long for the run that read it.
    fn record(
        &mut self,
        content: &[u8],
        key: DeadLetterKey,
        batch: &mut ResendBatch,
    ) -> Result<(), String> {
        let mut text = Vec::new();
        let record = match content {
            [b'"', inside @ .., b'"'] => {
                unescape(inside, &mut text);
                &text[..]
            }
            record => record,
        };
        let mut lines = Vec::new();
        let normalized = self.normalizer.rewrite(record, &mut lines);
        if normalized == Ok(Normalized::Expired) {
            return Err("the event is older than the retention".to_owned());
        }
        let Ok(Normalized::Document(placement)) = normalized else {
            return Err("the record is not a JSON object".to_owned());
        };
        let (action, document) = lines.split_at(placement.action_bytes as usize);
        let index = self.normalizer.index_name(placement.period).to_owned();
        let (id, required_fields) = (action_id(action), placement.required_fields);
        batch.add(Document { index, id, text: document, required_fields }, key);
        Ok(())
    }
}

fn decompress(content: &CompressedText) -> Result<Vec<u8>, String> {
    content
        .decompress()
        .map_err(|error| format!("the content in the checkpoint is damaged: {error}"))
}

/// Returns the document id of an action line that the normalizer wrote.
fn action_id(action: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Action {
        create: Create,
    }
    #[derive(Deserialize)]
    struct Create {
        #[serde(rename = "_id")]
        id: String,
    }
    serde_json::from_slice::<Action>(action).map(|action| action.create.id).unwrap_or_default()
}

/// The index and id of a document, and the dead letter that it was made of.
type SentDocument = ((String, String), DeadLetterKey);

/// The documents of a batch, and the dead letters that they were made of.
#[derive(Default)]
struct ResendBatch {
    body: Vec<u8>,
    entries: Vec<Entry>,
    targets: Vec<TargetIndex>,
    sent: Vec<SentDocument>,
}

/// A document to be sent again.
struct Document<'a> {
    index: String,
    id: String,
    text: &'a [u8],
    required_fields: u32,
}

impl ResendBatch {
    fn add(&mut self, document: Document<'_>, dead_letter: DeadLetterKey) {
        let Document { index, id, text, required_fields } = document;
        let known = self.targets.iter().position(|target| target.index == index);
        let at = known.unwrap_or_else(|| {
            self.targets.push(TargetIndex { index: index.clone(), required_fields });
            self.targets.len() - 1
        });
        self.targets[at].required_fields = self.targets[at].required_fields.max(required_fields);
        let action = self.body.len();
        let line = json!({ "create": { "_index": index, "_id": id } }).to_string();
        self.body.extend_from_slice(line.as_bytes());
        self.body.push(b'\n');
        let start = self.body.len();
        self.body.extend_from_slice(text.trim_ascii_end());
        self.body.push(b'\n');
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a body is far below 4 GiB, indices are few"
        )]
        self.entries.push(Entry {
            action: action as u32,
            document: start as u32,
            end: self.body.len() as u32,
            index: at as u16,
            share: 0,
        });
        self.sent.push(((index, id), dead_letter));
    }

    /// Returns the batch, and its documents in the same order.
    fn build(self) -> (Batch, Vec<SentDocument>) {
        #[expect(clippy::cast_possible_truncation, reason = "a body is far below 4 GiB")]
        let share = Share { partition: 0, page: 0, documents: self.entries.len() as u32 };
        let batch = Batch {
            body: Bytes::from(self.body),
            entries: self.entries,
            targets: self.targets,
            // Few documents, which are rewritten for an index that has refused fields.
            fields_version: 0,
            shares: vec![share],
            dead_letters: Vec::new(),
        };
        (batch, self.sent)
    }
}

/// Returns the result of every document that was sent.
fn outcome(sent: Vec<SentDocument>, receipt: Receipt) -> RetryOutcome {
    let expired = receipt.expired;
    let rejected: HashMap<(String, String), (DeadLetterCause, String)> = receipt
        .dead_letters
        .into_iter()
        .map(|DeadLetter { index, id, cause, reason, .. }| ((index, id), (cause, reason)))
        .collect();
    let mut retried = RetryOutcome { indices: receipt.indices, ..RetryOutcome::default() };
    for (document, dead_letter) in sent {
        match rejected.get(&document) {
            Some((cause, reason)) => retried.rejected.push((dead_letter, *cause, reason.clone())),
            // It stays a dead letter, as if it had not been sent.
            None if expired.contains_key(&document.0) => {}
            None => retried.settled.push(dead_letter),
        }
    }
    retried
}

impl<S: Sink> Coordinator<LoadConsumer<S>> {
    /// Sends the selected dead letters again and reports the result.
    pub(super) async fn resend_dead_letters(&mut self, mut dead_letters: DeadLetterReader) {
        match self.resend_all(&mut dead_letters).await {
            Ok(()) => {}
            Err(Error::Consumer(error)) => self.on_result(Err(error)),
            Err(error) => self.fail(error),
        }
        let context = &self.consumer().context;
        let (metrics, log) = (&context.metrics.retried, &context.log);
        let indexed = metrics.created.load(Relaxed) + metrics.duplicates.load(Relaxed);
        let rejected = metrics.dead_letters.load(Relaxed);
        if indexed + rejected > 0 {
            log.info(
                "dead letters",
                format_args!(
                    "{} sent again: {} indexed, {} still dead letters",
                    format::plural(indexed + rejected, "document"),
                    format::count(indexed),
                    format::count(rejected)
                ),
            );
        }
        for (reason, documents) in &dead_letters.unsendable {
            let documents = format::plural(*documents, "document");
            log.info("dead letters", format_args!("{documents} not sent again: {reason}"));
        }
    }

    async fn resend_all(
        &mut self,
        dead_letters: &mut DeadLetterReader,
    ) -> Result<(), Error<LoadError>> {
        let selection = dead_letters.selection;
        if dead_letters.reader.retry_candidates(selection, &[], 0, 1)?.is_empty() {
            return Ok(());
        }
        // The sink may find that this engine must not receive any document.
        self.wait_until_prepared().await;
        let unchanged = self.unchanged_indices(dead_letters).await?;
        let (mut batch, mut after) = (ResendBatch::default(), 0);
        loop {
            let page = dead_letters.reader.retry_candidates(
                selection,
                &unchanged,
                after,
                ROWS_PER_QUERY,
            )?;
            let Some(last) = page.last() else { break };
            after = last.row;
            for candidate in page {
                if self.is_ending() {
                    return Ok(());
                }
                dead_letters.add(candidate, &mut batch)?;
                if batch.body.len() >= dead_letters.batch_bytes {
                    self.resend(std::mem::take(&mut batch)).await?;
                }
            }
        }
        if self.is_ending() || batch.sent.is_empty() { Ok(()) } else { self.resend(batch).await }
    }

    async fn resend(&mut self, batch: ResendBatch) -> Result<(), Error<LoadError>> {
        let (batch, sent) = batch.build();
        let consumer = Arc::clone(self.consumer());
        let receipt = match consumer.sink.write(batch).await {
            Ok(receipt) => receipt,
            Err(unfinished) => return Err(Error::Consumer(unfinished.error.into())),
        };
        let outcome = outcome(sent, receipt);
        for (dead_letter, cause, _) in &outcome.rejected {
            if *cause == DeadLetterCause::Content {
                consumer.add_rejecting_index(dead_letter.index.clone());
            }
        }
        let metrics = &consumer.context.metrics.retried;
        let (settled, rejected) = (outcome.settled.len() as u64, outcome.rejected.len() as u64);
        let duplicates = outcome.duplicates();
        metrics.created.fetch_add(settled.saturating_sub(duplicates), Relaxed);
        metrics.duplicates.fetch_add(duplicates, Relaxed);
        metrics.dead_letters.fetch_add(rejected, Relaxed);
        self.record(CheckpointEvent::Retried(outcome)).await;
        Ok(())
    }

    /// Returns the indices, and their versions, that would reject the content of documents as they did before.
    async fn unchanged_indices(
        &self,
        dead_letters: &DeadLetterReader,
    ) -> Result<Vec<(String, String)>, Error<LoadError>> {
        if dead_letters.selection != RetrySelection::Due {
            return Ok(Vec::new());
        }
        let mut versions: HashMap<String, String> = HashMap::new();
        let mut unchanged = Vec::new();
        for (index, rejected_under) in dead_letters.reader.rejections()? {
            if !versions.contains_key(&index) {
                let version = self.index_version(&index).await;
                let version = version.map_err(|error| Error::Consumer(error.into()))?;
                versions.insert(index.clone(), version);
            }
            if versions.get(&index) == Some(&rejected_under) {
                unchanged.push((index, rejected_under));
            }
        }
        Ok(unchanged)
    }

    /// Records the versions of the indices that rejected documents of this run for their content. Such a document is sent
    /// again only when the version has changed.
    pub(super) async fn record_refusal_versions(&mut self) {
        for index in self.consumer().take_rejecting_indices() {
            // A document without a version is sent again by the next run, which does no harm.
            if let Ok(version) = self.index_version(&index).await {
                self.record(CheckpointEvent::RejectedUnder { index, version }).await;
            }
        }
    }

    /// Returns the version of everything that decides whether an index accepts the content of a document: the program,
    /// its rules, and the index itself.
    async fn index_version(&self, index: &str) -> Result<String, sink::Error> {
        let consumer = self.consumer();
        let version = match consumer.sink.index_version(index).await {
            // A user who may write may not be allowed to read.
            Err(sink::Error::Denied { .. } | sink::Error::Refused { .. }) => String::new(),
            version => version?,
        };
        let digest = consumer.context.fields.digest();
        Ok(format!("{} {digest} {version}", env!("CARGO_PKG_VERSION")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::IndexCount;

    fn key(id: &str) -> DeadLetterKey {
        DeadLetterKey { index: "i".to_owned(), id: id.to_owned() }
    }

    fn document<'a>(index: &str, id: &str, text: &'a [u8], required_fields: u32) -> Document<'a> {
        Document { index: index.to_owned(), id: id.to_owned(), text, required_fields }
    }

    #[test]
    fn documents_are_created_under_the_ids_of_their_dead_letters() {
        let mut batch = ResendBatch::default();
        batch.add(document("i", "a\"b", b"{\"x\":1}\n", 2), key("a\"b"));
        batch.add(document("j", "c", b"{\"y\":2}", 7), key("c"));
        batch.add(document("i", "d", b"{}", 5), key("d"));
        let (batch, sent) = batch.build();
        let lines: Vec<serde_json::Value> = batch
            .body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines[0], json!({ "create": { "_index": "i", "_id": "a\"b" } }));
        assert_eq!((lines.len(), &lines[3]), (6, &json!({ "y": 2 })));
        let needs: Vec<_> =
            batch.targets.iter().map(|need| (need.index.as_str(), need.required_fields)).collect();
        assert_eq!(needs, [("i", 5), ("j", 7)]);
        assert_eq!(batch.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!((batch.shares[0].documents, sent.len()), (3, 3));
        for entry in &batch.entries {
            let action = &batch.body[entry.action as usize..entry.document as usize];
            assert!(!action_id(action).is_empty());
            assert!(batch.body[entry.document as usize..entry.end as usize].ends_with(b"}\n"));
        }
    }

    #[test]
    fn every_document_has_one_result() {
        let sent = ["a", "b", "c"].map(|id| (("i".to_owned(), id.to_owned()), key(id)));
        let rejected = DeadLetter {
            partition: 0,
            id: "b".to_owned(),
            index: "i".to_owned(),
            cause: DeadLetterCause::Pipeline,
            reason: "dropped".to_owned(),
            content: DeadLetterContent::Document(CompressedText::new(b"{}")),
        };
        let counted = IndexCount {
            index: "i".to_owned(),
            created: 1,
            duplicates: 1,
            ..IndexCount::default()
        };
        let receipt = Receipt {
            indices: vec![counted],
            dead_letters: vec![rejected],
            expired: [("old".to_owned(), 1)].into(),
            ..Receipt::default()
        };
        // That of an index which expired meanwhile stays a dead letter, as if it had not been sent.
        let expired = (("old".to_owned(), "d".to_owned()), key("d"));
        let retried = outcome([sent.to_vec(), vec![expired]].concat(), receipt);
        assert_eq!(retried.settled, [key("a"), key("c")]);
        assert_eq!(retried.rejected, [(key("b"), DeadLetterCause::Pipeline, "dropped".to_owned())]);
        assert_eq!(retried.duplicates(), 1);
    }
}
