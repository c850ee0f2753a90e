//! The kernel in f32 for AMX, which multiplies no f32: every number is the sum of three of 8 bits each, with the range of f32 (bf16), and
//! their products are added up in f32. Of the nine, six count: the others come to less than f32's own rounding. Where 16 bits are enough,
//! two parts and three products are. (Henry, Tang, Heinecke 2019, arXiv:1904.06376.)
//!
//! 1. Inputs are split when they come ([`split_inputs`]), for all outputs at once.
//! 2. Weights stay as they are, which is two thirds of what they would take in parts, and are split as they pass by, for all rows of a
//!    job.

use super::rows::Rows;
use super::tiles::{self, Numbers, ROW, SIDE};
use super::{avx512, floats};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Outputs in a panel: two tiles.
const PANEL: usize = 2 * SIDE;
/// Rows at once: two tiles.
pub(super) const TILE: usize = 2 * SIDE;
/// Inputs at a time: pairs of them fill a tile's row.
pub(super) const STEP: usize = 2 * SIDE;
/// Bytes of one part of as many inputs of [`TILE`] rows, and of a panel.
const PART: usize = TILE * ROW;
/// Bytes of all parts.
pub(super) const PARTS: usize = 3 * PART;
/// Steps whose weights are split together: 24 KB, which stay in the first-level cache.
const DEPTH: usize = 4;
/// The most rows of a job: so many that splitting weights costs little, so few that their inputs stay in the second-level cache.
pub(super) const ROWS: usize = 13 * TILE;
/// Inputs that a job takes before the next: likewise.
pub(super) const RUN: usize = 384;
/// Fewer rows are quicker without.
pub(super) const LEAST: usize = 24;

/// How many parts of a number count.
#[derive(Clone, Copy)]
pub(super) enum Split {
    /// All: as near as f32.
    Three,
    /// 16 bits: a hundred times nearer than products in 8 bits.
    Two,
}

/// The kernel, where the CPU has AMX for bf16, and AVX-512 with BW to split numbers by.
pub(super) fn kernel(split: Split) -> Option<&'static floats::Kernel> {
    const fn of(split: Split) -> floats::Kernel {
        floats::Kernel { panel: PANEL, tile: 8, multiply: avx512::multiply, many: Some(split) }
    }
    const KERNELS: [floats::Kernel; 2] = [of(Split::Three), of(Split::Two)];
    let able = avx512::kernel().is_some() && std::is_x86_feature_detected!("avx512bw");
    (able && tiles::multiply(Numbers::Brain)).then_some(&KERNELS[split as usize])
}

/// What a job reads and writes.
pub(super) struct Job {
    /// The parts of inputs, all three: tile by tile of rows, step by step.
    pub a: *const u8,
    /// How many of them are multiplied.
    pub split: Split,
    pub rows: usize,
    /// The first of `inputs` rows of a panel.
    pub b: *const f32,
    pub inputs: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    /// Added, where it is not null; a panel long.
    pub bias: *const f32,
    /// Adds to what is there, instead of writing over it.
    pub add: bool,
    /// How many of the columns are written.
    pub columns: usize,
}

/// Sixteen numbers to the nearest of 8 bits, and what is left of them.
#[target_feature(enable = "avx512f")]
#[inline]
fn nearest(x: __m512) -> (__m512i, __m512) {
    // Of two that are as near, the one farther from zero. What is not a number leaves something that is none.
    let rounded = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
    let near = _mm512_and_si512(rounded, _mm512_set1_epi32(0xFFFF_0000u32 as i32));
    (near, _mm512_sub_ps(x, _mm512_castsi512_ps(near)))
}

/// Three numbers of 8 bits each, in the upper halves, that come to `x`.
#[target_feature(enable = "avx512f")]
#[inline]
fn parts_of(x: __m512) -> [__m512i; 3] {
    let (first, rest) = nearest(x);
    let (second, rest) = nearest(rest);
    [first, second, _mm512_castps_si512(rest)]
}

