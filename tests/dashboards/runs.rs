//! Documents about runs, and the dashboard that shows them.

use serde_json::{Value, json};
use trailload::dashboard::{Dashboards, Data, RequestTimes, TimeScale};

use crate::engine::on_every_engine;
use crate::support::events::{event, event_with, records};
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};

on_every_engine!(every_load_records_what_it_did, the_dashboard_of_loads_shows_them);

const ALL_TIMES: RequestTimes =
    RequestTimes { from: 0, to: 4_102_444_800_000, scale: TimeScale::Day };

/// Returns the documents about runs.
fn runs(corner: &Corner) -> Vec<Value> {
    let name = format!("{}-runs", corner.prefix());
    corner.ask("POST", &format!("/{name}/_refresh"), &Value::Null);
    let page = json!({ "size": 100, "sort": ["@timestamp"] });
    let answer = corner.ask("POST", &format!("/{name}/_search"), &page);
    let hits = answer["hits"]["hits"].as_array().unwrap().clone();
    hits.into_iter().map(|hit| hit["_source"].clone()).collect()
}

fn every_load_records_what_it_did(corner: &Corner) {
    let desk = Desk::new();
    let odd = event_with(2, "requestParameters.policy", json!({ "a": 1 }));
    let file = desk.file("a.json", records(&[event(1), odd]));
    let load = || desk.load(&file, corner.url()).with(corner.index());
    load().run().exits(0);
    load().with(["--reload"]).run().exits(0);
    let runs = runs(corner);
    let numbers: Vec<_> = runs
        .iter()
        .map(|run| [&run["read"], &run["created"], &run["duplicates"], &run["dead_letters"]])
        .collect();
    assert_eq!(numbers, [[2, 2, 0, 0], [2, 0, 2, 0]]);
    for run in &runs {
        assert_eq!((&run["outcome"], &run["exit"]), (&"complete".into(), &0.into()));
        assert_eq!(run["command"], "load");
        assert!(run["sources"][0].as_str().unwrap().ends_with("a.json"), "{run}");
        assert!(run["lag_seconds"].as_i64().unwrap() > 0, "{run}");
        assert!(run["newest_event"].is_string() && run["version"].is_string(), "{run}");
    }
    assert_eq!(runs[0]["rewritten"], 1);
    assert_eq!(corner.count(), 2, "searches over events do not find documents about runs");
    // A dry run writes nothing.
    load().with(["--reload", "--dry-run"]).run().exits(0);
    assert_eq!(self::runs(corner).len(), 2);
}

fn the_dashboard_of_loads_shows_them(corner: &Corner) {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&[event(1)]));
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0);
    let dashboards = Dashboards::embedded().unwrap();
    let mut panels = 0;
    for (dashboard, panel) in dashboards.panels() {
        if dashboard.data == Data::Runs {
            let path = format!("/{}-runs/_search", corner.prefix());
            let answer = panel.answer(&corner.ask("POST", &path, &panel.search_request(ALL_TIMES)));
            assert_eq!((answer.documents, answer.rows.len()), (1, 1), "{}", panel.title);
            let value = answer.rows[0].values[0];
            assert!(value.is_some(), "{}: {value:?}", panel.title);
            panels += 1;
        }
    }
    assert!(panels >= 8, "{panels}");
}
