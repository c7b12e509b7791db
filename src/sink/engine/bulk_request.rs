//! The body of one bulk request, and which documents of the batch it contains.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::event::Batch;

/// The form in which a document is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// As the normalizer produced it.
    Normalized,
    /// Rewritten for the live mapping of its index.
    Rewritten,
    /// Top-level values, and the original as text.
    Raw,
}

/// One document of a bulk request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestDocument {
    /// Position in the entries of the batch.
    pub(super) entry: usize,
    /// The form in which it is sent.
    pub(super) stage: Stage,
    /// Action line and document line within the body.
    range: Range<usize>,
    /// Offset of the document line.
    line: usize,
}

/// A bulk request.
#[derive(Clone, Debug, Default)]
pub(super) struct BulkRequest {
    pub(super) body: Bytes,
    pub(super) documents: Vec<RequestDocument>,
}

/// Builds a bulk request from documents of other requests.
#[derive(Debug, Default)]
pub(super) struct BulkRequestBuilder {
    body: BytesMut,
    documents: Vec<RequestDocument>,
}

impl BulkRequest {
    /// Returns the request for a whole batch, without copying its body.
    pub(super) fn from_batch(batch: &Batch) -> Self {
        let documents = batch.entries.iter().enumerate().map(|(number, entry)| RequestDocument {
            entry: number,
            stage: Stage::Normalized,
            range: entry.action as usize..entry.end as usize,
            line: entry.document as usize,
        });
        Self { body: batch.body.clone(), documents: documents.collect() }
    }

    /// Returns the document line without its newline.
    pub(super) fn document_line(&self, document: &RequestDocument) -> &[u8] {
        let line = &self.body[document.line..document.range.end];
        line.strip_suffix(b"\n").unwrap_or(line)
    }

    /// Returns the action line with its newline.
    pub(super) fn action_line(&self, document: &RequestDocument) -> &[u8] {
        &self.body[document.range.start..document.line]
    }

    /// Splits a request into two halves by bytes, not by documents, because one of them may be huge.
    ///
    /// Returns the request itself as the error if it has fewer than two documents.
    pub(super) fn split(mut self) -> Result<(Self, Self), Self> {
        if self.documents.len() < 2 {
            return Err(self);
        }
        let middle = self.body.len() / 2;
        let cut = self.documents.partition_point(|document| document.range.end <= middle);
        let cut = cut.clamp(1, self.documents.len() - 1);
        let mut back = self.documents.split_off(cut);
        let offset = back[0].range.start;
        for document in &mut back {
            document.range = document.range.start - offset..document.range.end - offset;
            document.line -= offset;
        }
        let back = Self { body: self.body.slice(offset..), documents: back };
        self.body.truncate(offset);
        Ok((self, back))
    }
}

impl BulkRequestBuilder {
    /// Adds a document of another request in the same form.
    pub(super) fn push_unchanged(&mut self, from: &BulkRequest, document: &RequestDocument) {
        let start = self.body.len();
        self.body.extend_from_slice(&from.body[document.range.clone()]);
        let range = start..self.body.len();
        let line = start + (document.line - document.range.start);
        self.documents.push(RequestDocument { range, line, ..document.clone() });
    }

    /// Adds a document of another request in another form.
    pub(super) fn push_changed(
        &mut self,
        from: &BulkRequest,
        document: &RequestDocument,
        stage: Stage,
        content: &[u8],
    ) {
        let start = self.body.len();
        self.body.extend_from_slice(from.action_line(document));
        let line = self.body.len();
        self.body.extend_from_slice(content.trim_ascii_end());
        self.body.extend_from_slice(b"\n");
        let range = start..self.body.len();
        self.documents.push(RequestDocument { entry: document.entry, stage, range, line });
    }

    /// Returns the request, unless it is empty.
    pub(super) fn build(self) -> Option<BulkRequest> {
        let request = BulkRequest { body: self.body.freeze(), documents: self.documents };
        (!request.documents.is_empty()).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Entry;

    fn batch(lines: &[&str]) -> Batch {
        let (mut body, mut entries) = (Vec::new(), Vec::new());
        for line in lines {
            let action = u32::try_from(body.len()).unwrap();
            body.extend_from_slice(b"{\"create\":{}}\n");
            let document = u32::try_from(body.len()).unwrap();
            body.extend_from_slice(line.as_bytes());
            body.push(b'\n');
            let end = u32::try_from(body.len()).unwrap();
            entries.push(Entry { action, document, end, index: 0, share: 0 });
        }
        Batch { body: body.into(), entries, ..Batch::default() }
    }

    fn lines(request: &BulkRequest) -> Vec<&str> {
        request
            .documents
            .iter()
            .map(|one| std::str::from_utf8(request.document_line(one)).unwrap())
            .collect()
    }

    #[test]
    fn halves_contain_each_document_once_and_in_order() {
        let batch = batch(&["{\"a\":1}", "{\"b\":2}", "{\"c\":3}", "{\"d\":4}", "{\"e\":5}"]);
        let (front, back) = BulkRequest::from_batch(&batch).split().unwrap();
        assert_eq!([front.body.clone(), back.body.clone()].concat(), batch.body);
        assert_eq!([lines(&front), lines(&back)].concat(), lines(&BulkRequest::from_batch(&batch)));
        assert_eq!(back.documents.last().unwrap().entry, 4);
        let (_, last) = back.split().unwrap();
        assert_eq!(lines(&last).last(), Some(&"{\"e\":5}"));
    }

    #[test]
    fn one_huge_document_ends_up_alone() {
        let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(1000));
        for order in [["{}", "{}", &huge], [&huge, "{}", "{}"]] {
            let (front, back) = BulkRequest::from_batch(&batch(&order)).split().unwrap();
            assert!(!front.documents.is_empty() && !back.documents.is_empty());
        }
        assert!(BulkRequest::from_batch(&batch(&[&huge])).split().is_err());
    }

    #[test]
    fn a_builder_copies_documents_or_changes_them() {
        let batch = batch(&["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        let whole = BulkRequest::from_batch(&batch);
        let mut builder = BulkRequestBuilder::default();
        builder.push_unchanged(&whole, &whole.documents[2]);
        builder.push_changed(&whole, &whole.documents[0], Stage::Raw, b"{\"z\":0}\n");
        let request = builder.build().unwrap();
        assert_eq!(lines(&request), ["{\"c\":3}", "{\"z\":0}"]);
        assert_eq!(request.body, "{\"create\":{}}\n{\"c\":3}\n{\"create\":{}}\n{\"z\":0}\n");
        assert_eq!(
            request.documents.iter().map(|one| (one.entry, one.stage)).collect::<Vec<_>>(),
            [(2, Stage::Normalized), (0, Stage::Raw)]
        );
        assert!(BulkRequestBuilder::default().build().is_none());
    }
}
