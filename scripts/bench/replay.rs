//! The fastest possible loader: sends bulk bodies that exist already, so that only the engine takes time.
//!
//! In: a file of action and document lines in turn. Where empty lines stand in it, each marks the end of one request, as
//! `nullsink --record` writes them, and the requests are sent exactly so; else the lines are cut into requests by `--batch`.
//! Out: one line of JSON with what was sent, what came back, and how long it took.
//! Reading, cutting, compressing and connecting are done before the clock starts.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type BoxError = Box<dyn Error + Send + Sync>;

/// Send prepared bulk bodies as fast as the engine takes them
#[derive(Parser)]
struct Options {
    /// Bulk lines; an empty line ends a request
    file: PathBuf,
    /// Address of the engine, plain http
    #[arg(long, default_value = "http://127.0.0.1:9299")]
    url: String,
    /// Index for actions that name none
    #[arg(long)]
    index: Option<String>,
    /// Bytes of a request, where no empty lines decide
    #[arg(long, value_name = "BYTES", default_value_t = 5_000_000)]
    batch: usize,
    /// Requests under way at once
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Level to compress bodies with; 0 sends them plain
    #[arg(long, value_name = "LEVEL", default_value_t = 0)]
    gzip: u32,
}

/// One request, ready to go.
struct Prepared {
    body: Bytes,
    documents: usize,
}

/// Where and how to send.
struct Target {
    host: String,
    path: String,
    gzip: bool,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    answer_bytes: usize,
    duplicates: usize,
    failed: usize,
    too_many: usize,
}

/// The part of a bulk answer that `filter_path` asks for.
#[derive(Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Vec<std::collections::HashMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    #[serde(default)]
    error: serde_json::Value,
}

fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let requests = Arc::new(prepare(&options)?);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (seen, took) = runtime.block_on(send_all(&options, Arc::clone(&requests)))?;
    report(&requests, seen, took)
}

fn prepare(options: &Options) -> Result<Vec<Prepared>, BoxError> {
    let data = Bytes::from(std::fs::read(&options.file)?);
    let marked = memchr::memmem::find(&data, b"\n\n").is_some();
    let mut requests = Vec::new();
    let (mut start, mut at, mut documents) = (0, 0, 0);
    while at < data.len() {
        if data[at] == b'\n' {
            push(&mut requests, &data.slice(start..at), documents, options.gzip)?;
            (start, at, documents) = (at + 1, at + 1, 0);
            continue;
        }
        let end = line_end(&data, line_end(&data, at));
        if !marked && documents > 0 && end - start > options.batch {
            push(&mut requests, &data.slice(start..at), documents, options.gzip)?;
            (start, documents) = (at, 0);
        }
        (at, documents) = (end, documents + 1);
    }
    push(&mut requests, &data.slice(start..), documents, options.gzip)?;
    Ok(requests)
}

/// Returns where the line that holds `from` ends, behind its newline.
fn line_end(data: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &data[from..]).map_or(data.len(), |newline| from + newline + 1)
}

fn push(
    requests: &mut Vec<Prepared>,
    body: &Bytes,
    documents: usize,
    gzip: u32,
) -> std::io::Result<()> {
    if documents > 0 {
        let body = if gzip == 0 { body.clone() } else { zip(body, gzip)? };
        requests.push(Prepared { body, documents });
    }
    Ok(())
}

fn zip(body: &[u8], level: u32) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::new(level));
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

async fn send_all(
    options: &Options,
    requests: Arc<Vec<Prepared>>,
) -> Result<(Vec<Seen>, Duration), BoxError> {
    let host = options.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let index = options.index.as_ref().map_or(String::new(), |name| format!("/{name}"));
    let path = format!("{index}/_bulk?filter_path=errors,items.*.status,items.*.error");
    let target = Arc::new(Target { host, path, gzip: options.gzip > 0 });
    let next = Arc::new(AtomicUsize::new(0));
    let (mut wires, mut senders, mut lines) = (JoinSet::new(), JoinSet::new(), Vec::new());
    for _ in 0..options.connections {
        let stream = TcpStream::connect(&target.host).await?;
        stream.set_nodelay(true)?;
        let (line, wire) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        wires.spawn(wire);
        lines.push(line);
    }
    let started = Instant::now();
    for line in lines {
        let (target, requests, next) = (target.clone(), requests.clone(), next.clone());
        senders.spawn(async move { send_share(line, &target, &requests, &next).await });
    }
    let seen = senders.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok((seen, started.elapsed()))
}

