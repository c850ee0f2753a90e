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

/// Nodes followed at a time, at most; and how many more, that are likely to be followed after them, are fetched ahead.
const WIDTH: usize = 12;
const AHEAD: usize = 4;

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
    /// The scores of the fresh nodes.
    pub scores: Vec<i32>,
    /// What the last walk found, best first.
    pub pool: Vec<Found>,
    /// How many nodes were scored since the scratch was made.
    pub scored: u64,
}

/// Which nodes a walk has seen: a bit each, so that it stays in the cache; and the same as a list.
#[derive(Default)]
struct Visited {
    bits: Vec<u64>,
    list: Vec<u32>,
    /// How many of the list there are; what comes after them is room.
    len: usize,
    bound: u32,
}

impl Visited {
    fn reset(&mut self, bound: usize) {
        for &node in self.list.iter().take(self.len).chain([&self.bound]) {
            self.bits.get_mut(node as usize / 64).into_iter().for_each(|word| *word = 0);
        }
        self.len = 0;
        // What lies beyond the bound counts as seen: links change in place, and may lead to nodes that came after this
        // walk's view of them.
        self.bound = bound as u32;
        self.bits.resize(self.bits.len().max(bound / 64 + 1), 0);
        self.bits[bound / 64] = 1 << (bound % 64);
    }

    /// Adds `nodes` to the list, but for those that were seen. Without branches: which are new can't be foretold.
    #[inline(always)]
    fn insert(&mut self, nodes: impl ExactSizeIterator<Item = u32>) {
        if self.list.len() < self.len + nodes.len() {
            self.list.resize(self.len + nodes.len() + 1024, 0);
        }
        let (mut len, room) = (self.len, &mut self.list[..]);
        for node in nodes {
            let node = node.min(self.bound);
            let (word, bit) = (&mut self.bits[node as usize / 64], 1 << (node % 64));
            room[len] = node;
            len += usize::from(*word & bit == 0);
            *word |= bit;
        }
        self.len = len;
    }
}

impl Scratch {
    /// Forgets the last walk, and meets `entries`.
    pub fn begin(&mut self, bound: usize, entries: &[u32]) {
        self.visited.reset(bound);
        self.pool.clear();
        self.visited.insert(entries.iter().copied());
    }

    /// How many nodes were met.
    #[inline(always)]
    pub fn met(&self) -> usize {
        self.visited.len
    }

    /// The nodes that were met after the first `from`.
    #[inline(always)]
    pub fn fresh(&self, from: usize) -> &[u32] {
        &self.visited.list[from..self.visited.len]
    }

    /// Meets what `node` links to.
    #[inline(always)]
    pub fn follow(&mut self, links: &Links, node: u32) {
        links.lines(node).for_each(|line| self.visited.insert(line));
    }

    /// Scores `rows`, those of fresh nodes.
    #[inline(always)]
    pub fn score(&mut self, query: &Query, rows: &[&[u8]]) {
        if self.scores.len() < rows.len() {
            self.scores.resize(rows.len(), 0);
        }
        query.score(rows, &mut self.scores);
        self.scored += rows.len() as u64;
    }

    /// Files the nodes that were met after the first `from` among the best `ef`; the best place taken.
    #[inline(always)]
    fn file(&mut self, ef: usize, from: usize) -> usize {
        let Scratch { visited, scores, pool, .. } = self;
        let mut best = pool.len();
        for (&node, &score) in visited.list[from..visited.len].iter().zip(scores.iter()) {
            if pool.len() >= ef {
                if pool.last().is_none_or(|last| last.score >= score) {
                    continue;
                }
                pool.pop();
            }
            let place = pool.partition_point(|f| f.score >= score);
            pool.insert(place, Found { score, node });
            best = best.min(place);
        }
        best
    }
}

impl Layer {
    /// Walks from `entries`; leaves the best `ef` that it came by in `scratch.pool`.
    pub fn walk(&self, query: &Query, entries: &[u32], ef: usize, scratch: &mut Scratch) {
        let mut rows: Vec<&[u8]> = Vec::with_capacity(256);
        scratch.begin(self.nodes.bound(), entries);
        let (mut at, mut from) = (usize::MAX, 0);
        loop {
            rows.clear();
            rows.extend(scratch.fresh(from).iter().map(|&node| self.nodes.rough(node)));
            scratch.score(query, &rows);
            at = scratch.file(ef, from).min(at);
            from = scratch.met();
            let width = (2 * at + 1).min(WIDTH);
            // At first the best is likely to be outdone by what it leads to; near the end, those behind it are followed
            // anyway, and together they wait for memory once.
            let mut next = [0; WIDTH];
            let mut found = 0;
            for (place, one) in scratch.pool.iter_mut().enumerate().skip(at) {
                if one.node & FOLLOWED != 0 {
                    continue;
                }
                prefetch(self.links.row(one.node));
                if found < width {
                    next[found] = one.node;
                    one.node |= FOLLOWED;
                    at = place + 1;
                }
                found += 1;
                if found == width + AHEAD {
                    break;
                }
            }
            if found == 0 {
                break;
            }
            next.iter().take(found.min(width)).for_each(|&node| scratch.follow(&self.links, node));
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
