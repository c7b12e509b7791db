//! One worker: opens inputs, finds their records, normalizes them, packs them into batches.
//!
//! In: [`Work`] from the lister. Out: [`Product`]s for the corridor, in an order that the ledger
//! understands: a lane is opened before any of its documents travel. A lane that comes in pages is opened and
//! ended by the lister, before the first and behind the last of them was handed out.
//! Holds: memory is bounded by the decoder's limits and one batch; nothing read is forgotten.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::mpsc::Sender;

use super::{
    gate::{Gate, Pass},
    pack::{Bodies, Pack, Weight},
    paged::Part,
    pipe::Pipe,
};
use crate::{
    checkpoint::{Ended, Note},
    event::{Batch, Kept, LaneNumber, SetAside, SetAsideCause},
    normalize::{Decider, Decision, Fields, Misshapen, Normalized, Normalizer, Placed, Settings},
    report::{self, Log, Tally, figures},
    shutdown::ShutdownSignal,
    source::{
        Content, Decoded, Decoder, Error, Expectation, Input, Limits, Records, Skip, Taken,
        TooLong, skip_value,
    },
};

/// How long documents wait for company when there is nothing to read.
const IDLE: Duration = Duration::from_millis(200);

/// How long documents of one input wait for a full batch while it is read.
const LINGER: Duration = Duration::from_secs(2);

/// Notes that travel without documents: files without any are told in groups.
pub(super) const NOTES_AT_ONCE: usize = 1_000;

/// Inputs with something that is no CloudTrail which are named before they are only counted.
const NAMED: u32 = 10;

/// Kinds of changes that a dry run tells; the rest is counted together.
const CHANGES_KEPT: usize = 10_000;

/// Something to read, with its numbers.
pub(super) struct Work {
    /// Which lane of this run it is, or belongs to.
    pub(super) lane: LaneNumber,
    /// Which SOURCE word it belongs to.
    pub(super) word: usize,
    /// What to read.
    pub(super) what: What,
}

/// What a worker reads at once.
pub(super) enum What {
    /// A whole lane, and what it has to be.
    Input(Input, Expectation),
    /// A page of a lane.
    Page(Part),
}

/// What a worker hands on.
#[derive(Default)]
pub(super) struct Product {
    /// For the ledger, before the batch.
    pub(super) notes: Vec<Note>,
    /// For the sink.
    pub(super) batch: Option<Batch>,
    /// For the counters, once the batch is settled.
    pub(super) weights: Vec<Weight>,
    /// Held until then, if a long record may be in the batch.
    pub(super) pass: Option<Arc<Pass>>,
}

/// What a dry run learns beside the counters.
#[derive(Debug, Default)]
pub struct Survey {
    /// Bytes that would be sent.
    pub body_bytes: u64,
    /// Documents that would be sent to each index.
    pub indices: BTreeMap<String, u64>,
    /// How often each kind of change would be made.
    pub changes: BTreeMap<String, u64>,
}

/// What all workers share.
#[derive(Clone)]
pub(super) struct Shop {
    pub(super) work: Receiver<Work>,
    pub(super) products: Sender<Product>,
    pub(super) fields: Arc<Fields>,
    pub(super) settings: Arc<Settings>,
    pub(super) batch_bytes: usize,
    /// What a worker may hold.
    pub(super) limits: Limits,
    /// Where long records wait for each other.
    pub(super) gate: Arc<Gate>,
    /// Bodies to use again.
    pub(super) bodies: Arc<Bodies>,
    pub(super) tally: Arc<Tally>,
    pub(super) log: Log,
    pub(super) stop: ShutdownSignal,
    /// Someone told the user that no more fields will be mapped.
    pub(super) told_full: Arc<AtomicBool>,
    /// Inputs named so far because something in them is no CloudTrail.
    pub(super) named: Arc<AtomicU32>,
    /// Where a dry run gathers what it finds.
    pub(super) survey: Option<Arc<Mutex<Survey>>>,
}

