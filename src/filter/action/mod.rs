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

mod filter;
mod pattern;
mod table;

pub use filter::ActionFilter;
pub use pattern::ActionPattern;
pub(crate) use table::service_name;
