//! The words that every layer shares: items, payloads, queries, hits. Plain data; no I/O, no arithmetic.
//!
//! 1. `item`   what is kept of one image.
//! 2. `query`  what is asked, and the hits that answer it.
//! 3. `filter` a typed condition on items, and its little language.
//! 4. `uri`    how a file's path becomes an item's key, and back.

pub mod filter;
pub mod item;
pub mod query;
pub mod uri;

pub use filter::Filter;
pub use item::{ContentHash, Item, ItemId, Modality, Payload};
pub use query::{Hit, Query, Term, TermKind};
