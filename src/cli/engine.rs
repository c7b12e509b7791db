//! The engine as a person names it: address, credentials, index prefix; and the checkpoint file
//! that belongs to them.
//!
//! Holds: a password typed into the address moves into the credentials, and no error, `Debug` or
//! file name shows it.

use std::{
    convert::Infallible,
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use url::Url;

use super::{
    environment::{self, Environment, Secret},
    failure::Failure,
};
use crate::{
    checkpoint::{LOCALHOST, one_name},
    secret,
    sink::{Credentials, take_userinfo},
};

/// Prefix of the index names if none is given.
pub const DEFAULT_INDEX: &str = "cloudtrail";

/// Longest prefix. Engines take 255 bytes; the month and the checkpoint's file name need some.
const PREFIX_BYTES_AT_MOST: usize = 128;

/// Longest name of a checkpoint file without its ending. File systems take 255 bytes, and SQLite
/// adds `-wal` and `-shm` to it.
const FILE_NAME_BYTES_AT_MOST: usize = 200;

/// An address as typed. It may hold a password, so it is never shown as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Address {
    /// Writes what may be shown of the address, even if it makes no sense.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&secret::shown(&self.0))
    }
}

impl Address {
    /// Returns the address as a URL without user name and password.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] if it is no address of an engine.
    pub fn url(&self) -> Result<Url, Failure> {
        let mut url = parse(self)?;
        take_userinfo(&mut url);
        Ok(url)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "\"{self}\"")
    }
}

/// The engine to load into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address, without user name and password.
    pub url: Url,
    /// How we say who we are.
    pub credentials: Credentials,
}

/// Credentials by file, as options.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Where to")]
pub struct SecretFiles {
    /// Read the password from a file
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Read the API key from a file
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
}

impl Target {
    /// Turns an address and what the environment knows into a target. Reads the secrets' files.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the address makes no sense, if two ways to log in are given, or if
    /// a file with a secret cannot be read.
    pub fn new(
        address: &Address,
        files: &SecretFiles,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let mut url = parse(address)?;
        let typed = take_userinfo(&mut url);
        let credentials = credentials(typed, files, environment)?;
        Ok(Self { url, credentials })
    }
}

/// Returns the address as a URL; of several spellings of one address always the same.
fn parse(address: &Address) -> Result<Url, Failure> {
    let wrong = |problem: &str| {
        let hint = if address.0.contains('@') {
            ESCAPE
        } else {
            "give the engine's address, such as http://localhost:9200"
        };
        Failure::usage(format!("invalid value '{address}' for '--into <URL>': {problem}"))
            .hint(hint)
    };
    // The parser would leave them out, and so change a password.
    if address.0.trim().contains(|sign: char| sign.is_control()) {
        return Err(wrong("expected no control characters in it"));
    }
    let mut url: Url = address.0.parse().map_err(|error: url::ParseError| match error {
        url::ParseError::RelativeUrlWithoutBase => wrong("expected http:// or https:// in front"),
        other => wrong(&other.to_string()),
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("expected http:// or https:// in front"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("expected no '?' or '#' in it"));
    }
    // What looks like host and path is a password with a slash in it.
    if url.path().contains('@') {
        return Err(wrong("expected no '@' behind the host"));
    }
    tidy(&mut url);
    Ok(url)
}

/// What to do about an address whose user name or password holds signs that mean something else there.
const ESCAPE: &str = "percent-encode user name and password ('#' is %23, '?' is %3F, '/' is %2F, '@' is %40, '%' is %25), \
     or leave them out and set TRAILLOAD_USERNAME and TRAILLOAD_PASSWORD";

/// Takes out slashes that mean nothing, at the end and twice in a row, and the dot at the end of a host's name.
fn tidy(url: &mut Url) {
    let parts = url.path().split('/').filter(|part| !part.is_empty());
    let path: String = parts.flat_map(|part| ["/", part]).collect();
    url.set_path(&path);
    let host = url.host_str().and_then(|host| host.strip_suffix('.')).map(str::to_owned);
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        // Fails only for what was no host before.
        let _ = url.set_host(Some(&host));
    }
}

