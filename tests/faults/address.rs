//! What `--into` may name besides an engine: other servers, addresses that redirect, proxies, and slips of the keyboard.

use std::process::Command;

use crate::support::engine::{FakeEngine, Fault, Flavour};
use crate::support::events::{events, ids, records};
use crate::support::load::{Chain, Desk, Load, Outcome, PROGRAM};
use crate::support::stranger::Stranger;
use crate::support::wire;

const EVENTS: usize = 50;

fn load_into(desk: &Desk, url: &str) -> Load {
    let file = desk.file("a.json", records(&events(0..EVENTS)));
    desk.load(&file, url)
}

/// Loads into a server that is no engine. Nothing may be sent there but questions.
fn refused(server: &Stranger) -> Outcome {
    let desk = Desk::new();
    let outcome = load_into(&desk, &server.url()).run().exits(1);
    assert_eq!(server.bytes_taken(), 0, "{:?}: {}", server.asked(), outcome.stderr);
    assert!(server.asked().iter().all(|asked| asked.starts_with("GET ")), "{:?}", server.asked());
    assert!(!desk.checkpoint().exists(), "a wrong address leaves no file behind");
    outcome.says(["error: ", server.url().as_str(), "hint: ", "--into"])
}

#[test]
fn a_server_that_is_no_engine_gets_no_event_and_is_named() {
    let nginx = "<html><head><title>Welcome to nginx!</title></head></html>";
    for (status, kind, body, words) in [
        (200, "text/html", nginx, &["200", "text/html", "Welcome to nginx!"][..]),
        (200, "application/json", "{\"status\":\"ok\"}", &["200", "application/json", "status"]),
        (200, "application/json", "{\"version\":{\"number\":\"1.2.3\"}}", &["1.2.3"]),
        (200, "application/json", "[]", &["200", "application/json"]),
        (200, "application/json; charset=utf-8", "null", &["application/json"]),
        (200, "text/plain", "\u{1b}[31mred", &["200", "text/plain", "red"]),
        (200, "", "", &["200", "empty"]),
        (204, "", "", &["204"]),
        (404, "text/plain", "404 page not found", &["404", "page not found"]),
        (400, "text/html", "<h1>Bad Request</h1>", &["400", "Bad Request"]),
        (404, "application/json", "{\"error\":{\"type\":\"index_not_found_exception\"}}", &["404"]),
    ] {
        let outcome = refused(&Stranger::saying(status, kind, body));
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr);
        outcome.says(words.iter().copied());
    }
}

#[test]
fn a_server_that_forbids_its_root_must_know_templates() {
    let page = "<h1>Forbidden</h1>";
    let outcome = refused(&Stranger::answering(move |request| {
        let status = if request.path == "/" { 403 } else { 404 };
        wire::answer_as_server(status, "text/html", page)
    }));
    outcome.says(["403", "does not respond like"]);
}

#[test]
fn a_path_below_an_engine_that_is_wrong_is_named() {
    let server = Stranger::answering(|request| {
        let status = if request.path.ends_with("/es/") { 404 } else { 405 };
        wire::answer(status, "application/json", b"{\"error\":\"no handler found\"}", false)
    });
    let desk = Desk::new();
    let outcome = load_into(&desk, &format!("{}/es", server.url())).run().exits(1);
    assert_eq!(server.bytes_taken(), 0, "{:?}", server.asked());
    outcome.says(["does not respond like", "404", "no handler found", "path of --into"]);
}

#[test]
fn an_elasticsearch_that_does_not_serve_its_root_is_one() {
    let engine = FakeEngine::start_as(Flavour::Elasticsearch);
    engine.hide_root();
    let desk = Desk::new();
    load_into(&desk, engine.url()).run().exits(0);
    assert_eq!(engine.ids(), ids(0..EVENTS));
}

#[test]
fn a_server_that_forbids_everything_is_no_engine() {
    let outcome = refused(&Stranger::saying(403, "text/html", "<h1>Forbidden</h1>"));
    outcome.says(["403 Forbidden", "does not respond like"]);
}

#[test]
fn a_doctor_does_not_take_a_web_server_for_an_engine() {
    let server = Stranger::saying(200, "text/html", "<p>It works!</p>");
    let desk = Desk::new();
    let outcome = load_into(&desk, &server.url()).instead("doctor").run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("It works!"), "{}", outcome.stdout);
    assert_eq!(server.bytes_taken(), 0);
}

