//! Puts and removes that become durable together.

use super::key::Key;
use super::record::{self, CollectionRecord, Manifest, VectorRecord};
use super::rows::Change;
use crate::error::Result;
use crate::types::{Item, ItemId};
use std::collections::BTreeMap;

/// Changes for one [`Store::commit`](super::Store::commit). Of two for one key, the later stands.
#[derive(Default)]
pub struct Batch {
    pub(super) changes: Vec<Change>,
    /// Vectors to take away: (space, slot). Only the store knows whether they are sealed.
    pub(super) gone: Vec<(u32, u32)>,
    /// For each space that gets vectors, the first slot behind them.
    pub(super) next_slots: BTreeMap<u32, u32>,
    /// Small pictures of items, by collection.
    pub(super) thumbnails: BTreeMap<u32, Vec<(ItemId, Vec<u8>)>>,
    /// The items that are put or removed, by collection and id.
    pub(super) items: Vec<(u32, ItemId)>,
}

impl Batch {
    /// A collection's name, number and spaces.
    pub fn put_collection(&mut self, record: &CollectionRecord) -> Result<()> {
        self.put(Key::collection(&record.name), record::json(record)?);
        Ok(())
    }

    /// Takes a collection's name away.
    pub fn remove_collection(&mut self, name: &str) {
        self.remove(Key::collection(name));
    }

    /// The next item id of a collection.
    pub fn put_next_item(&mut self, collection: u32, next: u64) {
        self.put(Key::next_item(collection), next.to_be_bytes());
    }

    /// An item, and that its file has the bytes it has.
    pub fn put_item(&mut self, collection: u32, item: &Item) -> Result<()> {
        self.put(Key::item(collection, item.id), record::json(item)?);
        self.items.push((collection, item.id));
        self.put(Key::hash(collection, &item.hash, item.id), []);
        Ok(())
    }

    /// Takes an item away, with its hash, its manifest entry and its small picture.
    pub fn remove_item(&mut self, collection: u32, item: &Item) {
        self.remove(Key::item(collection, item.id));
        self.items.push((collection, item.id));
        self.remove(Key::manifest(collection, &item.key));
        self.remove_thumbnail(collection, item.id);
        self.remove_hash(collection, item);
    }

    /// Takes back that an item's file has the bytes it had.
    pub fn remove_hash(&mut self, collection: u32, item: &Item) {
        self.remove(Key::hash(collection, &item.hash, item.id));
    }

    /// Where the item of `uri` came from.
    pub fn put_manifest(&mut self, collection: u32, uri: &str, manifest: &Manifest) -> Result<()> {
        self.put(Key::manifest(collection, uri), record::json(manifest)?);
        Ok(())
    }

    /// A small picture of an item that is there, or that the batch puts.
    pub fn put_thumbnail(&mut self, collection: u32, item: ItemId, bytes: Vec<u8>) {
        self.thumbnails.entry(collection).or_default().push((item, bytes));
    }

    /// Takes an item's small picture away.
    pub fn remove_thumbnail(&mut self, collection: u32, item: ItemId) {
        self.remove(Key::thumbnail(collection, item));
    }

    /// One vector of a space, in a slot that was never used: at or behind [`Store::next_slot`](super::Store::next_slot).
    pub fn put_vector(&mut self, space: u32, slot: u32, item: ItemId, vector: &[f32]) {
        self.put(Key::vector(space, slot), VectorRecord::bytes(item, vector));
        let next = self.next_slots.entry(space).or_default();
        *next = (*next).max(slot.saturating_add(1));
    }

    /// Takes a vector away that an earlier batch put.
    pub fn remove_vector(&mut self, space: u32, slot: u32) {
        self.gone.push((space, slot));
    }

    fn put(&mut self, key: Vec<u8>, value: impl Into<Vec<u8>>) {
        self.changes.push((key, Some(value.into())));
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.changes.push((key, None));
    }
}
