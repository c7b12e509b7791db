//! Documents and records that could not be indexed, with the reason and the content to send again.
//!
//! Input: refusals of an engine, and records that cannot be turned into documents. Output: values that the checkpoint
//! stores and a later run sends again. Not here: the decision that a document is a dead letter; the sink and the
//! workers take it.

use super::{CompressedText, PartitionNumber};

/// Why a document cannot be indexed, and so which kind of change allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadLetterCause {
    /// The engine rejects the content of the document: a mapping, a template or this program has to change.
    #[default]
    Content,
    /// The index accepts no documents: it is closed, blocked, or an alias without a write index.
    Index,
    /// An ingest pipeline fails, drops the document, or changes its index or id.
    Pipeline,
    /// The document exceeds a limit of the engine or of this program.
    Limit,
}

impl DeadLetterCause {
    /// All causes.
    pub const ALL: [Self; 4] = [Self::Content, Self::Index, Self::Pipeline, Self::Limit];

    /// Returns the name of the cause in the checkpoint and in `status --json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Index => "index",
            Self::Pipeline => "pipeline",
            Self::Limit => "limit",
        }
    }

    /// Returns the cause with this name, or [`Self::Content`] if a later version wrote a name that is unknown here.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|cause| cause.name() == name).unwrap_or_default()
    }
}

/// A document that could not be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Number of the partition that it came from.
    pub partition: PartitionNumber,
    /// Document id.
    pub id: String,
    /// Index that it was addressed to.
    pub index: String,
    /// Kind of the cause.
    pub cause: DeadLetterCause,
    /// The cause as text, such as the engine's error message.
    pub reason: String,
    /// Content to send again.
    pub content: DeadLetterContent,
}

/// The content of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterContent {
    /// The document, as it was first sent.
    Document(CompressedText),
    /// A record that could not be turned into a document, as its source holds it.
    Record {
        /// The record, unless it is larger than the limit for stored records.
        content: Option<CompressedText>,
        /// Offset of the record in the uncompressed source.
        offset: u64,
        /// Length of the record in bytes.
        bytes: u64,
    },
}

impl DeadLetterContent {
    /// Returns the size of the stored content in bytes.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Document(content) | Self::Record { content: Some(content), .. } => {
                content.as_bytes().len()
            }
            Self::Record { content: None, .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DeadLetterCause;

    #[test]
    fn a_cause_is_found_by_its_name() {
        for cause in DeadLetterCause::ALL {
            assert_eq!(DeadLetterCause::from_name(cause.name()), cause);
        }
        assert_eq!(DeadLetterCause::from_name("of a later version"), DeadLetterCause::Content);
    }
}