/// Splits the inputs `from..from + count` of each row of `x`, of which there are up to [`TILE`], to `parts`: step by
/// step, part by part, row by row. Inputs past the last are zeros.
pub(super) fn split_inputs(x: Rows, from: usize, count: usize, parts: &mut [u8]) {
    for (row, x) in x.iter().enumerate() {
        for (x, parts) in x[from..from + count].chunks(STEP).zip(parts.chunks_exact_mut(PARTS)) {
            // SAFETY: the CPU has what [`kernel`] asks for, or nobody would ask for parts.
            unsafe { split_step(x, row, parts) };
        }
    }
}

/// # Safety
/// AVX-512 with BW.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn split_step(x: &[f32], row: usize, parts: &mut [u8]) {
    /// The upper halves of two registers' numbers, in order.
    const UPPER: [i16; 2 * SIDE] = {
        let (mut upper, mut at) = ([0; 2 * SIDE], 0);
        while at < 2 * SIDE {
            upper[at] = 2 * at as i16 + 1;
            at += 1;
        }
        upper
    };
    let mask = |count: usize| ((1u32 << count.min(SIDE)) - 1) as __mmask16;
    let (low, high) = (mask(x.len()), mask(x.len().saturating_sub(SIDE)));
    // SAFETY: masks keep to `x`.
    let (low, high, order) = unsafe {
        (
            _mm512_maskz_loadu_ps(low, x.as_ptr()),
            _mm512_maskz_loadu_ps(high, x.as_ptr().wrapping_add(SIDE)),
            _mm512_loadu_si512(UPPER.as_ptr().cast()),
        )
    };
    let (low, high) = (parts_of(low), parts_of(high));
    // By number: what iterators are made of is not always inlined here.
    for part in 0..3 {
        let place = &mut parts[part * PART + row * ROW..][..ROW];
        let both = _mm512_permutex2var_epi16(low[part], order, high[part]);
        // SAFETY: a row is as long as a register.
        unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), both) };
    }
}

/// Splits `inputs` rows of a panel, two by two, to `parts`; rows past the last are zeros, up to whole steps.
///
/// # Safety
/// AVX-512F, and a panel of so many rows at `b`.
#[target_feature(enable = "avx512f")]
unsafe fn split_weights(b: *const f32, inputs: usize, parts: &mut [[u8; PARTS]; DEPTH]) {
    let row = |row: usize, n: usize| match row < inputs {
        // SAFETY: it is one of the panel's.
        true => unsafe { _mm512_loadu_ps(b.add(row * PANEL + n * SIDE)) },
        false => _mm512_setzero_ps(),
    };
    for (step, parts) in parts.iter_mut().enumerate().take(inputs.div_ceil(STEP)) {
        for (pair, n) in (0..STEP / 2).flat_map(|pair| [(pair, 0), (pair, 1)]) {
            let first = step * STEP + 2 * pair;
            let (even, odd) = (parts_of(row(first, n)), parts_of(row(first + 1, n)));
            for part in 0..3 {
                let both = both_halves(_mm512_srli_epi32(even[part], 16), odd[part]);
                let place = &mut parts[part * PART + (pair * PANEL / SIDE + n) * ROW..][..ROW];
                // SAFETY: a row is as long as a register.
                unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), both) };
            }
        }
    }
}

/// The lower halves of `low`, whose upper ones are zero, below the upper halves of `high`.
#[target_feature(enable = "avx512f")]
#[inline]
fn both_halves(low: __m512i, high: __m512i) -> __m512i {
    // low or (high and mask), bit by bit.
    _mm512_ternarylogic_epi32(low, high, _mm512_set1_epi32(0xFFFF_0000u32 as i32), 0xF8)
}