/// Works until there is no more work or nobody wants the products.
pub(super) fn run(shop: Shop) {
    let mut decoder = Decoder::new(shop.limits);
    let mut bench = Bench {
        normalizer: Normalizer::new(Arc::clone(&shop.fields), Arc::clone(&shop.settings)),
        pack: Pack::new(shop.batch_bytes),
        notes: Vec::new(),
        open: true,
        pass: None,
        shop,
    };
    while bench.open {
        match bench.shop.work.recv_timeout(IDLE) {
            // What was not begun is left to the next run.
            Ok(_) if bench.shop.stop.is_requested() => {}
            Ok(Work { lane, word, what: What::Input(input, expected) }) => {
                bench.read(&mut decoder, (lane, word), input, expected);
            }
            Ok(Work { lane, word, what: What::Page(part) }) => {
                bench.read_page(&mut decoder, lane, word, part);
            }
            Err(RecvTimeoutError::Timeout) => bench.send(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    bench.send();
}

/// Where a worker has its things.
struct Bench {
    shop: Shop,
    normalizer: Normalizer,
    pack: Pack,
    notes: Vec<Note>,
    /// Whether the products still find a taker.
    open: bool,
    /// Held while a long record is read.
    pass: Option<Arc<Pass>>,
}

impl Bench {
    /// Reads one input to its end and says what became of it.
    fn read(
        &mut self,
        decoder: &mut Decoder,
        (lane, word): (LaneNumber, usize),
        input: Input,
        expected: Expectation,
    ) {
        let Input { lane: named, name, content, .. } = input;
        let opened = Note::Opened { number: lane, lane: named, name: name.clone(), span: None };
        self.notes.push(opened);
        let content = match content {
            Content::Stream(stream) => Pipe::new(stream, self.shop.stop.clone())
                .map(|pipe| Content::Stream(Box::new(pipe)))
                .map_err(|source| Error::Open { name: name.clone(), source }),
            content => Ok(content),
        };
        let mut reading = Reading::new(self, (lane, 0), word, &name);
        let read = content.and_then(|content| decoder.read(&name, content, &mut reading));
        reading.count();
        reading.give_room_back();
        let (documents, filtered) = (reading.documents, reading.filtered);
        let (mut outcome, decoded) = match read {
            Ok(decoded) => (self.judge(&name, word, &decoded, expected), decoded),
            Err(error) => (self.fail(&name, word, error.told(), None), Decoded::default()),
        };
        if filtered && matches!(outcome, Ended::Done) {
            // A later run may want what this one left out.
            outcome = Ended::Interrupted;
        }
        let bytes = decoded.bytes_consumed;
        self.notes.push(Note::Page { lane, page: 0, documents, bytes, reaches: None });
        self.notes.push(Note::Ended {
            lane,
            outcome,
            pages: 1,
            fingerprint: decoded.fingerprint.map(|fingerprint| fingerprint.to_string()),
        });
        self.tell();
    }

    /// Reads one page of a lane. A page that was not read as a whole gets no note: what is covered stops before it,
    /// and the next run fetches it again.
    fn read_page(&mut self, decoder: &mut Decoder, lane: LaneNumber, word: usize, part: Part) {
        let Part { number: page, content, since, paged } = part;
        let mut reading = Reading::new(self, (lane, page), word, &paged.name);
        reading.is_page = true;
        let read = decoder.read(&paged.name, Content::Held(content), &mut reading);
        reading.count();
        reading.give_room_back();
        let (documents, filtered) = (reading.documents, reading.filtered);
        match read.map_err(|error| error.told()).and_then(|decoded| whole_page(&decoded)) {
            Ok(None) => {}
            Ok(Some(_)) if filtered && !paged.in_range => {}
            Ok(Some(bytes)) => {
                self.notes.push(Note::Page { lane, page, documents, bytes, reaches: since });
                paged.read(&self.shop.tally);
            }
            Err(cause) => paged.fail(&self.shop.tally, &self.shop.log, page, &cause),
        }
        self.tell();
    }

    /// Tells what there is to tell about what was read, if it is much.
    fn tell(&mut self) {
        self.learn();
        if self.notes.len() >= NOTES_AT_ONCE {
            self.send();
        }
    }

    /// Decides what an input that was read is to count as.
    fn judge(&self, name: &str, word: usize, decoded: &Decoded, expected: Expectation) -> Ended {
        let (log, tally) = (&self.shop.log, &self.shop.tally);
        // A pipe ends early then, perhaps inside a record.
        if decoded.stopped || self.shop.stop.is_requested() {
            return Ended::Interrupted;
        }
        if let Some(broken) = decoded.broken.first() {
            let cause = format!("{}{}", broken.cause, more_places(decoded.broken_places));
            return self.fail(name, word, cause, Some(broken.offset));
        }
        let found_nothing = decoded.records + decoded.too_long == 0;
        match decoded.strangers() {
            Some(kinds) if found_nothing && expected != Expectation::Nothing => {
                let cause = format!("there is no CloudTrail in it: {kinds}");
                return self.fail(name, word, cause, None);
            }
            Some(kinds) => {
                self.name(name, &kinds);
                if found_nothing {
                    tally.foreign(word);
                    return Ended::Skipped;
                }
            }
            None => {}
        }
        tally.done(word);
        if decoded.changed {
            log.warn(name, "changed while it was read; the next run reads it again");
            return Ended::Interrupted;
        }
        Ended::Done
    }

    /// Names an input in which something is no CloudTrail. There may be a digest file for each log file.
    fn name(&self, name: &str, kinds: &str) {
        let log = &self.shop.log;
        let told = format!("skipped what is no CloudTrail: {kinds}");
        match self.shop.named.fetch_add(1, Relaxed) {
            0..NAMED => log.info(name, told),
            NAMED => {
                log.info(name, format_args!("{told}; others are only counted (-v names them)"));
            }
            _ => log.debug(name, told),
        }
    }

    fn fail(&self, name: &str, word: usize, cause: String, offset: Option<u64>) -> Ended {
        let at = offset.map_or_else(String::new, |offset| format!("at byte {offset}: "));
        self.shop.log.warn(name, format_args!("{at}{cause}; the next run tries again"));
        self.shop.tally.failed(word, name, &format!("{at}{cause}"));
        Ended::Failed { cause, offset }
    }

    /// Tells what became of fields: decisions, and that the budget is spent.
    fn learn(&mut self) {
        let shop = &self.shop;
        self.notes.extend(decided(&shop.fields, &shop.log));
        if shop.fields.is_full() && !shop.told_full.swap(true, Relaxed) {
            shop.log.warn(
                "--max-fields",
                "as many fields are mapped as allowed; further ones are found through trailload.more",
            );
        }
    }

    /// Hands on what there is.
    fn send(&mut self) {
        let batch = (!self.pack.is_empty()).then(|| self.pack.take(&self.shop.bodies));
        if batch.is_none() && self.notes.is_empty() {
            return;
        }
        let (batch, weights) = batch.unzip();
        let weights = weights.unwrap_or_default();
        let (notes, pass) = (std::mem::take(&mut self.notes), self.pass.clone());
        let product = Product { notes, batch, weights, pass };
        match &self.shop.survey {
            Some(survey) => {
                let mut survey = survey.lock().unwrap_or_else(PoisonError::into_inner);
                survey.add(product.batch.as_ref());
            }
            None => self.open = self.shop.products.blocking_send(product).is_ok(),
        }
    }
}

/// Says how many broken places there are besides the one that is named.
fn more_places(places: u64) -> String {
    match places {
        0 | 1 => String::new(),
        2 => " (and 1 more place)".to_owned(),
        places => format!(" (and {} more places)", places - 1),
    }
}

/// Returns how many bytes a page was read from, or nothing if it was not read to its end.
///
/// # Errors
///
/// Returns what was wrong with it, in words for a person.
fn whole_page(decoded: &Decoded) -> Result<Option<u64>, String> {
    if let Some(broken) = decoded.broken.first() {
        let more = more_places(decoded.broken_places);
        return Err(format!("at byte {}: {}{more}", broken.offset, broken.cause));
    }
    if decoded.stopped {
        return Ok(None);
    }
    match decoded.foreign_total() {
        0 => Ok(Some(decoded.bytes_consumed)),
        events => Err(format!("{} without a record", figures::counted(events, "event"))),
    }
}

impl Survey {
    fn add(&mut self, batch: Option<&Batch>) {
        if let Some(batch) = batch {
            self.body_bytes += batch.body.len() as u64;
            for entry in &batch.entries {
                let index = &batch.needs[usize::from(entry.index)].index;
                if !self.indices.contains_key(index) {
                    self.indices.insert(index.clone(), 0);
                }
                if let Some(count) = self.indices.get_mut(index) {
                    *count += 1;
                }
            }
        }
    }

    fn change(&mut self, change: String) {
        if self.changes.len() < CHANGES_KEPT || self.changes.contains_key(&change) {
            *self.changes.entry(change).or_default() += 1;
        }
    }
}

/// Tells what was decided, since the last time, on fields that no table knows.
pub(super) fn decided(fields: &Fields, log: &Log) -> impl Iterator<Item = Note> {
    fields.take_decisions().into_iter().map(|Decision { path, shape, by }| {
        let kind = shape.name();
        let why = match by {
            Decider::FirstMet => "met first",
            Decider::Engine => "the engine has it so",
        };
        log.debug(&path, format_args!("not in the kind table; {kind} from now on: {why}"));
        Note::Learned { path, kind: kind.to_owned(), why: why.to_owned() }
    })
}

/// One input being read.
struct Reading<'b> {
    bench: &'b mut Bench,
    /// The lane, and the page of it.
    place: (LaneNumber, u32),
    word: usize,
    name: &'b str,
    /// A page has no share in what the bars measure: nobody knows how much there is.
    is_page: bool,
    /// Documents made, and records set aside.
    documents: u32,
    /// Whether records were left out for their time.
    filtered: bool,
    /// What is not yet in the counters.
    uncounted: Uncounted,
    /// When documents were handed on without a full batch.
    sent: Instant,
}

#[derive(Default)]
struct Uncounted {
    taken: report::tally::Amount,
    filtered: u64,
}

impl<'b> Reading<'b> {
    fn new(bench: &'b mut Bench, place: (LaneNumber, u32), word: usize, name: &'b str) -> Self {
        Self {
            bench,
            place,
            word,
            name,
            is_page: false,
            documents: 0,
            filtered: false,
            uncounted: Uncounted::default(),
            sent: Instant::now(),
        }
    }

    /// Adds to the counters what came since the last time. All of it is in the batch in the making.
    fn count(&mut self) {
        let Uncounted { taken, filtered } = std::mem::take(&mut self.uncounted);
        let Bench { shop, pack, .. } = &mut *self.bench;
        shop.tally.taken(self.word, taken);
        shop.tally.filtered.fetch_add(filtered, Relaxed);
        pack.weigh(self.word, taken);
    }

    /// Takes in what the normalizer made of a record.
    fn accept(&mut self, normalized: Normalized, start: usize, bytes: usize) {
        let Normalized::Document(placed) = normalized else {
            self.uncounted.filtered += 1;
            self.filtered = true;
            return;
        };
        let undated = placed.is_undated();
        let Placed { action_bytes, bucket, needs, rewritten } = placed;
        let Bench { pack, normalizer, .. } = &mut *self.bench;
        let name = || normalizer.index(bucket).to_owned();
        pack.add(self.place, start, action_bytes, (bucket, needs), name);
        self.documents += 1;
        self.uncounted.taken.records += 1;
        self.uncounted.taken.bytes += bytes as u64;
        self.uncounted.taken.rewritten += u64::from(rewritten);
        self.uncounted.taken.undated += u64::from(undated);
        self.send_if_full();
    }

    fn send_if_full(&mut self) {
        if self.bench.pack.is_full() {
            self.count();
            self.bench.learn();
            self.bench.send();
        }
    }

    /// Takes a record that the fast way does not take.
    fn rewrite(&mut self, text: &[u8], start: usize) -> Taken {
        let end = match skip_value(text, start) {
            Ok(end) => end,
            Err(Skip::Incomplete) => return Taken::Incomplete,
            Err(Skip::Broken { offset, cause }) => {
                return Taken::Broken { offset, cause: cause.into() };
            }
        };
        let Bench { normalizer, pack, .. } = &mut *self.bench;
        let place = pack.body.len();
        match normalizer.rewrite(&text[start..end], &mut pack.body) {
            Ok(normalized) => {
                self.survey(normalized);
                self.accept(normalized, place, end - start);
                Taken::Upto(end)
            }
            Err(Misshapen { at, cause }) => {
                Taken::Broken { offset: start + at, cause: format!("expected {cause}").into() }
            }
        }
    }

    fn survey(&self, normalized: Normalized) {
        let Normalized::Document(Placed { rewritten: true, .. }) = normalized else { return };
        if let Some(survey) = &self.bench.shop.survey {
            let mut survey = survey.lock().unwrap_or_else(PoisonError::into_inner);
            for change in self.bench.normalizer.changes() {
                survey.change(change);
            }
        }
    }
}

impl Records for Reading<'_> {
    fn record(&mut self, text: &[u8], start: usize) -> Taken {
        let Bench { normalizer, pack, .. } = &mut *self.bench;
        let place = pack.body.len();
        match normalizer.take(text, start, &mut pack.body) {
            Some((end, normalized)) => {
                self.survey(normalized);
                self.accept(normalized, place, end - start);
                Taken::Upto(end)
            }
            None => self.rewrite(text, start),
        }
    }

    fn beside(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        self.bench.normalizer.beside(username, resources);
    }

    fn too_long(&mut self, record: TooLong) {
        let TooLong { content, offset, bytes } = record;
        let id = format!("{}@{offset}", self.name);
        let most = figures::bytes(self.bench.shop.limits.record as u64);
        let why = if self.bench.shop.limits.record < Limits::USUAL.record {
            format!("more than the {most} that --memory has room for")
        } else {
            format!("more than {most}")
        };
        let reason = format!("a record of {bytes} bytes is too long to load: {why}");
        self.bench.shop.log.warn(self.name, format_args!("at byte {offset}: {reason}; set aside"));
        let what = SetAside {
            lane: self.place.0,
            id,
            index: self.bench.shop.settings.prefix.clone(),
            cause: SetAsideCause::Limit,
            reason,
            kept: Kept::Record { content, offset, bytes },
        };
        self.bench.pack.set_aside(self.place, what);
        self.documents += 1;
        self.uncounted.taken.records += 1;
        self.uncounted.taken.bytes += bytes;
        self.send_if_full();
    }

    fn make_room(&mut self, _bytes: usize) {
        let Bench { shop, pass, .. } = &mut *self.bench;
        if pass.is_none() {
            *pass = shop.gate.enter(&shop.stop);
        }
    }

    fn give_room_back(&mut self) {
        self.bench.pass = None;
    }

    fn go_on(&self) -> bool {
        self.bench.open && !self.bench.shop.stop.is_requested()
    }

    fn consumed(&mut self, bytes: u64) {
        if !self.is_page {
            self.bench.shop.tally.consumed(self.word, bytes);
        }
        self.count();
        // A pipe may take its time; what it gave need not wait for the rest of a batch.
        if self.sent.elapsed() > LINGER {
            self.sent = Instant::now();
            self.bench.send();
        }
    }
}
