//! Linking nodes: each finds its neighbours by walking the graph as it stands, and they link back.
//!
//! Batches are linked in parallel against the graph as it was before the batch, so the result does not depend on
//! threads (the prefix doubling of Dobson et al., ParlayANN, 2024).

use super::beam::{Layer, Scratches};
use super::codes::Query;
use super::prune::{Pruner, candidates};
use rayon::prelude::*;

/// Links `batch` into `layer`, each from where `entries` says its walk shall start. Nodes that have links keep the good
/// ones: called again over all nodes, it mends what an earlier pass could not see.
pub fn link(
    layer: &Layer,
    batch: &[u32],
    ef: usize,
    scratches: &Scratches,
    entries: impl Fn(&Query) -> Vec<u32> + Sync,
) {
    let room = layer.links.plain();
    let chosen: Vec<Vec<u32>> = batch
        .par_iter()
        .map_init(Pruner::default, |pruner, &node| {
            let query = layer.nodes.query(node);
            let mut found = scratches.with(|scratch| {
                layer.walk(&query, &entries(&query), ef, scratch);
                candidates(&scratch.pool, node).collect::<Vec<_>>()
            });
            found.extend(scored(layer, &query, &layer.links.get_plain(node)));
            pruner.choose(&layer.nodes, &mut found, room)
        })
        .collect();
    batch.iter().zip(&chosen).for_each(|(&node, links)| layer.links.set_plain(node, links));
    let mut back: Vec<(u32, u32)> = batch
        .iter()
        .zip(&chosen)
        .flat_map(|(&node, links)| links.iter().map(move |&to| (to, node)))
        .collect();
    back.par_sort_unstable();
    let targets: Vec<&[(u32, u32)]> = back.chunk_by(|a, b| a.0 == b.0).collect();
    targets.par_iter().for_each_init(Pruner::default, |pruner, sources| link_back(layer, sources, pruner));
}

/// Adds links from one node to all that chose it.
fn link_back(layer: &Layer, sources: &[(u32, u32)], pruner: &mut Pruner) {
    let Some(&(node, _)) = sources.first() else { return };
    let mut links = layer.links.get_plain(node);
    let before = links.len();
    links.extend(sources.iter().map(|s| s.1).filter(|s| !links[..before].contains(s)).collect::<Vec<_>>());
    if links.len() > layer.links.plain() {
        let query = layer.nodes.query(node);
        let mut found = scored(layer, &query, &links);
        links = pruner.choose(&layer.nodes, &mut found, layer.links.plain());
    }
    if links.len() > before || before == layer.links.plain() {
        layer.links.set_plain(node, &links);
    }
}

/// `links` with their scores to `query`.
fn scored(layer: &Layer, query: &Query, links: &[u32]) -> Vec<(i32, u32)> {
    let rows: Vec<&[u8]> = links.iter().map(|&l| layer.nodes.rough(l)).collect();
    let mut scores = vec![0; rows.len()];
    query.score(&rows, &mut scores);
    scores.into_iter().zip(links.iter().copied()).collect()
}
