//! The example alerts in `deploy/alerting/`: their queries on real engines.

use serde_json::{Value, json};

use super::{Corner, Engine};
use crate::support::events::{event, records};
use crate::support::load::Desk;

const MONITOR: &str = include_str!("../../deploy/alerting/opensearch-monitor.json");
const RULE: &str = include_str!("../../deploy/alerting/kibana-rule.json");

/// Loads an event of each kind, the first of which is to be found.
fn load(corner: &Corner) {
    let mut all: Vec<Value> = (0..5).map(event).collect();
    for event in &mut all {
        event["eventTime"] = json!("2024-01-31T23:50:00Z");
        event["userIdentity"] = json!({ "type": "Root", "accountId": "111122223333" });
    }
    all[1]["userIdentity"]["invokedBy"] = json!("s3.amazonaws.com");
    all[2]["eventType"] = json!("AwsServiceEvent");
    all[3]["userIdentity"]["type"] = json!("IAMUser");
    all[4]["eventTime"] = json!("2024-01-31T23:20:00Z");
    let desk = Desk::new();
    let file = desk.file("a.json", records(&all));
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0).counted([5, 5, 0, 0]);
    corner.refresh();
}

fn found(corner: &Corner, body: &Value) -> u64 {
    let path = format!("/{}-*/_search", corner.prefix());
    corner.ask("POST", &path, body)["hits"]["total"]["value"].as_u64().unwrap()
}

#[test]
fn the_monitor_finds_what_its_name_claims() {
    // 2024-02-01T00:00:00Z, as the plugin writes it.
    let text = MONITOR.replace("{{period_end}}", "1706745600000");
    let monitor: Value = serde_json::from_str(&text).unwrap();
    let input = &monitor["inputs"][0]["search"];
    assert_eq!(input["indices"], json!(["cloudtrail-*"]));
    assert!(monitor["triggers"][0]["query_level_trigger"]["condition"]["script"].is_object());
    for engine in [Engine::OpenSearch3, Engine::OpenSearch2] {
        let corner = Corner::of(engine);
        load(&corner);
        assert_eq!(found(&corner, &input["query"]), 1, "{engine:?}");
    }
}

#[test]
fn the_rule_finds_what_its_name_claims() {
    let rule: Value = serde_json::from_str(RULE).unwrap();
    let params = &rule["params"];
    assert_eq!(params["index"], json!(["cloudtrail-*"]));
    let query: Value = serde_json::from_str(params["esQuery"].as_str().unwrap()).unwrap();
    // As the rule adds its window, which ends at 2024-02-01T00:00:00Z.
    let window = json!({ "range": { params["timeField"].as_str().unwrap(): {
        "gte": "2024-01-31T23:30:00Z", "lt": "2024-02-01T00:00:00Z" } } });
    let body = json!({ "query": { "bool": { "filter": [window, query["query"]] } } });
    for engine in [Engine::Elasticsearch9, Engine::Elasticsearch8] {
        let corner = Corner::of(engine);
        load(&corner);
        assert_eq!(found(&corner, &body), 1, "{engine:?}");
    }
}
