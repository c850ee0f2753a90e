//! The vectors of one encoder and one modality: an index of slots, and whose each slot is.

use super::collection::{SpaceInfo, SpaceState};
use super::encoders::Encoder;
use super::guides::guides;
use super::owners::Owners;
use super::recall::{Check, Tally};
use super::sides::dot;
use crate::error::{Error, Result};
use crate::index::{Index, Neighbor, Params, QueryKind, SearchOptions};
use crate::store::{SpaceRecord, Store, VectorRecord};
use crate::types::{Codes, ItemId, Modality};
use roaring::RoaringBitmap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Vectors taken from the store at a time when a space is opened.
const AT_ONCE: usize = 4096;

/// A space that answers queries.
pub(super) struct Space {
    pub record: SpaceRecord,
    vectors: Vectors,
    store: Arc<Store>,
    /// What scans told of the graph's answers.
    tally: Arc<Tally>,
    /// Held by the one rebuild at a time, until its graph is stored.
    rebuilding: Arc<Mutex<()>>,
}

/// The vectors of a space, and whose they are.
#[derive(Clone)]
pub(super) struct Vectors {
    index: Arc<Index>,
    owners: Arc<RwLock<Owners>>,
    /// For exact answers, where codes are too short to tell which is the nearest: the store, and the space in it.
    kept: Option<(Arc<Store>, u32)>,
}

impl Space {
    /// Records of new spaces for an encoder's vectors, of pictures and of captions.
    pub fn records(store: &Store, encoder: &Encoder, codes: Codes) -> Result<Vec<SpaceRecord>> {
        let record = |modality| -> Result<SpaceRecord> {
            Ok(SpaceRecord {
                id: store.next_number()?,
                modality,
                model: encoder.name().to_owned(),
                fingerprint: encoder.fingerprint().to_owned(),
                dim: encoder.dim(),
                codes,
            })
        };
        Ok(vec![record(Modality::Image)?, record(Modality::Caption)?])
    }

    /// Fills a space with what the store holds.
    pub fn open(store: &Arc<Store>, record: SpaceRecord) -> Result<Self> {
        let params = Params { codes: record.codes, ..Params::default() };
        Self::open_with(store, record, params)
    }

    fn open_with(store: &Arc<Store>, record: SpaceRecord, params: Params) -> Result<Self> {
        store.seal(record.id)?;
        let mut owners = Owners::default();
        let index = match store.graph(record.id)? {
            // A graph that does not fit is as good as none: the vectors are all there is to lose.
            Some(graph) => match with_graph(store, &record, &params, &graph.bytes, &mut owners) {
                // So is one of an earlier version.
                Err(Error::Corrupt { .. }) => without_graph(store, &record, &params, &mut owners),
                index => index,
            },
            None => without_graph(store, &record, &params, &mut owners),
        };
        let kept = (!record.codes.is_default()).then(|| (store.clone(), record.id));
        let vectors = Vectors { index: Arc::new(index?), owners: Arc::new(RwLock::new(owners)), kept };
        let (tally, rebuilding) = Default::default();
        Ok(Space { record, vectors, store: store.clone(), tally, rebuilding })
    }

