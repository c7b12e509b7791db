//! The engine sink against a fake engine in this process: one fault at a time.

mod fake_engine;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use self::fake_engine::{COMPONENT_TEMPLATE, FakeEngine, Fault, INDEX, INDEX_TEMPLATE};
use super::{Distribution, Engine, Target};
use crate::event::{
    Batch, CompressedText, DeadLetterCause, DeadLetterContent, Entry, Receipt, Share, TargetIndex,
};
use crate::normalize::{FieldProfile, FieldRegistry, Normalized, Normalizer, Rules, Settings};
use crate::report::{Log, Metrics};
use crate::shutdown::{ShutdownLevel, ShutdownTrigger, shutdown_channel};
use crate::sink::{Cause, ConnectError, Error, RefusalReason, Sink};

fn rules() -> Arc<Rules> {
    static RULES: OnceLock<Arc<Rules>> = OnceLock::new();
    Arc::clone(RULES.get_or_init(|| Arc::new(Rules::embedded().unwrap())))
}

/// Returns the mapping of an index that was created from the index template.
fn core_mapping() -> Value {
    let mut mapping = rules().template().clone();
    mapping["_meta"]["managed_by"] = json!("trailload");
    mapping
}

/// Returns the mapping of a discovered field.
fn keyword() -> Value {
    json!({ "type": "keyword", "ignore_above": 1024 })
}

/// A connected engine, and what it was connected with.
struct Connection {
    engine: Engine,
    fields: Arc<FieldRegistry>,
    metrics: Arc<Metrics>,
    trigger: ShutdownTrigger,
}

impl Connection {
    /// Discovers fields `f0`, `f1`, … up to this number.
    fn discover(&self, fields: u32) {
        discover(&self.fields, fields);
    }
}

fn discover(fields: &Arc<FieldRegistry>, number: u32) {
    let members: serde_json::Map<_, _> =
        (0..number).map(|number| (format!("f{number}"), json!("x"))).collect();
    normalize(fields, &Value::Object(members));
}

/// Returns the document of a record.
fn normalize(fields: &Arc<FieldRegistry>, record: &Value) -> String {
    let settings = Settings { prefix: "trail".into(), ..Settings::default() };
    let mut normalizer = Normalizer::new(Arc::clone(fields), Arc::new(settings));
    let mut out = Vec::new();
    let Normalized::Document(placed) =
        normalizer.rewrite(record.to_string().as_bytes(), &mut out).unwrap()
    else {
        panic!("not a document: {record}")
    };
    let line = out.split_off(placed.action_bytes as usize);
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

fn target(url: &Url) -> Target {
    Target {
        retry_deadline: Duration::from_secs(3),
        request_timeout: Duration::from_secs(1),
        ..Target::new(url.clone(), "trail")
    }
}

async fn connect_to(target: Target) -> Result<Connection, Error> {
    let (trigger, shutdown) = shutdown_channel();
    let fields = Arc::new(FieldRegistry::new(rules(), FieldProfile::Standard, 5_000));
    let metrics = Arc::new(Metrics::default());
    let (shared, log) = (Arc::clone(&fields), Log::default());
    let engine = Engine::connect(target, shared, log, Arc::clone(&metrics), shutdown).await?;
    Ok(Connection { engine, fields, metrics, trigger })
}

async fn connect(fake: &FakeEngine) -> Connection {
    connect_to(target(&fake.url)).await.unwrap()
}

fn batch(documents: &[&str], required_fields: u32) -> Batch {
    let documents: Vec<_> = documents.iter().map(|document| (0, *document)).collect();
    batch_for(&[INDEX], required_fields, &documents)
}

/// Returns a batch of documents, each with the number of its index.
fn batch_for(indices: &[&str], required_fields: u32, documents: &[(u16, &str)]) -> Batch {
    let (mut body, mut entries) = (Vec::new(), Vec::new());
    let position = |body: &Vec<u8>| u32::try_from(body.len()).unwrap();
    for (number, (index, document)) in documents.iter().enumerate() {
        let (action, index) = (position(&body), *index);
        let name = indices[usize::from(index)];
        writeln!(body, "{{\"create\":{{\"_index\":\"{name}\",\"_id\":\"id{number:04}\"}}}}")
            .unwrap();
        let line = position(&body);
        writeln!(body, "{document}").unwrap();
        entries.push(Entry { action, document: line, end: position(&body), index, share: 0 });
    }
    let target = |index: &&str| TargetIndex { index: (*index).to_owned(), required_fields };
    let documents = u32::try_from(entries.len()).unwrap();
    Batch {
        body: body.into(),
        targets: indices.iter().map(target).collect(),
        fields_version: 0,
        shares: vec![Share { partition: 7, page: 0, documents }],
        entries,
        dead_letters: Vec::new(),
    }
}

fn plain(documents: usize) -> Batch {
    batch(&vec!["{\"a\":1}"; documents], 0)
}

/// Asserts that every document is accounted for.
#[track_caller]
fn assert_balanced(receipt: &Receipt) {
    let documents: u32 = receipt.shares.iter().map(|share| share.documents).sum();
    let settled = receipt.created() + receipt.duplicates() + receipt.dead_letters.len() as u64;
    assert_eq!(settled, u64::from(documents));
}

/// Writes ten documents through `faults` and asserts that each is stored once.
async fn survives(faults: impl IntoIterator<Item = Fault>) -> (Receipt, Vec<usize>) {
    let fake = FakeEngine::with(faults);
    let receipt = connect(&fake).await.engine.write(plain(10)).await.unwrap();
    assert_balanced(&receipt);
    assert_eq!(fake.ids().len(), 10);
    assert!(receipt.dead_letters.is_empty());
    (receipt, fake.bulks())
}

async fn fails(fault: Fault) -> Error {
    let fake = FakeEngine::with([fault]);
    connect(&fake).await.engine.write(plain(3)).await.unwrap_err().error
}

#[tokio::test]
async fn a_second_write_finds_duplicates() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    assert_eq!(connection.engine.write(plain(10)).await.unwrap().created(), 10);
    let again = connection.engine.write(plain(10)).await.unwrap();
    assert_eq!((again.created(), again.duplicates()), (0, 10));
    assert_eq!(connection.engine.info().to_string(), "OpenSearch 3.8.0");
}

