//! The vectors of a batch of items: each picture and each caption is encoded once, however often it comes.

use super::batched::Batched;
use crate::error::{Error, Result};
use crate::models::Pixels;
use crate::types::ContentHash;
use std::collections::HashMap;

/// A picture to be embedded.
pub(super) struct Picture<'a> {
    /// Its item's URI, for messages.
    pub key: &'a str,
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
    /// As the encoder takes it; None where its bytes are another's of the batch, or `known`.
    pub pixels: Option<Pixels>,
}

/// A vector for each picture. `encoder` is asked only where there is something to encode.
pub(super) fn pictures<'e>(
    encoder: impl FnOnce() -> Result<&'e Batched>,
    batch: Vec<Picture>,
    known: impl Fn(&ContentHash) -> Result<Option<Vec<f32>>>,
) -> Result<Vec<Vec<f32>>> {
    let (mut places, mut pixels, mut asked) = (HashMap::new(), Vec::new(), Vec::new());
    for Picture { key, hash, pixels: given } in batch {
        let own = given.map(|given| {
            pixels.push(given);
            pixels.len() - 1
        });
        own.into_iter().for_each(|place| _ = places.insert(hash, place));
        asked.push((key, hash, own));
    }
    let span = tracing::info_span!("encode", input = "image", inputs = pixels.len() as i64).entered();
    let made = if pixels.is_empty() { vec![] } else { encoder()?.embed_pixels(&pixels)? };
    drop(span);
    let vector = |(key, hash, own): (&str, ContentHash, Option<usize>)| match own
        .or_else(|| places.get(&hash).copied())
        .and_then(|place| made.get(place))
    {
        Some(vector) => Ok(vector.clone()),
        None => known(&hash)?.ok_or_else(|| {
            Error::invalid(format!("{key}: no pixels, and no item has its bytes"), "decode it first")
        }),
    };
    asked.into_iter().map(vector).collect()
}

/// The captions' vectors, item by item.
pub(super) fn captions<'e>(
    encoder: impl FnOnce() -> Result<&'e Batched>,
    batch: &[&[String]],
) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut texts: Vec<&str> = batch.iter().copied().flatten().map(String::as_str).collect();
    texts.sort_unstable();
    texts.dedup();
    let vectors = if texts.is_empty() { vec![] } else { encoder()?.embed_texts(&texts)? };
    let vector =
        |text: &String| texts.binary_search(&text.as_str()).ok().and_then(|at| vectors.get(at)).cloned();
    Ok(batch.iter().map(|captions| captions.iter().filter_map(vector).collect()).collect())
}
