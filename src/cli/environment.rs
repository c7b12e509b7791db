//! What the program takes from its surroundings: variables, the clock, the machine, the terminal.
//!
//! Nobody else reads them; they travel down as values, so that a test can choose them.

use std::{
    ffi::OsString,
    fmt,
    io::{self, IsTerminal as _},
    num::NonZeroUsize,
    path::PathBuf,
    thread,
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use console::Term;
use jiff::Timestamp;

use crate::report::terminal::{Color, Terminal};

/// User name for basic authentication.
pub const USERNAME: &str = "TRAILLOAD_USERNAME";
/// Password for basic authentication.
pub const PASSWORD: &str = "TRAILLOAD_PASSWORD";
/// File with the password, for secrets that are mounted.
pub const PASSWORD_FILE: &str = "TRAILLOAD_PASSWORD_FILE";
/// API key, as the engine printed it (encoded).
pub const API_KEY: &str = "TRAILLOAD_API_KEY";
/// File with the API key.
pub const API_KEY_FILE: &str = "TRAILLOAD_API_KEY_FILE";

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one who sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("(hidden)")
    }
}

/// The surroundings of the program, at its start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// [`USERNAME`].
    pub username: Option<String>,
    /// [`PASSWORD`].
    pub password: Option<Secret>,
    /// [`PASSWORD_FILE`].
    pub password_file: Option<PathBuf>,
    /// [`API_KEY`].
    pub api_key: Option<Secret>,
    /// [`API_KEY_FILE`].
    pub api_key_file: Option<PathBuf>,
    /// Certificates to trust at AWS, as for every AWS tool: `AWS_CA_BUNDLE`.
    pub aws_ca_bundle: Option<PathBuf>,
    /// The Region, as for every AWS tool: `AWS_REGION`, `AWS_DEFAULT_REGION`.
    pub aws_region: Option<String>,
    /// Where state lives, by the XDG rules; `None` if neither variable helps.
    pub state: Option<PathBuf>,
    /// Processors this process may use.
    pub processors: Option<NonZeroUsize>,
    /// Whether standard error can redraw lines.
    pub redraws: bool,
    /// What standard output is.
    pub output: Terminal,
    /// What standard error is.
    pub error: Terminal,
}

impl Environment {
    /// Reads the surroundings of this process.
    pub fn read() -> Self {
        let mut read = Self::from_variables(|name| std::env::var_os(name));
        read.processors = thread::available_parallelism().ok();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        read.redraws = io::stderr().is_terminal() && !dumb;
        read.output = terminal(&io::stdout(), &Term::stdout());
        read.error = terminal(&io::stderr(), &Term::stderr());
        read
    }

    /// Picks the variables that matter; an empty one counts as absent.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        // A value that is no text could not be sent anyway; the engine's refusal will name it.
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str| variable(name).map(PathBuf::from);
        // The XDG rules: a relative path is to be ignored.
        let absolute = |name: &str| path(name).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        Self {
            username: text(USERNAME),
            password: text(PASSWORD).map(Secret),
            password_file: path(PASSWORD_FILE),
            api_key: text(API_KEY).map(Secret),
            api_key_file: path(API_KEY_FILE),
            aws_ca_bundle: path("AWS_CA_BUNDLE"),
            aws_region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")),
            state,
            processors: None,
            redraws: false,
            output: Terminal::default(),
            error: Terminal::default(),
        }
    }
}

/// Returns what a stream is: its width if it is a terminal, and whether it shows colors.
fn terminal(stream: &impl RawStream, term: &Term) -> Terminal {
    let color = match AutoStream::choice(stream) {
        ColorChoice::Never => Color::Never,
        _ => Color::Always,
    };
    let columns = term.is_term().then(|| term.size_checked()).flatten();
    Terminal { columns: columns.map(|(_, columns)| columns.into()), color }
}

/// Returns the time now.
#[expect(clippy::disallowed_methods, reason = "cli owns the clock")]
pub fn now() -> Timestamp {
    // A clock before 1970 or beyond the year 9999 is broken; the epoch shows it best.
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_variables(|name| {
            pairs.iter().find(|(given, _)| *given == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn state_follows_the_xdg_rules() {
        let state = |pairs| from(pairs).state;
        assert_eq!(state(&[("HOME", "/home/a")]), Some("/home/a/.local/state".into()));
        assert_eq!(state(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), Some("/s".into()));
        assert_eq!(
            state(&[("HOME", "/h"), ("XDG_STATE_HOME", "s")]),
            Some("/h/.local/state".into())
        );
        assert_eq!(state(&[("HOME", "")]), None);
    }

    #[test]
    fn an_empty_variable_is_absent() {
        assert_eq!(from(&[(PASSWORD, "")]).password, None);
        assert_eq!(from(&[(PASSWORD, "x")]).password, Some(Secret::new("x")));
    }

    #[test]
    fn secrets_are_never_in_debug() {
        let environment = from(&[(PASSWORD, "hunter2"), (API_KEY, "hunter2")]);
        let shown = format!("{environment:?} {environment:#?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("(hidden)"), "{shown}");
    }

    #[test]
    fn the_clock_tells_this_century() {
        assert!(now() > "2024-01-01T00:00:00Z".parse().unwrap());
    }
}
