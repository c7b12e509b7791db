//! What goes wrong around the loader, and what it must make of it: nothing lost, nothing twice, a
//! clear line, the right exit code.

mod address;
mod checkpoint;
mod engine;
mod files;
mod frozen;
mod kept_out;
mod memory;
mod presence;
mod sequences;
mod signals;
