//! Settles one batch: sends it, sorts the answer, and sends again what has to be, until nothing is open.
//!
//! What becomes of a document that the engine refuses (400): rewritten for the live mapping of its index, then
//! raw, then set aside with the engine's reason. What becomes of a request that is too large: its halves.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::sync::atomic::Ordering;

use serde::Deserialize;
use tokio::time::Instant;

use super::Engine;
use super::calls::refusal;
use super::mapping::Rewrite;
use super::parcel::{Document, Packer, Parcel, Stage};
use super::reply::{self, Next, Reply, Verdict};
use super::retry::Trouble;
use crate::event::{Batch, IndexCount, Receipt, SetAside, SetAsideCause};
use crate::sink::{Cause, Error};

/// A request lost this often in a row is tried in halves: something on the way may not take its size.
const LOSSES_BEFORE_HALVING: u32 = 3;

/// Bodies up to this size are not halved for being lost; no proxy has a lower limit.
const SMALL_BODY: usize = 256 * 1024;

/// Longest document kept with the reason why it was set aside; the source still has all of it.
const KEPT_BYTES: usize = 64 * 1024;

/// The work on one batch.
pub(super) struct Settling<'a> {
    engine: &'a Engine,
    batch: &'a Batch,
    /// Counts the documents of each of the batch's needs, in their order.
    receipt: &'a mut Receipt,
    /// What is still to be sent; the last one is next.
    parcels: Vec<Parcel>,
    trouble: Trouble<'a>,
}

/// How to rewrite for each index that refused something, by its number in the batch.
type Cures = HashMap<u16, Box<dyn Rewrite>>;

/// What a request came to, after its own retries.
enum Outcome {
    Items(Reply),
    TooLarge(Cause),
    Refused(Cause),
}

impl<'a> Settling<'a> {
    /// Prepares the work; `receipt` is what [`receipt`] made of the batch.
    pub(super) fn new(engine: &'a Engine, batch: &'a Batch, receipt: &'a mut Receipt) -> Self {
        let whole = Parcel::whole(batch);
        let parcels = if whole.documents.is_empty() { Vec::new() } else { vec![whole] };
        Self { engine, batch, receipt, parcels, trouble: engine.retrier.watch() }
    }

    /// Works until every document is settled.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        while let Some(parcel) = self.parcels.pop() {
            if parcel.body.len() >= self.engine.too_large.load(Ordering::Relaxed) {
                match parcel.halved() {
                    Ok((front, back)) => self.parcels.extend([back, front]),
                    Err(parcel) => self.deliver(parcel).await?,
                }
            } else {
                self.deliver(parcel).await?;
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, parcel: Parcel) -> Result<(), Error> {
        let sent = Instant::now();
        match self.send(&parcel).await? {
            Outcome::Items(reply) => self.sort(&parcel, reply, sent).await,
            Outcome::TooLarge(cause) => {
                // Lost requests are only suspected of their size; a 413 is sure of it.
                if cause.status().is_some() && parcel.documents.len() > 1 {
                    self.engine.too_large.fetch_min(parcel.body.len(), Ordering::Relaxed);
                }
                match parcel.halved() {
                    Ok((front, back)) => self.parcels.extend([back, front]),
                    Err(parcel) => self.set_aside(&parcel, &parcel.documents[0], &cause),
                }
                Ok(())
            }
            Outcome::Refused(cause) => match parcel.halved() {
                Ok((front, back)) => {
                    self.parcels.extend([back, front]);
                    Ok(())
                }
                Err(parcel) => self.refused_alone(&parcel, cause, sent).await,
            },
        }
    }

