//! The door to AWS, through the real SDK clients, against fakes.

mod chain;
mod errors;
mod places;
mod sessions;
mod wire;
