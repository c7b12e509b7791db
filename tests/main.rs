//! The one test program: the real binary as a black box, against a fake engine and real ones.
//!
//! `flow` shows what should happen, `faults` what must not, `crash` that SIGKILL costs nothing but
//! work, `lookup` that no event of an account is missed, `aws` that the door to AWS keeps its manners, `buckets`
//! what S3 may do to us, `cloud` all of that through the program and its options, `engine` the same on real engines (started by `scripts/test`), `cli` what a user reads,
//! `policy` that the roles shipped are as narrow as they claim, `fuzz` that any text is parsed or refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(
    clippy::print_stdout,
    reason = "seeds, and what the loader said; shown when a test fails"
)]

mod aws;
mod buckets;
mod cli;
mod cloud;
mod crash;
mod dashboards;
mod engine;
mod faults;
mod flow;
mod follow;
mod fuzz;
mod lambda;
mod lookup;
mod policy;
mod queue;
mod schema;
mod search;
mod setup;
mod support;
mod watch;
