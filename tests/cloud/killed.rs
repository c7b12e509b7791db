//! SIGKILL at any moment, while the history or a bucket is read: repeated work, never a gap, never a second copy.
//!
//! As in `crash`: the real program is killed at random moments and started again, and gets more to do whenever it is
//! done. After each kill, what the checkpoint says is safe must be in the index, and is never sent again.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use trailload::checkpoint::CheckpointReader;

use super::{ACCOUNT, DAY, TWO, World};
use crate::crash::kill_at_random;
use crate::support::aws::s3::{self, Bucket, Fake};
use crate::support::engine::Fault;
use crate::support::events;

/// Kills of an ordinary run.
const KILLS: u64 = 10;

/// What must be true after every kill.
struct Watch {
    safe: BTreeSet<String>,
    sendings: usize,
}

impl Watch {
    /// Begins when nothing is safe.
    fn new() -> Watch {
        Watch { safe: BTreeSet::new(), sendings: 0 }
    }

    /// Takes in what is safe now.
    fn after(&mut self, world: &World, safe: BTreeSet<String>) {
        let lost: Vec<_> = self.safe.difference(&safe).collect();
        assert!(lost.is_empty(), "what is safe stays so: {lost:?}");
        let again = world.engine.sendings(&self.safe);
        assert_eq!(again, self.sendings, "what is safe is never sent again");
        let engine = world.engine.ids();
        let ahead: Vec<_> = safe.difference(&engine).collect();
        assert!(ahead.is_empty(), "a position passed what the engine has not: {ahead:?}");
        self.sendings = world.engine.sendings(&safe);
        self.safe = safe;
    }
}

/// A world whose engine is so slow that a kill often meets a batch on its way.
fn world() -> World {
    let world = World::new();
    world.engine.fail(1_000_000, &Fault::Slow(Duration::from_millis(20)));
    world
}

const REGIONS: [&str; 6] =
    ["ap-south-1", "ca-central-1", "eu-north-1", "eu-west-1", "us-east-1", "us-west-2"];

/// Returns the ids of all events of seconds that need not be fetched again.
fn covered(world: &World) -> BTreeSet<String> {
    let Ok(reader) = CheckpointReader::open(&world.desk.checkpoint()) else {
        return BTreeSet::new();
    };
    let model = world.trail.model();
    let mut ids = BTreeSet::new();
    for region in REGIONS {
        let series = format!("lookup:{ACCOUNT}/{region}/management");
        for (from, to) in reader.coverage(&series).unwrap() {
            ids.append(&mut model.ids_in((ACCOUNT, region), from, to));
        }
    }
    ids
}

/// Whenever all is loaded, events come late, within the time that is looked at again.
#[test]
fn killed_while_the_history_is_read_nothing_is_lost_or_twice() {
    let world = world();
    for region in REGIONS {
        world.put(ACCOUNT, region, (80 * DAY, 2 * DAY), 300);
        world.put(ACCOUNT, region, (DAY, 1_000), 100);
    }
    let load = world.load(&["lookup", "--regions", &REGIONS.join(","), "--batch", "64KiB"]);
    let mut watch = Watch::new();
    kill_at_random(&load, KILLS, 2_500, |is_done| {
        watch.after(&world, covered(&world));
        if is_done {
            for region in REGIONS {
                world.put(ACCOUNT, region, (20 * 3_600, 1_000), 100);
            }
        }
    });
    load.run().exits(0);
    assert_eq!(world.loaded(), world.settled());
    assert_eq!(world.engine.ids(), world.settled(), "the id of a document is the event's");
    assert!(covered(&world).len() >= REGIONS.len() * 300);
    let before = world.pages_so_far();
    assert_eq!(load.run().exits(0).number("created"), 0);
    println!(
        "{} events; the second run asked for {:?}",
        world.engine.count(),
        world.pages(&before)
    );
    world.engine.assert_no_complaints();
}

/// Events in a file.
const EVENTS: usize = 20;

/// Files that are added whenever everything is loaded.
const FILES: usize = 60;

/// Returns the key of a file: half of them lie in days that are closed once they are loaded, each time in new ones.
fn key(now: i64, file: usize) -> String {
    let age = if file.is_multiple_of(2) { 40 + 3 * (file / FILES) + file % 3 } else { file % 28 };
    let account = if file.is_multiple_of(5) { TWO } else { ACCOUNT };
    let region = REGIONS[file % 4];
    let time = jiff::Timestamp::from_second(now - i64::try_from(age).unwrap() * DAY).unwrap();
    let (day, stamp) = (time.strftime("%Y/%m/%d"), time.strftime("%Y%m%dT%H%MZ"));
    format!(
        "AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{stamp}_{file:06}.json.gz"
    )
}

fn ids_of(file: usize) -> BTreeSet<String> {
    events::ids(file * EVENTS..(file + 1) * EVENTS)
}

/// Puts files into the bucket. One event of each is delivered a second time, with the next file.
fn add_files(bucket: &mut Bucket, now: i64, files: std::ops::Range<usize>) {
    for file in files {
        let first = (file * EVENTS).saturating_sub(1);
        let content = events::records(&events::events(first..(file + 1) * EVENTS));
        bucket.put(&key(now, file), events::gzip(&content));
    }
}

