//! Collections: upsert, delete, query. Keeps index and store in step.

pub mod decode;
