//! Searching, reranking, answering and switching models, on a collection.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod ask;
#[path = "../common/client.rs"]
mod client;
#[path = "../common/mod.rs"]
mod common;
mod demo_blip;
mod demo_llava;
mod filters;
mod index_search;
mod refetch;
mod rerank;
#[path = "../support/s3.rs"]
mod s3;
#[path = "../common/served.rs"]
mod served;
mod shadow;
#[path = "../support/mod.rs"]
mod support;
mod words;
