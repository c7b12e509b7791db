//! What a refusal of the engine is about: read once from its code and words, so that nobody else has to.
//!
//! In: a [`Cause`]. Out: a [`Why`], a [`Block`], and what a person can do.
//! Holds: engines have one name for many refusals (`illegal_argument_exception`, `cluster_block_exception`), and tell
//! them apart by their words alone. Those words are looked at here and in the reader of bulk replies, nowhere else.

use super::Cause;

/// What a refusal is about, as far as it decides what a person can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A block keeps writes out.
    Block(Block),
    /// The index is closed.
    Closed,
    /// The cluster takes no more shards, or it is another limit for new indices.
    Shards,
    /// A collection for time series or vectors takes no documents with ids.
    NoIds,
    /// Two index templates with the same priority match the same names.
    SamePriority,
    /// The name belongs to a template that makes data streams.
    DataStream,
    /// An ingest pipeline is missing, or cannot run.
    Pipeline,
    /// A template was refused for another reason.
    Template,
    /// There is nothing of that name.
    Missing,
    /// Anything else.
    Other,
}

/// A block that keeps writes out of an index, or out of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The engines' number for it.
    id: u16,
    scope: Scope,
    /// Whether the engine says that it is starting, or busy, and not that something is forbidden.
    waits: bool,
}

/// What a block is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Index,
    Cluster,
}

/// The index is read-only because a disk is full; the engine takes the block away once there is room.
const FLOOD_STAGE: u16 = 12;

/// No new indices because all disks are full; the engine sets and removes it by itself.
const NO_NEW_INDICES: u16 = 10;

impl Block {
    /// Reads the worst block in the words of a `cluster_block_exception`, such as
    /// `index [a] blocked by: [FORBIDDEN/8/index write (api)];`: one that stays, if there is one.
    fn read(reason: &str) -> Option<Self> {
        let (before, list) = reason.split_once("blocked by: ")?;
        let scope = if before.starts_with("index [") { Scope::Index } else { Scope::Cluster };
        let blocks = list.split('[').filter_map(|block| {
            let mut parts = block.split('/');
            let level = parts.next()?;
            let id = parts.next()?.parse().ok()?;
            Some(Self { id, scope, waits: level != "FORBIDDEN" })
        });
        blocks.min_by_key(|block| block.passes())
    }

    /// Returns whether the engine takes it away by itself.
    pub(super) fn passes(self) -> bool {
        self.waits || self.is_of_disk()
    }

    /// Returns whether a full disk is the reason.
    pub fn is_of_disk(self) -> bool {
        matches!(self.id, FLOOD_STAGE | NO_NEW_INDICES)
    }

    /// Returns whether it is about one index.
    pub(super) fn is_of_index(self) -> bool {
        self.scope == Scope::Index
    }

    /// Returns what to do about it.
    pub fn advice(self) -> &'static str {
        match (self.id, self.scope) {
            (FLOOD_STAGE | NO_NEW_INDICES, _) => {
                "the engine's disk is full: make room, then run the same command again"
            }
            (4, _) => "open the index (POST /INDEX/_open), then run the same command again",
            (5, Scope::Index) => {
                "somebody made the index read-only: set index.blocks.read_only to null \
                 (PUT /INDEX/_settings), then run the same command again"
            }
            (8, _) => {
                "somebody blocked writes to the index: set index.blocks.write to null \
                 (PUT /INDEX/_settings), then run the same command again"
            }
            (9, _) => {
                "somebody blocked the index's metadata: set index.blocks.metadata to null \
                 (PUT /INDEX/_settings), then run the same command again"
            }
            (_, Scope::Index) => {
                "take the block off the index (PUT /INDEX/_settings), then run the same command again"
            }
            (_, Scope::Cluster) if self.waits => {
                "the cluster is not ready: see its health, then run the same command again"
            }
            (_, Scope::Cluster) => {
                "somebody made the cluster read-only: set cluster.blocks.read_only and \
                 cluster.blocks.read_only_allow_delete to null (PUT /_cluster/settings), \
                 then run the same command again"
            }
        }
    }
}

impl Why {
    /// Finds out what a refusal is about.
    pub fn of(cause: &Cause) -> Self {
        let Cause::Answer { status, code, reason } = cause else { return Self::Other };
        match (status, code.as_str()) {
            (_, "cluster_block_exception") => Block::read(reason).map_or(Self::Other, Self::Block),
            (_, "index_closed_exception") => Self::Closed,
            (_, "validation_exception") => Self::Shards,
            (400, "illegal_argument_exception" | "invalid_index_template_exception") => {
                Self::of_argument(reason)
            }
            (404, _) => Self::Missing,
            _ if reason.contains("There are no ingest nodes in this cluster") => Self::Pipeline,
            _ => Self::Other,
        }
    }

    /// Tells apart what engines name alike.
    fn of_argument(reason: &str) -> Self {
        if reason.contains("Document ID is not supported") {
            Self::NoIds
        } else if reason.contains("have the same priority") {
            Self::SamePriority
        } else if reason.contains("data stream") {
            Self::DataStream
        } else if reason.contains("shards open") {
            Self::Shards
        } else if reason.starts_with("pipeline with id [") {
            Self::Pipeline
        } else {
            Self::Other
        }
    }

