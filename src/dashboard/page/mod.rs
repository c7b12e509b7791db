//! The dashboards as one page that needs no engine and no network.
//!
//! Input: the answers of panels. Output: an HTML document.
//! Invariant: the document is complete in itself and contains no script; whatever events contain is text in it (see [`html`]),
//! and it has at most [`MAX_BYTES`].
//! Deliberately not here: where answers come from, and where the document is written to.

mod axis;
mod bars;
mod document;
mod heatmap;
mod html;
mod latest;
mod limits;
mod panel;
mod series;
mod share;
mod table;
mod tiles;
mod value;

use std::time::Duration;

use serde_json::Value;

use self::{
    html::Html,
    limits::{DETAILS, Details},
};
use super::{
    answer::PanelAnswer,
    definition::{Dashboards, Data, Panel},
    time_scale::TimeScale,
};

/// Maximum size of a page. A larger one is slow to open, and too large for many mail systems.
pub const MAX_BYTES: usize = 2_000_000;

/// Maximum number of [`PageData::latest`] that a page shows.
pub const MAX_LATEST: usize = 50;

/// What a page is made of.
#[derive(Clone, Debug)]
pub struct Page<'d> {
    /// The dashboards.
    pub dashboards: &'d Dashboards,
    /// Where the documents are from: a file or folder, or the address and indices of an engine.
    pub source: String,
    /// When the answers were computed, as the time since 1970.
    pub created: Duration,
    /// The kinds of documents that there are answers about. The dashboards of another kind say that they have none.
    pub data: Vec<PageData>,
    /// The answers, in any order. A panel without an answer has no documents.
    pub answers: Vec<(&'d Panel, PanelAnswer)>,
    /// What a reader has to know about the answers: inputs that could not be read, limits that were reached.
    pub notes: Vec<String>,
}

/// The documents of one kind.
#[derive(Clone, Debug)]
pub struct PageData {
    /// The kind.
    pub data: Data,
    /// Number of documents.
    pub documents: u64,
    /// The times of the first and the last document, in milliseconds since 1970; `None` without documents.
    pub range: Option<(i64, i64)>,
    /// The intervals of time axes.
    pub scale: TimeScale,
    /// The latest documents, the newest first, for the list at the end; those beyond [`MAX_LATEST`] are left out.
    pub latest: Vec<Value>,
}

impl Page<'_> {
    /// Returns the page as an HTML document. Rows and the ends of long texts are left out where it would be too large.
    pub fn to_html(&self) -> String {
        let mut text = String::new();
        for details in DETAILS {
            text = self.with_details(details);
            if text.len() <= MAX_BYTES {
                break;
            }
        }
        text
    }

    fn with_details(&self, details: Details) -> String {
        let mut html = Html::new();
        document::write(self, details, &mut html);
        html.into_string()
    }

    /// Returns the answer of a panel, if there are documents for it.
    fn answer(&self, panel: &Panel) -> Option<&PanelAnswer> {
        let is_of_panel = |(other, _): &&(&Panel, PanelAnswer)| other.id == panel.id;
        let (_, answer) = self.answers.iter().find(is_of_panel)?;
        (answer.documents > 0).then_some(answer)
    }

    /// Returns what is known about the documents of a kind.
    fn data(&self, data: Data) -> Option<&PageData> {
        self.data.iter().find(|other| other.data == data)
    }
}

impl Data {
    /// Returns what one of the documents is called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Events => "event",
            Self::Runs => "run",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::{
        answer::{AnswerRow, GroupKey},
        definition::{PanelBucket, TIME_FIELD},
    };

    /// Takes as many bytes on the page as no other character.
    const LARGEST: &str = "\u{e0041}";

    /// Returns all combinations of as many groups as each bucket can have.
    fn keys(buckets: &[PanelBucket]) -> Vec<Vec<GroupKey>> {
        let Some((bucket, inside)) = buckets.split_first() else { return vec![Vec::new()] };
        let long = |number: usize| GroupKey::Text(format!("{number}{}", LARGEST.repeat(1_020)));
        let groups: Vec<GroupKey> = match bucket {
            PanelBucket::Time => (0..120).map(|day| GroupKey::Time(day * 86_400_000)).collect(),
            PanelBucket::Terms { size, .. } => (0..*size).map(long).collect(),
            PanelBucket::Filters { filters, .. } => (0..filters.len()).map(long).collect(),
        };
        let inside = keys(inside);
        let combine = |key: &GroupKey| -> Vec<Vec<GroupKey>> {
            inside.iter().map(|rest| [std::slice::from_ref(key), rest].concat()).collect()
        };
        groups.iter().flat_map(combine).collect()
    }

    fn largest_answer(panel: &Panel) -> PanelAnswer {
        let values = vec![Some(9_007_199_254_740_992.0); panel.metrics.len()];
        let row = |keys| AnswerRow { keys, values: values.clone() };
        let rows = keys(&panel.buckets).into_iter().map(row).collect();
        PanelAnswer { documents: u64::MAX, rows, is_incomplete: true }
    }

    fn largest_data(dashboards: &Dashboards, data: Data) -> PageData {
        let view = dashboards.views.iter().find(|view| view.data == data).unwrap();
        let columns = view.search.columns.iter();
        let mut document: Value =
            columns.map(|name| (name.clone(), Value::from(LARGEST.repeat(10_000)))).collect();
        document[TIME_FIELD] = "2024-02-29T12:34:56Z".into();
        PageData {
            data,
            documents: u64::MAX,
            range: Some((0, 119 * 86_400_000)),
            scale: TimeScale::Day,
            latest: vec![document; MAX_LATEST],
        }
    }

    #[test]
    fn the_largest_page_has_at_most_two_megabytes() {
        let dashboards = Dashboards::embedded().unwrap();
        let page = Page {
            dashboards: &dashboards,
            source: LARGEST.repeat(100_000),
            created: Duration::from_hours(500_000),
            data: [Data::Events, Data::Runs].map(|data| largest_data(&dashboards, data)).into(),
            answers: dashboards.panels().map(|(_, panel)| (panel, largest_answer(panel))).collect(),
            notes: vec![LARGEST.repeat(10_000); 20],
        };
        let html = page.to_html();
        assert!(html.len() <= MAX_BYTES, "{}", html.len());
        assert!(html.contains("The first 15 of 200 rows."));
    }
}
