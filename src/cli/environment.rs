//! Reads the environment of the process: variables, clock, number of processors, terminals, files that options name.
//!
//! Output: an [`Environment`] that is passed on as a value, so that tests can choose it.
//! Exceptions: the AWS SDK reads its own variables (`AWS_*`), and the HTTP clients those about proxies.

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use console::Term;
use jiff::Timestamp;

pub use crate::redact::Secret;
use crate::report::terminal::{Color, Terminal};

/// User name for basic authentication.
pub const USERNAME: &str = "TRAILLOAD_USERNAME";
/// Password for basic authentication.
pub const PASSWORD: &str = "TRAILLOAD_PASSWORD";
/// File with the password, for mounted secrets.
pub const PASSWORD_FILE: &str = "TRAILLOAD_PASSWORD_FILE";
/// API key, in the encoded form that the engine prints.
pub const API_KEY: &str = "TRAILLOAD_API_KEY";
/// File with the API key.
pub const API_KEY_FILE: &str = "TRAILLOAD_API_KEY_FILE";

/// The width of a terminal that does not report one, such as that of a container without a window.
const DEFAULT_TERMINAL_COLUMNS: usize = 80;

/// Address of the state of alerts that several processes share.
pub const ALERT_STATE: &str = "TRAILLOAD_ALERT_STATE";

/// Returns the value of a variable that a file of the user names.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Returns the variables whose names begin with `prefix`. Names that are not UTF-8 are not among them.
pub fn variables_with_prefix(prefix: &str) -> Vec<(String, OsString)> {
    let variables = std::env::vars_os();
    let variables = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    variables.filter(|(name, _)| name.starts_with(prefix)).collect()
}

/// The environment of the process at its start.
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
    /// [`ALERT_STATE`].
    pub alert_state: Option<String>,
    /// CA certificates to trust for AWS, as in the AWS CLI: `AWS_CA_BUNDLE`.
    pub aws_ca_bundle: Option<PathBuf>,
    /// The Region, as in the AWS CLI: `AWS_REGION`, `AWS_DEFAULT_REGION`.
    pub aws_region: Option<String>,
    /// The folder for state, by the XDG Base Directory rules; `None` if neither variable is set.
    pub state: Option<PathBuf>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// The active environments of Python: `VIRTUAL_ENV`, `CONDA_PREFIX`.
    pub python_environments: Vec<PathBuf>,
    /// The folders with API models that botocore searches before its own: `AWS_DATA_PATH`.
    pub aws_data_path: Option<OsString>,
    /// The folder for temporary files.
    pub temporary: PathBuf,
    /// Number of processors that the process may use.
    pub processors: Option<NonZeroUsize>,
    /// Whether standard error is a terminal that can redraw lines.
    pub redraws: bool,
    /// The properties of standard output.
    pub output: Terminal,
    /// The properties of standard error.
    pub error: Terminal,
}

impl Environment {
    /// Reads the environment of this process.
    pub fn read() -> Self {
        let mut read = Self::from_variables(|name| std::env::var_os(name));
        read.temporary = std::env::temp_dir();
        read.processors = thread::available_parallelism().ok();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        read.redraws = io::stderr().is_terminal() && !dumb;
        read.output = terminal(&io::stdout(), &Term::stdout());
        if io::stdout().is_terminal() {
            read.output.columns.get_or_insert(DEFAULT_TERMINAL_COLUMNS);
        }
        read.error = terminal(&io::stderr(), &Term::stderr());
        read
    }

    /// Reads the variables that trailload uses; an empty variable counts as unset.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        // A value that is not UTF-8 cannot be sent; the engine will reject what is left of it.
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str| variable(name).map(PathBuf::from);
        // The XDG rules require that relative paths are ignored.
        let absolute = |name: &str| path(name).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        Self {
            username: text(USERNAME),
            password: text(PASSWORD).map(Secret::new),
            password_file: path(PASSWORD_FILE),
            api_key: text(API_KEY).map(Secret::new),
            api_key_file: path(API_KEY_FILE),
            alert_state: text(ALERT_STATE),
            aws_ca_bundle: path("AWS_CA_BUNDLE"),
            aws_region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")),
            state,
            home: absolute("HOME"),
            python_environments: ["VIRTUAL_ENV", "CONDA_PREFIX"]
                .into_iter()
                .filter_map(absolute)
                .collect(),
            aws_data_path: variable("AWS_DATA_PATH"),
            temporary: PathBuf::new(),
            processors: None,
            redraws: false,
            output: Terminal::default(),
            error: Terminal::default(),
        }
    }
}

/// Returns the properties of a stream: its width if it is a terminal, and whether colors are shown.
fn terminal(stream: &impl RawStream, term: &Term) -> Terminal {
    let color = match AutoStream::choice(stream) {
        ColorChoice::Never => Color::Never,
        _ => Color::Always,
    };
    let columns = term.is_term().then(|| term.size_checked()).flatten();
    Terminal { columns: columns.map(|(_, columns)| columns.into()), color }
}

/// Reads a text file that an option or a variable names.
///
/// # Errors
///
/// Returns the error of the operating system, or `InvalidData` if the file is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

/// Returns the current time.
#[expect(clippy::disallowed_methods, reason = "cli owns the clock")]
pub fn now() -> Timestamp {
    // A clock before 1970 or after 9999 is broken; the epoch makes that visible.
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
