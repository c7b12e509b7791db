//! Reads a stream that may be silent for a long time, and stops waiting for it when a shutdown is requested.
//!
//! A thread of its own blocks in `read`. The worker waits for that thread, and after a shutdown request reports the end
//! of the stream: the bytes read before it are still processed, because a stream cannot be read a second time.

use std::{
    io::{self, Read},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::shutdown::ShutdownSignal;

/// How often a reader of a silent stream checks for a shutdown.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of one read: the capacity of a pipe on Linux.
const CHUNK_BYTES: usize = 64 << 10;

/// Chunks read ahead. One, because bytes that were taken out of a pipe and not processed are lost at a shutdown.
const CHUNKS_AHEAD: usize = 1;

/// The worker's end of the stream.
pub(super) struct InterruptibleReader {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: io::Cursor<Vec<u8>>,
    shutdown: ShutdownSignal,
}

impl InterruptibleReader {
    /// Starts a thread that reads from `stream`.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system cannot create the thread.
    pub(super) fn new(
        mut stream: Box<dyn Read + Send>,
        shutdown: ShutdownSignal,
    ) -> io::Result<Self> {
        let (sender, chunks) = mpsc::sync_channel(CHUNKS_AHEAD);
        // Never joined: it may block in `read` until the process exits.
        thread::Builder::new().name("stream".to_owned()).spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = match stream.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read,
                };
                let is_last = !matches!(read, Ok(1..));
                let sent = sender.send(read.map(|bytes| {
                    chunk.truncate(bytes);
                    chunk
                }));
                if is_last || sent.is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, chunk: io::Cursor::default(), shutdown })
    }
}

impl Read for InterruptibleReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.chunk.read(buffer)?;
            if bytes > 0 || buffer.is_empty() {
                return Ok(bytes);
            }
            match self.chunks.recv_timeout(POLL_INTERVAL) {
                Ok(chunk) => {
                    self.chunk = io::Cursor::new(chunk?);
                    if self.chunk.get_ref().is_empty() {
                        return Ok(0);
                    }
                }
                Err(RecvTimeoutError::Timeout) if !self.shutdown.is_requested() => {}
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::{ShutdownLevel, shutdown_channel};

    /// Returns its text, then blocks until the test is over.
    struct Silent(Option<&'static [u8]>, Receiver<()>);

    impl Read for Silent {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(text) = self.0.take() else {
                let _ = self.1.recv();
                return Ok(0);
            };
            buffer[..text.len()].copy_from_slice(text);
            Ok(text.len())
        }
    }

    #[test]
    fn a_silent_stream_ends_at_a_shutdown_and_its_bytes_are_kept() {
        let (trigger, shutdown) = shutdown_channel();
        let (over, wait) = mpsc::channel();
        let stream = Box::new(Silent(Some(b"{}"), wait));
        let mut reader = InterruptibleReader::new(stream, shutdown).unwrap();
        let mut first = [0; 2];
        reader.read_exact(&mut first).unwrap();
        trigger.raise(ShutdownLevel::Draining);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!((&first, rest.as_slice()), (b"{}", &b""[..]));
        drop(over);
    }

    #[test]
    fn every_byte_of_a_stream_is_read() {
        let text = b"some text\n".repeat(50_000);
        let (_trigger, shutdown) = shutdown_channel();
        let stream = Box::new(io::Cursor::new(text.clone()));
        let mut reader = InterruptibleReader::new(stream, shutdown).unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, text);
    }
}
