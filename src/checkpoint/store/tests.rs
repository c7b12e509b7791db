//! The room as a whole: what is in the file after notes, crashes, errors, and second runs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::mpsc::channel;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::coverage::{Sure, covered};
use super::super::scenario::{Model, course, lane, series};
use super::super::{Key, Reader, Retry, Status, accept};
use super::*;
use crate::event::{
    IndexCount, IndexIdentity, Inventory, Kept, Listed, Packed, SetAsideCause, Share, Span,
};

const TARGET: &str = "http://localhost:9200 cloudtrail";

/// A place for a checkpoint file that goes away with the test.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("safe.sqlite")
    }

    fn open(&self) -> Store {
        Store::open(&self.file(), TARGET, now()).unwrap()
    }

    /// Runs a whole run with these notes, which ends with exit code 0.
    fn run(&self, notes: Vec<Note>) -> Totals {
        self.run_to(0, notes)
    }

    /// Runs a whole run with these notes, which ends with this exit code.
    fn run_to(&self, exit: u8, notes: Vec<Note>) -> Totals {
        let (sender, receiver) = channel();
        for note in notes {
            sender.send(note).unwrap();
        }
        drop(sender);
        let store = self.open().run(receiver).unwrap();
        let totals = store.totals();
        store.end(exit).unwrap();
        totals
    }

    /// Takes in notes, commits what `commits` says, and dies.
    fn crash(&self, notes: Vec<Note>, commits: impl Fn(usize) -> bool) {
        let mut store = self.open();
        for (at, note) in notes.into_iter().enumerate() {
            store.take(note).unwrap();
            if commits(at) {
                store.commit().unwrap();
            }
        }
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.file()).unwrap()
    }

    fn status(&self) -> Status {
        self.reader().status(now()).unwrap()
    }

    fn is_done(&self, number: LaneNumber) -> bool {
        let lane = lane(number);
        self.done_as(&lane.key).is_some()
    }

    /// Returns the fingerprint of a done lane.
    fn done_as(&self, key: &str) -> Option<String> {
        self.reader().done_content(key).unwrap()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_717_200_000).unwrap()
}

fn opened(number: LaneNumber) -> Note {
    Note::Opened { number, lane: lane(number), name: format!("{number}.json"), span: None }
}

fn page(lane: LaneNumber, documents: u32) -> Note {
    Note::Page { lane, page: 0, documents, bytes: 1000, reaches: None }
}

fn ended(lane: LaneNumber, outcome: Ended) -> Note {
    Note::Ended { lane, outcome, pages: 1, fingerprint: None }
}

fn failed(lane: LaneNumber) -> Note {
    let cause = "the gzip stream ends early".to_owned();
    ended(lane, Ended::Failed { cause, offset: Some(4096) })
}

fn settled(lane: LaneNumber, documents: u32) -> Note {
    let shares = vec![Share { lane, page: 0, documents }];
    let indices = created(u64::from(documents));
    Note::Settled(Receipt { shares, indices, ..Receipt::default() })
}

/// So many documents that are new in their index.
fn created(documents: u64) -> Vec<IndexCount> {
    vec![IndexCount { created: documents, ..IndexCount::default() }]
}

/// The receipt of one page, with documents that could not go in.
fn settled_without(lane: LaneNumber, documents: u32, ids: &[&str]) -> Note {
    let aside = ids.iter().map(|id| SetAside {
        lane,
        id: (*id).to_owned(),
        index: "cloudtrail-2024.06".to_owned(),
        cause: SetAsideCause::Content,
        reason: "too deep".to_owned(),
        kept: Kept::Document(Packed::new(b"{}")),
    });
    let set_aside: Vec<SetAside> = aside.collect();
    let indices = created(u64::from(documents) - count(set_aside.len()));
    let shares = vec![Share { lane, page: 0, documents }];
    Note::Settled(Receipt { shares, indices, set_aside })
}

fn whole(number: LaneNumber, documents: u32) -> Vec<Note> {
    let end = ended(number, Ended::Done);
    vec![opened(number), page(number, documents), end, settled(number, documents)]
}

#[test]
fn a_settled_lane_is_done_with_its_final_fingerprint() {
    let place = Place::new();
    let mut notes = whole(1, 3);
    let Note::Ended { fingerprint, .. } = &mut notes[2] else { unreachable!("its end") };
    *fingerprint = Some("20:30:abc".to_owned());
    let totals = place.run(notes);
    assert_eq!((totals.lanes_done, totals.lanes_unfinished, totals.created), (1, 0, 3));
    let reader = place.reader();
    let key = lane(1).key;
    assert_eq!(reader.done_content(&key).unwrap().as_deref(), Some("20:30:abc"));
    assert_eq!(reader.done_content("file:/trail/2.json").unwrap(), None);
    assert_eq!(reader.done_content("file:/other/1.json").unwrap(), None);
}

/// The receipt of nothing but documents in this index, of which one was there already.
fn put(uuid: &str, created: u64) -> Note {
    let count = IndexCount {
        index: "ct-2024.06".to_owned(),
        created,
        already_there: 1,
        identity: Some(IndexIdentity { uuid: uuid.to_owned(), made: 7 }),
    };
    Note::Settled(Receipt { indices: vec![count], ..Receipt::default() })
}

#[test]
fn what_went_into_an_index_is_added_up_over_receipts_and_runs() {
    let place = Place::new();
    place.run(vec![put("a", 2), put("a", 3)]);
    // A run that does not know better does not change which index it was.
    place.run(vec![put("b", 4)]);
    let mut expected = Indices::default();
    for (uuid, created) in [("a", 2), ("a", 3), ("b", 4)] {
        let Note::Settled(receipt) = put(uuid, created) else { unreachable!("a receipt") };
        expected.settled(&receipt.indices[0]);
    }
    assert_eq!(place.reader().indices().unwrap(), expected);
    let known = &expected.known["ct-2024.06"];
    assert_eq!((known.identity.uuid.as_str(), known.created, known.already_there), ("a", 9, 3));
}

