//! What a transformer is made of, on whatever machine.

use crate::models::act::Activation;
use candle_nn::{LayerNorm, Linear};
use std::ops::Range;

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

/// Rows of a stack that are one sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "nothing goes through a stack"))]
pub struct Sequence {
    /// Its beginning, where that stands among an earlier sequence's rows: no position looks at those after it, so that the same
    /// beginning comes to the same.
    pub before: Vec<usize>,
    /// Its other rows, which follow those of the sequence before.
    pub own: Range<usize>,
}

#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "nothing goes through a stack"))]
impl Sequence {
    /// `count` sequences of `length` rows each, all their own.
    pub fn alike(count: usize, length: usize) -> Vec<Sequence> {
        let own = |at: usize| at * length..(at + 1) * length;
        (0..count).map(|at| Sequence { before: Vec::new(), own: own(at) }).collect()
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.before.len() + self.own.len()
    }

    /// Its row at `position`.
    pub fn row(&self, position: usize) -> usize {
        match position.checked_sub(self.before.len()) {
            Some(at) => self.own.start + at,
            None => self.before[position],
        }
    }
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
