//! Puts the index template and the component template of learned fields into the engine.
//!
//! In: the core `mappings` of this program. Out: templates that are ours and current, or a clear error.
//! Holds: what is newer or somebody else's is never overwritten unless the user forces it.

use serde_json::{Map, Value, json};

use super::calls::Calls;
use super::client::Method;
use super::mapping::Learned;
use super::paths;
use super::tree;

use crate::normalize::{IndexBy, Origin};
use crate::report::Log;
use crate::sink::Error;

/// Who made a template, as written into its `_meta`.
pub(super) const MANAGED_BY: &str = "trailload";

/// Fields that an index may have at least: the engines' own limit of 1,000 is spent by one busy month.
const LEAST_FIELD_LIMIT: u32 = 10_000;

/// Below this, templates of other programs usually live; the longer of two prefixes wins by its length.
const BASE_PRIORITY: usize = 100;

/// Names and content of the templates for one prefix.
#[derive(Clone, Debug)]
pub(super) struct Templates {
    prefix: String,
    core: Value,
    version: u64,
    field_limit: u32,
    by: IndexBy,
}

/// What to do about a template, by what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is absent or older, or has to change.
    Install,
    /// It is as it should be.
    Keep,
    /// It is of a newer version.
    Newer(u64),
    /// Somebody else made it.
    Foreign,
}

impl Templates {
    /// Prepares the templates; `core` is a `mappings` object with `_meta.version`.
    pub(super) fn new(prefix: &str, core: Value, max_fields: u32, by: IndexBy) -> Self {
        let version = version(&core["_meta"]).unwrap_or(0);
        let mut core = core;
        if let Value::Object(core) = &mut core {
            let meta = core.entry("_meta").or_insert_with(|| json!({}));
            if let Value::Object(meta) = meta {
                meta.insert("managed_by".into(), MANAGED_BY.into());
            }
        }
        let field_limit = LEAST_FIELD_LIMIT.max(max_fields.saturating_mul(2));
        Self { prefix: prefix.to_owned(), core, version, field_limit, by }
    }

    /// Returns how documents are spread over indices.
    pub(super) fn by(&self) -> IndexBy {
        self.by
    }

    /// Returns what the names of our indices start with; also the name of the index template.
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

    /// Returns the path of the index template.
    fn template_path(&self) -> String {
        paths::index_template(&self.prefix).into_owned()
    }

    /// Returns the name of the component template that holds what was learned.
    fn learned_name(&self) -> String {
        format!("{}-learned", self.prefix)
    }

    /// Returns the path of the component template that holds what was learned.
    pub(super) fn learned_path(&self) -> String {
        paths::component_template(&self.learned_name()).into_owned()
    }

    fn template(&self) -> Value {
        json!({
            "index_patterns": [self.prefix, format!("{}-*", self.prefix)],
            "priority": self.priority(),
            "composed_of": [self.learned_name()],
            "version": self.version,
            "_meta": { "managed_by": MANAGED_BY, "version": self.version, "index_by": self.by.as_str() },
            "template": {
                "settings": self.settings(),
                "mappings": self.core,
            },
        })
    }

    fn settings(&self) -> Value {
        json!({ "index": { "mapping": { "total_fields": { "limit": self.field_limit } } } })
    }

    /// Returns the component template that holds `properties`.
    ///
    /// It has a field limit of its own, since engines check it by itself, too. What the core maps is
    /// left out: a core that grew may differ from what an older program learned, and engines refuse
    /// templates that contradict each other.
    pub(super) fn learned(&self, properties: &Value) -> Value {
        let properties = tree::tidy(tree::lacking(properties, &self.core["properties"]));
        json!({
            "template": { "settings": self.settings(), "mappings": { "properties": properties } },
            "_meta": { "managed_by": MANAGED_BY, "version": self.version },
        })
    }

    /// Decides about the index template that is there.
    fn decide(&self, found: Option<&Value>) -> Decision {
        let is_narrow = || limit(found).is_some_and(|limit| limit < u64::from(self.field_limit));
        match decide(found, self.version) {
            Decision::Keep if is_narrow() || index_by(found) != Some(self.by) => Decision::Install,
            decision => decision,
        }
    }
}

/// Decides by who made a template and its version.
fn decide(found: Option<&Value>, ours: u64) -> Decision {
    let Some(found) = found else { return Decision::Install };
    let meta = &found["_meta"];
    if meta["managed_by"] != MANAGED_BY {
        return Decision::Foreign;
    }
    match version(meta) {
        Some(theirs) if theirs > ours => Decision::Newer(theirs),
        Some(theirs) if theirs == ours => Decision::Keep,
        _ => Decision::Install,
    }
}

fn version(meta: &Value) -> Option<u64> {
    let version = &meta["version"];
    version.as_u64().or_else(|| version.as_str()?.parse().ok())
}

