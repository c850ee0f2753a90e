//! Weights and inputs in 8 bits: a quarter of the memory, and four products in the time of one.
//!
//! 1. A layer's weights are rounded once: each output has a scale of its own, w = s_w c with c from -127 to 127.
//! 2. Each row of inputs is rounded as it comes: x = s_x (q - z) with q and z from 0 to 255, by the row's least and greatest value.
//! 3. The sum over inputs of q c is exact in 32 bits; then x W^T = s_x s_w (sum - z times the sum of c), and the bias is added.
//!
//! (Jacob et al. 2018, arXiv:1712.05877, section 2.) [`scalar`] says it in plain loops, with the same bits as the kernel.

use super::{End, PANEL, vnni};
use rayon::prelude::*;

/// Inputs that one instruction takes together.
pub(super) const GROUP: usize = 4;
/// Rows that the kernel takes at once.
pub(super) const TILE: usize = 8;

/// A linear layer in 8 bits.
pub(super) struct Coded {
    /// Panel by panel, four inputs by four, 48 outputs: (panels, groups, 48, 4), filled up with zeros.
    pub codes: Vec<i8>,
    /// For each output, (panels x 48), filled up with zeros: its scale,
    pub scales: Vec<f32>,
    /// the sum of its codes,
    pub sums: Vec<i32>,
    /// and its bias.
    pub bias: Vec<f32>,
    pub from: usize,
    pub to: usize,
}

impl Coded {
    /// Rounds `rows`, (to, from), and lays them out; `bias` is (to).
    pub fn new(rows: &[f32], bias: &[f32], from: usize) -> Self {
        let to = bias.len();
        let (panels, groups) = (to.div_ceil(PANEL), from.div_ceil(GROUP));
        let mut codes = vec![0; panels * groups * PANEL * GROUP];
        let (mut scales, mut sums) = (vec![0.0; panels * PANEL], vec![0; panels * PANEL]);
        let facts = scales.par_chunks_mut(PANEL).zip(sums.par_chunks_mut(PANEL));
        let laid = codes.par_chunks_mut((groups * PANEL * GROUP).max(1)).zip(facts);
        laid.zip(rows.par_chunks((PANEL * from).max(1))).for_each(|((codes, (scales, sums)), rows)| {
            for (output, row) in rows.chunks_exact(from.max(1)).enumerate() {
                let most = row.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
                let inverse = inverse(127.0, most);
                // A weight that is not a number must not go unseen.
                let odd = row.iter().any(|weight| weight.is_nan());
                scales[output] = if odd { f32::NAN } else { most / 127.0 };
                for (input, weight) in row.iter().enumerate() {
                    let code = whole(weight * inverse) as i8;
                    sums[output] += i32::from(code);
                    codes[(input / GROUP * PANEL + output) * GROUP + input % GROUP] = code;
                }
            }
        });
        let mut bias = bias.to_vec();
        bias.resize(scales.len(), 0.0);
        Coded { codes, scales, sums, bias, from, to }
    }

    /// How many groups of inputs there are.
    pub fn groups(&self) -> usize {
        self.from.div_ceil(GROUP)
    }

    /// x W^T + b for the rows of `x`, brought to `end` in `out`; `inputs` is room to round them in.
    pub fn product(&self, x: &[f32], rows: usize, out: &mut [f32], end: End, inputs: &mut Inputs) {
        inputs.round(&x[..rows * self.from], self.from);
        vnni::product(self, inputs, rows, out, end);
    }
}

/// Rows of inputs in 8 bits.
#[derive(Default)]
pub(super) struct Inputs {
    /// Eight rows by eight, four inputs by four: (tiles, groups, 8, 4). Places past the last row or input hold anything.
    pub codes: Vec<u8>,
    /// For each row, filled up to whole tiles, its scale and what stands for zero.
    pub rows: Vec<(f32, i32)>,
}