/// What a job's rows have come to.
#[repr(align(64))]
struct Sums(#[expect(dead_code, reason = "it is read and written by its address")] [[f32; PANEL]; ROWS]);

/// Split of a panel's weights.
#[repr(align(64))]
struct Weights([[u8; PARTS]; DEPTH]);

/// # Safety
/// AMX with bf16, AVX-512, and what `job` points to: whole tiles of A, of which [`ROWS`] rows at most count and are in C, `inputs` rows
/// of a panel, a panel's bias, and `columns` of C.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn multiply(job: &Job) {
    let (mut sums, mut parts) = (MaybeUninit::<Sums>::uninit(), Weights([[0; PARTS]; DEPTH]));
    let sums = sums.as_mut_ptr().cast::<f32>();
    let steps = job.inputs.div_ceil(STEP);
    assert!(job.rows <= ROWS);
    let all = || {
        for first in (0..steps).step_by(DEPTH) {
            let depth = DEPTH.min(steps - first);
            let inputs = (depth * STEP).min(job.inputs - first * STEP);
            // SAFETY: the caller vouches for the panel.
            unsafe { split_weights(job.b.add(first * STEP * PANEL), inputs, &mut parts.0) };
            for row in (0..job.rows).step_by(TILE) {
                let a = job.a.wrapping_add((row * steps + first * TILE) * PARTS / TILE);
                let (sums, rows) = (sums.wrapping_add(row * PANEL), TILE.min(job.rows - row));
                let last = first + depth == steps;
                if last {
                    ahead(job, row, rows);
                }
                let pass = match (job.split, rows <= SIDE) {
                    (Split::Three, true) => low,
                    (Split::Three, false) => high,
                    (Split::Two, true) => low_of_two,
                    (Split::Two, false) => high_of_two,
                };
                // SAFETY: the caller vouches for A, whose inputs are filled up to whole steps. `sums` has room for whole tiles; what is
                // read of it was written when `first` was zero, or just now.
                unsafe {
                    pass(a, parts.0.as_ptr().cast(), depth, sums.cast(), first > 0, std::ptr::null());
                    if last {
                        finish(job, row, rows, sums);
                    }
                }
            }
        }
    };
    // SAFETY: as the caller says.
    unsafe { tiles::with(all) };
}

/// Writes the sums of `rows` rows from `row` on, or adds them to what is there.
///
/// # Safety
/// AVX-512F, what `job` points to, and `rows` rows of a panel at `sums`.
#[target_feature(enable = "avx512f")]
unsafe fn finish(job: &Job, row: usize, rows: usize, sums: *const f32) {
    for n in 0..PANEL / SIDE {
        let left = job.columns.saturating_sub(n * SIDE).min(SIDE);
        let mask = ((1u32 << left) - 1) as __mmask16;
        // SAFETY: as the caller says; masks keep to the columns.
        unsafe {
            let bias = match job.bias.is_null() {
                true => _mm512_setzero_ps(),
                false => _mm512_loadu_ps(job.bias.add(n * SIDE)),
            };
            for at in 0..rows {
                let c = job.c.wrapping_add((row + at) * job.c_stride + n * SIDE);
                let mut value = _mm512_add_ps(_mm512_loadu_ps(sums.add(at * PANEL + n * SIDE)), bias);
                if job.add {
                    value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), value);
                }
                _mm512_mask_storeu_ps(c, mask, value);
            }
        }
    }
}

/// Has `rows` rows of C from `row` on brought near, which are so far apart that the processor does not guess that they come next.
fn ahead(job: &Job, row: usize, rows: usize) {
    for at in row..row + rows {
        let c = job.c.wrapping_add(at * job.c_stride);
        // SAFETY: fetching ahead reads nothing, wherever it points.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(c.cast());
            _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(SIDE).cast());
        }
    }
}

