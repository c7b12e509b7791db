//! Writes rendered events to a stream, with what precedes, separates and follows them.
//!
//! Input: lines of an [`EventRenderer`]. Output: a stream, flushed after every call, so that an event is visible as soon
//! as it is found.
//! Invariant: a JSON array is closed however the run ends. A closed pipe is not an error.

use std::{
    io::{self, BufWriter, Write},
    ops::ControlFlow,
};

use super::{
    renderer::EventRenderer,
    style::{EventFormat, OutputStyle},
};

/// The stream that a search writes to, such as standard output.
pub struct OutputStream {
    writer: BufWriter<Box<dyn Write + Send>>,
    is_closed: bool,
}

impl OutputStream {
    /// Returns a stream that writes to `target`.
    pub fn new(target: impl Write + Send + 'static) -> Self {
        // Enough that a batch of small events is one system call.
        Self { writer: BufWriter::with_capacity(64 << 10, Box::new(target)), is_closed: false }
    }

    /// Returns whether the reader has closed the pipe.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Calls `write` and flushes. Returns `Break` if the reader has closed the pipe.
    ///
    /// # Errors
    ///
    /// Returns any other error of the stream.
    pub fn write_with(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<ControlFlow<()>> {
        self.buffer_with(|out| {
            write(out)?;
            out.flush()
        })
    }

    /// Calls `write` without flushing. Returns `Break` if the reader has closed the pipe.
    fn buffer_with(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<ControlFlow<()>> {
        if self.is_closed {
            return Ok(ControlFlow::Break(()));
        }
        match write(&mut self.writer) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(ControlFlow::Break(()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Prints events.
pub struct EventPrinter {
    stream: OutputStream,
    format: EventFormat,
    header: Vec<u8>,
    printed: u64,
}

impl EventPrinter {
    /// Returns a printer to a stream.
    pub fn new(style: &OutputStyle, stream: OutputStream) -> Self {
        let mut header = Vec::new();
        EventRenderer::new(style).render_header(&mut header);
        Self { stream, format: style.format, header, printed: 0 }
    }

    /// Returns the number of events printed.
    pub fn printed(&self) -> u64 {
        self.printed
    }

    /// Prints events, each as its renderer returned it. Returns `Break` if the reader has closed the pipe.
    ///
    /// # Errors
    ///
    /// Returns any other error of the stream.
    pub fn print<'e>(
        &mut self,
        events: impl IntoIterator<Item = &'e [u8]>,
    ) -> io::Result<ControlFlow<()>> {
        for event in events {
            if self.append(event)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.stream.write_with(|_| Ok(()))
    }

    /// Adds an event to what is written by the next [`Self::print`] or [`Self::finish`], or earlier. Returns `Break` if the
    /// reader has closed the pipe.
    ///
    /// # Errors
    ///
    /// Returns any other error of the stream.
    pub fn append(&mut self, event: &[u8]) -> io::Result<ControlFlow<()>> {
        let (header, format, printed) = (&self.header, self.format, &mut self.printed);
        self.stream.buffer_with(|out| {
            if *printed == 0 {
                write_start(format, header, out)?;
            } else if format == EventFormat::Json {
                out.write_all(b",\n")?;
            }
            out.write_all(event)?;
            if format != EventFormat::Json {
                out.write_all(b"\n")?;
            }
            *printed += 1;
            Ok(())
        })
    }

    /// Returns whether the reader has closed the pipe.
    pub fn is_closed(&self) -> bool {
        self.stream.is_closed()
    }

    /// Prints what follows the last event. Without events, CSV and TSV consist of their header, and JSON is an empty array.
    ///
    /// # Errors
    ///
    /// Returns an error of the stream, except for a closed pipe.
    pub fn finish(&mut self) -> io::Result<()> {
        let (header, format, is_empty) = (&self.header, self.format, self.printed == 0);
        let finished = self.stream.write_with(|out| match format {
            EventFormat::Json if is_empty => out.write_all(b"[]\n"),
            EventFormat::Json => out.write_all(b"\n]\n"),
            EventFormat::Csv | EventFormat::Tsv if is_empty => write_start(format, header, out),
            _ => Ok(()),
        });
        finished.map(drop)
    }
}

fn write_start(format: EventFormat, header: &[u8], out: &mut dyn Write) -> io::Result<()> {
    if format == EventFormat::Json {
        return out.write_all(b"[\n");
    }
    if header.is_empty() {
        return Ok(());
    }
    out.write_all(header)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::report::terminal::Terminal;

    /// A stream that keeps what is written, up to a limit behind which its pipe is closed.
    #[derive(Clone, Default)]
    struct Pipe {
        written: Arc<Mutex<Vec<u8>>>,
        limit: Option<usize>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock().unwrap();
            if self.limit.is_some_and(|limit| written.len() >= limit) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(format: EventFormat, batches: &[&[&str]]) -> String {
        let pipe = Pipe::default();
        let fields = Some("a,b".parse().unwrap());
        let style = OutputStyle { format, fields, terminal: Terminal::default() };
        let mut printer = EventPrinter::new(&style, OutputStream::new(pipe.clone()));
        for batch in batches {
            let next = printer.print(batch.iter().map(|event| event.as_bytes())).unwrap();
            assert_eq!(next, ControlFlow::Continue(()));
        }
        printer.finish().unwrap();
        String::from_utf8(pipe.written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn events_stand_between_what_the_format_demands() {
        let batches: &[&[&str]] = &[&["1"], &[], &["2", "3"]];
        assert_eq!(printed(EventFormat::Ndjson, batches), "1\n2\n3\n");
        assert_eq!(printed(EventFormat::Json, batches), "[\n1,\n2,\n3\n]\n");
        assert_eq!(printed(EventFormat::Csv, batches), "a,b\n1\n2\n3\n");
        assert_eq!(printed(EventFormat::Tsv, batches), "a\tb\n1\n2\n3\n");
        assert_eq!(printed(EventFormat::Ndjson, &[]), "");
        assert_eq!(printed(EventFormat::Json, &[]), "[]\n");
        assert_eq!(printed(EventFormat::Csv, &[]), "a,b\n");
        assert_eq!(printed(EventFormat::Table, &[]), "");
    }

    #[test]
    fn a_closed_pipe_ends_the_output_without_an_error() {
        let pipe = Pipe { limit: Some(1), ..Pipe::default() };
        let style = OutputStyle {
            format: EventFormat::Ndjson,
            fields: None,
            terminal: Terminal::default(),
        };
        let mut printer = EventPrinter::new(&style, OutputStream::new(pipe.clone()));
        assert_eq!(printer.print([&b"1"[..]]).unwrap(), ControlFlow::Continue(()));
        assert_eq!(printer.print([&b"2"[..]]).unwrap(), ControlFlow::Break(()));
        assert_eq!(printer.print([&b"3"[..]]).unwrap(), ControlFlow::Break(()));
        printer.finish().unwrap();
        assert_eq!(*pipe.written.lock().unwrap(), b"1\n");
    }
}
