//! Lanes that come in pages, and how many inputs each folder has: what the lister remembers.
//!
//! Holds: a lane counts as read only once all of its pages are; memory is bounded by what is under way, and by
//! [`FOLDERS_COUNTED`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use crate::{
    event::Position,
    normalize::TimeRange,
    report::{Log, Tally},
    source::{Content, Held, Input, Slice},
};

/// Folders of which the inputs are counted until they are closed: a month of an organization with more than a
/// hundred accounts. Beyond that none is closed in this run; the next finds all of it done and closes them.
const FOLDERS_COUNTED: usize = 100_000;

/// A lane that comes in pages.
pub(super) struct Paged {
    /// As the user would name it.
    pub(super) name: String,
    /// Whether all of it is in the range asked for: what is outside of that belongs to another lane.
    pub(super) in_range: bool,
    word: usize,
    /// Pages that were handed out and are not read; 1 more until the last one was handed out.
    unread: AtomicU32,
    failed: AtomicBool,
}

/// A page of a lane.
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) content: Held,
    pub(super) since: Option<Position>,
    pub(super) paged: Arc<Paged>,
}

impl Paged {
    pub(super) fn new(word: usize, slice: &Slice, range: TimeRange) -> Self {
        Self {
            name: slice.name.clone(),
            in_range: range.covers(slice.from, slice.to),
            word,
            unread: AtomicU32::new(1),
            failed: AtomicBool::new(false),
        }
    }

    /// Takes in that a page is handed out.
    pub(super) fn hand_out(&self) {
        self.unread.fetch_add(1, Relaxed);
    }

    /// Takes in that a page was read, or that no further one comes: whoever comes last has read the lane.
    pub(super) fn read(&self, tally: &Tally) {
        if self.unread.fetch_sub(1, Relaxed) == 1 {
            tally.done(self.word);
        }
    }

    /// Tells that a page could not be read as a whole. A lane fails once, however many pages do.
    pub(super) fn fail(&self, tally: &Tally, log: &Log, page: u32, cause: &str) {
        log.warn(&self.name, format_args!("page {page}: {cause}; the next run fetches it again"));
        if !self.failed.swap(true, Relaxed) {
            tally.failed(self.word, &self.name, &format!("page {page}: {cause}"));
        }
    }
}

/// How many inputs were handed to the workers, by folder.
#[derive(Default)]
pub(super) struct HandedOut {
    folders: BTreeMap<String, u64>,
    /// There were too many folders.
    lost_count: bool,
}

impl HandedOut {
    /// Counts an input, if its folder may be closed: that of a file is not.
    pub(super) fn count(&mut self, input: &Input) {
        if !matches!(input.content, Content::File(_)) {
            self.count_key(&input.lane.key);
        }
    }

    /// Counts an input by its key.
    pub(super) fn count_key(&mut self, key: &str) {
        let Some(slash) = key.rfind('/').filter(|_| !self.lost_count) else { return };
        let folder = &key[..=slash];
        if let Some(inputs) = self.folders.get_mut(folder) {
            *inputs += 1;
            return;
        }
        if self.folders.len() >= FOLDERS_COUNTED {
            *self = Self { lost_count: true, ..Self::default() };
            return;
        }
        self.folders.insert(folder.to_owned(), 1);
    }

    /// Returns how many inputs were counted below a prefix, and forgets them; nothing if that is not known.
    pub(super) fn close(&mut self, prefix: &str) -> Option<u64> {
        if self.lost_count {
            return None;
        }
        let below = self.folders.range(prefix.to_owned()..);
        let below: Vec<String> = below
            .map(|(folder, _)| folder)
            .take_while(|folder| folder.starts_with(prefix))
            .cloned()
            .collect();
        Some(below.iter().filter_map(|folder| self.folders.remove(folder)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_closed_with_what_was_handed_out_of_it() {
        let mut handed_out = HandedOut::default();
        for key in
            ["s3://b/01/a", "s3://b/01/b", "s3://b/01/x/c", "s3://b/010/d", "s3://b/02/e", "-"]
        {
            handed_out.count_key(key);
        }
        assert_eq!(handed_out.close("s3://b/01/"), Some(3));
        assert_eq!(handed_out.close("s3://b/01/"), Some(0));
        assert_eq!(handed_out.close("s3://b/02/"), Some(1));
    }

    #[test]
    fn with_too_many_folders_none_is_closed() {
        let mut handed_out = HandedOut::default();
        for folder in 0..=FOLDERS_COUNTED {
            handed_out.count_key(&format!("s3://b/{folder}/a"));
        }
        assert_eq!(handed_out.close("s3://b/1/"), None);
        assert!(handed_out.folders.is_empty());
    }
}
