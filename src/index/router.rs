//! Where a walk starts: a small graph over a sample of the nodes, built by `hnsw_rs`.
//!
//! The sample's codes lie together and stay in the cache, so that finding a few good starts costs little. It is kept
//! small also because `hnsw_rs` takes kilobytes a point, and prints to standard output from 50,000 points on.

use super::beam::{Layer, Scratch, Scratches};
use super::build;
use super::codes::Query;
use super::links::Links;
use super::nodes::{Nodes, ROWS, Rows};
use super::params::Params;
use hnsw_rs::prelude::{Distance, Hnsw};

/// A node in this many belongs to the sample.
const SHARE: usize = 32;
/// Points of the sample, at most.
const LARGEST: usize = 32_768;
/// Points of the sample, where there are as many nodes.
const SMALLEST: usize = 256;
/// Points that every walk looks at first.
const TOPS: usize = 48;
/// Layers of `hnsw_rs`'s graph, at most.
const LAYERS: usize = 16;

/// The sample and its graph. A point's id is the node that it stands for.
#[derive(Clone, Default)]
pub struct Router {
    /// The first [`TOPS`] points are those of `hnsw_rs`'s upper layers.
    pub layer: Layer,
    tops: Vec<u32>,
}

/// Distances between points, given by their number in the sample.
struct Codes {
    rough: Vec<u8>,
    queries: Vec<Query>,
    len: usize,
}

impl Distance<u32> for Codes {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        let (Some(&a), Some(&b)) = (a.first(), b.first()) else { return f32::MAX };
        let (query, at) = (&self.queries[a as usize], b as usize * self.len);
        let mut score = [0];
        query.score(&[&self.rough[at..at + self.len]], &mut score);
        // hnsw_rs wants distances that are not negative: from the largest possible score downwards.
        (self.len as i32 * 127 * 127 - score[0]) as f32
    }
}

/// How many of `n` nodes stand in the sample.
pub fn sample_size(n: usize) -> usize {
    (n / SHARE).clamp(SMALLEST, LARGEST).min(n)
}

impl Router {
    /// A router over `sample`, nodes of `nodes`.
    pub fn build(nodes: &Nodes, sample: &[u32], params: &Params, scratches: &Scratches) -> Self {
        let (order, links) = hnsw(nodes, sample, params);
        let mut layer = Layer { nodes: nodes.like(), links: Links::new(2 * params.m, 0) };
        for block in order.chunks(ROWS) {
            let mut rows = Rows::default();
            block.iter().for_each(|&point| rows.push_rough(nodes, sample[point as usize]));
            layer.nodes.push(rows);
        }
        layer.links.grow(layer.nodes.blocks());
        for (point, links) in links.iter().enumerate() {
            layer.links.set_plain(point as u32, links);
        }
        let tops: Vec<u32> = (0..sample.len().min(TOPS) as u32).collect();
        let router = Router { layer, tops };
        // hnsw_rs's reverse links keep the nearest, whatever their direction, and leave points without any: mend.
        let points: Vec<u32> = (0..sample.len() as u32).collect();
        for batch in points.chunks(4 * ROWS) {
            build::link(&router.layer, batch, params.ef_construction, scratches, |_| router.tops.clone());
        }
        router
    }

    /// From its parts: `layer`'s ids are nodes.
    pub fn from_layer(layer: Layer) -> Self {
        let tops = layer.nodes.iter(0..layer.nodes.blocks()).take(TOPS).collect();
        Router { layer, tops }
    }

    /// Gives the nodes of the sample the links of their points.
    pub fn copy_links(&self, links: &Links) {
        let Layer { nodes, links: own } = &self.layer;
        for point in nodes.iter(0..nodes.blocks()) {
            let row: Vec<u32> = own.get_plain(point).iter().map(|&p| nodes.id(p)).collect();
            links.set_plain(nodes.id(point), &row);
        }
    }

    /// The same router, where node `n` is now `new[n]`.
    pub fn renumbered(&self, new: &[u32]) -> Self {
        let nodes = self.layer.nodes.with_ids(|node| new[node as usize]);
        Router { layer: Layer { nodes, links: self.layer.links.clone() }, tops: self.tops.clone() }
    }

    /// The points, by the node each stands for.
    pub fn nodes(&self) -> impl Iterator<Item = u32> + '_ {
        let nodes = &self.layer.nodes;
        nodes.iter(0..nodes.blocks()).map(|point| nodes.id(point))
    }

    /// The `count` nodes of the sample that are nearest to `query`, or about.
    pub fn entries(&self, query: &Query, count: usize, ef: usize, scratch: &mut Scratch) -> Vec<u32> {
        self.layer.walk(query, &self.tops, ef, scratch);
        scratch.pool.iter().take(count).map(|f| self.layer.nodes.id(f.node())).collect()
    }
}

/// Builds with `hnsw_rs`: the points in their new order, upper layers first, and each one's bottom links in that order.
fn hnsw(nodes: &Nodes, sample: &[u32], params: &Params) -> (Vec<u32>, Vec<Vec<u32>>) {
    let mut codes = Codes { rough: Vec::new(), queries: Vec::new(), len: nodes.rough(sample[0]).len() };
    for &node in sample {
        codes.rough.extend_from_slice(nodes.rough(node));
        codes.queries.push(nodes.query(node));
    }
    let points: Vec<u32> = (0..sample.len() as u32).collect();
    let hnsw = Hnsw::new(params.m, sample.len(), LAYERS, params.ef_construction, codes);
    // One after another: in parallel the links would depend on threads.
    points.chunks(1).zip(0..).for_each(|point| hnsw.insert(point));
    let mut found: Vec<(u8, u32, Vec<u32>)> = (hnsw.get_point_indexation())
        .into_iter()
        .map(|point| {
            let links = point.get_neighborhood_id();
            let bottom = links.first().map(|l| l.iter().map(|n| n.d_id as u32).collect()).unwrap_or_default();
            (point.get_point_id().0, point.get_origin_id() as u32, bottom)
        })
        .collect();
    found.sort_unstable_by_key(|(level, point, _)| (std::cmp::Reverse(*level), *point));
    let mut new = vec![0; found.len()];
    found.iter().zip(0..).for_each(|((_, point, _), at)| new[*point as usize] = at);
    let order = found.iter().map(|f| f.1).collect();
    let links = found.into_iter().map(|f| f.2.iter().map(|&l| new[l as usize]).collect()).collect();
    (order, links)
}