tiles::adds! {
    /// By the first part of inputs, the third, second and first of weights; by the second, the first and second; by the third, the first.
    fn high, high, 6144, [
        "tileloadd tmm4, [{a} + {across}*1]",
        "tileloadd tmm5, [{a} + {across}*1 + 1024]",
        "tileloadd tmm6, [{b} + {down}*1 + 4096]",
        "tileloadd tmm7, [{b} + {down}*1 + 4160]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
        "tileloadd tmm6, [{b} + {down}*1 + 2048]",
        "tileloadd tmm7, [{b} + {down}*1 + 2112]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
        "tileloadd tmm6, [{b} + {down}*1]",
        "tileloadd tmm7, [{b} + {down}*1 + 64]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
        "tileloadd tmm4, [{a} + {across}*1 + 2048]",
        "tileloadd tmm5, [{a} + {across}*1 + 3072]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
        "tileloadd tmm6, [{b} + {down}*1 + 2048]",
        "tileloadd tmm7, [{b} + {down}*1 + 2112]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
        "tileloadd tmm4, [{a} + {across}*1 + 4096]",
        "tileloadd tmm5, [{a} + {across}*1 + 5120]",
        "tileloadd tmm6, [{b} + {down}*1]",
        "tileloadd tmm7, [{b} + {down}*1 + 64]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
    ]
}

tiles::adds! {
    /// In the same order, so that a row comes to the same wherever it stands.
    fn low, low, 6144, [
        "tileloadd tmm4, [{a} + {across}*1]",
        "tileloadd tmm5, [{a} + {across}*1 + 2048]",
        "tileloadd tmm3, [{a} + {across}*1 + 4096]",
        "tileloadd tmm6, [{b} + {down}*1 + 4096]",
        "tileloadd tmm7, [{b} + {down}*1 + 4160]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tileloadd tmm6, [{b} + {down}*1 + 2048]",
        "tileloadd tmm7, [{b} + {down}*1 + 2112]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tileloadd tmm6, [{b} + {down}*1]",
        "tileloadd tmm7, [{b} + {down}*1 + 64]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm0, tmm5, tmm6",
        "tdpbf16ps tmm1, tmm5, tmm7",
        "tileloadd tmm6, [{b} + {down}*1 + 2048]",
        "tileloadd tmm7, [{b} + {down}*1 + 2112]",
        "tdpbf16ps tmm0, tmm5, tmm6",
        "tdpbf16ps tmm1, tmm5, tmm7",
        "tileloadd tmm6, [{b} + {down}*1]",
        "tileloadd tmm7, [{b} + {down}*1 + 64]",
        "tdpbf16ps tmm0, tmm3, tmm6",
        "tdpbf16ps tmm1, tmm3, tmm7",
    ]
}

tiles::adds! {
    /// By the first part of inputs, the second and first of weights; by the second, the first. Loads stand between, so that they don't all
    /// wait for the second-level cache at once.
    fn high_of_two, high, 6144, [
        "tileloadd tmm4, [{a} + {across}*1]",
        "tileloadd tmm6, [{b} + {down}*1 + 2048]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm7, [{b} + {down}*1 + 2112]",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tileloadd tmm5, [{a} + {across}*1 + 1024]",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
        "tileloadd tmm6, [{b} + {down}*1]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm7, [{b} + {down}*1 + 64]",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tileloadd tmm4, [{a} + {across}*1 + 2048]",
        "tdpbf16ps tmm3, tmm5, tmm7",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tileloadd tmm5, [{a} + {across}*1 + 3072]",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7",
    ]
}

tiles::adds! {
    /// In the same order, likewise.
    fn low_of_two, low, 6144, [
        "tileloadd tmm4, [{a} + {across}*1]",
        "tileloadd tmm5, [{a} + {across}*1 + 2048]",
        "tileloadd tmm6, [{b} + {down}*1 + 2048]",
        "tileloadd tmm7, [{b} + {down}*1 + 2112]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tileloadd tmm6, [{b} + {down}*1]",
        "tileloadd tmm7, [{b} + {down}*1 + 64]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm0, tmm5, tmm6",
        "tdpbf16ps tmm1, tmm5, tmm7",
    ]
}