#[tokio::test]
async fn a_receipt_counts_each_index_by_its_name() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    let all = |receipt: Receipt| {
        let counted = receipt.indices.into_iter();
        counted.map(|one| (one.index, one.created, one.duplicates)).collect::<Vec<_>>()
    };
    let february = "trail-2024.02";
    // Every third one is for the second index.
    let spread = |documents: u16| -> Vec<_> {
        (0..documents).map(|number| (u16::from(number % 3 == 1), "{}")).collect()
    };
    let first =
        connection.engine.write(batch_for(&[february, INDEX], 0, &spread(5))).await.unwrap();
    assert_eq!(all(first), [(february.to_owned(), 3, 0), (INDEX.to_owned(), 2, 0)]);
    let more = connection.engine.write(batch_for(&[february, INDEX], 0, &spread(7))).await.unwrap();
    assert_eq!(all(more), [(february.to_owned(), 2, 3), (INDEX.to_owned(), 0, 2)]);
}

#[tokio::test]
async fn documents_of_a_failed_batch_are_counted() {
    let fake = FakeEngine::with([Fault::Item(403, "security_exception")]);
    let connection = connect(&fake).await;
    let unfinished = connection.engine.write(plain(10)).await.unwrap_err();
    assert!(matches!(unfinished.error, Error::Denied { .. }), "{unfinished:?}");
    let created: u64 = unfinished.indices.iter().map(|one| one.created).sum();
    assert_eq!(created, fake.ids().len() as u64);
    assert_eq!(created, 9, "all but the one that was refused");
}

#[tokio::test]
async fn whole_requests_are_sent_again() {
    for fault in [
        Fault::Whole(429, "{}"),
        Fault::Whole(503, "<html>later</html>"),
        Fault::Whole(200, "<html>who are you</html>"),
        Fault::Whole(200, "{}"),
        Fault::Reset,
    ] {
        let (receipt, bulks) = survives([fault]).await;
        assert_eq!(receipt.created(), 10);
        assert_eq!(bulks, [10, 10]);
    }
}

#[tokio::test]
async fn a_half_accepted_request_creates_nothing_twice() {
    let (receipt, _) = survives([Fault::HalfThenReset]).await;
    assert_eq!((receipt.created(), receipt.duplicates()), (5, 5));
    let (receipt, _) = survives([Fault::OneItemLess]).await;
    assert_eq!((receipt.created(), receipt.duplicates()), (0, 10));
}

#[tokio::test]
async fn a_request_to_a_silent_engine_is_sent_again() {
    let (receipt, _) = survives([Fault::Silence]).await;
    assert_eq!(receipt.created(), 10);
}

#[tokio::test]
async fn only_failed_items_are_sent_again() {
    for status in [429, 503] {
        let (receipt, bulks) =
            survives([Fault::Item(status, "es_rejected_execution_exception")]).await;
        assert_eq!(receipt.created(), 10);
        assert_eq!(bulks, [10, 1]);
    }
}

