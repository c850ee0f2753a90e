//! Links that sample queries ask for.
//!
//! A text query's nearest images lie far from it and often far from one another, so links between near images lead past
//! some of them. Where a narrow walk misses a sample query's true answers, each is linked from the nearest that was
//! found; queries like it then find theirs. The aim is RoarGraph's (Chen et al., VLDB 2024), which builds its graph
//! from such queries; mending only what fails needs few links (about three a node) and leaves the graph as it is for
//! queries that look like images.

use super::beam::{Found, Scratches};
use super::codes::Query;
use super::frozen::Frozen;
use rayon::prelude::*;

/// How many of a sample query's nearest are to be found.
const TOP: usize = 32;
/// Breadth of the walk that finds them.
const WIDE: usize = 512;
/// Breadth of the walk that shall find them.
const NARROW: usize = 32;
/// Samples walked at a time, in parallel; links from one batch help the next.
const BATCH: usize = 2048;

/// Adds guided links for `samples`.
pub fn guide(frozen: &Frozen, samples: &[Query], scratches: &Scratches) {
    for batch in samples.chunks(BATCH) {
        let walked: Vec<(Vec<u32>, Vec<u32>)> = batch
            .par_iter()
            .map(|query| {
                let walk = |ef| {
                    scratches.with(|scratch| {
                        frozen.walk(query, ef, scratch);
                        scratch.pool.iter().map(Found::node).take(TOP.max(NARROW)).collect::<Vec<u32>>()
                    })
                };
                (walk(WIDE).into_iter().take(TOP).collect(), walk(NARROW))
            })
            .collect();
        walked.iter().for_each(|(right, found)| mend(frozen, right, found));
    }
}

/// Links every node of `right` that is not in `found` from the nearest that is, or was linked so itself.
fn mend(frozen: &Frozen, right: &[u32], found: &[u32]) {
    let mut known: Vec<u32> = right.iter().copied().filter(|node| found.contains(node)).collect();
    if known.is_empty() {
        known.extend(found.first());
    }
    for &missed in right.iter().filter(|node| !found.contains(node)) {
        add(frozen, missed, &known);
        known.push(missed);
    }
}

/// Links `to` from the nearest of `known` that has room, unless the nearest leads there already.
fn add(frozen: &Frozen, to: u32, known: &[u32]) {
    let (nodes, links) = (&frozen.layer.nodes, &frozen.layer.links);
    let rows: Vec<&[u8]> = known.iter().map(|&node| nodes.rough(node)).collect();
    let mut scores = vec![0; rows.len()];
    nodes.query(to).score(&rows, &mut scores);
    let mut nearest: Vec<(i32, u32)> = scores.into_iter().zip(known.iter().copied()).collect();
    nearest.sort_unstable_by(|a, b| b.cmp(a));
    for (_, from) in nearest {
        let mut row = links.get_guided(from);
        if row.contains(&to) || links.get_plain(from).contains(&to) {
            return;
        }
        if row.len() < links.guided() {
            row.push(to);
            links.set_guided(from, &row);
            return;
        }
    }
}
