//! An engine behind TLS and a password.

use std::process::Command;

use serde_json::Value;

use crate::support::events::{events, records};
use crate::support::load::{Chain, Desk, Load};
use crate::support::real::given;

/// A corner of the secured engine, taken away at its end.
struct Secured {
    url: String,
    authority: String,
    prefix: String,
}

impl Secured {
    fn corner() -> Secured {
        let url = given("TRAILLOAD_TEST_SECURE").trim_end_matches('/').to_owned();
        let prefix = format!("t{:016x}", fastrand::u64(..));
        Secured { url, authority: given("TRAILLOAD_TEST_SECURE_CA"), prefix }
    }

    fn ask(&self, method: &str, path: &str) -> Value {
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
        let output = curl.arg(format!("{}{path}", self.url)).output().expect("curl is there");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn count(&self) -> Option<u64> {
        self.ask("POST", &format!("/{}*/_refresh", self.prefix));
        self.ask("GET", &format!("/{}*/_count", self.prefix))["count"].as_u64()
    }

    fn load(&self, desk: &Desk) -> Load {
        let file = desk.file("a.json", records(&events(0..50)));
        desk.load(&file, &self.url).with(["--index", &self.prefix, "--index-by", "none"])
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.ask("DELETE", &format!("/{}", self.prefix));
        self.ask("DELETE", &format!("/_index_template/{}*", self.prefix));
        self.ask("DELETE", &format!("/_component_template/{}*", self.prefix));
    }
}

fn as_admin(load: Load, password: &str) -> Load {
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
