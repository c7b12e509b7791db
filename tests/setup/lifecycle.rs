//! Lifecycle policies, against a real engine with a fake of ILM or ISM in front of it: neither module is part of the engines
//! that tests run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Corner, Engine, SetupRun, templates};
use crate::support::aws::server::{Request, Response, Server};
use crate::support::events::{event, records};
use crate::support::load::Desk;
use crate::support::wire;

/// What the fake modules hold.
#[derive(Default)]
struct ModuleState {
    policies: BTreeMap<String, Value>,
    /// Policy of each index.
    attached: BTreeMap<String, String>,
    /// Version of the policy that ISM follows for an index.
    followed: BTreeMap<String, u64>,
    /// Settings of lifecycles that the real engine does not know.
    settings: BTreeMap<String, Value>,
}

/// A real engine with policies.
pub(super) struct WithPolicies {
    pub(super) corner: Corner,
    pub(super) server: Server,
    policies: Arc<Mutex<ModuleState>>,
}

impl WithPolicies {
    pub(super) fn start(engine: Engine) -> WithPolicies {
        let corner = Corner::of(engine);
        let (url, policies) =
            (corner.url().to_owned(), Arc::new(Mutex::new(ModuleState::default())));
        let theirs = Arc::clone(&policies);
        let server = Server::start(move |request| {
            let (status, body) = answer(&mut theirs.lock().unwrap(), &url, request);
            Response::new(status, "application/json", body.to_string())
                .header("x-elastic-product", "Elasticsearch")
        });
        WithPolicies { corner, server, policies }
    }

    pub(super) fn run(&self, arguments: &[&str]) -> SetupRun {
        let url = self.server.url();
        let always = ["--into", &url, "--index", self.corner.prefix()];
        SetupRun::new(&[&always, arguments].concat(), &[])
    }

    fn policy(&self) -> Value {
        let policies = self.policies.lock().unwrap();
        policies.policies.get(self.corner.prefix()).cloned().unwrap_or_default()
    }
}

fn missing(kind: &str) -> (u16, Value) {
    let reason = json!({ "type": kind, "reason": "not found" });
    (404, json!({ "error": reason, "status": 404 }))
}

fn answer(policies: &mut ModuleState, url: &str, request: &Request) -> (u16, Value) {
    let path = wire::percent_decoded(&request.path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let body = request.json();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["_ilm", "policy", name]) => match policies.policies.get(*name) {
            Some(policy) => (200, json!({ *name: { "version": 1, "policy": policy["policy"] } })),
            None => missing("resource_not_found_exception"),
        },
        ("GET", ["_plugins", "_ism", "policies", name]) => match policies.policies.get(*name) {
            Some(policy) => (200, policy.clone()),
            None => missing("status_exception"),
        },
        ("PUT", ["_ilm", "policy", name]) => {
            assert!(body["policy"]["phases"]["hot"].is_object(), "{body}");
            policies.policies.insert((*name).to_owned(), body);
            (200, json!({ "acknowledged": true }))
        }
        ("PUT", ["_plugins", "_ism", "policies", name]) => put_ism(policies, name, request),
        ("DELETE", ["_ilm", "policy", name] | ["_plugins", "_ism", "policies", name]) => {
            if policies.attached.values().any(|policy| policy == name) {
                let reason =
                    format!("Cannot delete policy [{name}]. It is in use by one or more indices");
                return (
                    400,
                    json!({ "error": { "type": "illegal_argument_exception", "reason": reason } }),
                );
            }
            policies.policies.remove(*name);
            (200, json!({ "acknowledged": true }))
        }
        ("POST", ["_plugins", "_ism", "add", index]) => {
            let policy = body["policy_id"].as_str().unwrap().to_owned();
            let is_known = policies.policies.contains_key(&policy);
            if let Some(known) = policies.policies.get(&policy) {
                policies.followed.insert((*index).to_owned(), known["_seq_no"].as_u64().unwrap());
                policies.attached.insert((*index).to_owned(), policy);
            }
            (
                200,
                json!({ "updated_indices": u8::from(is_known), "failures": !is_known, "failed_indices": [] }),
            )
        }
        ("POST", ["_plugins", "_ism", "change_policy", index]) => {
            let policy = body["policy_id"].as_str().unwrap();
            assert_eq!(policies.attached[*index], policy, "ISM refuses it otherwise");
            let policy = &policies.policies[policy];
            let states = policy["policy"]["states"].as_array().unwrap();
            assert!(states.iter().any(|state| state["name"] == body["state"]), "{body}");
            let version = policy["_seq_no"].as_u64().unwrap();
            policies.followed.insert((*index).to_owned(), version);
            (200, json!({ "updated_indices": 1, "failures": false, "failed_indices": [] }))
        }
        ("POST", ["_plugins", "_ism", "remove", index] | [index, "_ilm", "remove"]) => {
            policies.attached.remove(*index);
            (200, json!({ "updated_indices": 1, "failures": false, "failed_indices": [] }))
        }
        ("GET", ["_plugins", "_ism", "explain", _]) => {
            let name = "index.plugins.index_state_management.policy_id";
            let mut all: serde_json::Map<String, Value> = policies
                .attached
                .iter()
                .map(|(index, policy)| {
                    let followed = policies.followed.get(index);
                    (index.clone(), json!({ name: policy, "policy_seq_no": followed }))
                })
                .collect();
            all.insert("total_managed_indices".to_owned(), all.len().into());
            (200, Value::Object(all))
        }
        ("GET", [_, "_settings", "index.lifecycle.*"]) => {
            let settings = policies.attached.iter().map(|(index, policy)| {
                let lifecycle = json!({ "name": policy });
                (index.clone(), json!({ "settings": { "index": { "lifecycle": lifecycle } } }))
            });
            (200, Value::Object(settings.collect()))
        }
        ("PUT", [index, "_settings"]) if body["index"]["lifecycle"].is_object() => {
            if let Some(policy) = body["index"]["lifecycle"]["name"].as_str() {
                policies.attached.insert((*index).to_owned(), policy.to_owned());
            }
            policies.settings.insert((*index).to_owned(), body["index"]["lifecycle"].clone());
            (200, json!({ "acknowledged": true }))
        }
        _ => forward(url, request),
    }
}

