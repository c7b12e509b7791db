//! The dashboards, as `mappings/dashboards.json` defines them.
//!
//! Input: that file. Output: [`Dashboards`].
//! Invariant: what is accepted is complete: ids are unique, every query is one of the subset, every named query exists,
//! every panel has at least one metric, and a chart has the buckets that it can show.
//! Deliberately absent: the formats of other programs (see `saved_objects`, `lens` and `request`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::Deserialize;
use thiserror::Error;

use super::kql::{KqlError, KqlExpression};

/// The embedded definitions.
const EMBEDDED: &str = include_str!("../../mappings/dashboards.json");

/// Width of a dashboard in grid columns, in both products.
pub(super) const GRID_COLUMNS: u32 = 48;

/// The field that orders documents in time.
pub const TIME_FIELD: &str = "@timestamp";

/// Why a definition is not accepted.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// The file is not JSON, or has members that are not defined.
    #[error("the dashboards are not of the expected form")]
    Form(#[from] serde_json::Error),
    /// A query is not of the subset.
    #[error("{place} has a query that is not supported")]
    Query {
        /// The dashboard and panel.
        place: String,
        /// Why.
        source: KqlError,
    },
    /// A definition contradicts itself or another one.
    #[error("{place} {problem}")]
    Invalid {
        /// The dashboard or panel.
        place: String,
        /// What is wrong, as the end of a sentence.
        problem: String,
    },
}

/// All dashboards.
#[derive(Debug)]
pub struct Dashboards {
    /// The documents that dashboards are about.
    pub views: Vec<DataView>,
    /// The dashboards, in the order of their tabs.
    pub dashboards: Vec<Dashboard>,
}

/// Which documents a dashboard is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// The events in the indices of a prefix.
    Events,
    /// The documents about runs in `PREFIX-runs`.
    Runs,
}

impl Data {
    /// Returns the name in definitions and ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Runs => "runs",
        }
    }
}

/// Documents of one kind: where they are, and how they are filtered and listed.
#[derive(Clone, Debug)]
pub struct DataView {
    /// The kind of documents.
    pub data: Data,
    /// The name in titles, for the default prefix.
    pub name: String,
    /// The indices; `{prefix}` stands for the prefix.
    pub index: String,
    /// The fields that every dashboard can be filtered by.
    pub filters: Vec<FieldFilter>,
    /// The list of the documents behind the panels.
    pub search: DocumentList,
}

/// A field that dashboards are filtered by.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldFilter {
    /// The field.
    pub field: String,
    /// Its name for people.
    pub label: String,
}

/// The list of documents at the end of a dashboard, which shows what its filters and the selected parts of its panels have
/// left.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentList {
    /// The question that the list answers.
    pub title: String,
    /// The fields shown.
    pub columns: Vec<String>,
}

/// A dashboard: panels that answer parts of one question.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// The stable part of its id.
    pub id: String,
    /// Its subject, in a word or two.
    pub name: String,
    /// The question.
    pub question: String,
    /// The documents that it is about.
    pub data: Data,
    /// The panels, from left to right and from top to bottom.
    pub panels: Vec<Panel>,
}

/// A panel: the answer to one question about the documents that match a query.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The stable part of its id, unique among all panels.
    pub id: String,
    /// The question.
    pub title: String,
    /// How the answer is drawn.
    pub chart: Chart,
    /// The query, as Kibana and OpenSearch Dashboards get it; empty for all documents.
    pub query: String,
    /// The query.
    pub expression: KqlExpression,
    /// What documents are grouped by, from the outside to the inside.
    pub buckets: Vec<PanelBucket>,
    /// What is computed for each group; the first one decides the order of the groups.
    pub metrics: Vec<PanelMetric>,
    /// Width in grid columns.
    pub width: u32,
    /// Height in grid rows.
    pub height: u32,
}

