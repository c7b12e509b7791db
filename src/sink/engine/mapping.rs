//! Owns the mapping: an index knows every field of a document before the document is sent.
//!
//! In: the name of an index and how many learned fields a batch uses. Out: nothing, or an error.
//! Holds: batches that need the same index wait for one call; the learned component template is read before
//! an index gets a field, and has that field before the batch counts as written, so next month's index starts
//! with it and other loaders read the same decision. Whoever put a field first decided its kind: we read it,
//! tell [`Learned`], and leave it as it is. Two loaders may decide differently at the same moment; then an
//! index has the last word, since it refuses the second one, and the template follows it.
//! An index whose mapping is not trailload's decides for its own documents only: they are made to fit it before they are
//! sent ([`Mappings::fitting`]), and nothing that it decided reaches the template or another index.
//! Every call costs the engine as much as some hundred documents. So they are few, each takes along all that is
//! known, and the template, for which no document has to wait, is written while documents are.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex as Lock, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::time::Instant;

use super::calls::{Calls, Said};
use super::client::Method;
use super::conflicts::{self, Conflict};
use super::install::{self, MANAGED_BY, Missing, Templates, read_learned};
use super::inventory::{self, Found};
use super::paths;
use super::tree;
use crate::event::{IndexIdentity, Inventory, Need};
use crate::normalize::{self, Fields, Origin, Relearned};
use crate::report::{Log, Tally};
use crate::sink::{Cause, Error, Spread, Why};

/// Calls spent on finding the few fields that an index refuses; what is left then stays unmapped.
const SEARCH_CALLS: u32 = 64;

/// Times that a refused mapping is compared with the live one and sent again. Each time another loader must have
/// decided something in between; after so many it is something else that the engine does not like.
const LOOKS: u32 = 8;

/// How long the pipelines that an index names are known: somebody may set one while a load runs, and errors that may
/// be a pipeline's come by the thousand.
const PIPELINES_KNOWN: Duration = Duration::from_secs(10);

/// What the sink asks of the normalizer.
pub trait Learned: Send + Sync + 'static {
    /// Returns how many fields are to be mapped so far.
    fn count(&self) -> u32;
    /// Returns the `properties` tree of the fields `from..to`.
    fn properties(&self, from: u32, to: u32) -> Value;
    /// Takes in the `mappings` of an index or a template.
    fn absorb(&self, mappings: &Value, origin: Origin);
    /// Stops learning: the index with these live `mappings` has no room for further fields.
    fn close(&self, mappings: &Value);
    /// Prepares to rewrite documents that an index with these live `mappings` refused.
    fn relearn(&self, mappings: &Value) -> Box<dyn Rewrite>;
    /// Returns the last resort for a document that was refused.
    fn raw(&self, document: &[u8]) -> Vec<u8>;
}

/// Rewrites documents for one index.
pub trait Rewrite: Send {
    /// Rewrites a document. `None` if it stays as it is.
    fn again(&mut self, document: &[u8]) -> Option<Vec<u8>>;
}

impl Rewrite for Relearned {
    fn again(&mut self, document: &[u8]) -> Option<Vec<u8>> {
        Relearned::again(self, document)
    }
}

impl Learned for Fields {
    fn count(&self) -> u32 {
        self.len()
    }
    fn properties(&self, from: u32, to: u32) -> Value {
        Fields::properties(self, from, to)
    }
    fn absorb(&self, mappings: &Value, origin: Origin) {
        Fields::absorb(self, mappings, origin);
    }
    fn close(&self, mappings: &Value) {
        Fields::close(self, mappings);
    }
    fn relearn(&self, mappings: &Value) -> Box<dyn Rewrite> {
        Box::new(Relearned::new(self, mappings))
    }
    fn raw(&self, document: &[u8]) -> Vec<u8> {
        normalize::raw(document)
    }
}

