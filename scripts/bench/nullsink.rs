//! A search engine that stores nothing: it counts what `_bulk` brings and answers as an engine would, one result an item.
//!
//! Decided here: what costs a loader its time when the engine costs nothing. So the answers are complete, and `filter_path`
//! with `items.*.status`, or with `errors` alone, shortens them as the engines do.
//! `GET /_sink` returns the counters, `POST /_sink/reset` returns and clears them. Every other call is acknowledged.
//! With `--record FILE` the plain bodies are kept in the order they came, an empty line after each: what `replay` sends.
//! Absent on purpose: storage, mappings, refusals. The fake engine of the tests has those.

use std::collections::HashSet;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

type BoxError = Box<dyn Error + Send + Sync>;

/// Ticks a second in `/proc/self/stat`: `USER_HZ`, which the Linux ABI fixes at 100.
const TICKS_PER_SECOND: u64 = 100;

/// Take every `_bulk` request, count its documents, and forget them
#[derive(Parser)]
struct Options {
    /// Port on 127.0.0.1; 0 chooses a free one. The first line of output names the address
    #[arg(long, default_value_t = 9299)]
    port: u16,
    /// Engine to introduce itself as
    #[arg(long, value_enum, default_value_t = Product::Opensearch)]
    product: Product,
    /// Milliseconds to wait before each bulk answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u64,
    /// Remember ids and answer 409 to an id that came before
    #[arg(long)]
    dedupe: bool,
    /// Count documents that are not JSON
    #[arg(long)]
    check: bool,
    /// Keep the bodies, unzipped, in this file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// Whose greeting `GET /` returns.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Product {
    Opensearch,
    Elasticsearch,
}

/// What was counted since the last reset.
#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    documents: AtomicU64,
    duplicates: AtomicU64,
    invalid: AtomicU64,
    wire_bytes: AtomicU64,
    body_bytes: AtomicU64,
    largest_body: AtomicU64,
}

struct Sink {
    product: Product,
    latency: Duration,
    check: bool,
    counters: Counters,
    /// `None` unless ids are remembered: a set of all ids is most of the cost of a long run.
    ids: Option<Mutex<HashSet<Box<[u8]>>>>,
    record: Option<Mutex<File>>,
}

/// How much of each item the client asked to see.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Everything,
    Status,
    Nothing,
}

fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    // One thread: the sink must not take the second core of a small machine from the loader it measures.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> Result<(), BoxError> {
    let sink = Arc::new(Sink {
        product: options.product,
        latency: Duration::from_millis(options.latency),
        check: options.check,
        counters: Counters::default(),
        ids: options.dedupe.then(Mutex::default),
        record: options.record.map(File::create).transpose()?.map(Mutex::new),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    announce(&listener)?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(converse(Arc::clone(&sink), stream));
        while connections.try_join_next().is_some() {}
    }
}

/// Prints the address, which a script reads to learn the port that was chosen.
fn announce(listener: &TcpListener) -> Result<(), BoxError> {
    let mut out = std::io::stdout();
    writeln!(out, "http://{}", listener.local_addr()?)?;
    Ok(out.flush()?)
}

