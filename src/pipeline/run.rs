//! Starts the threads of a run, carries what they make to where it belongs, and ends them in order.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::mpsc as products,
    task::{JoinError, JoinSet},
};

use super::{
    gate::Pass,
    notebook::Notebook,
    pack::{Bodies, Weight, part_of},
    paged::{HandedOut, Paged, Part},
    retry::{Again, fields_version},
    worker::Survey,
    worker::{self, NOTES_AT_ONCE, Product, Shop, What, Work},
};
use crate::{
    checkpoint::{self, Ended, Note, Reader, Retry, Store},
    event::{Batch, Inventory, Lane, LaneNumber, Receipt, SetAside, SetAsideCause},
    normalize::{Fields, Settings, TimeRange},
    report::{Log, Tally, figures},
    shutdown::{ShutdownLevel, ShutdownSignal, ShutdownTrigger},
    sink::{self, Sink, Unfinished},
    source::{self, Expectation, Found, Limits, Page, Slice, Source},
};

/// Inputs that wait for a worker: enough that none waits for the lister.
const WORK_AHEAD: usize = 256;

/// Products that wait for the corridor: one being taken out, one behind it.
const PRODUCTS_AHEAD: usize = 2;

/// Documents that a run sets aside at most because of their index or an ingest pipeline. Some thousand are a month
/// that somebody closed; more of them would only fill the checkpoint with what a person has to change first.
pub(super) const MOST_KEPT_OUT: u64 = 50_000;

/// Stack of a worker: rewriting goes as deep as a record does, 900 levels at most.
const WORKER_STACK: usize = 16 << 20;

/// How long a worker that waits for a silent pipe is waited for, once the run is to end.
const LAST_CALL: Duration = Duration::from_secs(3);

/// Bytes that a worker holds while it reads: a file as stored and unpacked.
pub const READING_BYTES: u64 = Limits::USUAL.held_bytes() as u64;

/// Returns the memory that so many workers take, with a single request under way.
pub fn least_memory(workers: usize, batch_bytes: u64) -> u64 {
    others_memory(workers, batch_bytes).saturating_add(batch_bytes)
}

/// Returns what all stages but the requests take.
fn others_memory(workers: usize, batch_bytes: u64) -> u64 {
    // A worker fills one batch while the one before it waits to be taken.
    let worker = READING_BYTES + 2 * batch_bytes;
    (workers as u64).saturating_mul(worker) + PRODUCTS_AHEAD as u64 * batch_bytes
}

