//! A week of following a bucket. Each round moves the clock by a quarter of an hour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use trailload::event::FinishedPartition;
use trailload::source::SourceEvent;
use trailload::source::s3::{Address, S3Follow, S3FollowOptions, S3Options, S3Source};

use crate::support::aws::s3::{Bucket, Fake, Fault};
use crate::support::sources::read;

const DAY: i64 = 86_400;
/// Seconds between two rounds.
const STEP: i64 = 900;
/// 25 November 2026.
const START: i64 = 1_795_564_800;
const ACCOUNTS: [&str; 3] = ["111122223333", "444455556666", "777788889999"];
const REGIONS: [&str; 3] = ["eu-west-1", "us-east-1", "ap-south-2"];

/// Returns the key of a file that is delivered at a second.
fn key(account: &str, region: &str, second: i64, name: &str) -> String {
    let time = Timestamp::from_second(second).unwrap();
    let (day, stamp) = (time.strftime("%Y/%m/%d"), time.strftime("%Y%m%dT%H%MZ"));
    format!(
        "AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{stamp}_{name}.json.gz"
    )
}

/// Adds what is delivered between two rounds; returns the keys.
fn deliver(bucket: &mut Bucket, second: i64) -> Vec<String> {
    let mut keys = Vec::new();
    let round = (second - START) / STEP;
    for (place, account) in ACCOUNTS.iter().enumerate() {
        // The third account is there from the fourth day on.
        if place == 2 && second < START + 3 * DAY {
            continue;
        }
        for (number, region) in REGIONS.iter().enumerate() {
            // The third Region is enabled on the third day; the second one is quiet.
            let is_new = number == 2 && second < START + 2 * DAY;
            let is_quiet = number == 1 && round % 7 != 0;
            if !is_new && !is_quiet {
                keys.push(key(account, region, second, &format!("{round}")));
            }
        }
    }
    if round % 41 == 0 {
        // Delivered late, into an earlier day.
        keys.push(key(ACCOUNTS[0], REGIONS[0], second - 2 * DAY, &format!("late{round}")));
    }
    for key in &keys {
        bucket.put(key, key.as_str());
    }
    keys
}

fn options() -> S3Options {
    S3Options {
        region: "eu-west-1".to_owned(),
        accounts: Vec::new(),
        regions: Vec::new(),
        kinds: Vec::new(),
        from: None,
        to: None,
        late_days: 3,
        requester_pays: false,
        memory_bytes: 64 << 20,
        reload: false,
    }
}

/// What the runs finished, by key.
type Done = Arc<Mutex<BTreeMap<String, String>>>;

fn follow(fake: &Fake, done: &Done, clock: &Arc<AtomicI64>) -> S3Follow {
    let (done, now) = (Arc::clone(done), Arc::clone(clock));
    let finished = move |key: &str| {
        let fingerprint = done.lock().unwrap().get(key).cloned()?;
        Some(FinishedPartition { fingerprint, is_foreign: false })
    };
    let start = Timestamp::from_second(now.load(Relaxed)).unwrap();
    let targets = vec![(0, Address::parse("s3://trail").unwrap())];
    let closed = Box::new(|_: &str| None);
    S3Source::new(targets, options(), fake.clients(), Box::new(finished), closed, start).follow(
        S3FollowOptions { interval: Duration::ZERO },
        Box::new(move || Timestamp::from_second(now.load(Relaxed)).unwrap()),
    )
}

/// Follows for so many rounds; returns the keys of what was passed on, and the days that were closed.
fn rounds(
    fake: &Fake,
    done: &Done,
    clock: &Arc<AtomicI64>,
    rounds: usize,
    expected: &mut BTreeSet<String>,
) -> (Vec<String>, BTreeSet<String>) {
    let (mut names, mut closed, mut ended) = (Vec::new(), BTreeSet::new(), 0);
    let result = read(follow(fake, done, clock), |_, found| {
        match found {
            SourceEvent::Input(input) => {
                let mut done = done.lock().unwrap();
                done.insert(input.partition.key, input.partition.fingerprint);
                names.push(input.name);
            }
            SourceEvent::Unreadable { name, .. } => names.push(format!("unreadable {name}")),
            SourceEvent::FolderComplete { prefix, .. } => {
                assert!(closed.insert(prefix.clone()), "{prefix} was closed twice");
            }
            SourceEvent::AlreadyDone { .. } => {}
            // An empty bucket.
            SourceEvent::Skipped { why, .. } => assert_eq!(why, "contains no trail logs yet"),
            SourceEvent::Observed(_) => {
                ended += 1;
                let second = clock.fetch_add(STEP, Relaxed) + STEP;
                fake.change("trail", |bucket| expected.extend(deliver(bucket, second)));
            }
            other => panic!("{other:?}"),
        }
        ended < rounds
    });
    result.unwrap();
    (names, closed)
}