#[tokio::test]
async fn retries_are_counted() {
    let fake = FakeEngine::with([Fault::Whole(503, ""), Fault::Item(429, "busy")]);
    let connection = connect(&fake).await;
    connection.engine.write(plain(2)).await.unwrap();
    assert_eq!(connection.metrics.retries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn requests_that_are_too_large_are_split_and_the_size_is_remembered() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    fake.state.lock().unwrap().max_bytes = Some(plain(3).body.len());
    let receipt = connection.engine.write(plain(8)).await.unwrap();
    assert_balanced(&receipt);
    assert_eq!(receipt.created(), 8);
    let before = fake.bulks().len();
    connection.engine.write(plain(8)).await.unwrap();
    assert_eq!(
        fake.bulks()[before..],
        [2, 2, 2, 2],
        "a size that was too large is not tried again"
    );
}

#[tokio::test]
async fn one_document_that_is_too_large_becomes_a_dead_letter() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    fake.state.lock().unwrap().max_bytes = Some(1000);
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(2000));
    let receipt = connection.engine.write(batch(&["{}", &huge, "{}"], 0)).await.unwrap();
    assert_balanced(&receipt);
    assert_eq!(receipt.created(), 2);
    assert_eq!(
        (receipt.dead_letters[0].id.as_str(), receipt.dead_letters[0].partition),
        ("id0001", 7)
    );
    assert_eq!(receipt.dead_letters[0].cause, DeadLetterCause::Limit);
    assert!(receipt.dead_letters[0].reason.contains("too large"));
}

#[tokio::test]
async fn invalid_credentials_stop_the_run() {
    for status in [401, 403] {
        let whole = fails(Fault::Whole(
            status,
            "{\"error\":{\"type\":\"security_exception\",\"reason\":\"no\"}}",
        ))
        .await;
        assert!(matches!(whole, Error::Denied { status: found, .. } if found == status));
        let item = fails(Fault::Item(status, "security_exception")).await;
        assert!(matches!(item, Error::Denied { status: found, .. } if found == status));
    }
}

#[tokio::test]
async fn an_error_that_the_next_document_would_meet_too_stops_the_run() {
    let error = fails(Fault::Item(400, "validation_exception")).await;
    assert!(
        matches!(&error, Error::Refused { source, .. } if source.code() == "validation_exception"),
        "{error:?}"
    );
    assert!(matches!(fails(Fault::Whole(404, "")).await, Error::Refused { status: 404, .. }));
}

#[tokio::test]
async fn a_document_whose_index_was_deleted_is_sent_again() {
    let fake = FakeEngine::with([Fault::Item(404, "index_not_found_exception")]);
    let connection = connect(&fake).await;
    let receipt = connection.engine.write(plain(10)).await.unwrap();
    assert_balanced(&receipt);
    assert_eq!(receipt.created(), 10);
    assert_eq!(fake.bulks(), [10, 1]);
}

/// Configures an ingest pipeline in the settings of an index.
fn configure_pipeline(fake: &FakeEngine, index: &str, pipeline: &str) {
    let path = format!(
        "GET /{index}/_settings?filter_path=*.settings.index.default_pipeline,*.settings.index.final_pipeline"
    );
    let settings = json!({ "index": { "default_pipeline": pipeline } });
    fake.fix(&path, 200, json!({ index: { "settings": settings } }));
}

fn causes(receipt: &Receipt) -> Vec<(DeadLetterCause, &str)> {
    receipt.dead_letters.iter().map(|one| (one.cause, one.reason.as_str())).collect()
}

#[tokio::test]
async fn documents_that_a_pipeline_drops_or_moves_become_dead_letters_with_its_name() {
    for (fault, reason) in [
        (
            Fault::Each("\"result\":\"noop\",\"status\":200"),
            "ingest pipeline 'p': 200 noop: the engine did not create the document",
        ),
        (
            Fault::Renamed("other"),
            "ingest pipeline 'p': 201 created: it was stored in 'trail-2024.06' as 'other' instead",
        ),
    ] {
        let fake = FakeEngine::with([fault]);
        configure_pipeline(&fake, INDEX, "p");
        let receipt = connect(&fake).await.engine.write(plain(3)).await.unwrap();
        assert_balanced(&receipt);
        assert_eq!((receipt.created(), receipt.duplicates()), (0, 0));
        assert_eq!(causes(&receipt)[0], (DeadLetterCause::Pipeline, reason));
        assert!(causes(&receipt).iter().all(|(cause, _)| *cause == DeadLetterCause::Pipeline));
        assert_eq!(fake.bulks(), [3], "nothing is sent again");
    }
}

