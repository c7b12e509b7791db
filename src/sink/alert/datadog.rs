//! Datadog events, with the API of version 1 or 2.
//!
//! Input: an [`AlertMessage`]. Output: a request to the events API of a site.
//! Invariant: title, text, tags and keys are within the limits of the API, and nothing in an event starts Markdown or notifies
//! anybody.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::{
    AlertMessage, DeliveryError, ReceiverContext, Rendered,
    http::{HttpRequest, HttpSender, HttpSettings, ResponseRules},
    secret_text::{SecretLookup, SecretText},
    settings::{HTTP_KEYS, Read, Settings},
    text_limit::TextLimit,
};
use crate::{
    event::Severity,
    filter::yaml::{TextPosition, YamlNode},
    redact::Secret,
};

/// The sites of Datadog (documentation, "Getting Started with Datadog Sites").
const SITES: [(&str, &str); 9] = [
    ("datadoghq.com", "datadoghq.com"),
    ("us3.datadoghq.com", "us3.datadoghq.com"),
    ("us5.datadoghq.com", "us5.datadoghq.com"),
    ("datadoghq.eu", "datadoghq.eu"),
    ("ap1.datadoghq.com", "ap1.datadoghq.com"),
    ("ap2.datadoghq.com", "ap2.datadoghq.com"),
    ("uk1.datadoghq.com", "uk1.datadoghq.com"),
    ("ddog-gov.com", "ddog-gov.com"),
    ("us2.ddog-gov.com", "us2.ddog-gov.com"),
];

/// The keys of this kind.
pub(super) const KEYS: [&str; 6] =
    ["api_key", "api_key_file", "site", "version", "tags", "endpoint"];

/// Longest title in version 1 and 2.
const MAX_TITLE: [TextLimit; 2] = [TextLimit::utf16(100), TextLimit::utf16(500)];

/// Longest text.
const MAX_TEXT: TextLimit = TextLimit::utf16(4_000);

/// Longest tag, and how many an event can have.
const MAX_TAG: TextLimit = TextLimit::characters(200);
const MAX_TAGS: usize = 100;

/// Longest URL of a link.
const MAX_URL_CHARS: usize = 2_048;

/// Longest value of a custom attribute. All of them together are far below the limit of an event.
const MAX_ATTRIBUTE: TextLimit = TextLimit::utf16(1_000);

/// Oldest time that the API accepts is 18 hours ago; a request takes time, too.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(17 * 60 + 45);

const RULES: ResponseRules = ResponseRules {
    throttled: None,
    hint: |status, _| match status {
        401 | 403 => Some("check `api_key`, and that `site` is the site of the organization"),
        404 => Some("check `site` and `endpoint`"),
        413 => Some("the event is too large"),
        _ => None,
    },
};

