//! `--in index` through the program, and what happens if an engine fails, forbids or forgets.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trailload::filter::query::Query;

use super::index::{Index, load, multiset};
use crate::engine::on_every_engine;
use crate::engine::secure::{PASSWORD, Role, Secured, as_admin};
use crate::support::aws::{KEY, SECRET};
use crate::support::events::{events, records};
use crate::support::load::{Chain, Desk, PROGRAM};
use crate::support::real::{Corner, Engine};
use crate::support::relay::{forward, response};
use crate::support::signature;
use crate::support::stranger::Stranger;
use crate::support::wire;

on_every_engine!(
    the_program_prints_what_it_prints_for_files,
    nothing_is_left_open_in_the_engine,
    values_beyond_the_field_limit_of_an_index_are_found,
    a_search_outlasts_a_busy_engine,
    what_an_engine_leaves_out_is_an_error,
    indices_that_a_user_may_not_read_are_named,
    an_empty_folder_is_named_by_loads_too,
    an_engine_without_points_in_time_is_scrolled,
    requests_of_a_search_are_signed,
);

fn search(words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("search").args(words).env_clear().env("HOME", "/nonexistent");
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sorted_lines(output: &Output) -> Vec<String> {
    let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn the_program_prints_what_it_prints_for_files(corner: &Corner) {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..300)));
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0);
    corner.refresh();
    let file = file.to_str().unwrap();
    let index = ["--in", "index", "--into", corner.url(), "--index", corner.prefix()];
    for (words, code) in [
        (&["ec2:Run*"][..], 0),
        (&["--match", "$.requestParameters.minCount == 17"], 0),
        (&["--match", "$.userIdentity.arn regex \"Tester/3$\"", "--read-only"], 0),
        (&["--ip", "198.51.100.16/28", "--from", "2024-02-01", "--to", "2024-03-31"], 0),
        (&["--principal", "role/tester/*", "--except", "$.awsRegion != \"eu-central-1\""], 0),
        (&["--where", "detail.requestParameters.minCount > `290`"], 0),
        (&["--count-by", "userIdentity.arn"], 0),
        (&["s3:GetObject"], 5),
    ] {
        let of_files = search(&[words, &["--in", file, "--output", "ndjson"]].concat());
        let of_index = search(&[words, &index, &["--output", "ndjson"]].concat());
        let message = text(&of_index.stderr);
        assert_eq!(of_index.status.code(), Some(code), "{words:?}: {message}");
        assert_eq!(sorted_lines(&of_index), sorted_lines(&of_files), "{words:?}: {message}");
    }
    let explained = search(&[&["ec2:Run*", "--explain"], &index[..]].concat());
    assert!(text(&explained.stdout).contains("\"wildcard\":{\"eventName\""), "{explained:?}");
}

fn values_beyond_the_field_limit_of_an_index_are_found(corner: &Corner) {
    let desk = Desk::new();
    let load = |name: &str, events: &[Value]| {
        let file = desk.file(name, records(events));
        let load = desk.load(&file, corner.url()).with(corner.index()).with(["--index-by", "none"]);
        load.run().exits(0);
        file
    };
    load("first.json", &events(0..1));
    // From now on the index accepts no field; the loader notices when documents with new ones are under way.
    let limit = json!({ "index.mapping.total_fields.limit": 1 });
    corner.ask("PUT", &format!("/{}/_settings", corner.prefix()), &limit);
    let mut fresh = events(1..2_000);
    for (number, event) in fresh.iter_mut().enumerate() {
        let value = json!({ "text": format!("value {}", number % 7), "number": number % 5 });
        event["requestParameters"][format!("fresh{}", number % 40)] = value;
    }
    let file = load("fresh.json", &fresh);
    corner.refresh();
    let file = file.to_str().unwrap();
    let index = ["--in", "index", "--into", corner.url(), "--index", corner.prefix()];
    for words in [
        ["--match", "$.requestParameters.fresh3.text == 'value 3'"],
        ["--match", "$.requestParameters.fresh39.number == 4"],
        ["--match", "$.requestParameters.fresh0.text regex 'value [12]'"],
        ["--match", "$.requestParameters.fresh17.text == 'value 3'"],
    ] {
        let of_files = search(&[&words[..], &["--in", file]].concat());
        let of_index = search(&[&words[..], &index].concat());
        assert_eq!(of_files.status.code(), Some(0), "{words:?} finds something");
        assert_eq!(sorted_lines(&of_index), sorted_lines(&of_files), "{words:?}");
    }
    let term = "requestParameters.fresh3.text=value 3";
    assert!(
        corner.found(&json!({ "term": { "trailload.unmapped": term } })) > 0,
        "a value is a term"
    );
}

