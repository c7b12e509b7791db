//! The engine to load into: URL, credentials, and the default checkpoint file.
//!
//! Input: options, environment variables, and the files with secrets that they name. Output: an [`EngineEndpoint`].
//! Invariant: user name and password move from the URL into the credentials; no error, `Debug` output or file name
//! shows them.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use url::Url;

use super::aws::EngineAuth;
use crate::{
    checkpoint::canonical_host,
    cli::{
        args::engine::{ConnectionArgs, EngineUrl, IndexPrefix, SecretFiles},
        environment::{self, Environment, Secret},
        failure::Failure,
    },
    sink::{Credentials, take_userinfo},
};

/// Longest name of a checkpoint file without its extension. File systems allow 255 bytes, and SQLite appends `-wal` and
/// `-shm`.
const MAX_FILE_NAME_BYTES: usize = 200;

/// The engine to load into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEndpoint {
    /// The URL, without user name and password.
    pub url: Url,
    /// The credentials sent with each request.
    pub credentials: Credentials,
}

impl EngineEndpoint {
    /// Combines the URL with the credentials in it, in files and in the environment.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the URL is invalid, if credentials of two kinds are given, or if a file with a secret
    /// cannot be read.
    pub fn new(
        url: &EngineUrl,
        files: &SecretFiles,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let mut url = parse(url)?;
        let userinfo = take_userinfo(&mut url);
        let credentials = credentials(userinfo, files, environment)?;
        Ok(Self { url, credentials })
    }
}

impl ConnectionArgs {
    /// Returns how requests to the engine are authenticated.
    pub(in crate::cli) fn auth(&self) -> EngineAuth {
        if self.aws_auth { EngineAuth::SigV4 } else { EngineAuth::Credentials }
    }

    /// Returns the engine that the options name.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if no URL is given, or as [`EngineEndpoint::new`] does.
    pub(in crate::cli) fn endpoint(
        &self,
        environment: &Environment,
    ) -> Result<EngineEndpoint, Failure> {
        let into = self.into.as_ref().ok_or_else(|| {
            Failure::usage("no engine is given").hint("add --into http://localhost:9200")
        })?;
        let endpoint = EngineEndpoint::new(into, &self.secret_files, environment)?;
        if self.aws_auth && endpoint.credentials != Credentials::None {
            return Err(Failure::usage(
                "'--aws-auth' cannot be combined with a user name or an API key",
            )
            .hint("use only one of them"));
        }
        Ok(endpoint)
    }
}

/// Returns the URL without user name and password.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the URL is not that of an engine.
pub fn engine_url(url: &EngineUrl) -> Result<Url, Failure> {
    let mut url = parse(url)?;
    take_userinfo(&mut url);
    Ok(url)
}

const SCHEME_EXPECTED: &str = "expected a URL that starts with http:// or https://";

/// Returns a URL that may have been meant: the value with a scheme if only that is missing, an example otherwise.
fn suggested_url(value: &str) -> String {
    let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-._:/[]".contains(letter);
    if value.is_empty() || value.contains("//") || !value.chars().all(is_host) {
        return "http://localhost:9200".to_owned();
    }
    let host = value.split([':', '/']).next().unwrap_or_default();
    let scheme = if matches!(host, "localhost" | "127.0.0.1" | "") { "http" } else { "https" };
    format!("{scheme}://{value}")
}

/// Returns the normalized URL: all spellings of one URL give the same result. It may still hold user name and password.
fn parse(address: &EngineUrl) -> Result<Url, Failure> {
    let wrong = |problem: &str| {
        let hint = if address.expose().contains('@') {
            ESCAPE_HINT.to_owned()
        } else {
            format!("use the URL of the engine, such as {}", suggested_url(address.expose()))
        };
        Failure::usage(format!("invalid value '{address}' for '--into <URL>': {problem}"))
            .hint(hint)
    };
    // The parser drops them silently, which would change a password.
    if address.expose().trim().contains(|letter: char| letter.is_control()) {
        return Err(wrong("expected a URL without control characters"));
    }
    let mut url: Url = address.expose().parse().map_err(|error: url::ParseError| match error {
        url::ParseError::RelativeUrlWithoutBase => wrong(SCHEME_EXPECTED),
        other => wrong(&other.to_string()),
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(SCHEME_EXPECTED));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("expected a URL without '?' and '#'"));
    }
    // A password with a slash in it looks like a host and a path.
    if url.path().contains('@') {
        return Err(wrong("expected no '@' after the host"));
    }
    normalize(&mut url);
    Ok(url)
}

