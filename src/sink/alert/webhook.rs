//! Alerts to any HTTP server.
//!
//! Input: an [`AlertMessage`]. Output: a request with a JSON body: the alert and its event, or a template of the action file.
//! Invariant: the body is valid JSON whatever the event contains, and the same for every attempt. Requests of an alert have the
//! same `Idempotency-Key`.
//!
//! With a secret, requests are signed as the Standard Webhooks specification defines it (standardwebhooks.com): `webhook-id`,
//! `webhook-timestamp`, and in `webhook-signature` the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use sha2::Sha256;

use super::{
    AlertMessage, DeliveryError, ReceiverContext, Rendered, header_value,
    http::{HttpRequest, HttpSender, HttpSettings, ResponseRules},
    json_template::JsonTemplate,
    secret_text::{SecretLookup, SecretText},
    settings::{HTTP_KEYS, Read, Settings, secret},
};
use crate::{
    filter::yaml::{DefinitionError, TextPosition, YamlNode, expected},
    redact::Secret,
};

/// The keys of this kind.
pub(super) const KEYS: [&str; 7] =
    ["url", "url_file", "method", "headers", "body", "signing_secret", "signing_secret_file"];

/// Start of a secret of Standard Webhooks, which is followed by base64.
const SECRET_PREFIX: &str = "whsec_";

/// Headers that the HTTP client or this receiver sets.
const RESERVED_HEADERS: [&str; 8] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "idempotency-key",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

const RULES: ResponseRules = ResponseRules {
    throttled: None,
    hint: |status, _| match status {
        401 | 403 => Some("check `headers` and `signing_secret`"),
        404 | 405 => Some("check `url` and `method`"),
        413 => Some("the server accepts no body of this size; leave `${event}` out of `body`"),
        _ => None,
    },
};

/// The settings of an action.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    url: SecretText,
    method: WebhookMethod,
    headers: Vec<(HeaderName, SecretText)>,
    body: Option<JsonTemplate>,
    signing_secret: Option<SecretText>,
    pub(super) http: HttpSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WebhookMethod {
    Post,
    Put,
    Patch,
}

impl WebhookMethod {
    fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

impl WebhookSettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "webhook", &[&KEYS, &HTTP_KEYS])?;
        let methods = [WebhookMethod::Post, WebhookMethod::Put, WebhookMethod::Patch];
        let methods = methods.map(|method| (method.name(), method));
        Ok(Self {
            url: settings
                .secret_url("url")?
                .ok_or_else(|| settings.missing("url", "url: https://hooks.example.com/alerts"))?,
            method: settings.one_of("method", &methods)?.unwrap_or(WebhookMethod::Post),
            headers: settings.get("headers").map_or_else(|| Ok(Vec::new()), headers)?,
            body: settings.get("body").map(JsonTemplate::read).transpose()?,
            signing_secret: settings.secret("signing_secret")?,
            http: HttpSettings::read(&settings)?,
        })
    }

    pub(super) fn secrets(&self) -> Vec<&SecretText> {
        // A URL and a header need not hold a secret.
        self.signing_secret.iter().collect()
    }

    /// Returns the body of the request.
    fn body(&self, message: &AlertMessage) -> String {
        match &self.body {
            None => message.document().to_json(),
            Some(template) => template.render(&message.to_value()).to_string(),
        }
    }

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        let body = self.body(message);
        let mut rendered = Rendered::post(
            self.url.to_string(),
            serde_json::from_str(&body).unwrap_or_else(|_| body.into()),
        );
        self.method.name().clone_into(&mut rendered.method);
        for (name, value) in &self.headers {
            rendered = rendered.header(name.as_str(), value.to_string());
        }
        rendered = rendered.header("Idempotency-Key", message.alert().id.clone());
        if self.signing_secret.is_some() {
            rendered = rendered.header("webhook-id", message.alert().id.clone());
            rendered = rendered.header("webhook-signature", "v1,(of the body)".to_owned());
        }
        rendered
    }
}