fn put_ism(policies: &mut ModuleState, name: &str, request: &Request) -> (u16, Value) {
    let current = policies.policies.get(name);
    let given = request.parameter("if_seq_no").and_then(|number| number.parse::<u64>().ok());
    let expected = current.map(|policy| policy["_seq_no"].as_u64().unwrap());
    if given != expected {
        let reason = format!("[{name}]: version conflict, required seqNo [{given:?}]");
        return (
            409,
            json!({ "error": { "type": "version_conflict_engine_exception", "reason": reason } }),
        );
    }
    let mut stored = request.json();
    assert!(stored["policy"]["default_state"] == "hot", "{stored}");
    stored["_seq_no"] = json!(expected.map_or(0, |number| number + 1));
    stored["_primary_term"] = json!(1);
    policies.policies.insert(name.to_owned(), stored);
    (201, json!({ "_id": name }))
}

/// Passes a request on; the real engine gets a template without the setting that it does not know.
pub(super) fn forward(url: &str, request: &Request) -> (u16, Value) {
    let query =
        if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let mut body = request.body.to_vec();
    if request.path.contains("_component_template") && request.method == "PUT" {
        let mut template = request.json();
        let index = template.pointer_mut("/template/settings/index").and_then(Value::as_object_mut);
        if let Some(lifecycle) = index.and_then(|index| index.remove("lifecycle")) {
            template["_meta"]["lifecycle_of_the_fake"] = lifecycle;
        }
        body = template.to_string().into_bytes();
    }
    let body = Some(body).filter(|body| !body.is_empty());
    let path = format!("{}{query}", request.path);
    let (status, mut answer) = wire::ask(url, &request.method, &path, body.as_deref());
    let entries = answer.get_mut("component_templates").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        let template = &mut entry["component_template"];
        let lifecycle =
            template["_meta"].as_object_mut().and_then(|meta| meta.remove("lifecycle_of_the_fake"));
        if let Some(lifecycle) = lifecycle {
            template["template"]["settings"]["index"]["lifecycle"] = lifecycle;
        }
    }
    (status, answer)
}

const BOTH: [Engine; 2] = [Engine::OpenSearch2, Engine::Elasticsearch8];

#[test]
fn a_policy_is_created_kept_changed_and_removed() {
    for engine in BOTH {
        let engine = WithPolicies::start(engine);
        let before = templates(&engine.corner);
        let options = ["--retention", "400d", "--warm", "60d"];
        engine.run(&options).exits(0).prints(["create lifecycle policy", "5 created"]);
        let first = engine.policy();
        assert!(first.to_string().contains("400d"), "{first}");
        engine.run(&options).exits(0).prints(["keep   lifecycle policy", "0 created, 0 changed"]);
        assert_eq!(engine.policy(), first);
        let changed = engine.run(&["--retention", "500d"]).exits(0);
        changed.prints(["change lifecycle policy", "warm after 60d, deleted after 500d"]);
        engine.run(&["--remove"]).exits(0).prints(["delete lifecycle policy"]);
        assert_eq!(engine.policy(), Value::Null);
        assert_eq!(templates(&engine.corner), before);
    }
}