/// Returns the ids of all events of files that are done.
fn ids_done(world: &World, files: usize) -> BTreeSet<String> {
    let Ok(reader) = CheckpointReader::open(&world.desk.checkpoint()) else {
        return BTreeSet::new();
    };
    let is_done = |file: &usize| {
        let lane = format!("s3://trail/{}", key(world.now, *file));
        let day = &lane[..=lane.rfind('/').unwrap()];
        reader.loaded_fingerprint(&lane).unwrap().is_some()
            || reader.complete_folder(day).unwrap().is_some()
    };
    (0..files).filter(is_done).flat_map(ids_of).collect()
}

#[test]
fn killed_while_a_bucket_is_read_nothing_is_lost_or_twice() {
    let world = world();
    let mut bucket = Bucket::new();
    bucket.latency = Duration::from_millis(10);
    let mut files = FILES;
    add_files(&mut bucket, world.now, 0..files);
    let s3 = Fake::start([("trail", bucket)]);
    let load = world.load_from(&s3, &["s3://trail", "--batch", "32KiB"]);
    let (mut safe, mut closed) = (BTreeSet::new(), 0);
    kill_at_random(&load, KILLS, 600, |is_done| {
        let now = ids_done(&world, files);
        assert!(now.is_superset(&safe), "what is safe stays so");
        assert!(world.engine.ids().is_superset(&now), "a position passed what the engine has not");
        safe = now;
        if is_done {
            closed += 1;
            s3.change("trail", |bucket| add_files(bucket, world.now, files..files + FILES));
            files += FILES;
        }
    });
    load.run().exits(0);
    assert_eq!(world.engine.ids(), events::ids(0..files * EVENTS));
    assert_eq!(world.engine.count(), files * EVENTS, "no id in two indices");
    assert_eq!(ids_done(&world, files), world.engine.ids());
    s3.take_calls();
    load.run().exits(0).counted([0, 0, 0, 0]);
    let fetched = s3.take_calls().iter().filter(|call| call.action == "GetObject").count();
    assert_eq!(fetched, 0, "nothing done is fetched again");
    println!("{} events of {files} files; it was done {closed} times", files * EVENTS);
    world.engine.assert_no_complaints();
}

/// Tokens end early, pages are empty, others use the quota, bodies break off, and the engine takes half of what it is
/// sent: all of it from the history and a bucket at once.
#[test]
fn killed_while_everything_misbehaves_nothing_is_lost_or_twice() {
    let world = World::new();
    let faults = [Fault::Slow(Duration::from_millis(10)), Fault::HalfAccepted, Fault::ResetInside];
    let misbehave = |bucket: &mut Bucket, files: std::ops::Range<usize>| {
        world.engine.heal();
        world.engine.script(faults.iter().cycle().take(5_000).cloned().map(Some));
        add_files(bucket, world.now, files.clone());
        for file in files.step_by(3) {
            let (key, fault) = (key(world.now, file), s3::Fault::Cut(file % 500));
            bucket.faults.entry(key).or_default().extend([fault, s3::Fault::SlowDown]);
        }
    };
    {
        let mut model = world.trail.model();
        (model.token_life, model.empty_every, model.others) = (Some(1.2), Some(5), 0.5);
    }
    let mut bucket = Bucket::new();
    bucket.latency = Duration::from_millis(10);
    bucket.most_at_once = 4;
    misbehave(&mut bucket, 0..FILES);
    for region in REGIONS {
        world.put(ACCOUNT, region, (80 * DAY, 1_000), 120);
    }
    let s3 = Fake::start([("trail", bucket)]);
    let words = ["lookup", "s3://trail", "--regions", &REGIONS.join(","), "--batch", "32KiB"];
    let load = world.load_from(&s3, &words);
    let files = Cell::new(FILES);
    let safe = || {
        let mut safe = covered(&world);
        safe.append(&mut ids_done(&world, files.get()));
        safe
    };
    let mut before = BTreeSet::new();
    kill_at_random(&load, KILLS, 3_000, |is_done| {
        let now = safe();
        assert!(now.is_superset(&before), "what is safe stays so");
        assert!(world.engine.ids().is_superset(&now), "a position passed what the engine has not");
        before = now;
        let more = files.get() + if is_done { FILES } else { 0 };
        s3.change("trail", |bucket| misbehave(bucket, files.get()..more));
        files.set(more);
        if is_done {
            for region in REGIONS {
                world.put(ACCOUNT, region, (20 * 3_600, 1_000), 40);
            }
        }
    });
    load.run().exits(0);
    let mut all = world.settled();
    all.append(&mut events::ids(0..files.get() * EVENTS));
    assert_eq!(world.engine.ids(), all);
    assert_eq!(world.engine.count(), all.len(), "no id in two indices");
    assert_eq!(load.run().exits(0).number("created"), 0);
    println!("{} events, {} files", all.len(), files.get());
}
