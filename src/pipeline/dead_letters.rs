//! Sends documents again that earlier runs set aside, before anything new is read.
//!
//! In: what the checkpoint keeps of them. Out: batches to the sink, and checkpoint_events of what became of each document.
//! Invariant: a row of the checkpoint goes only after the sink has settled its document; its index and its id never
//! change, so a run that is killed here sends it again and doubles nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{error::Error, run::Coordinator};
use crate::{
    checkpoint::{
        CheckpointEvent, CheckpointReader, DeadLetterKey, RetryCandidate, RetryOutcome,
        RetrySelection,
    },
    event::{
        Batch, CompressedText, DeadLetter, DeadLetterCause, DeadLetterContent, Entry, Receipt,
        Share, TargetIndex,
    },
    normalize::{FieldRegistry, Normalized, Normalizer, Settings, TimeRange},
    report::{Log, format},
    sink::{self, Sink},
    source::unescape,
};

/// Documents that are inputs_named at once; their content is read one at a time.
const ROWS_PER_QUERY: u32 = 1_000;

/// JobInput a run needs to send documents again.
pub(super) struct DeadLetterReader {
    reader: CheckpointReader,
    retry: RetrySelection,
    normalizer: Normalizer,
    batch_bytes: usize,
    /// Bytes of the longest record that --memory has room for.
    record_bytes: u64,
    log: Log,
    /// Why documents cannot be sent, and how many.
    unable: BTreeMap<String, u64>,
}

impl DeadLetterReader {
    /// Reads from this checkpoint; documents are made under these fields.
    pub(super) fn new(
        reader: CheckpointReader,
        retry: RetrySelection,
        load: &super::PipelineConfig,
    ) -> Self {
        let range = TimeRange { from: None, to: None };
        let settings = Settings { range, ..load.settings.clone() };
        Self {
            reader,
            retry,
            normalizer: Normalizer::new(Arc::clone(&load.fields), Arc::new(settings)),
            batch_bytes: load.batch_bytes(),
            record_bytes: load.decoder_limits().max_record_bytes as u64,
            log: load.log.clone(),
            unable: BTreeMap::new(),
        }
    }

    /// Puts a document into a batch, or checkpoint_events why that cannot be.
    fn add(&mut self, waiting: RetryCandidate, batch: &mut ResendBatch) -> Result<(), Error> {
        if let Err(why) = self.document(waiting, batch)? {
            *self.unable.entry(why).or_default() += 1;
        }
        Ok(())
    }

    fn document(
        &mut self,
        waiting: RetryCandidate,
        batch: &mut ResendBatch,
    ) -> Result<Result<(), String>, Error> {
        Ok(match self.reader.dead_letter_content(&waiting)? {
            Some(DeadLetterContent::Document(content)) => unpacked(&content).map(|document| {
                let (document, fields) =
                    self.normalizer.rewrite_document(&document).unwrap_or((document, 0));
                let DeadLetterKey { index, id } = waiting.key.clone();
                batch.add((index, id), waiting.key, &document, fields);
            }),
            Some(DeadLetterContent::Record { content, bytes, .. }) => {
                let content = content.filter(|_| bytes <= self.record_bytes);
                match content {
                    Some(content) => unpacked(&content)
                        .and_then(|content| self.record(&content, waiting.key, batch)),
                    None => Err(format!(
                        "a record is longer than {}, which is the most that can be loaded",
                        format::bytes(self.record_bytes)
                    )),
                }
            }
            None => {
                Err("an earlier version kept only a part; load its source with --reload".into())
            }
        })
    }

    /// Makes a document of a record that was too long once.
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
        let made = self.normalizer.rewrite(record, &mut lines);
        let Ok(Normalized::Document(placed)) = made else {
            return Err("a record is no JSON object".to_owned());
        };
        let (action, document) = lines.split_at(placed.action_bytes as usize);
        let index = self.normalizer.index_name(placed.period).to_owned();
        batch.add((index, id(action)), key, document, placed.required_fields);
        Ok(())
    }
}

fn unpacked(content: &CompressedText) -> Result<Vec<u8>, String> {
    content.decompress().map_err(|error| format!("what the checkpoint keeps is damaged ({error})"))
}

