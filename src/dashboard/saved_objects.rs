//! The dashboards as saved objects that OpenSearch Dashboards 2 and 3 and Kibana 8 and 9 import.
//!
//! Input: [`Dashboards`], and the prefix of the indices. Output: one JSON object each for the index patterns, panels, filters,
//! lists of documents and dashboards.
//! Invariant: ids depend on the prefix alone, every reference is to an object of the same list that stands before it, and the
//! bytes are the same each time, so that an import may be repeated. The format is that of Kibana 7.10, from which OpenSearch
//! Dashboards was forked: OpenSearch Dashboards refuses a file with anything newer, and Kibana migrates it.

use serde_json::{Value, json};

use super::{
    definition::{
        Chart, Dashboard, Dashboards, DataView, GRID_COLUMNS, Panel, PanelBucket, PanelMetric,
        SortOrder, TIME_FIELD,
    },
    names::ObjectNames,
};

/// The versions that the objects are written for: later migrations apply to them.
const INDEX_PATTERN_VERSION: &str = "7.6.0";
const SEARCH_VERSION: &str = "7.9.3";
const VISUALIZATION_VERSION: &str = "7.10.0";
const DASHBOARD_VERSION: &str = "7.9.3";
/// The version of Kibana that wrote such panels.
const PANEL_VERSION: &str = "7.10.2";

/// Height of the filters: one row of selection fields.
const FILTERS_HEIGHT: u32 = 4;

/// Height of the list of documents.
const DOCUMENTS_HEIGHT: u32 = 18;

/// Groups that each shard reports for the outermost bucket, and for those inside of it. Indices are monthly, so that one
/// panel reads many shards, and with the default (one and a half times the size) groups that are small everywhere would be
/// missing or too low.
const SHARD_SIZES: [usize; 2] = [500, 100];

/// The name of the reference from an object to its index pattern.
const INDEX_REFERENCE: &str = "kibanaSavedObjectMeta.searchSourceJSON.index";

/// A saved object.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedObject {
    /// The type, such as `dashboard`.
    pub kind: &'static str,
    /// The id.
    pub id: String,
    /// The title that people see in lists.
    pub title: String,
    /// The object, as a line of an export file.
    json: Value,
}

impl SavedObject {
    pub(super) fn new(kind: &'static str, id: String, title: String, json: Value) -> Self {
        Self { kind, id, title, json }
    }

    /// Returns the object as it is imported.
    pub fn to_json(&self) -> &Value {
        &self.json
    }

    /// Returns the object with a suffix at the end of its id, and of the ids that it refers to: another object, of the same
    /// content, that refers to the others with this suffix.
    #[must_use]
    pub fn with_id_suffix(&self, suffix: &str) -> Self {
        let mut object = self.clone();
        object.id.push_str(suffix);
        object.json["id"] = object.id.as_str().into();
        for reference in object.json["references"].as_array_mut().into_iter().flatten() {
            let id = format!("{}{suffix}", reference["id"].as_str().unwrap_or_default());
            reference["id"] = id.into();
        }
        object
    }
}

/// Returns the saved objects for the indices of a prefix.
pub fn saved_objects(dashboards: &Dashboards, prefix: &str) -> Vec<SavedObject> {
    let names = ObjectNames::for_prefix(prefix);
    let mut objects = Vec::new();
    for view in &dashboards.views {
        let writer = Writer { names: &names, view };
        objects.extend([writer.index_pattern(), writer.filters(), writer.documents()]);
    }
    for dashboard in &dashboards.dashboards {
        if let Some(view) = dashboards.view(dashboard.data) {
            let writer = Writer { names: &names, view };
            objects.extend(dashboard.panels.iter().map(|panel| writer.panel(panel)));
            objects.push(writer.dashboard(dashboard));
        }
    }
    objects
}

/// Returns objects as the lines of an export file.
pub fn to_ndjson(objects: &[SavedObject]) -> String {
    let mut lines = String::new();
    for object in objects {
        lines.push_str(&object.json.to_string());
        lines.push('\n');
    }
    lines
}

/// Returns how many groups each shard reports for a bucket at this depth.
pub(super) fn shard_size(depth: usize, size: usize) -> usize {
    SHARD_SIZES[depth.min(1)].max(size * 2)
}

