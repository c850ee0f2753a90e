//! What stands for our own kernels on CPUs that they are not written for: nothing that could be made.

mod parts;

pub use parts::{Parts, Precision, Sequence, Shape};

use candle_core::{Tensor, bail};
use candle_nn::Linear;
use std::convert::Infallible;

/// Whether this machine can, in f32.
pub fn available() -> bool {
    false
}

/// Whether this machine can in 8 bits.
pub fn int8_available() -> bool {
    false
}

/// A linear layer, laid out for this machine: none is.
pub struct Matrix(Infallible);

impl Matrix {
    /// Refuses.
    pub fn new(_: &Linear, _: Precision) -> candle_core::Result<Self> {
        bail!("this CPU has no kernels of ours")
    }

    /// Is never called.
    pub fn forward(&self, _: &Tensor, _: Option<&Tensor>) -> candle_core::Result<Tensor> {
        match self.0 {}
    }
}

/// A linear layer over bytes: none is.
pub struct Exact(Infallible);

impl Exact {
    /// None.
    pub fn new(_: &[f32], _: &[f32], _: usize) -> Option<Self> {
        None
    }

    /// Is never called.
    pub fn forward(&self, _: &[u8]) -> Vec<f32> {
        match self.0 {}
    }
}

/// Layers one after another: none.
pub struct Stack;

impl Stack {
    /// No layers.
    pub fn new(_: Shape) -> Self {
        Stack
    }

    /// Refuses.
    pub fn push(&mut self, _: &Parts, _: Precision) -> candle_core::Result<()> {
        bail!("this CPU has no kernels of ours")
    }

    /// None.
    pub fn depth(&self) -> usize {
        0
    }

    /// Changes nothing.
    pub fn forward(&self, x: &Tensor, _: usize) -> candle_core::Result<Tensor> {
        Ok(x.clone())
    }

    /// None are needed.
    pub fn groups(&self, _: usize) -> usize {
        1
    }

    /// Refuses.
    pub fn forward_ends(
        &self,
        _: usize,
        _: impl Fn(usize) -> candle_core::Result<(Tensor, Vec<Sequence>)>,
    ) -> candle_core::Result<Vec<f32>> {
        bail!("this CPU has no kernels of ours")
    }

    /// Refuses.
    pub fn forward_at(&self, _: &Tensor, _: &[usize]) -> candle_core::Result<Tensor> {
        bail!("this CPU has no kernels of ours")
    }
}
