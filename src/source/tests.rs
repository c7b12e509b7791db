//! What every shape gives, whatever the window; and what is said about content that is not as it should be.

mod samples;
mod wrapped;

use std::io::{Cursor, Write};

use proptest::prelude::*;

use super::*;
use crate::limit::DecoderLimits;

/// Collects records as they came.
#[derive(Default)]
struct Collected {
    records: Vec<String>,
    too_long: Vec<(u64, String)>,
    consumed: u64,
    most: Option<usize>,
}

impl RecordHandler for Collected {
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        assert_eq!(text[start], b'{');
        match skip_value(text, start) {
            Ok(end) => {
                self.records.push(String::from_utf8_lossy(&text[start..end]).into_owned());
                RecordOutcome::EndsAt(end)
            }
            Err(SkipError::Incomplete) => RecordOutcome::Incomplete,
            Err(SkipError::Invalid { offset, cause }) => {
                RecordOutcome::Invalid { offset, cause: cause.into() }
            }
        }
    }

    fn oversized(&mut self, record: OversizedRecord) {
        let content = record.content.expect("it is small when compressed").decompress().unwrap();
        assert_eq!(content.len() as u64, record.bytes);
        self.too_long.push((record.offset, String::from_utf8(content).unwrap()));
    }

    fn is_stopped(&self) -> bool {
        self.most.is_some_and(|most| self.records.len() >= most)
    }

    fn stored_bytes_read(&mut self, bytes: u64) {
        self.consumed += bytes;
    }
}

fn limits(window: usize) -> DecoderLimits {
    DecoderLimits {
        window_bytes: window,
        max_record_bytes: 1 << 20,
        max_stored_bytes: 1 << 20,
        max_unpacked_bytes: 1 << 20,
        ..DecoderLimits::DEFAULT
    }
}

fn stream(text: &[u8], window: usize) -> (Vec<String>, Decoded) {
    let mut collected = Collected::default();
    let content = Content::Stream(Box::new(Cursor::new(text.to_vec())));
    let decoded = Decoder::new(limits(window)).read("test", content, &mut collected).unwrap();
    assert_eq!(collected.consumed, decoded.stored_bytes);
    assert_eq!(collected.records.len() as u64, decoded.records);
    (collected.records, decoded)
}

fn file(stored: &[u8]) -> (Vec<String>, Decoded) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(stored).unwrap();
    let mut collected = Collected::default();
    let content = Content::File(file.path().to_owned());
    let decoded = Decoder::new(limits(64)).read("test", content, &mut collected).unwrap();
    assert_eq!(collected.consumed, stored.len() as u64);
    (collected.records, decoded)
}