/// Returns how the indices of a template are made, if it says so: templates of earlier versions do not.
fn index_by(found: Option<&Value>) -> Option<IndexBy> {
    IndexBy::named(found?.pointer("/_meta/index_by")?.as_str()?)
}

/// Returns the field limit in a template; engines give numbers in settings back as text.
fn limit(found: Option<&Value>) -> Option<u64> {
    let limit = found?.pointer("/template/settings/index/mapping/total_fields/limit")?;
    limit.as_u64().or_else(|| limit.as_str()?.parse().ok())
}

/// Whether templates of others, and newer ones of ours, may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overwrite {
    /// The user said so.
    Yes,
    /// The default.
    No,
}

/// What has to be put into the engine so that its templates are ours and current.
#[derive(Debug)]
pub(super) struct Missing {
    learned: Option<Value>,
    template: Option<Value>,
    /// How the template that is there makes indices, if it is one of ours that says so.
    by: Option<IndexBy>,
}

/// Finds out what is missing or old, and takes in what earlier runs learned.
///
/// `None` if the engine is no search engine but an endpoint that answers `_bulk` and little else.
pub(super) async fn look(
    calls: &Calls<'_>,
    templates: &Templates,
    learned: &dyn Learned,
    force: Overwrite,
) -> Result<Option<Missing>, Error> {
    let action = format!("reading the index template '{}'", templates.prefix);
    let answer = calls.call(Method::Get, &templates.template_path(), None, &action).await?;
    let found = match answer.status {
        404 if answer.is_error() => None,
        200..=299 if answer.json["index_templates"].is_array() => {
            Some(answer.json["index_templates"][0]["index_template"].clone())
        }
        404 | 405 | 200..=299 => return Ok(None),
        _ => return Err(calls.refused(&action, answer)),
    };
    let learned = look_at_learned(calls, templates, learned, force).await?;
    let decision = templates.decide(found.as_ref());
    let template = allowed(calls, &templates.prefix, decision, templates.version, force)?
        .then(|| templates.template());
    let is_ours = found.as_ref().is_some_and(|found| found["_meta"]["managed_by"] == MANAGED_BY);
    let by = if is_ours { index_by(found.as_ref()) } else { None };
    Ok(Some(Missing { learned, template, by }))
}

/// Returns whether the index template is not there.
pub(super) async fn is_absent(calls: &Calls<'_>, templates: &Templates) -> Result<bool, Error> {
    let action = format!("reading the index template '{}'", templates.prefix);
    let answer = calls.read(&templates.template_path(), &action).await?;
    Ok(answer.status == 404 && answer.is_error())
}

impl Missing {
    /// Returns the index template, and the component template of learned fields if that is not there either.
    pub(super) fn again(templates: &Templates, learned: Option<Value>) -> Self {
        Self { learned, template: Some(templates.template()), by: None }
    }

    /// Returns how the template that is there makes indices, if it is one of ours that says so.
    pub(super) fn by(&self) -> Option<IndexBy> {
        self.by
    }

    /// Returns whether there is nothing to install.
    pub(super) fn is_nothing(&self) -> bool {
        self.learned.is_none() && self.template.is_none()
    }

    /// Installs it.
    pub(super) async fn put(
        &self,
        calls: &Calls<'_>,
        templates: &Templates,
        log: &Log,
    ) -> Result<(), Error> {
        // First, because the other one is composed of it.
        if let Some(learned) = &self.learned {
            let action =
                format!("installing the component template '{}'", templates.learned_name());
            calls.must(Method::Put, &templates.learned_path(), learned, &action).await?;
        }
        if let Some(template) = &self.template {
            let (name, version) = (&templates.prefix, templates.version);
            let action = format!("installing the index template '{name}'");
            calls.must(Method::Put, &templates.template_path(), template, &action).await?;
            log.info(
                calls.address(),
                format_args!("installed index template '{name}', version {version}"),
            );
        }
        Ok(())
    }
}

/// Returns the component template of learned fields if it has to be put.
async fn look_at_learned(
    calls: &Calls<'_>,
    templates: &Templates,
    learned: &dyn Learned,
    force: Overwrite,
) -> Result<Option<Value>, Error> {
    let found = read_learned(calls, templates).await?;
    // Learned fields carry over from version to version, so only the owner matters here.
    let decision = match decide(found.as_ref(), 0) {
        Decision::Newer(_) => Decision::Keep,
        decision => decision,
    };
    let kept = match (&found, &decision) {
        (Some(found), Decision::Install | Decision::Keep) => {
            let mappings = &found["template"]["mappings"];
            learned.absorb(mappings, Origin::Template);
            mappings["properties"].clone()
        }
        _ => Value::Object(Map::new()),
    };
    let wanted = templates.learned(&kept);
    let contradicts =
        !tree::is_empty(&kept) && wanted["template"]["mappings"]["properties"] != kept;
    let name = templates.learned_name();
    let put = allowed(calls, &name, decision, templates.version, force)? || contradicts;
    Ok(put.then_some(wanted))
}

