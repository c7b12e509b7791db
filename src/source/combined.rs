//! Several sources that are read as one.
//!
//! Input: files and folders, and remote sources. Output: the events of all of them.
//! Invariant: local files come first, because they are available at once; the remote sources then run concurrently,
//! since each of them waits for its own service. A source that fails is reported and the others continue; only if
//! nothing else is left does its error end the run.

use tokio::task::JoinSet;

use super::{Error, EventSender, Source, SourceEvent, SourceRun, task_output};
use crate::shutdown::ShutdownSignal;

/// Sources that are read as one.
#[derive(Default)]
pub struct CombinedSource {
    local: Option<Box<dyn Source>>,
    /// Each with the index of the SOURCE argument that is reported if it fails.
    remote: Vec<(usize, Box<dyn Source>)>,
    failures: Vec<(usize, Error)>,
}

impl CombinedSource {
    /// Adds the source that is read first.
    #[must_use]
    pub fn with_local(mut self, source: impl Source + 'static) -> Self {
        self.local = Some(Box::new(source));
        self
    }

    /// Adds a source that is read concurrently with other remote ones; `source_number` is that of its SOURCE argument.
    #[must_use]
    pub fn with_remote(mut self, source_number: usize, source: impl Source + 'static) -> Self {
        self.remote.push((source_number, Box::new(source)));
        self
    }

    /// Adds failures that occurred before the run, to be reported first.
    #[must_use]
    pub fn with_failures(mut self, failures: impl IntoIterator<Item = (usize, Error)>) -> Self {
        self.failures.extend(failures);
        self
    }

    async fn read(self, out: EventSender, shutdown: ShutdownSignal) -> Result<(), Error> {
        let Self { local, remote, failures } = self;
        for (source_number, error) in failures {
            if out.send(source_number, SourceEvent::Failed(error)).await.is_err() {
                return Ok(());
            }
        }
        let has_local = local.is_some();
        if let Some(local) = local {
            local.run(out.clone(), shutdown.clone()).await?;
        }
        if out.is_closed() {
            return Ok(());
        }
        let mut running = remote.len();
        let mut tasks = JoinSet::new();
        for (source_number, source) in remote {
            let run = source.run(out.clone(), shutdown.clone());
            tasks.spawn(async move { (source_number, run.await) });
        }
        while let Some(ended) = tasks.join_next().await {
            let Some((source_number, Err(error))) = task_output(ended) else { continue };
            running -= 1;
            if running == 0 && !has_local {
                return Err(error);
            }
            // If the receiver is gone, the run ends for another reason.
            let _ = out.send(source_number, SourceEvent::Failed(error)).await;
        }
        Ok(())
    }
}

impl Source for CombinedSource {
    fn run(self: Box<Self>, out: EventSender, shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(self.read(out, shutdown))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::{shutdown::shutdown_channel, source::for_each_event};

    /// Emits `count` skipped inputs, then fails if it is to.
    struct Fake {
        source_number: usize,
        count: usize,
        fails: bool,
    }

    impl Source for Fake {
        fn run(self: Box<Self>, out: EventSender, _shutdown: ShutdownSignal) -> SourceRun {
            let Self { source_number, count, fails } = *self;
            Box::pin(async move {
                for number in 0..count {
                    let event =
                        SourceEvent::Skipped { name: number.to_string(), why: String::new() };
                    if out.send(source_number, event).await.is_err() {
                        return Ok(());
                    }
                }
                if fails { Err(error(source_number)) } else { Ok(()) }
            })
        }
    }

    fn fake(source_number: usize, count: usize, fails: bool) -> Fake {
        Fake { source_number, count, fails }
    }

    fn error(source_number: usize) -> Error {
        Error::UnknownScheme { word: source_number.to_string() }
    }

    /// Reads up to `most` skipped inputs; returns the indices of those, of the failures, and the error.
    fn read(source: CombinedSource, most: usize) -> (Vec<usize>, Vec<usize>, Option<String>) {
        let (_trigger, shutdown) = shutdown_channel();
        let (mut skipped, mut failed) = (Vec::new(), Vec::new());
        let run = for_each_event(Box::new(source), shutdown, |source_number, event| {
            match event {
                SourceEvent::Failed(_) => failed.push(source_number),
                _ => skipped.push(source_number),
            }
            if skipped.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let end = runtime.block_on(run);
        (skipped, failed, end.err().map(|error| error.subject().to_owned()))
    }

    #[test]
    fn files_come_first_and_the_others_all_come() {
        let source = CombinedSource::default()
            .with_local(fake(0, 3, false))
            .with_remote(1, fake(1, 40, false))
            .with_remote(2, fake(2, 30, false));
        let (mut skipped, failed, end) = read(source, usize::MAX);
        assert_eq!(skipped[..3], [0, 0, 0]);
        skipped.sort_unstable();
        assert_eq!(skipped.iter().filter(|index| **index == 1).count(), 40);
        assert_eq!(skipped.len(), 73);
        assert_eq!((failed, end), (vec![], None));
    }

    #[test]
    fn a_source_that_fails_is_reported_and_the_others_continue() {
        let both = |fails| {
            CombinedSource::default()
                .with_remote(0, fake(0, 2, true))
                .with_remote(1, fake(1, 5, fails))
        };
        let (skipped, failed, end) = read(both(false), usize::MAX);
        assert_eq!((skipped.len(), failed, end), (7, vec![0], None));
        let (skipped, failed, end) = read(both(true), usize::MAX);
        assert_eq!((skipped.len(), failed.len()), (7, 1), "the last one is the end");
        assert!(end.is_some());
        let with_files = CombinedSource::default()
            .with_local(fake(0, 1, false))
            .with_remote(1, fake(1, 0, true));
        assert_eq!(read(with_files, usize::MAX), (vec![0], vec![1], None));
        let only = CombinedSource::default().with_remote(3, fake(3, 0, true));
        let (_, failed, end) = read(only, usize::MAX);
        assert_eq!((failed, end), (vec![], Some("3".to_owned())));
    }

    #[test]
    fn what_failed_before_is_reported_once() {
        let source = CombinedSource::default()
            .with_failures([(4, error(4))])
            .with_remote(0, fake(0, 1, false));
        assert_eq!(read(source, usize::MAX), (vec![0], vec![4], None));
    }

    #[test]
    fn it_ends_when_the_receiver_is_gone() {
        let source = || {
            CombinedSource::default()
                .with_local(fake(0, 3, false))
                .with_remote(1, fake(1, 1_000_000, false))
                .with_remote(2, fake(2, 1_000_000, true))
        };
        for most in [1, 3, 4, 50] {
            let (skipped, failed, end) = read(source(), most);
            assert_eq!((skipped.len(), failed, end), (most, vec![], None));
        }
    }
}
