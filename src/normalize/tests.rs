//! Tests of the whole module: both paths create the same document, and every document can be restored to its record.

use std::{collections::HashSet, io::Read, path::Path, sync::Arc};

use proptest::prelude::*;
use serde_json::json as to_json;

use super::*;

fn rules() -> Arc<Rules> {
    static RULES: std::sync::OnceLock<Arc<Rules>> = std::sync::OnceLock::new();
    Arc::clone(RULES.get_or_init(|| Arc::new(Rules::embedded().unwrap())))
}

fn normalizer(profile: FieldProfile) -> Normalizer {
    normalizer_within(profile, 5_000)
}

fn normalizer_within(profile: FieldProfile, most: u32) -> Normalizer {
    let fields = Arc::new(FieldRegistry::new(rules(), profile, most));
    let settings = Settings { prefix: "cloudtrail".into(), ..Settings::default() };
    Normalizer::new(fields, Arc::new(settings))
}

/// Rewrites a record and returns its document line.
fn document(normalizer: &mut Normalizer, record: &str) -> String {
    let mut out = Vec::new();
    let Normalized::Document(placed) = normalizer.rewrite(record.as_bytes(), &mut out).unwrap()
    else {
        panic!("filtered")
    };
    String::from_utf8(out.split_off(placed.action_bytes as usize)).unwrap()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Returns all public events of the test data, as text.
fn corpus() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/events");
    let mut events = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let packed = std::fs::File::open(file.unwrap().path()).unwrap();
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(packed).read_to_string(&mut text).unwrap();
        events.extend(text.lines().map(str::to_owned));
    }
    assert!(events.len() > 4_000, "{} events", events.len());
    events
}

/// Returns the canonical form of a record.
fn meaning(record: &[u8]) -> Vec<u8> {
    tree::parse(record).unwrap().tree.to_original_json()
}

/// Also without room for fields: the structure of a document does not depend on earlier documents.
#[test]
fn every_declared_conflict_treats_its_examples_as_it_says() {
    for most in [5_000, 0] {
        examples_end_where_they_should(most);
    }
}

fn examples_end_where_they_should(most: u32) {
    let rules = rules();
    for conflict in rules.conflicts().unwrap() {
        for example in &conflict.examples {
            let mut event = example.given.clone();
            let mut parents: Vec<&str> = conflict.field.split('.').collect();
            let key = parents.pop().unwrap();
            event = serde_json::json!({ key: event });
            for parent in parents.iter().rev() {
                event = serde_json::json!({ *parent: event });
            }
            let mut normalizer = normalizer_within(FieldProfile::Standard, most);
            let document = value(&document(&mut normalizer, &event.to_string()));
            let holder = parents.iter().fold(&document, |at, parent| &at[*parent]);
            let expected = example.becomes.as_ref().unwrap_or(&example.given);
            assert_eq!(
                &holder[&example.under], expected,
                "{} given {}",
                conflict.field, example.given
            );
        }
    }
}

