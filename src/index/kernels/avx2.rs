//! 256-bit registers. Rough scores add pairs of products in 16 bits, which queries are small enough for; fine ones are widened to 16 bits
//! first.

use super::{AHEAD, Kernels, Sums, check_fine, check_score, prefetch};
use std::arch::x86_64::*;

/// The kernels, where the processor has AVX2.
pub fn kernels() -> Option<Kernels> {
    is_x86_feature_detected!("avx2").then_some(Kernels {
        name: "avx2",
        int8: Sums { score, fine },
        int4: Sums { score: score_int4, fine: fine_int4 },
    })
}

fn score(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    check_score(1, rows, query, out);
    // SAFETY: `kernels` hands this out only where AVX2 was detected; lengths are checked above.
    unsafe { score_rows(rows, query, out) }
}

fn fine(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    check_fine(1, rough, fine, query);
    // SAFETY: as above.
    unsafe { fine_sum(rough, fine, query) }
}

fn score_int4(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    check_score(2, rows, query, out);
    // SAFETY: as above.
    unsafe { score_rows_int4(rows, query, out) }
}

fn fine_int4(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    check_fine(2, rough, fine, query);
    // SAFETY: as above.
    unsafe { fine_sum_int4(rough, fine, query) }
}

/// # Safety
/// AVX2, and the lengths of [`check_score`].
#[target_feature(enable = "avx2")]
unsafe fn score_rows(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    let ones = _mm256_set1_epi16(1);
    rows.iter().take(AHEAD).for_each(|row| prefetch(row));
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + AHEAD) {
            prefetch(next);
        }
        let mut sums = [_mm256_setzero_si256(); 2];
        for at in (0..query.len()).step_by(64) {
            // Both by name: an array that is asked by a number which is told later would stay in memory.
            for (sum, at) in sums.iter_mut().zip([at, at + 32]) {
                // SAFETY: 32 bytes from `at` on lie inside row and query, whose lengths are equal multiples of 64.
                let (b, q) = unsafe {
                    (
                        _mm256_loadu_si256(row.as_ptr().add(at).cast()),
                        _mm256_loadu_si256(query.as_ptr().add(at).cast()),
                    )
                };
                let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(b, q), ones);
                *sum = _mm256_add_epi32(*sum, pairs);
            }
        }
        *out = total(_mm256_add_epi32(sums[0], sums[1]));
    }
}

/// # Safety
/// AVX2, and the lengths of [`check_score`] for two parts in a byte.
#[target_feature(enable = "avx2")]
unsafe fn score_rows_int4(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    let (ones, nibble) = (_mm256_set1_epi16(1), _mm256_set1_epi8(15));
    rows.iter().take(AHEAD).for_each(|row| prefetch(row));
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + AHEAD) {
            prefetch(next);
        }
        let mut sum = _mm256_setzero_si256();
        for at in (0..query.len()).step_by(64) {
            // SAFETY: 32 bytes of the row hold the parts for 64 components of the query, whose length is a multiple of 64.
            let (b, first, second) = unsafe {
                (
                    _mm256_loadu_si256(row.as_ptr().add(at / 2).cast()),
                    _mm256_loadu_si256(query.as_ptr().add(at).cast()),
                    _mm256_loadu_si256(query.as_ptr().add(at + 32).cast()),
                )
            };
            let (low, high) =
                (_mm256_and_si256(b, nibble), _mm256_and_si256(_mm256_srli_epi16::<4>(b), nibble));
            // Four products of at most 15 and 128 are far from what 16 bits hold.
            let four = _mm256_add_epi16(_mm256_maddubs_epi16(low, first), _mm256_maddubs_epi16(high, second));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(four, ones));
        }
        *out = total(sum);
    }
}

/// # Safety
/// AVX2, and the lengths of [`check_fine`] for two parts in a byte.
#[target_feature(enable = "avx2")]
unsafe fn fine_sum_int4(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    let mut sums = [_mm256_setzero_si256(); 2];
    let (lower, upper) = (_mm_set1_epi8(15), _mm_set1_epi8(-16));
    let offset = _mm256_set1_epi16(8 * 16 + 8);
    for register in 0..rough.len() / 32 {
        for part in 0..4 {
            // Parts 0 and 1 take the low nibbles, 2 and 3 the high ones of the same 32 bytes.
            let at = 32 * register + 16 * (part % 2);
            // SAFETY: 16 bytes (16 words of the query) from here on lie inside the slices: see the lengths.
            let (high, low, q) = unsafe {
                (
                    _mm_loadu_si128(rough.as_ptr().add(at).cast()),
                    _mm_loadu_si128(fine.as_ptr().add(at).cast()),
                    _mm256_loadu_si256(query.as_ptr().add(64 * register + 16 * part).cast()),
                )
            };
            let (high, low) =
                if part < 2 { (_mm_slli_epi16::<4>(high), low) } else { (high, _mm_srli_epi16::<4>(low)) };
            let byte = _mm_or_si128(_mm_and_si128(high, upper), _mm_and_si128(low, lower));
            let code = _mm256_sub_epi16(_mm256_cvtepu8_epi16(byte), offset);
            sums[part % 2] = _mm256_add_epi32(sums[part % 2], _mm256_madd_epi16(code, q));
        }
    }
    wide_total(sums)
}

/// # Safety
/// AVX2, and the lengths of [`check_fine`].
#[target_feature(enable = "avx2")]
unsafe fn fine_sum(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    let mut sums = [_mm256_setzero_si256(); 2];
    let (nibble, offset) = (_mm_set1_epi8(15), _mm256_set1_epi16(128 * 16 + 8));
    for register in 0..rough.len() / 64 {
        for part in 0..4 {
            // Parts 0 and 1 take the low nibbles, 2 and 3 the high ones of the same 32 bytes.
            // SAFETY: 16 bytes (16 words of the query) from here on lie inside the slices: see the lengths.
            let (high, low, q) = unsafe {
                (
                    _mm_loadu_si128(rough.as_ptr().add(64 * register + 16 * part).cast()),
                    _mm_loadu_si128(fine.as_ptr().add(32 * register + 16 * (part % 2)).cast()),
                    _mm256_loadu_si256(query.as_ptr().add(64 * register + 16 * part).cast()),
                )
            };
            let low = if part < 2 { low } else { _mm_srli_epi16::<4>(low) };
            let low = _mm256_cvtepu8_epi16(_mm_and_si128(low, nibble));
            let high = _mm256_slli_epi16::<4>(_mm256_cvtepu8_epi16(high));
            let code = _mm256_sub_epi16(_mm256_add_epi16(high, low), offset);
            sums[part % 2] = _mm256_add_epi32(sums[part % 2], _mm256_madd_epi16(code, q));
        }
    }
    wide_total(sums)
}

/// The sum of all lanes.
#[target_feature(enable = "avx2")]
fn total(sum: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
}

/// The sum of all lanes, which 32 bits may not hold.
#[target_feature(enable = "avx2")]
fn wide_total(sums: [__m256i; 2]) -> i64 {
    let both = lanes(sums[0]).into_iter().chain(lanes(sums[1]));
    both.map(i64::from).sum()
}

#[target_feature(enable = "avx2")]
fn lanes(sum: __m256i) -> [i32; 8] {
    let mut lanes = [0; 8];
    // SAFETY: the array has room for one register.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
    lanes
}
