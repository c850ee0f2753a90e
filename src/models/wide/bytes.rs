//! Products in 8 bits: a quarter of the memory, and at least twice as many in the time of one in f32.
//!
//! 1. A layer's weights are rounded once: each output has a scale of its own, w = s_w c with c from -127 to 127.
//! 2. Each row of inputs is rounded as it comes (`inputs`): x = s_x (q - z).
//! 3. The sum over inputs of q c is exact in 32 bits; then, in f32, x W^T = s_x s_w (sum - z times the sum of c), and the bias is added.
//!
//! (Jacob et al. 2018, arXiv:1712.05877, section 2.) AMX and AVX-512 VNNI add products straight into 32 bits. AVX2 has to add two of them in 16 bits
//! first; so that this can't overflow, what two neighbouring codes add up to is bounded ([`Kernel::pairs`]). [`scalar`] says it in plain loops, with the
//! same bits as the kernels.

use super::aligned::Aligned;
use super::inputs::{Inputs, inverse};
use super::place::Place;
use super::rows::{Rows, RowsMut};
use super::{End, activate_tile, amx, assert_fits, avx2_bytes, share_out, vnni};
use crate::simd::whole;
use rayon::prelude::*;

/// Inputs that one instruction takes together.
pub(super) const GROUP: usize = 4;
/// The greatest code of a weight.
const MOST: f32 = 127.0;
/// Rounds a row to its place in a tile, and gives its scale and what stands for zero.
type Round = fn(&[f32], &mut [u8], usize) -> (f32, i32);
/// Takes a row of bytes to its place in a tile.
type Lay = fn(&[u8], &mut [u8], usize);

/// One CPU's way to multiply in 8 bits.
pub(super) struct Kernel {
    /// Outputs in a panel of weights.
    pub panel: usize,
    /// Rows that it takes at once.
    pub tile: usize,
    /// Rows of a job: whole tiles.
    pub rows: usize,
    /// Inputs of a row that stand together: whole groups.
    pub run: usize,
    /// Whether it adds the products of two neighbouring inputs in 16 bits.
    pub pairs: bool,
    /// [`super::inputs::round_row`] for its tiles,
    pub round: Round,
    /// and [`super::inputs::lay_row`].
    pub lay: Lay,
    /// Takes so many rows, tile by tile, through what [`Work`] points to.
    pub multiply: unsafe fn(&Work, usize),
}

impl Kernel {
    /// Groups of `from` inputs, filled up to whole runs.
    fn groups(&self, from: usize) -> usize {
        from.max(1).next_multiple_of(self.run) / GROUP
    }

    /// Bytes of a tile of rows of `from` inputs.
    pub fn tile_of(&self, from: usize) -> usize {
        self.groups(from) * GROUP * self.tile
    }

    /// The weight of `row` that the greatest code stands for. Where pairs count it is no less than what two neighbours add up to, so that their
    /// codes, each rounded, add up to 128 at most: times inputs of up to 255, that fits 16 bits.
    fn reach(&self, row: &[f32]) -> f32 {
        let most = row.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
        if !self.pairs {
            return most;
        }
        row.chunks(2).fold(most, |most, pair| most.max(pair.iter().sum::<f32>().abs()))
    }
}

/// What a kernel reads and writes.
pub(super) struct Work<'a> {
    /// Tiles of inputs, and their rows' scales and zeros.
    pub a: *const u8,
    pub facts: &'a [(f32, i32)],
    /// A panel of weights, and where its outputs' facts begin.
    pub b: *const i8,
    pub coded: &'a Coded,
    pub output: usize,
    pub groups: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    pub end: End,
    /// How many of the columns are written.
    pub columns: usize,
}

impl Work<'_> {
    /// The same from row `row` on, which begins a tile.
    pub fn from(&self, row: usize) -> Self {
        Work {
            a: self.a.wrapping_add(row * self.groups * GROUP),
            facts: &self.facts[row..],
            c: self.c.wrapping_add(row * self.c_stride),
            ..*self
        }
    }

    /// Whether it adds to what is there, instead of writing over it.
    pub fn add(&self) -> bool {
        matches!(self.end, End::Add)
    }

    /// Brings the first `rows` rows, just written, to their end.
    ///
    /// # Safety
    /// They are there, and no one else looks at them.
    pub unsafe fn activate(&self, rows: usize) {
        // SAFETY: as the caller says.
        unsafe { activate_tile(self.end, self.c, self.c_stride, rows, self.columns) };
    }
}

/// The fastest kernel of this CPU, if it has one.
pub(super) fn kernel() -> Option<&'static Kernel> {
    amx::kernel().or_else(vnni::kernel).or_else(avx2_bytes::kernel)
}

/// A linear layer in 8 bits.
pub(super) struct Coded {
    /// Panel by panel, four inputs by four, a panel's outputs: (panels, groups, panel, 4), filled up with zeros to whole runs of inputs.
    codes: Aligned<i8>,
    /// For each output, (panels x panel), filled up with zeros: its scale,
    pub scales: Vec<f32>,
    /// the sum of its codes,
    pub sums: Vec<f32>,
    /// and its bias.
    pub bias: Vec<f32>,
    pub from: usize,
    pub to: usize,
    pub kernel: &'static Kernel,
}

