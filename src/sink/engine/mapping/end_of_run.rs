//! What a run does with its indices after the last write.

use std::sync::atomic::Ordering;

use super::super::api::ApiClient;
use super::super::inventory::{self, IndexListing};
use super::Mappings;
use crate::event::{IndexIdentity, Inventory};
use crate::sink::error::Error;

impl Mappings {
    /// Stores the fields of all indices of this run after the last write: another loader may have replaced the template
    /// since it was verified. Sends nothing if this run added no fields.
    pub(in super::super) async fn finish(&self, api: &ApiClient<'_>) -> Result<(), Error> {
        if !self.fields_added.load(Ordering::Acquire) {
            return Ok(());
        }
        for (name, index) in self.indices.all() {
            if index.unwritable.get().is_some() {
                continue;
            }
            let mut live = index.live.lock().await;
            match self.fetch_mapping(api, &name, &mut live).await {
                // It was closed or blocked just now.
                Err(Error::Refused { reason, .. }) if reason.is_index_level() => {}
                fetched => drop(fetched?),
            }
        }
        let mut stored = self.component_fields.lock().await;
        *stored = self.fields.len();
        self.update_component_template(api, *stored).await?;
        Ok(())
    }

    /// Lists the indices after the last write, and warns about those that were replaced during the run.
    pub(in super::super) async fn final_inventory(
        &self,
        api: &ApiClient<'_>,
    ) -> Result<Option<Inventory>, Error> {
        if self.initial_inventory.is_none() {
            return Ok(None);
        }
        let written: Vec<(String, IndexIdentity)> = self
            .indices
            .all()
            .into_iter()
            .filter_map(|(name, index)| Some((name, index.identity.get()?.clone())))
            .collect();
        let templates = self.templates();
        if written.is_empty() {
            return Ok(inventory::fetch(api, templates.prefix(), templates.index_by())
                .await?
                .map(|listing| listing.inventory));
        }
        self.restore_templates(api).await?;
        let names: Vec<String> = written.iter().map(|(name, _)| name.clone()).collect();
        let Some(inventory) = self.recount(api, &names).await? else { return Ok(None) };
        let replaced: Vec<String> = written
            .into_iter()
            .filter(|(name, identity)| {
                inventory.indices.get(name).is_some_and(|held| held.identity != *identity)
            })
            .map(|(name, _)| name)
            .collect();
        for name in inventory::foreign_indices(api, &replaced).await? {
            self.log.warn(
                &name,
                "was deleted during the run and created again without trailload's template: it maps fields \
                 dynamically; delete it before loading its events again",
            );
        }
        Ok(Some(inventory))
    }

    /// Lists the indices after refreshing these, or all if there are no names.
    pub(in super::super) async fn recount(
        &self,
        api: &ApiClient<'_>,
        names: &[String],
    ) -> Result<Option<Inventory>, Error> {
        let templates = self.templates();
        let stale = if names.is_empty() {
            inventory::refresh_all(api, templates.prefix()).await?;
            Vec::new()
        } else {
            inventory::refresh(api, names).await?
        };
        let listing = inventory::fetch(api, templates.prefix(), templates.index_by()).await?;
        let Some(IndexListing { mut inventory, .. }) = listing else { return Ok(None) };
        for name in stale {
            if let Some(held) = inventory.indices.get_mut(&name) {
                held.documents = None;
            }
        }
        Ok(Some(inventory))
    }
}
