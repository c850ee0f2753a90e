//! The kernel in f32: eight rows by three registers of outputs, held in registers over a run of inputs.

use super::floats::Packed;
use super::place::Place;
use super::{End, PANEL, ROWS, activate_tile};
use rayon::prelude::*;
use std::arch::x86_64::*;

/// Inputs in a run: a panel's run, 147 KB, stays in the second-level cache while the rows pass by.
const RUN: usize = 768;
/// Rows that the kernel takes at once.
pub(super) const TILE: usize = 8;

/// What the kernel reads and writes; all lengths in floats.
pub(super) struct Work {
    pub a: *const f32,
    pub a_stride: usize,
    /// `inputs` rows of `PANEL` or fewer, `b_stride` apart.
    pub b: *const f32,
    pub b_stride: usize,
    pub inputs: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    /// Added, where it is not null.
    pub bias: *const f32,
    /// Multiplies the product, before all else.
    pub scale: f32,
    /// Adds to what is there, instead of writing over it.
    pub add: bool,
    /// How many of the columns are written.
    pub columns: usize,
}

/// See [`Packed::product`].
pub(super) fn product(packed: &Packed, x: &[f32], rows: usize, out: &mut [f32], end: End) {
    let (from, to) = (packed.from, packed.to);
    assert!(x.len() >= rows * from && out.len() >= rows * to && super::available());
    let (panels, chunks) = (to.div_ceil(PANEL), rows.div_ceil(ROWS));
    let place = Place::of(out);
    for start in (0..from.max(1)).step_by(RUN) {
        let inputs = RUN.min(from - start);
        (0..panels * chunks).into_par_iter().for_each(|job| {
            let (panel, chunk) = (job / chunks, job % chunks);
            let bias = if start == 0 { packed.bias[panel * PANEL..].as_ptr() } else { std::ptr::null() };
            let weights = packed.weights[panel * from * PANEL + start * PANEL..].as_ptr();
            for row in (chunk * ROWS..(chunk * ROWS + ROWS).min(rows)).step_by(TILE) {
                let tall = TILE.min(rows - row);
                let work = Work {
                    a: x[row * from + start..].as_ptr(),
                    a_stride: from,
                    b: weights,
                    b_stride: PANEL,
                    inputs,
                    c: place.at(row * to + panel * PANEL),
                    c_stride: to,
                    bias,
                    scale: 1.0,
                    add: matches!(end, End::Add) || start > 0,
                    columns: PANEL.min(to - panel * PANEL),
                };
                // SAFETY: AVX-512 is there; the tile's rows lie within `x` and `out` by the assertion, its columns within
                // a row, and no other job has the same rows and panel.
                unsafe {
                    tile::<3>(&work, tall);
                    if start + inputs == from {
                        activate_tile(end, work.c, to, tall, work.columns);
                    }
                }
            }
        });
    }
}

/// # Safety
/// AVX-512F, and what `work` points to: `rows` rows (1 to 8) of A and C, 16 x `N` columns of B, bias, and `columns` of C.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tile<const N: usize>(work: &Work, rows: usize) {
    // SAFETY: as the caller says.
    unsafe {
        match rows {
            1 => kernel::<1, N>(work),
            2 => kernel::<2, N>(work),
            3 => kernel::<3, N>(work),
            4 => kernel::<4, N>(work),
            5 => kernel::<5, N>(work),
            6 => kernel::<6, N>(work),
            7 => kernel::<7, N>(work),
            _ => kernel::<8, N>(work),
        }
    }
}

/// # Safety
/// As [`tile`], with `R` rows.
#[target_feature(enable = "avx512f")]
unsafe fn kernel<const R: usize, const N: usize>(work: &Work) {
    let mut sums = [[_mm512_setzero_ps(); N]; R];
    // SAFETY: all offsets are within what the caller vouches for.
    unsafe {
        for input in 0..work.inputs {
            let b = work.b.add(input * work.b_stride);
            let mut columns = [_mm512_setzero_ps(); N];
            for (n, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_ps(b.add(16 * n));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*work.a.add(r * work.a_stride + input));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_fmadd_ps(a, column, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                let left = work.columns.saturating_sub(16 * n).min(16);
                let mask = ((1u32 << left) - 1) as __mmask16;
                let c = work.c.add(r * work.c_stride + 16 * n);
                let mut value = _mm512_mul_ps(*sum, _mm512_set1_ps(work.scale));
                if !work.bias.is_null() {
                    value = _mm512_add_ps(value, _mm512_loadu_ps(work.bias.add(16 * n)));
                }
                if work.add {
                    value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, c));
                }
                _mm512_mask_storeu_ps(c, mask, value);
            }
        }
    }
}