#[test]
fn what_is_missing_is_kept_as_it_was_found() {
    let place = Place::new();
    place.run(vec![put("a", 2)]);
    let mut store = place.open();
    let mut indices = store.indices().unwrap();
    indices.compare(&Inventory::default(), 11);
    store.set_indices(&indices).unwrap();
    assert_eq!(store.indices().unwrap(), indices);
    indices.accept(|_| true, 12);
    store.set_indices(&indices).unwrap();
    drop(store);
    assert_eq!(place.reader().indices().unwrap(), indices);
    let told = &place.status().missing[0];
    assert_eq!((told.index.as_str(), told.documents, told.why), ("ct-2024.06", 2, "deleted"));
    assert!(told.accepted.is_some());
}

#[test]
fn of_another_cluster_nothing_is_done_and_what_was_set_aside_stays() {
    let place = Place::new();
    let mut notes = whole(1, 3);
    notes.extend([opened(2), page(2, 1), ended(2, Ended::Done), settled_without(2, 1, &["a"])]);
    notes.push(put("a", 2));
    place.run(notes);
    let mut store = place.open();
    assert_eq!(store.cluster().unwrap(), None);
    store.set_cluster("one").unwrap();
    store.set_index_by(IndexBy::Year).unwrap();
    store.forget().unwrap();
    store.set_cluster("two").unwrap();
    assert_eq!(store.cluster().unwrap().as_deref(), Some("two"));
    assert_eq!(store.index_by().unwrap(), Some(IndexBy::Year));
    drop(store);
    assert!(!place.is_done(1) && !place.is_done(2));
    let status = place.status();
    assert_eq!((status.lanes_done, status.records), (0, 0));
    assert_eq!((status.indices.len(), status.set_aside.documents), (0, 1));
    place.run(whole(1, 3));
    assert!(place.is_done(1));
}

#[test]
fn a_touched_file_stays_done_without_being_loaded_again() {
    let place = Place::new();
    place.run(whole(1, 3));
    let touched = Lane { key: lane(1).key, fingerprint: "1:99:x".to_owned() };
    place.run(vec![Note::Unchanged(touched.clone())]);
    assert_eq!(place.done_as(&touched.key).as_deref(), Some("1:99:x"));
    assert_eq!(place.status().records, 3);
}

#[test]
fn what_holds_no_cloud_trail_is_told_apart_from_what_was_loaded() {
    let place = Place::new();
    let skipped = |number| vec![opened(number), page(number, 0), ended(number, Ended::Skipped)];
    let totals = place.run([whole(1, 3), skipped(2), skipped(3)].concat());
    assert_eq!((totals.lanes_done, totals.lanes_skipped, totals.lanes_unfinished), (1, 2, 0));
    assert!(place.is_done(2), "it is not read again");
    let told = |place: &Place| {
        let status = place.status();
        assert_eq!((status.sources[0].lanes, status.sources[0].skipped), (1, 2));
        (status.lanes_done, status.lanes_skipped, status.records, status.bytes)
    };
    assert_eq!(told(&place), (1, 2, 3, 1000));
    assert_eq!(place.status().runs[0].lanes_skipped, 2);
    place.run(vec![closed(3, 0)]);
    assert_eq!((rows(&place), told(&place)), (0, (1, 2, 3, 1000)), "one row says the same");
}

/// Documents of a page that was not read to its end are in the index, and count.
#[test]
fn what_a_run_read_adds_up_although_a_page_was_bad() {
    let place = Place::new();
    let bad = vec![opened(1), settled_without(1, 7, &["a", "b"]), ended(1, Ended::Interrupted)];
    place.run([bad, whole(2, 3)].concat());
    let run = &place.status().runs[0];
    assert_eq!((run.read, run.created, run.already_there, run.set_aside), (10, 8, 0, 2));
}

#[test]
fn a_lane_with_an_unsettled_document_is_not_done() {
    let place = Place::new();
    let totals = place.run(vec![opened(1), page(1, 3), ended(1, Ended::Done), settled(1, 2)]);
    assert_eq!((totals.lanes_done, totals.lanes_unfinished), (0, 1));
    assert!(!place.is_done(1));
}

#[test]
fn what_was_not_committed_never_happened() {
    let place = Place::new();
    let mut notes = whole(1, 2);
    notes.extend([opened(2), page(2, 1), ended(2, Ended::Done), settled_without(2, 1, &["a"])]);
    place.crash(notes, |at| at == 3);
    assert!(place.is_done(1));
    assert!(!place.is_done(2));
    assert_eq!(place.status().set_aside.documents, 0);
}

/// Copies the files of a run that goes on, as SIGKILL would leave them; SQLite's index of the WAL
/// (`-shm`) is left out, as after a power failure.
fn as_killed(place: &Place, cut: usize) -> Place {
    let killed = Place::new();
    let wal = |place: &Place| place.folder.path().join("safe.sqlite-wal");
    fs::copy(place.file(), killed.file()).unwrap();
    let bytes = fs::read(wal(place)).unwrap();
    fs::write(wal(&killed), &bytes[..bytes.len() - cut]).unwrap();
    killed
}

