//! What is checked for every parser that reads text from a user or from a log, for any input.
//!
//! Shared by the fuzz targets in this folder and by a bounded run in the test program. A body panics if a promise is
//! broken; an input that a parser refuses is fine. The text up to the first NUL byte is the expression, the rest is the
//! event that it is evaluated on.

use bytes::Bytes;
use serde_json::{Value, json};
use trailload::{
    filter::{
        action::ActionPattern,
        eventbridge::EventView,
        jmespath::Expression,
        literal::Literal,
        match_expression::{MatchExpression, MatchObservations},
        rule::{RuleFile, RuleSet, Verdict, event_pattern, parse_rule_file, translate_drools},
        syntax::SyntaxError,
        yaml::{TextPosition, parse_yaml},
    },
    limit::DecoderLimits,
    source::{
        Content, Decoder, OversizedRecord, RecordHandler, RecordOutcome, ReservedBytes, SkipError,
        message::{Message, Work},
        skip_value,
    },
};

/// Parses `--match`, evaluates it, and asks for its hints.
pub(crate) fn match_expression(input: &[u8]) {
    let (text, event) = split(input);
    match MatchExpression::parse(&text) {
        Ok(parsed) => {
            let mut observations = MatchObservations::default();
            let outcome = parsed.evaluate(&event, &mut observations);
            assert_eq!(outcome, parsed.matches(&event), "observing changes nothing");
            for hint in parsed.warnings().into_iter().chain(parsed.hints(&observations)) {
                assert!(hint.message.len() < 2_000, "{hint:?}");
            }
        }
        Err(error) => check_error(&text, &error),
    }
}

/// Parses a literal; what it is written as means the same.
pub(crate) fn literal(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Literal::parse(&text, 0) {
        Ok(literal) => {
            let written = literal.to_string();
            if let Ok(value) = serde_json::from_str::<Value>(&written) {
                assert!(literal.equals(&value), "{text:?} is not {written}");
            }
        }
        Err(error) => check_error(&text, &error),
    }
}

/// Parses `--where`, lints it, and evaluates it.
pub(crate) fn jmespath(input: &[u8]) {
    let (text, event) = split(input);
    match Expression::parse(&text) {
        Ok(parsed) => {
            let _ = parsed.lints();
            let once = parsed.is_true(EventView::new(&event));
            let again = parsed.is_true(EventView::new(&event).with_flat());
            if !text.contains("flat") {
                assert_eq!(once.ok(), again.ok(), "{text}");
            }
        }
        Err(error) => check_error(&text, &error),
    }
}

/// Parses an action, and matches it with a source and an event name.
pub(crate) fn action_pattern(input: &[u8]) {
    let (text, event) = split(input);
    match ActionPattern::parse(&text) {
        Ok(pattern) => {
            let text = |key| event.get(key).and_then(Value::as_str).unwrap_or_default();
            let matches = pattern.matches(text("eventSource"), text("eventName"));
            assert!(matches || !pattern.matches_everything());
        }
        Err(error) => check_error(&text, &error),
    }
}

/// Parses a rule file, and evaluates its rules one by one and all at once.
pub(crate) fn rules(input: &[u8]) {
    let (text, event) = split(input);
    check_rules(&text, parse_rule_file(&text), &event);
}

/// Parses the detection of a Sigma rule.
pub(crate) fn sigma(input: &[u8]) {
    let (text, event) = split(input);
    let text = format!(
        "title: x\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n  {}",
        text.replace('\n', "\n  ")
    );
    check_rules(&text, parse_rule_file(&text), &event);
}

/// Translates a Drools file; the translation is a valid rule file.
pub(crate) fn drools(input: &[u8]) {
    let (text, event) = split(input);
    let translation = translate_drools(&text);
    for error in &translation.untranslated {
        check_position(&text, error.position);
    }
    if translation.translated > 0 {
        let mut file = parse_rule_file(&translation.yaml);
        // Two rules of the file may have the same name.
        file.errors.retain(|error| !error.message.starts_with("the name is that of"));
        assert_eq!(file.errors, [], "{}", translation.yaml);
        assert_eq!(file.rules.len(), translation.translated, "{}", translation.yaml);
        check_rules(&translation.yaml, file, &event);
    }
}