fn credentials(
    (typed_name, typed_password): (Option<String>, Option<String>),
    files: &SecretFiles,
    environment: &Environment,
) -> Result<Credentials, Failure> {
    let env_password = Given {
        variable: environment::PASSWORD,
        value: environment.password.clone(),
        option: ("--password-file", files.password_file.as_deref()),
        file_variable: (environment::PASSWORD_FILE, environment.password_file.as_deref()),
    };
    let api_key = Given {
        variable: environment::API_KEY,
        value: environment.api_key.clone(),
        option: ("--api-key-file", files.api_key_file.as_deref()),
        file_variable: (environment::API_KEY_FILE, environment.api_key_file.as_deref()),
    };
    let username = typed_name.or_else(|| environment.username.clone());
    // What stands in the address was meant for this very run, so it wins over the environment.
    let password = match typed_password {
        Some(password) => Some(password),
        None => env_password.secret()?.map(|secret| secret.expose().to_owned()),
    };
    match (username, password, api_key.secret()?) {
        (None, None, None) => Ok(Credentials::None),
        (None, None, Some(key)) => Ok(Credentials::ApiKey(key.expose().to_owned())),
        (Some(username), Some(password), None) => Ok(Credentials::Basic { username, password }),
        (Some(_), None, None) => Err(Failure::usage("a user name was given without a password")
            .hint(format!("set {} or {}", environment::PASSWORD, environment::PASSWORD_FILE))),
        (None, Some(_), None) => Err(Failure::usage("a password was given without a user name")
            .hint(format!("set {}", environment::USERNAME))),
        (_, _, Some(_)) => Err(Failure::usage("an API key and a user name or password were given")
            .hint("keep one of them")),
    }
}

/// The places one secret may come from.
struct Given<'a> {
    variable: &'static str,
    value: Option<Secret>,
    option: (&'static str, Option<&'a Path>),
    file_variable: (&'static str, Option<&'a Path>),
}

impl Given<'_> {
    /// Returns the secret. An option wins over variables; two variables contradict each other.
    fn secret(self) -> Result<Option<Secret>, Failure> {
        if let (option, Some(path)) = self.option {
            return read_secret(option, path).map(Some);
        }
        match (self.value, self.file_variable) {
            (Some(_), (name, Some(_))) => {
                Err(Failure::usage(format!("both {} and {name} are set", self.variable))
                    .hint("unset one of them"))
            }
            (None, (name, Some(path))) => read_secret(name, path).map(Some),
            (value, (_, None)) => Ok(value),
        }
    }
}

/// Reads a file with a secret; a line feed at its end does not belong to it.
fn read_secret(asked_by: &str, path: &Path) -> Result<Secret, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::person(format!("could not read {}, named by {asked_by}", path.display()))
            .caused_by(&error)
    })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::person(format!("{}, named by {asked_by}, is empty", path.display())));
    }
    Ok(Secret::new(secret))
}

/// What every index name begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPrefix(String);

/// Why a prefix cannot be used. The text says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// A letter that engines or our patterns do not allow.
    #[error("expected lowercase letters, digits, '.', '_' or '-', but found '{0}'")]
    Letter(char),
    /// It begins with something else than a letter or digit.
    #[error("expected a lowercase letter or a digit at the beginning")]
    Beginning,
    /// It is too long.
    #[error("expected at most {PREFIX_BYTES_AT_MOST} letters")]
    Long,
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
            return Err(PrefixError::Letter(letter));
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(PrefixError::Beginning);
        }
        if text.len() > PREFIX_BYTES_AT_MOST {
            return Err(PrefixError::Long);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Returns the checkpoint file of one target: engine and prefix.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the environment names no place for state.
pub fn default_checkpoint(
    url: &Url,
    prefix: &IndexPrefix,
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    let folder = checkpoint_folder(environment)?;
    let path = folder.join(checkpoint_name(url, prefix));
    if path.exists() {
        return Ok(path);
    }
    // Earlier versions named the file by the address as it was typed.
    let mut earlier = earlier_names(url, prefix).into_iter().map(|name| folder.join(name));
    Ok(earlier.find(|path| path.exists()).unwrap_or(path))
}

/// Returns what earlier versions called the file of an engine on this machine.
fn earlier_names(url: &Url, prefix: &IndexPrefix) -> Vec<String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if one_name(host) != LOCALHOST {
        return Vec::new();
    }
    ["127.0.0.1", "::1"].iter().map(|host| file_name(host, url, prefix)).collect()
}

/// Returns the folder that checkpoint files are in.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the environment names no place for state.
pub fn checkpoint_folder(environment: &Environment) -> Result<PathBuf, Failure> {
    let state = environment.state.as_ref().ok_or_else(|| {
        Failure::usage(
            "there is no place for the checkpoint: neither XDG_STATE_HOME nor HOME is set",
        )
        .hint("give one with --checkpoint FILE")
    })?;
    Ok(state.join("trailload"))
}

