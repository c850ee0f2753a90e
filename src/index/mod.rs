//! One space's vectors in memory: given a query vector, which ids are nearest?
//!
//! 1. `vectors` refuses what cannot be compared and makes the rest unit length, so that a dot product is the cosine.
//! 2. A new vector joins the tail, which every search scans: it is found at once. A removed one is marked, and is
//!    skipped from then on.
//! 3. `graph` links the tail into a navigable graph when `rebuild` is called, beside running searches and writers.
//! 4. A search follows the graph and scans the tail, or scans everything that may answer where that is cheaper;
//!    `exact` keeps the best.
//!
//! Ids are small numbers that the caller gives (holes are normal); rows are this layer's own numbering.
//! What it must not know: images, models, files, async. Whoever owns an index decides when to rebuild it, and on
//! which thread.

mod exact;
mod graph;
mod params;
mod vectors;

use crate::error::Result;
use exact::Best;
use graph::Graph;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use params::{Health, MAX_DIM, Neighbor, Params, SearchOptions};

/// Breadth of a graph search when the caller names none.
const DEFAULT_EF: usize = 160;

/// The vectors of one space. Searches run beside one another and beside a writer.
pub struct Index {
    dim: usize,
    params: Params,
    rows: RwLock<Rows>,
}

/// A row is a vector's place; a replaced or removed vector leaves its row dead.
#[derive(Default)]
struct Rows {
    vectors: Vec<f32>,
    owners: Vec<Option<u32>>,
    places: HashMap<u32, u32>,
    graph: Option<Arc<Graph>>,
    linked: usize,
}

impl Index {
    /// An empty index for vectors of `dim` numbers.
    pub fn new(dim: usize, params: Params) -> Result<Self> {
        vectors::check_dim(dim)?;
        params.check()?;
        Ok(Index { dim, params, rows: RwLock::default() })
    }

    /// Puts `vector` under `id`, in place of what was there; the next search finds it. Scaled to unit length.
    pub fn insert(&self, id: u32, vector: &[f32]) -> Result<()> {
        self.insert_many(&[(id, vector)])
    }

    /// [`Index::insert`] for many; nothing is inserted if one is refused.
    pub fn insert_many(&self, items: &[(u32, &[f32])]) -> Result<()> {
        let units: Vec<Vec<f32>> =
            items.iter().map(|(_, v)| vectors::unit(v, self.dim)).collect::<Result<_>>()?;
        let mut rows = self.write();
        for ((id, _), unit) in items.iter().zip(units) {
            rows.remove(*id);
            let row = rows.owners.len() as u32;
            rows.vectors.extend_from_slice(&unit);
            rows.owners.push(Some(*id));
            rows.places.insert(*id, row);
        }
        Ok(())
    }

    /// Takes `id` out; no search that starts from now on returns it. False if it was not there.
    pub fn remove(&self, id: u32) -> bool {
        self.write().remove(id)
    }

    /// The unit vector under `id`.
    pub fn vector(&self, id: u32) -> Option<Vec<f32>> {
        let rows = self.read();
        let row = *rows.places.get(&id)? as usize;
        rows.vector(row, self.dim).map(<[f32]>::to_vec)
    }

    /// The `k` vectors with the highest cosine to `query`, best first, ties by id. Fewer when fewer may answer.
    pub fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Neighbor>> {
        let query = vectors::unit(query, self.dim)?;
        let rows = self.read();
        let mut best = Best::new(k.min(rows.places.len()));
        let mut offer = |row: usize| {
            let Some(id) = rows.owners.get(row).copied().flatten() else { return };
            let Some(vector) = rows.vector(row, self.dim) else { return };
            let score = vectors::dot(&query, vector).clamp(-1.0, 1.0);
            if options.threshold.is_none_or(|t| score >= t) {
                best.offer(Neighbor { id, score });
            }
        };
        match (options.allowed, &rows.graph) {
            _ if k == 0 => {}
            (Some(allowed), _) => {
                allowed.iter().filter_map(|id| rows.places.get(&id)).for_each(|&row| offer(row as usize));
            }
            (None, Some(graph)) if !options.exact && rows.owners.len() > self.params.scan_below => {
                // Dead rows take places among the found: look a little wider, by as many as there may be.
                let dead = rows.owners.len() - rows.places.len();
                let k = k.min(rows.places.len());
                let wanted = k + dead.min(k);
                let ef = options.ef.unwrap_or(DEFAULT_EF).clamp(wanted, rows.owners.len());
                graph.search(&query, wanted, ef).iter().for_each(|&row| offer(row as usize));
                (rows.linked..rows.owners.len()).for_each(&mut offer);
            }
            _ => (0..rows.owners.len()).for_each(&mut offer),
        }
        Ok(best.into_sorted())
    }

