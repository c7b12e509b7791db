//! What SIGINT, SIGTERM and SIGHUP do to a load.
//!
//! In: signals. Out: the word that everyone watches, and the end of the process.
//!
//! | when | what |
//! |---|---|
//! | first signal | [`Urgency::Drain`]: nothing new is begun, what is under way is finished and saved |
//! | [`GRACE`] later | [`Urgency::Leave`]: requests without an answer are given up, the position is saved |
//! | [`MORE`] later | the process ends, whatever hangs: a disk, a name server, a system call |
//! | second signal | the process ends at once |
//!
//! Holds: the process ends within 10 seconds of the first signal. Whatever was not saved by then is read again by the
//! next run. A SIGHUP that whoever started the program has it ignore (`nohup`) stays ignored.
//! The signals have a thread of their own, so that they are heard while all others wait for something.

use std::{fs, io, process, thread, time::Duration};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{exit::Exit, failure::Failure};
use crate::{
    report::Log,
    shutdown::{ShutdownLevel, ShutdownTrigger},
};

/// Time to finish what is under way. Service managers and containers give 10 seconds before they kill.
const GRACE: Duration = Duration::from_secs(6);

/// Time after that until the process ends, whatever it is waiting for.
const MORE: Duration = Duration::from_secs(3);

/// Signals this close together are one word: `timeout` and some terminals tell the program and its group.
const ONE_WORD: Duration = Duration::from_millis(100);

/// Starts to listen, for as long as the process lives.
///
/// # Errors
///
/// Returns a [`Failure`] if the system does not allow it.
pub(super) fn listen(raise: ShutdownTrigger, log: Log) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::of(Exit::Person, &error);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(failed)?
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(obey(signals, &raise, &log)))
        .map(drop)
        .map_err(failed)
}

/// The signals that end a load.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let hangup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())?, hangup })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
        }
    }
}

async fn obey(mut signals: Signals, raise: &ShutdownTrigger, log: &Log) {
    let say = |text: &str| log.warn("trailload", text);
    let mut asked = None;
    let mut late = None;
    loop {
        let due = late.map_or_else(Instant::now, |(due, _)| due);
        tokio::select! {
            () = signals.next() => match word(&mut asked, Instant::now()) {
                Word::Finish => {
                    say("finishing what is under way and saving; once more leaves at once");
                    raise.raise(ShutdownLevel::Draining);
                    late = asked.map(|asked| (asked + GRACE, Late::Requests));
                }
                Word::Echo => {}
                Word::Leave => {
                    say("leaving at once; what was acknowledged and saved is safe");
                    leave();
                }
            },
            () = sleep_until(due), if late.is_some() => {
                let Some((due, Late::Requests)) = late else {
                    say("leaving while something hangs; what was acknowledged and saved is safe");
                    leave();
                };
                say("giving up what has no answer yet, and saving; the next run sends it again");
                raise.raise(ShutdownLevel::Immediate);
                late = Some((due + MORE, Late::Everything));
            }
        }
    }
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Finish,
    /// Nothing that the last one did not say.
    Echo,
    Leave,
}

/// Returns what a signal says that comes now; `asked` is when the first one came.
fn word(asked: &mut Option<Instant>, now: Instant) -> Word {
    match asked.map(|first| now.duration_since(first)) {
        None => {
            *asked = Some(now);
            Word::Finish
        }
        Some(since) if since < ONE_WORD => Word::Echo,
        Some(_) => Word::Leave,
    }
}

/// What was waited for long enough.
#[derive(Clone, Copy, Debug)]
enum Late {
    Requests,
    Everything,
}

#[expect(clippy::exit, reason = "the user asked; the ledger makes it safe")]
fn leave() -> ! {
    process::exit(Exit::Early.code().into())
}

/// Returns whether SIGHUP was ignored when the program started: Linux tells, other systems do not.
fn is_hangup_ignored() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// Reads the mask of ignored signals, in which SIGHUP is the lowest bit.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_come_together_are_one_word_and_a_later_one_leaves() {
        use Word::{Echo, Finish, Leave};
        let (mut asked, start) = (None, Instant::now());
        let mut at = |milliseconds| word(&mut asked, start + Duration::from_millis(milliseconds));
        let heard = [0, 0, 1, 99, 100, 5_000].map(&mut at);
        assert_eq!(heard, [Finish, Echo, Echo, Echo, Leave, Leave]);
    }

    #[test]
    fn the_mask_of_the_system_tells_whether_a_hangup_is_ignored() {
        let status =
            |mask| format!("Name:\ttrailload\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")));
        assert!(!ignores_hangup("Name:\ttrailload\n"));
    }

    #[test]
    fn the_process_ends_within_ten_seconds_and_gives_up_requests_before() {
        assert!(GRACE + MORE < Duration::from_secs(10));
    }
}
