//! Puts and removes that become durable together.

use super::key::Key;
use super::record::{self, CollectionRecord, Manifest, VectorRecord};
use crate::error::Result;
use crate::types::{Item, ItemId};

/// Changes for one [`Store::commit`](super::Store::commit).
#[derive(Default)]
pub struct Batch(sled::Batch);

impl Batch {
    /// A collection's name, number and spaces.
    pub fn put_collection(&mut self, record: &CollectionRecord) -> Result<()> {
        self.0.insert(Key::collection(&record.name), record::json(record)?);
        Ok(())
    }

    /// Takes a collection's name away.
    pub fn remove_collection(&mut self, name: &str) {
        self.0.remove(Key::collection(name));
    }

    /// The next item id of a collection.
    pub fn put_next_item(&mut self, collection: u32, next: u64) {
        self.0.insert(Key::next_item(collection), &next.to_be_bytes());
    }

    /// An item, and that its file has the bytes it has.
    pub fn put_item(&mut self, collection: u32, item: &Item) -> Result<()> {
        self.0.insert(Key::item(collection, item.id), record::json(item)?);
        self.0.insert(Key::hash(collection, &item.hash, item.id), &[]);
        Ok(())
    }

    /// Takes an item away, with its hash and its manifest entry.
    pub fn remove_item(&mut self, collection: u32, item: &Item) {
        self.0.remove(Key::item(collection, item.id));
        self.0.remove(Key::manifest(collection, &item.key));
        self.remove_hash(collection, item);
    }

    /// Takes back that an item's file has the bytes it had.
    pub fn remove_hash(&mut self, collection: u32, item: &Item) {
        self.0.remove(Key::hash(collection, &item.hash, item.id));
    }

    /// Where the item of `uri` came from.
    pub fn put_manifest(&mut self, collection: u32, uri: &str, manifest: &Manifest) -> Result<()> {
        self.0.insert(Key::manifest(collection, uri), record::json(manifest)?);
        Ok(())
    }

    /// One vector of a space.
    pub fn put_vector(&mut self, space: u32, slot: u32, item: ItemId, vector: &[f32]) {
        self.0.insert(Key::vector(space, slot), VectorRecord::bytes(item, vector));
    }

    /// Takes a vector away.
    pub fn remove_vector(&mut self, space: u32, slot: u32) {
        self.0.remove(Key::vector(space, slot));
    }

    pub(super) fn put_format(&mut self, version: u32) {
        self.0.insert(Key::format(), &version.to_be_bytes());
    }

    pub(super) fn into_inner(self) -> sled::Batch {
        self.0
    }
}
