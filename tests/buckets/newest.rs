//! Newest days first, and following: what a search reads of a bucket.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use trailload::source::SourceEvent;
use trailload::source::s3::{S3Follow, S3FollowOptions};

use super::{NOW, Run, Told, bucket_of, key, moment};
use crate::support::aws::s3::{Bucket, Call, Fake, Fault};
use crate::support::sources::read;

/// Returns the keys of `count` files of a day in a Region.
fn day(region: &str, day: &str, count: usize) -> Vec<String> {
    let minute = |number: usize| format!("{:02}{:02}", number / 60 % 24, number % 60);
    (0..count)
        .map(|number| key("CloudTrail", region, day, &minute(number), &format!("{number:05}")))
        .collect()
}

/// Reads a bucket newest first; returns what was told, and the days of the objects in their order.
fn newest_first(run: &Run<'_>) -> (Told, Vec<Date>) {
    let (mut told, mut days) = (Told::default(), Vec::new());
    let ended = read(run.source().newest_first(), |_, found| {
        if let SourceEvent::Input(input) = &found {
            days.extend(date(&input.name));
        }
        told.take(found);
        true
    });
    told.error = ended.err().map(|error| error.to_string());
    (told, days)
}

/// Returns the day of delivery in a key, if its file has the name of a trail's.
fn date(key: &str) -> Option<Date> {
    let digits = key.rsplit('/').next()?.split('_').nth(3)?;
    Some(digits[..8].parse().unwrap())
}

fn is_newest_first(days: &[Date]) -> bool {
    days.windows(2).all(|pair| pair[0] >= pair[1])
}

#[test]
fn the_days_of_all_regions_come_newest_first_and_nothing_is_missing() {
    // One page, a month of several pages, a day of several pages, and several years.
    let mut keys = day("us-west-2", "2024/03/15", 3);
    keys.extend(day("us-west-2", "2021/12/31", 2));
    for number in 1..=15 {
        keys.extend(day("eu-west-1", &format!("2024/03/{number:02}"), 120));
    }
    keys.extend(day("eu-west-1", "2024/02/29", 1_300));
    keys.extend(day("eu-west-1", "2023/07/01", 40));
    keys.extend(day("us-east-1", "2024/03/10", 10));
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let run = Run::new(&fake, "s3://trail");
    let (told, days) = newest_first(&run);
    assert_eq!((told.error, &told.failed), (None, &Vec::new()));
    keys.sort_unstable();
    assert_eq!(told.inputs.len(), keys.len());
    assert!(is_newest_first(&days), "{days:?}");
    let lists = |calls: &[Call]| calls.iter().filter(|call| call.action == "ListObjectsV2").count();
    let asked = lists(&fake.take_calls());
    assert!(asked < 45, "{asked} lists");
}

#[test]
fn only_the_days_of_the_range_are_listed() {
    let mut keys = Vec::new();
    for number in 1..=15 {
        keys.extend(day("eu-west-1", &format!("2024/03/{number:02}"), 150));
    }
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let mut run = Run::new(&fake, "s3://trail");
    run.options.from = Some(moment("2024-03-04T10:00:00Z"));
    run.options.to = Some(moment("2024-03-05T10:00:00Z"));
    run.options.late_days = 1;
    let (told, days) = newest_first(&run);
    assert_eq!((told.error, told.inputs.len()), (None, 450));
    assert_eq!(
        days.first().zip(days.last()),
        Some((&"2024-03-06".parse().unwrap(), &"2024-03-04".parse().unwrap()))
    );
    assert!(is_newest_first(&days));
    let outside = fake.take_calls().into_iter().filter(|call| call.key.contains("2024/03/1"));
    assert_eq!(outside.count(), 0);
}

#[test]
fn an_object_that_cannot_be_fetched_holds_up_no_other() {
    let keys = day("eu-west-1", "2024/03/14", 20);
    let mut bucket = bucket_of(&keys);
    bucket.always.insert(keys[3].clone(), Fault::denied());
    bucket.faults.insert(keys[5].clone(), [Fault::Reset, Fault::Cut(3)].into());
    let fake = Fake::start([("trail", bucket)]);
    let (told, _) = newest_first(&Run::new(&fake, "s3://trail"));
    assert_eq!((told.inputs.len(), told.lost.len()), (19, 1));
}

