//! Eyeshot finds images by what they show.

pub mod cli;
pub mod engine;
pub mod error;
pub mod eval;
pub mod index;
pub mod ingest;
pub mod models;
pub mod store;
pub mod types;

pub use error::{Error, Result};