impl Coded {
    /// Rounds `rows`, (to, from), and lays them out for `kernel`; `bias` is (to).
    pub fn new(rows: &[f32], bias: &[f32], from: usize, kernel: &'static Kernel) -> Self {
        let (to, panel) = (bias.len(), kernel.panel);
        let (panels, groups) = (to.div_ceil(panel), kernel.groups(from));
        let mut codes = Aligned::zeros(panels * groups * panel * GROUP);
        let (mut scales, mut sums) = (vec![0.0; panels * panel], vec![0.0; panels * panel]);
        let facts = scales.par_chunks_mut(panel).zip(sums.par_chunks_mut(panel));
        let laid = codes.par_chunks_mut((groups * panel * GROUP).max(1)).zip(facts);
        laid.zip(rows.par_chunks((panel * from).max(1))).for_each(|((codes, (scales, sums)), rows)| {
            for (output, row) in rows.chunks_exact(from.max(1)).enumerate() {
                let reach = kernel.reach(row);
                let inverse = inverse(MOST, reach);
                // A weight that is not a number must not go unseen.
                let odd = row.iter().any(|weight| weight.is_nan());
                scales[output] = if odd { f32::NAN } else { reach / MOST };
                let mut sum = 0;
                for (input, weight) in row.iter().enumerate() {
                    let code = whole(weight * inverse) as i8;
                    sum += i32::from(code);
                    codes[(input / GROUP * panel + output) * GROUP + input % GROUP] = code;
                }
                sums[output] = sum as f32;
            }
        });
        let mut bias = bias.to_vec();
        bias.resize(scales.len(), 0.0);
        Coded { codes, scales, sums, bias, from, to, kernel }
    }

    /// What its codes leave of the `rows` that it was made of.
    pub fn left_of(&self, rows: &[f32]) -> Vec<f32> {
        let (panel, groups) = (self.kernel.panel, self.kernel.groups(self.from));
        let code = |output: usize, input: usize| {
            let group = output / panel * groups + input / GROUP;
            self.codes[(group * panel + output % panel) * GROUP + input % GROUP]
        };
        let rows = rows.chunks_exact(self.from.max(1)).zip(&self.scales).enumerate();
        rows.flat_map(|(output, (row, scale))| {
            let left =
                move |(input, weight): (usize, &f32)| f32::from(code(output, input)).mul_add(-scale, *weight);
            row.iter().enumerate().map(left)
        })
        .collect()
    }

    /// x W^T + b for the rows of `x`, brought to `end` in `out`; `inputs` is room to round them in.
    pub fn product(&self, x: Rows, mut out: RowsMut, end: End, inputs: &mut Inputs) {
        assert_fits(&x, self.from, &out, self.to);
        inputs.round(x, self.kernel);
        self.multiply(inputs, x.count(), &mut out, end);
    }

    /// x W^T + b for the first `rows` rows of `inputs`, brought to `end` in `out`.
    pub fn multiply(&self, inputs: &Inputs, rows: usize, out: &mut RowsMut, end: End) {
        let Coded { from, to, kernel, .. } = *self;
        let (held, stride) = (out.read(), out.stride);
        assert!(inputs.are(rows, from, kernel) && held.width() == to && held.count() >= rows);
        let (groups, rows_of_a_job) = (kernel.groups(from), kernel.rows);
        let (panels, chunks) = (to.div_ceil(kernel.panel), rows.div_ceil(rows_of_a_job));
        let place = Place::of(out.values());
        let jobs = panels * chunks;
        share_out(jobs, rows_of_a_job.min(rows) * from * kernel.panel, |job| {
            let (panel, chunk) = (job / chunks, job % chunks);
            let output = panel * kernel.panel;
            let row = chunk * rows_of_a_job;
            let tall = rows_of_a_job.min(rows - row);
            let work = Work {
                a: inputs.codes[row * groups * GROUP..].as_ptr(),
                facts: &inputs.rows[row..row + tall],
                b: self.codes[output * groups * GROUP..].as_ptr(),
                coded: self,
                output,
                groups,
                c: place.at(row * stride + output),
                c_stride: stride,
                end,
                columns: kernel.panel.min(to - output),
            };
            // SAFETY: the CPU has the kernel that it gave; the rows lie within the inputs that were just rounded, and
            // within `out` by the assertion, its columns within a row, and no other job has the same rows and panel.
            unsafe { (kernel.multiply)(&work, tall) };
        });
    }
}

/// What the kernels do, in plain loops: for tests.
#[cfg(test)]
pub(super) fn scalar(coded: &Coded, inputs: &Inputs, rows: usize, out: &mut [f32], end: End) {
    let &Kernel { panel: width, tile: height, run, .. } = coded.kernel;
    let groups = coded.kernel.groups(coded.from);
    for row in 0..rows {
        let (scale, zero) = inputs.rows[row];
        let tile = &inputs.codes[row / height * groups * height * GROUP..];
        for output in 0..coded.to {
            let panel = &coded.codes[output / width * groups * width * GROUP..];
            let mut sum = 0i32;
            for input in 0..coded.from {
                let q = i32::from(tile[(input / run * height + row % height) * run + input % run]);
                sum += q * i32::from(panel[(input / GROUP * width + output % width) * GROUP + input % GROUP]);
            }
            let sum = (-(zero as f32)).mul_add(coded.sums[output], sum as f32);
            let value = sum.mul_add(scale * coded.scales[output], coded.bias[output]);
            let place = &mut out[row * coded.to + output];
            match end {
                End::Write => *place = value,
                End::Add => *place += value,
                End::Activate(activation) => {
                    *place = value;
                    activation.apply(std::slice::from_mut(place).into());
                }
            }
        }
    }
}
