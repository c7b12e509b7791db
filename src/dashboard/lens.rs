//! The dashboards for Kibana 9, with panels of Lens.
//!
//! Input: [`Dashboards`], and the prefix of the indices. Output: one JSON object each for the index patterns, lists of
//! documents and dashboards; panels are part of their dashboard.
//! Invariant: as for `saved_objects`, whose index patterns and lists they share. Kibana 9 imports those objects too,
//! but shows their panels with the editors of Kibana 7.

use serde_json::{Map, Value, json};

use super::{
    definition::{
        Chart, Dashboard, Dashboards, DataView, GRID_COLUMNS, Panel, PanelBucket, PanelMetric,
        SortOrder, TIME_FIELD,
    },
    names::ObjectNames,
    saved_objects::{Grid, SavedObject},
};

/// The versions of Kibana's objects that the panels are written for.
const CORE_VERSION: &str = "8.8.0";
const DASHBOARD_VERSION: &str = "8.9.0";

/// The only layer of a panel.
const LAYER: &str = "l";

/// The name of the reference from a panel to its data view.
const LAYER_REFERENCE: &str = "indexpattern-datasource-layer-l";

/// Height of the list of documents.
const DOCUMENTS_HEIGHT: u32 = 18;

/// Returns the dashboards for the indices of a prefix, with the index patterns and lists of documents that they refer to.
pub fn lens_objects(dashboards: &Dashboards, prefix: &str) -> Vec<SavedObject> {
    let names = ObjectNames::for_prefix(prefix);
    let shared = super::saved_objects(dashboards, prefix)
        .into_iter()
        .filter(|object| matches!(object.kind, "index-pattern" | "search"));
    let dashboards = dashboards.dashboards.iter().filter_map(|dashboard| {
        let view = dashboards.view(dashboard.data)?;
        Some(lens_dashboard(&names, view, dashboard))
    });
    shared.chain(dashboards).collect()
}

fn lens_dashboard(names: &ObjectNames, view: &DataView, dashboard: &Dashboard) -> SavedObject {
    let data_view = names.index_pattern(dashboard.data);
    let mut grid = Grid::default();
    let (mut panels, mut references) = (Vec::new(), Vec::new());
    for panel in &dashboard.panels {
        panels.push(json!({
            "type": "lens",
            "gridData": grid.place(panel.width, panel.height, &panel.id),
            "panelIndex": panel.id,
            "title": panel.title,
            "embeddableConfig": {
                "attributes": LensPanel { panel, data_view: &data_view }.attributes(),
                "enhancements": {},
            },
        }));
        references
            .push(data_view_reference(&data_view, &format!("{}:{LAYER_REFERENCE}", panel.id)));
    }
    panels.push(json!({
        "type": "search",
        "gridData": grid.place(GRID_COLUMNS, DOCUMENTS_HEIGHT, "documents"),
        "panelIndex": "documents",
        "title": view.search.title,
        "embeddableConfig": { "enhancements": {} },
        "panelRefName": "panel_documents",
    }));
    references.push(json!({
        "type": "search",
        "id": names.documents(dashboard.data),
        "name": "documents:panel_documents",
    }));
    for number in 0..view.filters.len() {
        let name = format!("controlGroup_c{number}:optionsListDataView");
        references.push(data_view_reference(&data_view, &name));
    }
    let id = names.lens_dashboard(dashboard);
    let title = format!("{} (Lens)", names.dashboard_title(dashboard));
    let attributes = json!({
        "title": title,
        "description": dashboard.question,
        "timeRestore": true,
        "timeFrom": "now-90d",
        "timeTo": "now",
        "refreshInterval": { "pause": true, "value": 0 },
        "version": 1,
        "optionsJSON": json!({
            "useMargins": true,
            "syncColors": false,
            "syncCursor": true,
            "syncTooltips": false,
            "hidePanelTitles": false,
        }).to_string(),
        "panelsJSON": Value::Array(panels).to_string(),
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json!({ "query": kql(""), "filter": [] }).to_string(),
        },
        "controlGroupInput": controls(view),
    });
    let json = json!({
        "type": "dashboard",
        "id": id,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": DASHBOARD_VERSION,
    });
    SavedObject::new("dashboard", id, title, json)
}

/// Returns the selection fields above the panels.
fn controls(view: &DataView) -> Value {
    let controls: Map<String, Value> = view
        .filters
        .iter()
        .enumerate()
        .map(|(number, filter)| {
            let id = format!("c{number}");
            let control = json!({
                "type": "optionsListControl",
                "order": number,
                "grow": true,
                "width": "medium",
                "explicitInput": { "id": id, "fieldName": filter.field, "title": filter.label },
            });
            (id, control)
        })
        .collect();
    let settings = json!({
        "ignoreFilters": false,
        "ignoreQuery": false,
        "ignoreTimerange": false,
        "ignoreValidations": false,
    });
    json!({
        "controlStyle": "oneLine",
        "chainingSystem": "HIERARCHICAL",
        "ignoreParentSettingsJSON": settings.to_string(),
        "panelsJSON": Value::Object(controls).to_string(),
    })
}

fn data_view_reference(id: &str, name: &str) -> Value {
    json!({ "type": "index-pattern", "id": id, "name": name })
}

fn kql(query: &str) -> Value {
    json!({ "query": query, "language": "kuery" })
}

/// A panel, and the data view that it reads.
struct LensPanel<'p> {
    panel: &'p Panel,
    data_view: &'p str,
}

