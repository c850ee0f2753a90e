//! The graph, written down: who links to whom, and for which vectors.
//!
//! Vectors are not in it; whoever keeps them brings them along. A row's print tells whether a vector is still the one
//! that was linked: one that is not joins the tail. Little-endian throughout:
//!
//! ```text
//!     "EYEGRAPH", version, dim, plain, guided, nodes, points,                        8 bytes, then 9 words
//!         breadth for samples, recall, breadth for its own                           version 2 lacks the last
//!     nodes x id, nodes x print, nodes x (plain + guided) links                      a missing link is NONE
//!     points x node, points x point_links links                                     point_links = plain
//!     BLAKE3 of all that                                                             32 bytes
//! ```

use super::beam::Layer;
use super::calibrate::Breadths;
use super::frozen::Frozen;
use super::links::Links;
use super::nodes::{Filling, Nodes, ROWS, Rows};
use super::paged::Paged;
use super::router::Router;
use crate::error::{Error, Result};
use std::collections::HashMap;

const MAGIC: &[u8; 8] = b"EYEGRAPH";
const VERSION: u32 = 3;
/// The version that knew one breadth for all queries.
const ONE_BREADTH: u32 = 2;
const NONE: u32 = u32::MAX;
/// A recall is written as a whole number of these.
const RECALL: f64 = 10_000.0;
const HASH: usize = 32;
/// More links than any index has; larger numbers are damage.
const MOST_LINKS: u32 = 256;

/// A graph as it was written.
pub struct Written {
    plain: usize,
    guided: usize,
    breadths: Breadths,
    recall: f64,
    ids: Vec<u32>,
    prints: Vec<u32>,
    links: Vec<u32>,
    points: Vec<u32>,
    point_links: Vec<u32>,
}

/// The signs of a row's first 32 components: enough to tell other vectors, and blind to rounding, for stored vectors may
/// be in half precision.
pub fn print(rough: &[u8]) -> u32 {
    rough.iter().take(32).fold(0, |print, &byte| print << 1 | u32::from(byte >= 128))
}

/// Whether a vector with this print may take the links that were made for the other: it is the same, or lies so near
/// that they serve.
fn akin(a: u32, b: u32) -> bool {
    (a ^ b).count_ones() <= 4
}

