//! trailload loads AWS CloudTrail events into Elasticsearch and OpenSearch, searches and explains them, and sends alerts.
//!
//! # How an event flows
//!
//! ```text
//!   source ──Input──▶ worker threads: decode ─record─▶ normalize ──Batch──▶ sink ──Receipt──▶ checkpoint
//!   lists what is     decompress, find the records,    one document each,   map new fields,   what is complete,
//!   new: files, S3    pass them to the consumer        many in a batch      then `_bulk`      coverage, dead letters
//!   objects, lookup
//!   pages                        every stage ──▶ report::Metrics ──▶ progress bars, lines, summary
//! ```
//!
//! Every arrow is a bounded queue or a call: a slow engine slows down everything up to the first file, and memory stays
//! bounded. [`pipeline`] carries records and decides nothing about an event; what is done with them is a
//! [`Consumer`](pipeline::Consumer): `load`, its dry run, `search`, `watch`, its dry run, `schema --observed` and
//! `dashboards --html` are consumers. A search has no sink and no checkpoint: its workers evaluate a [`Query`](filter::query::Query), and
//! print what matches. The workers of `watch` evaluate rules; the checkpoint decides which matches are alerts, and keeps each
//! until it is delivered. A source that has to know when an input is settled, such as a queue, receives its
//! [`PartitionResult`](event::PartitionResult).
//!
//! # Modules
//!
//! From the bottom to the top; no module imports one that stands below it in this table (`scripts/module-graph` checks it).
//!
//! | module | responsibility |
//! |---|---|
//! | [`event`] | the types that travel between modules: partitions, batches, receipts, dead letters, alerts |
//! | [`limit`] | concurrency limiter, rate limiter, backoff, memory budget |
//! | [`shutdown`], [`error`], [`pending`], [`redact`], [`proxy`] | shutdown signal; chains of errors; requests in progress; URLs without credentials; HTTP proxies |
//! | [`aws`] | sessions and credentials, accounts and Regions, classification of AWS errors |
//! | [`filter`] | predicates on one event: IAM actions, match expressions, JMESPath, rules, Sigma; who made a call |
//! | [`schema`] | the shapes of all AWS API calls, and how CloudTrail spells their fields |
//! | [`dashboard`] | the dashboards: their panels as saved objects, as requests to an engine, computed from documents, and as one HTML page |
//! | [`normalize`] | turns a record into a document: id, index, rewritten keys, field registry |
//! | [`report`] | metrics, progress bars, log lines, the summary |
//! | [`source`] | lists and fetches inputs, receives messages of queues, decompresses inputs, finds the records in them |
//! | [`sink`] | writes batches to an engine: mappings, bulk requests, retries, the result of each document; prepares engines and dashboards; prints events; sends alerts |
//! | [`checkpoint`] | the SQLite file: what is complete, coverage of time, dead letters, discovered fields, the memory of alerts (which a table of DynamoDB can share) |
//! | [`pipeline`] | threads, queues and order of a run, generic over its consumer |
//! | [`cli`] | arguments, plans, commands, messages and exit codes; the function of AWS Lambda |
//!
//! Two values flow against that direction: the sink updates [`normalize::FieldRegistry`] with what the mappings of live indices have
//! decided, and [`checkpoint::CheckpointReader`] tells sources which inputs are complete.
//!
//! # Glossary
//!
//! | term | meaning |
//! |---|---|
//! | source | where events come from: the event history (`lookup`), a trail bucket, a queue, files, standard input |
//! | partition | a part of a source that is read and resumed on its own: a file, an S3 object, a time slice of an account, Region and category |
//! | record, event, document | one CloudTrail record as bytes; parsed; as it is indexed |
//! | batch, bulk request, receipt | documents that are sent together; the HTTP request; the results of its documents |
//! | position, coverage | how far a partition is safely processed; which time intervals are complete |
//! | created, duplicate, dead letter | the three results of a document; a dead letter is kept in the checkpoint with its reason |
//! | field kind, conflict, rewrite, change note | what a path may hold; two kinds under one path; the change made; its record in the document |
//! | field registry, discovered field | what is known about fields; a field that no shipped table contained |
//! | query, condition | what a search asks for; one of the expressions or options that all have to hold |
//! | action, action pattern | an IAM action such as `s3:GetObject`; a pattern of actions such as `s3:Get*` |
//! | short principal | who made a call, in a few characters: `user/alice`, `role/Admin/alice`, `service/ec2` |
//! | shape, spelling | the structure of a request or response in an API model; the name that CloudTrail writes for one of its fields |
//! | rule, alert | events, an expression and thresholds; what a rule reports when it fires |
//! | action, receiver, delivery | where alerts are sent, by name; its client; one alert for one action |
//! | message | what a queue delivers: events, or the names of objects that contain them |
//! | dashboard, panel, saved object | a page of panels; a question with its query; how Kibana and OpenSearch Dashboards store both |
//! | unmapped terms | `path=value` of what has no field of its own (`trailload.unmapped`) |
//! | distribution | Elasticsearch or OpenSearch |
//! | throttled, rejected, unreachable | asked to slow down; refused for its content; no response |
//!
//! The library exists for the program and its tests; its API is not stable.

pub mod aws;
pub mod checkpoint;
pub mod cli;
pub mod dashboard;
pub mod error;
pub mod event;
pub mod filter;
pub mod limit;
pub mod normalize;
pub mod pending;
pub mod pipeline;
pub mod proxy;
pub mod redact;
pub mod report;
pub mod schema;
pub mod shutdown;
pub mod sink;
pub mod source;
