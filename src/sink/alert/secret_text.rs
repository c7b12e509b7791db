//! Settings that hold a secret: `${VARIABLE}`, a file, or a text with variables in it.
//!
//! Input: the value of a setting. Output: a [`SecretText`], and its value when a receiver is created.
//! Invariant: a value that came from a variable or a file is in no message and no `Debug` output. Checking an action file needs
//! no secret.

use std::{
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use super::placeholders::{TextSegment, split_at_placeholders};
use crate::{
    filter::yaml::{DefinitionError, TextPosition},
    redact::Secret,
};

/// Longest file with a secret, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A setting that may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText {
    source: SecretSource,
    position: TextPosition,
}

#[derive(Clone, PartialEq, Eq)]
enum SecretSource {
    /// Parts of a text.
    Parts(Vec<Part>),
    /// The content of a file, without the line break at its end.
    File(PathBuf),
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

/// Where secrets are found.
pub struct SecretLookup<'a> {
    /// Returns the value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The folder that relative paths of files start from: that of the action file.
    pub folder: &'a Path,
}

impl SecretText {
    /// Parses a text in which `${VARIABLE}` stands for the value of a variable, and `$$` for a dollar sign before a brace.
    ///
    /// # Errors
    ///
    /// If a brace is not closed, or a name is not that of a variable.
    pub(super) fn parse(text: &str, position: TextPosition) -> Result<Self, DefinitionError> {
        let part = |segment| match segment {
            TextSegment::Literal(text) => Ok(Part::Literal(text)),
            TextSegment::Placeholder(name) if is_variable_name(name) => {
                Ok(Part::Variable(name.to_owned()))
            }
            // The text may be a secret, so it is not repeated.
            TextSegment::Placeholder(_) => Err(DefinitionError::new(
                position,
                "the text between `${` and `}` is not the name of an environment variable",
            )
            .suggest("use letters, digits and `_`, such as \"${SLACK_URL}\"")),
            TextSegment::Unclosed => Err(DefinitionError::new(position, "`${` has no closing `}`")
                .suggest("write \"${NAME_OF_A_VARIABLE}\"")),
        };
        let segments = split_at_placeholders(text, |inside| inside.find('}'));
        let parts = segments.into_iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self { source: SecretSource::Parts(parts), position })
    }

    /// Returns a secret that is the content of a file.
    pub(super) fn from_file(path: PathBuf, position: TextPosition) -> Self {
        Self { source: SecretSource::File(path), position }
    }

    /// Returns whether the text is written in the action file itself, without a variable.
    pub(super) fn is_literal(&self) -> bool {
        match &self.source {
            SecretSource::Parts(parts) => {
                !parts.iter().any(|part| matches!(part, Part::Variable(_)))
            }
            SecretSource::File(_) => false,
        }
    }

    /// Returns the text if it contains no variable, for checks of its form. It must not be shown.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.source {
            SecretSource::Parts(parts) => match parts.as_slice() {
                [Part::Literal(text)] => Some(text),
                _ => None,
            },
            SecretSource::File(_) => None,
        }
    }

    /// Returns the secret.
    ///
    /// # Errors
    ///
    /// If a variable is not set, or the file cannot be read or is empty.
    pub fn resolve(&self, lookup: &SecretLookup<'_>) -> Result<Secret, DefinitionError> {
        match &self.source {
            SecretSource::Parts(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Variable(name) => text.push_str(&self.variable(name, lookup)?),
                    }
                }
                Ok(Secret::new(text))
            }
            SecretSource::File(path) => self.read(&lookup.folder.join(path)).map(Secret::new),
        }
    }

    fn variable(&self, name: &str, lookup: &SecretLookup<'_>) -> Result<String, DefinitionError> {
        let error = |problem: &str| {
            DefinitionError::new(self.position, format!("the variable {name} {problem}"))
        };
        let value = (lookup.variable)(name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| {
            error("is not set").suggest(format!("set {name} in the environment of trailload"))
        })?;
        value.into_string().map_err(|_| error("is not valid UTF-8"))
    }

    fn read(&self, path: &Path) -> Result<String, DefinitionError> {
        let error = |problem: String| {
            DefinitionError::new(
                self.position,
                format!("cannot read {}: {problem}", path.display()),
            )
            .suggest("name a file that holds the secret and nothing else")
        };
        let size = fs::metadata(path).map_err(|source| error(source.to_string()))?.len();
        if size > MAX_FILE_BYTES {
            return Err(error(format!("it has {size} bytes, more than any secret")));
        }
        let text = fs::read_to_string(path).map_err(|source| error(source.to_string()))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        Ok(secret.to_owned())
    }
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Shows where the secret comes from, and hides what is written in the file itself.
impl fmt::Display for SecretText {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            SecretSource::Parts(parts) => parts.iter().try_for_each(|part| match part {
                Part::Literal(_) => to.write_str("(hidden)"),
                Part::Variable(name) => write!(to, "${{{name}}}"),
            }),
            SecretSource::File(path) => write!(to, "(content of {})", path.display()),
        }
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "SecretText({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: TextPosition = TextPosition { line: 3, column: 8 };

    fn resolve(text: &str) -> Result<String, DefinitionError> {
        let variable = |name: &str| match name {
            "KEY" => Some("hunter2".into()),
            "EMPTY" => Some(OsString::new()),
            _ => None,
        };
        let lookup = SecretLookup { variable: &variable, folder: Path::new("/") };
        SecretText::parse(text, PLACE)?.resolve(&lookup).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("${KEY}", "hunter2"),
            ("Bearer ${KEY}!", "Bearer hunter2!"),
            ("$KEY", "$KEY"),
            ("$${KEY}", "${KEY}"),
            ("a$", "a$"),
            ("", ""),
        ] {
            assert_eq!(resolve(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn an_error_names_the_variable_and_the_place_but_no_secret() {
        for (text, expected) in [
            ("${OTHER}", "the variable OTHER is not set"),
            ("${EMPTY}", "the variable EMPTY is not set"),
            ("${KEY", "`${` has no closing `}`"),
            (
                "${a secret}",
                "the text between `${` and `}` is not the name of an environment variable",
            ),
        ] {
            let error = resolve(text).unwrap_err();
            assert_eq!((error.position, error.message.as_str()), (PLACE, expected));
        }
    }

    #[test]
    fn a_file_holds_a_secret_with_or_without_a_line_break() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "hunter2\n").unwrap();
        fs::write(folder.path().join("empty"), "\n").unwrap();
        let lookup = SecretLookup { variable: &|_| None, folder: folder.path() };
        let resolve = |name: &str| SecretText::from_file(name.into(), PLACE).resolve(&lookup);
        assert_eq!(resolve("key").unwrap(), Secret::new("hunter2"));
        assert!(resolve("empty").unwrap_err().message.contains("is empty"));
        assert!(resolve("none").unwrap_err().message.contains("cannot read"));
    }

    #[test]
    fn nothing_shows_the_secret() {
        let literal = SecretText::parse("hunter2", PLACE).unwrap();
        let mixed = SecretText::parse("hunter2/${KEY}", PLACE).unwrap();
        assert_eq!(format!("{literal} {literal:?}"), "(hidden) SecretText((hidden))");
        assert_eq!(mixed.to_string(), "(hidden)${KEY}");
        assert!(literal.is_literal() && !mixed.is_literal());
    }
}