/// The settings of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatadogSettings {
    api_key: SecretText,
    site: &'static str,
    version: Version,
    tags: Vec<String>,
    endpoint: Option<String>,
    pub(super) http: HttpSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl DatadogSettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "datadog", &[&KEYS, &HTTP_KEYS])?;
        let versions =
            [("v1", Version::V1), ("v2", Version::V2), ("1", Version::V1), ("2", Version::V2)];
        Ok(Self {
            api_key: settings
                .secret("api_key")?
                .ok_or_else(|| settings.missing("api_key", "api_key: \"${DD_API_KEY}\""))?,
            site: settings.one_of("site", &SITES)?.unwrap_or(SITES[0].1),
            version: settings.one_of("version", &versions)?.unwrap_or(Version::V2),
            tags: settings.texts("tags")?,
            endpoint: settings.endpoint()?,
            http: HttpSettings::read(&settings)?,
        })
    }

    pub(super) fn secrets(&self) -> Vec<&SecretText> {
        vec![&self.api_key]
    }

    /// Returns the URL. Version 2 has a host of its own.
    fn url(&self) -> String {
        let (subdomain, path) = match self.version {
            Version::V1 => ("api", "/api/v1/events"),
            Version::V2 => ("event-management-intake", "/api/v2/events"),
        };
        match &self.endpoint {
            Some(endpoint) => format!("{endpoint}{path}"),
            None => format!("https://{subdomain}.{}{path}", self.site),
        }
    }

    pub(super) fn render(&self, message: &AlertMessage, now: Timestamp) -> Rendered {
        Rendered::post(self.url(), self.body(message, now))
            .header("DD-API-KEY", self.api_key.to_string())
    }

    /// Returns the body of the request.
    fn body(&self, message: &AlertMessage, now: Timestamp) -> Value {
        match self.version {
            Version::V1 => self.body_v1(message, now),
            Version::V2 => self.body_v2(message, now),
        }
    }

    fn body_v1(&self, message: &AlertMessage, now: Timestamp) -> Value {
        let (alert_type, priority) = match message.alert().severity {
            Severity::Critical | Severity::High => ("error", "normal"),
            Severity::Medium => ("warning", "normal"),
            Severity::Low | Severity::Info => ("info", "low"),
        };
        let mut body = json!({
            "title": MAX_TITLE[0].cut(&title(message)),
            "text": text(message),
            "alert_type": alert_type,
            "priority": priority,
            "tags": self.tags(message),
            "aggregation_key": message.alert().group_id,
        });
        if let Some(time) = accepted_time(message, now) {
            body["date_happened"] = time.as_second().into();
        }
        body
    }

    fn body_v2(&self, message: &AlertMessage, now: Timestamp) -> Value {
        let (status, priority) = match message.alert().severity {
            Severity::Critical => ("error", "1"),
            Severity::High => ("error", "2"),
            Severity::Medium => ("warn", "3"),
            Severity::Low => ("warn", "4"),
            Severity::Info => ("ok", "5"),
        };
        let link = message.console_link().filter(|link| link.len() <= MAX_URL_CHARS);
        let links: Vec<Value> = link
            .map(|url| json!({"category": "dashboard", "title": "Event history", "url": url}))
            .into_iter()
            .collect();
        let mut attributes = json!({
            "category": "alert",
            "integration_id": "custom-events",
            "title": MAX_TITLE[1].cut(&title(message)),
            "message": text(message),
            "tags": self.tags(message),
            "aggregation_key": message.alert().group_id,
            "attributes": {
                "status": status,
                "priority": priority,
                "custom": custom_attributes(message),
                "links": links,
            },
        });
        if let Some(time) = accepted_time(message, now) {
            attributes["timestamp"] = time.to_string().into();
        }
        json!({"data": {"type": "event", "attributes": attributes}})
    }

    fn tags(&self, message: &AlertMessage) -> Vec<String> {
        let mut tags = vec![
            tag("severity", message.alert().severity.name()),
            tag("rule", &message.alert().rule),
        ];
        let of_event = [
            ("account", message.account()),
            ("region", message.event_text("/awsRegion")),
            ("event_source", message.event_text("/eventSource")),
            ("event_name", message.event_text("/eventName")),
        ];
        tags.extend(of_event.iter().filter_map(|(key, value)| Some(tag(key, (*value)?))));
        let given = self.tags.iter().map(|given| match given.split_once(':') {
            Some((key, value)) => tag(key, value),
            None => MAX_TAG.cut(&normalized(given)).into_owned(),
        });
        tags.extend(given);
        tags.truncate(MAX_TAGS);
        tags
    }
}

/// Sends alerts to Datadog.
#[derive(Debug)]
pub(super) struct DatadogReceiver {
    settings: DatadogSettings,
    api_key: HeaderValue,
    sender: HttpSender,
}

impl DatadogReceiver {
    pub(super) fn new(
        settings: &DatadogSettings,
        lookup: &SecretLookup<'_>,
        position: TextPosition,
    ) -> Read<Self> {
        let secret = settings.api_key.resolve(lookup)?;
        let api_key = super::header_value(&secret, "api_key", position)?;
        let url = Secret::new(settings.url());
        let sender = HttpSender::new(&settings.http, lookup.folder, url, vec![secret], position)?;
        Ok(Self { settings: settings.clone(), api_key, sender })
    }

