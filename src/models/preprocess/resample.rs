//! Pillow's resampling, bit for bit: one pass along each row, one down each column, 8 bits kept between them.
//!
//! The arithmetic is that of Pillow's `Resample.c`: antialiased (the filter widens with the scale), coefficients in fixed
//! point with 22 bits, the passes in Pillow 13's order. Scaling libraries that go the other way round, or hold fewer bits,
//! differ by a grey level here and there, and an embedding feels it in its third digit. Only the part of the result that
//! is asked for is computed.

#[cfg(target_arch = "x86_64")]
use super::windows;
use crate::simd::widest;
use std::f64::consts::PI;
use std::ops::Range;

/// Fractional bits of a coefficient: what 32 leave after 8 of colour, a sign, and room for sums beyond 255.
pub(super) const PRECISION: u32 = 32 - 8 - 2;
/// Pixels that are multiplied side by side, their three colours in three registers.
const PIXELS: usize = 8;

/// How a pixel is made from its neighbours, by Pillow's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The pixel that is there.
    Nearest,
    /// The mean of what it covers.
    Box,
    /// A triangle.
    Bilinear,
    /// A cosine bell over a sinc.
    Hamming,
    /// Cubic with a = -0.5 (Catmull-Rom).
    Bicubic,
    /// A sinc under a sinc, three lobes.
    Lanczos,
}

impl Filter {
    /// How far it reaches, in pixels of the smaller grid.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        let size = x.abs();
        match self {
            Filter::Nearest => 0.0,
            Filter::Box if x > -0.5 && x <= 0.5 => 1.0,
            Filter::Bilinear if size < 1.0 => 1.0 - size,
            Filter::Hamming if size == 0.0 => 1.0,
            Filter::Hamming if size < 1.0 => {
                (size * PI).sin() / (size * PI) * (0.54 + 0.46 * (size * PI).cos())
            }
            Filter::Bicubic if size < 1.0 => ((A + 2.0) * size - (A + 3.0)) * size * size + 1.0,
            Filter::Bicubic if size < 2.0 => (((size - 5.0) * size + 8.0) * size - 4.0) * A,
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

/// One axis of a resampling: `source` pixels become `scaled`, of which `kept` are wanted.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The source's length.
    pub source: usize,
    /// The result's whole length.
    pub scaled: usize,
    /// The part of the result that is computed.
    pub kept: Range<usize>,
}

/// The part `columns.kept` x `rows.kept` of `rgb`, `columns.source` pixels wide and `rows.source` high, scaled to
/// `columns.scaled` x `rows.scaled`; interleaved as it came.
pub fn resample(rgb: &[u8], columns: &Axis, rows: &Axis, filter: Filter) -> Vec<u8> {
    if filter == Filter::Nearest {
        return nearest(rgb, columns, rows);
    }
    let (down, along) = (Taps::new(rows, filter), Taps::new(columns, filter));
    // Only what the second pass reads is made by the first.
    let (tall, wide) = (down.reach(), along.reach());
    if vertical_first(columns, rows) {
        let narrowed = crop(rgb, columns.source, &wide);
        let flattened = vertical(&narrowed, wide.len(), &down, 0);
        horizontal(&flattened, wide.len(), &along, wide.start)
    } else {
        let stride = columns.source * 3;
        let narrowed = horizontal(&rgb[tall.start * stride..tall.end * stride], columns.source, &along, 0);
        vertical(&narrowed, columns.kept.len(), &down, tall.start)
    }
}

/// Which pass Pillow 13 begins with (found by comparing it with both, over some 1,500 sizes). Older ones always begin with
/// the horizontal, which makes a difference for pictures more than twice as high as wide.
fn vertical_first(columns: &Axis, rows: &Axis) -> bool {
    let lost = |axis: &Axis| axis.source as i64 - axis.scaled as i64;
    lost(rows) > 0 && lost(rows) > 2 * lost(columns)
}

/// For each kept pixel of an axis: where its window begins, and the weights of what is in it.
struct Taps {
    starts: Vec<usize>,
    ends: Vec<usize>,
    /// `width` a pixel, zero past the window's end.
    weights: Vec<i32>,
    width: usize,
}

impl Taps {
    /// Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`.
    fn new(axis: &Axis, filter: Filter) -> Self {
        let count = axis.kept.len();
        if axis.scaled == axis.source {
            let (starts, ends) = (axis.kept.clone().collect(), axis.kept.clone().map(|x| x + 1).collect());
            return Taps { starts, ends, weights: vec![1 << PRECISION; count], width: 1 };
        }
        let scale = axis.source as f64 / axis.scaled as f64;
        let widening = scale.max(1.0);
        let support = filter.support() * widening;
        let width = support.ceil() as usize * 2 + 1;
        let mut taps = Taps {
            starts: Vec::with_capacity(count),
            ends: Vec::with_capacity(count),
            weights: vec![0; count * width],
            width,
        };
        let mut window = Vec::with_capacity(width);
        for (x, weights) in axis.kept.clone().zip(taps.weights.chunks_exact_mut(width)) {
            let center = (x as f64 + 0.5) * scale;
            // Casts cut toward zero and stop at it, which is what Pillow's casts and limits come to.
            let start = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(axis.source);
            let inverse = 1.0 / widening;
            window.clear();
            window.extend((start..end).map(|at| filter.weight((at as f64 - center + 0.5) * inverse)));
            let sum: f64 = window.iter().sum();
            for (weight, value) in weights.iter_mut().zip(&window) {
                let value = if sum != 0.0 { value / sum } else { *value };
                let fixed = value * f64::from(1u32 << PRECISION);
                *weight = if fixed < 0.0 { (fixed - 0.5) as i32 } else { (fixed + 0.5) as i32 };
            }
            taps.starts.push(start);
            taps.ends.push(end);
        }
        taps
    }

