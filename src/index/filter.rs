//! Searching where only some may answer.
//!
//! Where few may, scoring just those is cheapest and misses nothing. Where most may, an ordinary walk does, if it is so
//! much wider. In between, a walk goes through all nodes and collects those that may; the cost decides. Where fewer pass
//! near the query than elsewhere (those that may answer lie far from it), a far wider walk follows, or a scan if that is
//! cheaper, so that recall doesn't suffer.

use super::beam::{Found, Layer, Scratch};
use super::codes::Query;
use super::kernels::prefetch;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nodes that a walk of breadth `ef` scores, about.
pub fn walk_cost(ef: usize) -> f64 {
    300.0 + 10.0 * ef as f64
}

/// Nodes that a walk scores when `share` of all nodes may answer (measured: between 1 / sqrt(share) and 1 / share).
pub fn filtered_cost(ef: usize, share: f64) -> f64 {
    walk_cost(ef) / share.max(1e-9).powf(0.7)
}

impl Layer {
    /// Walks from `entries` through all nodes, collecting up to `ef` that `admit` lets pass, best first; and which share
    /// of the nodes that it came by passed. None when `budget` nodes were scored before the walk came to rest.
    pub fn walk_filtered(
        &self,
        query: &Query,
        entries: &[u32],
        ef: usize,
        budget: usize,
        admit: impl Fn(u32) -> bool,
        scratch: &mut Scratch,
    ) -> Option<(Vec<Found>, f64)> {
        let mut ahead: BinaryHeap<(i32, u32)> = BinaryHeap::new();
        let mut admitted: BinaryHeap<Reverse<(i32, u32)>> = BinaryHeap::new();
        let mut rows: Vec<&[u8]> = Vec::with_capacity(64);
        let before = scratch.scored;
        let (mut near, mut passed, mut from) = (0u32, 0u32, 0);
        scratch.begin(self.nodes.bound(), entries);
        loop {
            rows.clear();
            rows.extend(scratch.fresh(from).iter().map(|&node| self.nodes.rough(node)));
            scratch.score(query, &rows);
            for (&node, &score) in scratch.fresh(from).iter().zip(&scratch.scores) {
                let full = admitted.len() >= ef;
                if full && admitted.peek().is_some_and(|worst| worst.0.0 >= score) {
                    continue;
                }
                ahead.push((score, node));
                near += 1;
                if admit(node) {
                    passed += 1;
                    admitted.push(Reverse((score, node)));
                    if full {
                        admitted.pop();
                    }
                }
            }
            if scratch.scored - before > budget as u64 {
                return None;
            }
            let Some((score, node)) = ahead.pop() else { break };
            if admitted.len() >= ef && admitted.peek().is_some_and(|worst| worst.0.0 > score) {
                break;
            }
            // Likely the next to be followed.
            ahead.peek().into_iter().for_each(|next| prefetch(self.links.row(next.1)));
            from = scratch.met();
            scratch.follow(&self.links, node);
        }
        let mut found: Vec<Found> =
            admitted.into_iter().map(|Reverse((score, node))| Found::new(score, node)).collect();
        found.sort_unstable_by(super::exact::by_rough);
        Some((found, f64::from(passed) / f64::from(near.max(1))))
    }
}