    /// Sends a parcel until there is an answer about it.
    async fn send(&mut self, parcel: &Parcel) -> Result<Outcome, Error> {
        let packed = self.engine.client.packed(parcel.body.clone()).await;
        let mut losses = 0;
        loop {
            let slot = self.engine.width.enter().await;
            let (verdict, asked) = match self.engine.client.bulk(packed.clone()).await {
                Ok(answer) => (
                    reply::judge(answer.status, &answer.body, parcel.documents.len()),
                    answer.retry_after,
                ),
                Err(cause) => (Verdict::Again(cause), None),
            };
            if is_overload(&verdict) {
                slot.was_too_much();
            } else if matches!(verdict, Verdict::Items(_)) {
                self.engine.width.went_well();
            }
            drop(slot);
            let cause = match verdict {
                Verdict::Items(reply) => return Ok(Outcome::Items(reply)),
                Verdict::TooLarge(cause) => return Ok(Outcome::TooLarge(cause)),
                Verdict::Refused(cause) => return Ok(Outcome::Refused(cause)),
                Verdict::Stop(cause) => return Err(self.stop(cause, None)),
                Verdict::Again(cause) => cause,
            };
            losses = if reply::may_be_size(&cause) { losses + 1 } else { 0 };
            if losses >= LOSSES_BEFORE_HALVING
                && parcel.body.len() > SMALL_BODY
                && parcel.documents.len() > 1
            {
                return Ok(Outcome::TooLarge(cause));
            }
            self.trouble.wait(cause, asked).await?;
            self.count_retry();
        }
    }

    /// Takes in the items of an answer; what is open becomes the next parcel.
    async fn sort(&mut self, parcel: &Parcel, reply: Reply, sent: Instant) -> Result<(), Error> {
        self.count(parcel, &reply);
        if reply.open.len() < parcel.documents.len() {
            self.engine.accepted.store(true, Ordering::Relaxed);
            self.trouble.eased();
        }
        let mut packer = Packer::default();
        let mut cures = Cures::default();
        let mut busy = None;
        for open in reply.open {
            let document = &parcel.documents[open.place];
            match open.next {
                Next::Again => {
                    packer.again(parcel, document);
                    busy = Some(open.cause);
                }
                Next::Refused => {
                    let line = parcel.line(document);
                    let rewritten = self.rewritten(document, line, sent, &mut cures).await?;
                    self.climb(parcel, document, &open.cause, rewritten, &mut packer);
                    // Rewriting thousands of documents is real work; let others have their turn.
                    tokio::task::yield_now().await;
                }
                _ => return Err(self.stop(open.cause, Some(document))),
            }
        }
        self.parcels.extend(packer.finish());
        if let Some(cause) = busy {
            self.trouble.wait(cause, None).await?;
            self.count_retry();
        }
        Ok(())
    }

    /// Counts the documents that are in their index. The answer names those that are not new there.
    fn count(&mut self, parcel: &Parcel, reply: &Reply) {
        let of = |place: usize| {
            let entry = parcel.documents[place].entry;
            usize::from(self.batch.entries[entry].index)
        };
        let indices = &mut self.receipt.indices;
        for place in 0..parcel.documents.len() {
            indices[of(place)].created += 1;
        }
        for place in &reply.already_there {
            indices[of(*place)].created -= 1;
            indices[of(*place)].already_there += 1;
        }
        for open in &reply.open {
            indices[of(open.place)].created -= 1;
        }
    }

    /// Takes the next step with a document that was refused.
    fn climb(
        &mut self,
        parcel: &Parcel,
        document: &Document,
        cause: &Cause,
        rewritten: Option<Vec<u8>>,
        packer: &mut Packer,
    ) {
        if let Some(rewritten) = rewritten {
            return packer.changed(parcel, document, Stage::Rewritten, &rewritten);
        }
        if document.stage != Stage::Raw {
            let line = parcel.line(document);
            let raw = self.engine.learned.raw(line);
            if raw.trim_ascii_end() != line {
                return packer.changed(parcel, document, Stage::Raw, &raw);
            }
        }
        self.set_aside(parcel, document, cause);
    }