#[tokio::test]
async fn a_failing_pipeline_is_not_retried() {
    let nameless = Fault::Each(
        "\"status\":500,\"error\":{\"type\":\"null_pointer_exception\",\"reason\":\"x\"}",
    );
    let fake = FakeEngine::with([nameless]);
    configure_pipeline(&fake, INDEX, "p");
    let receipt = connect(&fake).await.engine.write(plain(3)).await.unwrap();
    let reason = "ingest pipeline 'p': 500 null_pointer_exception: x";
    assert_eq!(causes(&receipt), [(DeadLetterCause::Pipeline, reason); 3]);
    assert_eq!(fake.bulks(), [3]);
    let missing = Fault::Each(
        "\"status\":400,\"error\":{\"type\":\"illegal_argument_exception\",\"reason\":\"pipeline with id [p] does not exist\"}",
    );
    let fake = FakeEngine::with([missing]);
    let receipt = connect(&fake).await.engine.write(plain(3)).await.unwrap();
    assert!(causes(&receipt).iter().all(|(cause, _)| *cause == DeadLetterCause::Pipeline));
    assert_eq!(fake.bulks(), [3], "also if the settings do not name it");
}

#[tokio::test]
async fn the_same_error_without_a_pipeline_is_retried() {
    let (receipt, bulks) = survives([Fault::Item(500, "null_pointer_exception")]).await;
    assert_eq!(receipt.created(), 10);
    assert_eq!(bulks, [10, 1]);
}

#[tokio::test]
async fn documents_of_an_unwritable_index_become_dead_letters_and_others_are_stored() {
    let february = "trail-2024.02";
    for rest in [
        "\"status\":400,\"error\":{\"type\":\"index_closed_exception\",\"reason\":\"closed\"}",
        "\"status\":403,\"error\":{\"type\":\"cluster_block_exception\",\"reason\":\"index [trail-2024.02] blocked by: [FORBIDDEN/8/index write (api)];\"}",
    ] {
        let fake = FakeEngine::start();
        fake.state.lock().unwrap().unwritable = Some((february, rest));
        let connection = connect(&fake).await;
        let documents = [(0, "{}"), (1, "{}"), (0, "{}"), (1, "{}"), (1, "{}")];
        let receipt =
            connection.engine.write(batch_for(&[february, INDEX], 0, &documents)).await.unwrap();
        assert_balanced(&receipt);
        assert_eq!(receipt.created(), 3);
        assert_eq!(
            receipt.dead_letters.iter().map(|one| one.index.as_str()).collect::<Vec<_>>(),
            [february; 2]
        );
        assert!(causes(&receipt).iter().all(|(cause, _)| *cause == DeadLetterCause::Index));
        let receipt =
            connection.engine.write(batch_for(&[february, INDEX], 0, &documents)).await.unwrap();
        assert_balanced(&receipt);
        assert_eq!((receipt.duplicates(), receipt.dead_letters.len()), (3, 2));
        assert_eq!(fake.bulks(), [5, 3], "documents that it rejects are not sent again");
    }
}

#[tokio::test]
async fn an_index_whose_metadata_is_blocked_gets_no_documents() {
    let february = "trail-2024.02";
    let fake = FakeEngine::start();
    let reason = "index [trail-2024.02] blocked by: [FORBIDDEN/9/index metadata (api)];";
    let block = json!({ "error": { "type": "cluster_block_exception", "reason": reason } });
    fake.fix(&format!("GET /{february}/_mapping"), 403, block);
    let connection = connect(&fake).await;
    let documents = [(0, "{}"), (1, "{}")];
    let receipt =
        connection.engine.write(batch_for(&[february, INDEX], 0, &documents)).await.unwrap();
    assert_balanced(&receipt);
    assert_eq!((receipt.created(), receipt.dead_letters.len()), (1, 1));
    assert!(receipt.dead_letters[0].reason.contains("FORBIDDEN/9"));
    assert_eq!(fake.bulks(), [1]);
    connection.discover(1);
    connection.engine.write(batch(&["{}"], 1)).await.unwrap();
    connection.engine.finish().await.unwrap();
}

#[tokio::test]
async fn a_read_only_cluster_ends_the_run_at_once() {
    let fake = FakeEngine::with([Fault::Each(
        "\"status\":403,\"error\":{\"type\":\"cluster_block_exception\",\"reason\":\"blocked by: [FORBIDDEN/6/cluster read-only (api)];\"}",
    )]);
    let error = connect(&fake).await.engine.write(plain(1)).await.unwrap_err().error;
    assert!(matches!(error, Error::Refused { reason: RefusalReason::Block(_), .. }), "{error:?}");
    assert_eq!(fake.bulks(), [1]);
}

#[tokio::test]
async fn a_full_disk_is_reported_after_some_attempts() {
    let block = || Fault::Item(429, "cluster_block_exception");
    let fake = FakeEngine::with((0..1000).map(|_| block()));
    let error = connect(&fake).await.engine.write(plain(1)).await.unwrap_err().error;
    assert!(matches!(error, Error::WriteBlocked { .. }), "{error:?}");
    let (receipt, _) = survives([block()]).await;
    assert_eq!(receipt.created(), 10, "freed disk space is not an error");
}

