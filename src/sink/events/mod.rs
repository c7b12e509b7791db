//! Prints the events that a search finds, and the tables that summarize them.
//!
//! Input: events as original bytes and as parsed JSON, or a [`SummaryTable`]. Output: NDJSON, JSON, CSV, TSV or a table
//! for a terminal, written to a stream.
//! Invariant: one event is one line. Text of events never steers a terminal and never becomes a formula of a
//! spreadsheet. A reader that closes the pipe ends the output without an error.
//! Not here: which events are printed, and in which order (see `pipeline::search`).
//!
//! ```text
//!  worker threads:  event ──EventRenderer──▶ bytes ──▶ EventPrinter ──▶ standard output
//! ```
//!
//! | file | responsible for |
//! |---|---|
//! | `field` | fields of an event by name, and computed fields such as `principal` |
//! | `style` | the output format, the fields and the terminal |
//! | `renderer` | one event as bytes |
//! | `single_line` | a record as one line |
//! | `separated` | cells of CSV and TSV |
//! | `table` | rows of fixed width for a terminal |
//! | `printer` | what precedes, separates and follows the events; closed pipes |
//! | `summary` | tables of counts in every format |

mod field;
mod printer;
mod renderer;
mod separated;
mod single_line;
mod style;
mod summary;
mod table;

pub use field::{ComputedField, Field, FieldList, FieldListError};
pub use printer::{EventPrinter, OutputStream};
pub use renderer::EventRenderer;
pub(crate) use single_line::write_single_line;
pub use style::{EventFormat, OutputStyle};
pub use summary::{SummaryCell, SummaryTable};
