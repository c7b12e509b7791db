//! `load` of the event history: what is fetched, what a second run costs, and what a person reads.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{ACCOUNT, DAY, World};
use crate::support::aws::server::Response;
use crate::support::events;
use crate::support::load::{PROGRAM, wait_for};

/// A world with 40 events in each Region that is enabled.
fn filled() -> World {
    let world = World::new();
    for region in ["us-east-1", "eu-west-1"] {
        world.put(ACCOUNT, region, (60 * DAY, 1_000), 40);
    }
    world
}

#[test]
fn a_load_without_a_word_is_90_days_of_every_region_and_the_next_is_only_what_is_new() {
    let world = filled();
    world.put(ACCOUNT, "us-east-1", (600, 1), 3);
    world.put(ACCOUNT, "me-south-1", (600, 1), 3);
    let load = world.load(&[]);
    load.run()
        .exits(0)
        .counted([80, 80, 0, 0])
        .says(["reading the event history of 1 account in 2 Regions"]);
    assert_eq!(world.loaded(), world.settled());

    let before = world.pages_so_far();
    let again = load.run().exits(0);
    assert_eq!(again.number("created"), 0);
    let pages = world.pages(&before);
    assert!(pages.values().all(|pages| *pages <= 1), "{pages:?}");

    world.put(ACCOUNT, "eu-west-1", (7_200, 7_200), 1);
    let late = load.run().exits(0);
    assert_eq!(late.number("created"), 1, "an event that came two hours late");
    assert_eq!(world.loaded(), world.settled());
    world.engine.assert_no_complaints();
}

#[test]
fn a_region_with_many_pages_is_loaded_whole_and_in_one_piece_after_a_kill() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (80 * DAY, 1_000), 700);
    world.put(ACCOUNT, "eu-west-1", (3_600, 1_000), 300);
    let load = world.load(&[]);
    for enough in [150, 400] {
        let running = load.start();
        assert!(world.engine.wait_until(Duration::from_mins(1), |asked| asked.items >= enough));
        assert!(running.kill());
    }
    load.run().exits(0);
    assert_eq!(world.loaded(), world.settled());
    let before = world.pages_so_far();
    assert_eq!(load.run().exits(0).number("created"), 0);
    assert!(world.pages(&before).values().sum::<usize>() <= 12, "the last day, and no more");
}

#[test]
fn a_signal_saves_and_the_next_run_goes_on() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (80 * DAY, 2 * DAY), 1_000);
    let load = world.load(&["lookup", "--regions", "us-east-1"]);
    let running = load.start();
    let asked = || world.trail.model().granted();
    wait_for("some pages", || (asked() >= 12).then_some(()));
    running.signal("TERM");
    let stopped = running.end().exits(4).says(["stopped early, position saved"]);
    let first = stopped.number("created");
    assert!(first > 0 && first < 1_000, "{first}");
    let before = asked();
    load.run().exits(0);
    assert_eq!(world.loaded(), world.settled());
    // A load in one go costs some 26 pages; those of the first run are not fetched again, but for what was open.
    assert!(asked() - before < 26, "{} pages after {before}", asked() - before);
}

#[test]
fn the_regions_come_from_who_may_be_asked() {
    let world = filled();
    let listed = vec![("eu-west-1", "ENABLED"), ("us-east-1", "ENABLED_BY_DEFAULT")];
    world.change(|script| {
        script.described = None;
        script.listed = Some(listed);
    });
    world.load(&[]).run().exits(0).counted([80, 80, 0, 0]);
    let calls = |name| world.server.count(name);
    assert_eq!((calls("DescribeRegions"), calls("ListRegions")), (1, 1));
}

