//! The kernels: eight rows by three registers, held in registers over a run of inputs.

use super::{PANEL, Packed};
use crate::models::act::exp;
use rayon::prelude::*;
use std::arch::x86_64::*;

/// Inputs in a run: a panel's run, 147 KB, stays in the second-level cache while the rows pass by.
const RUN: usize = 768;
/// Rows that pass by one panel.
const ROWS: usize = 168;
/// Rows that the kernel takes at once.
const TILE: usize = 8;

/// A place that several threads write to, each to its own part.
#[derive(Clone, Copy)]
struct Place(*mut f32);
// SAFETY: whoever sends it makes sure that no two threads touch the same elements.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// What the kernel reads and writes; all lengths in floats.
struct Work {
    a: *const f32,
    a_stride: usize,
    /// `inputs` rows of `PANEL` or fewer, `b_stride` apart.
    b: *const f32,
    b_stride: usize,
    inputs: usize,
    c: *mut f32,
    c_stride: usize,
    /// Added, where it is not null.
    bias: *const f32,
    /// Multiplies the product, before all else.
    scale: f32,
    /// Adds to what is there, instead of writing over it.
    add: bool,
    /// How many of the columns are written.
    columns: usize,
}

/// out = x W^T + b, or out += it.
pub(super) fn product(packed: &Packed, x: &[f32], rows: usize, out: &mut [f32], add: bool) {
    let (from, to) = (packed.from, packed.to);
    assert!(x.len() >= rows * from && out.len() >= rows * to && std::is_x86_feature_detected!("avx512f"));
    let panels = to.div_ceil(PANEL);
    let place = Place(out.as_mut_ptr());
    for start in (0..from.max(1)).step_by(RUN) {
        let inputs = RUN.min(from - start);
        (0..panels * rows.div_ceil(ROWS)).into_par_iter().for_each(|job| {
            let (chunk, panel) = (job / panels, job % panels);
            let (first, last) = (chunk * ROWS, (chunk * ROWS + ROWS).min(rows));
            let bias = if start == 0 { packed.bias[panel * PANEL..].as_ptr() } else { std::ptr::null() };
            let weights = packed.weights[panel * from * PANEL + start * PANEL..].as_ptr();
            for row in (first..last).step_by(TILE) {
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
                    add: add || start > 0,
                    columns: PANEL.min(to - panel * PANEL),
                };
                // SAFETY: AVX-512 is there; the tile's rows lie within `x` and `out` by the assertion, its columns within
                // a row, and no other job has the same rows and panel.
                unsafe { tile::<3>(&work, TILE.min(last - row)) };
            }
        });
    }
}

/// What an attention is like.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub length: usize,
    /// Of all heads together.
    pub width: usize,
    pub heads: usize,
    /// Whether no position looks at those after it.
    pub causal: bool,
}

/// For each sequence and head, see [`super::attend`].
pub(super) fn attend(qkv: &[f32], out: &mut [f32], shape: Heads) {
    let Heads { length, width, heads, .. } = shape;
    let head = width / heads;
    let batch = out.len() / (length * width).max(1);
    assert!(qkv.len() == 3 * out.len() && super::takes_heads_of(head) && head * heads == width);
    assert!(std::is_x86_feature_detected!("avx512f"));
    let place = Place(out.as_mut_ptr());
    (0..batch * heads).into_par_iter().for_each_init(Scratch::default, |scratch, job| {
        let (sequence, number) = (job / heads, job % heads);
        let qkv = &qkv[sequence * length * 3 * width..][..length * 3 * width];
        scratch.fill(qkv, length, width, number * head, head);
        let first = place.at(sequence * length * width + number * head);
        // SAFETY: AVX-512 is there; each job writes its own head's columns of its own sequence's rows.
        unsafe { one_head(scratch, &qkv[number * head..], first, shape) };
    });
}

/// One head's keys as panels and a tile's scores.
#[derive(Default)]
struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

impl Scratch {
    fn fill(&mut self, qkv: &[f32], length: usize, width: usize, start: usize, head: usize) {
        let padded = length.div_ceil(PANEL) * PANEL;
        self.keys.clear();
        self.keys.resize(padded * head, 0.0);
        self.values.clear();
        self.scores.resize(TILE * padded, 0.0);
        for (at, row) in qkv.chunks_exact(3 * width).enumerate() {
            let panel = &mut self.keys[at / PANEL * head * PANEL..][..head * PANEL];
            for (slots, key) in panel.chunks_exact_mut(PANEL).zip(&row[width + start..]) {
                slots[at % PANEL] = *key;
            }
            self.values.extend_from_slice(&row[2 * width + start..][..head]);
        }
    }
}

/// # Safety
/// AVX-512F; `queries` has `length` rows 3 x `width` apart, `out` as many `width` apart, each of `head` floats.
#[target_feature(enable = "avx512f")]
unsafe fn one_head(scratch: &mut Scratch, queries: &[f32], out: *mut f32, shape: Heads) {
    let Heads { length, width, heads, causal } = shape;
    let head = width / heads;
    let padded = length.div_ceil(PANEL) * PANEL;
    for row in (0..length).step_by(TILE) {
        let rows = TILE.min(length - row);
        for panel in 0..padded / PANEL {
            let work = Work {
                a: queries[row * 3 * width..].as_ptr(),
                a_stride: 3 * width,
                b: scratch.keys[panel * head * PANEL..].as_ptr(),
                b_stride: PANEL,
                inputs: head,
                c: scratch.scores[panel * PANEL..].as_mut_ptr(),
                c_stride: padded,
                bias: std::ptr::null(),
                scale: (head as f32).powf(-0.5),
                add: false,
                columns: PANEL,
            };
            // SAFETY: a tile's scores fit their scratch, whose rows are `padded` long.
            unsafe { tile::<3>(&work, rows) };
        }
        for (at, scores) in scratch.scores.chunks_exact_mut(padded).take(rows).enumerate() {
            let (seen, unseen) = scores[..length].split_at_mut(if causal { row + at + 1 } else { length });
            softmax(seen);
            unseen.fill(0.0);
        }
        for start in (0..head).step_by(32) {
            let work = Work {
                a: scratch.scores.as_ptr(),
                a_stride: padded,
                b: scratch.values[start..].as_ptr(),
                b_stride: head,
                inputs: length,
                c: out.wrapping_add(row * width + start),
                c_stride: width,
                bias: std::ptr::null(),
                scale: 1.0,
                add: false,
                columns: 32.min(head - start),
            };
            // SAFETY: as the caller says; two registers where there are 32 columns left, else one.
            unsafe { if work.columns == 32 { tile::<2>(&work, rows) } else { tile::<1>(&work, rows) } };
        }
    }
}

/// # Safety
/// AVX-512F, and what `work` points to: `rows` rows (1 to 8) of A and C, 16 x `N` columns of B, bias, and `columns` of C.
#[target_feature(enable = "avx512f")]
unsafe fn tile<const N: usize>(work: &Work, rows: usize) {
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

/// In place.
#[target_feature(enable = "avx512f")]
fn softmax(x: &mut [f32]) {
    let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|v| *v = exp(*v - most));
    let mut sums = [0.0f32; 16];
    let chunks = x.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().sum();
    chunks.for_each(|chunk| sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += v));
    let share = 1.0 / (sums.iter().sum::<f32>() + rest);
    x.iter_mut().for_each(|v| *v *= share);
}
