//! What changes: the tail that grows, the marks of death, and which graph answers.
//!
//! Everything here happens under the index's lock and is short: a search takes the lock twice (to see which graph
//! answers, and to look at the tail), a writer once a batch.

use super::frozen::Frozen;
use super::nodes::{Nodes, ROWS, Rows};
use super::paged::Paged;
use std::sync::Arc;

/// The index as of now.
pub struct Live {
    /// Counts graphs that were built afresh: node numbers mean something within one generation only.
    pub generation: u64,
    /// Settled nodes and their graph.
    pub frozen: Arc<Frozen>,
    /// Vectors that came last.
    pub tail: Rows,
    /// Where each id's vector is.
    pub places: Paged<u32>,
    /// Rows, dead or alive, settled or not.
    pub rows: usize,
    /// Ids that changed since a rebuild began, while one is under way.
    changed: Option<Vec<u32>>,
}

impl Live {
    /// Nothing yet.
    pub fn new(frozen: Frozen) -> Self {
        let nodes = &frozen.layer.nodes;
        let mut places = Paged::default();
        let mut rows = 0;
        for node in nodes.iter(0..nodes.blocks()) {
            rows += 1;
            if !nodes.is_dead(node) {
                places.insert(nodes.id(node), node);
            }
        }
        Live { generation: 0, frozen: Arc::new(frozen), tail: Rows::default(), places, rows, changed: None }
    }

    /// Puts a coded vector under `id`.
    pub fn insert(&mut self, id: u32, rough: &[u8], fine: &[u8]) {
        self.remove(id);
        let node = self.frozen.layer.nodes.bound() + self.tail.len();
        self.tail.rough.extend_from_slice(rough);
        self.tail.fine.extend_from_slice(fine);
        self.tail.ids.push(id);
        self.tail.dead.push(false);
        self.places.insert(id, node as u32);
        self.rows += 1;
        if self.tail.len() == ROWS {
            self.settle();
        }
    }

    /// Takes `id` out.
    pub fn remove(&mut self, id: u32) -> bool {
        self.changed.iter_mut().for_each(|ids| ids.push(id));
        let Some(node) = self.places.remove(id) else { return false };
        match (node as usize).checked_sub(self.frozen.layer.nodes.bound()) {
            Some(row) => self.tail.dead.iter_mut().skip(row).take(1).for_each(|dead| *dead = true),
            None => self.frozen.layer.nodes.kill(node),
        }
        true
    }

    /// Makes a block of the tail.
    pub fn settle(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let mut frozen = Frozen::clone(&self.frozen);
        frozen.layer.nodes.push(std::mem::take(&mut self.tail));
        frozen.layer.links.grow(frozen.layer.nodes.blocks());
        self.frozen = Arc::new(frozen);
    }

    /// The coded vector under `id`.
    pub fn row(&self, id: u32) -> Option<(&[u8], &[u8])> {
        let node = self.places.get(id)?;
        let nodes = &self.frozen.layer.nodes;
        match (node as usize).checked_sub(nodes.bound()) {
            Some(row) => self.tail_row(row),
            None => Some((nodes.rough(node), nodes.fine(node))),
        }
    }

    /// A row of the tail.
    pub fn tail_row(&self, row: usize) -> Option<(&[u8], &[u8])> {
        let (rough, fine) = (self.rough_len(), self.fine_len());
        Some((
            self.tail.rough.get(row * rough..)?.get(..rough)?,
            self.tail.fine.get(row * fine..)?.get(..fine)?,
        ))
    }

    fn rough_len(&self) -> usize {
        self.tail.rough.len() / self.tail.len().max(1)
    }

    fn fine_len(&self) -> usize {
        self.tail.fine.len() / self.tail.len().max(1)
    }

    /// Rows that no link leads to.
    pub fn unlinked(&self) -> usize {
        let nodes = &self.frozen.layer.nodes;
        nodes.count(self.frozen.linked..nodes.blocks()) + self.tail.len()
    }

    /// From now on, notes which ids change.
    pub fn begin(&mut self) {
        self.changed = Some(Vec::new());
    }

    /// Takes `fresh` in place of the graph that it was made from, whose first `blocks` blocks it holds the living nodes
    /// of; what came after [`Live::begin`] is carried over.
    pub fn replace(&mut self, mut fresh: Frozen, mut places: Paged<u32>, blocks: usize) {
        let old = &self.frozen.layer.nodes;
        let (from, to) = (blocks * ROWS, fresh.layer.nodes.bound());
        fresh.layer.nodes.extend(old, blocks);
        fresh.layer.links.grow(fresh.layer.nodes.blocks());
        let mut changed = self.changed.take().unwrap_or_default();
        changed.sort_unstable();
        changed.dedup();
        for id in changed {
            // Its vector in the fresh graph, if it had one, is outdated.
            if let Some(node) = places.remove(id) {
                fresh.layer.nodes.kill(node);
            }
            if let Some(node) = self.places.get(id) {
                places.insert(id, node - from as u32 + to as u32);
            }
        }
        let nodes: &Nodes = &fresh.layer.nodes;
        self.rows = nodes.count(0..nodes.blocks()) + self.tail.len();
        self.places = places;
        self.frozen = Arc::new(fresh);
        self.generation += 1;
    }
}
