//! `trailload doctor`: each thing that is wrong is named with its fix, and nothing is changed by looking.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{ACCOUNT, DAY, KEY, SECRET, TWO, World};
use crate::support::aws::s3::{Bucket, Fake, Fault};
use crate::support::aws::server::Response;
use crate::support::engine::{FakeEngine, Fault as EngineFault, Flavour};
use crate::support::events;
use crate::support::load::{Desk, Load, Outcome};

/// Asks the doctor; whatever it says, it has changed nothing.
fn look(engine: &FakeEngine, desk: &Desk, load: &Load) -> Outcome {
    let (before, writes) = (files(&desk.path("")), engine.asked().writes);
    let outcome = load.clone().instead("doctor").run();
    assert_eq!(engine.asked().writes, writes, "{}", outcome.stdout);
    assert_eq!(files(&desk.path("")), before, "{}", outcome.stdout);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let fixed = lines.get(at + 1).is_some_and(|next| next.starts_with("  fix: "));
        assert_eq!(
            line.starts_with(['✗', '!']),
            fixed,
            "each problem has its fix: {}",
            outcome.stdout
        );
    }
    outcome
}

/// Returns every file below a folder, with its content, but for summaries, which the test itself clears away.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                _ if entry.file_name().to_string_lossy().starts_with("summary-") => {}
                _ => all.push((entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    all.sort();
    all
}

/// Fails unless these are told: each with its mark in front of the line.
fn told(outcome: &Outcome, expected: &[&str]) {
    for words in expected {
        let (mark, rest) = words.split_once(' ').unwrap();
        let found =
            outcome.stdout.lines().any(|line| line.starts_with(mark) && line.contains(rest));
        assert!(found, "`{words}` is not in:\n{}{}", outcome.stdout, outcome.stderr);
    }
}

fn wrong(outcome: &Outcome) -> usize {
    outcome.stdout.lines().filter(|line| line.starts_with(['✗', '!'])).count()
}

impl World {
    fn look(&self, load: &Load) -> Outcome {
        look(&self.engine, &self.desk, load)
    }
}

/// An engine, a desk, and a load of one file.
fn of_files() -> (FakeEngine, Desk, Load) {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("in/a.json", events::records(&events::events(0..3)));
    let load = desk.load(&file, engine.url());
    (engine, desk, load)
}

#[test]
fn a_load_of_files_that_would_succeed() {
    let (engine, desk, load) = of_files();
    let outcome = look(&engine, &desk, &load).exits(0);
    told(
        &outcome,
        &[
            "✓ in/a.json: can be read",
            "✓ OpenSearch 3.8.0",
            "✓ templates of 'cloudtrail': the load installs them",
            "✓ disk of node-1: 60.0 GiB of 100.0 GiB free",
            "✓ does not exist yet; the load creates it",
        ],
    );
    assert_eq!(wrong(&outcome), 0);
    assert!(outcome.stdout.ends_with("\nthis load can run\n"));
    for absent in ["credentials", "clock", "account"] {
        assert!(!outcome.stdout.contains(absent), "nothing of AWS is used: {}", outcome.stdout);
    }
    load.run().exits(0);
    let outcome = look(&engine, &desk, &load).exits(0);
    told(&outcome, &["✓ installed and up to date", "✓ belongs to this target and can be used"]);
    engine.assert_no_complaints();
}

#[test]
fn an_engine_that_cannot_be_loaded_into() {
    let (engine, desk, load) = of_files();
    engine.require("Basic somebody");
    let outcome = look(&engine, &desk, &load).exits(1);
    told(&outcome, &["✗ does not allow", "  fix: set TRAILLOAD_USERNAME"]);
    assert!(outcome.stdout.ends_with("this load cannot run: 1 problem\n"));

    let (engine, desk, _) = of_files();
    // Nobody listens there; a port that was just given back, another test may have by now.
    let load = desk.load(desk.path("in"), "http://127.0.0.1:1");
    let outcome = look(&engine, &desk, &load).exits(1);
    told(&outcome, &["✗ could not reach", "  fix: check that the engine is running"]);

    let (engine, desk, load) = of_files();
    engine.put_index_template("cloudtrail", json!({ "index_patterns": ["cloudtrail-*"] }));
    let outcome = look(&engine, &desk, &load).exits(1);
    told(&outcome, &["✗ template 'cloudtrail'", "  fix: choose another prefix"]);
}

#[test]
fn a_disk_above_its_watermark() {
    let (engine, desk, load) = of_files();
    engine.fill_disk(97);
    let outcome = look(&engine, &desk, &load).exits(1);
    told(
        &outcome,
        &["✗ disk of node-1 is above the flood-stage watermark", "  fix: free disk space"],
    );
    engine.fill_disk(92);
    let outcome = look(&engine, &desk, &load).exits(0);
    told(&outcome, &["! disk of node-1 is above the high watermark"]);
    assert!(outcome.stdout.ends_with("this load can run; 1 warning\n"));
}

#[test]
fn rights_are_told_as_far_as_the_engine_tells_them() {
    let (engine, desk, load) = of_files();
    engine.tell_rights(&[]);
    told(&look(&engine, &desk, &load).exits(0), &["✓ permissions: loader, with trailload"]);

    let (engine, desk) = (FakeEngine::start_as(Flavour::Elasticsearch), Desk::new());
    let file = desk.file("a.json", events::records(&events::events(0..3)));
    let load = desk.load(&file, engine.url());
    engine.tell_rights(&[]);
    told(
        &look(&engine, &desk, &load).exits(0),
        &["✓ loader has all permissions that a load needs"],
    );
    engine.tell_rights(&["create_doc", "cluster:monitor/main"]);
    let outcome = look(&engine, &desk, &load).exits(1);
    told(&outcome, &["✗ loader lacks permissions: create_doc", "  fix: assign this user the role"]);
    engine.assert_no_complaints();
}

#[test]
fn a_checkpoint_that_cannot_be_used() {
    let (engine, desk, load) = of_files();
    engine.fail(1, &EngineFault::Hang(Duration::from_secs(100)));
    let first = load.start();
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks > 0));
    // Not `look`: the other run writes meanwhile.
    let outcome = load.clone().instead("doctor").run().exits(1);
    let pid = format!("✗ in use by another run (pid {}", first.pid());
    told(&outcome, &[&pid, "  fix: wait for the other run"]);
    assert!(first.kill());

    let (engine, desk_two, load) = of_files();
    drop(desk);
    desk_two.file("checkpoint.sqlite", "this is no database at all".repeat(200));
    let outcome = look(&engine, &desk_two, &load).exits(1);
    told(&outcome, &["✗ is damaged", "  fix: move the file away"]);

    let (engine, desk, load) = of_files();
    let below_a_file = desk.file("blocked", "a file, no folder").join("checkpoint.sqlite");
    let outcome = look(&engine, &desk, &load.clone().checkpoint(&below_a_file)).exits(1);
    told(&outcome, &["✗ blocked", "  fix: check the permissions"]);
    let outcome = look(&engine, &desk, &load.checkpoint(&desk.path("in"))).exits(1);
    told(&outcome, &["✗ is a directory"]);
}