/// Reads a text in every way there is, which must all give the same.
fn read(text: &[u8]) -> (Vec<String>, Decoded) {
    let (records, decoded) = file(text);
    for window in [1, 2, 3, 7, 64, 1 << 16] {
        let (other, said) = stream(text, window);
        assert_eq!(other, records, "window {window}");
        assert_eq!(said.defects, decoded.defects, "window {window}");
        assert_eq!((said.format, &said.foreign), (decoded.format, &decoded.foreign));
    }
    for packed in [gzip(text), zstd::encode_all(text, 1).unwrap(), gzip(&gzip(text))] {
        assert_eq!(file(&packed).0, records);
        assert_eq!(stream(&packed, 64).0, records);
    }
    (records, decoded)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

const A: &str = r#"{"eventVersion":"1.08","eventID":"a","x":{"y":["]}"]}}"#;
const B: &str = r#"{"eventVersion": "1.08", "eventID": "b", "userIdentity": {}}"#;
const C: &str = r#"{"awsRegion":"r","eventID":"c","n":1.50,"eventSource":"s3.amazonaws.com"}"#;
/// An aggregated record.
const D: &str =
    r#"{"accountId":"1","eventId":"d","timeWindow":{"windowStart":"2024-01-01T00:00:00Z"}}"#;

fn good(text: &str, shape: InputFormat, records: &[&str]) {
    let (read, decoded) = read(text.as_bytes());
    assert_eq!(read, records, "{text}");
    assert_eq!(decoded.format, shape, "{text}");
    assert_eq!(decoded.defects, [], "{text}");
    assert_eq!(decoded.text_bytes, text.len() as u64, "{text}");
    assert!(!decoded.changed && !decoded.stopped);
}

#[test]
fn trail_files_are_read() {
    good(&format!(r#"{{"Records":[{A},{B},{C},{D}]}}"#), InputFormat::Records, &[A, B, C, D]);
    good(&format!(r#"{{ "Records" : [ {A} , {B} ] }} "#), InputFormat::Records, &[A, B]);
    good(&format!(r#"{{"a":[{{}}],"Records":[{A}],"b":1}}"#), InputFormat::Records, &[A]);
    good(&format!("\u{feff}{{\"Records\":[{A}]}}\n"), InputFormat::Records, &[A]);
    good(r#"{"Records":[]}"#, InputFormat::Records, &[]);
    // What is in `Records` counts whatever its keys; a later file in the same text is read too.
    good(
        &format!(r#"{{"Records":[{{"z":1}}]}}{{"Records":[{A}]}}"#),
        InputFormat::Records,
        &[r#"{"z":1}"#, A],
    );
}

#[test]
fn lists_lines_and_objects_are_read() {
    good(&format!("[{A},\n{B},{C}]"), InputFormat::Array, &[A, B, C]);
    good(&format!("[[{A}],[{B}]]"), InputFormat::Array, &[A, B]);
    good(A, InputFormat::Object, &[A]);
    good(&format!("{A}\n{B}\r\n\n{C}\n"), InputFormat::Objects, &[A, B, C]);
    good(&format!("{A}{B} {C}\t{D}"), InputFormat::Objects, &[A, B, C, D]);
    good(&format!("{A},\n{B},\n"), InputFormat::Objects, &[A, B]);
    good(&format!("{A}\0\0\0\0"), InputFormat::Object, &[A]);
    good(" \n ", InputFormat::Empty, &[]);
    good("", InputFormat::Empty, &[]);
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(A).unwrap())
            .unwrap();
    good(&format!("{pretty}\n{pretty}"), InputFormat::Objects, &[&pretty, &pretty]);
    good(
        &format!("{{\n\"Records\": [\n{pretty},\n{pretty}\n]\n}}"),
        InputFormat::Records,
        &[&pretty, &pretty],
    );
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn results_of_lookup_events_are_read() {
    let item = |record| {
        format!(r#"{{"EventId":"1","Resources":[{{"a":1}}],"CloudTrailEvent":{}}}"#, quoted(record))
    };
    let (a, b) = (item(A), item(B));
    good(&format!(r#"{{"Events":[{a},{b}],"NextToken":"x"}}"#), InputFormat::Lookup, &[A, B]);
    good(&format!(r#"[{{"Events":[{a}]}},{{"Events":[{b}]}}]"#), InputFormat::Lookup, &[A, B]);
    good(&format!("{a}\n{b}\n"), InputFormat::Lookup, &[A, B]);
    good(&format!("[{},{}]", quoted(A), quoted(B)), InputFormat::Lookup, &[A, B]);
    let odd = r#"{"eventVersion":"1.08","eventID":"é\ud800 \u0041 \\ \" \n"}"#;
    good(&item(odd), InputFormat::Lookup, &[odd]);
}

/// A page that was saved to a file: of some events the record is missing or cannot be read.
#[test]
fn events_of_lookup_events_without_a_record_are_named_with_the_cause() {
    let good = format!(r#"{{"EventId":"1","CloudTrailEvent":{}}}"#, quoted(A));
    for (bad, cause) in [
        (r#""CloudTrailEvent":null"#, "CloudTrailEvent is null"),
        (r#""CloudTrailEvent":"""#, "CloudTrailEvent is empty"),
        (r#""CloudTrailEvent":"(truncated)""#, "CloudTrailEvent contains text that is not JSON"),
        (r#""CloudTrailEvent":"{}""#, "CloudTrailEvent contains JSON that is not CloudTrail"),
        (r#""CloudTrailEvent":7"#, "CloudTrailEvent is neither a string nor an object"),
        (r#""EventSource":"x""#, "CloudTrailEvent is missing"),
    ] {
        let item = format!(r#"{{"EventId":"2","EventName":"A",{bad},"Username":"u"}}"#);
        for text in [
            format!(r#"{{"Events":[{item},{good}]}}"#),
            format!("[{item},{good}]"),
            format!("{item}\n{good}\n"),
        ] {
            let (records, decoded) = read(text.as_bytes());
            assert_eq!(records, [A], "{text}");
            assert_eq!((decoded.defect_count, decoded.foreign_count()), (1, 0), "{text}");
            assert_eq!(decoded.defects[0].cause, format!("event \"2\" without a record: {cause}"));
        }
    }
    // A list of events of another service is no page of LookupEvents.
    strange(r#"{"Events":[{"SourceIdentifier":"db-1","Message":"started"}]}"#, ForeignKind::Json);
}

#[test]
fn envelopes_of_event_bridge_are_read() {
    let envelope = |record| {
        format!(r#"{{"version":"0","id":"1","detail-type":"x","detail":{record},"time":"t"}}"#)
    };
    let (a, b) = (envelope(A), envelope(C));
    good(&a, InputFormat::EventBridge, &[A]);
    good(&format!("{a}\n{b}"), InputFormat::EventBridge, &[A, C]);
    good(&format!("[{a},{b}]"), InputFormat::EventBridge, &[A, C]);
    let (records, decoded) =
        read(envelope(r#"{"instance-id":"i-1","state":"running"}"#).as_bytes());
    assert_eq!((records.len(), decoded.foreign_count()), (0, 1));
}

#[test]
fn cloud_watch_logs_are_read() {
    let item = |record: &str| format!(r#"{{"id":"1","timestamp":1,"message":{}}}"#, quoted(record));
    let data = format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"1","logEvents":[{},{}]}}"#,
        item(A),
        item(&format!(r#"{{"detail-type":"x","detail":{B}}}"#))
    );
    let control = r#"{"messageType":"CONTROL_MESSAGE","logEvents":[{"message":"CWL CONTROL"}]}"#;
    good(&format!("{control}{data}{control}{data}"), InputFormat::Logs, &[A, B, A, B]);
    let answer = format!(r#"{{"events":[{}],"searchedLogStreams":[]}}"#, item(A));
    good(&answer, InputFormat::Logs, &[A]);
    let export = format!("2024-01-01T00:00:00.000Z {A}\n2024-01-01T00:00:00.000Z {C}\n");
    good(&export, InputFormat::Logs, &[A, C]);
    let (records, decoded) = read(format!("2024-01-01T00:00:00.000Z hello\n{export}").as_bytes());
    assert_eq!((records.len(), decoded.foreign_count(), decoded.defect_count), (2, 1, 0));
}

fn strange(text: &str, kind: ForeignKind) {
    let (records, decoded) = read(text.as_bytes());
    assert_eq!(records, [""; 0], "{text}");
    assert_eq!(decoded.format, InputFormat::Foreign, "{text}");
    assert_eq!(decoded.foreign.keys().collect::<Vec<_>>(), [&kind], "{text}");
    assert_eq!(decoded.defects, [], "{text}");
}

#[test]
fn what_is_no_cloud_trail_is_counted_by_kind() {
    strange(
        r#"{"awsAccountId":"1","digestStartTime":"x","logFiles":[{"s3Bucket":"b"}]}"#,
        ForeignKind::Digest,
    );
    strange(
        r#"{"fileVersion":"1.0","configurationItems":[{"eventVersion":"1.0"}]}"#,
        ForeignKind::Config,
    );
    strange(r#"{"hello":[1,2,{"a":"}"}]}"#, ForeignKind::Json);
    strange("a,b,c\n1,2,3\n", ForeignKind::Text);
    strange("[package]\nname = \"x\"\n", ForeignKind::Text);
    strange("{% if x %}\n{{ y }}\n", ForeignKind::Text);
    strange("\u{1}\u{2}{}", ForeignKind::Binary);
    strange("12345", ForeignKind::Text);
    strange("<html><body>503 Service Unavailable</body></html>", ForeignKind::Markup);
    strange(
        "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>",
        ForeignKind::Markup,
    );
    strange("\0\0\0\0\0\0\0\0", ForeignKind::Zeros);
    let (_, decoded) = read(b"\xff\xfe{\0}\0");
    assert_eq!(decoded.foreign.keys().collect::<Vec<_>>(), [&ForeignKind::Json]);
    let notification = r#"{"eventVersion":"2.1","eventSource":"aws:s3","s3":{}}"#;
    let (records, decoded) =
        read(format!(r#"{{"Records":[{notification},{notification}]}}"#).as_bytes());
    assert_eq!((records.len(), decoded.foreign[&ForeignKind::Notification]), (0, 2));
}

#[test]
fn strangers_among_records_are_left_out() {
    let (records, decoded) = read(format!("{A}\n{{\"z\":1}}\nnull\n\"x\"\n{B}\n").as_bytes());
    assert_eq!(records, [A, B]);
    assert_eq!((decoded.foreign[&ForeignKind::Json], decoded.defect_count), (3, 0));
    let (records, decoded) = read(format!(r#"{{"Records":[{A},null,7,[1,"]"],{B}]}}"#).as_bytes());
    assert_eq!(records, [A, B]);
    assert_eq!(decoded.foreign_count(), 3);
}

#[test]
fn a_broken_line_costs_only_itself() {
    for bad in [
        r#"{"eventVersion":"1.08","x":[}"#,
        r#"{"eventVersion":"1.08","x":{"y":1"#,
        r#"{"eventVersion":"1.08","x":"#,
        r#"{"eventVersion""#,
        r#"{"Records":[{"eventVersion":"1.08""#,
        "no JSON here",
        "}",
    ] {
        if bad.starts_with("{\"Records") {
            continue; // The first broken list ends all; see below.
        }
        let (records, decoded) = read(format!("{A}\n{bad}\n{B}\n{bad}\n{C}\n").as_bytes());
        assert_eq!(records, [A, B, C], "{bad}");
        assert_eq!(decoded.defect_count, 2, "{bad}: {:?}", decoded.defects);
        assert!(decoded.defects[0].offset > A.len() as u64);
    }
    let (records, decoded) = read(format!("banner\n{A}\n{B}\n").as_bytes());
    assert_eq!((records, decoded.defect_count), (vec![A.to_owned(), B.to_owned()], 1));
}

#[test]
fn a_broken_list_keeps_what_came_before() {
    for bad in [r#"{"eventVersion":"1.08","x":[}}"#, "}", ":"] {
        let text = format!("{{\"Records\":[{A},{B},{bad},\n{C}]}}\n");
        let (records, decoded) = read(text.as_bytes());
        assert_eq!(records, [A, B], "{bad}");
        assert_eq!(decoded.defect_count, 1, "{bad}");
        let offset = usize::try_from(decoded.defects[0].offset).unwrap();
        assert!((text.find(B).unwrap()..text.find(C).unwrap()).contains(&offset), "{bad}");
    }
}

#[test]
fn a_cut_keeps_what_came_before() {
    let text = format!(r#"{{"Records":[{A},{B}]}}"#);
    for cut in 1..text.len() {
        let (records, decoded) = read(&text.as_bytes()[..cut]);
        let whole = usize::from(cut >= 12 + A.len()) + usize::from(cut >= 13 + A.len() + B.len());
        assert_eq!(records.len(), whole, "{cut}");
        assert_eq!(decoded.defect_count, 1, "{cut}");
        assert_eq!(decoded.defects[0].offset, cut as u64);
    }
}

#[test]
fn a_cut_gzip_file_keeps_what_came_before() {
    let lines: Vec<String> = (0..500)
        .map(|n| format!("{{\"eventVersion\":\"1.08\",\"n\":\"{}\"}}\n", n * 7919))
        .collect();
    let text = lines.concat();
    let packed = gzip(text.as_bytes());
    let (records, decoded) = file(&packed[..packed.len() / 2]);
    assert!(records.len() > 50 && records.len() < 450, "{}", records.len());
    assert!(records.iter().zip(text.lines()).all(|(record, line)| record == line));
    assert_eq!(decoded.defect_count, 1);
    assert!(decoded.defects[0].cause.contains("cut off"), "{:?}", decoded.defects);
    // The checksum tells that a byte is not what it was, and nobody knows which: none of it is handed over.
    let mut damaged = packed.clone();
    let checksum = packed.len() - 6;
    damaged[checksum] ^= 1;
    let (records, decoded) = file(&damaged);
    assert_eq!((records.len(), decoded.defect_count), (0, 1));
}

#[test]
fn members_are_read_as_one_text() {
    let (a, b) = (gzip(format!("{A}\n").as_bytes()), gzip(format!("{B}\n").as_bytes()));
    for stored in [[a.clone(), b.clone()].concat(), [a.clone(), b, vec![0; 1000]].concat()] {
        let (records, decoded) = file(&stored);
        assert_eq!((records, decoded.defect_count), (vec![A.to_owned(), B.to_owned()], 0));
    }
    let (records, decoded) = file(&[a, b"trailing".to_vec()].concat());
    assert_eq!((records.len(), decoded.defect_count), (1, 1));
}

#[test]
fn a_record_that_is_too_long_is_passed_by() {
    let long = format!(r#"{{"eventVersion":"1.08","x":"{}"}}"#, "y".repeat(5000));
    for text in [format!("[{A},{long},{B}]"), format!("{A} {long} {B}")] {
        let mut collected = Collected::default();
        let content = Content::Stream(Box::new(Cursor::new(text.clone())));
        let limits = DecoderLimits {
            window_bytes: 16,
            max_record_bytes: 1000,
            max_stored_bytes: 0,
            max_unpacked_bytes: 0,
            ..DecoderLimits::DEFAULT
        };
        let decoded = Decoder::new(limits).read("test", content, &mut collected).unwrap();
        assert_eq!(collected.records, [A, B]);
        assert_eq!(collected.too_long, [(text.find(&long).unwrap() as u64, long.clone())]);
        assert_eq!((decoded.oversized, decoded.defect_count), (1, 0));
    }
}

#[test]
fn a_stranger_larger_than_memory_is_passed_by() {
    let large = format!(r#"{{"z":[{}0]}}"#, "1,".repeat(5000));
    let content = Content::Stream(Box::new(Cursor::new(format!("{A}{large}{B}"))));
    let mut collected = Collected::default();
    let mut decoder = Decoder::new(DecoderLimits {
        window_bytes: 16,
        max_record_bytes: 1000,
        max_stored_bytes: 0,
        max_unpacked_bytes: 0,
        ..DecoderLimits::DEFAULT
    });
    let decoded = decoder.read("test", content, &mut collected).unwrap();
    assert_eq!((collected.records.len(), decoded.foreign_count()), (2, 1));
}

#[test]
fn reading_stops_when_told() {
    let text = format!("[{A},{B},{C}]");
    let mut collected = Collected { most: Some(2), ..Collected::default() };
    let content = Content::Stream(Box::new(Cursor::new(text)));
    let decoded = Decoder::new(limits(8)).read("test", content, &mut collected).unwrap();
    assert_eq!(collected.records, [A, B]);
    assert!(decoded.stopped && !decoded.changed);
}

#[test]
fn a_file_that_grows_is_not_done() {
    struct Growing(std::fs::File);
    impl RecordHandler for Growing {
        fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
            self.0.write_all(b"{}").unwrap();
            skip_value(text, start).map_or(RecordOutcome::Incomplete, RecordOutcome::EndsAt)
        }
        fn oversized(&mut self, _: OversizedRecord) {}
    }
    let mut temporary = tempfile::NamedTempFile::new().unwrap();
    temporary.write_all(format!("{A}\n{B}\n").repeat(99).as_bytes()).unwrap();
    for stored in [0, 1 << 20] {
        let writer = std::fs::File::options().append(true).open(temporary.path()).unwrap();
        let mut decoder = Decoder::new(DecoderLimits { max_stored_bytes: stored, ..limits(64) });
        let content = Content::File(temporary.path().to_owned());
        let decoded = decoder.read("test", content, &mut Growing(writer)).unwrap();
        assert!(decoded.changed && !decoded.stopped);
        assert_eq!(decoded.records, 198);
        temporary.as_file_mut().set_len(0).unwrap();
        temporary.write_all(format!("{A}\n{B}\n").repeat(99).as_bytes()).unwrap();
    }
}

#[test]
fn no_more_is_held_than_was_promised_whatever_was_read() {
    let limits = DecoderLimits {
        window_bytes: 1_000,
        max_record_bytes: 100_000,
        max_stored_bytes: 4_000,
        max_unpacked_bytes: 8_000,
        ..DecoderLimits::DEFAULT
    };
    let record = |bytes: usize| format!(r#"{{"eventVersion":"1.08","x":"{}"}}"#, "y".repeat(bytes));
    let result = |bytes: usize| {
        format!(r#"{{"Events":[{{"CloudTrailEvent":{}}}]}}"#, quoted(&record(bytes)))
    };
    let mut decoder = Decoder::new(limits);
    let texts =
        [record(50), record(3_900), record(7_000), record(50_000), result(50_000), record(90_000)];
    for text in &texts {
        for stored in [text.clone().into_bytes(), gzip(text.as_bytes())] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&stored).unwrap();
            let content = Content::File(file.path().to_owned());
            let mut collected = Collected::default();
            decoder.read("test", content, &mut collected).unwrap();
            assert_eq!(collected.records.len(), 1);
            let most = limits.retained_bytes() + limits.window_bytes;
            assert!(decoder.retained_bytes() <= most, "{} of {most}", decoder.retained_bytes());
        }
    }
}

#[test]
fn what_the_system_refuses_is_said_with_the_name() {
    let missing = Content::File("/nowhere/at/all".into());
    let error =
        Decoder::new(limits(8)).read("some.json", missing, &mut Collected::default()).unwrap_err();
    assert!(matches!(&error, Error::Open { name, .. } if name == "some.json"));
    let folder = Content::File(std::env::temp_dir());
    let error = Decoder::new(limits(8)).read("dir", folder, &mut Collected::default()).unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
}

#[test]
fn many_broken_places_are_counted_and_few_are_kept() {
    let (_, decoded) = stream("{\"eventVersion\":\"1.0\",[}\n".repeat(1000).as_bytes(), 1 << 16);
    assert_eq!(decoded.defect_count, 1000);
    assert_eq!(decoded.defects.len(), decoded::MAX_DEFECTS_KEPT);
}

/// Pieces of which texts are made that are nearly of some shape.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(A.to_owned()),
        Just(B.to_owned()),
        Just(C.to_owned()),
        Just(D.to_owned()),
        Just("{\"Records\":[".to_owned()),
        Just("]}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just("\n".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("{\"logEvents\":[{\"message\":".to_owned()),
        Just(quoted(A)),
        Just("{\"detail\":".to_owned()),
        Just("2024-01-01T00:00:00.000Z ".to_owned()),
        Just("null".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\0".to_owned()),
        ".{0,3}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Fails unless a text gives the same records and the same report through a window of any size, and as a file.
fn window_does_not_matter(text: &[u8], window: usize) -> Result<(), TestCaseError> {
    let (records, decoded) = stream(text, 1 << 16);
    let (other, said) = stream(text, window);
    prop_assert_eq!(&other, &records);
    prop_assert_eq!(&said.defects, &decoded.defects);
    prop_assert_eq!(said.foreign, decoded.foreign);
    prop_assert_eq!(file(text).0, records);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any text, well made or not, gives the same through any window.
    #[test]
    fn the_window_does_not_matter(text in pieces(), window in 1_usize..200) {
        window_does_not_matter(&text, window)?;
    }

    /// A list of records, printed in any way, gives each of them byte for byte.
    #[test]
    fn every_record_comes_back_as_it_was(
        names in prop::collection::vec(any::<String>(), 1..20), pretty: bool, window in 1_usize..200,
    ) {
        let records: Vec<String> = names.iter().map(|name| {
            let record = serde_json::json!({"eventVersion": "1.08", "eventName": name, "x": {"y": [name]}});
            if pretty { serde_json::to_string_pretty(&record) } else { serde_json::to_string(&record) }.unwrap()
        }).collect();
        for text in [format!("{{\"Records\":[{}]}}", records.join(",")), format!("[{}]", records.join(" ,\n")), records.join("\n")] {
            prop_assert_eq!(&stream(text.as_bytes(), window).0, &records);
        }
    }
}
