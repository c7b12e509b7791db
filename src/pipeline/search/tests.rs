//! Searches from the source to the stream, with inputs that a test sends.

use std::{
    io::{self, Cursor, Write},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Counts, EventSummary, SearchConfig, SearchEnd, SearchOutput, TimeOrder, search};
use crate::{
    event::Partition,
    filter::query::Query,
    pipeline::{RunOutcome, tests::pipeline},
    report::Terminal,
    sink::events::{EventFormat, OutputStream, OutputStyle},
    source::{Content, Input, SourceEvent},
};

/// A stream that keeps what is written, until its reader closes it.
#[derive(Clone, Default)]
struct Pipe {
    written: Arc<Mutex<Vec<u8>>>,
    /// Bytes behind which it is closed.
    limit: Option<usize>,
    writes: Option<mpsc::Sender<String>>,
}

impl Pipe {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.written.lock().unwrap();
        if self.limit.is_some_and(|limit| written.len() >= limit) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        written.extend_from_slice(bytes);
        if let Some(writes) = &self.writes {
            let _ = writes.send(String::from_utf8_lossy(bytes).into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn input(number: usize, text: impl Into<Vec<u8>>) -> SourceEvent {
    let text = text.into();
    SourceEvent::Input(Input {
        partition: Partition { key: format!("test:{number}"), fingerprint: String::new() },
        name: number.to_string(),
        size: text.len() as u64,
        content: Content::Stream(Box::new(Cursor::new(text))),
        result: None,
    })
}

fn event(number: u32) -> Value {
    json!({
        "eventVersion": "1.08",
        "eventID": format!("00000000-0000-0000-0000-{number:012}"),
        "eventTime": format!("2024-06-{:02}T00:00:{:02}Z", number / 60 % 28 + 1, number % 60),
        "eventSource": "s3.amazonaws.com",
        "eventName": format!("Get{}", number % 3),
    })
}

fn file(events: impl IntoIterator<Item = Value>) -> String {
    json!({"Records": events.into_iter().collect::<Vec<_>>()}).to_string()
}

/// Searches inputs, and returns what is printed.
async fn run(inputs: Vec<String>, change: impl FnOnce(&mut SearchConfig)) -> (SearchEnd, String) {
    let pipe = Pipe::default();
    let end = run_into(inputs, pipe.clone(), change).await;
    (end, pipe.text())
}

async fn run_into(
    inputs: Vec<String>,
    pipe: Pipe,
    change: impl FnOnce(&mut SearchConfig),
) -> SearchEnd {
    let (mut config, feed) = config(pipe);
    change(&mut config);
    for (number, text) in inputs.into_iter().enumerate() {
        feed.send(input(number, text)).unwrap();
    }
    drop(feed);
    search(config).await
}

fn config(pipe: Pipe) -> (SearchConfig, mpsc::Sender<SourceEvent>) {
    let (pipeline, feed) = pipeline(2);
    let config = SearchConfig {
        pipeline,
        query: Arc::new(Query::default()),
        output: SearchOutput::Events,
        style: OutputStyle {
            format: EventFormat::Ndjson,
            fields: None,
            terminal: Terminal::default(),
        },
        stream: OutputStream::new(pipe),
        limit: None,
        temporary_folder: std::env::temp_dir(),
    };
    (config, feed)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_event_is_printed_once_as_it_was() {
    let original = r#"{"eventVersion":"1.08" , "eventID":"00000000-0000-0000-0000-000000000001","n":1.50,"é":"\u00e9"}"#;
    let file = format!("{{\"Records\":[{original},{original}]}}");
    let (end, text) = run(vec![file.clone(), file], |_| {}).await;
    assert_eq!(text, format!("{original}\n"));
    assert_eq!((end.found, end.examined, end.repeated), (1, 4, 3));
    assert_eq!(end.outcome.unwrap(), RunOutcome::Complete);
}

#[tokio::test]
async fn events_without_an_id_are_told_apart_by_their_content() {
    let events = [
        r#"{"eventVersion":"1","eventID":"1","a":1}"#,
        r#"{"eventVersion":"1","a":1,"eventID":"1"}"#,
        r#"{"eventVersion":"1","eventID":"1","a":2}"#,
    ];
    let (end, _) = run(vec![events.join("\n")], |_| {}).await;
    assert_eq!((end.found, end.repeated), (2, 1));
}

#[tokio::test]
async fn a_limit_ends_the_run_with_exactly_so_many_events() {
    let files =
        (0..50).map(|file_number| file((0..20).map(|number| event(file_number * 20 + number))));
    let (end, text) = run(files.collect(), |config| config.limit = Some(7)).await;
    assert_eq!(lines(&text).len(), 7);
    assert_eq!(end.found, 7);
    assert_eq!(end.outcome.unwrap(), RunOutcome::Satisfied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_printed_while_the_run_continues() {
    let (sender, writes) = mpsc::channel();
    let (config, feed) = config(Pipe { writes: Some(sender), ..Pipe::default() });
    let mut running = JoinSet::new();
    running.spawn(search(config));
    for number in 0..5 {
        feed.send(input(usize::try_from(number).unwrap(), file([event(number)]))).unwrap();
        let next = || writes.recv_timeout(Duration::from_secs(10)).unwrap();
        let text = tokio::task::block_in_place(next);
        assert_eq!(lines(&text), [event(number)]);
    }
    drop(feed);
    assert_eq!(running.join_next().await.unwrap().unwrap().found, 5);
}

#[tokio::test]
async fn events_are_sorted_by_time() {
    let numbers = [30, 2, 900, 45, 2];
    for (order, limit, expected) in [
        (TimeOrder::Ascending, None, vec![2, 30, 45, 900]),
        (TimeOrder::Descending, None, vec![900, 45, 30, 2]),
        (TimeOrder::Descending, Some(2), vec![900, 45]),
    ] {
        let files = numbers.iter().map(|number| file([event(*number)])).collect();
        let (end, text) = run(files, |config| {
            config.output = SearchOutput::Sorted(order);
            config.limit = limit;
        })
        .await;
        assert_eq!(lines(&text), expected.iter().map(|number| event(*number)).collect::<Vec<_>>());
        assert_eq!(end.found, expected.len() as u64);
    }
}

#[tokio::test]
async fn a_closed_pipe_ends_the_run_without_an_error() {
    let pipe = Pipe { limit: Some(1), ..Pipe::default() };
    let files = (0..200).map(|number| file([event(number)])).collect();
    let end = run_into(files, pipe, |_| {}).await;
    assert!(end.is_pipe_closed);
    assert_eq!(end.outcome.unwrap(), RunOutcome::Satisfied);
    assert!(end.examined < 200);
}

#[tokio::test]
async fn events_are_counted_once() {
    let files = vec![file((0..10).map(event)), file((5..12).map(event))];
    let (end, text) = run(files, |config| {
        let counts = Counts::new("action".parse().unwrap());
        config.output = SearchOutput::Summary(EventSummary::Counts(counts));
        config.style.format = EventFormat::Csv;
    })
    .await;
    assert_eq!(text, "action,count\ns3:Get0,4\ns3:Get1,4\ns3:Get2,4\n");
    assert_eq!((end.found, end.repeated), (12, 5));
    assert!(end.summary.is_none());
}

#[tokio::test]
async fn what_is_not_quite_json_is_found_and_printed_as_json() {
    let deep = format!(
        "{{\"eventVersion\":\"1\",\"eventID\":\"2\",\"deep\":{}{}}}",
        "[".repeat(3_000),
        "]".repeat(3_000)
    );
    let broken = "{\"eventVersion\":\"1\",\"eventID\":\"1\",\"text\":\"a\tb\u{1}\"}".to_owned();
    let (end, text) = run(vec![deep.clone(), broken], |_| {}).await;
    assert_eq!(end.found, 2);
    assert!(text.lines().any(|line| line == deep));
    assert!(text.lines().any(|line| line.contains(r#""a\tb\u0001""#)), "{text}");
}

#[tokio::test]
async fn a_document_of_an_index_is_printed_as_the_event_that_was_loaded() {
    let original = event(1);
    let mut document = original.clone();
    document["@timestamp"] = original["eventTime"].clone();
    document["trailload"] = json!({"changes": [], "unmapped": ["a=b"]});
    let hit =
        json!({"_index": "cloudtrail-2024.06", "_id": original["eventID"], "_source": document});
    let (end, text) = run(vec![hit.to_string(), file([original.clone()])], |_| {}).await;
    assert_eq!(lines(&text), [original]);
    assert_eq!((end.found, end.repeated), (1, 1));
}