#[tokio::test]
async fn an_engine_that_stays_unavailable_ends_the_run() {
    let fake = FakeEngine::with((0..1000).map(|_| Fault::Whole(503, "")));
    let connection = connect(&fake).await;
    let start = Instant::now();
    let error = connection.engine.write(plain(1)).await.unwrap_err().error;
    assert!(matches!(
        error,
        Error::RetriesExhausted { source: Cause::ErrorResponse { status: 503, .. }, .. }
    ));
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn an_immediate_shutdown_does_not_wait_for_the_engine() {
    let fake = FakeEngine::with([Fault::Silence]);
    let connection = connect(&fake).await;
    let start = Instant::now();
    let (written, ()) = tokio::join!(connection.engine.write(plain(1)), async {
        tokio::task::yield_now().await;
        connection.trigger.raise(ShutdownLevel::Immediate);
    });
    assert!(matches!(written.unwrap_err().error, Error::Interrupted { .. }));
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[tokio::test]
async fn a_rejected_document_is_rewritten_then_raw_then_a_dead_letter() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    let documents = [
        json!({ "a": "1" }),
        json!({ "clash": "1" }),
        json!({ "bad": "1" }),
        json!({ "bad": "1", "clash": "1" }),
        json!({ "bad": "hopeless" }),
    ]
    .map(|record| normalize(&connection.fields, &record));
    let documents = documents.each_ref().map(String::as_str);
    let required = connection.fields.len();
    connection.engine.write(batch(&[], required)).await.unwrap();
    // Another program changed the index after this run prepared it.
    let object = json!({ "properties": { "x": keyword() } });
    fake.state.lock().unwrap().mapping.as_mut().unwrap()["properties"]["clash"] = object;

    let receipt = connection.engine.write(batch(&documents, required)).await.unwrap();
    assert_balanced(&receipt);
    assert_eq!(receipt.created(), 4);
    let stored = fake.state.lock().unwrap().stored.clone();
    assert_eq!(stored["id0000"].to_string(), documents[0]);
    assert!(stored["id0001"]["trailload"]["changes"].is_array(), "rewritten for the live mapping");
    for id in ["id0002", "id0003"] {
        assert_eq!(stored[id]["trailload"]["raw"], true, "{id}");
    }
    assert_eq!(receipt.dead_letters[0].id, "id0004");
    let content = CompressedText::new(documents[4].as_bytes());
    assert_eq!(receipt.dead_letters[0].content, DeadLetterContent::Document(content));
    assert_eq!(receipt.dead_letters[0].cause, DeadLetterCause::Content);
    assert!(receipt.dead_letters[0].reason.contains("mapper_parsing_exception"));
    assert_eq!(fake.bulks(), [5, 4, 1], "each form is sent once");
}

#[tokio::test]
async fn fields_are_added_once_and_before_the_batch_that_requires_them() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    connection.discover(3);
    let put = format!("PUT /{INDEX}/_mapping");
    let (one, two) = tokio::join!(
        connection.engine.write(batch(&["{}", "{}"], 2)),
        connection.engine.write(batch(&["{}", "{}"], 3))
    );
    assert_eq!(one.unwrap().created() + two.unwrap().created(), 2);
    let all = json!({"f0": keyword(), "f1": keyword(), "f2": keyword()});
    assert_eq!(
        fake.calls(&format!("PUT /{INDEX}")),
        [json!({"mappings": {"properties": all}})],
        "both waited for one call with all fields"
    );

    connection.discover(4);
    connection.engine.write(batch(&["{}"], 4)).await.unwrap();
    assert_eq!(fake.calls(&put), [json!({"properties": {"f3": keyword()}})], "only new fields");
    let component = fake.calls(&format!("PUT {COMPONENT_TEMPLATE}"));
    assert_eq!(component.last().unwrap()["template"]["mappings"]["properties"]["f3"], keyword());
    assert_eq!(connection.metrics.mapping_calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_batch_does_not_wait_for_fields_discovered_since() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    connection.discover(2);
    let fields = Arc::clone(&connection.fields);
    fake.state.lock().unwrap().on_create = Some(Box::new(move || discover(&fields, 5)));
    connection.engine.write(batch(&["{}"], 2)).await.unwrap();
    let put = format!("PUT /{INDEX}/_mapping");
    assert_eq!(connection.fields.len(), 5, "they turned up while the index was created");
    assert!(fake.calls(&put).is_empty(), "its own fields came with the index");
    connection.engine.write(batch(&["{}"], 3)).await.unwrap();
    let rest = json!({"f2": keyword(), "f3": keyword(), "f4": keyword()});
    assert_eq!(fake.calls(&put), [json!({"properties": rest})], "with one call for all");
}

#[tokio::test]
async fn finish_restores_fields_that_another_loader_removed_from_the_template() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    connection.discover(2);
    connection.engine.write(batch(&["{}"], 2)).await.unwrap();
    // The other loader read the template before this one wrote it, and writes last.
    let theirs = json!({"template": {"mappings": {"properties": {"other": keyword()}}}});
    fake.state.lock().unwrap().component_template = Some(theirs);
    connection.engine.finish().await.unwrap();
    let component = fake.state.lock().unwrap().component_template.clone().unwrap();
    let both = json!({"f0": keyword(), "f1": keyword(), "other": keyword()});
    assert_eq!(component["template"]["mappings"]["properties"], both);
}