#[test]
fn what_was_committed_survives_a_kill_and_a_torn_write() {
    let place = Place::new();
    let mut store = place.open();
    for number in [1, 2] {
        for note in whole(number, 1) {
            store.take(note).unwrap();
        }
        store.commit().unwrap();
    }
    for note in whole(3, 1) {
        store.take(note).unwrap();
    }
    let done = |place: &Place| [1, 2, 3].map(|number| place.is_done(number));
    let killed = as_killed(&place, 0);
    assert_eq!(done(&killed), [true, true, false], "read by status first");
    killed.run(whole(3, 1));
    assert_eq!(done(&killed), [true, true, true]);
    let torn = as_killed(&place, 100);
    torn.run(vec![]);
    assert_eq!(done(&torn), [true, false, false], "a torn commit is no commit");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// SIGKILL at any moment costs repeated work, never a gap.
    #[test]
    fn a_crash_anywhere_leaves_no_lane_done_with_unsettled_documents(
        course in course(),
        survives in any::<prop::sample::Index>(),
        every in 1_usize..6,
    ) {
        let place = Place::new();
        let mut notes = course;
        notes.truncate(survives.index(notes.len() + 1));
        let mut model = Model::default();
        for note in &notes {
            model.take(note);
        }
        place.crash(notes, |at| at % every == 0);
        for number in 0..5 {
            prop_assert!(!place.is_done(number) || model.is_done(number), "lane {}", number);
            let Some(series) = series(number) else { continue };
            prop_assert!(!place.is_done(number), "a stretch of time is no lane");
            for (since, _) in place.reader().coverage(&series).unwrap() {
                prop_assert!(model.is_safe(number, since), "lane {} from {}", number, since);
            }
        }
    }
}

/// A lane that covers seconds 100 to 199 of a series, with late events behind 150, in pages without documents.
fn slice(from: i64, to: i64, reaches: &[i64], outcome: Option<Ended>) -> Vec<Note> {
    let span = Span { series: "1/eu-west-1".to_owned(), from, to, sure_until: 150 };
    let mut opened = opened(1);
    if let Note::Opened { span: covers, .. } = &mut opened {
        *covers = Some(span);
    }
    let pages = u32::try_from(reaches.len()).unwrap();
    let page = |(page, reaches)| Note::Page { lane: 1, page, documents: 0, bytes: 9, reaches };
    let mut notes = vec![opened];
    notes.extend(outcome.map(|outcome| Note::Ended { lane: 1, outcome, pages, fingerprint: None }));
    notes.extend((0..).zip(reaches.iter().copied().map(Some)).map(page));
    notes
}

/// Returns what is covered, with late events to be expected or without.
fn covered_of(place: &Place, sure: Sure) -> Vec<(i64, i64)> {
    covered(&place.open().connection, "1/eu-west-1", sure).unwrap()
}

#[test]
fn a_slice_that_was_stopped_is_covered_to_its_end_and_never_as_a_lane() {
    let place = Place::new();
    place.run(slice(100, 199, &[180, 140], Some(Ended::Interrupted)));
    assert_eq!(place.reader().coverage("1/eu-west-1").unwrap(), [(140, 150)]);
    assert_eq!(covered_of(&place, Sure::No), [(140, 199)]);
    place.run(slice(100, 139, &[120, 100], Some(Ended::Done)));
    assert_eq!(place.reader().coverage("1/eu-west-1").unwrap(), [(100, 150)]);
    assert_eq!(covered_of(&place, Sure::No), [(100, 199)]);
    assert!(!place.is_done(1));
    assert_eq!(place.reader().coverage("2/eu-west-1").unwrap(), []);
}

#[test]
fn the_status_tells_what_is_covered_and_what_is_missing() {
    let place = Place::new();
    let of = |from: i64, to: i64| {
        let mut notes = slice(from, to, &[from], Some(Ended::Done));
        if let Note::Opened { span: Some(span), .. } = &mut notes[0] {
            span.series = "lookup:111122223333/eu-west-1/management?ReadOnly=false".to_owned();
        }
        if let Note::Page { documents, .. } = &mut notes[2] {
            *documents = 4;
        }
        notes.push(settled(1, 4));
        notes
    };
    let second = now().as_second();
    place.run(of(second - 500, second - 401));
    place.run(of(second - 300, second - 61));
    let told = serde_json::to_value(place.status()).unwrap();
    assert_eq!(
        told["coverage"],
        serde_json::json!([{
            "account": "111122223333", "region": "eu-west-1", "category": "management",
            "filter": "ReadOnly=false",
            "from": "2024-05-31T23:51:40Z", "to": "2024-05-31T23:58:59Z", "gap_count": 1,
            "gaps": [{ "from": "2024-05-31T23:53:20Z", "to": "2024-05-31T23:54:59Z" }],
            "records": 8, "lag_seconds": 61
        }])
    );
}

#[test]
fn the_status_tells_objects_by_bucket_and_day() {
    let place = Place::new();
    let in_bucket = |mut notes: Vec<Note>, key: &str| {
        if let Note::Opened { lane, .. } = &mut notes[0] {
            key.clone_into(&mut lane.key);
        }
        notes
    };
    let failed = |number| vec![opened(number), page(number, 0), failed(number)];
    let prefix = "s3://one/a/2024/06/01/".to_owned();
    let day = Note::Closed { prefix, listed: looks(1), known: 0, handed_out: 1 };
    place.run(
        [
            in_bucket(whole(1, 1), "s3://one/a/2024/06/01/x"),
            vec![day],
            in_bucket(whole(2, 1), "s3://one/a/2024/06/02/x"),
            in_bucket(failed(3), "s3://one/a/2024/06/02/y"),
            in_bucket(failed(4), "s3://one-more/y"),
            whole(5, 1),
        ]
        .concat(),
    );
    assert_eq!(
        serde_json::to_value(place.status().buckets).unwrap(),
        serde_json::json!([
            { "bucket": "s3://one", "done": 2, "skipped": 0, "failed": 1, "days": [
                { "day": "2024-06-02", "done": 1, "skipped": 0, "failed": 1 },
                { "day": "2024-06-01", "done": 1, "skipped": 0, "failed": 0 },
            ] },
            { "bucket": "s3://one-more", "done": 0, "skipped": 0, "failed": 1, "days": [] },
        ])
    );
}

