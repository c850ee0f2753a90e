//! From folders, buckets and lists to a collection.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod buckets;
mod captions;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod folder;
mod lists;
#[path = "../support/s3.rs"]
mod s3;
#[path = "../support/mod.rs"]
mod support;
mod sync;
