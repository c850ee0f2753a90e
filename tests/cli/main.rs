//! The program as a user meets it.
#![allow(clippy::unwrap_used)]

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod demo;
mod shadow;
