//! Products in f32: weights laid out as a CPU's kernel reads them, and which rows and panels pass by one another when.

use super::aligned::Aligned;
use super::amx_floats::Split;
use super::inputs::Inputs;
use super::place::Place;
use super::rows::{Rows, RowsMut};
use super::{End, activate_tile, amx_floats, assert_fits, avx2, avx512, rows_of_a_job, share_out, tiles_of};
use rayon::prelude::*;

/// Inputs in a run: a panel's run, at most 147 KB, stays in the second-level cache while the rows pass by.
const RUN: usize = 768;

/// One CPU's way to multiply.
pub(super) struct Kernel {
    /// Outputs in a panel of weights; a multiple of 16.
    pub panel: usize,
    /// Rows that it takes at once.
    pub tile: usize,
    /// Takes up to `tile` rows through what [`Work`] points to; C's columns may be up to 48, whatever the panel.
    pub multiply: unsafe fn(&Work, usize),
    /// Where many rows go through AMX instead, the parts that it takes them in.
    pub many: Option<Split>,
}

/// What a kernel reads and writes; all lengths in floats.
pub(super) struct Work {
    pub a: *const f32,
    pub a_stride: usize,
    /// `inputs` rows, `b_stride` apart, each as long as `columns` filled up to a multiple of 16.
    pub b: *const f32,
    pub b_stride: usize,
    pub inputs: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    /// Added, where it is not null; as long as a row of B.
    pub bias: *const f32,
    /// Multiplies the product, before all else.
    pub scale: f32,
    /// Adds to what is there, instead of writing over it.
    pub add: bool,
    /// How many of the columns are written.
    pub columns: usize,
}

/// The fastest kernel of this CPU that takes no fewer parts of numbers, where it takes parts.
pub(super) fn kernel(split: Split) -> &'static Kernel {
    amx_floats::kernel(split).or_else(avx512::kernel).or_else(avx2::kernel).unwrap_or(&PLAIN)
}

/// What every kernel does, in plain loops.
pub(super) const PLAIN: Kernel = Kernel { panel: 16, tile: 6, multiply: plain, many: None };

/// # Safety
/// What `work` points to is there: `rows` rows of A and C, `columns` of B, bias and C.
unsafe fn plain(work: &Work, rows: usize) {
    for (row, column) in (0..rows).flat_map(|row| (0..work.columns).map(move |column| (row, column))) {
        // SAFETY: as the caller says.
        unsafe {
            let a = |input: usize| *work.a.add(row * work.a_stride + input);
            let b = |input: usize| *work.b.add(input * work.b_stride + column);
            let mut value = (0..work.inputs).map(|input| a(input) * b(input)).sum::<f32>() * work.scale;
            if !work.bias.is_null() {
                value += *work.bias.add(column);
            }
            let c = work.c.add(row * work.c_stride + column);
            *c = if work.add { *c + value } else { value };
        }
    }
}

/// A linear layer whose weights are laid out in panels.
pub(super) struct Packed {
    /// Panel by panel, input by input, a panel's outputs: (panels, from, panel), filled up with zeros.
    weights: Aligned<f32>,
    /// (panels x panel), filled up with zeros.
    bias: Vec<f32>,
    pub from: usize,
    pub to: usize,
    kernel: &'static Kernel,
}

impl Packed {
    /// Packs `rows`, (to, from), and `bias`, (to), for `kernel`.
    pub fn new(rows: &[f32], bias: &[f32], from: usize, kernel: &'static Kernel) -> Self {
        let to = bias.len();
        let panels = to.div_ceil(kernel.panel);
        let mut weights = Aligned::zeros(panels * from * kernel.panel);
        let panel = (kernel.panel * from).max(1);
        weights.par_chunks_mut(panel).zip(rows.par_chunks(panel)).for_each(|(panel, rows)| {
            for (output, row) in rows.chunks_exact(from.max(1)).enumerate() {
                for (slots, weight) in panel.chunks_exact_mut(kernel.panel).zip(row) {
                    slots[output] = *weight;
                }
            }
        });
        let mut bias = bias.to_vec();
        bias.resize(panels * kernel.panel, 0.0);
        Packed { weights, bias, from, to, kernel }
    }

