//! Compact codes: 12 bits a component, in two planes; or 8, for those who would rather have the memory.
//!
//! The rough plane (8 bits, or 4) is what searches read, because they are bound by the bytes they fetch; the fine plane
//! (4 bits) is added for the few candidates whose order matters, and brings a cosine's error down to some 2e-5 (with 8 bits
//! in all: 4e-4). A vector thus takes 1.5 bytes a component in all, or 1. All arithmetic on codes is in integers, so that
//! every processor gives the same bits.

use super::kernels::{PAIR, Sums, fit_pairs, kernels};
use super::rotation::Rotation;
use crate::simd::{whole, widest};
use crate::types::Codes;
use std::borrow::Cow;

/// A component's code is `FINE * rough + fine - FINE / 2`, with `fine` in `0..FINE`.
const FINE: i32 = 1 << FINE_BITS;
const FINE_BITS: u32 = 4;
/// Components that lie together in a plane; where two share a byte, one of the first half with one of the second.
const REGISTER: usize = 64;

/// The steps that components are rounded to.
struct Grid {
    /// Rough parts are stored unsigned: this stands for zero.
    zero: i32,
    /// Components farther out than this many standard deviations are cut.
    reach: f32,
}

/// Of 12 bits, one component in a million is cut; of 8, one in ten thousand: where what cutting adds to the error and what steps do
/// come to the least.
const fn grid(codes: Codes) -> Grid {
    match codes {
        Codes::Int8 => Grid { zero: 128, reach: 5.0 },
        Codes::Int4 => Grid { zero: 8, reach: 3.9 },
    }
}

impl Grid {
    /// The largest code, so that its rough part still fits after rounding.
    fn largest(&self) -> f32 {
        (FINE * (self.zero - 1) + FINE / 2 - 1) as f32
    }

    /// Steps to a standard deviation.
    fn steps(&self) -> f32 {
        self.largest() / self.reach
    }
}

/// What one row takes.
#[derive(Clone, Copy, Default)]
pub struct Shape {
    /// How it is coded.
    pub codes: Codes,
    /// Bytes of a row of the rough plane.
    pub rough: usize,
    /// Bytes of a row of the fine plane: two components a byte.
    pub fine: usize,
}

/// Turns vectors into codes and queries, for one dimension.
pub struct Coder {
    codes: Codes,
    rotation: Rotation,
    scale: f32,
    /// Added before rounding and known afterwards: it keeps the errors of components that are alike from adding up
    /// (subtractive dither).
    dither: Vec<f32>,
}

/// A vector to compare with codes.
#[derive(Clone)]
pub struct Query {
    codes: Codes,
    /// For the rough plane.
    rough: Vec<i8>,
    /// What the stored zero adds to each sum.
    bias: i32,
    /// For both planes.
    fine: Vec<i16>,
    /// What the dither adds to a fine sum.
    offset: f64,
    /// A fine sum times this is the cosine.
    unit: f32,
}

impl Coder {
    /// For vectors of `dim` numbers.
    pub fn new(dim: usize, codes: Codes) -> Self {
        let rotation = Rotation::new(dim);
        let scale = grid(codes).steps() * (rotation.padded() as f32).sqrt();
        let dither = rotation.noise().iter().map(|x| x * (FINE as f32 / 2.0)).collect();
        Coder { codes, rotation, scale, dither }
    }

    /// How many components are coded: the vector's, rounded up to whole registers.
    pub fn components(&self) -> usize {
        self.rotation.padded()
    }

    /// What one row takes.
    pub fn shape(&self) -> Shape {
        let components = self.components();
        let rough = match self.codes {
            Codes::Int8 => components,
            Codes::Int4 => components / 2,
        };
        Shape { codes: self.codes, rough, fine: components / 2 }
    }

    /// Writes the codes of a unit vector, a row of each plane.
    pub fn encode(&self, unit: &[f32], rough: &mut [u8], fine: &mut [u8]) {
        match self.codes {
            Codes::Int8 => encode::<REGISTER>(self, unit, rough, fine),
            Codes::Int4 => encode::<{ REGISTER / 2 }>(self, unit, rough, fine),
        }
    }

    /// The unit vector that a row's codes stand for.
    pub fn decode(&self, rough: &[u8], fine: &[u8]) -> Vec<f32> {
        let parts = rough_parts(self.codes, rough);
        let mut rotated: Vec<f32> =
            parts.iter().zip(nibbles(fine)).map(|(&high, low)| join(self.codes, high, low) as f32).collect();
        rotated.iter_mut().zip(&self.dither).for_each(|(x, d)| *x = (*x - d) / self.scale);
        let vector = self.rotation.undo(&rotated);
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        vector.iter().map(|x| x / norm).collect()
    }

