//! A fixed random rotation, which spreads a vector's energy evenly over its components.
//!
//! Encoders put much of it into a few components, and a code that fits those wastes its bits on the others. After the
//! rotation every component of a unit vector is about normal with variance 1 / n, whatever the encoder, so one scale
//! fits all (the randomised Hadamard transform; Ailon and Chazelle, 2009). Cosines stay as they were.

/// Rotates vectors of `dim` numbers into `padded` ones.
pub struct Rotation {
    dim: usize,
    padded: usize,
    signs: Vec<f32>,
    noise: Vec<f32>,
}

/// Codes are read in registers of this many components.
const LANES: usize = 64;

/// What the signs are drawn from; part of the format of stored graphs.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

impl Rotation {
    /// The rotation for vectors of `dim` numbers; equal everywhere and always.
    pub fn new(dim: usize) -> Self {
        let padded = dim.next_multiple_of(LANES);
        let mut state = SEED;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let signs = (0..2 * padded).map(|_| if next() & (1 << 20) == 0 { -1.0 } else { 1.0 }).collect();
        let noise = (0..padded).map(|_| (next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect();
        Rotation { dim, padded, signs, noise }
    }

    /// A fixed random number in -1..1 for each component.
    pub fn noise(&self) -> &[f32] {
        &self.noise
    }

    /// How many components a rotated vector has: `dim`, rounded up to whole registers.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// The transform works on blocks of a power of two.
    fn block(&self) -> usize {
        1 << self.padded.trailing_zeros()
    }

    /// `vector`, rotated. Inlined, so that it is compiled for what its caller is.
    #[inline(always)]
    pub fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let mut v = vec![0.0; self.padded];
        for (to, from) in v.iter_mut().zip(vector) {
            *to = *from;
        }
        let (first, second) = self.signs.split_at(self.padded);
        flip(&mut v, first);
        self.turn(&mut v);
        if self.block() < self.padded {
            // Blocks have not met yet: deal the components out over all of them and turn once more.
            v = self.deal(&v);
            flip(&mut v, second);
            self.turn(&mut v);
        }
        v
    }

    /// The vector that `rotated` was made from.
    pub fn undo(&self, rotated: &[f32]) -> Vec<f32> {
        let mut v = rotated.to_vec();
        let (first, second) = self.signs.split_at(self.padded);
        if self.block() < self.padded {
            self.turn(&mut v);
            flip(&mut v, second);
            v = self.gather(&v);
        }
        self.turn(&mut v);
        flip(&mut v, first);
        v.truncate(self.dim);
        v
    }

    /// Each block, transformed.
    #[inline(always)]
    fn turn(&self, v: &mut [f32]) {
        // A loop: what `for_each` calls would not be compiled for what the caller is.
        for block in v.chunks_exact_mut(self.block()) {
            hadamard(block);
        }
    }

    /// Row-major blocks read column by column.
    fn deal(&self, v: &[f32]) -> Vec<f32> {
        let block = self.block();
        (0..block).flat_map(|column| v.iter().skip(column).step_by(block).copied()).collect()
    }

    fn gather(&self, v: &[f32]) -> Vec<f32> {
        let rows = self.padded / self.block();
        (0..rows).flat_map(|row| v.iter().skip(row).step_by(rows).copied()).collect()
    }
}

#[inline(always)]
fn flip(v: &mut [f32], signs: &[f32]) {
    v.iter_mut().zip(signs).for_each(|(x, s)| *x *= s);
}

/// The orthonormal Walsh-Hadamard transform, in place; its own inverse. `v` has a power of two numbers, eight
/// or more.
#[inline(always)]
fn hadamard(v: &mut [f32]) {
    // The first rounds stay within eight numbers, which fit a register or two.
    let (eights, _) = v.as_chunks_mut::<8>();
    for x in eights.iter_mut() {
        let y: [f32; 8] = std::array::from_fn(|i| if i & 1 == 0 { x[i] + x[i + 1] } else { x[i - 1] - x[i] });
        let z: [f32; 8] = std::array::from_fn(|i| if i & 2 == 0 { y[i] + y[i + 2] } else { y[i - 2] - y[i] });
        *x = std::array::from_fn(|i| if i & 4 == 0 { z[i] + z[i + 4] } else { z[i - 4] - z[i] });
    }
    let mut half = 8;
    while half < v.len() {
        for pair in v.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (v.len() as f32).sqrt();
    v.iter_mut().for_each(|x| *x *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_keeps_lengths_and_can_be_undone() {
        for dim in [1, 2, 63, 64, 100, 192, 320, 512, 768, 1000] {
            let rotation = Rotation::new(dim);
            let vector: Vec<f32> = (0..dim).map(|i| ((i * 37 + 11) % 23) as f32 - 9.0).collect();
            let square = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>();
            let rotated = rotation.apply(&vector);
            assert!(rotated.len().is_multiple_of(64) && rotated.len() == rotation.padded());
            assert!((square(&rotated) / square(&vector) - 1.0).abs() < 1e-4, "dim {dim}");
            for (a, b) in rotation.undo(&rotated).iter().zip(&vector) {
                assert!((a - b).abs() < 1e-3, "dim {dim}: {a} for {b}");
            }
        }
    }
}
