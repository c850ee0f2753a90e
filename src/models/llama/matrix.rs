//! Matrices that are dense or quantized, and multiply all the same.

use crate::models::layers::Product;
use crate::models::wide::Precision;
use crate::{Error, Result};
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module};
use std::fmt;
use std::str::FromStr;

/// How a language model's matrices are packed when they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantize {
    /// llama.cpp's Q4_K: about 4.5 bits a weight, the output matrix in Q6_K.
    Q4K,
    /// llama.cpp's Q8_0: 8.5 bits a weight; hardly to be told from f16.
    Q8_0,
}

impl Quantize {
    /// The packing of rows of `width` weights: a row is whole blocks, so that some widths take a simpler packing, or none.
    fn packing(self, width: usize, head: bool) -> Option<GgmlDType> {
        let wanted = match (self, head) {
            (Quantize::Q4K, false) => GgmlDType::Q4K,
            (Quantize::Q4K, true) => GgmlDType::Q6K,
            (Quantize::Q8_0, _) => GgmlDType::Q8_0,
        };
        [wanted, GgmlDType::Q8_0].into_iter().find(|packing| width.is_multiple_of(packing.block_size()))
    }

    /// `weight`, (rows, width), packed on `device`; None where its width allows no packing.
    pub(super) fn pack(self, weight: &Tensor, head: bool, device: &Device) -> Result<Option<QTensor>> {
        let Some(packing) = self.packing(weight.dim(1)?, head) else { return Ok(None) };
        let weight = weight.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        Ok(Some(QTensor::quantize_onto(&weight, packing, device)?))
    }
}

impl FromStr for Quantize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().replace('_', "").as_str() {
            "q4k" => Ok(Quantize::Q4K),
            "q80" | "q8" => Ok(Quantize::Q8_0),
            _ => Err(Error::invalid(format!("quantize {text:?}"), "one of q4k, q8_0")),
        }
    }
}

impl fmt::Display for Quantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quantize::Q4K => "q4k",
            Quantize::Q8_0 => "q8_0",
        })
    }
}

/// A linear layer.
pub(super) enum Matrix {
    Dense(Product),
    Packed(QMatMul, Option<Tensor>),
}

impl Matrix {
    /// From a packed weight; what is not packed at all becomes dense in `dtype`.
    pub fn packed(weight: QTensor, bias: Option<Tensor>, dtype: DType) -> Result<Self> {
        Ok(match QMatMul::from_qtensor(weight)? {
            QMatMul::Tensor(weight) | QMatMul::TensorF16(weight) => {
                Matrix::Dense(Product::new(Linear::new(weight.to_dtype(dtype)?, bias), Precision::Full)?)
            }
            packed => Matrix::Packed(packed, bias),
        })
    }

    /// (tokens, from) to (tokens, to).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Matrix::Dense(product) => product.forward(x),
            Matrix::Packed(weight, None) => Ok(weight.forward(&x.contiguous()?)?),
            Matrix::Packed(weight, Some(bias)) => {
                Ok(weight.forward(&x.contiguous()?)?.broadcast_add(bias)?)
            }
        }
    }
}

/// A table of embeddings.
pub(super) enum Table {
    Dense(Tensor),
    Packed(QTensor),
}

impl Table {
    /// The rows `ids` in `dtype`: (ids, width).
    pub fn rows(&self, ids: &Tensor, dtype: DType) -> Result<Tensor> {
        match self {
            Table::Dense(table) => Ok(table.index_select(ids, 0)?.to_dtype(dtype)?),
            Table::Packed(table) => Ok(table.embedding(ids)?.to_dtype(dtype)?),
        }
    }
}
