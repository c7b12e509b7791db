//! Reads a source from a test's own thread.

use tokio::runtime::Builder;
use trailload::shutdown::shutdown_channel;
use trailload::source::{Error, Source, SourceEvent, event_channel};

/// Runs a source and passes its events to `on_event`, outside of the runtime, until that returns `false`.
pub(crate) fn read(
    source: impl Source + 'static,
    mut on_event: impl FnMut(usize, SourceEvent) -> bool,
) -> Result<(), Error> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_trigger, shutdown) = shutdown_channel();
    let (sender, mut events) = event_channel();
    let run = runtime.spawn(Box::new(source).run(sender, shutdown));
    while let Some(batch) = runtime.block_on(events.recv()) {
        for (source_number, event) in batch {
            if !on_event(source_number, event) {
                runtime.shutdown_background();
                return Ok(());
            }
        }
    }
    runtime.block_on(run).unwrap()
}
