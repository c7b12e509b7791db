//! Alerts in an index of the engine.
//!
//! Input: an [`AlertMessage`]. Output: a document whose id is that of the alert, so an alert is indexed once, however often it is
//! delivered.
//! Invariant: the index has a template of its own, whose fields do not depend on events; the event is stored and not indexed.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use super::{
    AlertMessage, DeliveryError, ReceiverContext, Rendered, RetryAdvice,
    secret_text::{SecretLookup, SecretText},
    settings::{Read, Settings},
};
use crate::{
    filter::yaml::{DefinitionError, TextPosition, YamlNode},
    pending::PendingRequests,
    redact,
    sink::{
        Credentials, Error, Service, Signing, Target,
        cause::{Cause, ConnectError},
        engine::{AttemptError, DocumentIndex, DocumentKind},
    },
};

/// The keys of this kind.
pub(super) const KEYS: [&str; 13] = [
    "url",
    "url_file",
    "index",
    "username",
    "password",
    "password_file",
    "api_key",
    "api_key_file",
    "bearer_token",
    "bearer_token_file",
    "aws_auth",
    "timeout",
    "ca_file",
];

/// Name of the index. It must match no pattern of the events, such as `cloudtrail-*`.
const DEFAULT_INDEX: &str = "trailload-alerts";

/// Time limit of a request.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest name of an index.
const MAX_INDEX_BYTES: usize = 200;

/// The settings of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSettings {
    url: Option<SecretText>,
    index: String,
    username: Option<String>,
    password: Option<SecretText>,
    api_key: Option<SecretText>,
    bearer_token: Option<SecretText>,
    is_signed: bool,
    pub(super) timeout: Duration,
    ca_file: Option<std::path::PathBuf>,
}

impl IndexSettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "index", &[&KEYS])?;
        let index = settings.text("index")?;
        if let (Some(index), Some(node)) = (&index, settings.get("index")) {
            check_name(index).map_err(|problem| {
                DefinitionError::new(node.position, format!("the name of the index {problem}"))
            })?;
        }
        let read = Self {
            url: settings.secret_url("url")?,
            index: index.unwrap_or_else(|| DEFAULT_INDEX.to_owned()),
            username: settings.text("username")?,
            password: settings.secret("password")?,
            api_key: settings.secret("api_key")?,
            bearer_token: settings.secret("bearer_token")?,
            is_signed: settings.flag("aws_auth")?.unwrap_or(false),
            timeout: settings.timeout(DEFAULT_TIMEOUT)?,
            ca_file: settings.path("ca_file")?,
        };
        read.check(&settings, node)?;
        Ok(read)
    }

    fn check(&self, settings: &Settings<'_>, node: &YamlNode) -> Read<()> {
        let kinds = [
            self.username.is_some(),
            self.api_key.is_some(),
            self.bearer_token.is_some(),
            self.is_signed,
        ];
        if kinds.into_iter().filter(|is_given| *is_given).count() > 1 {
            let message = "credentials of two kinds are given";
            return Err(DefinitionError::new(node.position, message).suggest(
                "keep one of `username` with `password`, `api_key`, `bearer_token` and `aws_auth`",
            ));
        }
        match (&self.username, &self.password) {
            (Some(_), None) => {
                return Err(settings.missing("password", "password: \"${ES_PASSWORD}\""));
            }
            (None, Some(_)) => return Err(settings.missing("username", "username: alerts")),
            _ => {}
        }
        if self.url.is_none() && (kinds.contains(&true) || self.ca_file.is_some()) {
            return Err(settings.missing("url", "url: https://search.example:9200"));
        }
        Ok(())
    }

    pub(super) fn secrets(&self) -> Vec<&SecretText> {
        // A URL need not hold a secret.
        [&self.password, &self.api_key, &self.bearer_token].into_iter().flatten().collect()
    }

    pub(super) fn literal_url(&self) -> Option<&str> {
        self.url.as_ref()?.literal()
    }

    pub(super) fn ca_file(&self) -> Option<&std::path::Path> {
        self.ca_file.as_deref()
    }

    /// Returns whether the engine is that of the run.
    pub(super) fn needs_engine(&self) -> bool {
        self.url.is_none()
    }

    /// Returns whether requests are signed with AWS credentials.
    pub(super) fn is_signed(&self) -> bool {
        self.is_signed
    }

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        let engine = self.url.as_ref().map_or("(the engine of --into)".to_owned(), |url| {
            url.literal().map_or_else(|| url.to_string(), redact::url)
        });
        let address = format!(
            "{}/{}/_create/{}",
            engine.trim_end_matches('/'),
            self.index,
            message.alert().id
        );
        let mut rendered = Rendered::post(address, document(message));
        "PUT".clone_into(&mut rendered.method);
        rendered
    }
}

/// Checks a name against the rules of engines for index names.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.starts_with(['-', '_', '+', '.']) {
        Err("must not start with `-`, `_`, `+` or `.`")
    } else if name.chars().any(char::is_uppercase) {
        Err("must not have upper-case letters")
    } else if name.contains(|letter: char| {
        letter.is_whitespace() || letter.is_control() || "\\/*?\"<>|,#:%&=".contains(letter)
    }) {
        Err("has a character that index names cannot have")
    } else if name.len() > MAX_INDEX_BYTES {
        Err("is too long")
    } else {
        Ok(())
    }
}

