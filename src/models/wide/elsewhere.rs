//! What stands for our own kernels on CPUs that they are not written for: nothing that could be made.

use crate::models::act::Activation;
use candle_core::{Tensor, bail};
use candle_nn::{LayerNorm, Linear};
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
    pub fn new(_: &Linear, _: bool) -> candle_core::Result<Self> {
        bail!("this CPU has no kernels of ours")
    }

    /// Is never called.
    pub fn forward(&self, _: &Tensor, _: Option<&Tensor>) -> candle_core::Result<Tensor> {
        match self.0 {}
    }
}

/// What all layers have in common.
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "no layer is made")]
pub struct Shape {
    pub heads: usize,
    pub causal: bool,
    pub activation: Activation,
}

/// One layer, as it is read.
#[expect(dead_code, reason = "no layer is made")]
pub struct Parts<'a> {
    pub norm1: &'a LayerNorm,
    pub qkv: &'a Linear,
    pub out: &'a Linear,
    pub norm2: &'a LayerNorm,
    pub fc1: &'a Linear,
    pub fc2: &'a Linear,
}

/// Layers one after another: none.
pub struct Stack;

impl Stack {
    /// No layers.
    pub fn new(_: Shape) -> Self {
        Stack
    }

    /// Refuses.
    pub fn push(&mut self, _: &Parts, _: bool) -> candle_core::Result<()> {
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

    /// Refuses.
    pub fn forward_at(&self, _: &Tensor, _: &[usize]) -> candle_core::Result<Tensor> {
        bail!("this CPU has no kernels of ours")
    }
}
