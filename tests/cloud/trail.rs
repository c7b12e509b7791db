//! `load s3://…` and `--trail`: what is listed and fetched, what a second run costs, and what a person reads.

use std::collections::BTreeSet;

use serde_json::json;

use super::{ACCOUNT, DAY, TWO, World};
use crate::support::aws::s3::{Bucket, Call, Fake, Fault};
use crate::support::events;

/// Returns the key of a trail's file.
fn key(prefix: &str, account: &str, kind: &str, region: &str, age: i64, name: &str) -> String {
    let now = jiff::Timestamp::now().as_second();
    let time = jiff::Timestamp::from_second(now - age).unwrap();
    let (folder, stamp) = (time.strftime("%Y/%m/%d"), time.strftime("%Y%m%dT%H%MZ"));
    format!(
        "{prefix}AWSLogs/{account}/{kind}/{region}/{folder}/{account}_{kind}_{region}_{stamp}_{name}.json.gz"
    )
}

/// A file of so many events.
fn file(numbers: std::ops::Range<usize>) -> Vec<u8> {
    events::gzip(&events::records(&events::events(numbers)))
}

/// A bucket of two accounts, three Regions and two kinds, with 70 events.
fn bucket() -> Bucket {
    let mut bucket = Bucket::new();
    let mut put = |key: String, numbers| bucket.put(&key, file(numbers));
    put(key("", ACCOUNT, "CloudTrail", "eu-west-1", DAY, "a"), 0..10);
    put(key("", ACCOUNT, "CloudTrail", "eu-west-1", 100 * DAY, "b"), 10..20);
    put(key("", ACCOUNT, "CloudTrail", "us-east-1", DAY, "c"), 20..30);
    put(key("", ACCOUNT, "CloudTrail-Insight", "us-east-1", DAY, "d"), 30..40);
    put(key("", TWO, "CloudTrail", "us-east-1", 2 * DAY, "e"), 40..50);
    put(key("", TWO, "CloudTrail", "ap-south-1", 3 * DAY, "f"), 50..60);
    put(key("other/", TWO, "CloudTrail", "eu-west-1", DAY, "g"), 60..70);
    bucket.put(&key("", ACCOUNT, "CloudTrail-Digest", "eu-west-1", DAY, "h"), "{}");
    bucket.put(&format!("AWSLogs/{ACCOUNT}/elasticloadbalancing/eu-west-1/x.log"), "no");
    bucket
}

fn gets(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| call.action == "GetObject").collect()
}

#[test]
fn a_bucket_is_loaded_and_the_next_run_only_lists() {
    let world = World::new();
    let s3 = Fake::start([("trail", bucket())]);
    let load = world.load_from(&s3, &["s3://trail"]);
    load.run().exits(0).counted([70, 70, 0, 0]);
    assert_eq!(world.engine.ids(), events::ids(0..70));
    assert_eq!(gets(&s3.take_calls()).len(), 7);
    let again = load.run().exits(0).counted([0, 0, 0, 0]);
    assert!(again.of_sources("skipped") > 0);
    assert_eq!(gets(&s3.take_calls()), Vec::<&Call>::new(), "nothing is fetched again");

    s3.change("trail", |bucket| {
        bucket.put(&key("", ACCOUNT, "CloudTrail", "eu-west-1", 20 * DAY, "late"), file(70..80));
    });
    load.run().exits(0).counted([10, 10, 0, 0]);
    assert_eq!(world.server.count("LookupEvents"), 0);
    assert_eq!(world.server.count("DescribeRegions"), 0);
    world.engine.assert_no_complaints();
}

