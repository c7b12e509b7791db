//! Ids and titles of the saved objects of one prefix.
//!
//! Input: the prefix of the indices. Output: ids and titles.
//! Invariant: they depend on nothing else, so that an import replaces the objects of an earlier one; those of two prefixes
//! differ, so that both can be imported into one program.

use super::definition::{Dashboard, Data, DataView, Panel};

/// The prefix whose objects have plain ids and titles.
const DEFAULT_PREFIX: &str = "cloudtrail";

/// What the title of every dashboard begins with.
const PRODUCT: &str = "CloudTrail";

/// Ids and titles for one prefix.
#[derive(Clone, Debug)]
pub(super) struct ObjectNames {
    prefix: String,
    /// What all ids begin with.
    id_prefix: String,
}

impl ObjectNames {
    pub(super) fn for_prefix(prefix: &str) -> Self {
        let id_prefix = match prefix {
            DEFAULT_PREFIX => "trailload".to_owned(),
            other => format!("trailload-{other}"),
        };
        Self { prefix: prefix.to_owned(), id_prefix }
    }

    /// Returns the pattern of the indices.
    pub(super) fn index(&self, view: &DataView) -> String {
        view.index.replace("{prefix}", &self.prefix)
    }

    pub(super) fn index_pattern(&self, data: Data) -> String {
        let data = match data {
            Data::Events => "cloudtrail",
            Data::Runs => "runs",
        };
        format!("{}-{data}", self.id_prefix)
    }

    pub(super) fn filters(&self, data: Data) -> String {
        format!("{}-vis-filters-{}", self.id_prefix, data.name())
    }

    pub(super) fn documents(&self, data: Data) -> String {
        format!("{}-search-{}", self.id_prefix, data.name())
    }

    pub(super) fn panel(&self, panel: &Panel) -> String {
        format!("{}-vis-{}", self.id_prefix, panel.id)
    }

    pub(super) fn dashboard(&self, dashboard: &Dashboard) -> String {
        format!("{}-dash-{}", self.id_prefix, dashboard.id)
    }

    pub(super) fn lens_dashboard(&self, dashboard: &Dashboard) -> String {
        format!("{}-lens-{}", self.id_prefix, dashboard.id)
    }

    /// Returns a title with the name of the data behind it, as the vendors of both products write it: lists of saved objects
    /// hold those of many programs.
    pub(super) fn title(&self, view: &DataView, question: &str) -> String {
        format!("{question} [{}]", self.of_prefix(&view.name))
    }

    pub(super) fn dashboard_title(&self, dashboard: &Dashboard) -> String {
        format!("{} {}: {}", self.of_prefix(PRODUCT), dashboard.name, dashboard.question)
    }

    fn of_prefix(&self, name: &str) -> String {
        match self.prefix.as_str() {
            DEFAULT_PREFIX => name.to_owned(),
            other => format!("{name} {other}"),
        }
    }
}
