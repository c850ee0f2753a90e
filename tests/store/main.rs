//! The store: what is acknowledged stays.

mod blocks;
mod cli;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod full;
mod kill;
mod model;
