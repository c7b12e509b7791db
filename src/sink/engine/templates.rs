//! The index template and the component template of discovered fields.
//!
//! Input: the core `mappings` of this program, and the templates in the engine. Output: templates that are trailload's and
//! current, or an error that names the obstacle.
//! Invariant: a newer template, or one of another program, is overwritten only if the user asks for it.

use serde_json::{Map, Value, json};

use super::api::ApiClient;
use super::client::Method;
use super::paths;
use super::properties;
use crate::normalize::{FieldRegistry, IndexBy, MappingOrigin};
use crate::report::Log;
use crate::sink::error::Error;

/// The program that manages a template, as recorded in its `_meta`.
pub(super) const MANAGED_BY: &str = "trailload";

/// Smallest field limit of an index: one busy month exceeds the engines' default of 1,000.
const MIN_FIELD_LIMIT: u32 = 10_000;

/// Priority of a template without its prefix. Those of other programs are usually lower. The length of the prefix is
/// added, so that the longer of two prefixes has precedence.
const BASE_PRIORITY: usize = 100;

/// Names and content of the templates for one prefix.
#[derive(Clone, Debug)]
pub(super) struct Templates {
    prefix: String,
    core: Value,
    version: u64,
    field_limit: u32,
    index_by: IndexBy,
}

/// What to do about a template, depending on the existing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TemplateDecision {
    /// It is missing, older, or has other settings.
    Install,
    /// It is current.
    Keep,
    /// It has this newer version.
    Newer(u64),
    /// It was created by another program.
    Foreign,
}

impl Templates {
    /// Creates the templates; `core` is a `mappings` object with `_meta.version`.
    pub(super) fn new(prefix: &str, core: Value, max_fields: u32, index_by: IndexBy) -> Self {
        let version = version(&core["_meta"]).unwrap_or(0);
        let mut core = core;
        if let Value::Object(core) = &mut core {
            let meta = core.entry("_meta").or_insert_with(|| json!({}));
            if let Value::Object(meta) = meta {
                meta.insert("managed_by".into(), MANAGED_BY.into());
            }
        }
        let field_limit = MIN_FIELD_LIMIT.max(max_fields.saturating_mul(2));
        Self { prefix: prefix.to_owned(), core, version, field_limit, index_by }
    }

    /// Returns the period that one index covers.
    pub(super) fn index_by(&self) -> IndexBy {
        self.index_by
    }

    /// Returns the first part of all index names, which is also the name of the index template.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the priority of the index template.
    pub(super) fn priority(&self) -> usize {
        BASE_PRIORITY + self.prefix.len()
    }

    /// Returns the core mapping.
    pub(super) fn core(&self) -> &Value {
        &self.core
    }

    fn index_template_path(&self) -> String {
        paths::index_template(&self.prefix).into_owned()
    }

    fn component_name(&self) -> String {
        format!("{}-discovered", self.prefix)
    }

    /// Returns the path of the component template of discovered fields.
    pub(super) fn component_path(&self) -> String {
        paths::component_template(&self.component_name()).into_owned()
    }

    /// Returns the index template.
    fn index_template(&self) -> Value {
        json!({
            "index_patterns": [self.prefix, format!("{}-*", self.prefix)],
            "priority": self.priority(),
            "composed_of": [self.component_name()],
            "version": self.version,
            "_meta": {
                "managed_by": MANAGED_BY,
                "version": self.version,
                "index_by": self.index_by.as_str(),
            },
            "template": {
                "settings": self.settings(),
                "mappings": self.core,
            },
        })
    }

    fn settings(&self) -> Value {
        json!({ "index": { "mapping": { "total_fields": { "limit": self.field_limit } } } })
    }

