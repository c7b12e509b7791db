//! Tests of the action file, and of messages of any event within the limits of each service.

use std::{collections::BTreeSet, ffi::OsString, fmt::Write as _, path::Path};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    message::tests::{alert_on, event},
    *,
};
use crate::filter::{
    principal,
    rule::{is_action_of_rule, parse_rule_file},
};

const ALL_KINDS: &str = r#"
datadog: {kind: datadog, api_key: "${SECRET}", site: datadoghq.eu, version: v1, tags: [team:security]}
datadog2: {kind: datadog, api_key: {file: key}, endpoint: "http://127.0.0.1:1/"}
slack: {kind: slack, url: "https://hooks.slack.com/services/${SECRET}", throttle: 30/m}
pagerduty: {kind: pagerduty, routing_key: "${ROUTING_KEY}", service_region: eu}
sns: {kind: sns, topic_arn: "arn:aws:sns:eu-west-1:111122223333:alerts.fifo", format: json}
sns2: {kind: sns, topic_arn: "arn:aws:sns:eu-west-1:111122223333:alerts", role_arn: "arn:aws:iam::444455556666:role/x"}
webhook:
  kind: webhook
  url: http://127.0.0.1:1/x
  headers: {Authorization: "Bearer ${SECRET}"}
  signing_secret: ${SECRET}
  body: {text: "${rule} ${message}", who: "${event.userIdentity.arn}"}
webhook2: {kind: webhook, url: "http://127.0.0.1:1/x"}
command: {kind: command, command: [true], timeout: 5s}
index: {kind: index, url: "http://127.0.0.1:1", username: u, password: "${SECRET}"}
file: {kind: file, path: alerts.ndjson}
out: {kind: stdout, format: text}
"#;

fn action(name: &str) -> Action {
    let file = ActionsFile::parse(ALL_KINDS);
    assert_eq!(file.errors, Vec::new());
    file.find(name).unwrap()
}

fn error(text: &str) -> (String, String, String) {
    let error = ActionsFile::parse(text).errors.remove(0);
    (error.position.to_string(), error.message, error.suggestion.unwrap_or_default())
}

#[test]
fn actions_of_every_kind_are_read() {
    let file = ActionsFile::parse(ALL_KINDS);
    assert_eq!(file.errors, Vec::new());
    assert_eq!(file.warnings, Vec::new());
    let kinds: BTreeSet<_> = file.actions.iter().map(|action| action.settings.kind()).collect();
    assert_eq!(kinds.len(), 9);
    let throttle = |name: &str| file.find(name).unwrap().throttle.map(|limit| limit.to_string());
    assert_eq!(throttle("slack").as_deref(), Some("30/m"));
    assert_eq!(throttle("pagerduty").as_deref(), Some("120/m"));
    assert_eq!(throttle("datadog"), None);
    let wrapped = ALL_KINDS
        .trim()
        .lines()
        .fold("actions:\n".to_owned(), |text, line| text + "  " + line + "\n");
    assert_eq!(ActionsFile::parse(&wrapped).actions.len(), file.actions.len());
}

#[test]
fn an_error_names_place_cause_and_fix() {
    for (text, position, message, fix) in [
        ("a:\n  kind: slak\n  url: x\n", "2:9", "`slak` is not a kind of action", "write `slack`"),
        (
            "slack:\n  url: https://x\n",
            "1:1",
            "the action `slack` has no `kind`",
            "add `kind: slack`",
        ),
        (
            "a:\n  kind: slack\n  ulr: https://x\n",
            "3:3",
            "an action of kind slack has no key `ulr`",
            "write `url`",
        ),
        ("a: {kind: slack}\n", "1:4", "slack needs `url`", "add `url: \"${SLACK_URL}\"`"),
        ("a: {kind: slack, url: nonsense}\n", "1:23", "`url` is not a valid URL", ""),
        (
            "a: {kind: slack, url: https://x, throttle: often}\n",
            "1:44",
            "`often` is not a limit",
            "",
        ),
        (
            "a: {kind: slack, url: https://x, timeout: 20h}\n",
            "1:43",
            "a timeout is at most 15m",
            "",
        ),
        (
            "a: {kind: datadog, api_key: k, site: datadog.eu}\n",
            "1:38",
            "`site` of datadog is not",
            "write `datadoghq.eu`",
        ),
        (
            "a: {kind: datadog, api_key: k, api_key_file: f}\n",
            "1:46",
            "both `api_key` and `api_key_file`",
            "remove one",
        ),
        (
            "a: {kind: pagerduty, routing_key: short}\n",
            "1:35",
            "does not have the form of one",
            "copy",
        ),
        (
            "a: {kind: sns, topic_arn: alerts}\n",
            "1:27",
            "`alerts` is not the ARN of a topic",
            "arn:aws:sns",
        ),
        ("a: {kind: index, index: Alerts}\n", "1:25", "must not have upper-case letters", ""),
        ("a: {kind: index, url: http://x, username: u}\n", "1:4", "index needs `password`", "add"),
        (
            "a: {kind: webhook, url: http://x, headers: {Host: x}}\n",
            "1:45",
            "is set by trailload",
            "remove",
        ),
        ("a: {kind: command}\n", "1:4", "command needs `command`", "add"),
        ("a: {kind: file}\n", "1:4", "file needs `path`", "add"),
        ("'a b': {kind: stdout}\n", "1:1", "the name of an action consists of letters", ""),
        ("- x\n", "1:1", "a mapping of actions by name is expected", ""),
        ("", "1:1", "the file has no action", "start with"),
    ] {
        let found = error(text);
        assert_eq!(found.0, position, "{text}{found:?}");
        assert!(found.1.contains(message), "{text}{found:?}");
        assert!(found.2.contains(fix), "{text}{found:?}");
    }
}

