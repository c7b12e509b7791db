//! Sends documents again that earlier runs set aside, before anything new is read.
//!
//! In: what the checkpoint keeps of them. Out: batches to the sink, and notes of what became of each document.
//! Invariant: a row of the checkpoint goes only after the sink has settled its document; its index and its id never
//! change, so a run that is killed here sends it again and doubles nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::run::{Corridor, Error};
use crate::{
    checkpoint::{Key, Note, Reader, Retried, Retry, Waiting},
    event::{Batch, Entry, Kept, Need, Packed, Receipt, SetAside, SetAsideCause, Share},
    normalize::{Fields, Normalized, Normalizer, Settings, TimeRange},
    report::{Log, figures},
    sink::{self, Sink},
    source::unescape,
};

/// Documents that are named at once; their content is read one at a time.
const NAMED_AT_ONCE: u32 = 1_000;

/// What a run needs to send documents again.
pub(super) struct Again {
    reader: Reader,
    retry: Retry,
    normalizer: Normalizer,
    batch_bytes: usize,
    /// Bytes of the longest record that --memory has room for.
    record_bytes: u64,
    log: Log,
    /// Why documents cannot be sent, and how many.
    unable: BTreeMap<String, u64>,
}

impl Again {
    /// Reads from this checkpoint; documents are made under these fields.
    pub(super) fn new(reader: Reader, retry: Retry, load: &super::Load) -> Self {
        let range = TimeRange { from: None, to: None };
        let settings = Settings { range, ..load.settings.clone() };
        Self {
            reader,
            retry,
            normalizer: Normalizer::new(Arc::clone(&load.fields), Arc::new(settings)),
            batch_bytes: usize::try_from(load.batch_bytes).unwrap_or(usize::MAX),
            record_bytes: load.limits().record as u64,
            log: load.log.clone(),
            unable: BTreeMap::new(),
        }
    }

    /// Puts a document into a parcel, or notes why that cannot be.
    fn add(&mut self, waiting: Waiting, parcel: &mut Parcel) -> Result<(), Error> {
        if let Err(why) = self.document(waiting, parcel)? {
            *self.unable.entry(why).or_default() += 1;
        }
        Ok(())
    }

    fn document(
        &mut self,
        waiting: Waiting,
        parcel: &mut Parcel,
    ) -> Result<Result<(), String>, Error> {
        Ok(match self.reader.kept(&waiting)? {
            Some(Kept::Document(content)) => unpacked(&content).map(|document| {
                let (document, fields) = self.normalizer.again(&document).unwrap_or((document, 0));
                let Key { index, id } = waiting.key.clone();
                parcel.add((index, id), waiting.key, &document, fields);
            }),
            Some(Kept::Record { content, bytes, .. }) => {
                let content = content.filter(|_| bytes <= self.record_bytes);
                match content {
                    Some(content) => unpacked(&content)
                        .and_then(|content| self.record(&content, waiting.key, parcel)),
                    None => Err(format!(
                        "a record is longer than {}, which is the most that can be loaded",
                        figures::bytes(self.record_bytes)
                    )),
                }
            }
            None => Err("an earlier version kept only a part; load its source with --again".into()),
        })
    }

    /// Makes a document of a record that was too long once.
    fn record(&mut self, content: &[u8], key: Key, parcel: &mut Parcel) -> Result<(), String> {
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
        let index = self.normalizer.index(placed.bucket).to_owned();
        parcel.add((index, id(action)), key, document, placed.needs);
        Ok(())
    }
}

