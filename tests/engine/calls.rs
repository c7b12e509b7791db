//! How often a real engine is asked to change a mapping, counted on the way to it.

use serde_json::json;

use super::on_every_engine;
use crate::support::events::{event_with, records};
use crate::support::load::Desk;
use crate::support::proxy::Proxy;
use crate::support::real::{Corner, Engine};
use crate::support::samples::Samples;

on_every_engine!(
    many_batches_with_new_fields_need_few_mapping_calls,
    a_second_load_changes_no_mapping,
);

/// Calls of each sort that one load took.
#[derive(Debug)]
struct Calls {
    bulks: usize,
    mappings: usize,
    learned: usize,
    /// Everything that changes something, but for bulks and the document about the run. A refresh only makes documents visible.
    changes: usize,
}

impl Calls {
    fn of(proxy: &Proxy) -> Calls {
        let seen = proxy.take_seen();
        let count = |wanted: &dyn Fn(&str) -> bool| seen.iter().filter(|call| wanted(call)).count();
        let put = |call: &str| call.starts_with("PUT ");
        Calls {
            bulks: count(&|call| call.ends_with("/_bulk")),
            mappings: count(&|call| put(call) && call.ends_with("/_mapping")),
            learned: count(&|call| put(call) && call.contains("/_component_template/")),
            changes: count(&|call| {
                !call.starts_with("GET ")
                    && !call.starts_with("HEAD ")
                    && !["/_bulk", "/_refresh"].iter().any(|end| call.ends_with(end))
                    && !call.contains("-runs/_create/")
            }),
        }
    }
}

/// Each event brings a field that none before it had: an engine left to itself would change its mapping
/// as often.
const NEW_FIELDS: usize = 2_000;

fn many_batches_with_new_fields_need_few_mapping_calls(corner: &Corner) {
    let (proxy, desk) = (Proxy::before(corner.url()), Desk::new());
    let wide: Vec<_> = (0..NEW_FIELDS)
        .map(|number| {
            let own = format!("parameter{number}");
            event_with(number, "requestParameters", json!({ own: "v" }))
        })
        .collect();
    let file = desk.file("a.json", records(&wide));
    let load = desk.load(&file, proxy.url()).with(corner.index());
    let load = load.with(["--index-by", "none", "--batch", "32KiB"]);
    let all = NEW_FIELDS as u64;
    load.run().exits(0).counted([all, all, 0, 0]);
    let kinds = corner.kinds();
    let mapped = kinds.keys().filter(|path| path.starts_with("requestParameters.parameter"));
    assert_eq!(mapped.count(), NEW_FIELDS);
    let calls = Calls::of(&proxy);
    println!("{NEW_FIELDS} new fields: {calls:?}");
    assert!(calls.bulks >= 40, "many batches, or the test shows nothing: {calls:?}");
    // One call for all fields that are known by then; the template of the next index, and once more
    // the same should another loader have replaced it.
    assert!(calls.mappings <= calls.bulks, "{calls:?}");
    assert!(calls.learned <= 2 * calls.bulks + 1, "{calls:?}");
    assert!(calls.mappings * 10 <= NEW_FIELDS, "{calls:?}");
}

fn a_second_load_changes_no_mapping(corner: &Corner) {
    let (proxy, desk) = (Proxy::before(corner.url()), Desk::new());
    let samples = Samples::shipped();
    let file = desk.file("a.ndjson", samples.lines().concat());
    let load = desk.load(&file, proxy.url()).with(corner.index()).with(["--index-by", "none"]);
    load.run().exits(0);
    let first = Calls::of(&proxy);
    println!("{} real events: {first:?}", samples.lines().len());
    assert!(first.mappings <= first.bulks + 1, "{first:?}");
    assert_eq!(load.with(["--reload"]).run().exits(0).number("created"), 0);
    let second = Calls::of(&proxy);
    assert!(second.bulks > 0, "{second:?}");
    assert_eq!(second.changes, 0, "{second:?}");
}
