//! What one bulk request carries: bytes, and which document of the batch lies where.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::event::Batch;

/// How far a document is from the form it arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// As the normalizer made it.
    Normalized,
    /// Rewritten for the live mapping of its index.
    Rewritten,
    /// Top-level values plus the original as text.
    Raw,
}

/// One document of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Which of the batch's entries it is.
    pub(super) entry: usize,
    /// In which form it is sent.
    pub(super) stage: Stage,
    /// Action and document line within the parcel's body.
    at: Range<usize>,
    /// Where the document line begins.
    line: usize,
}

/// The content of one bulk request.
#[derive(Clone, Debug, Default)]
pub(super) struct Parcel {
    pub(super) body: Bytes,
    pub(super) documents: Vec<Document>,
}

/// A parcel under construction.
#[derive(Debug, Default)]
pub(super) struct Packer {
    body: BytesMut,
    documents: Vec<Document>,
}

impl Parcel {
    /// Takes over a whole batch, without a copy.
    pub(super) fn whole(batch: &Batch) -> Self {
        let documents = batch.entries.iter().enumerate().map(|(number, entry)| Document {
            entry: number,
            stage: Stage::Normalized,
            at: entry.action as usize..entry.end as usize,
            line: entry.document as usize,
        });
        Self { body: batch.body.clone(), documents: documents.collect() }
    }

    /// Returns the document line without its newline.
    pub(super) fn line(&self, document: &Document) -> &[u8] {
        let line = &self.body[document.line..document.at.end];
        line.strip_suffix(b"\n").unwrap_or(line)
    }

    /// Returns the action line with its newline.
    pub(super) fn action(&self, document: &Document) -> &[u8] {
        &self.body[document.at.start..document.line]
    }

    /// Cuts a parcel in two, by bytes and not by documents: one of them may be huge.
    ///
    /// Returns the parcel itself if there is nothing to cut.
    pub(super) fn halved(mut self) -> Result<(Self, Self), Self> {
        if self.documents.len() < 2 {
            return Err(self);
        }
        let middle = self.body.len() / 2;
        let cut = self.documents.partition_point(|document| document.at.end <= middle);
        let cut = cut.clamp(1, self.documents.len() - 1);
        let mut back = self.documents.split_off(cut);
        let offset = back[0].at.start;
        for document in &mut back {
            document.at = document.at.start - offset..document.at.end - offset;
            document.line -= offset;
        }
        let back = Self { body: self.body.slice(offset..), documents: back };
        self.body.truncate(offset);
        Ok((self, back))
    }
}

impl Packer {
    /// Adds a document as it was in another parcel.
    pub(super) fn again(&mut self, from: &Parcel, document: &Document) {
        let start = self.body.len();
        self.body.extend_from_slice(&from.body[document.at.clone()]);
        let at = start..self.body.len();
        let line = start + (document.line - document.at.start);
        self.documents.push(Document { at, line, ..document.clone() });
    }

    /// Adds a document of another parcel in another form.
    pub(super) fn changed(
        &mut self,
        from: &Parcel,
        document: &Document,
        stage: Stage,
        content: &[u8],
    ) {
        let start = self.body.len();
        self.body.extend_from_slice(&from.body[document.at.start..document.line]);
        let line = self.body.len();
        self.body.extend_from_slice(content.trim_ascii_end());
        self.body.extend_from_slice(b"\n");
        self.documents.push(Document {
            entry: document.entry,
            stage,
            at: start..self.body.len(),
            line,
        });
    }

    /// Returns the parcel, if anything is in it.
    pub(super) fn finish(self) -> Option<Parcel> {
        let parcel = Parcel { body: self.body.freeze(), documents: self.documents };
        (!parcel.documents.is_empty()).then_some(parcel)
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

    fn lines(parcel: &Parcel) -> Vec<&str> {
        parcel.documents.iter().map(|one| std::str::from_utf8(parcel.line(one)).unwrap()).collect()
    }

    #[test]
    fn halves_hold_everything_once_and_in_order() {
        let batch = batch(&["{\"a\":1}", "{\"b\":2}", "{\"c\":3}", "{\"d\":4}", "{\"e\":5}"]);
        let (front, back) = Parcel::whole(&batch).halved().unwrap();
        assert_eq!([front.body.clone(), back.body.clone()].concat(), batch.body);
        assert_eq!([lines(&front), lines(&back)].concat(), lines(&Parcel::whole(&batch)));
        assert_eq!(back.documents.last().unwrap().entry, 4);
        let (_, last) = back.halved().unwrap();
        assert_eq!(lines(&last).last(), Some(&"{\"e\":5}"));
    }

    #[test]
    fn one_huge_document_ends_up_alone() {
        let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(1000));
        for order in [["{}", "{}", &huge], [&huge, "{}", "{}"]] {
            let (front, back) = Parcel::whole(&batch(&order)).halved().unwrap();
            assert!(!front.documents.is_empty() && !back.documents.is_empty());
        }
        assert!(Parcel::whole(&batch(&[&huge])).halved().is_err());
    }

    #[test]
    fn a_packer_takes_documents_over_or_changes_them() {
        let batch = batch(&["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        let whole = Parcel::whole(&batch);
        let mut packer = Packer::default();
        packer.again(&whole, &whole.documents[2]);
        packer.changed(&whole, &whole.documents[0], Stage::Raw, b"{\"z\":0}\n");
        let parcel = packer.finish().unwrap();
        assert_eq!(lines(&parcel), ["{\"c\":3}", "{\"z\":0}"]);
        assert_eq!(parcel.body, "{\"create\":{}}\n{\"c\":3}\n{\"create\":{}}\n{\"z\":0}\n");
        assert_eq!(
            parcel.documents.iter().map(|one| (one.entry, one.stage)).collect::<Vec<_>>(),
            [(2, Stage::Normalized), (0, Stage::Raw)]
        );
        assert!(Packer::default().finish().is_none());
    }
}
