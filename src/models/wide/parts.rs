//! What a transformer is made of, on whatever machine.

use crate::models::act::Activation;
use candle_nn::{LayerNorm, Linear};

/// What all layers have in common.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no layer is made"))]
pub struct Shape {
    /// Attention heads a layer.
    pub heads: usize,
    /// Whether no position looks at those after it.
    pub causal: bool,
    /// Between the MLPs' layers.
    pub activation: Activation,
}

/// One layer, as it is read.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no layer is made"))]
pub struct Parts<'a> {
    /// Before the attention.
    pub norm1: &'a LayerNorm,
    /// Queries, keys and values in one product.
    pub qkv: &'a Linear,
    /// What the attention's result goes through.
    pub out: &'a Linear,
    /// Before the MLP.
    pub norm2: &'a LayerNorm,
    /// Into the MLP.
    pub fc1: &'a Linear,
    /// Out of it.
    pub fc2: &'a Linear,
}

/// How near products come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As f32's.
    Full,
    /// To 16 bits at least: enough beside layers in 8 bits, and half the work by AMX.
    Half,
    /// In 8 bits, where this machine can.
    Bytes,
}