    /// A unit vector as a query.
    pub fn query(&self, unit: &[f32]) -> Query {
        let rotated = self.rotation.apply(unit);
        let peak = rotated.iter().fold(f32::MIN_POSITIVE, |a, x| a.max(x.abs()));
        // A pair's sum may grow by one when both are rounded.
        let pairs = rotated.chunks_exact(2).map(|pair| pair.iter().sum::<f32>().abs());
        let reach = pairs.fold(peak, f32::max);
        let rough: Vec<i8> = rotated.iter().map(|x| whole(x * (f32::from(PAIR - 1) / reach)) as i8).collect();
        // The most that sixteen 32-bit sums can hold, whatever the signs.
        let fine_peak = (((1 << 24) / rotated.len()).min(16_384) - 1) as f32;
        let fine: Vec<i16> = rotated.iter().map(|x| whole(x * (fine_peak / peak)) as i16).collect();
        let offset = fine.iter().zip(&self.dither).map(|(&q, &d)| f64::from(q) * f64::from(d)).sum();
        let (codes, bias) = (self.codes, bias(self.codes, &rough));
        Query { codes, bias, rough, fine, offset, unit: peak / fine_peak / self.scale }
    }
}

widest! {
    fn encode<const ROUGH: usize>(coder: &Coder, unit: &[f32], rough: &mut [u8], fine: &mut [u8]) {
        let rotated = coder.rotation.apply(unit);
        let grid = grid(if ROUGH == REGISTER { Codes::Int8 } else { Codes::Int4 });
        let (largest, zero) = (grid.largest(), grid.zero);
        let registers = rotated.as_chunks::<REGISTER>().0.iter().zip(coder.dither.as_chunks::<REGISTER>().0);
        let planes = rough.as_chunks_mut::<ROUGH>().0.iter_mut().zip(fine.as_chunks_mut().0);
        for ((x, dither), (rough, fine)) in registers.zip(planes) {
            let code = |at: usize| (x[at] * coder.scale + dither[at]).clamp(-largest, largest);
            // Rounded, and then its upper and its lower bits; whole steps, so that a shift divides downwards.
            let codes: [i32; REGISTER] = std::array::from_fn(|at| whole(code(at)) + FINE / 2);
            let high: [u8; REGISTER] = std::array::from_fn(|at| ((codes[at] >> FINE_BITS) + zero) as u8);
            match ROUGH {
                REGISTER => rough.copy_from_slice(&high),
                _ => rough.copy_from_slice(&packed(&high)),
            }
            *fine = packed(&std::array::from_fn(|at| (codes[at] & (FINE - 1)) as u8));
        }
    }
}

/// A register's parts of 4 bits, two to a byte.
#[inline(always)]
fn packed(parts: &[u8; REGISTER]) -> [u8; REGISTER / 2] {
    std::array::from_fn(|at| parts[at] | (parts[at + REGISTER / 2] << FINE_BITS))
}

/// The parts of 4 bits that a plane holds, component by component.
pub fn nibbles(plane: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let registers = plane.chunks_exact(REGISTER / 2);
    registers.flat_map(|bytes| bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> FINE_BITS)))
}

/// A row's rough parts, component by component.
fn rough_parts(codes: Codes, rough: &[u8]) -> Cow<'_, [u8]> {
    match codes {
        Codes::Int8 => rough.into(),
        Codes::Int4 => nibbles(rough).collect(),
    }
}

/// A component's code from its two parts.
pub fn join(codes: Codes, rough: u8, fine: u8) -> i32 {
    FINE * (i32::from(rough) - grid(codes).zero) + i32::from(fine) - FINE / 2
}

/// The codes of a row of 4 and 4 bits. Building asks this of each row that it links, so that it goes by whole bytes, which the compiler
/// puts into registers.
fn joined(rough: &[u8], fine: &[u8]) -> Vec<i8> {
    const HALF: usize = REGISTER / 2;
    let zero = join(Codes::Int4, 0, 0) as u8;
    let mut codes = vec![0; 2 * rough.len()];
    let planes = rough.as_chunks::<HALF>().0.iter().zip(fine.as_chunks::<HALF>().0);
    for (codes, (high, low)) in codes.as_chunks_mut::<REGISTER>().0.iter_mut().zip(planes) {
        let (first, second) = codes.split_at_mut(HALF);
        for at in 0..HALF {
            first[at] = (high[at] << FINE_BITS | low[at] & 15).wrapping_add(zero).cast_signed();
            second[at] = (high[at] & !15 | low[at] >> FINE_BITS).wrapping_add(zero).cast_signed();
        }
    }
    codes
}

