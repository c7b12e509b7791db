//! The dashboards as one page that needs no engine and no network.
//!
//! Input: the answers of panels. Output: an HTML document.
//! Invariant: the document is complete in itself and contains no script; whatever events contain is text in it (see [`html`]),
//! and it has at most [`MAX_BYTES`].
//! Deliberately not here: where answers come from, and where the document is written to.

mod html;
mod table;
mod value;

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::html::Html;
use super::{
    answer::PanelAnswer,
    definition::{Dashboard, Dashboards, Data, Panel},
    time_scale::TimeScale,
};

/// Maximum size of a page. A larger one is slow to open, and too large for many mail systems.
pub const MAX_BYTES: usize = 2_000_000;

/// Maximum number of [`PageData::latest`] that a page shows.
pub const MAX_LATEST: usize = 50;

/// The style sheet.
const STYLE: &str = include_str!("style.css");

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
    /// Returns the page as an HTML document.
    pub fn to_html(&self) -> String {
        let mut html = Html::new();
        self.head(&mut html);
        for dashboard in &self.dashboards.dashboards {
            self.dashboard(dashboard, &mut html);
        }
        html.raw("</body></html>\n");
        html.into_string()
    }

    fn head(&self, html: &mut Html) {
        html.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
        html.raw("<meta http-equiv=\"Content-Security-Policy\"");
        html.attribute("content", content_security_policy());
        html.raw("><title>CloudTrail report</title><style>");
        html.raw(STYLE);
        html.raw("</style></head><body><h1>CloudTrail report</h1><p>");
        html.text(&self.source);
        html.raw("</p>");
        for note in &self.notes {
            html.raw("<p>");
            html.text(note);
            html.raw("</p>");
        }
    }

    fn dashboard(&self, dashboard: &Dashboard, html: &mut Html) {
        html.raw("<section><h2>");
        html.text(&dashboard.question);
        html.raw("</h2>");
        for panel in &dashboard.panels {
            html.raw("<section");
            html.attribute("id", &panel.id);
            html.raw("><h3>");
            html.text(&panel.title);
            html.raw("</h3>");
            match self.answer(panel) {
                Some(answer) if answer.documents > 0 => table::write(panel, answer, html),
                _ => html.raw("<p>No such events.</p>"),
            }
            html.raw("</section>");
        }
        html.raw("</section>");
    }

    fn answer(&self, panel: &Panel) -> Option<&PanelAnswer> {
        let is_of_panel = |(other, _): &&(&Panel, PanelAnswer)| other.id == panel.id;
        self.answers.iter().find(is_of_panel).map(|(_, answer)| answer)
    }
}

/// Returns the policy that lets nothing be loaded or run, and no style sheet be used except for that of this file.
fn content_security_policy() -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}
