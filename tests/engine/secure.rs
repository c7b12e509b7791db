//! An engine behind TLS and a password.

use std::{process::Command, thread, time::Duration};

use serde_json::{Value, json};

use crate::support::events::{event_with, events, records};
use crate::support::load::{Chain, Desk, Load};
use crate::support::real::given;

/// A corner of the secured engine, taken away at its end.
pub(crate) struct Secured {
    pub(crate) url: String,
    pub(crate) authority: String,
    pub(crate) prefix: String,
}

impl Secured {
    pub(crate) fn corner() -> Secured {
        let url = given("TRAILLOAD_TEST_SECURE").trim_end_matches('/').to_owned();
        let prefix = format!("t{:016x}", fastrand::u64(..));
        Secured { url, authority: given("TRAILLOAD_TEST_SECURE_CA"), prefix }
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Value {
        self.tell(method, path, &Value::Null)
    }

    fn tell(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--cacert",
            &self.authority,
            "--user",
            "admin:admin",
            "--request",
            method,
        ]);
        if !body.is_null() {
            curl.args(["--header", "content-type: application/json", "--data"]);
            curl.arg(body.to_string());
        }
        let output = curl.arg(format!("{}{path}", self.url)).output().expect("curl is there");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn count(&self) -> Option<u64> {
        self.ask("POST", &format!("/{}*/_refresh", self.prefix));
        self.ask("GET", &format!("/{}*/_count", self.prefix))["count"].as_u64()
    }

    /// Takes away what was loaded.
    fn clear(&self) {
        for index in ["", "-2024"] {
            self.ask("DELETE", &format!("/{}{index}", self.prefix));
        }
        self.ask("DELETE", &format!("/_index_template/{}*", self.prefix));
        self.ask("DELETE", &format!("/_component_template/{}*", self.prefix));
    }

    /// Returns the name of a user who may do no more than his role says.
    pub(crate) fn user(&self) -> String {
        format!("loader-{}", self.prefix)
    }

    pub(crate) fn load(&self, desk: &Desk) -> Load {
        let file = desk.file("a.json", records(&events(0..50)));
        desk.load(&file, &self.url).with(["--index", &self.prefix, "--index-by", "none"])
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.clear();
        for kind in ["rolesmapping", "internalusers", "roles"] {
            self.ask("DELETE", &format!("{SECURITY}/{kind}/{}", self.user()));
        }
    }
}

/// Where the security plugin takes users and roles.
const SECURITY: &str = "/_plugins/_security/api";

/// Events of a load; some batches of 16 KiB.
const EVENTS: usize = 60;
const ALL: u64 = EVENTS as u64;

/// Of no worth anywhere else; long and mixed enough for the plugin's own rules.
pub(crate) const PASSWORD: &str = "Loader-of-one-test-7191";

/// Rights as the security plugin takes them.
#[derive(Clone)]
pub(crate) struct Role(pub(crate) Value);

impl Role {
    /// Returns `policy/opensearch.json`, for another prefix.
    fn shipped(prefix: &str) -> Role {
        let text = include_str!("../../policy/opensearch.json");
        Role(serde_json::from_str(&text.replace("\"cloudtrail", &format!("\"{prefix}"))).unwrap())
    }

    /// Adds the rights in `policy/opensearch-check-duplicates.json`.
    fn with_check_duplicates(mut self) -> Role {
        let text = include_str!("../../policy/opensearch-check-duplicates.json");
        let more = Role(serde_json::from_str(text).unwrap());
        let [cluster, index] = more.lists().map(|list| list.as_array().unwrap().clone());
        self.0["cluster_permissions"].as_array_mut().unwrap().extend(cluster);
        let actions = &mut self.0["index_permissions"][0]["allowed_actions"];
        actions.as_array_mut().unwrap().extend(index);
        self
    }

    fn lists(&self) -> [&Value; 2] {
        [&self.0["cluster_permissions"], &self.0["index_permissions"][0]["allowed_actions"]]
    }