#[test]
fn without_a_list_of_regions_all_known_are_tried_and_those_that_are_off_do_not_count() {
    let world = filled();
    world.change(|script| script.described = None);
    let off = trailload::aws::AwsPartition::Aws.regions().iter();
    let off = off.filter(|name| !["us-east-1", "eu-west-1"].contains(name));
    world.trail.model().disabled.extend(off.map(|&name| name.to_owned()));
    let run = world.load(&[]).run().exits(0).counted([80, 80, 0, 0]);
    let run = run.says(["ec2:DescribeRegions", "account:ListRegions", "--regions"]);
    assert_eq!(run.of_sources("failed"), 0);
    assert_eq!(run.summary.as_ref().unwrap()["failures"], Value::Array(vec![]));
    let lines = run.stderr.lines().filter(|line| line.contains("not enabled")).count();
    assert!(lines <= 1, "{}", run.stderr);
    assert_eq!(world.loaded(), world.settled());
}

#[test]
fn regions_that_are_named_are_not_looked_up_and_only_those_are_asked() {
    let world = filled();
    let run = world.load(&["lookup", "--regions", "eu-west-1"]).run().exits(0);
    run.counted([40, 40, 0, 0]);
    assert_eq!(world.server.count("DescribeRegions"), 0);
    assert_eq!(world.pages_so_far().keys().collect::<Vec<_>>(), ["111122223333 eu-west-1"]);
    world.load(&["--regions", "cn-north-1"]).run().exits(2).says(["partition"]);
}

#[test]
fn a_denied_region_is_a_line_and_the_rest_goes_on() {
    let world = filled();
    world.trail.model().denied.push("eu-west-1".to_owned());
    let load = world.load(&[]);
    let run = load.run().exits(3).counted([40, 40, 0, 0]);
    let run = run.says(["eu-west-1: account 111122223333", "cloudtrail:LookupEvents", "1 failed"]);
    let failures = run.summary.as_ref().unwrap()["failures"].as_array().unwrap().clone();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0]["about"], "eu-west-1");
    // The next run tries again, and needs nothing of what is there.
    world.trail.model().denied.clear();
    let before = world.pages_so_far();
    load.run().exits(0);
    assert_eq!(world.loaded(), world.settled());
    assert!(world.pages(&before)["111122223333 us-east-1"] <= 1);
}

#[test]
fn when_all_is_denied_the_missing_policy_is_named() {
    let world = filled();
    let mut denied = vec!["eu-west-1".to_owned(), "us-east-1".to_owned()];
    world.trail.model().denied.append(&mut denied);
    let statement = r#"{"action":"cloudtrail:lookupevents","effect":"allow","resource":"*"}"#;
    let run = world.load(&[]).run().exits(1);
    let said = run.stderr.to_lowercase();
    let policy = said.split("add this statement to the policy: ").nth(1).unwrap_or_default();
    let policy = policy.split_inclusive('}').next().unwrap_or_default();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(policy), read(statement), "{}", run.stderr);
    run.says(["trailload policy"]);
    assert_eq!(world.engine.count(), 0);
}

#[test]
fn a_region_that_was_asked_for_and_is_off_is_told() {
    let world = filled();
    world.trail.model().disabled.push("me-south-1".to_owned());
    let run = world.load(&["--regions", "us-east-1,me-south-1"]).run().exits(3);
    run.says(["me-south-1: account 111122223333: the Region is not enabled"]);
}

#[test]
fn others_that_take_half_the_quota_are_waited_for() {
    let world = World::new();
    world.trail.model().others = 1.0;
    world.put(ACCOUNT, "us-east-1", (3_600, 1_000), 500);
    world.load(&["--regions", "us-east-1"]).run().exits(0).counted([500, 500, 0, 0]);
    let asked: Vec<_> = world.trail.model().asked().values().copied().collect();
    assert!(asked[0].throttled > 0, "the test is about nothing");
}

