//! The vectors of one encoder and one modality: an index of slots, and whose each slot is.

use super::collection::{SpaceInfo, SpaceState};
use super::encoders::Encoder;
use super::guides::guides;
use super::owners::Owners;
use super::recall::{Check, Tally};
use crate::error::{Error, Result};
use crate::index::{Index, Neighbor, Params, QueryKind, SearchOptions};
use crate::store::{SpaceRecord, Store, VectorRecord};
use crate::types::{ItemId, Modality};
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
}

impl Space {
    /// Records of new spaces for an encoder's vectors, of pictures and of captions.
    pub fn records(store: &Store, encoder: &Encoder) -> Result<Vec<SpaceRecord>> {
        let record = |modality| -> Result<SpaceRecord> {
            Ok(SpaceRecord {
                id: store.next_number()?,
                modality,
                model: encoder.name().to_owned(),
                fingerprint: encoder.fingerprint().to_owned(),
                dim: encoder.dim(),
            })
        };
        Ok(vec![record(Modality::Image)?, record(Modality::Caption)?])
    }

    /// Fills a space with what the store holds.
    pub fn open(store: &Arc<Store>, record: SpaceRecord) -> Result<Self> {
        Self::open_with(store, record, Params::default())
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
        let vectors = Vectors { index: Arc::new(index?), owners: Arc::new(RwLock::new(owners)) };
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
        let SpaceRecord { model, modality, dim, .. } = self.record.clone();
        SpaceInfo { model, modality, dim, vectors: self.len() }
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
mod tests {
    use super::super::recall::Watch;
    use super::*;
    use crate::store::{Batch, CollectionRecord};

    const DIM: usize = 8;

    fn vector(n: u32) -> Vec<f32> {
        let number = |i: u32| ((n * 97 + i * 31) * (n + 7 * i + 3) % 1009) as f32 - 504.0;
        crate::store::kept(&(0..DIM as u32).map(number).collect::<Vec<f32>>())
    }

    /// Those that guide and those that do not share no vector, and leave none out.
    #[test]
    fn some_never_guide() {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(home.path()).unwrap());
        let record = SpaceRecord {
            id: store.next_number().unwrap(),
            modality: Modality::Caption,
            model: "m".into(),
            fingerprint: "f".into(),
            dim: DIM,
        };
        let space = Space::open(&store, record).unwrap();
        let rows: Vec<_> = (0..500).map(|n| (n, ItemId(n.into()), vector(n))).collect();
        space.add(&rows).unwrap();
        let (some, others) = (space.sample(1000, guides), space.sample(1000, |slot| !guides(slot)));
        assert!(some.len() + others.len() == 500 && !others.is_empty());
        assert!(others.iter().all(|other| !some.contains(other)));
        assert_eq!(space.sample(10, guides).len(), 10);
    }

    /// A graph is stored when it is built, taken up at the next opening, and done without where it is damaged.
    #[test]
    fn graphs_outlive_the_process() {
        let home = tempfile::tempdir().unwrap();
        let modality = Modality::Image;
        let record = SpaceRecord { id: 1, modality, model: "m".into(), fingerprint: "f".into(), dim: DIM };
        let params = Params { scan_below: 100, tail_limit: 50, ..Params::default() };
        let open = || {
            let store = Arc::new(Store::open(home.path()).unwrap());
            let space = Space::open_with(&store, record.clone(), params.clone()).unwrap();
            (store, space)
        };
        let put = |store: &Store, space: &Space, slots: std::ops::Range<u32>| {
            let rows: Vec<_> = slots.map(|n| (n, ItemId(n.into()), vector(n))).collect();
            let mut batch = Batch::default();
            rows.iter().for_each(|(slot, item, v)| batch.put_vector(1, *slot, *item, v));
            store.commit(batch).unwrap();
            space.add(&rows).unwrap();
        };
        let check = |space: &Space, gone: &[u64]| {
            for n in (0..320).step_by(29) {
                let found = space.search(&vector(n), 1, &SearchOptions::default()).unwrap();
                let exact = SearchOptions { exact: true, ..SearchOptions::default() };
                assert_eq!(found, space.search(&vector(n), 1, &exact).unwrap());
                assert!(gone.contains(&n.into()) || found[0].1 > 0.999, "{n}: {found:?}");
                assert!(!gone.contains(&found[0].0.0), "{n} is gone");
            }
        };
        let (store, space) = open();
        let mut batch = Batch::default();
        let collection =
            CollectionRecord { id: 2, name: "c".into(), spaces: vec![record.clone()], shadow: vec![] };
        batch.put_collection(&collection).unwrap();
        store.commit(batch).unwrap();
        put(&store, &space, 0..300);
        space.settle().unwrap();
        assert!(store.graph(1).unwrap().is_some());
        // What changes after the graph was stored.
        let mut batch = Batch::default();
        batch.remove_vector(1, 29);
        store.commit(batch).unwrap();
        space.remove(&[29]);
        put(&store, &space, 300..320);
        check(&space, &[29]);
        drop((store, space));

        let (store, space) = open();
        let health = space.vectors.index.health();
        assert_eq!((health.vectors, health.tail, health.unreachable), (319, 20, 0), "linked as it was");
        check(&space, &[29]);
        store.put_graph(1, 0, |out| out.write_all(b"not a graph")).unwrap();
        drop((store, space));

        let (_store, space) = open();
        space.settle().unwrap();
        check(&space, &[29]);
        assert_eq!(space.len(), 319);
    }

    /// What a scan tells of a graph's answer: all of it right, a miss in ten, and no graph to speak of.
    #[test]
    fn answers_are_checked_behind_their_back() {
        let home = tempfile::tempdir().unwrap();
        let modality = Modality::Image;
        let record = SpaceRecord { id: 1, modality, model: "m".into(), fingerprint: "f".into(), dim: DIM };
        let params = Params { scan_below: 100, tail_limit: 50, ..Params::default() };
        let store = Arc::new(Store::open(home.path()).unwrap());
        let mut batch = Batch::default();
        let collection =
            CollectionRecord { id: 2, name: "c".into(), spaces: vec![record.clone()], shadow: vec![] };
        batch.put_collection(&collection).unwrap();
        store.commit(batch).unwrap();
        let space = Space::open_with(&store, record, params).unwrap();
        let (watch, options) = (Watch::default(), SearchOptions::default());
        watch.set(1.0);
        let checked = |k: usize, allowed: Option<&RoaringBitmap>, spoil: bool, wanted: u64| {
            let options = SearchOptions { allowed, ..SearchOptions::default() };
            let mut found = space.search(&vector(7), k, &options).unwrap();
            if spoil {
                found.remove(0);
                found.push(*space.search(&vector(7), k + 1, &options).unwrap().last().unwrap());
            }
            space.check(&vector(7), k, &options, &found).into_iter().for_each(|check| watch.offer(check));
            let began = std::time::Instant::now();
            while space.tally.read().count < wanted && began.elapsed().as_secs() < 20 {
                std::thread::yield_now();
            }
            space.tally.read()
        };
        let rows: Vec<_> = (0..300).map(|n| (n, ItemId(n.into()), vector(n))).collect();
        space.add(&rows[..20]).unwrap();
        assert!(space.check(&vector(7), 10, &options, &[]).is_none(), "scans are right");
        space.add(&rows[20..]).unwrap();
        space.settle().unwrap();
        assert_eq!(checked(10, None, false, 1).buckets, [0, 0, 0, 0, 0, 1]);
        assert_eq!(checked(25, None, false, 2).buckets, [0, 0, 0, 0, 0, 2], "the ten best of more");
        assert_eq!(checked(10, None, true, 3).buckets, [0, 0, 0, 0, 1, 2], "one of ten is missing");
        let few: RoaringBitmap = (100..104).collect();
        assert_eq!(
            checked(10, Some(&few), false, 4).buckets,
            [0, 0, 0, 0, 1, 3],
            "four are all that there are"
        );
        assert!((space.state().recalled.sum - 3.9).abs() < 1e-6);
    }
}