/// Writes the objects about one kind of documents.
struct Writer<'d> {
    names: &'d ObjectNames,
    view: &'d DataView,
}

impl Writer<'_> {
    fn index_pattern(&self) -> SavedObject {
        let title = self.names.index(self.view);
        let attributes = json!({ "title": title, "timeFieldName": TIME_FIELD });
        let id = self.names.index_pattern(self.view.data);
        object("index-pattern", id, &attributes, &[], INDEX_PATTERN_VERSION)
    }

    /// Returns the selection fields that narrow a dashboard.
    fn filters(&self) -> SavedObject {
        let index_pattern = self.names.index_pattern(self.view.data);
        let name = |number: usize| format!("control_{number}_index_pattern");
        let fields = || self.view.filters.iter().enumerate();
        let controls: Value = fields()
            .map(|(number, filter)| {
                json!({
                    "id": format!("filter{number}"),
                    "fieldName": filter.field,
                    "label": filter.label,
                    "parent": "",
                    "type": "list",
                    "options": {
                        "type": "terms",
                        "multiselect": true,
                        "dynamicOptions": true,
                        "size": 20,
                        "order": "desc",
                    },
                    "indexPatternRefName": name(number),
                })
            })
            .collect();
        let params = json!({
            "updateFiltersOnChange": true,
            "useTimeFilter": true,
            "pinFilters": false,
            "controls": controls,
        });
        let references: Vec<Value> = fields()
            .map(|(number, _)| reference("index-pattern", &index_pattern, &name(number)))
            .collect();
        let title = self.names.title(self.view, "Which part of it?");
        let state =
            json!({ "title": title, "type": "input_control_vis", "aggs": [], "params": params });
        let source = json!({ "query": kql(""), "filter": [] });
        let attributes = visualization(&title, &state, &source);
        let id = self.names.filters(self.view.data);
        object("visualization", id, &attributes, &references, VISUALIZATION_VERSION)
    }

    fn documents(&self) -> SavedObject {
        let source = json!({
            "query": kql(""),
            "filter": [],
            "highlightAll": true,
            "version": true,
            "indexRefName": INDEX_REFERENCE,
        });
        let attributes = json!({
            "title": self.names.title(self.view, &self.view.search.title),
            "description": "",
            "hits": 0,
            "columns": self.view.search.columns,
            "sort": [[TIME_FIELD, "desc"]],
            "version": 1,
            "kibanaSavedObjectMeta": { "searchSourceJSON": source.to_string() },
        });
        let id = self.names.documents(self.view.data);
        object("search", id, &attributes, &[self.index_reference()], SEARCH_VERSION)
    }

    fn panel(&self, panel: &Panel) -> SavedObject {
        let title = self.names.title(self.view, &panel.title);
        let state = json!({
            "title": title,
            "type": chart_type(panel.chart),
            "aggs": aggregations(panel),
            "params": parameters(panel),
        });
        let source =
            json!({ "query": kql(&panel.query), "filter": [], "indexRefName": INDEX_REFERENCE });
        let attributes = visualization(&title, &state, &source);
        let references = vec![self.index_reference()];
        object(
            "visualization",
            self.names.panel(panel),
            &attributes,
            &references,
            VISUALIZATION_VERSION,
        )
    }

    fn dashboard(&self, dashboard: &Dashboard) -> SavedObject {
        let mut grid = Grid::default();
        grid.add(GRID_COLUMNS, FILTERS_HEIGHT, "filters", None);
        let mut references =
            vec![reference("visualization", &self.names.filters(dashboard.data), "panel_filters")];
        for panel in &dashboard.panels {
            grid.add(panel.width, panel.height, &panel.id, Some(&panel.title));
            let name = format!("panel_{}", panel.id);
            references.push(reference("visualization", &self.names.panel(panel), &name));
        }
        grid.add(GRID_COLUMNS, DOCUMENTS_HEIGHT, "documents", Some(&self.view.search.title));
        references.push(reference(
            "search",
            &self.names.documents(dashboard.data),
            "panel_documents",
        ));
        let attributes = json!({
            "title": self.names.dashboard_title(dashboard),
            "description": dashboard.question,
            "hits": 0,
            "version": 1,
            "timeRestore": true,
            "timeFrom": "now-90d",
            "timeTo": "now",
            "refreshInterval": { "pause": true, "value": 0 },
            "optionsJSON": json!({ "useMargins": true, "hidePanelTitles": false }).to_string(),
            "panelsJSON": Value::Array(grid.panels).to_string(),
            "kibanaSavedObjectMeta": {
                "searchSourceJSON": json!({ "query": kql(""), "filter": [] }).to_string(),
            },
        });
        object(
            "dashboard",
            self.names.dashboard(dashboard),
            &attributes,
            &references,
            DASHBOARD_VERSION,
        )
    }

    fn index_reference(&self) -> Value {
        reference("index-pattern", &self.names.index_pattern(self.view.data), INDEX_REFERENCE)
    }
}

