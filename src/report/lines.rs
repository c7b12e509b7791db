//! Progress where nobody watches: a plain line now and then, in a file, a pipe or a cron mail.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use serde_json::{Map, Value};

use super::{Tally, figures, log::Log, rate::Rate};

/// Time between two lines: a night's log stays readable, and a stall is seen within a minute.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// Writes one progress line, `elapsed` after the start of the run.
pub fn write(log: &Log, tally: &Tally, rate: &mut Rate, elapsed: Duration) {
    let speed = rate.sample(elapsed, tally.into());
    let left = speed.left.map(|left| left.as_secs());
    log.event("progress", &text(tally, &speed), || {
        let mut fields = Map::new();
        for (name, number) in [
            ("read", &tally.read),
            ("created", &tally.created),
            ("already_there", &tally.already_there),
            ("set_aside", &tally.set_aside),
            ("bytes_consumed", &tally.bytes_consumed),
            ("bytes_found", &tally.bytes_found),
            ("retries", &tally.retries),
        ] {
            fields.insert(name.into(), number.load(Relaxed).into());
        }
        fields.insert("documents_per_second".into(), figures::whole(speed.records).into());
        fields.insert("seconds".into(), elapsed.as_secs().into());
        fields.insert("seconds_left".into(), left.map_or(Value::Null, Value::from));
        fields
    });
}

fn text(tally: &Tally, speed: &super::rate::Speed) -> String {
    let mut line = format!(
        "progress: {} read, {} created, {} already there, {} set aside; {} of {} found; {} documents/s, {}/s",
        figures::count(tally.read.load(Relaxed)),
        figures::count(tally.created.load(Relaxed)),
        figures::count(tally.already_there.load(Relaxed)),
        figures::count(tally.set_aside.load(Relaxed)),
        figures::bytes(tally.bytes_consumed.load(Relaxed)),
        figures::bytes(tally.bytes_found.load(Relaxed)),
        figures::count(figures::whole(speed.records)),
        figures::bytes(figures::whole(speed.bytes)),
    );
    if let Some(left) = speed.left {
        line.push_str("; about ");
        line.push_str(&figures::duration(left));
        line.push_str(" left");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{super::tally::Amount, *};
    use crate::report::log::{Format, Verbosity, tests::page};

    fn half_way() -> Tally {
        let tally = Tally::new(["trail".to_owned()]);
        tally.found(0, 2_097_152);
        tally.consumed(0, 1_048_576);
        tally.taken(0, Amount { records: 12_000, bytes: 9_437_184, rewritten: 0 });
        tally.created.store(11_500, Relaxed);
        tally
    }

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let (log, page) = page(Format::Text, Verbosity::Normal);
        write(&log, &half_way(), &mut Rate::default(), INTERVAL);
        assert_eq!(
            page.text(),
            "progress: 12,000 read, 11,500 created, 0 already there, 0 set aside; \
             1.0 MiB of 2.0 MiB found; 400 documents/s, 307.2 KiB/s; about 30.0 s left\n"
        );
    }

    #[test]
    fn the_same_numbers_as_json() {
        let (log, page) = page(Format::Json, Verbosity::Normal);
        write(&log, &half_way(), &mut Rate::default(), INTERVAL);
        let line: Value = serde_json::from_str(&page.text()).unwrap();
        assert_eq!(line["about"], "progress");
        assert_eq!(line["read"], 12_000);
        assert_eq!(line["created"], 11_500);
        assert_eq!(line["documents_per_second"], 400);
        assert_eq!(line["seconds_left"], 30);
    }
}