#[test]
fn an_error_repeats_no_secret() {
    for text in [
        "a: {kind: slack, url: hunter2}",
        "a: {kind: pagerduty, routing_key: hunter2}",
        "a: {kind: datadog, api_key: [hunter2]}",
        "a: {kind: datadog, api_key: \"${hunter2 }\"}",
        "a: {kind: webhook, url: \"ftp://hunter2\"}",
    ] {
        let found = format!("{:?}", ActionsFile::parse(text));
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn a_secret_in_plain_text_is_a_warning() {
    let file =
        ActionsFile::parse("a: {kind: slack, url: https://hooks.slack.com/services/hunter2}");
    assert_eq!((file.actions.len(), file.warnings.len()), (1, 1));
    assert!(!format!("{file:?}").contains("hunter2"));
}

#[test]
fn rules_refer_to_actions_by_name_or_define_them() {
    let file = ActionsFile::parse("slack-security: {kind: slack, url: \"${SLACK_URL}\"}");
    let rules = parse_rule_file(
        "name: a\nevents: [X]\nactions: [slack-security, stdout, {index: {}}, {file: {path: x}}, slack-secrity]\n---\nname: b\nevents: [X]\nactions: [{index: {}}, {index: {index: other}}, {slack: {}}]\n",
    );
    assert_eq!(rules.errors, Vec::new());
    let (actions, errors) = file.resolve_all(&rules.rules);
    let names: Vec<&str> = actions.iter().map(|action| action.name.as_str()).collect();
    assert_eq!(names[..3], ["slack-security", "stdout", "index"]);
    assert_eq!(names.len(), 5, "the same settings are one action: {names:?}");
    let errors: Vec<_> = errors
        .iter()
        .map(|(rule, error)| {
            (*rule, error.position.to_string(), error.message.as_str(), error.suggestion.as_deref())
        })
        .collect();
    assert_eq!(
        errors,
        [
            (
                0,
                "3:67".to_owned(),
                "there is no action `slack-secrity`",
                Some("write `slack-security`")
            ),
            (1, "7:57".to_owned(), "slack needs `url`", Some("add `url: \"${SLACK_URL}\"`")),
        ]
    );
}

#[test]
fn an_action_of_a_rule_without_settings_is_the_one_with_the_name_of_its_kind() {
    let rules = parse_rule_file(
        "name: a\nevents: [X]\nactions: [index, {index: {}}, {index: }, {file: {path: x}}]\n",
    );
    let actions = |file: &str| ActionsFile::parse(file).resolve_all(&rules.rules);
    let (found, errors) = actions("other: {kind: stdout}");
    let names: Vec<&str> = found.iter().map(|action| action.name.as_str()).collect();
    assert_eq!((names.len(), names[0], errors.len()), (2, "index", 0));
    assert!(is_action_of_rule(names[1]) && names[1].starts_with("file in rules ("), "{names:?}");
    assert!(!is_action_of_rule(names[0]));
    let (found, errors) = actions("index: {kind: index, index: mine}");
    assert_eq!((found.len(), errors.len()), (2, 0));
    assert!(format!("{:?}", found[0]).contains("mine"));
    let (_, errors) = actions("index: {kind: webhook, url: \"https://h/\"}");
    let message = "`index` is an action of kind webhook in the action file";
    assert_eq!(errors.iter().filter(|(_, error)| error.message == message).count(), 2);
}

#[test]
fn default_actions_are_names_of_actions() {
    let names = |text: &str| {
        let file = ActionsFile::parse(text);
        assert_eq!(file.errors, Vec::new(), "{text}");
        let names = file.default_actions.iter().map(|action| action.name().into_owned());
        (names.collect::<Vec<_>>(), file.actions.len())
    };
    let of = |expected: &[&str], count| {
        (expected.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), count)
    };
    assert_eq!(names("default: a\na: {kind: stdout}"), of(&["a"], 1));
    assert_eq!(names("actions: {a: {kind: stdout}, default: [a, index]}"), of(&["a", "index"], 1));
    // An action may have this name.
    assert_eq!(names("default: {kind: stdout}"), of(&[], 1));
    let (place, message, hint) = error("default: [b]\nbb: {kind: stdout}");
    assert_eq!((place.as_str(), message.as_str()), ("1:11", "there is no action `b`"));
    assert_eq!(hint, "write `bb`");
}

/// Returns the keys of a kind in the schema.
fn schema_keys(schema: &Value, kind: &str) -> BTreeSet<String> {
    schema["$defs"][kind]["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_schema_has_every_kind_and_key() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../mappings/actions.schema.json")).unwrap();
    let kinds = json!(actions_file::KINDS);
    assert_eq!(schema["$defs"]["action"]["properties"]["kind"]["enum"], kinds);
    let keys: [(&str, &[&str], &[&str]); 9] = [
        ("command", &command::KEYS, &[]),
        ("datadog", &datadog::KEYS, &settings::HTTP_KEYS),
        ("file", &file::KEYS, &[]),
        ("index", &index::KEYS, &[]),
        ("pagerduty", &pagerduty::KEYS, &settings::HTTP_KEYS),
        ("slack", &slack::KEYS, &settings::HTTP_KEYS),
        ("sns", &sns::KEYS, &[]),
        ("stdout", &stdout::KEYS, &[]),
        ("webhook", &webhook::KEYS, &settings::HTTP_KEYS),
    ];
    for (kind, own, shared) in keys {
        let expected = own.iter().chain(shared).chain(&["kind", "throttle"]);
        assert_eq!(
            schema_keys(&schema, kind),
            expected.map(|key| (*key).to_owned()).collect(),
            "{kind}"
        );
        // Another key is an error that names a key of the kind.
        let text = format!("a: {{kind: {kind}, no_such_key: 1}}");
        assert!(error(&text).1.contains("no_such_key"), "{kind}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "hunter2-in-file").unwrap();
    let variable = |name: &str| match name {
        "SECRET" => Some(OsString::from("hunter2")),
        "ROUTING_KEY" => Some(OsString::from("hunter2xhunter2xhunter2xhunter2x")),
        _ => None,
    };
    let lookup = SecretLookup { variable: &variable, folder: folder.path() };
    let context = ReceiverContext {
        clock: Clock::new(|| Timestamp::UNIX_EPOCH),
        session: None,
        engine: None,
    };
    let message = AlertMessage::new(&alert_on(&event()), &MessageContext::default());
    for action in ActionsFile::parse(ALL_KINDS).actions {
        let rendered = action.render(&message, Timestamp::UNIX_EPOCH);
        let mut shown = format!("{action:?}{rendered}{rendered:?}");
        if !action.needs_session() {
            write!(shown, "{:?}", Receiver::new(&action, &lookup, &context).unwrap()).unwrap();
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_secret_that_is_missing_is_named_with_its_place() {
    let lookup = SecretLookup { variable: &|_| None, folder: Path::new("/") };
    let context = ReceiverContext {
        clock: Clock::new(|| Timestamp::UNIX_EPOCH),
        session: None,
        engine: None,
    };
    let error = Receiver::new(&action("slack"), &lookup, &context).unwrap_err();
    assert_eq!(error.message, "the variable SECRET is not set");
    assert_eq!(error.position.line, 4);
    let error = Receiver::new(&action("sns"), &lookup, &context).unwrap_err();
    assert!(error.message.contains("AWS credentials"), "{error:?}");
    let inline = ActionsFile::default().find("index").unwrap();
    let error = Receiver::new(&inline, &lookup, &context).unwrap_err();
    assert!(error.message.contains("no engine"), "{error:?}");
}

/// Text that a service, a shell or a terminal would interpret, and characters at the edges of encodings.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[<>&*_~`|@#%!:/.a-z ]{0,12}",
        any::<String>(),
        Just("<!channel>".to_owned()),
        Just("%%%".to_owned()),
        Just("@all".to_owned()),
        Just("&".repeat(3_000)),
        Just("👩‍👩‍👧‍👦".repeat(700)),
        Just("ä".repeat(5_000)),
        Just("\u{1b}]0;x\u{7}\r\n\u{202e}\u{fffe}\u{ffff}\u{0}".to_owned()),
        Just("'; $(reboot) `id` \"".to_owned()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// Any event: fields that are missing, of another type, hostile or huge.
fn hostile_event() -> impl Strategy<Value = Value> {
    const POINTERS: [&str; 16] = [
        "/eventName",
        "/eventSource",
        "/awsRegion",
        "/eventID",
        "/sourceIPAddress",
        "/userAgent",
        "/errorCode",
        "/errorMessage",
        "/recipientAccountId",
        "/eventTime",
        "/requestParameters",
        "/resources",
        "/userIdentity/arn",
        "/userIdentity/userName",
        "/userIdentity/accountId",
        "/userIdentity/type",
    ];

    let value = prop_oneof![
        6 => hostile_text().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<i64>().prop_map(Value::from),
        1 => prop::collection::vec(hostile_text(), 0..3).prop_map(|texts| json!(texts)),
        1 => hostile_text().prop_map(|text| json!({ text.clone(): {"name": text} })),
    ];
    prop::collection::vec((prop::sample::select(&POINTERS[..]), value), 0..8).prop_map(|changes| {
        let mut event = event();
        for (pointer, value) in changes {
            if let Some(place) = event.pointer_mut(pointer) {
                *place = value;
            }
        }
        event
    })
}

/// Returns the length as the strictest service counts.
fn utf16(text: &Value) -> usize {
    text.as_str().unwrap().encode_utf16().count()
}

fn check_slack(body: &Value) {
    let blocks = body["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50 && utf16(&body["text"]) <= 40_000);
    let mut total = 0;
    for block in blocks {
        let texts: Vec<(&Value, usize)> = match block["type"].as_str().unwrap() {
            "header" => vec![(&block["text"], 150)],
            "section" => match block["fields"].as_array() {
                Some(fields) => {
                    assert!((1..=10).contains(&fields.len()));
                    fields.iter().map(|field| (field, 2_000)).collect()
                }
                None => vec![(&block["text"], 3_000)],
            },
            other => panic!("{other}"),
        };
        for (text, max) in texts {
            assert!((1..=max).contains(&utf16(&text["text"])), "{text}");
            total += utf16(&text["text"]);
            if text["type"] == "mrkdwn" {
                assert_eq!(text["verbatim"], true);
                let mut rest = text["text"].as_str().unwrap();
                // The only control sequence is the link to the console; every `&` starts an entity.
                if let Some((link, _)) =
                    rest.strip_prefix('<').and_then(|rest| rest.split_once('>'))
                {
                    assert!(link.starts_with("https://") && link.contains(".console."), "{link}");
                    rest = &rest[link.len() + 2..];
                }
                assert!(!rest.contains(['<', '>']), "{rest}");
                for at in rest.match_indices('&').map(|(at, _)| at) {
                    let entity =
                        ["&amp;", "&lt;", "&gt;"].iter().any(|it| rest[at..].starts_with(it));
                    assert!(entity, "{}", &rest[at..]);
                }
            }
        }
    }
    assert!(total <= 13_000, "{total}");
    assert!(!body["text"].as_str().unwrap().contains(['<', '>']));
}

fn check_datadog_texts(title: &Value, text: &Value, tags: &Value, max_title: usize) {
    assert!((1..=max_title).contains(&utf16(title)) && (1..=4_000).contains(&utf16(text)));
    let tags = tags.as_array().unwrap();
    assert!(tags.len() <= 100);
    for tag in tags {
        assert!((1..=200).contains(&tag.as_str().unwrap().chars().count()), "{tag}");
    }
    for text in [title, text] {
        let text = text.as_str().unwrap();
        let text = text.lines().filter(|line| !line.starts_with("Search: ")).collect::<String>();
        assert!(!text.contains("%%%") && !text.contains(" @") && !text.contains(",@"), "{text}");
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_event_gives_messages_within_the_limits_of_each_service(
        event in hostile_event(), rule in hostile_text(), group in hostile_text(),
    ) {
        let mut alert = alert_on(&event);
        alert.rule = rule;
        alert.group.insert(group.clone(), json!({ group.clone(): [group] }));
        let message = AlertMessage::new(&alert, &MessageContext::default());
        let now: Timestamp = "2026-11-27T08:00:00Z".parse().unwrap();
        let body = |name: &str| action(name).render(&message, now).body;

        check_slack(&body("slack"));
        let v1 = body("datadog");
        check_datadog_texts(&v1["title"], &v1["text"], &v1["tags"], 100);
        let v2 = &body("datadog2")["data"]["attributes"];
        check_datadog_texts(&v2["title"], &v2["message"], &v2["tags"], 500);
        let custom = &v2["attributes"]["custom"];
        prop_assert!(custom.as_object().unwrap().len() <= 100 && depth(custom) <= 10);

        let pagerduty = body("pagerduty");
        prop_assert!(pagerduty.to_string().len() <= 512_000);
        prop_assert!((1..=1_024).contains(&utf16(&pagerduty["payload"]["summary"])));
        prop_assert!(!pagerduty["payload"]["source"].as_str().unwrap().is_empty());

        for name in ["sns", "sns2"] {
            let sns = body(name);
            let subject = sns["Subject"].as_str().unwrap();
            prop_assert!(subject.chars().count() < 100 && !subject.contains(char::is_control));
            let text = sns["Message"].as_str().unwrap();
            let mut bytes = text.len();
            for (name, value) in sns["MessageAttributes"].as_object().unwrap() {
                let value = value["StringValue"].as_str().unwrap();
                prop_assert!(!value.is_empty());
                bytes += name.len() + "String".len() + value.len();
            }
            prop_assert!(!text.is_empty() && bytes <= 262_144);
            let is_accepted = |letter: char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
            prop_assert!(text.chars().all(is_accepted));
        }
        prop_assert!(serde_json::from_str::<Value>(body("sns")["Message"].as_str().unwrap()).is_ok());

        let text = message.to_text();
        prop_assert!(text.lines().all(crate::report::terminal::is_printable));
        if let Some(command) = message.search_command() {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || " -'$.=\":".contains(letter);
            prop_assert!(command.chars().all(plain), "{}", command);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_as_an_action_file(text in any::<String>()) {
        let _ = ActionsFile::parse(&text);
    }
}

#[test]
fn an_event_of_a_megabyte_fits_everywhere() {
    let mut event = event();
    event["requestParameters"] = json!({"x": "<&>\u{1}😀".repeat(200_000)});
    let message = AlertMessage::new(&alert_on(&event), &MessageContext::default());
    let now = Timestamp::UNIX_EPOCH;
    check_slack(&action("slack").render(&message, now).body);
    assert!(action("pagerduty").render(&message, now).body.to_string().len() <= 512_000);
    let sns = action("sns").render(&message, now).body;
    let json: Value = serde_json::from_str(sns["Message"].as_str().unwrap()).unwrap();
    assert_eq!(json["event"], Value::Null);
    assert_eq!(json["event_id"], event["eventID"]);
    assert!(json["search_command"].as_str().unwrap().contains("trailload search"));
    let text = action("sns2").render(&message, now).body;
    assert!(text["Message"].as_str().unwrap().contains("trailload search"));
}

#[test]
fn real_events_have_complete_messages() {
    let mut without_command = 0;
    for event in principal::tests::corpus() {
        let message = AlertMessage::new(&alert_on(&event), &MessageContext::default());
        assert!(!message.headline().contains("unknown:"), "{}", message.headline());
        without_command += usize::from(message.search_command().is_none());
        check_slack(&action("slack").render(&message, Timestamp::UNIX_EPOCH).body);
    }
    assert!(without_command < 40, "{without_command}");
}

#[test]
fn old_events_have_their_time_in_the_text_only() {
    let message = AlertMessage::new(&alert_on(&event()), &MessageContext::default());
    let of = |name: &str, now: &str| action(name).render(&message, now.parse().unwrap()).body;
    let v2 = |now: &str| of("datadog2", now)["data"]["attributes"]["timestamp"].clone();
    assert_eq!(v2("2026-11-27T08:00:00Z"), "2026-11-27T07:00:00Z");
    assert_eq!(v2("2026-11-28T08:00:00Z"), Value::Null);
    assert_eq!(of("datadog", "2026-11-27T08:00:00Z")["date_happened"], 1_795_762_800);
    let old = of("datadog", "2026-12-27T08:00:00Z");
    assert_eq!(old["date_happened"], Value::Null);
    assert!(old["text"].as_str().unwrap().contains("Time: 2026-11-27T07:00:00Z"));
}
