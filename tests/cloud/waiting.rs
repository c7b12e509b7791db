//! What a person hears of while a service does not answer, and of a proxy on the way.

use std::time::Duration;

use crate::support::aws::ACCOUNT;
use crate::support::aws::server::Response;
use crate::support::load::{Load, Outcome, wait_for};
use crate::support::stranger::Stranger;

use super::{DAY, World};

fn filled() -> World {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, DAY), 40);
    world
}

/// Requests that two Regions cannot make within five seconds: each begins two a second, and tries three times.
const MORE_THAN_FIVE_SECONDS: usize = 90;

/// Loads while LookupEvents answers 500 each time; it answers well again once that has lasted for a while.
fn after_an_outage(world: &World, words: &[&str]) -> Outcome {
    let failing = Response::json_error(500, "InternalError", "oh");
    (0..1_000).for_each(|_| world.server.next("LookupEvents", failing.clone()));
    let running = world.load(words).start();
    wait_for("an outage", || {
        let requests = world.server.requests();
        let asked = requests.iter().filter(|request| request.action() == "LookupEvents").count();
        (asked >= MORE_THAN_FIVE_SECONDS).then_some(())
    });
    world.server.heal();
    running.end().exits(0).counted([40, 40, 0, 0])
}

#[test]
fn a_history_that_answers_500_each_time_is_told_with_its_cause() {
    let run = after_an_outage(&filled(), &["--quiet"]);
    let run = run.says(["cloudtrail: ", "500 InternalError: oh", "retrying for "]);
    let lines = run.stderr.lines().filter(|line| line.contains("trying again")).count();
    assert!(lines <= 4, "not a line for each Region, nor for each try: {}", run.stderr);
}

#[test]
fn a_service_that_says_nothing_is_told() {
    let world = filled();
    let late = Response::xml_error(500, "InternalFailure", "oh").after(Duration::from_secs(7));
    world.server.next("GetCallerIdentity", late);
    world.load(&[]).run().exits(0).says(["sts: us-east-1: no answer for ", "still waiting"]);
}

#[test]
fn a_service_that_answers_is_not_told() {
    let world = filled();
    world.server.next("LookupEvents", Response::json_error(500, "InternalError", "oh"));
    let run = world.load(&[]).run().exits(0);
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
}

#[test]
fn requests_are_not_compared_with_an_estimate_that_is_not_made() {
    let run = after_an_outage(&filled(), &["--log-format", "json"]);
    assert!(!run.stderr.contains("of about 0"), "{}", run.stderr);
}

#[test]
fn a_proxy_that_refuses_aws_is_named_with_what_to_do() {
    let world = filled();
    for (status, reason, hint) in
        [(407, "Proxy Authentication Required", "USER:PASSWORD"), (403, "Forbidden", "NO_PROXY")]
    {
        let proxy = Stranger::answering(move |_| {
            format!("HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\n\r\n").into_bytes()
        });
        let load = world
            .load(&[])
            .environment("AWS_ENDPOINT_URL", "https://aws.example")
            .environment("HTTPS_PROXY", &format!("http://wh0:s3cr%23et@{}", proxy.host()));
        let run = load.run().exits(1).says([proxy.host(), &status.to_string(), reason, hint]);
        assert_eq!(proxy.asked()[0], "CONNECT aws.example:443");
        for part in ["wh0", "s3cr", "d2gwOnMzY3I"] {
            assert!(!run.stderr.contains(part), "{}", run.stderr);
        }
    }
}

/// Waits until this was asked, asks the program to end, and fails unless it does within what a service manager gives.
fn ends_while_it_hangs(world: &World, load: &Load, action: &str) {
    let mut running = load.start();
    wait_for(action, || {
        world.server.requests().iter().any(|request| request.action() == action).then_some(())
    });
    running.signal("TERM");
    assert!(running.ends_within(Duration::from_secs(10)), "{action}: it waits for AWS");
    running.end().exits(4);
}

#[test]
fn a_service_that_hangs_does_not_hold_up_the_end() {
    let world = filled();
    for (action, words) in [
        ("LookupEvents", &[][..]),
        ("GetCallerIdentity", &[]),
        ("DescribeRegions", &[]),
        ("ListObjectsV2", &["s3://trail"]),
    ] {
        (0..20).for_each(|_| world.server.next(action, Response::hang()));
        ends_while_it_hangs(&world, &world.load(words), action);
        world.server.forget();
        world.server.heal();
    }
    world.load(&[]).run().exits(0).counted([40, 40, 0, 0]);
}
