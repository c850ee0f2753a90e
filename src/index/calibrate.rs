//! Which breadth a walk needs on this very data, measured against a scan.

use super::beam::{Found, Scratches};
use super::codes::Query;
use super::exact::{Best, by_rough, scan};
use super::frozen::Frozen;
use super::params::QueryKind;
use rayon::prelude::*;

/// Found among the ten nearest, on average, where nobody asks for another breadth: 0.99, and two standard errors of what
/// is measured on so few queries.
const RECALL: f64 = 0.995;
/// How many are looked for.
const TOP: usize = 10;
/// Breadths that are tried; where none is enough, the least that finds as much as any.
const LADDER: [usize; 15] = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];

/// How wide to search.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Breadths {
    /// For queries like the vectors that are indexed.
    pub own: usize,
    /// For queries like the samples.
    pub sampled: usize,
}

impl Breadths {
    /// For such a query.
    pub fn of(self, kind: QueryKind) -> usize {
        match kind {
            QueryKind::Any => self.own.max(self.sampled),
            QueryKind::Own => self.own,
            QueryKind::Sampled => self.sampled,
        }
    }
}

/// The least breadths that find [`RECALL`] of what is nearest among `linked`, for the nodes in `held` (which are not
/// linked, since a graph does better on what it has seen) and for `samples`; and the least share that they find (0: unknown).
pub fn calibrate(
    frozen: &Frozen,
    linked: &[u32],
    held: &[u32],
    samples: &[Query],
    scratches: &Scratches,
) -> (Breadths, f64) {
    let own: Vec<Query> = held.iter().map(|&n| frozen.layer.nodes.query(n)).collect();
    let breadth = |queries: &[Query]| {
        if queries.is_empty() {
            return (0, 1.0);
        }
        let right: Vec<Vec<Found>> = queries.par_iter().map(|query| nearest(frozen, linked, query)).collect();
        let mut best = (0, 0.0);
        for ef in LADDER {
            let found = recall(frozen, queries, &right, ef, scratches);
            if found > best.1 {
                best = (ef, found);
            }
            if found >= RECALL {
                break;
            }
        }
        best
    };
    let (own, sampled) = (breadth(&own), breadth(samples));
    (Breadths { own: own.0, sampled: sampled.0 }, own.1.min(sampled.1))
}

/// The nearest of `linked`, by scan.
fn nearest(frozen: &Frozen, linked: &[u32], query: &Query) -> Vec<Found> {
    let mut best: Best<Found> = Best::new(TOP, by_rough);
    scan(query, linked.iter().map(|&node| (node, frozen.layer.nodes.rough(node))), &mut best);
    best.into_sorted()
}

/// The share of `right` that walks of breadth `ef` find, or others that are as near.
fn recall(frozen: &Frozen, queries: &[Query], right: &[Vec<Found>], ef: usize, scratches: &Scratches) -> f64 {
    let hits: usize = (queries.par_iter().zip(right))
        .map(|(query, right)| {
            let Some(last) = right.last() else { return 0 };
            scratches.with(|scratch| {
                frozen.walk(query, ef, scratch);
                scratch.pool.iter().take(right.len()).filter(|found| found.score >= last.score).count()
            })
        })
        .sum();
    hits as f64 / right.iter().map(Vec::len).sum::<usize>().max(1) as f64
}
