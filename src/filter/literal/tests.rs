//! What literals promise.
