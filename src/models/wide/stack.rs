//! A pre-norm transformer over plain buffers that are made once a call: products straight into place, nothing copied between.

use super::aligned::Aligned;
use super::attention::{Heads, attend};
use super::floats::kernel;
use super::inputs::Inputs;
use super::norm::Norm;
use super::parts::{Parts, Shape};
use super::{End, Matrix};
use crate::models::slice::slice;
use candle_core::{Device, Tensor};
use candle_nn::LayerNorm;

/// Rows that go through all layers together for each thread: so many that a panel of weights serves long once it has been
/// fetched, so few that what they leave between two products is found in the cache.
const ROWS: usize = 400;

/// Layers one after another.
pub struct Stack {
    shape: Shape,
    layers: Vec<Layer>,
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
    normed: Aligned<f32>,
    qkv: Aligned<f32>,
    mixed: Aligned<f32>,
    inner: Aligned<f32>,
    inputs: Inputs,
}

impl Stack {
    /// No layers yet.
    pub fn new(shape: Shape) -> Self {
        Stack { shape, layers: Vec::new() }
    }

    /// Adds a layer, its products in 8 bits where `int8` says so.
    pub fn push(&mut self, parts: &Parts, int8: bool) -> candle_core::Result<()> {
        let matrix = |linear| Matrix::new(linear, int8);
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
        let states = self.run(x, |states, buffers| {
            layers.iter().for_each(|layer| layer.forward(self.shape, states, length, buffers));
            states.to_vec()
        })?;
        Tensor::from_vec(states, x.dims(), &Device::Cpu)
    }

    /// After all layers, the state at one of the `positions` of each sequence: (batch, width).
    pub fn forward_at(&self, x: &Tensor, positions: &[usize]) -> candle_core::Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        if positions.len() != batch || positions.iter().any(|position| *position >= length) {
            candle_core::bail!("{batch} sequences of {length} can't be asked at {positions:?}");
        }
        let mut positions = positions.iter();
        let states = self.run(x, |states, buffers| {
            let asked: Vec<usize> = (0..states.len() / (length * width))
                .zip(&mut positions)
                .map(|(sequence, position)| sequence * length + position)
                .collect();
            match self.layers.split_last() {
                Some((last, before)) => {
                    before.iter().for_each(|layer| layer.forward(self.shape, states, length, buffers));
                    last.forward_at(self.shape, states, length, &asked, buffers)
                }
                None => pick(states, &asked, width),
            }
        })?;
        Tensor::from_vec(states, (batch, width), &Device::Cpu)
    }

    /// Takes the sequences of `x` through `pass`, some at a time, and joins what it gives.
    fn run(
        &self,
        x: &Tensor,
        mut pass: impl FnMut(&mut [f32], &mut Buffers) -> Vec<f32> + Send,
    ) -> candle_core::Result<Vec<f32>> {
        let (batch, length, width) = x.dims3()?;
        let mut x = slice(x, |values| {
            let mut x = Aligned::zeros(values.len());
            x.copy_from_slice(values);
            Ok(x)
        })?;
        let wanted = ROWS * rayon::current_num_threads();
        let groups = (batch * length).div_ceil(wanted).max(1);
        let group = batch.div_ceil(groups).max(1) * length * width;
        let mut out = Vec::new();
        // From a thread of the pool: asking it from outside costs a wake-up for each product.
        rayon::scope(|_| {
            let mut buffers = Buffers::default();
            x.chunks_mut(group.max(1)).for_each(|states| out.append(&mut pass(states, &mut buffers)));
        });
        Ok(out)
    }
}

impl Layer {
    /// All states, in place.
    fn forward(&self, shape: Shape, x: &mut [f32], length: usize, buffers: &mut Buffers) {
        self.attend(shape, x, length, buffers);
        let rows = x.len() / self.qkv.from().max(1);
        let Buffers { mixed, inputs, .. } = buffers;
        self.out.product(mixed, rows, x, End::Add, inputs);
        self.mlp(shape, x, buffers);
    }

    /// The states at `asked` of all sequences laid end to end; what becomes of the others is left out.
    fn forward_at(
        &self,
        shape: Shape,
        x: &[f32],
        length: usize,
        asked: &[usize],
        buffers: &mut Buffers,
    ) -> Vec<f32> {
        self.attend(shape, x, length, buffers);
        let width = self.qkv.from();
        let (mut x, mixed) = (pick(x, asked, width), pick(&buffers.mixed, asked, width));
        self.out.product(&mixed, asked.len(), &mut x, End::Add, &mut buffers.inputs);
        self.mlp(shape, &mut x, buffers);
        x
    }

    /// What the heads see, in `buffers.mixed`.
    fn attend(&self, shape: Shape, x: &[f32], length: usize, buffers: &mut Buffers) {
        let Shape { heads, causal, .. } = shape;
        let width = self.qkv.from();
        let Buffers { normed, qkv, mixed, inputs, .. } = buffers;
        [normed, mixed].into_iter().for_each(|buffer| buffer.resize(x.len()));
        qkv.resize(3 * x.len());
        self.norm1.rows(x, &mut buffers.normed);
        self.qkv.product(&buffers.normed, x.len() / width.max(1), qkv, End::Write, inputs);
        attend(kernel(), qkv, &mut buffers.mixed, Heads { length, width, heads, causal });
    }

    /// Adds what the MLP makes of `x` to it.
    fn mlp(&self, shape: Shape, x: &mut [f32], buffers: &mut Buffers) {
        let rows = x.len() / self.fc1.from().max(1);
        let Buffers { normed, inner, inputs, .. } = buffers;
        normed.resize(x.len());
        inner.resize(rows * self.fc1.to());
        self.norm2.rows(x, normed);
        self.fc1.product(normed, rows, inner, End::Activate(shape.activation), inputs);
        self.fc2.product(inner, rows, x, End::Add, inputs);
    }
}

fn norm(norm: &LayerNorm) -> candle_core::Result<Norm> {
    let shift =
        norm.bias().map_or_else(|| Ok(vec![0.0; norm.weight().elem_count()]), |bias| bias.to_vec1())?;
    Ok(Norm { gain: norm.weight().to_vec1()?, shift, eps: norm.eps() as f32 })
}

/// The rows `asked` of `x`, each of `width`.
fn pick(x: &[f32], asked: &[usize], width: usize) -> Vec<f32> {
    asked.iter().flat_map(|row| &x[row * width..][..width]).copied().collect()
}