impl Inputs {
    /// Rounds the rows of `x`, each of `from` values.
    pub fn round(&mut self, x: &[f32], from: usize) {
        let from = from.max(1);
        let (rows, tile) = (x.len() / from, from.div_ceil(GROUP) * TILE * GROUP);
        let tiles = rows.div_ceil(TILE);
        self.codes.resize(tiles * tile, 0);
        self.rows.resize(tiles * TILE, (0.0, 0));
        let tiles = self.codes.par_chunks_exact_mut(tile).zip(self.rows.par_chunks_exact_mut(TILE));
        tiles.zip(x.par_chunks(TILE * from)).with_min_len(4).for_each(|((codes, facts), x)| {
            for (at, (row, fact)) in x.chunks_exact(from).zip(facts).enumerate() {
                *fact = vnni::round_row(row, codes, at);
            }
        });
    }
}

/// Rounds one row of inputs to where row `at` of a tile belongs; gives its scale and what stands for zero. A row with a value that is not
/// finite has a scale that is not a number, so that its products tell.
#[inline(always)]
pub(super) fn round_row(row: &[f32], tile: &mut [u8], at: usize) -> (f32, i32) {
    let (least, most, odd) = reach(row);
    let range = most - least;
    if odd != 0.0 || !range.is_finite() {
        return (f32::NAN, 0);
    }
    let inverse = inverse(255.0, range);
    let zero = whole(-least * inverse);
    let code = |x: f32| (whole(x * inverse) + zero).clamp(0, 255) as u8;
    const CHUNK: usize = 64;
    for (chunk, x) in row.chunks(CHUNK).enumerate() {
        let mut codes = [0u8; CHUNK];
        codes.iter_mut().zip(x).for_each(|(to, x)| *to = code(*x));
        let groups = x.len().div_ceil(GROUP);
        let places = tile[chunk * CHUNK * TILE..].chunks_exact_mut(TILE * GROUP).take(groups);
        for (place, group) in places.zip(codes.chunks_exact(GROUP)) {
            place[at * GROUP..][..GROUP].copy_from_slice(group);
        }
    }
    (range / 255.0, zero)
}

/// What values are multiplied by so that `range` becomes `steps`; zero where there is nothing, or so little that it rounds to it.
#[inline(always)]
fn inverse(steps: f32, range: f32) -> f32 {
    let inverse = steps / range;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The nearest whole number, the even one of two, for numbers up to 2^22.
#[inline(always)]
fn whole(x: f32) -> i32 {
    // Adding 1.5 * 2^23 leaves no room for a fraction: the whole number stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}

/// The least and the greatest value of a row, zero among them, and a number that is zero where all are finite.
#[inline(always)]
fn reach(row: &[f32]) -> (f32, f32, f32) {
    const LANES: usize = 16;
    let (mut least, mut most, mut odd) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let mut see = |x: &[f32]| {
        for (lane, x) in x.iter().enumerate() {
            least[lane] = if *x < least[lane] { *x } else { least[lane] };
            most[lane] = if *x > most[lane] { *x } else { most[lane] };
            odd[lane] += *x * 0.0;
        }
    };
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    chunks.for_each(&mut see);
    see(rest);
    let fold = |lanes: [f32; LANES], pick: fn(f32, f32) -> f32| lanes.into_iter().fold(0.0, pick);
    (fold(least, f32::min), fold(most, f32::max), odd.iter().sum())
}

/// What the kernel does, in plain loops: for tests.
#[cfg(test)]
pub(super) fn scalar(coded: &Coded, inputs: &Inputs, rows: usize, out: &mut [f32], end: End) {
    let groups = coded.groups();
    for row in 0..rows {
        let (scale, zero) = inputs.rows[row];
        let tile = &inputs.codes[row / TILE * groups * TILE * GROUP..];
        for output in 0..coded.to {
            let panel = &coded.codes[output / PANEL * groups * PANEL * GROUP..];
            let mut sum = 0i32;
            for group in 0..groups {
                for lane in 0..GROUP {
                    let q = i32::from(tile[(group * TILE + row % TILE) * GROUP + lane]);
                    sum += q * i32::from(panel[(group * PANEL + output % PANEL) * GROUP + lane]);
                }
            }
            let sum = (sum - zero * coded.sums[output]) as f32;
            let value = sum * (scale * coded.scales[output]) + coded.bias[output];
            let place = &mut out[row * coded.to + output];
            match end {
                End::Write => *place = value,
                End::Add => *place += value,
                End::Activate(activation) => {
                    *place = value;
                    activation.apply(std::slice::from_mut(place));
                }
            }
        }
    }
}
