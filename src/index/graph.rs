//! The navigable graph, built and searched by `hnsw_rs`.
//!
//! Its traps stay in this file: it wants checked unit vectors, knows no deletion, and answers with row numbers.

use super::params::Params;
use super::vectors::dot;
use hnsw_rs::prelude::{Distance, Hnsw};

/// 1 - cosine. The crate's own version stops the program where rounding makes a dot product exceed 1.
struct Cosine;

impl Distance<f32> for Cosine {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

/// Layers above the bottom one, at most.
const LAYERS: usize = 16;

/// A graph over the first rows of the index.
pub struct Graph(Hnsw<'static, f32, Cosine>);

impl Graph {
    /// Links the rows of `vectors` (unit length, `dim` numbers each); uses rayon's threads.
    pub fn build(vectors: &[f32], dim: usize, params: &Params) -> Self {
        let rows: Vec<(&[f32], usize)> = vectors.chunks_exact(dim).zip(0..).collect();
        let mut hnsw = Hnsw::new(params.m, rows.len(), LAYERS, params.ef_construction, Cosine);
        hnsw.parallel_insert_slice(&rows);
        hnsw.set_searching_mode(true);
        Graph(hnsw)
    }

    /// About the `k` rows nearest to `query`, unordered.
    pub fn search(&self, query: &[f32], k: usize, ef: usize) -> Vec<u32> {
        self.0.search(query, k, ef.max(k)).iter().map(|n| n.d_id as u32).collect()
    }
}