    /// Returns whether it is about one index, and others may take documents.
    pub(super) fn is_of_index(self) -> bool {
        match self {
            Self::Closed => true,
            Self::Block(block) => block.is_of_index() && !block.passes(),
            _ => false,
        }
    }

    /// Returns what to do about it.
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Block(block) => block.advice(),
            Self::Closed => {
                "open the index (POST /INDEX/_open), or choose another prefix with --index"
            }
            Self::Shards => {
                "the cluster may have too many shards: delete indices, raise \
                 cluster.max_shards_per_node, or make fewer indices with --index-by year"
            }
            Self::NoIds => {
                "a time series or vector collection takes no ids, and without them nothing keeps \
                 events from being loaded twice: load into a search collection"
            }
            Self::SamePriority => {
                "give the other index template another priority, or choose another prefix with \
                 --index; 'trailload doctor' names it"
            }
            Self::DataStream => {
                "the name belongs to a template for data streams, which keep no ids: choose another \
                 prefix with --index, or give that template other patterns"
            }
            Self::Pipeline => {
                "make the ingest pipeline, and give a node the role ingest, or take the pipeline out of the settings \
                 of the index (index.default_pipeline, index.final_pipeline)"
            }
            Self::Template => {
                "another template contradicts it: 'trailload doctor' names those that match the same \
                 indices"
            }
            Self::Missing => "check the path of --into, and that indices may be made automatically",
            Self::Other => return None,
        })
    }
}

impl Cause {
    /// Returns the engine's name for the error, and its words; nothing for anything but an engine's answer.
    pub(super) fn words(&self) -> (&str, &str) {
        match self {
            Self::Answer { code, reason, .. } => (code, reason),
            _ => ("", ""),
        }
    }

    /// Returns the block that keeps writes out, if that is what the engine says.
    pub fn block(&self) -> Option<Block> {
        match Why::of(self) {
            Why::Block(block) => Some(block),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(reason: &str) -> Cause {
        let code = "cluster_block_exception".to_owned();
        Cause::Answer { status: 403, code, reason: reason.to_owned() }
    }

    #[test]
    fn blocks_are_told_apart_by_their_numbers() {
        for (by, advice, passes) in [
            ("FORBIDDEN/4/index closed", "_open", false),
            ("FORBIDDEN/5/index read-only (api)", "index.blocks.read_only ", false),
            ("FORBIDDEN/8/index write (api)", "index.blocks.write", false),
            ("FORBIDDEN/9/index metadata (api)", "index.blocks.metadata", false),
            ("FORBIDDEN/12/index read-only / allow delete (api)", "disk", true),
            ("TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark", "disk", true),
            ("FORBIDDEN/99/something new", "the block", false),
        ] {
            let block = blocked(&format!("index [a-2024.03] blocked by: [{by}];")).block().unwrap();
            assert!(block.advice().contains(advice), "{by}: {}", block.advice());
            assert_eq!(block.passes(), passes, "{by}");
            assert!(block.is_of_index());
            assert_eq!(block.advice().contains("disk"), advice == "disk", "{by}");
        }
    }

    #[test]
    fn a_block_of_the_whole_cluster_is_no_blocked_index() {
        let read_only =
            blocked("blocked by: [FORBIDDEN/6/cluster read-only (api)];").block().unwrap();
        assert!(!read_only.is_of_index() && !read_only.passes());
        assert!(read_only.advice().contains("cluster.blocks.read_only"));
        let starting = "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];";
        assert!(blocked(starting).block().unwrap().passes());
        let disks = "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];";
        assert!(blocked(disks).block().unwrap().is_of_disk());
    }

    #[test]
    fn of_several_blocks_the_one_that_stays_counts() {
        let both = "index [a] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded];\
                    [FORBIDDEN/8/index write (api)];";
        let block = blocked(both).block().unwrap();
        assert!(!block.passes() && block.advice().contains("index.blocks.write"));
        assert_eq!(blocked("no words that anybody knows").block(), None);
    }

    #[test]
    fn one_name_for_many_refusals_is_told_apart() {
        let why = |reason: &str| {
            let code = "illegal_argument_exception".to_owned();
            Why::of(&Cause::Answer { status: 400, code, reason: reason.to_owned() })
        };
        for (reason, expected) in [
            (
                "index template [a] has index patterns [a-*] matching patterns from existing templates [b] with \
                 patterns (b => [a-*]) that have the same priority [101], multiple index templates may not match \
                 during index creation, please use a different priority",
                Why::SamePriority,
            ),
            (
                "cannot create index with name [a-2024.01], because it matches with template [b] that creates data \
                 streams only, use create data stream api instead",
                Why::DataStream,
            ),
            ("Document ID is not supported in create/index operation request", Why::NoIds),
            ("pipeline with id [p] does not exist", Why::Pipeline),
            ("unknown setting [index.x]", Why::Other),
        ] {
            assert_eq!(why(reason), expected, "{reason}");
        }
    }
}