/// How a panel is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chart {
    /// The metrics of all documents, as large numbers.
    Numbers,
    /// Vertical bars over time, stacked by a second bucket if there is one.
    Bars,
    /// One horizontal bar for each group, the largest first.
    Ranking,
    /// A colored cell for each pair of groups.
    Heatmap,
    /// Parts of a whole.
    Pie,
    /// A row for each combination of groups.
    Table,
}

/// What documents are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PanelBucket {
    /// The time of the documents, in intervals that fit the time range.
    Time,
    /// The values of a field that come first by the first metric.
    Terms {
        /// The field.
        field: String,
        /// Maximum number of groups.
        size: usize,
        /// Name of the column.
        label: String,
        /// Whether the largest groups come first, or the smallest.
        order: SortOrder,
    },
    /// A group for each query.
    Filters {
        /// Name of the column.
        label: String,
        /// The groups.
        filters: Vec<BucketFilter>,
    },
}

/// One group of [`PanelBucket::Filters`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketFilter {
    /// Name of the group.
    pub label: String,
    /// The query, as Kibana and OpenSearch Dashboards get it.
    pub query: String,
    /// The query.
    pub expression: KqlExpression,
}

/// The order of groups by the first metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortOrder {
    /// The smallest first.
    Ascending,
    /// The largest first.
    #[default]
    Descending,
}

/// What is computed for a group of documents.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PanelMetric {
    /// The number of documents.
    Count {
        /// Name of the column.
        label: String,
    },
    /// The number of different values of a field; engines approximate large ones.
    Unique {
        /// The field.
        field: String,
        /// Name of the column.
        label: String,
    },
    /// The smallest value of a field.
    Min {
        /// The field.
        field: String,
        /// Name of the column.
        label: String,
    },
    /// The largest value of a field.
    Max {
        /// The field.
        field: String,
        /// Name of the column.
        label: String,
    },
    /// The sum of the values of a field.
    Sum {
        /// The field.
        field: String,
        /// Name of the column.
        label: String,
    },
}

impl PanelMetric {
    /// Returns the name of the column.
    pub fn label(&self) -> &str {
        match self {
            Self::Count { label }
            | Self::Unique { label, .. }
            | Self::Min { label, .. }
            | Self::Max { label, .. }
            | Self::Sum { label, .. } => label,
        }
    }

    /// Returns the field that is computed from, if any.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Count { .. } => None,
            Self::Unique { field, .. }
            | Self::Min { field, .. }
            | Self::Max { field, .. }
            | Self::Sum { field, .. } => Some(field),
        }
    }

    /// Returns whether the value is a point in time.
    pub fn is_time(&self) -> bool {
        matches!(self, Self::Min { field, .. } | Self::Max { field, .. } if field == TIME_FIELD)
    }
}

impl PanelBucket {
    /// Returns the name of the column.
    pub fn label(&self) -> &str {
        match self {
            Self::Time => "Time",
            Self::Terms { label, .. } | Self::Filters { label, .. } => label,
        }
    }

    /// Returns the field that documents are grouped by, if it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Time => Some(TIME_FIELD),
            Self::Terms { field, .. } => Some(field),
            Self::Filters { .. } => None,
        }
    }
}

impl Panel {
    /// Returns all fields that the panel reads, sorted.
    pub fn fields(&self) -> BTreeSet<String> {
        let mut fields: BTreeSet<String> = self
            .buckets
            .iter()
            .filter_map(PanelBucket::field)
            .chain(self.metrics.iter().filter_map(PanelMetric::field))
            .map(str::to_owned)
            .collect();
        let mut add = |field: &String| {
            fields.insert(field.clone());
        };
        self.expression.map_fields(&mut add);
        for bucket in &self.buckets {
            if let PanelBucket::Filters { filters, .. } = bucket {
                for filter in filters {
                    filter.expression.map_fields(&mut add);
                }
            }
        }
        fields
    }
}