#[test]
fn a_dry_run_estimates_and_stops() {
    let world = filled();
    let run = world.load(&["--dry-run"]).run().exits(0);
    let run = run.says([
        "111122223333 us-east-1: 40 events, ",
        "111122223333 eu-west-1: 40 events, ",
        "estimate: 80 events in 2 Regions, 2 requests, ",
        "dry run",
    ]);
    assert_eq!(run.summary.unwrap()["dry_run"], true);
    assert_eq!(world.engine.asked().requests, 0);
    assert!(!world.desk.checkpoint().exists(), "a dry run leaves nothing behind");
}

#[test]
fn a_dry_run_after_a_load_has_nothing_to_tell_but_the_last_day() {
    let world = filled();
    world.load(&[]).run().exits(0);
    let before = world.engine.asked().requests;
    let run = world.load(&["--dry-run"]).run().exits(0).says(["estimate: "]);
    assert!(!run.stderr.contains("80 events"), "{}", run.stderr);
    assert_eq!(world.engine.asked().requests, before);
    assert_eq!(world.load(&[]).run().exits(0).number("created"), 0, "it claimed nothing");
}

#[test]
fn a_quiet_load_says_nothing_and_as_json_each_line_is_an_object() {
    let world = filled();
    let run = world.load(&["--quiet"]).run().exits(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let run = world.load(&["--reload", "--log-format", "json"]).run().exits(0);
    for line in run.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line.is_object(), "{line}");
    }
    assert!(run.stderr.contains("80 events in 2 Regions"), "{}", run.stderr);
}

#[test]
fn a_region_that_takes_days_is_told_to_be_read_from_a_bucket_before_it_begins() {
    let world = filled();
    // The last minutes are so busy that nobody would wait for 90 such days.
    world.put(ACCOUNT, "us-east-1", (1_000, 900), 2_000);
    let run = world.load(&["--dry-run"]).run().exits(0);
    let run =
        run.says(["us-east-1: would take ", "trailload load s3://BUCKET --regions us-east-1"]);
    assert!(!run.stderr.contains("--regions eu-west-1"), "{}", run.stderr);
    let most = world.pages_so_far().into_values().max().unwrap();
    assert!(most <= 3, "the estimate cost {most} requests in a Region");
}

#[test]
fn a_selection_has_a_coverage_of_its_own() {
    let world = filled();
    let run = world.load(&["--read-only"]).run().exits(0);
    assert_eq!(run.number("created"), 40);
    let run = world.load(&["--lookup-attribute", "EventName=PutObject"]).run().exits(0);
    assert_eq!(run.number("created"), 20);
    let all = world.load(&[]);
    let run = all.run().exits(0);
    assert_eq!(run.number("created"), 20, "what was selected is not all there is");
    assert_eq!(world.loaded(), world.settled());
    // And what is all is all of any selection.
    let before = world.pages_so_far();
    world.load(&["--write-only"]).run().exits(0);
    assert!(world.pages(&before).values().all(|pages| *pages <= 1));
}

#[test]
fn insights_are_loaded_if_they_are_asked_for() {
    let world = filled();
    world.trail.model().put_insights(ACCOUNT, "us-east-1", world.now - 9 * DAY, 6);
    world.load(&[]).run().exits(0).counted([80, 80, 0, 0]);
    let with = world.load(&["--insights"]);
    assert_eq!(with.run().exits(0).number("created"), 6);
    assert_eq!(world.loaded(), world.settled());
    assert_eq!(with.run().exits(0).number("created"), 0);
}

#[test]
fn only_the_time_asked_for_is_fetched_and_the_rest_when_it_is_asked_for() {
    let world = filled();
    let from = jiff::Timestamp::from_second(world.now - 30 * DAY).unwrap().to_string();
    let to = jiff::Timestamp::from_second(world.now - 20 * DAY).unwrap().to_string();
    world.load(&["--from", &from, "--to", &to]).run().exits(0);
    let wanted = world.trail.model().ids(world.now - 30 * DAY, world.now - 20 * DAY - 1);
    assert_eq!(world.loaded(), wanted);
    for request in world.server.requests().iter().filter(|it| it.action() == "LookupEvents") {
        let bound = |name: &str| request.json()[name].as_f64().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let (from, to) = ((world.now - 30 * DAY) as f64, (world.now - 20 * DAY) as f64);
        assert!(bound("StartTime") >= from && bound("EndTime") < to);
    }
    let run = world.load(&[]).run().exits(0);
    assert_eq!(run.number("created"), 80 - wanted.len() as u64);
    assert_eq!(world.loaded(), world.settled());
}