#[test]
fn the_policy_applies_to_indices_that_are_older_and_is_removed_from_them() {
    for engine in BOTH {
        let engine = WithPolicies::start(engine);
        let (desk, prefix) = (Desk::new(), engine.corner.prefix().to_owned());
        // Before the template is there, whose mapping it would get.
        engine.corner.ask("PUT", &format!("/{prefix}-2020.01"), &Value::Null);
        let file = desk.file("a.json", records(&[event(0), event(1)]));
        desk.load(&file, engine.corner.url()).with(engine.corner.index()).run().exits(0);
        let names = [format!("{prefix}-2024.01"), format!("{prefix}-2024.02")];
        let run = engine.run(&["--retention", "400d"]).exits(0).prints([&*names[0], &*names[1]]);
        let foreign = format!("{prefix}-2020.01");
        let kept = format!("keep   index '{foreign}': trailload did not create it");
        run.prints([kept.as_str()]);
        {
            let policies = engine.policies.lock().unwrap();
            let attached: Vec<_> = policies.attached.keys().cloned().collect();
            assert_eq!(attached, names, "not to the index that trailload did not create");
            if let Some(settings) = policies.settings.get(&names[0]) {
                assert_eq!(settings["origination_date"], 1_706_745_600_000_i64);
            }
        }
        engine.run(&["--retention", "400d"]).exits(0).prints(["0 created, 0 changed"]);
        // ISM applies the policy by itself to an index of somebody else that has the name of a month.
        engine.policies.lock().unwrap().attached.insert(foreign.clone(), prefix.clone());
        let run = engine.run(&["--retention", "400d"]).exits(0);
        let is_ism = engine.policy()["policy"]["states"].is_array();
        let line = format!("change index '{foreign}': no policy applies");
        assert_eq!(run.stdout.contains(&line), is_ism, "{}", run.stdout);
        let is_attached = engine.policies.lock().unwrap().attached.contains_key(&foreign);
        assert_eq!(is_attached, !is_ism, "with ILM, only its owner can have chosen the policy");
        engine.policies.lock().unwrap().attached.remove(&foreign);
        engine.policies.lock().unwrap().attached.insert(names[1].clone(), "other".to_owned());
        let run = engine.run(&[]).exits(0);
        run.prints(["the policy 'other' applies", "0 created, 0 changed"]);
        engine.policies.lock().unwrap().attached.insert(foreign, prefix.clone());
        engine.run(&["--remove"]).exits(0).prints(["delete lifecycle policy"]);
        let attached = engine.policies.lock().unwrap().attached.clone();
        assert_eq!(
            attached.into_iter().collect::<Vec<_>>(),
            [(names[1].clone(), "other".to_owned())]
        );
        assert_eq!(engine.policy(), Value::Null);
    }
}

#[test]
fn a_changed_policy_applies_to_indices_that_began_with_another_version() {
    let engine = WithPolicies::start(Engine::OpenSearch2);
    let (desk, prefix) = (Desk::new(), engine.corner.prefix().to_owned());
    let file = desk.file("a.json", records(&[event(0), event(1)]));
    desk.load(&file, engine.corner.url()).with(engine.corner.index()).run().exits(0);
    let names = [format!("{prefix}-2024.01"), format!("{prefix}-2024.02")];
    engine.run(&["--retention", "400d"]).exits(0).prints([&*names[0], &*names[1]]);
    for (retention, version) in [("800d", 1), ("none", 2)] {
        let run = engine.run(&["--retention", retention]).exits(0);
        run.prints([&*names[0], &*names[1], "the changed policy applies"]);
        let followed = engine.policies.lock().unwrap().followed.clone();
        assert_eq!(followed.into_values().collect::<Vec<_>>(), [version; 2], "{retention}");
    }
    engine.run(&["--retention", "400d"]).exits(0);
    engine.policies.lock().unwrap().followed.insert(names[1].clone(), 1);
    let run = engine.run(&[]).exits(0);
    run.prints([&*names[1], "the changed policy applies", "1 changed"]);
    engine.run(&[]).exits(0).prints(["0 created, 0 changed"]);
}

#[test]
fn the_policy_of_somebody_else_is_named_and_left_alone() {
    for engine in BOTH {
        let engine = WithPolicies::start(engine);
        let theirs = json!({ "policy": { "description": "ours", "phases": { "hot": {} } },
            "_seq_no": 4, "_primary_term": 1 });
        let (desk, prefix) = (Desk::new(), engine.corner.prefix().to_owned());
        let file = desk.file("a.json", records(&[event(0), event(1)]));
        desk.load(&file, engine.corner.url()).with(engine.corner.index()).run().exits(0);
        engine.policies.lock().unwrap().policies.insert(prefix, theirs.clone());
        let run = engine.run(&["--retention", "400d"]).exits(3);
        run.prints(["cannot lifecycle policy", "another program created it", "1 not possible"]);
        assert_eq!(engine.policy(), theirs);
        assert_eq!(engine.policies.lock().unwrap().attached.len(), 0);
        engine.run(&["--remove"]).exits(0).prints(["trailload did not create it"]);
        assert_eq!(engine.policy(), theirs);
    }
}
