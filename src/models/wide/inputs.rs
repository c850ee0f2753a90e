//! Rows of inputs as they come: rounded to 8 bits, x = s (q - z) with q and z from 0 to 255, by the row's least and greatest value; or in
//! three parts, for AMX in f32.

use super::aligned::Aligned;
use super::amx_floats::{PARTS, STEP, TILE, split_inputs};
use super::bytes::Kernel;
use super::rows::Rows;
use crate::simd::{fold, greater, smaller, whole, widest};
use rayon::prelude::*;

/// Rows of inputs in 8 bits, or their parts.
#[derive(Default)]
pub(super) struct Inputs {
    /// Tile by tile of a kernel's rows, run by run of its inputs: (tiles, runs, tile, run). Places past the last row or input hold anything.
    pub codes: Aligned<u8>,
    /// For each row, filled up to whole tiles, its scale and what stands for zero.
    pub rows: Vec<(f32, i32)>,
}

impl Inputs {
    /// Rounds the rows of `x` to where `kernel` looks for them.
    pub fn round(&mut self, x: Rows, kernel: &Kernel) {
        self.fill(x.count(), x.width(), kernel, x.par_chunks(kernel.tile), |x, codes, facts| {
            for (at, (row, fact)) in x.iter().zip(facts).enumerate() {
                *fact = (kernel.round)(row, codes, at);
            }
        });
    }

    /// Takes the rows of `x`, `width` bytes each, to where `kernel` looks for them: q is what it says, s one and z zero.
    pub fn lay(&mut self, x: &[u8], width: usize, kernel: &Kernel) {
        let width = width.max(1);
        let tiles = x.par_chunks(width * kernel.tile);
        self.fill(x.len() / width, width, kernel, tiles, |x, codes, facts| {
            for (at, (row, fact)) in x.chunks_exact(width).zip(facts).enumerate() {
                (kernel.lay)(row, codes, at);
                *fact = (1.0, 0);
            }
        });
    }

    /// Makes room for so many rows of `width` for `kernel`, and has each of its `tiles` filled with what `tiles` says.
    fn fill<T: Send>(
        &mut self,
        rows: usize,
        width: usize,
        kernel: &Kernel,
        tiles: impl IndexedParallelIterator<Item = T>,
        fill: impl Fn(T, &mut [u8], &mut [(f32, i32)]) + Sync,
    ) {
        let (count, tile) = (rows.div_ceil(kernel.tile), kernel.tile_of(width));
        self.codes.resize(count * tile);
        self.rows.resize(count * kernel.tile, (0.0, 0));
        let places = self.codes.par_chunks_exact_mut(tile).zip(self.rows.par_chunks_exact_mut(kernel.tile));
        let few = (32 / kernel.tile).max(1);
        places.zip(tiles).with_min_len(few).for_each(|((codes, facts), x)| fill(x, codes, facts));
    }

    /// Whether there are so many rows of `width` for `kernel`.
    pub fn are(&self, rows: usize, width: usize, kernel: &Kernel) -> bool {
        let tiles = rows.div_ceil(kernel.tile);
        self.rows.len() >= tiles * kernel.tile && self.codes.len() >= tiles * kernel.tile_of(width)
    }

    /// Splits the inputs `start..start + count` of the rows of `x` into parts, as AMX reads them.
    pub fn split(&mut self, x: Rows, start: usize, count: usize) {
        let tile = count.div_ceil(STEP) * PARTS;
        self.codes.resize(x.count().div_ceil(TILE) * tile);
        let tiles = self.codes.par_chunks_exact_mut(tile.max(1)).zip(x.par_chunks(TILE));
        tiles.for_each(|(parts, x)| split_inputs(x, start, count, parts));
    }
}

widest! {
    /// Rounds one row of inputs to where row `at` of a tile of `TILE` belongs, `RUN` inputs together; gives its scale and what stands for zero. A row with a
    /// value that is not finite has a scale that is not a number, so that its products tell.
    pub(super) fn round_row<const TILE: usize, const RUN: usize>(row: &[f32], tile: &mut [u8], at: usize) -> (f32, i32) {
        let (least, most, odd) = reach(row);
        let range = most - least;
        if odd != 0.0 || !range.is_finite() {
            return (f32::NAN, 0);
        }
        let inverse = inverse(255.0, range);
        let zero = whole(-least * inverse);
        let code = |x: f32| (whole(x * inverse) + zero).clamp(0, 255) as u8;
        // Runs that fill a register go straight to their place: what was just written in parts can't be read as one yet.
        if RUN >= LINE {
            for (place, x) in tile.chunks_exact_mut(TILE * RUN).zip(row.chunks(RUN)) {
                let place = &mut place[at * RUN..][..RUN];
                match <&[f32; RUN]>::try_from(x) {
                    Ok(x) => place.iter_mut().zip(x).for_each(|(to, x)| *to = code(*x)),
                    Err(_) => place.iter_mut().zip(x).for_each(|(to, x)| *to = code(*x)),
                }
            }
            return (range / 255.0, zero);
        }
        const CHUNK: usize = LINE;
        for (chunk, x) in row.chunks(CHUNK).enumerate() {
            let mut codes = [0u8; CHUNK];
            codes.iter_mut().zip(x).for_each(|(to, x)| *to = code(*x));
            let runs = x.len().div_ceil(RUN);
            let places = tile[chunk * CHUNK * TILE..].chunks_exact_mut(TILE * RUN).take(runs);
            for (place, run) in places.zip(codes.chunks_exact(RUN)) {
                place[at * RUN..][..RUN].copy_from_slice(run);
            }
        }
        (range / 255.0, zero)
    }
}

/// Takes one row of bytes to where row `at` of a tile of `TILE` belongs, `RUN` inputs together.
pub(super) fn lay_row<const TILE: usize, const RUN: usize>(row: &[u8], tile: &mut [u8], at: usize) {
    let (runs, rest) = row.as_chunks::<RUN>();
    let mut places = tile.chunks_exact_mut(TILE * RUN).map(|place| &mut place[at * RUN..][..RUN]);
    places.by_ref().zip(runs).for_each(|(place, run)| place.copy_from_slice(run));
    if let Some(place) = places.next() {
        place[..rest.len()].copy_from_slice(rest);
    }
}

/// Codes in a line of the cache.
const LINE: usize = 64;

/// What values are multiplied by so that `range` becomes `steps`; zero where there is nothing, or so little that it rounds to it.
#[inline(always)]
pub(super) fn inverse(steps: f32, range: f32) -> f32 {
    let inverse = steps / range;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The least and the greatest value of a row, zero among them, and a number that is zero where all are finite.
#[inline(always)]
fn reach(row: &[f32]) -> (f32, f32, f32) {
    // Four registers, which don't wait for one another.
    const LANES: usize = 64;
    let (mut least, mut most, mut odd) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let mut see = |x: &[f32]| {
        for (lane, x) in x.iter().enumerate() {
            least[lane] = smaller(least[lane], *x);
            most[lane] = greater(most[lane], *x);
            odd[lane] = x.mul_add(0.0, odd[lane]);
        }
    };
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    chunks.for_each(&mut see);
    see(rest);
    (fold(least, smaller), fold(most, greater), fold(odd, |a, b| a + b))
}