#[test]
fn a_week_passes_every_file_on_once_and_closes_the_days_that_are_over() {
    let fake = Fake::start([("trail", Bucket::new())]);
    let (done, clock) = (Done::default(), Arc::new(AtomicI64::new(START)));
    let mut expected = BTreeSet::new();
    fake.change("trail", |bucket| expected.extend(deliver(bucket, START)));
    let all = usize::try_from(7 * DAY / STEP).unwrap();
    let (mut names, closed) = rounds(&fake, &done, &clock, all, &mut expected);
    // What the last change added was not looked for any more.
    let last = clock.load(Relaxed);
    let uris: BTreeSet<String> = expected.iter().map(|key| format!("s3://trail/{key}")).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "a file came twice");
    let missing: Vec<_> = uris.iter().filter(|uri| !names.contains(uri)).collect();
    assert!(
        missing.iter().all(|uri| uri.contains(&stamp(last)) || uri.contains("late")),
        "{missing:?}"
    );
    assert!(missing.len() < 30, "{missing:?}");
    // Days before the late ones, of the Regions that were there.
    assert!(closed.len() >= 3 * 4, "{closed:?}");
    let (calls, _) = fake.take_all();
    println!("{count} files, {} requests in {all} rounds", calls.len());
    // Each round lists the folders above the Regions and the day of each Region; every fifteenth lists the late days, which hold
    // at most a thousand files more; each file is fetched once.
    let folders = 2 + 2 * 3 + 3 * 3;
    assert!(calls.len() < (all * folders + count) * 21 / 20, "{}", calls.len());
}

#[test]
fn old_days_of_a_folder_that_could_not_be_listed_at_first_are_read_once_that_is_allowed() {
    let fake = Fake::start([("trail", Bucket::new())]);
    let (done, clock) = (Done::default(), Arc::new(AtomicI64::new(START)));
    let (allowed, denied) = (REGIONS[0], REGIONS[1]);
    let old = |region| (1..=40).map(move |age| key(ACCOUNTS[0], region, START - age * DAY, "old"));
    let folder = format!("AWSLogs/{}/CloudTrail/{denied}/", ACCOUNTS[0]);
    fake.change("trail", |bucket| {
        old(allowed).chain(old(denied)).for_each(|key| bucket.put(&key, key.as_str()));
        bucket.denied.push(folder.clone());
    });
    let (mut names, mut failures, mut ended) = (Vec::new(), Vec::new(), 0);
    let result = read(follow(&fake, &done, &clock), |_, found| {
        match found {
            SourceEvent::Input(input) => names.push(input.name),
            SourceEvent::Failed(error) => failures.push(error.subject().to_owned()),
            SourceEvent::Observed(_) => {
                ended += 1;
                clock.fetch_add(60, Relaxed);
                let is_allowed = ended >= 10;
                fake.change("trail", |bucket| bucket.denied.retain(|_| !is_allowed));
            }
            _ => {}
        }
        ended < 40
    });
    result.unwrap();
    assert_eq!(failures, [format!("s3://trail/{folder}")], "it is reported once");
    let expected: Vec<String> = {
        let all = old(allowed).chain(old(denied)).map(|key| format!("s3://trail/{key}"));
        all.collect::<BTreeSet<_>>().into_iter().collect()
    };
    names.sort();
    assert_eq!(names, expected);
    // A folder that stays denied would be asked for after 1, 2, 4, … rounds.
    let (calls, _) = fake.take_all();
    let lists = calls.iter().filter(|call| call.action == "ListObjectsV2" && call.key == folder);
    assert!(lists.count() < 40 + 8, "it was listed too often");
}

fn stamp(second: i64) -> String {
    Timestamp::from_second(second).unwrap().strftime("%Y%m%dT%H%MZ").to_string()
}

