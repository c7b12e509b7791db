//! Reports requests that are retried or not answered for a long time.
//!
//! Input: [`PendingRequests`], polled twice a second. Output: warnings about failing requests, which are also shown with `--quiet`,
//! and informational messages about slow ones.
//! Invariant: a run that makes no progress for more than a few seconds reports the reason.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Log, format};
use crate::pending::{PendingRequests, StallNotice};

/// Time between two polls, which is the maximum delay of a message.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A thread that reports waits until it is dropped.
#[derive(Debug)]
pub struct WaitReporter(Option<(Sender<()>, JoinHandle<()>)>);

impl WaitReporter {
    /// Starts the thread.
    pub fn start(waits: PendingRequests, log: Log) -> Self {
        let (finish, finished) = mpsc::channel();
        let tell = move || {
            while finished.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                waits.take_notices().iter().for_each(|trouble| say(&log, trouble));
            }
        };
        // If the thread cannot be started, the run works as well, without these messages.
        let thread = thread::Builder::new().name("waits".to_owned()).spawn(tell).ok();
        Self(thread.map(|thread| (finish, thread)))
    }
}

impl Drop for WaitReporter {
    fn drop(&mut self) {
        if let Some((finish, thread)) = self.0.take() {
            drop(finish);
            let _ = thread.join();
        }
    }
}

fn say(log: &Log, trouble: &StallNotice) {
    let StallNotice { service, target: place, other_targets: others, cause, duration: lasted } =
        trouble;
    let others = match others {
        0 => String::new(),
        others => format!(" and {}", format::plural(*others as u64, "other")),
    };
    let place = if place.is_empty() { String::new() } else { format!("{place}{others}: ") };
    let lasted = match lasted.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => format::duration(*lasted),
    };
    match cause {
        Some(cause) => {
            log.warn(service, format_args!("{place}{cause}; retrying for {lasted}"));
        }
        // A slow answer is not an error: a successful nightly run with `--quiet` writes nothing.
        None => log.info(service, format_args!("{place}no answer for {lasted}; still waiting")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::{LogFormat, Verbosity, tests::page};

    #[test]
    fn a_line_names_service_place_cause_and_time() {
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        let trouble = StallNotice {
            service: "cloudtrail",
            target: "eu-west-1".to_owned(),
            other_targets: 2,
            cause: Some("500 InternalError: oh".to_owned()),
            duration: Duration::from_millis(5_400),
        };
        say(&log, &trouble);
        let silent =
            StallNotice { target: String::new(), other_targets: 0, cause: None, ..trouble };
        say(&log, &silent);
        assert_eq!(
            page.text(),
            "warning: cloudtrail: eu-west-1 and 2 others: 500 InternalError: oh; retrying for 5 s\n\
             info: cloudtrail: no answer for 5 s; still waiting\n"
        );
    }
}
