//! What a run does about indices that are deleted while it writes to them.
//!
//! Engines create an index for any document that has none, from the template if there is one. So a month that the
//! retention has deleted would be created again, and without a template with whatever fields an engine makes up.
//! Input: the indices of a batch. Output: indices that are to be prepared again, or that get no documents.
//! Invariant: before a batch is sent, each of its indices was seen at most [`INTERVAL`] ago. An index whose events are all
//! older than the retention is not created, and one without trailload's mapping gets no documents if it had that mapping
//! before.

use std::time::Duration;

use tokio::time::Instant;

use super::super::api::ApiClient;
use super::super::client::Method;
use super::super::inventory;
use super::super::paths;
use super::super::setup_template::SetupTemplate;
use super::super::templates;
use super::super::tracked_index::{LiveMapping, Sighting, TrackedIndex};
use super::Mappings;
use crate::event::TargetIndex;
use crate::sink::cause::Cause;
use crate::sink::error::Error;

/// Shortest time between two looks at an index. A look costs the engine little, since it reads no shard.
const INTERVAL: Duration = Duration::from_millis(250);

/// Names in one request, because URLs are limited in length.
const MAX_NAMES: usize = 32;

impl Mappings {
    /// Looks whether the indices of a batch are those that were prepared. Others are prepared again before the batch is sent.
    pub(in super::super) async fn look_for_deleted(
        &self,
        api: &ApiClient<'_>,
        targets: &[TargetIndex],
    ) -> Result<(), Error> {
        // Other batches wait for the result.
        let _looking = self.looking.lock().await;
        let due: Vec<&str> = targets
            .iter()
            .map(|target| target.index.as_str())
            .filter(|name| self.indices.get(name).is_look_due())
            .collect();
        for names in due.chunks(MAX_NAMES) {
            let now = Instant::now();
            let own_name = |name: &&str| self.concrete_index(name).unwrap_or((*name).to_owned());
            let own_names: Vec<String> = names.iter().map(own_name).collect();
            let asked: Vec<&str> = own_names.iter().map(String::as_str).collect();
            let found = inventory::fetch_uuids(api, &asked).await?;
            for (name, own_name) in names.iter().zip(&own_names) {
                // Without an answer of the engine, each index counts as unchanged.
                let is_same = |before: &str| match &found {
                    Some(found) => found.get(own_name).is_some_and(|uuid| uuid == before),
                    None => true,
                };
                self.compare_with_prepared(name, is_same, now).await;
            }
        }
        Ok(())
    }

    /// Prepares an index again that the engine did not find.
    pub(in super::super) async fn prepare_again(
        &self,
        api: &ApiClient<'_>,
        target: &TargetIndex,
    ) -> Result<(), Error> {
        let index = self.indices.get(&target.index);
        let live = index.live.lock().await;
        index.forget();
        drop(live);
        self.prepare(api, std::slice::from_ref(target)).await
    }

    /// Compares an index with what was prepared under its name, by its UUID.
    async fn compare_with_prepared(
        &self,
        name: &str,
        is_same: impl Fn(&str) -> bool,
        now: Instant,
    ) {
        let index = self.indices.get(name);
        // Whoever prepares the index holds it.
        let _live = index.live.lock().await;
        let Some(before) = index.sighting() else { return };
        if before.at > now {
            return;
        }
        if is_same(&before.uuid) {
            index.set_sighting(Some(Sighting { at: now, ..before }));
        } else {
            index.forget();
        }
    }

    /// Records which index it is. `is_new` if it was created since the run began.
    pub(super) async fn identify(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        is_new: bool,
    ) -> Result<(), Error> {
        let Some(initial) = &self.initial_inventory else { return Ok(()) };
        let held = initial.indices.get(name).filter(|_| !is_new).cloned();
        let held = match held {
            Some(held) => Some(held),
            None => inventory::fetch_index(api, name).await?,
        };
        let Some(held) = held else { return Ok(()) };
        let index = self.indices.get(name);
        let uuid = held.identity.uuid.clone();
        index.set_sighting(Some(Sighting { uuid, at: Instant::now() }));
        // The first identity of this run is kept, so that a replacement is noticed at the end.
        let _ = index.identity.set(held.identity);
        Ok(())
    }

    /// Leaves out all events of an index if they are older than the retention, and returns whether that is so.
    pub(super) fn leave_out_expired(&self, name: &str, setup: Option<&SetupTemplate>) -> bool {
        let retention = setup.and_then(|setup| setup.retention);
        let Some((retention, clock)) = retention.zip(self.clock) else { return false };
        let (by, prefix) = (self.templates().index_by(), self.templates().prefix());
        if !retention.has_expired(by, prefix, name, clock()) {
            return false;
        }
        let index = self.indices.get(name);
        index.set_expired();
        let deleted =
            if index.identity.get().is_some() { "was deleted during the run, and " } else { "" };
        self.log.info(
            name,
            format_args!("{deleted}all its events are older than the retention ({retention}): they are left out"),
        );
        true
    }

    pub(super) fn warn_if_deleted(&self, name: &str, index: &TrackedIndex) {
        if index.identity.get().is_some() {
            self.log.warn(name, "was deleted during the run; creating it again");
        }
    }

    /// Gives an index that was created without the template the mapping of the template. Returns whether documents can be
    /// written to it: not if its mapping contradicts that of the template, which it had before.
    pub(super) async fn complete_mapping(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        live: &mut LiveMapping,
    ) -> Result<bool, Error> {
        let index = self.indices.get(name);
        let had_mapping = index.identity.get().is_some() && !index.is_foreign();
        if !had_mapping && !templates::is_missing(api, self.templates()).await? {
            // Another template has precedence, or somebody created the index.
            return Ok(true);
        }
        self.restore_templates(api).await?;
        let action = format!("completing the mapping of '{name}'");
        let settings = self.templates().settings();
        let path = paths::all_settings(name);
        api.send(Method::Put, &path, Some(&settings), &action).await?;
        let path = paths::mapping(&[name]);
        let response = api.send(Method::Put, &path, Some(self.templates().core()), &action).await?;
        self.count_call(&response);
        self.fetch_mapping(api, name, live).await?;
        if had_mapping && live.is_foreign {
            self.mark_unwritable(name, &Cause::CreatedWithoutTemplate);
            return Ok(false);
        }
        Ok(true)
    }
}

impl TrackedIndex {
    /// Returns whether the index was prepared, and was not looked at for a while.
    fn is_look_due(&self) -> bool {
        let is_written = self.unwritable.get().is_none() && !self.has_expired();
        is_written && self.sighting().is_some_and(|sighting| sighting.at.elapsed() >= INTERVAL)
    }
}