#[test]
fn an_answer_that_repeats_the_password_is_not_shown() {
    let echo = Stranger::answering(|request| {
        let said = request.header("authorization").unwrap_or_default().to_owned();
        wire::answer_as_server(200, "text/plain", &format!("you said {said}"))
    });
    let desk = Desk::new();
    let load = load_into(&desk, &echo.url())
        .environment("TRAILLOAD_USERNAME", "me")
        .environment("TRAILLOAD_PASSWORD", "hush");
    let outcome = load.run().exits(1);
    // `me:hush` in Base64.
    assert_eq!(echo.headers("authorization")[0], "Basic bWU6aHVzaA==");
    assert!(!format!("{outcome:?}").contains("bWU6aHVzaA"), "{}", outcome.stderr);
}

#[test]
fn a_redirect_at_first_contact_is_not_followed_and_its_address_is_named() {
    for status in [301, 302, 303, 307, 308] {
        let engine = FakeEngine::start();
        let login = engine.url().replace("http://", "http://me:hush@");
        let server = Stranger::redirecting(status, &format!("{login}/?token=hush"));
        let outcome = refused(&server).says([&format!("--into {}", engine.url())[..]]);
        assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
        assert_eq!(engine.asked().requests, 0, "{status}");
    }
    let outcome = refused(&Stranger::redirecting(302, "/login?next=%2F"));
    assert!(
        !outcome.stderr.contains("--into http"),
        "a login page is no engine: {}",
        outcome.stderr
    );
}

#[test]
fn a_redirect_in_the_middle_of_a_load_gets_no_event() {
    for status in [301, 302, 303, 307, 308] {
        let (engine, thief, desk) =
            (FakeEngine::start(), Stranger::saying(200, "application/json", "{}"), Desk::new());
        engine.fail(1, &Fault::Redirect(status, format!("{}/_bulk", thief.url())));
        let load = load_into(&desk, engine.url());
        load.run().exits(1).says([&format!("--into {}", thief.url())[..], "redirect"]);
        assert_eq!(thief.asked(), Vec::<String>::new(), "{status}");
        load.run().exits(0);
        assert_eq!(engine.ids(), ids(0..EVENTS));
    }
}

/// Runs the program with these words; returns all that it said, and its exit code.
fn said(words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM).args(words).env_clear().env("HOME", "/nonexistent").output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_password_with_signs_of_an_address_is_refused_and_not_a_part_of_it_is_shown() {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..3)));
    let file = file.to_str().unwrap();
    for password in [
        "s3cr#et",
        "s3cr?et",
        "s3cr/et",
        "s3cr\\et",
        "s3cr#et@more",
        "31847#50629",
        "31847?50629",
        "31847/50629",
        "#50629",
        "s3cr\tet",
    ] {
        let address = format!("http://wh0:{password}@127.0.0.1:9");
        for words in [
            &["load", file, "--into", &address][..],
            &["load", file, "--log-format", "json", "--into", &address],
            &["load", file, "--dry-run", "--into", &address],
            &["doctor", file, "--into", &address],
            &["policy", file, "--into", &address],
            &["status", "--into", &address],
        ] {
            let (code, said) = said(words);
            assert_eq!(code, Some(2), "{words:?}: {said}");
            assert!(said.contains("%23") && said.contains("TRAILLOAD_PASSWORD"), "{said}");
            for part in ["wh0", "s3cr", "et@", "31847", "50629"] {
                assert!(!said.contains(part), "`{part}` of {words:?}: {said}");
            }
        }
    }
}

#[test]
fn an_address_in_the_wrong_place_shows_no_password() {
    let address = "http://wh0:s3cr#et@h.example:9200";
    for words in [
        &["load", "--intoo", address][..],
        &["load", &format!("--intoo={address}")],
        &["load", "a.json", "--into", "http://127.0.0.1:9", "--index", address],
        &["load", "a.json", "--into", "http://127.0.0.1:9", "--memory", address],
        &["load", address, "--into", "http://127.0.0.1:9"],
        &["load", "s3://wh0:s3cr@et", "--into", "http://127.0.0.1:9"],
        &["status", address],
        &["policy", address, "--into", "http://127.0.0.1:9"],
        &[address],
    ] {
        let (code, said) = said(words);
        // A policy is written without looking at files.
        let expected = if words[0] == "policy" { 0 } else { 2 };
        assert_eq!(code, Some(expected), "{words:?}: {said}");
        for part in ["wh0", "s3cr", "et@"] {
            assert!(!said.contains(part), "`{part}` of {words:?}: {said}");
        }
    }
}

