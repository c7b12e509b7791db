//! Fakes of the services that alerts are sent to: they accept what the real service accepts and refuse everything else with its
//! own response.
//!
//! In: requests of receivers. Out: responses as the documentation of each service describes them; what was accepted.
//! Absent on purpose: rate limits and outages, which tests script (`Server::next`).

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::aws::server::{Request, Response, Server};

/// A service, and what it has accepted.
pub(crate) struct AlertService {
    pub(crate) server: Server,
    accepted: Arc<Mutex<Vec<Value>>>,
}

/// Why a service refuses a request: status and body.
type Refusal = (u16, String);

impl AlertService {
    fn start(
        success: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static,
        check: impl Fn(&Request) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&accepted);
        let server = Server::start(move |request| {
            let kind = "application/json";
            match check(request) {
                Ok(()) => {
                    theirs.lock().unwrap().push(request.json());
                    let (status, body) = success(&request.json());
                    Response::new(status, kind, body)
                }
                Err((status, body)) => Response::new(status, kind, body),
            }
        });
        Self { server, accepted }
    }

    /// Returns the bodies of the requests that were accepted.
    pub(crate) fn accepted(&self) -> Vec<Value> {
        self.accepted.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Starts Slack with one webhook, whose path is given.
    pub(crate) fn slack(path: &'static str) -> Self {
        Self::start(
            |_| (200, "ok".to_owned()),
            move |request| {
                if request.path != path {
                    return Err((404, "no_service".to_owned()));
                }
                require_json_post(request, 400, "invalid_payload")?;
                slack_message(&request.json())
                    .map_err(|problem| (400, format!("invalid_blocks: {problem}")))
            },
        )
    }

    /// Starts both versions of Datadog's events API with one key.
    pub(crate) fn datadog(key: &'static str) -> Self {
        Self::start(
            |_| (202, json!({"status": "ok"}).to_string()),
            move |request| {
                if request.header("dd-api-key") != Some(key) {
                    return Err((403, json!({"errors": ["Forbidden"]}).to_string()));
                }
                require_json_post(request, 400, "Invalid JSON")?;
                let checked = match request.path.as_str() {
                    "/api/v1/events" => datadog_v1(&request.json()),
                    "/api/v2/events" => datadog_v2(&request.json()),
                    _ => return Err((404, json!({"errors": ["Not found"]}).to_string())),
                };
                checked.map_err(|problem| (400, json!({"errors": [problem]}).to_string()))
            },
        )
    }

    /// Starts the Events API v2 of PagerDuty with one routing key.
    pub(crate) fn pagerduty(key: &'static str) -> Self {
        Self::start(
            |body| {
                let key = &body["dedup_key"];
                (
                    202,
                    json!({"status": "success", "message": "Event processed", "dedup_key": key})
                        .to_string(),
                )
            },
            move |request| {
                let invalid = |problem: String| {
                    let body = json!({"status": "invalid event", "message": "Event object is invalid", "errors": [problem]});
                    (400, body.to_string())
                };
                if request.path != "/v2/enqueue" {
                    return Err((404, "Not Found".to_owned()));
                }
                if request.body.len() > 512_000 {
                    return Err((413, "Request Entity Too Large".to_owned()));
                }
                require_json_post(request, 400, "Event object is invalid")?;
                pagerduty_event(&request.json(), key).map_err(invalid)
            },
        )
    }

    /// Starts a server that accepts every JSON body.
    pub(crate) fn webhook() -> Self {
        Self::start(
            |_| (200, "{}".to_owned()),
            |request| match serde_json::from_slice::<Value>(&request.body) {
                Ok(_) if request.header("content-type") == Some("application/json") => Ok(()),
                _ => Err((400, "not JSON".to_owned())),
            },
        )
    }
}

fn require_json_post(request: &Request, status: u16, body: &str) -> Result<(), Refusal> {
    let kind = request.header("content-type").unwrap_or_default();
    let is_valid = request.method == "POST"
        && kind.starts_with("application/json")
        && request.json().is_object();
    if is_valid { Ok(()) } else { Err((status, body.to_owned())) }
}

type Checked = Result<(), String>;

/// Returns the length as JavaScript and Java count, which is never less than the number of characters.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

fn object<'v>(value: &'v Value, name: &str) -> Result<&'v Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{name} must be an object"))
}

fn only(members: &Map<String, Value>, known: &[&str]) -> Checked {
    match members.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("additional property {key} is not allowed")),
        None => Ok(()),
    }
}

fn text(value: &Value, name: &str, max: usize) -> Checked {
    match value.as_str() {
        Some(text) if (1..=max).contains(&length(text)) => Ok(()),
        Some(text) => Err(format!("{name} must have 1 to {max} characters, not {}", length(text))),
        None => Err(format!("{name} must be a string")),
    }
}

