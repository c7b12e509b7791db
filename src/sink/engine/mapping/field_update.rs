//! Adds fields to indices and to the component template.
//!
//! Invariant: a field that an index refuses, or that another loader added in another kind, stays out; all others are added.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::super::api::{ApiClient, ApiResponse};
use super::super::client::Method;
use super::super::paths;
use super::super::properties;
use super::super::templates;
use super::super::tracked_index::LiveMapping;
use super::{FieldCapacity, Mappings, TemplateUpdate};
use crate::event::TargetIndex;
use crate::sink::cause::Cause;
use crate::sink::error::Error;

/// Calls spent on finding the fields that an index refuses; those not found then stay unmapped.
const MAX_BISECT_CALLS: u32 = 64;

/// How often a refused mapping is compared with the live one and sent again. Each time another loader must have added
/// something in between; after that the refusal has another reason.
const MAX_CONFLICT_ROUNDS: u32 = 8;

impl Mappings {
    /// Ensures that the component template has the fields that a batch requires.
    ///
    /// If that changed it, [`Mappings::verify_component_template`] is to follow a while later.
    pub(in super::super) async fn store_fields(
        &self,
        api: &ApiClient<'_>,
        targets: &[TargetIndex],
    ) -> Result<TemplateUpdate, Error> {
        let required = targets.iter().map(|target| target.required_fields).max().unwrap_or(0);
        let mut stored = self.component_fields.lock().await;
        if *stored >= required {
            return Ok(TemplateUpdate::Unchanged);
        }
        let known = self.fields.len();
        // Boxed: new fields are rare, and every write would carry its size.
        let update = Box::pin(self.update_component_template(api, known)).await?;
        *stored = known;
        Ok(update)
    }

    /// Stores the fields of this run again where another loader replaced them: templates are replaced as a whole, and a
    /// loader that read the template before this run wrote it has replaced it by now.
    pub(in super::super) async fn verify_component_template(
        &self,
        api: &ApiClient<'_>,
    ) -> Result<(), Error> {
        let stored = self.component_fields.lock().await;
        Box::pin(self.update_component_template(api, *stored)).await?;
        Ok(())
    }

    /// Adds fields to the component template, as the indices of this run have them, and keeps those of other loaders.
    pub(super) async fn update_component_template(
        &self,
        api: &ApiClient<'_>,
        known: u32,
    ) -> Result<TemplateUpdate, Error> {
        let templates = self.templates();
        let existing =
            templates::fetch_component(api, &templates.component_name()).await?.unwrap_or_default();
        let theirs = &existing["template"]["mappings"]["properties"];
        let mut fields = self.fields.properties(0, known);
        properties::merge(&mut fields, theirs);
        let body = templates.component_template(&fields);
        let ours = &body["template"]["mappings"]["properties"];
        if ours == theirs || (properties::is_empty(ours) && properties::is_empty(theirs)) {
            return Ok(TemplateUpdate::Unchanged);
        }
        let action = "storing discovered fields".to_owned();
        let path = templates.component_path();
        let response = api.send(Method::Put, &path, Some(&body), &action).await?;
        self.count_call(&response);
        match response.status {
            200..=299 => Ok(TemplateUpdate::Written),
            // Existing indices get their fields nevertheless; only the next index starts with fewer.
            400 => {
                let cause = response.cause();
                self.log.warn(api.address(), format_args!("{action} failed: {cause}"));
                Ok(TemplateUpdate::Unchanged)
            }
            _ => Err(api.refused(&action, &response)),
        }
    }

    /// Adds fields to an index, as many as it accepts.
    pub(super) async fn add_fields(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        fields: &Value,
        live: &mut LiveMapping,
    ) -> Result<FieldCapacity, Error> {
        if properties::is_empty(fields) {
            return Ok(FieldCapacity::Left);
        }
        let mut missing = fields.clone();
        for _ in 0..MAX_CONFLICT_ROUNDS {
            match self.put_mapping(api, name, &missing).await? {
                Ok(()) => {
                    if live.is_foreign {
                        // Documents are rewritten for the mapping as it is now.
                        self.fetch_mapping(api, name, live).await?;
                    }
                    return Ok(FieldCapacity::Left);
                }
                Err(cause) if is_field_limit(&cause) => {
                    return self.on_field_limit(api, name, live, &cause).await;
                }
                Err(_) => {}
            }
            // Another loader decided first. Fields that do not conflict with that are added, unless that loader is faster
            // again.
            self.fetch_mapping(api, name, live).await?;
            self.update_component_template(api, self.fields.len()).await?;
            missing = properties::missing(fields, &live.mapping["properties"]);
            if properties::is_empty(&missing) {
                return Ok(FieldCapacity::Left);
            }
        }
        let leaves = properties::split_into_leaves(&missing);
        match self.add_fields_by_bisection(api, name, &leaves).await? {
            Bisected::LimitReached(cause) => self.on_field_limit(api, name, live, &cause).await,
            Bisected::Refused(refused) => {
                self.on_refused_fields(api, name, live, &refused).await?;
                Ok(FieldCapacity::Left)
            }
        }
    }

