//! Layer norms, in f32.

use super::rows::{Rows, RowsMut};
use crate::simd::{fold, widest};
use rayon::prelude::*;

/// Floats in four registers, whose sums don't wait for one another.
const LANES: usize = 64;
/// Rows that a thread takes at once.
const ROWS: usize = 16;

/// (x - mean) / sqrt(variance + eps) * gain + shift.
pub(super) struct Norm {
    pub gain: Vec<f32>,
    pub shift: Vec<f32>,
    pub eps: f32,
}

impl Norm {
    /// The norms of the rows of `x`, each as long as the gain, in `out`.
    pub fn rows(&self, x: Rows, out: RowsMut) {
        out.par_chunks(ROWS).zip(x.par_chunks(ROWS)).for_each(|(mut out, x)| {
            for (out, x) in out.iter_mut().zip(x.iter()) {
                row(self, x, out);
            }
        });
    }
}

widest! {
    fn row(norm: &Norm, x: &[f32], out: &mut [f32]) {
        let share = 1.0 / x.len() as f32;
        let mean = sum(x, |x| x) * share;
        let variance = sum(x, |x| (x - mean) * (x - mean)) * share;
        let scale = 1.0 / (variance + norm.eps).sqrt();
        for (((out, x), gain), shift) in out.iter_mut().zip(x).zip(&norm.gain).zip(&norm.shift) {
            *out = (x - mean) * scale * gain + shift;
        }
    }
}

#[inline(always)]
fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (registers, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for register in registers {
        sums.iter_mut().zip(register).for_each(|(sum, x)| *sum += of(*x));
    }
    fold(sums, |a, b| a + b) + rest.iter().map(|x| of(*x)).sum::<f32>()
}
