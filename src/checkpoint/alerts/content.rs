//! The stored form of an alert: a line of JSON and the event, compressed.
//!
//! Input: an alert, or stored bytes. Output: the other of both.
//! Invariant: the event is returned byte for byte. Content of an earlier version is readable: every field has a default.

use std::io;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{Alert, CompressedText, Severity};

/// An alert without its event.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Header {
    id: String,
    group_id: String,
    rule: String,
    severity: Severity,
    description: Option<String>,
    group: Map<String, Value>,
    combination: Map<String, Value>,
    time: Option<i64>,
    events: u64,
    actions: Vec<String>,
    event_id: String,
}

/// Encodes an alert.
pub(super) fn encode(alert: &Alert) -> CompressedText {
    let Alert { event, .. } = alert;
    let header = Header {
        id: alert.id.clone(),
        group_id: alert.group_id.clone(),
        rule: alert.rule.clone(),
        severity: alert.severity,
        description: alert.description.clone(),
        group: alert.group.clone(),
        combination: alert.combination.clone(),
        time: alert.time.map(Timestamp::as_millisecond),
        events: alert.events,
        actions: alert.actions.clone(),
        event_id: alert.event_id.clone(),
    };
    // A struct of texts, numbers and JSON values is always JSON.
    let mut text = serde_json::to_vec(&header).unwrap_or_default();
    text.push(b'\n');
    text.extend_from_slice(event);
    CompressedText::new(&text)
}

/// Decodes an alert.
pub(super) fn decode(content: &CompressedText) -> io::Result<Alert> {
    let text = Bytes::from(content.decompress()?);
    let end = memchr::memchr(b'\n', &text).ok_or(io::ErrorKind::InvalidData)?;
    let header: Header = serde_json::from_slice(&text[..end])?;
    Ok(Alert {
        id: header.id,
        group_id: header.group_id,
        rule: header.rule,
        severity: header.severity,
        description: header.description,
        group: header.group,
        combination: header.combination,
        time: header.time.and_then(|time| Timestamp::from_millisecond(time).ok()),
        events: header.events,
        actions: header.actions,
        event_id: header.event_id,
        event: text.slice(end + 1..),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_is_decoded_as_it_was_encoded() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let alert = Alert {
            id: "1".to_owned(),
            group_id: "2".to_owned(),
            rule: "a\nb".to_owned(),
            severity: Severity::Critical,
            description: Some("c".to_owned()),
            group: map(json!({"detail.z": null, "detail.a": [1, "x"]})),
            combination: map(json!({"detail.b": true})),
            time: Timestamp::from_millisecond(1_700_000_000_123).ok(),
            events: 7,
            actions: vec!["slack".to_owned()],
            event_id: "e".to_owned(),
            event: Bytes::from_static(b"{\"a\":1.50,\n \"b\": \"\\u00e9\"}"),
        };
        assert_eq!(decode(&encode(&alert)).unwrap(), alert);
        let bare = Alert { time: None, description: None, event: Bytes::new(), ..alert };
        assert_eq!(decode(&encode(&bare)).unwrap(), bare);
    }

    #[test]
    fn damaged_content_is_an_error() {
        assert!(decode(&CompressedText::new(b"no line break")).is_err());
        assert!(decode(&CompressedText::new(b"{\n{}")).is_err());
    }
}
