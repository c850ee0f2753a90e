//! The vectors of one encoder and one modality: an index of slots, and whose each slot is.

use crate::error::Result;
use crate::index::{Index, Neighbor, Params, SearchOptions};
use crate::store::{SpaceRecord, Store};
use crate::types::ItemId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A space that answers queries.
pub(super) struct Space {
    pub record: SpaceRecord,
    index: Arc<Index>,
    owners: RwLock<Owners>,
    rebuilding: Arc<AtomicBool>,
}

#[derive(Default)]
struct Owners {
    of_slot: HashMap<u32, ItemId>,
    slots: HashMap<ItemId, Vec<u32>>,
}

impl Space {
    /// Fills a space with what the store holds.
    pub fn open(store: &Store, record: SpaceRecord) -> Result<Self> {
        let index = Arc::new(Index::new(record.dim, Params::default())?);
        let space = Space { record, index, owners: RwLock::default(), rebuilding: Arc::default() };
        let mut rows = Vec::new();
        for row in store.vectors(space.record.id) {
            let (slot, vector) = row?;
            rows.push((slot, vector.item, vector.vector));
        }
        space.add(&rows)?;
        Ok(space)
    }

    /// Makes vectors visible: (slot, item, vector).
    pub fn add(&self, rows: &[(u32, ItemId, Vec<f32>)]) -> Result<()> {
        let vectors: Vec<(u32, &[f32])> = rows.iter().map(|(slot, _, v)| (*slot, v.as_slice())).collect();
        let mut owners = self.write();
        for (slot, item, _) in rows {
            owners.of_slot.insert(*slot, *item);
            owners.slots.entry(*item).or_default().push(*slot);
        }
        drop(owners);
        self.index.insert_many(&vectors)?;
        self.rebuild_where_due();
        Ok(())
    }

    /// Links new vectors into the graph on a thread of its own, one at a time; queries and writers go on meanwhile.
    fn rebuild_where_due(&self) {
        if !self.index.needs_rebuild() || self.rebuilding.swap(true, Ordering::AcqRel) {
            return;
        }
        let (index, running) = (self.index.clone(), self.rebuilding.clone());
        std::thread::spawn(move || {
            // A rebuild that fails leaves the index as it was: right, and slower. The next write tries again.
            let _ = index.rebuild();
            running.store(false, Ordering::Release);
        });
    }

    /// Takes slots out of sight.
    pub fn remove(&self, slots: &[u32]) {
        let mut owners = self.write();
        for slot in slots {
            self.index.remove(*slot);
            let Some(item) = owners.of_slot.remove(slot) else { continue };
            if let Some(held) = owners.slots.get_mut(&item) {
                held.retain(|s| s != slot);
                if held.is_empty() {
                    owners.slots.remove(&item);
                }
            }
        }
    }

    /// The slots of an item, in the order of what they were made from.
    pub fn slots_of(&self, item: ItemId) -> Vec<u32> {
        self.read().slots.get(&item).cloned().unwrap_or_default()
    }

    /// The first slot that was never used.
    pub fn next_slot(&self) -> u32 {
        self.read().of_slot.keys().max().map_or(0, |s| s + 1)
    }

    /// An item's first vector.
    pub fn vector_of(&self, item: ItemId) -> Option<Vec<f32>> {
        self.index.vector(*self.slots_of(item).first()?)
    }

    /// The nearest items, best first, each once, with the cosine of its best vector.
    pub fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<(ItemId, f32)>> {
        // An item with several captions takes several places, so that a few more are asked for until enough items are found.
        let mut ask = k;
        loop {
            let found = self.index.search(query, ask, options)?;
            let items = self.distinct(&found);
            if items.len() >= k || found.len() < ask {
                return Ok(items.into_iter().take(k).collect());
            }
            ask *= 2;
        }
    }

    /// Up to `most` of its vectors, spread evenly over its slots.
    pub fn sample(&self, most: usize) -> Vec<Vec<f32>> {
        let mut slots: Vec<u32> = self.read().of_slot.keys().copied().collect();
        slots.sort_unstable();
        let step = slots.len().div_ceil(most.max(1)).max(1);
        slots.iter().step_by(step).filter_map(|slot| self.index.vector(*slot)).collect()
    }

    /// The breadth that the index found fit for its data.
    pub fn default_ef(&self) -> usize {
        self.index.health().ef
    }

    /// How many vectors it holds.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    fn distinct(&self, found: &[Neighbor]) -> Vec<(ItemId, f32)> {
        let owners = self.read();
        let mut seen = std::collections::HashSet::new();
        let owned = found.iter().filter_map(|n| Some((*owners.of_slot.get(&n.id)?, n.score)));
        owned.filter(|(item, _)| seen.insert(*item)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Owners> {
        self.owners.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Owners> {
        self.owners.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