#[test]
fn a_checkpoint_in_a_folder_that_may_not_be_written() {
    let (engine, desk, load) = of_files();
    // Nobody may make files there, not even root.
    let load = load.checkpoint(Path::new("/proc/self/trailload.sqlite"));
    if !Path::new("/proc/self").exists() {
        return;
    }
    told(&look(&engine, &desk, &load).exits(1), &["✗ /proc/self/trailload.sqlite"]);
}

#[test]
fn a_checkpoint_that_a_killed_run_left_is_sound() {
    let (engine, _desk, load) = of_files();
    engine.fail(1, &EngineFault::Hang(Duration::from_secs(100)));
    let first = load.start();
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks > 0));
    assert!(first.kill());
    let outcome = load.clone().instead("doctor").run().exits(0);
    told(&outcome, &["✓ belongs to this target and can be used"]);
    load.run().exits(0);
    assert_eq!(engine.ids(), events::ids(0..3));
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_of_the_command_line() {
    let (engine, desk, _) = of_files();
    let load = desk.load(desk.path("nowhere"), engine.url());
    look(&engine, &desk, &load).exits(2).says(["cannot find", "nowhere"]);
}

#[test]
fn the_event_history_is_asked_once_in_each_region() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (DAY, 1_000), 500);
    let outcome = world.look(&world.load(&[])).exits(0);
    told(
        &outcome,
        &[
            "✓ credentials: account 111122223333, arn:aws:iam::111122223333:user/loader",
            "✓ clock: agrees with that of AWS",
            "✓ account 111122223333: as arn:aws:iam::111122223333:user/loader, 2 Regions",
            "✓ account 111122223333: the event history can be read in us-east-1, eu-west-1",
        ],
    );
    assert_eq!(world.server.count("LookupEvents"), 2);
    world.engine.assert_no_complaints();
}

