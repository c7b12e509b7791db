//! Tests of the action file.
