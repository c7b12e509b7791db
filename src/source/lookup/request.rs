//! Sends one LookupEvents request.

use std::time::Duration;

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::types::{Event, EventCategory, LookupAttribute};
use tokio::time::timeout;

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
) -> Result<PageResponse, ServiceError> {
    let sent = send(&target.client, target.category, target.filter.as_ref(), query);
    timeout(REQUEST_TIMEOUT, sent).await.unwrap_or_else(|_| {
        Err(ServiceError {
            kind: ErrorKind::Transient,
            status: None,
            code: None,
            message: format!("no response within {} s", REQUEST_TIMEOUT.as_secs()),
            request_id: None,
        })
    })
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
