//! Classifies refusals of the engine.
//!
//! Input: a [`Cause`]. Output: a [`RefusalReason`], a [`ClusterBlock`], and a hint for the user.
//! Engines use one error type for many refusals (`illegal_argument_exception`, `cluster_block_exception`) that differ in
//! their message only. Messages are examined here and in `engine::bulk_response`, and nowhere else.

use super::cause::Cause;

/// Why the engine refuses a request, as far as it determines what the user can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// A cluster block or index block.
    Block(ClusterBlock),
    /// The index is closed.
    IndexClosed,
    /// The cluster has reached its shard limit, or another limit for new indices.
    ShardLimit,
    /// A time series or vector search collection does not accept document ids.
    IdsNotSupported,
    /// Two index templates of the same priority match the same names.
    SamePriority,
    /// The name matches a data stream template.
    DataStream,
    /// An ingest pipeline is missing, or no node can run it.
    Pipeline,
    /// An index template is composed of the component template that was to be deleted.
    ComponentInUse,
    /// A template was refused for another reason.
    Template,
    /// The resource does not exist.
    NotFound,
    /// Any other reason.
    Other,
}

/// A block of an index or of the whole cluster, as a `cluster_block_exception` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterBlock {
    /// The engines' number for it.
    id: u16,
    level: BlockLevel,
    /// Whether the engine reports that it is starting or busy, not that something is forbidden.
    retryable: bool,
}

/// What a block applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockLevel {
    Index,
    Cluster,
}

/// Block id of `index.blocks.read_only_allow_delete`, set at the flood-stage disk watermark. The engine removes it once
/// there is disk space.
const FLOOD_STAGE: u16 = 12;

/// Block id of `cluster.blocks.create_index`, set when all disks are above the high watermark. The engine sets and
/// removes it.
const CREATE_INDEX_BLOCKED: u16 = 10;

impl ClusterBlock {
    /// Parses the message of a `cluster_block_exception`, such as
    /// `index [a] blocked by: [FORBIDDEN/8/index write (api)];`. Of several blocks a permanent one is returned, if any.
    fn parse(reason: &str) -> Option<Self> {
        let (before, list) = reason.split_once("blocked by: ")?;
        let level =
            if before.starts_with("index [") { BlockLevel::Index } else { BlockLevel::Cluster };
        let blocks = list.split('[').filter_map(|block| {
            let mut parts = block.split('/');
            let status = parts.next()?;
            let id = parts.next()?.parse().ok()?;
            Some(Self { id, level, retryable: status != "FORBIDDEN" })
        });
        blocks.min_by_key(|block| block.is_temporary())
    }

    /// Returns whether the engine removes the block by itself.
    pub(super) fn is_temporary(self) -> bool {
        self.retryable || self.is_disk_full()
    }

    /// Returns whether a full disk is the reason.
    pub fn is_disk_full(self) -> bool {
        matches!(self.id, FLOOD_STAGE | CREATE_INDEX_BLOCKED)
    }

    /// Returns whether the block applies to one index.
    pub(super) fn is_index_level(self) -> bool {
        self.level == BlockLevel::Index
    }

    /// Returns a hint for the user.
    pub fn hint(self) -> &'static str {
        match (self.id, self.level) {
            (FLOOD_STAGE | CREATE_INDEX_BLOCKED, _) => {
                "the engine's disk is full: free disk space, then run the same command again"
            }
            (4, _) => "open the index (POST /INDEX/_open), then run the same command again",
            (5, BlockLevel::Index) => {
                "the index is read-only: set index.blocks.read_only to null \
                 (PUT /INDEX/_settings), then run the same command again"
            }
            (8, _) => {
                "writes to the index are blocked: set index.blocks.write to null \
                 (PUT /INDEX/_settings), then run the same command again"
            }
            (9, _) => {
                "the metadata of the index is blocked: set index.blocks.metadata to null \
                 (PUT /INDEX/_settings), then run the same command again"
            }
            (_, BlockLevel::Index) => {
                "remove the block from the index (PUT /INDEX/_settings), then run the same command again"
            }
            (_, BlockLevel::Cluster) if self.retryable => {
                "the cluster is not ready: check its health, then run the same command again"
            }
            (_, BlockLevel::Cluster) => {
                "the cluster is read-only: set cluster.blocks.read_only and \
                 cluster.blocks.read_only_allow_delete to null (PUT /_cluster/settings), \
                 then run the same command again"
            }
        }
    }
}

impl RefusalReason {
    /// Classifies a refusal.
    pub fn from_cause(cause: &Cause) -> Self {
        let Cause::ErrorResponse { status, code, reason } = cause else { return Self::Other };
        match (status, code.as_str()) {
            (_, "cluster_block_exception") => {
                ClusterBlock::parse(reason).map_or(Self::Other, Self::Block)
            }
            (_, "index_closed_exception") => Self::IndexClosed,
            (_, "validation_exception") => Self::ShardLimit,
            (400, "illegal_argument_exception" | "invalid_index_template_exception") => {
                Self::from_argument_error(reason)
            }
            (404, _) => Self::NotFound,
            _ if reason.contains("There are no ingest nodes in this cluster") => Self::Pipeline,
            _ => Self::Other,
        }
    }

    /// Classifies refusals that share one error type by their message.
    fn from_argument_error(reason: &str) -> Self {
        if reason.contains("Document ID is not supported") {
            Self::IdsNotSupported
        } else if reason.contains("have the same priority") {
            Self::SamePriority
        } else if reason.contains("data stream") {
            Self::DataStream
        } else if reason.contains("still in use by index templates") {
            Self::ComponentInUse
        } else if reason.contains("shards open") {
            Self::ShardLimit
        } else if reason.starts_with("pipeline with id [") {
            Self::Pipeline
        } else {
            Self::Other
        }
    }