    /// Returns the component template with these fields.
    ///
    /// It has a field limit of its own, because engines check it on its own, too. Fields of the core are left out: a
    /// newer core may differ from what an older program discovered, and engines refuse templates that contradict each
    /// other.
    pub(super) fn component_template(&self, fields: &Value) -> Value {
        let fields =
            properties::canonicalize(properties::missing(fields, &self.core["properties"]));
        json!({
            "template": { "settings": self.settings(), "mappings": { "properties": fields } },
            "_meta": { "managed_by": MANAGED_BY, "version": self.version },
        })
    }

    /// Decides about the existing index template.
    fn decide(&self, existing: Option<&Value>) -> TemplateDecision {
        let is_too_small =
            || field_limit(existing).is_some_and(|limit| limit < u64::from(self.field_limit));
        match decide(existing, self.version) {
            TemplateDecision::Keep
                if is_too_small() || index_by(existing) != Some(self.index_by) =>
            {
                TemplateDecision::Install
            }
            decision => decision,
        }
    }

    /// Returns whether the template of this name is to be written.
    fn should_write(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        decision: TemplateDecision,
        overwrite: Overwrite,
    ) -> Result<bool, Error> {
        let (url, template, ours) = (api.address().to_owned(), name.to_owned(), self.version);
        match decision {
            TemplateDecision::Install => Ok(true),
            TemplateDecision::Keep => Ok(false),
            _ if overwrite == Overwrite::Always => Ok(true),
            TemplateDecision::Newer(theirs) => {
                Err(Error::NewerTemplate { url, template, ours, theirs })
            }
            TemplateDecision::Foreign => Err(Error::ForeignTemplate { url, template }),
        }
    }
}

/// Decides by the manager and the version of an existing template.
fn decide(existing: Option<&Value>, ours: u64) -> TemplateDecision {
    let Some(existing) = existing else { return TemplateDecision::Install };
    if !is_managed(existing) {
        return TemplateDecision::Foreign;
    }
    match version(&existing["_meta"]) {
        Some(theirs) if theirs > ours => TemplateDecision::Newer(theirs),
        Some(theirs) if theirs == ours => TemplateDecision::Keep,
        _ => TemplateDecision::Install,
    }
}

/// Returns whether the `_meta` of a template or mapping names trailload.
pub(super) fn is_managed(template: &Value) -> bool {
    template["_meta"]["managed_by"] == MANAGED_BY
}

fn version(meta: &Value) -> Option<u64> {
    let version = &meta["version"];
    version.as_u64().or_else(|| version.as_str()?.parse().ok())
}

/// Returns the period recorded in an index template; those of earlier versions do not record it.
fn index_by(existing: Option<&Value>) -> Option<IndexBy> {
    IndexBy::from_name(existing?.pointer("/_meta/index_by")?.as_str()?)
}

/// Returns the field limit of a template. Engines return numbers in settings as text.
fn field_limit(existing: Option<&Value>) -> Option<u64> {
    let limit = existing?.pointer("/template/settings/index/mapping/total_fields/limit")?;
    limit.as_u64().or_else(|| limit.as_str()?.parse().ok())
}

/// Whether newer templates, and those of other programs, are overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overwrite {
    /// The user asked for it.
    Always,
    /// The default.
    Never,
}

/// The templates that have to be written so that all are trailload's and current.
#[derive(Debug)]
pub(super) struct PendingTemplates {
    templates: Templates,
    component_template: Option<Value>,
    index_template: Option<Value>,
    /// The period recorded in the existing index template, if it is one of trailload's.
    recorded_index_by: Option<IndexBy>,
}

