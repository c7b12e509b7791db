//! What the ways to fill a page have in common: their input and their output.
//!
//! Input: a [`PagePlan`], and what the whole run shares. Output: [`Filled`].

use std::sync::Arc;

use super::{notes::Notes, plan::PagePlan};
use crate::{
    cli::run_scope::RunScope,
    dashboard::{Dashboards, Data, PageData, Panel, PanelAnswer},
    report::{Log, Metrics},
};

/// What every step of a run needs.
#[derive(Clone, Copy)]
pub(super) struct PageRun<'r> {
    pub(super) plan: &'r PagePlan,
    pub(super) dashboards: &'static Dashboards,
    pub(super) metrics: &'r Arc<Metrics>,
    pub(super) log: &'r Log,
    pub(super) scope: &'r RunScope,
}

/// What a page shows.
pub(super) struct Filled {
    /// Where the documents are from.
    pub(super) source: String,
    /// The kinds of documents that there are.
    pub(super) data: Vec<PageData>,
    /// The answers.
    pub(super) answers: Vec<(&'static Panel, PanelAnswer)>,
    /// What a reader has to know.
    pub(super) notes: Notes,
}

impl Filled {
    /// Returns what is known about the events; `None` without any.
    pub(super) fn events(&self) -> Option<&PageData> {
        self.data.iter().find(|data| data.data == Data::Events)
    }
}
