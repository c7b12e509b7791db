//! `trailload search`: which events it finds, and how.

mod cloud;
mod files;
mod index;
mod index_access;
mod output;
