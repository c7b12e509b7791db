//! The index template and its component templates, as `trailload setup` makes and removes them.
//!
//! Input: the templates in the engine, and those that are wanted. Output: [`Change`]s.
//! Invariant: `PREFIX-settings` is the user's: it is created empty, and removed only if it is still empty.

use serde_json::{Value, json};

use super::{EngineSetup, Readable, readable, recorded_index_by};
use crate::{
    normalize::IndexBy,
    sink::{
        engine::{
            RUNS_SUFFIX, paths,
            setup_template::{self, SetupTemplate},
            templates::{self, TemplateDecision, Templates, is_managed},
        },
        error::Error,
        provision::{Action, Change, ObjectKind, Verb},
    },
};

/// The templates of a prefix in an engine.
#[derive(Debug)]
pub(super) struct FoundTemplates {
    index: Option<Value>,
    discovered: Option<Value>,
    setup: Option<Value>,
    settings: Option<Value>,
    /// The index template of `PREFIX-runs`, which loads install.
    runs: Option<Value>,
}

/// The core mapping is not needed to find templates.
fn names(prefix: &str) -> Templates {
    Templates::new(prefix, Value::Null, 0, IndexBy::default())
}

fn runs_name(prefix: &str) -> String {
    format!("{prefix}{RUNS_SUFFIX}")
}

impl EngineSetup {
    /// Reads the templates of the prefix. The inner error is why they cannot be read.
    pub(super) async fn found_templates(&self) -> Result<Readable<FoundTemplates>, Error> {
        let api = self.reader.api();
        let names = names(self.reader.prefix());
        let runs = self::names(&runs_name(self.reader.prefix()));
        let finding = async {
            let Some(index) = templates::fetch_index_template(&api, &names).await? else {
                return Ok(Err("this engine has no index templates".to_owned()));
            };
            Ok(Ok(FoundTemplates {
                index,
                discovered: templates::fetch_component(&api, &names.component_name()).await?,
                setup: templates::fetch_component(&api, &names.setup_name()).await?,
                settings: templates::fetch_component(&api, &names.settings_name()).await?,
                runs: templates::fetch_index_template(&api, &runs).await?.flatten(),
            }))
        };
        let found = readable(self.unless_immediate(finding).await)?;
        Ok(found.and_then(|found| found))
    }
}

impl FoundTemplates {
    /// Returns what an earlier `trailload setup` was asked for.
    pub(super) fn setup(&self) -> Option<SetupTemplate> {
        SetupTemplate::from_component(self.setup.as_ref()?)
    }

    /// Returns the index template, if it is one of trailload's.
    pub(super) fn index_template(&self) -> Option<&Value> {
        self.index.as_ref().filter(|template| is_managed(template))
    }

    /// Returns whether the index template is that of another program.
    pub(super) fn is_index_template_foreign(&self) -> bool {
        self.index.as_ref().is_some_and(|template| !is_managed(template))
    }

    /// Returns the period that the index template records, if it is one of trailload's.
    pub(super) fn index_by(&self) -> Option<IndexBy> {
        recorded_index_by(self.index_template())
    }

    /// Returns the changes that make the templates those that are wanted.
    pub(super) fn changes(&self, wanted: &Templates) -> Vec<Change> {
        let mut changes = vec![self.discovered_change(wanted)];
        let setup = wanted.setup().map(|setup| self.setup_change(wanted, setup));
        let is_setup_blocked = matches!(&setup, Some(Change { action: Action::Blocked(_), .. }));
        changes.extend(setup);
        changes.push(self.settings_change(wanted));
        // A template that is not ours cannot be a part of ours.
        let without = wanted.clone().with_setup(None);
        changes.push(self.index_change(if is_setup_blocked { &without } else { wanted }));
        changes
    }

    fn discovered_change(&self, wanted: &Templates) -> Change {
        let name = wanted.component_name();
        // Its fields are discovered by loads, whatever its version is.
        match templates::decide(self.discovered.as_ref(), 0) {
            TemplateDecision::Foreign => blocked(ObjectKind::ComponentTemplate, &name),
            TemplateDecision::Install if self.discovered.is_none() => {
                let body = wanted.component_template(&json!({}));
                let path = paths::component_template(&name).into_owned();
                Change::new(ObjectKind::ComponentTemplate, name, Action::Create).send(
                    Verb::Put,
                    path,
                    Some(body),
                )
            }
            _ => Change::new(
                ObjectKind::ComponentTemplate,
                name,
                Action::Keep("loads add the fields that they discover".to_owned()),
            ),
        }
    }

    fn setup_change(&self, wanted: &Templates, setup: &SetupTemplate) -> Change {
        let name = wanted.setup_name();
        let action = match templates::decide(self.setup.as_ref(), setup_template::VERSION) {
            TemplateDecision::Foreign => return blocked(ObjectKind::ComponentTemplate, &name),
            TemplateDecision::Newer(theirs) => {
                return newer(ObjectKind::ComponentTemplate, &name, theirs);
            }
            TemplateDecision::Install if self.setup.is_none() => Action::Create,
            TemplateDecision::Keep if self.setup().as_ref() == Some(setup) => {
                let kept = Action::Keep("current".to_owned());
                return Change::new(ObjectKind::ComponentTemplate, name, kept);
            }
            _ => Action::Update(setup.describe()),
        };
        let path = paths::component_template(&name).into_owned();
        Change::new(ObjectKind::ComponentTemplate, name, action).send(
            Verb::Put,
            path,
            Some(setup.to_component()),
        )
    }

