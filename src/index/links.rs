//! Who leads to whom: a row of links for each node.
//!
//! Rows are changed in place while searches read them. Each link by itself is always a valid node, so a search that
//! sees half of a change merely takes another path; that is why links are atomic, and why nothing is locked.

use super::nodes::ROWS;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// No link; ends a part of a row.
const NONE: u32 = u32::MAX;

/// A row has two parts: `plain` links chosen by distance, then `guided` ones that sample queries asked for. Each part
/// takes whole lines.
#[derive(Clone, Default)]
pub struct Links {
    plain: usize,
    guided: usize,
    blocks: Vec<Arc<[Line]>>,
}

/// As many links as the processor fetches at a time.
#[repr(align(64))]
pub struct Line([AtomicU32; LINE]);

const LINE: usize = 16;

impl Links {
    /// No nodes yet; rows of so many links.
    pub fn new(plain: usize, guided: usize) -> Self {
        Links { plain, guided, blocks: Vec::new() }
    }

    /// Rows for as many blocks, the new ones empty.
    pub fn grow(&mut self, blocks: usize) {
        let line = |_| Line(std::array::from_fn(|_| AtomicU32::new(NONE)));
        let lines = ROWS * self.stride();
        let block = || (0..lines).map(line).collect();
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

    /// Lines a row.
    fn stride(&self) -> usize {
        self.plain.div_ceil(LINE) + self.guided.div_ceil(LINE)
    }

    /// A node's row, with gaps.
    #[inline(always)]
    pub fn row(&self, node: u32) -> &[Line] {
        let stride = self.stride();
        let at = (node as usize % ROWS) * stride;
        &self.blocks[node as usize / ROWS][at..at + stride]
    }

    /// Shows each of a node's links to `visit`.
    #[inline(always)]
    pub fn each(&self, node: u32, mut visit: impl FnMut(u32)) {
        for line in self.row(node) {
            for link in &line.0 {
                match link.load(Ordering::Relaxed) {
                    NONE => break,
                    node => visit(node),
                }
            }
        }
    }

    /// A node's links line by line; gaps are larger than any node.
    #[inline(always)]
    pub fn lines(&self, node: u32) -> impl Iterator<Item = impl ExactSizeIterator<Item = u32>> {
        let plain = self.plain.div_ceil(LINE);
        // Most nodes have few guided links or none.
        let used =
            move |(at, line): &(usize, &Line)| *at < plain || line.0[0].load(Ordering::Relaxed) != NONE;
        let row = self.row(node).iter().enumerate().filter(used);
        row.map(|(_, line)| line.0.iter().map(|link| link.load(Ordering::Relaxed)))
    }

    /// A node's plain links.
    pub fn get_plain(&self, node: u32) -> Vec<u32> {
        until_none(self.parts(node).0)
    }

    /// A node's guided links.
    pub fn get_guided(&self, node: u32) -> Vec<u32> {
        until_none(self.parts(node).1)
    }

    /// Replaces a node's plain links.
    pub fn set_plain(&self, node: u32, links: &[u32]) {
        write(self.parts(node).0, links.iter().take(self.plain));
    }

    /// Replaces a node's guided links.
    pub fn set_guided(&self, node: u32, links: &[u32]) {
        write(self.parts(node).1, links.iter().take(self.guided));
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|b| size_of_val(&**b)).sum()
    }

    fn parts(&self, node: u32) -> (&[Line], &[Line]) {
        self.row(node).split_at(self.plain.div_ceil(LINE))
    }
}

fn slots(part: &[Line]) -> impl Iterator<Item = &AtomicU32> {
    part.iter().flat_map(|line| &line.0)
}

fn until_none(part: &[Line]) -> Vec<u32> {
    slots(part).map(|l| l.load(Ordering::Relaxed)).take_while(|&l| l != NONE).collect()
}

fn write<'a>(part: &[Line], links: impl Iterator<Item = &'a u32>) {
    let links = links.copied().chain(std::iter::repeat(NONE));
    slots(part).zip(links).for_each(|(slot, link)| slot.store(link, Ordering::Relaxed));
}
