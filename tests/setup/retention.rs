//! Retention by the age of events, on real engines: indices are deleted by name, and no load brings them back.

use serde_json::{Value, json};

use super::{Corner, Engine, SetupRun};
use crate::engine::on_every_engine;
use crate::support::events::{event, records};
use crate::support::load::Desk;
use crate::support::wire;

on_every_engine!(
    of_ten_years_the_expired_months_are_deleted,
    nothing_is_deleted_that_trailload_did_not_create,
    late_events_of_a_deleted_month_are_left_out,
    a_retention_that_is_not_known_is_an_error,
    days_and_years_expire_as_months_do,
    a_dry_run_names_what_is_deleted_and_a_blocked_index_is_named,
    streams_aliases_and_other_names_are_passed_over_by_name,
);

/// Returns events at noon of the 15th of each month of these years.
fn events_of(years: std::ops::RangeInclusive<usize>) -> Vec<Value> {
    let months = years.flat_map(|year| (1..=12).map(move |month| (year, month)));
    let events = months.enumerate().map(|(number, (year, month))| {
        let mut event = event(number);
        event["eventTime"] = json!(format!("{year}-{month:02}-15T12:00:00Z"));
        event
    });
    events.collect()
}

/// Returns the indices of a prefix that hold events.
fn indices(corner: &Corner) -> Vec<String> {
    let path = format!("/{}-*/_settings?expand_wildcards=all", corner.prefix());
    let found = corner.ask("GET", &path, &Value::Null);
    let names = found.as_object().unwrap().keys();
    let mut names: Vec<_> = names.filter(|name| !name.ends_with("-runs")).cloned().collect();
    names.sort();
    names
}

fn load(corner: &Corner, desk: &Desk, name: &str, events: &[Value]) -> crate::support::load::Load {
    let file = desk.file(name, records(events));
    desk.load(&file, corner.url()).with(corner.index())
}

fn of_ten_years_the_expired_months_are_deleted(corner: &Corner) {
    let (desk, prefix) = (Desk::new(), corner.prefix());
    let mut events = events_of(2014..=2016);
    events.push({
        let mut undated = event(900);
        undated["eventTime"] = json!("soon");
        undated
    });
    load(corner, &desk, "a.json", &events).run().exits(0);
    // The years after are made as a load makes them.
    let mapping = json!({ "mappings": { "_meta": { "managed_by": "trailload" } } });
    for year in 2017..=2023 {
        corner.ask("PUT", &format!("/{prefix}-{year}.06"), &mapping);
    }
    let all = indices(corner);
    assert_eq!(all.len(), 36 + 7 + 1);
    // 730 days before 2018-01-01 is 2016-01-02: January 2016 has a day that is younger.
    let options = ["--enforce-retention", "--retention", "730d", "--now", "2018-01-01"];
    let dry = SetupRun::of(corner, &[&options[..], &["--dry-run"]].concat()).exits(0);
    dry.prints(["24 expired, ", "dry run: nothing was deleted", &format!("{prefix}-2014.01")]);
    assert_eq!(indices(corner), all);
    let kept = format!("{} kept", all.len() - 24);
    SetupRun::of(corner, &options).exits(0).prints(["24 deleted, ", &kept, &format!(", {kept}, ")]);
    let left = indices(corner);
    let expected: Vec<_> = all
        .iter()
        .filter(|name| !name.contains("-2014.") && !name.contains("-2015."))
        .cloned()
        .collect();
    assert_eq!(left, expected);
    SetupRun::of(corner, &options).exits(0).prints(["0 expired", "0 deleted"]);
    // The current period stays, however short the retention is.
    let options = ["--enforce-retention", "--retention", "1d", "--now", "2023-06-30T23:59:59Z"];
    SetupRun::of(corner, &options).exits(0);
    let expected = [format!("{prefix}-2023.06"), format!("{prefix}-undated")];
    assert_eq!(indices(corner), expected);
}