    /// Rewrites a document for the live mapping of its index, if it was not and if that changes anything.
    async fn rewritten(
        &self,
        document: &Document,
        line: &[u8],
        sent: Instant,
        cures: &mut Cures,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(mappings) = &self.engine.mappings else { return Ok(None) };
        if document.stage != Stage::Normalized {
            return Ok(None);
        }
        let cure = match cures.entry(self.batch.entries[document.entry].index) {
            Occupied(there) => there.into_mut(),
            Vacant(place) => {
                let name = self.index(document);
                let current = mappings.live(&self.engine.calls(), name, sent).await?;
                place.insert(self.engine.learned.relearn(&current))
            }
        };
        let rewritten = cure.again(line);
        Ok(rewritten.filter(|rewritten| rewritten.trim_ascii_end() != line))
    }

    /// Takes the next step with a document whose whole request was refused.
    async fn refused_alone(
        &mut self,
        parcel: &Parcel,
        cause: Cause,
        sent: Instant,
    ) -> Result<(), Error> {
        let document = &parcel.documents[0];
        // As long as nothing was ever taken, the fault is more likely ours than this document's.
        if document.stage == Stage::Raw && !self.engine.accepted.load(Ordering::Relaxed) {
            return Err(self.stop(cause, Some(document)));
        }
        let mut packer = Packer::default();
        let line = parcel.line(document);
        let rewritten = self.rewritten(document, line, sent, &mut Cures::default()).await?;
        self.climb(parcel, document, &cause, rewritten, &mut packer);
        self.parcels.extend(packer.finish());
        Ok(())
    }

    fn set_aside(&mut self, parcel: &Parcel, document: &Document, cause: &Cause) {
        let entry = &self.batch.entries[document.entry];
        let original = &self.batch.body[entry.action as usize..entry.end as usize];
        let (action, line) = original.split_at((entry.document - entry.action) as usize);
        let (kind, reason) = match cause.status() {
            Some(413) => {
                let bytes = parcel.body.len();
                let told = format!("a request of {bytes} bytes is too large for this engine");
                (SetAsideCause::Limit, told)
            }
            _ => (SetAsideCause::Content, cause.to_string()),
        };
        self.receipt.set_aside.push(SetAside {
            lane: self.batch.shares[entry.share as usize].lane,
            id: id(action),
            index: self.index(document).to_owned(),
            cause: kind,
            reason,
            document: shortened(line),
        });
    }

    fn index(&self, document: &Document) -> &'a str {
        let entry = &self.batch.entries[document.entry];
        &self.batch.needs[usize::from(entry.index)].index
    }

    fn stop(&self, cause: Cause, document: Option<&Document>) -> Error {
        let action = match document {
            Some(document) => format!("writing to the index '{}'", self.index(document)),
            None => "writing documents".to_owned(),
        };
        refusal(self.engine.client.address(), &action, cause)
    }

    fn count_retry(&self) {
        self.engine.tally.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the receipt of a batch of which nothing is sent yet.
pub(super) fn receipt(batch: &Batch) -> Receipt {
    let none = |index: &String| IndexCount { index: index.clone(), ..IndexCount::default() };
    Receipt {
        shares: batch.shares.clone(),
        indices: batch.needs.iter().map(|need| none(&need.index)).collect(),
        set_aside: batch.set_aside.clone(),
    }
}

/// Returns whether fewer requests at once would help.
fn is_overload(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Again(cause @ Cause::Connection { .. }) => {
            matches!(cause, Cause::Connection { how: crate::sink::Unreachable::TimedOut, .. })
        }
        Verdict::Again(cause) => matches!(cause.status(), Some(429 | 503)),
        Verdict::Items(reply) => reply.open.iter().any(|open| open.next == Next::Again),
        _ => false,
    }
}

/// Reads the id from an action line.
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

/// Returns a document line as text, cut if it is very long.
fn shortened(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut text = String::from_utf8_lossy(&line[..line.len().min(KEPT_BYTES)]).into_owned();
    if line.len() > KEPT_BYTES {
        text.push('…');
    }
    text
}