/// What a run works with.
pub struct Load {
    /// Lists what to read.
    pub source: Box<dyn Source>,
    /// What is known about fields.
    pub fields: Arc<Fields>,
    /// What documents have in common.
    pub settings: Settings,
    /// Threads that unpack and rewrite.
    pub workers: usize,
    /// Bytes of one request.
    pub batch_bytes: u64,
    /// Bytes for all stages together.
    pub memory_bytes: u64,
    /// The counters.
    pub tally: Arc<Tally>,
    /// Where lines go.
    pub log: Log,
    /// Says when to end.
    pub stop: ShutdownSignal,
    /// Which documents that earlier runs set aside are sent first.
    pub retry: Retry,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was read and settled.
    Complete,
    /// It was asked to stop; what was taken in is settled.
    Stopped,
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing more could be listed.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The engine takes nothing more.
    #[error(transparent)]
    Sink(#[from] sink::Error),
    /// The checkpoint takes nothing more.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The system gives no thread.
    #[error("could not start a thread ({name})")]
    Thread {
        /// What it was for.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// So many documents are kept out that a person should look before there are more of them.
    #[error("more than {} documents had to be set aside; the last was for '{index}'", figures::count(*most))]
    KeptOut {
        /// How many are set aside at most.
        most: u64,
        /// The index of the last one.
        index: String,
        /// What was said to it.
        source: KeptOut,
    },
    /// A part of the program fell over.
    #[error("the {0} fell over; this is a bug, and what was acknowledged is safe")]
    Panic(&'static str),
}

/// What keeps a document out of its index although nothing is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct KeptOut {
    /// What kind of cause it is.
    pub cause: SetAsideCause,
    /// What was said.
    pub reason: String,
}

/// A run that is over but for its last line in the checkpoint.
#[derive(Debug)]
pub struct Finished {
    /// How it ended; an error is the first thing that ended it. All that was settled before is saved.
    pub outcome: Result<Outcome, Error>,
    /// Where the exit code is still to be written. `None` if the store failed: then `outcome` says why.
    pub store: Option<Store>,
    /// What the sink holds at the end of a complete run, if it tells.
    pub held: Option<Inventory>,
}

/// Loads everything that the source lists, from [`Sink::prepare`] to [`Sink::finish`].
pub async fn load(
    load: Load,
    sink: Arc<impl Sink>,
    store: Store,
    raise: &ShutdownTrigger,
) -> Finished {
    let again = Reader::open(store.path()).map(|reader| Again::new(reader, load.retry, &load));
    let notes = match Notebook::open(store, load.tally.waits.clone()) {
        Ok(notes) => notes,
        Err(error) => return Finished { outcome: Err(error), store: None, held: None },
    };
    let requests = load.requests_at_once();
    let body_bytes = usize::try_from(load.batch_bytes).unwrap_or(usize::MAX);
    let (tally, stop) = (Arc::clone(&load.tally), load.stop.clone());
    let (fields, log) = (Arc::clone(&load.fields), load.log.clone());
    let bodies = Arc::new(Bodies::default());
    let started = start(load, Arc::clone(&bodies), None);

    let mut corridor = Corridor {
        sink,
        bodies,
        notes,
        tally,
        raise: raise.clone(),
        stop,
        preparing: JoinSet::new(),
        writes: JoinSet::new(),
        requests,
        in_flight: Arc::default(),
        body_bytes,
        kept_out: 0,
        refusing: BTreeSet::new(),
        fields_version: fields_version(&fields),
        failed: None,
        held: None,
    };
    match started {
        Ok((threads, products)) => {
            corridor.prepare();
            match again {
                Ok(again) => Box::pin(corridor.retry(again)).await,
                Err(error) => corridor.fail(error.into()),
            }
            corridor.carry(products).await;
            if let Err(error) = threads.join(corridor.stop.is_requested()) {
                corridor.fail(error);
            }
            corridor.write_versions().await;
            corridor.finish().await;
        }
        Err(error) => corridor.fail(error),
    }
    let Corridor { notes, failed, stop, held, .. } = corridor;
    let outcome = match failed {
        Some(error) => Err(error),
        None if stop.is_requested() => Ok(Outcome::Stopped),
        None => Ok(Outcome::Complete),
    };
    // Indices may have had the last word after the workers were gone.
    for note in worker::decided(&fields, &log) {
        notes.write(note).await;
    }
    match notes.close().await {
        Ok(store) => Finished { outcome, store: Some(store), held },
        // A store that failed is why the corridor could not go on.
        Err(error) => Finished { outcome: Err(error), store: None, held },
    }
}

/// Reads and normalizes everything, sends nothing, and says what would be sent.
///
/// # Errors
///
/// Returns [`Error`] if nothing more could be listed.
pub async fn survey(load: Load) -> Result<(Outcome, Survey), Error> {
    let stop = load.stop.clone();
    let survey = Arc::new(Mutex::new(Survey::default()));
    let (threads, mut products) = start(load, Arc::default(), Some(Arc::clone(&survey)))?;
    while take(&mut products, &stop).await.is_some() {}
    threads.join(stop.is_requested())?;
    let survey = std::mem::take(&mut *survey.lock().unwrap_or_else(PoisonError::into_inner));
    let outcome = if stop.is_requested() { Outcome::Stopped } else { Outcome::Complete };
    Ok((outcome, survey))
}

/// Part of the memory that the longest record may have: it is held as text, and as a document on its way, while the
/// document of another one is still being settled.
const RECORD_SHARE: u64 = 4;

/// Part of the memory that a worker's share of files read as a whole may have, where there is little.
const WHOLE_SHARE: u64 = 4;

impl Load {
    /// Returns what a worker may hold within the memory that there is.
    pub(super) fn limits(&self) -> Limits {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let usual = Limits::USUAL;
        let record = usual.record.min(bytes(self.memory_bytes / RECORD_SHARE)).max(usual.window);
        if least_memory(self.workers, self.batch_bytes) <= self.memory_bytes {
            return Limits { record, ..usual };
        }
        let whole = bytes(self.memory_bytes / WHOLE_SHARE / self.workers.max(1) as u64);
        let (whole, stored) = (whole.max(usual.window), (whole / 2).max(usual.window));
        Limits { record, whole: usual.whole.min(whole), stored: usual.stored.min(stored), ..usual }
    }

    /// Returns how many requests may be under way within the memory that the other stages leave.
    fn requests_at_once(&self) -> usize {
        let taken = others_memory(self.workers, self.batch_bytes);
        let left = self.memory_bytes.saturating_sub(taken) / self.batch_bytes.max(1);
        usize::try_from(left).unwrap_or(usize::MAX).clamp(1, MOST_REQUESTS)
    }
}

/// Requests under way at most; the sink may allow itself fewer.
const MOST_REQUESTS: usize = 8;

/// Takes the next product. `None` if there will be none, or if those who could make one are stuck.
async fn take(
    products: &mut products::Receiver<Product>,
    stop: &ShutdownSignal,
) -> Option<Product> {
    let last_call = async {
        stop.reached(ShutdownLevel::Draining).await;
        last_call().await;
    };
    tokio::select! {
        biased;
        product = products.recv() => product,
        () = last_call => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for a person's pipe, not for an engine")]
async fn last_call() {
    tokio::time::sleep(LAST_CALL).await;
}

/// What became of a batch, and what it weighed.
type Written = (Result<Receipt, Unfinished>, Vec<Weight>);

/// The middle of the run: products in, batches to the sink, notes to the store.
pub(super) struct Corridor<S> {
    pub(super) sink: Arc<S>,
    bodies: Arc<Bodies>,
    notes: Notebook,
    pub(super) tally: Arc<Tally>,
    raise: ShutdownTrigger,
    stop: ShutdownSignal,
    /// The sink, while it gets ready.
    preparing: JoinSet<Result<(), sink::Error>>,
    writes: JoinSet<Written>,
    requests: usize,
    /// Batches under way; one with a long document counts as several.
    in_flight: Arc<AtomicUsize>,
    /// Wanted size of a body.
    body_bytes: usize,
    /// Documents that this run set aside because of their index or an ingest pipeline.
    kept_out: u64,
    /// Indices that refused documents for their content.
    pub(super) refusing: BTreeSet<String>,
    /// What decides how documents are made.
    pub(super) fields_version: String,
    failed: Option<Error>,
    /// What the sink holds in the end.
    held: Option<Inventory>,
}

impl<S: Sink> Corridor<S> {
    /// Lets the sink get ready while the first inputs are read.
    fn prepare(&mut self) {
        let sink = Arc::clone(&self.sink);
        self.preparing.spawn(async move { sink.prepare().await });
    }

    /// Lets the sink finish, if the run came to its end. There may have been no batch that waited for it to be ready.
    async fn finish(&mut self) {
        if self.failed.is_some() || self.stop.is_requested() {
            // Nobody waits for it any more, and the next run does it again.
            self.preparing.abort_all();
        }
        self.await_prepared().await;
        if self.is_over() {
            return;
        }
        match self.sink.finish().await {
            Ok(held) => self.held = held,
            Err(error) => self.end_by(error),
        }
    }

    /// Waits until the sink is ready, or has said why it will not be.
    pub(super) async fn await_prepared(&mut self) {
        while let Some(prepared) = self.preparing.join_next().await {
            self.prepared(prepared);
        }
    }

    /// Returns whether nothing more is to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.failed.is_some() || self.stop.is_requested()
    }

    fn prepared(&mut self, prepared: Result<Result<(), sink::Error>, JoinError>) {
        match prepared {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.end_by(error),
            Err(error) if error.is_cancelled() => {}
            Err(_) => self.fail(Error::Panic("sink")),
        }
    }

    /// Carries everything until there is nothing more, or nothing more can be carried.
    async fn carry(&mut self, mut products: products::Receiver<Product>) {
        while self.failed.is_none() {
            let room = self.has_room();
            tokio::select! {
                biased;
                Some(prepared) = self.preparing.join_next() => self.prepared(prepared),
                Some(written) = self.writes.join_next() => self.settle(written).await,
                product = take(&mut products, &self.stop), if room => match product {
                    Some(Product { notes, batch, weights, pass }) => {
                        for note in notes {
                            self.note(note).await;
                        }
                        if let Some(batch) = batch {
                            self.write(batch, weights, pass);
                        }
                    }
                    None => break,
                },
            }
        }
        // Workers notice that nobody takes their products; what is under way is still settled.
        drop(products);
        if self.failed.is_some() {
            self.raise.raise(ShutdownLevel::Draining);
        }
        while let Some(written) = self.writes.join_next().await {
            self.settle(written).await;
        }
    }

    /// Returns whether one more batch may be under way.
    fn has_room(&self) -> bool {
        self.writes.is_empty() || self.in_flight.load(Relaxed) < self.requests
    }

    fn write(&mut self, batch: Batch, weights: Vec<Weight>, pass: Option<Arc<Pass>>) {
        let (sink, bodies) = (Arc::clone(&self.sink), Arc::clone(&self.bodies));
        let (body, limit) = (batch.body.clone(), self.body_bytes);
        let (in_flight, batches) =
            (Arc::clone(&self.in_flight), (body.len() / limit.max(1)).max(1));
        in_flight.fetch_add(batches, Relaxed);
        self.writes.spawn(async move {
            let written = sink.write(batch).await;
            in_flight.fetch_sub(batches, Relaxed);
            drop(pass);
            bodies.give(body, limit);
            (written, weights)
        });
    }

    async fn settle(&mut self, written: Result<Written, JoinError>) {
        match written {
            Ok((Ok(receipt), weights)) => {
                let too_many = count_kept_out(&mut self.kept_out, &receipt.set_aside);
                self.receive(receipt, weights).await;
                if let Some(error) = too_many {
                    self.fail(error);
                }
            }
            Ok((Err(Unfinished { error, indices }), weights)) => {
                // The documents are in; the lanes stay where they are.
                let receipt = Receipt { indices, ..Receipt::default() };
                let part = part_of(&weights, receipt.created() + receipt.already_there());
                self.receive(receipt, part).await;
                self.end_by(error);
            }
            Err(_) => self.fail(Error::Panic("sink")),
        }
    }

    /// Takes in why the sink takes nothing more.
    pub(super) fn end_by(&mut self, error: sink::Error) {
        match error {
            // The user's wish is no failure. What else is under way has waited as long.
            sink::Error::Interrupted { .. }
                if self.stop.is_requested() && self.failed.is_none() =>
            {
                self.raise.raise(ShutdownLevel::Immediate);
            }
            error => self.fail(error.into()),
        }
    }

    /// Counts what became of documents, and hands it to the store.
    async fn receive(&mut self, receipt: Receipt, weights: Vec<Weight>) {
        for Weight { word, amount } in weights {
            self.tally.settled(word, amount);
        }
        let set_aside = receipt.set_aside.len() as u64;
        let refused = receipt.set_aside.iter();
        let refused = refused.filter(|aside| aside.cause == SetAsideCause::Content);
        self.refusing.extend(refused.map(|aside| aside.index.clone()));
        self.tally.created.fetch_add(receipt.created(), Relaxed);
        self.tally.already_there.fetch_add(receipt.already_there(), Relaxed);
        self.tally.set_aside.fetch_add(set_aside, Relaxed);
        self.note(Note::Settled(receipt)).await;
    }

    pub(super) async fn note(&mut self, note: Note) {
        if !self.notes.write(note).await {
            // The store says itself what happened to it, when the notebook is closed.
            self.fail(Error::Panic("checkpoint"));
        }
    }

    /// Keeps the first error: the later ones are its consequences.
    pub(super) fn fail(&mut self, error: Error) {
        if self.failed.is_none() {
            self.failed = Some(error);
        }
    }
}

/// Counts documents that are kept out although nothing is wrong with them, and returns why the run ends if they are
/// too many.
pub(super) fn count_kept_out(kept_out: &mut u64, set_aside: &[SetAside]) -> Option<Error> {
    let is_kept_out =
        |one: &&SetAside| matches!(one.cause, SetAsideCause::Index | SetAsideCause::Pipeline);
    let mut more = set_aside.iter().filter(is_kept_out);
    *kept_out += more.clone().count() as u64;
    let last = more.next_back().filter(|_| *kept_out > MOST_KEPT_OUT)?;
    let source = KeptOut { cause: last.cause, reason: last.reason.clone() };
    Some(Error::KeptOut { most: MOST_KEPT_OUT, index: last.index.clone(), source })
}

/// The threads of a run.
pub(super) struct Threads {
    lister: thread::JoinHandle<Result<(), source::Error>>,
    workers: Vec<thread::JoinHandle<()>>,
}

impl Threads {
    /// Waits for all of them; for those that may be stuck in a silent pipe only if nobody is in a hurry.
    fn join(self, hurry: bool) -> Result<(), Error> {
        for worker in self.workers {
            if (!hurry || worker.is_finished()) && worker.join().is_err() {
                return Err(Error::Panic("worker"));
            }
        }
        if hurry && !self.lister.is_finished() {
            return Ok(());
        }
        Ok(self.lister.join().map_err(|_| Error::Panic("lister"))??)
    }
}

/// Starts lister and workers.
pub(super) fn start(
    load: Load,
    bodies: Arc<Bodies>,
    survey: Option<Arc<Mutex<Survey>>>,
) -> Result<(Threads, products::Receiver<Product>), Error> {
    let (ahead, work) = crossbeam_channel::bounded(WORK_AHEAD);
    let (made, products) = products::channel(PRODUCTS_AHEAD);
    let (range, limits) = (load.settings.range, load.limits());
    let shop = Shop {
        work,
        products: made,
        fields: load.fields,
        settings: Arc::new(load.settings),
        batch_bytes: usize::try_from(load.batch_bytes).unwrap_or(usize::MAX),
        limits,
        gate: Arc::default(),
        bodies,
        tally: Arc::clone(&load.tally),
        log: load.log.clone(),
        stop: load.stop.clone(),
        told_full: Arc::new(AtomicBool::new(false)),
        named: Arc::default(),
        survey,
    };
    let products_made = shop.products.clone();
    // Those that are started before one cannot be find no work, and end.
    let workers = (0..load.workers)
        .map(|_| spawn("worker", WORKER_STACK, shop.clone(), worker::run))
        .collect::<Result<_, _>>()?;
    let lister = Lister {
        tally: load.tally,
        log: load.log,
        stop: load.stop,
        ahead,
        products: products_made,
        notes: Vec::new(),
        lanes: 0,
        range,
        paged: HashMap::new(),
        handed_out: HandedOut::default(),
    };
    let mut source = load.source;
    let lister = spawn("lister", WORKER_STACK, lister, move |mut lister| {
        let listed = source.list(&mut |word, found| lister.take(word, found));
        lister.tell();
        lister.tally.listed.store(true, Relaxed);
        listed
    })?;
    Ok((Threads { lister, workers }, products))
}

/// Starts a thread with a stack of so many bytes.
pub(super) fn spawn<T: Send + 'static, R: Send + 'static>(
    name: &'static str,
    stack: usize,
    with: T,
    run: impl FnOnce(T) -> R + Send + 'static,
) -> Result<thread::JoinHandle<R>, Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack)
        .spawn(move || run(with))
        .map_err(|source| Error::Thread { name, source })
}

/// Numbers what the source finds and puts it before the workers.
struct Lister {
    tally: Arc<Tally>,
    log: Log,
    stop: ShutdownSignal,
    ahead: crossbeam_channel::Sender<Work>,
    products: products::Sender<Product>,
    /// For the store.
    notes: Vec<Note>,
    lanes: LaneNumber,
    /// What records are wanted.
    range: TimeRange,
    /// The lanes that have begun and not ended, by key.
    paged: HashMap<String, (LaneNumber, Arc<Paged>)>,
    handed_out: HandedOut,
}

impl Lister {
    fn take(&mut self, word: usize, found: Found) -> bool {
        let taken = match found {
            Found::Input(input) => {
                self.tally.found(word, input.size);
                self.handed_out.count(&input);
                let named = self.tally.sources.get(word).map_or("", |source| &source.name);
                let expected = Expectation::of(named, &input.name);
                let work = Work { lane: self.number(), word, what: What::Input(input, expected) };
                self.ahead.send(work).is_ok()
            }
            Found::Done { size, touched } => {
                self.tally.found(word, size);
                self.tally.skipped(word, size);
                self.notes.extend(touched.map(Note::Unchanged));
                self.tell_many()
            }
            Found::Skipped { name, why } => {
                self.log.warn(&name, format_args!("skipped: {why}"));
                true
            }
            Found::Failed(error) => {
                let reason = error.told();
                self.log.warn(error.about(), &reason);
                self.tally.failed(word, error.about(), &reason);
                true
            }
            Found::Lost { lane, name, why, size } => self.lose(word, lane, name, why, size),
            Found::Closed { prefix, listed, known } => {
                if let Some(handed_out) = self.handed_out.close(&prefix) {
                    self.notes.push(Note::Closed { prefix, listed, known, handed_out });
                }
                self.tell_many()
            }
            Found::Begun(slice) => self.begin(word, slice),
            Found::Page(page) => self.hand_out(word, page),
            Found::Ended { key, pages, complete } => self.end(&key, pages, complete),
        };
        taken && !self.stop.is_requested()
    }

