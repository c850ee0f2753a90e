//! Measures what the engine gives, and prints tables.
//!
//! 1. `retrieval` recall of text-to-image and image-to-image search over a folder whose right answers are known.
//! 2. `ann` recall and speed of the index on arrays of vectors, against a scan in full precision; `npy` reads them.
//! 3. `live` recall and speed of a collection's own index, against its own scan.
//! 4. `compositional` whether encoder and matcher know how the parts of a picture stand to one another.
//! 5. `vqa` whether answers to questions are right, and rest on what they cite.
//!
//! Not here: how anything is searched. Only the engine's verbs are measured, and the index's.

pub mod ann;
pub mod compositional;
pub mod live;
mod npy;
pub mod retrieval;
pub mod vqa;
