//! A runtime API that fails ends the process, with the cause in the log; what was acknowledged is not sent again.

use std::{
    io::{BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use super::{envelope, function::Package};
use crate::{
    support::wire::{read_body, read_head},
    watch::hook::{Hook, created, event_id},
};

/// What the runtime API writes before it closes the connection. The second text follows an answer of the function.
type Script = (String, &'static str);

/// Starts a runtime API, and returns its address.
fn start((next, answer): Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&stream.unwrap(), &next, answer);
        }
    });
    address
}

fn serve(mut stream: &TcpStream, next: &str, answer: &str) {
    let mut from = BufReader::new(stream);
    while let Some(request) = read_head(&mut from) {
        read_body(&mut from, &request.headers).unwrap();
        let is_next = request.method == "GET";
        let response = if is_next { next } else { answer };
        // The other end may be closed already.
        let _ = stream.write_all(response.as_bytes());
        if !is_next || !next.contains("200 OK") {
            return;
        }
    }
}

fn invocation(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn an_invocation_that_cannot_be_read_ends_the_process() {
    let package = Package::with_rule("hook: {kind: stdout}\n");
    for (next, expected) in [
        ("", "does not answer to GET invocation/next"),
        ("hello\r\n\r\n", "does not answer to GET invocation/next"),
        ("HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n", "refused GET invocation/next: 500"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "refused GET invocation/next: 403"),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "next: 302"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "an invocation without a request id"),
    ] {
        let (code, log) = package.end_at(&start((next.to_owned(), "")));
        assert_eq!(code, Some(1), "{next}: {log}");
        assert!(log.contains(expected), "{next}: {log}");
    }
    let cut = invocation("{}").replace("Length: 2", "Length: 100");
    let address = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, log) = package.end_at(&{
        let name = address.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = address.accept().unwrap();
            read_head(&mut BufReader::new(&stream));
            stream.write_all(cut.as_bytes()).unwrap();
        });
        name
    });
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("does not answer to GET invocation/next"), "{log}");
}

#[test]
fn an_answer_that_is_refused_ends_the_process_and_repeats_no_alert() {
    let hook = Hook::start();
    let package = Package::with_rule(&hook.actions());
    let event = envelope(&created(1, "al", 1)).to_string();
    for (answer, expected) in [
        (
            "HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n",
            "refused POST invocation/response: 500",
        ),
        (
            "HTTP/1.1 400 Error\r\nContent-Length: 0\r\n\r\n",
            "refused POST invocation/response: 400",
        ),
        ("", "does not answer to POST invocation/response"),
        ("hello", "does not answer to POST invocation/response"),
        (
            "HTTP/1.1 413 Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            "POST invocation/error: 413",
        ),
    ] {
        let (code, log) = package.end_at(&start((invocation(&event), answer)));
        assert_eq!(code, Some(1), "{answer}: {log}");
        assert!(log.contains(expected), "{answer}: {log}");
    }
    assert_eq!(hook.events(), [event_id(1)], "the same sandbox knows it");
}

#[test]
fn times_that_lambda_does_not_send_do_not_stop_an_invocation() {
    let hook = Hook::start();
    let package = Package::with_rule(&hook.actions());
    for (number, deadline) in ["", "soon", "-5x", "99999999999999999999"].iter().enumerate() {
        let event = envelope(&created(number, "al", 1)).to_string();
        let header = format!("Lambda-Runtime-Deadline-Ms: {deadline}\r\nContent-Length");
        let next = invocation(&event).replacen("Content-Length", &header, 1);
        package.end_at(&start((next, "")));
        assert_eq!(hook.events().len(), number + 1, "{deadline}");
    }
}
