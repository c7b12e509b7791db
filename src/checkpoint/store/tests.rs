//! The contents of the checkpoint file after events, crashes, errors and further runs.

mod alerts;
mod results;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::mpsc::channel;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::coverage::{Finality, covered};
use super::super::scenario::{Model, course, partition, series};
use super::super::status::Failures;
use super::super::{
    CheckpointReader, DeadLetterKey, PageExtent, RetrySelection, Status, accept_dead_letters,
};
use super::*;
use crate::event::{
    CompressedText, DeadLetterCause, DeadLetterContent, IndexCount, IndexIdentity, Inventory,
    ListingSummary, Share, TimeSlice,
};

const TARGET: &str = "http://localhost:9200 cloudtrail";

/// A temporary directory for a checkpoint file.
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

    fn open(&self) -> CheckpointStore {
        CheckpointStore::open(&self.file(), TARGET, now()).unwrap()
    }

    /// Performs a run with these events that ends with exit code 0.
    fn run(&self, events: Vec<CheckpointEvent>) -> RunTotals {
        self.run_with_exit(0, events)
    }

    /// Performs a run with these events that ends with this exit code.
    fn run_with_exit(&self, exit: u8, events: Vec<CheckpointEvent>) -> RunTotals {
        let (sender, receiver) = channel();
        for event in events {
            sender.send(event).unwrap();
        }
        drop(sender);
        let store = self.open().run(receiver).unwrap();
        let totals = store.totals();
        store.end(exit).unwrap();
        totals
    }

    /// Applies events, commits after those selected by `commits`, and crashes.
    fn crash(&self, events: Vec<CheckpointEvent>, commits: impl Fn(usize) -> bool) {
        let mut store = self.open();
        for (at, event) in events.into_iter().enumerate() {
            store.apply(event).unwrap();
            if commits(at) {
                store.commit().unwrap();
            }
        }
    }

    fn reader(&self) -> CheckpointReader {
        CheckpointReader::open(&self.file()).unwrap()
    }

    fn status(&self) -> Status {
        self.reader().status(now(), Failures::All).unwrap()
    }

    fn is_loaded(&self, number: PartitionNumber) -> bool {
        let partition = partition(number);
        self.loaded_as(&partition.key).is_some()
    }

    /// Returns the fingerprint of a loaded partition.
    fn loaded_as(&self, key: &str) -> Option<String> {
        self.reader().loaded_fingerprint(key).unwrap()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_717_200_000).unwrap()
}

fn opened(number: PartitionNumber) -> CheckpointEvent {
    CheckpointEvent::PartitionOpened {
        number,
        partition: partition(number),
        name: format!("{number}.json"),
        time_slice: None,
        result: None,
    }
}

fn read(partition: PartitionNumber, documents: u32, extent: PageExtent) -> CheckpointEvent {
    let (bytes, position) = (1000, None);
    CheckpointEvent::PageRead { partition, page: 0, documents, extent, bytes, position }
}

fn page(partition: PartitionNumber, documents: u32) -> CheckpointEvent {
    read(partition, documents, PageExtent::Whole)
}

fn ended(partition: PartitionNumber, outcome: PartitionOutcome) -> CheckpointEvent {
    CheckpointEvent::PartitionEnded { partition, outcome, pages: 1, fingerprint: None }
}

fn failed(partition: PartitionNumber) -> CheckpointEvent {
    let cause = "the gzip stream ends early".to_owned();
    ended(partition, PartitionOutcome::Failed { cause, offset: Some(4096) })
}

fn settled(partition: PartitionNumber, documents: u32) -> CheckpointEvent {
    let shares = vec![Share { partition, page: 0, documents }];
    let indices = created(u64::from(documents));
    CheckpointEvent::Settled(Receipt { shares, indices, ..Receipt::default() })
}

/// Counts of created documents.
fn created(documents: u64) -> Vec<IndexCount> {
    vec![IndexCount { created: documents, ..IndexCount::default() }]
}

/// The receipt of a page, with dead letters.
fn settled_with_dead_letters(
    partition: PartitionNumber,
    documents: u32,
    ids: &[&str],
) -> CheckpointEvent {
    let rejected = ids.iter().map(|id| DeadLetter {
        partition,
        id: (*id).to_owned(),
        index: "cloudtrail-2024.06".to_owned(),
        cause: DeadLetterCause::Content,
        reason: "too deep".to_owned(),
        content: DeadLetterContent::Document(CompressedText::new(b"{}")),
    });
    let dead_letters: Vec<DeadLetter> = rejected.collect();
    let indices = created(u64::from(documents) - count(dead_letters.len()));
    let shares = vec![Share { partition, page: 0, documents }];
    CheckpointEvent::Settled(Receipt { shares, indices, dead_letters, ..Receipt::default() })
}

fn whole(number: PartitionNumber, documents: u32) -> Vec<CheckpointEvent> {
    let end = ended(number, PartitionOutcome::Done);
    vec![opened(number), page(number, documents), end, settled(number, documents)]
}

#[test]
fn a_settled_partition_is_loaded_with_its_final_fingerprint() {
    let place = Place::new();
    let mut events = whole(1, 3);
    let CheckpointEvent::PartitionEnded { fingerprint, .. } = &mut events[2] else {
        unreachable!("its end")
    };
    *fingerprint = Some("20:30:abc".to_owned());
    let totals = place.run(events);
    assert_eq!((totals.partitions_loaded, totals.partitions_unfinished, totals.created), (1, 0, 3));
    let reader = place.reader();
    let key = partition(1).key;
    assert_eq!(reader.loaded_fingerprint(&key).unwrap().as_deref(), Some("20:30:abc"));
    assert_eq!(reader.loaded_fingerprint("file:/trail/2.json").unwrap(), None);
    assert_eq!(reader.loaded_fingerprint("file:/other/1.json").unwrap(), None);
}

