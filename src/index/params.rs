//! What a caller may set, and what it is told.

use crate::error::{Error, Result};
use crate::types::Codes;
use roaring::RoaringBitmap;

/// The longest vector that is taken: integer sums over codes stay far from overflow up to here.
pub const MAX_DIM: usize = 8192;

/// How an index is built. Checked once, by [`super::Index::new`].
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// Links a node has on the upper layers; twice as many on the bottom one.
    pub m: usize,
    /// Breadth of the search that finds a new node's neighbours.
    pub ef_construction: usize,
    /// Up to this many vectors a scan is as fast as following links, and misses nothing.
    pub scan_below: usize,
    /// A tail of this many vectors is worth linking, once they are too many to scan.
    pub tail_limit: usize,
    /// Where random choices start.
    pub seed: u64,
    /// How vectors are kept.
    pub codes: Codes,
}

impl Default for Params {
    fn default() -> Self {
        let codes = Codes::default();
        Params { m: 16, ef_construction: 128, scan_below: 8_192, tail_limit: 4_096, seed: 1, codes }
    }
}

impl Params {
    /// Whether the settings make sense together; the error says which do not.
    pub fn check(&self) -> Result<()> {
        if !(4..=64).contains(&self.m) {
            return Err(Error::invalid(format!("m {}", self.m), "4 to 64 links"));
        }
        if !(self.m..=4096).contains(&self.ef_construction) {
            return Err(Error::invalid(
                format!("ef_construction {}", self.ef_construction),
                format!("{} to 4096", self.m),
            ));
        }
        Ok(())
    }
}

/// What a query is like: texts among images lie where a graph of images needs a wider search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryKind {
    /// Anything.
    #[default]
    Any,
    /// The vectors that are indexed.
    Own,
    /// The sample queries ([`Index::add_sample_queries`](super::Index::add_sample_queries)), or others that are not like what is indexed.
    Sampled,
}

/// How one search goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SearchOptions<'a> {
    /// Breadth of the graph search; more finds more and takes longer. None: what the index found fit for such queries.
    pub ef: Option<usize>,
    /// What the query is like.
    pub kind: QueryKind,
    /// Only these ids may answer.
    pub allowed: Option<&'a RoaringBitmap>,
    /// Score everything that may answer instead of following links.
    pub exact: bool,
    /// Only neighbours with at least this cosine.
    pub threshold: Option<f32>,
}

/// One vector that answers a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// The id it was inserted under.
    pub id: u32,
    /// Cosine between query and vector.
    pub score: f32,
}

/// What an index is made of at the moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Vectors that can be found.
    pub vectors: usize,
    /// Removed or replaced vectors that still take room, until the next rebuild.
    pub tombstones: usize,
    /// Vectors that no link leads to yet: every search scans them.
    pub tail: usize,
    /// Linked vectors that no path of links reaches, as of the last rebuild; 0 unless something is wrong.
    pub unreachable: usize,
    /// Breadth of a search for which none is asked, whatever its query is like.
    pub ef: usize,
    /// The share of the ten nearest that this breadth found when the graph was built, for vectors and sample queries held
    /// back from it; 0 where there is no graph.
    pub recall: f64,
    /// Which instructions sum the codes: `scalar`, `avx2`, `avx512-vnni`.
    pub kernels: &'static str,
}
