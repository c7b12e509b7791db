//! Options that name the engine: its URL, credentials, the index prefix and the checkpoint file.
//!
//! Invariant: a URL may hold a password, so neither `Display` nor `Debug` shows it as it was given.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

use crate::redact;

/// Index prefix if none is given.
pub const DEFAULT_INDEX: &str = "cloudtrail";

/// Longest prefix. Engines allow 255 bytes for an index name; the month and the name of the checkpoint file need some.
const MAX_PREFIX_BYTES: usize = 128;

/// The engine, and the checkpoint that belongs to it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Engine options")]
pub struct EngineArgs {
    /// The engine.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Checkpoint file, which records what has been loaded [default: one per engine and index prefix
    /// in the state folder]
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
}

/// An engine: its URL, its credentials, and the indices in it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Engine options")]
pub struct ConnectionArgs {
    /// URL of the Elasticsearch or OpenSearch cluster
    #[arg(long, value_name = "URL")]
    pub into: Option<EngineUrl>,
    /// Prefix of the index names
    #[arg(long, value_name = "PREFIX", default_value = DEFAULT_INDEX)]
    pub index: IndexPrefix,
    /// Trust the CA certificates in this PEM file
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Files with secrets.
    #[command(flatten)]
    pub secret_files: SecretFiles,
    /// Sign requests with AWS credentials, for Amazon OpenSearch Service and OpenSearch Serverless
    #[arg(long)]
    pub aws_auth: bool,
}

/// Files that hold credentials for the engine.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Engine options")]
pub struct SecretFiles {
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Read the API key from this file
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
}

/// The value of `--into`. It may hold a password, so it is only shown without user name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineUrl(String);

impl EngineUrl {
    /// Returns the value as it was given, possibly with a password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for EngineUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for EngineUrl {
    /// Writes the value without user name and password, even if it is not a valid URL.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&redact::url(&self.0))
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "\"{self}\"")
    }
}

/// The prefix of all index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPrefix(String);

/// The reason why a prefix is invalid, worded as what is expected instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// A character that engines do not allow in index names, or that has a meaning in index patterns.
    #[error("expected lowercase letters, digits, '.', '_' or '-', but found '{0}'")]
    InvalidCharacter(char),
    /// The first character is neither a letter nor a digit.
    #[error("expected a lowercase letter or a digit as the first character")]
    InvalidStart,
    /// The prefix is too long.
    #[error("expected at most {MAX_PREFIX_BYTES} letters")]
    TooLong,
}

impl IndexPrefix {
    /// Returns the prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IndexPrefix {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl FromStr for IndexPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let allowed = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
        if let Some(letter) = text.chars().find(|letter| !allowed(*letter)) {
            return Err(PrefixError::InvalidCharacter(letter));
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(PrefixError::InvalidStart);
        }
        if text.len() > MAX_PREFIX_BYTES {
            return Err(PrefixError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_engines_take() {
        for prefix in ["cloudtrail", "a", "0-trail", "org_1.trail-eu"] {
            assert_eq!(prefix.parse::<IndexPrefix>().unwrap().as_str(), prefix);
        }
    }

    #[test]
    fn prefixes_that_no_engine_takes() {
        for letter in ['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':', 'A', 'é', '\n']
        {
            let prefix = format!("a{letter}b");
            assert_eq!(prefix.parse::<IndexPrefix>(), Err(PrefixError::InvalidCharacter(letter)));
        }
        for prefix in ["", "-a", "_a", ".a", ".", ".."] {
            assert_eq!(prefix.parse::<IndexPrefix>(), Err(PrefixError::InvalidStart), "{prefix}");
        }
        assert_eq!("+a".parse::<IndexPrefix>(), Err(PrefixError::InvalidCharacter('+')));
        assert_eq!("a".repeat(129).parse::<IndexPrefix>(), Err(PrefixError::TooLong));
    }
}
