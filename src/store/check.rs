//! Checking: everything is read, and what does not agree is listed.
//!
//! 1. An item, its manifest and its hash name one another, and its number was given.
//! 2. Every vector, sealed or not, is whole, finite, of its space's length, in a slot that was given, and of an item that is.
//! 3. An item has one vector of its picture in each image space, and one of each caption in each caption space; or, in a shadow,
//!    none at all.
//! 4. A small picture is whole, and of an item that is.
//! 5. A tombstone stands for a sealed vector; a graph is the one that was published.

use super::Store;
use super::block::Block;
use super::generation::Generation;
use super::graph;
use super::key::Key;
use super::record::{self, CollectionRecord, SpaceRecord, VectorRecord};
use super::rows::Bytes;
use crate::error::{Error, Result};
use crate::types::{Item, ItemId, Modality};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Something that is wrong with a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The collection.
    pub collection: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Store {
    /// Reads all of the collection of that name, or of all, and lists what is wrong. Writers wait; queries go on.
    pub fn check(&self, name: Option<&str>) -> Result<Vec<Finding>> {
        let _shape = self.shaping();
        let _writer = self.writing();
        let live = self.live();
        let mut found = Vec::new();
        for row in self.scan(Key::collections()) {
            let (key, value) = row?;
            let own = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            if name.is_some_and(|name| name != own) {
                continue;
            }
            let mut check = Check { live: &live, problems: Vec::new() };
            match record::collection(&value) {
                Ok(record) => check.collection(&own, &record),
                Err(e) => check.note(e.to_string()),
            }
            let finding = |problem| Finding { collection: own.clone(), problem };
            found.extend(check.problems.into_iter().map(finding));
        }
        Ok(found)
    }
}

struct Check<'a> {
    live: &'a Arc<Generation>,
    problems: Vec<String>,
}

