//! A panel as a search request of an engine, and the response as its answer.
//!
//! Input: a [`Panel`] and the time range; the response. Output: the body of `_search`; a [`PanelAnswer`].
//! Invariant: the request aggregates as the visualization of the panel does, so that all show the same numbers. It is the
//! same for all engines.

use serde_json::{Map, Value, json};

use super::{
    answer::{AnswerRow, GroupKey, PanelAnswer},
    definition::{Panel, PanelBucket, PanelMetric, SortOrder, TIME_FIELD},
    saved_objects::shard_size,
    time_scale::TimeScale,
};

/// Name of a bucket in requests.
const BUCKET: &str = "b";

/// The times that a request is about, in milliseconds since 1970: from `from` on, before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTimes {
    /// The first millisecond.
    pub from: i64,
    /// The first millisecond behind.
    pub to: i64,
    /// The intervals of time axes.
    pub scale: TimeScale,
}

impl Panel {
    /// Returns the body of a search that computes the answer.
    pub fn search_request(&self, times: RequestTimes) -> Value {
        let range = json!({ "range": { TIME_FIELD: {
            "gte": times.from,
            "lt": times.to,
            "format": "epoch_millis",
        } } });
        let mut body = json!({
            "size": 0,
            "track_total_hits": true,
            "query": { "bool": { "filter": [range, self.expression.to_engine_query()] } },
        });
        let aggregations = self.aggregations(0, times.scale);
        if !aggregations.is_empty() {
            body["aggs"] = Value::Object(aggregations);
        }
        body
    }

    /// Returns the buckets from the outside to the inside. Time is inside of a series, as in a visualization.
    pub(super) fn nesting(&self) -> impl Iterator<Item = &PanelBucket> {
        let is_time = |bucket: &&PanelBucket| **bucket == PanelBucket::Time;
        let others = self.buckets.iter().filter(move |bucket| !is_time(bucket));
        others.chain(self.buckets.iter().filter(is_time))
    }

    /// Returns the keys of nested groups in the order of the panel's buckets.
    pub(super) fn keys_in_order(&self, nested: &[GroupKey]) -> Vec<GroupKey> {
        let mut keys = nested.to_vec();
        if self.nesting().next() != self.buckets.first() {
            keys.reverse();
        }
        keys
    }

    fn aggregations(&self, depth: usize, scale: TimeScale) -> Map<String, Value> {
        let Some(bucket) = self.nesting().nth(depth) else { return self.metric_aggregations() };
        let mut inside = self.aggregations(depth + 1, scale);
        let mut aggregation = Map::new();
        match bucket {
            PanelBucket::Time => {
                let histogram = json!({
                    "field": TIME_FIELD,
                    "calendar_interval": scale.as_str(),
                    "min_doc_count": 1,
                });
                aggregation.insert("date_histogram".to_owned(), histogram);
            }
            PanelBucket::Terms { field, size, order, .. } => {
                let order = match order {
                    SortOrder::Ascending => "asc",
                    SortOrder::Descending => "desc",
                };
                let by = match self.metrics.first() {
                    None | Some(PanelMetric::Count { .. }) => "_count".to_owned(),
                    Some(metric) => {
                        // The metric that orders has to be beside each level.
                        inside.insert(metric_name(0), metric_aggregation(metric));
                        metric_name(0)
                    }
                };
                let terms = json!({
                    "field": field,
                    "size": size,
                    "shard_size": shard_size(depth, *size),
                    "order": { by: order },
                });
                aggregation.insert("terms".to_owned(), terms);
            }
            PanelBucket::Filters { filters, .. } => {
                let filters: Value =
                    filters.iter().map(|filter| filter.expression.to_engine_query()).collect();
                aggregation.insert("filters".to_owned(), json!({ "filters": filters }));
            }
        }
        if !inside.is_empty() {
            aggregation.insert("aggs".to_owned(), Value::Object(inside));
        }
        Map::from_iter([(BUCKET.to_owned(), Value::Object(aggregation))])
    }

    fn metric_aggregations(&self) -> Map<String, Value> {
        let is_computed = |(_, metric): &(usize, &PanelMetric)| metric.field().is_some();
        let metrics = self.metrics.iter().enumerate().filter(is_computed);
        metrics.map(|(number, metric)| (metric_name(number), metric_aggregation(metric))).collect()
    }

    /// Returns the answer in a response to [`search_request`](Self::search_request). A response without the expected parts
    /// has no rows.
    pub fn answer(&self, response: &Value) -> PanelAnswer {
        let documents = response["hits"]["total"]["value"].as_u64().unwrap_or(0);
        let mut answer = PanelAnswer { documents, ..PanelAnswer::default() };
        let mut all = response["aggregations"].clone();
        if !all.is_object() {
            all = json!({});
        }
        all["doc_count"] = documents.into();
        self.collect_rows(0, &all, &mut Vec::new(), &mut answer);
        answer
    }

    fn collect_rows(
        &self,
        depth: usize,
        group: &Value,
        keys: &mut Vec<GroupKey>,
        answer: &mut PanelAnswer,
    ) {
        let Some(bucket) = self.nesting().nth(depth) else {
            let values = self.metrics.iter().enumerate();
            let values =
                values.map(|(number, metric)| metric_value(number, metric, group)).collect();
            answer.rows.push(AnswerRow { keys: self.keys_in_order(keys), values });
            return;
        };
        let groups = group[BUCKET]["buckets"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (number, group) in groups.iter().enumerate() {
            keys.push(group_key(bucket, number, group));
            self.collect_rows(depth + 1, group, keys, answer);
            keys.pop();
        }
    }
}

fn metric_name(number: usize) -> String {
    format!("m{number}")
}

fn metric_aggregation(metric: &PanelMetric) -> Value {
    let field = json!({ "field": metric.field() });
    match metric {
        PanelMetric::Count { .. } => json!({}),
        PanelMetric::Unique { .. } => json!({ "cardinality": field }),
        PanelMetric::Min { .. } => json!({ "min": field }),
        PanelMetric::Max { .. } => json!({ "max": field }),
        PanelMetric::Sum { .. } => json!({ "sum": field }),
    }
}

fn metric_value(number: usize, metric: &PanelMetric, group: &Value) -> Option<f64> {
    match metric {
        PanelMetric::Count { .. } => group["doc_count"].as_f64(),
        _ => group[metric_name(number)]["value"].as_f64(),
    }
}

fn group_key(bucket: &PanelBucket, number: usize, group: &Value) -> GroupKey {
    match bucket {
        PanelBucket::Time => GroupKey::Time(group["key"].as_i64().unwrap_or(0)),
        PanelBucket::Filters { filters, .. } => GroupKey::Text(
            filters.get(number).map_or_else(String::new, |filter| filter.label.clone()),
        ),
        // Of a boolean, `key` is a number and this its name.
        PanelBucket::Terms { .. } => {
            GroupKey::Text(match (&group["key_as_string"], &group["key"]) {
                (Value::String(name), _) | (_, Value::String(name)) => name.clone(),
                (_, key) => key.to_string(),
            })
        }
    }
}