/// A receipt with documents of this index, one of which is a duplicate.
fn put(uuid: &str, created: u64) -> CheckpointEvent {
    let count = IndexCount {
        index: "ct-2024.06".to_owned(),
        created,
        duplicates: 1,
        identity: Some(IndexIdentity { uuid: uuid.to_owned(), created_at: 7 }),
    };
    CheckpointEvent::Settled(Receipt { indices: vec![count], ..Receipt::default() })
}

#[test]
fn documents_of_an_index_are_summed_over_receipts_and_runs() {
    let place = Place::new();
    place.run(vec![put("a", 2), put("a", 3)]);
    // A run that reports another identity does not change the recorded one.
    place.run(vec![put("b", 4)]);
    let mut expected = LoadedIndices::default();
    for (uuid, created) in [("a", 2), ("a", 3), ("b", 4)] {
        let CheckpointEvent::Settled(receipt) = put(uuid, created) else {
            unreachable!("a receipt")
        };
        expected.add_loaded(&receipt.indices[0]);
    }
    assert_eq!(place.reader().indices().unwrap(), expected);
    let known = &expected.known["ct-2024.06"];
    assert_eq!((known.identity.uuid.as_str(), known.created, known.duplicates), ("a", 9, 3));
}

#[test]
fn missing_documents_are_stored_as_detected() {
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
    let actual = &place.status().missing[0];
    assert_eq!(
        (actual.index.as_str(), actual.documents, actual.reason),
        ("ct-2024.06", 2, "deleted")
    );
    assert!(actual.accepted.is_some());
}

#[test]
fn a_different_cluster_resets_progress_and_keeps_dead_letters() {
    let place = Place::new();
    let mut events = whole(1, 3);
    events.extend([
        opened(2),
        page(2, 1),
        ended(2, PartitionOutcome::Done),
        settled_with_dead_letters(2, 1, &["a"]),
    ]);
    events.push(put("a", 2));
    place.run(events);
    let mut store = place.open();
    assert_eq!(store.cluster().unwrap(), None);
    store.set_cluster("one").unwrap();
    store.set_index_by(IndexBy::Year).unwrap();
    store.reset_progress().unwrap();
    store.set_cluster("two").unwrap();
    assert_eq!(store.cluster().unwrap().as_deref(), Some("two"));
    assert_eq!(store.index_by().unwrap(), Some(IndexBy::Year));
    drop(store);
    assert!(!place.is_loaded(1) && !place.is_loaded(2));
    let status = place.status();
    assert_eq!((status.partitions_loaded, status.records), (0, 0));
    assert_eq!((status.indices.len(), status.dead_letters.documents), (0, 1));
    place.run(whole(1, 3));
    assert!(place.is_loaded(1));
}

#[test]
fn a_touched_file_stays_loaded() {
    let place = Place::new();
    place.run(whole(1, 3));
    let touched = Partition { key: partition(1).key, fingerprint: "1:99:x".to_owned() };
    place.run(vec![CheckpointEvent::Unchanged(touched.clone())]);
    assert_eq!(place.loaded_as(&touched.key).as_deref(), Some("1:99:x"));
    assert_eq!(place.status().records, 3);
}

#[test]
fn inputs_without_cloudtrail_events_are_counted_separately() {
    let place = Place::new();
    let skipped = |number| {
        vec![
            opened(number),
            page(number, 0),
            ended(number, PartitionOutcome::Skipped { cause: "a digest file".to_owned() }),
        ]
    };
    let totals = place.run([whole(1, 3), skipped(2), skipped(3)].concat());
    assert_eq!(
        (totals.partitions_loaded, totals.partitions_skipped, totals.partitions_unfinished),
        (1, 2, 0)
    );
    assert!(place.is_loaded(2), "it is not read again");
    let actual = |place: &Place| {
        let status = place.status();
        assert_eq!((status.folders[0].partitions, status.folders[0].skipped), (1, 2));
        (status.partitions_loaded, status.partitions_skipped, status.records, status.bytes)
    };
    assert_eq!(actual(&place), (1, 2, 3, 1000));
    assert_eq!(place.status().runs[0].partitions_skipped, 2);
    place.run(vec![folder_complete(3, 0)]);
    assert_eq!(
        (rows(&place), actual(&place)),
        (0, (1, 2, 3, 1000)),
        "one row reports the same numbers"
    );
}

/// Documents of a page that was not read to its end are in the index, and are counted.
#[test]
fn the_totals_of_a_run_add_up_despite_a_bad_page() {
    let place = Place::new();
    let bad = vec![
        opened(1),
        settled_with_dead_letters(1, 7, &["a", "b"]),
        ended(1, PartitionOutcome::Interrupted),
    ];
    place.run([bad, whole(2, 3)].concat());
    let run = &place.status().runs[0];
    assert_eq!((run.read, run.created, run.duplicates, run.dead_letters), (10, 8, 0, 2));
}

#[test]
fn a_partition_with_an_unsettled_document_is_not_loaded() {
    let place = Place::new();
    let totals =
        place.run(vec![opened(1), page(1, 3), ended(1, PartitionOutcome::Done), settled(1, 2)]);
    assert_eq!((totals.partitions_loaded, totals.partitions_unfinished), (0, 1));
    assert!(!place.is_loaded(1));
}

