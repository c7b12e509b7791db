//! Slack messages, through an incoming webhook.
//!
//! Input: an [`AlertMessage`]. Output: a message of blocks, with a text for notifications.
//! Invariant: blocks, fields and the message as a whole are within Slack's limits. Text of an event stands in code or in escaped
//! text that Slack does not parse, so it mentions nobody, links to nothing and has no markup.

use jiff::Timestamp;
use serde_json::{Value, json};

use std::time::Duration;

use super::{
    AlertMessage, DeliveryError, ReceiverContext, Rendered,
    http::{HttpRequest, HttpSender, HttpSettings, ResponseRules},
    message::Fact,
    secret_text::{SecretLookup, SecretText},
    settings::{HTTP_KEYS, Read, Settings},
    text_limit::TextLimit,
};
use crate::{
    event::Severity,
    filter::yaml::{TextPosition, YamlNode},
};

/// The keys of this kind.
pub(super) const KEYS: [&str; 2] = ["url", "url_file"];

// All lengths are in UTF-16 units of the escaped text, the strictest way to count. The sum of the longest parts is below 12,000:
// Slack refuses a message whose blocks have about 13,000 together, whatever the limits of its parts.

/// Longest text of a header block is 150.
const MAX_HEADER: TextLimit = TextLimit::utf16(150);

/// Longest text of a section is 3,000; the headline and the description share one.
const MAX_HEADLINE: TextLimit = TextLimit::utf16(1_200);
const MAX_DESCRIPTION: TextLimit = TextLimit::utf16(1_200);

/// Longest field of a section is 2,000, and a section has 10 at most.
const MAX_VALUE: TextLimit = TextLimit::utf16(250);
const FIELDS_PER_SECTION: usize = 10;

/// Facts of a message, the most important first.
const MAX_FACTS: usize = 24;

/// Longest command; one that is cut would find something else.
const MAX_COMMAND_CHARS: usize = 800;

const RULES: ResponseRules = ResponseRules {
    // A webhook takes a message a second.
    throttled: Some(Duration::from_secs(1)),
    hint: |status, body| match (status, body.trim()) {
        (403, "invalid_token") => {
            Some("the webhook URL is not valid; copy it from the settings of the Slack app")
        }
        (403, "action_prohibited") => {
            Some("an administrator of the workspace has restricted posting to this channel")
        }
        (403, _) => Some("check the webhook URL"),
        (404, "channel_not_found") => Some("the channel does not exist; create another webhook"),
        (404, _) => {
            Some("the webhook does not exist or is disabled; create another one in the Slack app")
        }
        (410, _) => Some("the channel is archived; create a webhook for another one"),
        (400, "no_service" | "no_active_hooks") => {
            Some("the webhook is disabled; create another one")
        }
        _ => None,
    },
};

/// The settings of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackSettings {
    url: SecretText,
    pub(super) http: HttpSettings,
}

impl SlackSettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "slack", &[&KEYS, &HTTP_KEYS])?;
        Ok(Self {
            url: settings
                .secret_url("url")?
                .ok_or_else(|| settings.missing("url", "url: ${SLACK_URL}"))?,
            http: HttpSettings::read(&settings)?,
        })
    }

    pub(super) fn secrets(&self) -> Vec<&SecretText> {
        vec![&self.url]
    }

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        Rendered::post(self.url.to_string(), body(message))
    }
}

/// Sends alerts to Slack.
#[derive(Debug)]
pub(super) struct SlackReceiver {
    sender: HttpSender,
}

impl SlackReceiver {
    pub(super) fn new(
        settings: &SlackSettings,
        lookup: &SecretLookup<'_>,
        position: TextPosition,
    ) -> Read<Self> {
        let url = settings.url.resolve(lookup)?;
        let sender = HttpSender::new(&settings.http, lookup.folder, url, Vec::new(), position)?;
        Ok(Self { sender })
    }

    pub(super) async fn deliver(
        &self,
        message: &AlertMessage,
        context: &ReceiverContext,
    ) -> Result<(), DeliveryError> {
        let now: Timestamp = context.clock.now();
        self.sender.send(HttpRequest::json(body(message).to_string()), &RULES, now).await
    }
}

/// Returns the message.
fn body(message: &AlertMessage) -> Value {
    let alert = message.alert();
    let title = format!("[{}] {}", alert.severity.name().to_uppercase(), message.rule());
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "emoji": false, "text": MAX_HEADER.cut(&title)},
    })];
    let mut summary = MAX_HEADLINE.escape(message.headline(), escape);
    if let Some(description) = message.description() {
        summary.push('\n');
        summary.push_str(&MAX_DESCRIPTION.escape(&description, escape));
    }
    blocks.push(section(&format!("{} {summary}", marker(alert.severity))));
    let facts: Vec<Value> =
        message.facts().iter().take(MAX_FACTS).map(|fact| json_text(&field(fact))).collect();
    for fields in facts.chunks(FIELDS_PER_SECTION) {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if let Some(link) = message.console_link() {
        blocks.push(section(&format!("<{}|Open the event in the AWS console>", escaped(link))));
    }
    if let Some(command) = message.search_command()
        && command.len() <= MAX_COMMAND_CHARS
    {
        blocks.push(section(&format!("```{}```", escaped(command))));
    }
    json!({
        "text": MAX_HEADLINE.escape(&format!("{title}: {}", message.headline()), escape),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// Returns a sign that is seen at a glance.
fn marker(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "🔴",
        Severity::Medium => "🟠",
        Severity::Low => "🟡",
        Severity::Info => "🔵",
    }
}

/// Returns a fact as text with markup: the value is code, in which Slack interprets nothing but entities.
fn field(fact: &Fact) -> String {
    let value = MAX_VALUE.escape(&fact.value, |letter, to| match letter {
        '`' => to.push('\''),
        letter => escape(letter, to),
    });
    format!("*{}*\n`{value}`", escaped(fact.label))
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": json_text(text)})
}

/// Returns a text in which Slack makes no links of addresses and names.
fn json_text(text: &str) -> Value {
    json!({"type": "mrkdwn", "verbatim": true, "text": text})
}

/// Escapes the characters of control sequences, and separates those of markup from what they would format.
fn escape(letter: char, to: &mut String) {
    match letter {
        '&' => to.push_str("&amp;"),
        '<' => to.push_str("&lt;"),
        '>' => to.push_str("&gt;"),
        letter => to.push(letter),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|letter| escape(letter, &mut escaped));
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::alert::{
        MessageContext,
        message::tests::{alert_on, event},
    };

    #[test]
    fn text_of_an_event_is_escaped_and_code() {
        let mut event = event();
        event["userAgent"] = json!("<!channel> `x` *b* & <http://evil|click>");
        let message = AlertMessage::new(&alert_on(&event), &MessageContext::default());
        let body = body(&message).to_string();
        assert!(
            body.contains("`&lt;!channel&gt; 'x' *b* &amp; &lt;http://evil|click&gt;`"),
            "{body}"
        );
        assert!(!body.contains("<!") && !body.contains("<http://evil"));
    }
}