    /// Whether [`Index::rebuild`] would make searches faster or give memory back.
    pub fn needs_rebuild(&self) -> bool {
        let rows = self.read();
        let total = rows.owners.len();
        let tail = total - rows.linked;
        let dead = total - rows.places.len();
        (total > self.params.scan_below && tail > self.params.tail_limit)
            || dead > self.params.tail_limit.max(total / 4)
    }

    /// Links every vector that is there now into a fresh graph, on this thread and rayon's. Searches and writers go on
    /// meanwhile; what they change is carried over. Two rebuilds at a time are wasteful, not wrong.
    pub fn rebuild(&self) -> Result<()> {
        let (ids, vectors) = self.read().living(self.dim);
        let graph = Arc::new(Graph::build(&vectors, self.dim, &self.params));
        let mut rows = self.write();
        let mut fresh = Rows { linked: ids.len(), vectors, graph: Some(graph), ..Rows::default() };
        // A row is still right if the vector under its id is the one that was linked.
        for (row, &id) in ids.iter().enumerate() {
            let same = rows
                .places
                .get(&id)
                .is_some_and(|&old| rows.vector(old as usize, self.dim) == fresh.vector(row, self.dim));
            fresh.owners.push(same.then_some(id));
            if same {
                fresh.places.insert(id, row as u32);
            }
        }
        for (old, owner) in rows.owners.iter().enumerate() {
            let (Some(id), Some(vector)) = (*owner, rows.vector(old, self.dim)) else { continue };
            if !fresh.places.contains_key(&id) {
                fresh.places.insert(id, fresh.owners.len() as u32);
                fresh.owners.push(Some(id));
                fresh.vectors.extend_from_slice(vector);
            }
        }
        *rows = fresh;
        Ok(())
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
        let rows = self.read();
        let linked = rows.linked * (4 * self.dim + 2 * self.params.m * 48);
        rows.vectors.capacity() * 4 + rows.owners.capacity() * 8 + rows.places.capacity() * 8 + linked
    }

    /// What it is made of at the moment.
    pub fn health(&self) -> Health {
        let rows = self.read();
        Health {
            vectors: rows.places.len(),
            tombstones: rows.owners.len() - rows.places.len(),
            tail: rows.owners.len() - rows.linked,
            unreachable: 0,
        }
    }

    // A panic elsewhere while the lock was held leaves whole rows behind: every change below is pushed at its end.
    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn vector(&self, row: usize, dim: usize) -> Option<&[f32]> {
        self.vectors.get(row * dim..(row + 1) * dim)
    }

    fn remove(&mut self, id: u32) -> bool {
        let Some(row) = self.places.remove(&id) else { return false };
        if let Some(owner) = self.owners.get_mut(row as usize) {
            *owner = None;
        }
        true
    }

    /// The ids and vectors that can be found, copied.
    fn living(&self, dim: usize) -> (Vec<u32>, Vec<f32>) {
        let rows = || self.owners.iter().enumerate().filter_map(|(row, owner)| Some((row, (*owner)?)));
        let ids = rows().map(|(_, id)| id).collect();
        let vectors = rows().filter_map(|(row, _)| self.vector(row, dim)).flatten().copied().collect();
        (ids, vectors)
    }
}