#[test]
fn a_password_with_escapes_is_understood() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    // `me:p#@/?:%w` in Base64.
    engine.require("Basic bWU6cCNALz86JXc=");
    let login = engine.url().replace("http://", "http://me:p%23%40%2F%3F:%w@");
    load_into(&desk, &login).run().exits(0).counted([EVENTS as u64, EVENTS as u64, 0, 0]);
}

#[test]
fn spellings_of_one_address_are_one_target() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let port = engine.url().rsplit(':').next().unwrap();
    load_into(&desk, engine.url()).run().exits(0);
    for same in ["http://127.0.0.1:PORT//", "http://localhost:PORT", "HTTP://LocalHost:PORT/"] {
        let again = load_into(&desk, &same.replace("PORT", port)).run().exits(0);
        assert_eq!(again.of_sources("skipped"), 1, "{same}: {}", again.stderr);
    }
    let other = load_into(&desk, engine.url()).with(["--index", "other"]).run().exits(1);
    other.says(["belongs to"]);
}

#[test]
fn the_checkpoint_of_one_target_has_one_name() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..3)));
    let port = engine.url().rsplit(':').next().unwrap();
    let run = |address: &str| {
        let output = Command::new(PROGRAM)
            .args(["load".as_ref(), file.as_os_str()])
            .args(["--into", &address.replace("PORT", port)])
            .env_clear()
            .env("HOME", desk.path("home"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("http://127.0.0.1:PORT");
    run("http://localhost:PORT/");
    run("http://LOCALHOST:PORT//");
    let folder = std::fs::read_dir(desk.path("home/.local/state/trailload")).unwrap();
    let mut names: Vec<_> =
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".sqlite"));
    assert_eq!(names, [format!("localhost-{port}-cloudtrail.sqlite")]);
}

/// Starts a proxy that answers every `CONNECT` so.
fn proxy(status: u16, reason: &'static str) -> Stranger {
    Stranger::answering(move |_| {
        format!("HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\n\r\n").into_bytes()
    })
}

#[test]
fn a_proxy_that_refuses_is_named_with_what_to_do() {
    let mut hints = std::collections::BTreeSet::new();
    for (status, reason) in
        [(407, "Proxy Authentication Required"), (403, "Forbidden"), (502, "Bad Gateway")]
    {
        let (proxy, desk) = (proxy(status, reason), Desk::new());
        let load = load_into(&desk, "https://search.example:9243")
            .environment("HTTPS_PROXY", &format!("http://wh0:s3cr%23et@{}", proxy.host()));
        let outcome = load.run().exits(1).says([&status.to_string()[..], reason, proxy.host()]);
        assert_eq!(proxy.asked()[0], "CONNECT search.example:9243");
        assert!(!proxy.headers("proxy-authorization").is_empty(), "the proxy is logged in to");
        for part in ["wh0", "s3cr", "d2gwOnMzY3I"] {
            assert!(!outcome.stderr.contains(part), "{}", outcome.stderr);
        }
        let hint = outcome.stderr.lines().find(|line| line.contains("hint: ")).unwrap().to_owned();
        assert!(hint.contains("proxy") || hint.contains("NO_PROXY"), "{hint}");
        hints.insert(hint);
    }
    assert_eq!(hints.len(), 3, "each has its own hint: {hints:?}");
}

#[test]
fn a_proxy_where_nobody_listens_is_told_apart_from_the_engine() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let desk = Desk::new();
    let load = load_into(&desk, "https://search.example:9243")
        .environment("HTTPS_PROXY", &format!("http://127.0.0.1:{port}"));
    load.run().exits(1).says(["proxy", &port.to_string(), "HTTPS_PROXY", "NO_PROXY"]);
}

#[test]
fn a_proxy_is_not_asked_for_this_machine_nor_for_what_no_proxy_names() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let proxy = proxy(403, "Forbidden");
    let load = load_into(&desk, engine.url())
        .environment("HTTP_PROXY", &proxy.url())
        .environment("HTTPS_PROXY", &proxy.url());
    load.run().exits(0);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let other = load_into(&desk, &format!("https://127.0.0.2:{port}"))
        .with("--checkpoint".chain(desk.path("other.sqlite")))
        .environment("HTTPS_PROXY", &proxy.url())
        .environment("NO_PROXY", "127.0.0.2");
    other.run();
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn batch_bounds_are_told_the_same_in_every_message() {
    for batch in ["1KiB", "9MiB", "1GiB"] {
        let words =
            ["load", "a", "--into", "http://127.0.0.1:9", "--memory", "32MiB", "--batch", batch];
        let (code, said) = said(&words);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("expected a size from 4KiB to 8MiB"), "{said}");
    }
}