    pub(crate) fn rights(&self) -> Vec<String> {
        let lists = self.lists().into_iter().flat_map(|list| list.as_array().unwrap());
        lists.map(|right| right.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn without(&self, right: &str) -> Role {
        let mut role = self.clone();
        let [cluster, index] = self.lists().map(|list| {
            let kept = list.as_array().unwrap().iter().filter(|kept| *kept != right);
            Value::from(kept.cloned().collect::<Vec<_>>())
        });
        role.0["cluster_permissions"] = cluster;
        role.0["index_permissions"][0]["allowed_actions"] = index;
        role
    }
}

impl Secured {
    /// Makes a user of this corner, who has its role and nothing else.
    pub(crate) fn admit(&self, role: &Role) {
        let name = &self.user();
        // A new engine gives everybody the right to bulk calls, and all rights to an index of his own name.
        self.tell_in_turn("DELETE", &format!("{SECURITY}/rolesmapping/own_index"), &Value::Null);
        self.grant(role);
        self.put("internalusers", &json!({ "password": PASSWORD }));
        self.put("rolesmapping", &json!({ "users": [name] }));
    }

    /// Changes what the user may do.
    pub(crate) fn grant(&self, role: &Role) {
        self.put("roles", &role.0);
    }

    fn put(&self, kind: &str, body: &Value) {
        let answer = self.tell_in_turn("PUT", &format!("{SECURITY}/{kind}/{}", self.user()), body);
        assert!(matches!(answer["status"].as_str(), Some("CREATED" | "OK")), "{answer}");
    }

    /// Changes who may do what. The engine keeps all users in one document, so it refuses one of two changes at once.
    fn tell_in_turn(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut answer = self.tell(method, path, body);
        for _ in 0..50 {
            if answer["status"] != "CONFLICT" {
                break;
            }
            thread::sleep(Duration::from_millis(100));
            answer = self.tell(method, path, body);
        }
        answer
    }

    /// Prepares a load in which every right is used: many small batches, each with new fields.
    fn load_as_user(&self, desk: &Desk) -> Load {
        let events: Vec<_> = (0..EVENTS)
            .map(|number| {
                let own = format!("parameter{number}");
                event_with(number, "requestParameters", json!({ own: "v" }))
            })
            .collect();
        let file = desk.file("a.json", records(&events));
        let load = desk.load(&file, &self.url).with(["--index", &self.prefix]);
        let load = load.with(["--batch", "16KiB", "--workers", "1", "--index-by", "year"]);
        let load = load.with("--ca-file".chain(&self.authority));
        let load = load.environment("TRAILLOAD_USERNAME", &self.user());
        load.environment("TRAILLOAD_PASSWORD", PASSWORD)
    }
}

/// Fails unless the doctor finds all well, changes nothing, and tells a wrong password from it.
fn the_doctor_is_content(engine: &Secured, load: &Load) {
    let load = load.clone().instead("doctor");
    let outcome = load.run().exits(0);
    let user = format!("✓ permissions: {}, with ", engine.user());
    for line in ["OpenSearch 2", "the load installs them", user.as_str()] {
        assert!(outcome.stdout.contains(line), "`{line}` is not in:\n{}", outcome.stdout);
    }
    let indices = engine.ask("GET", &format!("/{}*", engine.prefix));
    assert_eq!(indices, json!({}), "no index is made");
    let template = engine.ask("GET", &format!("/_index_template/{}", engine.prefix));
    assert!(template["error"].is_object(), "{template}");
    let outcome = load.environment("TRAILLOAD_PASSWORD", "wr0ngpass").run().exits(1);
    assert!(outcome.stdout.contains("  fix: set TRAILLOAD_USERNAME"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("wr0ngpass"));
}

#[test]
fn the_role_shipped_is_enough() {
    let (engine, desk) = (Secured::corner(), Desk::new());
    engine.admit(&Role::shipped(&engine.prefix));
    let load = engine.load_as_user(&desk);
    the_doctor_is_content(&engine, &load);
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    assert_eq!(engine.count(), Some(ALL));
    load.with(["--reload"]).run().exits(0).counted([ALL, 0, ALL, 0]);
}

/// Only tell the version, and whether what was loaded is still there; whoever may not ask it loads all the same.
const NOT_NEEDED: [&str; 5] = [
    "cluster:monitor/main",
    "indices:admin/aliases/get",
    "indices:admin/refresh",
    "indices:monitor/settings/get",
    "indices:monitor/stats",
];

/// Needed for an index that is there and lacks a field; a new one is made with all that are known by then.
const FOR_MORE_FIELDS: &str = "indices:admin/mapping/put";

#[test]
fn a_right_that_is_missing_is_named() {
    let engine = Secured::corner();
    let whole = Role::shipped(&engine.prefix);
    engine.admit(&whole);
    for right in whole.rights() {
        let desk = Desk::new();
        engine.clear();
        if right == FOR_MORE_FIELDS {
            engine.ask("PUT", &format!("/{}-2024", engine.prefix));
        }
        engine.grant(&whole.without(&right));
        let outcome = engine.load_as_user(&desk).run();
        println!("without {right}: {:?}\n{}", outcome.code, outcome.stderr);
        if NOT_NEEDED.contains(&right.as_str()) {
            outcome.exits(0).counted([ALL, ALL, 0, 0]);
            continue;
        }
        let outcome = outcome.exits(1).says([right.trim_end_matches('*'), "403", "hint: "]);
        assert!(!outcome.stderr.contains(PASSWORD), "{}", outcome.stderr);
        // The way out: with the right, the same command goes on.
        engine.grant(&whole);
        engine.load_as_user(&desk).run().exits(0);
        assert_eq!(engine.count(), Some(ALL), "without {right}");
    }
}

#[test]
fn checking_duplicates_needs_the_additional_role_and_no_more() {
    let (engine, desk) = (Secured::corner(), Desk::new());
    let whole = Role::shipped(&engine.prefix).with_check_duplicates();
    engine.admit(&whole);
    let load = engine.load_as_user(&desk);
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    let check = load.with(["--reload", "--check-duplicates"]);
    check.run().exits(0).counted([ALL, 0, ALL, 0]);
    engine.grant(&whole.without("indices:data/read/mget*"));
    let outcome = check.run().exits(1).says(["403", "indices:data/read/mget", "hint: "]);
    assert!(!outcome.stderr.contains(PASSWORD), "{}", outcome.stderr);
    engine.grant(&Role::shipped(&engine.prefix));
    check.run().exits(1).says(["403", "indices:data/read/mget"]);
}

pub(crate) fn as_admin(load: Load, password: &str) -> Load {
    load.environment("TRAILLOAD_USERNAME", "admin").environment("TRAILLOAD_PASSWORD", password)
}

#[test]
fn the_right_password_and_authority_open_it() {
    let (engine, desk) = (Secured::corner(), Desk::new());
    let load = as_admin(engine.load(&desk), "admin").with("--ca-file".chain(&engine.authority));
    load.run().exits(0).counted([50, 50, 0, 0]);
    assert_eq!(engine.count(), Some(50));
}

#[test]
fn a_wrong_password_is_said_so_and_never_shown() {
    let (engine, desk) = (Secured::corner(), Desk::new());
    let load = as_admin(engine.load(&desk), "wr0ngpass").with("--ca-file".chain(&engine.authority));
    let outcome = load.run().exits(1).says(["401", "TRAILLOAD_"]);
    assert!(!outcome.stderr.contains("wr0ngpass"));
    assert_eq!(engine.count(), Some(0));
}

#[test]
fn an_unknown_authority_is_refused_with_the_option_that_helps() {
    let (engine, desk) = (Secured::corner(), Desk::new());
    as_admin(engine.load(&desk), "admin").run().exits(1).says(["certificate", "--ca-file"]);
    let empty = desk.file("empty.pem", "");
    let load = as_admin(engine.load(&desk), "admin").with("--ca-file".chain(&empty));
    let outcome = load.run();
    assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
    outcome.says(["empty.pem"]);
    assert_eq!(engine.count(), Some(0));
}

#[test]
fn plain_http_to_a_tls_port_is_explained() {
    let (engine, desk) = (Secured::corner(), Desk::new());
    let plain = engine.url.replacen("https://", "http://", 1);
    let file = desk.file("a.json", records(&events(0..5)));
    let load = as_admin(desk.load(&file, &plain), "admin");
    load.run().exits(1).says(["https"]);
}
