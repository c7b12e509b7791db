//! Builds dead letters: documents that no index accepts, with the reason.

use super::bulk_request::{BulkRequest, RequestDocument};
use super::bulk_response::document_id;
use crate::event::{Batch, CompressedText, DeadLetter, DeadLetterCause, DeadLetterContent};
use crate::sink::cause::Cause;

/// Returns the dead letter of a document, with its content as the normalizer produced it.
pub(super) fn dead_letter(
    batch: &Batch,
    document: &RequestDocument,
    cause: DeadLetterCause,
    reason: String,
) -> DeadLetter {
    let entry = &batch.entries[document.entry];
    let original = &batch.body[entry.action as usize..entry.end as usize];
    let (action, line) = original.split_at((entry.document - entry.action) as usize);
    DeadLetter {
        partition: batch.shares[entry.share as usize].partition,
        id: document_id(action),
        index: batch.targets[usize::from(entry.index)].index.clone(),
        cause,
        reason,
        content: DeadLetterContent::Document(CompressedText::new(line.trim_ascii_end())),
    }
}

/// Returns the dead letter of the only document of a request that is too large for the engine.
pub(super) fn for_too_large(batch: &Batch, request: &BulkRequest, cause: &Cause) -> DeadLetter {
    let (kind, reason) = match cause.status() {
        Some(413) => {
            let bytes = request.body.len();
            let reason = format!("a request of {bytes} bytes is too large for this engine");
            (DeadLetterCause::Limit, reason)
        }
        _ => (DeadLetterCause::Content, cause.to_string()),
    };
    dead_letter(batch, &request.documents[0], kind, reason)
}

/// Returns the dead letter of a document whose index accepts none.
pub(super) fn for_unwritable_index(
    batch: &Batch,
    document: &RequestDocument,
    cause: &Cause,
) -> DeadLetter {
    dead_letter(batch, document, DeadLetterCause::Index, cause.to_string())
}

/// Returns the dead letter of a document that an ingest pipeline fails, drops or redirects.
pub(super) fn for_pipeline(
    batch: &Batch,
    document: &RequestDocument,
    pipeline: &str,
    cause: &Cause,
) -> DeadLetter {
    dead_letter(batch, document, DeadLetterCause::Pipeline, format!("{pipeline}: {cause}"))
}