impl Dashboards {
    /// Returns the dashboards of this program.
    ///
    /// # Errors
    ///
    /// Returns [`DefinitionError`] if the embedded file is invalid, which the unit tests rule out.
    pub fn embedded() -> Result<Self, DefinitionError> {
        Self::parse(EMBEDDED)
    }

    /// Returns the dashboards of this program for as long as it runs, so that threads can share them.
    ///
    /// # Errors
    ///
    /// As [`embedded`](Self::embedded).
    pub fn shared() -> Result<&'static Self, &'static DefinitionError> {
        static SHARED: LazyLock<Result<Dashboards, DefinitionError>> =
            LazyLock::new(Dashboards::embedded);
        SHARED.as_ref()
    }

    /// Parses definitions.
    ///
    /// # Errors
    ///
    /// Returns [`DefinitionError`] if they are not complete or not consistent.
    pub fn parse(text: &str) -> Result<Self, DefinitionError> {
        let file: DashboardFile = serde_json::from_str(text)?;
        let queries = NamedQueries(file.queries);
        let views = file.data.into_iter().map(|(data, view)| view.into_view(data)).collect();
        let dashboards = file
            .dashboards
            .into_iter()
            .map(|dashboard| dashboard.into_dashboard(&queries))
            .collect::<Result<_, _>>()?;
        let dashboards = Self { views, dashboards };
        dashboards.check()?;
        Ok(dashboards)
    }

    /// Returns the documents that a dashboard is about.
    pub fn view(&self, data: Data) -> Option<&DataView> {
        self.views.iter().find(|view| view.data == data)
    }

    /// Returns all panels with their dashboards.
    pub fn panels(&self) -> impl Iterator<Item = (&Dashboard, &Panel)> {
        self.dashboards
            .iter()
            .flat_map(|dashboard| dashboard.panels.iter().map(move |panel| (dashboard, panel)))
    }

    /// Returns all fields of one kind of documents that panels, filters and lists use, sorted.
    pub fn fields(&self, data: Data) -> BTreeSet<String> {
        let panels = self.panels().filter(|(dashboard, _)| dashboard.data == data);
        let mut fields: BTreeSet<String> = panels.flat_map(|(_, panel)| panel.fields()).collect();
        for view in self.views.iter().filter(|view| view.data == data) {
            fields.extend(view.filters.iter().map(|filter| filter.field.clone()));
            fields.extend(view.search.columns.iter().cloned());
        }
        fields.insert(TIME_FIELD.to_owned());
        fields
    }

    fn check(&self) -> Result<(), DefinitionError> {
        let mut ids = BTreeSet::new();
        for dashboard in &self.dashboards {
            let place = format!("the dashboard '{}'", dashboard.id);
            if !ids.insert(dashboard.id.as_str()) {
                return Err(invalid(&place, "has the id of another one"));
            }
            if self.view(dashboard.data).is_none() {
                return Err(invalid(&place, "is about data that are not defined"));
            }
        }
        for (_, panel) in self.panels() {
            let place = format!("the panel '{}'", panel.id);
            if !ids.insert(panel.id.as_str()) {
                return Err(invalid(&place, "has the id of another panel or dashboard"));
            }
            check_panel(panel).map_err(|problem| invalid(&place, problem))?;
        }
        Ok(())
    }
}

fn invalid(place: &str, problem: impl Into<String>) -> DefinitionError {
    DefinitionError::Invalid { place: place.to_owned(), problem: problem.into() }
}