    /// Returns the number of the next lane.
    fn number(&mut self) -> LaneNumber {
        let number = self.lanes;
        self.lanes += 1;
        number
    }

    /// Writes down an input that cannot be had, so that the next run tries again.
    fn lose(&mut self, word: usize, lane: Lane, name: String, why: String, size: u64) -> bool {
        self.tally.found(word, size);
        self.tally.consumed(word, size);
        self.log.warn(&name, format_args!("{why}; the next run tries again"));
        self.tally.failed(word, &name, &why);
        self.handed_out.count_key(&lane.key);
        let number = self.number();
        self.notes.push(Note::Opened { number, lane, name, span: None });
        let outcome = Ended::Failed { cause: why, offset: None };
        self.notes.push(Note::Ended { lane: number, outcome, pages: 0, fingerprint: None });
        self.tell_many()
    }

    /// Opens a lane that comes in pages. The store learns of it before a worker can have a page.
    fn begin(&mut self, word: usize, slice: Slice) -> bool {
        self.tally.found(word, 0);
        let (number, span) = (self.number(), Some(slice.span()));
        let paged = Arc::new(Paged::new(word, &slice, self.range));
        let Slice { key, name, .. } = slice;
        let lane = Lane { key: key.clone(), fingerprint: String::new() };
        self.paged.insert(key, (number, paged));
        self.notes.push(Note::Opened { number, lane, name, span });
        self.tell()
    }