fn object(
    kind: &'static str,
    id: String,
    attributes: &Value,
    references: &[Value],
    version: &str,
) -> SavedObject {
    let title = attributes["title"].as_str().unwrap_or_default().to_owned();
    let json = json!({
        "type": kind,
        "id": id,
        "attributes": attributes,
        "references": references,
        "migrationVersion": { kind: version },
    });
    SavedObject::new(kind, id, title, json)
}

fn reference(kind: &str, id: &str, name: &str) -> Value {
    json!({ "type": kind, "id": id, "name": name })
}

fn kql(query: &str) -> Value {
    json!({ "query": query, "language": "kuery" })
}

fn visualization(title: &str, state: &Value, source: &Value) -> Value {
    json!({
        "title": title,
        "description": "",
        "uiStateJSON": "{}",
        "version": 1,
        "visState": state.to_string(),
        "kibanaSavedObjectMeta": { "searchSourceJSON": source.to_string() },
    })
}

/// Places panels from left to right, and below each other when a row is full.
#[derive(Default)]
pub(super) struct Grid {
    panels: Vec<Value>,
    x: u32,
    y: u32,
    /// Height of the highest panel of the current row.
    row: u32,
}

impl Grid {
    /// Returns the place of the next panel.
    pub(super) fn place(&mut self, width: u32, height: u32, id: &str) -> Value {
        if self.x + width > GRID_COLUMNS {
            (self.x, self.y, self.row) = (0, self.y + self.row, 0);
        }
        let place = json!({ "x": self.x, "y": self.y, "w": width, "h": height, "i": id });
        self.x += width;
        self.row = self.row.max(height);
        place
    }

    /// Adds a panel; one without a title hides it.
    fn add(&mut self, width: u32, height: u32, id: &str, title: Option<&str>) {
        let mut panel = json!({
            "version": PANEL_VERSION,
            "gridData": self.place(width, height, id),
            "panelIndex": id,
            "embeddableConfig": { "hidePanelTitles": true },
            "panelRefName": format!("panel_{id}"),
        });
        if let Some(title) = title {
            panel["embeddableConfig"] = json!({ "title": title });
            panel["title"] = title.into();
        }
        self.panels.push(panel);
    }
}

fn chart_type(chart: Chart) -> &'static str {
    match chart {
        Chart::Numbers => "metric",
        Chart::Bars => "histogram",
        Chart::Ranking => "horizontal_bar",
        Chart::Heatmap => "heatmap",
        Chart::Pie => "pie",
        Chart::Table => "table",
    }
}

/// Returns the metrics and buckets of a panel. The order of buckets is how they are nested.
fn aggregations(panel: &Panel) -> Value {
    let metrics = panel.metrics.iter().map(metric);
    let buckets = nested_buckets(panel).into_iter().enumerate().map(|(depth, (bucket, schema))| {
        let (kind, params) = bucket_params(bucket, depth);
        (kind, schema, params)
    });
    metrics
        .chain(buckets)
        .enumerate()
        .map(|(number, (kind, schema, params))| {
            json!({
                "id": (number + 1).to_string(),
                "enabled": true,
                "type": kind,
                "schema": schema,
                "params": params,
            })
        })
        .collect()
}