/// Reads the component template of learned fields.
pub(super) async fn read_learned(
    calls: &Calls<'_>,
    templates: &Templates,
) -> Result<Option<Value>, Error> {
    let action = format!("reading the component template '{}'", templates.learned_name());
    let answer = calls.read(&templates.learned_path(), &action).await?;
    match answer.status {
        404 => Ok(None),
        200..=299 => Ok(answer.json["component_templates"]
            .get(0)
            .map(|found| found["component_template"].clone())),
        _ => Err(calls.refused(&action, answer)),
    }
}

/// Returns whether a template is to be written.
fn allowed(
    calls: &Calls<'_>,
    template: &str,
    decision: Decision,
    ours: u64,
    force: Overwrite,
) -> Result<bool, Error> {
    let (url, template) = (calls.address().to_owned(), template.to_owned());
    match decision {
        Decision::Install => Ok(true),
        Decision::Keep => Ok(false),
        _ if force == Overwrite::Yes => Ok(true),
        Decision::Newer(theirs) => Err(Error::NewerTemplate { url, template, ours, theirs }),
        Decision::Foreign => Err(Error::ForeignTemplate { url, template }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(prefix: &str) -> Templates {
        let core = json!({ "dynamic": "false", "_meta": { "version": 3 }, "properties": {} });
        Templates::new(prefix, core, 5_000, IndexBy::Month)
    }

    fn ours(version: &Value) -> Value {
        json!({ "_meta": { "managed_by": "trailload", "version": version, "index_by": "month" } })
    }

    #[test]
    fn installs_when_absent_or_older_and_keeps_the_same() {
        let templates = templates("cloudtrail");
        assert_eq!(templates.decide(None), Decision::Install);
        assert_eq!(templates.decide(Some(&ours(&json!(2)))), Decision::Install);
        assert_eq!(templates.decide(Some(&ours(&json!(null)))), Decision::Install);
        assert_eq!(templates.decide(Some(&ours(&json!(3)))), Decision::Keep);
        assert_eq!(templates.decide(Some(&ours(&json!("3")))), Decision::Keep);
    }

    #[test]
    fn leaves_newer_and_foreign_ones_alone() {
        let templates = templates("cloudtrail");
        assert_eq!(templates.decide(Some(&ours(&json!(4)))), Decision::Newer(4));
        assert_eq!(templates.decide(Some(&json!({}))), Decision::Foreign);
        let other = json!({ "_meta": { "managed_by": "filebeat", "version": 1 } });
        assert_eq!(templates.decide(Some(&other)), Decision::Foreign);
    }

    #[test]
    fn a_larger_field_limit_is_reason_to_install() {
        let mut found = ours(&json!(3));
        found["template"] =
            json!({"settings": {"index": {"mapping": {"total_fields": {"limit": "10000"}}}}});
        assert_eq!(templates("cloudtrail").decide(Some(&found)), Decision::Keep);
        let more = Templates::new("cloudtrail", templates("x").core, 6_000, IndexBy::Month);
        assert_eq!(more.decide(Some(&found)), Decision::Install);
    }

    #[test]
    fn the_template_says_how_indices_are_made() {
        let month = templates("cloudtrail");
        assert_eq!(index_by(Some(&month.template())), Some(IndexBy::Month));
        let before = json!({ "_meta": { "managed_by": "trailload", "version": 3 } });
        assert_eq!(month.decide(Some(&before)), Decision::Install, "it did not say so");
        let year = Templates { by: IndexBy::Year, ..templates("cloudtrail") };
        assert_eq!(month.decide(Some(&year.template())), Decision::Install);
    }

    #[test]
    fn the_learned_fields_have_as_much_room_as_the_index() {
        let (template, learned) = (templates("x").template(), templates("x").learned(&json!({})));
        assert_eq!(limit(Some(&learned)), Some(10_000));
        assert_eq!(limit(Some(&learned)), limit(Some(&template)));
    }

    #[test]
    fn of_two_prefixes_that_match_the_longer_wins() {
        let (short, long) = (templates("trail").template(), templates("trail-eu").template());
        assert!(short["priority"].as_u64() < long["priority"].as_u64());
        assert_eq!(short["index_patterns"], json!(["trail", "trail-*"]));
    }

    #[test]
    fn the_index_says_who_made_it() {
        let template = templates("cloudtrail").template();
        assert_eq!(template["template"]["mappings"]["_meta"]["managed_by"], MANAGED_BY);
        assert_eq!(template["template"]["mappings"]["dynamic"], "false");
        assert_eq!(template["composed_of"], json!(["cloudtrail-learned"]));
    }
}