fn optional_text(value: &Value, name: &str, max: usize) -> Checked {
    if value.is_null() { Ok(()) } else { text(value, name, max) }
}

fn one_of(value: &Value, name: &str, known: &[&str]) -> Checked {
    match value.as_str() {
        Some(text) if known.contains(&text) => Ok(()),
        _ => Err(format!("{name} must be one of {known:?}")),
    }
}

/// Checks a message against the reference of blocks and composition objects.
fn slack_message(body: &Value) -> Checked {
    only(
        object(body, "payload")?,
        &["text", "blocks", "attachments", "unfurl_links", "unfurl_media"],
    )?;
    text(&body["text"], "text", 40_000)?;
    mrkdwn(&body["text"])?;
    let blocks = body["blocks"].as_array().ok_or("blocks must be a list")?;
    if blocks.is_empty() || blocks.len() > 50 {
        return Err("blocks must have 1 to 50 elements".to_owned());
    }
    let mut total = 0;
    for block in blocks {
        total += slack_block(block)?;
    }
    if total > 13_000 { Err(format!("msg_blocks_too_long: {total}")) } else { Ok(()) }
}

/// Checks a block; returns its length.
fn slack_block(block: &Value) -> Result<usize, String> {
    let members = object(block, "block")?;
    match block["type"].as_str() {
        Some("header") => {
            only(members, &["type", "text", "block_id"])?;
            slack_text(&block["text"], 150, &["plain_text"])
        }
        Some("section") => {
            only(members, &["type", "text", "fields", "accessory", "block_id", "expand"])?;
            let Some(fields) = block["fields"].as_array() else {
                return slack_text(&block["text"], 3_000, &["plain_text", "mrkdwn"]);
            };
            if fields.is_empty() || fields.len() > 10 {
                return Err("fields must have 1 to 10 elements".to_owned());
            }
            fields.iter().map(|field| slack_text(field, 2_000, &["plain_text", "mrkdwn"])).sum()
        }
        Some("divider") => only(members, &["type", "block_id"]).map(|()| 0),
        other => Err(format!("unsupported block {other:?}")),
    }
}

fn slack_text(value: &Value, max: usize, kinds: &[&str]) -> Result<usize, String> {
    let members = object(value, "text object")?;
    one_of(&value["type"], "type", kinds)?;
    text(&value["text"], "text", max)?;
    match value["type"].as_str() {
        Some("mrkdwn") => {
            only(members, &["type", "text", "verbatim"])?;
            mrkdwn(&value["text"])?;
        }
        _ => only(members, &["type", "text", "emoji"])?,
    }
    Ok(value["text"].as_str().map_or(0, length))
}

/// Checks that `&`, `<` and `>` occur only as entities and in links to the AWS console: anything else would be text of an event
/// that Slack interprets.
fn mrkdwn(value: &Value) -> Checked {
    let mut rest = value.as_str().unwrap_or_default();
    while let Some(at) = rest.find(['&', '<', '>']) {
        rest = &rest[at..];
        let entity = ["&amp;", "&lt;", "&gt;"].into_iter().find(|entity| rest.starts_with(entity));
        let link = rest.starts_with("<https://").then(|| rest.find('>')).flatten();
        rest = match (entity, link) {
            (Some(entity), _) => &rest[entity.len()..],
            (None, Some(end)) if rest[..end].contains(".console.") => &rest[end + 1..],
            _ => return Err(format!("unescaped text: {}", &rest[..rest.len().min(40)])),
        };
    }
    Ok(())
}

/// Checks an event of the API v1.
fn datadog_v1(body: &Value) -> Checked {
    let known = [
        "aggregation_key",
        "alert_type",
        "date_happened",
        "device_name",
        "host",
        "priority",
        "related_event_id",
        "source_type_name",
        "tags",
        "text",
        "title",
    ];
    only(object(body, "event")?, &known)?;
    text(&body["title"], "title", 100)?;
    text(&body["text"], "text", 4_000)?;
    optional_text(&body["aggregation_key"], "aggregation_key", 100)?;
    let types =
        ["error", "warning", "info", "success", "user_update", "recommendation", "snapshot"];
    one_of(&body["alert_type"], "alert_type", &types)?;
    one_of(&body["priority"], "priority", &["normal", "low"])?;
    datadog_tags(&body["tags"])?;
    match &body["date_happened"] {
        Value::Null => Ok(()),
        Value::Number(time) if time.is_i64() => datadog_age(time.as_i64().unwrap_or_default()),
        _ => Err("date_happened must be a POSIX timestamp".to_owned()),
    }
}