fn nothing_is_deleted_that_trailload_did_not_create(corner: &Corner) {
    let (desk, prefix) = (Desk::new(), corner.prefix());
    // Before the template is there, whose mapping they would get.
    for foreign in ["2015.01", "2015", "2015.01.01", "eu-2015.01", "alerts", "2015.13", "2015.01-1"]
    {
        corner.ask("PUT", &format!("/{prefix}-{foreign}"), &Value::Null);
    }
    load(corner, &desk, "a.json", &events_of(2014..=2014)).run().exits(0);
    let restored = format!("/{prefix}-2014.01/_close");
    corner.ask("POST", &restored, &Value::Null);
    let options = ["--enforce-retention", "--retention", "400d", "--now", "2020-01-01"];
    let run = SetupRun::of(corner, &options).exits(0).prints(["12 deleted"]);
    let kept = format!("keep   index '{prefix}-2015.01': trailload did not create it");
    run.prints([kept.as_str()]);
    assert_eq!(indices(corner).len(), 7);
}

fn late_events_of_a_deleted_month_are_left_out(corner: &Corner) {
    let (desk, prefix) = (Desk::new(), corner.prefix());
    load(corner, &desk, "a.json", &events_of(2014..=2014)).run().exits(0).counted([12, 12, 0, 0]);
    SetupRun::of(corner, &["--retention", "1000d"]).exits(0);
    SetupRun::of(corner, &["--enforce-retention"]).exits(0).prints(["12 deleted"]);
    assert_eq!(indices(corner), Vec::<String>::new());
    // Late events of a deleted month, and some of today's.
    let mut late = events_of(2014..=2014);
    for (number, event) in late.iter_mut().enumerate() {
        event["eventID"] = json!(crate::support::events::id(500 + number));
    }
    let mut today = event(700);
    let now = jiff::Timestamp::now();
    today["eventTime"] = json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    late.push(today);
    let load_late = load(corner, &desk, "late.json", &late);
    let run = load_late.run();
    // The deleted indices are not reported as a loss.
    let run = run.exits(0).counted([1, 1, 0, 0]).says(["12 older than the retention", "1000d"]);
    assert_eq!(run.number("expired"), 12);
    let month = now.strftime("%Y.%m").to_string();
    assert_eq!(indices(corner), [format!("{prefix}-{month}")]);
    // The file is complete: it is not read again.
    let again = load_late.run().exits(0).counted([0, 0, 0, 0]);
    assert!(again.summary.as_ref().unwrap()["expired"].is_null());
    // Without the retention, they can be loaded.
    SetupRun::of(corner, &["--retention", "none"]).exits(0);
    load_late.with(["--reload"]).run().exits(0).counted([13, 12, 1, 0]);
}

fn a_retention_that_is_not_known_is_an_error(corner: &Corner) {
    let enforce = &["--enforce-retention", "--retention", "400d"];
    let run = SetupRun::of(corner, enforce).exits(1);
    run.says(["the index template, which records the period", "is missing", "hint: check --index"]);
    let theirs = json!({ "index_patterns": [corner.prefix()] });
    let path = format!("/_index_template/{}", corner.prefix());
    corner.ask("PUT", &path, &theirs);
    let run = SetupRun::of(corner, enforce).exits(1);
    run.says(["was created by another program", "hint: choose the prefix"]);
    corner.ask("DELETE", &path, &Value::Null);
    SetupRun::of(corner, &[]).exits(0);
    let run = SetupRun::of(corner, &["--enforce-retention"]).exits(1);
    run.says(["no retention is set", "--retention 400d"]);
    let desk = Desk::new();
    let one = load(corner, &desk, "a.json", &events_of(2014..=2014));
    one.with(["--index-by", "none"]).run().exits(0);
    SetupRun::of(corner, enforce).exits(1).says(["all events are in one index"]);
    let (status, _) = wire::ask(corner.url(), "GET", &format!("/{}", corner.prefix()), None);
    assert_eq!(status, 200);
}

/// Creates indices as a load creates them.
fn create(corner: &Corner, prefix: &str, periods: &[&str]) {
    let mapping = json!({ "mappings": { "_meta": { "managed_by": "trailload" } } });
    for period in periods {
        corner.ask("PUT", &format!("/{prefix}-{period}"), &mapping);
    }
}