/// Reads headers by name.
fn headers(node: &YamlNode) -> Read<Vec<(HeaderName, SecretText)>> {
    let entries = node.as_mapping().ok_or_else(|| expected(node, "a mapping of headers"))?;
    let mut headers = Vec::new();
    for entry in entries {
        let name: HeaderName = entry.key.parse().map_err(|_| {
            DefinitionError::new(entry.key_position, "the name of the header is not valid")
        })?;
        if RESERVED_HEADERS.contains(&name.as_str()) {
            let message = format!("the header `{name}` is set by trailload");
            return Err(DefinitionError::new(entry.key_position, message).suggest("remove it"));
        }
        headers.push((name, secret(&entry.value)?));
    }
    Ok(headers)
}

/// Sends alerts to a webhook.
#[derive(Debug)]
pub(super) struct WebhookReceiver {
    settings: WebhookSettings,
    headers: HeaderMap,
    signer: Option<Signer>,
    sender: HttpSender,
}

impl WebhookReceiver {
    pub(super) fn new(
        settings: &WebhookSettings,
        lookup: &SecretLookup<'_>,
        position: TextPosition,
    ) -> Read<Self> {
        let mut secrets = Vec::new();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &settings.headers {
            let secret = value.resolve(lookup)?;
            headers.insert(name, header_value(&secret, name.as_str(), position)?);
            // The scheme in front of a token is no secret, the token behind it is.
            secrets.extend(secret.expose().rsplit(' ').next().map(Secret::new));
            secrets.push(secret);
        }
        let signer = match &settings.signing_secret {
            Some(secret) => {
                let secret = secret.resolve(lookup)?;
                let signer = Signer::new(&secret, position)?;
                secrets.push(secret);
                Some(signer)
            }
            None => None,
        };
        let url = settings.url.resolve(lookup)?;
        let sender = HttpSender::new(&settings.http, lookup.folder, url, secrets, position)?;
        Ok(Self { settings: settings.clone(), headers, signer, sender })
    }

    pub(super) async fn deliver(
        &self,
        message: &AlertMessage,
        context: &ReceiverContext,
    ) -> Result<(), DeliveryError> {
        let now = context.clock.now();
        let body = self.settings.body(message);
        let mut headers = self.headers.clone();
        let id = HeaderValue::from_str(&message.alert().id)
            .map_err(|_| DeliveryError::permanent("the id of the alert is not valid"))?;
        headers.insert(HeaderName::from_static("idempotency-key"), id.clone());
        if let Some(signer) = &self.signer {
            headers.insert(HeaderName::from_static("webhook-id"), id);
            signer.sign(&message.alert().id, now, &body, &mut headers);
        }
        let method = match self.settings.method {
            WebhookMethod::Post => Method::POST,
            WebhookMethod::Put => Method::PUT,
            WebhookMethod::Patch => Method::PATCH,
        };
        self.sender.send(HttpRequest { method, headers, body: body.into() }, &RULES, now).await
    }
}

/// Signs requests.
struct Signer(Hmac<Sha256>);

impl Signer {
    fn new(secret: &Secret, position: TextPosition) -> Read<Self> {
        let text = secret.expose();
        let key = match text.strip_prefix(SECRET_PREFIX) {
            Some(encoded) => BASE64_STANDARD.decode(encoded.trim()).map_err(|_| {
                let message = format!("`signing_secret` is not valid base64 after {SECRET_PREFIX}");
                DefinitionError::new(position, message)
            })?,
            None => text.as_bytes().to_vec(),
        };
        let mac = Hmac::new_from_slice(&key)
            .map_err(|_| DefinitionError::new(position, "`signing_secret` is not valid"))?;
        Ok(Self(mac))
    }

    /// Adds the time and the signature of a body.
    fn sign(&self, id: &str, now: Timestamp, body: &str, headers: &mut HeaderMap) {
        let seconds = now.as_second();
        let signature = self.signature(id, seconds, body);
        headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds));
        // Base64 has only characters that headers accept.
        if let Ok(value) = HeaderValue::from_str(&format!("v1,{signature}")) {
            headers.insert(HeaderName::from_static("webhook-signature"), value);
        }
    }

    fn signature(&self, id: &str, seconds: i64, body: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body.as_bytes());
        BASE64_STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Signer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: TextPosition = TextPosition { line: 1, column: 1 };

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the specification's reference libraries (standard-webhooks, MIT).
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signer = Signer::new(&secret, PLACE).unwrap();
        assert_eq!(
            signer.signature(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#
            ),
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert!(Signer::new(&Secret::new("whsec_!"), PLACE).is_err());
        assert_eq!(format!("{signer:?}"), "Signer(…)");
    }
}
