//! Reads the settings of an action.
//!
//! Input: a YAML mapping. Output: typed values, or an error with line and column.
//! Invariant: every key is known, and no value of a secret is repeated in an error.

use std::{path::PathBuf, time::Duration};

use super::secret_text::SecretText;
use crate::filter::{
    rule::parse_duration,
    yaml::{DefinitionError, YamlContent, YamlNode, check_keys, expected, list_of, nearest, text},
};

/// The result of reading a setting.
pub(super) type Read<T> = Result<T, DefinitionError>;

/// Keys that every action has.
const COMMON_KEYS: [&str; 2] = ["kind", "throttle"];

/// Keys of receivers that send HTTP requests.
pub(super) const HTTP_KEYS: [&str; 2] = ["timeout", "ca_file"];

/// The longest time limit of an attempt. A slower receiver would hold up every other alert of its action.
const MAX_TIMEOUT: Duration = Duration::from_mins(15);

/// The settings of an action.
#[derive(Clone, Copy)]
pub(super) struct Settings<'n> {
    node: &'n YamlNode,
    /// The kind of the action, for messages.
    kind: &'static str,
}

impl<'n> Settings<'n> {
    /// Checks that the settings are a mapping with these keys and those that every action has. No settings are an empty mapping.
    pub(super) fn new(
        node: &'n YamlNode,
        kind: &'static str,
        keys: &[&[&'static str]],
    ) -> Read<Self> {
        let known: Vec<&str> =
            keys.iter().copied().chain([&COMMON_KEYS[..]]).flatten().copied().collect();
        match node.as_mapping() {
            Some(entries) => check_keys(entries, &known, &format!("an action of kind {kind}"))?,
            None if node.is_null() => {}
            None => return Err(expected(node, &format!("a mapping with the settings of {kind}"))),
        }
        Ok(Self { node, kind })
    }

    /// Returns the value of a key, unless it is null.
    pub(super) fn get(&self, key: &str) -> Option<&'n YamlNode> {
        self.node.get(key).filter(|node| !node.is_null())
    }

    /// Returns the error for a key that is missing.
    pub(super) fn missing(&self, key: &str, example: &str) -> DefinitionError {
        DefinitionError::new(self.node.position, format!("{} needs `{key}`", self.kind))
            .suggest(format!("add `{example}`"))
    }

    /// Returns a text without secrets.
    pub(super) fn text(&self, key: &str) -> Read<Option<String>> {
        self.get(key).map(text).transpose()
    }

    /// Returns a list of texts; a text is a list of one.
    pub(super) fn texts(&self, key: &str) -> Read<Vec<String>> {
        list_of(self.get(key)).into_iter().map(text).collect()
    }

    /// Returns a file.
    pub(super) fn path(&self, key: &str) -> Read<Option<PathBuf>> {
        Ok(self.text(key)?.map(PathBuf::from))
    }

    /// Returns true or false.
    pub(super) fn flag(&self, key: &str) -> Read<Option<bool>> {
        let flag = |node: &YamlNode| {
            node.to_json().as_bool().ok_or_else(|| expected(node, "true or false"))
        };
        self.get(key).map(flag).transpose()
    }

    /// Returns the time limit of an attempt.
    pub(super) fn timeout(&self, default: Duration) -> Read<Duration> {
        let Some(node) = self.get("timeout") else { return Ok(default) };
        let timeout = parse_duration(&text(node)?)
            .map_err(|message| DefinitionError::new(node.position, message))?;
        if timeout > MAX_TIMEOUT {
            let message = format!("a timeout is at most {}m", MAX_TIMEOUT.as_secs() / 60);
            return Err(DefinitionError::new(node.position, message));
        }
        Ok(timeout)
    }

    /// Returns one of several names.
    pub(super) fn one_of<T: Copy>(&self, key: &str, names: &[(&str, T)]) -> Read<Option<T>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let given = text(node)?;
        if let Some((_, value)) = names.iter().find(|(name, _)| *name == given) {
            return Ok(Some(*value));
        }
        let list: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let error = DefinitionError::new(
            node.position,
            format!("`{key}` of {} is not `{given}`", self.kind),
        );
        Err(error.suggest(match nearest(&given, list.iter().copied()) {
            Some(name) => format!("write `{name}`"),
            None => format!("write one of {}", list.join(", ")),
        }))
    }

    /// Returns a secret: `KEY: ${VARIABLE}`, `KEY: {file: PATH}` or `KEY_file: PATH`.
    pub(super) fn secret(&self, key: &str) -> Read<Option<SecretText>> {
        let file_key = format!("{key}_file");
        match (self.get(key), self.get(&file_key)) {
            (Some(_), Some(file)) => {
                let message = format!("both `{key}` and `{file_key}` are given");
                Err(DefinitionError::new(file.position, message).suggest("remove one of them"))
            }
            (Some(value), None) => secret(value).map(Some),
            (None, Some(file)) => {
                Ok(Some(SecretText::from_file(text(file)?.into(), file.position)))
            }
            (None, None) => Ok(None),
        }
    }

    /// Returns a URL that may contain a secret. Its form is checked as far as it is known.
    pub(super) fn secret_url(&self, key: &str) -> Read<Option<SecretText>> {
        let url = self.secret(key)?;
        if let (Some(url), Some(node)) = (&url, self.get(key))
            && let Some(literal) = url.literal()
        {
            check_url(literal).map_err(|message| {
                DefinitionError::new(node.position, format!("`{key}` {message}"))
            })?;
        }
        Ok(url)
    }

    /// Returns the address of a service, which tests and private networks replace.
    pub(super) fn endpoint(&self) -> Read<Option<String>> {
        let Some(node) = self.get("endpoint") else { return Ok(None) };
        let endpoint = text(node)?;
        check_url(&endpoint).map_err(|message| {
            DefinitionError::new(node.position, format!("`endpoint` {message}"))
        })?;
        Ok(Some(endpoint.trim_end_matches('/').to_owned()))
    }
}

/// Reads a secret.
pub(super) fn secret(node: &YamlNode) -> Read<SecretText> {
    match &node.content {
        YamlContent::Mapping(entries) => {
            check_keys(entries, &["file"], "a secret")?;
            let file = node.get("file").ok_or_else(|| {
                expected(node, "a secret such as \"${VARIABLE}\" or {file: PATH}")
            })?;
            Ok(SecretText::from_file(text(file)?.into(), file.position))
        }
        _ => SecretText::parse(&text(node)?, node.position),
    }
}

/// Checks the form of a URL without repeating it.
pub(super) fn check_url(text: &str) -> Result<(), &'static str> {
    let url: url::Url = text.parse().map_err(|_| "is not a valid URL")?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(()),
        ("http" | "https", None) => Err("has no host"),
        _ => Err("must start with https:// or http://"),
    }
}