fn checkpoint_name(url: &Url, prefix: &IndexPrefix) -> String {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    file_name(one_name(host), url, prefix)
}

fn file_name(host: &str, url: &Url, prefix: &IndexPrefix) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    // Engines behind one proxy differ by path only.
    let path = url.path().trim_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("-{path}") };
    let name: String = format!("{host}-{port}{path}-{prefix}")
        .chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => letter,
            _ => '_',
        })
        .collect();
    if name.len() <= FILE_NAME_BYTES_AT_MOST {
        return format!("{name}.sqlite");
    }
    let mut short = name[..FILE_NAME_BYTES_AT_MOST].to_owned();
    for byte in Sha256::digest(name.as_bytes()).iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    format!("{short}.sqlite")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn target(text: &str, environment: &Environment) -> Result<Target, Failure> {
        Target::new(&address(text), &SecretFiles::default(), environment)
    }

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic { username: username.into(), password: password.into() }
    }

    #[test]
    fn userinfo_moves_into_the_credentials() {
        let target = target(
            "https://elastic:p%40ss%2Fw%zz@Search.example:9243/es/",
            &Environment::default(),
        )
        .unwrap();
        assert_eq!(target.url.as_str(), "https://search.example:9243/es");
        assert_eq!(target.credentials, basic("elastic", "p@ss/w%zz"));
        assert!(!format!("{target:?}").contains("p@ss"));
    }

    #[test]
    fn a_bad_address_is_refused_and_its_password_never_shown() {
        let table = [
            ("localhost:9200", "expected http:// or https:// in front"),
            ("localhost", "expected http:// or https:// in front"),
            ("ftp://a:hunter2@host/", "expected http:// or https:// in front"),
            ("user:hunter2@host:9200", "expected http:// or https:// in front"),
            ("http://", "empty host"),
            ("http://a:hunter2@host:99999", "invalid port number"),
            ("http://a:hunt/er2@host:9200", "invalid port number"),
            ("http://host:9200/?token=hunter2", "expected no '?' or '#' in it"),
            ("http://a:hunt#er2@host:9200", "invalid port number"),
            ("http://a:12#er2@host:9200", "expected no '?' or '#' in it"),
            ("http://a:12?er2@host:9200", "expected no '?' or '#' in it"),
            ("http://a:12/er2@host:9200", "expected no '@' behind the host"),
            ("http://a:12\\er2@host:9200", "expected no '@' behind the host"),
            ("http://a:hunt\ter2@host:9200", "expected no control characters"),
            ("http://a:hunter2", "invalid port number"),
            ("", "expected http:// or https:// in front"),
        ];
        for (typed, problem) in table {
            let failure = target(typed, &Environment::default()).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{typed}");
            assert!(failure.heading.contains("'--into <URL>'"), "{failure:?}");
            assert!(failure.heading.contains(problem), "{failure:?}");
            let shown = format!("{failure:?}");
            assert!(!shown.contains("er2") && !shown.contains("a:12"), "{failure:?}");
            let hint = failure.hint.as_deref().unwrap_or_default();
            assert_eq!(hint.contains("%23"), typed.contains('@'), "{failure:?}");
            assert!(!format!("{:?}", address(typed)).contains("er2"), "{typed}");
        }
    }

    #[test]
    fn credentials_come_from_the_environment() {
        let password = Some(Secret::new("p"));
        let named = |name: &str| Some(name.to_owned());
        let both = Environment {
            username: named("u"),
            password: password.clone(),
            ..Environment::default()
        };
        assert_eq!(target("http://h", &both).unwrap().credentials, basic("u", "p"));
        assert_eq!(target("http://x@h", &both).unwrap().credentials, basic("x", "p"));
        assert_eq!(target("http://x:y@h", &both).unwrap().credentials, basic("x", "y"));
        let key = Environment { api_key: Some(Secret::new("k")), ..Environment::default() };
        assert_eq!(target("http://h", &key).unwrap().credentials, Credentials::ApiKey("k".into()));
        assert_eq!(
            target("http://h", &Environment::default()).unwrap().credentials,
            Credentials::None
        );
        for contradiction in [
            target("http://x:y@h", &key),
            target("http://x@h", &Environment::default()),
            target("http://h", &Environment { password, ..Environment::default() }),
            target("http://h", &Environment { api_key_file: Some("f".into()), ..key.clone() }),
        ] {
            let failure = contradiction.unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.hint.is_some());
        }
    }

    #[test]
    fn secrets_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "p w\r\n").unwrap();
        let environment = Environment {
            username: Some("u".into()),
            password_file: Some(file.clone()),
            ..Environment::default()
        };
        assert_eq!(target("http://h", &environment).unwrap().credentials, basic("u", "p w"));

        fs::write(&file, "\n").unwrap();
        let failure = target("http://h", &environment).unwrap_err();
        assert_eq!(failure.exit, Exit::Person);
        assert!(failure.heading.ends_with("named by TRAILLOAD_PASSWORD_FILE, is empty"));

        let files = SecretFiles {
            api_key_file: Some(folder.path().join("absent")),
            ..SecretFiles::default()
        };
        let failure =
            Target::new(&address("http://h"), &files, &Environment::default()).unwrap_err();
        assert_eq!(failure.exit, Exit::Person);
        assert!(failure.heading.ends_with("absent, named by --api-key-file"), "{failure:?}");
        assert_eq!(failure.causes.len(), 1);
    }

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
            assert_eq!(prefix.parse::<IndexPrefix>(), Err(PrefixError::Letter(letter)));
        }
        for prefix in ["", "-a", "_a", ".a", ".", ".."] {
            assert_eq!(prefix.parse::<IndexPrefix>(), Err(PrefixError::Beginning), "{prefix}");
        }
        assert_eq!("+a".parse::<IndexPrefix>(), Err(PrefixError::Letter('+')));
        assert_eq!("a".repeat(129).parse::<IndexPrefix>(), Err(PrefixError::Long));
    }

    #[test]
    fn each_target_has_its_own_checkpoint() {
        let name = |url: &str, prefix: &str| {
            checkpoint_name(&url.parse().unwrap(), &prefix.parse().unwrap())
        };
        assert_eq!(name("http://localhost:9200", "cloudtrail"), "localhost-9200-cloudtrail.sqlite");
        assert_eq!(name("https://h", "a.b"), "h-443-a.b.sqlite");
        for same in ["http://127.0.0.1:9200", "http://[::1]:9200/", "http://LOCALHOST:9200//"] {
            assert_eq!(name(same, "a"), "localhost-9200-a.sqlite", "{same}");
        }
        assert_eq!(name("http://[2001:db8::1]:9200/", "a"), "2001_db8__1-9200-a.sqlite");
        assert_eq!(name("http://h:1/es/two/", "a"), "h-1-es_two-a.sqlite");
        assert!(!name("http://h:1/../..", "a").contains('/'));
        let long = |end: &str| name(&format!("http://h/{}{end}", "x".repeat(300)), "a");
        assert!(long("1").len() <= 230);
        assert_ne!(long("1"), long("2"));
    }

    #[test]
    fn spellings_of_one_address_are_one_target() {
        let url = |text| target(text, &Environment::default()).unwrap().url.to_string();
        for (typed, expected) in [
            ("http://host:9200//", "http://host:9200/"),
            ("HTTP://Host:80/es//two/", "http://host/es/two"),
            ("https://host.:443", "https://host/"),
        ] {
            assert_eq!(url(typed), expected, "{typed}");
        }
    }

    #[test]
    fn a_file_of_an_earlier_version_is_found_again() {
        let state = tempfile::tempdir().unwrap();
        let home = Environment { state: Some(state.path().to_owned()), ..Environment::default() };
        let prefix = "a".parse().unwrap();
        let file = |url: &str| default_checkpoint(&url.parse().unwrap(), &prefix, &home).unwrap();
        let folder = state.path().join("trailload");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("127.0.0.1-9200-a.sqlite"), "").unwrap();
        assert_eq!(file("http://localhost:9200"), folder.join("127.0.0.1-9200-a.sqlite"));
        assert_eq!(file("http://[::1]:9200"), folder.join("127.0.0.1-9200-a.sqlite"));
        assert_eq!(file("http://h:9200"), folder.join("h-9200-a.sqlite"));
        fs::write(folder.join("localhost-9200-a.sqlite"), "").unwrap();
        assert_eq!(file("http://127.0.0.1:9200"), folder.join("localhost-9200-a.sqlite"));
    }

    #[test]
    fn without_a_home_the_checkpoint_must_be_named() {
        let url = "http://h".parse().unwrap();
        let prefix = "a".parse().unwrap();
        let failure = default_checkpoint(&url, &prefix, &Environment::default()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let home = Environment { state: Some("/s".into()), ..Environment::default() };
        assert_eq!(
            default_checkpoint(&url, &prefix, &home).unwrap(),
            PathBuf::from("/s/trailload/h-80-a.sqlite")
        );
    }
}