/// Returns the indices that a run names as expired.
fn named(run: &SetupRun) -> Vec<String> {
    let lines = run.stdout.lines().filter_map(|line| line.strip_prefix("  delete index '"));
    lines.map(|line| line.split('\'').next().unwrap().to_owned()).collect()
}

fn days_and_years_expire_as_months_do(corner: &Corner) {
    // 730 days before 2018-01-01 is 2016-01-02.
    let day = (&["2012.02.29", "2015.12.31", "2016.01.01"][..], &["2016.01.02", "2017.12.31"][..]);
    let month = (&["2014.01", "2015.12"][..], &["2016.01", "2017.12"][..]);
    let year = (&["2009", "2014", "2015"][..], &["2016", "2018"][..]);
    for (by, (expired, kept)) in [("day", day), ("month", month), ("year", year)] {
        let (desk, prefix) = (Desk::new(), format!("{}{by}", corner.prefix()));
        let file = desk.file("a.json", records(&[event(0)]));
        let index = ["--index", &prefix, "--index-by", by];
        desk.load(&file, corner.url()).with(index).run().exits(0);
        create(corner, &prefix, &[expired, kept].concat());
        // Names that are periods of another kind, or of nothing.
        let others = ["2012.02.30", "2014.13", "12014", "2014.1", "2014.01.1"];
        create(corner, &prefix, &others);
        let always = ["--into", corner.url(), "--index", &prefix, "--enforce-retention"];
        let at = ["--retention", "730d", "--now", "2018-01-01"];
        let run = SetupRun::new(&[&always[..], &at].concat(), &[]).exits(0);
        let expected: Vec<_> = expired.iter().map(|period| format!("{prefix}-{period}")).collect();
        assert_eq!(named(&run), expected, "{by}");
        for period in kept.iter().chain(&others) {
            let (status, _) = wire::ask(corner.url(), "GET", &format!("/{prefix}-{period}"), None);
            assert_eq!(status, 200, "{by} {period}");
        }
    }
}

fn a_dry_run_names_what_is_deleted_and_a_blocked_index_is_named(corner: &Corner) {
    let (desk, prefix) = (Desk::new(), corner.prefix());
    load(corner, &desk, "a.json", &events_of(2014..=2014)).run().exits(0);
    // An alias with the name of an expired month is no index.
    create(corner, prefix, &["late"]);
    let alias = json!({ "actions": [{ "add": {
        "index": format!("{prefix}-late"), "alias": format!("{prefix}-2013.05") } }] });
    corner.ask("POST", "/_aliases", &alias);
    let block = |index: &str, is_blocked: bool| {
        let settings = json!({ "index.blocks.read_only": is_blocked });
        corner.ask("PUT", &format!("/{prefix}-{index}/_settings"), &settings);
    };
    block("2014.03", true);
    let options = ["--enforce-retention", "--retention", "400d", "--now", "2020-01-01"];
    let dry = SetupRun::of(corner, &[&options[..], &["--dry-run"]].concat()).exits(0);
    let run = SetupRun::of(corner, &options).exits(3).prints(["11 deleted", "1 not possible"]);
    assert_eq!(named(&run), named(&dry));
    run.says([format!("{prefix}-2014.03").as_str(), "read-only"]);
    let left = [format!("{prefix}-2014.03"), format!("{prefix}-late")];
    assert_eq!(indices(corner), left);
    block("2014.03", false);
    SetupRun::of(corner, &options).exits(0).prints(["1 deleted"]);
    let (status, _) = wire::ask(corner.url(), "GET", &format!("/{prefix}-2013.05"), None);
    assert_eq!(status, 200, "the alias");
}

/// Creates a data stream. Its template has to match no other name of the prefix.
fn create_data_stream(corner: &Corner, name: &str) {
    let template = json!({ "index_patterns": [name], "priority": 900, "data_stream": {},
        "template": { "mappings": { "_meta": { "managed_by": "trailload" } } } });
    corner.ask("PUT", &format!("/_index_template/{name}-theirs"), &template);
    let document = json!({ "@timestamp": "2014-02-03T00:00:00Z" });
    corner.ask("PUT", &format!("/{name}/_create/1?refresh"), &document);
}

