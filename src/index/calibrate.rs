//! Which breadth a walk needs on this very data, measured against a scan.

use super::beam::{Found, Scratches};
use super::codes::Query;
use super::exact::{Best, by_rough, scan};
use super::frozen::Frozen;
use rayon::prelude::*;

/// Found among the ten nearest, on average, where nobody asks for another breadth: 0.99, and two standard errors of what
/// is measured on so few queries.
const RECALL: f64 = 0.995;
/// How many are looked for.
const TOP: usize = 10;
/// Breadths that are tried; the last is taken where none is enough.
const LADDER: [usize; 15] = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];

/// The least breadth that finds [`RECALL`] of what is nearest among `linked`, for the nodes in `held` (which are not
/// linked, since a graph does better on what it has seen) and for `samples`; and the share that it finds (0: unknown).
pub fn calibrate(
    frozen: &Frozen,
    linked: &[u32],
    held: &[u32],
    samples: &[Query],
    scratches: &Scratches,
) -> (usize, f64) {
    let images: Vec<Query> = held.iter().map(|&n| Query::of_row(frozen.layer.nodes.rough(n))).collect();
    let breadth = |queries: &[Query]| {
        if queries.is_empty() {
            return (0, 1.0);
        }
        let right: Vec<Vec<u32>> = queries.par_iter().map(|query| nearest(frozen, linked, query)).collect();
        let mut last = (0, 0.0);
        for ef in LADDER {
            last = (ef, recall(frozen, queries, &right, ef, scratches));
            if last.1 >= RECALL {
                break;
            }
        }
        last
    };
    let (images, samples) = (breadth(&images), breadth(samples));
    (images.0.max(samples.0), images.1.min(samples.1))
}

/// The nearest of `linked`, by scan.
fn nearest(frozen: &Frozen, linked: &[u32], query: &Query) -> Vec<u32> {
    let mut best: Best<Found> = Best::new(TOP, by_rough);
    scan(query, linked.iter().map(|&node| (node, frozen.layer.nodes.rough(node))), &mut best);
    best.into_sorted().iter().map(Found::node).collect()
}

fn recall(frozen: &Frozen, queries: &[Query], right: &[Vec<u32>], ef: usize, scratches: &Scratches) -> f64 {
    let hits: usize = (queries.par_iter().zip(right))
        .map(|(query, right)| {
            scratches.with(|scratch| {
                frozen.walk(query, ef, scratch);
                scratch.pool.iter().take(TOP).filter(|found| right.contains(&found.node())).count()
            })
        })
        .sum();
    hits as f64 / right.iter().map(Vec::len).sum::<usize>().max(1) as f64
}