    /// Adds fields, and bisects what is refused until the fields at fault are found and left out, or the field limit is
    /// reached.
    async fn add_fields_by_bisection(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        leaves: &[Value],
    ) -> Result<Bisected, Error> {
        let mut parts = vec![leaves];
        let mut refused = Vec::new();
        let mut calls_left = MAX_BISECT_CALLS;
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            if calls_left == 0 {
                self.log.warn(name, "refuses many fields; some stay unmapped");
                refused.extend(parts.into_iter().chain([part]).flatten().cloned());
                break;
            }
            calls_left -= 1;
            match self.put_mapping(api, name, &properties::merge_all(part)).await? {
                Ok(()) => {}
                Err(cause) if is_field_limit(&cause) => return Ok(Bisected::LimitReached(cause)),
                Err(cause) if part.len() == 1 => {
                    self.log.debug(name, format_args!("{} stays unmapped: {cause}", part[0]));
                    refused.extend_from_slice(part);
                }
                Err(_) => {
                    let (front, back) = part.split_at(part.len() / 2);
                    parts.extend([back, front]);
                }
            }
        }
        Ok(Bisected::Refused(refused))
    }

    /// Sends fields to an index. The inner error is a refusal of the fields.
    async fn put_mapping(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        fields: &Value,
    ) -> Result<Result<(), Cause>, Error> {
        let action = format!("adding fields to '{name}'");
        let body = json!({ "properties": fields });
        let path = paths::mapping(&[name]);
        let response = api.send(Method::Put, &path, Some(&body), &action).await?;
        self.count_call(&response);
        match response.status {
            200..=299 => Ok(Ok(())),
            400 if !concerns_index(&response) => Ok(Err(response.cause())),
            _ => Err(api.refused(&action, &response)),
        }
    }

    /// Counts a call that adds fields to the component template or to an index.
    pub(super) fn count_call(&self, response: &ApiResponse) {
        self.metrics.mapping_calls.fetch_add(1, Ordering::Relaxed);
        if response.is_success() {
            self.fields_added.store(true, Ordering::Release);
        }
    }

    /// Continues without fields that an index has refused.
    async fn on_refused_fields(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        live: &mut LiveMapping,
        refused: &[Value],
    ) -> Result<(), Error> {
        if refused.is_empty() {
            return Ok(());
        }
        self.fetch_mapping(api, name, live).await?;
        if !live.is_foreign {
            self.fields.refuse(&properties::merge_all(refused), &live.mapping);
            self.indices.get(name).set_unmapped_since(self.fields.version());
        }
        Ok(())
    }

    /// Continues without the fields that an index lacks. Documents in flight that have them are rewritten for it.
    async fn on_field_limit(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        live: &mut LiveMapping,
        cause: &Cause,
    ) -> Result<FieldCapacity, Error> {
        self.fetch_mapping(api, name, live).await?;
        // The field limit of a foreign index does not concern the others.
        if !live.is_foreign {
            self.fields.freeze(&live.mapping);
            self.indices.get(name).set_unmapped_since(self.fields.version());
        }
        self.log.warn(
            name,
            format_args!(
                "field limit reached ({cause}); documents are still indexed, further fields are searchable only \
                 through trailload.unmapped"
            ),
        );
        Ok(FieldCapacity::Full)
    }
}

/// The end of a bisection.
enum Bisected {
    /// These fields were refused, and all others added.
    Refused(Vec<Value>),
    /// The field limit of the index is reached.
    LimitReached(Cause),
}

/// Returns whether a 400 is about the index as a whole and not about the fields.
fn concerns_index(response: &ApiResponse) -> bool {
    matches!(response.cause().code(), "index_closed_exception" | "invalid_index_name_exception")
}

/// Returns whether the field limit of the index is reached.
///
/// The engines' error type is generic (`illegal_argument_exception`), so the message is examined. If it changes, the
/// bisection ends nevertheless, only later.
fn is_field_limit(cause: &Cause) -> bool {
    matches!(cause, Cause::ErrorResponse { reason, .. } if reason.contains("Limit of total fields"))
}
