//! Following: new events, late events, new days, Regions and accounts, over a week for buckets and with the program for all.
//!
//! A week of the event history, under a paused clock, is tested beside the code (`source/lookup/follow/tests.rs`).

mod buckets;
mod programs;
