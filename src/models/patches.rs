//! The first layer of a vision tower: its patches, which don't overlap, so that their convolution is one product. (Dosovitskiy et al. 2021,
//! arXiv:2010.11929, section 3.1.)

use super::layers::{Product, ours};
use super::preprocess::{Preprocess, Shade};
use super::slice::{slice, slice_of};
use super::weights::Scope;
use super::wide::Exact;
use crate::Result;
use candle_core::{DType, Tensor, WithDType};
use candle_nn::Linear;
use rayon::prelude::*;

/// A linear layer over each patch of a picture.
pub struct Patches {
    form: Form,
    patch: usize,
    grid: usize,
}

enum Form {
    /// Over normalised values.
    Values(Product),
    /// Over bytes, normalising among its weights; where layers are in 8 bits.
    Bytes { exact: Exact, width: usize },
}

impl Patches {
    /// `linear` over the (`patch`, `grid`): `grid` x `grid` patches of `patch` x `patch` pixels, which `preprocess` makes.
    pub fn new(
        scope: &Scope,
        linear: Linear,
        (patch, grid): (usize, usize),
        preprocess: Option<&Preprocess>,
    ) -> Result<Self> {
        let form = match preprocess.filter(|_| scope.int8() && ours(linear.weight())) {
            Some(preprocess) => over_bytes(&linear, preprocess.shades())?,
            None => None,
        };
        Ok(Patches { form: form.map_or_else(|| scope.ready(linear).map(Form::Values), Ok)?, patch, grid })
    }

    /// The numbers that it reads, where those are not the model's: U8 for bytes that are not normalised.
    pub fn reads(&self) -> Option<DType> {
        matches!(self.form, Form::Bytes { .. }).then_some(DType::U8)
    }

    /// What it makes of each patch of `pixels`, (batch, 3, side, side): (batch, grid x grid, width).
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = patchify(pixels, self.patch, self.grid)?;
        match &self.form {
            Form::Values(product) => product.forward(&patches),
            Form::Bytes { exact, width } => {
                let values = slice_of(&patches, |patches| Ok(exact.forward(patches)))?;
                let (batch, count, _) = patches.dims3()?;
                Ok(Tensor::from_vec(values, (batch, count, *width), patches.device())?)
            }
        }
    }
}

/// `linear`, which is over normalised values, over the bytes of red, green and blue planes: w (a q + b) = (w a) q + w b.
fn over_bytes(linear: &Linear, shades: [Shade; 3]) -> Result<Option<Form>> {
    let (width, flat) = linear.weight().dims2()?;
    let mut bias = match linear.bias() {
        Some(bias) => bias.to_vec1::<f32>()?,
        None => vec![0.0; width],
    };
    let mut rows = slice(linear.weight(), |rows| Ok(rows.to_vec()))?;
    for (row, bias) in rows.chunks_exact_mut(flat).zip(&mut bias) {
        for (plane, shade) in row.chunks_exact_mut(flat / 3).zip(shades) {
            *bias += shade.offset * plane.iter().sum::<f32>();
            plane.iter_mut().for_each(|weight| *weight *= shade.scale);
        }
    }
    Ok(Exact::new(&rows, &bias, flat).map(|exact| Form::Bytes { exact, width }))
}

/// The patches of `pixels`, (batch, colours, side, side), each flattened: (batch, grid x grid, colours x patch x patch).
/// Pixels beyond the grid are left out.
fn patchify(pixels: &Tensor, patch: usize, grid: usize) -> Result<Tensor> {
    let (.., height, width) = pixels.dims4()?;
    // Line by line of each patch: candle copies number by number.
    if pixels.device().is_cpu() && patch * grid <= height.min(width) {
        match pixels.dtype() {
            DType::F32 => return lines::<f32>(pixels, patch, grid),
            DType::U8 => return lines::<u8>(pixels, patch, grid),
            _ => {}
        }
    }
    let (batch, colours, ..) = pixels.dims4()?;
    let pixels = pixels.narrow(2, 0, patch * grid)?.narrow(3, 0, patch * grid)?.contiguous()?;
    let patches = pixels.reshape((batch, colours, grid, patch, grid, patch))?.permute((0, 2, 4, 1, 3, 5))?;
    Ok(patches.reshape((batch, grid * grid, colours * patch * patch))?)
}

