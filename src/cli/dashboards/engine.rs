//! Fills a page from the indices of an engine.
//!
//! Input: a [`PagePlan`] with an engine. Output: [`Filled`].
//! Invariant: nothing is sent but searches, at most [`MAX_SEARCHES`] at a time. A panel that the engine cannot answer is named on
//! the page, and so is one that it answers from a part of its shards.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    filling::{Filled, PageRun},
    notes::Notes,
    plan::PagePlan,
};
use crate::{
    cli::{
        failure::Failure,
        index_endpoint::IndexEndpoint,
        plan::aws::EngineAuth,
        sources::{accounts, unless_shut_down},
    },
    dashboard::{Data, DataView, MAX_LATEST, PageData, Panel, RequestTimes, TIME_FIELD, TimeScale},
    filter::query::Query,
    normalize::{PLAUSIBLE_MILLISECONDS, TimeRange},
    sink::{self, EngineReader, SearchAnswer},
    source::index::{IndexError, IndexPlan},
};

/// Searches at a time. Each uses all processors of the engine already.
const MAX_SEARCHES: usize = 3;

/// The indices of one kind of documents.
struct IndexedData {
    view: &'static DataView,
    /// Names or patterns, joined by commas.
    indices: String,
    /// What is searched for in addition to the panels' own queries.
    query: Value,
    documents: u64,
    undated: u64,
    /// The first and the last time; `None` without documents.
    range: Option<(i64, i64)>,
    /// Why documents may be missing from the numbers above, and from every panel.
    incomplete: Option<String>,
}

/// Asks the engine for the answers of all panels. Returns `None` if it was stopped.
///
/// # Errors
///
/// Returns a [`Failure`] if the engine cannot be searched.
pub(super) async fn fill(
    run: PageRun<'_>,
    endpoint: &IndexEndpoint,
) -> Result<Option<Filled>, Failure> {
    unless_shut_down(&run.scope.shutdown, Box::pin(EngineFilling { run, endpoint }.fill())).await
}

#[derive(Clone, Copy)]
struct EngineFilling<'r> {
    run: PageRun<'r>,
    endpoint: &'r IndexEndpoint,
}