#[test]
fn uncommitted_changes_are_lost_in_a_crash() {
    let place = Place::new();
    let mut events = whole(1, 2);
    events.extend([
        opened(2),
        page(2, 1),
        ended(2, PartitionOutcome::Done),
        settled_with_dead_letters(2, 1, &["a"]),
    ]);
    place.crash(events, |at| at == 3);
    assert!(place.is_loaded(1));
    assert!(!place.is_loaded(2));
    assert_eq!(place.status().dead_letters.documents, 0);
}

/// Copies the files of a running run as SIGKILL would leave them. SQLite's index of the WAL (`-shm`) is omitted, as after a
/// power failure.
fn as_killed(place: &Place, cut: usize) -> Place {
    let killed = Place::new();
    let wal = |place: &Place| place.folder.path().join("safe.sqlite-wal");
    fs::copy(place.file(), killed.file()).unwrap();
    let bytes = fs::read(wal(place)).unwrap();
    fs::write(wal(&killed), &bytes[..bytes.len() - cut]).unwrap();
    killed
}

#[test]
fn committed_changes_survive_a_kill_and_a_torn_write() {
    let place = Place::new();
    let mut store = place.open();
    for number in [1, 2] {
        for event in whole(number, 1) {
            store.apply(event).unwrap();
        }
        store.commit().unwrap();
    }
    for event in whole(3, 1) {
        store.apply(event).unwrap();
    }
    let done = |place: &Place| [1, 2, 3].map(|number| place.is_loaded(number));
    let killed = as_killed(&place, 0);
    assert_eq!(done(&killed), [true, true, false], "read by status first");
    killed.run(whole(3, 1));
    assert_eq!(done(&killed), [true, true, true]);
    let torn = as_killed(&place, 100);
    torn.run(vec![]);
    assert_eq!(done(&torn), [true, false, false], "a torn commit is discarded");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// SIGKILL at any moment can repeat work, but never skip events.
    #[test]
    fn a_crash_anywhere_leaves_no_loaded_partition_with_unsettled_documents(
        course in course(),
        survives in any::<prop::sample::Index>(),
        every in 1_usize..6,
    ) {
        let place = Place::new();
        let mut events = course;
        events.truncate(survives.index(events.len() + 1));
        let mut model = Model::default();
        for event in &events {
            model.apply(event);
        }
        place.crash(events, |at| at % every == 0);
        for number in 0..5 {
            prop_assert!(!place.is_loaded(number) || model.is_loaded(number), "partition {}", number);
            let Some(series) = series(number) else { continue };
            prop_assert!(!place.is_loaded(number), "a time range is not stored as a partition");
            for (since, _) in place.reader().coverage(&series).unwrap() {
                prop_assert!(model.is_covered(number, since), "partition {} from {}", number, since);
            }
        }
    }
}

/// A partition that covers a time range of a series, with late events after second 150, in pages without documents.
fn slice(
    from: i64,
    to: i64,
    reaches: &[i64],
    outcome: Option<PartitionOutcome>,
) -> Vec<CheckpointEvent> {
    let time_slice = TimeSlice { series: "1/eu-west-1".to_owned(), from, to, complete_until: 150 };
    let mut opened = opened(1);
    if let CheckpointEvent::PartitionOpened { time_slice: covers, .. } = &mut opened {
        *covers = Some(time_slice);
    }
    let pages = u32::try_from(reaches.len()).unwrap();
    let page = |(page, reaches)| CheckpointEvent::PageRead {
        partition: 1,
        page,
        documents: 0,
        extent: PageExtent::Whole,
        bytes: 9,
        position: reaches,
    };
    let mut events = vec![opened];
    events.extend(outcome.map(|outcome| CheckpointEvent::PartitionEnded {
        partition: 1,
        outcome,
        pages,
        fingerprint: None,
    }));
    events.extend((0..).zip(reaches.iter().copied().map(Some)).map(page));
    events
}

/// Returns the covered intervals.
fn covered_of(place: &Place, sure: Finality) -> Vec<(i64, i64)> {
    covered(&place.open().connection, "1/eu-west-1", sure).unwrap()
}

#[test]
fn a_stopped_time_range_is_covered_to_its_end_and_never_a_partition() {
    let place = Place::new();
    place.run(slice(100, 199, &[180, 140], Some(PartitionOutcome::Interrupted)));
    assert_eq!(place.reader().coverage("1/eu-west-1").unwrap(), [(140, 150)]);
    assert_eq!(covered_of(&place, Finality::Provisional), [(140, 199)]);
    place.run(slice(100, 139, &[120, 100], Some(PartitionOutcome::Done)));
    assert_eq!(place.reader().coverage("1/eu-west-1").unwrap(), [(100, 150)]);
    assert_eq!(covered_of(&place, Finality::Provisional), [(100, 199)]);
    assert!(!place.is_loaded(1));
    assert_eq!(place.reader().coverage("2/eu-west-1").unwrap(), []);
}