#[test]
fn what_is_later_than_the_sure_part_is_covered_and_fetched_again() {
    let place = Place::new();
    place.run(slice(100, 199, &[180], None));
    assert_eq!(place.reader().coverage("1/eu-west-1").unwrap(), []);
    assert_eq!(covered_of(&place, Sure::No), [(180, 199)]);
}

#[test]
fn a_position_outside_of_the_slice_covers_nothing_outside() {
    let place = Place::new();
    place.run(slice(100, 140, &[300, -7], None));
    assert_eq!(covered_of(&place, Sure::No), [(100, 140)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Intervals as a set of seconds would be, with no more rows than needed.
    #[test]
    fn coverage_is_what_was_covered_and_no_more(slices in vec((0_i64..60, 0_i64..12), 1..20)) {
        let place = Place::new();
        let mut seconds = BTreeSet::new();
        for (from, length) in slices {
            place.run(slice(from, from + length, &[from], Some(Ended::Done)));
            seconds.extend(from..=from + length);
        }
        let known = place.reader().coverage("1/eu-west-1").unwrap();
        let told: Vec<i64> = known.iter().flat_map(|(since, until)| *since..=*until).collect();
        prop_assert_eq!(told, seconds.into_iter().collect::<Vec<_>>());
        prop_assert!(known.windows(2).all(|two| two[0].1 + 1 < two[1].0), "{:?}", known);
    }
}

const DAY: &str = "file:/trail/";

/// Returns what a listing of so many inputs looks like.
fn looks(inputs: u64) -> Listed {
    Listed { inputs, digest: u64::MAX - inputs, newest: 7 }
}

fn closed(inputs: u64, handed_out: u64) -> Note {
    Note::Closed { prefix: DAY.to_owned(), listed: looks(inputs), known: 0, handed_out }
}

fn rows(place: &Place) -> i64 {
    let sql = "SELECT count(*) FROM lanes";
    place.open().connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_folder_of_which_all_lanes_are_done_is_one_row() {
    let place = Place::new();
    let before = [whole(1, 2), whole(2, 3)].concat();
    place.run([before, vec![closed(2, 2)]].concat());
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (0, Some(looks(2))));
    let status = place.status();
    assert_eq!((status.lanes_done, status.records, status.bytes), (2, 5, 2000));
    assert_eq!(status.sources[0].source, "file:/trail");
    assert_eq!(place.reader().closed("file:/other/").unwrap(), None);
}

#[test]
fn a_folder_waits_for_the_last_of_its_lanes() {
    let place = Place::new();
    place.run(whole(1, 2));
    let mut store = place.open();
    let later = [vec![closed(3, 2)], whole(2, 3), whole(3, 1)].concat();
    for note in later {
        store.commit().unwrap();
        assert_eq!(place.reader().closed(DAY).unwrap(), None);
        store.take(note).unwrap();
    }
    store.commit().unwrap();
    drop(store);
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (0, Some(looks(3))));
}

/// Objects that are gone from the bucket were done too, so a count of all rows would say too much.
#[test]
fn a_folder_is_not_closed_over_a_lane_that_failed() {
    let place = Place::new();
    place.run([whole(1, 1), whole(2, 1), whole(3, 1)].concat());
    place.run([vec![opened(4), page(4, 0), failed(4)], whole(5, 1), vec![closed(3, 2)]].concat());
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (4, None));
    place.run([vec![closed(3, 1)], whole(4, 1)].concat());
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (0, Some(looks(3))));
    assert_eq!(place.status().failures, []);
}

#[test]
fn a_closed_folder_that_is_read_again_stays_closed_unless_something_fails() {
    let place = Place::new();
    place.run([whole(1, 2), whole(2, 3), vec![closed(2, 2)]].concat());
    place.run(whole(1, 2));
    assert_eq!(
        (place.reader().closed(DAY).unwrap(), place.status().lanes_done),
        (Some(looks(2)), 2)
    );
    place.run([vec![closed(2, 2)], whole(1, 2), whole(2, 3)].concat());
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (0, Some(looks(2))));
    place.run([whole(1, 2), vec![opened(2), page(2, 0), failed(2)]].concat());
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (1, None));
}

/// A lane that finishes behind the closing must not be lost with the number of a folder that is gone.
#[test]
fn a_lane_behind_the_closing_finds_its_folder_again() {
    let place = Place::new();
    place.run([whole(1, 2), vec![closed(1, 1)], whole(2, 3)].concat());
    assert!(place.is_done(2));
}

#[test]
fn a_repeat_after_a_crash_does_not_double_what_was_set_aside() {
    let place = Place::new();
    place.crash(vec![opened(1), settled_without(1, 3, &["a", "b"])], |_| true);
    assert_eq!(place.status().set_aside.documents, 2);
    place.run(vec![
        opened(1),
        page(1, 3),
        settled_without(1, 3, &["a", "b"]),
        ended(1, Ended::Done),
    ]);
    let set_aside = place.status().set_aside;
    assert_eq!(set_aside.documents, 2);
    assert_eq!(set_aside.reasons.len(), 1);
    assert_eq!(
        (set_aside.reasons[0].reason.as_str(), set_aside.reasons[0].documents),
        ("too deep", 2)
    );
    assert_eq!(set_aside.reasons[0].examples[0].lane, lane(1).key);
}

