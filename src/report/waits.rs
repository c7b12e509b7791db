//! Says what a run is waiting for, while it waits.
//!
//! In: [`Waits`], looked at twice a second. Out: warnings about what fails, which are shown also with `--quiet`, and
//! lines about what is only slow.
//! Holds: a run that makes no progress for more than a few seconds says why.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Log, figures};
use crate::waits::{Trouble, Waits};

/// How often is looked: a line comes at most so late.
const LOOK: Duration = Duration::from_millis(500);

/// Tells until it is dropped.
#[derive(Debug)]
pub struct WaitTeller(Option<(Sender<()>, JoinHandle<()>)>);

impl WaitTeller {
    /// Starts to tell.
    pub fn start(waits: Waits, log: Log) -> Self {
        let (finish, finished) = mpsc::channel();
        let tell = move || {
            while finished.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                waits.due().iter().for_each(|trouble| say(&log, trouble));
            }
        };
        // Without a thread the run is as good, only silent.
        let thread = thread::Builder::new().name("waits".to_owned()).spawn(tell).ok();
        Self(thread.map(|thread| (finish, thread)))
    }
}

impl Drop for WaitTeller {
    fn drop(&mut self) {
        if let Some((finish, thread)) = self.0.take() {
            drop(finish);
            let _ = thread.join();
        }
    }
}

fn say(log: &Log, trouble: &Trouble) {
    let Trouble { service, place, others, cause, lasted } = trouble;
    let others = match others {
        0 => String::new(),
        others => format!(" and {}", figures::counted(*others as u64, "other")),
    };
    let place = if place.is_empty() { String::new() } else { format!("{place}{others}: ") };
    let lasted = match lasted.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => figures::duration(*lasted),
    };
    match cause {
        Some(cause) => {
            log.warn(service, format_args!("{place}{cause}; trying again, for {lasted} now"));
        }
        // A slow answer is no trouble yet: a nightly run that goes well stays silent with `--quiet`.
        None => log.info(service, format_args!("{place}no answer for {lasted}; still waiting")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::{Format, Verbosity, tests::page};

    #[test]
    fn a_line_names_service_place_cause_and_time() {
        let (log, page) = page(Format::Text, Verbosity::Normal);
        let trouble = Trouble {
            service: "cloudtrail",
            place: "eu-west-1".to_owned(),
            others: 2,
            cause: Some("500 InternalError: oh".to_owned()),
            lasted: Duration::from_millis(5_400),
        };
        say(&log, &trouble);
        let silent = Trouble { place: String::new(), others: 0, cause: None, ..trouble };
        say(&log, &silent);
        assert_eq!(
            page.text(),
            "warning: cloudtrail: eu-west-1 and 2 others: 500 InternalError: oh; trying again, for 5 s now\n\
             info: cloudtrail: no answer for 5 s; still waiting\n"
        );
    }
}