/// Checks the places of errors and warnings, and that the index of rules finds what each rule finds.
fn check_rules(text: &str, file: RuleFile, event: &Value) {
    for error in file.errors.iter().chain(&file.other_log_sources) {
        check_position(text, error.position);
        assert!(!error.message.is_empty());
    }
    for warning in &file.warnings {
        check_position(text, warning.position);
    }
    let alone: Vec<usize> = file
        .rules
        .iter()
        .enumerate()
        .filter_map(|(number, rule)| rule.fires(event).then_some(number))
        .collect();
    let _ = event_pattern(&file.rules);
    let set = RuleSet::new(file.rules);
    let mut together = Vec::new();
    set.evaluate(event, |number, _, verdict| {
        if matches!(verdict, Verdict::Fires(_)) {
            together.push(number);
        }
    });
    assert_eq!(alone, together, "{text}");
}

fn check_position(text: &str, position: TextPosition) {
    // YAML takes a carriage return alone as the end of a line.
    let lines = text.matches(['\n', '\r']).count() + 1;
    assert!(position.line >= 1 && position.line <= lines + 1, "{position} in {text:?}");
    assert!(
        position.column >= 1 && position.column <= text.chars().count() + 2,
        "{position} in {text:?}"
    );
}

/// Parses YAML.
pub(crate) fn yaml(input: &[u8]) {
    if let Ok(documents) = parse_yaml(&String::from_utf8_lossy(input)) {
        for document in documents {
            let _ = document.to_json();
        }
    }
}

/// Finds what the body of a message contains. Events are a part of it, or decoded; an object is named once.
pub(crate) fn message(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    let Message::Work(Work { events, objects }) = Message::parse(&body) else { return };
    assert!(events.is_some() || !objects.is_empty(), "work to do");
    assert!(events.is_none_or(|events| !events.is_empty()));
    for (at, object) in objects.iter().enumerate() {
        assert!(!object.bucket.is_empty() && !object.key.is_empty(), "{object:?}");
        assert!(!objects[..at].contains(object), "{object:?} twice");
    }
}

/// Finds the records of an input of any format, and skips JSON values like a parser.
pub(crate) fn records(input: &[u8]) {
    let mut parsed =
        serde_json::Deserializer::from_slice(input).into_iter::<serde::de::IgnoredAny>();
    // A number at the end of a text may go on behind it.
    let is_closed = matches!(input.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
    if let Some(Ok(_)) = parsed.next().filter(|_| is_closed) {
        assert_eq!(skip_value(input, 0), Ok(parsed.byte_offset()), "{input:?}");
    }
    let limits = DecoderLimits {
        window_bytes: 4 << 10,
        max_record_bytes: 16 << 10,
        max_stored_bytes: 32 << 10,
        max_unpacked_bytes: 64 << 10,
        max_extra_bytes: 1 << 20,
    };
    let content = Content::Memory(ReservedBytes { bytes: input.to_vec().into(), permit: None });
    let _ = Decoder::new(limits).read("input", content, &mut Skipper);
}

/// Accepts every record.
struct Skipper;

impl RecordHandler for Skipper {
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        assert_eq!(text.get(start), Some(&b'{'), "a record starts with its brace");
        match skip_value(text, start) {
            Ok(end) => {
                assert!(end > start && end <= text.len());
                RecordOutcome::EndsAt(end)
            }
            Err(SkipError::Incomplete) => RecordOutcome::Incomplete,
            Err(SkipError::Invalid { offset, cause }) => {
                assert!(offset <= text.len());
                RecordOutcome::Invalid { offset, cause: cause.into() }
            }
        }
    }

    fn oversized(&mut self, _record: OversizedRecord) {}
}

/// Splits an input into an expression and an event.
fn split(input: &[u8]) -> (String, Value) {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let event = serde_json::from_slice(input.get(end + 1..).unwrap_or_default()).unwrap_or_else(|_| {
        json!({
            "eventSource": "s3.amazonaws.com", "eventName": "GetObject", "eventTime": "2026-11-27T12:00:00Z",
            "awsRegion": "eu-west-1", "recipientAccountId": "111122223333", "readOnly": true, "errorCode": null,
            "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/alice", "x-y": [1, 1.5, "a"]},
            "requestParameters": {"a": [{"b": "x"}, {"b": "true"}], "0": {"c": {}}},
        })
    });
    (String::from_utf8_lossy(&input[..end]).into_owned(), event)
}

/// Checks that an error can be shown.
fn check_error(text: &str, error: &SyntaxError) {
    assert!(text.is_char_boundary(error.offset), "{error:?}");
    let shown = error.caret().to_string();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(!error.message.is_empty());
}
