//! PagerDuty alerts, through the Events API v2.
//!
//! Input: an [`AlertMessage`]. Output: a `trigger` event. Alerts of a rule and a group have the same key, so PagerDuty adds them to
//! the incident that is open.
//! Invariant: the event is within the limits of the API; one that would be too large is sent without the CloudTrail event.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    AlertMessage, DeliveryError, ReceiverContext, Rendered,
    http::{HttpRequest, HttpSender, HttpSettings, ResponseRules},
    secret_text::{SecretLookup, SecretText},
    settings::{HTTP_KEYS, Read, Settings},
    text_limit::TextLimit,
};
use crate::{
    event::Severity,
    filter::yaml::{DefinitionError, TextPosition, YamlNode},
    redact::Secret,
};

/// The keys of this kind.
pub(super) const KEYS: [&str; 4] =
    ["routing_key", "routing_key_file", "service_region", "endpoint"];

/// Hosts of the service regions.
const SERVICE_REGIONS: [(&str, &str); 2] =
    [("us", "https://events.pagerduty.com"), ("eu", "https://events.eu.pagerduty.com")];

/// Length of a routing key.
const KEY_CHARS: usize = 32;

/// Longest summary.
const MAX_SUMMARY: TextLimit = TextLimit::utf16(1_024);

/// Longest value of the other fields, which have no documented limit.
const MAX_FIELD: TextLimit = TextLimit::utf16(255);

/// Largest event: the limit is 512 KB.
const MAX_BYTES: usize = 512_000;

const RULES: ResponseRules = ResponseRules {
    // The limit is on the events of a minute.
    throttled: Some(Duration::from_mins(1)),
    hint: |status, _| match status {
        400 => {
            Some("check `routing_key`: it is the integration key of an Events API v2 integration")
        }
        401 | 403 => Some("check `routing_key` and `service_region`"),
        404 => Some("check `endpoint`"),
        _ => None,
    },
};

/// The settings of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagerDutySettings {
    routing_key: SecretText,
    endpoint: String,
    pub(super) http: HttpSettings,
}

impl PagerDutySettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "pagerduty", &[&KEYS, &HTTP_KEYS])?;
        let routing_key = settings
            .secret("routing_key")?
            .ok_or_else(|| settings.missing("routing_key", "routing_key: \"${PAGERDUTY_KEY}\""))?;
        if let (Some(key), Some(node)) = (routing_key.literal(), settings.get("routing_key")) {
            check_key(key, node.position)?;
        }
        let region = settings.one_of("service_region", &SERVICE_REGIONS)?;
        let endpoint = settings.endpoint()?;
        let endpoint =
            endpoint.unwrap_or_else(|| region.unwrap_or(SERVICE_REGIONS[0].1).to_owned());
        Ok(Self { routing_key, endpoint, http: HttpSettings::read(&settings)? })
    }

    pub(super) fn secrets(&self) -> Vec<&SecretText> {
        vec![&self.routing_key]
    }

    fn url(&self) -> String {
        format!("{}/v2/enqueue", self.endpoint)
    }

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        let body = body(message, &self.routing_key.to_string());
        Rendered::post(self.url(), serde_json::from_str(&body).unwrap_or_default())
    }
}

fn check_key(key: &str, position: TextPosition) -> Read<()> {
    if key.len() == KEY_CHARS && key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    let message =
        format!("`routing_key` does not have the form of one: {KEY_CHARS} letters and digits");
    Err(DefinitionError::new(position, message)
        .suggest("copy the integration key of an Events API v2 integration"))
}

/// Sends alerts to PagerDuty.
#[derive(Debug)]
pub(super) struct PagerDutyReceiver {
    routing_key: Secret,
    sender: HttpSender,
}

impl PagerDutyReceiver {
    pub(super) fn new(
        settings: &PagerDutySettings,
        lookup: &SecretLookup<'_>,
        position: TextPosition,
    ) -> Read<Self> {
        let routing_key = settings.routing_key.resolve(lookup)?;
        check_key(routing_key.expose(), position)?;
        let (url, secrets) = (Secret::new(settings.url()), vec![routing_key.clone()]);
        let sender = HttpSender::new(&settings.http, lookup.folder, url, secrets, position)?;
        Ok(Self { routing_key, sender })
    }

    pub(super) async fn deliver(
        &self,
        message: &AlertMessage,
        context: &ReceiverContext,
    ) -> Result<(), DeliveryError> {
        let body = body(message, self.routing_key.expose());
        self.sender.send(HttpRequest::json(body), &RULES, context.clock.now()).await
    }
}

/// Returns the event.
fn body(message: &AlertMessage, routing_key: &str) -> String {
    let body = event(message, routing_key, &message.to_value()).to_string();
    if body.len() <= MAX_BYTES {
        return body;
    }
    let details = serde_json::to_value(message.document().without_event()).unwrap_or_default();
    let body = event(message, routing_key, &details).to_string();
    if body.len() <= MAX_BYTES {
        return body;
    }
    // Only a group or a description can be this large.
    event(message, routing_key, &json!({"message": message.headline()})).to_string()
}

fn event(message: &AlertMessage, routing_key: &str, details: &Value) -> Value {
    let alert = message.alert();
    let severity = match alert.severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "info",
    };
    let summary = format!("{}: {}", message.rule(), message.headline());
    let field = |text: Option<&str>| text.map(|text| MAX_FIELD.cut(text).into_owned());
    let source = field(message.account()).unwrap_or_else(|| "trailload".to_owned());
    let mut payload = json!({
        "summary": MAX_SUMMARY.cut(&summary),
        "source": source,
        "severity": severity,
        "custom_details": details,
    });
    let of_event =
        [("component", "/eventSource"), ("class", "/eventName"), ("group", "/awsRegion")];
    for (key, pointer) in of_event {
        if let Some(value) = field(message.event_text(pointer)) {
            payload[key] = value.into();
        }
    }
    if let Some(time) = alert.time {
        payload["timestamp"] = time.to_string().into();
    }
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": alert.group_id,
        "client": "trailload",
        "payload": payload,
    });
    if let Some(link) = message.console_link() {
        event["links"] = json!([{"href": link, "text": "Event history"}]);
    }
    event
}