/// Compares the templates in the engine with those of this program, and merges the fields that earlier runs discovered.
///
/// Returns `None` for an endpoint that implements `_bulk` and little else.
pub(super) async fn inspect(
    api: &ApiClient<'_>,
    templates: Templates,
    fields: &FieldRegistry,
    overwrite: Overwrite,
) -> Result<Option<PendingTemplates>, Error> {
    let action = format!("reading the index template '{}'", templates.prefix);
    let response = api.send(Method::Get, &templates.index_template_path(), None, &action).await?;
    let existing = match response.status {
        404 if response.is_engine_error() => None,
        200..=299 if response.json["index_templates"].is_array() => {
            Some(response.json["index_templates"][0]["index_template"].clone())
        }
        404 | 405 | 200..=299 => return Ok(None),
        _ => return Err(api.refused(&action, &response)),
    };
    let component_template = inspect_component(api, &templates, fields, overwrite).await?;
    let decision = templates.decide(existing.as_ref());
    let index_template = templates
        .should_write(api, &templates.prefix, decision, overwrite)?
        .then(|| templates.index_template());
    let is_ours = existing.as_ref().is_some_and(is_managed);
    let recorded_index_by = if is_ours { index_by(existing.as_ref()) } else { None };
    Ok(Some(PendingTemplates { templates, component_template, index_template, recorded_index_by }))
}

/// Returns whether the index template does not exist.
pub(super) async fn is_missing(api: &ApiClient<'_>, templates: &Templates) -> Result<bool, Error> {
    let action = format!("reading the index template '{}'", templates.prefix);
    let response = api.get(&templates.index_template_path(), &action).await?;
    Ok(response.status == 404 && response.is_engine_error())
}

impl PendingTemplates {
    /// Returns the index template, and the component template if that is missing too.
    pub(super) fn for_restore(templates: &Templates, component_template: Option<Value>) -> Self {
        Self {
            templates: templates.clone(),
            component_template,
            index_template: Some(templates.index_template()),
            recorded_index_by: None,
        }
    }

    /// Returns the templates, whether they are pending or not.
    pub(super) fn templates(&self) -> &Templates {
        &self.templates
    }

    /// Returns the period recorded in the existing index template, if it is one of trailload's.
    pub(super) fn recorded_index_by(&self) -> Option<IndexBy> {
        self.recorded_index_by
    }

    /// Returns whether nothing has to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.component_template.is_none() && self.index_template.is_none()
    }

    /// Writes the templates.
    pub(super) async fn install(&self, api: &ApiClient<'_>, log: &Log) -> Result<(), Error> {
        let templates = &self.templates;
        // First, because the index template is composed of it.
        if let Some(template) = &self.component_template {
            let action =
                format!("installing the component template '{}'", templates.component_name());
            api.put_template(&templates.component_path(), template, &action).await?;
        }
        if let Some(template) = &self.index_template {
            let (name, version) = (&templates.prefix, templates.version);
            let action = format!("installing the index template '{name}'");
            api.put_template(&templates.index_template_path(), template, &action).await?;
            log.info(
                api.address(),
                format_args!("installed index template '{name}', version {version}"),
            );
        }
        Ok(())
    }
}

/// Returns the component template if it has to be written.
async fn inspect_component(
    api: &ApiClient<'_>,
    templates: &Templates,
    fields: &FieldRegistry,
    overwrite: Overwrite,
) -> Result<Option<Value>, Error> {
    let existing = fetch_component(api, templates).await?;
    // Discovered fields are kept across versions, so only the manager matters here.
    let decision = match decide(existing.as_ref(), 0) {
        TemplateDecision::Newer(_) => TemplateDecision::Keep,
        decision => decision,
    };
    let kept = match (&existing, &decision) {
        (Some(existing), TemplateDecision::Install | TemplateDecision::Keep) => {
            let mappings = &existing["template"]["mappings"];
            fields.merge_mappings(mappings, MappingOrigin::Template);
            mappings["properties"].clone()
        }
        _ => Value::Object(Map::new()),
    };
    let wanted = templates.component_template(&kept);
    let has_core_fields =
        !properties::is_empty(&kept) && wanted["template"]["mappings"]["properties"] != kept;
    let name = templates.component_name();
    let should_write = templates.should_write(api, &name, decision, overwrite)? || has_core_fields;
    Ok(should_write.then_some(wanted))
}

