//! A pre-norm transformer over plain buffers that are made once a call: products straight into place, nothing copied between.
//!
//! A few sequences go through all layers together, on one thread while there are others for the other threads: nobody waits for anybody
//! between two products, and what is left between them stays in that thread's cache. Threads that have run out of sequences take part of the
//! others' products.

use super::amx_floats::Split;
use super::attention::{Heads, attend};
use super::floats::kernel;
use super::inputs::Inputs;
use super::norm::Norm;
use super::parts::{Parts, Precision, Sequence, Shape};
use super::rows::{Rows, RowsMut, Sheet};
use super::{End, Matrix};
use crate::models::slice::slice;
use candle_core::{Device, Tensor};
use candle_nn::LayerNorm;
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rows that go through all layers together: so many that a panel of weights serves long once it has been fetched, so few that what they
/// leave between two products is found in the cache.
const ROWS: usize = 400;
/// The fewest, where threads would go without otherwise.
const FEWEST: usize = 160;

/// Layers one after another.
pub struct Stack {
    shape: Shape,
    layers: Vec<Layer>,
    /// Buffers that nobody uses now: the system takes its time to give new memory.
    spare: Mutex<Vec<Buffers>>,
}

struct Layer {
    norm1: Norm,
    qkv: Matrix,
    out: Matrix,
    norm2: Norm,
    fc1: Matrix,
    fc2: Matrix,
}

/// What stands between the products of a layer.
#[derive(Default)]
struct Buffers {
    normed: Sheet,
    qkv: Sheet,
    mixed: Sheet,
    inner: Sheet,
    inputs: Inputs,
}

impl Stack {
    /// No layers yet.
    pub fn new(shape: Shape) -> Self {
        Stack { shape, layers: Vec::new(), spare: Mutex::default() }
    }

    /// Adds a layer, its products as near as `precision`.
    pub fn push(&mut self, parts: &Parts, precision: Precision) -> candle_core::Result<()> {
        let matrix = |linear| Matrix::new(linear, precision);
        self.layers.push(Layer {
            norm1: norm(parts.norm1)?,
            qkv: matrix(parts.qkv)?,
            out: matrix(parts.out)?,
            norm2: norm(parts.norm2)?,
            fc1: matrix(parts.fc1)?,
            fc2: matrix(parts.fc2)?,
        });
        Ok(())
    }

    /// How many layers there are.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// The hidden states after the first `depth` layers: (batch, length, width) in and out.
    pub fn forward(&self, x: &Tensor, depth: usize) -> candle_core::Result<Tensor> {
        let (_, length, _) = x.dims3()?;
        let layers = self.layers.get(..depth).unwrap_or(&self.layers);
        let states = self.run(x, |_, mut states, buffers| {
            let sequences = Sequence::alike(states.read().count() / length.max(1), length);
            layers.iter().for_each(|layer| layer.forward(self.shape, &mut states, &sequences, buffers));
            states.read().to_vec()
        })?;
        Tensor::from_vec(states, x.dims(), &Device::Cpu)
    }

    /// After all layers, the state at one of the `positions` of each sequence: (batch, width).
    pub fn forward_at(&self, x: &Tensor, positions: &[usize]) -> candle_core::Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        if positions.len() != batch || positions.iter().any(|position| *position >= length) {
            candle_core::bail!("{batch} sequences of {length} can't be asked at {positions:?}");
        }
        let states = self.run(x, |first, states, buffers| {
            let sequences = Sequence::alike(states.read().count() / length.max(1), length);
            let asked = sequences.iter().zip(&positions[first..]);
            let asked: Vec<usize> = asked.map(|(sequence, position)| sequence.row(*position)).collect();
            self.states_at(states, &sequences, &asked, buffers)
        })?;
        Tensor::from_vec(states, (batch, width), &Device::Cpu)
    }

    /// After all layers, the last state of each sequence, one after another. They go through in so many `parts`; `part` gives each one's
    /// rows, (rows, width), and the sequences among them.
    pub fn forward_ends(
        &self,
        parts: usize,
        part: impl Fn(usize) -> candle_core::Result<(Tensor, Vec<Sequence>)> + Sync,
    ) -> candle_core::Result<Vec<f32>> {
        let pass = |at| {
            let (x, sequences) = part(at)?;
            let (_, width) = x.dims2()?;
            let mut x = slice(&x, |values| Ok(Sheet::of(values, width)))?;
            let asked: Vec<usize> = sequences.iter().map(|own| own.row(own.len() - 1)).collect();
            Ok(self.buffered(|buffers| self.states_at(x.rows_mut(), &sequences, &asked, buffers)))
        };
        let made: candle_core::Result<Vec<Vec<f32>>> =
            rayon::scope(|_| (0..parts).into_par_iter().map(pass).collect());
        Ok(made?.concat())
    }

    /// Into how many parts so many rows are best split.
    pub fn groups(&self, rows: usize) -> usize {
        groups(rows, rayon::current_num_threads())
    }

    /// What all layers make of the rows `asked` of `states`.
    fn states_at(
        &self,
        mut states: RowsMut,
        sequences: &[Sequence],
        asked: &[usize],
        buffers: &mut Buffers,
    ) -> Vec<f32> {
        match self.layers.split_last() {
            Some((last, before)) => {
                before.iter().for_each(|layer| layer.forward(self.shape, &mut states, sequences, buffers));
                last.forward_at(self.shape, states.read(), sequences, asked, buffers)
            }
            None => pick(states.read(), asked),
        }
    }

    /// Takes the sequences of `x` through `pass`, some at a time, and joins what it gives; `pass` is told the first one's number.
    fn run(
        &self,
        x: &Tensor,
        pass: impl Fn(usize, RowsMut, &mut Buffers) -> Vec<f32> + Sync,
    ) -> candle_core::Result<Vec<f32>> {
        let (batch, length, width) = x.dims3()?;
        let mut x = slice(x, |values| Ok(Sheet::of(values, width)))?;
        let group = batch.div_ceil(self.groups(batch * length)).max(1);
        let states = x.rows_mut().par_chunks((group * length).max(1)).enumerate();
        let pass =
            |(at, states): (usize, RowsMut)| self.buffered(|buffers| pass(at * group, states, buffers));
        // From a thread of the pool: asking it from outside costs a wake-up for each product, where there is one group.
        let made: Vec<Vec<f32>> = rayon::scope(|_| states.map(pass).collect());
        Ok(made.concat())
    }
}

