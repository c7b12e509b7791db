//! What an alert tells a person: what happened, who did it, from where, on what, and where to look further.
//!
//! Input: an [`Alert`]. Output: an [`AlertMessage`]: a headline, facts with labels, two ways to the event, and the whole as JSON.
//! Invariant: a pure function of its input that no event makes fail. Texts for people are single lines in which nothing is
//! invisible or controls a terminal; services escape them further.
//! Not here: the limits and the markup of services.

use std::{borrow::Cow, fmt::Write as _, sync::OnceLock};

use serde::Serialize;
use serde_json::Value;

use super::{compact_json::compact_json, console_link::console_link, text_limit::TextLimit};
use crate::{
    aws::AwsPartition,
    event::{Alert, Severity},
    filter::principal::short_principal,
    normalize::repair_record,
    report::terminal::escape_unprintable,
};

/// Longest value of a fact. No service shows more, and an attacker chooses the length of a user agent.
const MAX_VALUE: TextLimit = TextLimit::characters(1_000);

/// The most levels of an event that is sent as JSON. Those of CloudTrail have up to 15, and many parsers stop at 100.
const MAX_DEPTH: usize = 64;

/// Longest error in a headline; the facts have more of it.
const MAX_HEADLINE_ERROR: TextLimit = TextLimit::characters(120);

/// The most resources that are listed.
const MAX_RESOURCES: usize = 10;

/// Longest id that becomes part of a link or a command. Those of CloudTrail have 36 characters.
const MAX_ID_BYTES: usize = 128;

/// What an alert tells a person.
#[derive(Clone, Debug)]
pub struct AlertMessage {
    alert: Alert,
    event: Value,
    /// Whether the text of the event is JSON, without any repair.
    is_event_valid: bool,
    headline: String,
    /// Made when a receiver shows them.
    facts: OnceLock<Vec<Fact>>,
    console_link: Option<String>,
    search_command: Option<String>,
}

/// A labelled value of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What the value is.
    pub label: &'static str,
    /// The value: one line.
    pub value: String,
    /// Whether the value is short enough to stand beside another one.
    pub is_short: bool,
}

/// What messages depend on beside the alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageContext {
    /// The values of `--in` with which a search finds the events; empty for the event history.
    pub sources: Vec<String>,
    /// The options with which a search finds the engine of `--in index`, such as `--into URL`.
    pub engine_options: Vec<String>,
}

/// The values of an event that messages are made of; texts that are empty are `None`.
pub(super) struct EventFacts<'a> {
    pub(super) event: &'a Value,
}

impl<'a> EventFacts<'a> {
    /// Returns the text at a JSON pointer without escapes.
    pub(super) fn text(&self, pointer: &str) -> Option<&'a str> {
        let mut names = pointer.split('/').skip(1);
        let value = names.try_fold(self.event, |value, name| value.get(name))?;
        value.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Returns the service and the name of the event, such as `ec2:RunInstances`.
    fn action(&self) -> Option<Cow<'a, str>> {
        let name = self.text("/eventName");
        let source = self.text("/eventSource");
        let service = source.map(|source| source.strip_suffix(".amazonaws.com").unwrap_or(source));
        match (service, name) {
            (Some(service), Some(name)) => Some(format!("{service}:{name}").into()),
            (None, Some(text)) | (Some(text), None) => Some(text.into()),
            (None, None) => None,
        }
    }

    /// Returns the account in which something happened.
    pub(super) fn account(&self) -> Option<&'a str> {
        self.text("/recipientAccountId").or_else(|| self.text("/userIdentity/accountId"))
    }

    /// Returns the ARN of the caller.
    fn principal_arn(&self) -> Option<&'a str> {
        self.text("/userIdentity/arn")
            .or_else(|| self.text("/userIdentity/sessionContext/sessionIssuer/arn"))
    }

    /// Returns the ARNs of the resources that CloudTrail lists, or else the names in the request and the answer.
    fn resources(&self) -> Vec<&'a str> {
        let listed = self.event.get("resources").and_then(Value::as_array).into_iter().flatten();
        let mut resources = Vec::new();
        for resource in listed {
            let keys = ["ARN", "arn", "ARNPrefix", "resourceName"];
            let name = keys.iter().find_map(|key| resource.get(key)?.as_str());
            add_distinct(&mut resources, name);
        }
        if resources.is_empty() {
            for side in ["requestParameters", "responseElements"] {
                if let Some(Value::Object(members)) = self.event.get(side) {
                    add_names(&mut resources, members, 0);
                }
            }
        }
        resources
    }

    /// Returns the error of a call that failed.
    fn error(&self) -> Option<String> {
        let code = self.text("/errorCode");
        let message = self.text("/errorMessage");
        match (code, message) {
            (Some(code), Some(message)) => Some(format!("{code}: {message}")),
            (Some(text), None) | (None, Some(text)) => Some(text.to_owned()),
            // A failed sign-in has no error code.
            (None, None) => (self.text("/responseElements/ConsoleLogin") == Some("Failure"))
                .then(|| "the sign-in failed".to_owned()),
        }
    }

    fn is_data_event(&self) -> bool {
        self.text("/eventCategory") == Some("Data")
            || self.event.get("managementEvent") == Some(&Value::Bool(false))
    }
}

