//! What a vision tower made of one picture, kept on the host: cheap to share, ready to be cached.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use half::f16;
use std::fmt;
use std::sync::Arc;

/// The states of one picture after BLIP's vision tower: (1 + patches, width), the class token first. A clone shares them.
#[derive(Clone)]
pub struct Features(Arc<Shared>);

struct Shared {
    tokens: usize,
    width: usize,
    values: Values,
}

enum Values {
    Full(Vec<f32>),
    Half(Vec<f16>),
}

impl Features {
    /// Takes (tokens, width) from whatever device it is on; f32 stays f32, all else becomes f16.
    pub(super) fn take(states: &Tensor) -> Result<Self> {
        let (tokens, width) = states.dims2()?;
        let states = states.flatten_all()?;
        let values = match states.dtype() {
            DType::F32 => Values::Full(states.to_vec1()?),
            _ => Values::Half(states.to_dtype(DType::F16)?.to_vec1()?),
        };
        Ok(Features(Arc::new(Shared { tokens, width, values })))
    }

    /// Features read back from a cache: `values` is (tokens, width), row by row.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the length isn't tokens x width.
    pub fn from_half(tokens: usize, width: usize, values: Vec<f16>) -> Result<Self> {
        if tokens * width != values.len() || values.is_empty() {
            return Err(Error::invalid(
                format!("{} values as the features of a picture", values.len()),
                format!("{tokens} x {width} of them"),
            ));
        }
        Ok(Features(Arc::new(Shared { tokens, width, values: Values::Half(values) })))
    }

    /// The same in f16: half the memory, about three decimal digits.
    pub fn to_half(&self) -> Self {
        let values = match &self.0.values {
            Values::Full(values) => values.iter().map(|v| f16::from_f32(*v)).collect(),
            Values::Half(_) => return self.clone(),
        };
        let (tokens, width) = self.size();
        Features(Arc::new(Shared { tokens, width, values: Values::Half(values) }))
    }

    /// The values in f16, row by row, for a cache.
    pub fn half_values(&self) -> Vec<f16> {
        match &self.0.values {
            Values::Full(values) => values.iter().map(|v| f16::from_f32(*v)).collect(),
            Values::Half(values) => values.clone(),
        }
    }

    /// (1 + patches, width).
    pub fn size(&self) -> (usize, usize) {
        (self.0.tokens, self.0.width)
    }

    /// How much memory they take.
    pub fn bytes(&self) -> usize {
        match &self.0.values {
            Values::Full(values) => size_of_val(values.as_slice()),
            Values::Half(values) => size_of_val(values.as_slice()),
        }
    }

    /// Tells pictures apart without looking at the numbers: clones have the same.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// As a tensor (tokens, width).
    pub(super) fn tensor(&self, device: &Device, dtype: DType) -> Result<Tensor> {
        let tensor = match &self.0.values {
            Values::Full(values) => Tensor::from_slice(values, self.size(), device)?,
            Values::Half(values) => Tensor::from_slice(values, self.size(), device)?,
        };
        Ok(tensor.to_dtype(dtype)?)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tokens, width) = self.size();
        write!(f, "Features({tokens} x {width}, {} bytes)", self.bytes())
    }
}
