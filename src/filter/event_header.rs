//! The few members of an event that a scan of its top level finds without parsing it.
//!
//! Input: a parsed event, or the results of such a scan. Output: [`EventHeader`].
//! Invariant: a member that the scan could not read is `None`, which rules nothing out.

use serde_json::Value;

/// Members at the top level of an event.
///
/// `None` stands for a member that is missing, that is not of the usual type, or whose text contains an escape sequence:
/// whether the event matches is then decided when it is parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventHeader<'a> {
    /// `eventSource`, such as `s3.amazonaws.com`.
    pub event_source: Option<&'a str>,
    /// `eventName`, such as `GetObject`.
    pub event_name: Option<&'a str>,
    /// `eventTime`, such as `2024-06-30T23:59:59Z`.
    pub event_time: Option<&'a str>,
    /// `eventID`.
    pub event_id: Option<&'a str>,
    /// `sourceIPAddress`: an address or the name of a service.
    pub source_ip_address: Option<&'a str>,
    /// `readOnly`.
    pub read_only: Option<bool>,
    /// Whether `errorCode` or `errorMessage` is a text that is not empty.
    pub has_error: Option<bool>,
}

impl<'a> EventHeader<'a> {
    /// Returns the header of a parsed event.
    pub fn of_event(event: &'a Value) -> Self {
        let text = |key| event.get(key).and_then(Value::as_str);
        Self {
            event_source: text("eventSource"),
            event_name: text("eventName"),
            event_time: text("eventTime"),
            event_id: text("eventID"),
            source_ip_address: text("sourceIPAddress"),
            read_only: read_only(event),
            has_error: Some(has_error(event)),
        }
    }
}

/// Which members of a header are looked at.
#[expect(clippy::struct_excessive_bools, reason = "each is about members of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderNeeds {
    /// `eventSource` and `eventName`.
    pub action: bool,
    /// `eventTime`.
    pub time: bool,
    /// `eventID`.
    pub id: bool,
    /// The other members.
    pub selectors: bool,
}

impl HeaderNeeds {
    /// All members.
    pub const ALL: Self = Self { action: true, time: true, id: true, selectors: true };
}

/// Returns whether the call failed.
pub fn has_error(event: &Value) -> bool {
    ["errorCode", "errorMessage"].iter().any(|key| {
        event.get(key).is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
    })
}

/// Returns whether the call only reads, or `None` if the event does not contain that. Some copies of events hold it as a
/// text.
pub fn read_only(event: &Value) -> Option<bool> {
    match event.get("readOnly")? {
        Value::Bool(read_only) => Some(*read_only),
        Value::String(text) => text.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}
