//! What `setup` asks of an engine, compared with the rights in `policy/`; and an engine that refuses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::lifecycle::WithPolicies;
use super::{Corner, Engine, SetupRun};
use crate::support::aws::server::{Request, Response, Server};
use crate::support::events::{event, records};
use crate::support::load::Desk;
use crate::support::wire;

type Names = BTreeSet<String>;

/// Writes one event of January 2024 into the indices of the prefix.
fn load(engine: &WithPolicies) {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&[event(0)]));
    desk.load(&file, engine.corner.url()).with(engine.corner.index()).run().exits(0);
}

/// Returns the requests of everything that `setup` does in an engine with lifecycles.
fn asked(engine: &WithPolicies) -> Vec<Request> {
    engine.run(&["--retention", "400d", "--warm", "30d"]).exits(0);
    load(engine);
    // The new period is applied to the index that is there.
    engine.run(&["--retention", "500d"]).exits(0);
    engine.run(&["--remove"]).exits(0);
    load(engine);
    // An index of before the setup gets the policy.
    engine.run(&["--retention", "400d"]).exits(0);
    engine.run(&["--enforce-retention"]).exits(0).prints(["1 deleted"]);
    engine.server.requests()
}

fn names(list: &Value) -> Names {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn setup_asks_a_domain_for_what_its_policy_allows_and_for_all_of_it() {
    let engine = WithPolicies::start(Engine::OpenSearch3);
    let action = |request: Request| {
        let method = request.method;
        // The service has no other action for it.
        let method = if method == "HEAD" { "GET".to_owned() } else { method };
        format!("es:ESHttp{}{}", &method[..1], method[1..].to_lowercase())
    };
    let asked: Names = asked(&engine).into_iter().map(action).collect();
    let policy = include_str!("../../policy/opensearch-managed-setup.json");
    let policy: Value = serde_json::from_str(policy).unwrap();
    assert_eq!(asked, names(&policy["Statement"][0]["Action"]));
}

/// Returns the privilege of Elasticsearch that a request needs; nothing for those that only administrators have.
fn privilege(request: &Request) -> Option<&'static str> {
    let path = wire::percent_decoded(&request.path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Some(match (request.method.as_str(), parts.as_slice()) {
        (_, [] | ["_cluster" | "_nodes" | "_cat", ..]) => "cluster:monitor/main",
        ("GET", ["_index_template", _]) => "indices:admin/index_template/get",
        ("PUT", ["_index_template", _]) => "indices:admin/index_template/put",
        ("DELETE", ["_index_template", _]) => "indices:admin/index_template/delete",
        ("GET", ["_component_template", _]) => "cluster:admin/component_template/get",
        ("PUT", ["_component_template", _]) => "cluster:admin/component_template/put",
        ("DELETE", ["_component_template", _]) => "cluster:admin/component_template/delete",
        (_, ["_ilm", "policy", _] | [_, "_ilm", "remove"]) => "manage_ilm",
        ("GET", [_, "_settings" | "_mapping" | "_alias" | "_stats", ..] | ["_resolve", ..]) => {
            "view_index_metadata"
        }
        ("PUT", [_, "_settings"]) => "indices:admin/settings/update",
        ("DELETE", [_]) => "delete_index",
        (_, ["_security", ..]) => return None,
        other => panic!("the role allows nothing for {other:?}"),
    })
}

#[test]
fn setup_asks_elasticsearch_for_what_its_role_allows_and_for_all_of_it() {
    let engine = WithPolicies::start(Engine::Elasticsearch9);
    let asked: Names = asked(&engine).iter().filter_map(privilege).map(str::to_owned).collect();
    let role = include_str!("../../policy/elasticsearch-setup.json");
    let role: Value = serde_json::from_str(role).unwrap();
    let mut allowed = names(&role["cluster"]);
    allowed.append(&mut names(&role["indices"][0]["privileges"]));
    assert_eq!(asked, allowed);
}

/// Starts a server that asks an engine, unless `answer` has an answer of its own.
pub(super) fn before(
    corner: &Corner,
    answer: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
) -> Server {
    let url = corner.url().to_owned();
    Server::start(move |request| {
        answer(request).unwrap_or_else(|| {
            let (status, body) = super::lifecycle::forward(&url, request);
            Response::new(status, "application/json", body.to_string())
                .header("x-elastic-product", "Elasticsearch")
        })
    })
}

#[test]
fn an_index_in_a_snapshot_is_named_and_the_others_are_deleted() {
    let corner = Corner::of(Engine::Elasticsearch8);
    let (desk, prefix) = (Desk::new(), corner.prefix().to_owned());
    let late = |month: usize| {
        let mut late = event(month);
        late["eventTime"] = json!(format!("2014-{month:02}-15T12:00:00Z"));
        late
    };
    let file = desk.file("a.json", records(&(1..=3).map(late).collect::<Vec<_>>()));
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0);
    // A block of writes does not keep an index from being deleted.
    let block = json!({ "index.blocks.write": true });
    corner.ask("PUT", &format!("/{prefix}-2014.01/_settings"), &block);
    let busy = format!("/{prefix}-2014.02");
    let server = before(&corner, move |request| {
        let is_refused = request.method == "DELETE" && request.path == busy;
        let reason = "Cannot delete indices that are being snapshotted: [[a/b]]. Try again after snapshot finishes or cancel the currently running snapshot.";
        let cause = json!({ "type": "snapshot_in_progress_exception", "reason": reason });
        is_refused.then(|| Response::json(400, &json!({ "error": cause, "status": 400 })))
    });
    let url = server.url();
    let always = ["--into", &url, "--index", &prefix, "--enforce-retention", "--retention", "400d"];
    let run = SetupRun::new(&always, &[]).exits(3).prints(["2 deleted", "1 not possible"]);
    run.says([format!("{prefix}-2014.02").as_str(), "wait until the snapshot has ended"]);
    SetupRun::of(&corner, &always[4..]).exits(0).prints(["1 deleted"]);
}
