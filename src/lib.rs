//! Eyeshot finds images by what they show.
//!
//! One binary reads folders and buckets of images, embeds pictures and captions with CLIP, keeps the vectors in a crash-safe index,
//! answers queries made of words and pictures, reranks and captions with BLIP, and answers questions with LLaVA. This page is the
//! map.
//!
//! # Layers
//!
//! Arrows point down only (`tests/architecture.rs` holds us to it):
//!
//! ```text
//! main            parse, wire, exit code
//! cli             one file a verb
//! serve           JSON, web page, gRPC: limits, keys, conversions; knows neither tensors nor store
//! eval · ingest   measures · source -> decode -> engine
//! engine          collections: upsert, remove, query; keeps index and store in step
//! models · index · store      networks · vectors in memory · bytes that last
//! types · config · error      words that all layers share; simd: loops compiled for what the CPU has
//! ```
//!
//! `models`, `index` and `store` never import one another. Only the engine encodes, so that the vectors of pictures and of
//! queries cannot drift apart.
//!
//! # The journey of an image
//!
//! 1. `ingest::sources` list it (a folder, a bucket, a tar, a list), and `ingest::sidecar` reads its captions;
//! 2. `ingest::pipeline` skips it where the manifest has the same stamp, else fetches ([`engine::bucket`], [`engine::web`]) and
//!    hashes it: bytes known before reuse their vectors;
//! 3. [`engine::decode`] turns bytes into upright RGB within limits, or says why not; where it is asked for, a small picture is kept
//!    (`engine::small`);
//! 4. `models::preprocess` resizes and crops as the checkpoint asks;
//! 5. `engine::upsert` gathers a batch, encodes pictures and captions with [`models::Clip`], and
//! 6. writes records, vectors and manifest to the [`store`] in one atomic, flushed batch;
//! 7. only then the [`index`] holds the vectors, and queries see the item.
//!
//! Where captions are to be written or judged, `engine::captions` does so between 4 and 5.
//!
//! Where a run fills a shadow, `engine::shadow` does 5 and 6 for items that are there already.
//!
//! # The journey of a query
//!
//! 1. `cli::terms`, or `serve::convert` behind a socket, limits and keys, makes weighted [`types::Term`]s of what the user wrote, and
//!    [`types::Filter::parse`] a condition;
//! 2. `engine::query` encodes the terms, by the `engine::queue` that callers share, and adds them up to one unit vector;
//! 3. `engine::filter` makes the filter the allowed set of slots, by an index of the items' fields;
//! 4. [`index`] searches the spaces within it, by graph or by scan, `engine::keywords` the words, and `engine::sides` fuses them;
//! 5. where it is asked for, `engine::rerank` has a matcher ([`models::Blip`]) look at the best hits together with the words;
//! 6. the [`store`] dresses the hits with keys, captions and payload.
//!
//! # The journey of a question
//!
//! 1. `engine::answer` leaves out the words that ask, and sends the rest on the journey of a query, reranked;
//! 2. an answerer ([`models::Llava`], or a [`models::Blip`]) looks at as many of the hits as it can hold;
//! 3. all open answers go on together at one desk, a token each a step, and leave as pieces;
//! 4. what an answer cites must have been shown; a short one is told when the matcher believes what it claims, else others are tried;
//!    where nothing fits, it says so.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | collection | a named set of items with one active encoder |
//! | item | one image: id, key (its URI), content hash, size, format, EXIF, captions, payload |
//! | space | the vectors that one encoder made from one modality, image or caption |
//! | shadow | the spaces of another model, filled or kept while the active ones serve; a flip makes them change places |
//! | slot | a vector's number in its space |
//! | hit | an item that answers a query, with its score (cosine) |
//! | source | a place images come from: a folder, a bucket, a tar, a list of URLs |
//! | manifest | for each key: where it came from, its stamp, its hash; makes ingestion resumable |
//! | demo models, emoji scenes | small models that ship with Eyeshot, and the world they know |

// Library code answers with an error where input can reach; tests may insist.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::exit))]

pub mod cli;
pub mod config;
pub mod engine;
pub mod error;
pub mod eval;
pub mod index;
pub mod ingest;
pub mod models;
pub mod serve;
mod simd;
pub mod store;
pub mod types;

pub use error::{Error, Result};