fn lines<N: WithDType + Default>(pixels: &Tensor, patch: usize, grid: usize) -> Result<Tensor> {
    let (batch, colours, height, width) = pixels.dims4()?;
    let flat = colours * patch * patch;
    let mut patches = vec![N::default(); batch * grid * grid * flat];
    slice_of(pixels, |values: &[N]| {
        patches.par_chunks_mut(flat).enumerate().with_min_len(grid).for_each(|(at, out)| {
            let (image, row, column) = (at / (grid * grid), at / grid % grid * patch, at % grid * patch);
            for (line, out) in out.chunks_exact_mut(patch).enumerate() {
                let (colour, y) = (line / patch, row + line % patch);
                let start = ((image * colours + colour) * height + y) * width + column;
                out.copy_from_slice(&values[start..start + patch]);
            }
        });
        Ok(())
    })?;
    Ok(Tensor::from_vec(patches, (batch, grid * grid, flat), pixels.device())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_nn::Module;

    #[test]
    fn patches_are_copied_as_candle_copies_them() {
        for (batch, colours, height, width, patch, grid) in
            [(1, 1, 4, 4, 2, 2), (3, 3, 17, 16, 4, 4), (2, 3, 9, 11, 3, 2)]
        {
            let count = batch * colours * height * width;
            let pixels = Tensor::arange(0f32, count as f32, &Device::Cpu).unwrap();
            let pixels = pixels.reshape((batch, colours, height, width)).unwrap();
            let found = patchify(&pixels, patch, grid).unwrap();
            let expected = patchify(&pixels.to_dtype(DType::F64).unwrap(), patch, grid).unwrap();
            let values = |x: &Tensor| x.to_dtype(DType::F32).unwrap().to_vec3::<f32>().unwrap();
            assert_eq!(values(&found), values(&expected));
            let bytes = pixels.to_dtype(DType::U8).unwrap();
            let expected = patchify(&bytes.to_dtype(DType::F32).unwrap(), patch, grid).unwrap();
            assert_eq!(values(&patchify(&bytes, patch, grid).unwrap()), values(&expected));
        }
        assert!(patchify(&Tensor::zeros((1, 3, 4, 4), DType::F32, &Device::Cpu).unwrap(), 3, 2).is_err());
    }

    #[test]
    fn a_layer_over_bytes_normalises_them() {
        let random = |shape: &[usize]| Tensor::randn(0f32, 1f32, shape, &Device::Cpu).unwrap();
        let shades = [(0.015, -1.8), (0.016, -1.5), (0.1, 0.4)];
        let shades = shades.map(|(scale, offset)| Shade { scale, offset });
        let (patch, grid) = (4, 2);
        let bytes: Vec<u8> = (0..3 * 64).map(|n| (n * 37 % 256) as u8).collect();
        let normal = |(at, byte): (usize, &u8)| {
            let Shade { scale, offset } = shades[at / 64];
            scale * f32::from(*byte) + offset
        };
        let normal: Vec<f32> = bytes.iter().enumerate().map(normal).collect();
        let tensor = Tensor::from_vec(normal, (1, 3, 8, 8), &Device::Cpu).unwrap();
        let bytes = Tensor::from_vec(bytes, (1, 3, 8, 8), &Device::Cpu).unwrap();
        for bias in [None, Some(random(&[5]))] {
            let linear = Linear::new(random(&[5, 3 * patch * patch]), bias);
            let expected = linear.forward(&patchify(&tensor, patch, grid).unwrap()).unwrap();
            let Some(form) = over_bytes(&linear, shades).unwrap() else { return };
            let found = Patches { form, patch, grid }.forward(&bytes).unwrap();
            let off = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
            let worst = off.max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(worst < 0.02, "off by {worst}");
        }
    }
}