#[test]
fn the_status_lists_coverage_and_gaps() {
    let place = Place::new();
    let of = |from: i64, to: i64| {
        let mut events = slice(from, to, &[from], Some(PartitionOutcome::Done));
        if let CheckpointEvent::PartitionOpened { time_slice: Some(time_slice), .. } =
            &mut events[0]
        {
            time_slice.series =
                "lookup:111122223333/eu-west-1/management?ReadOnly=false".to_owned();
        }
        if let CheckpointEvent::PageRead { documents, .. } = &mut events[2] {
            *documents = 4;
        }
        events.push(settled(1, 4));
        events
    };
    let second = now().as_second();
    place.run(of(second - 500, second - 401));
    place.run(of(second - 300, second - 61));
    let actual = serde_json::to_value(place.status()).unwrap();
    assert_eq!(
        actual["coverage"],
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
fn the_status_counts_objects_by_bucket_and_day() {
    let place = Place::new();
    let in_bucket = |mut events: Vec<CheckpointEvent>, key: &str| {
        if let CheckpointEvent::PartitionOpened { partition, .. } = &mut events[0] {
            key.clone_into(&mut partition.key);
        }
        events
    };
    let failed = |number| vec![opened(number), page(number, 0), failed(number)];
    let prefix = "s3://one/a/2024/06/01/".to_owned();
    let day = CheckpointEvent::FolderComplete {
        prefix,
        listing: listing(1),
        previously_loaded: 0,
        read_in_this_run: 1,
    };
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
            { "bucket": "s3://one", "loaded": 2, "skipped": 0, "failed": 1, "days": [
                { "day": "2024-06-02", "loaded": 1, "skipped": 0, "failed": 1 },
                { "day": "2024-06-01", "loaded": 1, "skipped": 0, "failed": 0 },
            ] },
            { "bucket": "s3://one-more", "loaded": 0, "skipped": 0, "failed": 1, "days": [] },
        ])
    );
}

#[test]
fn a_provisional_interval_is_covered_and_fetched_again() {
    let place = Place::new();
    place.run(slice(100, 199, &[180], None));
    assert_eq!(place.reader().coverage("1/eu-west-1").unwrap(), []);
    assert_eq!(covered_of(&place, Finality::Provisional), [(180, 199)]);
}

