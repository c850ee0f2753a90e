//! The kernel in 8 bits for AVX2: six rows by two registers of outputs, four inputs at a time. Products are added in pairs in 16 bits before
//! they are widened; codes are small enough for that.

use super::avx2;
use super::bytes::{GROUP, Kernel, Work};
use super::inputs::{lay_row, round_row};
use super::rows_of_a_job;
use std::arch::x86_64::*;

/// Outputs in a panel: two registers of 8.
const PANEL: usize = 16;
/// Rows at once.
const TILE: usize = 6;

/// The kernel, where the CPU has AVX2.
pub(super) fn kernel() -> Option<&'static Kernel> {
    const KERNEL: Kernel = Kernel {
        panel: PANEL,
        tile: TILE,
        rows: rows_of_a_job(TILE),
        run: GROUP,
        pairs: true,
        round: round_row::<TILE, GROUP>,
        lay: lay_row::<TILE, GROUP>,
        multiply,
    };
    avx2::available().then_some(&KERNEL)
}

/// # Safety
/// AVX2, and what `work` points to: `rows` rows of A and C, 16 outputs of B, and `columns` of C.
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply(work: &Work, rows: usize) {
    for row in (0..rows).step_by(TILE) {
        let (work, rows) = (work.from(row), TILE.min(rows - row));
        // SAFETY: as the caller says.
        unsafe {
            match rows {
                1 => kernel_of::<1>(&work),
                2 => kernel_of::<2>(&work),
                3 => kernel_of::<3>(&work),
                4 => kernel_of::<4>(&work),
                5 => kernel_of::<5>(&work),
                _ => kernel_of::<6>(&work),
            }
            work.activate(rows);
        }
    }
}

/// # Safety
/// As [`multiply`], for the first `R` rows, 1 to 6.
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel_of<const R: usize>(work: &Work) {
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    let ones = _mm256_set1_epi16(1);
    // SAFETY: all offsets are within what the caller vouches for; masks keep to the columns.
    unsafe {
        for group in 0..work.groups {
            let (a, b) = (work.a.add(group * TILE * GROUP), work.b.add(group * PANEL * GROUP));
            let columns = [_mm256_loadu_si256(b.cast()), _mm256_loadu_si256(b.add(32).cast())];
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_set1_epi32(a.add(r * GROUP).cast::<i32>().read_unaligned());
                for (sum, column) in sums.iter_mut().zip(columns) {
                    let product = _mm256_madd_epi16(_mm256_maddubs_epi16(a, column), ones);
                    *sum = _mm256_add_epi32(*sum, product);
                }
            }
        }
        for n in 0..2 {
            let output = work.output + 8 * n;
            let mask = avx2::first(work.columns.saturating_sub(8 * n));
            let totals = _mm256_loadu_ps(work.coded.sums.as_ptr().add(output));
            let scales = _mm256_loadu_ps(work.coded.scales.as_ptr().add(output));
            let bias = _mm256_loadu_ps(work.coded.bias.as_ptr().add(output));
            for (r, (sums, (scale, zero))) in sums.iter().zip(work.facts).enumerate() {
                let zero = _mm256_set1_ps(*zero as f32);
                let sum = _mm256_fnmadd_ps(zero, totals, _mm256_cvtepi32_ps(sums[n]));
                let scale = _mm256_mul_ps(_mm256_set1_ps(*scale), scales);
                let value = _mm256_fmadd_ps(sum, scale, bias);
                avx2::store(work.c.add(r * work.c_stride + 8 * n), mask, value, work.add());
            }
        }
    }
}
