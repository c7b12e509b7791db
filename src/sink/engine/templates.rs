//! The index template and the component templates that it is composed of.
//!
//! | component template | content |
//! |---|---|
//! | `PREFIX-discovered` | the discovered fields |
//! | `PREFIX-setup` | what `trailload setup` was asked for: replicas, lifecycle, retention; only if it was run |
//! | `PREFIX-settings` | the user's own settings, which have precedence over those of `PREFIX-setup` |
//!
//! Input: the core `mappings` of this program, and the templates in the engine. Output: templates that are trailload's and
//! current, or an error that names the obstacle.
//! Invariant: a newer template, or one of another program, is overwritten only if the user asks for it. `PREFIX-settings`
//! is created empty, because engines refuse a template that names a missing component, and is never overwritten.

use serde_json::{Map, Value, json};

use super::api::ApiClient;
use super::client::Method;
use super::index_age::AgeSetting;
pub(super) use super::marks::{MANAGED_BY, is_managed};
use super::paths;
use super::properties;
use super::setup_template::SetupTemplate;
use crate::normalize::{FieldRegistry, IndexBy, MappingOrigin};
use crate::report::Log;
use crate::sink::error::Error;

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
    /// The content of `PREFIX-setup`, if there is one.
    setup: Option<SetupTemplate>,
    /// The setting from which the engine takes the age of an index.
    age_setting: Option<AgeSetting>,
}