    /// Has the next graph built for queries like these, and, where one is due, builds it.
    pub fn guide<'a>(&self, queries: impl IntoIterator<Item = &'a Vec<f32>>) -> Result<()> {
        let queries: Vec<&[f32]> = queries.into_iter().map(Vec::as_slice).collect();
        self.vectors.index.add_sample_queries(&queries)?;
        self.rebuild_where_due();
        Ok(())
    }

    /// Whether a graph is due.
    pub fn wants_graph(&self) -> bool {
        self.vectors.index.needs_rebuild()
    }

    /// As [`Space::guide`], by those of some captions, (slot, item, vector), that [`guides`] names.
    pub fn guide_by(&self, captions: &[(u32, ItemId, Vec<f32>)]) -> Result<()> {
        self.guide(captions.iter().filter(|(slot, ..)| guides(*slot)).map(|(.., vector)| vector))
    }

    /// Makes vectors visible: (slot, item, vector).
    pub fn add(&self, rows: &[(u32, ItemId, Vec<f32>)]) -> Result<()> {
        let vectors: Vec<(u32, &[f32])> = rows.iter().map(|(slot, _, v)| (*slot, v.as_slice())).collect();
        let mut owners = self.write();
        rows.iter().for_each(|(slot, item, _)| owners.add(*slot, *item));
        drop(owners);
        self.vectors.index.insert_many(&vectors)?;
        self.rebuild_where_due();
        Ok(())
    }

    /// Links new vectors into the graph on a thread of its own, one at a time; queries and writers go on meanwhile.
    fn rebuild_where_due(&self) {
        if !self.vectors.index.needs_rebuild() || self.rebuilding.try_lock().is_err() {
            return;
        }
        let (index, store, rebuilding) =
            (self.vectors.index.clone(), self.store.clone(), self.rebuilding.clone());
        let space = self.record.id;
        std::thread::spawn(move || {
            if let Ok(_one) = rebuilding.try_lock() {
                // What fails leaves the index right, and slower. The next write tries again.
                let _ = rebuild(&index, &store, space);
            }
        });
    }

    /// Waits until the graph is built and stored, where one is due.
    pub fn settle(&self) -> Result<()> {
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        match self.vectors.index.needs_rebuild() {
            true => rebuild(&self.vectors.index, &self.store, self.record.id),
            false => Ok(()),
        }
    }

    /// Takes slots out of sight.
    pub fn remove(&self, slots: &[u32]) {
        let mut owners = self.write();
        for slot in slots {
            self.vectors.index.remove(*slot);
            owners.remove(*slot);
        }
    }

    /// The slots of an item, in the order of what they were made from.
    pub fn slots_of(&self, item: ItemId) -> Vec<u32> {
        self.read().slots_of(item)
    }

    /// The items of `slots`, or all of them, each once, by id.
    pub fn items(&self, slots: Option<&roaring::RoaringBitmap>) -> Vec<ItemId> {
        let owners = self.read();
        let mut items: Vec<ItemId> = match slots {
            Some(slots) => slots.iter().filter_map(|slot| owners.of(slot)).collect(),
            None => owners.iter().map(|(_, item)| item).collect(),
        };
        drop(owners);
        items.sort_unstable();
        items.dedup();
        items
    }

    /// The items of slots.
    pub fn owners_of(&self, slots: &RoaringBitmap) -> impl Iterator<Item = ItemId> {
        let owners = self.read();
        slots.iter().filter_map(move |slot| owners.of(slot))
    }

    /// An item's first vector as the store keeps it: what another item of the same bytes gets, whose code is then the same.
    pub fn kept_of(&self, item: ItemId) -> Result<Option<Vec<f32>>> {
        let Some(slot) = self.slots_of(item).first().copied() else { return Ok(None) };
        Ok(self.store.vector(self.record.id, slot)?.map(|row| row.vector))
    }

    /// An item's first vector as the index keeps it, which is near enough to compare with others.
    pub fn vector_of(&self, item: ItemId) -> Option<Vec<f32>> {
        self.vectors.index.vector(*self.slots_of(item).first()?)
    }

    /// The nearest items, best first, each once, with the cosine of its best vector.
    pub fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<(ItemId, f32)>> {
        self.vectors.search(query, k, options)
    }

    /// What a scan shall say to a search that found `found`; None where scans are all that there is.
    pub fn check(
        &self,
        query: &[f32],
        k: usize,
        options: &SearchOptions<'_>,
        found: &[(ItemId, f32)],
    ) -> Option<impl FnOnce() -> Check> {
        let by_graph = !options.exact && self.default_ef(options.kind) > 0;
        by_graph.then_some(move || Check {
            vectors: self.vectors.clone(),
            tally: self.tally.clone(),
            query: query.to_vec(),
            allowed: options.allowed.cloned(),
            found: found.to_vec(),
            k,
        })
    }

    /// Up to `most` of its vectors, spread evenly over the slots that `which` names.
    pub fn sample(&self, most: usize, which: impl Fn(u32) -> bool) -> Vec<Vec<f32>> {
        let slots: Vec<u32> = self.read().iter().map(|(slot, _)| slot).filter(|slot| which(*slot)).collect();
        let step = slots.len().div_ceil(most.max(1)).max(1);
        slots.iter().step_by(step).filter_map(|slot| self.vectors.index.vector(*slot)).collect()
    }

    /// The breadth that the index found fit for such queries; 0 where every search scans.
    pub fn default_ef(&self, kind: QueryKind) -> usize {
        self.vectors.index.breadth(kind)
    }

    /// What its index is like.
    pub fn state(&self) -> SpaceState {
        let health = self.vectors.index.health();
        SpaceState {
            modality: self.record.modality,
            vectors: health.vectors,
            tombstones: health.tombstones,
            unlinked: health.tail,
            unreachable: health.unreachable,
            ef: health.ef,
            recall: health.recall,
            bytes: self.vectors.index.bytes() + self.read().bytes(),
            recalled: self.tally.read(),
        }
    }

    /// What it is, for those who ask what a collection holds.
    pub fn info(&self) -> SpaceInfo {
        let SpaceRecord { model, modality, dim, codes, .. } = self.record.clone();
        SpaceInfo { model, modality, dim, vectors: self.len(), codes }
    }

    /// How many vectors it holds.
    pub fn len(&self) -> usize {
        self.vectors.index.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Owners> {
        self.vectors.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Owners> {
        self.vectors.owners.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Vectors {
    /// The nearest items, best first, each once, with the cosine of its best vector.
    pub fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<(ItemId, f32)>> {
        match self.kept.as_ref().filter(|_| options.exact) {
            Some((store, space)) => self.search_kept(store, *space, query, k, options),
            None => self.search_coded(query, k, options),
        }
    }

    /// The same where what comes near by its code is compared as the store keeps it.
    fn search_kept(
        &self,
        store: &Store,
        space: u32,
        query: &[f32],
        k: usize,
        options: &SearchOptions<'_>,
    ) -> Result<Vec<(ItemId, f32)>> {
        let near = SearchOptions { threshold: None, ..*options };
        let norm = dot(query, query).sqrt();
        let mut scored = Vec::new();
        for (item, _) in self.search_coded(query, 4 * k + 100, &near)? {
            let mut slots = self.read().slots_of(item);
            slots.retain(|slot| options.allowed.is_none_or(|allowed| allowed.contains(*slot)));
            let mut best = f32::NEG_INFINITY;
            for kept in slots.into_iter().filter_map(|slot| store.vector(space, slot).transpose()) {
                let kept = kept?.vector;
                best = best.max(dot(query, &kept) / (norm * dot(&kept, &kept).sqrt()));
            }
            scored.push((item, best));
        }
        scored.retain(|(_, score)| *score >= options.threshold.unwrap_or(f32::MIN));
        scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scored.truncate(k);
        Ok(scored)
    }

    fn search_coded(
        &self,
        query: &[f32],
        k: usize,
        options: &SearchOptions<'_>,
    ) -> Result<Vec<(ItemId, f32)>> {
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

    fn distinct(&self, found: &[Neighbor]) -> Vec<(ItemId, f32)> {
        let owners = self.read();
        let mut seen = std::collections::HashSet::new();
        let owned = found.iter().filter_map(|n| Some((owners.of(n.id)?, n.score)));
        owned.filter(|(item, _)| seen.insert(*item)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Owners> {
        self.owners.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn rebuild(index: &Index, store: &Store, space: u32) -> Result<()> {
    index.rebuild()?;
    let last_slot = store.next_slot(space)?.saturating_sub(1);
    let Some(graph) = index.graph_bytes() else { return Ok(()) };
    store.put_graph(space, last_slot, |out| out.write_all(&graph)).map(drop)
}

fn with_graph(
    store: &Store,
    record: &SpaceRecord,
    params: &Params,
    graph: &[u8],
    owners: &mut Owners,
) -> Result<Index> {
    let mut failed = None;
    let vectors = store.vectors(record.id).map_while(|row| {
        let (slot, vector) = row.map_err(|e| failed = Some(e)).ok()?;
        owners.add(slot, vector.item);
        Some((slot, vector.vector))
    });
    let index = Index::from_parts(record.dim, params.clone(), graph, vectors);
    match failed {
        Some(e) => Err(e),
        None => index,
    }
}

fn without_graph(store: &Store, record: &SpaceRecord, params: &Params, owners: &mut Owners) -> Result<Index> {
    let index = Index::new(record.dim, params.clone())?;
    *owners = Owners::default();
    let mut vectors = store.vectors(record.id).peekable();
    while vectors.peek().is_some() {
        let rows: Vec<(u32, VectorRecord)> = vectors.by_ref().take(AT_ONCE).collect::<Result<_>>()?;
        rows.iter().for_each(|(slot, row)| owners.add(*slot, row.item));
        let rows: Vec<(u32, &[f32])> =
            rows.iter().map(|(slot, row)| (*slot, row.vector.as_slice())).collect();
        index.insert_many(&rows)?;
    }
    Ok(index)
}

#[cfg(test)]
mod tests;