    fn hand_out(&mut self, word: usize, page: Page) -> bool {
        let Page { key, number, content, since } = page;
        let Some((lane, paged)) = self.paged.get(&key) else {
            self.log
                .warn(&key, "a page came before its beginning; this is a bug, and it was left out");
            return true;
        };
        paged.hand_out();
        let part = Part { number, content, since, paged: Arc::clone(paged) };
        self.ahead.send(Work { lane: *lane, word, what: What::Page(part) }).is_ok()
    }

    fn end(&mut self, key: &str, pages: u32, complete: bool) -> bool {
        let Some((lane, paged)) = self.paged.remove(key) else { return true };
        let outcome = if complete {
            paged.read(&self.tally);
            Ended::Done
        } else {
            Ended::Interrupted
        };
        self.notes.push(Note::Ended { lane, outcome, pages, fingerprint: None });
        self.tell()
    }

    /// Hands on what the store is to know, if it is much.
    fn tell_many(&mut self) -> bool {
        self.notes.len() < NOTES_AT_ONCE || self.tell()
    }

    /// Hands on what the store is to know, and returns whether that found a taker.
    fn tell(&mut self) -> bool {
        if self.notes.is_empty() {
            return true;
        }
        let product = Product { notes: std::mem::take(&mut self.notes), ..Product::default() };
        self.products.blocking_send(product).is_ok()
    }
}