#[test]
fn again_fetches_all_of_it_once_more() {
    let world = filled();
    world.load(&[]).run().exits(0).counted([80, 80, 0, 0]);
    world.load(&["--reload"]).run().exits(0).counted([80, 0, 80, 0]);
}

#[test]
fn what_the_page_adds_is_kept() {
    let world = filled();
    world.load(&[]).run().exits(0);
    let documents: BTreeSet<String> = world.engine.documents().into_keys().map(|it| it.1).collect();
    let id = documents.first().unwrap();
    let document: Value = serde_json::from_slice(&world.engine.document_text(id).unwrap()).unwrap();
    let resources = &document["trailload"]["lookup"]["resources"];
    assert!(resources.to_string().contains("r-"), "{document}");
}

#[test]
fn files_and_the_history_are_one_load() {
    let world = filled();
    let file = world.desk.file("a.json", events::records(&events::events(0..10)));
    let run = world.load(&[file.to_str().unwrap(), "lookup"]).run().exits(0);
    run.counted([90, 90, 0, 0]);
}

#[test]
fn a_lost_connection_is_no_reason_to_stop() {
    let world = filled();
    for answer in [Response::reset(), Response::json_error(500, "InternalError", "oh")] {
        world.server.next("LookupEvents", answer);
    }
    let half = Response::json(200, &serde_json::json!({ "Events": [] })).cut_after(5);
    world.server.next("LookupEvents", half);
    world.load(&[]).run().exits(0).counted([80, 80, 0, 0]);
}

#[test]
fn what_is_left_to_the_next_run_can_be_chosen() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, DAY), 5);
    world.put(ACCOUNT, "us-east-1", (600, 600), 1);
    let load = |words: &[&str]| world.load(&[&["--regions", "us-east-1"], words].concat());
    load(&["--overlap", "0s"]).run().exits(0).counted([5, 5, 0, 0]);
    world.put(ACCOUNT, "us-east-1", (7_200, 7_200), 1);
    load(&["--delay", "1m"]).run().exits(0).counted([1, 1, 0, 0]);
    load(&["--from", "1d", "--reload"]).run().exits(0).says(["1 created"]);
}

#[test]
fn what_aws_has_forgotten_is_said_to_be_in_a_bucket() {
    let world = filled();
    let run = world.load(&["--from", "2020-01-01"]).run().exits(0).counted([80, 80, 0, 0]);
    run.says(["the event history covers 90 days", "s3://BUCKET"]);
    let run = world.load(&["--last", "90d"]).run().exits(0);
    assert!(!run.stderr.contains("event history covers"), "{}", run.stderr);
}

#[test]
fn what_is_covered_is_told_by_status() {
    let world = filled();
    world.load(&[]).run().exits(0);
    let status = Command::new(PROGRAM)
        .args(["status", "--json", "--checkpoint"])
        .arg(world.desk.checkpoint())
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let covered = status["coverage"].as_array().unwrap();
    let regions: Vec<&str> = covered.iter().map(|it| it["region"].as_str().unwrap()).collect();
    assert_eq!(regions, ["eu-west-1", "us-east-1"]);
    for it in covered {
        assert_eq!((&it["account"], &it["records"]), (&ACCOUNT.into(), &40.into()), "{it}");
        assert_eq!(it["gaps"], Value::Array(vec![]), "{it}");
    }
}
