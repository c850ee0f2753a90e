//! The graph that answers: everything linked, laid out so that neighbours lie near one another in memory.

use super::beam::{Layer, Scratch, Scratches};
use super::build;
use super::calibrate::{Breadths, calibrate};
use super::codes::Query;
use super::guide;
use super::links::Links;
use super::nodes::{ROWS, Rows};
use super::params::Params;
use super::repair;
use super::router::{Router, sample_size};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many starts a walk gets from the router, and how wide it looks for them.
const STARTS: usize = 4;
const ROUTE_EF: usize = 5;
/// Nodes, and sample queries, that only measure.
const HELD_BACK: usize = 128;
/// Breadth where no sample query tells: what finds some 0.95 for texts where a fifth of it does for images.
const BLIND: usize = 160;
/// Nodes linked at a time, at most.
pub const BATCH: usize = 16_384;

/// Settled nodes, those of the first `linked` blocks in a graph, the others to be scanned.
#[derive(Clone, Default)]
pub struct Frozen {
    /// All settled nodes.
    pub layer: Layer,
    /// Where walks start.
    pub router: Router,
    /// How many blocks the graph covers.
    pub linked: usize,
    /// Breadths that were found fit.
    pub breadths: Breadths,
    /// The share of the nearest that they found, when it was measured.
    pub recall: f64,
    /// Sample queries that measured it, kept for the next build: there may be no samples then.
    pub measuring: Arc<[Query]>,
    /// How many nodes there were when it was built afresh.
    pub built: usize,
    /// How many nodes no path leads to.
    pub unreachable: usize,
}

impl Frozen {
    /// Walks the graph; leaves what it found in `scratch.pool`.
    pub fn walk(&self, query: &Query, ef: usize, scratch: &mut Scratch) {
        let entries = self.entries(query, scratch);
        self.layer.walk(query, &entries, ef, scratch);
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let layer = |layer: &Layer| layer.nodes.bytes() + layer.links.bytes();
        layer(&self.layer) + layer(&self.router.layer)
    }

    /// Where a walk starts.
    pub fn entries(&self, query: &Query, scratch: &mut Scratch) -> Vec<u32> {
        self.router.entries(query, STARTS, ROUTE_EF, scratch)
    }
}

/// Builds afresh from `alive`, nodes of `old`, guided by `samples` (by `old`'s guided links where there are none).
/// Searches may go on meanwhile: nothing that they see is changed. Up to `scan_below` nodes are only laid out.
pub fn build(
    old: &Frozen,
    alive: &[u32],
    samples: &[Query],
    params: &Params,
    scratches: &Scratches,
) -> Frozen {
    let nodes = &old.layer.nodes;
    let mut order = alive.to_vec();
    // The last of the samples only measure.
    let (samples, measuring) = samples.split_at(samples.len() - (samples.len() / 4).min(HELD_BACK));
    let measuring: Arc<[Query]> = if measuring.is_empty() { old.measuring.clone() } else { measuring.into() };
    let guided = if samples.is_empty() { old.layer.links.guided() } else { params.m };
    let mut links = Links::new(2 * params.m, guided);
    links.grow(nodes.blocks());
    let layer = Layer { nodes: nodes.clone(), links };
    if alive.len() <= params.scan_below.max(1) {
        return Frozen { linked: 0, ..arrange(&Frozen { layer, ..Frozen::default() }, &order) };
    }
    shuffle(&mut order, params.seed);
    // Some nodes are linked last, so that they can measure the graph as queries that it has not seen.
    let held = order.split_off(order.len() - HELD_BACK.min(order.len() / 4));
    let (sample, mut rest) = order.split_at(sample_size(order.len()));
    let router = Router::build(nodes, sample, params, scratches);
    router.copy_links(&layer.links);
    let mut frozen =
        Frozen { layer, router, linked: nodes.blocks(), built: alive.len(), ..Frozen::default() };
    let mut done = sample.len();
    while !rest.is_empty() {
        let (batch, later) = rest.split_at((done / 4).clamp(64, BATCH).min(rest.len()));
        frozen.link(batch, params.ef_construction, scratches);
        done += batch.len();
        rest = later;
    }
    // What was linked early, or in one batch, has not met its neighbours yet.
    for batch in order.chunks(BATCH) {
        frozen.link(batch, params.ef_construction, scratches);
    }
    if samples.is_empty() {
        frozen.keep_guided(old, alive);
    } else {
        guide::guide(&frozen, samples, scratches);
    }
    // What no path leads to would be missed at any breadth.
    repair::reach(&frozen, &order, scratches);
    (frozen.breadths, frozen.recall) = calibrate(&frozen, &order, &held, &measuring, scratches);
    if measuring.is_empty() {
        // Others need more than what is held does; how much more was measured if samples guided `old`.
        let others = if guided > 0 { old.breadths.sampled } else { BLIND };
        frozen.breadths.sampled = frozen.breadths.own.max(others);
    }
    frozen.measuring = measuring;
    frozen.link(&held, params.ef_construction, scratches);
    order.extend(held);
    frozen.unreachable = repair::reach(&frozen, &order, scratches);
    arrange(&frozen, &order)
}

