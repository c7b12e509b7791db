//! Paths of the engine's APIs, as the official OpenSearch client builds and escapes them. Elasticsearch has the same ones.
//!
//! The client's own transport is not used: it follows redirects, and documents must be sent to no other address than the
//! one given (see [`Client`](super::client::Client)).

use std::borrow::Cow;

use opensearch::cluster::{
    ClusterGetSettingsParts, ClusterHealthParts, ClusterPutComponentTemplateParts,
};
use opensearch::indices::{
    IndicesCreateParts, IndicesGetAliasParts, IndicesGetFieldMappingParts, IndicesGetMappingParts,
    IndicesGetSettingsParts, IndicesPutIndexTemplateParts, IndicesRefreshParts, IndicesStatsParts,
};
use opensearch::ingest::IngestGetPipelineParts;
use opensearch::nodes::NodesStatsParts;
use opensearch::{BulkParts, CountParts, CreateParts, CreatePitParts, MgetParts, SearchParts};

type Path = Cow<'static, str>;

/// Returns the path of the bulk API.
pub(super) fn bulk() -> Path {
    BulkParts::None.url()
}

/// Returns the path of the multi-get API.
pub(super) fn multi_get() -> Path {
    MgetParts::None.url()
}

/// Returns the path that creates a document, unless there is one with this id.
pub(super) fn create(index: &str, id: &str) -> Path {
    CreateParts::IndexId(index, id).url()
}

/// Returns the path of an index.
pub(super) fn index(name: &str) -> Path {
    IndicesCreateParts::Index(name).url()
}

/// Returns the path of the mappings of indices.
pub(super) fn mapping(names: &[&str]) -> Path {
    IndicesGetMappingParts::Index(names).url()
}

/// Returns the path of the mappings of fields in indices; both are names joined by commas.
pub(super) fn field_mapping(indices: &str, fields: &str) -> Path {
    IndicesGetFieldMappingParts::IndexFields(&[indices], &[fields]).url()
}

/// Returns the path of a search in indices, whose names are joined by commas, or of one without names.
pub(super) fn search(indices: &str) -> Path {
    if indices.is_empty() { SearchParts::None.url() } else { SearchParts::Index(&[indices]).url() }
}

/// Returns the path of the number of documents in indices that a search finds.
pub(super) fn count(names: &[&str]) -> Path {
    CountParts::Index(names).url()
}

/// Returns the path that opens a point in time of OpenSearch over indices, whose names are joined by commas.
pub(super) fn point_in_time(indices: &str) -> Path {
    CreatePitParts::Index(&[indices]).url()
}

/// Returns the path of some settings of indices.
pub(super) fn settings(names: &[&str], settings: &[&str]) -> Path {
    IndicesGetSettingsParts::IndexName(names, settings).url()
}

/// Returns the path of all settings of an index.
pub(super) fn all_settings(name: &str) -> Path {
    IndicesGetSettingsParts::Index(&[name]).url()
}

/// Returns the path of the aliases of indices.
pub(super) fn aliases(names: &[&str]) -> Path {
    IndicesGetAliasParts::Index(names).url()
}

/// Returns the path of the document counts of indices.
pub(super) fn document_counts(names: &[&str]) -> Path {
    IndicesStatsParts::IndexMetric(names, &["docs"]).url()
}

/// Returns the path that refreshes an index.
pub(super) fn refresh(name: &str) -> Path {
    IndicesRefreshParts::Index(&[name]).url()
}

/// Returns the path of an index template.
pub(super) fn index_template(name: &str) -> Path {
    IndicesPutIndexTemplateParts::Name(name).url()
}

/// Returns the path of a component template.
pub(super) fn component_template(name: &str) -> Path {
    ClusterPutComponentTemplateParts::Name(name).url()
}

/// Returns the path of an ingest pipeline.
pub(super) fn pipeline(id: &str) -> Path {
    IngestGetPipelineParts::Id(id).url()
}

/// Returns the path of the cluster's health, which includes the number of shards.
pub(super) fn cluster_health() -> Path {
    ClusterHealthParts::None.url()
}

/// Returns the path of the cluster settings.
pub(super) fn cluster_settings() -> Path {
    ClusterGetSettingsParts::None.url()
}

/// Returns the path of the file system statistics of all nodes.
pub(super) fn node_disks() -> Path {
    NodesStatsParts::Metric(&["fs"]).url()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_escape_names_and_keep_patterns() {
        for (path, expected) in [
            (bulk(), "/_bulk"),
            (multi_get(), "/_mget"),
            (index("trail-2024.06"), "/trail-2024.06"),
            (mapping(&["trail_a", "trail-b"]), "/trail_a,trail-b/_mapping"),
            (settings(&["t", "t-*"], &["index.uuid"]), "/t,t-*/_settings/index.uuid"),
            (field_mapping("t,t-*", "a.b,c"), "/t,t-*/_mapping/field/a.b,c"),
            (search("t,t-*"), "/t,t-*/_search"),
            (search(""), "/_search"),
            (point_in_time("t,t-*"), "/t,t-*/_search/point_in_time"),
            (aliases(&["t"]), "/t/_alias"),
            (document_counts(&["t"]), "/t/_stats/docs"),
            (refresh("t"), "/t/_refresh"),
            (index_template("cloudtrail"), "/_index_template/cloudtrail"),
            (
                component_template("cloudtrail-discovered"),
                "/_component_template/cloudtrail-discovered",
            ),
            (pipeline("a b/ü"), "/_ingest/pipeline/a%20b%2F%C3%BC"),
            (cluster_health(), "/_cluster/health"),
            (cluster_settings(), "/_cluster/settings"),
            (node_disks(), "/_nodes/stats/fs"),
        ] {
            assert_eq!(path, expected);
        }
    }
}