impl Stack {
    /// Lends buffers to `work`.
    fn buffered<T>(&self, work: impl FnOnce(&mut Buffers) -> T) -> T {
        let mut buffers = self.spare().pop().unwrap_or_default();
        let made = work(&mut buffers);
        self.spare().push(buffers);
        made
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Buffers>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Into how many groups so many rows are split: as many for each thread as for any other, where there are enough.
fn groups(rows: usize, threads: usize) -> usize {
    let each = rows.div_ceil(ROWS).next_multiple_of(threads);
    each.min(rows / FEWEST).max(1)
}

impl Layer {
    /// All states, in place.
    fn forward(&self, shape: Shape, x: &mut RowsMut, sequences: &[Sequence], buffers: &mut Buffers) {
        self.attend(shape, x.read(), sequences, buffers);
        let Buffers { mixed, inputs, .. } = buffers;
        self.out.product(mixed.rows(), x.again(), End::Add, inputs);
        self.mlp(shape, x, buffers);
    }

    /// The states of the rows `asked`; what becomes of the others is left out.
    fn forward_at(
        &self,
        shape: Shape,
        x: Rows,
        sequences: &[Sequence],
        asked: &[usize],
        buffers: &mut Buffers,
    ) -> Vec<f32> {
        self.attend(shape, x, sequences, buffers);
        let width = self.qkv.from();
        let (mut x, mixed) = (pick(x, asked), pick(buffers.mixed.rows(), asked));
        let mut states = RowsMut::close(&mut x, width);
        self.out.product(Rows::close(&mixed, width), states.again(), End::Add, &mut buffers.inputs);
        self.mlp(shape, &mut states, buffers);
        x
    }

    /// What the heads see, in `buffers.mixed`.
    fn attend(&self, shape: Shape, x: Rows, sequences: &[Sequence], buffers: &mut Buffers) {
        let Shape { heads, causal, .. } = shape;
        let width = self.qkv.from();
        let Buffers { normed, qkv, mixed, inputs, .. } = buffers;
        [&mut *normed, &mut *mixed].into_iter().for_each(|sheet| sheet.resize(x.count(), width));
        qkv.resize(x.count(), 3 * width);
        self.norm1.rows(x, normed.rows_mut());
        self.qkv.product(normed.rows(), qkv.rows_mut(), End::Write, inputs);
        let shape = Heads { width, heads, causal };
        attend(kernel(Split::Three), qkv.rows(), mixed.rows_mut(), sequences, shape);
    }

    /// Adds what the MLP makes of `x` to it.
    fn mlp(&self, shape: Shape, x: &mut RowsMut, buffers: &mut Buffers) {
        let Buffers { normed, inner, inputs, .. } = buffers;
        normed.resize(x.read().count(), self.fc1.from());
        inner.resize(x.read().count(), self.fc1.to());
        self.norm2.rows(x.read(), normed.rows_mut());
        self.fc1.product(normed.rows(), inner.rows_mut(), End::Activate(shape.activation), inputs);
        self.fc2.product(inner.rows(), x.again(), End::Add, inputs);
    }
}

fn norm(norm: &LayerNorm) -> candle_core::Result<Norm> {
    let shift =
        norm.bias().map_or_else(|| Ok(vec![0.0; norm.weight().elem_count()]), |bias| bias.to_vec1())?;
    Ok(Norm { gain: norm.weight().to_vec1()?, shift, eps: norm.eps() as f32 })
}

/// The rows `asked` of `x`, one right after another.
fn pick(x: Rows, asked: &[usize]) -> Vec<f32> {
    asked.iter().flat_map(|row| &x.from(*row)[..x.width()]).copied().collect()
}
