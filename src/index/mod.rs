//! One space's vectors in memory: given a query vector, which ids are nearest?
//!
//! A vector's way in:
//! 1. `vectors` refuses what cannot be compared and makes the rest unit length, so that a dot product is the cosine.
//! 2. `rotation` spreads its energy, and `codes` keeps it as integers of 12 bits (or 8) in two planes: searches read the rough
//!    one, the fine one decides among the best. `kernels` has the sums, for each processor.
//! 3. It joins `live`'s tail, which every search scans: it is found at once. `nodes` holds what has settled, and the
//!    places (`paged`) say where each id is. A removed vector is marked, and is skipped from then on.
//! 4. `rebuild` links the tail into the graph beside searches and writers. Now and then it builds afresh (`frozen`):
//!    `hnsw_rs` links a sample (`router`), `build` and `prune` all nodes, `guide` adds the links that sample queries
//!    ask for, `repair` leaves no node without a way to it, `calibrate` measures how wide to search.
//!
//! A query's way is `search`: a walk (`beam` over `links`), a walk that collects what a `filter` allows, or a scan
//! (`exact`), whichever is cheapest. `bytes` writes the graph down and reads it back.
//!
//! Ids are small numbers that the caller gives (holes are normal); nodes are this layer's own numbering.
//! What it must not know: images, models, files, async. Whoever owns an index decides when to rebuild it; the work is
//! done on `background`'s threads.

mod background;
mod beam;
mod build;
mod bytes;
mod calibrate;
mod codes;
mod exact;
mod filter;
mod frozen;
mod guide;
mod kernels;
mod links;
mod live;
mod nodes;
mod paged;
mod pages;
mod params;
mod prune;
mod rebuild;
mod repair;
mod rotation;
mod router;
mod search;
mod vectors;

use crate::error::{Error, Result};
use beam::Scratches;
use codes::{Coder, Query};
use frozen::Frozen;
use live::Live;
use nodes::Nodes;
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) use paged::{Paged, Vacant};
pub use params::{Health, MAX_DIM, Neighbor, Params, QueryKind, SearchOptions};

/// The vectors of one space. Searches run beside one another, beside writers and beside a rebuild.
pub struct Index {
    dim: usize,
    params: Params,
    coder: Coder,
    live: RwLock<Live>,
    scratches: Scratches,
    samples: Mutex<Vec<Query>>,
    /// Held by the one rebuild at a time.
    rebuilding: Mutex<()>,
}

/// Sample queries kept until the next build, at most.
const SAMPLES: usize = 262_144;
/// Vectors coded at a time when many are inserted; a writer holds the lock for as many.
const AT_ONCE: usize = 1024;
/// Vectors that a thread codes at a time, at least.
const CODED: usize = 64;

impl Index {
    /// An empty index for vectors of `dim` numbers.
    pub fn new(dim: usize, params: Params) -> Result<Self> {
        vectors::check_dim(dim)?;
        params.check()?;
        let coder = Coder::new(dim, params.codes);
        let mut frozen = Frozen::default();
        frozen.layer.nodes = Nodes::new(coder.shape());
        Ok(Self::with(dim, params, coder, frozen))
    }

    fn with(dim: usize, params: Params, coder: Coder, frozen: Frozen) -> Self {
        let live = RwLock::new(Live::new(frozen));
        let (scratches, samples, rebuilding) = Default::default();
        Index { dim, params, coder, live, scratches, samples, rebuilding }
    }

    /// Puts `vector` under `id`, in place of what was there; the next search finds it. Scaled to unit length.
    pub fn insert(&self, id: u32, vector: &[f32]) -> Result<()> {
        self.insert_many(&[(id, vector)])
    }

    /// [`Index::insert`] for many; nothing is inserted if one is refused.
    pub fn insert_many(&self, items: &[(u32, &[f32])]) -> Result<()> {
        items.par_iter().try_for_each(|(_, v)| vectors::unit(v, self.dim).map(drop))?;
        for items in items.chunks(AT_ONCE) {
            let coded: Vec<(Vec<u8>, Vec<u8>)> =
                items.par_iter().map(|(_, v)| self.code(v)).collect::<Result<_>>()?;
            let mut live = self.write();
            items.iter().zip(&coded).for_each(|((id, _), (rough, fine))| live.insert(*id, rough, fine));
        }
        Ok(())
    }

    fn code(&self, vector: &[f32]) -> Result<(Vec<u8>, Vec<u8>)> {
        let shape = self.coder.shape();
        let (mut rough, mut fine) = (vec![0; shape.rough], vec![0; shape.fine]);
        self.coder.encode(&vectors::unit(vector, self.dim)?, &mut rough, &mut fine);
        Ok((rough, fine))
    }

    /// Takes `id` out; no search that starts from now on returns it. False if it was not there.
    pub fn remove(&self, id: u32) -> bool {
        self.write().remove(id)
    }

    /// The unit vector under `id`, as its code has it: each number within 1 / 500 of a standard deviation (1 / 30 of one coded in 8 bits).
    pub fn vector(&self, id: u32) -> Option<Vec<f32>> {
        let live = self.read();
        let (rough, fine) = live.row(id)?;
        Some(self.coder.decode(rough, fine))
    }

