//! The words that every layer shares: items, payloads, queries, hits. Plain data; no I/O, no arithmetic.
//!
//! 1. `item`   what is kept of one image.
//! 2. `query`  what is asked, and the hits that answer it; `terms` reads how users write it.
//!    `ask`    a question about images, and its answer.
//! 3. `filter` a typed condition on items, and its little language.
//! 4. `uri`    paths of this machine as the URIs that are keys, and back.
//! 5. `codes`  how vectors are kept in memory.

pub mod ask;
pub mod codes;
pub mod filter;
pub mod item;
pub mod query;
pub mod terms;
pub mod uri;

pub use ask::{Answer, Ask, Citation, Claim, Ended, Shown, Told, Writing};
pub use codes::Codes;
pub use filter::Filter;
pub use item::{ContentHash, Item, ItemId, Modality, Payload};
pub use query::{Hit, Query, Rerank, Side, Term, TermKind};
