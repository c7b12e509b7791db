//! IAM action patterns: which events an action such as `s3:Get*` leads to, and which actions an event needs.
//!
//! Input: patterns, and the `eventSource` and `eventName` of events. Output: whether they match.
//! An event answers to several actions: IAM prefix and event name, with or without the date of an API version; event
//! source and event name; and every action of the table in `mappings/actions.json`, so `s3:ListAllMyBuckets` and
//! `s3:ListBuckets` both find `ListBuckets`. Names are compared as IAM does, without regard to case.
//! Invariant: matching never fails; every event matches `*`, also one without a source or a name.
//!
//! | module | responsible for |
//! |---|---|
//! | `pattern`, `filter` | one pattern, and several |
//! | `table` | names that differ between IAM and CloudTrail |
//! | `permissions` | which IAM actions there are, and the resources that they take |
//! | `known_events`, `warning` | patterns that find less than their author expects |
//! | `reverse` | the IAM actions of an event |

mod filter;
mod known_events;
mod pattern;
mod permissions;
mod reverse;
mod table;
#[cfg(test)]
mod tests;
mod warning;

pub use filter::ActionFilter;
pub use known_events::is_data_event;
pub use pattern::ActionPattern;
pub use permissions::{Permission, ResourceType, permission};
pub use reverse::{EventAction, actions_of_event};
pub(crate) use table::service_of_source;
pub use warning::{ActionWarning, ActionWarningKind};