#[test]
fn objects_outside_of_days_are_read_too() {
    let mut keys = day("eu-west-1", "2024/03/14", 2);
    let region = "AWSLogs/123456789012/CloudTrail/eu-west-1/";
    keys.push(format!("{region}loose.json.gz"));
    keys.push(format!("{region}backup/2024/copy.json.gz"));
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let told = newest_first(&Run::new(&fake, "s3://trail")).0;
    assert_eq!(told.inputs.len(), 4);
    let mut many = keys;
    many.extend(day("eu-west-1", "2024/03/13", 1_100));
    let fake = Fake::start([("trail", bucket_of(&many))]);
    let told = newest_first(&Run::new(&fake, "s3://trail")).0;
    assert_eq!(told.inputs.len(), 1_104);
}

/// Follows a bucket, with a round every few milliseconds.
fn follow(run: &Run<'_>) -> S3Follow {
    let options = S3FollowOptions { interval: Duration::from_millis(20) };
    run.source().newest_first().follow(options, Box::new(|| -> Timestamp { NOW.parse().unwrap() }))
}

/// Follows a bucket until so many objects were told; `change` is called with the number so far.
fn followed(
    fake: &Fake,
    objects: usize,
    mut change: impl FnMut(usize, &mut Bucket),
) -> Vec<String> {
    let mut names = Vec::new();
    let run = Run::new(fake, "s3://trail");
    let ended = read(follow(&run), |_, found| {
        match found {
            SourceEvent::Input(input) => {
                names.push(input.name);
                fake.change("trail", |bucket| change(names.len(), bucket));
            }
            SourceEvent::Unreadable { name, .. } => names.push(format!("unreadable {name}")),
            SourceEvent::FolderComplete { .. } | SourceEvent::Observed(_) => {}
            other => panic!("{other:?}"),
        }
        names.len() < objects
    });
    ended.unwrap();
    names
}

#[test]
fn new_and_replaced_objects_are_told_once_and_late_days_are_not_forgotten() {
    let file = |day: &str, name: &str| key("CloudTrail", "eu-west-1", day, "1005", name);
    let old = file("2023/01/05", "old");
    let fake = Fake::start([("trail", bucket_of([&old, &file("2024/03/15", "a")]))]);
    let names = followed(&fake, 6, |told, bucket| match told {
        2 => bucket.put(&file("2024/03/15", "b"), "new"),
        3 => bucket.put(&file("2024/03/15", "b"), "replaced"),
        // Of a day that only some rounds list, and of a Region that is new.
        4 => bucket.put(&file("2024/02/20", "late"), "late"),
        5 => bucket.put(&key("CloudTrail", "us-west-2", "2024/03/15", "1005", "c"), "c"),
        _ => {}
    });
    let short: Vec<&str> = names
        .iter()
        .map(|name| name.rsplit('_').next().unwrap().trim_end_matches(".json.gz"))
        .collect();
    assert_eq!(short, ["a", "old", "b", "b", "late", "c"]);
}

#[test]
fn an_object_that_cannot_be_fetched_is_tried_again_and_reported_once() {
    let keys = day("eu-west-1", "2024/03/15", 3);
    let mut bucket = bucket_of(&keys);
    bucket.always.insert(keys[1].clone(), Fault::denied());
    let fake = Fake::start([("trail", bucket)]);
    let names = followed(&fake, 5, |told, bucket| match told {
        // The other two and the report; then it becomes readable.
        2 | 3 => {
            bucket.always.clear();
            bucket.put(&key("CloudTrail", "eu-west-1", "2024/03/15", "2359", "z"), "z");
        }
        _ => {}
    });
    assert_eq!(names.iter().filter(|name| name.starts_with("unreadable")).count(), 1, "{names:?}");
    assert!(names.iter().any(|name| name.ends_with(&keys[1]) && !name.starts_with("unreadable")));
}