/// Whatever is not an index with the exact name of a period is left alone, even if it bears the mark, and is named.
fn streams_aliases_and_other_names_are_passed_over_by_name(corner: &Corner) {
    let (desk, prefix) = (Desk::new(), corner.prefix());
    let march = event_at(3, "2024-03-15T12:00:00Z");
    load(corner, &desk, "a.json", &[march]).run().exits(0);
    let stream = format!("{prefix}-2014.02");
    create_data_stream(corner, &stream);
    // As a snapshot is mounted in the place of an index, and as an alias is rolled over.
    let mark = json!({ "managed_by": "trailload" });
    for (index, alias, is_write) in [
        (format!("partial-{prefix}-2014.03"), format!("{prefix}-2014.03"), json!(false)),
        (format!("restored-{prefix}-2014.04"), format!("{prefix}-2014.04"), json!(true)),
        (format!("{prefix}-000001"), format!("{prefix}-all"), json!(true)),
    ] {
        let aliases = json!({ alias: { "is_write_index": is_write } });
        let body = json!({ "mappings": { "_meta": mark }, "aliases": aliases });
        corner.ask("PUT", &format!("/{index}"), &body);
    }
    // Outside of the prefix, and hidden.
    let hidden = json!({ "mappings": { "_meta": mark }, "settings": { "index.hidden": true } });
    for outside in [format!("restored-{prefix}-2014.05"), format!(".{prefix}-2014.06")] {
        corner.ask("PUT", &format!("/{outside}"), &hidden);
    }
    corner.ask("PUT", &format!("/{prefix}-2014.07"), &hidden);
    let all = || {
        let path = format!("/*{prefix}*/_settings/index.uuid?expand_wildcards=all");
        corner.ask("GET", &path, &Value::Null)
    };
    let before = all();
    let named = [
        format!("keep   data stream '{stream}': trailload writes to no data stream"),
        format!(
            "keep   alias '{prefix}-2014.03': its index 'partial-{prefix}-2014.03' has not expired"
        ),
        format!(
            "keep   alias '{prefix}-2014.04': its index 'restored-{prefix}-2014.04' has not expired"
        ),
        format!(
            "keep   index '{prefix}-000001': its name is not that of a month, so it never expires"
        ),
        "1 expired, 1 kept, 4 passed over".to_owned(),
    ];
    let options = ["--enforce-retention", "--retention", "400d", "--now", "2024-04-01"];
    let dry = SetupRun::of(corner, &[&options[..], &["--dry-run"]].concat()).exits(0);
    dry.prints(named.iter().map(String::as_str));
    assert_eq!(all(), before);
    // A hidden index with the name and the mark of a month is one.
    let run = SetupRun::of(corner, &options).exits(0).prints(["1 deleted", "5 kept"]);
    run.prints(named.iter().map(String::as_str));
    let mut expected = before.clone();
    expected.as_object_mut().unwrap().remove(&format!("{prefix}-2014.07"));
    assert_eq!(all(), expected);
    // Neither a setup nor its removal touches any of them.
    let everything = || {
        let path = format!("/*{prefix}*?expand_wildcards=all");
        corner.ask("GET", &path, &Value::Null)
    };
    let before = everything();
    SetupRun::of(corner, &["--retention", "400d", "--warm", "60d"]).exits(0);
    SetupRun::of(corner, &["--remove"]).exits(0).prints([" 0 not possible"]);
    assert_eq!(everything(), before);
    for index in before.as_object().unwrap().keys().filter(|name| !name.starts_with(prefix)) {
        wire::ask(corner.url(), "DELETE", &format!("/{index}"), None);
    }
    wire::ask(corner.url(), "DELETE", &format!("/_data_stream/{stream}"), None);
}

fn event_at(number: usize, time: &str) -> Value {
    let mut event = event(number);
    event["eventTime"] = json!(time);
    event
}