#[test]
fn a_restart_passes_on_only_what_was_not_finished() {
    let fake = Fake::start([("trail", Bucket::new())]);
    let (done, clock) = (Done::default(), Arc::new(AtomicI64::new(START)));
    let mut expected = BTreeSet::new();
    let mut all = Vec::new();
    for count in [30, 1, 200, 5, 300, 2] {
        all.extend(rounds(&fake, &done, &clock, count, &mut expected).0);
        // The last file was passed on, but not settled when the run was killed.
        let lost = all.pop().unwrap();
        done.lock().unwrap().remove(&lost);
    }
    all.extend(rounds(&fake, &done, &clock, 16, &mut expected).0);
    let unique: BTreeSet<&String> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "a file that was finished came again");
    let last = stamp(clock.load(Relaxed));
    let found = |key: &&String| !unique.contains(&format!("s3://trail/{key}"));
    let missing: Vec<_> = expected.iter().filter(found).collect();
    assert!(missing.iter().all(|key| key.contains(&last) || key.contains("late")), "{missing:?}");
}

#[test]
fn an_object_that_becomes_readable_later_is_passed_on_and_was_reported_once() {
    let fake = Fake::start([("trail", Bucket::new())]);
    let (done, clock) = (Done::default(), Arc::new(AtomicI64::new(START)));
    let denied = key(ACCOUNTS[0], REGIONS[0], START, "denied");
    fake.change("trail", |bucket| {
        bucket.put(&denied, "x");
        bucket.always.insert(denied.clone(), Fault::denied());
    });
    let mut expected = BTreeSet::new();
    let (first, _) = rounds(&fake, &done, &clock, 1, &mut expected);
    assert!(first.iter().any(|name| name.starts_with("unreadable ")), "{first:?}");
    let unlock = |round: usize, bucket: &mut Bucket| {
        if round == 100 {
            bucket.always.clear();
        }
    };
    let (mut names, mut ended) = (Vec::new(), 0);
    let result = read(follow(&fake, &done, &clock), |_, found| {
        match found {
            SourceEvent::Input(input) => names.push(input.name),
            SourceEvent::Unreadable { name, .. } => names.push(format!("unreadable {name}")),
            SourceEvent::Observed(_) => {
                ended += 1;
                fake.change("trail", |bucket| unlock(ended, bucket));
            }
            _ => {}
        }
        ended < 200
    });
    result.unwrap();
    let of_it: Vec<_> = names.iter().filter(|name| name.ends_with(&denied)).collect();
    assert_eq!(of_it.len(), 2, "one report, then the object: {of_it:?}");
}

#[test]
fn an_object_of_any_day_is_tried_again_until_it_can_be_read() {
    let fake = Fake::start([("trail", Bucket::new())]);
    let (done, clock) = (Done::default(), Arc::new(AtomicI64::new(START)));
    // Far before the days that are listed again, the first and the last of those, and today.
    let denied = [40, 4, 3, 1, 0].map(|age| key(ACCOUNTS[0], REGIONS[0], START - age * DAY, "x"));
    let readable = key(ACCOUNTS[0], REGIONS[0], START - 40 * DAY, "y");
    fake.change("trail", |bucket| {
        bucket.put(&readable, "y");
        for key in &denied {
            bucket.put(key, "x");
            bucket.always.insert(key.clone(), Fault::denied());
        }
    });
    let five_days = usize::try_from(5 * DAY / STEP).unwrap();
    let (mut names, mut reports, mut ended) = (Vec::new(), Vec::new(), 0);
    let result = read(follow(&fake, &done, &clock), |_, found| {
        match found {
            SourceEvent::Input(input) => names.push(input.name),
            SourceEvent::Unreadable { name, .. } => reports.push(name),
            SourceEvent::Observed(_) => {
                ended += 1;
                clock.fetch_add(STEP, Relaxed);
                if ended == five_days {
                    fake.change("trail", |bucket| bucket.always.clear());
                }
            }
            _ => {}
        }
        // An attempt an hour, at least.
        ended < five_days + 61
    });
    result.unwrap();
    let uris = |keys: &[String]| -> BTreeSet<String> {
        keys.iter().map(|key| format!("s3://trail/{key}")).collect()
    };
    reports.sort();
    assert_eq!(reports, uris(&denied).into_iter().collect::<Vec<_>>(), "each is reported once");
    names.sort();
    let all: Vec<String> = uris(&[denied.as_slice(), &[readable]].concat()).into_iter().collect();
    assert_eq!(names, all, "each is passed on once");
    let (calls, _) = fake.take_all();
    for key in denied {
        let attempts =
            calls.iter().filter(|call| call.action == "GetObject" && call.key == key).count();
        // After 1, 2, 4, … rounds, and then every sixtieth.
        assert!((12..=18).contains(&attempts), "{key}: {attempts}");
    }
}
