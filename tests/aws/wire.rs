//! The server of the fakes: the requests it records, and its faults.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::support::aws::server::{Response, Server};

fn ask(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/sts/aws4_request, \
                      SignedHeaders=host, Signature=00\r\nHost: h\r\nConnection: close\r\n";

#[test]
fn the_fake_records_caller_and_action() {
    let server = Server::start(|request| {
        assert_eq!(request.access_key(), Some("AKIDEXAMPLE"));
        assert_eq!(request.region(), Some("eu-west-1"));
        Response::xml(200, "<fine/>")
    });
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let answer = ask(
        &server,
        &format!("POST / HTTP/1.1\r\n{SIGNED}Content-Length: {}\r\n\r\n{body}", body.len()),
    );
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("<fine/>"), "{answer}");
    assert_eq!(server.calls(), [("sts".to_owned(), "GetCallerIdentity".to_owned())]);
}

#[test]
fn faults_happen_once_in_their_order() {
    let server = Server::start(|_| Response::xml(200, "0123456789"));
    server.next("ListRegions", Response::xml(200, "0123456789").cut_after(4));
    server.next("*", Response::reset().after(Duration::from_millis(50)));
    server.next("*", Response::hang());
    let request = format!("POST /listRegions HTTP/1.1\r\n{SIGNED}Content-Length: 0\r\n\r\n");
    let cut = ask(&server, &request);
    assert!(cut.contains("content-length: 10") && cut.ends_with("\r\n\r\n0123"), "{cut}");
    assert_eq!(ask(&server, &request), "");
    assert_eq!(ask(&server, &request), "");
    assert!(ask(&server, &request).ends_with("0123456789"));
    assert_eq!(server.count("ListRegions"), 4);
}