    /// x W^T + b for the rows of `x`, brought to `end` in `out`; `inputs` is room for parts of them.
    pub fn product(&self, x: Rows, mut out: RowsMut, end: End, inputs: &mut Inputs) {
        let Packed { from, to, kernel, .. } = *self;
        assert_fits(&x, from, &out, to);
        let (rows, stride) = (x.count(), out.stride);
        if let Some(split) = kernel.many
            && rows >= amx_floats::LEAST
        {
            return self.product_of_many(x, split, out, end, inputs);
        }
        let rows_of_a_job = rows_of_a_job(kernel.tile);
        let (panels, chunks) = (to.div_ceil(kernel.panel), rows.div_ceil(rows_of_a_job));
        let place = Place::of(out.values());
        for start in (0..from.max(1)).step_by(RUN) {
            let jobs = panels * chunks;
            let each = rows_of_a_job.min(rows) * RUN.min(from) * kernel.panel;
            share_out(jobs, each, |job| {
                let (panel, chunk) = (job / chunks, job % chunks);
                let first = chunk * rows_of_a_job;
                for tile in tiles_of(first..(first + rows_of_a_job).min(rows), kernel.tile) {
                    let (row, tall) = (tile.start, tile.len());
                    let c = place.at(row * stride + panel * kernel.panel);
                    let work = Work { c_stride: stride, ..self.work(x, row, panel, start, c, end) };
                    // SAFETY: the CPU has the kernel that it gave; the tile's rows lie within `x` and `out` by the assertion,
                    // its columns within a row, and no other job has the same rows and panel.
                    unsafe {
                        (kernel.multiply)(&work, tall);
                        if start + work.inputs == from {
                            activate_tile(end, work.c, stride, tall, work.columns);
                        }
                    }
                }
            });
        }
    }

    /// [`Packed::product`] by AMX.
    fn product_of_many(&self, x: Rows, split: Split, mut out: RowsMut, end: End, inputs: &mut Inputs) {
        use amx_floats::{Job, PARTS, ROWS, RUN, STEP, TILE};
        let Packed { from, to, kernel: &Kernel { panel: width, .. }, .. } = *self;
        let (rows, stride) = (x.count(), out.stride);
        let (panels, chunks) = (to.div_ceil(width), rows.div_ceil(ROWS));
        let place = Place::of(out.values());
        for start in (0..from.max(1)).step_by(RUN) {
            let run = RUN.min(from - start);
            inputs.split(x, start, run);
            let (inputs, jobs) = (&inputs.codes, panels * chunks);
            share_out(jobs, ROWS.min(rows) * run * width, |job| {
                let (panel, row) = (job / chunks, job % chunks * ROWS);
                let (rows, columns) = (ROWS.min(rows - row), width.min(to - panel * width));
                let c = place.at(row * stride + panel * width);
                let job = Job {
                    a: inputs[row / TILE * run.div_ceil(STEP) * PARTS..].as_ptr(),
                    split,
                    rows,
                    b: self.weights[(panel * from + start) * width..].as_ptr(),
                    inputs: run,
                    c,
                    c_stride: stride,
                    bias: if start == 0 { self.bias[panel * width..].as_ptr() } else { std::ptr::null() },
                    add: matches!(end, End::Add) || start > 0,
                    columns,
                };
                // SAFETY: the CPU has the kernel that it gave; the rows' parts were just made, and the rows lie within `out` by the
                // assertion of the caller, its columns within a row, and no other job has the same rows and panel.
                unsafe {
                    amx_floats::multiply(&job);
                    if start + run == from {
                        activate_tile(end, c, stride, rows, columns);
                    }
                }
            });
        }
    }

    /// The rows from `row` on by a panel, over the run of inputs that begins at `start`.
    fn work(&self, x: Rows, row: usize, panel: usize, start: usize, c: *mut f32, end: End) -> Work {
        let Packed { from, to, kernel: &Kernel { panel: width, .. }, .. } = *self;
        Work {
            a: x.from(row)[start..].as_ptr(),
            a_stride: x.stride,
            b: self.weights[(panel * from + start) * width..].as_ptr(),
            b_stride: width,
            inputs: RUN.min(from - start),
            c,
            c_stride: to,
            bias: if start == 0 { self.bias[panel * width..].as_ptr() } else { std::ptr::null() },
            scale: 1.0,
            add: matches!(end, End::Add) || start > 0,
            columns: width.min(to - panel * width),
        }
    }
}
