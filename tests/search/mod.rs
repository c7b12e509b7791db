//! `trailload search`: which events it finds, and how.

mod cloud;
mod delivered;
mod files;
mod index;
mod index_access;
mod output;
