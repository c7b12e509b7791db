//! Reads a pipe that may be silent for long, without being stuck in it when the run is to end.
//!
//! A thread of its own waits for the pipe. The worker waits for that thread, and stops waiting once the run is
//! to end: what was read before is then finished and sent, because a pipe cannot be read again.

use std::{
    io::{self, Read},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::shutdown::ShutdownSignal;

/// How often the wish to end is looked at while the pipe is silent.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes taken out of the pipe at once: what a pipe holds on Linux.
const PIECE: usize = 64 << 10;

/// Pieces that wait: one, so that little is taken out of the pipe that is not worked on.
const PIECES_AHEAD: usize = 1;

/// The worker's end.
pub(super) struct Pipe {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
    stop: ShutdownSignal,
}

impl Pipe {
    /// Starts to read.
    ///
    /// # Errors
    ///
    /// Returns an error if the system gives no thread.
    pub(super) fn new(mut from: Box<dyn Read + Send>, stop: ShutdownSignal) -> io::Result<Self> {
        let (read, pieces) = mpsc::sync_channel(PIECES_AHEAD);
        // Nobody joins it: it may wait for ever, and ends with the program.
        thread::Builder::new().name("pipe".to_owned()).spawn(move || {
            loop {
                let mut piece = vec![0; PIECE];
                let got = match from.read(&mut piece) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    got => got,
                };
                let last = !matches!(got, Ok(1..));
                let sent = read.send(got.map(|bytes| {
                    piece.truncate(bytes);
                    piece
                }));
                if last || sent.is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { pieces, piece: io::Cursor::default(), stop })
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.pieces.recv_timeout(LOOK) {
                Ok(piece) => {
                    self.piece = io::Cursor::new(piece?);
                    if self.piece.get_ref().is_empty() {
                        return Ok(0);
                    }
                }
                Err(RecvTimeoutError::Timeout) if !self.stop.is_requested() => {}
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::{ShutdownLevel, shutdown_channel};

    /// Gives what it has, then waits until the test is over.
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
    fn a_silent_pipe_ends_with_the_run_and_what_came_is_kept() {
        let (raise, stop) = shutdown_channel();
        let (over, wait) = mpsc::channel();
        let mut pipe = Pipe::new(Box::new(Silent(Some(b"{}"), wait)), stop).unwrap();
        let mut first = [0; 2];
        pipe.read_exact(&mut first).unwrap();
        raise.raise(ShutdownLevel::Draining);
        let mut rest = Vec::new();
        pipe.read_to_end(&mut rest).unwrap();
        assert_eq!((&first, rest.as_slice()), (b"{}", &b""[..]));
        drop(over);
    }

    #[test]
    fn a_pipe_gives_all_it_gets() {
        let text = b"some text\n".repeat(50_000);
        let (_raise, stop) = shutdown_channel();
        let mut pipe = Pipe::new(Box::new(io::Cursor::new(text.clone())), stop).unwrap();
        let mut read = Vec::new();
        pipe.read_to_end(&mut read).unwrap();
        assert_eq!(read, text);
    }
}