/// Indexes alerts.
#[derive(Debug)]
pub(super) struct IndexReceiver {
    target: Target,
    index: OnceCell<DocumentIndex>,
    pending: PendingRequests,
}

impl IndexReceiver {
    pub(super) fn new(
        settings: &IndexSettings,
        lookup: &SecretLookup<'_>,
        context: &ReceiverContext,
        position: TextPosition,
    ) -> Read<Self> {
        let mut target = match &settings.url {
            None => context.engine.clone().ok_or_else(|| {
                DefinitionError::new(position, "the action `index` has no engine").suggest(
                    "add `url: https://search.example:9200`, or give the engine with --into",
                )
            })?,
            Some(url) => settings.own_target(url, lookup, context, position)?,
        };
        target.prefix.clone_from(&settings.index);
        target.request_timeout = settings.timeout;
        Ok(Self { target, index: OnceCell::new(), pending: PendingRequests::default() })
    }

    pub(super) async fn deliver(&self, message: &AlertMessage) -> Result<(), DeliveryError> {
        let index = self.index.get_or_try_init(|| self.open()).await?;
        let body = Bytes::from(document(message).to_string());
        index.create(&message.alert().id, body).await.map_err(delivery_error)
    }

    /// Installs the template of the index, if it is missing.
    async fn open(&self) -> Result<DocumentIndex, DeliveryError> {
        let (target, pending) = (self.target.clone(), self.pending.clone());
        let opening = DocumentIndex::open(DocumentKind::Alert, target, pending);
        let index = opening.await.map_err(|error| unusable(&error))?;
        index.install_template().await.map_err(delivery_error)?;
        Ok(index)
    }
}

impl IndexSettings {
    fn own_target(
        &self,
        url: &SecretText,
        lookup: &SecretLookup<'_>,
        context: &ReceiverContext,
        position: TextPosition,
    ) -> Read<Target> {
        let error = |message: &str| DefinitionError::new(position, message.to_owned());
        let url: Url = url
            .resolve(lookup)?
            .expose()
            .trim()
            .parse()
            .map_err(|_| error("the URL of the engine is not valid"))?;
        let mut target = Target::new(url, &self.index);
        let secret = |text: &SecretText| Ok(text.resolve(lookup)?.expose().to_owned());
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            target.credentials =
                Credentials::Basic { username: username.clone(), password: secret(password)? };
        } else if let Some(key) = &self.api_key {
            target.credentials = Credentials::ApiKey(secret(key)?);
        } else if let Some(token) = &self.bearer_token {
            target.credentials = Credentials::Bearer(secret(token)?);
        } else if self.is_signed {
            let session = context
                .session
                .as_ref()
                .ok_or_else(|| error("`aws_auth` needs AWS credentials"))?;
            let (service, region) = Service::from_host(&target.url)
                .unwrap_or_else(|| (Service::Domain, session.region()));
            let credentials = session.credentials_provider();
            target.signing = Some(Signing { service, region, credentials });
        }
        target.ca_file = self.ca_file.as_ref().map(|path| lookup.folder.join(path));
        Ok(target)
    }
}

/// Returns the document of an alert.
fn document(message: &AlertMessage) -> Value {
    let mut document = message.to_value();
    if let Some(time) = message.alert().time {
        document["@timestamp"] = time.to_string().into();
    }
    document
}

/// Returns the error of an index that cannot be used, such as one with an invalid address.
fn unusable(error: &Error) -> DeliveryError {
    let causes: Vec<String> = crate::error::chain(error).map(ToString::to_string).collect();
    DeliveryError::permanent(causes.join(": "))
}

fn delivery_error(error: AttemptError) -> DeliveryError {
    let AttemptError { url, cause, retry_after } = error;
    let retry = match (&cause, retry_after) {
        (_, Some(wait)) => RetryAdvice::After(wait),
        (Cause::Connection { kind: ConnectError::Proxy(Some(400..=499)), .. }, None) => {
            RetryAdvice::Never
        }
        (Cause::Connection { .. }, None) => RetryAdvice::Backoff,
        (Cause::Redirect { .. }, None) => RetryAdvice::Never,
        (cause, None) => match cause.status() {
            Some(408 | 429 | 500..=599) => RetryAdvice::Backoff,
            // A full disk blocks writes with 403 or 429 until somebody has made room.
            _ if cause.code() == "cluster_block_exception" => RetryAdvice::Backoff,
            _ => RetryAdvice::Never,
        },
    };
    let hint = match cause.status() {
        Some(401) => Some("check the credentials of the action"),
        Some(403) => {
            Some("allow this user to manage index templates and to create documents in the index")
        }
        _ => None,
    };
    let error = DeliveryError::new(retry, format!("{url}: {cause}"));
    match hint {
        Some(hint) if retry == RetryAdvice::Never => error.hint(hint),
        _ => error,
    }
}