/// The mappings of all indices written to.
pub(super) struct Mappings {
    templates: Templates,
    missing: Missing,
    installed: OnceCell<()>,
    learned: Arc<dyn Learned>,
    /// How many learned fields the component template holds.
    component: Mutex<u32>,
    /// Whether the template, or an index, got fields from us.
    grown: AtomicBool,
    indices: Lock<HashMap<String, Arc<Index>>>,
    /// What the engine held before this run, if it tells.
    before: Option<Inventory>,
    log: Log,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Index {
    /// One more than the learned fields that it has; 0 before the first look, the maximum once it is full.
    ready: AtomicU32,
    /// Whether its mapping is somebody else's, as [`Live::foreign`] is.
    foreign: AtomicBool,
    /// Which index it was when documents were sent to it first, if the engine tells.
    identity: OnceLock<IndexIdentity>,
    live: Mutex<Live>,
    /// The index itself, if the name is an alias.
    behind: Lock<Option<String>>,
    /// Why it takes no documents in this run.
    shut: OnceLock<Cause>,
    /// The ingest pipelines that its settings name, and when they were read.
    pipelines: Mutex<Option<(Instant, Vec<String>)>>,
    /// Whether it was told that a pipeline keeps documents out of it.
    told_pipeline: AtomicBool,
}

/// What is known of an index from its engine.
#[derive(Debug, Default)]
struct Live {
    read: Option<Instant>,
    mappings: Arc<Value>,
    /// Whether the mapping is somebody else's.
    foreign: bool,
}

/// Whether the learned component template was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    New,
    Before,
}

/// Whether an index takes further fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Left,
    Full,
}

impl Index {
    /// Returns whether it knows the first `fields` learned fields, or takes no more of them.
    fn has(&self, fields: u32) -> bool {
        self.ready.load(Ordering::Acquire) > fields
    }
}

impl Mappings {
    /// Returns the templates.
    pub(super) fn templates(&self) -> &Templates {
        &self.templates
    }

    /// Returns what has to be put into the engine.
    pub(super) fn missing(&self) -> &Missing {
        &self.missing
    }

