//! Who the program is at AWS: without credentials, with a wrong clock, with sessions that end, as a profile.

use std::time::Duration;

use super::{ACCOUNT, DAY, KEY, SECRET, TWO, World};
use crate::support::aws::server::Response;
use crate::support::events;
use crate::support::load::wait_for;

#[test]
fn without_credentials_nothing_begins() {
    let world = World::new();
    let load = world.desk.load_all::<&str>([], world.engine.url());
    let load = load
        .environment("AWS_ENDPOINT_URL", &world.server.url())
        .environment("AWS_EC2_METADATA_DISABLED", "true")
        .environment("AWS_REGION", "us-east-1");
    load.run().exits(1).says(["found no AWS credentials", "hint:", "AWS_PROFILE", "aws sso login"]);
    assert_eq!(world.engine.asked().requests, 0);
    assert!(!world.desk.checkpoint().exists());
}

#[test]
fn a_key_that_aws_does_not_know_is_told_before_anything_begins() {
    let world = World::new();
    let load = world.load(&[]).environment("AWS_ACCESS_KEY_ID", "AKIANOBODY");
    load.run().exits(1).says(["could not use the AWS credentials", "aws sts get-caller-identity"]);
    assert_eq!(world.engine.asked().requests, 0);
}

#[test]
fn a_wrong_clock_is_named() {
    let world = World::new();
    let message = "Signature expired: 20200101T000000Z is now earlier than 20200101T010000Z";
    for _ in 0..4 {
        let answer = Response::xml_error(403, "SignatureDoesNotMatch", message);
        world.server.next("GetCallerIdentity", answer);
    }
    world.load(&[]).run().exits(1).says(["Signature expired", "hint: set this machine's clock"]);
}

#[test]
fn a_clock_that_goes_wrong_later_is_named_too() {
    let world = World::new();
    let message = "Signature expired: 20200101T000000Z is now earlier than 20200101T010000Z";
    for _ in 0..9 {
        let answer = Response::json_error(400, "InvalidSignatureException", message);
        world.server.next("LookupEvents", answer);
    }
    let run = world.load(&[]).run().exits(1);
    assert!(!run.stderr.contains("no events to load"), "{}", run.stderr);
    run.says(["the system clock is wrong", "hint: set this machine's clock"]);
}

#[test]
fn a_session_that_ends_is_renewed_once_for_all() {
    let world = World::new();
    let role = format!("arn:aws:iam::{TWO}:role/trailload");
    world.sts.role(&role, None);
    for region in ["us-east-1", "eu-west-1"] {
        world.put(TWO, region, (40 * DAY, 1_000), 300);
    }
    world.change(|script| script.sessions_end_at = Some(5));
    world.load(&["--assume-role", &role]).run().exits(0).counted([600, 600, 0, 0]);
    assert_eq!(world.loaded(), world.settled());
    assert_eq!(world.server.count("AssumeRole"), 2);
}

#[test]
fn a_session_that_nobody_can_renew_ends_the_load_and_the_next_one_goes_on() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (40 * DAY, 1_000), 600);
    let session = |key: &str, token: &str| {
        world.sts.session(key, token, &format!("arn:aws:sts::{ACCOUNT}:assumed-role/r/me"));
        let load = world.load(&["--regions", "us-east-1"]).environment("AWS_ACCESS_KEY_ID", key);
        load.environment("AWS_SESSION_TOKEN", token)
    };
    world.change(|script| script.sessions_end_at = Some(6));
    let run = session("ASIAFIRST", "one").run().exits(1);
    let created = run.number("created");
    assert!(created > 0, "what was fetched is kept");
    run.says([
        "of account 111122223333 in us-east-1",
        "expired",
        "hint: renew the session",
        "run the same command again",
    ]);
    let run = session("ASIASECOND", "two").run().exits(0);
    assert!(run.number("read") < 600 - created + 150, "it goes on where it stopped");
    assert_eq!(world.loaded(), world.settled());
}

#[test]
fn a_signal_is_heard_while_aws_says_nothing() {
    for action in ["GetCallerIdentity", "DescribeRegions", "LookupEvents"] {
        let world = World::new();
        world.server.next(action, Response::hang());
        let mut running = world.load(&["lookup"]).start();
        wait_for("the question", || (world.server.count(action) > 0).then_some(()));
        running.signal("TERM");
        assert!(running.ends_within(Duration::from_secs(10)), "{action}");
        running.end().exits(4);
    }
}

#[test]
fn a_profile_is_taken_from_the_configuration() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (DAY, 1_000), 5);
    world.desk.file(
        "home/.aws/config",
        format!(
            "[profile audit]\nregion = us-east-1\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
        ),
    );
    let load = world.desk.load_all(["--profile", "audit"], world.engine.url());
    let load = load
        .environment("AWS_ENDPOINT_URL", &world.server.url())
        .environment("AWS_EC2_METADATA_DISABLED", "true");
    load.run().exits(0).counted([5, 5, 0, 0]);
    let load = world.load(&["--profile", "nobody"]);
    load.run().exits(1).says(["profile nobody"]);
}

#[test]
fn files_need_no_aws() {
    let world = World::new();
    let file = world.desk.file("a.json", events::records(&events::events(0..3)));
    world.desk.file("home/.aws/config", "this is [no configuration");
    let load = world.load(&[file.to_str().unwrap()]);
    load.environment("AWS_CA_BUNDLE", "/nowhere").run().exits(0).counted([3, 3, 0, 0]);
    assert_eq!(world.server.requests().len(), 0);
}

#[test]
fn requests_to_the_engine_are_signed() {
    let world = World::new();
    world.engine.require_signature(KEY, SECRET);
    let file = world.desk.file("a.json", events::records(&events::events(0..30)));
    let file = file.to_str().unwrap();
    world.load(&[file]).run().exits(1);
    world.load(&[file, "--aws-auth"]).run().exits(0).counted([30, 30, 0, 0]);
    world.put(ACCOUNT, "us-east-1", (DAY, 1_000), 5);
    world.load(&["--aws-auth"]).run().exits(0).counted([5, 5, 0, 0]);
    world.engine.assert_no_complaints();
}

#[test]
fn signing_without_credentials_is_told() {
    let world = World::new();
    let file = world.desk.file("a.json", events::records(&events::events(0..3)));
    let load = world.desk.load_all([file.as_path(), "--aws-auth".as_ref()], world.engine.url());
    let load = load.environment("AWS_EC2_METADATA_DISABLED", "true");
    let run = load.run().exits(1).says(["--aws-auth", "AWS_PROFILE"]);
    assert!(!run.stderr.contains("\\n"), "{}", run.stderr);
}
