//! Upsert: a batch is embedded, written in one atomic batch, and then visible. Who has many batches embeds one while the one
//! before is written.

use super::collection::{Collection, Counters};
use super::embed::{self, Picture};
use super::shadow::Gone;
use crate::error::{Error, Result};
use crate::models::Pixels;
use crate::store::{self, Batch, Manifest};
use crate::types::{ContentHash, Item, ItemId, Payload};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// An image on its way in.
pub struct NewItem {
    /// Its URI; an item that has it is replaced and keeps its id.
    pub key: String,
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
    /// The file's length in bytes.
    pub size: u64,
    /// Pixels across, after EXIF orientation.
    pub width: u32,
    /// Pixels down, after EXIF orientation.
    pub height: u32,
    /// The file format in lower case.
    pub format: String,
    /// When it was taken; see [`Item::taken`].
    pub taken: Option<i64>,
    /// What the camera wrote.
    pub exif: Payload,
    /// What is said of it.
    pub captions: Vec<String>,
    /// What else was brought with it.
    pub payload: Payload,
    /// The picture as the encoder takes it; None to reuse the vector of an item with the same hash.
    pub pixels: Option<Pixels>,
    /// The file's bytes, where it has no other home and is to be kept.
    pub bytes: Option<Arc<[u8]>>,
    /// A small picture of it, to be kept ([`Collection::thumbnail`]).
    pub thumbnail: Option<Vec<u8>>,
    /// The URI of the source that listed it.
    pub source: String,
    /// What changes when the file does.
    pub stamp: String,
}

/// A new item with its vectors, ready to be written.
struct Encoded {
    new: NewItem,
    image: Vec<f32>,
    captions: Vec<Vec<f32>>,
}

/// Vectors of pictures that were embedded and are not yet written, by the hash of their bytes.
pub type Fresh = HashMap<ContentHash, Vec<f32>>;

/// A batch with its vectors, ready to be written.
pub struct Embedded {
    began: Instant,
    /// In order, those among them that a later one replaces.
    keys: Vec<String>,
    items: Vec<Encoded>,
}

impl Embedded {
    /// The vectors of its pictures.
    pub fn fresh(&self) -> Fresh {
        self.items.iter().map(|item| (item.new.hash, item.image.clone())).collect()
    }
}

/// What a written batch makes visible once it is durable.
#[derive(Default)]
struct Visible {
    images: Vec<(u32, ItemId, Vec<f32>)>,
    captions: Vec<(u32, ItemId, Vec<f32>)>,
    gone_images: Vec<u32>,
    gone_captions: Vec<u32>,
    /// For the field index: image slot, caption slots, item.
    fields: Vec<(u32, Vec<u32>, Item)>,
    gone_fields: Vec<(u32, Item)>,
    /// What replaced items were made of.
    gone_hashes: Vec<ContentHash>,
    /// Their vectors in the shadow, which has yet to see what they are now.
    gone_beside: Gone,
}

impl Collection {
    /// Embeds and writes a batch, all or nothing, and returns the items' ids in order. When it returns, the batch is
    /// durable and visible to queries. Of two items with one key, the later stands.
    pub fn upsert(&self, batch: Vec<NewItem>) -> Result<Vec<ItemId>> {
        self.write(self.embed(batch, &Fresh::default())?)
    }

    /// The first half of [`Collection::upsert`], beside other writers: vectors for all. An item without pixels has bytes that an item
    /// has, another one of the batch, or one of the `fresh`.
    pub fn embed(&self, mut batch: Vec<NewItem>, fresh: &Fresh) -> Result<Embedded> {
        let began = Instant::now();
        let keys: Vec<String> = batch.iter().map(|new| new.key.clone()).collect();
        let mut last = HashMap::new();
        keys.iter().enumerate().for_each(|(at, key)| _ = last.insert(key.as_str(), at));
        let mut at = 0..;
        batch.retain(|new| last.get(new.key.as_str()).copied() == at.next());
        let pixels: Vec<Option<Pixels>> = batch.iter_mut().map(|new| new.pixels.take()).collect();
        let pictures = batch.iter().zip(pixels);
        let pictures = pictures.map(|(new, pixels)| Picture { key: &new.key, hash: new.hash, pixels });
        let encoder = || self.batched().map(Arc::as_ref);
        let known = |hash: &ContentHash| match fresh.get(hash) {
            Some(vector) => Ok(Some(vector.clone())),
            None => self.known(hash)?.map_or(Ok(None), |item| self.images.kept_of(item.id)),
        };
        let images = embed::pictures(encoder, pictures.collect(), known)?;
        let texts: Vec<&[String]> = batch.iter().map(|new| new.captions.as_slice()).collect();
        let captions = embed::captions(encoder, &texts)?;
        let all = batch.into_iter().zip(images).zip(captions);
        let items = all.map(|((new, image), captions)| Encoded { new, image, captions }).collect();
        Ok(Embedded { began, keys, items })
    }