#[test]
fn a_record_that_fits_is_taken_over_byte_by_byte() {
    let record = r#"{"eventVersion":"1.08","eventTime":"2023-07-10T11:50:00Z" , "eventName":"A\u0042", "sourceIPAddress":"10.0.0.1",
 "eventID":"a7a2a2a2-1111-2222-3333-444444444444","requestParameters":{"durationSeconds":9007199254740993.10}}"#;
    let mut normalizer = normalizer(FieldProfile::Standard);
    document(&mut normalizer, record);
    let mut out = Vec::new();
    let (end, _) = normalizer.try_copy(record.as_bytes(), 0, &mut out).unwrap();
    assert_eq!(end, record.len());
    let expected = format!(
        "{}\n{}{}\n",
        r#"{"create":{"_index":"cloudtrail-2023.07","_id":"a7a2a2a2-1111-2222-3333-444444444444"}}"#,
        r#"{"@timestamp":"2023-07-10T11:50:00Z","source":{"ip":"10.0.0.1"},"trailload":{"principal":"unknown"},"#,
        record[1..].replace('\n', " "),
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// Sorts the change notes: the two paths make them in different orders, both of which can be undone.
fn in_order(mut document: Value) -> Value {
    if let Some(changes) = document["trailload"]["changes"].as_array_mut() {
        changes.sort_by_key(ToString::to_string);
    }
    document
}

#[test]
fn what_must_change_is_never_taken_as_it_is() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    let rest =
        r#""eventID":"a7a2a2a2-1111-2222-3333-444444444444","eventTime":"2024-01-01T00:00:00Z""#;
    let plain = format!(r#"{{{rest},"awsRegion":"x","userIdentity":{{"type":"y"}}}}"#);
    document(&mut normalizer, &plain);
    assert!(normalizer.try_copy(plain.as_bytes(), 0, &mut Vec::new()).is_some());
    for part in [
        r#""":1"#,
        r#""":{}"#,
        r#"" ":1"#,
        r#""_id":1"#,
        r#""source":1"#,
        r#""eventName.x":1"#,
        r#""a..b":null"#,
        r#""\ud83d":null"#,
        r#""awsRegion":"a","awsRegion":"b""#,
        r#""new":null,"new":null"#,
        r#""userIdentity":{"":1}"#,
        r#""userIdentity":{"type":"a","type":"b"}"#,
        r#""readOnly":"yes""#,
        r#""awsRegion":NaN"#,
        r#""awsRegion":01"#,
        r#""awsRegion":"\x""#,
        "\"awsRegion\":\"\u{1}\"",
    ] {
        for record in [format!("{{{part},{rest}}}"), format!("{{{rest},{part}}}")] {
            let taken = normalizer.try_copy(record.as_bytes(), 0, &mut Vec::new());
            assert_eq!(taken, None, "{record}");
        }
    }
}

#[test]
fn both_ways_say_the_same_of_every_public_event() {
    for (profile, most) in [
        (FieldProfile::Standard, 5_000),
        (FieldProfile::Lean, 5_000),
        (FieldProfile::Standard, 300),
        (FieldProfile::Standard, 0),
    ] {
        let events = corpus();
        let mut normalizer = normalizer_within(profile, most);
        for event in &events {
            document(&mut normalizer, event);
        }
        let (mut taken, mut rewritten) = (0, 0);
        for event in &events {
            let mut out = Vec::new();
            let Some((end, Normalized::Document(placed))) =
                normalizer.try_copy(event.as_bytes(), 0, &mut out)
            else {
                continue;
            };
            taken += 1;
            rewritten += usize::from(placed.rewritten);
            assert_eq!(end, event.trim_end().len(), "{event}");
            let slow = in_order(value(&document(&mut normalizer, event)));
            let fast = std::str::from_utf8(&out[placed.action_bytes as usize..]).unwrap();
            assert_eq!(in_order(value(fast)), slow, "{event}");
            assert_eq!(placed.rewritten, slow["trailload"]["changes"].is_array());
            let back = restore_record(fast.as_bytes()).unwrap();
            assert_eq!(back, meaning(event.as_bytes()));
        }
        assert!(taken * 100 > events.len() * 80, "{most}: the fast way took {taken} of all");
        if profile == FieldProfile::Standard {
            assert!(rewritten > 200, "the fast way renamed in {rewritten} only");
        }
    }
}

/// Regression test: the fast path took a key behind an object for the same key expected inside it.
#[test]
fn a_key_that_comes_again_one_level_up_is_another_path() {
    let rest =
        r#""eventID":"a7a2a2a2-1111-2222-3333-444444444444","eventTime":"2024-01-01T00:00:00Z""#;
    let inside = format!(r#"{{{rest},"requestParameters":{{"a":{{"k":1}}}}}}"#);
    let behind = format!(r#"{{{rest},"requestParameters":{{"a":{{}},"k":2}}}}"#);
    let mut normalizer = normalizer(FieldProfile::Standard);
    document(&mut normalizer, &inside);
    document(&mut normalizer, &behind);
    for (record, needs) in [(inside, 2), (behind, 3)] {
        let taken = normalizer.try_copy(record.as_bytes(), 0, &mut Vec::new());
        let Some((_, Normalized::Document(placed))) = taken else { panic!("{taken:?}") };
        assert_eq!(placed.required_fields, needs, "{record}");
    }
}

#[test]
fn every_public_event_can_be_given_back() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    for event in corpus() {
        let document = document(&mut normalizer, &event);
        let back = restore_record(document.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(back).unwrap(),
            String::from_utf8(meaning(event.as_bytes())).unwrap(),
            "{document}"
        );
    }
}

/// Returns the members of a document that an engine would reject, given the discovered fields.
fn refusals(fields: &FieldRegistry, document: &str) -> Vec<String> {
    refused_by(&mapping(fields), document)
}

fn refused_by(mapping: &Value, document: &str) -> Vec<String> {
    let mut found = Vec::new();
    check(mapping, &value(document), "", &mut found);
    found
}

/// The mapping of an index that has all discovered fields.
fn mapping(fields: &FieldRegistry) -> Value {
    let mut mapping = rules().template().clone();
    let learned = fields.properties(0, fields.len());
    merge(&mut mapping["properties"], &learned);
    mapping
}

fn merge(into: &mut Value, from: &Value) {
    let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) else { return };
    for (key, value) in from {
        if into.contains_key(key) {
            merge(&mut into[key], value);
        } else {
            into.insert(key.clone(), value.clone());
        }
    }
}

fn check(mapping: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if let Value::Array(list) = value {
        for part in list {
            check(mapping, part, path, found);
        }
        return;
    }
    let kind = mapping["type"].as_str();
    let is_object = mapping.get("properties").is_some() || kind == Some("object");
    match (is_object, value) {
        (_, Value::Null) => {}
        (true, Value::Object(members)) => {
            for (key, value) in members {
                if key.trim().is_empty() || key.split('.').any(|part| part.trim().is_empty()) {
                    found.push(format!("{path}: odd key {key:?}"));
                }
                let mut at = mapping;
                for (number, segment) in key.split('.').enumerate() {
                    if number > 0 && at.get("type").is_some_and(|kind| kind != "object") {
                        found.push(format!("{path}.{key} leads through a value"));
                    }
                    at = &at["properties"][segment];
                }
                if !at.is_null() {
                    check(at, value, &format!("{path}.{key}"), found);
                }
            }
        }
        (true, _) => found.push(format!("{path} is an object, got {value}")),
        (false, Value::Object(_)) => found.push(format!("{path} is {kind:?}, got an object")),
        (false, value)
            if kind == Some("boolean")
                && !value.is_boolean()
                && !["true", "false", ""].contains(&value.as_str().unwrap_or("?")) =>
        {
            found.push(format!("{path} is a boolean, got {value}"));
        }
        _ => {}
    }
}

#[test]
fn no_public_event_is_refused_by_what_was_learned_in_any_order() {
    let mut events = corpus();
    let mut kinds = HashSet::new();
    for turn in 0..4_usize {
        let mut normalizer = normalizer(FieldProfile::Standard);
        let documents: Vec<String> =
            events.iter().map(|event| document(&mut normalizer, event)).collect();
        let mapping = mapping(&normalizer.fields);
        for document in &documents {
            assert_eq!(refused_by(&mapping, document), Vec::<String>::new(), "{document}");
        }
        let mut learned = normalizer.fields.properties(0, normalizer.fields.len());
        learned.sort_all_objects();
        kinds.insert(learned.to_string());
        events.rotate_left(1_013);
        if turn % 2 == 0 {
            events.reverse();
        }
    }
    assert_eq!(kinds.len(), 1, "the same fields in every order");
}

#[test]
fn refused_kinds_get_names_of_their_own_and_come_back() {
    for (record, expected) in [
        (
            r#"{"requestParameters":{"policy":{"rules":[{"x":1}]}}}"#,
            r#"{"requestParameters":{"policy_object":{"rules":[{"x":1}]}}}"#,
        ),
        (
            r#"{"requestParameters":{"filter":["User"]}}"#,
            r#"{"requestParameters":{"filter_value":["User"]}}"#,
        ),
        (r#"{"requestParameters":{"filter":""}}"#, r#"{"requestParameters":{"filter":{}}}"#),
        (
            r#"{"requestParameters":{"disableApiTermination":{"value":true}}}"#,
            r#"{"requestParameters":{"disableApiTermination":true}}"#,
        ),
        (
            r#"{"requestParameters":{"policy":["a",{"b":1},"c",{"d":2}]}}"#,
            r#"{"requestParameters":{"policy":["a","c"],"policy_object":[{"b":1},{"d":2}]}}"#,
        ),
        (r#"{"requestParameters":"HIDDEN"}"#, r#"{"requestParameters_value":"HIDDEN"}"#),
        (
            r#"{"_id":1,"source":"me","event":{"action":2},"@timestamp":3}"#,
            r#"{"_id_value":1,"source_value":"me","event_object":{"action":2},"@timestamp_value":3}"#,
        ),
        (
            r#"{"eventName.x":1,"a..b":2,"":3," ":4,".":5}"#,
            r#"{"eventName_x":1,"a__b":2,"_":3,"__2":4,"__3":5}"#,
        ),
        (
            r#"{"readOnly":"yes","managementEvent":"true"}"#,
            r#"{"readOnly_value":"yes","managementEvent":"true"}"#,
        ),
    ] {
        let mut normalizer = normalizer(FieldProfile::Standard);
        let document = document(&mut normalizer, record);
        let mut given = value(&document);
        given.as_object_mut().unwrap().remove("trailload");
        assert_eq!(given, value(expected), "{document}");
        assert_eq!(
            String::from_utf8(restore_record(document.as_bytes()).unwrap()).unwrap(),
            record
        );
        assert_eq!(refusals(&normalizer.fields, &document), Vec::<String>::new());
    }
}

#[test]
fn what_engines_refuse_everywhere_is_mended_and_comes_back() {
    let long = "9".repeat(1_500);
    let lists = format!("{}1{}", "[".repeat(30), "]".repeat(30));
    for record in [
        r#"{"a":1,"a":2,"\u0061":{"x":1}}"#.to_owned(),
        format!(r#"{{"requestParameters":{{"n":{long}}}}}"#),
        format!(r#"{{"lists":{lists}}}"#),
        r#"{"\ud83d":1,"requestParameters":{"tags":{"\ud83d x/y~z":{"k":1}}}}"#.to_owned(),
        format!(r#"{{"{}":1}}"#, "k".repeat(60_000)),
        r#"{"a":[NaN,{"b":Infinity}]}"#.to_owned(),
        r#"{"requestParameters":{"a\"b\\\n{\"delete\":{}}\n":{"c":{"d":{"e":{"f":{"g":{"h":1}}}}}}}}"#.to_owned(),
        r#"{".id":1,"_id.x":2,"_id":3,"_source":{"x":1}}"#.to_owned(),
        format!(r#"{{"deep":{}1{}}}"#, r#"{"x":["#.repeat(2_000), "]}".repeat(2_000)),
    ] {
        let mut normalizer = normalizer(FieldProfile::Standard);
        let document = document(&mut normalizer, &record);
        assert!(
            serde_json::from_str::<serde::de::IgnoredAny>(&document).is_ok()
                || record.contains("deep")
        );
        assert_eq!(document.trim_end().lines().count(), 1, "{document}");
        for name in ["_id", "_source"] {
            assert!(!document.contains(&format!("\"{name}\"")), "{document}");
        }
        let back = restore_record(document.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(back).unwrap(),
            String::from_utf8(meaning(record.as_bytes())).unwrap()
        );
    }
}

#[test]
fn the_same_content_has_the_same_id_however_it_is_written() {
    let id = |record: &str| {
        let mut out = Vec::new();
        normalizer(FieldProfile::Standard).rewrite(record.as_bytes(), &mut out).unwrap();
        value(std::str::from_utf8(&out).unwrap().lines().next().unwrap())["create"]["_id"]
            .to_string()
    };
    assert_eq!(id(r#"{"eventID":"1","b":"\u0041"}"#), id(r#"{ "b" : "A", "eventID":"1" }"#));
    assert_ne!(id(r#"{"eventID":"1","b":"A"}"#), id(r#"{"eventID":"1","b":"B"}"#));
    assert_ne!(id(r#"{"eventID":"1","b":["A"]}"#), id(r#"{"eventID":"1","b":"A"}"#));
    let uuid = "0828c0d2-3589-4390-b954-c78b4a7df44b";
    assert_eq!(id(&format!(r#"{{"eventID":"{uuid}"}}"#)), format!("\"{uuid}\""));
    assert_eq!(id(&format!(r#"{{"eventId":"{uuid}","timeWindow":{{}}}}"#)), format!("\"{uuid}\""));
}

/// Rewrites a record and returns its index and its document line.
fn placed(normalizer: &mut Normalizer, record: &str) -> (String, String) {
    let mut out = Vec::new();
    normalizer.rewrite(record.as_bytes(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let (action, document) = text.split_once('\n').unwrap();
    (value(action)["create"]["_index"].as_str().unwrap().to_owned(), document.to_owned())
}

#[test]
fn an_event_is_dated_by_the_first_time_that_says_something() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    for (record, index, timestamp) in [
        (r#"{"@timestamp":"2020-09-14T00:44:23.000Z"}"#, "2020.09", Some("2020-09-14T00:44:23Z")),
        (r#"{"eventTime":null,"@timestamp":1600044263}"#, "2020.09", Some("2020-09-14T00:44:23Z")),
        (r#"{"eventTime":"","@timestamp":"2020-09-14"}"#, "2020.09", Some("2020-09-14T00:00:00Z")),
        (
            r#"{"@timestamp":"2020-09-14T00:44:23Z","eventTime":"2024-06-01T12:00:00Z"}"#,
            "2024.06",
            Some("2024-06-01T12:00:00Z"),
        ),
        (
            r#"{"@timestamp":"2020-09-14T00:44:23Z","timeWindow":{"windowStart":"2024-06-01T12:00:00Z"}}"#,
            "2024.06",
            Some("2024-06-01T12:00:00Z"),
        ),
        (r#"{"eventtime":"2024-06-01T12:00:00Z"}"#, "2024.06", Some("2024-06-01T12:00:00Z")),
        (r#"{"eventTime":1717243200}"#, "2024.06", Some("2024-06-01T12:00:00Z")),
        (r#"{"eventTime":"1717243200123"}"#, "2024.06", Some("2024-06-01T12:00:00.123Z")),
        (r#"{"eventTime":1.7172432E9}"#, "2024.06", Some("2024-06-01T12:00:00Z")),
        (r#"{"eventTime":"2024-06-01 14:00:00+02:00"}"#, "2024.06", Some("2024-06-01T12:00:00Z")),
        (r#"{"eventTime":"1969-06-01T12:00:00Z"}"#, "undated", Some("1969-06-01T12:00:00Z")),
        (r#"{"eventTime":"2101-06-01T12:00:00Z"}"#, "undated", Some("2101-06-01T12:00:00Z")),
        (r#"{"eventTime":12}"#, "undated", None),
        (r#"{"eventTime":["2024-06-01T12:00:00Z"]}"#, "undated", None),
        // An unreadable event time is not replaced by another time.
        (r#"{"eventTime":"yesterday","@timestamp":"2020-09-14T00:44:23Z"}"#, "undated", None),
        (r#"{"eventTime":"-000001-01-01T00:00:00Z"}"#, "undated", None),
        ("{}", "undated", None),
    ] {
        let (name, document) = placed(&mut normalizer, record);
        assert_eq!(name, format!("cloudtrail-{index}"), "{record}");
        assert_eq!(value(&document)["@timestamp"].as_str(), timestamp, "{record}");
        let back = restore_record(document.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(back).unwrap(), record, "{document}");
    }
}

#[test]
fn every_document_has_the_principal_that_a_search_shows() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    let identity = r#"{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/Admin/é","sessionContext":{"sessionIssuer":{"userName":"R"}}}"#;
    let no_arn = r#"{"type" : "AssumedRole" , "principalId" :  "AROA:s","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::1:role/p/Web"}}}"#;
    let others = [
        r#"{"type":"IAMUser","userName":"al\"ice\u00e9\n"}"#,
        r#"{"type":"Directory","userName":"corp\\alice"}"#,
        r#"{"type":"IAMUser","userName":{"a":1},"principalId":"AIDA"}"#,
        r#"{"type":"IAMUser","userName":"","principalId":null}"#,
        r#"[{"type":"Root"}]"#,
        r#"{"type":["Root"]}"#,
        r#"{"type":"AssumedRole","sessionContext":[{"sessionIssuer":{"userName":"R"}}],"principalId":"x:y"}"#,
        r#"{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}"#,
        r#"{"type":"IdentityCenterUser","onBehalfOf":{"userId":"u"}}"#,
        r#"{"type":"AWSAccount","accountId":"1","type":"Root"}"#,
        r#""alice""#,
        "null",
    ];
    let rest =
        r#""eventID":"a7a2a2a2-1111-2222-3333-444444444444","eventTime":"2024-01-01T00:00:00Z""#;
    let made = [identity, no_arn].into_iter().chain(others);
    let made = made.map(|identity| format!(r#"{{"userIdentity":{identity},{rest}}}"#));
    let mut fast = 0;
    for record in corpus().into_iter().chain(made).chain([format!("{{{rest}}}")]) {
        let event = crate::normalize::repair_record(record.as_bytes()).unwrap().value;
        let expected = crate::filter::principal::short_principal(&event);
        let slow = value(&document(&mut normalizer, &record));
        assert_eq!(slow["trailload"]["principal"], *expected, "{record}");
        let mut out = Vec::new();
        if let Some((_, Normalized::Document(placed))) =
            normalizer.try_copy(record.as_bytes(), 0, &mut out)
        {
            let copy = std::str::from_utf8(&out[placed.action_bytes as usize..]).unwrap();
            assert_eq!(value(copy)["trailload"]["principal"], *expected, "{record}");
            fast += 1;
        }
        let raw = String::from_utf8(raw_document(slow.to_string().as_bytes())).unwrap();
        assert_eq!(value(&raw)["trailload"]["principal"], *expected, "{record}");
    }
    assert!(fast > 3_000, "{fast}");
}

#[test]
fn lean_documents_map_the_parameters_of_the_core_and_no_others() {
    let mut normalizer = normalizer(FieldProfile::Lean);
    let record = r#"{"eventID":"a7a2a2a2-1111-2222-3333-444444444444","eventTime":"2024-01-01T00:00:00Z","requestParameters":{"groupId":"sg-1","instanceId":"i-1","tags":{"a":"b"}},"responseElements":{"ConsoleLogin":{"x":1}},"additionalEventData":"text"}"#;
    let slow = document(&mut normalizer, record);
    let slow = value(&slow);
    let terms = to_json!([
        "requestParameters.instanceId=i-1",
        "requestParameters.tags.a=b",
        "responseElements.ConsoleLogin_object.x=1",
    ]);
    assert_eq!(slow["trailload"]["unmapped"], terms);
    assert_eq!(slow["requestParameters"]["groupId"], "sg-1");
    assert_eq!(slow["additionalEventData_value"], "text");
    assert_eq!(restore_record(slow.to_string().as_bytes()).unwrap(), record.as_bytes());
    // A record without conflicts takes the fast path, whether the kind table knows its parameters or not.
    let other = record.replace("instanceId", "imageId").replace("tags", "madeUp");
    let other = other.replace(r#"{"x":1}"#, r#""Success""#).replace(r#""text""#, "{}");
    assert!(normalizer.try_copy(other.as_bytes(), 0, &mut Vec::new()).is_some(), "{other}");
}

#[test]
fn a_time_that_a_date_field_would_misread_is_spelled_out_and_comes_back() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    for (written, get_ignore_case) in [
        ("1717243200", "2024-06-01T12:00:00Z"),
        ("\"1717243200\"", "2024-06-01T12:00:00Z"),
        ("1717243200.5", "2024-06-01T12:00:00.5Z"),
        ("\"2024-06-01 12:00:00\"", "2024-06-01T12:00:00Z"),
        ("\"2024-06-01T12:00:00z\"", "2024-06-01T12:00:00Z"),
    ] {
        let record = format!(r#"{{"eventName":"A","eventTime":{written}}}"#);
        let document = document(&mut normalizer, &record);
        assert_eq!(value(&document)["eventTime"], get_ignore_case, "{written}");
        let note = format!("replaced /eventTime {written}");
        assert_eq!(value(&document)["trailload"]["changes"], to_json!([note]));
        assert_eq!(restore_record(document.as_bytes()).unwrap(), record.as_bytes());
        let mut relearned = IndexRewriter::new(&normalizer.fields, rules().template());
        assert_eq!(relearned.rewrite(document.as_bytes()), None, "{document}");
    }
    for read in ["1717243200000", "\"2024-06-01T12:00:00+02:00\"", "\"2024-06-01\"", "12", "true"] {
        let record = format!(r#"{{"eventTime":{read}}}"#);
        let document = value(&document(&mut normalizer, &record));
        assert_eq!(document["eventTime"], value(read));
        assert_eq!(document["trailload"], to_json!({"principal": "unknown"}), "{read}");
    }
}

#[test]
fn a_range_leaves_out_what_happened_at_another_time_and_nothing_else() {
    let time = |text: &str| Some(text.parse::<jiff::Timestamp>().unwrap());
    let range = TimeRange { from: time("2024-06-01T00:00:00Z"), to: time("2024-07-01T00:00:00Z") };
    let settings = Settings { prefix: "a".into(), range, ..Settings::default() };
    let fields = Arc::new(FieldRegistry::new(rules(), FieldProfile::Standard, 5_000));
    let mut normalizer = Normalizer::new(fields, Arc::new(settings));
    let uuid = r#""eventID":"a7a2a2a2-1111-2222-3333-444444444444""#;
    for (time, wanted) in [
        (r#""eventTime":"2024-06-30T23:59:59Z""#, true),
        (r#""eventTime":"2024-07-01T00:00:00Z""#, false),
        (r#""eventTime":1717243200"#, true),
        (r#""eventTime":1717243200000"#, true),
        (r#""eventTime":1517243200"#, false),
        (r#""@timestamp":"2024-06-05T00:00:00Z""#, true),
        (r#""@timestamp":"2023-06-05T00:00:00Z""#, false),
        (r#""eventTime":"1970-01-01T00:00:00Z""#, true),
        (r#""eventTime":"9999-01-01T00:00:00Z""#, true),
        (r#""eventTime":"never""#, true),
    ] {
        let record = format!("{{{uuid},{time}}}");
        let mut out = Vec::new();
        let slow = normalizer.rewrite(record.as_bytes(), &mut out).unwrap();
        assert_eq!(slow != Normalized::OutOfRange, wanted, "{record}");
        if let Some((_, quick)) = normalizer.try_copy(record.as_bytes(), 0, &mut out) {
            assert_eq!(quick, slow, "{record}");
        }
    }
}

#[test]
fn an_id_counts_under_every_spelling_if_it_is_shaped_like_one() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    let mut id = |record: &str| {
        let mut out = Vec::new();
        normalizer.rewrite(record.as_bytes(), &mut out).unwrap();
        let action = value(std::str::from_utf8(&out).unwrap().lines().next().unwrap());
        action["create"]["_id"].as_str().unwrap().to_owned()
    };
    let (one, other) =
        ("0828c0d2-3589-4390-b954-c78b4a7df44b", "1828c0d2-3589-4390-b954-c78b4a7df44b");
    for (record, expected) in [
        (format!(r#"{{"eventId":"{one}"}}"#), one),
        (format!(r#"{{"eventid":"{one}"}}"#), one),
        (format!(r#"{{"EventID":"{one}","eventName":"A"}}"#), one),
        (format!(r#"{{"eventId":"{one}","eventID":"{other}"}}"#), other),
        (format!(r#"{{"eventId":"{one}","eventID":"1"}}"#), one),
        (format!(r#"{{"eventid":"x","eventId":"{one}"}}"#), one),
    ] {
        assert_eq!(id(&record), expected, "{record}");
    }
    for shaped_otherwise in [
        "0828c0d235894390b954c78b4a7df44b",
        "{0828c0d2-3589-4390-b954-c78b4a7df44b}",
        "0828c0d2-3589-4390-b954-c78b4a7df44g",
        "0828c0d2-3589-4390-b954-c78b4a7df44b ",
        "",
    ] {
        let hashed = id(&format!(r#"{{"eventId":"{shaped_otherwise}"}}"#));
        assert!(hashed.starts_with("sha256-"), "{hashed}");
    }
    assert!(id(&format!(r#"{{"detail":{{"eventID":"{one}"}}}}"#)).starts_with("sha256-"));
}

#[test]
fn an_index_that_decided_otherwise_gets_a_document_of_its_own() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    let document =
        document(&mut normalizer, r#"{"eventName":"A","requestParameters":{"brandNew":{"x":1}}}"#);
    let live = serde_json::json!({"properties": {"requestParameters": {"properties": {"brandNew": {"type": "keyword"}}}}});
    let mut relearned = IndexRewriter::new(&normalizer.fields, &live);
    let again = String::from_utf8(relearned.rewrite(document.as_bytes()).unwrap()).unwrap();
    assert_eq!(
        value(&again)["requestParameters"],
        serde_json::json!({"brandNew_object": {"x": 1}})
    );
    assert_eq!(
        restore_record(again.as_bytes()).unwrap(),
        restore_record(document.as_bytes()).unwrap()
    );
    assert_eq!(relearned.rewrite(again.as_bytes()), None);
}

/// The mapping of an index with the core template and these request parameters.
fn index_with(parameters: &Value) -> Value {
    let mut mapping = rules().template().clone();
    mapping["properties"]["requestParameters"] = to_json!({ "properties": parameters });
    mapping
}

#[test]
fn a_document_rewritten_for_one_index_loses_nothing_there() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    let record = r#"{"eventName":"A","requestParameters":{"brandNew":{"x":1,"y":["b"]},"other":"c","policy":"d","bucketName":"e"},"alsoNew":{"z":NaN}}"#;
    let document = document(&mut normalizer, record);
    let live = index_with(&to_json!({"brandNew": {"type": "keyword"}}));
    let mut relearned = IndexRewriter::new(&normalizer.fields, &live);
    let again = String::from_utf8(relearned.rewrite(document.as_bytes()).unwrap()).unwrap();
    assert_eq!(lost(&live, &again), Vec::<String>::new(), "{again}");
    let more = value(&again)["trailload"]["unmapped"].clone();
    assert!(more.as_array().unwrap().contains(&to_json!("requestParameters.brandNew_object.x=1")));
    assert_eq!(
        restore_record(again.as_bytes()).unwrap(),
        restore_record(document.as_bytes()).unwrap()
    );
    for document in corpus().iter().map(|event| self::document(&mut normalizer, event)) {
        let again = relearned.rewrite(document.as_bytes());
        let again = again.map_or(document.clone(), |again| String::from_utf8(again).unwrap());
        assert_eq!(lost(&live, &again), Vec::<String>::new(), "{again}");
        assert_eq!(refused_by(&live, &again), Vec::<String>::new(), "{again}");
        assert_eq!(
            restore_record(again.as_bytes()).unwrap(),
            restore_record(document.as_bytes()).unwrap()
        );
    }
}

#[test]
fn a_document_rewritten_again_keeps_every_note() {
    let long = "9".repeat(1_500);
    for record in [
        r#"{"eventName":"A","requestParameters":{"brandNew":{"x":1},"n":NaN,"m":[Infinity]}}"#.to_owned(),
        format!(r#"{{"requestParameters":{{"brandNew":{{"x":{long}}}}}}}"#),
        format!(r#"{{"requestParameters":{{"brandNew":{{"x":1}}}},"deep":{}1{}}}"#, r#"{"x":["#.repeat(2_000), "]}".repeat(2_000)),
        "{\"eventName\":\"\\x\u{1}\",\"requestParameters\":{\"brandNew\":{\"x\":1}}}".to_owned(),
        r#"{"requestParameters":{"brandNew":{"x":1},"policy":["a",{"b":1}],"filter":"","disableApiTermination":{"value":true},"a~/ b":1,"a":1,"a":{"c":2}}}"#.to_owned(),
    ] {
        let mut normalizer = normalizer(FieldProfile::Standard);
        let document = document(&mut normalizer, &record);
        let live = index_with(&to_json!({"brandNew": {"type": "keyword"}, "policy": {"type": "keyword"}}));
        let mut relearned = IndexRewriter::new(&normalizer.fields, &live);
        let again = String::from_utf8(relearned.rewrite(document.as_bytes()).unwrap()).unwrap();
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&again).is_ok() || record.contains("deep"), "{again}");
        assert!(again.contains("brandNew_object"), "{again}");
        let back = |document: &str| String::from_utf8(restore_record(document.as_bytes()).unwrap()).unwrap();
        assert_eq!(back(&again), back(&document));
        assert_eq!(again.contains("\"repaired\""), document.contains("\"repaired\""));
        assert_eq!(document.contains("\"repaired\""), record.contains("\\x"));
    }
}

/// An index that another program mapped may lack or contradict even the core template.
#[test]
fn an_index_has_the_last_word_about_its_own_documents_and_only_those() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    let record =
        r#"{"eventName":"A","readOnly":"true","userIdentity":{"type":"x"},"awsRegion":"r"}"#;
    let document = document(&mut normalizer, record);
    let keyword = to_json!({"type": "keyword"});
    let live = to_json!({"properties": {"eventName": keyword, "userIdentity": keyword, "readOnly": {"properties": {}}}});
    let mut relearned = IndexRewriter::new(&normalizer.fields, &live);
    let again = String::from_utf8(relearned.rewrite(document.as_bytes()).unwrap()).unwrap();
    let held = value(&again);
    assert_eq!(held["userIdentity_object"]["type"], "x", "{again}");
    assert_eq!(held["readOnly_value"], "true", "{again}");
    assert_eq!(lost(&live, &again), Vec::<String>::new(), "{again}");
    normalizer.fields.merge_mappings(&live, MappingOrigin::Index);
    let same = self::document(&mut normalizer, record);
    assert_eq!(same, document, "other indices have the core");
}

#[test]
fn a_raw_document_keeps_what_searches_ask_for_and_the_record_as_text() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    let record = r#"{"eventName":"A","eventTime":"2024-01-01T00:00:00Z","x":{"y":"\"z\""}}"#;
    let raw = value(
        std::str::from_utf8(&raw_document(document(&mut normalizer, record).as_bytes())).unwrap(),
    );
    assert_eq!(raw["eventName"], "A");
    assert_eq!(raw["@timestamp"], "2024-01-01T00:00:00Z");
    assert_eq!(raw["trailload"]["raw"], true);
    assert_eq!(raw["event"]["original"], record);
}

/// An event as LookupEvents returns it: the session name and the bucket are only in the envelope.
const BESIDE: (&[u8], &[u8]) =
    (br#""i-0abc""#, br#"[{"ResourceType":"AWS::S3::Bucket","ResourceName":"logs"}]"#);

#[test]
fn what_an_envelope_adds_is_in_every_form_of_the_document_and_not_in_the_record() {
    let lookup = to_json!({
        "username": "i-0abc", "resources": [{ "type": "AWS::S3::Bucket", "name": "logs" }]
    });
    let record = r#"{"eventTime":"2023-07-10T11:50:00Z","eventName":"GetBucketAcl","eventID":"a7a2a2a2-1111-2222-3333-444444444444",
"userIdentity":{"type":"AssumedRole"},"requestParameters":{"bucketName":"logs","policy":{"a":1}}}"#;
    let mut normalizer = normalizer(FieldProfile::Standard);
    normalizer.set_lookup_fields(Some(BESIDE.0), Some(BESIDE.1));
    let slow = document(&mut normalizer, record);
    let mut out = Vec::new();
    let taken = normalizer.try_copy(record.as_bytes(), 0, &mut out);
    let Some((_, Normalized::Document(placed))) = taken else { panic!("{taken:?}") };
    let quick = String::from_utf8(out.split_off(placed.action_bytes as usize)).unwrap();
    assert_eq!(value(&quick), value(&slow));
    let fields = normalizer.fields.clone();
    let mut relearned =
        IndexRewriter::new(&fields, &index_with(&to_json!({ "bucketName": "date" })));
    let again = String::from_utf8(relearned.rewrite(slow.as_bytes()).unwrap()).unwrap();
    let raw = String::from_utf8(raw_document(slow.as_bytes())).unwrap();
    for form in [&quick, &slow, &again, &raw] {
        assert_eq!(value(form)["trailload"]["lookup"], lookup, "{form}");
    }
    for form in [&quick, &slow, &again] {
        assert!(refused_by(&mapping(&fields), form).iter().all(|path| !path.contains("lookup")));
        assert_eq!(meaning(&restore_record(form.as_bytes()).unwrap()), meaning(record.as_bytes()));
    }
    assert_eq!(value(&raw)["event"]["original"].as_str().map(value), Some(value(record)));
}

#[test]
fn an_envelope_changes_neither_the_id_nor_what_comes_without_one() {
    let record =
        r#"{"eventTime":"2023-07-10T11:50:00Z","eventName":"A","requestParameters":{"a":1}}"#;
    let mut normalizer = normalizer(FieldProfile::Standard);
    let written = |normalizer: &mut Normalizer| {
        let mut out = Vec::new();
        normalizer.rewrite(record.as_bytes(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (action, document) = text.split_once('\n').unwrap();
        (action.to_owned(), document.to_owned())
    };
    let plain = written(&mut normalizer);
    normalizer.set_lookup_fields(Some(BESIDE.0), Some(BESIDE.1));
    let beside = written(&mut normalizer);
    normalizer.set_lookup_fields(None, None);
    assert_eq!((&beside.0, written(&mut normalizer)), (&plain.0, plain.clone()));
    assert_ne!(beside.1, plain.1);
}

#[test]
fn beyond_the_budget_values_are_found_through_more() {
    let fields = Arc::new(FieldRegistry::new(rules(), FieldProfile::Standard, 0));
    let mut normalizer = Normalizer::new(Arc::clone(&fields), Arc::default());
    let record = r#"{"eventID":"0828c0d2-3589-4390-b954-c78b4a7df44b","eventTime":"2024-01-01T00:00:00Z","requestParameters":{"tags":{"a:b":"c"},"x":[1,"two"]}}"#;
    let slow = value(&document(&mut normalizer, record));
    assert!(fields.is_full() && fields.is_empty());
    let more: Vec<&str> = slow["trailload"]["unmapped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|term| term.as_str().unwrap())
        .collect();
    assert_eq!(
        more,
        ["requestParameters.tags.a:b=c", "requestParameters.x=1", "requestParameters.x=two"]
    );
    let mut out = Vec::new();
    let (_, Normalized::Document(placed)) =
        normalizer.try_copy(record.as_bytes(), 0, &mut out).unwrap()
    else {
        panic!()
    };
    assert_eq!(value(std::str::from_utf8(&out[placed.action_bytes as usize..]).unwrap()), slow);
}

/// Returns the values of a document that no search can find: neither mapped, nor in `trailload.unmapped`.
fn lost(mapping: &Value, document: &str) -> Vec<String> {
    let document = value(document);
    let more = document["trailload"]["unmapped"].as_array().cloned().unwrap_or_default();
    let more: Vec<&str> = more.iter().filter_map(Value::as_str).collect();
    let mut found = Vec::new();
    // Terms are limited in number and size; beyond that, missing ones are expected.
    if more.len() < 500 && more.iter().map(|term| term.len()).sum::<usize>() < 24 * 1_024 {
        for (key, value) in document.as_object().unwrap() {
            if !["trailload", "@timestamp", "source"].contains(&key.as_str()) {
                lose(&mapping["properties"], key, value, key, &more, &mut found);
            }
        }
    }
    found
}

fn lose(
    properties: &Value,
    key: &str,
    value: &Value,
    path: &str,
    more: &[&str],
    found: &mut Vec<String>,
) {
    let mut segments = key.split('.');
    let mut field = &properties[segments.next().unwrap()];
    for segment in segments {
        field = &field["properties"][segment];
    }
    match value {
        Value::Null => {}
        Value::Array(list) => {
            for part in list {
                lose(properties, key, part, path, more, found);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                let path = format!("{path}.{key}");
                lose(&field["properties"], key, value, &path, more, found);
            }
        }
        _ => {
            let ignored = |text: &str| {
                field["ignore_above"]
                    .as_u64()
                    .is_some_and(|most| text.encode_utf16().count() as u64 > most)
            };
            let mapped = field["type"].as_str().is_some_and(|kind| kind != "object")
                && !value.as_str().is_some_and(ignored);
            let term = match value {
                Value::String(text) => format!("{path}={text}"),
                // Numbers keep their text, which serde_json does not.
                _ => format!("{path}="),
            };
            let listed = || {
                more.iter().any(|held| {
                    held.starts_with(&term) || held.len() > 400 && term.starts_with(*held)
                })
            };
            if !mapped && !listed() {
                found.push(term);
            }
        }
    }
}

/// A string of this many UTF-16 units, with characters and escapes of every length.
fn text_of(units: usize) -> String {
    let parts = ["a", "\\\"", "\\n", "\u{e9}", "\u{20ac}", "\\u00e9"];
    let mut text: String = (0..units - 2).map(|number| parts[number % parts.len()]).collect();
    text.push('\u{1F600}');
    text
}

#[test]
fn a_text_is_a_term_only_if_its_field_ignores_it() {
    let most = IGNORE_ABOVE as usize;
    for (units, is_term) in [(most - 1, false), (most, false), (most + 1, true), (20_000, true)] {
        let text = text_of(units);
        for (path, parameters) in [
            ("requestParameters.madeUp", format!(r#"{{"madeUp":"{text}"}}"#)),
            ("requestParameters.madeUp", format!(r#"{{"madeUp":["a", "{text}" ,["b"]]}}"#)),
            ("requestParameters.policy", format!(r#"{{"policy":"{text}"}}"#)),
            ("requestParameters.a.b", format!(r#"{{"a":[{{"b":"{text}"}}]}}"#)),
            ("requestParameters.filter_value", format!(r#"{{"filter":"{text}"}}"#)),
        ] {
            let record = format!(
                r#"{{"eventID":"a7a2a2a2-1111-2222-3333-444444444444","eventTime":"2024-01-01T00:00:00Z","requestParameters":{parameters}}}"#
            );
            let mut normalizer = normalizer(FieldProfile::Standard);
            let slow = document(&mut normalizer, &record);
            let mut out = Vec::new();
            let taken = normalizer.try_copy(record.as_bytes(), 0, &mut out);
            let Some((_, Normalized::Document(placed))) = taken else { panic!("{record}") };
            let quick = String::from_utf8(out.split_off(placed.action_bytes as usize)).unwrap();
            assert_eq!(value(&quick), value(&slow), "{path} of {units}");
            let more = value(&slow)["trailload"]["unmapped"].clone();
            let terms: Vec<&str> =
                more.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            assert_eq!(terms.len(), usize::from(is_term), "{path} of {units}");
            let start: String =
                value(&format!("\"{text}\"")).as_str().unwrap().chars().take(100).collect();
            assert!(terms.iter().all(|term| term.starts_with(&format!("{path}={start}"))));
            assert!(terms.iter().all(|term| term.len() <= 512));
            assert_eq!(restore_record(slow.as_bytes()).unwrap(), meaning(record.as_bytes()));
            let mut relearned =
                IndexRewriter::new(&normalizer.fields, &mapping(&normalizer.fields));
            assert_eq!(relearned.rewrite(slow.as_bytes()), None, "{path}");
        }
    }
}

#[test]
fn every_value_of_every_public_event_can_be_found() {
    for (profile, most) in [
        (FieldProfile::Standard, 5_000),
        (FieldProfile::Standard, 300),
        (FieldProfile::Lean, 5_000),
    ] {
        let mut normalizer = normalizer_within(profile, most);
        let documents: Vec<String> =
            corpus().iter().map(|event| document(&mut normalizer, event)).collect();
        let mapping = mapping(&normalizer.fields);
        for document in &documents {
            assert_eq!(lost(&mapping, document), Vec::<String>::new(), "{document}");
        }
    }
}

/// Only the choice of mapped values and terms depends on the order.
#[test]
fn beyond_the_budget_documents_look_the_same_in_any_order() {
    let documents = |events: &[String], most| -> Vec<Value> {
        let mut normalizer = normalizer_within(FieldProfile::Standard, most);
        let documents = events.iter().map(|event| {
            let mut document = value(&document(&mut normalizer, event));
            if let Some(ours) = document["trailload"].as_object_mut() {
                ours.remove("unmapped");
            }
            document
        });
        documents.collect()
    };
    let mut events = corpus();
    for most in [300, 40] {
        let forward = documents(&events, most);
        events.reverse();
        let mut backward = documents(&events, most);
        events.reverse();
        backward.reverse();
        for (one, other) in forward.iter().zip(&backward) {
            assert_eq!(one["requestParameters"], other["requestParameters"]);
            assert_eq!(one["responseElements"], other["responseElements"]);
        }
    }
}

#[test]
fn beyond_the_budget_paths_that_no_table_knows_are_not_remembered() {
    let mut normalizer = normalizer_within(FieldProfile::Standard, 0);
    let known = |fields: &FieldRegistry| {
        let mut paths = 0;
        fields.for_each_from(0, |_, _| paths += 1);
        paths
    };
    document(&mut normalizer, r#"{"requestParameters":{"policy":{"a":1}}}"#);
    let before = known(&normalizer.fields);
    for number in 0..100 {
        let record = format!(
            r#"{{"n{number}":1,"requestParameters":{{"m{number}":{{"x":1}},"policy":{{"a{number}":1}}}}}}"#
        );
        document(&mut normalizer, &record);
    }
    assert_eq!(known(&normalizer.fields), before);
}

fn json() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("policy".to_owned()),
        Just("tags".to_owned()),
        Just("key".to_owned()),
        Just("value".to_owned()),
        Just("a.b".to_owned()),
        Just(String::new()),
        Just(".".to_owned()),
        Just("x_value".to_owned()),
        Just("_id".to_owned()),
        Just("source".to_owned()),
        Just("eventName".to_owned()),
        Just("readOnly".to_owned()),
        Just("requestParameters".to_owned()),
        Just("userIdentity".to_owned()),
        Just("\\ud83d".to_owned()),
        Just("\\u0061".to_owned()),
        Just("a".to_owned()),
        Just("a~/ b".to_owned()),
        "[a-c._ ]{0,4}",
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"\"".to_owned()),
        Just("1e400".to_owned()),
        Just("NaN".to_owned()),
        Just("-0".to_owned()),
        Just("\"false\"".to_owned()),
        "\"[a-z]{0,3}\"",
        "[1-9][0-9]{0,20}",
        Just("9".repeat(1_200)),
        Just("\"\\ud83d\"".to_owned()),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|list| format!("[{}]", list.join(","))),
            proptest::collection::vec((key.clone(), inner), 0..5).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

#[test]
fn when_an_index_is_full_new_fields_are_found_through_more() {
    let mut normalizer = normalizer(FieldProfile::Standard);
    let rest =
        r#""eventID":"a7a2a2a2-1111-2222-3333-444444444444","eventTime":"2024-01-01T00:00:00Z""#;
    let record = |parameters: &str| format!(r#"{{{rest},"requestParameters":{{{parameters}}}}}"#);
    document(&mut normalizer, &record(r#""before":"x","lacking":1,"also":{"lacking":2}"#));
    let live = index_with(&to_json!({"before": {"type": "keyword"}, "also": {"type": "object"}}));
    normalizer.fields.freeze(&live);
    let record = record(r#""before":"x","lacking":["z"],"also":{"lacking":3},"afterThat":"y""#);
    let mut out = Vec::new();
    let taken = normalizer.try_copy(record.as_bytes(), 0, &mut out);
    let Some((_, Normalized::Document(placed))) = taken else { panic!("{taken:?}") };
    let fast = std::str::from_utf8(&out[placed.action_bytes as usize..]).unwrap();
    let more = to_json!([
        "requestParameters.lacking=z",
        "requestParameters.also.lacking=3",
        "requestParameters.afterThat=y"
    ]);
    assert_eq!(value(fast)["trailload"]["unmapped"], more, "what it lacks, and what is new");
    assert_eq!(document(&mut normalizer, &record), fast);
    assert_eq!(lost(&live, fast), Vec::<String>::new());
    let other = index_with(&to_json!({"lacking": {"type": "keyword"}}));
    normalizer.fields.merge_mappings(&other, MappingOrigin::Index);
    assert_eq!(document(&mut normalizer, &record), fast, "another index that has room");
}

#[test]
fn an_index_overrules_what_we_met_first_and_a_template_says_until_then() {
    let fields = Arc::new(FieldRegistry::new(rules(), FieldProfile::Standard, 5_000));
    let mut normalizer = Normalizer::new(Arc::clone(&fields), Arc::default());
    let record = r#"{"requestParameters":{"newText":"x","newObject":{"a":{"b":1}}}}"#;
    document(&mut normalizer, record);
    let parameters = |properties: Value| to_json!({"properties": {"requestParameters": {"properties": properties}}});
    let keyword = to_json!({"type": "keyword"});
    let object = to_json!({"properties": {"x": keyword}});
    let theirs = parameters(to_json!({"newText": object, "newObject": keyword}));
    let told = || fields.properties(0, fields.len())["requestParameters"]["properties"].clone();
    fields.merge_mappings(&theirs, MappingOrigin::Template);
    let expected = to_json!({"newText": {"type": "object", "properties": {"x": keyword}}, "newObject": keyword});
    assert_eq!(told(), expected, "other indices are told the same, and nothing below a value");
    fields.merge_mappings(
        &parameters(to_json!({"newObject": {"properties": {}}})),
        MappingOrigin::Index,
    );
    assert_eq!(told()["newObject"]["type"], "object", "an index has the last word");
    fields.merge_mappings(&theirs, MappingOrigin::Template);
    assert_eq!(told()["newObject"]["type"], "object");
}

#[test]
fn what_an_earlier_run_decided_is_obeyed_unless_an_engine_says_otherwise() {
    let fields = Arc::new(FieldRegistry::new(rules(), FieldProfile::Standard, 5_000));
    let mut normalizer = Normalizer::new(Arc::clone(&fields), Arc::default());
    let keyword = to_json!({"type": "keyword"});
    let template =
        to_json!({"properties": {"requestParameters": {"properties": {"theirs": keyword}}}});
    fields.merge_mappings(&template, MappingOrigin::Template);
    let decided = [
        ("ours", FieldShape::Value),
        ("ours.deep", FieldShape::Object),
        ("theirs", FieldShape::Object),
        ("late", FieldShape::Object),
    ];
    fields.restore(decided.map(|(name, shape)| (format!("requestParameters.{name}"), shape)));
    let corrected = |path: &str, shape| {
        vec![FieldDecision {
            path: format!("requestParameters.{path}"),
            shape,
            by: DecidedBy::Engine,
        }]
    };
    assert_eq!(fields.take_decisions(), corrected("theirs", FieldShape::Value));
    assert_eq!(fields.len(), 1, "nothing is a field before it is met");
    let record = r#"{"requestParameters":{"ours":{"x":1},"theirs":{"y":1}}}"#;
    let held = value(&document(&mut normalizer, record));
    assert_eq!(
        held["requestParameters"],
        to_json!({"ours_object": {"x": 1}, "theirs_object": {"y": 1}})
    );
    assert!(fields.take_decisions().iter().all(|decision| decision.by == DecidedBy::FirstValue));
    let live = to_json!({"properties": {"requestParameters": {"properties": {"late": keyword}}}});
    fields.merge_mappings(&live, MappingOrigin::Index);
    assert_eq!(fields.take_decisions(), corrected("late", FieldShape::Value));
    let held = value(&document(&mut normalizer, r#"{"requestParameters":{"late":"z"}}"#));
    assert_eq!(held["requestParameters"]["late"], "z");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn whatever_comes_goes_in_and_comes_back(records in proptest::collection::vec(proptest::collection::vec((".{0}(requestParameters|userIdentity|policy|a|tags|readOnly|eventTime)", json()), 0..4), 1..5)) {
        let mut normalizer = normalizer(FieldProfile::Standard);
        let mut documents = Vec::new();
        for members in records {
            let members: Vec<String> = members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let record = format!("{{{}}}", members.join(","));
            let document = document(&mut normalizer, &record);
            prop_assert_eq!(
                String::from_utf8(restore_record(document.as_bytes()).unwrap()).unwrap(),
                String::from_utf8(meaning(record.as_bytes())).unwrap(),
                "{}", document
            );
            documents.push(document);
        }
        let mapping = mapping(&normalizer.fields);
        for document in documents {
            // serde_json rejects lone surrogates and numbers beyond f64; engines accept them.
            if !document.contains("\\ud83d") && !document.contains("1e400") && !document.contains("999999999999999999999999999999999999999") {
                prop_assert_eq!(refused_by(&mapping, &document), Vec::<String>::new(), "{}", document);
            }
        }
    }
}

proptest! {
    #[test]
    fn an_address_is_one_for_the_library_too(text in "[0-9]{1,4}(\\.[0-9]{1,3}){2,4}|[0-9.:a-f ]{0,16}") {
        prop_assert_eq!(is_ipv4(text.as_bytes()), text.parse::<std::net::Ipv4Addr>().is_ok());
    }
}

#[test]
fn every_part_of_an_address_is_known() {
    for part in 0..1_000 {
        for text in [format!("{part}.1.2.3"), format!("1.2.3.{part}"), format!("1.{part:03}.2.3")] {
            let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
            assert_eq!(is_ipv4(text.as_bytes()), is_address, "{text}");
        }
    }
}

/// A document that is loaded again, from a search result or an index dump, is restored to its record.
mod returned {
    use super::*;

    /// Normalizes a record, and then the document as an engine returns it.
    fn twice(record: &str, settings: Settings) -> [String; 2] {
        let fields = Arc::new(FieldRegistry::new(rules(), FieldProfile::Standard, 5_000));
        let mut normalizer = Normalizer::new(fields, Arc::new(settings));
        let mut given = record.as_bytes().to_vec();
        [0, 1].map(|_| {
            let mut out = Vec::new();
            if normalizer.try_copy(&given, 0, &mut out).is_none() {
                normalizer.rewrite(&given, &mut out).unwrap();
            }
            let line = out.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            given = out[line..].to_vec();
            String::from_utf8(out).unwrap()
        })
    }

    #[test]
    fn a_document_that_comes_back_is_the_same_document() {
        for record in [
            r#"{"eventVersion":"1.08","userIdentity":{"type":"Root"},"eventTime":"2024-03-05T10:00:00Z","sourceIPAddress":"192.0.2.7","requestParameters":{"attribute":"x","filter":[{"a":1}]},"eventID":"0a1b2c3d-4e5f-4a6b-8c7d-000000000001"}"#,
            r#"{"eventVersion":"1.08","eventTime":"2024-03-05T10:00:00Z","sourceIPAddress":"ec2.amazonaws.com","eventID":"no uuid","n":1.50}"#,
            r#"{"eventTime":"2024-03-05T10:00:00.123Z","sourceIPAddress":"2001:db8::1","requestParameters":{"policy":["a",{"b":1}],"tags":{"k":"v"}}}"#,
            r#"{"eventName":"A","eventSource":"undated","requestParameters":{"policy":{"b":1}}}"#,
            r#"{"eventId":"x","timeWindow":{"windowStart":"2024-03-05T10:00:00Z"},"accountId":"1"}"#,
        ] {
            for keep_original in [false, true] {
                let prefix = "cloudtrail".to_owned();
                let settings = Settings { prefix, keep_original, ..Settings::default() };
                let [first, second] = twice(record, settings);
                let value = |text: &str| -> Value {
                    serde_json::from_str(text.split_once('\n').unwrap().1).unwrap()
                };
                assert_eq!(first.lines().next(), second.lines().next(), "{record}");
                assert_eq!(value(&first), value(&second), "{record}");
            }
        }
    }

    #[test]
    fn a_record_that_only_looks_like_a_document_keeps_all_it_has() {
        for record in [
            r#"{"eventTime":"2024-03-05T10:00:00Z","eventID":"1","@timestamp":"2024-03-05T10:00:01Z"}"#,
            r#"{"eventTime":"2024-03-05T10:00:00Z","eventID":"1","trailload":{"changes":5}}"#,
            r#"{"eventTime":"2024-03-05T10:00:00Z","eventID":"1","trailload":{}}"#,
            r#"{"eventTime":"2024-03-05T10:00:00Z","eventID":"1","source":{"ip":"192.0.2.1"}}"#,
            r#"{"eventTime":"2024-03-05T10:00:00Z","eventID":"1","event":{"original":"{}"}}"#,
            r#"{"eventName":"A","event":{"original":"{\"eventName\":\"A\"}","kind":"event"}}"#,
            r#"{"eventName":"A","event":"A"}"#,
        ] {
            let tree = tree::parse(record.as_bytes()).unwrap();
            assert!(restore::from_document(record.as_bytes(), &tree.tree).is_none(), "{record}");
        }
        let logstash = r#"{"eventTime":"2024-03-05T10:00:00Z","@timestamp":"2024-03-05T10:00:00.000Z","sourceIPAddress":"192.0.2.1","source":{"ip":"192.0.2.2"}}"#;
        let tree = tree::parse(logstash.as_bytes()).unwrap();
        let record = restore::from_document(logstash.as_bytes(), &tree.tree).unwrap().record;
        let record: Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(record["source"]["ip"], "192.0.2.2");
        assert!(record.get("@timestamp").is_none());
    }
}
