//! Models: each beside its reference, on weights drawn anew, and where they come from.
#![allow(missing_docs)]

mod blip;
mod checkpoint;
mod clip;
mod hub;
mod int8;
mod llava;
mod preprocess;