#[tokio::test]
async fn finish_sends_nothing_if_no_fields_were_added() {
    let fake = FakeEngine::start();
    let first = connect(&fake).await;
    first.discover(2);
    first.engine.write(batch(&["{}"], 2)).await.unwrap();
    first.engine.finish().await.unwrap();
    let second = connect(&fake).await;
    second.discover(2);
    second.engine.write(batch(&["{}"], 2)).await.unwrap();
    let before = fake.state.lock().unwrap().calls.len();
    second.engine.finish().await.unwrap();
    assert_eq!(fake.state.lock().unwrap().calls.len(), before);
}

#[tokio::test]
async fn the_component_template_keeps_the_fields_of_others() {
    let fake = FakeEngine::start();
    let component = |properties: Value| {
        let meta = json!({ "managed_by": "trailload", "version": 1 });
        json!({ "template": { "mappings": { "properties": properties } }, "_meta": meta })
    };
    let object = json!({ "properties": { "x": keyword() } });
    let theirs = json!({ "other": keyword(), "f0": object });
    fake.state.lock().unwrap().component_template = Some(component(theirs.clone()));
    let connection = connect(&fake).await;
    let known = connection.fields.properties(0, connection.fields.len());
    assert_eq!(known, theirs, "an earlier run's decisions are read");
    connection.discover(2);
    let later = json!({ "other": keyword(), "f0": object, "later": keyword() });
    fake.state.lock().unwrap().component_template = Some(component(later));
    connection.engine.write(batch(&["{}"], connection.fields.len())).await.unwrap();
    let created = &fake.calls(&format!("PUT /{INDEX}"))[0]["mappings"]["properties"];
    assert_eq!(created["later"], keyword(), "and read again before an index gets a field");
    let put = fake.calls(&format!("PUT {COMPONENT_TEMPLATE}"));
    let properties = &put[0]["template"]["mappings"]["properties"];
    assert_eq!(properties["f0"], object);
    assert_eq!(properties["f1"], keyword());
    assert_eq!(properties["other"], keyword());
}

#[tokio::test]
async fn a_component_template_that_another_loader_replaced_gets_the_fields_again() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    let object = json!({"properties": {"x": keyword()}});
    let theirs =
        json!({"template": {"mappings": {"properties": {"other": keyword(), "f1": object}}}});
    fake.state.lock().unwrap().replacement = Some(theirs);
    connection.discover(2);
    connection.engine.write(batch(&["{}"], 2)).await.unwrap();
    let component = fake.state.lock().unwrap().component_template.clone().unwrap();
    let both = json!({"f0": keyword(), "f1": keyword(), "other": keyword()});
    assert_eq!(component["template"]["mappings"]["properties"], both, "as the index has them");
}

#[tokio::test]
async fn a_field_that_another_loader_decided_is_kept_and_the_others_are_added() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    connection.engine.write(batch(&["{}"], 0)).await.unwrap();
    {
        let mut state = fake.state.lock().unwrap();
        let theirs = json!({"properties": {"x": keyword()}});
        state.mapping.as_mut().unwrap()["properties"]["f1"] = theirs;
        state.put_mapping.push_back((
            400,
            json!({"error": {"type": "illegal_argument_exception", "reason": "can't merge"}}),
        ));
    }
    connection.discover(3);
    connection.engine.write(batch(&["{}"], 3)).await.unwrap();
    let puts = fake.calls(&format!("PUT /{INDEX}/_mapping"));
    assert_eq!(puts[1], json!({"properties": {"f0": keyword(), "f2": keyword()}}));
    let known = connection.fields.properties(0, connection.fields.len());
    assert!(known["f1"]["properties"].is_object(), "the registry follows the index");
}

