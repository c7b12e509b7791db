//! Slack messages, through an incoming webhook.
//!
//! Input: an [`AlertMessage`]. Output: a message of blocks, with a text for notifications.
//! Invariant: blocks, fields and the message as a whole are within Slack's limits. Text of an event is plain text or code, and
//! escaped, so it mentions nobody, links to nothing and has no markup.

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

/// Longest field of a section is 2,000, and a section has 10 at most, in two columns. Longer values are lines of a section.
const MAX_VALUE: TextLimit = TextLimit::utf16(300);
const FIELDS_PER_SECTION: usize = 10;
const LONG_FACTS_PER_SECTION: usize = 8;

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
                .ok_or_else(|| settings.missing("url", "url: \"${SLACK_URL}\""))?,
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
        "text": plain_text(&MAX_HEADER.escape(&title, escape)),
    })];
    let mut summary = MAX_HEADLINE.escape(message.headline(), escape);
    if let Some(description) = message.description() {
        summary.push('\n');
        summary.push_str(&MAX_DESCRIPTION.escape(&description, escape));
    }
    let summary = format!("{} {summary}", marker(alert.severity));
    blocks.push(json!({"type": "section", "text": plain_text(&summary)}));
    let facts = message.facts().iter().take(MAX_FACTS);
    let (short, long): (Vec<&Fact>, Vec<&Fact>) = facts.partition(|fact| fact.is_short);
    for facts in short.chunks(FIELDS_PER_SECTION) {
        let fields: Vec<Value> = facts.iter().map(|fact| markup(&field(fact))).collect();
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    for facts in long.chunks(LONG_FACTS_PER_SECTION) {
        let lines: Vec<String> = facts.iter().map(|fact| field(fact)).collect();
        blocks.push(markup_section(&lines.join("\n")));
    }
    if let Some(link) = message.console_link() {
        blocks.push(markup_section(&format!(
            "<{}|Open the event in the AWS console>",
            escaped(link)
        )));
    }
    if let Some(command) = message.search_command()
        && command.len() <= MAX_COMMAND_CHARS
    {
        blocks.push(markup_section(&format!("```{}```", escaped(command))));
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

fn markup_section(text: &str) -> Value {
    json!({"type": "section", "text": markup(text)})
}

/// Returns text with markup, in which Slack makes no links of addresses and names.
fn markup(text: &str) -> Value {
    json!({"type": "mrkdwn", "verbatim": true, "text": text})
}

/// Returns text without markup. Entities have to be escaped in it, too.
fn plain_text(text: &str) -> Value {
    json!({"type": "plain_text", "emoji": false, "text": text})
}

/// Escapes the characters of control sequences, as Slack asks for in every text.
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
