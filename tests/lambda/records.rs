//! What a sandbox has loaded is recorded in the engine.

use serde_json::{Value, json};

use super::{envelope, function::Package};
use crate::{
    engine::on_every_engine,
    support::real::{Corner, Engine},
    watch::hook::created,
};

on_every_engine!(a_sandbox_records_what_it_has_loaded);

fn a_sandbox_records_what_it_has_loaded(corner: &Corner) {
    let prefix = corner.prefix().to_string();
    let package = Package::new().set("TRAILLOAD_INTO", corner.url());
    let function = package.set("TRAILLOAD_INDEX", &prefix).start();
    for number in 1..4 {
        let summary = function.invoke(&envelope(&created(number, "al", 1))).response();
        assert_eq!(summary["created"], 1);
    }
    let answer = corner.ask("POST", &format!("/{prefix}-runs/_search"), &json!({ "size": 10 }));
    let hits = answer["hits"]["hits"].as_array().unwrap();
    // The others belong to the next record, ten minutes later.
    assert_eq!(hits.len(), 1, "{answer}");
    let record = &hits[0]["_source"];
    let facts =
        ["command", "outcome", "read", "created", "sources"].map(|name| record[name].clone());
    assert_eq!(Value::from(facts.to_vec()), json!(["lambda", "following", 1, 1, ["messages"]]));
    assert!(record["seconds"].as_f64().unwrap() > 0.0, "{record}");
    assert!(record["engine"].is_string(), "{record}");
}
