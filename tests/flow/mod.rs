//! From files to an index that should hold exactly what was in them.

mod duplicates;
mod fields;
mod foreign;
mod hostile;
mod options;
mod order;
mod set_aside;
mod shapes;
mod times;
