//! From files to an index that should hold exactly what was in them.

mod dead_letters;
mod duplicates;
mod fields;
mod foreign;
mod hostile;
mod options;
mod order;
mod shapes;
mod times;