/// A log file that a transfer or a service damaged is fetched again by each run until it is whole.
#[test]
fn an_object_of_a_trail_that_is_no_cloud_trail_fails_each_time() {
    let world = World::new();
    let mut bucket = Bucket::new();
    let key = |name: &str| key("", ACCOUNT, "CloudTrail", "eu-west-1", 100 * DAY, name);
    bucket.put(&key("html"), "<html>503</html>");
    bucket.put(&key("zeros"), [0; 500]);
    bucket.put(&key("whole"), file(0..10));
    bucket.put("exports/readme.html", "<html>how to</html>");
    let s3 = Fake::start([("trail", bucket)]);
    let load =
        world.load_from(&s3, &["s3://trail/AWSLogs/", "s3://trail/exports/readme.html", "--quiet"]);
    for _ in 0..2 {
        let outcome = load.run().exits(3).says(["_html.json.gz", "_zeros.json.gz", "readme.html"]);
        assert_eq!(outcome.of_sources("failed"), 3, "{}", outcome.stderr);
        assert_eq!(
            gets(&s3.take_calls()).iter().filter(|call| !call.key.contains("whole")).count(),
            3
        );
    }
    s3.change("trail", |bucket| {
        bucket.put(&key("html"), file(10..20));
        bucket.put(&key("zeros"), file(20..30));
        bucket.put("exports/readme.html", r#"{"Records":[]}"#);
    });
    load.run().exits(0);
    assert_eq!(world.engine.ids(), events::ids(0..30));
}

#[test]
fn options_narrow_what_is_listed() {
    for (words, expected) in [
        (&["s3://trail", "--accounts", TWO][..], [40..70, 0..0]),
        (&["s3://trail", "--regions", "eu-west-1"], [0..20, 60..70]),
        (&["s3://trail", "--kinds", "Insight"], [30..40, 0..0]),
        (&["s3://trail/other"], [60..70, 0..0]),
        (&["s3://trail/AWSLogs/444455556666/CloudTrail/us-east-1/"], [40..50, 0..0]),
    ] {
        let (world, s3) = (World::new(), Fake::start([("trail", bucket())]));
        world.load_from(&s3, words).run().exits(0);
        let expected: BTreeSet<String> = expected.into_iter().flat_map(events::ids).collect();
        assert_eq!(world.engine.ids(), expected, "{words:?}");
        assert_eq!(gets(&s3.take_calls()).len() * 10, expected.len(), "{words:?}");
    }
}

#[test]
fn the_last_days_are_listed_again_and_older_ones_are_closed() {
    let (world, s3) = (World::new(), Fake::start([("trail", bucket())]));
    let load = |days| world.load_from(&s3, &["s3://trail", "--late-days", days]);
    load("3").run().exits(0).counted([70, 70, 0, 0]);
    load("3").run().exits(0).counted([0, 0, 0, 0]);
    let put = |age, name, numbers| {
        let key = key("", ACCOUNT, "CloudTrail", "eu-west-1", age, name);
        s3.change("trail", |bucket| bucket.put(&key, file(numbers)));
    };
    put(DAY, "late", 70..80);
    put(100 * DAY, "later", 80..90);
    // What came to a day that was closed is seen. It has the time of the others here, as a replica has, so they are
    // read again with it.
    load("3").run().exits(0).counted([30, 20, 10, 0]);
    load("200").run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(world.engine.ids(), events::ids(0..90));
}

#[test]
fn a_trail_is_asked_for_its_bucket() {
    let world = World::new();
    let s3 = Fake::start([("trail", bucket())]);
    let arn = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit";
    world.change(|script| {
        script.trails = vec![json!({
            "Name": "audit", "TrailARN": arn, "HomeRegion": "eu-west-1", "S3BucketName": "trail",
            "S3KeyPrefix": "other", "IsMultiRegionTrail": true,
        })];
    });
    let run = world.load_from(&s3, &["--trail", "audit"]).run().exits(0);
    run.counted([10, 10, 0, 0]).says(["trail audit: delivers to s3://trail/other/AWSLogs/"]);
    assert_eq!(world.engine.ids(), events::ids(60..70));
    assert_eq!(world.server.count("LookupEvents"), 0);
    // By its ARN, in the Region that the ARN names.
    world.load_from(&s3, &["--trail", arn]).run().exits(0).counted([0, 0, 0, 0]);
    let last = world.server.requests().into_iter().rfind(|it| it.action() == "DescribeTrails");
    assert_eq!(last.unwrap().region(), Some("eu-west-1"));
    let run = world.load_from(&s3, &["--trail", "nobodys"]).run().exits(1);
    run.says(["CloudTrail has no trail 'nobodys' in us-east-1", "AWS_REGION"]);
}

/// Their names become parts of host names, so a proxy stands for all of AWS.
#[test]
fn access_points_are_named_by_their_arn_or_their_alias() {
    let world = World::new();
    let point = format!("arn:aws:s3:ap-south-1:{ACCOUNT}:accesspoint/my-ap");
    let alias = "my-ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias";
    let mut there = bucket();
    there.region = "ap-south-1";
    let s3 = Fake::start([("my-ap-111122223333", there), (alias, bucket())]);
    let load = |word: &str| {
        let load = world.load(&[word]).environment("AWS_ENDPOINT_URL_S3", "http://s3.example");
        load.environment("HTTP_PROXY", &s3.url).environment("NO_PROXY", "127.0.0.1")
    };
    load(&point).run().exits(0).counted([70, 70, 0, 0]);
    load(&format!("s3://{point}/other/")).run().exits(0).counted([0, 0, 0, 0]);
    let run = load(&format!("s3://{alias}/other/"));
    // A store that is not AWS's is asked by path.
    run.environment("AWS_ENDPOINT_URL_S3", &s3.url).run().exits(0).counted([10, 0, 10, 0]);
    let run = world.load_from(&s3, &[&point]).run().exits(2);
    run.says(["is an access point, which cannot be reached at http://127.0.0.1", "alias"]);
    let calls = s3.take_calls();
    // Sent away is only who did not know the Region, which an ARN tells.
    let away = calls.iter().filter(|call| call.status != 200);
    assert!(away.into_iter().all(|call| call.status == 301 && call.bucket == alias), "{calls:?}");
}

#[test]
fn a_trail_is_a_source_by_its_arn_and_a_bucket_too() {
    let world = World::new();
    let s3 = Fake::start([("trail", bucket())]);
    let arn = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit";
    world.change(|script| {
        script.trails = vec![json!({
            "Name": "audit", "TrailARN": arn, "HomeRegion": "eu-west-1", "S3BucketName": "trail",
            "S3KeyPrefix": "other",
        })];
    });
    world.load_from(&s3, &[arn]).run().exits(0).counted([10, 10, 0, 0]);
    world.load_from(&s3, &["arn:aws:s3:::trail/*"]).run().exits(0).counted([60, 60, 0, 0]);
    let run = world.load_from(&s3, &["arn:aws:sns:eu-west-1:111122223333:topic"]).run().exits(2);
    run.says(["arn:aws:s3:::BUCKET/PREFIX", "accesspoint/NAME"]);
}

#[test]
fn a_bucket_needs_nobody_who_knows_the_account() {
    let world = World::new();
    let s3 = Fake::start([("trail", bucket())]);
    let load = world
        .load_from(&s3, &["s3://trail"])
        .environment("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
    load.run().exits(0).counted([70, 70, 0, 0]).says(["access key AKIAIOSFODNN7EXAMPLE"]);
    assert_eq!(world.server.count("GetCallerIdentity"), 0);
    // The history of an account does.
    let load = world.load(&["lookup"]).environment("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
    load.run().exits(1).says(["could not use the AWS credentials"]);
}

#[test]
fn a_bucket_is_read_as_the_role() {
    let world = World::new();
    let role = format!("arn:aws:iam::{TWO}:role/reader");
    world.sts.role(&role, None);
    let s3 = Fake::start([("trail", bucket())]);
    let run = world.load_from(&s3, &["s3://trail", "--assume-role", &role]).run().exits(0);
    run.counted([70, 70, 0, 0]);
    assert_eq!(world.server.count("AssumeRole"), 1);
}

#[test]
fn the_requester_pays_if_that_is_said() {
    let world = World::new();
    let mut bucket = bucket();
    bucket.requester_pays = true;
    let s3 = Fake::start([("trail", bucket)]);
    world.load_from(&s3, &["s3://trail"]).run().exits(1).says(["s3:ListBucket"]);
    let run = world.load_from(&s3, &["s3://trail", "--requester-pays"]).run().exits(0);
    run.counted([70, 70, 0, 0]);
}

#[test]
fn a_bucket_that_may_not_be_listed_is_exit_1_with_the_policy() {
    let world = World::new();
    let mut bucket = bucket();
    bucket.list_faults.extend(std::iter::repeat_n(Fault::denied(), 9));
    let s3 = Fake::start([("trail", bucket)]);
    let run = world.load_from(&s3, &["s3://trail"]).run().exits(1);
    run.says(["s3:ListBucket", "arn:aws:s3:::trail", "trailload policy"]);
}

#[test]
fn a_bucket_that_is_not_there_is_told_and_the_other_is_loaded() {
    let world = World::new();
    let s3 = Fake::start([("trail", bucket())]);
    let run = world.load_from(&s3, &["s3://trail", "s3://nowhere"]).run().exits(3);
    run.counted([70, 70, 0, 0]).says(["s3://nowhere", "1 failed"]);
    world.load_from(&s3, &["s3://nowhere"]).run().exits(1).says(["s3://nowhere"]);
}

#[test]
fn objects_that_cannot_be_read_are_told_once_and_tried_again() {
    let world = World::new();
    let mut bucket = bucket();
    let names: Vec<String> = ["a", "c", "e"]
        .iter()
        .zip([
            ("eu-west-1", ACCOUNT, DAY),
            ("us-east-1", ACCOUNT, DAY),
            ("us-east-1", TWO, 2 * DAY),
        ])
        .map(|(name, (region, account, age))| key("", account, "CloudTrail", region, age, name))
        .collect();
    for (name, fault) in names.iter().zip([Fault::key_denied(), Fault::archived(), Fault::denied()])
    {
        bucket.always.insert(name.clone(), fault);
    }
    let s3 = Fake::start([("trail", bucket)]);
    let load = world.load_from(&s3, &["s3://trail"]);
    let run = load.run().exits(3).counted([40, 40, 0, 0]).says(["kms:Decrypt", "3 failed"]);
    let failures = run.summary.as_ref().unwrap()["failures"].as_array().unwrap().clone();
    let about: BTreeSet<&str> = failures.iter().map(|it| it["about"].as_str().unwrap()).collect();
    let expected: Vec<String> = names.iter().map(|name| format!("s3://trail/{name}")).collect();
    assert_eq!(about, expected.iter().map(String::as_str).collect::<BTreeSet<_>>());
    for name in &expected {
        assert_eq!(run.stderr.matches(name.as_str()).count(), 1, "{}", run.stderr);
    }
    s3.change("trail", |bucket| bucket.always.clear());
    s3.take_calls();
    load.run().exits(0).counted([30, 30, 0, 0]);
    assert_eq!(gets(&s3.take_calls()).len(), 3);
}

#[test]
fn a_bucket_of_another_region_is_followed() {
    let world = World::new();
    let mut bucket = bucket();
    bucket.region = "ap-southeast-2";
    let s3 = Fake::start([("trail", bucket)]);
    world.load_from(&s3, &["s3://trail"]).run().exits(0).counted([70, 70, 0, 0]);
}

#[test]
fn a_dry_run_reads_and_sends_nothing() {
    let world = World::new();
    let s3 = Fake::start([("trail", bucket())]);
    let run = world.load_from(&s3, &["s3://trail", "--dry-run"]).run().exits(0);
    assert_eq!(run.number("read"), 70);
    assert_eq!(world.engine.asked().requests, 0);
    assert!(!world.desk.checkpoint().exists());
}

#[test]
fn the_same_event_from_the_history_and_a_bucket_is_one_document() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (DAY, 1_000), 5);
    world.load(&["lookup"]).run().exits(0).counted([5, 5, 0, 0]);
    let records = world.records(ACCOUNT, "us-east-1");
    let mut bucket = Bucket::new();
    let name = key("", ACCOUNT, "CloudTrail", "us-east-1", DAY, "a");
    bucket.put(&name, events::gzip(&events::records(&records)));
    let s3 = Fake::start([("trail", bucket)]);
    let run = world.load_from(&s3, &["lookup", "s3://trail"]).run().exits(0);
    assert_eq!(run.number("created"), 0);
    assert_eq!(world.engine.count(), 5);
}

#[test]
fn a_bucket_that_cannot_be_read_does_not_stop_the_history_nor_the_other_way_round() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (DAY, 1_000), 5);
    let s3 = Fake::start([("trail", bucket())]);
    let run = world.load_from(&s3, &["lookup", "s3://nowhere"]).run().exits(3);
    run.counted([5, 5, 0, 0])
        .says(["s3://nowhere/: could not be read: bucket nowhere does not exist"]);
    let regions = ["us-east-1", "eu-west-1"].map(str::to_owned);
    world.trail.model().denied.extend(regions);
    let run = world.load_from(&s3, &["lookup", "s3://trail"]).run().exits(3);
    run.counted([70, 70, 0, 0]).says(["lookup: ", "cloudtrail:LookupEvents"]);
}

#[test]
fn options_that_do_nothing_are_refused() {
    let world = World::new();
    for (words, option) in [
        (&["s3://trail", "--insights"][..], "'--insights' applies only to the event history"),
        (&["--kinds", "Insight"], "'--kinds' applies only to trail buckets"),
        (&["s3://trail", "--assume-role", "arn:aws:iam::{account}:role/r"], "'--assume-role'"),
        (&["s3:///logs"], "s3:///logs"),
    ] {
        world.load(words).run().exits(2).says([option]);
    }
    assert_eq!(world.server.requests().len() + world.engine.asked().requests, 0);
}