    pub(super) fn new(
        (templates, missing): (Templates, Missing),
        before: Option<Inventory>,
        learned: Arc<dyn Learned>,
        log: Log,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            templates,
            missing,
            installed: OnceCell::new(),
            learned,
            component: Mutex::default(),
            grown: AtomicBool::new(false),
            indices: Lock::default(),
            before,
            log,
            tally,
        }
    }

    /// Returns what the engine held before this run, if it tells.
    pub(super) fn before(&self) -> Option<&Inventory> {
        self.before.as_ref()
    }

    /// Returns which index it was when documents were sent to it first in this run, if the engine tells.
    pub(super) fn identity(&self, name: &str) -> Option<IndexIdentity> {
        self.index(name).identity.get().cloned()
    }

    /// Installs the templates that are missing, and warns of ingest pipelines, once.
    pub(super) async fn install(&self, calls: &Calls<'_>) -> Result<(), Error> {
        // Boxed: it happens once, and every write would carry its size.
        self.installed.get_or_try_init(|| Box::pin(self.install_once(calls))).await?;
        Ok(())
    }

    async fn install_once(&self, calls: &Calls<'_>) -> Result<(), Error> {
        let put = self.missing.put(calls, &self.templates, &self.log);
        let looked = conflicts::pipelines_and_templates(calls.client, &self.templates);
        let (put, found) = tokio::join!(put, looked);
        for conflict in found {
            if matches!(conflict, Conflict::Pipeline { .. }) {
                self.log.warn(calls.address(), conflict.told());
            }
        }
        put
    }

    /// Makes sure that all indices of a batch exist and know the fields that it uses.
    pub(super) async fn prepare(&self, calls: &Calls<'_>, needs: &[Need]) -> Result<(), Error> {
        self.install(calls).await?;
        let lacking = |need: &&Need| {
            let index = self.index(&need.index);
            !index.has(need.fields) && index.shut.get().is_none()
        };
        let all = needs.iter().filter(lacking).map(|need| self.prepare_unless_shut(calls, need));
        all_of(all.collect()).await
    }

    /// Prepares an index. One that is closed or blocked is no failure: it takes no documents in this run.
    async fn prepare_unless_shut(&self, calls: &Calls<'_>, need: &Need) -> Result<(), Error> {
        match self.prepare_one(calls, need).await {
            Err(Error::Refused { why, source, .. }) if why.is_of_index() => {
                self.shut_index(&need.index, &source);
                Ok(())
            }
            prepared => prepared,
        }
    }

    async fn prepare_one(&self, calls: &Calls<'_>, need: &Need) -> Result<(), Error> {
        let name = &need.index;
        let index = self.index(name);
        let mut live = index.live.lock().await;
        if index.has(need.fields) {
            return Ok(());
        }
        match read_learned(calls, &self.templates).await? {
            Some(there) => self.obey(&there),
            None => self.put_back(calls).await?,
        }
        // Everything known by now goes along: the next batch probably needs it.
        let ready = index.ready.load(Ordering::Acquire);
        let (room, known) = if ready == 0 {
            self.meet(calls, name, &mut live).await?
        } else {
            let known = self.learned.count();
            let more = self.learned.properties(ready - 1, known);
            match self.put(calls, name, &more, &mut live).await {
                Err(error) if is_gone(&error) => self.meet_again(calls, name, &mut live).await?,
                put => (put?, known),
            }
        };
        let ready = if room == Room::Full { u32::MAX } else { known + 1 };
        index.foreign.store(live.foreign, Ordering::Release);
        index.ready.store(ready, Ordering::Release);
        Ok(())
    }

    /// Makes an index again that was deleted while documents were sent to it. What becomes of those that it held is
    /// found out at the end of the run.
    async fn meet_again(
        &self,
        calls: &Calls<'_>,
        name: &str,
        live: &mut MutexGuard<'_, Live>,
    ) -> Result<(Room, u32), Error> {
        self.log.warn(name, "was deleted while it was being written to; it is made again");
        self.meet(calls, name, live).await
    }

    /// Puts the templates back if somebody deleted them during the run: an index made without them would map fields
    /// by itself.
    pub(super) async fn put_back(&self, calls: &Calls<'_>) -> Result<(), Error> {
        if !install::is_absent(calls, &self.templates).await? {
            return Ok(());
        }
        self.log.warn(
            calls.address(),
            format_args!(
                "the index template '{}' was deleted during the run; it is put back",
                self.templates.prefix()
            ),
        );
        let there = read_learned(calls, &self.templates).await?;
        let properties = self.learned.properties(0, self.learned.count());
        let learned = there.is_none().then(|| self.templates.learned(&properties));
        Missing::again(&self.templates, learned).put(calls, &self.templates, &self.log).await
    }

    /// Makes sure that the learned component template has the fields that a batch uses.
    ///
    /// If that is news, [`Mappings::check_learned`] is to follow a while later.
    pub(super) async fn store_learned(
        &self,
        calls: &Calls<'_>,
        needs: &[Need],
    ) -> Result<Stored, Error> {
        let fields = needs.iter().map(|need| need.fields).max().unwrap_or(0);
        let mut stored = self.component.lock().await;
        if *stored >= fields {
            return Ok(Stored::Before);
        }
        let known = self.learned.count();
        let outcome = self.write_learned(calls, known).await?;
        *stored = known;
        Ok(outcome)
    }

    /// Stores what we learned once more where another loader replaced it: templates are replaced as a whole, and
    /// a loader that read ours before we stored it has replaced it by now.
    pub(super) async fn check_learned(&self, calls: &Calls<'_>) -> Result<(), Error> {
        let stored = self.component.lock().await;
        self.write_learned(calls, *stored).await?;
        Ok(())
    }

    /// Stores what all indices of this run have, once nothing more is written: another loader that had read the
    /// template before us may have replaced it after our last look. Nothing is asked if nobody got fields from us.
    pub(super) async fn finish(&self, calls: &Calls<'_>) -> Result<(), Error> {
        if !self.grown.load(Ordering::Acquire) {
            return Ok(());
        }
        let indices: Vec<_> = {
            let indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
            indices.iter().map(|(name, index)| (name.clone(), Arc::clone(index))).collect()
        };
        for (name, index) in indices {
            if index.shut.get().is_some() {
                continue;
            }
            let mut live = index.live.lock().await;
            match self.look(calls, &name, &mut live).await {
                // It took documents until just now.
                Err(Error::Refused { why, .. }) if why.is_of_index() => {}
                looked => drop(looked?),
            }
        }
        let mut stored = self.component.lock().await;
        *stored = self.learned.count();
        self.write_learned(calls, *stored).await?;
        Ok(())
    }

    /// Returns what makes documents fit an index whose mapping is somebody else's. `None` for one of ours, which takes
    /// them as they are. The index must be prepared.
    pub(super) async fn fitting(&self, name: &str) -> Option<Box<dyn Rewrite>> {
        let index = self.index(name);
        if !index.foreign.load(Ordering::Acquire) {
            return None;
        }
        let live = index.live.lock().await;
        Some(self.learned.relearn(&live.mappings))
    }

    /// Looks which indices there are once everything is written, and names those that are not the ones written to.
    pub(super) async fn take_stock(&self, calls: &Calls<'_>) -> Result<Option<Inventory>, Error> {
        if self.before.is_none() {
            return Ok(None);
        }
        let written: Vec<(String, IndexIdentity)> = {
            let indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
            let known = |(name, index): (&String, &Arc<Index>)| {
                Some((name.clone(), index.identity.get()?.clone()))
            };
            indices.iter().filter_map(known).collect()
        };
        if written.is_empty() {
            return Ok(inventory::look(calls, self.templates.prefix(), self.templates.by())
                .await?
                .map(|found| found.inventory));
        }
        self.put_back(calls).await?;
        let names: Vec<String> = written.iter().map(|(name, _)| name.clone()).collect();
        let Some(inventory) = self.recount(calls, &names).await? else { return Ok(None) };
        let other: Vec<String> = written
            .into_iter()
            .filter(|(name, identity)| {
                inventory.indices.get(name).is_some_and(|held| held.identity != *identity)
            })
            .map(|(name, _)| name)
            .collect();
        for name in inventory::foreign(calls, &other).await? {
            self.log.warn(
                &name,
                "was deleted while it was being written to, and came back without trailload's template: it maps fields \
                 by itself; delete it before you load its events again",
            );
        }
        Ok(Some(inventory))
    }

    /// Looks at the indices once all that was written to these, or to any, can be counted.
    pub(super) async fn recount(
        &self,
        calls: &Calls<'_>,
        names: &[String],
    ) -> Result<Option<Inventory>, Error> {
        let stale = if names.is_empty() {
            inventory::refresh_all(calls, self.templates.prefix()).await?;
            Vec::new()
        } else {
            inventory::refresh(calls, names).await?
        };
        let found = inventory::look(calls, self.templates.prefix(), self.templates.by()).await?;
        let Some(Found { mut inventory, .. }) = found else { return Ok(None) };
        for name in stale {
            if let Some(held) = inventory.indices.get_mut(&name) {
                held.documents = None;
            }
        }
        Ok(Some(inventory))
    }

    /// Returns the mappings of an index as they are now, or were at `since` at the earliest.
    pub(super) async fn live(
        &self,
        calls: &Calls<'_>,
        name: &str,
        since: Instant,
    ) -> Result<Arc<Value>, Error> {
        let index = self.index(name);
        let mut live = index.live.lock().await;
        if live.read.is_none_or(|read| read < since) {
            self.look(calls, name, &mut live).await?;
        }
        Ok(Arc::clone(&live.mappings))
    }

    /// Returns the index behind a name that is an alias.
    pub(super) fn behind(&self, name: &str) -> Option<String> {
        self.index(name).behind.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns why an index takes no documents, if that is known.
    pub(super) fn shut(&self, name: &str) -> Option<Cause> {
        self.index(name).shut.get().cloned()
    }

    /// Takes note of an index that takes no documents, and says so once.
    pub(super) fn shut_index(&self, name: &str, cause: &Cause) {
        if self.index(name).shut.set(cause.clone()).is_err() {
            return;
        }
        let advice = Why::of(cause).advice().unwrap_or("see what the engine says about it");
        self.log.warn(
            name,
            format_args!("takes no documents ({cause}); they are set aside. What to do: {advice}"),
        );
    }

    /// Says once that a pipeline keeps documents out of an index.
    pub(super) fn note_pipeline(&self, name: &str, pipeline: &str, cause: &Cause) {
        if self.index(name).told_pipeline.swap(true, Ordering::Relaxed) {
            return;
        }
        let text = format_args!(
            "{pipeline} keeps documents out ({cause}); they are set aside. What to do: mend the pipeline, or take it out of the \
             settings of the index, then run the same command again"
        );
        self.log.warn(name, text);
    }

    /// Returns the ingest pipelines that the settings of an index name now, or named a moment ago. Nothing if the
    /// engine does not tell: then errors are what they look like.
    pub(super) async fn pipelines(&self, calls: &Calls<'_>, name: &str) -> Vec<String> {
        let index = self.index(name);
        let mut known = index.pipelines.lock().await;
        match &*known {
            Some((read, pipelines)) if read.elapsed() < PIPELINES_KNOWN => pipelines.clone(),
            _ => {
                let now = Instant::now();
                let pipelines = conflicts::pipelines_of(calls.client, name).await;
                *known = Some((now, pipelines.clone()));
                pipelines
            }
        }
    }

    fn index(&self, name: &str) -> Arc<Index> {
        let mut indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = indices.get(name) {
            return Arc::clone(index);
        }
        Arc::clone(indices.entry(name.to_owned()).or_default())
    }

    /// Meets an index for the first time in this run: creates it if it is not there, and adds what it lacks.
    async fn meet(
        &self,
        calls: &Calls<'_>,
        name: &str,
        live: &mut MutexGuard<'_, Live>,
    ) -> Result<(Room, u32), Error> {
        let mut made_with = None;
        let mut held = self.before.as_ref().and_then(|all| all.indices.get(name)).cloned();
        if !self.look(calls, name, live).await? {
            self.put_back(calls).await?;
            made_with = self.create(calls, name).await?;
            if !self.look(calls, name, live).await? {
                self.log.debug(name, "vanished right after it was created");
            }
            held = None;
        }
        if held.is_none() && self.before.is_some() {
            held = inventory::held(calls, name).await?;
        }
        if let Some(held) = held {
            // The first one of this run stays, so that a change is noticed at the end.
            let _ = self.index(name).identity.set(held.identity);
        }
        self.check_owner(name, live);
        // Looking may have taught us fields that are there already, so count again. What was decided while the index
        // was made is for the batches that come next: this one need not wait for it.
        let known = made_with.unwrap_or_else(|| self.learned.count());
        let mut wanted = self.templates.core()["properties"].clone();
        tree::add(&mut wanted, &self.learned.properties(0, known));
        let lacking = tree::lacking(&wanted, &live.mappings["properties"]);
        Ok((self.put(calls, name, &lacking, live).await?, known))
    }

    /// Reads the live mapping and takes over its decisions, if it is ours; returns whether the index exists.
    async fn look(&self, calls: &Calls<'_>, name: &str, live: &mut Live) -> Result<bool, Error> {
        let action = format!("reading the mapping of '{name}'");
        let before = Instant::now();
        let mut said = calls.read(&paths::mapping(&[name]), &action).await?;
        match said.status {
            404 => return Ok(false),
            200..=299 => {}
            _ => return Err(calls.refused(&action, said)),
        }
        let indices = said.json.as_object().into_iter().flat_map(|all| all.keys());
        if indices.clone().count() > 1 {
            let why = Spread::Several { indices: indices.cloned().collect() };
            let (url, name) = (calls.address().to_owned(), name.to_owned());
            return Err(Error::NotOneIndex { url, name, why });
        }
        // By its own name, or behind an alias under another.
        let found = said.json.as_object_mut().and_then(|all| all.iter_mut().next_back());
        let mappings = found.and_then(|(behind, index)| {
            let known = self.index(name);
            let alias = (behind != name).then(|| behind.clone());
            *known.behind.lock().unwrap_or_else(PoisonError::into_inner) = alias;
            index.get_mut("mappings").map(Value::take)
        });
        live.mappings = Arc::new(mappings.unwrap_or_default());
        live.read = Some(before);
        live.foreign = live.mappings["_meta"]["managed_by"] != MANAGED_BY;
        if !live.foreign {
            self.learned.absorb(&live.mappings, Origin::Index);
        }
        Ok(true)
    }

    /// Warns about an index that follows another template than ours.
    fn check_owner(&self, name: &str, live: &Live) {
        let mappings = &live.mappings;
        let closed = matches!(&mappings["dynamic"], Value::String(text) if text == "false")
            || mappings["dynamic"] == false;
        if live.foreign || !closed {
            self.log.warn(
                name,
                "its mapping does not come from trailload's template: the index is older, or another template \
                 has a higher priority; it may grow fields by itself",
            );
        }
    }

    /// Creates an index with all fields known by now; what else it is, the template says. Returns how many it was made
    /// with, unless another loader made it.
    async fn create(&self, calls: &Calls<'_>, name: &str) -> Result<Option<u32>, Error> {
        let action = format!("creating the index '{name}'");
        let known = self.learned.count();
        let properties = self.learned.properties(0, known);
        if !tree::is_empty(&properties) {
            let body = json!({ "mappings": { "properties": properties } });
            let said = calls.call(Method::Put, &paths::index(name), Some(&body), &action).await?;
            self.note_call(&said);
            match said.status {
                200..=299 => return Ok(Some(known)),
                // Perhaps not for the index but for a field, which is found out when they are added.
                400 => {}
                _ => return Err(calls.refused(&action, said)),
            }
        }
        let said = calls.call(Method::Put, &paths::index(name), None, &action).await?;
        match said.status {
            200..=299 => Ok(None),
            400 if said.cause().code() == "resource_already_exists_exception" => Ok(None),
            _ => Err(calls.refused(&action, said)),
        }
    }

    /// Takes over the decisions in a learned component template, except where an index of ours says otherwise.
    fn obey(&self, template: &Value) {
        let mappings = &template["template"]["mappings"];
        if mappings.is_object() {
            self.learned.absorb(mappings, Origin::Template);
        }
    }

    /// Adds fields to the learned component template, as our indices have them, keeping what others put there.
    async fn write_learned(&self, calls: &Calls<'_>, known: u32) -> Result<Stored, Error> {
        let there = read_learned(calls, &self.templates).await?.unwrap_or_default();
        let theirs = &there["template"]["mappings"]["properties"];
        let mut all = self.learned.properties(0, known);
        tree::add(&mut all, theirs);
        let body = self.templates.learned(&all);
        let properties = &body["template"]["mappings"]["properties"];
        if properties == theirs || (tree::is_empty(properties) && tree::is_empty(theirs)) {
            return Ok(Stored::Before);
        }
        let action = "storing learned fields".to_owned();
        let said =
            calls.call(Method::Put, &self.templates.learned_path(), Some(&body), &action).await?;
        self.note_call(&said);
        match said.status {
            200..=299 => Ok(Stored::New),
            // Indices get their fields all the same; only the next one starts with fewer.
            400 => {
                self.log.warn(calls.address(), format_args!("{action} failed: {}", said.cause()));
                Ok(Stored::Before)
            }
            _ => Err(calls.refused(&action, said)),
        }
    }

    /// Adds fields to an index, as many as it takes.
    async fn put(
        &self,
        calls: &Calls<'_>,
        name: &str,
        properties: &Value,
        live: &mut Live,
    ) -> Result<Room, Error> {
        if tree::is_empty(properties) {
            return Ok(Room::Left);
        }
        let mut lacking = properties.clone();
        for _ in 0..LOOKS {
            match self.try_put(calls, name, &lacking).await? {
                Ok(()) => {
                    if live.foreign {
                        // Documents are made to fit it as it is now.
                        self.look(calls, name, live).await?;
                    }
                    return Ok(Room::Left);
                }
                Err(cause) if is_full(&cause) => {
                    return self.note_full(calls, name, live, &cause).await;
                }
                Err(_) => {}
            }
            // Another loader decided first. What does not clash with that still goes in, unless that
            // loader was faster again.
            self.look(calls, name, live).await?;
            self.write_learned(calls, self.learned.count()).await?;
            lacking = tree::lacking(properties, &live.mappings["properties"]);
            if tree::is_empty(&lacking) {
                return Ok(Room::Left);
            }
        }
        match self.put_in_parts(calls, name, tree::leaves(&lacking)).await? {
            Some(cause) => self.note_full(calls, name, live, &cause).await,
            None => Ok(Room::Left),
        }
    }

    /// Adds fields, halving what is refused until the fields to blame are found and left out. Returns what was
    /// said if the index is full before all are in.
    async fn put_in_parts(
        &self,
        calls: &Calls<'_>,
        name: &str,
        leaves: Vec<Value>,
    ) -> Result<Option<Cause>, Error> {
        let mut parts = vec![leaves.as_slice()];
        let mut left = SEARCH_CALLS;
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            if left == 0 {
                self.log.warn(name, "refuses many fields; some stay unmapped");
                break;
            }
            left -= 1;
            match self.try_put(calls, name, &tree::joined(part)).await? {
                Ok(()) => {}
                Err(cause) if is_full(&cause) => return Ok(Some(cause)),
                Err(cause) if part.len() == 1 => {
                    self.log.debug(name, format_args!("{} stays unmapped: {cause}", part[0]));
                }
                Err(_) => {
                    let (front, back) = part.split_at(part.len() / 2);
                    parts.extend([back, front]);
                }
            }
        }
        Ok(None)
    }

    async fn try_put(
        &self,
        calls: &Calls<'_>,
        name: &str,
        properties: &Value,
    ) -> Result<Result<(), Cause>, Error> {
        let action = format!("adding fields to '{name}'");
        let body = json!({ "properties": properties });
        let said = calls.call(Method::Put, &paths::mapping(&[name]), Some(&body), &action).await?;
        self.note_call(&said);
        match said.status {
            200..=299 => Ok(Ok(())),
            400 if !concerns_index(&said) => Ok(Err(said.cause())),
            _ => Err(calls.refused(&action, said)),
        }
    }

    /// Takes note of a call that was to put fields into the template or an index.
    fn note_call(&self, said: &Said) {
        self.tally.mapping_calls.fetch_add(1, Ordering::Relaxed);
        if (200..=299).contains(&said.status) {
            self.grown.store(true, Ordering::Release);
        }
    }

    /// Goes on without the fields that an index lacks. Documents that are on their way with them are in, and
    /// those values of them can be read but not searched.
    async fn note_full(
        &self,
        calls: &Calls<'_>,
        name: &str,
        live: &mut Live,
        cause: &Cause,
    ) -> Result<Room, Error> {
        self.look(calls, name, live).await?;
        // How little room somebody else's index has says nothing about ours.
        if !live.foreign {
            self.learned.close(&live.mappings);
        }
        self.log.warn(
            name,
            format_args!("takes no more fields ({cause}); documents go in, fields that it lacks are found in trailload.more from now on"),
        );
        Ok(Room::Full)
    }
}

