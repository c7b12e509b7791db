//! Small faults against a tiny engine.
