//! The kernel in 8 bits: eight rows by three registers of outputs, four inputs at a time.

use super::bytes::{Coded, GROUP, Inputs, TILE, round_row as round};
use super::place::Place;
use super::{End, PANEL, ROWS, activate_tile};
use rayon::prelude::*;
use std::arch::x86_64::*;

/// Whether this machine can.
pub(super) fn available() -> bool {
    super::available()
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512vnni")
}

/// What the kernel reads and writes.
struct Work<'a> {
    /// A tile of inputs, and its rows' scales and zeros.
    a: *const u8,
    facts: &'a [(f32, i32)],
    /// A panel of weights, and where its outputs' facts begin.
    b: *const i8,
    coded: &'a Coded,
    output: usize,
    groups: usize,
    c: *mut f32,
    c_stride: usize,
    add: bool,
    /// How many of the columns are written.
    columns: usize,
}

/// See [`Coded::product`].
pub(super) fn product(coded: &Coded, inputs: &Inputs, rows: usize, out: &mut [f32], end: End) {
    let (groups, to) = (coded.groups(), coded.to);
    let tiles = rows.div_ceil(TILE);
    assert!(inputs.codes.len() >= tiles * groups * TILE * GROUP && inputs.rows.len() >= rows);
    assert!(out.len() >= rows * to && available());
    let (panels, chunks) = (to.div_ceil(PANEL), rows.div_ceil(ROWS));
    let place = Place::of(out);
    (0..panels * chunks).into_par_iter().for_each(|job| {
        let (panel, chunk) = (job / chunks, job % chunks);
        let columns = PANEL.min(to - panel * PANEL);
        for row in (chunk * ROWS..(chunk * ROWS + ROWS).min(rows)).step_by(TILE) {
            let tall = TILE.min(rows - row);
            let work = Work {
                a: inputs.codes[row * groups * GROUP..].as_ptr(),
                facts: &inputs.rows[row..row + tall],
                b: coded.codes[panel * groups * PANEL * GROUP..].as_ptr(),
                coded,
                output: panel * PANEL,
                groups,
                c: place.at(row * to + panel * PANEL),
                c_stride: to,
                add: matches!(end, End::Add),
                columns,
            };
            // SAFETY: the instructions are there; the tile's rows lie within inputs and `out` by the assertions, its columns
            // within a row, and no other job has the same rows and panel.
            unsafe {
                tile(&work, tall);
                activate_tile(end, work.c, to, tall, columns);
            }
        }
    });
}

/// See [`super::bytes::round_row`]; the same loops, compiled for this CPU.
pub(super) fn round_row(row: &[f32], tile: &mut [u8], at: usize) -> (f32, i32) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn wide(row: &[f32], tile: &mut [u8], at: usize) -> (f32, i32) {
        round(row, tile, at)
    }
    match available() {
        // SAFETY: the CPU has what `wide` needs beyond its safe body.
        true => unsafe { wide(row, tile, at) },
        false => round(row, tile, at),
    }
}

/// # Safety
/// AVX-512 with VNNI, and what `work` points to: `rows` rows (1 to 8) of A and C, 48 outputs of B, and `columns` of C.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile(work: &Work, rows: usize) {
    // SAFETY: as the caller says.
    unsafe {
        match rows {
            1 => kernel::<1>(work),
            2 => kernel::<2>(work),
            3 => kernel::<3>(work),
            4 => kernel::<4>(work),
            5 => kernel::<5>(work),
            6 => kernel::<6>(work),
            7 => kernel::<7>(work),
            _ => kernel::<8>(work),
        }
    }
}

/// # Safety
/// As [`tile`], with `R` rows.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn kernel<const R: usize>(work: &Work) {
    const N: usize = PANEL / 16;
    let mut sums = [[_mm512_setzero_si512(); N]; R];
    // SAFETY: all offsets are within what the caller vouches for.
    unsafe {
        for group in 0..work.groups {
            let (a, b) = (work.a.add(group * TILE * GROUP), work.b.add(group * PANEL * GROUP));
            let mut columns = [_mm512_setzero_si512(); N];
            for (n, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_si512(b.add(64 * n).cast());
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_epi32(a.add(r * GROUP).cast::<i32>().read_unaligned());
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbusd_epi32(*sum, a, column);
                }
            }
        }
        for n in 0..N {
            let (output, left) = (work.output + 16 * n, work.columns.saturating_sub(16 * n).min(16));
            let mask = ((1u32 << left) - 1) as __mmask16;
            let totals = _mm512_loadu_si512(work.coded.sums.as_ptr().add(output).cast());
            let scales = _mm512_loadu_ps(work.coded.scales.as_ptr().add(output));
            let bias = _mm512_loadu_ps(work.coded.bias.as_ptr().add(output));
            for (r, (sums, (scale, zero))) in sums.iter().zip(work.facts).enumerate() {
                let c = work.c.add(r * work.c_stride + 16 * n);
                let shift = _mm512_mullo_epi32(_mm512_set1_epi32(*zero), totals);
                let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[n], shift));
                let scale = _mm512_mul_ps(_mm512_set1_ps(*scale), scales);
                let mut value = _mm512_add_ps(_mm512_mul_ps(sum, scale), bias);
                if work.add {
                    value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), value);
                }
                _mm512_mask_storeu_ps(c, mask, value);
            }
        }
    }
}