#[test]
fn what_goes_in_later_is_no_longer_set_aside() {
    let place = Place::new();
    place.run(vec![
        opened(1),
        page(1, 3),
        settled_without(1, 3, &["a", "b"]),
        ended(1, Ended::Done),
    ]);
    place.run(vec![opened(2), page(2, 1), settled_without(2, 1, &["c"]), ended(2, Ended::Done)]);
    place.run(vec![opened(1), page(1, 3), settled_without(1, 3, &["b"]), ended(1, Ended::Done)]);
    let left: Vec<String> = place.status().set_aside.reasons[0]
        .examples
        .iter()
        .map(|document| document.id.clone())
        .collect();
    assert_eq!(left, ["b", "c"]);
}

/// A reader of the place's file, and a run in which these notes came before all others.
fn sent_again(place: &Place, settled: &[&str], refused: &[(&str, SetAsideCause)]) -> Totals {
    let key = |id: &str| Key { index: "cloudtrail-2024.06".to_owned(), id: id.to_owned() };
    let retried = Retried {
        settled: settled.iter().map(|id| key(id)).collect(),
        indices: Vec::new(),
        refused: refused
            .iter()
            .map(|(id, cause)| (key(id), *cause, "still not".to_owned()))
            .collect(),
    };
    place.run(vec![Note::Retried(retried)])
}

fn set_aside_three(place: &Place) {
    let aside = settled_without(1, 3, &["a", "b", "c"]);
    place.run(vec![opened(1), page(1, 3), aside, ended(1, Ended::Done)]);
}

fn waiting(place: &Place, retry: Retry, unchanged: &[(String, String)]) -> Vec<String> {
    let waiting = place.reader().waiting(retry, unchanged, 0, 10).unwrap();
    waiting.into_iter().map(|waiting| waiting.key.id).collect()
}

#[test]
fn a_row_goes_when_its_document_went_in_and_stays_with_its_content_when_not() {
    let place = Place::new();
    set_aside_three(&place);
    let totals = sent_again(&place, &["a"], &[("b", SetAsideCause::Index)]);
    assert_eq!((totals.retried_created, totals.retried_set_aside, totals.created), (1, 1, 0));
    assert_eq!(waiting(&place, Retry::Standing, &[]), ["b", "c"]);
    let reader = place.reader();
    let first = &reader.waiting(Retry::Standing, &[], 0, 1).unwrap()[0];
    assert_eq!(reader.kept(first).unwrap(), Some(Kept::Document(Packed::new(b"{}"))));
    let run = &place.status().runs[0];
    assert_eq!((run.retried.documents, run.retried.created, run.read), (2, 1, 0));
    let reasons = place.status().set_aside.reasons;
    let told: Vec<_> = reasons.iter().map(|it| (it.cause.as_str(), it.reason.as_str())).collect();
    assert_eq!(told, [("content", "too deep"), ("index", "still not")]);
}

#[test]
fn content_is_due_again_when_what_refused_it_has_changed() {
    let place = Place::new();
    let index = "cloudtrail-2024.06".to_owned();
    let aside = settled_without(1, 3, &["a", "b"]);
    let refused = Note::RefusedUnder { index: index.clone(), version: "1 \"x\"".to_owned() };
    place.run(vec![opened(1), page(1, 3), aside, ended(1, Ended::Done), refused]);
    let under = (index.clone(), "1 \"x\"".to_owned());
    assert_eq!(place.reader().refusals().unwrap(), std::slice::from_ref(&under));
    assert_eq!(waiting(&place, Retry::Due, std::slice::from_ref(&under)), [""; 0]);
    assert_eq!(waiting(&place, Retry::Due, &[(index, "2".to_owned())]), ["a", "b"]);
    assert_eq!(waiting(&place, Retry::Standing, std::slice::from_ref(&under)), ["a", "b"]);
    sent_again(&place, &[], &[("b", SetAsideCause::Pipeline)]);
    assert_eq!(waiting(&place, Retry::Due, &[under]), ["b"], "a pipeline may be repaired any time");
}

#[test]
fn what_is_accepted_waits_for_nobody_and_stays_accepted() {
    let place = Place::new();
    set_aside_three(&place);
    assert_eq!(accept(&place.file(), now()).unwrap(), 3);
    assert_eq!(accept(&place.file(), now()).unwrap(), 0);
    assert_eq!(waiting(&place, Retry::Standing, &[]), [""; 0]);
    assert_eq!(waiting(&place, Retry::All, &[]), ["a", "b", "c"]);
    assert_eq!(place.open().outstanding().unwrap(), Outstanding { set_aside: 0, accepted: 3 });
    set_aside_three(&place);
    sent_again(&place, &[], &[("c", SetAsideCause::Content)]);
    let told = place.status().set_aside;
    assert_eq!((told.documents, told.accepted), (3, 3), "the same documents, refused again");
    place.run(vec![opened(2), page(2, 1), settled_without(2, 1, &["d"]), ended(2, Ended::Done)]);
    assert_eq!(place.open().outstanding().unwrap(), Outstanding { set_aside: 1, accepted: 3 });
}

#[test]
fn a_file_that_is_not_there_is_not_made_to_accept_anything() {
    let place = Place::new();
    let file = place.folder.path().join("other.sqlite");
    assert!(matches!(accept(&file, now()), Err(Error::Missing { .. })));
    assert!(!file.exists());
}

