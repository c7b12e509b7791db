//! Settles one batch: sends it, sorts the answer, and sends again what has to be, until nothing is open.
//!
//! What becomes of a document that the engine refuses (400): rewritten for the live mapping of its index, then
//! raw, then set aside with the engine's reason. What becomes of a request that is too large: its halves.
//! A document whose index takes none, or whose ingest pipeline fails or changes it, is set aside at once: trying
//! again would meet the same, and the other documents go on.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::Engine;
use super::calls::refusal;
use super::duplicates::Duplicate;
use super::mapping::Rewrite;
use super::parcel::{Document, Packer, Parcel, Stage};
use super::reply::{self, Action, Next, Open, Proof, Reply, Sent, Verdict};
use super::retry::Trouble;
use crate::event::{Batch, Entry, IndexCount, Kept, Packed, Receipt, SetAside, SetAsideCause};
use crate::sink::{Cause, Error};

/// A request lost this often in a row is tried in halves: something on the way may not take its size.
const LOSSES_BEFORE_HALVING: u32 = 3;

/// Bodies up to this size are not halved for being lost; no proxy has a lower limit.
const SMALL_BODY: usize = 256 * 1024;

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

/// What remains of a request, and what is known about it.
struct Rest {
    /// When it was sent.
    sent: Instant,
    cures: Cures,
    /// Documents of the next request.
    packer: Packer,
    /// Why some of them have to wait, if any have.
    busy: Option<Cause>,
}

