//! How many documents a request asks for, so that a page has about the same size whatever the documents are.
//!
//! Input: the pages so far. Output: the number of documents of the next request, and the longest response to accept.
//! Invariant: a single document is accepted whatever its size, so that a search always continues.

use bytes::Bytes;

use crate::sink::SearchPage;

/// Documents of the first page: few, so that the first events come soon.
const FIRST: usize = 200;

/// Most documents of a page. Engines return at most 10,000 (`index.max_result_window`).
const MAX: usize = 5_000;

/// Size of a page in bytes: large enough that the time of a request does not matter, and small enough for memory.
const WANTED_BYTES: usize = 2 << 20;

/// Longest response that is read. Documents of a page may be larger than those before.
const MAX_BYTES: usize = 16 << 20;

/// How much the number of documents may grow from page to page.
const MAX_GROWTH: usize = 4;

/// The number of documents of the next page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageSize {
    documents: usize,
}

impl PageSize {
    /// Returns the size of the first page.
    pub(super) fn new() -> Self {
        Self { documents: FIRST }
    }

    /// Returns the number of documents to ask for, and the longest response to accept.
    pub(super) fn next(self) -> (usize, usize) {
        (self.documents, if self.documents == 1 { usize::MAX } else { MAX_BYTES })
    }

    /// Adapts to the documents of a page.
    pub(super) fn on_page(&mut self, page: &SearchPage) {
        if page.documents.is_empty() {
            return;
        }
        let bytes: usize = page.documents.iter().map(Bytes::len).sum();
        let average = (bytes / page.documents.len()).max(1);
        let most = self.documents.saturating_mul(MAX_GROWTH).min(MAX);
        self.documents = (WANTED_BYTES / average).clamp(1, most);
    }

    /// Adapts to a page that was too large.
    pub(super) fn on_too_large(&mut self) {
        self.documents = (self.documents / 4).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(documents: usize, bytes: usize) -> SearchPage {
        SearchPage {
            documents: vec![Bytes::from(vec![0; bytes]); documents],
            total: None,
            is_last: false,
        }
    }

    #[test]
    fn pages_have_about_the_same_size_in_bytes() {
        let mut size = PageSize::new();
        assert_eq!(size.next(), (FIRST, MAX_BYTES));
        size.on_page(&page(200, 2_000));
        assert_eq!(size.next().0, 800, "grows step by step");
        size.on_page(&page(800, 2_000));
        assert_eq!(size.next().0, WANTED_BYTES / 2_000);
        size.on_page(&page(100, 1 << 20));
        assert_eq!(size.next(), (2, MAX_BYTES));
        size.on_page(&page(1, 100));
        assert_eq!(size.next().0, 8);
    }

    #[test]
    fn a_document_of_any_size_is_read() {
        let mut size = PageSize::new();
        for _ in 0..9 {
            size.on_too_large();
        }
        assert_eq!(size.next(), (1, usize::MAX));
        size.on_page(&page(1, MAX_BYTES + 1));
        assert_eq!(size.next(), (1, usize::MAX));
    }
}