/// The row holds the only copy of a document that its file, overwritten in place, holds no more.
#[test]
fn what_was_set_aside_of_a_file_stays_when_another_takes_its_place() {
    let place = Place::new();
    let run = |opening: &str, done: &str, ids: &[&str]| {
        let lane = Lane { key: lane(1).key, fingerprint: opening.to_owned() };
        let fingerprint = Some(done.to_owned());
        let end = Note::Ended { lane: 1, outcome: Ended::Done, pages: 1, fingerprint };
        let name = "1.json".to_owned();
        let opened = Note::Opened { number: 1, lane, name, span: None };
        place.run(vec![opened, page(1, 3), settled_without(1, 3, ids), end]);
        place.status().set_aside.documents
    };
    assert_eq!(run("20:30", "20:30:a", &["old"]), 1);
    assert_eq!(run("20:40", "20:40:b", &[]), 1, "another file of the same size");
    assert_eq!(run("20:50", "20:50:b", &["new"]), 2, "and what is set aside of that");
    assert_eq!(run("20:60", "20:60:b", &[]), 1, "touched, and gone in");
    assert_eq!(run("20:70", "20:70:a", &[]), 0, "the first one is back, and gone in");
}

#[test]
fn a_failed_lane_is_tried_again_and_listed_until_it_is_done() {
    let place = Place::new();
    let totals = place.run(vec![opened(1), page(1, 2), settled(1, 2), failed(1)]);
    assert_eq!((totals.lanes_failed, totals.lanes_done, totals.lanes_unfinished), (1, 0, 0));
    assert!(!place.is_done(1));
    place.run(vec![opened(1), page(1, 2), failed(1)]);
    let failures = place.status().failures;
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].name.as_str(), failures[0].tries), ("1.json", 2));
    assert_eq!(
        (failures[0].cause.as_str(), failures[0].offset),
        ("the gzip stream ends early", Some(4096))
    );
    place.run(whole(1, 2));
    assert_eq!(place.status().failures, []);
    assert!(place.is_done(1));
}

#[test]
fn a_done_lane_that_fails_when_read_again_is_not_done_any_more() {
    let place = Place::new();
    place.run(whole(1, 2));
    place.run(vec![opened(1), failed(1)]);
    assert!(!place.is_done(1));
}