#[test]
fn a_position_outside_of_the_time_range_covers_nothing_outside() {
    let place = Place::new();
    place.run(slice(100, 140, &[300, -7], None));
    assert_eq!(covered_of(&place, Finality::Provisional), [(100, 140)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Intervals cover the same seconds as a set would, with no more rows than necessary.
    #[test]
    fn coverage_is_what_was_covered_and_no_more(slices in vec((0_i64..60, 0_i64..12), 1..20)) {
        let place = Place::new();
        let mut seconds = BTreeSet::new();
        for (from, length) in slices {
            place.run(slice(from, from + length, &[from], Some(PartitionOutcome::Done)));
            seconds.extend(from..=from + length);
        }
        let known = place.reader().coverage("1/eu-west-1").unwrap();
        let actual: Vec<i64> = known.iter().flat_map(|(since, until)| *since..=*until).collect();
        prop_assert_eq!(actual, seconds.into_iter().collect::<Vec<_>>());
        prop_assert!(known.windows(2).all(|two| two[0].1 + 1 < two[1].0), "{:?}", known);
    }
}

const DAY: &str = "file:/trail/";

/// Returns a listing of this many inputs.
fn listing(inputs: u64) -> ListingSummary {
    ListingSummary { inputs, digest: u64::MAX - inputs, newest: 7 }
}

fn folder_complete(inputs: u64, handed_out: u64) -> CheckpointEvent {
    CheckpointEvent::FolderComplete {
        prefix: DAY.to_owned(),
        listing: listing(inputs),
        previously_loaded: 0,
        read_in_this_run: handed_out,
    }
}

fn rows(place: &Place) -> i64 {
    let sql = "SELECT count(*) FROM partitions";
    place.open().connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_folder_with_all_partitions_loaded_is_one_row() {
    let place = Place::new();
    let before = [whole(1, 2), whole(2, 3)].concat();
    place.run([before, vec![folder_complete(2, 2)]].concat());
    assert_eq!((rows(&place), place.reader().complete_folder(DAY).unwrap()), (0, Some(listing(2))));
    let status = place.status();
    assert_eq!((status.partitions_loaded, status.records, status.bytes), (2, 5, 2000));
    assert_eq!(status.folders[0].folder, "file:/trail");
    assert_eq!(place.reader().complete_folder("file:/other/").unwrap(), None);
}

#[test]
fn a_folder_is_complete_after_its_last_partition() {
    let place = Place::new();
    place.run(whole(1, 2));
    let mut store = place.open();
    let later = [vec![folder_complete(3, 2)], whole(2, 3), whole(3, 1)].concat();
    for event in later {
        store.commit().unwrap();
        assert_eq!(place.reader().complete_folder(DAY).unwrap(), None);
        store.apply(event).unwrap();
    }
    store.commit().unwrap();
    drop(store);
    assert_eq!((rows(&place), place.reader().complete_folder(DAY).unwrap()), (0, Some(listing(3))));
}

/// Rows of objects that were deleted from the bucket must not be counted instead of the failed one.
#[test]
fn a_folder_with_a_failed_partition_is_not_complete() {
    let place = Place::new();
    place.run([whole(1, 1), whole(2, 1), whole(3, 1)].concat());
    place.run(
        [vec![opened(4), page(4, 0), failed(4)], whole(5, 1), vec![folder_complete(3, 2)]].concat(),
    );
    assert_eq!((rows(&place), place.reader().complete_folder(DAY).unwrap()), (4, None));
    place.run([vec![folder_complete(3, 1)], whole(4, 1)].concat());
    assert_eq!((rows(&place), place.reader().complete_folder(DAY).unwrap()), (0, Some(listing(3))));
    assert_eq!(place.status().failures, []);
}

#[test]
fn a_complete_folder_that_is_read_again_stays_complete_unless_a_read_fails() {
    let place = Place::new();
    place.run([whole(1, 2), whole(2, 3), vec![folder_complete(2, 2)]].concat());
    place.run(whole(1, 2));
    assert_eq!(
        (place.reader().complete_folder(DAY).unwrap(), place.status().partitions_loaded),
        (Some(listing(2)), 2)
    );
    place.run([vec![folder_complete(2, 2)], whole(1, 2), whole(2, 3)].concat());
    assert_eq!((rows(&place), place.reader().complete_folder(DAY).unwrap()), (0, Some(listing(2))));
    place.run([whole(1, 2), vec![opened(2), page(2, 0), failed(2)]].concat());
    assert_eq!((rows(&place), place.reader().complete_folder(DAY).unwrap()), (1, None));
}

/// A partition that is loaded after its folder was completed must not use the cached id of the deleted folder row.
#[test]
fn a_partition_after_the_completion_finds_its_folder_again() {
    let place = Place::new();
    place.run([whole(1, 2), vec![folder_complete(1, 1)], whole(2, 3)].concat());
    assert!(place.is_loaded(2));
}

#[test]
fn a_repeat_after_a_crash_does_not_duplicate_dead_letters() {
    let place = Place::new();
    place.crash(vec![opened(1), settled_with_dead_letters(1, 3, &["a", "b"])], |_| true);
    assert_eq!(place.status().dead_letters.documents, 2);
    place.run(vec![
        opened(1),
        page(1, 3),
        settled_with_dead_letters(1, 3, &["a", "b"]),
        ended(1, PartitionOutcome::Done),
    ]);
    let dead_letters = place.status().dead_letters;
    assert_eq!(dead_letters.documents, 2);
    assert_eq!(dead_letters.reasons.len(), 1);
    assert_eq!(
        (dead_letters.reasons[0].reason.as_str(), dead_letters.reasons[0].documents),
        ("too deep", 2)
    );
    assert_eq!(dead_letters.reasons[0].examples[0].partition, partition(1).key);
}

#[test]
fn a_document_that_is_indexed_later_is_no_longer_a_dead_letter() {
    let place = Place::new();
    place.run(vec![
        opened(1),
        page(1, 3),
        settled_with_dead_letters(1, 3, &["a", "b"]),
        ended(1, PartitionOutcome::Done),
    ]);
    place.run(vec![
        opened(2),
        page(2, 1),
        settled_with_dead_letters(2, 1, &["c"]),
        ended(2, PartitionOutcome::Done),
    ]);
    place.run(vec![
        opened(1),
        page(1, 3),
        settled_with_dead_letters(1, 3, &["b"]),
        ended(1, PartitionOutcome::Done),
    ]);
    let left: Vec<String> = place.status().dead_letters.reasons[0]
        .examples
        .iter()
        .map(|document| document.id.clone())
        .collect();
    assert_eq!(left, ["b", "c"]);
}

/// Performs a run that only retries dead letters.
fn run_with_retries(
    place: &Place,
    settled: &[&str],
    refused: &[(&str, DeadLetterCause)],
) -> RunTotals {
    let key =
        |id: &str| DeadLetterKey { index: "cloudtrail-2024.06".to_owned(), id: id.to_owned() };
    let retried = RetryOutcome {
        settled: settled.iter().map(|id| key(id)).collect(),
        indices: Vec::new(),
        rejected: refused
            .iter()
            .map(|(id, cause)| (key(id), *cause, "still not".to_owned()))
            .collect(),
    };
    place.run(vec![CheckpointEvent::Retried(retried)])
}

fn store_three_dead_letters(place: &Place) {
    let rejected = settled_with_dead_letters(1, 3, &["a", "b", "c"]);
    place.run(vec![opened(1), page(1, 3), rejected, ended(1, PartitionOutcome::Done)]);
}

fn waiting(place: &Place, retry: RetrySelection, unchanged: &[(String, String)]) -> Vec<String> {
    let waiting = place.reader().retry_candidates(retry, unchanged, 0, 10).unwrap();
    waiting.into_iter().map(|waiting| waiting.key.id).collect()
}

#[test]
fn a_retried_dead_letter_is_deleted_if_indexed_and_keeps_its_content_if_not() {
    let place = Place::new();
    store_three_dead_letters(&place);
    let totals = run_with_retries(&place, &["a"], &[("b", DeadLetterCause::Index)]);
    assert_eq!((totals.retried_created, totals.retried_dead_letters, totals.created), (1, 1, 0));
    assert_eq!(waiting(&place, RetrySelection::NotAccepted, &[]), ["b", "c"]);
    let reader = place.reader();
    let first = &reader.retry_candidates(RetrySelection::NotAccepted, &[], 0, 1).unwrap()[0];
    assert_eq!(
        reader.dead_letter_content(first).unwrap(),
        Some(DeadLetterContent::Document(CompressedText::new(b"{}")))
    );
    let run = &place.status().runs[0];
    assert_eq!((run.retried.documents, run.retried.created, run.read), (2, 1, 0));
    let reasons = place.status().dead_letters.reasons;
    let actual: Vec<_> = reasons.iter().map(|it| (it.cause.as_str(), it.reason.as_str())).collect();
    assert_eq!(actual, [("content", "too deep"), ("index", "still not")]);
}

#[test]
fn rejected_content_is_due_again_when_the_version_has_changed() {
    let place = Place::new();
    let index = "cloudtrail-2024.06".to_owned();
    let rejected = settled_with_dead_letters(1, 3, &["a", "b"]);
    let refused =
        CheckpointEvent::RejectedUnder { index: index.clone(), version: "1 \"x\"".to_owned() };
    place.run(vec![opened(1), page(1, 3), rejected, ended(1, PartitionOutcome::Done), refused]);
    let under = (index.clone(), "1 \"x\"".to_owned());
    assert_eq!(place.reader().rejections().unwrap(), std::slice::from_ref(&under));
    assert_eq!(waiting(&place, RetrySelection::Due, std::slice::from_ref(&under)), [""; 0]);
    assert_eq!(waiting(&place, RetrySelection::Due, &[(index, "2".to_owned())]), ["a", "b"]);
    assert_eq!(
        waiting(&place, RetrySelection::NotAccepted, std::slice::from_ref(&under)),
        ["a", "b"]
    );
    run_with_retries(&place, &[], &[("b", DeadLetterCause::Pipeline)]);
    assert_eq!(
        waiting(&place, RetrySelection::Due, &[under]),
        ["b"],
        "a pipeline may be repaired at any time"
    );
}

#[test]
fn accepted_dead_letters_are_not_retried_and_stay_accepted() {
    let place = Place::new();
    store_three_dead_letters(&place);
    assert_eq!(accept_dead_letters(&place.file(), now()).unwrap(), 3);
    assert_eq!(accept_dead_letters(&place.file(), now()).unwrap(), 0);
    assert_eq!(waiting(&place, RetrySelection::NotAccepted, &[]), [""; 0]);
    assert_eq!(waiting(&place, RetrySelection::All, &[]), ["a", "b", "c"]);
    assert_eq!(place.open().outstanding().unwrap(), Outstanding { dead_letters: 0, accepted: 3 });
    store_three_dead_letters(&place);
    run_with_retries(&place, &[], &[("c", DeadLetterCause::Content)]);
    let actual = place.status().dead_letters;
    assert_eq!((actual.documents, actual.accepted), (3, 3), "the same documents, rejected again");
    place.run(vec![
        opened(2),
        page(2, 1),
        settled_with_dead_letters(2, 1, &["d"]),
        ended(2, PartitionOutcome::Done),
    ]);
    assert_eq!(place.open().outstanding().unwrap(), Outstanding { dead_letters: 1, accepted: 3 });
}

#[test]
fn accepting_does_not_create_a_missing_file() {
    let place = Place::new();
    let file = place.folder.path().join("other.sqlite");
    assert!(matches!(accept_dead_letters(&file, now()), Err(Error::NotFound { .. })));
    assert!(!file.exists());
}

/// The row is the only copy of a document whose file was overwritten in place.
#[test]
fn dead_letters_of_a_file_stay_when_another_file_replaces_it() {
    let place = Place::new();
    let run = |opening: &str, done: &str, ids: &[&str]| {
        let partition = Partition { key: partition(1).key, fingerprint: opening.to_owned() };
        let fingerprint = Some(done.to_owned());
        let end = CheckpointEvent::PartitionEnded {
            partition: 1,
            outcome: PartitionOutcome::Done,
            pages: 1,
            fingerprint,
        };
        let name = "1.json".to_owned();
        let opened = CheckpointEvent::PartitionOpened {
            number: 1,
            partition,
            name,
            time_slice: None,
            result: None,
        };
        place.run(vec![opened, page(1, 3), settled_with_dead_letters(1, 3, ids), end]);
        place.status().dead_letters.documents
    };
    assert_eq!(run("20:30", "20:30:a", &["old"]), 1);
    assert_eq!(run("20:40", "20:40:b", &[]), 1, "another file of the same size");
    assert_eq!(run("20:50", "20:50:b", &["new"]), 2, "with a dead letter of its own");
    assert_eq!(run("20:60", "20:60:b", &[]), 1, "touched, and indexed");
    assert_eq!(run("20:70", "20:70:a", &[]), 0, "the first one is back, and indexed");
}

#[test]
fn a_failed_partition_is_listed_until_it_is_loaded() {
    let place = Place::new();
    let totals = place.run(vec![opened(1), page(1, 2), settled(1, 2), failed(1)]);
    assert_eq!(
        (totals.partitions_failed, totals.partitions_loaded, totals.partitions_unfinished),
        (1, 0, 0)
    );
    assert!(!place.is_loaded(1));
    place.run(vec![opened(1), page(1, 2), failed(1)]);
    let failures = place.status().failures;
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].name.as_str(), failures[0].attempts), ("1.json", 2));
    assert_eq!(
        (failures[0].cause.as_str(), failures[0].offset),
        ("the gzip stream ends early", Some(4096))
    );
    place.run(whole(1, 2));
    assert_eq!(place.status().failures, []);
    assert!(place.is_loaded(1));
}