/// The bytes of a graph over vectors of `dim` numbers; only what lives.
pub fn write(frozen: &Frozen, dim: usize) -> Vec<u8> {
    let Layer { nodes, links } = &frozen.layer;
    let alive: Vec<u32> = nodes.iter(0..frozen.linked).filter(|&node| !nodes.is_dead(node)).collect();
    let mut number = vec![NONE; nodes.bound()];
    alive.iter().zip(0..).for_each(|(&node, at)| number[node as usize] = at);

    let points = &frozen.router.layer;
    let stands: Vec<u32> = points.nodes.iter(0..points.nodes.blocks()).collect();
    let kept: Vec<u32> =
        stands.into_iter().filter(|&point| number[points.nodes.id(point) as usize] != NONE).collect();
    let renumbered: HashMap<u32, u32> = kept.iter().copied().zip(0..).collect();

    let head = [VERSION, dim as u32, links.plain() as u32, links.guided() as u32];
    let sizes = [alive.len() as u32, kept.len() as u32, frozen.breadths.sampled as u32];
    let recall = (frozen.recall * RECALL) as u32;
    let mut words: Vec<u32> =
        head.into_iter().chain(sizes).chain([recall, frozen.breadths.own as u32]).collect();
    words.extend(alive.iter().map(|&node| nodes.id(node)));
    words.extend(alive.iter().map(|&node| print(nodes.rough(node))));
    let known = |to: &u32| number.get(*to as usize).copied().filter(|&to| to != NONE);
    for &node in &alive {
        put(&mut words, links.get_plain(node).iter().filter_map(known), links.plain());
        put(&mut words, links.get_guided(node).iter().filter_map(known), links.guided());
    }
    words.extend(kept.iter().map(|&point| number[points.nodes.id(point) as usize]));
    for &point in &kept {
        let row = points.links.get_plain(point);
        put(&mut words, row.iter().filter_map(|to| renumbered.get(to).copied()), links.plain());
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

/// One part of a row: the links, then NONE up to `len`.
fn put(words: &mut Vec<u32>, links: impl Iterator<Item = u32>, len: usize) {
    words.extend(links.chain(std::iter::repeat(NONE)).take(len));
}

/// Reads what [`write`] wrote for vectors of `dim` numbers; an error for anything else.
pub fn read(bytes: &[u8], dim: usize) -> Result<Written> {
    let damaged = |what: &str| Error::Corrupt { reason: format!("a stored graph {what}") };
    let (body, hash) = bytes.split_last_chunk::<HASH>().ok_or_else(|| damaged("is cut short"))?;
    if blake3::hash(body) != blake3::Hash::from(*hash) {
        return Err(damaged("does not agree with its checksum"));
    }
    let body = body.strip_prefix(MAGIC).ok_or_else(|| damaged("is something else"))?;
    let mut words = body.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
    let mut word = || words.next().ok_or_else(|| damaged("is cut short"));
    let (version, found_dim) = (word()?, word()?);
    let (plain, guided, nodes, points, sampled, recall) =
        (word()?, word()?, word()?, word()?, word()?, word()?);
    let (own, head) = if version == ONE_BREADTH { (sampled, 8) } else { (word()?, 9) };
    if ![VERSION, ONE_BREADTH].contains(&version)
        || found_dim as usize != dim
        || plain > MOST_LINKS
        || guided > MOST_LINKS
    {
        return Err(damaged(&format!("has version {version} and vectors of {found_dim} numbers")));
    }
    let (n, p) = (nodes as usize, points as usize);
    let (plain, guided) = (plain as usize, guided as usize);
    let sizes = [n, n, n * (plain + guided), p, p * plain];
    if body.len() != 4 * (head + sizes.iter().sum::<usize>()) {
        return Err(damaged("has another size than it says"));
    }
    let mut take = |len: usize| words.by_ref().take(len).collect::<Vec<u32>>();
    let [ids, prints, links, points, point_links] = sizes.map(&mut take);
    let within = |links: &[u32], bound: usize| links.iter().all(|&l| l == NONE || (l as usize) < bound);
    if !within(&links, n) || !within(&point_links, p) || !points.iter().all(|&node| (node as usize) < n) {
        return Err(damaged("has links that lead nowhere"));
    }
    if p == 0 && n > 0 {
        return Err(damaged("has no point to start from"));
    }
    let breadths = Breadths { own: own as usize, sampled: sampled as usize };
    let recall = f64::from(recall) / RECALL;
    Ok(Written { plain, guided, breadths, recall, ids, prints, links, points, point_links })
}

/// A vector's id and codes.
#[derive(Clone, Copy)]
pub struct Coded<'a> {
    /// Its id.
    pub id: u32,
    /// Its row of the rough plane.
    pub rough: &'a [u8],
    /// Its row of the fine plane.
    pub fine: &'a [u8],
}

/// Takes vectors, and puts the graph together again.
pub struct Restore {
    written: Written,
    places: Paged<u32>,
    blocks: Vec<Filling>,
    nodes: Nodes,
    left: Rows,
    missing: usize,
}

impl Restore {
    /// Ready for vectors that are coded as those of `nodes`, of which there are none yet.
    pub fn new(written: Written, nodes: Nodes) -> Self {
        let mut places = Paged::default();
        let mut blocks = Vec::new();
        for (block, ids) in written.ids.chunks(ROWS).enumerate() {
            for (&id, node) in ids.iter().zip((block * ROWS) as u32..) {
                places.insert(id, node);
            }
            blocks.push(Filling::new(ids.to_vec(), &nodes));
        }
        let missing = written.ids.len();
        Restore { written, places, blocks, nodes, left: Rows::default(), missing }
    }

    /// Puts a vector where the graph has it, or aside.
    pub fn add(&mut self, vector: Coded) {
        let place = self.places.get(vector.id).map(|node| node as usize);
        let place = place
            .filter(|&node| self.written.prints.get(node).is_some_and(|&p| akin(p, print(vector.rough))));
        let block = place.and_then(|node| self.blocks.get_mut(node / ROWS));
        let Coded { id, rough, fine } = vector;
        let (Some(node), Some(block)) = (place, block) else { return self.left.add(id, rough, fine) };
        self.missing -= usize::from(block.put(node % ROWS, rough, fine));
    }

    /// The graph, and the vectors that it doesn't know. An error where it lacks a tenth of its own: it belongs to
    /// other vectors.
    pub fn finish(self) -> Result<(Frozen, Rows)> {
        let Restore { written, blocks, nodes, left, missing, .. } = self;
        if 10 * missing > written.ids.len() {
            let of = written.ids.len();
            return Err(Error::Corrupt {
                reason: format!("a stored graph lacks {missing} of its {of} vectors"),
            });
        }
        let mut layer = Layer { nodes, links: Links::new(written.plain, written.guided) };
        blocks.into_iter().for_each(|block| layer.nodes.push_filled(block));
        layer.links.grow(layer.nodes.blocks());
        let until_none = |part: &'_ [u32]| part.iter().position(|&l| l == NONE).unwrap_or(part.len());
        let stride = written.plain + written.guided;
        for (node, row) in written.links.chunks_exact(stride.max(1)).enumerate() {
            let (plain, guided) = row.split_at(written.plain);
            layer.links.set_plain(node as u32, &plain[..until_none(plain)]);
            layer.links.set_guided(node as u32, &guided[..until_none(guided)]);
        }
        let mut points = Layer { nodes: layer.nodes.like(), links: Links::new(written.plain, 0) };
        for block in written.points.chunks(ROWS) {
            let mut rows = Rows::default();
            block.iter().for_each(|&node| rows.push_rough(&layer.nodes, node));
            points.nodes.push(rows);
        }
        points.links.grow(points.nodes.blocks());
        for (point, row) in written.point_links.chunks_exact(written.plain.max(1)).enumerate() {
            points.links.set_plain(point as u32, &row[..until_none(row)]);
        }
        let (linked, built) = (layer.nodes.blocks(), written.ids.len());
        let router = Router::from_layer(points);
        let (breadths, recall) = (written.breadths, written.recall);
        Ok((Frozen { layer, router, linked, built, breadths, recall, ..Frozen::default() }, left))
    }
}
