//! What goes wrong around the loader, and what it must make of it: nothing lost, nothing twice, a
//! clear line, the right exit code.

mod address;
mod blocked;
mod checkpoint;
mod engine;
mod files;
mod memory;
mod presence;
mod read_only;
mod sequences;
mod signals;
