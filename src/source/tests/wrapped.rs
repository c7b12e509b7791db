//! What events are wrapped in, other than AWS's log files: every shape gives its events, whatever the window, and what
//! cannot be read is named.

use serde_json::{Value, json};

use super::*;

const ID: &str = "0a1b2c3d-4e5f-4a6b-8c7d-000000000001";

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn bridge(record: &str) -> String {
    format!(r#"{{"version":"0","detail-type":"AWS API Call via CloudTrail","detail":{record}}}"#)
}

fn sns(text: &str) -> String {
    json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:x", "Message": text,
        "Timestamp": "2024-03-05T10:00:00Z"})
    .to_string()
}

fn subscription(record: &str) -> String {
    json!({"messageType": "DATA_MESSAGE", "owner": "1", "logEvents": [{"id": "1", "timestamp": 1, "message": record}]})
        .to_string()
}

fn failed(stored: &[u8]) -> String {
    json!({"attemptsMade": 4, "arrivalTimestamp": 1, "errorCode": "400", "errorMessage": "x",
        "attemptEndingTimestamp": 2, "rawData": base64(stored), "esDocumentId": "49", "esIndexName": "ct"})
    .to_string()
}

/// Events in all shapes, as text, each of which gives `A`.
fn shapes() -> Vec<(InputFormat, String)> {
    let (a, quoted_a) = (A, quoted(A));
    let value: Value = serde_json::from_str(A).unwrap();
    vec![
        (InputFormat::Messages, sns(A)),
        (InputFormat::Messages, sns(&bridge(A))),
        (InputFormat::Messages, json!({"Records": [{"messageId": "m", "receiptHandle": "r", "body": sns(&bridge(A)),
            "attributes": {}, "eventSource": "aws:sqs", "awsRegion": "x"}]}).to_string()),
        (InputFormat::Messages, json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0",
            "Sns": {"Type": "Notification", "Message": bridge(A)}}]}).to_string()),
        (InputFormat::Messages, json!({"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "MD5OfBody": "x",
            "Body": sns(&bridge(A))}]}).to_string()),
        (InputFormat::Messages, json!({"MessageId": "m", "ReceiptHandle": "r", "Body": bridge(A)}).to_string()),
        (InputFormat::Messages, json!({"Entries": [{"Source": "x", "DetailType": "y", "Detail": A}]}).to_string()),
        (InputFormat::Stream, json!({"Records": [{"kinesis": {"partitionKey": "p", "data": base64(&gzip(subscription(A).as_bytes()))},
            "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": "s", "eventName": "aws:kinesis:record"}]}).to_string()),
        (InputFormat::Stream, json!({"Records": [{"SequenceNumber": "4", "Data": base64(A.as_bytes()), "PartitionKey": "p"}],
            "NextShardIterator": "x"}).to_string()),
        (InputFormat::Stream, json!({"invocationId": "i", "records": [{"recordId": "r", "data": base64(A.as_bytes())}]}).to_string()),
        (InputFormat::Stream, json!({"awslogs": {"data": base64(&gzip(subscription(A).as_bytes()))}}).to_string()),
        (InputFormat::Stream, failed(A.as_bytes())),
        (InputFormat::Stream, failed(&gzip(subscription(&bridge(A)).as_bytes()))),
        (InputFormat::Documents, json!({"took": 1, "_shards": {"total": 1}, "hits": {"total": {"value": 1}, "hits":
            [{"_index": "i", "_id": "x", "_score": null, "_source": value, "sort": [1]}]}}).to_string()),
        (InputFormat::Documents, json!({"_scroll_id": "s", "hits": {"hits": [{"_source": {"message": A, "@timestamp": "t"}}]}}).to_string()),
        (InputFormat::Documents, json!({"responses": [{"hits": {"hits": [{"_source": value}]}}]}).to_string()),
        (InputFormat::Documents, json!({"hits": {"hits": [{"_index": "i", "fields": {"event.original": [A]}}]}}).to_string()),
        (InputFormat::Documents, json!({"docs": [{"_index": "i", "found": true, "_source": value}]}).to_string()),
        (InputFormat::Documents, json!({"_index": "i", "_type": "_doc", "_id": "x", "_source": {"@timestamp": "t",
            "event": {"kind": "event", "original": A}, "aws": {"cloudtrail": {"event_version": "1.08"}}}}).to_string()),
        (InputFormat::Documents, json!({"@timestamp": "t", "ecs": {"version": "8"}, "event": {"original": A},
            "aws": {"cloudtrail": {}}, "message": "other"}).to_string()),
        (InputFormat::Documents, json!({"@timestamp": "t", "event.original": A}).to_string()),
        (InputFormat::Documents, format!("{{\"index\":{{\"_index\":\"i\",\"_id\":\"1\"}}}}\n{{\"message\":{quoted_a}}}\n")),
        (InputFormat::Documents, json!({"preview": false, "lastrow": true, "result": {"_raw": A, "_time": "t"}}).to_string()),
        (InputFormat::Documents, json!({"results": [{"_raw": A, "host": "h"}]}).to_string()),
        (InputFormat::Documents, json!({"time": 1, "sourcetype": "aws:cloudtrail", "event": value}).to_string()),
        (InputFormat::Documents, json!({"time": 1, "event": A}).to_string()),
        (InputFormat::Documents, json!({"log": A.to_owned() + "\n", "stream": "stdout"}).to_string()),
        (InputFormat::Logs, json!({"results": [[{"field": "@timestamp", "value": "t"}, {"field": "@message", "value": A},
            {"field": "@ptr", "value": "p"}]], "status": "Complete"}).to_string()),
        (InputFormat::Documents, json!([{"@timestamp": "t", "@message": A}]).to_string()),
        (InputFormat::Logs, json!([{"@timestamp": "t", "@message": value}]).to_string()),
        (InputFormat::Logs, json!({"QueryStatus": "FINISHED", "QueryResultRows": [[{"eventJson": A}]]}).to_string()),
        (InputFormat::Strings, quoted_a.clone()),
        (InputFormat::Strings, quoted(&quoted_a)),
        (InputFormat::Strings, quoted(&format!("{{\"Records\":[{a}]}}"))),
        (InputFormat::Columns, format!("_time,_raw\nx,\"{}\"\n", A.replace('"', "\"\""))),
    ]
}