impl EngineFilling<'_> {
    async fn fill(self) -> Result<Filled, Failure> {
        let PageRun { plan, metrics, log, scope, dashboards } = self.run;
        let session = match self.endpoint.auth {
            EngineAuth::Credentials => None,
            EngineAuth::SigV4 => Some(accounts::new_session(&plan.aws, &metrics.waits).await?),
        };
        let reader = self.endpoint.connect(session.as_ref(), metrics, log, &scope.shutdown).await?;
        let indices =
            IndexPlan::new(reader.clone(), &Query::default()).await.map_err(index_failure)?;
        let mut notes = Notes::default();
        for index in indices.closed() {
            notes.add_missing(format!("Index {index} is closed: its events are missing."));
        }
        for error in indices.unreadable().await.map_err(index_failure)? {
            notes.add_missing(format!("{}: its events are missing.", error.describe()));
        }
        let mut filled = Filled {
            source: self.source_name(&reader),
            data: Vec::new(),
            answers: Vec::new(),
            notes,
        };
        for view in &dashboards.views {
            let (names, query) = match view.data {
                Data::Events => (indices.indices().to_owned(), indices.query().clone()),
                Data::Runs => {
                    (view.index.replace("{prefix}", reader.prefix()), json!({ "match_all": {} }))
                }
            };
            if names.is_empty() {
                continue;
            }
            let data = IndexedData::survey(&reader, view, names, query, plan.range).await?;
            self.add(&reader, &data, &mut filled).await?;
        }
        for note in &filled.notes.missing {
            log.warn(reader.address(), note);
        }
        Ok(filled)
    }

    /// Adds the answers about one kind of documents.
    async fn add(
        self,
        reader: &EngineReader,
        data: &IndexedData,
        filled: &mut Filled,
    ) -> Result<(), Failure> {
        // Panels are asked about the times that were found: what is outside of them would be missing without a word.
        if let Some(reason) = &data.incomplete {
            filled
                .notes
                .add_missing(format!("Not complete: the time range of all panels ({reason})."));
        }
        let Some((first, last)) = data.range else {
            filled.data.push(data.on_page(TimeScale::Day, Vec::new()));
            return Ok(());
        };
        let (from, to) = (first, last + 1);
        let times = RequestTimes { from, to, scale: TimeScale::for_range(from, to) };
        let panels = self.run.dashboards.panels();
        let panels: Vec<&'static Panel> = panels
            .filter(|(dashboard, _)| dashboard.data == data.view.data)
            .map(|(_, panel)| panel)
            .collect();
        let searches = panels.iter().map(|panel| async {
            let request = data.restricted(panel.search_request(times));
            (*panel, reader.search(&data.indices, &request).await)
        });
        let found: Vec<_> = stream::iter(searches).buffered(MAX_SEARCHES).collect().await;
        let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let answered = filled.answers.len();
        let mut refused = None;
        for (panel, answer) in found {
            match answer {
                Ok(SearchAnswer { response, incomplete }) => {
                    if let Some(reason) = incomplete {
                        reasons.entry(reason).or_default().push(&panel.title);
                    }
                    filled.answers.push((panel, panel.answer(&response)));
                }
                // Only this panel's request is refused, such as for a field that an older mapping does not index.
                Err(sink::Error::Refused { source, .. }) if source.status() == Some(400) => {
                    reasons.entry(source.to_string()).or_default().push(&panel.title);
                    refused = Some(source);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let (Some(cause), true) = (refused, answered == filled.answers.len()) {
            let url = reader.address();
            return Err(Failure::action_required(format!(
                "{url} refuses the request of every panel"
            ))
            .caused_by(&cause));
        }
        filled.notes.add_panels(reasons);
        let latest = self.latest(reader, data, times, &mut filled.notes).await?;
        filled.notes.add_undated(data.undated, data.view.data);
        filled.data.push(data.on_page(times.scale, latest));
        Ok(())
    }

    /// Returns the latest documents, with the fields of the list.
    async fn latest(
        self,
        reader: &EngineReader,
        data: &IndexedData,
        times: RequestTimes,
        notes: &mut Notes,
    ) -> Result<Vec<Value>, Failure> {
        let mut fields = vec![TIME_FIELD];
        fields.extend(data.view.search.columns.iter().map(String::as_str));
        let range = json!({ "gte": times.from, "lt": times.to, "format": "epoch_millis" });
        let mut request = data.restricted(json!({
            "size": MAX_LATEST,
            "track_total_hits": false,
            "_source": fields,
            "sort": data.view.latest_order(),
            "query": { "bool": { "filter": [{ "range": { TIME_FIELD: range } }] } },
        }));
        let answer = match reader.search(&data.indices, &request).await {
            // Such as a column that is a text in an index with another template.
            Err(sink::Error::Refused { source, .. }) if source.status() == Some(400) => {
                if let Some(order) = request["sort"].as_array_mut() {
                    order.truncate(1);
                }
                reader.search(&data.indices, &request).await?
            }
            answer => answer?,
        };
        let SearchAnswer { response, incomplete } = answer;
        if let Some(reason) = incomplete {
            notes.add_missing(format!("Not complete: the latest documents ({reason})."));
        }
        let hits = response["hits"]["hits"].as_array().map(Vec::as_slice).unwrap_or_default();
        let documents: Vec<Value> = hits.iter().map(|hit| hit["_source"].clone()).collect();
        Ok(data.view.listed(&documents))
    }

    fn source_name(self, reader: &EngineReader) -> String {
        let plan: &PagePlan = self.run.plan;
        let (url, info, prefix) = (reader.address(), reader.info(), reader.prefix());
        let range = plan.range_name().map(|range| format!(", {range}")).unwrap_or_default();
        format!("{url} ({info}), indices {prefix}-*{range}")
    }
}

impl IndexedData {
    /// Asks for the number of documents, and for their first and last time.
    async fn survey(
        reader: &EngineReader,
        view: &'static DataView,
        indices: String,
        query: Value,
        range: TimeRange,
    ) -> Result<Self, Failure> {
        let plausible = time_range(TimeRange::default());
        let time = json!({ "field": TIME_FIELD });
        let request = json!({
            "size": 0,
            "track_total_hits": true,
            "query": query,
            "aggs": {
                "dated": {
                    "filter": { "range": { TIME_FIELD: time_range(range) } },
                    "aggs": { "first": { "min": time }, "last": { "max": time } },
                },
                "undated": {
                    "filter": { "bool": { "must_not": [{ "range": { TIME_FIELD: plausible } }] } },
                },
            },
        });
        let SearchAnswer { response, incomplete } = reader.search(&indices, &request).await?;
        let aggregations = &response["aggregations"];
        let dated = &aggregations["dated"];
        let number = |value: &Value| value["doc_count"].as_u64().unwrap_or(0);
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of the plausible years")]
        let time = |name: &str| dated[name]["value"].as_f64().map(|time| time as i64);
        Ok(Self {
            view,
            indices,
            query,
            documents: number(dated),
            undated: number(&aggregations["undated"]),
            range: time("first").zip(time("last")),
            incomplete,
        })
    }

    fn on_page(&self, scale: TimeScale, latest: Vec<Value>) -> PageData {
        let Self { view, documents, range, .. } = self;
        PageData { data: view.data, documents: *documents, range: *range, scale, latest }
    }

    /// Adds what is searched for in all requests.
    fn restricted(&self, mut request: Value) -> Value {
        if let Some(filters) = request["query"]["bool"]["filter"].as_array_mut() {
            filters.push(self.query.clone());
        }
        request
    }
}

/// Returns a time range as a query: that of the user, within the years that events can be from.
#[expect(clippy::cast_possible_truncation, reason = "milliseconds of the plausible years")]
fn time_range(range: TimeRange) -> Value {
    let plausible = PLAUSIBLE_MILLISECONDS;
    let from = range.from.map_or(i64::MIN, jiff::Timestamp::as_millisecond);
    let to = range.to.map_or(i64::MAX, jiff::Timestamp::as_millisecond);
    json!({
        "gte": from.max(plausible.start as i64),
        "lt": to.min(plausible.end as i64),
        "format": "epoch_millis",
    })
}

fn index_failure(error: IndexError) -> Failure {
    crate::source::Error::from(error).into()
}
