//! Measures what the engine gives, and prints tables.
//!
//! 1. `retrieval` recall of text-to-image and image-to-image search over a folder whose right answers are known.
//!
//! Not here: how anything is searched. Only the engine's verbs are measured.

pub mod retrieval;
