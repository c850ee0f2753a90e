//! The walk: follow the links of the best node not yet followed, until the best `ef` have all been.
//!
//! Malkov and Yashunin, 2018, algorithm 2, with one sorted list in place of two heaps.

use super::codes::Query;
use super::kernels::prefetch;
use super::links::Links;
use super::nodes::Nodes;
use std::sync::Mutex;

/// Nodes with links among them.
#[derive(Clone, Default)]
pub struct Layer {
    /// Their codes.
    pub nodes: Nodes,
    /// Their links.
    pub links: Links,
}

/// A node that a walk came by, and its rough score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Higher is nearer.
    pub score: i32,
    /// Its number, with [`FOLLOWED`] where its links were followed.
    node: u32,
}

const FOLLOWED: u32 = 1 << 31;

/// Nodes followed at a time, at most.
const WIDTH: usize = 4;

impl Found {
    /// A node that was met and not yet followed.
    pub fn new(score: i32, node: u32) -> Self {
        Found { score, node }
    }

    /// The node's number.
    pub fn node(&self) -> u32 {
        self.node & !FOLLOWED
    }
}

/// What a walk needs and the next one can use again.
#[derive(Default)]
pub struct Scratch {
    visited: Visited,
    /// Nodes met for the first time, and their scores.
    pub fresh: Vec<u32>,
    /// See `fresh`.
    pub scores: Vec<i32>,
    /// What the last walk found, best first.
    pub pool: Vec<Found>,
    /// How many nodes were scored since the scratch was made.
    pub scored: u64,
}

/// Which nodes a walk has seen: a bit each, so that it stays in the cache.
#[derive(Default)]
struct Visited {
    bits: Vec<u64>,
    touched: Vec<u32>,
    bound: usize,
}

impl Visited {
    fn reset(&mut self, bound: usize) {
        for word in self.touched.drain(..) {
            self.bits[word as usize] = 0;
        }
        self.bound = bound;
        if self.bits.len() * 64 < bound {
            self.bits.resize(bound.div_ceil(64), 0);
        }
    }

    /// Whether `node` is new. One beyond the bound counts as seen: links change in place, and may lead to nodes that
    /// came after this walk's view of them.
    #[inline(always)]
    fn insert(&mut self, node: u32) -> bool {
        if node as usize >= self.bound {
            return false;
        }
        let word = &mut self.bits[node as usize / 64];
        let bit = 1 << (node % 64);
        let new = *word & bit == 0;
        if *word == 0 {
            self.touched.push(node / 64);
        }
        *word |= bit;
        new
    }
}

impl Scratch {
    /// Forgets the last walk; `entries` are fresh.
    pub fn begin(&mut self, bound: usize, entries: &[u32]) {
        self.visited.reset(bound);
        self.pool.clear();
        self.fresh.clear();
        let visited = &mut self.visited;
        self.fresh.extend(entries.iter().copied().filter(|&e| visited.insert(e)));
    }

    /// What `node` links to and was not met before is fresh, too.
    #[inline(always)]
    pub fn follow(&mut self, links: &Links, node: u32) {
        let Scratch { visited, fresh, .. } = self;
        links.each(node, |link| {
            if visited.insert(link) {
                fresh.push(link);
            }
        });
    }

    /// Scores `rows`, those of the fresh nodes.
    #[inline(always)]
    pub fn score(&mut self, query: &Query, rows: &[&[u8]]) {
        if self.scores.len() < rows.len() {
            self.scores.resize(rows.len(), 0);
        }
        query.score(rows, &mut self.scores);
        self.scored += rows.len() as u64;
    }

    /// Files the fresh nodes among the best `ef`; the best place taken.
    #[inline(always)]
    fn file(&mut self, ef: usize, links: &Links) -> usize {
        let Scratch { fresh, scores, pool, .. } = self;
        let mut best = pool.len();
        for (&node, &score) in fresh.iter().zip(scores.iter()) {
            if pool.len() >= ef {
                if pool.last().is_none_or(|last| last.score >= score) {
                    continue;
                }
                pool.pop();
            }
            let place = pool.partition_point(|f| f.score >= score);
            pool.insert(place, Found { score, node });
            if place <= best {
                // It may be followed next.
                prefetch(links.row(node));
                best = place;
            }
        }
        best
    }
}

impl Layer {
    /// Walks from `entries`; leaves the best `ef` that it came by in `scratch.pool`.
    pub fn walk(&self, query: &Query, entries: &[u32], ef: usize, scratch: &mut Scratch) {
        let mut rows: Vec<&[u8]> = Vec::with_capacity(64);
        scratch.begin(self.nodes.bound(), entries);
        let mut at = usize::MAX;
        loop {
            rows.clear();
            rows.extend(scratch.fresh.iter().map(|&node| self.nodes.rough(node)));
            scratch.score(query, &rows);
            at = scratch.file(ef, &self.links).min(at);
            scratch.fresh.clear();
            // At first the best is likely to be outdone by what it leads to; near the end, those behind it are followed
            // anyway, and together they wait for memory once.
            let mut width = 0;
            let mut next = at;
            while let Some(found) = scratch.pool.get_mut(next) {
                if found.node & FOLLOWED == 0 {
                    if width > at.min(WIDTH - 1) {
                        break;
                    }
                    let node = found.node;
                    found.node |= FOLLOWED;
                    width += 1;
                    scratch.follow(&self.links, node);
                }
                next += 1;
            }
            if width == 0 {
                break;
            }
            at = next;
            // Most often the next best is followed next.
            if let Some(next) = scratch.pool.get(next) {
                prefetch(self.links.row(next.node()));
            }
        }
    }
}

/// Scratches to borrow, so that a search allocates little.
#[derive(Default)]
pub struct Scratches(Mutex<Vec<Scratch>>);

impl Scratches {
    /// Runs `work` with a scratch.
    pub fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut held = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let mut scratch = held.pop().unwrap_or_default();
        drop(held);
        let result = work(&mut scratch);
        self.0.lock().unwrap_or_else(|e| e.into_inner()).push(scratch);
        result
    }
}
