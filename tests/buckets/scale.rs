//! Large buckets, and little memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use super::*;
use crate::support::aws::s3::Call;

/// Regions of the large bucket.
const REGIONS: [&str; 4] = ["eu-west-1", "sa-east-1", "us-east-1", "us-west-2"];

/// Files of a day of a Region: five days' worth of minutes, so that a year in four Regions is 440,000.
const FILES: usize = 301;

/// Days of the large bucket.
const DAYS: usize = 366;

/// Returns a key of the large bucket: a year from 2023-03-16 on, the Regions one after the other.
fn name(number: usize) -> String {
    let (region, rest) = (number / (DAYS * FILES), number % (DAYS * FILES));
    let (day, file) = (rest / FILES, rest % FILES);
    let day = jiff::civil::date(2023, 3, 16) + jiff::Span::new().days(i64::try_from(day).unwrap());
    let day = day.strftime("%Y/%m/%d").to_string();
    let minute = format!("{:02}{:02}", file / 60, file % 60);
    key("CloudTrail", REGIONS[region], &day, &minute, "abcdefghijklmnop")
}

fn lists(calls: &[Call]) -> usize {
    assert!(!calls.iter().any(|call| call.action == "GetObject"));
    calls.len()
}

#[test]
fn a_year_of_done_objects_costs_its_listing_and_so_do_closed_days() {
    let count = REGIONS.len() * DAYS * FILES;
    assert!(count > 440_000);
    let fake = Fake::start([("trail", Bucket::made(count, name, |_| b"{}".to_vec()))]);
    let print = {
        let mut one = Run::new(&fake, "s3://trail");
        let word = format!("s3://trail/{}", name(0));
        one.words = vec![&word];
        one.run().inputs.into_values().next().unwrap().0
    };
    fake.take_calls();

    let run = |before: &BTreeMap<String, ListingSummary>| {
        let begun = Instant::now();
        let before = before.clone();
        let finished = FinishedPartition { fingerprint: print.clone(), is_foreign: false };
        let source = S3Source::new(
            vec![(0, Address::parse("s3://trail").unwrap())],
            Run::new(&fake, "s3://trail").options,
            fake.clients(),
            Box::new(move |_| Some(finished.clone())),
            Box::new(move |prefix| before.get(prefix).copied()),
            NOW.parse().unwrap(),
        );
        let (mut done, mut closed) = (0, BTreeMap::new());
        let listed = read(source, |_, found| {
            match found {
                SourceEvent::AlreadyDone { .. } => done += 1,
                SourceEvent::FolderComplete { prefix, listed, .. } => {
                    closed.insert(prefix, listed);
                }
                other => panic!("{other:?}"),
            }
            true
        });
        listed.unwrap();
        (done, closed, lists(&fake.take_calls()), begun.elapsed())
    };

    let (done, closed, pages, time) = run(&BTreeMap::new());
    println!("{done} done objects: {pages} lists, {time:?}");
    // All but the last thirty days and today.
    let inputs: u64 = closed.values().map(|listed| listed.inputs).sum();
    let old = u64::try_from(REGIONS.len() * (DAYS - 31) * FILES).unwrap();
    assert_eq!((done, inputs), (count, old));
    // A thousand a page, for each Region; and the bucket, the account, its kinds, its Regions.
    let least = 4 * (DAYS * FILES).div_ceil(1_000) + 4;
    assert_eq!(pages, least);

    // Closed days are listed too, or what comes to them would never be seen; only their parts overlap by a page.
    let (done, again, pages, time) = run(&closed);
    println!("with closed days: {done} done objects, {pages} lists, {time:?}");
    assert_eq!((done, again.len()), (count, 0));
    assert!(pages <= least + 4 * 15, "{pages}");
}

#[test]
fn bodies_fit_into_the_memory_given() {
    const SIZE: usize = 200_000;
    const BUDGET: usize = 4 << 20;
    fn name(number: usize) -> String {
        key("CloudTrail", "eu-west-1", "2024/03/14", "0005", &format!("{number:03}"))
    }
    let fake = Fake::start([("trail", Bucket::made(200, name, |_| vec![b' '; SIZE]))]);
    let mut run = Run::new(&fake, "s3://trail");
    run.options.memory_bytes = BUDGET as u64;
    let sent = Arc::new(AtomicU64::new(0));
    let (mut kept, mut dropped, mut peak, mut seen) = (Vec::new(), 0, 0, 0);
    let ended = read(run.source(), |_, found| {
        if let SourceEvent::Input(input) = found {
            kept.push(input);
            seen += 1;
        }
        // What was sent and is not dropped is held, here or on its way here.
        let gets = fake.take_calls().iter().filter(|call| call.action == "GetObject").count();
        let sent = sent.fetch_add(gets as u64, SeqCst) + gets as u64;
        peak = peak.max(sent - dropped);
        if kept.len() == 10 {
            dropped += kept.drain(..).count() as u64;
        }
        true
    });
    ended.unwrap();
    assert_eq!(seen, 200);
    let peak = usize::try_from(peak).unwrap() * SIZE;
    assert!(peak > BUDGET / 2 && peak <= BUDGET, "{peak} of {BUDGET}");
}

#[test]
fn an_object_larger_than_the_memory_given_is_read_all_the_same() {
    let keys = [key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a")];
    let mut bucket = Bucket::new();
    bucket.put(&keys[0], vec![b' '; 3 << 20]);
    let fake = Fake::start([("trail", bucket)]);
    let mut run = Run::new(&fake, "s3://trail");
    run.options.memory_bytes = 1 << 20;
    let told = run.run();
    assert_eq!((told.inputs.len(), told.streams), (1, 1));
}

#[test]
fn connections_are_used_again() {
    let keys: Vec<_> = (0..300)
        .map(|n| key("CloudTrail", "eu-west-1", "2024/03/14", "0005", &format!("{n:03}")))
        .collect();
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    assert_eq!(Run::new(&fake, "s3://trail").run().inputs.len(), 300);
    // About as many as there may be requests at once, for objects and for lists; else one for each object.
    let connections = fake.connections();
    assert!(connections <= 2 * (64 + 16), "{connections} connections");
}

#[test]
fn thousands_of_bodies_come_each_once() {
    fn name(number: usize) -> String {
        key("CloudTrail", "eu-west-1", "2024/03/14", "0005", &format!("{number:05}"))
    }
    let fake = Fake::start([("trail", Bucket::made(5_000, name, |_| vec![b' '; 20_000]))]);
    let (mut seen, begun) = (0, Instant::now());
    let ended = read(Run::new(&fake, "s3://trail").source(), |_, found| {
        seen += usize::from(matches!(found, SourceEvent::Input(_)));
        true
    });
    ended.unwrap();
    println!("{seen} bodies in {:?}", begun.elapsed());
    assert_eq!(seen, 5_000);
}
