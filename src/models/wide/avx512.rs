//! The kernel in f32 for AVX-512: eight rows by three registers of outputs, held in registers over a run of inputs.

use super::floats::{Kernel, Work};
use std::arch::x86_64::*;

/// The kernel, where the CPU has AVX-512.
pub(super) fn kernel() -> Option<&'static Kernel> {
    const KERNEL: Kernel = Kernel { panel: 48, tile: 8, multiply, many: None };
    std::is_x86_feature_detected!("avx512f").then_some(&KERNEL)
}

/// # Safety
/// AVX-512F, and what `work` points to: `rows` rows (1 to 8) of A and C, `columns` (1 to 48) of B and bias, filled up to whole
/// registers, and of C.
pub(super) unsafe fn multiply(work: &Work, rows: usize) {
    // SAFETY: as the caller says.
    unsafe {
        match work.columns {
            0..=16 => tile::<1>(work, rows),
            17..=32 => tile::<2>(work, rows),
            _ => tile::<3>(work, rows),
        }
    }
}

/// # Safety
/// As [`multiply`], with columns of `N` registers.
#[target_feature(enable = "avx512f")]
unsafe fn tile<const N: usize>(work: &Work, rows: usize) {
    // SAFETY: as the caller says.
    unsafe {
        match rows {
            1 => kernel_of::<1, N>(work),
            2 => kernel_of::<2, N>(work),
            3 => kernel_of::<3, N>(work),
            4 => kernel_of::<4, N>(work),
            5 => kernel_of::<5, N>(work),
            6 => kernel_of::<6, N>(work),
            7 => kernel_of::<7, N>(work),
            _ => kernel_of::<8, N>(work),
        }
    }
}

/// # Safety
/// As [`tile`], with `R` rows.
#[target_feature(enable = "avx512f")]
unsafe fn kernel_of<const R: usize, const N: usize>(work: &Work) {
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
