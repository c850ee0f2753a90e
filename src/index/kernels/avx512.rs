//! 512-bit registers with VNNI: four products of bytes and their sum in one instruction.

use super::{AHEAD, Kernels, Sums, check_fine, check_score, prefetch};
use std::arch::x86_64::*;

/// The kernels, where the processor has AVX-512 F, BW and VNNI.
pub fn kernels() -> Option<Kernels> {
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    has.then_some(Kernels {
        name: "avx512-vnni",
        int8: Sums { score, fine },
        int4: Sums { score: score_int4, fine: fine_int4 },
    })
}

fn score(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    check_score(1, rows, query, out);
    // SAFETY: `kernels` hands this out only where the features were detected; lengths are checked above.
    unsafe {
        match query.len() {
            // Fixed lengths let the query stay in registers: those of CLIPs, and of the demo model.
            192 => score_fixed::<3>(rows, query, out),
            256 => score_fixed::<4>(rows, query, out),
            512 => score_fixed::<8>(rows, query, out),
            640 => score_fixed::<10>(rows, query, out),
            768 => score_fixed::<12>(rows, query, out),
            1024 => score_fixed::<16>(rows, query, out),
            _ => score_rows(rows, query, out),
        }
    }
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
/// The features, the lengths of [`check_score`], and a query of `64 * N` components.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn score_fixed<const N: usize>(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    let mut q = [_mm512_setzero_si512(); N];
    for (at, q) in q.iter_mut().enumerate() {
        // SAFETY: the query has N registers.
        *q = unsafe { _mm512_loadu_si512(query.as_ptr().add(64 * at).cast()) };
    }
    rows.iter().take(AHEAD).for_each(|row| prefetch(row));
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + AHEAD) {
            prefetch(next);
        }
        let mut sums = [_mm512_setzero_si512(); 2];
        for (at, q) in q.iter().enumerate() {
            // SAFETY: a row is as long as the query.
            let b = unsafe { _mm512_loadu_si512(row.as_ptr().add(64 * at).cast()) };
            sums[at % 2] = _mm512_dpbusd_epi32(sums[at % 2], b, *q);
        }
        *out = _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]));
    }
}

/// # Safety
/// The features, and the lengths of [`check_score`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn score_rows(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    rows.iter().take(AHEAD).for_each(|row| prefetch(row));
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + AHEAD) {
            prefetch(next);
        }
        let mut sum = _mm512_setzero_si512();
        for at in (0..query.len()).step_by(64) {
            // SAFETY: 64 bytes from `at` on lie inside row and query, whose lengths are equal multiples of 64.
            let (b, q) = unsafe {
                (
                    _mm512_loadu_si512(row.as_ptr().add(at).cast()),
                    _mm512_loadu_si512(query.as_ptr().add(at).cast()),
                )
            };
            sum = _mm512_dpbusd_epi32(sum, b, q);
        }
        *out = _mm512_reduce_add_epi32(sum);
    }
}

/// # Safety
/// The features, and the lengths of [`check_score`] for two parts in a byte.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn score_rows_int4(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    let nibble = _mm512_set1_epi8(15);
    // The upper half of a register takes the upper nibbles of the same 32 bytes.
    let shifts = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(4));
    rows.iter().take(AHEAD).for_each(|row| prefetch(row));
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + AHEAD) {
            prefetch(next);
        }
        let mut sum = _mm512_setzero_si512();
        for at in (0..query.len()).step_by(64) {
            // SAFETY: 32 bytes of the row hold the parts for 64 components of the query, whose length is a multiple of 64.
            let (b, q) = unsafe {
                (
                    _mm256_loadu_si256(row.as_ptr().add(at / 2).cast()),
                    _mm512_loadu_si512(query.as_ptr().add(at).cast()),
                )
            };
            let parts = _mm512_srlv_epi16(_mm512_broadcast_i64x4(b), shifts);
            sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(parts, nibble), q);
        }
        *out = _mm512_reduce_add_epi32(sum);
    }
}

/// # Safety
/// The features, and the lengths of [`check_fine`] for two parts in a byte.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn fine_sum_int4(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    let mut sum = _mm512_setzero_si512();
    let (lower, upper) = (_mm256_set1_epi8(15), _mm256_set1_epi8(-16));
    let offset = _mm512_set1_epi16(8 * 16 + 8);
    for register in 0..rough.len() / 32 {
        // SAFETY: the 32 bytes that both halves share lie inside the planes.
        let (high, low) = unsafe {
            (
                _mm256_loadu_si256(rough.as_ptr().add(32 * register).cast()),
                _mm256_loadu_si256(fine.as_ptr().add(32 * register).cast()),
            )
        };
        let halves = [(_mm256_slli_epi16::<4>(high), low), (high, _mm256_srli_epi16::<4>(low))];
        for (half, (high, low)) in halves.into_iter().enumerate() {
            // SAFETY: 32 words from here on lie inside the query.
            let q = unsafe { _mm512_loadu_si512(query.as_ptr().add(64 * register + 32 * half).cast()) };
            let byte = _mm256_or_si256(_mm256_and_si256(high, upper), _mm256_and_si256(low, lower));
            let code = _mm512_sub_epi16(_mm512_cvtepu8_epi16(byte), offset);
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(code, q));
        }
    }
    wide_total(sum)
}

/// # Safety
/// The features, and the lengths of [`check_fine`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn fine_sum(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    let mut sum = _mm512_setzero_si512();
    let (nibble, offset) = (_mm256_set1_epi8(15), _mm512_set1_epi16(128 * 16 + 8));
    for register in 0..rough.len() / 64 {
        // SAFETY: the 32 bytes that both halves share lie inside the fine plane.
        let low = unsafe { _mm256_loadu_si256(fine.as_ptr().add(32 * register).cast()) };
        let halves = [low, _mm256_srli_epi16::<4>(low)];
        for (half, low) in halves.into_iter().enumerate() {
            let at = 64 * register + 32 * half;
            // SAFETY: 32 bytes and 32 words from `at` on lie inside rough plane and query.
            let (high, q) = unsafe {
                (
                    _mm256_loadu_si256(rough.as_ptr().add(at).cast()),
                    _mm512_loadu_si512(query.as_ptr().add(at).cast()),
                )
            };
            let low = _mm512_cvtepu8_epi16(_mm256_and_si256(low, nibble));
            let high = _mm512_slli_epi16::<4>(_mm512_cvtepu8_epi16(high));
            let code = _mm512_sub_epi16(_mm512_add_epi16(high, low), offset);
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(code, q));
        }
    }
    wide_total(sum)
}

/// The sum of all lanes, which 32 bits may not hold.
#[target_feature(enable = "avx512f")]
fn wide_total(sum: __m512i) -> i64 {
    let mut lanes = [0i32; 16];
    // SAFETY: the array has room for one register.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sum) };
    lanes.into_iter().map(i64::from).sum()
}
