//! A server between the program and an engine, which may change requests and answers.

use serde_json::Value;

use super::wire::{self, Request};

/// Sends a request on to an engine.
pub(crate) fn forward(url: &str, request: &Request) -> (u16, Value) {
    let body = (!request.body.is_empty()).then_some(request.body.as_slice());
    let mark = if request.query.is_empty() { "" } else { "?" };
    let path = format!("{}{mark}{}", request.path, request.query);
    wire::ask(url, &request.method, &path, body)
}

/// Returns an answer as an engine sends it.
pub(crate) fn response(request: &Request, status: u16, answer: &Value) -> Vec<u8> {
    let body = answer.to_string();
    let is_elasticsearch = request.path == "/" && status == 405;
    let product = if is_elasticsearch { "x-elastic-product: Elasticsearch\r\n" } else { "" };
    let head = format!("content-type: application/json\r\n{product}");
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{head}content-length: {length}\r\n\r\n{body}").into_bytes()
}