#[test]
fn an_index_that_is_not_there_is_named() {
    let corner = Corner::of(Engine::OpenSearch2);
    let ended = search(&["--in", "index", "--into", corner.url(), "--index", corner.prefix()]);
    let message = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{message}");
    assert!(message.contains("nothing is loaded yet") && message.contains("hint: "), "{message}");
    let ended = search(&["--in", "index", "--into", "http://127.0.0.1:9"]);
    let message = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{message}");
    assert!(message.contains("could not reach http://127.0.0.1:9"), "{message}");
}

/// Returns how many searches the engine keeps the state of, of all tests.
fn open_contexts(corner: &Corner) -> u64 {
    let stats = corner.ask("GET", &format!("/{}*/_stats/search", corner.prefix()), &Value::Null);
    stats["_all"]["total"]["search"]["open_contexts"].as_u64().unwrap()
}

fn nothing_is_left_open_in_the_engine(corner: &Corner) {
    let all: Vec<Vec<u8>> =
        events(0..1_000).iter().map(|event| event.to_string().into_bytes()).collect();
    load(corner, &all, &["--index-by", "none"]);
    let index = ["--in", "index", "--into", corner.url(), "--index", corner.prefix()];
    for words in [&[][..], &["--limit", "1"]] {
        let ended = search(&[words, &index].concat());
        assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
        // The engine ends a request whose connection was closed a moment later; a context would stay for a minute.
        let deadline = Instant::now() + Duration::from_secs(20);
        while open_contexts(corner) > 0 {
            assert!(Instant::now() < deadline, "{words:?}: a context is still open");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Changes a response, given the number of its page, the path, the status and the answer; `None` closes the connection.
type ChangeResponse = fn(usize, &str, u16, Value) -> Option<(u16, Value)>;

/// A server between the search and the engine, which changes some responses.
fn relay(
    corner: &Corner,
    change: impl Fn(usize, &str, u16, Value) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> Stranger {
    let (url, number) = (corner.url().to_owned(), AtomicUsize::new(0));
    Stranger::answering(move |request| {
        let (status, answer) = forward(&url, request);
        let ends = ["/_search", "/_search/scroll"];
        let is_page =
            request.method == "POST" && ends.iter().any(|end| request.path.ends_with(end));
        let number = if is_page { number.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        let Some((status, answer)) = change(number, &request.path, status, answer) else {
            return Vec::new();
        };
        response(request, status, &answer)
    })
}

/// Loads enough for several pages.
fn loaded(corner: &Corner) -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> =
        events(0..700).iter().map(|event| event.to_string().into_bytes()).collect();
    load(corner, &all, &["--index-by", "none"]);
    all
}

fn a_search_outlasts_a_busy_engine(corner: &Corner) {
    let all = loaded(corner);
    let busy = relay(corner, |page, _, status, answer| match page {
        1 => Some((429, Value::Null)),
        3 => None,
        4 => Some((503, Value::Null)),
        _ => Some((status, answer)),
    });
    let found = Index::at(&busy.url(), corner.prefix()).records(&Query::default());
    assert_eq!(multiset(&found), multiset(&all));
}

fn what_an_engine_leaves_out_is_an_error(corner: &Corner) {
    loaded(corner);
    let error_of = |change: ChangeResponse| {
        let server = relay(corner, change);
        let mut index = Index::at(&server.url(), corner.prefix());
        index.deadline = Duration::from_secs(1);
        index.read(&Query::default()).unwrap_err()
    };
    let shards = error_of(|page, _, status, mut answer| {
        if page > 1 {
            answer["_shards"]["failed"] = 1.into();
        }
        Some((status, answer))
    });
    assert!(shards.contains("1 of 1 shards failed"), "{shards}");
    let timed_out = error_of(|page, _, status, mut answer| {
        if page > 0 {
            answer["timed_out"] = true.into();
        }
        Some((status, answer))
    });
    assert!(timed_out.contains("timed out in the engine"), "{timed_out}");
    let fewer = error_of(|page, _, status, mut answer| {
        if page == 2 {
            answer["hits"]["hits"].as_array_mut().unwrap().remove(3);
        }
        Some((status, answer))
    });
    assert!(fewer.contains("returned 699 of the 700 documents"), "{fewer}");
    let lost = error_of(|page, _, status, answer| match page {
        0 | 1 => Some((status, answer)),
        _ => Some((
            404,
            serde_json::json!({ "error": { "type": "search_phase_execution_exception" } }),
        )),
    });
    assert!(lost.contains("lost the state of the search after 200 documents"), "{lost}");
    let gone = error_of(|page, _, status, answer| (page < 2).then_some((status, answer)));
    assert!(gone.contains("did not respond to the search"), "{gone}");
    let page = error_of(|page, _, status, answer| match page {
        0 | 1 => Some((status, answer)),
        _ => Some((200, serde_json::json!("Welcome"))),
    });
    assert!(page.contains("not a search result"), "{page}");
}

/// A server before an engine with three months, that leaves out some of them as the security of Elasticsearch does: without a
/// trace if unavailable indices are ignored.
fn restricted(corner: &Corner, is_denied: fn(&str) -> bool) -> Stranger {
    let url = corner.url().to_owned();
    Stranger::answering(move |request| {
        let first = request.path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let (first, names) = (first.to_owned(), first.replace("%2C", ","));
        let reads = request.method == "POST" && request.path.ends_with("/_pit")
            || request.path.ends_with("/_search/point_in_time")
            || request.path.ends_with("/_count");
        let (denied, left): (Vec<&str>, Vec<&str>) =
            names.split(',').partition(|name| is_denied(name));
        let (status, answer) = if !reads || denied.is_empty() {
            forward(&url, request)
        } else if request.query.contains("ignore_unavailable=true") && !left.is_empty() {
            let path = request.path.replace(&first, &left.join(","));
            wire::ask(&url, &request.method, &format!("{path}?{}", request.query), None)
        } else if request.query.contains("ignore_unavailable=true") {
            (200, json!({ "count": 0, "_shards": { "total": 0, "successful": 0, "failed": 0 } }))
        } else {
            let reason = "action [indices:data/read/search] is unauthorized, this action is granted by the index privileges [read,all]";
            (
                403,
                json!({ "error": { "type": "security_exception", "reason": reason }, "status": 403 }),
            )
        };
        response(request, status, &answer)
    })
}

fn indices_that_a_user_may_not_read_are_named(corner: &Corner) {
    let months = ["2024-01", "2024-02", "2024-03"].into_iter().enumerate();
    let all: Vec<Vec<u8>> = months
        .flat_map(|(number, month)| {
            events(number * 10..number * 10 + 10).into_iter().map(move |mut event| {
                event["eventTime"] = json!(format!("{month}-10T00:00:00Z"));
                event.to_string().into_bytes()
            })
        })
        .collect();
    load(corner, &all, &[]);
    let found = |is_denied: fn(&str) -> bool| {
        let server = restricted(corner, is_denied);
        let url = server.url();
        search(&["--in", "index", "--into", &url, "--index", corner.prefix(), "--output", "ndjson"])
    };
    let part = found(|name| name.ends_with("2024.02"));
    let message = text(&part.stderr);
    assert_eq!(part.status.code(), Some(3), "{message}");
    let name = format!("index {}-2024.02 cannot be read", corner.prefix());
    assert!(
        message.contains(&name) && message.contains("index privileges [read,all]"),
        "{message}"
    );
    assert_eq!(sorted_lines(&part).len(), 20);
    let nothing = found(|_| true);
    let message = text(&nothing.stderr);
    assert_eq!(nothing.status.code(), Some(1), "{message}");
    assert!(message.contains("index privileges [read,all]"), "{message}");
    assert!(message.contains("hint: grant this user the permission"), "{message}");
}

fn an_empty_folder_is_named_by_loads_too(corner: &Corner) {
    let desk = Desk::new();
    let file = desk.file("some/a.json", records(&events(0..3)));
    std::fs::create_dir(desk.path("empty")).unwrap();
    let message = "no file was found here; check the path";
    desk.load(desk.path("empty"), corner.url()).with(corner.index()).run().exits(0).says([message]);
    let folder = file.parent().unwrap();
    for _ in 0..2 {
        // The second load finds the file finished.
        let ended = desk.load(folder, corner.url()).with(corner.index()).run().exits(0);
        assert!(!ended.stderr.contains(message), "{}", ended.stderr);
    }
}

fn an_engine_without_points_in_time_is_scrolled(corner: &Corner) {
    let all = loaded(corner);
    let old = relay(corner, |_, path, status, answer| {
        let opens = path.contains("point_in_time") || path.contains("_pit");
        Some(if opens {
            (405, serde_json::json!({ "error": "no handler found" }))
        } else {
            (status, answer)
        })
    });
    let found = Index::at(&old.url(), corner.prefix()).records(&Query::default());
    assert_eq!(multiset(&found), multiset(&all));
}

/// A server before an engine that admits only requests with a valid signature, as a domain at AWS does.
fn signature_gate(corner: &Corner, has_points_in_time: bool) -> Stranger {
    let url = corner.url().to_owned();
    Stranger::answering(move |request| {
        let opens =
            ["/_pit", "/_search/point_in_time"].iter().any(|end| request.path.ends_with(end));
        let (status, answer) = match signature::check(request, KEY, SECRET) {
            Err(cause) => (403, json!({ "message": cause })),
            Ok(()) if opens && !has_points_in_time => (405, json!({ "error": "no handler found" })),
            Ok(()) => forward(&url, request),
        };
        response(request, status, &answer)
    })
}

fn requests_of_a_search_are_signed(corner: &Corner) {
    loaded(corner);
    for has_points_in_time in [true, false] {
        let gate = signature_gate(corner, has_points_in_time);
        let run = |words: &[&str], secret: &str| {
            let mut command = Command::new(PROGRAM);
            command.args(["search", "--in", "index", "--into", &gate.url()]).args(words);
            command.args(["--index", corner.prefix()]).stdin(Stdio::null());
            command
                .env_clear()
                .env("HOME", "/nonexistent")
                .env("AWS_EC2_METADATA_DISABLED", "true");
            command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", secret);
            command.env("AWS_REGION", "eu-central-1").output().unwrap()
        };
        for words in [
            &["--aws-auth"][..],
            &["--aws-auth", "ec2:Run*", "--match", "$.requestParameters.minCount != 'x'"],
            &["--aws-auth", "--ip", "198.51.100.0/24", "--from", "2024-01-01"],
        ] {
            let found = run(words, SECRET);
            let message = text(&found.stderr);
            assert_eq!(found.status.code(), Some(0), "{words:?}: {message}");
            assert_eq!(sorted_lines(&found).len(), 700, "{words:?}: {message}");
        }
        let limited = run(&["--aws-auth", "--limit", "3"], SECRET);
        assert_eq!(sorted_lines(&limited).len(), 3, "{}", text(&limited.stderr));
        for (words, secret) in [(&["--aws-auth"][..], "another secret"), (&[], SECRET)] {
            let refused = run(words, secret);
            let message = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{message}");
            assert!(message.contains("403") && message.contains("hint: "), "{message}");
        }
    }
}

/// Rights without which a search finds the same, but reads more, knows less, or leaves something to be released later.
const NOT_NEEDED: [&str; 6] = [
    "cluster:monitor/main",
    "indices:admin/aliases/get",
    "indices:admin/mappings/fields/get*",
    "indices:admin/mappings/get",
    "indices:data/read/point_in_time/delete",
    "indices:monitor/settings/get",
];

#[test]
fn the_role_for_searching_is_enough_and_no_more_than_needed() {
    let (engine, desk) = (Secured::corner(), Desk::new());
    let load = as_admin(engine.load(&desk), "admin").with("--ca-file".chain(&engine.authority));
    load.run().exits(0);
    engine.ask("POST", &format!("/{}/_refresh", engine.prefix));
    let shipped = include_str!("../../policy/opensearch-search.json");
    let shipped = shipped.replace("\"cloudtrail", &format!("\"{}", engine.prefix));
    let role = Role(serde_json::from_str(&shipped).unwrap());
    let user = engine.user();
    let search = || {
        let mut command = Command::new(PROGRAM);
        command.args(["search", "ec2:*", "--in", "index", "--into", &engine.url]);
        command.args(["--index", &engine.prefix, "--ca-file", &engine.authority]);
        command.env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
        command.env("TRAILLOAD_USERNAME", &user).env("TRAILLOAD_PASSWORD", PASSWORD);
        let ended = command.output().unwrap();
        (ended.status.code(), text(&ended.stdout).lines().count(), text(&ended.stderr))
    };
    engine.admit(&role);
    let (code, found, message) = search();
    assert_eq!((code, found), (Some(0), 50), "{message}");
    for right in role.rights() {
        engine.grant(&role.without(&right));
        let (code, found, message) = search();
        if NOT_NEEDED.contains(&right.as_str()) {
            assert_eq!((code, found), (Some(0), 50), "without {right}: {message}");
        } else {
            assert_eq!((code, found), (Some(1), 0), "without {right}: {message}");
            assert!(message.contains(&right) && message.contains("hint: "), "{message}");
        }
    }
    engine.ask("DELETE", "/_search/point_in_time/_all");
}