/// What to do about a template, depending on the existing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TemplateDecision {
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
        let prefix = prefix.to_owned();
        Self { prefix, core, version, field_limit, index_by, setup: None, age_setting: None }
    }

    /// Returns these templates for an engine that takes the age of an index from this setting.
    pub(super) fn with_age_setting(self, age_setting: Option<AgeSetting>) -> Self {
        Self { age_setting, ..self }
    }

    /// Returns these templates with the field limit of the existing index template, if that is higher: a load has chosen it.
    pub(super) fn keeping_field_limit(self, existing: Option<&Value>) -> Self {
        let theirs = field_limit(existing).and_then(|limit| u32::try_from(limit).ok());
        Self { field_limit: self.field_limit.max(theirs.unwrap_or(0)), ..self }
    }

    /// Returns the settings that a new index is created with, if `setup` manages its lifecycle: those of its age.
    pub(super) fn index_settings(
        &self,
        index: &str,
        setup: Option<&SetupTemplate>,
    ) -> Option<Value> {
        let setup = setup?;
        if setup.retention.is_none() && setup.lifecycle.is_none() {
            return None;
        }
        self.age_setting?.settings(self.index_by, &self.prefix, index)
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

    /// Returns the version of the templates.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns what `trailload setup` was asked for, if it was run.
    pub(super) fn setup(&self) -> Option<&SetupTemplate> {
        self.setup.as_ref()
    }

    /// Returns these templates, composed of `PREFIX-setup` with this content.
    pub(super) fn with_setup(self, setup: Option<SetupTemplate>) -> Self {
        Self { setup, ..self }
    }

    pub(super) fn index_template_path(&self) -> String {
        paths::index_template(&self.prefix).into_owned()
    }

    pub(super) fn component_name(&self) -> String {
        format!("{}-discovered", self.prefix)
    }

    /// Returns the name of the component template with the user's own settings.
    pub(super) fn settings_name(&self) -> String {
        format!("{}-settings", self.prefix)
    }

    /// Returns the name of the component template of `trailload setup`.
    pub(super) fn setup_name(&self) -> String {
        format!("{}-setup", self.prefix)
    }

    /// Returns the names of the component templates; engines let later ones take precedence.
    fn components(&self) -> Vec<String> {
        let setup = self.setup.as_ref().map(|_| self.setup_name());
        [Some(self.component_name()), setup, Some(self.settings_name())]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Returns the path of the component template of discovered fields.
    pub(super) fn component_path(&self) -> String {
        paths::component_template(&self.component_name()).into_owned()
    }

    /// Returns the index template.
    pub(super) fn index_template(&self) -> Value {
        json!({
            "index_patterns": [self.prefix, format!("{}-*", self.prefix)],
            "priority": self.priority(),
            "composed_of": self.components(),
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

    /// Returns the settings of the index template.
    pub(super) fn settings(&self) -> Value {
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
    pub(super) fn decide(&self, existing: Option<&Value>) -> TemplateDecision {
        let is_too_small =
            || field_limit(existing).is_some_and(|limit| limit < u64::from(self.field_limit));
        let has_other_components =
            || existing.is_none_or(|found| found["composed_of"] != json!(self.components()));
        match decide(existing, self.version) {
            TemplateDecision::Keep
                if is_too_small()
                    || index_by(existing) != Some(self.index_by)
                    || has_other_components() =>
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
pub(super) fn decide(existing: Option<&Value>, ours: u64) -> TemplateDecision {
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

pub(super) fn version(meta: &Value) -> Option<u64> {
    let version = &meta["version"];
    version.as_u64().or_else(|| version.as_str()?.parse().ok())
}

/// Returns the period recorded in an index template; those of earlier versions do not record it.
pub(super) fn index_by(existing: Option<&Value>) -> Option<IndexBy> {
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
    settings_template: Option<Value>,
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
    let Some(existing) = fetch_index_template(api, &templates).await? else { return Ok(None) };
    let ours = existing.as_ref().filter(|template| is_managed(template));
    let templates = templates.keeping_field_limit(ours);
    let component_template = inspect_component(api, &templates, fields, overwrite).await?;
    let settings = fetch_component(api, &templates.settings_name()).await?;
    let settings_template = settings.is_none().then(settings_template);
    let setup = fetch_component(api, &templates.setup_name()).await?;
    let templates = templates.with_setup(setup.as_ref().and_then(SetupTemplate::from_component));
    let decision = templates.decide(existing.as_ref());
    let index_template = templates
        .should_write(api, &templates.prefix, decision, overwrite)?
        .then(|| templates.index_template());
    let is_ours = existing.as_ref().is_some_and(is_managed);
    let recorded_index_by = if is_ours { index_by(existing.as_ref()) } else { None };
    Ok(Some(PendingTemplates {
        templates,
        component_template,
        settings_template,
        index_template,
        recorded_index_by,
    }))
}

/// Returns the component template for the user's own settings, as it is created.
pub(super) fn settings_template() -> Value {
    json!({
        "template": {},
        "_meta": {
            "managed_by": MANAGED_BY,
            "description": "Your own settings for new indices. trailload never changes this template.",
        },
    })
}

/// Reads the index template. The outer `None` stands for an endpoint without index templates.
pub(super) async fn fetch_index_template(
    api: &ApiClient<'_>,
    templates: &Templates,
) -> Result<Option<Option<Value>>, Error> {
    let action = format!("reading the index template '{}'", templates.prefix);
    let response = api.send(Method::Get, &templates.index_template_path(), None, &action).await?;
    match response.status {
        404 if response.is_engine_error() => Ok(Some(None)),
        200..=299 if response.json["index_templates"].is_array() => {
            Ok(Some(Some(response.json["index_templates"][0]["index_template"].clone())))
        }
        404 | 405 | 200..=299 => Ok(None),
        _ => Err(api.refused(&action, &response)),
    }
}

/// Returns whether the index template does not exist.
pub(super) async fn is_missing(api: &ApiClient<'_>, templates: &Templates) -> Result<bool, Error> {
    let action = format!("reading the index template '{}'", templates.prefix);
    let response = api.get(&templates.index_template_path(), &action).await?;
    Ok(response.status == 404 && response.is_engine_error())
}

impl PendingTemplates {
    /// Returns the index template, and those of its component templates that are missing too.
    pub(super) fn for_restore(templates: &Templates, missing: MissingComponents) -> Self {
        let MissingComponents { discovered, settings } = missing;
        Self {
            templates: templates.clone(),
            component_template: discovered,
            settings_template: settings,
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
        self.component_template.is_none()
            && self.settings_template.is_none()
            && self.index_template.is_none()
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
        if let Some(template) = &self.settings_template {
            create_settings(api, templates, template).await?;
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

/// Component templates that are missing when templates are restored.
#[derive(Debug, Default)]
pub(super) struct MissingComponents {
    /// `PREFIX-discovered`.
    pub(super) discovered: Option<Value>,
    /// `PREFIX-settings`.
    pub(super) settings: Option<Value>,
}

/// Creates the component template for the user's own settings. One that was created a moment ago is kept.
async fn create_settings(
    api: &ApiClient<'_>,
    templates: &Templates,
    template: &Value,
) -> Result<(), Error> {
    let name = templates.settings_name();
    let path = format!("{}?create=true", paths::component_template(&name));
    let action = format!("creating the component template '{name}'");
    match api.put_template(&path, template, &action).await {
        Err(Error::Refused { status: 400, .. }) if fetch_component(api, &name).await?.is_some() => {
            Ok(())
        }
        created => created,
    }
}

/// Returns the component template if it has to be written.
async fn inspect_component(
    api: &ApiClient<'_>,
    templates: &Templates,
    fields: &FieldRegistry,
    overwrite: Overwrite,
) -> Result<Option<Value>, Error> {
    let existing = fetch_component(api, &templates.component_name()).await?;
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

/// Reads a component template.
pub(super) async fn fetch_component(
    api: &ApiClient<'_>,
    name: &str,
) -> Result<Option<Value>, Error> {
    let action = format!("reading the component template '{name}'");
    let response = api.get(&paths::component_template(name), &action).await?;
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
        json!({
            "_meta": { "managed_by": "trailload", "version": version, "index_by": "month" },
            "composed_of": ["cloudtrail-discovered", "cloudtrail-settings"],
        })
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
    fn the_higher_field_limit_of_an_existing_template_can_be_kept() {
        let more = Templates::new("cloudtrail", templates("x").core, 20_000, IndexBy::Month);
        let kept = templates("cloudtrail").keeping_field_limit(Some(&more.index_template()));
        assert_eq!(field_limit(Some(&kept.index_template())), Some(40_000));
        let own = more.keeping_field_limit(Some(&templates("x").index_template()));
        assert_eq!(field_limit(Some(&own.index_template())), Some(40_000));
        let own = templates("cloudtrail").keeping_field_limit(None);
        assert_eq!(field_limit(Some(&own.index_template())), Some(10_000));
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
        assert_eq!(
            template["composed_of"],
            json!(["cloudtrail-discovered", "cloudtrail-settings"])
        );
    }

    #[test]
    fn the_settings_of_the_user_come_last() {
        let plain = templates("cloudtrail");
        let setup = SetupTemplate::default();
        let with_setup = plain.clone().with_setup(Some(setup));
        let expected = ["cloudtrail-discovered", "cloudtrail-setup", "cloudtrail-settings"];
        assert_eq!(with_setup.index_template()["composed_of"], json!(expected));
        assert_eq!(with_setup.decide(Some(&plain.index_template())), TemplateDecision::Install);
        assert_eq!(plain.decide(Some(&with_setup.index_template())), TemplateDecision::Install);
        let mut without = plain.index_template();
        without["composed_of"] = json!(["cloudtrail-discovered"]);
        assert_eq!(plain.decide(Some(&without)), TemplateDecision::Install);
    }
}
