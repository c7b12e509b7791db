//! What a real engine gives back of our own documents, read as a source.

use serde_json::{Value, json};

use super::on_every_engine;
use crate::support::events::lines;
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};

on_every_engine!(documents_that_come_back_are_the_same_documents);

/// Every public event that the repository holds: loaded, scrolled out as an export tool would, and loaded again.
fn documents_that_come_back_are_the_same_documents(corner: &Corner) {
    let desk = Desk::new();
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let sources = [data.join("events"), data.join("sample")];
    // By year: every index costs the engine more than its documents do, and the events are of a hundred months.
    let options = [corner.index(), ["--index-by", "year"]].concat();
    let first = desk.load_all(&sources, corner.url()).with(options.clone()).run().exits(0);
    let created = first.number("created");
    assert_eq!(corner.count(), created);
    let pages = pages(corner);
    let hits = |pages: &[Value]| -> Vec<Value> {
        pages.iter().flat_map(|page| page["hits"]["hits"].as_array().unwrap().clone()).collect()
    };
    for (name, text) in [("dump.ndjson", lines(&hits(&pages))), ("scrolls.json", lines(&pages))] {
        let file = desk.file(name, text);
        let again = desk.load(&file, corner.url()).with(options.clone()).run().exits(0);
        assert_eq!(again.counts(), [created, 0, created, 0], "{name}: {}", again.stderr);
    }
    assert_eq!(corner.count(), created);
}

/// Returns the pages of a scroll through all documents.
fn pages(corner: &Corner) -> Vec<Value> {
    let page = json!({ "size": 1_000, "sort": ["_doc"] });
    let mut answer = corner.ask("POST", &format!("/{}*/_search?scroll=1m", corner.prefix()), &page);
    let mut pages = Vec::new();
    while !answer["hits"]["hits"].as_array().unwrap().is_empty() {
        let next = json!({ "scroll": "1m", "scroll_id": answer["_scroll_id"] });
        pages.push(std::mem::replace(&mut answer, corner.ask("POST", "/_search/scroll", &next)));
    }
    pages
}