#[test]
fn every_shape_gives_its_event() {
    for (shape, text) in shapes() {
        let shape = if text.starts_with("{\"Records\"") { InputFormat::Records } else { shape };
        good(&text, shape, &[A]);
    }
}

#[test]
fn every_shape_in_every_other_gives_its_event() {
    for (_, inner) in shapes() {
        for outer in [sns(&inner), failed(inner.as_bytes()), quoted(&inner), subscription(&inner)] {
            let table = inner.starts_with("_time");
            let (records, decoded) = stream(outer.as_bytes(), 64);
            assert_eq!((records.len(), decoded.defect_count), (usize::from(!table), 0), "{outer}");
        }
    }
}

#[test]
fn a_document_of_trailload_is_not_replaced_by_its_original() {
    let document = json!({"@timestamp": "t", "event": {"original": A}, "trailload": {"lookup": {"username": "u"}},
        "eventVersion": "1.08", "eventID": "a"})
    .to_string();
    let (records, decoded) = read(document.as_bytes());
    assert_eq!((records, decoded.defect_count), (vec![document], 0));
}

#[test]
fn several_of_a_shape_come_line_by_line_and_in_lists() {
    for (_, text) in shapes() {
        let is_table = text.starts_with("_time");
        let twice = if is_table { continue } else { format!("{}\n{}\n", text.trim(), text.trim()) };
        let (records, decoded) = read(twice.as_bytes());
        assert_eq!(
            (records, decoded.defect_count),
            (vec![A.to_owned(), A.to_owned()], 0),
            "{text}"
        );
    }
}