/// Reads the id from an action line of ours.
fn id(action: &[u8]) -> String {
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

/// A document that is sent: its index and id, and the row that it came from.
type Sent = ((String, String), DeadLetterKey);

/// Documents that go into one batch, and the rows that they came from.
#[derive(Default)]
struct ResendBatch {
    body: Vec<u8>,
    entries: Vec<Entry>,
    needs: Vec<TargetIndex>,
    rows: Vec<Sent>,
}

impl ResendBatch {
    fn add(
        &mut self,
        (index, id): (String, String),
        row: DeadLetterKey,
        document: &[u8],
        fields: u32,
    ) {
        let known = self.needs.iter().position(|need| need.index == index);
        let at = known.unwrap_or_else(|| {
            self.needs.push(TargetIndex { index: index.clone(), required_fields: fields });
            self.needs.len() - 1
        });
        self.needs[at].required_fields = self.needs[at].required_fields.max(fields);
        let action = self.body.len();
        let line = json!({ "create": { "_index": index, "_id": id } }).to_string();
        self.body.extend_from_slice(line.as_bytes());
        self.body.push(b'\n');
        let start = self.body.len();
        self.body.extend_from_slice(document.trim_ascii_end());
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
        self.rows.push(((index, id), row));
    }

    /// Returns the batch, and the rows in its order.
    fn batch(self) -> (Batch, Vec<Sent>) {
        #[expect(clippy::cast_possible_truncation, reason = "a body is far below 4 GiB")]
        let share = Share { partition: 0, page: 0, documents: self.entries.len() as u32 };
        let batch = Batch {
            body: Bytes::from(self.body),
            entries: self.entries,
            targets: self.needs,
            shares: vec![share],
            dead_letters: Vec::new(),
        };
        (batch, self.rows)
    }
}

/// Sorts rows by what became of their documents.
fn sorted(rows: Vec<Sent>, receipt: Receipt) -> RetryOutcome {
    let refused: HashMap<(String, String), (DeadLetterCause, String)> = receipt
        .dead_letters
        .into_iter()
        .map(|DeadLetter { index, id, cause, reason, .. }| ((index, id), (cause, reason)))
        .collect();
    let mut retried = RetryOutcome { indices: receipt.indices, ..RetryOutcome::default() };
    for (document, row) in rows {
        match refused.get(&document) {
            Some((cause, reason)) => retried.rejected.push((row, *cause, reason.clone())),
            None => retried.settled.push(row),
        }
    }
    retried
}

impl<S: Sink> Coordinator<S> {
    /// Sends what is to be sent again.
    pub(super) async fn retry(&mut self, mut again: DeadLetterReader) {
        match self.resend_all(&mut again).await {
            Ok(()) => {}
            Err(Error::Sink(error)) => self.end_by(error),
            Err(error) => self.fail(error),
        }
        let (metrics, log) = (&self.metrics.retried, &again.log);
        let there = metrics.created.load(Relaxed) + metrics.duplicates.load(Relaxed);
        let aside = metrics.dead_letters.load(Relaxed);
        if there + aside > 0 {
            log.info(
                "set aside",
                format_args!(
                    "{} sent again: {} in the index now, {} still set aside",
                    format::plural(there + aside, "document"),
                    format::count(there),
                    format::count(aside)
                ),
            );
        }
        for (why, documents) in &again.unable {
            let documents = format::plural(*documents, "document");
            log.info("set aside", format_args!("{documents} not sent again: {why}"));
        }
    }

    async fn resend_all(&mut self, again: &mut DeadLetterReader) -> Result<(), Error> {
        if again.reader.retry_candidates(again.retry, &[], 0, 1)?.is_empty() {
            return Ok(());
        }
        // The sink may find that nothing at all should be sent to this engine.
        self.await_prepared().await;
        let unchanged = self.unchanged(again).await?;
        let (mut batch, mut after) = (ResendBatch::default(), 0);
        loop {
            let page =
                again.reader.retry_candidates(again.retry, &unchanged, after, ROWS_PER_QUERY)?;
            let Some(last) = page.last() else { break };
            after = last.row;
            for waiting in page {
                if self.is_over() {
                    return Ok(());
                }
                again.add(waiting, &mut batch)?;
                if batch.body.len() >= again.batch_bytes {
                    self.resend_batch(std::mem::take(&mut batch)).await?;
                }
            }
        }
        if self.is_over() || batch.rows.is_empty() {
            Ok(())
        } else {
            self.resend_batch(batch).await
        }
    }

    async fn resend_batch(&mut self, batch: ResendBatch) -> Result<(), Error> {
        let (batch, rows) = batch.batch();
        let receipt = self.sink.write(batch).await.map_err(|unfinished| unfinished.error)?;
        let retried = sorted(rows, receipt);
        let content =
            retried.rejected.iter().filter(|(_, cause, _)| *cause == DeadLetterCause::Content);
        self.rejecting_indices.extend(content.map(|(row, _, _)| row.index.clone()));
        let metrics = &self.metrics.retried;
        let (settled, refused) = (retried.settled.len() as u64, retried.rejected.len() as u64);
        let there = retried.duplicates();
        metrics.created.fetch_add(settled.saturating_sub(there), Relaxed);
        metrics.duplicates.fetch_add(there, Relaxed);
        metrics.dead_letters.fetch_add(refused, Relaxed);
        self.note(CheckpointEvent::Retried(retried)).await;
        Ok(())
    }

    /// Returns which indices would refuse the content of documents as they did before.
    async fn unchanged(&self, again: &DeadLetterReader) -> Result<Vec<(String, String)>, Error> {
        if again.retry != RetrySelection::Due {
            return Ok(Vec::new());
        }
        let mut versions: HashMap<String, String> = HashMap::new();
        let mut unchanged = Vec::new();
        for (index, under) in again.reader.rejections()? {
            if !versions.contains_key(&index) {
                let version = self.version(&index).await?;
                versions.insert(index.clone(), version);
            }
            if versions.get(&index) == Some(&under) {
                unchanged.push((index, under));
            }
        }
        Ok(unchanged)
    }

    /// Writes down what refused documents of this run for their content: only when it changes are they sent again.
    pub(super) async fn record_refusal_versions(&mut self) {
        for index in std::mem::take(&mut self.rejecting_indices) {
            // Without its version, a document is sent again by the next run, which does no harm.
            if let Ok(version) = self.version(&index).await {
                self.note(CheckpointEvent::RejectedUnder { index, version }).await;
            }
        }
    }

    /// Returns what decides whether an index takes the content of a document: program, rules, and the index itself.
    async fn version(&self, index: &str) -> Result<String, sink::Error> {
        let there = match self.sink.index_version(index).await {
            // Who may write may not be allowed to read.
            Err(sink::Error::Denied { .. } | sink::Error::Refused { .. }) => String::new(),
            there => there?,
        };
        Ok(format!("{} {there}", self.fields_version))
    }
}

/// Returns what decides how documents are made.
pub(super) fn fields_version(fields: &FieldRegistry) -> String {
    format!("{} {}", env!("CARGO_PKG_VERSION"), fields.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::IndexCount;

    fn key(id: &str) -> DeadLetterKey {
        DeadLetterKey { index: "i".to_owned(), id: id.to_owned() }
    }

    #[test]
    fn a_parcel_is_a_batch_of_creations_under_the_ids_of_the_rows() {
        let mut batch = ResendBatch::default();
        batch.add(("i".into(), "a\"b".into()), key("a\"b"), b"{\"x\":1}\n", 2);
        batch.add(("j".into(), "c".into()), key("c"), b"{\"y\":2}", 7);
        batch.add(("i".into(), "d".into()), key("d"), b"{}", 5);
        let (batch, rows) = batch.batch();
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
        assert_eq!((batch.shares[0].documents, rows.len()), (3, 3));
        for entry in &batch.entries {
            let action = &batch.body[entry.action as usize..entry.document as usize];
            assert!(!id(action).is_empty());
            assert!(batch.body[entry.document as usize..entry.end as usize].ends_with(b"}\n"));
        }
    }

    #[test]
    fn every_row_is_in_one_list() {
        let rows = ["a", "b", "c"].map(|id| (("i".to_owned(), id.to_owned()), key(id)));
        let refused = DeadLetter {
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
        let receipt =
            Receipt { indices: vec![counted], dead_letters: vec![refused], ..Receipt::default() };
        let retried = sorted(rows.to_vec(), receipt);
        assert_eq!(retried.settled, [key("a"), key("c")]);
        assert_eq!(retried.rejected, [(key("b"), DeadLetterCause::Pipeline, "dropped".to_owned())]);
        assert_eq!(retried.duplicates(), 1);
    }
}
