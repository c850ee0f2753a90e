//! Who leads to whom: a row of links for each node.
//!
//! Rows are changed in place while searches read them. Each link by itself is always a valid node, so a search that
//! sees half of a change merely takes another path; that is why links are atomic, and why nothing is locked.

use super::nodes::ROWS;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// No link; ends a part of a row.
const NONE: u32 = u32::MAX;

/// A row has two parts: `plain` links chosen by distance, then `guided` ones that sample queries asked for.
#[derive(Clone, Default)]
pub struct Links {
    plain: usize,
    guided: usize,
    blocks: Vec<Arc<Vec<AtomicU32>>>,
}

impl Links {
    /// No nodes yet; rows of so many links.
    pub fn new(plain: usize, guided: usize) -> Self {
        Links { plain, guided, blocks: Vec::new() }
    }

    /// Rows for as many blocks, the new ones empty.
    pub fn grow(&mut self, blocks: usize) {
        let row = || AtomicU32::new(NONE);
        let block = || Arc::new((0..ROWS * (self.plain + self.guided)).map(|_| row()).collect());
        while self.blocks.len() < blocks {
            self.blocks.push(block());
        }
    }

    /// How many plain links a row holds at most.
    pub fn plain(&self) -> usize {
        self.plain
    }

    /// How many guided links a row holds at most.
    pub fn guided(&self) -> usize {
        self.guided
    }

    /// A node's row, with gaps.
    #[inline(always)]
    pub fn row(&self, node: u32) -> &[AtomicU32] {
        let stride = self.plain + self.guided;
        let at = (node as usize % ROWS) * stride;
        &self.blocks[node as usize / ROWS][at..at + stride]
    }

    /// Shows each of a node's links to `visit`.
    #[inline(always)]
    pub fn each(&self, node: u32, mut visit: impl FnMut(u32)) {
        let (plain, guided) = self.row(node).split_at(self.plain);
        for part in [plain, guided] {
            for link in part {
                match link.load(Ordering::Relaxed) {
                    NONE => break,
                    node => visit(node),
                }
            }
        }
    }

    /// A node's plain links.
    pub fn get_plain(&self, node: u32) -> Vec<u32> {
        until_none(&self.row(node)[..self.plain])
    }

    /// A node's guided links.
    pub fn get_guided(&self, node: u32) -> Vec<u32> {
        until_none(&self.row(node)[self.plain..])
    }

    /// Replaces a node's plain links.
    pub fn set_plain(&self, node: u32, links: &[u32]) {
        write(&self.row(node)[..self.plain], links);
    }

    /// Replaces a node's guided links.
    pub fn set_guided(&self, node: u32, links: &[u32]) {
        write(&self.row(node)[self.plain..], links);
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|b| 4 * b.len()).sum()
    }
}

fn until_none(part: &[AtomicU32]) -> Vec<u32> {
    part.iter().map(|l| l.load(Ordering::Relaxed)).take_while(|&l| l != NONE).collect()
}

fn write(part: &[AtomicU32], links: &[u32]) {
    let links = links.iter().copied().chain(std::iter::repeat(NONE));
    part.iter().zip(links).for_each(|(slot, link)| slot.store(link, Ordering::Relaxed));
}