fn bias(codes: Codes, rough: &[i8]) -> i32 {
    grid(codes).zero * rough.iter().map(|&x| i32::from(x)).sum::<i32>()
}

impl Query {
    /// A row as a query, good for rough comparisons only: how links are chosen. Of 4 bits alone links would be poor, so that
    /// both planes make the query there, where there are both.
    pub fn of_row(codes: Codes, rough: &[u8], fine: &[u8]) -> Self {
        let alone = |&part: &u8| (i32::from(part) - grid(codes).zero) as i8;
        let mut rough: Vec<i8> = match codes {
            Codes::Int4 if !fine.is_empty() => joined(rough, fine),
            _ => rough_parts(codes, rough).iter().map(alone).collect(),
        };
        fit_pairs(&mut rough);
        Query { codes, bias: bias(codes, &rough), rough, fine: Vec::new(), offset: 0.0, unit: 0.0 }
    }

    /// How far a rough score may be off, so to speak: four standard deviations of what rounding does to it, on either
    /// side. A row whose rough score is lower than another's by more than that has a lower cosine.
    pub fn margin(&self) -> i32 {
        let query: i32 = self.rough.iter().map(|&x| i32::from(x).pow(2)).sum();
        let row = (grid(self.codes).steps() / FINE as f32).powi(2) * self.rough.len() as f32;
        (4.0 * ((query as f32 + row) / 12.0).sqrt()) as i32
    }

    /// Without what only [`Query::cosine`] needs.
    pub fn rough_only(mut self) -> Self {
        self.fine = Vec::new();
        self
    }

    /// Rough scores of `rows`, into `out`: they order rows about as cosines do.
    pub fn score(&self, rows: &[&[u8]], out: &mut [i32]) {
        let Sums { score, .. } = kernels().of(self.codes);
        score(rows, &self.rough, out);
        out.iter_mut().take(rows.len()).for_each(|s| *s -= self.bias);
    }

    /// The cosine, from both planes.
    pub fn cosine(&self, rough: &[u8], fine: &[u8]) -> f32 {
        let Sums { fine: sum, .. } = kernels().of(self.codes);
        ((sum(rough, fine, &self.fine) as f64 - self.offset) * f64::from(self.unit)).clamp(-1.0, 1.0) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::unit;
    use super::*;

    #[test]
    fn codes_of_a_row_are_its_parts() {
        let (rough, fine): (Vec<u8>, Vec<u8>) =
            (0..64u32).map(|n| ((n * 89 + 7) as u8, (n * 57 + 3) as u8)).unzip();
        let parts = nibbles(&rough).zip(nibbles(&fine));
        let wanted: Vec<i8> = parts.map(|(high, low)| join(Codes::Int4, high, low) as i8).collect();
        assert_eq!(joined(&rough, &fine), wanted);
    }

    #[test]
    fn cosines_survive_coding() {
        let dims = [1usize, 3, 64, 65, 192, 512, 768, 2048];
        for (dim, (codes, close, near)) in dims.into_iter().flat_map(|dim| {
            [(Codes::Int8, 3e-4, 4.0 / 2039.0), (Codes::Int4, 1e-2, 4.0 / 119.0)].map(|of| (dim, of))
        }) {
            let coder = Coder::new(dim, codes);
            let shape = coder.shape();
            let wave = |f: f32| {
                unit(&(0..dim).map(|i| (i as f32 * f + 1.0).sin()).collect::<Vec<_>>(), dim)
                    .unwrap_or_default()
            };
            for (a, b) in [(wave(0.7), wave(0.7)), (wave(1.3), wave(2.9)), (wave(0.31), wave(0.32))] {
                let (mut rough, mut fine) = (vec![0; shape.rough], vec![0; shape.fine]);
                coder.encode(&a, &mut rough, &mut fine);
                let right: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
                let found = coder.query(&b).cosine(&rough, &fine);
                assert!((found - right).abs() < close, "{codes}, dim {dim}: {found} for {right}");
                for (x, y) in coder.decode(&rough, &fine).iter().zip(&a) {
                    assert!((x - y).abs() < near, "{codes}, dim {dim}: {x} for {y}");
                }
            }
        }
    }
}
