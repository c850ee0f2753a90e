//! Rotary positions (Su et al. 2021, arXiv:2104.09864): queries and keys turn with the distance from the start.

use super::Span;
use super::config::{LlamaConfig, Scaling};
use crate::Result;
use candle_core::{DType, Device, Tensor};
use std::f32::consts::TAU;

/// How fast each pair of a head's values turns.
pub(super) struct Rope {
    frequencies: Vec<f32>,
    /// Which values are a pair: 2i and 2i+1, as llama.cpp lays them out, else i and i + half.
    interleaved: bool,
}

/// The cosines and sines for the tokens of one pass: (tokens, half a head).
pub(super) struct Turns {
    cos: Tensor,
    sin: Tensor,
    interleaved: bool,
}

impl Rope {
    pub fn new(config: &LlamaConfig, interleaved: bool) -> Self {
        let pairs = config.head_dim / 2;
        let exponent = |pair: usize| (2 * pair) as f32 / config.head_dim as f32;
        let frequencies = (0..pairs)
            .map(|pair| scaled(1.0 / config.rope_theta.powf(exponent(pair)), &config.scaling))
            .collect();
        Rope { frequencies, interleaved }
    }

    /// What the tokens of `spans` turn by, each span going on where its cache ends.
    pub fn turns(&self, spans: &[Span], device: &Device, dtype: DType) -> Result<Turns> {
        let positions = spans.iter().flat_map(|span| (span.cache.len()..).take(span.len));
        let angles: Vec<f32> =
            positions.flat_map(|at| self.frequencies.iter().map(move |f| at as f32 * f)).collect();
        let shape = (angles.len() / self.frequencies.len().max(1), self.frequencies.len());
        let table = |f: fn(f32) -> f32| -> Result<Tensor> {
            let values = angles.iter().map(|a| f(*a)).collect::<Vec<_>>();
            Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
        };
        Ok(Turns { cos: table(f32::cos)?, sin: table(f32::sin)?, interleaved: self.interleaved })
    }
}

impl Turns {
    /// Turns `x`, (heads, tokens, width of a head), contiguous.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.unsqueeze(0)?;
        let turned = match self.interleaved {
            true => candle_nn::rotary_emb::rope_i(&x, &self.cos, &self.sin)?,
            false => candle_nn::rotary_emb::rope(&x, &self.cos, &self.sin)?,
        };
        Ok(turned.squeeze(0)?)
    }
}

/// A frequency as the checkpoint stretches it to reach further than it was trained.
fn scaled(frequency: f32, scaling: &Scaling) -> f32 {
    match *scaling {
        Scaling::None => frequency,
        Scaling::Linear { factor } => frequency / factor,
        // Llama 3.1: slow turns are stretched, fast ones stay, those between are mixed.
        Scaling::Llama3 { factor, low, high, original } => {
            let length = TAU / frequency;
            if length < original / high {
                frequency
            } else if length > original / low {
                frequency / factor
            } else {
                let share = (original / length - low) / (high - low);
                (1.0 - share) * frequency / factor + share * frequency
            }
        }
    }
}
