//! The identity of an event, by which one that was delivered before is recognized.
//!
//! Input: an event of a page. Output: its key, of the same size for every event.
//! Invariant: events with the same ID have the same key; so have events without an ID that have the same record.
//! Deliberately absent: which keys are remembered, and for how long (see `follow` and `reading`).

use aws_sdk_cloudtrail::types::Event;
use sha2::{Digest as _, Sha256};

/// Identifies an event: a hash of its ID, or of its record if it has none.
pub(super) type EventKey = [u8; 16];

/// Returns the key of an event.
pub(super) fn event_key(event: &Event) -> EventKey {
    let identity = event.event_id.as_ref().or(event.cloud_trail_event.as_ref());
    let hash: [u8; 32] = Sha256::digest(identity.map_or("", String::as_str)).into();
    let mut key = EventKey::default();
    key.copy_from_slice(&hash[..16]);
    key
}