#[test]
fn credentials_that_are_not_there_or_not_known() {
    let world = World::new();
    let load = world
        .load(&[])
        .environment("AWS_ACCESS_KEY_ID", "")
        .environment("AWS_SECRET_ACCESS_KEY", "");
    let outcome = world.look(&load).exits(1);
    told(&outcome, &["✗ found no AWS credentials", "  fix: set AWS_PROFILE", "✓ OpenSearch"]);
    let outcome =
        world.look(&world.load(&[]).environment("AWS_ACCESS_KEY_ID", "AKIANOBODY")).exits(1);
    told(&outcome, &["✗ could not use the AWS credentials", "  fix: check the access key"]);
}

#[test]
fn a_clock_that_is_wrong() {
    let world = World::new();
    let message = "Signature expired: 20200101T000000Z is now earlier than 20200101T010000Z";
    for _ in 0..4 {
        let answer = Response::xml_error(403, "SignatureDoesNotMatch", message);
        world.server.next("GetCallerIdentity", answer);
    }
    let outcome = world.look(&world.load(&[])).exits(1);
    told(&outcome, &["✗ Signature expired", "  fix: set this machine's clock"]);
}

#[test]
fn a_region_that_is_denied_lessens_the_load_and_all_denied_stop_it() {
    let world = World::new();
    world.trail.model().denied = vec!["eu-west-1".to_owned()];
    let outcome = world.look(&world.load(&[])).exits(0);
    told(
        &outcome,
        &[
            "! cloudtrail:LookupEvents failed in eu-west-1",
            r#"  fix: add this statement to the policy: {"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"}"#,
            "✓ the event history can be read in us-east-1",
        ],
    );
    world.trail.model().denied.push("us-east-1".to_owned());
    let outcome = world.look(&world.load(&[])).exits(1);
    assert_eq!(wrong(&outcome), 2);
    assert!(
        outcome.stdout.ends_with("this load cannot run: no source can be read\n"),
        "{}",
        outcome.stdout
    );
    world.change(|script| script.described = None);
    // Nobody lists them, so all that are known are asked.
    let outcome = world.look(&world.load(&[])).exits(0);
    told(
        &outcome,
        &["! ec2:DescribeRegions", "✓ the event history can be read in", "✓ eu-central-1"],
    );
}

