//! Where codes live: a growing tail, and blocks of it that are full and don't move any more.
//!
//! A node's number is its block times [`ROWS`] plus its row, so a block may be cut short and later ones keep their
//! numbers. Only the mark of death changes in a block.

use super::codes::{Query, Shape};
use super::pages::Pages;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of a full block: at 512 components, one huge page of rough codes.
pub const ROWS: usize = 4096;

/// Rows that still grow.
#[derive(Clone, Default)]
pub struct Rows {
    /// The rough plane, row after row.
    pub rough: Vec<u8>,
    /// The fine plane.
    pub fine: Vec<u8>,
    /// The id each row was inserted under.
    pub ids: Vec<u32>,
    /// Which rows were removed or replaced.
    pub dead: Vec<bool>,
}

/// Rows that are settled.
pub struct Block {
    rough: Pages,
    fine: Pages,
    ids: Vec<u32>,
    dead: Vec<AtomicU64>,
}

/// A block that is filled row by row, in any order; rows that are not are dead.
pub struct Filling {
    rough: Pages,
    fine: Pages,
    ids: Vec<u32>,
    dead: Vec<u64>,
}

/// Blocks in order: all settled nodes. Clones share them.
#[derive(Clone, Default)]
pub struct Nodes {
    blocks: Vec<Arc<Block>>,
    shape: Shape,
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Appends a row, alive.
    pub fn add(&mut self, id: u32, rough: &[u8], fine: &[u8]) {
        self.rough.extend_from_slice(rough);
        self.fine.extend_from_slice(fine);
        self.ids.push(id);
        self.dead.push(false);
    }

    /// Appends a row of `nodes`, alive.
    pub fn push(&mut self, nodes: &Nodes, node: u32) {
        self.add(nodes.id(node), nodes.rough(node), nodes.fine(node));
    }

    /// Appends a row of `nodes` without its fine plane, under the node's own number.
    pub fn push_rough(&mut self, nodes: &Nodes, node: u32) {
        self.rough.extend_from_slice(nodes.rough(node));
        self.ids.push(node);
        self.dead.push(false);
    }
}

impl Filling {
    /// Room for rows under `ids`, like those of `nodes`.
    pub fn new(ids: Vec<u32>, nodes: &Nodes) -> Self {
        let Shape { rough, fine, .. } = nodes.shape;
        let (rough, fine) = (Pages::zeros(ids.len() * rough), Pages::zeros(ids.len() * fine));
        let mut dead = vec![u64::MAX; ids.len().div_ceil(64)];
        let spare = dead.len() * 64 - ids.len();
        dead.last_mut().into_iter().for_each(|last| *last >>= spare);
        Filling { rough, fine, ids, dead }
    }

    /// Fills row `row`; whether it was dead until now.
    pub fn put(&mut self, row: usize, rough: &[u8], fine: &[u8]) -> bool {
        self.rough[row * rough.len()..][..rough.len()].copy_from_slice(rough);
        self.fine[row * fine.len()..][..fine.len()].copy_from_slice(fine);
        let (word, bit) = (&mut self.dead[row / 64], 1 << (row % 64));
        let dead = *word & bit != 0;
        *word &= !bit;
        dead
    }
}

impl Block {
    fn new(rows: Rows) -> Self {
        let mut dead = vec![0u64; rows.len().div_ceil(64)];
        for row in (0..rows.len()).filter(|&row| rows.dead[row]) {
            dead[row / 64] |= 1 << (row % 64);
        }
        Block {
            rough: Pages::new(rows.rough),
            fine: Pages::new(rows.fine),
            ids: rows.ids,
            dead: dead.into_iter().map(AtomicU64::new).collect(),
        }
    }
}

impl Nodes {
    /// No nodes yet, with rows of this shape.
    pub fn new(shape: Shape) -> Self {
        Nodes { blocks: Vec::new(), shape }
    }

