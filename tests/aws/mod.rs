//! The `aws` module with the real SDK clients against fake services.

mod chain;
mod discovery;
mod errors;
mod sessions;
mod wire;