/// Returns whether an index was not there any more.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Refused { status: 404, source, .. } if source.code() == "index_not_found_exception")
}

/// Returns whether a 400 is about the index as a whole and not about the fields put.
/// Returns a digest of what an index is like, also of one that is not there: mapping and settings, as far as they may
/// be read.
pub(super) async fn version(calls: &Calls<'_>, name: &str) -> Result<String, Error> {
    let action = format!("reading the mapping of '{name}'");
    let said = match calls.read(name, &action).await {
        Err(Error::Denied { .. }) => calls.read(&paths::mapping(&[name]), &action).await?,
        said => said?,
    };
    match said.status {
        200..=299 => Ok(digest(&said.json)),
        404 => Ok("none".to_owned()),
        _ => Err(calls.refused(&action, said)),
    }
}

/// Returns a digest of a value, in which the order of keys makes no difference.
fn digest(value: &Value) -> String {
    let mut paths = Vec::new();
    flatten(value, &mut String::new(), &mut paths);
    paths.sort_unstable();
    let mut text = String::new();
    for byte in Sha256::digest(paths.join("\n")).iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn flatten(value: &Value, path: &mut String, paths: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                let end = path.len();
                // Writing to a String cannot fail.
                let _ = write!(path, "{key:?}.");
                flatten(member, path, paths);
                path.truncate(end);
            }
        }
        other => paths.push(format!("{path}={other}")),
    }
}

fn concerns_index(said: &Said) -> bool {
    matches!(said.cause().code(), "index_closed_exception" | "invalid_index_name_exception")
}

/// Returns whether the field limit of the index is reached.
///
/// The engines have no code of its own for this (`illegal_argument_exception`), so the words have to do. If they
/// change, the search in parts ends all the same, only later.
fn is_full(cause: &Cause) -> bool {
    matches!(cause, Cause::Answer { reason, .. } if reason.contains("Limit of total fields"))
}

/// Runs futures at once until all are done or one has failed.
async fn all_of<F: Future<Output = Result<(), Error>>>(futures: Vec<F>) -> Result<(), Error> {
    let mut open: Vec<_> = futures.into_iter().map(Box::pin).collect();
    poll_fn(|context| {
        let mut failed = None;
        open.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => {
                failed = Some(error);
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if open.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}