fn metric(metric: &PanelMetric) -> (&'static str, &'static str, Value) {
    let kind = match metric {
        PanelMetric::Count { .. } => "count",
        PanelMetric::Unique { .. } => "cardinality",
        PanelMetric::Min { .. } => "min",
        PanelMetric::Max { .. } => "max",
        PanelMetric::Sum { .. } => "sum",
    };
    let mut params = json!({ "customLabel": metric.label() });
    if let Some(field) = metric.field() {
        params["field"] = field.into();
    }
    (kind, "metric", params)
}

/// Returns the buckets from the outside to the inside, each with its part in the chart.
fn nested_buckets(panel: &Panel) -> Vec<(&PanelBucket, &'static str)> {
    let mut buckets: Vec<(&PanelBucket, &'static str)> = panel
        .buckets
        .iter()
        .enumerate()
        .map(|(number, bucket)| {
            let schema = match (panel.chart, number) {
                (Chart::Table, _) => "bucket",
                (_, 0) => "segment",
                _ => "group",
            };
            (bucket, schema)
        })
        .collect();
    if panel.chart == Chart::Bars {
        // The series outside and the time inside: otherwise the largest groups are taken anew in each interval, and the
        // legend has the groups of all of them.
        buckets.reverse();
    }
    buckets
}

fn bucket_params(bucket: &PanelBucket, depth: usize) -> (&'static str, Value) {
    match bucket {
        PanelBucket::Time => (
            "date_histogram",
            json!({
                "field": TIME_FIELD,
                "interval": "auto",
                // Each product has a name of its own for this.
                "useNormalizedOpenSearchInterval": true,
                "useNormalizedEsInterval": true,
                "scaleMetricValues": false,
                "drop_partials": false,
                "min_doc_count": 1,
                "extended_bounds": {},
                "customLabel": "",
            }),
        ),
        PanelBucket::Terms { field, size, label, order } => (
            "terms",
            json!({
                "field": field,
                "size": size,
                "customLabel": label,
                "orderBy": "1",
                "order": match order {
                    SortOrder::Ascending => "asc",
                    SortOrder::Descending => "desc",
                },
                "otherBucket": false,
                "otherBucketLabel": "Other",
                "missingBucket": false,
                "missingBucketLabel": "(none)",
                // What the editors call "Advanced: JSON input": members of the aggregation.
                "json": json!({ "shard_size": shard_size(depth, *size) }).to_string(),
            }),
        ),
        PanelBucket::Filters { filters, .. } => {
            let filters: Value = filters
                .iter()
                .map(|filter| json!({ "input": kql(&filter.query), "label": filter.label }))
                .collect();
            ("filters", json!({ "filters": filters }))
        }
    }
}

fn parameters(panel: &Panel) -> Value {
    match panel.chart {
        Chart::Numbers => numbers_parameters(),
        Chart::Table => json!({
            "perPage": 10,
            "showPartialRows": false,
            "showMetricsAtAllLevels": false,
            "showTotal": false,
            "totalFunc": "sum",
            "percentageCol": "",
        }),
        Chart::Pie => json!({
            "type": "pie",
            "addTooltip": true,
            "addLegend": true,
            "legendPosition": "right",
            "isDonut": true,
            "labels": { "show": true, "values": true, "last_level": true, "truncate": 100 },
        }),
        Chart::Heatmap => heatmap_parameters(),
        Chart::Bars | Chart::Ranking => bar_parameters(panel),
    }
}

fn numbers_parameters() -> Value {
    json!({
        "type": "metric",
        "addTooltip": true,
        "addLegend": false,
        "metric": {
            "percentageMode": false,
            "useRanges": false,
            "colorSchema": "Green to Red",
            "metricColorMode": "None",
            "colorsRange": [{ "from": 0, "to": 10_000 }],
            "labels": { "show": true },
            "invertColors": false,
            "style": {
                "bgFill": "#000",
                "bgColor": false,
                "labelColor": false,
                "subText": "",
                "fontSize": 32,
            },
        },
    })
}

fn heatmap_parameters() -> Value {
    json!({
        "type": "heatmap",
        "addTooltip": true,
        "addLegend": true,
        "enableHover": false,
        "legendPosition": "right",
        "times": [],
        "colorsNumber": 6,
        "colorSchema": "Blues",
        "setColorRange": false,
        "colorsRange": [],
        "invertColors": false,
        "percentageMode": false,
        "valueAxes": [{
            "show": false,
            "id": "ValueAxis-1",
            "type": "value",
            "scale": { "type": "log", "defaultYExtents": false },
            "labels": { "show": true, "rotate": 0, "overwriteColor": false, "color": "black" },
        }],
    })
}

fn bar_parameters(panel: &Panel) -> Value {
    let is_ranking = panel.chart == Chart::Ranking;
    let label = panel.metrics.first().map_or("", PanelMetric::label);
    let (category_side, value_side) =
        if is_ranking { ("left", "bottom") } else { ("bottom", "left") };
    json!({
        "type": "histogram",
        "grid": { "categoryLines": false },
        "categoryAxes": [{
            "id": "CategoryAxis-1",
            "type": "category",
            "position": category_side,
            "show": true,
            "style": {},
            "scale": { "type": "linear" },
            // Without a rotation of 0, Kibana turns the labels of horizontal bars.
            "labels": {
                "show": true,
                "filter": !is_ranking,
                "truncate": if is_ranking { 200 } else { 100 },
                "rotate": 0,
            },
            "title": {},
        }],
        "valueAxes": [{
            "id": "ValueAxis-1",
            "name": if is_ranking { "BottomAxis-1" } else { "LeftAxis-1" },
            "type": "value",
            "position": value_side,
            "show": true,
            "style": {},
            "scale": { "type": "linear", "mode": "normal" },
            "labels": { "show": true, "rotate": 0, "filter": is_ranking, "truncate": 100 },
            "title": { "text": label },
        }],
        "seriesParams": [{
            "show": true,
            "type": "histogram",
            "mode": "stacked",
            "data": { "label": label, "id": "1" },
            "valueAxis": "ValueAxis-1",
            "drawLinesBetweenPoints": true,
            "showCircles": true,
            "lineWidth": 2,
            "interpolate": "linear",
        }],
        "addTooltip": true,
        // A single series needs no legend.
        "addLegend": panel.buckets.len() > 1,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": false,
        "labels": { "show": false },
        "thresholdLine": { "show": false, "value": 10, "width": 1, "style": "full", "color": "#E7664C" },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dashboard::lens_objects;

    fn dashboards() -> Dashboards {
        Dashboards::embedded().unwrap()
    }

    fn inner(object: &SavedObject, pointer: &str) -> Value {
        let text = object.to_json().pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        serde_json::from_str(text.as_str().unwrap()).unwrap()
    }

    /// Checks that every reference is to an object before it, and that ids are unique.
    fn check_references(objects: &[SavedObject]) {
        let mut known = BTreeSet::new();
        for object in objects {
            let json = object.to_json();
            assert_eq!(json["id"], object.id);
            assert_eq!(json["type"], object.kind);
            assert_eq!(json["attributes"]["title"], object.title);
            for reference in json["references"].as_array().unwrap() {
                let key = format!("{} {}", reference["type"], reference["id"]);
                assert!(known.contains(&key), "{} refers to {key}", object.id);
            }
            let key = format!("{} {}", json["type"], json["id"]);
            assert!(known.insert(key), "{} occurs twice", object.id);
            for key in ["updated_at", "version", "namespaces", "originId"] {
                assert!(
                    json.get(key).is_none(),
                    "{}: {key} differs from export to export",
                    object.id
                );
            }
        }
    }

    #[test]
    fn references_are_complete_and_ids_are_unique() {
        for prefix in ["cloudtrail", "acme-trail"] {
            check_references(&saved_objects(&dashboards(), prefix));
            check_references(&lens_objects(&dashboards(), prefix));
        }
    }

    #[test]
    fn objects_have_the_versions_that_both_products_accept() {
        for object in saved_objects(&dashboards(), "cloudtrail") {
            let version = match object.kind {
                "index-pattern" => "7.6.0",
                "search" | "dashboard" => "7.9.3",
                "visualization" => "7.10.0",
                kind => panic!("{kind}"),
            };
            assert_eq!(object.to_json()["migrationVersion"], json!({ object.kind: version }));
            assert!(object.to_json().get("coreMigrationVersion").is_none());
        }
    }

    #[test]
    fn every_panel_of_a_dashboard_is_one_of_its_references() {
        let objects = saved_objects(&dashboards(), "cloudtrail");
        for dashboard in objects.iter().filter(|object| object.kind == "dashboard") {
            let names: BTreeSet<&str> = dashboard.to_json()["references"]
                .as_array()
                .unwrap()
                .iter()
                .map(|reference| reference["name"].as_str().unwrap())
                .collect();
            let panels = inner(dashboard, "/attributes/panelsJSON");
            let panels = panels.as_array().unwrap();
            assert_eq!(panels.len(), names.len(), "{}", dashboard.id);
            for panel in panels {
                assert!(names.contains(panel["panelRefName"].as_str().unwrap()), "{panel}");
                let place = &panel["gridData"];
                let right = place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap();
                assert!(right <= u64::from(GRID_COLUMNS), "{panel}");
            }
            check_overlaps(panels);
        }
    }

    fn check_overlaps(panels: &[Value]) {
        let number = |panel: &Value, key: &str| panel["gridData"][key].as_u64().unwrap();
        let mut cells = BTreeSet::new();
        for panel in panels {
            for x in number(panel, "x")..number(panel, "x") + number(panel, "w") {
                for y in number(panel, "y")..number(panel, "y") + number(panel, "h") {
                    assert!(cells.insert((x, y)), "{panel} covers another one");
                }
            }
        }
    }

    #[test]
    fn every_aggregation_is_nested_as_the_chart_needs_it() {
        for object in saved_objects(&dashboards(), "cloudtrail") {
            if object.kind != "visualization" {
                continue;
            }
            let state = inner(&object, "/attributes/visState");
            assert_eq!(state["title"], object.title);
            let aggregations = state["aggs"].as_array().unwrap();
            for (number, aggregation) in aggregations.iter().enumerate() {
                assert_eq!(aggregation["id"], (number + 1).to_string(), "{}", object.id);
            }
            let schemas: Vec<&str> = aggregations
                .iter()
                .map(|aggregation| aggregation["schema"].as_str().unwrap())
                .filter(|schema| *schema != "metric")
                .collect();
            match state["type"].as_str().unwrap() {
                "histogram" if schemas.len() == 2 => {
                    assert_eq!(schemas, ["group", "segment"], "{}", object.id);
                }
                "histogram" | "horizontal_bar" | "pie" => assert_eq!(schemas, ["segment"]),
                "heatmap" => assert_eq!(schemas, ["segment", "group"]),
                "table" => assert!(schemas.iter().all(|schema| *schema == "bucket")),
                "metric" | "input_control_vis" => assert!(schemas.is_empty()),
                kind => panic!("{kind}"),
            }
        }
    }

    #[test]
    fn the_prefix_is_part_of_patterns_ids_and_titles() {
        let own = saved_objects(&dashboards(), "cloudtrail");
        assert_eq!(own[0].id, "trailload-cloudtrail");
        assert_eq!(own[0].title, "cloudtrail-*");
        let ids: BTreeSet<String> = own.into_iter().map(|object| object.id).collect();
        let others = saved_objects(&dashboards(), "acme");
        assert_eq!(others[0].title, "acme-*");
        assert!(others.iter().all(|other| !ids.contains(&other.id)));
        assert!(others.iter().all(|other| other.title.contains("acme")));
    }

    #[test]
    fn a_suffix_changes_ids_and_references_alike() {
        let plain = saved_objects(&dashboards(), "cloudtrail");
        let own: Vec<_> = plain.iter().map(|object| object.with_id_suffix("~security")).collect();
        check_references(&own);
        for (plain, own) in plain.iter().zip(&own) {
            assert_eq!(own.id, format!("{}~security", plain.id));
            assert_eq!(own.to_json()["id"], own.id.as_str());
            let without = own.to_json().to_string().replace("~security\"", "\"");
            assert_eq!(without, plain.to_json().to_string());
        }
    }

    #[test]
    fn a_file_has_one_object_a_line() {
        let objects = saved_objects(&dashboards(), "cloudtrail");
        let text = to_ndjson(&objects);
        assert_eq!(text.lines().count(), objects.len());
        assert_eq!(text, to_ndjson(&saved_objects(&dashboards(), "cloudtrail")));
        assert!(text.len() < 1 << 20, "import limits are 10,000 objects and 25 MiB");
    }
}
