//! Tests of JMESPath against the specification's own cases, the seed's dialect, and another implementation.

mod compliance;
mod limits;
mod lints;
mod property;
mod required_parts;
mod vectors;
