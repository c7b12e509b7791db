//! Where the APIs of an engine are, as the official OpenSearch client builds their paths and escapes names in them.
//! Elasticsearch has the same ones.
//!
//! The client's own transport is not used: it follows redirects, and documents must go nowhere but to the address that
//! was given (see [`Client`](super::client::Client)).

use std::borrow::Cow;

use opensearch::cluster::{
    ClusterGetSettingsParts, ClusterHealthParts, ClusterPutComponentTemplateParts,
};
use opensearch::indices::{
    IndicesCreateParts, IndicesGetAliasParts, IndicesGetMappingParts, IndicesGetSettingsParts,
    IndicesPutIndexTemplateParts, IndicesRefreshParts, IndicesStatsParts,
};
use opensearch::ingest::IngestGetPipelineParts;
use opensearch::nodes::NodesStatsParts;
use opensearch::{BulkParts, MgetParts};

type Path = Cow<'static, str>;

/// Many documents, in one request.
pub(super) fn bulk() -> Path {
    BulkParts::None.url()
}

/// Many documents by their ids.
pub(super) fn multi_get() -> Path {
    MgetParts::None.url()
}

/// An index, to make it.
pub(super) fn index(name: &str) -> Path {
    IndicesCreateParts::Index(name).url()
}

/// The mappings of indices.
pub(super) fn mapping(names: &[&str]) -> Path {
    IndicesGetMappingParts::Index(names).url()
}

/// Some settings of indices.
pub(super) fn settings(names: &[&str], settings: &[&str]) -> Path {
    IndicesGetSettingsParts::IndexName(names, settings).url()
}

/// The aliases of indices.
pub(super) fn aliases(names: &[&str]) -> Path {
    IndicesGetAliasParts::Index(names).url()
}

/// How many documents indices hold.
pub(super) fn counts(names: &[&str]) -> Path {
    IndicesStatsParts::IndexMetric(names, &["docs"]).url()
}

/// Makes what was written to an index visible.
pub(super) fn refresh(name: &str) -> Path {
    IndicesRefreshParts::Index(&[name]).url()
}

/// An index template.
pub(super) fn index_template(name: &str) -> Path {
    IndicesPutIndexTemplateParts::Name(name).url()
}

/// A component template.
pub(super) fn component_template(name: &str) -> Path {
    ClusterPutComponentTemplateParts::Name(name).url()
}

/// An ingest pipeline.
pub(super) fn pipeline(id: &str) -> Path {
    IngestGetPipelineParts::Id(id).url()
}

/// How the cluster is, and how many shards it has.
pub(super) fn cluster_health() -> Path {
    ClusterHealthParts::None.url()
}

/// The settings of the cluster.
pub(super) fn cluster_settings() -> Path {
    ClusterGetSettingsParts::None.url()
}

/// How full the disks of the nodes are.
pub(super) fn disks() -> Path {
    NodesStatsParts::Metric(&["fs"]).url()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_stand_in_paths_as_engines_take_them() {
        for (path, expected) in [
            (bulk(), "/_bulk"),
            (multi_get(), "/_mget"),
            (index("trail-2024.06"), "/trail-2024.06"),
            (mapping(&["trail_a", "trail-b"]), "/trail_a,trail-b/_mapping"),
            (settings(&["t", "t-*"], &["index.uuid"]), "/t,t-*/_settings/index.uuid"),
            (aliases(&["t"]), "/t/_alias"),
            (counts(&["t"]), "/t/_stats/docs"),
            (refresh("t"), "/t/_refresh"),
            (index_template("cloudtrail"), "/_index_template/cloudtrail"),
            (component_template("cloudtrail-learned"), "/_component_template/cloudtrail-learned"),
            (pipeline("a b/ü"), "/_ingest/pipeline/a%20b%2F%C3%BC"),
            (cluster_health(), "/_cluster/health"),
            (cluster_settings(), "/_cluster/settings"),
            (disks(), "/_nodes/stats/fs"),
        ] {
            assert_eq!(path, expected);
        }
    }
}