#[tokio::test]
async fn a_full_index_still_accepts_documents() {
    let fake = FakeEngine::start();
    let full = json!({"error": {"type": "illegal_argument_exception", "reason": "Limit of total fields [9] has been exceeded"}});
    fake.state.lock().unwrap().put_mapping.push_back((400, full));
    let connection = connect(&fake).await;
    connection.discover(1);
    connection.engine.write(batch(&["{}"], 1)).await.unwrap();
    connection.discover(9);
    connection.engine.write(batch(&["{}", "{}"], 9)).await.unwrap();
    assert_eq!(fake.ids().len(), 2);
    assert_eq!(fake.calls(&format!("PUT /{INDEX}/_mapping")).len(), 1, "it is not sent again");
    assert!(connection.fields.is_full(), "further fields go into trailload.unmapped");
}

/// Returns `trailload.unmapped` of each stored document, by id.
fn unmapped(fake: &FakeEngine) -> Vec<Value> {
    let state = fake.state.lock().unwrap();
    state.stored.values().map(|document| document["trailload"]["unmapped"].clone()).collect()
}

#[tokio::test]
async fn documents_in_flight_get_terms_for_fields_that_a_full_index_lacks() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    connection.engine.write(batch(&["{}"], 0)).await.unwrap();
    // Normalized before the limit is reached, and written when it is and afterwards.
    let record =
        json!({"eventName": "A", "requestParameters": {"newOne": "x", "list": [{"other": 7}]}});
    let early = normalize(&connection.fields, &record);
    let required = connection.fields.len();
    assert!(required > 0 && !early.contains("unmapped"));
    let version = connection.fields.version();
    let full = json!({"error": {"type": "illegal_argument_exception", "reason": "Limit of total fields [9] has been exceeded"}});
    fake.state.lock().unwrap().put_mapping.push_back((400, full));
    for id in 1..3 {
        let mut documents = vec!["{}"; id];
        documents.push(&early);
        let batch = Batch { fields_version: version, ..batch(&documents, required) };
        connection.engine.write(batch).await.unwrap();
    }
    let late = normalize(&connection.fields, &record);
    let terms = json!(["requestParameters.newOne=x", "requestParameters.list.other=7"]);
    assert_eq!(unmapped(&fake), [Value::Null, terms.clone(), terms.clone()]);
    let late: Value = serde_json::from_str(&late).unwrap();
    assert_eq!(late["trailload"]["unmapped"], terms, "those that follow are complete as they are");
    // They are not rewritten again.
    let odd = json!({"requestParameters": {"newOne": "y"}}).to_string();
    let documents = ["{}", "{}", "{}", odd.as_str()];
    let batch = Batch { fields_version: connection.fields.version(), ..batch(&documents, 0) };
    connection.engine.write(batch).await.unwrap();
    assert_eq!(unmapped(&fake)[3], Value::Null);
}

#[tokio::test]
async fn documents_get_terms_for_fields_that_an_index_refuses() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    connection.engine.write(batch(&["{}"], 0)).await.unwrap();
    let record = json!({"eventName": "A", "requestParameters": {"good": "x", "odd": "y"}});
    let early = normalize(&connection.fields, &record);
    let version = connection.fields.version();
    // Everything, several times; then the halves: one of them is accepted.
    {
        let refused = || {
            let reason = json!({"type": "mapper_parsing_exception", "reason": "odd"});
            (400, json!({ "error": reason }))
        };
        let mut state = fake.state.lock().unwrap();
        state.put_mapping.extend((0..9).map(|_| refused()));
        state.put_mapping.push_back((200, json!({"acknowledged": true})));
        state.put_mapping.push_back(refused());
    }
    let required = connection.fields.len();
    let documents = ["{}", early.as_str()];
    let batch = Batch { fields_version: version, ..batch(&documents, required) };
    connection.engine.write(batch).await.unwrap();
    let terms = unmapped(&fake)[1].clone();
    assert!(terms.to_string().contains("requestParameters.odd=y"), "{terms}");
    let late: Value = serde_json::from_str(&normalize(&connection.fields, &record)).unwrap();
    assert!(
        late["trailload"]["unmapped"].to_string().contains("requestParameters.odd=y"),
        "{late}"
    );
    assert!(!connection.fields.is_full(), "other fields are still added");
}

#[tokio::test]
async fn templates_are_installed_before_anything_is_written() {
    let fake = FakeEngine::start();
    let connection = connect(&fake).await;
    assert!(fake.calls(&format!("PUT {INDEX_TEMPLATE}")).is_empty(), "connecting changes nothing");
    connection.engine.write(batch(&["{}"], 0)).await.unwrap();
    connection.engine.prepare().await.unwrap();
    let written: Vec<_> =
        fake.state.lock().unwrap().calls.iter().map(|(call, _)| call.clone()).collect();
    let place = |call: &str| written.iter().position(|made| made == call);
    assert!(
        place(&format!("PUT {INDEX_TEMPLATE}")) < place(&format!("PUT /{INDEX}")),
        "{written:?}"
    );
    let template = &fake.calls(&format!("PUT {INDEX_TEMPLATE}"))[0];
    assert_eq!(template["template"]["mappings"], core_mapping());
    assert_eq!(fake.calls(&format!("PUT {COMPONENT_TEMPLATE}")).len(), 1);
}