fn unpacked(content: &Packed) -> Result<Vec<u8>, String> {
    content.unpack().map_err(|error| format!("what the checkpoint keeps is damaged ({error})"))
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
type Sent = ((String, String), Key);

/// Documents that go into one batch, and the rows that they came from.
#[derive(Default)]
struct Parcel {
    body: Vec<u8>,
    entries: Vec<Entry>,
    needs: Vec<Need>,
    rows: Vec<Sent>,
}

impl Parcel {
    fn add(&mut self, (index, id): (String, String), row: Key, document: &[u8], fields: u32) {
        let known = self.needs.iter().position(|need| need.index == index);
        let at = known.unwrap_or_else(|| {
            self.needs.push(Need { index: index.clone(), fields });
            self.needs.len() - 1
        });
        self.needs[at].fields = self.needs[at].fields.max(fields);
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
        let share = Share { lane: 0, page: 0, documents: self.entries.len() as u32 };
        let batch = Batch {
            body: Bytes::from(self.body),
            entries: self.entries,
            needs: self.needs,
            shares: vec![share],
            set_aside: Vec::new(),
        };
        (batch, self.rows)
    }
}

/// Sorts rows by what became of their documents.
fn sorted(rows: Vec<Sent>, receipt: Receipt) -> Retried {
    let refused: HashMap<(String, String), (SetAsideCause, String)> = receipt
        .set_aside
        .into_iter()
        .map(|SetAside { index, id, cause, reason, .. }| ((index, id), (cause, reason)))
        .collect();
    let mut retried = Retried { indices: receipt.indices, ..Retried::default() };
    for (document, row) in rows {
        match refused.get(&document) {
            Some((cause, reason)) => retried.refused.push((row, *cause, reason.clone())),
            None => retried.settled.push(row),
        }
    }
    retried
}

impl<S: Sink> Corridor<S> {
    /// Sends what is to be sent again.
    pub(super) async fn retry(&mut self, mut again: Again) {
        match self.send_again(&mut again).await {
            Ok(()) => {}
            Err(Error::Sink(error)) => self.end_by(error),
            Err(error) => self.fail(error),
        }
        let (tally, log) = (&self.tally.retried, &again.log);
        let there = tally.created.load(Relaxed) + tally.already_there.load(Relaxed);
        let aside = tally.set_aside.load(Relaxed);
        if there + aside > 0 {
            log.info(
                "set aside",
                format_args!(
                    "{} sent again: {} in the index now, {} still set aside",
                    figures::counted(there + aside, "document"),
                    figures::count(there),
                    figures::count(aside)
                ),
            );
        }
        for (why, documents) in &again.unable {
            let documents = figures::counted(*documents, "document");
            log.info("set aside", format_args!("{documents} not sent again: {why}"));
        }
    }

    async fn send_again(&mut self, again: &mut Again) -> Result<(), Error> {
        if again.reader.waiting(again.retry, &[], 0, 1)?.is_empty() {
            return Ok(());
        }
        // The sink may find that nothing at all should be sent to this engine.
        self.await_prepared().await;
        let unchanged = self.unchanged(again).await?;
        let (mut parcel, mut after) = (Parcel::default(), 0);
        loop {
            let page = again.reader.waiting(again.retry, &unchanged, after, NAMED_AT_ONCE)?;
            let Some(last) = page.last() else { break };
            after = last.number;
            for waiting in page {
                if self.is_over() {
                    return Ok(());
                }
                again.add(waiting, &mut parcel)?;
                if parcel.body.len() >= again.batch_bytes {
                    self.send_parcel(std::mem::take(&mut parcel)).await?;
                }
            }
        }
        if self.is_over() || parcel.rows.is_empty() {
            Ok(())
        } else {
            self.send_parcel(parcel).await
        }
    }

    async fn send_parcel(&mut self, parcel: Parcel) -> Result<(), Error> {
        let (batch, rows) = parcel.batch();
        let receipt = self.sink.write(batch).await.map_err(|unfinished| unfinished.error)?;
        let retried = sorted(rows, receipt);
        let content =
            retried.refused.iter().filter(|(_, cause, _)| *cause == SetAsideCause::Content);
        self.refusing.extend(content.map(|(row, _, _)| row.index.clone()));
        let tally = &self.tally.retried;
        let (settled, refused) = (retried.settled.len() as u64, retried.refused.len() as u64);
        let there = retried.already_there();
        tally.created.fetch_add(settled.saturating_sub(there), Relaxed);
        tally.already_there.fetch_add(there, Relaxed);
        tally.set_aside.fetch_add(refused, Relaxed);
        self.note(Note::Retried(retried)).await;
        Ok(())
    }

    /// Returns which indices would refuse the content of documents as they did before.
    async fn unchanged(&self, again: &Again) -> Result<Vec<(String, String)>, Error> {
        if again.retry != Retry::Due {
            return Ok(Vec::new());
        }
        let mut versions: HashMap<String, String> = HashMap::new();
        let mut unchanged = Vec::new();
        for (index, under) in again.reader.refusals()? {
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
    pub(super) async fn write_versions(&mut self) {
        for index in std::mem::take(&mut self.refusing) {
            // Without its version, a document is sent again by the next run, which does no harm.
            if let Ok(version) = self.version(&index).await {
                self.note(Note::RefusedUnder { index, version }).await;
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
pub(super) fn fields_version(fields: &Fields) -> String {
    format!("{} {}", env!("CARGO_PKG_VERSION"), fields.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::IndexCount;

    fn key(id: &str) -> Key {
        Key { index: "i".to_owned(), id: id.to_owned() }
    }

    #[test]
    fn a_parcel_is_a_batch_of_creations_under_the_ids_of_the_rows() {
        let mut parcel = Parcel::default();
        parcel.add(("i".into(), "a\"b".into()), key("a\"b"), b"{\"x\":1}\n", 2);
        parcel.add(("j".into(), "c".into()), key("c"), b"{\"y\":2}", 7);
        parcel.add(("i".into(), "d".into()), key("d"), b"{}", 5);
        let (batch, rows) = parcel.batch();
        let lines: Vec<serde_json::Value> = batch
            .body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines[0], json!({ "create": { "_index": "i", "_id": "a\"b" } }));
        assert_eq!((lines.len(), &lines[3]), (6, &json!({ "y": 2 })));
        let needs: Vec<_> =
            batch.needs.iter().map(|need| (need.index.as_str(), need.fields)).collect();
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
        let refused = SetAside {
            lane: 0,
            id: "b".to_owned(),
            index: "i".to_owned(),
            cause: SetAsideCause::Pipeline,
            reason: "dropped".to_owned(),
            kept: Kept::Document(Packed::new(b"{}")),
        };
        let counted = IndexCount {
            index: "i".to_owned(),
            created: 1,
            already_there: 1,
            ..IndexCount::default()
        };
        let receipt =
            Receipt { indices: vec![counted], set_aside: vec![refused], ..Receipt::default() };
        let retried = sorted(rows.to_vec(), receipt);
        assert_eq!(retried.settled, [key("a"), key("c")]);
        assert_eq!(retried.refused, [(key("b"), SetAsideCause::Pipeline, "dropped".to_owned())]);
        assert_eq!(retried.already_there(), 1);
    }
}
