//! What goes wrong, one by one: told once by name, and nothing else is lost.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::*;
use crate::support::aws::s3::{Away, Fault};

fn keys() -> Vec<String> {
    (0..6).map(|n| key("CloudTrail", "eu-west-1", "2024/03/14", "0005", &n.to_string())).collect()
}

/// Runs over six objects, to the third of which something happens, each time or one after the other.
fn with(always: Option<Fault>, once: &[Fault]) -> (Told, usize) {
    let keys = keys();
    let mut bucket = bucket_of(&keys);
    bucket.put(&keys[2], keys[2].repeat(40_000));
    if let Some(fault) = always {
        bucket.always.insert(keys[2].clone(), fault);
    }
    bucket.faults.insert(keys[2].clone(), once.iter().cloned().collect());
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    let asked = fake.take_calls().iter().filter(|call| call.key == keys[2]).count();
    (told, asked)
}

/// Returns why the third object was lost; the others must not be.
fn lost_to(fault: Fault) -> (String, usize) {
    let (told, asked) = with(Some(fault), &[]);
    let name = format!("s3://trail/{}", keys()[2]);
    assert_eq!((told.inputs.len(), told.lost.len()), (5, 1), "{told:?}");
    assert_eq!((told.error, told.failed), (None, vec![]));
    (told.lost[&name].clone(), asked)
}

#[test]
fn objects_that_cannot_be_had_are_told_with_their_cause() {
    assert_eq!(
        lost_to(Fault::deleted()),
        ("the object was deleted after it was listed".to_owned(), 1)
    );
    assert_eq!(
        lost_to(Fault::archived()),
        ("the object is archived (Glacier); restore it, then run the load again".to_owned(), 1)
    );
    let (why, asked) = lost_to(Fault::key_denied());
    assert!(
        why.ends_with("requires kms:Decrypt on arn:aws:kms:eu-west-1:123456789012:key/4f5e"),
        "{why}"
    );
    assert_eq!(asked, 1);
    let (why, asked) = lost_to(Fault::denied());
    assert_eq!(
        why,
        "access denied (Access Denied): requires s3:GetObject on arn:aws:s3:::trail/AWSLogs/* \
         (or --requester-pays for a requester-pays bucket)"
    );
    assert_eq!(asked, 1);
    let (why, asked) = lost_to(Fault::Cut(0));
    assert!(why.contains("the response body ended after 0 of") && asked == 6, "{asked} {why}");
    let (why, asked) = lost_to(Fault::Refused(500, "InternalError", "We are sorry"));
    let said = "S3 returned 500 InternalError: We are sorry (request FAKE0001) (6 attempts)";
    assert_eq!((why.as_str(), asked), (said, 6));
}

#[test]
fn what_passes_is_outlasted() {
    let trouble = [
        Fault::SlowDown,
        Fault::Reset,
        Fault::Refused(500, "InternalError", "We are sorry"),
        Fault::Late(Duration::from_millis(50)),
    ];
    for fault in trouble {
        let (told, _) = with(None, std::slice::from_ref(&fault));
        assert_eq!((told.inputs.len(), told.lost.len()), (6, 0), "{fault:?} {told:?}");
    }
}

#[test]
fn a_body_that_breaks_off_is_fetched_on_from_there() {
    let whole = keys()[2].repeat(40_000).into_bytes();
    for cuts in [&[Fault::Cut(100_000), Fault::Cut(1)][..], &[Fault::Cut(7), Fault::Whole]] {
        let (told, asked) = with(None, cuts);
        let (_, body) = &told.inputs[&format!("s3://trail/{}", keys()[2])];
        assert!(*body == whole, "{cuts:?}");
        assert_eq!(asked, if cuts.len() == 2 && matches!(cuts[1], Fault::Whole) { 2 } else { 3 });
    }
}

#[test]
fn what_was_replaced_after_it_was_listed_is_left_to_the_next_run() {
    let keys = keys();
    let mut bucket = bucket_of(&keys);
    let broken = VecDeque::from([Fault::Late(Duration::from_millis(300)), Fault::Cut(3)]);
    bucket.faults.insert(keys[2].clone(), broken);
    let said = "At least one of the pre-conditions you specified did not hold";
    bucket.always.insert(keys[3].clone(), Fault::Refused(412, "PreconditionFailed", said));
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    let name = format!("s3://trail/{}", keys[3]);
    assert_eq!(
        told.lost[&name],
        "the object was replaced after it was listed; the next run loads the new version"
    );
    assert_eq!(told.inputs.len(), 5);
}