#[tokio::test]
async fn a_foreign_or_newer_template_is_overwritten_by_force_only() {
    let fake = FakeEngine::start();
    let version = rules().template()["_meta"]["version"].as_u64().unwrap();
    let found = |meta: Value| json!({"index_templates": [{"name": "trail", "index_template": {"_meta": meta}}]});
    fake.fix("GET /_index_template/trail", 200, found(json!({})));
    assert!(matches!(connect_to(target(&fake.url)).await, Err(Error::ForeignTemplate { .. })));
    fake.fix(
        "GET /_index_template/trail",
        200,
        found(json!({"managed_by": "trailload", "version": version + 1})),
    );
    let newer = connect_to(target(&fake.url)).await;
    assert!(
        matches!(newer, Err(Error::NewerTemplate { ours, theirs, .. }) if (ours, theirs) == (version, version + 1))
    );
    assert!(fake.calls(&format!("PUT {INDEX_TEMPLATE}")).is_empty());
    let forced = Target { force: true, ..target(&fake.url) };
    connect_to(forced).await.unwrap().engine.prepare().await.unwrap();
    assert_eq!(fake.calls(&format!("PUT {INDEX_TEMPLATE}")).len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_implements_only_bulk_is_sufficient() {
    let fake = FakeEngine::start();
    fake.fix("GET /", 200, json!({}));
    fake.fix("GET /_index_template/trail", 200, json!({}));
    let connection = connect(&fake).await;
    assert_eq!(connection.engine.info().distribution, Distribution::Unknown);
    connection.discover(2);
    assert_eq!(connection.engine.write(batch(&["{}"], 2)).await.unwrap().created(), 1);
    assert!(fake.calls(&format!("GET /{INDEX}/_mapping")).is_empty());
}

#[tokio::test]
async fn an_engine_without_composable_templates_is_too_old() {
    let fake = FakeEngine::start();
    let about = |number| json!({"version": {"number": number}, "tagline": "You Know, for Search"});
    fake.fix("GET /", 200, about("7.7.1"));
    assert!(matches!(connect_to(target(&fake.url)).await, Err(Error::UnsupportedVersion { .. })));
    fake.fix("GET /", 200, about("7.10.2"));
    connect_to(target(&fake.url)).await.unwrap();
}

#[tokio::test]
async fn the_first_request_shows_why_connecting_fails() {
    async fn kind(url: &str) -> ConnectError {
        match connect_to(target(&url.parse().unwrap())).await {
            Err(Error::Connect { kind: how, .. }) => how,
            other => panic!("{:?}", other.map(|connection| connection.engine)),
        }
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(kind(&format!("http://127.0.0.1:{port}")).await, ConnectError::ConnectionRefused);
    let fake = FakeEngine::start();
    let plain_port = fake.url.port().unwrap();
    assert_eq!(kind(&format!("https://127.0.0.1:{plain_port}")).await, ConnectError::NotTls);

    let fake = FakeEngine::start();
    fake.fix(
        "GET /",
        401,
        json!({"error": {"type": "security_exception", "reason": "who are you"}}),
    );
    assert!(matches!(connect_to(target(&fake.url)).await, Err(Error::Denied { status: 401, .. })));
}

#[tokio::test]
async fn a_connection_that_is_closed_without_a_response_is_recognized() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Reads a little, so that closing does not reset the connection.
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let closed = connect_to(target(&url)).await.err();
    assert!(
        matches!(closed, Some(Error::Connect { kind: ConnectError::ConnectionClosed, .. })),
        "{closed:?}"
    );
}

#[tokio::test]
async fn secrets_of_the_url_are_not_shown() {
    let fake = FakeEngine::start();
    let mut url = fake.url.clone();
    url.set_username("me").unwrap();
    url.set_password(Some("s3cr%C3%A9t")).unwrap();
    let target = Target { ..Target::new(url, "trail") };
    assert_eq!(
        target.credentials,
        super::Credentials::Basic { username: "me".into(), password: "s3crét".into() }
    );
    let shown = format!("{target:?} {:?}", connect_to(target.clone()).await.unwrap().engine);
    assert!(!shown.contains("s3cr"), "{shown}");
}

#[tokio::test]
async fn an_invalid_prefix_is_rejected() {
    for prefix in ["", "_x", "Trail", "a b", "a/b", "a*"] {
        let target = Target::new("http://127.0.0.1:1".parse().unwrap(), prefix);
        assert!(matches!(connect_to(target).await, Err(Error::InvalidPrefix { .. })), "{prefix}");
    }
}
