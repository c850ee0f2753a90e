//! Compact codes: 12 bits a component, in two planes.
//!
//! The rough plane (8 bits) is what searches read, because they are bound by the bytes they fetch; the fine plane
//! (4 bits) is added for the few candidates whose order matters, and brings a cosine's error down to some 2e-5. A
//! vector thus takes 1.5 bytes a component in all. All arithmetic on codes is in integers, so that every processor
//! gives the same bits.

use super::kernels::{Kernels, PAIR, fit_pairs, kernels};
use super::rotation::Rotation;
use crate::simd::{whole, widest};

/// Components farther out than this many standard deviations are cut: fewer than one in a
/// million.
const REACH: f32 = 5.0;
/// The largest code, so that its rough part fits 8 bits after rounding.
const LARGEST: f32 = 2039.0;
/// A component's code is `FINE * rough + fine - FINE / 2`, with `fine` in `0..FINE`.
const FINE: i32 = 1 << FINE_BITS;
const FINE_BITS: u32 = 4;
/// Rough components are stored as unsigned bytes: this stands for zero.
const ZERO: i32 = 128;

/// Turns vectors into codes and queries, for one dimension.
pub struct Coder {
    rotation: Rotation,
    scale: f32,
    /// Added before rounding and known afterwards: it keeps the errors of components that are alike from adding up
    /// (subtractive dither).
    dither: Vec<f32>,
}

/// A vector to compare with codes.
#[derive(Clone)]
pub struct Query {
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
    pub fn new(dim: usize) -> Self {
        let rotation = Rotation::new(dim);
        let scale = LARGEST / REACH * (rotation.padded() as f32).sqrt();
        let dither = rotation.noise().iter().map(|x| x * (FINE as f32 / 2.0)).collect();
        Coder { rotation, scale, dither }
    }

    /// Bytes of one row of the rough plane; a multiple of 64.
    pub fn rough_len(&self) -> usize {
        self.rotation.padded()
    }

    /// Bytes of one row of the fine plane: two components a byte.
    pub fn fine_len(&self) -> usize {
        self.rotation.padded() / 2
    }

    /// Writes the codes of a unit vector, a row of each plane.
    pub fn encode(&self, unit: &[f32], rough: &mut [u8], fine: &mut [u8]) {
        encode(self, unit, rough, fine);
    }

    /// The unit vector that a row's codes stand for.
    pub fn decode(&self, rough: &[u8], fine: &[u8]) -> Vec<f32> {
        let mut rotated = Vec::with_capacity(rough.len());
        for (high, low) in rough.chunks_exact(64).zip(fine.chunks_exact(32)) {
            let nibbles = low.iter().map(|b| b & 15).chain(low.iter().map(|b| b >> 4));
            rotated.extend(high.iter().zip(nibbles).map(|(&h, l)| join(h, l) as f32));
        }
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
        Query { bias: bias(&rough), rough, fine, offset, unit: peak / fine_peak / self.scale }
    }
}

widest! {
    fn encode(coder: &Coder, unit: &[f32], rough: &mut [u8], fine: &mut [u8]) {
        let rotated = coder.rotation.apply(unit);
        let registers = rotated.as_chunks::<64>().0.iter().zip(coder.dither.as_chunks::<64>().0);
        let planes = rough.as_chunks_mut::<64>().0.iter_mut().zip(fine.as_chunks_mut::<32>().0);
        for ((x, dither), (rough, fine)) in registers.zip(planes) {
            let code = |at: usize| (x[at] * coder.scale + dither[at]).clamp(-LARGEST, LARGEST);
            // Rounded, and then its upper and its lower bits; whole steps, so that a shift divides downwards.
            let codes: [i32; 64] = std::array::from_fn(|at| whole(code(at)) + FINE / 2);
            *rough = std::array::from_fn(|at| ((codes[at] >> FINE_BITS) + ZERO) as u8);
            // Component j of a register's first half shares a byte with component j of its second half.
            let low = |at: usize| codes[at] & (FINE - 1);
            *fine = std::array::from_fn(|at| (low(at) | (low(at + 32) << FINE_BITS)) as u8);
        }
    }
}

/// A component's code from its two parts.
pub fn join(rough: u8, fine: u8) -> i32 {
    FINE * (i32::from(rough) - ZERO) + i32::from(fine) - FINE / 2
}

fn bias(rough: &[i8]) -> i32 {
    ZERO * rough.iter().map(|&x| i32::from(x)).sum::<i32>()
}

impl Query {
    /// A row of the rough plane as a query, good for rough comparisons only: how links are chosen.
    pub fn of_row(rough: &[u8]) -> Self {
        let mut rough: Vec<i8> = rough.iter().map(|&b| (i32::from(b) - ZERO) as i8).collect();
        fit_pairs(&mut rough);
        Query { bias: bias(&rough), rough, fine: Vec::new(), offset: 0.0, unit: 0.0 }
    }

    /// How far a rough score may be off, so to speak: four standard deviations of what rounding does to it, on either
    /// side. A row whose rough score is lower than another's by more than that has a lower cosine.
    pub fn margin(&self) -> i32 {
        let query: i32 = self.rough.iter().map(|&x| i32::from(x).pow(2)).sum();
        let row = (LARGEST / FINE as f32 / REACH).powi(2) * self.rough.len() as f32;
        (4.0 * ((query as f32 + row) / 12.0).sqrt()) as i32
    }

    /// Without what only [`Query::cosine`] needs.
    pub fn rough_only(mut self) -> Self {
        self.fine = Vec::new();
        self
    }

    /// Rough scores of `rows`, into `out`: they order rows about as cosines do.
    pub fn score(&self, rows: &[&[u8]], out: &mut [i32]) {
        let Kernels { score, .. } = kernels();
        score(rows, &self.rough, out);
        out.iter_mut().take(rows.len()).for_each(|s| *s -= self.bias);
    }

    /// The cosine, from both planes.
    pub fn cosine(&self, rough: &[u8], fine: &[u8]) -> f32 {
        let Kernels { fine: sum, .. } = kernels();
        ((sum(rough, fine, &self.fine) as f64 - self.offset) * f64::from(self.unit)).clamp(-1.0, 1.0) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::unit;
    use super::*;

    #[test]
    fn cosines_survive_coding() {
        for dim in [1usize, 3, 64, 65, 192, 512, 768, 2048] {
            let coder = Coder::new(dim);
            let wave = |f: f32| {
                unit(&(0..dim).map(|i| (i as f32 * f + 1.0).sin()).collect::<Vec<_>>(), dim)
                    .unwrap_or_default()
            };
            for (a, b) in [(wave(0.7), wave(0.7)), (wave(1.3), wave(2.9)), (wave(0.31), wave(0.32))] {
                let (mut rough, mut fine) = (vec![0; coder.rough_len()], vec![0; coder.fine_len()]);
                coder.encode(&a, &mut rough, &mut fine);
                assert_eq!((rough.len(), fine.len()), (coder.rough_len(), coder.fine_len()));
                let right: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
                let found = coder.query(&b).cosine(&rough, &fine);
                assert!((found - right).abs() < 3e-4, "dim {dim}: {found} for {right}");
                for (x, y) in coder.decode(&rough, &fine).iter().zip(&a) {
                    assert!((x - y).abs() < 4.0 / 2039.0, "dim {dim}: {x} for {y}");
                }
            }
        }
    }
}