#[test]
fn an_account_that_cannot_be_entered() {
    let world = World::new();
    let role = format!("arn:aws:iam::{TWO}:role/trailload");
    let outcome = world.look(&world.load(&["--assume-role", &role])).exits(1);
    told(
        &outcome,
        &[
            "✗ could not assume arn:aws:iam::444455556666:role/trailload",
            "  fix: the role's trust policy",
        ],
    );
    let words = ["--accounts", "organization", "--assume-role", "arn:aws:iam::{account}:role/r"];
    told(&world.look(&world.load(&words)).exits(1), &["✗ organizations:ListAccounts", "  fix: "]);
}

fn bucket() -> Bucket {
    let mut bucket = Bucket::new();
    let key = |name: &str| {
        format!(
            "AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2024/01/02/{ACCOUNT}_CloudTrail_eu-west-1_20240102T0000Z_{name}.json.gz"
        )
    };
    for name in ["a", "b"] {
        bucket.put(&key(name), events::gzip(&events::records(&events::events(0..3))));
    }
    bucket
}

#[test]
fn a_bucket_is_listed_and_tasted() {
    let (world, s3) = (World::new(), Fake::start([("trail", bucket())]));
    let outcome = world.look(&world.load_from(&s3, &["s3://trail"])).exits(0);
    told(&outcome, &["✓ s3://trail: can be listed and read, for example s3://trail/AWSLogs/"]);
    assert!(!outcome.stdout.contains("eu-west-1: the event history"), "nobody asked for it");
    let outcome = world.look(&world.load_from(&s3, &["s3://trail", "--last", "1d"])).exits(0);
    told(
        &outcome,
        &[
            "✓ s3://trail: can be listed; no logs match the selected accounts, Regions, kinds and dates",
        ],
    );
}

#[test]
fn a_bucket_that_cannot_be_read() {
    let of = |change: &dyn Fn(&mut Bucket), words: &[&str]| {
        let (world, s3) = (World::new(), Fake::start([("trail", bucket())]));
        s3.change("trail", change);
        world.look(&world.load_from(&s3, words)).exits(1)
    };
    let outcome =
        of(&|bucket| bucket.denied = vec![String::new(), "AWSLogs/".to_owned()], &["s3://trail"]);
    told(
        &outcome,
        &[
            "! s3:ListBucket",
            r#"  fix: add this statement to the policy: {"Effect":"Allow","Action":"s3:ListBucket""#,
        ],
    );

    let all = |fault: Fault| {
        move |bucket: &mut Bucket| {
            for name in ["a", "b"] {
                let key = format!(
                    "AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2024/01/02/{ACCOUNT}_CloudTrail_eu-west-1_20240102T0000Z_{name}.json.gz"
                );
                bucket.always.insert(key, fault.clone());
            }
        }
    };
    let outcome = of(&all(Fault::denied()), &["s3://trail"]);
    told(
        &outcome,
        &[
            "! requires s3:GetObject on arn:aws:s3:::trail/AWSLogs/*",
            "  fix: allow what 'trailload policy'",
        ],
    );
    let outcome = of(&all(Fault::key_denied()), &["s3://trail"]);
    told(&outcome, &["! requires kms:Decrypt on arn:aws:kms:eu-west-1:123456789012:key/4f5e"]);
    let outcome = of(&|_| {}, &["s3://nobodys"]);
    told(&outcome, &["! bucket nobodys does not exist", "  fix: check the name of the bucket"]);
    let outcome = of(&|_| {}, &["--trail", "nobodys"]);
    told(&outcome, &["✗ CloudTrail has no trail 'nobodys'", "  fix: set AWS_REGION"]);
}

#[test]
fn signed_requests_are_tried_too() {
    let (world, s3) = (World::new(), Fake::start([("trail", bucket())]));
    world.engine.require_signature(KEY, SECRET);
    let load = world.load_from(&s3, &["s3://trail", "--aws-auth"]);
    told(&world.look(&load).exits(0), &["✓ OpenSearch 3.8.0"]);
    let unsigned = world.load_from(&s3, &["s3://trail"]);
    told(&world.look(&unsigned).exits(1), &["✗ does not allow"]);
}
