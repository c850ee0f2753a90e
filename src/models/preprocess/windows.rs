//! The pass along rows by AVX-512's products of bytes: sixteen neighbours of one colour by their weights, for three colours, in one
//! instruction. What comes of it is what plain loops give, bit for bit: a weight is the sum of three bytes, w = 65536 a + 256 b + c with a, b
//! and c from -128 to 127, and so is what pixels come to by it.

use super::resample::{PRECISION, Window};
use std::arch::x86_64::*;

/// Pixels that are multiplied side by side.
pub(super) const PIXELS: usize = 16;
/// Rows that go through the same weights together.
const ROWS: usize = 4;

/// Sixteen weights, each byte of them apart: the lowest first.
type Bytes = [[i8; PIXELS]; 3];

/// Whether this CPU can.
pub(super) fn available() -> bool {
    std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512vbmi")
        && std::is_x86_feature_detected!("avx512vnni")
}

/// The three bytes of each weight.
fn split(weights: &[i32]) -> Bytes {
    let mut bytes = Bytes::default();
    for (at, weight) in weights.iter().enumerate() {
        let mut rest = *weight;
        for part in &mut bytes {
            part[at] = rest as i8;
            rest = (rest - i32::from(part[at])) >> 8;
        }
    }
    bytes
}

/// For each row of `rgb`, `width` pixels wide, a pixel for each of `windows`, all of which read `chunks` times sixteen pixels.
pub(super) fn along(rgb: &[u8], width: usize, windows: &[Window], chunks: usize) -> Vec<u8> {
    assert!(available() && windows.iter().all(|window| window.start + chunks * PIXELS <= width));
    let starts: Vec<usize> = windows.iter().map(|window| window.start * 3).collect();
    let weights: Vec<Bytes> = windows
        .iter()
        .flat_map(|window| window.weights(chunks * PIXELS).chunks(PIXELS).map(split).collect::<Vec<_>>())
        .collect();
    let (stride, made) = (width * 3, windows.len() * 3);
    let mut out = vec![0; rgb.len() / stride * made];
    for (rows, out) in rgb.chunks(ROWS * stride).zip(out.chunks_mut(ROWS * made)) {
        // Where there are fewer rows, the last stands for those that are none.
        let row = |at: usize| &rows[at.min(rows.len() / stride - 1) * stride..][..stride];
        // SAFETY: the CPU can, and windows end within the rows.
        unsafe { some_rows(std::array::from_fn(row), &starts, &weights, chunks, out) };
    }
    out
}

/// [`along`] for a few rows; `out` is one after another.
///
/// # Safety
/// As [`pixel`], for each of the `starts`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
unsafe fn some_rows(rows: [&[u8]; ROWS], starts: &[usize], weights: &[Bytes], chunks: usize, out: &mut [u8]) {
    for (at, (start, weights)) in starts.iter().zip(weights.chunks_exact(chunks)).enumerate() {
        // SAFETY: as the caller says.
        let pixels = unsafe { pixel(rows, *start, weights) };
        for (out, [red, green, blue, _]) in out.chunks_exact_mut(starts.len() * 3).zip(pixels) {
            out[at * 3..][..3].copy_from_slice(&[red, green, blue]);
        }
    }
}

/// What the window that begins at `start` comes to in each of the rows: three colours and a byte that means nothing.
///
/// # Safety
/// AVX-512 with BW, VBMI and VNNI; each row has sixteen pixels for each of the `weights` from `start` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
#[inline]
unsafe fn pixel(rows: [&[u8]; ROWS], start: usize, weights: &[Bytes]) -> [[u8; 4]; ROWS] {
    /// Three colours of sixteen pixels.
    const THERE: u64 = (1 << (3 * PIXELS)) - 1;
    /// Sixteen of a colour side by side, in a fourth of a register; the last fourth holds anything.
    const APART: [u8; 64] = {
        let (mut apart, mut at) = ([0; 64], 0);
        while at < 3 * PIXELS {
            apart[at] = (at % PIXELS * 3 + at / PIXELS) as u8;
            at += 1;
        }
        apart
    };
    /// The three colours of a row side by side.
    const TOGETHER: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
    // SAFETY: what is read lies within constants, weights, and rows as the caller says.
    unsafe {
        let apart = _mm512_loadu_si512(APART.as_ptr().cast());
        let mut sums = [[_mm512_setzero_si512(); 3]; ROWS];
        for (chunk, weights) in weights.iter().enumerate() {
            let weights =
                weights.each_ref().map(|part| _mm512_broadcast_i32x4(_mm_loadu_si128(part.as_ptr().cast())));
            for (row, sums) in rows.iter().zip(&mut sums) {
                let there = row.as_ptr().add(start + chunk * 3 * PIXELS);
                let colours = _mm512_permutexvar_epi8(apart, _mm512_maskz_loadu_epi8(THERE, there.cast()));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_dpbusd_epi32(*sum, colours, weights);
                }
            }
        }
        let [a, b, c, d] = sums.map(|[low, middle, high]| {
            let upper = _mm512_add_epi32(_mm512_slli_epi32(high, 8), middle);
            _mm512_add_epi32(_mm512_slli_epi32(upper, 8), low)
        });
        // Four sums of four rows, in each fourth, to one for each row.
        let pair = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (ab, cd) = (pair(a, b), pair(c, d));
        let sums = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        let half = _mm512_set1_epi32(1 << (PRECISION - 1));
        let levels = _mm512_srai_epi32::<PRECISION>(_mm512_add_epi32(sums, half));
        let levels = _mm512_cvtusepi32_epi8(_mm512_max_epi32(levels, _mm512_setzero_si512()));
        let together = _mm_shuffle_epi8(levels, _mm_loadu_si128(TOGETHER.as_ptr().cast()));
        let mut pixels = [[0; 4]; ROWS];
        _mm_storeu_si128(pixels.as_mut_ptr().cast(), together);
        pixels
    }
}