/// How to write a URL whose user name or password holds characters that have a meaning in URLs.
const ESCAPE_HINT: &str = "percent-encode the user name and password ('#' is %23, '?' is %3F, '/' is %2F, '@' is %40, '%' is %25), \
     or omit them and set TRAILLOAD_USERNAME and TRAILLOAD_PASSWORD";

/// Removes empty path segments, and the dot at the end of a host name.
fn normalize(url: &mut Url) {
    let parts = url.path().split('/').filter(|part| !part.is_empty());
    let path: String = parts.flat_map(|part| ["/", part]).collect();
    url.set_path(&path);
    let host = url.host_str().and_then(|host| host.strip_suffix('.')).map(str::to_owned);
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        // It fails only for an invalid host, and this one was parsed before.
        let _ = url.set_host(Some(&host));
    }
}

fn credentials(
    (typed_name, typed_password): (Option<String>, Option<String>),
    files: &SecretFiles,
    environment: &Environment,
) -> Result<Credentials, Failure> {
    let env_password = SecretSources {
        variable: environment::PASSWORD,
        value: environment.password.clone(),
        option: ("--password-file", files.password_file.as_deref()),
        file_variable: (environment::PASSWORD_FILE, environment.password_file.as_deref()),
    };
    let api_key = SecretSources {
        variable: environment::API_KEY,
        value: environment.api_key.clone(),
        option: ("--api-key-file", files.api_key_file.as_deref()),
        file_variable: (environment::API_KEY_FILE, environment.api_key_file.as_deref()),
    };
    let username = typed_name.or_else(|| environment.username.clone());
    // A password in the URL was given for this run, so it takes precedence over the environment.
    let password = match typed_password {
        Some(password) => Some(password),
        None => env_password.secret()?.map(|secret| secret.expose().to_owned()),
    };
    match (username, password, api_key.secret()?) {
        (None, None, None) => Ok(Credentials::None),
        (None, None, Some(key)) => Ok(Credentials::ApiKey(key.expose().to_owned())),
        (Some(username), Some(password), None) => Ok(Credentials::Basic { username, password }),
        (Some(_), None, None) => Err(Failure::usage("user name without a password").hint(format!(
            "set {} or {}",
            environment::PASSWORD,
            environment::PASSWORD_FILE
        ))),
        (None, Some(_), None) => Err(Failure::usage("password without a user name")
            .hint(format!("set {}", environment::USERNAME))),
        (_, _, Some(_)) => {
            Err(Failure::usage("both an API key and a user name or password are set")
                .hint("use only one of them"))
        }
    }
}

/// The places where one secret may be set.
struct SecretSources<'a> {
    variable: &'static str,
    value: Option<Secret>,
    option: (&'static str, Option<&'a Path>),
    file_variable: (&'static str, Option<&'a Path>),
}

impl SecretSources<'_> {
    /// Returns the secret. The option takes precedence over the variables; setting both variables is an error.
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

/// Reads a secret from a file, without the line break at its end. `named_by` is the option or variable that names the file.
fn read_secret(named_by: &str, path: &Path) -> Result<Secret, Failure> {
    let text = environment::read_text(path).map_err(|error| {
        Failure::action_required(format!("cannot read {}, named by {named_by}", path.display()))
            .caused_by(&error)
    })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::action_required(format!(
            "{}, named by {named_by}, is empty",
            path.display()
        )));
    }
    Ok(Secret::new(secret))
}

/// Returns the default checkpoint file of an engine and an index prefix.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the environment does not define the state folder.
pub fn default_checkpoint(
    url: &Url,
    prefix: &IndexPrefix,
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    Ok(checkpoint_folder(environment)?.join(checkpoint_name(url, prefix)))
}