async fn converse(sink: Arc<Sink>, stream: TcpStream) {
    let service = service_fn(|request| answer(Arc::clone(&sink), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(1 << 20) // Bodies are megabytes: the default of 400 kB means more reads than a real engine makes.
        .serve_connection(TokioIo::new(stream), service);
    // A client that hangs up in the middle of a request is its own affair.
    let _ = connection.await;
}

async fn answer(
    sink: Arc<Sink>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path();
    let (status, text) = if path.ends_with("/_bulk") && head.method != Method::GET {
        take_bulk(&sink, &head, body).await
    } else {
        (StatusCode::OK, small_talk(&sink, &head.method, path))
    };
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    if sink.product == Product::Elasticsearch {
        response = response.header("x-elastic-product", "Elasticsearch");
    }
    Ok(response.body(Full::new(text.into()))?)
}

async fn take_bulk(sink: &Sink, head: &Parts, body: Bytes) -> (StatusCode, Vec<u8>) {
    sink.counters.requests.fetch_add(1, Relaxed);
    sink.counters.wire_bytes.fetch_add(count(body.len()), Relaxed);
    let zipped = head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let body = match if zipped { unzip(&body) } else { Ok(body) } {
        Ok(body) => body,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string().into_bytes()),
    };
    sink.counters.body_bytes.fetch_add(count(body.len()), Relaxed);
    sink.counters.largest_body.fetch_max(count(body.len()), Relaxed);
    if let Err(error) = keep(sink, &body) {
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes());
    }
    if !sink.latency.is_zero() {
        wait(sink.latency).await;
    }
    let index = head.uri.path().trim_start_matches('/').split('/').next().unwrap_or("_bulk");
    (StatusCode::OK, sort_items(sink, index, detail(head.uri.query()), &body))
}

fn unzip(body: &[u8]) -> std::io::Result<Bytes> {
    let mut plain = Vec::with_capacity(body.len() * 6); // Trails shrink to about a sixth.
    MultiGzDecoder::new(body).read_to_end(&mut plain)?;
    Ok(plain.into())
}

/// Writes a body and an empty line, whole, so that a killed sink leaves only whole bodies but the last.
fn keep(sink: &Sink, body: &[u8]) -> std::io::Result<()> {
    let Some(record) = &sink.record else { return Ok(()) };
    let mut file = record.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(body)?;
    file.write_all(if body.ends_with(b"\n") { b"\n" } else { b"\n\n" })
}

#[expect(clippy::disallowed_methods, reason = "the wait is the latency that was asked for")]
async fn wait(latency: Duration) {
    tokio::time::sleep(latency).await;
}

fn detail(query: Option<&str>) -> Detail {
    let query = query.unwrap_or_default();
    if query.contains("items.*.status") || query.contains("items.%2A.status") {
        Detail::Status
    } else if query.contains("filter_path=errors") && !query.contains("items") {
        Detail::Nothing
    } else {
        Detail::Everything
    }
}

/// Counts the documents of a body and writes the answer to it.
fn sort_items(sink: &Sink, path_index: &str, detail: Detail, body: &[u8]) -> Vec<u8> {
    let mut items = Vec::with_capacity(body.len() / 12 + 64);
    let (mut documents, mut duplicates, mut invalid) = (0, 0, 0);
    let mut lines = body.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(action) = lines.next() {
        if action.is_empty() {
            continue;
        }
        let verb = quoted(action, b"{").unwrap_or("index");
        if verb != "delete" {
            let Some(document) = lines.next() else { break };
            invalid += u64::from(sink.check && !is_json(document));
        }
        documents += 1;
        let id = quoted(action, b"\"_id\"").unwrap_or_default();
        let created = is_new(sink, id) || verb != "create";
        duplicates += u64::from(!created);
        if detail == Detail::Nothing {
            continue;
        }
        if !items.is_empty() {
            items.push(b',');
        }
        let index = quoted(action, b"\"_index\"").unwrap_or(path_index);
        write_item(&mut items, detail, created, verb, index, id);
    }
    sink.counters.documents.fetch_add(documents, Relaxed);
    sink.counters.duplicates.fetch_add(duplicates, Relaxed);
    sink.counters.invalid.fetch_add(invalid, Relaxed);
    let took = if detail == Detail::Everything { "\"took\":1," } else { "" };
    let mut text = format!("{{{took}\"errors\":{}", duplicates > 0).into_bytes();
    if detail != Detail::Nothing {
        text.extend_from_slice(b",\"items\":[");
        text.append(&mut items);
        text.push(b']');
    }
    text.push(b'}');
    text
}