#[test]
fn a_stranger_beside_events_is_counted_and_costs_nothing() {
    for stranger in [
        sns("hello"),
        sns("{\"a\":1}"),
        failed(b"\x00\x01"),
        failed(b"flow log line"),
        json!({"_index": "i", "_source": {"message": "GET /", "eventVersion": "1.0"}}).to_string(),
        json!({"data": {"aws": {"source": "vpc"}}}).to_string(),
        bridge("{\"state\":\"running\"}"),
        quoted("{\"a\":1}"),
        json!({"results": [[{"field": "n", "value": "1"}]]}).to_string(),
    ] {
        let (records, decoded) = read(format!("{A}\n{stranger}\n{B}\n").as_bytes());
        assert_eq!((records.len(), decoded.defect_count), (2, 0), "{stranger}: {decoded:?}");
        assert_eq!(decoded.foreign_count(), 1, "{stranger}");
        let (_, alone) = read(stranger.as_bytes());
        assert_eq!((alone.format, alone.foreign_count()), (InputFormat::Foreign, 1), "{stranger}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_costs_only_itself() {
    for (text, name) in [
        (
            json!({"@timestamp": "t", "aws": {"cloudtrail": {"event_version": "1"}}}).to_string(),
            "event.original",
        ),
        (
            json!({"_source": {"aws.cloudtrail.event_type": "AwsApiCall"}}).to_string(),
            "event.original",
        ),
        (
            json!({"class_uid": 6003, "metadata": {"product": {"name": "CloudTrail"}}}).to_string(),
            "OCSF",
        ),
        (json!({"eventname": "a", "eventsource": "b"}).to_string(), "without its event ID"),
        (
            json!({"results": [[{"field": "eventName", "value": "x"}]]}).to_string(),
            "without its event ID",
        ),
        (json!({"QueryResultRows": [[{"eventName": "x"}]]}).to_string(), "without its event ID"),
        (
            json!({"ResultSet": {"Rows": [{"Data": [{"VarCharValue": "eventname"}]}]}}).to_string(),
            "get-query-results",
        ),
        (json!({"attemptsMade": 4, "rawData": "not base64!"}).to_string(), "base64"),
        (failed(&gzip(A.as_bytes())[..30]), "cut off"),
        ("{\"attemptsMade\":4,\"rawData\":\"*\"}".to_owned(), "base64"),
    ] {
        let (records, decoded) = read(format!("{A}\n{text}\n{B}\n").as_bytes());
        assert_eq!((records.len(), decoded.defect_count), (2, 1), "{text}: {decoded:?}");
        let (_, alone) = read(text.as_bytes());
        assert!(alone.defects[0].cause.contains(name), "{text}: {:?}", alone.defects);
    }
    for (head, name) in
        [(&b"PAR1\x15\x04"[..], "Parquet"), (b"ORC\n\x03", "ORC"), (b"Obj\x01\x04", "Avro")]
    {
        let (_, decoded) = read(head);
        assert!(decoded.defects[0].cause.contains(name), "{:?}", decoded.defects);
    }
    let (_, decoded) = read(b"eventname,eventsource\na,b\n");
    assert!(decoded.defects[0].cause.contains("without its event ID"), "{:?}", decoded.defects);
}

#[test]
fn texts_are_gone_into_eight_deep() {
    let within = |texts: usize| (0..texts).fold(A.to_owned(), |text, _| quoted(&text));
    good(&within(json::scanner::MAX_TEXT_DEPTH), InputFormat::Strings, &[A]);
    let (records, decoded) = read(within(json::scanner::MAX_TEXT_DEPTH + 1).as_bytes());
    assert_eq!((records.len(), decoded.defect_count), (0, 1));
    let packed =
        (0..json::scanner::MAX_TEXT_DEPTH).fold(A.to_owned(), |text, _| failed(text.as_bytes()));
    good(&packed, InputFormat::Stream, &[A]);
    // Objects are too, as far as anybody nests them; and without end they end.
    let deep = format!("{}{A}{}", "{\"Message\":".repeat(100_000), "}".repeat(100_000));
    let (records, _) = stream(deep.as_bytes(), 1 << 16);
    assert_eq!(records.len(), 0);
}

#[test]
fn rows_of_columns_become_records() {
    let lower = r#"{"eventversion":"1.08","eventid":"1","eventname":"A","eventsource":"s","requestparameters":"{\"Bucket\":1}","readonly":true}"#;
    let camel = r#"{"eventVersion":"1.08","eventID":"1","eventName":"A","eventSource":"s","requestParameters":{"Bucket":1},"readOnly":true}"#;
    good(&format!("{lower}\n{lower}\n"), InputFormat::Columns, &[camel, camel]);
    let texts =
        r#"{"eventVersion":"1.08","userIdentity":"{\"type\":\"Root\"}","requestParameters":null}"#;
    let plain =
        r#"{"eventVersion":"1.08","userIdentity":{"type":"Root"},"requestParameters":null}"#;
    good(texts, InputFormat::Columns, &[plain]);
    good(&format!("[{plain},{texts}]"), InputFormat::Array, &[plain, plain]);
    let row = json!({"QueryResultRows": [[{"eventID": "1"}, {"eventName": "A"}]]}).to_string();
    good(&row, InputFormat::Columns, &[r#"{"eventID":"1","eventName":"A"}"#]);
    let wazuh = json!({"timestamp": "t", "rule": {"id": "80202"}, "data": {"integration": "aws",
        "aws": {"log_info": {"s3bucket": "b"}, "eventVersion": "1.08", "eventID": "1", "readOnly": "false",
            "source_ip_address": "x", "eventName": "A"}}, "location": "Wazuh-AWS"});
    let record = r#"{"eventVersion":"1.08","eventID":"1","readOnly":false,"eventName":"A"}"#;
    good(&wazuh.to_string(), InputFormat::Documents, &[record]);
}

#[test]
fn tables_are_read_row_by_row() {
    let header = "\"Event ID\",\"Event time\",\"Event name\",\"Error code\"";
    let row =
        |n: u32| format!("\"{}{n}\",\"2024-03-0{n}T10:00:00Z\",\"A, \"\"b\"\"\n\",", &ID[..35]);
    let record = |n: u32| {
        format!(
            r#"{{"eventID":"{}{n}","eventTime":"2024-03-0{n}T10:00:00Z","eventName":"A, \"b\"\n"}}"#,
            &ID[..35]
        )
    };
    let rows = format!("{header}\n{}\n{}\n", row(1), row(2));
    good(&rows, InputFormat::Columns, &[&record(1), &record(2)]);
    good(
        &rows.replace('\n', "\r\n").replace("\"\"\r\n", "\"\"\n"),
        InputFormat::Columns,
        &[&record(1), &record(2)],
    );
    good(rows.trim_end(), InputFormat::Columns, &[&record(1), &record(2)]);
    good(&format!("\u{feff}{rows}"), InputFormat::Columns, &[&record(1), &record(2)]);
    // A row that is cut is named; those before it stay.
    let (records, decoded) = read(&rows.as_bytes()[..rows.len() - 20]);
    assert_eq!((records.len(), decoded.defect_count), (1, 1));
    strange("Event name,Event time,Guests\nParty,8 pm,40\n", ForeignKind::Text);
    strange("id,message\n1,hello\n2,\"{\"\n", ForeignKind::Text);
}

#[test]
fn a_row_without_end_is_left() {
    let text = format!("_time,_raw\n1,\"{}", "x\n".repeat(2_000));
    let content = Content::Stream(Box::new(Cursor::new(text)));
    let limits = DecoderLimits {
        window_bytes: 16,
        max_record_bytes: 1000,
        max_stored_bytes: 0,
        max_unpacked_bytes: 0,
        ..DecoderLimits::DEFAULT
    };
    let decoded = Decoder::new(limits).read("test", content, &mut Collected::default()).unwrap();
    assert_eq!((decoded.records, decoded.foreign_count()), (0, 1));
}

/// Texts that are nearly of some shape, cut and put together anew.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let texts: Vec<String> = shapes().into_iter().map(|(_, text)| text).collect();
    let piece = (prop::sample::select(texts), 0.0..1.0, 0.0..1.2).prop_map(|(text, from, to)| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "places within the text"
        )]
        let [from, to] = [from, to].map(|place: f64| (text.len() as f64 * place) as usize);
        let (from, to) = (if from < text.len() / 2 { 0 } else { from }, to.min(text.len()));
        text.as_bytes()[from.min(to)..to].to_vec()
    });
    let other = prop::sample::select(vec!["\n", ",", "[", "]", "{", "}", "\"", "{\"Records\":["]);
    let piece = prop_oneof![3 => piece, 1 => other.prop_map(|text| text.as_bytes().to_vec())];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any text, well made or not, gives the same through any window.
    #[test]
    fn the_window_does_not_matter(text in pieces(), window in 1_usize..200) {
        window_does_not_matter(&text, window)?;
    }

    /// Whatever a packed message holds, reading ends, and says something.
    #[test]
    fn any_bytes_in_base64_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), pack: bool) {
        let stored = if pack { gzip(&bytes) } else { bytes };
        let (_, decoded) = stream(failed(&stored).as_bytes(), 64);
        prop_assert!(decoded.foreign_count() + decoded.defect_count + decoded.records > 0);
    }
}