    /// No nodes yet, with rows like these ones'.
    pub fn like(&self) -> Self {
        Nodes::new(self.shape)
    }

    /// The same rows under other ids.
    pub fn with_ids(&self, new: impl Fn(u32) -> u32) -> Self {
        let mut nodes = self.like();
        for block in &self.blocks {
            let ids = block.ids.iter().map(|&id| new(id)).collect();
            nodes.push(Rows {
                rough: block.rough.to_vec(),
                fine: block.fine.to_vec(),
                ids,
                dead: vec![false; block.ids.len()],
            });
        }
        nodes
    }

    /// Settles `rows` (at most [`ROWS`]) as the next block.
    pub fn push(&mut self, rows: Rows) {
        self.blocks.push(Arc::new(Block::new(rows)));
    }

    /// Settles what was filled as the next block.
    pub fn push_filled(&mut self, filled: Filling) {
        let Filling { rough, fine, ids, dead } = filled;
        let dead = dead.into_iter().map(AtomicU64::new).collect();
        self.blocks.push(Arc::new(Block { rough, fine, ids, dead }));
    }

    /// One more than the largest node number that there could be.
    pub fn bound(&self) -> usize {
        self.blocks.len() * ROWS
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The nodes of the blocks in `range`.
    pub fn iter(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = u32> + '_ {
        range.flat_map(|block| {
            let start = block * ROWS;
            let len = self.blocks.get(block).map_or(0, |b| b.ids.len());
            start as u32..(start + len) as u32
        })
    }

    /// How many nodes the blocks in `range` hold.
    pub fn count(&self, range: std::ops::Range<usize>) -> usize {
        self.blocks.get(range).unwrap_or_default().iter().map(|b| b.ids.len()).sum()
    }

    /// Takes the blocks of `other` from `first` on.
    pub fn extend(&mut self, other: &Nodes, first: usize) {
        self.blocks.extend(other.blocks.iter().skip(first).cloned());
    }

    /// A node's row of the rough plane.
    #[inline(always)]
    pub fn rough(&self, node: u32) -> &[u8] {
        let (block, row) = self.place(node);
        &block.rough[row * self.shape.rough..(row + 1) * self.shape.rough]
    }

    /// A node's row of the fine plane.
    #[inline(always)]
    pub fn fine(&self, node: u32) -> &[u8] {
        let (block, row) = self.place(node);
        &block.fine[row * self.shape.fine..(row + 1) * self.shape.fine]
    }

    /// A node as a query, good for rough comparisons only: how links are chosen.
    pub fn query(&self, node: u32) -> Query {
        let (block, row) = self.place(node);
        // Those of a router have no fine plane.
        let fine = block.fine.get(row * self.shape.fine..(row + 1) * self.shape.fine).unwrap_or_default();
        Query::of_row(self.shape.codes, self.rough(node), fine)
    }

    /// The id that a node was inserted under.
    #[inline(always)]
    pub fn id(&self, node: u32) -> u32 {
        let (block, row) = self.place(node);
        block.ids[row]
    }

    /// Whether a node was removed or replaced.
    #[inline(always)]
    pub fn is_dead(&self, node: u32) -> bool {
        let (block, row) = self.place(node);
        block.dead[row / 64].load(Ordering::Relaxed) >> (row % 64) & 1 == 1
    }

    /// Marks a node removed.
    pub fn kill(&self, node: u32) {
        let (block, row) = self.place(node);
        block.dead[row / 64].fetch_or(1 << (row % 64), Ordering::Relaxed);
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let block = |b: &Arc<Block>| b.rough.len() + b.fine.len() + 4 * b.ids.len() + 8 * b.dead.len();
        self.blocks.iter().map(block).sum()
    }

    #[inline(always)]
    fn place(&self, node: u32) -> (&Block, usize) {
        (&self.blocks[node as usize / ROWS], node as usize % ROWS)
    }
}
