//! What a reader of a page has to know about its numbers.
//!
//! Input: what happened while events were counted. Output: sentences, for the page and for the log.

use std::collections::BTreeMap;

use crate::{
    dashboard::{Data, Panel, PanelAnswer},
    report::format::{count, plural},
};

/// Titles that one note names.
const MAX_TITLES: usize = 3;

/// Sentences about the numbers of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// What is missing. It makes the exit code that of an incomplete result.
    pub(super) missing: Vec<String>,
    /// What is as it should be, and good to know.
    pub(super) remarks: Vec<String>,
}

impl Notes {
    /// Adds a note about something that is missing.
    pub(super) fn add_missing(&mut self, note: impl Into<String>) {
        self.missing.push(note.into());
    }

    /// Adds a remark.
    pub(super) fn add_remark(&mut self, note: impl Into<String>) {
        self.remarks.push(note.into());
    }

    /// Adds a remark about documents that no panel shows.
    pub(super) fn add_undated(&mut self, undated: u64, data: Data) {
        let noun = data.noun();
        match undated {
            0 => {}
            1 => self.add_remark(format!(
                "1 {noun} has no time in the years 2000 to 2100. No panel shows it."
            )),
            many => self.add_remark(format!(
                "{} {noun}s have no time in the years 2000 to 2100. No panel shows them.",
                count(many)
            )),
        }
    }

    /// Adds a remark about panels with more groups than are counted.
    pub(super) fn add_limited(&mut self, answers: &[(&Panel, PanelAnswer)]) {
        let limited = answers.iter().filter(|(_, answer)| answer.is_incomplete);
        let titles: Vec<&str> = limited.map(|(panel, _)| panel.title.as_str()).collect();
        if !titles.is_empty() {
            self.add_remark(format!(
                "There are more different values than are counted at once. Rare ones may be missing, and numbers be too low, in {}.",
                titles_of(&titles)
            ));
        }
    }

    /// Adds what is missing in panels, by the reason.
    pub(super) fn add_panels(&mut self, reasons: BTreeMap<String, Vec<&str>>) {
        for (reason, titles) in reasons {
            self.add_missing(format!("Not complete: {} ({reason}).", titles_of(&titles)));
        }
    }

    /// Returns all sentences, what is missing first.
    pub(super) fn into_texts(self) -> Vec<String> {
        self.missing.into_iter().chain(self.remarks).collect()
    }
}

/// Returns the first titles, and the number of the others.
fn titles_of(titles: &[&str]) -> String {
    let named: Vec<String> =
        titles.iter().take(MAX_TITLES).map(|title| format!("\u{201c}{title}\u{201d}")).collect();
    let named = named.join(", ");
    match titles.len().saturating_sub(MAX_TITLES) {
        0 => named,
        more => format!("{named} and {}", plural(more as u64, "other panel")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_first_and_few_panels_are_named() {
        let mut notes = Notes::default();
        notes.add_undated(1_200, Data::Events);
        notes.add_undated(1, Data::Runs);
        let reasons = [("1 of 2 shards failed".to_owned(), vec!["A?", "B?", "C?", "D?", "E?"])];
        notes.add_panels(reasons.into());
        let expected = [
            "Not complete: \u{201c}A?\u{201d}, \u{201c}B?\u{201d}, \u{201c}C?\u{201d} and 2 other panels (1 of 2 shards failed).",
            "1,200 events have no time in the years 2000 to 2100. No panel shows them.",
            "1 run has no time in the years 2000 to 2100. No panel shows it.",
        ];
        assert_eq!(notes.into_texts(), expected);
    }
}
