//! Dashboards: what every panel shows on real engines is what a plain count over the events gives.

mod browser;
mod files;
mod model;
mod panels;
mod report;
mod runs;
