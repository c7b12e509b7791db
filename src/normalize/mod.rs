//! Rewrites events so that no mapping refuses them.

pub mod fields;
mod kinds;
pub mod rules;

pub use fields::Fields;
pub use rules::Rules;
