//! Fakes of AWS services on loopback: real HTTP, asked by the real SDK clients.
//!
//! [`server`] carries; each other file knows one service. Point a client at `Server::url`.

pub(crate) mod server;
