//! Notes about times on the command line that leave something open.
//!
//! Input: the values of `--from` and `--to`. Output: log messages. What a time means is decided in
//! [`args::time`](super::args::time).

use jiff::civil::Date;

use super::args::time::{SearchTime, TimeAssumption};
use crate::report::Log;

/// Reports what the limits of a time range were taken to mean, if they leave that open.
pub(in crate::cli) fn explain_range(from: Option<&SearchTime>, to: Option<&SearchTime>, log: &Log) {
    for (option, time) in [("--from", from), ("--to", to)] {
        if let Some(time) = time {
            explain_time(option, time, log);
        }
    }
}

/// Reports what a time was taken to mean, if it leaves that open.
pub(in crate::cli) fn explain_time(option: &str, time: &SearchTime, log: &Log) {
    let text = &time.text;
    match time.assumption {
        None => {}
        Some(TimeAssumption::Utc) => log.info(
            "time",
            format_args!("'{text}' is taken as UTC; write it with Z or an offset such as +02:00 to state the zone"),
        ),
        Some(TimeAssumption::StartOfDay) => {
            let next_day = text.parse::<Date>().and_then(Date::tomorrow);
            let whole_day = match next_day {
                Ok(next_day) if option == "--to" => {
                    format!("; --to {next_day} includes the whole day")
                }
                _ => String::new(),
            };
            log.info("time", format_args!("{text} is {text}T00:00:00Z, the start of the day{whole_day}"));
        }
    }
}
