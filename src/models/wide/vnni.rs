//! The kernel in 8 bits for AVX-512 VNNI: eight rows by three registers of outputs, four inputs at a time.

use super::bytes::{GROUP, Kernel, Work};
use super::inputs::{lay_row, round_row};
use super::rows_of_a_job;
use std::arch::x86_64::*;

/// Outputs in a panel: three registers of 16.
const PANEL: usize = 48;
/// Rows at once.
const TILE: usize = 8;

/// The kernel, where the CPU has AVX-512 with VNNI.
pub(super) fn kernel() -> Option<&'static Kernel> {
    const KERNEL: Kernel = Kernel {
        panel: PANEL,
        tile: TILE,
        rows: rows_of_a_job(TILE),
        run: GROUP,
        pairs: false,
        round: round_row::<TILE, GROUP>,
        lay: lay_row::<TILE, GROUP>,
        multiply,
    };
    let able = std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vnni");
    able.then_some(&KERNEL)
}

/// # Safety
/// AVX-512 with VNNI, and what `work` points to: `rows` rows of A and C, 48 outputs of B, and `columns` of C.
#[target_feature(enable = "avx512f,avx512vnni")]
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
                6 => kernel_of::<6>(&work),
                7 => kernel_of::<7>(&work),
                _ => kernel_of::<8>(&work),
            }
            work.activate(rows);
        }
    }
}

/// # Safety
/// As [`multiply`], for the first `R` rows, 1 to 8.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn kernel_of<const R: usize>(work: &Work) {
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
        #[expect(clippy::needless_range_loop, reason = "registers are one of each row's")]
        for n in 0..N {
            finish(work, n, R, |row| sums[row][n]);
        }
    }
}

/// Scales the sums of `rows` rows for register `n` of a panel's outputs, and writes them or adds them to what is there.
///
/// # Safety
/// AVX-512F, and what `work` points to.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn finish(work: &Work, n: usize, rows: usize, sum: impl Fn(usize) -> __m512i) {
    let (output, left) = (work.output + 16 * n, work.columns.saturating_sub(16 * n).min(16));
    let mask = ((1u32 << left) - 1) as __mmask16;
    // SAFETY: as the caller says; masks keep to the columns.
    unsafe {
        let totals = _mm512_loadu_ps(work.coded.sums.as_ptr().add(output));
        let scales = _mm512_loadu_ps(work.coded.scales.as_ptr().add(output));
        let bias = _mm512_loadu_ps(work.coded.bias.as_ptr().add(output));
        for (row, (scale, zero)) in work.facts.iter().enumerate().take(rows) {
            let c = work.c.wrapping_add(row * work.c_stride + 16 * n);
            let zero = _mm512_set1_ps(*zero as f32);
            let value = _mm512_fnmadd_ps(zero, totals, _mm512_cvtepi32_ps(sum(row)));
            let scale = _mm512_mul_ps(_mm512_set1_ps(*scale), scales);
            let mut value = _mm512_fmadd_ps(value, scale, bias);
            if work.add() {
                value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), value);
            }
            _mm512_mask_storeu_ps(c, mask, value);
        }
    }
}