    /// The source pixels that are read at all.
    fn reach(&self) -> Range<usize> {
        self.starts.first().copied().unwrap_or(0)..self.ends.last().copied().unwrap_or(0)
    }
}

/// The columns `kept` of an image `width` pixels wide.
fn crop(rgb: &[u8], width: usize, kept: &Range<usize>) -> Vec<u8> {
    rgb.chunks_exact(width * 3).flat_map(|row| &row[kept.start * 3..kept.end * 3]).copied().collect()
}

/// Each row's kept pixels. `rgb` is `width` pixels wide and begins at the source's column `first`.
fn horizontal(rgb: &[u8], width: usize, taps: &Taps, first: usize) -> Vec<u8> {
    if taps.width == 1 {
        let kept = taps.reach();
        return crop(rgb, width, &(kept.start - first..kept.end - first));
    }
    // Windows of whole chunks: they begin further left where they would end past the row, and a row that is shorter than
    // a window is lengthened.
    let (pixels, along) = pass();
    let chunks = taps.width.div_ceil(pixels);
    let lengthened: Vec<u8>;
    let (rgb, width) = match (chunks * pixels).checked_sub(width) {
        None | Some(0) => (rgb, width),
        Some(more) => {
            let rows = rgb.chunks_exact(width * 3);
            lengthened =
                rows.flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0, more * 3))).collect();
            (lengthened.as_slice(), width + more)
        }
    };
    along(rgb, width, &windows_of(taps, first, width, chunks * pixels), chunks)
}

/// Windows of `reach` pixels each, in rows that are `width` wide and begin at the source's column `first`.
fn windows_of(taps: &Taps, first: usize, width: usize, reach: usize) -> Vec<Window<'_>> {
    (taps.starts.iter().zip(&taps.ends).zip(taps.weights.chunks(taps.width)))
        .map(|((from, to), weights)| {
            let start = (from - first).min(width - reach);
            Window { start, shift: from - first - start, taps: &weights[..to - from] }
        })
        .collect()
}

/// How this CPU goes along rows, and how many pixels it multiplies side by side.
fn pass() -> (usize, Along) {
    #[cfg(target_arch = "x86_64")]
    if windows::available() {
        return (windows::PIXELS, windows::along);
    }
    (PIXELS, along)
}

/// As [`along`].
type Along = fn(&[u8], usize, &[Window], usize) -> Vec<u8>;

/// What one pixel of a row is made from.
pub(super) struct Window<'a> {
    /// The first pixel that is read.
    pub start: usize,
    /// How many of them count for nothing.
    shift: usize,
    /// The weights of those after it.
    taps: &'a [i32],
}

impl Window<'_> {
    /// A weight for each of `count` pixels.
    pub fn weights(&self, count: usize) -> Vec<i32> {
        let mut weights = vec![0; count];
        weights[self.shift..][..self.taps.len()].copy_from_slice(self.taps);
        weights
    }
}

/// For each row of `rgb`, `width` pixels wide, a pixel for each of `windows`, all of which read `chunks` times [`PIXELS`].
fn along(rgb: &[u8], width: usize, windows: &[Window], chunks: usize) -> Vec<u8> {
    let starts: Vec<usize> = windows.iter().map(|window| window.start).collect();
    let weights: Vec<i32> = (windows.iter().flat_map(|window| window.weights(chunks * PIXELS)))
        .flat_map(|weight| [weight; 3])
        .collect();
    let mut narrowed = vec![0; rgb.len() / (width * 3) * starts.len() * 3];
    for (row, out) in rgb.chunks_exact(width * 3).zip(narrowed.chunks_exact_mut(starts.len() * 3)) {
        one_row(row, &starts, &weights, out);
    }
    narrowed
}

/// Each column's kept pixels. `rgb` is `width` pixels wide and begins at the source's row `first`.
fn vertical(rgb: &[u8], width: usize, taps: &Taps, first: usize) -> Vec<u8> {
    let stride = width * 3;
    if taps.width == 1 {
        let kept = taps.reach();
        return rgb[(kept.start - first) * stride..(kept.end - first) * stride].to_vec();
    }
    let mut flattened = vec![0; taps.starts.len() * stride];
    down(rgb, stride, taps, first, &mut flattened);
    flattened
}