    /// The second half, one writer at a time: all or nothing, and durable and visible when it returns the ids.
    pub fn write(&self, embedded: Embedded) -> Result<Vec<ItemId>> {
        let Embedded { began, keys, items } = embedded;
        let ids = self.commit(items)?;
        self.counts.ingests.note(began.elapsed());
        keys.iter().map(|key| ids.get(key).copied().ok_or_else(|| unknown(key))).collect()
    }

    /// Numbers, one atomic and flushed batch, then visible.
    fn commit(&self, encoded: Vec<Encoded>) -> Result<HashMap<String, ItemId>> {
        let mut counters = self.writer()?;
        let mut next = Counters { ..*counters };
        let mut batch = Batch::default();
        let mut visible = Visible::default();
        let mut ids = HashMap::new();
        for item in encoded {
            let key = item.new.key.clone();
            if let Some(bytes) = &item.new.bytes {
                self.store.put_upload(self.record.id, &item.new.hash, bytes)?;
            }
            ids.insert(key, self.write_one(item, &mut next, &mut batch, &mut visible)?);
        }
        batch.put_next_item(self.record.id, next.item);
        let span = tracing::info_span!("store", op = "write", items = ids.len() as i64).entered();
        self.store.commit(batch)?;
        drop(span);
        *counters = next;
        self.counts.written.fetch_add(ids.len() as u64, Ordering::Relaxed);
        // New before old, so that a query in between finds a replaced item twice (and counts it once), never not at all.
        self.add_fields(&visible.fields);
        self.add_words(visible.fields.iter().map(|(_, _, item)| item));
        self.images.guide_by(&visible.captions)?;
        self.images.add(&visible.images)?;
        self.captions.add(&visible.captions)?;
        self.remove_fields(&visible.gone_fields);
        self.images.remove(&visible.gone_images);
        self.captions.remove(&visible.gone_captions);
        if let Some(shadow) = self.shadow()? {
            shadow.hide(&visible.gone_beside);
        }
        self.store.drop_uploads(self.record.id, &visible.gone_hashes)?;
        for space in [&self.images, &self.captions] {
            // The batch is durable whether this works or not; what could not be sealed now is with a later batch.
            let _ = self.store.seal(space.record.id);
        }
        Ok(ids)
    }

    fn write_one(
        &self,
        one: Encoded,
        next: &mut Counters,
        batch: &mut Batch,
        visible: &mut Visible,
    ) -> Result<ItemId> {
        let Encoded { new, image, captions } = one;
        // What is searched is what is kept, so that a score is the same after a restart.
        let image = store::kept(&image);
        let mut changed = false;
        let id = match self.manifest(&new.key)? {
            Some(manifest) => {
                changed = manifest.hash != new.hash;
                self.retire(manifest.item, &new, batch, visible)?;
                manifest.item
            }
            None => {
                next.item += 1;
                ItemId(next.item - 1)
            }
        };
        match new.thumbnail {
            Some(bytes) => batch.put_thumbnail(self.record.id, id, bytes),
            None if changed => batch.remove_thumbnail(self.record.id, id),
            None => {}
        }
        let row = next.image_slot;
        batch.put_vector(self.images.record.id, row, id, &image);
        visible.images.push((row, id, image));
        next.image_slot += 1;
        let first_caption = next.caption_slot;
        for caption in captions {
            let caption = store::kept(&caption);
            batch.put_vector(self.captions.record.id, next.caption_slot, id, &caption);
            visible.captions.push((next.caption_slot, id, caption));
            next.caption_slot += 1;
        }
        let manifest = Manifest { source: new.source, stamp: new.stamp, hash: new.hash, item: id };
        batch.put_manifest(self.record.id, &new.key, &manifest)?;
        let item = Item {
            id,
            key: new.key,
            hash: new.hash,
            size: new.size,
            width: new.width,
            height: new.height,
            format: new.format,
            taken: new.taken,
            captions: new.captions,
            exif: new.exif,
            payload: new.payload,
        };
        batch.put_item(self.record.id, &item)?;
        visible.fields.push((row, (first_caption..next.caption_slot).collect(), item));
        Ok(id)
    }

    /// Takes away what an item leaves that `new` replaces: its old hash and its old vectors.
    fn retire(&self, id: ItemId, new: &NewItem, batch: &mut Batch, visible: &mut Visible) -> Result<()> {
        let old = self.item(id)?;
        let same = old.as_ref().is_some_and(|old| (old.hash, &old.captions) == (new.hash, &new.captions));
        if let (false, Some(shadow)) = (same, self.shadow()?) {
            shadow.retire(id, batch, &mut visible.gone_beside);
        }
        if let Some(old) = &old {
            batch.remove_hash(self.record.id, old);
            visible.gone_hashes.push(old.hash);
        }
        for slot in self.images.slots_of(id) {
            batch.remove_vector(self.images.record.id, slot);
            visible.gone_images.push(slot);
            visible.gone_fields.extend(old.clone().map(|old| (slot, old)));
        }
        for slot in self.captions.slots_of(id) {
            batch.remove_vector(self.captions.record.id, slot);
            visible.gone_captions.push(slot);
        }
        Ok(())
    }
}

fn unknown(key: &str) -> Error {
    Error::Corrupt { reason: format!("{key} was written without an id") }
}
