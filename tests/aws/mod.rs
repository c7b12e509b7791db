//! The door to AWS, through the real SDK clients, against fakes.

mod wire;
