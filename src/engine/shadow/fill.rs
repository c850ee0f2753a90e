//! Filling: items' pictures and captions, embedded by the shadow's model and written beside those that serve.

use super::Shadow;
use crate::engine::collection::Collection;
use crate::engine::embed::{self, Picture};
use crate::engine::upsert::{Fresh, NewItem};
use crate::error::Result;
use crate::store::{self, Batch};
use crate::types::{ContentHash, Item, ItemId};
use std::collections::HashSet;
use std::sync::Arc;

/// An item as it was when its vectors were made.
struct Encoded {
    item: Item,
    image: Vec<f32>,
    captions: Vec<Vec<f32>>,
}

/// A batch with its vectors, ready to be written beside those that serve.
pub struct EmbeddedBeside {
    items: Vec<Encoded>,
    /// The keys of those that have other bytes, or that were replaced.
    changed: Vec<String>,
}

impl EmbeddedBeside {
    /// The vectors of its pictures.
    pub fn fresh(&self) -> Fresh {
        self.items.iter().map(|one| (one.item.hash, one.image.clone())).collect()
    }
}

/// Vectors that become visible once they are durable: (slot, item, vector).
type Rows = Vec<(u32, ItemId, Vec<f32>)>;

impl Collection {
    /// Embeds the items that have the keys of `batch` with the shadow's model, all or none; durable when it returns. Captions are the
    /// items' own. Of `batch` only key, hash and pixels count, the latter as [`Shadow::prepare`] made them, or none where
    /// [`Collection::in_shadow`].
    ///
    /// Returns the keys of items that have other bytes, or that were replaced meanwhile, and so were left out. What is no item,
    /// or no longer, needs no vectors.
    pub fn fill(&self, shadow: &Arc<Shadow>, batch: Vec<NewItem>) -> Result<Vec<String>> {
        self.write_beside(shadow, self.embed_beside(shadow, batch, &Fresh::default())?)
    }

    /// The first half of [`Collection::fill`], beside other writers: vectors for all. Pixels may also be missing of bytes that are
    /// among the `fresh`.
    pub fn embed_beside(
        &self,
        shadow: &Shadow,
        batch: Vec<NewItem>,
        fresh: &Fresh,
    ) -> Result<EmbeddedBeside> {
        let (mut changed, mut items, mut pixels) = (vec![], vec![], vec![]);
        for NewItem { key, hash, pixels: given, .. } in batch {
            match self.item_of(&key)? {
                Some(item) if item.hash == hash => {
                    items.push(item);
                    pixels.push(given);
                }
                Some(_) => changed.push(key),
                None => {}
            }
        }
        let batch = items.iter().zip(pixels);
        let batch = batch.map(|(item, pixels)| Picture { key: &item.key, hash: item.hash, pixels }).collect();
        let known = |hash: &ContentHash| match fresh.get(hash) {
            Some(vector) => Ok(Some(vector.clone())),
            None => {
                let item = self.store.item_of_hash(self.record.id, hash)?;
                item.map_or(Ok(None), |item| shadow.images.kept_of(item))
            }
        };
        let images = embed::pictures(|| shadow.batched().map(Arc::as_ref), batch, known)?;
        let texts: Vec<&[String]> = items.iter().map(|item| item.captions.as_slice()).collect();
        let captions = embed::captions(|| shadow.batched().map(Arc::as_ref), &texts)?;
        let all = items.into_iter().zip(images).zip(captions);
        let items = all.map(|((item, image), captions)| Encoded { item, image, captions }).collect();
        Ok(EmbeddedBeside { items, changed })
    }

    /// Whether the shadow has the vector of a picture with these bytes, so that it need not be decoded.
    pub fn in_shadow(&self, shadow: &Shadow, hash: &ContentHash) -> Result<bool> {
        Ok(self.store.item_of_hash(self.record.id, hash)?.is_some_and(|id| shadow.has(id)))
    }

    /// The item of that key.
    pub fn item_of(&self, key: &str) -> Result<Option<Item>> {
        self.manifest(key)?.map_or(Ok(None), |manifest| self.item(manifest.item))
    }

    /// The second half, one writer at a time: what is still as it was when it was embedded, in one atomic and flushed batch.
    pub fn write_beside(&self, shadow: &Arc<Shadow>, beside: EmbeddedBeside) -> Result<Vec<String>> {
        let EmbeddedBeside { items: encoded, mut changed } = beside;
        let _writer = self.writer()?;
        if !self.beside.is(shadow) {
            return Err(self.switched());
        }
        let (image_space, caption_space) = (shadow.images.record.id, shadow.captions.record.id);
        let mut image_slot = self.store.next_slot(image_space)?;
        let mut caption_slot = self.store.next_slot(caption_space)?;
        let (mut images, mut captions): (Rows, Rows) = Default::default();
        let mut here = HashSet::new();
        for Encoded { item: was, image, captions: said } in encoded {
            let Some(item) = self.item(was.id)? else { continue };
            if (item.hash, &item.captions) != (was.hash, &was.captions) {
                changed.push(was.key);
                continue;
            }
            if shadow.has(item.id) || !here.insert(item.id) {
                continue;
            }
            images.push((image_slot, item.id, store::kept(&image)));
            image_slot += 1;
            for caption in said {
                captions.push((caption_slot, item.id, store::kept(&caption)));
                caption_slot += 1;
            }
        }
        let mut batch = Batch::default();
        for (space, rows) in [(image_space, &images), (caption_space, &captions)] {
            rows.iter().for_each(|(slot, item, vector)| batch.put_vector(space, *slot, *item, vector));
        }
        self.store.commit(batch)?;
        shadow.images.guide_by(&captions)?;
        shadow.images.add(&images)?;
        shadow.captions.add(&captions)?;
        for space in [image_space, caption_space] {
            // The batch is durable whether this works or not; what could not be sealed now is with a later batch.
            let _ = self.store.seal(space);
        }
        Ok(changed)
    }
}
