//! Other forms of a document that the engine rejected for its content.
//!
//! Input: a rejected document. Output: its next form, or `None` if there is none left.
//!
//! | form that was rejected | next form |
//! |---|---|
//! | as the normalizer produced it | rewritten for the live mapping of its index, if that changes anything |
//! | rewritten, or as the normalizer produced it | raw: top-level values, and the original as text |
//! | raw | none |

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

use tokio::time::Instant;

use super::api::ApiClient;
use super::bulk_request::Stage;
use super::mapping::Mappings;
use crate::event::Batch;
use crate::normalize::{self, FieldRegistry, IndexRewriter};
use crate::sink::error::Error;

/// Rewriters by the number of the index in the batch.
pub(super) type Rewriters = HashMap<u16, IndexRewriter>;

/// Finds other forms of the rejected documents of one request.
pub(super) struct Fallback<'a> {
    api: ApiClient<'a>,
    fields: &'a FieldRegistry,
    mappings: Option<&'a Mappings>,
    batch: &'a Batch,
    /// When the request was sent: mappings that were read before it may be outdated.
    sent: Instant,
    rewriters: Rewriters,
}

impl<'a> Fallback<'a> {
    pub(super) fn new(
        api: ApiClient<'a>,
        fields: &'a FieldRegistry,
        mappings: Option<&'a Mappings>,
        batch: &'a Batch,
        sent: Instant,
    ) -> Self {
        Self { api, fields, mappings, batch, sent, rewriters: Rewriters::default() }
    }

    /// Returns the next form of a document of the batch, with its content.
    pub(super) async fn next_form(
        &mut self,
        entry: usize,
        stage: Stage,
        line: &[u8],
    ) -> Result<Option<(Stage, Vec<u8>)>, Error> {
        // Rewriting thousands of documents takes a while; other tasks must have their turn.
        tokio::task::yield_now().await;
        if stage == Stage::Normalized
            && let Some(rewritten) = self.rewrite(self.batch.entries[entry].index, line).await?
        {
            return Ok(Some((Stage::Rewritten, rewritten)));
        }
        if stage != Stage::Raw {
            let raw = normalize::raw_document(line);
            if raw.trim_ascii_end() != line {
                return Ok(Some((Stage::Raw, raw)));
            }
        }
        Ok(None)
    }

    /// Rewrites a document for the live mapping of its index. `None` if that changes nothing.
    async fn rewrite(&mut self, index: u16, line: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(mappings) = self.mappings else { return Ok(None) };
        let rewriter = match self.rewriters.entry(index) {
            Occupied(entry) => entry.into_mut(),
            Vacant(entry) => {
                let name = &self.batch.targets[usize::from(index)].index;
                match mappings.live_mapping(&self.api, name, self.sent).await {
                    Ok(live) => entry.insert(IndexRewriter::new(self.fields, &live)),
                    // It was blocked in the meantime, as the next attempt will show.
                    Err(Error::Refused { reason, .. }) if reason.is_index_level() => {
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let rewritten = rewriter.rewrite(line);
        Ok(rewritten.filter(|rewritten| rewritten.trim_ascii_end() != line))
    }
}