fn check_panel(panel: &Panel) -> Result<(), String> {
    let is_time = |bucket: &PanelBucket| *bucket == PanelBucket::Time;
    let fits = match (panel.chart, panel.buckets.as_slice()) {
        (Chart::Numbers, []) | (Chart::Ranking | Chart::Pie, [_]) | (Chart::Heatmap, [_, _]) => {
            true
        }
        (Chart::Bars, [first, rest @ ..]) => is_time(first) && rest.len() <= 1,
        (Chart::Table, buckets) => !buckets.is_empty() && !buckets.iter().any(is_time),
        _ => false,
    };
    if !fits {
        return Err("has buckets that its chart cannot show".to_owned());
    }
    if panel.metrics.is_empty() {
        return Err("has no metric".to_owned());
    }
    if panel.width == 0 || panel.width > GRID_COLUMNS || panel.height == 0 {
        return Err("does not fit into the grid".to_owned());
    }
    if !panel.title.ends_with('?') {
        return Err("has a title that is not a question".to_owned());
    }
    Ok(())
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DashboardFile {
    data: BTreeMap<Data, ViewFile>,
    queries: BTreeMap<String, String>,
    dashboards: Vec<DashboardEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewFile {
    name: String,
    index: String,
    filters: Vec<FieldFilter>,
    search: DocumentList,
}

impl ViewFile {
    fn into_view(self, data: Data) -> DataView {
        let Self { name, index, filters, search } = self;
        DataView { data, name, index, filters, search }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DashboardEntry {
    id: String,
    name: String,
    question: String,
    data: Data,
    panels: Vec<PanelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PanelEntry {
    id: String,
    title: String,
    chart: Chart,
    #[serde(default)]
    query: String,
    #[serde(default)]
    buckets: Vec<BucketEntry>,
    metrics: Vec<PanelMetric>,
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum BucketEntry {
    Time {},
    Terms {
        field: String,
        size: usize,
        label: String,
        #[serde(default)]
        order: SortOrder,
    },
    Filters {
        label: String,
        filters: Vec<FilterEntry>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterEntry {
    label: String,
    query: String,
}

impl DashboardEntry {
    fn into_dashboard(self, queries: &NamedQueries) -> Result<Dashboard, DefinitionError> {
        let Self { id, name, question, data, panels } = self;
        let panels =
            panels.into_iter().map(|panel| panel.into_panel(queries)).collect::<Result<_, _>>()?;
        Ok(Dashboard { id, name, question, data, panels })
    }
}

impl PanelEntry {
    fn into_panel(self, queries: &NamedQueries) -> Result<Panel, DefinitionError> {
        let Self { id, title, chart, query, buckets, metrics, width, height } = self;
        let place = format!("the panel '{id}'");
        let (query, expression) = queries.parse(&place, &query)?;
        let buckets = buckets
            .into_iter()
            .map(|bucket| bucket.into_bucket(&place, queries))
            .collect::<Result<_, _>>()?;
        Ok(Panel { id, title, chart, query, expression, buckets, metrics, width, height })
    }
}

impl BucketEntry {
    fn into_bucket(
        self,
        place: &str,
        queries: &NamedQueries,
    ) -> Result<PanelBucket, DefinitionError> {
        Ok(match self {
            Self::Time {} => PanelBucket::Time,
            Self::Terms { field, size, label, order } => {
                PanelBucket::Terms { field, size, label, order }
            }
            Self::Filters { label, filters } => {
                let parse = |FilterEntry { label, query }| {
                    let (query, expression) = queries.parse(place, &query)?;
                    Ok(BucketFilter { label, query, expression })
                };
                let filters = filters.into_iter().map(parse);
                let filters = filters.collect::<Result<_, DefinitionError>>()?;
                PanelBucket::Filters { label, filters }
            }
        })
    }
}

/// Queries that others contain by name: `{NAME}`.
struct NamedQueries(BTreeMap<String, String>);

impl NamedQueries {
    /// Replaces the names in a query, and parses it.
    fn parse(&self, place: &str, query: &str) -> Result<(String, KqlExpression), DefinitionError> {
        let mut expanded = String::new();
        let mut rest = query;
        while let Some((before, after)) = rest.split_once('{') {
            let named =
                after.split_once('}').and_then(|(name, rest)| Some((self.0.get(name)?, rest)));
            let Some((named, after)) = named else {
                return Err(invalid(
                    place,
                    format!("names a query that is not defined: '{query}'"),
                ));
            };
            let is_whole = before.is_empty() && expanded.is_empty() && after.is_empty();
            expanded.push_str(before);
            if is_whole {
                expanded.push_str(named);
            } else {
                expanded.extend(["(", named, ")"]);
            }
            rest = after;
        }
        expanded.push_str(rest);
        let expression = KqlExpression::parse(&expanded)
            .map_err(|source| DefinitionError::Query { place: place.to_owned(), source })?;
        Ok((expanded, expression))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn file() -> Value {
        json!({
            "data": { "events": {
                "name": "CloudTrail",
                "index": "{prefix}-*",
                "filters": [{ "field": "awsRegion", "label": "Region" }],
                "search": { "title": "Which events?", "columns": ["eventName"] },
            } },
            "queries": { "failed": "errorCode:*" },
            "dashboards": [{
                "id": "d", "name": "d", "question": "What?", "data": "events",
                "panels": [{
                    "id": "p", "title": "Who?", "chart": "table", "width": 24, "height": 10,
                    "query": "{failed} AND NOT readOnly:true",
                    "buckets": [{ "kind": "terms", "field": "eventName", "size": 5, "label": "Call" }],
                    "metrics": [{ "kind": "count", "label": "Events" }],
                }],
            }],
        })
    }

    fn refusal(change: impl FnOnce(&mut Value)) -> String {
        let mut file = file();
        change(&mut file);
        let error = Dashboards::parse(&file.to_string()).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    }

    #[test]
    fn the_embedded_dashboards_are_accepted() {
        let dashboards = Dashboards::embedded().unwrap();
        assert_eq!(dashboards.dashboards.len(), 8);
        assert!(dashboards.panels().count() > 50);
        assert!(dashboards.fields(Data::Events).contains("trailload.principal"));
    }

    #[test]
    fn named_queries_are_put_into_parentheses() {
        let dashboards = Dashboards::parse(&file().to_string()).unwrap();
        let panel = &dashboards.dashboards[0].panels[0];
        assert_eq!(panel.query, "(errorCode:*) AND NOT readOnly:true");
        let fields: Vec<String> = panel.fields().into_iter().collect();
        assert_eq!(fields, ["errorCode", "eventName", "readOnly"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let panel = |file: &mut Value, key: &str, value: Value| {
            file["dashboards"][0]["panels"][0][key] = value;
        };
        for (key, value, expected) in [
            ("query", json!("{gone}"), "the panel 'p' names a query that is not defined: '{gone}'"),
            ("query", json!("a"), "the panel 'p' has a query that is not supported: expected ':'"),
            ("buckets", json!([]), "the panel 'p' has buckets that its chart cannot show"),
            ("buckets", json!([{ "kind": "time" }]), "has buckets that its chart cannot show"),
            ("metrics", json!([]), "the panel 'p' has no metric"),
            ("width", json!(49), "the panel 'p' does not fit into the grid"),
            ("title", json!("Calls"), "the panel 'p' has a title that is not a question"),
            ("titel", json!("?"), "not of the expected form: unknown field `titel`"),
            ("chart", json!("area"), "not of the expected form: unknown variant `area`"),
            ("id", json!("d"), "the panel 'd' has the id of another panel or dashboard"),
        ] {
            let message = refusal(|file| panel(file, key, value));
            assert!(message.contains(expected), "{message}");
        }
        let message = refusal(|file| file["dashboards"][0]["data"] = json!("runs"));
        assert!(message.contains("the dashboard 'd' is about data that are not defined"));
        let message = refusal(|file| {
            let metric = json!([{ "kind": "count", "label": "n", "field": "a" }]);
            panel(file, "metrics", metric);
        });
        assert!(message.contains("unknown field `field`"), "{message}");
    }
}