#[test]
fn a_large_object_comes_piece_by_piece_and_whole() {
    let large: Vec<u8> = (0..40_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let keys = keys();
    let mut bucket = bucket_of(&keys);
    bucket.put(&keys[2], large.clone());
    let cuts = VecDeque::from([Fault::Cut(9_999_999), Fault::Reset, Fault::Cut(0), Fault::Cut(77)]);
    bucket.faults.insert(keys[2].clone(), cuts);
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!((told.inputs.len(), told.streams), (6, 1));
    assert!(told.inputs[&format!("s3://trail/{}", keys[2])].1 == large);
}

#[test]
fn a_storm_is_answered_with_fewer_requests_and_loses_nothing() {
    let keys: Vec<_> = (0..400)
        .map(|n| key("CloudTrail", "eu-west-1", "2024/03/14", "0005", &format!("{n:03}")))
        .collect();
    let mut bucket = bucket_of(&keys);
    bucket.latency = Duration::from_millis(10);
    bucket.most_at_once = 6;
    bucket.list_faults = [Fault::SlowDown, Fault::Reset, Fault::SlowDown].into();
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!((told.inputs.len(), told.lost.len()), (400, 0));
    let calls = fake.take_calls();
    let slowed = calls.iter().filter(|call| call.status == 503).count();
    assert!(slowed > 2, "there was no storm");
    assert!(slowed < 400, "{slowed} requests too many");
}

#[test]
fn a_bucket_elsewhere_is_found_there_once() {
    for away in [Away::Redirect, Away::Malformed, Away::Silent] {
        let keys = keys();
        let mut bucket = bucket_of(&keys);
        bucket.region = "ap-south-1";
        bucket.away = away;
        let fake = Fake::start([("trail", bucket)]);
        let told = Run::new(&fake, "s3://trail").run();
        assert_eq!(told.keys(), keys, "{away:?}");
        let sent_away = fake.take_calls().iter().filter(|call| call.status >= 300).count();
        // The list, and where nothing else tells, the question where the bucket is.
        assert_eq!(sent_away, if away == Away::Silent { 2 } else { 1 }, "{away:?}");
    }
}

#[test]
fn whoever_pays_is_told_so() {
    let keys = keys();
    let mut bucket = bucket_of(&keys);
    bucket.requester_pays = true;
    let fake = Fake::start([("trail", bucket)]);
    let mut run = Run::new(&fake, "s3://trail");
    assert!(run.run().error.unwrap().contains("--requester-pays"));
    run.options.requester_pays = true;
    assert_eq!(run.run().inputs.len(), 6);
}

#[test]
fn a_bucket_that_cannot_be_listed_says_what_is_missing() {
    let mut bucket = bucket_of(keys());
    bucket.denied = vec![String::new(), "AWSLogs/".to_owned()];
    let fake = Fake::start([("trail", bucket)]);
    let error = Run::new(&fake, "s3://trail").run().error.unwrap();
    assert!(
        error.starts_with("s3://trail/AWSLogs/: could not be read: access denied")
            && error.contains("s3:ListBucket on arn:aws:s3:::trail"),
        "{error}"
    );
    let error = Run::new(&fake, "s3://trial").run().error.unwrap();
    assert_eq!(error, "s3://trial/: could not be read: bucket trial does not exist");

    // One that is refused does not stop the other.
    let mut both = Run::new(&fake, "s3://trial");
    both.words.push("s3://trail/AWSLogs/123456789012");
    let told = both.run();
    assert_eq!((told.inputs.len(), told.failed.len(), told.error), (6, 1, None));
}

#[test]
fn a_policy_for_the_logs_alone_is_enough() {
    let mut bucket = bucket_of(keys());
    bucket.denied = vec![String::new()];
    let fake = Fake::start([("trail", bucket)]);
    assert_eq!(Run::new(&fake, "s3://trail").run().inputs.len(), 6);
}

#[test]
fn an_account_that_is_denied_is_told_and_the_rest_goes_on() {
    let other = keys().into_iter().map(|key| key.replace(ACCOUNT, "210987654321"));
    let mut bucket = bucket_of(keys().into_iter().chain(other));
    bucket.denied = vec!["AWSLogs/210987654321/".to_owned()];
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!((told.inputs.len(), told.failed.len(), told.error), (6, 1, None));
    assert!(told.failed[0].starts_with("s3://trail/AWSLogs/210987654321/: "), "{}", told.failed[0]);
}

#[test]
fn a_folder_beside_the_logs_that_is_denied_stops_nothing() {
    let mut bucket = bucket_of(keys());
    bucket.put("other/report.json.gz", "");
    bucket.denied = vec!["other/".to_owned()];
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!((told.inputs.len(), told.failed.len(), told.error), (6, 1, None));
    assert!(told.failed[0].starts_with("s3://trail/other/: "), "{}", told.failed[0]);
}

#[test]
fn days_of_a_key_that_is_denied_do_not_keep_the_later_ones_away() {
    let denied =
        (0..100).map(|n| key("CloudTrail", "eu-west-1", "2022/03/14", "0005", &format!("{n:03}")));
    let denied: Vec<_> = denied.collect();
    let days: Vec<_> = (1..29).map(|day| format!("2023/02/{day:02}")).collect();
    let granted = days.iter().flat_map(|day| {
        (0..5).map(|n| key("CloudTrail", "eu-west-1", day, "0005", &n.to_string()))
    });
    let granted: Vec<_> = granted.collect();
    let mut bucket = bucket_of(denied.iter().chain(&granted));
    bucket.always = denied.iter().map(|key| (key.clone(), Fault::key_denied())).collect();
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!((told.inputs.len(), told.error), (granted.len(), None));
    // The first few by name and the others by one line, unless something was granted before.
    assert!(told.failed.len() <= 1, "{:?}", told.failed);
    assert!(!told.lost.is_empty() && told.lost.len() + told.failed.len() <= 100);
    // If each of them was told, whoever writes that down keeps their day open.
    let told_each = told.lost.len() == denied.len();
    assert_eq!(told.closed.len(), days.len() + usize::from(told_each));
}

#[test]
fn a_permission_that_is_missing_for_all_is_not_told_for_each() {
    let keys: Vec<_> = (0..500)
        .map(|n| key("CloudTrail", "eu-west-1", "2023/03/14", "0005", &format!("{n:03}")))
        .collect();
    let mut bucket = bucket_of(&keys);
    bucket.always = keys.iter().map(|key| (key.clone(), Fault::denied())).collect();
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    assert!(told.error.unwrap().contains("s3:GetObject on arn:aws:s3:::trail/AWSLogs/*"));
    assert!(told.lost.len() < 200, "{} lines", told.lost.len());
    // Some were not even tried: whoever counts must not take those for done.
    assert_eq!(told.closed, BTreeMap::new());
}

#[test]
fn nothing_is_asked_that_the_policy_does_not_name() {
    let mut bucket = bucket_of(keys());
    bucket.region = "ap-south-1";
    bucket.away = Away::Silent;
    let fake = Fake::start([("trail", bucket)]);
    assert_eq!(Run::new(&fake, "s3://trail").run().inputs.len(), 6);
    let asked: BTreeSet<_> = fake.take_calls().into_iter().map(|call| call.action).collect();
    // s3:ListBucket allows the first and the last; `ACTIONS` says what each takes.
    assert_eq!(asked, BTreeSet::from(["GetObject", "HeadBucket", "ListObjectsV2"]));
    assert_eq!(trailload::source::s3::ACTIONS, ["s3:ListBucket", "s3:GetObject", "kms:Decrypt"]);
}

#[test]
fn whoever_has_enough_is_left_alone_quickly() {
    let keys: Vec<_> = (0..500)
        .map(|n| key("CloudTrail", "eu-west-1", "2024/03/14", "0005", &format!("{n:03}")))
        .collect();
    let mut bucket = bucket_of(&keys);
    bucket.always.insert(keys[400].clone(), Fault::Late(Duration::from_secs(30)));
    let fake = Fake::start([("trail", bucket)]);
    let (mut seen, begun) = (0, std::time::Instant::now());
    let ended = read(Run::new(&fake, "s3://trail").source(), |_, _| {
        seen += 1;
        seen < 10
    });
    assert!(ended.is_ok() && seen == 10);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}