    /// The `k` vectors with the highest cosine to `query`, best first, ties by id. Fewer when fewer may answer.
    pub fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Neighbor>> {
        let unit = vectors::unit(query, self.dim)?;
        let k = k.min(self.len());
        if k == 0 {
            return Ok(Vec::new());
        }
        let query = self.coder.query(&unit);
        let search = search::Search { query, k, options, scan_below: self.params.scan_below };
        Ok(search.run(&self.live, &self.scratches))
    }

    /// Notes vectors like those that will be searched for, such as captions'. The next build adds the links that such
    /// queries need, and measures by some of them how wide to search; then they are forgotten.
    pub fn add_sample_queries(&self, queries: &[&[f32]]) -> Result<()> {
        let coded: Vec<Query> = (queries.par_iter())
            .map(|query| Ok(self.coder.query(&vectors::unit(query, self.dim)?).rough_only()))
            .collect::<Result<_>>()?;
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SAMPLES.saturating_sub(samples.len());
        samples.extend(coded.into_iter().take(room));
        Ok(())
    }

    /// Whether [`Index::rebuild`] would make searches faster or give memory back.
    pub fn needs_rebuild(&self) -> bool {
        let live = self.read();
        let dead = live.rows - live.places.len();
        dead > self.params.tail_limit.max(live.rows / 4)
            || (live.places.len() > self.params.scan_below && live.unlinked() >= self.params.tail_limit)
    }

    /// Links what is not linked yet, or builds a fresh graph where that is due, on threads that give way to others.
    /// Searches and writers go on meanwhile; what they change is carried over. A second call waits for the first.
    pub fn rebuild(&self) -> Result<()> {
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if rebuild::wants_fresh(&self.read(), held.len()) {
            let samples = std::mem::take(&mut *held);
            drop(held);
            background::run(|| rebuild::afresh(&self.live, &samples, &self.params, &self.scratches));
        } else {
            drop(held);
            background::run(|| rebuild::extend(&self.live, &self.params, &self.scratches));
        }
        Ok(())
    }

    /// The graph, to be kept beside the vectors and given to [`Index::from_parts`]; None where there is none.
    pub fn graph_bytes(&self) -> Option<Vec<u8>> {
        let frozen = self.read().frozen.clone();
        (frozen.linked > 0).then(|| bytes::write(&frozen, self.dim))
    }

    /// An index of `vectors`, with the links that [`Index::graph_bytes`] wrote. Vectors that the graph doesn't know
    /// join the tail. An error where `graph` is damaged or belongs to others: build from the vectors then.
    pub fn from_parts<V: AsRef<[f32]> + Sync>(
        dim: usize,
        params: Params,
        graph: &[u8],
        vectors: impl IntoIterator<Item = (u32, V)>,
    ) -> Result<Self> {
        let Index { params, coder, scratches, .. } = Index::new(dim, params)?;
        let shape = coder.shape();
        let mut restore = bytes::Restore::new(bytes::read(graph, dim)?, Nodes::new(shape));
        let mut vectors = vectors.into_iter();
        let mut some: Vec<(u32, V)> = Vec::with_capacity(AT_ONCE);
        let (mut rough, mut fine) = (vec![0; AT_ONCE * shape.rough], vec![0; AT_ONCE * shape.fine]);
        loop {
            some.clear();
            some.extend(vectors.by_ref().take(AT_ONCE));
            if some.is_empty() {
                break;
            }
            let rows = rough.par_chunks_mut(shape.rough).zip(fine.par_chunks_mut(shape.fine));
            some.par_iter().zip(rows).with_min_len(CODED).try_for_each(|((_, vector), (rough, fine))| {
                coder.encode(&vectors::unit(vector.as_ref(), dim)?, rough, fine);
                Ok::<(), Error>(())
            })?;
            let rows = rough.chunks(shape.rough).zip(fine.chunks(shape.fine));
            for ((id, _), (rough, fine)) in some.iter().zip(rows) {
                restore.add(bytes::Coded { id: *id, rough, fine });
            }
        }
        let (mut frozen, left) = restore.finish()?;
        frozen.mend(&scratches);
        let index = Self::with(dim, params, coder, frozen);
        let mut live = index.write();
        let rows = left.rough.chunks(shape.rough).zip(left.fine.chunks(shape.fine));
        left.ids.iter().zip(rows).for_each(|(id, (rough, fine))| live.insert(*id, rough, fine));
        drop(live);
        Ok(index)
    }

    /// How many vectors can be found.
    pub fn len(&self) -> usize {
        self.read().places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers a vector has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let live = self.read();
        let tail = live.tail.rough.len() + live.tail.fine.len();
        let samples = self.samples.lock().map_or(0, |s| s.len()) * self.coder.components();
        live.frozen.bytes() + live.places.bytes() + tail + samples
    }

    /// The breadth of a search for such a query where none is asked; 0 where every search scans.
    pub fn breadth(&self, kind: QueryKind) -> usize {
        self.read().frozen.breadths.of(kind)
    }

    /// What it is made of at the moment.
    pub fn health(&self) -> Health {
        let live = self.read();
        Health {
            vectors: live.places.len(),
            tombstones: live.rows - live.places.len(),
            tail: live.unlinked(),
            unreachable: live.frozen.unreachable,
            ef: live.frozen.breadths.of(QueryKind::Any),
            recall: live.frozen.recall,
            kernels: kernels::kernels().name,
        }
    }

    // Whole changes only are made under the lock, so a panic elsewhere leaves nothing half done.
    fn read(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }
}
