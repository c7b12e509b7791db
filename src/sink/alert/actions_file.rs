//! The action file: actions by name.
//!
//! Input: the text of `actions.yml`. Output: the actions, and what is wrong or suspicious in the file, with line and column.
//! Invariant: an action with an error is left out; the others are returned. Nothing is read but the text: secrets are resolved
//! when a receiver is created, so a check needs none.
//!
//! The keys are listed in `mappings/actions.schema.json`, which editors use for completion; a test keeps both in step.

use super::{
    Action, ActionSettings, command::CommandSettings, datadog::DatadogSettings, file::FileSettings,
    index::IndexSettings, pagerduty::PagerDutySettings, settings::Read, slack::SlackSettings,
    sns::SnsSettings, stdout::StdoutSettings, throttle::ThrottleLimit, webhook::WebhookSettings,
};
use crate::filter::{
    rule::{ActionReference, Rule},
    yaml::{
        DefinitionError, TextPosition, YamlContent, YamlEntry, YamlNode, expected, list_of,
        nearest, parse_yaml, text,
    },
};

/// The kinds of actions.
pub(super) const KINDS: [&str; 9] =
    ["command", "datadog", "file", "index", "pagerduty", "slack", "sns", "stdout", "webhook"];

/// The kinds that need no settings, so that a rule can use their names without an action file.
const BUILT_IN: [&str; 2] = ["index", "stdout"];

/// The key under which a file may hold its actions.
const ACTIONS_KEY: &str = "actions";

/// The key with the names of the actions of rules that name none. With a mapping, it is an action of this name.
const DEFAULT_KEY: &str = "default";

/// The content of an action file.
#[derive(Clone, Debug, Default)]
pub struct ActionsFile {
    /// The actions without an error, in the order of the file.
    pub actions: Vec<Action>,
    /// The actions of rules that name none, as the file names them.
    pub default_actions: Vec<ActionReference>,
    /// What is wrong.
    pub errors: Vec<DefinitionError>,
    /// What is valid and probably not meant; each with what to write instead.
    pub warnings: Vec<DefinitionError>,
}

impl ActionsFile {
    /// Parses an action file.
    pub fn parse(text: &str) -> Self {
        let mut file = Self::default();
        match parse_yaml(text) {
            Ok(documents) => documents.iter().for_each(|document| file.add_document(document)),
            Err(error) => file.errors.push(error),
        }
        if file.errors.is_empty() {
            file.check_default_actions();
        }
        if file.actions.is_empty() && file.errors.is_empty() {
            let position = TextPosition { line: 1, column: 1 };
            file.errors.push(
                DefinitionError::new(position, "the file has no action")
                    .suggest("start with `slack: {kind: slack, url: \"${SLACK_URL}\"}`"),
            );
        }
        file
    }