    pub(super) async fn deliver(
        &self,
        message: &AlertMessage,
        context: &ReceiverContext,
    ) -> Result<(), DeliveryError> {
        let now = context.clock.now();
        let mut request = HttpRequest::json(self.settings.body(message, now).to_string());
        self.add_key(&mut request.headers);
        self.sender.send(request, &RULES, now).await
    }

    fn add_key(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static("dd-api-key"), self.api_key.clone());
    }
}

/// Returns the time of the event if the API accepts it; of an older one, the text has the time.
fn accepted_time(message: &AlertMessage, now: Timestamp) -> Option<Timestamp> {
    let time = message.alert().time?;
    (now.duration_since(time) < MAX_AGE && time <= now).then_some(time)
}

fn title(message: &AlertMessage) -> String {
    harmless(&format!("[{}] {}", message.alert().severity.name(), message.rule()))
}

/// Returns the text: what must not be cut stands first.
fn text(message: &AlertMessage) -> String {
    let mut text = harmless(message.headline());
    if let Some(description) = message.description() {
        text.push('\n');
        text.push_str(&TextLimit::utf16(1_000).cut(&harmless(&description)));
    }
    for (label, value) in
        [("Console", message.console_link()), ("Search", message.search_command())]
    {
        if let Some(value) = value {
            let _ = write!(text, "\n{label}: {value}");
        }
    }
    for fact in message.facts() {
        let value = MAX_ATTRIBUTE.cut(&fact.value).into_owned();
        let _ = write!(text, "\n{}: {}", fact.label, harmless(&value));
    }
    MAX_TEXT.cut(&text).into_owned()
}

/// Attributes by which events are searched: texts without any nesting, at most 100.
fn custom_attributes(message: &AlertMessage) -> Value {
    let document = serde_json::to_value(message.document().without_event()).unwrap_or_default();
    let Value::Object(members) = document else { return document };
    let attributes = members.into_iter().filter(|(_, value)| !value.is_null());
    attributes
        .map(|(key, value)| {
            let value = match value {
                Value::String(text) => Value::from(MAX_ATTRIBUTE.cut(&text)),
                Value::Array(_) | Value::Object(_) => {
                    Value::from(MAX_ATTRIBUTE.cut(&value.to_string()))
                }
                scalar => scalar,
            };
            (key, value)
        })
        .collect::<Map<_, _>>()
        .into()
}

fn tag(key: &str, value: &str) -> String {
    MAX_TAG.cut(&format!("{}:{}", normalized(key), normalized(value))).replace('…', "_")
}

/// Returns a part of a tag with the characters that Datadog keeps: letters, digits, `_`, `-`, `.` and `/`.
fn normalized(text: &str) -> String {
    let keep = |letter: char| letter.is_alphanumeric() || "_-./".contains(letter);
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|letter| if keep(letter) { letter } else { '_' })
        .collect()
}

/// Returns a text that starts no Markdown (`%%%`) and mentions nobody (`@name`). Addresses such as `alice@example.com` stay.
fn harmless(text: &str) -> String {
    // A second pass separates the pairs that the first has left.
    let text = text.replace("%%", "% %").replace("%%", "% %");
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        let is_within_word = safe
            .chars()
            .next_back()
            .is_some_and(|last| last.is_ascii_alphanumeric() || "._+-".contains(last));
        safe.push(if letter == '@' && !is_within_word { '＠' } else { letter });
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_starts_markdown_or_mentions_anybody() {
        for (text, expected) in [
            ("%%%\n# x\n%%%", "% % %\n# x\n% % %"),
            ("%%%%%%%", "% % % % % % %"),
            ("100%", "100%"),
            ("@all @pagerduty-x", "＠all ＠pagerduty-x"),
            ("role/a/alice@example.com", "role/a/alice@example.com"),
            ("(@all)", "(＠all)"),
        ] {
            assert_eq!(harmless(text), expected);
        }
    }

    #[test]
    fn a_tag_has_only_characters_that_are_kept() {
        assert_eq!(tag("rule", "S3: Public, \"bucket\""), "rule:s3__public___bucket_");
        assert!(MAX_TAG.length(&tag("rule", &"ä".repeat(500))) <= 200);
    }
}