#[test]
fn a_loaded_partition_that_fails_when_read_again_is_no_longer_loaded() {
    let place = Place::new();
    place.run(whole(1, 2));
    place.run(vec![opened(1), failed(1)]);
    assert!(!place.is_loaded(1));
}

#[test]
fn changes_are_committed_soon_during_a_run() {
    let place = Place::new();
    let store = place.open();
    let (sender, receiver) = channel();
    let writer = thread::spawn(move || store.run(receiver));
    for event in whole(1, 2) {
        sender.send(event).unwrap();
    }
    let asked = Instant::now();
    while !place.is_loaded(1) {
        assert!(asked.elapsed() < Duration::from_secs(20), "never committed");
        thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(place.status().runs[0].ended, None, "the run is still active");
    drop(sender);
    assert_eq!(writer.join().unwrap().unwrap().totals().partitions_loaded, 1);
}

#[test]
fn the_status_adds_up_and_its_names_are_stable() {
    let place = Place::new();
    let mut events = whole(1, 2);
    events.extend([opened(2), page(2, 4), failed(2)]);
    events.extend([opened(3), page(3, 1), settled_with_dead_letters(3, 1, &["a"])]);
    let learned = |kind: &str| CheckpointEvent::FieldDiscovered {
        path: "x.y".into(),
        kind: kind.into(),
        origin: "met first".into(),
    };
    events.extend([learned("keyword"), learned("keyword")]);
    place.run_with_exit(3, events);
    let mut actual = serde_json::to_value(place.status()).unwrap();
    // Times within the run depend on its speed.
    for (list, time) in [
        ("folders", "first_loaded"),
        ("folders", "last_loaded"),
        ("failures", "failed"),
        ("runs", "ended"),
        ("discovered_fields", "discovered"),
    ] {
        assert!(actual[list][0][time].as_str().unwrap().starts_with("2024-06-01T00:00:"));
        actual[list][0][time] = "soon".into();
    }
    actual["dead_letters"]["reasons"][0]["examples"][0]["rejected"] = "soon".into();
    let expected = serde_json::json!({
        "target": TARGET,
        "created": "2024-06-01T00:00:00Z",
        "runs": [{
            "started": "2024-06-01T00:00:00Z", "ended": "soon", "exit": 3, "read": 3, "created": 2,
            "duplicates": 0, "dead_letters": 1, "partitions_loaded": 1, "partitions_skipped": 0,
            "partitions_failed": 1,
            "retried": { "documents": 0, "created": 0, "duplicates": 0, "dead_letters": 0 }
        }],
        "partitions_loaded": 1, "partitions_skipped": 0, "partitions_failed": 1, "records": 2, "bytes": 1000,
        "folders": [{
            "folder": "file:/trail", "partitions": 1, "skipped": 0, "records": 2, "bytes": 1000,
            "first_loaded": "soon", "last_loaded": "soon"
        }],
        "coverage": [],
        "buckets": [],
        "failure_causes": [
            { "cause": "the gzip stream ends early", "partitions": 1, "example": "2.json" }
        ],
        "skip_causes": [],
        "failures": [{
            "name": "2.json", "cause": "the gzip stream ends early", "offset": 4096, "records": 4,
            "attempts": 1, "failed": "soon"
        }],
        "dead_letters": { "documents": 1, "accepted": 0, "reasons": [{
            "cause": "content", "reason": "too deep", "documents": 1, "accepted": 0,
            "examples": [{
                "index": "cloudtrail-2024.06", "id": "a", "partition": "file:/trail/3.json", "rejected": "soon",
                "reason": "too deep"
            }]
        }] },
        "cluster": null, "missing": [],
        "indices": [{ "name": "", "created": 2, "duplicates": 0, "documents": null }],
        "discovered_fields": [{ "path": "x.y", "kind": "keyword", "origin": "met first", "discovered": "soon" }],
        "sources": []
    });
    assert_eq!(actual, expected);
}

#[test]
fn all_files_are_private() {
    let place = Place::new();
    let file = place.folder.path().join("state/trailload/safe.sqlite");
    let mut store = CheckpointStore::open(&file, TARGET, now()).unwrap();
    for event in whole(1, 1) {
        store.apply(event).unwrap();
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
        let error = CheckpointStore::open(&path, TARGET, now()).unwrap_err();
        assert!(matches!(error, Error::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        let file = fs::canonicalize(place.file()).unwrap();
        let text = error.to_string();
        assert!(text.contains(&file.display().to_string()), "{text}");
        assert!(text.contains(&format!("pid {}, since 2024-06-01T00:00:00Z", std::process::id())));
    }
    assert_eq!(place.status().runs.len(), 1, "status works during a run");
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
    assert!(place.is_loaded(1));
}

#[test]
fn a_file_of_another_target_is_refused() {
    let place = Place::new();
    place.run(vec![]);
    let error =
        CheckpointStore::open(&place.file(), "http://other:9200 cloudtrail", now()).unwrap_err();
    assert!(matches!(&error, Error::TargetMismatch { theirs, .. } if theirs == TARGET));
    assert!(
        error
            .to_string()
            .ends_with(&format!("belongs to {TARGET}, not to http://other:9200 cloudtrail"))
    );
}

/// Changes a closed checkpoint file with another connection.
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
    let error = CheckpointStore::open(&place.file(), TARGET, now()).unwrap_err();
    assert!(matches!(error, Error::Newer { version: 99, .. }));
    assert!(error.hint().unwrap().contains("update trailload"));
    assert!(matches!(
        CheckpointReader::open(&place.file()).unwrap_err(),
        Error::Newer { version: 99, .. }
    ));
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let place = Place::new();
    tamper(&place, "CREATE TABLE bookmarks (url TEXT)");
    let before = fs::read(place.file()).unwrap();
    assert!(matches!(
        CheckpointStore::open(&place.file(), TARGET, now()),
        Err(Error::NotOurs { .. })
    ));
    assert!(matches!(CheckpointReader::open(&place.file()), Err(Error::NotOurs { .. })));
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_damaged_and_left_alone() {
    let place = Place::new();
    let text = "{\"Records\":[]}\n".repeat(100);
    fs::write(place.file(), &text).unwrap();
    let error = CheckpointStore::open(&place.file(), TARGET, now()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("move the file away"));
    assert!(matches!(CheckpointReader::open(&place.file()), Err(Error::Damaged { .. })));
    assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
}

#[test]
fn a_database_with_broken_pages_is_damaged() {
    let place = Place::new();
    place.run((0..500).flat_map(|number| whole(number, 1)).collect());
    let mut bytes = fs::read(place.file()).unwrap();
    // After the first page, so that the header stays valid.
    bytes[4096..].fill(0xA5);
    fs::write(place.file(), bytes).unwrap();
    let error = CheckpointStore::open(&place.file(), TARGET, now()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[test]
fn a_database_that_was_cut_is_damaged() {
    let place = Place::new();
    place.run((0..500).flat_map(|number| whole(number, 1)).collect());
    let bytes = fs::read(place.file()).unwrap();
    fs::write(place.file(), &bytes[..bytes.len() / 2]).unwrap();
    let error = CheckpointStore::open(&place.file(), TARGET, now()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[test]
fn paths_that_cannot_be_a_file_are_named() {
    let place = Place::new();
    let folder = place.folder.path();
    assert!(matches!(CheckpointStore::open(folder, TARGET, now()), Err(Error::IsFolder { .. })));
    assert!(matches!(CheckpointReader::open(folder), Err(Error::IsFolder { .. })));
    assert!(matches!(CheckpointReader::open(&place.file()), Err(Error::NotFound { .. })));
    assert!(!place.file().exists(), "reading creates nothing");
    fs::write(place.file(), "").unwrap();
    assert!(
        matches!(CheckpointReader::open(&place.file()), Err(Error::Empty { .. })),
        "it contains no tables yet"
    );
    let below = place.file().join("below/safe.sqlite");
    assert!(matches!(CheckpointStore::open(&below, TARGET, now()), Err(Error::Folder { .. })));
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    let mut store = place.open();
    store.connection.pragma_update(None, "query_only", true).unwrap();
    let mut events = whole(1, 1);
    let last = events.pop().unwrap();
    for event in events {
        store.apply(event).unwrap();
    }
    let error = store.apply(last).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
}

/// Limits the number of pages by which the file may grow, like a full disk.
fn full_after(store: &CheckpointStore, pages: i64) {
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
        let rejected = settled_with_dead_letters(number, 1, &[&id]);
        for event in
            [opened(number), page(number, 1), ended(number, PartitionOutcome::Done), rejected]
        {
            if let Err(error) = store.apply(event) {
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
    assert!(error.hint().unwrap().contains("nothing is lost"));
    assert!(committed > 10);
    let status = place.status();
    assert_eq!(
        status.partitions_loaded,
        u64::from(committed),
        "nothing lost, nothing half-committed"
    );
    assert_eq!(status.dead_letters.documents, u64::from(committed));
    place.run(whole(committed, 1));
    assert!(place.is_loaded(committed), "the run continues once there is space");
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
        let rest = [
            page(number, 1),
            ended(number, PartitionOutcome::Done),
            settled_with_dead_letters(number, 1, &["x"]),
        ];
        for event in rest {
            // The channel may close at any moment; the loop condition detects it.
            drop(sender.send(event));
        }
        number += 1;
        assert!(number < 1_000_000, "the channel was never closed");
    }
    assert!(matches!(writer.join().unwrap(), Err(Error::Full { .. })));
}

/// Prints the cost of a partition. Run manually, because the result depends on the machine.
#[test]
#[ignore = "a measurement"]
fn measure_a_hundred_thousand_small_files() {
    let place = Place::new();
    let partitions = 100_000;
    let of = |number: u32| Partition {
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
    for number in 0..partitions {
        let name = "x".to_owned();
        let opened = CheckpointEvent::PartitionOpened {
            result: None,
            number,
            partition: of(number),
            name,
            time_slice: None,
        };
        for event in
            [opened, page(number, 40), ended(number, PartitionOutcome::Done), settled(number, 40)]
        {
            sender.send(event).unwrap();
        }
    }
    drop(sender);
    let started = Instant::now();
    assert_eq!(store.run(receiver).unwrap().totals().partitions_loaded, u64::from(partitions));
    let written = started.elapsed();
    let reader = place.reader();
    let asked: Vec<Partition> = (0..partitions).map(of).collect();
    let started = Instant::now();
    assert!(
        asked.iter().all(|partition| reader.loaded_fingerprint(&partition.key).unwrap().is_some())
    );
    let looked_up = started.elapsed();
    let started = Instant::now();
    assert_eq!(
        reader.status(now(), Failures::Causes).unwrap().partitions_loaded,
        u64::from(partitions)
    );
    let actual = started.elapsed();
    let bytes = fs::metadata(place.file()).unwrap().len();
    println!(
        "{partitions} partitions: written {written:?}, looked up {looked_up:?}, status {actual:?}, {bytes} bytes"
    );
}

/// Objects are added to a complete folder: its row includes the others.
#[test]
fn inputs_added_to_a_complete_folder_are_added_to_its_row() {
    let place = Place::new();
    place.run([whole(1, 2), whole(2, 3), vec![folder_complete(2, 2)]].concat());
    let longer = listing(3);
    let again = CheckpointEvent::FolderComplete {
        prefix: DAY.to_owned(),
        listing: longer,
        previously_loaded: 2,
        read_in_this_run: 1,
    };
    // The listing is unchanged until the new object is loaded.
    place.run(vec![again.clone(), opened(3)]);
    assert_eq!(place.reader().complete_folder(DAY).unwrap(), Some(listing(2)));
    place.run([whole(3, 4), vec![again]].concat());
    assert_eq!((rows(&place), place.reader().complete_folder(DAY).unwrap()), (0, Some(longer)));
    let status = place.status();
    assert_eq!((status.partitions_loaded, status.records, status.bytes), (3, 9, 3000));
}

/// A deleted row no longer covers the other partitions.
#[test]
fn inputs_added_to_a_reopened_folder_do_not_complete_it() {
    let place = Place::new();
    place.run([whole(1, 2), whole(2, 3), vec![folder_complete(2, 2)]].concat());
    let again = CheckpointEvent::FolderComplete {
        prefix: DAY.to_owned(),
        listing: listing(3),
        previously_loaded: 2,
        read_in_this_run: 1,
    };
    let failed = vec![opened(2), page(2, 0), failed(2)];
    place.run([failed, whole(3, 4), vec![again]].concat());
    assert_eq!((rows(&place), place.reader().complete_folder(DAY).unwrap()), (1, None));
}
