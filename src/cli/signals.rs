//! Shuts a run down on SIGINT, SIGTERM and SIGHUP.
//!
//! Input: signals. Output: the shutdown level, and the end of the process.
//!
//! | when | what happens |
//! |---|---|
//! | first signal | [`ShutdownLevel::Draining`]: nothing new is started; what is in flight is finished and saved |
//! | [`DRAIN_TIMEOUT`] later | [`ShutdownLevel::Immediate`]: requests without a response are abandoned, the position is saved |
//! | [`EXIT_TIMEOUT`] later | the process exits, even if a disk, a name server or a system call hangs |
//! | second signal | the process exits at once |
//!
//! Invariant: the process exits within 10 seconds of the first signal. What was not saved by then is read again by the
//! next run. A SIGHUP that was ignored when the program started (`nohup`) stays ignored.
//! Signals are handled on a thread of their own, so that they are handled while all other threads block.

use std::{fs, io, process, thread, time::Duration};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    cli::{exit::Exit, failure::Failure},
    report::Log,
    shutdown::{ShutdownLevel, ShutdownTrigger},
};

/// Time to finish what is in flight. Service managers and container runtimes kill a process after 10 seconds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);

/// Time after that until the process exits, whatever it is waiting for.
const EXIT_TIMEOUT: Duration = Duration::from_secs(3);

/// Signals within this time count as one: `timeout` and some terminals signal both the process and its group.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// What a command reports about its shutdown.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct ShutdownMessages {
    /// After the first signal.
    pub(in crate::cli) draining: &'static str,
    /// When requests without a response are abandoned.
    pub(in crate::cli) abandoning: &'static str,
    /// After the second signal.
    pub(in crate::cli) exiting: &'static str,
    /// When the process exits although an operation has not finished.
    pub(in crate::cli) timed_out: &'static str,
}

impl ShutdownMessages {
    /// The messages of a command with a checkpoint.
    pub(in crate::cli) const WITH_CHECKPOINT: Self = Self {
        draining: "finishing what is in flight and saving the position; signal again to exit at once",
        abandoning: "abandoning requests without a response and saving the position; the next run sends them again",
        exiting: "exiting at once; everything saved is safe",
        timed_out: "exiting although an operation has not finished; everything saved is safe",
    };
}

/// Starts to handle signals, until the process exits.
///
/// # Errors
///
/// Returns a [`Failure`] if the handlers cannot be installed.
pub(in crate::cli) fn listen(
    trigger: ShutdownTrigger,
    log: Log,
    messages: ShutdownMessages,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::from_error(Exit::ActionRequired, &error);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(failed)?
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(handle_signals(signals, &trigger, &log, messages)))
        .map(drop)
        .map_err(failed)
}

/// The signals that shut a run down.
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

async fn handle_signals(
    mut signals: Signals,
    trigger: &ShutdownTrigger,
    log: &Log,
    messages: ShutdownMessages,
) {
    let report = |text: &str| log.warn("trailload", text);
    let mut first_signal = None;
    let mut late = None;
    loop {
        let due = late.map_or_else(Instant::now, |(due, _)| due);
        tokio::select! {
            () = signals.next() => match classify_signal(&mut first_signal, Instant::now()) {
                SignalAction::Drain => {
                    report(messages.draining);
                    trigger.raise(ShutdownLevel::Draining);
                    late = first_signal.map(|first_signal| (first_signal + DRAIN_TIMEOUT, Deadline::Requests));
                }
                SignalAction::Duplicate => {}
                SignalAction::Exit => {
                    report(messages.exiting);
                    exit_now();
                }
            },
            () = sleep_until(due), if late.is_some() => {
                let Some((due, Deadline::Requests)) = late else {
                    report(messages.timed_out);
                    exit_now();
                };
                report(messages.abandoning);
                trigger.raise(ShutdownLevel::Immediate);
                late = Some((due + EXIT_TIMEOUT, Deadline::Process));
            }
        }
    }
}

/// What to do on a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignalAction {
    Drain,
    /// Nothing: it repeats the previous signal.
    Duplicate,
    Exit,
}

/// Returns what to do on a signal that arrives at `now`; `first_signal` is set to the time of the first one.
fn classify_signal(first_signal: &mut Option<Instant>, now: Instant) -> SignalAction {
    match first_signal.map(|first| now.duration_since(first)) {
        None => {
            *first_signal = Some(now);
            SignalAction::Drain
        }
        Some(since) if since < DUPLICATE_WINDOW => SignalAction::Duplicate,
        Some(_) => SignalAction::Exit,
    }
}

/// What happens when the time is up.
#[derive(Clone, Copy, Debug)]
enum Deadline {
    Requests,
    Process,
}

#[expect(clippy::exit, reason = "the user requested it, and the checkpoint makes it safe")]
fn exit_now() -> ! {
    process::exit(Exit::StoppedEarly.code().into())
}

/// Returns whether SIGHUP was ignored when the program started. Only Linux provides this.
fn is_hangup_ignored() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// Reads SIGHUP, the lowest bit, from the mask of ignored signals.
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
        use SignalAction::{Drain, Duplicate, Exit};
        let (mut first_signal, start) = (None, Instant::now());
        let mut at = |milliseconds| {
            classify_signal(&mut first_signal, start + Duration::from_millis(milliseconds))
        };
        let heard = [0, 0, 1, 99, 100, 5_000].map(&mut at);
        assert_eq!(heard, [Drain, Duplicate, Duplicate, Duplicate, Exit, Exit]);
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
        assert!(DRAIN_TIMEOUT + EXIT_TIMEOUT < Duration::from_secs(10));
    }
}