widest! {
    /// One row's kept pixels: at each of `starts`, a window of source pixels by its `weights`.
    fn one_row(row: &[u8], starts: &[usize], weights: &[i32], out: &mut [u8]) {
        // What eight pixels side by side come to is added up when some more windows have been gone through: what was just written in wide
        // registers can't be read in others yet.
        const SOME: usize = 16;
        let window = weights.len() / starts.len();
        let mut sums = [[[0i32; 8]; 3]; SOME];
        let windows = starts.chunks(SOME).zip(weights.chunks(SOME * window));
        for ((starts, weights), out) in windows.zip(out.chunks_mut(SOME * 3)) {
            for ((start, weights), sums) in starts.iter().zip(weights.chunks_exact(window)).zip(&mut sums) {
                *sums = products(&row[start * 3..], weights);
            }
            for (sums, pixel) in sums.iter().zip(out.chunks_exact_mut(3)) {
                let sums = sums.as_flattened();
                let four: [i32; 12] = std::array::from_fn(|at| sums[at].wrapping_add(sums[at + 12]));
                let two: [i32; 6] = std::array::from_fn(|at| four[at].wrapping_add(four[at + 6]));
                for (colour, value) in pixel.iter_mut().enumerate() {
                    *value = round(two[colour].wrapping_add(two[colour + 3]));
                }
            }
        }
    }
}

/// The pixels of a window by its weights, eight side by side.
#[inline(always)]
fn products(bytes: &[u8], weights: &[i32]) -> [[i32; 8]; 3] {
    let (bytes, _) = bytes.as_chunks::<8>();
    let (weights, _) = weights.as_chunks::<8>();
    let mut sums = [[0i32; 8]; 3];
    for (bytes, weights) in bytes.chunks_exact(3).zip(weights.chunks_exact(3)) {
        for part in 0..3 {
            for lane in 0..8 {
                let product = i32::from(bytes[part][lane]).wrapping_mul(weights[part][lane]);
                sums[part][lane] = sums[part][lane].wrapping_add(product);
            }
        }
    }
    sums
}

widest! {
    /// Each of the lines kept, by its weights of source rows.
    fn down(rgb: &[u8], stride: usize, taps: &Taps, first: usize, out: &mut [u8]) {
        const BLOCK: usize = 64;
        for (line, out) in out.chunks_exact_mut(stride).enumerate() {
            let rows = taps.starts[line] - first..taps.ends[line] - first;
            let weights = &taps.weights[line * taps.width..][..rows.len()];
            for (block, out) in out.chunks_mut(BLOCK).enumerate() {
                let mut sums = [0i32; BLOCK];
                for (row, weight) in rows.clone().zip(weights) {
                    let bytes = &rgb[row * stride + block * BLOCK..][..out.len()];
                    for (sum, byte) in sums.iter_mut().zip(bytes) {
                        *sum = sum.wrapping_add(i32::from(*byte).wrapping_mul(*weight));
                    }
                }
                for (value, sum) in out.iter_mut().zip(sums) {
                    *value = round(sum);
                }
            }
        }
    }
}

/// A sum in fixed point as a grey level.
#[inline(always)]
fn round(sum: i32) -> u8 {
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).clamp(0, 255) as u8
}

/// Pillow's `ImagingScaleAffine`: positions are added up, not multiplied out.
fn nearest(rgb: &[u8], columns: &Axis, rows: &Axis) -> Vec<u8> {
    let positions = |axis: &Axis| -> Vec<usize> {
        let step = axis.source as f64 / axis.scaled as f64;
        let walk = std::iter::successors(Some(step * 0.5), |at| Some(at + step));
        let walk = walk.map(|at| (at as usize).min(axis.source - 1));
        walk.skip(axis.kept.start).take(axis.kept.len()).collect()
    };
    let (across, stride) = (positions(columns), columns.source * 3);
    let pixels = positions(rows).into_iter().flat_map(|y| across.iter().map(move |x| y * stride + x * 3));
    pixels.flat_map(|at| &rgb[at..at + 3]).copied().collect()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn rows_by_bytes_have_the_bits_of_plain_loops() {
        if !windows::available() {
            return;
        }
        let mut state = 1u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Black and white are what sums go farthest by.
            [0, 255, (state >> 24) as u8][(state >> 16) as usize % 3]
        };
        for (source, scaled, rows) in
            [(640, 224, 5), (1024, 97, 4), (300, 299, 3), (64, 640, 1), (2000, 64, 9)]
        {
            let rgb: Vec<u8> = (0..source * rows * 3).map(|_| byte()).collect();
            for filter in [Filter::Box, Filter::Bilinear, Filter::Hamming, Filter::Bicubic, Filter::Lanczos] {
                let taps = Taps::new(&Axis { source, scaled, kept: 0..scaled }, filter);
                let by = |pixels: usize, along: Along| {
                    let chunks = taps.width.div_ceil(pixels);
                    let windows: Vec<Window> = windows_of(&taps, 0, source, chunks * pixels);
                    along(&rgb, source, &windows, chunks)
                };
                assert!(
                    by(PIXELS, along) == by(windows::PIXELS, windows::along),
                    "{source} to {scaled}, {filter:?}"
                );
            }
        }
    }
}
