//! A sealed block: the vectors of 256 slots in a row, in one piece with a checksum.
//!
//! | bytes | what, all little-endian |
//! |---|---|
//! | 4 | `EYB1` |
//! | 4, 4, 4 | the block's number (its first slot / 256), dimensions, vectors |
//! | n | the slots that have a vector, each less the first, one byte |
//! | 8 n | the items they stand for |
//! | 2 n dim | the vectors, f16 |
//! | 16 | BLAKE3 of all before, its first half |
//!
//! Why f16: it moves the cosine of unit vectors by 1e-5 or so, and by less than 1e-4 (`tests/store/blocks.rs` holds us to it),
//! which is finer than the codes that searches compare, at half the bytes of f32.

use super::record::VectorRecord;
use crate::error::{Error, Result};
use crate::types::ItemId;
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Slots of a block.
pub const SLOTS: u32 = 256;

const MAGIC: &[u8; 4] = b"EYB1";
/// Bytes of a checksum.
pub(super) const SUM: usize = 16;

/// The vectors of slots `number * SLOTS ..`, by slot.
pub(super) struct Block {
    pub number: u32,
    pub rows: Vec<(u32, VectorRecord)>,
}

impl Block {
    /// The block that a slot belongs to.
    pub fn of(slot: u32) -> u32 {
        slot / SLOTS
    }

    /// Its slots. Wide, since the last block ends where u32 does.
    pub fn slots(number: u32) -> std::ops::Range<u64> {
        let first = u64::from(number) * u64::from(SLOTS);
        first..first + u64::from(SLOTS)
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let dim = self.rows.first().map_or(0, |(_, row)| row.vector.len());
        if self.rows.iter().any(|(_, row)| row.vector.len() != dim) {
            return Err(damaged(self.number, "its vectors differ in length"));
        }
        let mut bytes = Vec::with_capacity(64 + self.rows.len() * (9 + 2 * dim));
        bytes.extend(MAGIC);
        for n in [self.number, dim as u32, self.rows.len() as u32] {
            bytes.extend(n.to_le_bytes());
        }
        bytes.extend(self.rows.iter().map(|(slot, _)| (slot % SLOTS) as u8));
        bytes.extend(self.rows.iter().flat_map(|(_, row)| row.item.0.to_le_bytes()));
        self.rows.iter().for_each(|(_, row)| put_halves(&row.vector, &mut bytes));
        bytes.extend(sum(&bytes));
        Ok(bytes)
    }

    /// Block `number` of these bytes, every vector checked.
    pub fn from_bytes(number: u32, bytes: &[u8]) -> Result<Self> {
        let bad = |why| damaged(number, why);
        let (body, tail) = bytes.split_last_chunk::<SUM>().ok_or_else(|| bad("it is cut short"))?;
        if sum(body) != *tail {
            return Err(bad("its checksum does not match"));
        }
        let rest = body.strip_prefix(MAGIC).ok_or_else(|| bad("it is no block"))?;
        let (head, rest) = rest.split_first_chunk::<12>().ok_or_else(|| bad("it is cut short"))?;
        let field = |at: usize| head.as_chunks::<4>().0.get(at).map_or(0, |b| u32::from_le_bytes(*b));
        let (dim, count) = (field(1) as usize, field(2) as usize);
        if field(0) != number {
            return Err(bad("it is another block"));
        }
        if count > SLOTS as usize || rest.len() != count * (9 + 2 * dim) {
            return Err(bad("its length does not match"));
        }
        let (slots, rest) = rest.split_at(count);
        let (items, halves) = rest.split_at(8 * count);
        let items = items.as_chunks::<8>().0.iter().map(|b| ItemId(u64::from_le_bytes(*b)));
        let vectors = halves.chunks_exact((2 * dim).max(1)).map(from_halves);
        let slots = slots.iter().map(|s| number * SLOTS + u32::from(*s));
        let rows =
            slots.zip(items.zip(vectors)).map(|(s, (item, vector))| (s, VectorRecord { item, vector }));
        Ok(Block { number, rows: rows.collect() })
    }
}

/// A vector as the store keeps it: each number rounded to f16.
pub fn kept(vector: &[f32]) -> Vec<f32> {
    vector.iter().map(|x| f16::from_f32(*x).to_f32()).collect()
}

pub(super) fn put_halves(vector: &[f32], bytes: &mut Vec<u8>) {
    let mut halves = vec![f16::ZERO; vector.len()];
    halves.convert_from_f32_slice(vector);
    bytes.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
}

pub(super) fn from_halves(bytes: &[u8]) -> Vec<f32> {
    // Some at a time, which stay in registers or nearly: this is most of what opening a large collection does to its vectors.
    const SOME: usize = 64;
    let mut vector = vec![0f32; bytes.len() / 2];
    let mut halves = [f16::ZERO; SOME];
    for (to, from) in vector.chunks_mut(SOME).zip(bytes.as_chunks::<2>().0.chunks(SOME)) {
        let halves = &mut halves[..to.len()];
        halves.iter_mut().zip(from).for_each(|(half, bytes)| *half = f16::from_le_bytes(*bytes));
        halves.convert_to_f32_slice(to);
    }
    vector
}

/// BLAKE3, its first half.
pub(super) fn sum(bytes: &[u8]) -> [u8; SUM] {
    let mut half = [0; SUM];
    half.iter_mut().zip(blake3::hash(bytes).as_bytes()).for_each(|(to, from)| *to = *from);
    half
}

fn damaged(number: u32, why: &str) -> Error {
    Error::Corrupt { reason: format!("block {number} of vectors: {why}") }
}
