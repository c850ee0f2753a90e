//! The plain parts that every network here shares: attention, patches, masks.

use super::wide::{self, Packed};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Linear, Module};

/// A linear layer, ready to multiply by.
pub enum Product {
    /// By candle.
    Plain(Linear),
    /// By our own kernel.
    Packed(Packed),
}

impl Product {
    /// Packs the weights where this machine and their numbers allow.
    pub fn new(linear: Linear) -> Result<Self> {
        let weight = linear.weight();
        Ok(match weight.device().is_cpu() && weight.dtype() == DType::F32 && wide::available() {
            true => Product::Packed(Packed::new(&linear)?),
            false => Product::Plain(linear),
        })
    }

    /// x W^T + b: (..., from) to (..., to).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Product::Plain(linear) => linear.forward(x)?,
            Product::Packed(packed) => packed.forward(x, None)?,
        })
    }

    /// x W^T + b + onto.
    pub fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Product::Plain(linear) => (linear.forward(x)? + onto)?,
            Product::Packed(packed) => packed.forward(x, Some(onto))?,
        })
    }
}

/// Which positions a position does not look at.
pub struct Mask {
    /// Broadcastable to (batch, heads, length, length), f32: 0 where it looks, -inf where not.
    pub tensor: Tensor,
    /// Whether that is no more than the ones after it: our own kernel then needs no tensor.
    pub causal: bool,
}

/// Self-attention over what a product of queries, keys and values gave, (batch, length, 3 x width): (batch, length, width).
pub fn attend_all(qkv: &Tensor, heads: usize, mask: Option<&Mask>) -> Result<Tensor> {
    let (batch, length, width) = qkv.dims3()?;
    let own = qkv.device().is_cpu() && qkv.dtype() == DType::F32 && wide::available();
    if own && mask.is_none_or(|mask| mask.causal) && wide::takes_heads_of(width / 3 / heads) {
        return Ok(wide::attend(qkv, heads, mask.is_some())?);
    }
    let qkv = split_heads(qkv, 3, heads)?;
    let mixed = attend(&qkv.get(0)?, &qkv.get(1)?, &qkv.get(2)?, mask.map(|mask| &mask.tensor))?;
    Ok(mixed.transpose(1, 2)?.reshape((batch, length, width / 3))?)
}

/// What several projections made side by side, (batch, length, parts x width), apart and by head: (parts, batch, heads,
/// length, width / heads), contiguous.
pub fn split_heads(x: &Tensor, parts: usize, heads: usize) -> Result<Tensor> {
    let (batch, length, width) = x.dims3()?;
    let split = x.reshape((batch, length, parts, heads, width / parts / heads))?;
    Ok(split.permute((2, 0, 3, 1, 4))?.contiguous()?)
}

/// softmax(q k^T / sqrt(d)) v over the last two dimensions: (..., queries, d), (..., keys, d) twice, to (..., queries, d).
/// `mask`, broadcastable to (..., queries, keys) in f32, is added to the scores.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let scale = (q.dim(candle_core::D::Minus1)? as f64).powf(-0.5);
    // Scores in f32 whatever the weights are: f16 overflows at 65504.
    let scores = (q * scale)?.matmul(&k.t()?)?.to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    let shares = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
    Ok(shares.matmul(v)?)
}

/// A mask for texts of unequal lengths, padded to the longest: (texts, 1, 1, longest) f32, 0 where there is a token and
/// -inf where there is none.
pub fn padding_mask(lengths: &[usize], device: &candle_core::Device) -> Result<Tensor> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let there = |length: &usize| {
        let length = *length;
        (0..longest).map(move |at| if at < length { 0.0f32 } else { f32::NEG_INFINITY })
    };
    let mask: Vec<f32> = lengths.iter().flat_map(there).collect();
    Ok(Tensor::from_vec(mask, (lengths.len(), 1, 1, longest), device)?)
}

/// The patches of `pixels`, (batch, colours, side, side), each flattened: (batch, grid x grid, colours x patch x patch).
/// Patches don't overlap, so that their convolution is one product over this. Pixels beyond the grid are left out.
pub fn patchify(pixels: &Tensor, patch: usize, grid: usize) -> Result<Tensor> {
    let (batch, colours, ..) = pixels.dims4()?;
    let pixels = pixels.narrow(2, 0, patch * grid)?.narrow(3, 0, patch * grid)?.contiguous()?;
    let patches = pixels.reshape((batch, colours, grid, patch, grid, patch))?.permute((0, 2, 4, 1, 3, 5))?;
    Ok(patches.reshape((batch, grid * grid, colours * patch * patch))?)
}

/// The rows of `x`, (batch, dim), as f32 vectors of unit length.
pub fn unit_rows(x: &Tensor) -> Result<Vec<Vec<f32>>> {
    let mut rows = x.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    for row in &mut rows {
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm == 0.0 {
            let reason = format!("an embedding has norm {norm}; in f16 this is an overflow: try f32");
            return Err(Error::Compute { reason });
        }
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
    Ok(rows)
}