/// Keys of the request and the answer that name what a call is about. The ends of other keys, such as `clientRequestToken`,
/// are those of values that nobody looks for.
const NAME_ENDS: [&str; 8] = ["Name", "Id", "Arn", "ARN", "Identifier", "Alias", "Url", "Bucket"];

/// Keys with such an end that name nothing.
const NO_NAMES: [&str; 6] =
    ["requestId", "x-amz-id-2", "clientRequestId", "ownerId", "accountId", "requesterId"];

/// How deep names are looked for: `instancesSet.items[].instanceId`.
const MAX_NAME_DEPTH: usize = 4;

fn add_names<'a>(
    names: &mut Vec<&'a str>,
    members: &'a serde_json::Map<String, Value>,
    depth: usize,
) {
    for (key, value) in members {
        match value {
            Value::String(text)
                if NAME_ENDS
                    .iter()
                    .any(|end| key == &end.to_ascii_lowercase() || key.ends_with(end))
                    && !NO_NAMES.contains(&key.as_str()) =>
            {
                add_distinct(names, Some(text.as_str()));
            }
            Value::Object(members) if depth < MAX_NAME_DEPTH => {
                add_names(names, members, depth + 1);
            }
            Value::Array(items) if depth < MAX_NAME_DEPTH => {
                for item in items.iter().filter_map(Value::as_object) {
                    add_names(names, item, depth + 1);
                }
            }
            _ => {}
        }
    }
}

fn add_distinct<'a>(names: &mut Vec<&'a str>, name: Option<&'a str>) {
    if let Some(name) = name.map(str::trim).filter(|name| !name.is_empty())
        && names.len() <= MAX_RESOURCES
        && !names.contains(&name)
    {
        names.push(name);
    }
}

impl AlertMessage {
    /// Creates the message of an alert.
    pub fn new(alert: &Alert, context: &MessageContext) -> Self {
        let mut alert = alert.clone();
        // Lines of a file are lines of a message, and blanks count for its limit.
        if let Cow::Owned(compact) = compact_json(&alert.event) {
            alert.event = compact.into();
        }
        let parsed = serde_json::from_slice(&alert.event).ok();
        let is_event_valid = parsed.is_some();
        let event = parsed.unwrap_or_else(|| repaired_event(&alert.event));
        let facts = EventFacts { event: &event };
        let headline = headline(&alert, &facts);
        let id = facts.text("/eventID").filter(|id| is_plain_id(id));
        let region = facts.text("/awsRegion").filter(|it| AwsPartition::from_region(it).is_some());
        let console_link = id.zip(region).and_then(|(id, region)| console_link(region, id));
        let search_command = search_command(&alert, &facts, id, region, context);
        let facts = OnceLock::new();
        Self { alert, event, is_event_valid, headline, facts, console_link, search_command }
    }

    /// Returns the alert.
    pub fn alert(&self) -> &Alert {
        &self.alert
    }

    /// Returns the event; null if it is not JSON.
    pub fn event(&self) -> &Value {
        &self.event
    }