/// Returns the folder of the default checkpoint files.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the environment does not define the state folder.
pub fn checkpoint_folder(environment: &Environment) -> Result<PathBuf, Failure> {
    let state = environment.state.as_ref().ok_or_else(|| {
        Failure::usage("cannot locate the checkpoint: neither XDG_STATE_HOME nor HOME is set")
            .hint("name the file with --checkpoint FILE")
    })?;
    Ok(state.join("trailload"))
}

/// Returns the name of the checkpoint file: host, port, path and prefix, in characters that every file system allows.
fn checkpoint_name(url: &Url, prefix: &IndexPrefix) -> String {
    let host = canonical_host(url.host_str().unwrap_or_default().trim_matches(['[', ']']));
    let port = url.port_or_known_default().unwrap_or_default();
    // Engines behind one proxy may differ only in the path.
    let path = url.path().trim_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("-{path}") };
    let name: String = format!("{host}-{port}{path}-{prefix}")
        .chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => letter,
            _ => '_',
        })
        .collect();
    if name.len() <= MAX_FILE_NAME_BYTES {
        return format!("{name}.sqlite");
    }
    let mut short = name[..MAX_FILE_NAME_BYTES].to_owned();
    for byte in Sha256::digest(name.as_bytes()).iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    format!("{short}.sqlite")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::exit::Exit;

    fn address(text: &str) -> EngineUrl {
        text.parse().unwrap()
    }

    fn target(text: &str, environment: &Environment) -> Result<EngineEndpoint, Failure> {
        EngineEndpoint::new(&address(text), &SecretFiles::default(), environment)
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
            ("localhost:9200", "expected a URL that starts with http:// or https://"),
            ("localhost", "expected a URL that starts with http:// or https://"),
            ("ftp://a:hunter2@host/", "expected a URL that starts with http:// or https://"),
            ("user:hunter2@host:9200", "expected a URL that starts with http:// or https://"),
            ("http://", "empty host"),
            ("http://a:hunter2@host:99999", "invalid port number"),
            ("http://a:hunt/er2@host:9200", "invalid port number"),
            ("http://host:9200/?token=hunter2", "expected a URL without '?' and '#'"),
            ("http://a:hunt#er2@host:9200", "invalid port number"),
            ("http://a:12#er2@host:9200", "expected a URL without '?' and '#'"),
            ("http://a:12?er2@host:9200", "expected a URL without '?' and '#'"),
            ("http://a:12/er2@host:9200", "expected no '@' after the host"),
            ("http://a:12\\er2@host:9200", "expected no '@' after the host"),
            ("http://a:hunt\ter2@host:9200", "expected a URL without control characters"),
            ("http://a:hunter2", "invalid port number"),
            ("", "expected a URL that starts with http:// or https://"),
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
        assert_eq!(failure.exit, Exit::ActionRequired);
        assert!(failure.heading.ends_with("named by TRAILLOAD_PASSWORD_FILE, is empty"));

        let files = SecretFiles {
            api_key_file: Some(folder.path().join("absent")),
            ..SecretFiles::default()
        };
        let failure =
            EngineEndpoint::new(&address("http://h"), &files, &Environment::default()).unwrap_err();
        assert_eq!(failure.exit, Exit::ActionRequired);
        assert!(failure.heading.ends_with("absent, named by --api-key-file"), "{failure:?}");
        assert_eq!(failure.causes.len(), 1);
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

    #[test]
    fn a_url_without_a_scheme_is_suggested_with_one() {
        for (value, suggestion) in [
            ("localhost:9200", "http://localhost:9200"),
            ("search.example:9200/es", "https://search.example:9200/es"),
            ("10.0.0.1", "https://10.0.0.1"),
            ("", "http://localhost:9200"),
            ("ftp://search.example", "http://localhost:9200"),
            ("not a url", "http://localhost:9200"),
        ] {
            let failure = target(value, &Environment::default()).unwrap_err();
            let hint = failure.hint.unwrap();
            assert_eq!(hint, format!("use the URL of the engine, such as {suggestion}"));
        }
    }
}