fn write_item(
    items: &mut Vec<u8>,
    detail: Detail,
    created: bool,
    verb: &str,
    index: &str,
    id: &str,
) {
    // Writing into memory cannot fail.
    let _ = match (detail, created) {
        (Detail::Everything, true) => write!(
            items,
            r#"{{"{verb}":{{"_index":"{index}","_id":"{id}","_version":1,"result":"created","_shards":{{"total":1,"successful":1,"failed":0}},"_seq_no":1,"_primary_term":1,"status":201}}}}"#
        ),
        (_, true) => write!(items, r#"{{"{verb}":{{"status":201}}}}"#),
        (_, false) => write!(
            items,
            r#"{{"{verb}":{{"status":409,"error":{{"type":"version_conflict_engine_exception","reason":"[{id}]: version conflict, document already exists (current version [1])","index":"{index}","shard":"0","index_uuid":"_na_"}}}}}}"#
        ),
    };
}

/// Returns the first quoted text after `key`. Enough for an action line, whose ids and names hold no escapes.
fn quoted<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let after = &line[memchr::memmem::find(line, key)? + key.len()..];
    let text = &after[memchr::memchr(b'"', after)? + 1..];
    std::str::from_utf8(&text[..memchr::memchr(b'"', text)?]).ok()
}

fn is_json(document: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(document).is_ok()
}

fn is_new(sink: &Sink, id: &str) -> bool {
    let Some(ids) = &sink.ids else { return true };
    ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id.as_bytes().into())
}

/// Answers everything that is not a bulk request, so that clients who ask before they send are content.
fn small_talk(sink: &Sink, method: &Method, path: &str) -> Vec<u8> {
    let answer = match path {
        "/" => greeting(sink.product),
        "/_sink" => counters(sink, |counter| counter.load(Relaxed)),
        "/_sink/reset" => {
            let before = counters(sink, |counter| counter.swap(0, Relaxed));
            if let Some(ids) = &sink.ids {
                ids.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            before
        }
        _ if path.starts_with("/_license") || path.starts_with("/_xpack") => {
            json!({"license": {"status": "active", "type": "basic", "mode": "basic"}, "features": {}})
        }
        _ if path.starts_with("/_cluster") => json!({"status": "green"}),
        _ if method == Method::PUT => json!({"acknowledged": true}),
        _ => json!({}),
    };
    answer.to_string().into_bytes()
}

fn greeting(product: Product) -> serde_json::Value {
    let version = match product {
        Product::Opensearch => json!({
            "distribution": "opensearch", "number": "3.8.0", "build_type": "tar", "build_hash": "0",
            "build_snapshot": false, "minimum_wire_compatibility_version": "2.19.0",
            "minimum_index_compatibility_version": "2.0.0"
        }),
        Product::Elasticsearch => json!({
            "number": "9.5.3", "build_flavor": "default", "build_type": "tar", "build_hash": "0",
            "build_snapshot": false, "minimum_wire_compatibility_version": "8.19.0",
            "minimum_index_compatibility_version": "8.0.0"
        }),
    };
    let tagline = match product {
        Product::Opensearch => "The OpenSearch Project: https://opensearch.org/",
        Product::Elasticsearch => "You Know, for Search",
    };
    json!({"name": "null", "cluster_name": "null", "cluster_uuid": "null", "version": version, "tagline": tagline})
}

fn counters(sink: &Sink, read: impl Fn(&AtomicU64) -> u64) -> serde_json::Value {
    let ids = sink.ids.as_ref().map(|ids| ids.lock().unwrap_or_else(PoisonError::into_inner).len());
    json!({
        "requests": read(&sink.counters.requests),
        "documents": read(&sink.counters.documents),
        "duplicates": read(&sink.counters.duplicates),
        "invalid": read(&sink.counters.invalid),
        "wire_bytes": read(&sink.counters.wire_bytes),
        "body_bytes": read(&sink.counters.body_bytes),
        "largest_body": read(&sink.counters.largest_body),
        "distinct_ids": ids,
        "sink_cpu_ms": cpu_ticks().map(|ticks| ticks * 1000 / TICKS_PER_SECOND),
    })
}

/// Returns the user and system time of this process, or `None` where there is no `/proc`.
fn cpu_ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The process name, in brackets, may hold spaces: count from behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