#[test]
fn changes_are_on_disk_soon_while_the_run_goes_on() {
    let place = Place::new();
    let store = place.open();
    let (sender, receiver) = channel();
    let writer = thread::spawn(move || store.run(receiver));
    for note in whole(1, 2) {
        sender.send(note).unwrap();
    }
    let asked = Instant::now();
    while !place.is_done(1) {
        assert!(asked.elapsed() < Duration::from_secs(20), "never committed");
        thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(place.status().runs[0].ended, None, "the run goes on");
    drop(sender);
    assert_eq!(writer.join().unwrap().unwrap().totals().lanes_done, 1);
}

#[test]
fn the_status_adds_up_and_its_names_are_stable() {
    let place = Place::new();
    let mut notes = whole(1, 2);
    notes.extend([opened(2), page(2, 4), failed(2)]);
    notes.extend([opened(3), page(3, 1), settled_without(3, 1, &["a"])]);
    let learned = |kind: &str| Note::Learned {
        path: "x.y".into(),
        kind: kind.into(),
        why: "met first".into(),
    };
    notes.extend([learned("keyword"), learned("keyword")]);
    place.run_to(3, notes);
    let mut told = serde_json::to_value(place.status()).unwrap();
    // The times of what happened in the run depend on how fast it was.
    for (list, time) in [
        ("sources", "first_done"),
        ("sources", "last_done"),
        ("failures", "at"),
        ("runs", "ended"),
        ("decisions", "decided"),
    ] {
        assert!(told[list][0][time].as_str().unwrap().starts_with("2024-06-01T00:00:"));
        told[list][0][time] = "soon".into();
    }
    told["set_aside"]["reasons"][0]["examples"][0]["at"] = "soon".into();
    let expected = serde_json::json!({
        "target": TARGET,
        "created": "2024-06-01T00:00:00Z",
        "runs": [{
            "started": "2024-06-01T00:00:00Z", "ended": "soon", "exit": 3, "read": 3, "created": 2,
            "already_there": 0, "set_aside": 1, "lanes_done": 1, "lanes_skipped": 0,
            "lanes_failed": 1,
            "retried": { "documents": 0, "created": 0, "already_there": 0, "set_aside": 0 }
        }],
        "lanes_done": 1, "lanes_skipped": 0, "lanes_failed": 1, "records": 2, "bytes": 1000,
        "sources": [{
            "source": "file:/trail", "lanes": 1, "skipped": 0, "records": 2, "bytes": 1000,
            "first_done": "soon", "last_done": "soon"
        }],
        "coverage": [],
        "buckets": [],
        "failures": [{
            "name": "2.json", "cause": "the gzip stream ends early", "offset": 4096, "records": 4,
            "tries": 1, "at": "soon"
        }],
        "set_aside": { "documents": 1, "accepted": 0, "reasons": [{
            "cause": "content", "reason": "too deep", "documents": 1, "accepted": 0,
            "examples": [{
                "index": "cloudtrail-2024.06", "id": "a", "lane": "file:/trail/3.json", "at": "soon",
                "reason": "too deep"
            }]
        }] },
        "cluster": null, "missing": [],
        "indices": [{ "name": "", "created": 2, "already_there": 0, "held": null }],
        "decisions": [{ "path": "x.y", "kind": "keyword", "why": "met first", "decided": "soon" }]
    });
    assert_eq!(told, expected);
}

#[test]
fn nobody_else_may_read_any_of_the_files() {
    let place = Place::new();
    let file = place.folder.path().join("state/trailload/safe.sqlite");
    let mut store = Store::open(&file, TARGET, now()).unwrap();
    for note in whole(1, 1) {
        store.take(note).unwrap();
    }
    store.commit().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for end in ["", "-wal", "-shm", ".lock"] {
        let mut name = file.clone().into_os_string();
        name.push(end);
        assert_eq!(mode(Path::new(&name)), 0o600, "{end}");
    }
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(mode(&place.folder.path().join("state")), 0o700);
}

#[test]
fn a_file_that_others_could_read_is_made_private() {
    let place = Place::new();
    place.run(vec![]);
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
    place.run(vec![]);
    assert_eq!(fs::metadata(place.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_second_run_is_refused_by_name_and_pid() {
    let place = Place::new();
    let first = place.open();
    let link = place.folder.path().join("link.sqlite");
    symlink(place.file(), &link).unwrap();
    for path in [place.file(), link] {
        let error = Store::open(&path, TARGET, now()).unwrap_err();
        assert!(matches!(error, Error::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        let file = fs::canonicalize(place.file()).unwrap();
        let text = error.to_string();
        assert!(text.contains(&file.display().to_string()), "{text}");
        assert!(text.contains(&format!("pid {}, since 2024-06-01T00:00:00Z", std::process::id())));
    }
    assert_eq!(place.status().runs.len(), 1, "status works beside a run");
    drop(first);
    place.run(vec![]);
}

#[test]
fn the_lock_of_a_killed_run_blocks_nobody() {
    let place = Place::new();
    place.run(whole(1, 1));
    fs::write(place.file().with_extension("sqlite.lock"), "1 trailload 2024-06-01T00:00:00Z\n")
        .unwrap();
    place.run(vec![]);
    assert!(place.is_done(1));
}

#[test]
fn a_file_of_another_target_is_refused() {
    let place = Place::new();
    place.run(vec![]);
    let error = Store::open(&place.file(), "http://other:9200 cloudtrail", now()).unwrap_err();
    assert!(matches!(&error, Error::OtherTarget { theirs, .. } if theirs == TARGET));
    assert!(
        error
            .to_string()
            .ends_with(&format!("belongs to {TARGET}, not to http://other:9200 cloudtrail"))
    );
}

/// Changes a closed checkpoint file behind our back.
fn tamper(place: &Place, sql: &str) {
    let flags =
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_CREATE;
    Connection::open_with_flags(place.file(), flags).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_newer_file_is_left_alone() {
    let place = Place::new();
    place.run(vec![]);
    tamper(&place, "PRAGMA user_version = 99");
    let before = fs::read(place.file()).unwrap();
    let error = Store::open(&place.file(), TARGET, now()).unwrap_err();
    assert!(matches!(error, Error::Newer { version: 99, .. }));
    assert!(error.way_out().unwrap().contains("update trailload"));
    assert!(matches!(Reader::open(&place.file()).unwrap_err(), Error::Newer { version: 99, .. }));
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let place = Place::new();
    tamper(&place, "CREATE TABLE bookmarks (url TEXT)");
    let before = fs::read(place.file()).unwrap();
    assert!(matches!(Store::open(&place.file(), TARGET, now()), Err(Error::NotOurs { .. })));
    assert!(matches!(Reader::open(&place.file()), Err(Error::NotOurs { .. })));
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_damaged_and_left_alone() {
    let place = Place::new();
    let text = "{\"Records\":[]}\n".repeat(100);
    fs::write(place.file(), &text).unwrap();
    let error = Store::open(&place.file(), TARGET, now()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert!(error.way_out().unwrap().contains("move the file away"));
    assert!(matches!(Reader::open(&place.file()), Err(Error::Damaged { .. })));
    assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
}

#[test]
fn a_database_with_broken_pages_is_damaged() {
    let place = Place::new();
    place.run((0..500).flat_map(|number| whole(number, 1)).collect());
    let mut bytes = fs::read(place.file()).unwrap();
    // Behind the first page, so that the header still looks right.
    bytes[4096..].fill(0xA5);
    fs::write(place.file(), bytes).unwrap();
    let error = Store::open(&place.file(), TARGET, now()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[test]
fn a_database_that_was_cut_is_damaged() {
    let place = Place::new();
    place.run((0..500).flat_map(|number| whole(number, 1)).collect());
    let bytes = fs::read(place.file()).unwrap();
    fs::write(place.file(), &bytes[..bytes.len() / 2]).unwrap();
    let error = Store::open(&place.file(), TARGET, now()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[test]
fn paths_that_cannot_be_a_file_are_named() {
    let place = Place::new();
    let folder = place.folder.path();
    assert!(matches!(Store::open(folder, TARGET, now()), Err(Error::IsFolder { .. })));
    assert!(matches!(Reader::open(folder), Err(Error::IsFolder { .. })));
    assert!(matches!(Reader::open(&place.file()), Err(Error::Missing { .. })));
    assert!(!place.file().exists(), "reading creates nothing");
    fs::write(place.file(), "").unwrap();
    assert!(matches!(Reader::open(&place.file()), Err(Error::Empty { .. })), "nothing in it yet");
    let below = place.file().join("below/safe.sqlite");
    assert!(matches!(Store::open(&below, TARGET, now()), Err(Error::Folder { .. })));
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    let mut store = place.open();
    store.connection.pragma_update(None, "query_only", true).unwrap();
    let mut notes = whole(1, 1);
    let last = notes.pop().unwrap();
    for note in notes {
        store.take(note).unwrap();
    }
    let error = store.take(last).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
}

/// The pages that a file may still grow by once it is open: as full as a disk can be.
fn full_after(store: &Store, pages: i64) {
    let used: i64 =
        store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let most = used + pages;
    store
        .connection
        .pragma_update_and_check(None, "max_page_count", most, |row| row.get::<_, i64>(0))
        .unwrap();
}

#[test]
fn a_full_disk_stops_the_run_with_nothing_lost() {
    let place = Place::new();
    let mut store = place.open();
    full_after(&store, 8);
    let mut committed = 0;
    let error = 'full: loop {
        let number = committed;
        let id = format!("id-{number}");
        let aside = settled_without(number, 1, &[&id]);
        for note in [opened(number), page(number, 1), ended(number, Ended::Done), aside] {
            if let Err(error) = store.take(note) {
                break 'full error;
            }
        }
        if let Err(error) = store.commit() {
            break error;
        }
        committed += 1;
    };
    drop(store);
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    assert!(error.way_out().unwrap().contains("nothing is lost"));
    assert!(committed > 10);
    let status = place.status();
    assert_eq!(status.lanes_done, u64::from(committed), "nothing lost, nothing half-committed");
    assert_eq!(status.set_aside.documents, u64::from(committed));
    place.run(whole(committed, 1));
    assert!(place.is_done(committed), "with room again, it goes on");
}

#[test]
fn a_run_that_cannot_write_ends_and_closes_its_channel() {
    let place = Place::new();
    let store = place.open();
    full_after(&store, 0);
    let (sender, receiver) = channel();
    let writer = thread::spawn(move || store.run(receiver));
    let mut number = 0;
    while sender.send(opened(number)).is_ok() {
        let rest =
            [page(number, 1), ended(number, Ended::Done), settled_without(number, 1, &["x"])];
        for note in rest {
            // It may close while we are at it; the loop's head looks.
            drop(sender.send(note));
        }
        number += 1;
        assert!(number < 1_000_000, "nobody noticed");
    }
    assert!(matches!(writer.join().unwrap(), Err(Error::Full { .. })));
}

/// Not a check of a promise on every machine, so it is run by hand: prints what a lane costs.
#[test]
#[ignore = "a measurement"]
fn measure_a_hundred_thousand_small_files() {
    let place = Place::new();
    let lanes = 100_000;
    let of = |number: u32| Lane {
        key: format!(
            "file:/trail/AWSLogs/123456789012/CloudTrail/eu-west-1/2024/06/{:03}/\
             123456789012_CloudTrail_eu-west-1_20240601T0000Z_{:016x}.json.gz",
            number / 500,
            u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ),
        fingerprint: format!("{number}:1717200000000000000:0123456789abcdef"),
    };
    let store = place.open();
    let (sender, receiver) = channel();
    for number in 0..lanes {
        let name = "x".to_owned();
        let opened = Note::Opened { number, lane: of(number), name, span: None };
        for note in [opened, page(number, 40), ended(number, Ended::Done), settled(number, 40)] {
            sender.send(note).unwrap();
        }
    }
    drop(sender);
    let started = Instant::now();
    assert_eq!(store.run(receiver).unwrap().totals().lanes_done, u64::from(lanes));
    let written = started.elapsed();
    let reader = place.reader();
    let asked: Vec<Lane> = (0..lanes).map(of).collect();
    let started = Instant::now();
    assert!(asked.iter().all(|lane| reader.done_content(&lane.key).unwrap().is_some()));
    let looked_up = started.elapsed();
    let started = Instant::now();
    assert_eq!(reader.status(now()).unwrap().lanes_done, u64::from(lanes));
    let told = started.elapsed();
    let bytes = fs::metadata(place.file()).unwrap().len();
    println!(
        "{lanes} lanes: written {written:?}, looked up {looked_up:?}, status {told:?}, {bytes} bytes"
    );
}

/// Objects that come to a day that was closed: its row stands for the others.
#[test]
fn what_is_added_to_a_closed_folder_joins_its_row() {
    let place = Place::new();
    place.run([whole(1, 2), whole(2, 3), vec![closed(2, 2)]].concat());
    let listed = looks(3);
    let again = Note::Closed { prefix: DAY.to_owned(), listed, known: 2, handed_out: 1 };
    // As long as it is not done, nothing says so.
    place.run(vec![again.clone(), opened(3)]);
    assert_eq!(place.reader().closed(DAY).unwrap(), Some(looks(2)));
    place.run([whole(3, 4), vec![again]].concat());
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (0, Some(listed)));
    let status = place.status();
    assert_eq!((status.lanes_done, status.records, status.bytes), (3, 9, 3000));
}

/// A row that is gone stands for nothing.
#[test]
fn what_is_added_to_a_folder_that_is_open_again_does_not_close_it() {
    let place = Place::new();
    place.run([whole(1, 2), whole(2, 3), vec![closed(2, 2)]].concat());
    let again = Note::Closed { prefix: DAY.to_owned(), listed: looks(3), known: 2, handed_out: 1 };
    let failed = vec![opened(2), page(2, 0), failed(2)];
    place.run([failed, whole(3, 4), vec![again]].concat());
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (1, None));
}

/// A checkpoint of an earlier version knows a number only.
#[test]
fn a_folder_closed_without_a_digest_counts_as_open() {
    let place = Place::new();
    place.run([whole(1, 2), whole(2, 3), vec![closed(2, 2)]].concat());
    place.open().connection.execute("UPDATE closed SET digest = NULL, newest = NULL", []).unwrap();
    assert_eq!(place.reader().closed(DAY).unwrap(), None);
    place.run([vec![closed(2, 2)], whole(1, 2), whole(2, 3)].concat());
    assert_eq!((rows(&place), place.reader().closed(DAY).unwrap()), (0, Some(looks(2))));
}