impl Rest {
    fn of(sent: Instant) -> Self {
        Self { sent, cures: Cures::default(), packer: Packer::default(), busy: None }
    }
}

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
        self.leave_out_shut();
        self.fit().await;
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

    /// Sets aside the documents of indices that are known to take none.
    fn leave_out_shut(&mut self) {
        let needs = self.batch.needs.iter();
        let shut: Vec<_> = needs.map(|need| self.engine.shut(&need.index)).collect();
        if shut.iter().all(Option::is_none) {
            return;
        }
        let whole = Parcel::whole(self.batch);
        let mut packer = Packer::default();
        for document in &whole.documents {
            match &shut[usize::from(self.batch.entries[document.entry].index)] {
                Some(cause) => self.leave_out(document, cause),
                None => packer.again(&whole, document),
            }
        }
        self.parcels = packer.finish().into_iter().collect();
    }

    /// Makes documents fit the indices whose mapping is somebody else's. All others are sent as they came.
    async fn fit(&mut self) {
        let Some(mappings) = &self.engine.mappings else { return };
        let mut cures = Cures::default();
        for (number, need) in (0..).zip(&self.batch.needs) {
            if let Some(cure) = mappings.fitting(&need.index).await {
                cures.insert(number, cure);
            }
        }
        if cures.is_empty() {
            return;
        }
        for parcel in std::mem::take(&mut self.parcels) {
            let mut packer = Packer::default();
            for document in &parcel.documents {
                let cure = cures.get_mut(&self.batch.entries[document.entry].index);
                match cure.and_then(|cure| cure.again(parcel.line(document))) {
                    Some(fitted) => packer.changed(&parcel, document, document.stage, &fitted),
                    None => packer.again(&parcel, document),
                }
                // As in `sort`: it is real work.
                tokio::task::yield_now().await;
            }
            self.parcels.extend(packer.finish());
        }
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
                    Err(parcel) => self.set_aside_large(&parcel, &cause),
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
            let slot = self.engine.width.acquire().await;
            let (verdict, asked) = match self.engine.client.bulk(packed.clone()).await {
                Ok(answer) => (self.judge(answer.status, &answer.body, parcel), answer.retry_after),
                Err(cause @ Cause::Redirect { .. }) => (Verdict::Stop(cause), None),
                Err(cause) => (Verdict::Again(cause), None),
            };
            if is_overload(&verdict) {
                slot.on_throttled();
            } else if matches!(verdict, Verdict::Items(_)) {
                self.engine.width.on_success();
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

    fn judge(&self, status: u16, body: &[u8], parcel: &Parcel) -> Verdict {
        let mappings = self.engine.mappings.as_ref();
        let proof = if mappings.is_some() { Proof::Named } else { Proof::Status };
        let behind = |name: &str| mappings.and_then(|mappings| mappings.behind(name));
        reply::judge(status, body, &Sent { parcel, proof, behind: &behind })
    }

    /// Takes in the items of an answer; what is open becomes the next parcel.
    async fn sort(&mut self, parcel: &Parcel, reply: Reply, sent: Instant) -> Result<(), Error> {
        self.count(parcel, &reply);
        self.compare(parcel, &reply.already_there).await?;
        if reply.open.len() < parcel.documents.len() {
            self.engine.accepted.store(true, Ordering::Relaxed);
            self.trouble.eased();
        }
        let mut rest = Rest::of(sent);
        for open in reply.open {
            self.step(parcel, open, &mut rest).await?;
        }
        self.parcels.extend(rest.packer.finish());
        if let Some(cause) = rest.busy {
            self.trouble.wait(cause, None).await?;
            self.count_retry();
        }
        Ok(())
    }

    /// Takes the next step with a document that is in no index.
    async fn step(&mut self, parcel: &Parcel, open: Open, rest: &mut Rest) -> Result<(), Error> {
        let document = &parcel.documents[open.place];
        match self.next(document, &open).await {
            Next::Again => {
                rest.packer.again(parcel, document);
                rest.busy = Some(open.cause);
                Ok(())
            }
            Next::Refused => self.climb(parcel, document, &open.cause, rest).await,
            Next::Pipeline => {
                self.keep_out(document, &open.cause).await;
                Ok(())
            }
            Next::Shut => {
                self.engine.shut_index(self.index(document), &open.cause);
                self.leave_out(document, &open.cause);
                Ok(())
            }
            Next::Stop => Err(self.stop(open.cause, Some(document))),
        }
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

    /// Compares documents that were there already with what is stored, if that is asked for.
    async fn compare(&self, parcel: &Parcel, places: &[usize]) -> Result<(), Error> {
        let Some(comparison) = &self.engine.comparison else { return Ok(()) };
        let body = &self.batch.body;
        let entry = |place: &usize| &self.batch.entries[parcel.documents[*place].entry];
        let id = |entry: &Entry| id(&body[entry.action as usize..entry.document as usize]);
        let ids: Vec<String> = places.iter().map(entry).map(id).collect();
        let duplicates = places.iter().map(entry).zip(&ids).map(|(entry, id)| Duplicate {
            index: &self.batch.needs[usize::from(entry.index)].index,
            id,
            sent: &body[entry.document as usize..entry.end as usize],
        });
        let duplicates: Vec<Duplicate<'_>> = duplicates.collect();
        comparison.compare(&self.engine.calls(), &self.engine.tally, &duplicates).await
    }

    /// Returns what to do with a document that is in no index. Where its index has an ingest pipeline, an error of
    /// unknown origin is the pipeline's.
    async fn next(&self, document: &Document, open: &Open) -> Next {
        let may_be = matches!(open.next, Next::Again | Next::Refused | Next::Stop)
            && reply::may_be_pipelines(&open.cause);
        if may_be && !self.pipelines(document).await.is_empty() {
            Next::Pipeline
        } else {
            open.next
        }
    }

    /// Returns the ingest pipelines that the index of a document names.
    async fn pipelines(&self, document: &Document) -> Vec<String> {
        let Some(mappings) = &self.engine.mappings else { return Vec::new() };
        mappings.pipelines(&self.engine.calls(), self.index(document)).await
    }

    /// Sends a document that was refused in another form, or sets it aside if there is none left.
    async fn climb(
        &mut self,
        parcel: &Parcel,
        document: &Document,
        cause: &Cause,
        rest: &mut Rest,
    ) -> Result<(), Error> {
        // Rewriting thousands of documents is real work; let others have their turn.
        tokio::task::yield_now().await;
        let line = parcel.line(document);
        if let Some(rewritten) = self.rewritten(document, line, rest).await? {
            rest.packer.changed(parcel, document, Stage::Rewritten, &rewritten);
            return Ok(());
        }
        if document.stage != Stage::Raw {
            let raw = self.engine.learned.raw(line);
            if raw.trim_ascii_end() != line {
                rest.packer.changed(parcel, document, Stage::Raw, &raw);
                return Ok(());
            }
        }
        self.set_aside(document, SetAsideCause::Content, cause.to_string());
        Ok(())
    }

    /// Rewrites a document for the live mapping of its index, if it was not and if that changes anything.
    async fn rewritten(
        &self,
        document: &Document,
        line: &[u8],
        rest: &mut Rest,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(mappings) = &self.engine.mappings else { return Ok(None) };
        if document.stage != Stage::Normalized {
            return Ok(None);
        }
        let cure = match rest.cures.entry(self.batch.entries[document.entry].index) {
            Occupied(there) => there.into_mut(),
            Vacant(place) => {
                let name = self.index(document);
                match mappings.live(&self.engine.calls(), name, rest.sent).await {
                    Ok(current) => place.insert(self.engine.learned.relearn(&current)),
                    // It was blocked meanwhile, as the next try will show.
                    Err(Error::Refused { why, .. }) if why.is_of_index() => return Ok(None),
                    Err(error) => return Err(error),
                }
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
        let mut rest = Rest::of(sent);
        let open = Open { place: 0, next: reply::next_of_one(&cause), cause };
        self.step(parcel, open, &mut rest).await?;
        self.parcels.extend(rest.packer.finish());
        Ok(())
    }

    /// Sets the only document of a parcel aside, which no smaller request can carry.
    fn set_aside_large(&mut self, parcel: &Parcel, cause: &Cause) {
        let (kind, reason) = match cause.status() {
            Some(413) => {
                let bytes = parcel.body.len();
                let told = format!("a request of {bytes} bytes is too large for this engine");
                (SetAsideCause::Limit, told)
            }
            _ => (SetAsideCause::Content, cause.to_string()),
        };
        self.set_aside(&parcel.documents[0], kind, reason);
    }

    /// Sets a document aside whose index takes none.
    fn leave_out(&mut self, document: &Document, cause: &Cause) {
        self.set_aside(document, SetAsideCause::Index, cause.to_string());
    }

    /// Sets a document aside that an ingest pipeline keeps out of its index.
    async fn keep_out(&mut self, document: &Document, cause: &Cause) {
        let pipelines = self.pipelines(document).await;
        let named = match pipelines.as_slice() {
            [] => "an ingest pipeline".to_owned(),
            [one] => format!("ingest pipeline '{one}'"),
            several => format!("ingest pipelines '{}'", several.join("' and '")),
        };
        if let Some(mappings) = &self.engine.mappings {
            mappings.note_pipeline(self.index(document), &named, cause);
        }
        self.set_aside(document, SetAsideCause::Pipeline, format!("{named}: {cause}"));
    }

    fn set_aside(&mut self, document: &Document, cause: SetAsideCause, reason: String) {
        let entry = &self.batch.entries[document.entry];
        let original = &self.batch.body[entry.action as usize..entry.end as usize];
        let (action, line) = original.split_at((entry.document - entry.action) as usize);
        self.receipt.set_aside.push(SetAside {
            lane: self.batch.shares[entry.share as usize].lane,
            id: id(action),
            index: self.index(document).to_owned(),
            cause,
            reason,
            kept: Kept::Document(Packed::new(line.trim_ascii_end())),
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
    Action::read(action).map(|action| action.create.id.into_owned()).unwrap_or_default()
}