impl LensPanel<'_> {
    fn attributes(&self) -> Value {
        let (columns, order) = self.columns();
        let (kind, visualization) = self.visualization(&order);
        let layer = json!({ "columns": columns, "columnOrder": order, "incompleteColumns": {} });
        json!({
            "title": self.panel.title,
            "description": "",
            "visualizationType": kind,
            "type": "lens",
            "references": [data_view_reference(self.data_view, LAYER_REFERENCE)],
            "state": {
                "visualization": visualization,
                "query": kql(&self.panel.query),
                "filters": [],
                "datasourceStates": { "formBased": { "layers": { LAYER: layer } } },
                "internalReferences": [],
                "adHocDataViews": {},
            },
        })
    }

    /// Returns the columns and their order, which is how buckets are nested.
    fn columns(&self) -> (Map<String, Value>, Vec<String>) {
        let mut columns = Map::new();
        let mut buckets: Vec<&PanelBucket> = self.panel.buckets.iter().collect();
        if self.panel.chart == Chart::Bars {
            // As in `saved_objects`: the series outside, the time inside.
            buckets.reverse();
        }
        for (number, bucket) in buckets.into_iter().enumerate() {
            columns.insert(format!("b{number}"), bucket_column(bucket));
        }
        for (number, metric) in self.panel.metrics.iter().enumerate() {
            columns.insert(format!("m{number}"), metric_column(metric));
        }
        let order = columns.keys().cloned().collect();
        (columns, order)
    }

    /// Returns the type and state of the chart.
    fn visualization(&self, order: &[String]) -> (&'static str, Value) {
        let buckets: Vec<&String> = order.iter().filter(|id| id.starts_with('b')).collect();
        let series_type = match self.panel.chart {
            // One row with all numbers.
            Chart::Table | Chart::Numbers => {
                let columns: Value = order.iter().map(|id| json!({ "columnId": id })).collect();
                return (
                    "lnsDatatable",
                    json!({
                        "layerId": LAYER,
                        "layerType": "data",
                        "columns": columns,
                        "paging": { "size": 10, "enabled": true },
                    }),
                );
            }
            Chart::Pie => {
                return (
                    "lnsPie",
                    json!({
                        "shape": "donut",
                        "layers": [{
                            "layerId": LAYER,
                            "layerType": "data",
                            "primaryGroups": buckets,
                            "metrics": ["m0"],
                            "numberDisplay": "percent",
                            "categoryDisplay": "default",
                            "legendDisplay": "default",
                            "nestedLegend": false,
                        }],
                    }),
                );
            }
            Chart::Bars => "bar_stacked",
            Chart::Ranking => "bar_horizontal",
            Chart::Heatmap => "bar_horizontal_stacked",
        };
        let (axis, split) = match (self.panel.chart, buckets.as_slice()) {
            (Chart::Bars, [split, axis]) | (_, [axis, split]) => (*axis, Some(*split)),
            (_, [axis, ..]) => (*axis, None),
            (_, []) => return ("lnsXY", json!({})),
        };
        let mut layer = json!({
            "layerId": LAYER,
            "layerType": "data",
            "seriesType": series_type,
            "accessors": ["m0"],
            "xAccessor": axis,
        });
        if let Some(split) = split {
            layer["splitAccessor"] = split.as_str().into();
        }
        (
            "lnsXY",
            json!({
                "legend": { "isVisible": split.is_some(), "position": "right" },
                "valueLabels": "hide",
                "preferredSeriesType": series_type,
                "layers": [layer],
            }),
        )
    }
}

fn metric_column(metric: &PanelMetric) -> Value {
    let operation = match metric {
        PanelMetric::Count { .. } => "count",
        PanelMetric::Unique { .. } => "unique_count",
        PanelMetric::Min { .. } => "min",
        PanelMetric::Max { .. } => "max",
        PanelMetric::Sum { .. } => "sum",
    };
    let mut column = json!({
        "label": metric.label(),
        "customLabel": true,
        "dataType": if metric.is_time() { "date" } else { "number" },
        "operationType": operation,
        "isBucketed": false,
        "scale": "ratio",
        "sourceField": metric.field().unwrap_or("___records___"),
    });
    if metric.field().is_none() {
        column["params"] = json!({ "emptyAsNull": true });
    }
    column
}

fn bucket_column(bucket: &PanelBucket) -> Value {
    match bucket {
        PanelBucket::Time => json!({
            "label": TIME_FIELD,
            "dataType": "date",
            "operationType": "date_histogram",
            "isBucketed": true,
            "scale": "interval",
            "sourceField": TIME_FIELD,
            "params": { "interval": "auto", "includeEmptyRows": true, "dropPartials": false },
        }),
        PanelBucket::Terms { field, size, label, order } => json!({
            "label": label,
            "customLabel": true,
            "dataType": if field == "source.ip" { "ip" } else { "string" },
            "operationType": "terms",
            "isBucketed": true,
            "scale": "ordinal",
            "sourceField": field,
            "params": {
                "size": size,
                "orderBy": { "type": "column", "columnId": "m0" },
                "orderDirection": match order {
                    SortOrder::Ascending => "asc",
                    SortOrder::Descending => "desc",
                },
                "otherBucket": false,
                "missingBucket": false,
                "parentFormat": { "id": "terms" },
                "include": [],
                "exclude": [],
                "includeIsRegex": false,
                "excludeIsRegex": false,
            },
        }),
        PanelBucket::Filters { label, filters } => {
            let filters: Value = filters
                .iter()
                .map(|filter| json!({ "label": filter.label, "input": kql(&filter.query) }))
                .collect();
            json!({
                "label": label,
                "customLabel": true,
                "dataType": "string",
                "operationType": "filters",
                "isBucketed": true,
                "scale": "ordinal",
                "params": { "filters": filters },
            })
        }
    }
}
