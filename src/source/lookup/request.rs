//! Sends one LookupEvents request and encodes the page for a worker.

use std::time::Duration;

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::types::{Event, EventCategory, LookupAttribute};
use bytes::Bytes;
use serde::Serialize;

use super::clock::Clock;
use super::plan::{MAX_PAGE_EVENTS, SecondRange};
use super::{Category, LookupFilter, LookupTarget};
use crate::aws::{ErrorKind, ServiceError};

/// Maximum time for a request with all its retries. The client has shorter timeouts of its own; this one covers a
/// client configured without any.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(200);

/// The query of one request. A token is valid only together with all other parameters.
#[derive(Clone, Debug)]
pub(super) struct PageQuery {
    pub(super) range: SecondRange,
    pub(super) token: Option<String>,
}

/// The response of one request.
#[derive(Debug, Default)]
pub(super) struct PageResponse {
    pub(super) events: Vec<Event>,
    pub(super) token: Option<String>,
}

/// Fetches one page.
///
/// # Errors
///
/// Returns [`ServiceError`] if the request failed after the client's own retries.
pub(super) async fn fetch_page(
    target: LookupTarget,
    query: PageQuery,
    clock: &Clock,
) -> Result<PageResponse, ServiceError> {
    let late = clock.now() + REQUEST_TIMEOUT;
    tokio::select! {
        answer = send(&target.client, target.category, target.filter.as_ref(), query) => answer,
        () = clock.reaches(late) => Err(ServiceError {
            kind: ErrorKind::Transient,
            status: None,
            code: None,
            message: format!("no response within {} s", REQUEST_TIMEOUT.as_secs()),
            request_id: None,
        }),
    }
}

async fn send(
    client: &Client,
    category: Category,
    filter: Option<&LookupFilter>,
    query: PageQuery,
) -> Result<PageResponse, ServiceError> {
    let time = aws_smithy_types::DateTime::from_secs;
    let mut request = client
        .lookup_events()
        .start_time(time(query.range.from))
        .end_time(time(query.range.to))
        .max_results(MAX_PAGE_EVENTS.cast_signed())
        .set_next_token(query.token);
    if category == Category::Insight {
        request = request.event_category(EventCategory::Insight);
    }
    if let Some(LookupFilter { key, value }) = filter {
        let attribute = LookupAttribute::builder()
            .attribute_key(key.clone())
            .attribute_value(value)
            .build()
            .expect("key and value are set");
        request = request.lookup_attributes(attribute);
    }
    let answer = request.send().await.map_err(|error| ServiceError::from_sdk(&error))?;
    let token = answer.next_token.filter(|token| !token.is_empty());
    Ok(PageResponse { events: answer.events.unwrap_or_default(), token })
}

/// Returns `EventTime` in seconds, if present.
pub(super) fn event_second(event: &Event) -> Option<i64> {
    event.event_time.as_ref().map(aws_smithy_types::DateTime::secs)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_trail_event: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resource<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<&'a str>,
}

impl<'a> From<&'a aws_sdk_cloudtrail::types::Resource> for Resource<'a> {
    fn from(it: &'a aws_sdk_cloudtrail::types::Resource) -> Self {
        Self { resource_type: it.resource_type(), resource_name: it.resource_name() }
    }
}

/// Returns the fields of an event that a page contains.
fn wire(event: &Event) -> Wire<'_> {
    let Event { event_id, username, resources, cloud_trail_event, .. } = event;
    Wire {
        event_id: event_id.as_deref(),
        event_time: event_second(event),
        username: username.as_deref(),
        resources: resources.as_deref().unwrap_or_default().iter().map(Resource::from).collect(),
        cloud_trail_event: cloud_trail_event.as_deref(),
    }
}

/// Returns `{"Events":[…]}` as the service would send it, without the fields that are repeated in the record.
pub(super) fn page(events: &[Event]) -> Bytes {
    let text = |event: &Event| event.cloud_trail_event.as_ref().map_or(0, String::len);
    // Escaped quotes add about a sixth.
    let guess = events.iter().map(|event| text(event) * 5 / 4 + 256).sum();
    let mut bytes = Vec::with_capacity(guess);
    bytes.extend_from_slice(b"{\"Events\":[");
    for (number, event) in events.iter().enumerate() {
        if number > 0 {
            bytes.push(b',');
        }
        serde_json::to_writer(&mut bytes, &wire(event)).expect("text is written into memory");
    }
    bytes.extend_from_slice(b"]}");
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_the_wrapper_adds_and_nothing_that_is_absent() {
        let resource = aws_sdk_cloudtrail::types::Resource::builder().resource_name("b").build();
        let events = [
            Event::builder()
                .event_id("1")
                .event_time(aws_smithy_types::DateTime::from_secs(7))
                .username("alice")
                .resources(resource)
                .cloud_trail_event("{\"a\":\"\\\"\"}")
                .build(),
            Event::builder().build(),
        ];
        let expected = r#"{"Events":[{"EventId":"1","EventTime":7,"Username":"alice","Resources":[{"ResourceName":"b"}],"CloudTrailEvent":"{\"a\":\"\\\"\"}"},{}]}"#;
        assert_eq!(page(&events), expected.as_bytes());
        assert_eq!(page(&[]), b"{\"Events\":[]}".as_slice());
    }
}
