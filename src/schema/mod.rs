//! The shape of every request and response of the AWS APIs, and how CloudTrail spells it.
//!
//! Input: the embedded shape table, or API models of a folder. Output: services, operations, shapes, and the paths of their
//! members in events.
//! Invariant: the embedded table is decompressed block by block, so an answer takes milliseconds.
//! Not here: what an answer looks like (see `cli::schema`).
//!
//! | module | responsible for |
//! |---|---|
//! | [`table`], `text` | the embedded table: its index, its blocks, and the text of a service in it |
//! | [`botocore`] | models as botocore and the AWS CLI ship them |
//! | [`model`] | the types of both |
//! | [`names`], `event_source` | names of services and operations |
//! | [`records`] | events that are not API calls |
//! | [`fields`] | shapes resolved to the leaves, with the paths of each field in events |
//! | [`find`] | names that contain a word |
//! | [`spelling`], `spelling_facts` | how CloudTrail spells names: the rules, and what no rule explains |

pub mod botocore;
pub mod fields;
pub mod find;

mod event_source;
pub mod model;
pub mod names;
pub mod records;
pub mod spelling;
mod spelling_facts;
pub mod table;
#[cfg(test)]
mod tests;
mod text;

pub use spelling_facts::only_reads;
pub use table::{Table, TableError};

/// Returns the names of all operations of a service, given its `eventSource`, id or another name. They are in no
/// particular order; the services of one `eventSource` are taken together. Empty if the service is unknown.
pub fn operations(service_or_source: &str) -> impl Iterator<Item = &'static str> {
    let services = Table::embedded()
        .map(|table| names::services(&table.services, service_or_source))
        .unwrap_or_default();
    services.into_iter().flat_map(|entry| entry.operations.iter().copied())
}

/// Returns whether a service has an operation with this name or `eventName`; case does not matter. The service is given
/// by its `eventSource`, id or another name.
pub fn has_operation(service_or_source: &str, name: &str) -> bool {
    let services = Table::embedded()
        .map(|table| names::services(&table.services, service_or_source))
        .unwrap_or_default();
    services.iter().any(|entry| names::operation(&entry.operations, name).is_some())
}