    /// Returns the name of the rule in one line.
    pub fn rule(&self) -> String {
        single_line(&self.alert.rule)
    }

    /// Returns what happened in one line, such as `ec2:RunInstances by user/alice in account 111122223333, eu-west-1`.
    pub fn headline(&self) -> &str {
        &self.headline
    }

    /// Returns the facts, the most important first.
    pub fn facts(&self) -> &[Fact] {
        self.facts.get_or_init(|| fact_lines(&self.alert, &self.event_facts()))
    }

    /// Returns the address of the event in the event history of the AWS console.
    pub fn console_link(&self) -> Option<&str> {
        self.console_link.as_deref()
    }

    /// Returns the `trailload search` command that finds the event.
    pub fn search_command(&self) -> Option<&str> {
        self.search_command.as_deref()
    }

    /// Returns the account in which something happened.
    pub(super) fn account(&self) -> Option<&str> {
        self.event_facts().account()
    }

    /// Returns a text of the event.
    pub(super) fn event_text(&self, pointer: &str) -> Option<&str> {
        self.event_facts().text(pointer)
    }

    fn event_facts(&self) -> EventFacts<'_> {
        EventFacts { event: &self.event }
    }

    /// Returns the message as plain text: the headline, the description, a line for each fact, and where to look further.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("[{}] {}\n{}\n", self.alert.severity.name(), self.rule(), self.headline);
        if let Some(description) = self.description() {
            text.extend([&description, "\n"]);
        }
        text.push('\n');
        let facts = self.facts();
        let width = facts.iter().map(|fact| fact.label.len()).max().unwrap_or_default();
        for Fact { label, value, .. } in facts {
            let _ = writeln!(text, "{label:width$}  {value}");
        }
        if let Some(link) = &self.console_link {
            let _ = writeln!(text, "{:width$}  {link}", "Console");
        }
        if let Some(command) = &self.search_command {
            let _ = writeln!(text, "{:width$}  {command}", "Search");
        }
        text
    }

    /// Returns the description of the rule: lines without anything invisible.
    pub(super) fn description(&self) -> Option<String> {
        let description = self.alert.description.as_deref()?.trim();
        let lines: Vec<String> = description.lines().map(escape_unprintable).collect();
        (!description.is_empty()).then(|| lines.join("\n"))
    }

    /// Returns the alert and its event as one JSON object.
    pub fn document(&self) -> AlertDocument<'_> {
        let facts = self.event_facts();
        let text = |pointer| facts.text(pointer);
        AlertDocument {
            id: &self.alert.id,
            group_id: &self.alert.group_id,
            rule: &self.alert.rule,
            severity: self.alert.severity,
            description: self.alert.description.as_deref(),
            message: &self.headline,
            time: self.alert.time.map(|time| time.to_string()),
            group: &self.alert.group,
            events: self.alert.events,
            event_source: text("/eventSource"),
            event_name: text("/eventName"),
            event_id: &self.alert.event_id,
            principal: short_principal(&self.event),
            principal_arn: facts.principal_arn(),
            source_ip: text("/sourceIPAddress"),
            user_agent: text("/userAgent"),
            account: facts.account(),
            region: text("/awsRegion"),
            resources: facts.resources(),
            error_code: text("/errorCode"),
            error_message: text("/errorMessage"),
            console_link: self.console_link(),
            search_command: self.search_command(),
            event: self.event_json(),
        }
    }

    fn event_json(&self) -> Option<EventJson<'_>> {
        let text = std::str::from_utf8(&self.alert.event).ok();
        if is_deeper_than(&self.event, MAX_DEPTH) {
            return text.map(EventJson::Text);
        }
        let raw = text.filter(|_| self.is_event_valid).map(EventJson::Raw);
        raw.or_else(|| Some(&self.event).filter(|it| !it.is_null()).map(EventJson::Repaired))
    }

    /// Returns the alert and its event as a value, in which every key occurs once.
    pub(super) fn to_value(&self) -> Value {
        let document = serde_json::to_value(self.document().without_event());
        let Ok(Value::Object(mut members)) = document else { return Value::Null };
        match self.event_json() {
            Some(EventJson::Text(text)) => drop(members.insert("event".to_owned(), text.into())),
            Some(_) => drop(members.insert("event".to_owned(), self.event.clone())),
            None => {}
        }
        Value::Object(members)
    }
}

