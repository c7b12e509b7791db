//! Dashboards: questions about many events, and their answers.
//!
//! Input: `mappings/dashboards.json`, the one source of all dashboards. Output: saved objects for OpenSearch Dashboards and
//! Kibana ([`saved_objects()`], [`lens_objects`]), requests for an engine, and answers computed from documents.
//! Invariant: all of them come from the same panels, so a panel shows the same numbers wherever it is drawn.
//! Not here: I/O of any kind.

mod answer;
mod definition;
mod document_fields;
mod evaluate;
mod hashed_key;
mod kql;
mod latest;
mod lens;
mod names;
mod page;
mod request;
mod saved_objects;
mod time_scale;

pub use self::answer::{AnswerRow, GroupKey, PanelAnswer};
pub use self::definition::{
    BucketFilter, Chart, Dashboard, Dashboards, Data, DataView, DefinitionError, DocumentList,
    FieldFilter, Panel, PanelBucket, PanelMetric, SortOrder, TIME_FIELD,
};
pub use self::evaluate::{PanelCounter, SeenDocuments};
pub(crate) use self::hashed_key::HashedSet;
pub use self::kql::{KqlError, KqlExpression, ValueSet};
pub use self::lens::lens_objects;
pub use self::page::{MAX_BYTES, MAX_LATEST, Page, PageData};
pub use self::request::RequestTimes;
pub use self::saved_objects::{SavedObject, saved_objects, to_ndjson};
pub use self::time_scale::TimeScale;
