//! Rewrites events so that no mapping refuses them.

pub mod fields;
pub use fields::Fields;
