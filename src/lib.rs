//! trailload puts AWS CloudTrail events into Elasticsearch or OpenSearch.
//!
//! # How an event flows
//!
//! ```text
//!          a thread for each source      N threads                      one thread (tokio)          one thread
//!  words ─▶ source::Files ───Input▶  source::Decoder ─record▶
//!          which files,              unpack, find records   normalize ─Batch▶ sink::Engine ─Receipt▶ checkpoint::Store
//!          which are new                                    one body of       mapping first,         what is safe,
//!        ─▶ source::Buckets ─Input▶  the same, of what      many documents    then `_bulk`           what is covered,
//!          list, fetch objects       was fetched                                                     what was set aside
//!        ─▶ source::Lookup ──Page▶
//!          page through Regions
//!                └──────────────────── everyone ──▶ report::Tally ──▶ bars, lines, summary
//! ```
//!
//! Each arrow is a bounded channel, or a call: a slow engine holds everything up to the first file, and memory
//! stays what it was. `pipeline` is the corridor that carries; it decides nothing about an event.
//!
//! The rooms in the order in which an event meets them, and what each decides:
//!
//! | room | decides |
//! |---|---|
//! | [`cli`] | what is asked for; whether it makes sense; at the end what a failure is called, and the exit code |
//! | [`pipeline`] | which thread does what, how many things wait between two rooms, in which order it all ends |
//! | [`source`] | which files, objects and pages there are and which are new; how fast AWS is asked; how a file is unpacked; where a record starts and ends; what is no CloudTrail |
//! | [`aws`] | who we are at AWS, which Regions and accounts there are, what a failed request to it means |
//! | [`normalize`] | which document a record becomes: its id, its index, the keys that are renamed, the fields that are mapped |
//! | [`event`] | nothing: it names what travels between the rooms |
//! | [`pending`] | which requests are in progress, and when the user is told of a stall |
//! | [`redact`] | which part of a URL may be shown |
//! | [`proxy`] | which HTTP proxy a URL needs, and why that proxy refuses a connection |
//! | [`sink`] | how many requests are under way, what an answer means for each document, what is sent again and when to give up; puts a field into the index before the first document that needs it |
//! | [`checkpoint`] | when a file or a time is done: it was read to its end, and every document of it is acknowledged or set aside |
//! | [`report`] | how it is told: bars on a terminal, lines otherwise, one summary that must add up |
//!
//! Two things go the other way. The sink tells `normalize::Fields` what live indices have decided before us, so that
//! the next document obeys it. And [`checkpoint::Reader`] tells the sources which files are done and which times covered.

pub mod aws;
pub mod checkpoint;
pub mod cli;
pub mod error;
pub mod event;
pub mod limit;
pub mod normalize;
pub mod pending;
pub mod pipeline;
pub mod proxy;
pub mod redact;
pub mod report;
pub mod shutdown;
pub mod sink;
pub mod source;
