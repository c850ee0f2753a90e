//! The server as its clients meet it.
#![allow(clippy::unwrap_used)]

mod api;
mod ask;
#[path = "../common/client.rs"]
mod client;
#[path = "../common/mod.rs"]
mod common;
mod http;
mod http_write;
mod limits;
mod page;
#[path = "../common/served.rs"]
mod served;
mod shadow;
mod slow;
mod tls;
mod traces;