/// Checks an event of the API v2, whose objects allow no additional properties.
fn datadog_v2(body: &Value) -> Checked {
    only(object(body, "body")?, &["data"])?;
    only(object(&body["data"], "data")?, &["type", "attributes"])?;
    one_of(&body["data"]["type"], "type", &["event"])?;
    let event = &body["data"]["attributes"];
    let known = [
        "aggregation_key",
        "attributes",
        "category",
        "host",
        "integration_id",
        "message",
        "tags",
        "timestamp",
        "title",
    ];
    only(object(event, "attributes")?, &known)?;
    one_of(&event["category"], "category", &["alert"])?;
    one_of(&event["integration_id"], "integration_id", &["custom-events"])?;
    text(&event["title"], "title", 500)?;
    optional_text(&event["message"], "message", 4_000)?;
    optional_text(&event["host"], "host", 255)?;
    optional_text(&event["aggregation_key"], "aggregation_key", 100)?;
    datadog_tags(&event["tags"])?;
    let alert = &event["attributes"];
    only(object(alert, "attributes.attributes")?, &["custom", "links", "priority", "status"])?;
    one_of(&alert["status"], "status", &["warn", "error", "ok"])?;
    one_of(&alert["priority"], "priority", &["1", "2", "3", "4", "5"])?;
    let custom = object(&alert["custom"], "custom")?;
    if custom.len() > 100 || depth(&alert["custom"]) > 10 {
        return Err("custom must have at most 100 properties and 10 levels".to_owned());
    }
    let links = alert["links"].as_array().ok_or("links must be a list")?;
    if links.len() > 20 {
        return Err("links must have at most 20 elements".to_owned());
    }
    for link in links {
        only(object(link, "link")?, &["category", "title", "url"])?;
        one_of(&link["category"], "category", &["runbook", "documentation", "dashboard"])?;
        optional_text(&link["title"], "title", 300)?;
        text(&link["url"], "url", 2_048)?;
    }
    match event["timestamp"].as_str() {
        None => Ok(()),
        Some(time) => match time.parse::<jiff::Timestamp>() {
            Ok(time) => datadog_age(time.as_second()),
            Err(_) => Err("timestamp must be in ISO 8601".to_owned()),
        },
    }
}

fn datadog_tags(tags: &Value) -> Checked {
    let tags = tags.as_array().ok_or("tags must be a list")?;
    if tags.len() > 100 {
        return Err("tags must have at most 100 elements".to_owned());
    }
    tags.iter().try_for_each(|tag| {
        text(tag, "tag", 200)?;
        let tag = tag.as_str().unwrap_or_default();
        let is_kept = |letter: char| letter.is_alphanumeric() || "_-:./".contains(letter);
        if tag.starts_with(char::is_alphabetic) && tag.chars().all(is_kept) {
            Ok(())
        } else {
            Err(format!("tag {tag} would be changed"))
        }
    })
}

fn datadog_age(seconds: i64) -> Checked {
    let age = jiff::Timestamp::now().as_second() - seconds;
    if age > 18 * 3_600 {
        Err("events older than 18 hours are not accepted".to_owned())
    } else {
        Ok(())
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Checks an alert event of the Events API v2.
fn pagerduty_event(body: &Value, key: &str) -> Checked {
    let known = [
        "routing_key",
        "event_action",
        "dedup_key",
        "payload",
        "images",
        "links",
        "client",
        "client_url",
    ];
    only(object(body, "event")?, &known)?;
    if body["routing_key"] != key {
        return Err("'routing_key' is missing or invalid".to_owned());
    }
    one_of(&body["event_action"], "event_action", &["trigger", "acknowledge", "resolve"])?;
    text(&body["dedup_key"], "dedup_key", 255)?;
    let payload = &body["payload"];
    let known = [
        "summary",
        "source",
        "severity",
        "timestamp",
        "component",
        "group",
        "class",
        "custom_details",
    ];
    only(object(payload, "payload")?, &known)?;
    text(&payload["summary"], "summary", 1_024)?;
    text(&payload["source"], "source", 1_024)?;
    one_of(&payload["severity"], "severity", &["critical", "error", "warning", "info"])?;
    for name in ["component", "group", "class"] {
        optional_text(&payload[name], name, 1_024)?;
    }
    if let Some(time) = payload["timestamp"].as_str() {
        time.parse::<jiff::Timestamp>().map_err(|_| "timestamp must be in ISO 8601".to_owned())?;
    }
    for link in body["links"].as_array().into_iter().flatten() {
        only(object(link, "link")?, &["href", "text"])?;
        text(&link["href"], "href", 2_048)?;
    }
    Ok(())
}
