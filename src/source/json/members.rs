//! Iterates over the members of a JSON object that is in memory.

