//! The kernel in f32 for AVX2: six rows by two registers of outputs. Twelve sums, two registers of weights and one input take
//! fifteen of the sixteen registers.

use super::floats::{Kernel, Work};
use std::arch::x86_64::*;

/// Floats in a register, and in the two that a row of C has here.
const LANES: usize = 8;
const PAIR: usize = 2 * LANES;

/// The kernel, where the CPU has AVX2 and FMA.
pub(super) fn kernel() -> Option<&'static Kernel> {
    const KERNEL: Kernel = Kernel { panel: PAIR, tile: 6, multiply, many: None };
    available().then_some(&KERNEL)
}

/// Whether this CPU has what the kernels for AVX2 need.
pub(super) fn available() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}

/// # Safety
/// AVX2 and FMA, and what `work` points to: `rows` rows (1 to 6) of A and C, `columns` of B and bias, filled up to whole pairs of
/// registers, and of C.
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply(work: &Work, rows: usize) {
    for start in (0..work.columns).step_by(PAIR) {
        // SAFETY: as the caller says.
        unsafe {
            match rows {
                1 => kernel_of::<1>(work, start),
                2 => kernel_of::<2>(work, start),
                3 => kernel_of::<3>(work, start),
                4 => kernel_of::<4>(work, start),
                5 => kernel_of::<5>(work, start),
                _ => kernel_of::<6>(work, start),
            }
        }
    }
}

/// # Safety
/// As [`multiply`], with `R` rows, for a pair of registers of columns from `start` on.
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel_of<const R: usize>(work: &Work, start: usize) {
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    // SAFETY: all offsets are within what the caller vouches for; masks keep to the columns.
    unsafe {
        for input in 0..work.inputs {
            let b = work.b.add(input * work.b_stride + start);
            let columns = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(LANES))];
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_set1_ps(*work.a.add(r * work.a_stride + input));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = _mm256_fmadd_ps(a, column, *sum);
                }
            }
        }
        for n in 0..2 {
            let at = start + LANES * n;
            let mask = first(work.columns.saturating_sub(at));
            for (r, sums) in sums.iter().enumerate() {
                let c = work.c.add(r * work.c_stride + at);
                let mut value = _mm256_mul_ps(sums[n], _mm256_set1_ps(work.scale));
                if !work.bias.is_null() {
                    value = _mm256_add_ps(value, _mm256_loadu_ps(work.bias.add(at)));
                }
                store(c, mask, value, work.add);
            }
        }
    }
}

/// A mask of the first `count` lanes.
#[target_feature(enable = "avx2")]
pub(super) fn first(count: usize) -> __m256i {
    let count = _mm256_set1_epi32(count.min(LANES) as i32);
    _mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// Writes the lanes of `value` that `mask` names to `c`, or adds them to what is there.
///
/// # Safety
/// Those lanes of `c` are there to be written.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store(c: *mut f32, mask: __m256i, value: __m256, add: bool) {
    // SAFETY: as the caller says; a masked load or store leaves the other lanes alone.
    unsafe {
        let before = if add { _mm256_maskload_ps(c, mask) } else { _mm256_setzero_ps() };
        _mm256_maskstore_ps(c, mask, if add { _mm256_add_ps(before, value) } else { value });
    }
}