impl Check<'_> {
    fn collection(&mut self, name: &str, record: &CollectionRecord) {
        if record.name != name {
            self.note(format!("its record calls it {:?}", record.name));
        }
        let captions = self.items(record.id);
        self.manifests(record.id);
        self.thumbnails(record.id, &captions);
        self.hashes(record.id);
        for space in &record.spaces {
            let held = self.space(space, &captions);
            self.owners(space, &captions, &held);
        }
        let before = self.problems.len();
        self.shadow(&record.shadow, &captions);
        for problem in self.problems.iter_mut().skip(before) {
            *problem = format!("shadow: {problem}");
        }
    }

    /// The spaces of another model: not every item may be in them yet, but none by halves.
    fn shadow(&mut self, spaces: &[SpaceRecord], captions: &HashMap<ItemId, usize>) {
        let held: Vec<_> = spaces.iter().map(|space| (space, self.space(space, captions))).collect();
        let mut there = captions.clone();
        there.retain(|item, _| held.iter().any(|(_, held)| held.contains_key(item)));
        for (space, held) in &held {
            self.owners(space, &there, held);
        }
    }

    /// How many vectors of a space each item has.
    fn space(&mut self, space: &SpaceRecord, captions: &HashMap<ItemId, usize>) -> HashMap<ItemId, usize> {
        let held = self.vectors(space, captions);
        self.tombstones(space);
        self.graph(space);
        held
    }

    fn graph(&mut self, space: &SpaceRecord) {
        let next = self.live.next_slot(space.id).unwrap_or(u32::MAX);
        match graph::read(self.live, space.id) {
            Ok(Some(graph)) if graph.last_slot > next => {
                self.note(format!(
                    "the graph of the {} space knows slots that were not given yet",
                    space.modality
                ));
            }
            Ok(_) => {}
            Err(e) => self.note(reason(e)),
        }
    }

    /// How many captions each item has.
    fn items(&mut self, collection: u32) -> HashMap<ItemId, usize> {
        let mut captions = HashMap::new();
        let next = match self.live.rows.get(&Key::next_item(collection)) {
            Ok(value) => value.map_or(Ok(0), |v| record::counter(&v)),
            Err(e) => Err(e),
        };
        let next = next.unwrap_or_else(|e| self.noted(e, u64::MAX));
        for row in self.live.rows.scan(Key::items(collection)) {
            let Some((key, value)) = self.read(row) else { break };
            let item = match record::item(&value) {
                Ok(item) => item,
                Err(e) => {
                    self.note(reason(e));
                    continue;
                }
            };
            if record::item_in_key(&key, Key::OWNER).ok() != Some(item.id) {
                self.note(format!("item {} stands under another number", item.id));
            }
            if item.id.0 >= next {
                self.note(format!("item {} has a number that was not given yet (next is {next})", item.id));
            }
            self.agrees(collection, &item);
            captions.insert(item.id, item.captions.len());
        }
        captions
    }

    fn agrees(&mut self, collection: u32, item: &Item) {
        let manifest = self.get(&Key::manifest(collection, &item.key)).map(|v| record::manifest(&v));
        match manifest {
            Some(Ok(manifest)) if manifest.item == item.id && manifest.hash == item.hash => {}
            Some(Ok(_)) => self.note(format!("item {}: its manifest is of another item or hash", item.id)),
            Some(Err(e)) => self.note(reason(e)),
            None => self.note(format!("item {} ({}) has no manifest", item.id, item.key)),
        }
        if self.get(&Key::hash(collection, &item.hash, item.id)).is_none() {
            self.note(format!("item {} can't be found by its hash", item.id));
        }
    }

    fn manifests(&mut self, collection: u32) {
        for row in self.live.rows.scan(Key::manifests(collection)) {
            let Some((key, value)) = self.read(row) else { break };
            let (uri, manifest) =
                match record::uri_in_key(&key).and_then(|u| Ok((u, record::manifest(&value)?))) {
                    Ok(row) => row,
                    Err(e) => {
                        self.note(reason(e));
                        continue;
                    }
                };
            let item = self.get(&Key::item(collection, manifest.item)).and_then(|v| record::item(&v).ok());
            if item.is_none_or(|item| item.key != uri) {
                self.note(format!("the manifest of {uri} names item {}, which is not it", manifest.item));
            }
        }
    }

    fn thumbnails(&mut self, collection: u32, items: &HashMap<ItemId, usize>) {
        for row in self.live.rows.scan(Key::thumbnails(collection)) {
            let Some((key, _)) = self.read(row) else { break };
            let id = record::item_in_key(&key, Key::OWNER);
            let id = id.unwrap_or_else(|e| self.noted(e, ItemId(u64::MAX)));
            if !items.contains_key(&id) {
                self.note(format!("a small picture is of item {id}, which is not there"));
            }
            if let Err(e) = self.live.thumbnail(collection, id) {
                self.note(reason(e));
            }
        }
    }

    fn hashes(&mut self, collection: u32) {
        let prefix = Key::owned(b'H', collection);
        for row in self.live.rows.scan(prefix) {
            let Some((key, _)) = self.read(row) else { break };
            let id = record::item_in_key(&key, Key::OWNER + 32);
            let id = id.unwrap_or_else(|e| self.noted(e, ItemId(u64::MAX)));
            let item = self.get(&Key::item(collection, id)).and_then(|v| record::item(&v).ok());
            let hash = key.get(Key::OWNER..Key::OWNER + 32);
            if item.is_none_or(|item| Some(&item.hash.0[..]) != hash) {
                self.note(format!("a hash names item {id}, which has other bytes"));
            }
        }
    }

    /// How many vectors each item has.
    fn vectors(&mut self, space: &SpaceRecord, items: &HashMap<ItemId, usize>) -> HashMap<ItemId, usize> {
        let mut held = HashMap::new();
        let next = self.live.next_slot(space.id).unwrap_or_else(|e| self.noted(e, u32::MAX));
        let mut unsealed = 0;
        for block in self.live.blocks(space.id) {
            let block = match block {
                Ok(block) => block,
                Err(e) => {
                    self.note(format!("{} space: {}", space.modality, reason(e)));
                    continue;
                }
            };
            unsealed = Block::slots(block.number).end;
            for (slot, vector) in &block.rows {
                self.vector(space, next, *slot, vector, items, &mut held);
            }
        }
        for row in self.live.rows.scan(Key::vectors(space.id)) {
            let Some((key, value)) = self.read(row) else { break };
            match record::slot_in_key(&key, Key::OWNER).and_then(|s| Ok((s, record::vector(&value)?))) {
                Ok((slot, _)) if u64::from(slot) < unsealed => {
                    self.note(format!("{} vector {slot} stands before what is sealed", space.modality));
                }
                Ok((slot, vector)) => self.vector(space, next, slot, &vector, items, &mut held),
                Err(e) => self.note(reason(e)),
            }
        }
        held
    }

    fn vector(
        &mut self,
        space: &SpaceRecord,
        next: u32,
        slot: u32,
        row: &VectorRecord,
        items: &HashMap<ItemId, usize>,
        held: &mut HashMap<ItemId, usize>,
    ) {
        let (dim, modality) = (row.vector.len(), space.modality);
        if dim != space.dim {
            self.note(format!("{modality} vector {slot} has {dim} numbers, its space {}", space.dim));
        }
        if row.vector.iter().any(|x| !x.is_finite()) || row.vector.iter().all(|x| *x == 0.0) {
            self.note(format!("{modality} vector {slot} points nowhere"));
        }
        if slot >= next {
            self.note(format!(
                "{modality} vector {slot} is in a slot that was not given yet (next is {next})"
            ));
        }
        if !items.contains_key(&row.item) {
            self.note(format!("{modality} vector {slot} is of item {}, which is not there", row.item));
        }
        *held.entry(row.item).or_default() += 1;
    }

    fn owners(&mut self, space: &SpaceRecord, items: &HashMap<ItemId, usize>, held: &HashMap<ItemId, usize>) {
        let mut wrong: Vec<(ItemId, usize, usize)> = Vec::new();
        for (item, captions) in items {
            let due = if space.modality == Modality::Image { 1 } else { *captions };
            let has = held.get(item).copied().unwrap_or_default();
            if has != due {
                wrong.push((*item, has, due));
            }
        }
        wrong.sort_unstable();
        for (item, has, due) in wrong {
            self.note(format!("item {item} has {has} {} vectors instead of {due}", space.modality));
        }
    }

    fn tombstones(&mut self, space: &SpaceRecord) {
        let slots = self.live.tombstones(space.id);
        let slots = slots.unwrap_or_else(|e| self.noted(e, Default::default()));
        let mut block: Option<Block> = None;
        for slot in slots {
            let number = Block::of(slot);
            if block.as_ref().is_none_or(|b| b.number != number) {
                // A damaged block was noted when its vectors were read.
                block = self.live.block(space.id, number).ok().flatten();
            }
            if block.as_ref().is_some_and(|b| b.rows.iter().all(|(s, _)| *s != slot)) {
                self.note(format!(
                    "a tombstone stands for {} vector {slot}, which never was",
                    space.modality
                ));
            }
        }
    }

    /// A row that was read; None, with a note, where it can't be, and neither can those behind it.
    fn read(&mut self, row: Result<(Bytes, Bytes)>) -> Option<(Bytes, Bytes)> {
        row.map_err(|e| self.note(reason(e))).ok()
    }

    fn get(&mut self, key: &[u8]) -> Option<Bytes> {
        self.live.rows.get(key).unwrap_or_else(|e| self.noted(e, None))
    }

    fn noted<T>(&mut self, error: Error, instead: T) -> T {
        self.note(reason(error));
        instead
    }

    fn note(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// What is wrong, without the advice that comes with the error.
fn reason(error: Error) -> String {
    match error {
        Error::Corrupt { reason } | Error::Storage { reason } => reason,
        other => other.to_string(),
    }
}