    /// Returns whether only one index is affected, so that others may still accept documents.
    pub(super) fn is_index_level(self) -> bool {
        match self {
            Self::IndexClosed => true,
            Self::Block(block) => block.is_index_level() && !block.is_temporary(),
            _ => false,
        }
    }

    /// Returns a hint for the user, if there is one.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Block(block) => block.hint(),
            Self::IndexClosed => {
                "open the index (POST /INDEX/_open), or choose another prefix with --index"
            }
            Self::ShardLimit => {
                "the cluster may have reached its shard limit: delete indices, raise \
                 cluster.max_shards_per_node, or create fewer indices with --index-by year"
            }
            Self::IdsNotSupported => {
                "time series and vector search collections do not accept document ids, which prevent \
                 duplicates: load into a search collection"
            }
            Self::SamePriority => {
                "give the other index template another priority, or choose another prefix with \
                 --index; 'trailload doctor' names it"
            }
            Self::DataStream => {
                "the name matches a data stream template, and data streams do not keep document ids: choose another \
                 prefix with --index, or give that template other patterns"
            }
            Self::Pipeline => {
                "create the ingest pipeline and assign the ingest role to a node, or remove the pipeline from the \
                 index settings (index.default_pipeline, index.final_pipeline)"
            }
            Self::ComponentInUse => {
                "an index template needs it: if a load that runs has installed its templates again, stop the load; if the \
                 index template is your own, remove the component from its 'composed_of'; then run the same command again"
            }
            Self::Template => {
                "it may contradict another template: 'trailload doctor' lists those that match the same \
                 indices"
            }
            Self::NotFound => {
                "check the path of --into, and that the cluster permits automatic index creation"
            }
            Self::Other => return None,
        })
    }
}

impl Cause {
    /// Returns the cluster block that the engine reports, if any.
    pub fn cluster_block(&self) -> Option<ClusterBlock> {
        match RefusalReason::from_cause(self) {
            RefusalReason::Block(block) => Some(block),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(reason: &str) -> Cause {
        let code = "cluster_block_exception".to_owned();
        Cause::ErrorResponse { status: 403, code, reason: reason.to_owned() }
    }

    #[test]
    fn blocks_are_distinguished_by_id() {
        for (by, hint, is_temporary) in [
            ("FORBIDDEN/4/index closed", "_open", false),
            ("FORBIDDEN/5/index read-only (api)", "index.blocks.read_only ", false),
            ("FORBIDDEN/8/index write (api)", "index.blocks.write", false),
            ("FORBIDDEN/9/index metadata (api)", "index.blocks.metadata", false),
            ("FORBIDDEN/12/index read-only / allow delete (api)", "disk", true),
            ("TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark", "disk", true),
            ("FORBIDDEN/99/something new", "the block", false),
        ] {
            let block =
                blocked(&format!("index [a-2024.03] blocked by: [{by}];")).cluster_block().unwrap();
            assert!(block.hint().contains(hint), "{by}: {}", block.hint());
            assert_eq!(block.is_temporary(), is_temporary, "{by}");
            assert!(block.is_index_level());
            assert_eq!(block.hint().contains("disk"), hint == "disk", "{by}");
        }
    }

    #[test]
    fn a_cluster_block_is_not_an_index_block() {
        let read_only =
            blocked("blocked by: [FORBIDDEN/6/cluster read-only (api)];").cluster_block().unwrap();
        assert!(!read_only.is_index_level() && !read_only.is_temporary());
        assert!(read_only.hint().contains("cluster.blocks.read_only"));
        let starting = "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];";
        assert!(blocked(starting).cluster_block().unwrap().is_temporary());
        let disks = "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];";
        assert!(blocked(disks).cluster_block().unwrap().is_disk_full());
    }

    #[test]
    fn of_several_blocks_a_permanent_one_counts() {
        let both = "index [a] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded];\
                    [FORBIDDEN/8/index write (api)];";
        let block = blocked(both).cluster_block().unwrap();
        assert!(!block.is_temporary() && block.hint().contains("index.blocks.write"));
        assert_eq!(blocked("an unknown message").cluster_block(), None);
    }

    #[test]
    fn refusals_of_one_error_type_are_distinguished() {
        let classify = |reason: &str| {
            let code = "illegal_argument_exception".to_owned();
            RefusalReason::from_cause(&Cause::ErrorResponse {
                status: 400,
                code,
                reason: reason.to_owned(),
            })
        };
        for (reason, expected) in [
            (
                "index template [a] has index patterns [a-*] matching patterns from existing templates [b] with \
                 patterns (b => [a-*]) that have the same priority [101], multiple index templates may not match \
                 during index creation, please use a different priority",
                RefusalReason::SamePriority,
            ),
            (
                "cannot create index with name [a-2024.01], because it matches with template [b] that creates data \
                 streams only, use create data stream api instead",
                RefusalReason::DataStream,
            ),
            (
                "Document ID is not supported in create/index operation request",
                RefusalReason::IdsNotSupported,
            ),
            ("pipeline with id [p] does not exist", RefusalReason::Pipeline),
            ("unknown setting [index.x]", RefusalReason::Other),
        ] {
            assert_eq!(classify(reason), expected, "{reason}");
        }
    }
}