/// Sends the next request that nobody has taken, until none is left.
async fn send_share(
    mut line: SendRequest<Full<Bytes>>,
    target: &Target,
    requests: &[Prepared],
    next: &AtomicUsize,
) -> Result<Seen, BoxError> {
    let mut seen = Seen::default();
    while let Some(request) = requests.get(next.fetch_add(1, Relaxed)) {
        let mut pause = Duration::from_millis(50);
        while !send(&mut line, target, request, &mut seen).await? {
            wait(pause).await;
            pause *= 2;
        }
    }
    Ok(seen)
}

/// Sends one request; returns false if the engine asks to come again later.
async fn send(
    line: &mut SendRequest<Full<Bytes>>,
    target: &Target,
    request: &Prepared,
    seen: &mut Seen,
) -> Result<bool, BoxError> {
    let mut head = Request::post(&target.path)
        .header(HOST, &target.host)
        .header(CONTENT_TYPE, "application/x-ndjson");
    if target.gzip {
        head = head.header(CONTENT_ENCODING, "gzip");
    }
    let started = Instant::now();
    line.ready().await?;
    let response = line.send_request(head.body(Full::new(request.body.clone()))?).await?;
    let status = response.status();
    let text = response.into_body().collect().await?.to_bytes();
    seen.latencies.push(started.elapsed());
    seen.answer_bytes += text.len();
    if status == StatusCode::TOO_MANY_REQUESTS {
        seen.too_many += 1;
        return Ok(false);
    }
    if status != StatusCode::OK {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&text)).into());
    }
    count_refusals(&text, seen)?;
    Ok(true)
}

fn count_refusals(text: &[u8], seen: &mut Seen) -> Result<(), BoxError> {
    let answer: Answer = serde_json::from_slice(text)?;
    if !answer.errors {
        return Ok(());
    }
    for item in answer.items.iter().flat_map(|item| item.values()) {
        match item.status {
            409 => seen.duplicates += 1,
            200..=299 => {}
            _ => {
                if seen.failed == 0 {
                    writeln!(std::io::stderr(), "first refusal: {}", item.error)?;
                }
                seen.failed += 1;
            }
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the engine asked for a pause")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}

fn report(requests: &[Prepared], seen: Vec<Seen>, took: Duration) -> Result<(), BoxError> {
    let sum = |part: fn(&Seen) -> usize| seen.iter().map(part).sum::<usize>();
    let (answer_bytes, duplicates) = (sum(|s| s.answer_bytes), sum(|s| s.duplicates));
    let (failed, too_many) = (sum(|s| s.failed), sum(|s| s.too_many));
    let mut latencies: Vec<_> = seen.into_iter().flat_map(|one| one.latencies).collect();
    latencies.sort_unstable();
    let percentile = |percent: usize| {
        let at = latencies.len().saturating_sub(1) * percent / 100;
        latencies.get(at).map(Duration::as_millis)
    };
    let figures = json!({
        "documents": requests.iter().map(|request| request.documents).sum::<usize>(),
        "seconds": took.as_secs_f64(),
        "requests": latencies.len(),
        "wire_bytes": requests.iter().map(|request| request.body.len()).sum::<usize>(),
        "answer_bytes": answer_bytes,
        "duplicates": duplicates,
        "failed": failed,
        "http_429": too_many,
        "p50_ms": percentile(50),
        "p99_ms": percentile(99),
    });
    Ok(writeln!(std::io::stdout(), "{figures}")?)
}