/// However long the answer of a search or a table is, no more is held than a few of its entries.
#[test]
fn long_searches_and_tables_take_no_more_memory_than_short_ones() {
    let limits = DecoderLimits {
        window_bytes: 4 << 10,
        max_record_bytes: 16 << 10,
        max_stored_bytes: 0,
        max_unpacked_bytes: 0,
        ..DecoderLimits::DEFAULT
    };
    let hit = json!({"_index": "i", "_source": {"message": A}}).to_string();
    let search = format!("{{\"took\":1,\"hits\":{{\"hits\":[{}]}}}}", vec![hit; 5_000].join(","));
    let row = format!("x,\"{}\"\n", A.replace('"', "\"\""));
    let rows = format!("_time,_raw\n{}", row.repeat(5_000));
    let packed = gzip(subscription(A).as_bytes());
    let messages = format!("{}\n", failed(&packed)).repeat(500);
    let mut decoder = Decoder::new(limits);
    for (text, records) in [(search, 5_000), (rows, 5_000), (messages, 500)] {
        let content = Content::Stream(Box::new(Cursor::new(text)));
        let decoded = decoder.read("test", content, &mut Collected::default()).unwrap();
        assert_eq!((decoded.records, decoded.defect_count), (records, 0));
        assert!(decoder.retained_bytes() <= 64 << 10, "{}", decoder.retained_bytes());
    }
}