/// An alert and its event as JSON: what the file, stdout, index, webhook and command receivers get.
#[derive(Clone, Debug, Serialize)]
pub struct AlertDocument<'a> {
    id: &'a str,
    group_id: &'a str,
    rule: &'a str,
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    message: &'a str,
    time: Option<String>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    group: &'a serde_json::Map<String, Value>,
    events: u64,
    event_source: Option<&'a str>,
    event_name: Option<&'a str>,
    event_id: &'a str,
    principal: Cow<'a, str>,
    principal_arn: Option<&'a str>,
    source_ip: Option<&'a str>,
    user_agent: Option<&'a str>,
    account: Option<&'a str>,
    region: Option<&'a str>,
    resources: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    console_link: Option<&'a str>,
    search_command: Option<&'a str>,
    /// The last member, which [`to_json`](Self::to_json) writes.
    #[serde(skip)]
    event: Option<EventJson<'a>>,
}

/// The event of an [`AlertDocument`].
#[derive(Clone, Debug)]
enum EventJson<'a> {
    /// As it was read, without blanks between its tokens: valid JSON.
    Raw(&'a str),
    /// Parsed, because what was read is not valid JSON.
    Repaired(&'a Value),
    /// As text, because it is nested too deep.
    Text(&'a str),
}

impl AlertDocument<'_> {
    /// Leaves the event out, for services with a limit.
    pub(super) fn without_event(mut self) -> Self {
        self.event = None;
        self
    }

    /// Returns one line of JSON.
    pub fn to_json(&self) -> String {
        // It fails only for maps whose keys are not strings, and for values that fail to serialize; there are neither.
        let mut json = serde_json::to_string(self).unwrap_or_default();
        let event = match &self.event {
            Some(EventJson::Raw(text)) => Cow::Borrowed(*text),
            Some(EventJson::Repaired(event)) => event.to_string().into(),
            Some(EventJson::Text(text)) => Value::from(*text).to_string().into(),
            None => return json,
        };
        // The event is not parsed and written again.
        json.pop();
        json.reserve_exact(event.len() + r#","event":}"#.len());
        json.push_str(r#","event":"#);
        json.push_str(&event);
        json.push('}');
        json
    }
}

/// Returns whether a value has more levels than this.
fn is_deeper_than(value: &Value, levels: usize) -> bool {
    let is_deeper = |inner: &Value| levels == 0 || is_deeper_than(inner, levels - 1);
    match value {
        Value::Array(items) => items.iter().any(is_deeper),
        Value::Object(members) => members.values().any(is_deeper),
        _ => false,
    }
}

/// Parses an event that has to be repaired.
fn repaired_event(json: &[u8]) -> Value {
    repair_record(json).map(|repaired| repaired.value).unwrap_or_default()
}

/// Returns text in one line without anything invisible.
fn single_line(text: &str) -> String {
    MAX_VALUE.cut(&escape_unprintable(text.trim())).into_owned()
}

fn headline(alert: &Alert, facts: &EventFacts<'_>) -> String {
    let action = facts.action().unwrap_or(Cow::Borrowed("an event"));
    let mut headline =
        format!("{} by {}", single_line(&action), single_line(&short_principal(facts.event)));
    if let Some(account) = facts.account() {
        let _ = write!(headline, " in account {}", single_line(account));
    }
    if let Some(region) = facts.text("/awsRegion") {
        let _ = write!(headline, ", {}", single_line(region));
    }
    // A failed sign-in has no code.
    if let Some(error) = facts.text("/errorCode").or_else(|| facts.text("/errorMessage")) {
        let _ = write!(headline, ": {}", MAX_HEADLINE_ERROR.cut(&single_line(error)));
    }
    if alert.events > 1 {
        let _ = write!(headline, " ({} events)", alert.events);
    }
    headline
}

fn fact_lines(alert: &Alert, facts: &EventFacts<'_>) -> Vec<Fact> {
    let mut lines = FactLines::default();
    lines.add("Event", facts.action().as_deref());
    lines.add("Principal", Some(&short_principal(facts.event)));
    lines.add("ARN", facts.principal_arn());
    lines.add("Invoked by", facts.text("/userIdentity/invokedBy"));
    lines.add("Source identity", facts.text("/userIdentity/sessionContext/sourceIdentity"));
    lines.add("From", facts.text("/sourceIPAddress"));
    lines.add("User agent", facts.text("/userAgent"));
    lines.add("Account", facts.account());
    lines.add(
        "Caller's account",
        facts.text("/userIdentity/accountId").filter(|it| Some(*it) != facts.account()),
    );
    lines.add("Region", facts.text("/awsRegion"));
    let resources = facts.resources();
    if !resources.is_empty() {
        let shown = resources.iter().take(MAX_RESOURCES).copied().collect::<Vec<_>>().join(", ");
        let more = if resources.len() > MAX_RESOURCES { ", …" } else { "" };
        let label = if resources.len() == 1 { "Resource" } else { "Resources" };
        lines.add(label, Some(&format!("{shown}{more}")));
    }
    let time = alert.time.map(|time| time.to_string());
    lines.add("Time", time.as_deref().or_else(|| facts.text("/eventTime")));
    lines.add("Error", facts.error().as_deref());
    if alert.events > 1 {
        lines.add("Events", Some(&alert.events.to_string()));
    }
    for (expression, value) in alert.group.iter().chain(&alert.combination) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let label = if alert.group.contains_key(expression) { "Group" } else { "First seen" };
        lines.add(label, Some(&format!("{expression} = {value}")));
    }
    let parameters = facts.event.get("requestParameters").filter(|value| !value.is_null());
    lines.add("Request", parameters.map(Value::to_string).as_deref());
    lines.add("Event ID", facts.text("/eventID"));
    if facts.is_data_event() {
        lines.add("Note", Some("a data event, which the event history does not show"));
    }
    lines.0
}

/// Longest value that stands beside another one.
const MAX_SHORT_CHARS: usize = 40;

#[derive(Default)]
struct FactLines(Vec<Fact>);

impl FactLines {
    fn add(&mut self, label: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            let value = single_line(value);
            let is_short = value.chars().count() <= MAX_SHORT_CHARS;
            self.0.push(Fact { label, value, is_short });
        }
    }
}

/// Returns whether an id can become part of a link and a command without any quoting.
fn is_plain_id(id: &str) -> bool {
    id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Returns the command that finds the event: by its id, or else by name and time.
fn search_command(
    alert: &Alert,
    facts: &EventFacts<'_>,
    id: Option<&str>,
    region: Option<&str>,
    context: &MessageContext,
) -> Option<String> {
    let mut command = "trailload search".to_owned();
    if let Some(id) = id {
        let _ = write!(command, " --match '$.eventID == \"{id}\"'");
    } else {
        let name = facts.text("/eventName").filter(|name| {
            name.len() <= MAX_ID_BYTES && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })?;
        alert.time?;
        let _ = write!(command, " {name}");
    }
    // The time spares a search of buckets and files most of their objects.
    if let Some(time) = alert.time {
        let _ = write!(command, " --from {time} --to {time}");
    }
    for source in &context.sources {
        let _ = write!(command, " --in {}", shell_word(source)?);
    }
    for word in &context.engine_options {
        let _ = write!(command, " {}", shell_word(word)?);
    }
    if let Some(region) = region.filter(|_| context.sources.is_empty()) {
        let _ = write!(command, " --regions {region}");
    }
    Some(command)
}

/// Returns a text as one word of a shell; `None` if it cannot be pasted safely.
fn shell_word(text: &str) -> Option<Cow<'_, str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Some(Cow::Borrowed(text));
    }
    let is_printable = escape_unprintable(text) == text;
    is_printable.then(|| Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))))
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    /// Returns an alert on an event.
    pub(in crate::sink::alert) fn alert_on(event: &Value) -> Alert {
        Alert {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            group_id: "fedcba9876543210fedcba9876543210".to_owned(),
            rule: "ec2.amazonaws.com: security group open to the world".to_owned(),
            severity: Severity::High,
            description: Some("Close the port.\nThen ask who needs it.".to_owned()),
            group: [("detail.userIdentity.arn".to_owned(), json!("arn:aws:iam::1:user/a"))]
                .into_iter()
                .collect(),
            combination: serde_json::Map::new(),
            time: event.get("eventTime").and_then(|time| time.as_str()?.parse().ok()),
            events: 5,
            actions: vec!["slack".to_owned()],
            event_id: event["eventID"].as_str().unwrap_or("hash").to_owned(),
            event: Bytes::from(event.to_string()),
        }
    }

    /// Returns an event with everything that messages show.
    pub(in crate::sink::alert) fn event() -> Value {
        json!({
            "eventVersion": "1.09", "eventTime": "2026-11-27T07:00:00Z", "eventSource": "ec2.amazonaws.com",
            "eventName": "AuthorizeSecurityGroupIngress", "awsRegion": "eu-west-1", "sourceIPAddress": "203.0.113.9",
            "userAgent": "console.ec2.amazonaws.com", "eventID": "6f1e0a6e-0c55-4f27-a111-1d4b9f0a7b11",
            "userIdentity": {
                "type": "IAMUser", "userName": "alice", "arn": "arn:aws:iam::444455556666:user/alice",
                "accountId": "444455556666"
            },
            "recipientAccountId": "111122223333", "errorCode": "Client.UnauthorizedOperation", "errorMessage": "not you",
            "requestParameters": {"groupId": "sg-0123", "ipPermissions": {"items": [{"fromPort": 22}]}}
        })
    }

    fn message(event: &Value) -> AlertMessage {
        AlertMessage::new(&alert_on(event), &MessageContext::default())
    }

    fn fact(message: &AlertMessage, label: &str) -> String {
        let found = message.facts().iter().find(|fact| fact.label == label);
        found.map(|fact| fact.value.clone()).unwrap_or_default()
    }

    #[test]
    fn a_message_has_everything_to_act_on() {
        let message = message(&event());
        assert_eq!(
            message.headline(),
            "ec2:AuthorizeSecurityGroupIngress by user/alice in account 111122223333, eu-west-1: \
             Client.UnauthorizedOperation (5 events)"
        );
        for (label, value) in [
            ("Event", "ec2:AuthorizeSecurityGroupIngress"),
            ("Principal", "user/alice"),
            ("ARN", "arn:aws:iam::444455556666:user/alice"),
            ("From", "203.0.113.9"),
            ("User agent", "console.ec2.amazonaws.com"),
            ("Account", "111122223333"),
            ("Caller's account", "444455556666"),
            ("Region", "eu-west-1"),
            ("Resource", "sg-0123"),
            ("Time", "2026-11-27T07:00:00Z"),
            ("Error", "Client.UnauthorizedOperation: not you"),
            ("Events", "5"),
            ("Group", "detail.userIdentity.arn = arn:aws:iam::1:user/a"),
            ("Event ID", "6f1e0a6e-0c55-4f27-a111-1d4b9f0a7b11"),
        ] {
            assert_eq!(fact(&message, label), value);
        }
        assert_eq!(
            message.search_command(),
            Some(
                "trailload search --match '$.eventID == \"6f1e0a6e-0c55-4f27-a111-1d4b9f0a7b11\"' \
                 --from 2026-11-27T07:00:00Z --to 2026-11-27T07:00:00Z --regions eu-west-1"
            )
        );
        assert!(message.console_link().unwrap().contains("6f1e0a6e"));
        let text = message.to_text();
        for part in
            ["[high] ec2.amazonaws.com: security group", "Close the port.\nThen", "Console  "]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_event_without_anything_has_a_message() {
        for event in
            [json!({}), json!(null), json!([1]), json!({"userIdentity": 7, "resources": "x"})]
        {
            let message = message(&event);
            assert!(
                message.headline().starts_with("an event by unknown"),
                "{}",
                message.headline()
            );
            assert_eq!((message.console_link(), message.search_command()), (None, None));
            assert!(serde_json::from_str::<Value>(&message.document().to_json()).is_ok());
        }
        let mut alert = alert_on(&json!({}));
        alert.event = Bytes::from_static(b"not JSON");
        let message = AlertMessage::new(&alert, &MessageContext::default());
        assert!(serde_json::from_str::<Value>(&message.document().to_json()).is_ok());
    }

    #[test]
    fn an_event_injects_nothing_into_texts_links_and_commands() {
        let mut hostile = event();
        let evil = "x'; rm -rf /; \u{1b}]0;t\u{7}\n\u{202e}\"&<!channel>";
        for pointer in ["/eventID", "/awsRegion", "/eventName", "/userAgent", "/errorCode"] {
            *hostile.pointer_mut(pointer).unwrap() = json!(evil);
        }
        let message = message(&hostile);
        assert_eq!((message.console_link(), message.search_command()), (None, None));
        for line in message.to_text().lines() {
            assert_eq!(escape_unprintable(line), line);
        }
    }

    #[test]
    fn a_command_names_the_sources_of_the_run() {
        let sources = vec!["s3://trail/AWSLogs".to_owned(), "it's here".to_owned()];
        let message = AlertMessage::new(
            &alert_on(&event()),
            &MessageContext { sources, ..MessageContext::default() },
        );
        let command = message.search_command().unwrap();
        assert!(command.ends_with(r"--in s3://trail/AWSLogs --in 'it'\''s here'"), "{command}");
    }

    #[test]
    fn resources_are_those_of_the_event_or_the_names_in_the_request() {
        let resources = |event: &Value| fact(&message(event), "Resources");
        let listed = json!({"resources": [{"ARN": "arn:1"}, {"ARN": "arn:1"}, {"ARN": "arn:2"}],
            "requestParameters": {"bucketName": "b"}});
        assert_eq!(resources(&listed), "arn:1, arn:2");
        let named = json!({"requestParameters": {"bucketName": "b", "key": "k", "name": "n", "clientRequestToken": "t"},
            "responseElements": {"requestId": "r", "instancesSet": {"items": [{"instanceId": "i-1"}]}}});
        assert_eq!(resources(&named), "b, n, i-1");
        let many: Vec<Value> = (0..50).map(|n| json!({"ARN": format!("arn:{n}")})).collect();
        assert!(resources(&json!({ "resources": many })).ends_with("arn:9, …"));
    }

    #[test]
    fn an_event_that_is_nested_too_deep_is_text() {
        for (levels, is_text) in [(60, false), (70, true), (400, true)] {
            let mut alert = alert_on(&event());
            let json = format!(
                "{{\"eventName\":\"X\",\"a\":{}1{}}}",
                "[".repeat(levels),
                "]".repeat(levels)
            );
            alert.event = Bytes::from(json);
            let message = AlertMessage::new(&alert, &MessageContext::default());
            assert!(message.headline().starts_with("X by"), "{}", message.headline());
            let document: Value = serde_json::from_str(&message.document().to_json()).unwrap();
            assert_eq!(document["event"].is_string(), is_text, "{levels}");
            assert_eq!(document, message.to_value());
        }
    }

    #[test]
    fn an_event_of_several_lines_is_one_line_in_every_message() {
        let mut alert = alert_on(&event());
        alert.event = format!("{:#}", event()).replace('\n', "\r\n").into();
        let message = AlertMessage::new(&alert, &MessageContext::default());
        let compact = AlertMessage::new(&alert_on(&event()), &MessageContext::default());
        assert_eq!(message.document().to_json(), compact.document().to_json());
        assert!(!message.document().to_json().contains(['\r', '\n']));
        assert_eq!(message.alert().event, compact.alert().event);
    }

    #[test]
    fn the_document_has_the_event_as_it_was_read() {
        let mut alert = alert_on(&event());
        alert.event = Bytes::from_static(
            br#"{"eventID":"a","n":1.000,"big":123456789012345678901234567890}"#,
        );
        let message = AlertMessage::new(&alert, &MessageContext::default());
        let json = message.document().to_json();
        assert!(
            json.contains(
                r#""event":{"eventID":"a","n":1.000,"big":123456789012345678901234567890}"#
            ),
            "{json}"
        );
        assert!(!message.document().without_event().to_json().contains("1.000"));
    }
}
