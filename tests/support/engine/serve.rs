//! Connections and the faults that happen on them.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::stranger::redirect;
use super::super::wire::{self, Request};
use super::state::status_error;
use super::{Fault, Shared};

pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.state().over {
            return;
        }
        let (Ok(stream), theirs) = (stream, Arc::clone(shared)) else { continue };
        // Documents may be a thousand levels deep, and the reader is recursive.
        let builder = std::thread::Builder::new().stack_size(16 << 20);
        builder.spawn(move || serve(stream, &theirs)).unwrap();
    }
}

/// Serves one connection until the client closes it or a fault does.
fn serve(stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = wire::read_head(&mut reader) {
        let bulk = request.path.ends_with("/_bulk");
        let fault = if bulk { shared.state().faults.pop_front().flatten() } else { None };
        if matches!(fault, Some(Fault::ResetBefore)) {
            note(shared, &request);
            return; // Unread bytes make the kernel send a reset.
        }
        if request.header("expect").is_some()
            && writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err()
        {
            return;
        }
        let Some(body) = wire::read_body(&mut reader, &request.headers) else { return };
        request.body = body;
        note(shared, &request);
        let Some(bytes) = reply(shared, &request, fault) else { return };
        if writer.write_all(&bytes.0).is_err() || bytes.1 {
            return;
        }
    }
}

fn note(shared: &Shared, request: &Request) {
    let mut state = shared.state();
    state.methods.insert(request.method.clone());
    let asked = &mut state.asked;
    asked.requests += 1;
    let bulk = request.path.ends_with("/_bulk");
    asked.bulks += usize::from(bulk);
    // A refresh changes nothing.
    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
    asked.writes += usize::from(!reads && !request.path.ends_with("/_refresh"));
    asked.mapping_calls +=
        usize::from(request.method == "PUT" && request.path.ends_with("/_mapping"));
    if bulk {
        asked.largest_bulk_bytes = asked.largest_bulk_bytes.max(request.body.len());
    }
    shared.changed.notify_all();
}

/// Returns the bytes to send and whether to close then; `None` to close at once.
fn reply(shared: &Shared, request: &Request, fault: Option<Fault>) -> Option<(Vec<u8>, bool)> {
    let kind = "application/json; charset=UTF-8";
    let whole = |(status, body): (u16, Value)| {
        let body = serde_json::to_vec(&body).unwrap();
        wire::answer(status, kind, &body, request.method == "HEAD")
    };
    match fault {
        Some(Fault::Status(status)) => Some((whole((status, status_error(status))), false)),
        Some(Fault::HtmlStatus(status)) => Some((html(status), false)),
        Some(Fault::Html) => Some((html(200), false)),
        Some(Fault::Redirect(status, location)) => Some((redirect(status, &location), false)),
        Some(Fault::Hang(time)) => {
            wait(shared, time);
            None
        }
        Some(Fault::HalfAccepted) => {
            let _ = shared.state().handle(request, Some(&Fault::HalfAccepted));
            shared.changed.notify_all();
            None
        }
        Some(Fault::ResetInside) => {
            let bytes = whole(shared.state().handle(request, None));
            Some((bytes[..bytes.len() / 2].to_vec(), true))
        }
        fault => {
            let answer = shared.state().handle(request, fault.as_ref());
            shared.changed.notify_all();
            if let Some(Fault::Slow(time)) = fault {
                wait(shared, time);
            }
            Some((whole(answer), false))
        }
    }
}

fn html(status: u16) -> Vec<u8> {
    let page = b"<html><head><title>Gateway</title></head><body><h1>It works</h1></body></html>";
    wire::answer(status, "text/html", page, false)
}

fn wait(shared: &Shared, time: Duration) {
    let waited = shared.changed.wait_timeout_while(shared.state(), time, |state| !state.over);
    drop(waited);
}