    fn settings_change(&self, wanted: &Templates) -> Change {
        let name = wanted.settings_name();
        let kind = ObjectKind::ComponentTemplate;
        if self.settings.is_some() {
            let kept = Action::Keep("your own settings, never changed".to_owned());
            return Change::new(kind, name, kept);
        }
        let path = format!("{}?create=true", paths::component_template(&name));
        let template = Some(templates::settings_template());
        Change::new(kind, name, Action::Create).send(Verb::Put, path, template)
    }

    fn index_change(&self, wanted: &Templates) -> Change {
        let (name, kind) = (wanted.prefix().to_owned(), ObjectKind::IndexTemplate);
        let action = match wanted.decide(self.index.as_ref()) {
            TemplateDecision::Foreign => return blocked(kind, &name),
            TemplateDecision::Newer(theirs) => return newer(kind, &name, theirs),
            TemplateDecision::Keep => {
                let kept = Action::Keep(format!("version {}", wanted.version()));
                return Change::new(kind, name, kept);
            }
            TemplateDecision::Install => match &self.index {
                None => Action::Create,
                Some(existing) => Action::Update(match templates::version(&existing["_meta"]) {
                    Some(theirs) if theirs != wanted.version() => {
                        format!("version {theirs} becomes {}", wanted.version())
                    }
                    _ => "other components or settings".to_owned(),
                }),
            },
        };
        let path = wanted.index_template_path();
        Change::new(kind, name, action).send(Verb::Put, path, Some(wanted.index_template()))
    }

    /// Returns the changes that remove the templates. Component templates can be deleted only when no template names them.
    pub(super) fn removals(&self, prefix: &str) -> Vec<Change> {
        let names = names(prefix);
        let mut changes = Vec::new();
        let index = self
            .index
            .as_ref()
            .map(|template| removal(ObjectKind::IndexTemplate, prefix, template));
        changes.extend(index);
        let components =
            [(names.component_name(), &self.discovered), (names.setup_name(), &self.setup)];
        for (name, template) in components {
            let removing =
                template.as_ref().map(|it| removal(ObjectKind::ComponentTemplate, &name, it));
            changes.extend(removing);
        }
        if let Some(template) = &self.settings {
            let (kind, name) = (ObjectKind::ComponentTemplate, names.settings_name());
            changes.push(if is_managed(template) && is_empty(&template["template"]) {
                removal(kind, &name, template)
            } else {
                Change::new(kind, name, Action::Keep("your own settings".to_owned()))
            });
        }
        if let Some(theirs) = self.index.as_ref().filter(|template| !is_managed(template)) {
            let composed_of = theirs["composed_of"].as_array().map_or(&[][..], Vec::as_slice);
            for change in &mut changes {
                if change.action == Action::Delete && composed_of.contains(&json!(change.name)) {
                    let reason =
                        format!("the index template '{prefix}' of another program needs it");
                    *change = Change::new(change.kind, change.name.clone(), Action::Keep(reason));
                }
            }
        }
        if let Some(template) = &self.runs {
            changes.push(removal(ObjectKind::IndexTemplate, &runs_name(prefix), template));
        }
        changes
    }
}

fn removal(kind: ObjectKind, name: &str, template: &Value) -> Change {
    if !is_managed(template) {
        let reason = "trailload did not create it".to_owned();
        return Change::new(kind, name, Action::Keep(reason));
    }
    let path = match kind {
        ObjectKind::IndexTemplate => paths::index_template(name),
        _ => paths::component_template(name),
    };
    Change::new(kind, name, Action::Delete).send(Verb::Delete, path, None)
}

/// Returns whether a template has no settings, mappings and aliases. Engines may return the empty members.
fn is_empty(template: &Value) -> bool {
    match template {
        Value::Null => true,
        Value::Object(members) => members.values().all(is_empty),
        _ => false,
    }
}

fn blocked(kind: ObjectKind, name: &str) -> Change {
    let reason = "another program created it, so it is not changed; delete it, or choose another prefix with --index";
    Change::new(kind, name, Action::Blocked(reason.to_owned()))
}

fn newer(kind: ObjectKind, name: &str, version: u64) -> Change {
    let reason = format!("a newer trailload created it (version {version}); update this one");
    Change::new(kind, name, Action::Blocked(reason))
}

impl SetupTemplate {
    /// Describes the values, for people.
    fn describe(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.retention.map(|retention| format!("retention {retention}")));
        parts.extend(self.warm.map(|warm| format!("warm after {warm}")));
        parts.extend(self.replicas.map(|replicas| format!("replicas {replicas}")));
        if parts.is_empty() { "nothing asked for".to_owned() } else { parts.join(", ") }
    }
}