    fn add_document(&mut self, document: &YamlNode) {
        let Some(entries) = document.as_mapping() else {
            self.errors.push(expected(document, "a mapping of actions by name"));
            return;
        };
        if let [entry] = entries
            && entry.key == ACTIONS_KEY
            && entry.value.get("kind").is_none()
            && entry.value.as_mapping().is_some()
        {
            self.add_document(&entry.value);
            return;
        }
        for entry in entries {
            if entry.key == DEFAULT_KEY && entry.value.as_mapping().is_none() {
                self.add_default_actions(&entry.value);
                continue;
            }
            match named_action(entry) {
                Ok(action) => self.add(action),
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn add_default_actions(&mut self, names: &YamlNode) {
        for node in list_of(Some(names)) {
            match text(node) {
                Ok(name) => self
                    .default_actions
                    .push(ActionReference::Named { name, position: node.position }),
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn check_default_actions(&mut self) {
        for reference in &self.default_actions {
            if let Err(error) = self.resolve(reference) {
                self.errors.push(error);
            }
        }
    }

    fn add(&mut self, action: Action) {
        if let Some(first) = self.actions.iter().find(|other| other.name == action.name) {
            let message =
                format!("the name is that of the action in line {} too", first.position.line);
            self.errors.push(
                DefinitionError::new(action.position, message)
                    .suggest("give each action a name of its own"),
            );
            return;
        }
        self.warnings.extend(action.warnings());
        self.actions.push(action);
    }

    /// Returns the action of a name: one of the file, or `stdout` or `index` with their defaults.
    pub fn find(&self, name: &str) -> Option<Action> {
        let defined = self.actions.iter().find(|action| action.name == name).cloned();
        defined.or_else(|| {
            let kind = BUILT_IN.into_iter().find(|kind| *kind == name)?;
            let nothing = YamlNode {
                position: TextPosition { line: 1, column: 1 },
                content: YamlContent::Plain(String::new()),
            };
            action(name.to_owned(), kind, &nothing, nothing.position).ok()
        })
    }

    /// Returns the action that a rule refers to.
    ///
    /// # Errors
    ///
    /// If there is no action of this name, or the settings in the rule are not valid; the place is that in the rule file.
    pub fn resolve(&self, reference: &ActionReference) -> Result<Action, DefinitionError> {
        match reference {
            ActionReference::Named { name, position } => {
                self.find(name).ok_or_else(|| self.unknown(name, *position))
            }
            ActionReference::Inline { kind, settings } if !reference.has_settings() => {
                self.of_kind(kind, settings)
            }
            ActionReference::Inline { kind, settings } => {
                action(reference.name().into_owned(), kind, settings, settings.position)
            }
        }
    }

    /// Returns the action that a rule means by a kind without settings: the one of that name, or the kind with its defaults.
    fn of_kind(&self, kind: &str, node: &YamlNode) -> Result<Action, DefinitionError> {
        match self.actions.iter().find(|action| action.name == kind) {
            Some(defined) if defined.settings.kind() == kind => Ok(defined.clone()),
            Some(defined) => {
                let message = format!(
                    "`{kind}` is an action of kind {} in the action file",
                    defined.settings.kind()
                );
                Err(DefinitionError::new(node.position, message).suggest(format!(
                    "write the name of an action, or give the action `{kind}` another name"
                )))
            }
            None => action(kind.to_owned(), kind, node, node.position),
        }
    }

    /// Returns the actions of rules, each once, in the order in which rules name them. The errors are those of
    /// [`resolve`](Self::resolve), each with the number of its rule.
    pub fn resolve_all<'r>(
        &self,
        rules: impl IntoIterator<Item = &'r Rule>,
    ) -> (Vec<Action>, Vec<(usize, DefinitionError)>) {
        let (mut actions, mut errors) = (Vec::<Action>::new(), Vec::new());
        for (number, rule) in rules.into_iter().enumerate() {
            for reference in &rule.actions {
                match self.resolve(reference) {
                    Ok(action) if actions.iter().any(|known| known.name == action.name) => {}
                    Ok(action) => actions.push(action),
                    Err(error) => errors.push((number, error)),
                }
            }
        }
        (actions, errors)
    }

    fn unknown(&self, name: &str, position: TextPosition) -> DefinitionError {
        let error = DefinitionError::new(position, format!("there is no action `{name}`"));
        let names: Vec<&str> =
            self.actions.iter().map(|action| action.name.as_str()).chain(BUILT_IN).collect();
        error.suggest(match nearest(name, names.iter().copied()) {
            Some(near) => format!("write `{near}`"),
            None if self.actions.is_empty() => {
                format!("define {name} in an action file and pass it with --actions")
            }
            None => format!("define it in the action file, or use one of {}", names.join(", ")),
        })
    }
}

/// Reads an action of the file.
fn named_action(entry: &YamlEntry) -> Read<Action> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if entry.key.is_empty() || !entry.key.chars().all(is_plain) {
        return Err(DefinitionError::new(
            entry.key_position,
            "the name of an action consists of letters, digits, `-`, `_` and `.`",
        ));
    }
    let node = &entry.value;
    if node.as_mapping().is_none() {
        return Err(expected(node, "an action, which is a mapping with `kind`,"));
    }
    let Some(kind) = node.get("kind") else {
        let error = DefinitionError::new(
            entry.key_position,
            format!("the action `{}` has no `kind`", entry.key),
        );
        return Err(error.suggest(match KINDS.into_iter().find(|kind| *kind == entry.key) {
            Some(kind) => format!("add `kind: {kind}`"),
            None => format!("add `kind:` with one of {}", KINDS.join(", ")),
        }));
    };
    let name = text(kind)?;
    let Some(known) = KINDS.into_iter().find(|known| *known == name) else {
        let error =
            DefinitionError::new(kind.position, format!("`{name}` is not a kind of action"));
        return Err(error.suggest(match nearest(&name, KINDS) {
            Some(near) => format!("write `{near}`"),
            None => format!("write one of {}", KINDS.join(", ")),
        }));
    };
    action(entry.key.clone(), known, node, entry.key_position)
}

/// Reads the settings of an action.
fn action(name: String, kind: &str, node: &YamlNode, position: TextPosition) -> Read<Action> {
    let settings = match kind {
        "command" => ActionSettings::Command(CommandSettings::read(node)?),
        "datadog" => ActionSettings::Datadog(DatadogSettings::read(node)?),
        "file" => ActionSettings::File(FileSettings::read(node)?),
        "index" => ActionSettings::Index(IndexSettings::read(node)?),
        "pagerduty" => ActionSettings::PagerDuty(PagerDutySettings::read(node)?),
        "slack" => ActionSettings::Slack(SlackSettings::read(node)?),
        "sns" => ActionSettings::Sns(SnsSettings::read(node)?),
        "stdout" => ActionSettings::Stdout(StdoutSettings::read(node)?),
        "webhook" => ActionSettings::Webhook(Box::new(WebhookSettings::read(node)?)),
        _ => {
            return Err(DefinitionError::new(
                position,
                format!("`{kind}` is not a kind of action"),
            ));
        }
    };
    let throttle = match node.get("throttle").filter(|node| !node.is_null()) {
        Some(node) => Some(throttle(node)?),
        None => settings.default_throttle(),
    };
    Ok(Action { name, settings, throttle, position })
}

fn throttle(node: &YamlNode) -> Read<ThrottleLimit> {
    text(node)?.parse().map_err(|message: String| DefinitionError::new(node.position, message))
}