/// Reads the component template of discovered fields.
pub(super) async fn fetch_component(
    api: &ApiClient<'_>,
    templates: &Templates,
) -> Result<Option<Value>, Error> {
    let action = format!("reading the component template '{}'", templates.component_name());
    let response = api.get(&templates.component_path(), &action).await?;
    match response.status {
        404 => Ok(None),
        200..=299 => Ok(response.json["component_templates"]
            .get(0)
            .map(|found| found["component_template"].clone())),
        _ => Err(api.refused(&action, &response)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(prefix: &str) -> Templates {
        let core = json!({ "dynamic": "false", "_meta": { "version": 3 }, "properties": {} });
        Templates::new(prefix, core, 5_000, IndexBy::Month)
    }

    fn managed(version: &Value) -> Value {
        json!({ "_meta": { "managed_by": "trailload", "version": version, "index_by": "month" } })
    }

    #[test]
    fn a_missing_or_older_template_is_installed_and_the_same_version_is_kept() {
        let templates = templates("cloudtrail");
        assert_eq!(templates.decide(None), TemplateDecision::Install);
        assert_eq!(templates.decide(Some(&managed(&json!(2)))), TemplateDecision::Install);
        assert_eq!(templates.decide(Some(&managed(&json!(null)))), TemplateDecision::Install);
        assert_eq!(templates.decide(Some(&managed(&json!(3)))), TemplateDecision::Keep);
        assert_eq!(templates.decide(Some(&managed(&json!("3")))), TemplateDecision::Keep);
    }

    #[test]
    fn newer_and_foreign_templates_are_kept() {
        let templates = templates("cloudtrail");
        assert_eq!(templates.decide(Some(&managed(&json!(4)))), TemplateDecision::Newer(4));
        assert_eq!(templates.decide(Some(&json!({}))), TemplateDecision::Foreign);
        let other = json!({ "_meta": { "managed_by": "filebeat", "version": 1 } });
        assert_eq!(templates.decide(Some(&other)), TemplateDecision::Foreign);
    }

    #[test]
    fn a_higher_field_limit_is_installed() {
        let mut existing = managed(&json!(3));
        existing["template"] =
            json!({"settings": {"index": {"mapping": {"total_fields": {"limit": "10000"}}}}});
        assert_eq!(templates("cloudtrail").decide(Some(&existing)), TemplateDecision::Keep);
        let more = Templates::new("cloudtrail", templates("x").core, 6_000, IndexBy::Month);
        assert_eq!(more.decide(Some(&existing)), TemplateDecision::Install);
    }

    #[test]
    fn the_template_records_the_period_of_an_index() {
        let month = templates("cloudtrail");
        assert_eq!(index_by(Some(&month.index_template())), Some(IndexBy::Month));
        let without = json!({ "_meta": { "managed_by": "trailload", "version": 3 } });
        assert_eq!(month.decide(Some(&without)), TemplateDecision::Install);
        let year = Templates { index_by: IndexBy::Year, ..templates("cloudtrail") };
        assert_eq!(month.decide(Some(&year.index_template())), TemplateDecision::Install);
    }

    #[test]
    fn both_templates_have_the_same_field_limit() {
        let templates = templates("x");
        let component = templates.component_template(&json!({}));
        assert_eq!(field_limit(Some(&component)), Some(10_000));
        assert_eq!(field_limit(Some(&component)), field_limit(Some(&templates.index_template())));
    }

    #[test]
    fn the_longer_of_two_matching_prefixes_has_precedence() {
        let (short, long) =
            (templates("trail").index_template(), templates("trail-eu").index_template());
        assert!(short["priority"].as_u64() < long["priority"].as_u64());
        assert_eq!(short["index_patterns"], json!(["trail", "trail-*"]));
    }

    #[test]
    fn the_mapping_records_the_manager() {
        let template = templates("cloudtrail").index_template();
        assert!(is_managed(&template["template"]["mappings"]));
        assert_eq!(template["template"]["mappings"]["dynamic"], "false");
        assert_eq!(template["composed_of"], json!(["cloudtrail-discovered"]));
    }
}