impl Frozen {
    /// Links `batch` into the graph.
    pub fn link(&self, batch: &[u32], ef: usize, scratches: &Scratches) {
        build::link(&self.layer, batch, ef, scratches, |query| {
            scratches.with(|scratch| self.entries(query, scratch))
        });
    }

    /// Gives every living node of the graph a way to it.
    pub fn mend(&mut self, scratches: &Scratches) {
        let nodes = &self.layer.nodes;
        let alive: Vec<u32> = nodes.iter(0..self.linked).filter(|&node| !nodes.is_dead(node)).collect();
        self.unreachable = repair::reach(self, &alive, scratches);
    }

    /// Takes over the guided links among `alive` from `old`, which has the same nodes.
    fn keep_guided(&self, old: &Frozen, alive: &[u32]) {
        for &node in alive.iter().filter(|&&node| node as usize / ROWS < old.linked) {
            let mut row = old.layer.links.get_guided(node);
            row.retain(|&link| !self.layer.nodes.is_dead(link));
            self.layer.links.set_guided(node, &row);
        }
    }
}

/// The same graph over `alive` alone (all that links lead to), in breadth-first order from the router's nodes.
fn arrange(frozen: &Frozen, alive: &[u32]) -> Frozen {
    let Layer { nodes, links } = &frozen.layer;
    let mut new = vec![u32::MAX; nodes.bound()];
    let mut order = Vec::with_capacity(alive.len());
    let mut queue = VecDeque::new();
    for start in frozen.router.nodes().take(1).chain(alive.iter().copied()) {
        let mut visit = |node: u32, queue: &mut VecDeque<u32>| {
            if new[node as usize] == u32::MAX {
                new[node as usize] = order.len() as u32;
                order.push(node);
                queue.push_back(node);
            }
        };
        visit(start, &mut queue);
        while let Some(node) = queue.pop_front() {
            links.each(node, |link| visit(link, &mut queue));
        }
    }
    let mut layer = Layer { nodes: nodes.like(), links: Links::new(links.plain(), links.guided()) };
    for block in order.chunks(ROWS) {
        let mut rows = Rows::default();
        block.iter().for_each(|&node| rows.push(nodes, node));
        layer.nodes.push(rows);
    }
    layer.links.grow(layer.nodes.blocks());
    let moved = |links: Vec<u32>| links.iter().map(|&l| new[l as usize]).collect::<Vec<u32>>();
    for (at, &node) in order.iter().enumerate() {
        layer.links.set_plain(at as u32, &moved(links.get_plain(node)));
        layer.links.set_guided(at as u32, &moved(links.get_guided(node)));
    }
    let router = frozen.router.renumbered(&new);
    Frozen { linked: layer.nodes.blocks(), layer, router, ..frozen.clone() }
}

/// Fisher and Yates, with a generator of its own so that a build can be repeated anywhere.
fn shuffle(items: &mut [u32], seed: u64) {
    let mut state = seed ^ 0x9E37_79B9_7F4A_7C15 | 1;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(last, (state % (last as u64 + 1)) as usize);
    }
}
