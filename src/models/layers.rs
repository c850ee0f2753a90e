//! The plain parts that every network here shares: products, attention, masks.

use super::slice::slice;
use super::wide::{self, Matrix, Precision};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Linear, Module};
use rayon::prelude::*;

/// A linear layer, ready to multiply by.
pub enum Product {
    /// By candle.
    Plain(Linear),
    /// By our own kernel.
    Wide(Matrix),
}

impl Product {
    /// Lays the weights out where this machine and their numbers allow.
    pub fn new(linear: Linear, precision: Precision) -> Result<Self> {
        Ok(match ours(linear.weight()) {
            true => Product::Wide(Matrix::new(&linear, precision)?),
            false => Product::Plain(linear),
        })
    }

    /// x W^T + b: (..., from) to (..., to).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Product::Plain(linear) => linear.forward(x)?,
            Product::Wide(matrix) => matrix.forward(x, None)?,
        })
    }

    /// x W^T + b + onto.
    pub fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Product::Plain(linear) => (linear.forward(x)? + onto)?,
            Product::Wide(matrix) => matrix.forward(x, Some(onto))?,
        })
    }
}

/// Whether our own kernels can take products with `weight` on this machine.
pub fn ours(weight: &Tensor) -> bool {
    weight.device().is_cpu() && weight.dtype() == DType::F32 && wide::available()
}

/// Self-attention over what a product of queries, keys and values gave, (batch, length, 3 x width): (batch, length, width).
pub fn attend_all(qkv: &Tensor, heads: usize, mask: Option<&Tensor>) -> Result<Tensor> {
    let (batch, length, width) = qkv.dims3()?;
    let qkv = split_heads(qkv, 3, heads)?;
    let mixed = attend(&qkv.get(0)?, &qkv.get(1)?, &qkv.get(2)?, mask)?;
    Ok(mixed.transpose(1, 2)?.reshape((batch, length, width / 3))?)
}

/// What keeps each of `length` positions from looking at those after it: (1, 1, length, length) f32, 0 where it looks, -inf
/// where not.
pub fn causal_mask(length: usize, device: &candle_core::Device) -> Result<Tensor> {
    let sees = |query| (0..length).map(move |key| if key <= query { 0.0 } else { f32::NEG_INFINITY });
    let mask: Vec<f32> = (0..length).flat_map(sees).collect();
    Ok(Tensor::from_vec(mask, (1, 1, length, length), device)?)
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

/// What goes into a vision tower: the `class` token before `patches`, (batch, count, width), plus their `positions`:
/// (batch, 1 + count, width).
pub fn with_class(class: &Tensor, patches: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let (batch, count, width) = patches.dims3()?;
    if !plain(&[class, patches, positions]) {
        let class = class.broadcast_as((batch, 1, width))?;
        return Ok(Tensor::cat(&[&class, patches], 1)?.broadcast_add(positions)?);
    }
    // In one go: candle copies all of it once more for each step, and wakes threads of its own for the sum.
    let mut tokens = vec![0.0; batch * (1 + count) * width];
    slice(class, |class| {
        slice(patches, |patches| {
            slice(positions, |positions| {
                let images = tokens.par_chunks_mut(((1 + count) * width).max(1));
                images.zip(patches.par_chunks((count * width).max(1))).for_each(|(out, patches)| {
                    let values = class.iter().chain(patches).zip(positions);
                    out.iter_mut().zip(values).for_each(|(out, (value, position))| *out = value + position);
                });
                Ok(())
            })
        })
    })?;
    Ok(Tensor::from_vec(tokens, (batch, 1 + count, width), patches.device())?)
}

/// What goes into a text tower: the rows of `table`, (vocabulary, width), at `ids`, (batch, length), plus the first of `positions`:
/// (batch, length, width).
pub fn with_positions(table: &Tensor, ids: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let ((batch, length), (vocabulary, width)) = (ids.dims2()?, table.dims2()?);
    let positions = positions.narrow(0, 0, length)?;
    if !plain(&[table, &positions]) {
        let rows = table.index_select(&ids.flatten_all()?, 0)?.reshape((batch, length, width))?;
        return Ok(rows.broadcast_add(&positions)?);
    }
    let ids: Vec<u32> = ids.flatten_all()?.to_vec1()?;
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
        let reason = format!("token {id} is beyond a vocabulary of {vocabulary}");
        return Err(Error::Compute { reason });
    }
    let mut states = Vec::with_capacity(ids.len() * width);
    slice(table, |table| {
        slice(&positions, |positions| {
            let positions = positions.chunks_exact(width.max(1)).cycle();
            for (id, position) in ids.iter().zip(positions) {
                let row = &table[*id as usize * width..][..width];
                states.extend(row.iter().zip(position).map(|(value, position)| value + position));
            }
            Ok(())
        })
    })?;
    Ok(Tensor::from_vec(states, (batch, length, width), table.device())?)
}

/// Whether all are f32 on the CPU.
fn plain(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|x| x.device().is_cpu() && x.dtype() == DType::F32)
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn what_goes_into_towers_is_what_candle_makes() {
        let random = |shape: &[usize]| Tensor::randn(0f32, 1f32, shape, &Device::Cpu).unwrap();
        let double = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        let near = |a: Tensor, b: Tensor| {
            assert_eq!(a.dims(), b.dims());
            let off = (double(&a) - double(&b)).unwrap().abs().unwrap().flatten_all().unwrap();
            assert!(off.max(0).unwrap().to_scalar::<f64>().unwrap() < 1e-6);
        };
        let (class, patches, positions) = (random(&[1, 1, 5]), random(&[3, 4, 5]), random(&[1, 5, 5]));
        let wanted = with_class(&double(&class), &double(&patches), &double(&positions)).unwrap();
        near(with_class(&class, &patches, &positions).unwrap(), wanted);
        let (table, positions) = (random(&[7, 5]), random(&[9, 5]));
        let ids = Tensor::new(&[[0u32, 6, 3], [2, 2, 1]], &Device::Cpu).unwrap();
        let wanted = with_positions(&double(&table), &ids, &double(&positions)).unwrap();
        near(with_positions(&table, &ids, &positions).unwrap(), wanted);
        let beyond = Tensor::new(&[[0u32, 7]], &Device::Cpu).unwrap();
        assert!(with_positions(&table, &beyond, &positions).is_err());
    }
}
