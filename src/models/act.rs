//! Activation functions, by the names that `config.json` gives them.

use crate::Result;
use crate::simd::widest;
use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Tensor, bail};
use rayon::prelude::*;
use serde::Deserialize;
use std::marker::PhantomData;

/// What stands between the two layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Activation {
    /// `x * Phi(x)` with the exact error function.
    Gelu,
    /// Its tanh approximation: `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`: OpenAI's CLIP.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
}

impl Activation {
    /// The activation that transformers' `ACT2FN` calls `name`; None when it is not one of ours.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" | "gelu_python_tanh" => {
                Activation::GeluTanh
            }
            "quick_gelu" => Activation::QuickGelu,
            "relu" => Activation::Relu,
            "silu" | "swish" => Activation::Silu,
            _ => return None,
        })
    }

    /// The function of every element; any shape. `x` may be overwritten: pass what no one else looks at.
    pub fn forward(self, x: Tensor) -> Result<Tensor> {
        if x.device().is_cpu() && x.dtype() == DType::F32 && x.is_contiguous() {
            x.inplace_op1(&self)?;
            return Ok(x);
        }
        Ok(match self {
            Activation::Gelu => x.gelu_erf()?,
            Activation::GeluTanh => x.gelu()?,
            Activation::QuickGelu => (&x * candle_nn::ops::sigmoid(&(&x * 1.702f64)?)?)?,
            Activation::Relu => x.relu()?,
            Activation::Silu => x.silu()?,
        })
    }

    /// Of every element, in place.
    pub(super) fn apply(self, x: Block) {
        match self {
            Activation::Gelu => each_gelu(x),
            Activation::GeluTanh => each_gelu_tanh(x),
            Activation::QuickGelu => each_quick_gelu(x),
            Activation::Relu => each_relu(x),
            Activation::Silu => each_silu(x),
        }
    }
}

impl TryFrom<String> for Activation {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        Activation::named(&name).ok_or_else(|| format!("hidden_act {name:?} is not a known activation"))
    }
}

/// On the CPU in f32: in place, on all cores, in loops that the compiler vectorises. candle's own functions take a buffer
/// and a call into libm for each element.
impl InplaceOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("the activation in place takes contiguous f32")
        };
        values[start..end].par_chunks_mut(1 << 14).for_each(|chunk| self.apply(Block::from(chunk)));
        Ok(())
    }
}

/// Some columns of some rows that lie one after another.
pub(super) struct Block<'a> {
    first: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    of: PhantomData<&'a mut f32>,
}

impl Block<'_> {
    /// # Safety
    /// `rows` rows, `stride` apart, of `columns` numbers each, the first at `first`, that no one else looks at while there is a block of them.
    pub unsafe fn new(first: *mut f32, stride: usize, rows: usize, columns: usize) -> Self {
        Block { first, stride, rows, columns, of: PhantomData }
    }

    /// Runs of numbers that fill a register, and what is left of each row.
    #[inline(always)]
    fn each(self, of: impl Fn(&mut [f32])) {
        const LANES: usize = 16;
        for row in 0..self.rows {
            // SAFETY: whoever made it said that they are there, and for this alone.
            let row =
                unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.columns) };
            let (registers, rest) = row.as_chunks_mut::<LANES>();
            registers.iter_mut().for_each(|register| of(register));
            of(rest);
        }
    }
}

impl<'a> From<&'a mut [f32]> for Block<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        Block { first: values.as_mut_ptr(), stride: 0, rows: 1, columns: values.len(), of: PhantomData }
    }
}

/// A function of every element of a block: what it needs is fetched once for all rows.
macro_rules! each {
    ($name:ident, $function:expr) => {
        widest! {
            fn $name(x: Block) {
                x.each(|values| values.iter_mut().for_each(|v| *v = $function(*v)));
            }
        }
    };
}

each!(each_relu, |x: f32| x.max(0.0));
each!(each_gelu, |x: f32| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)));
each!(each_gelu_tanh, |x: f32| x * sigmoid(1.595_769 * (x + 0.044715 * x * x * x)));
each!(each_quick_gelu, |x: f32| x * sigmoid(1.702 * x));
each!(each_silu, |x: f32| x * sigmoid(x));

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    inverse(1.0 + exp(-x))
}

/// Abramowitz and Stegun 7.1.26: within 1.5e-7 of the error function.
#[inline(always)]
fn erf(x: f32) -> f32 {
    const SERIES: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let size = x.abs();
    let t = inverse(size.min(1e30).mul_add(0.327_591_1, 1.0));
    (-t * horner(&SERIES, t)).mul_add(exp(-size * size), 1.0).copysign(x)
}

/// 1 / x to about one unit in the last place, for x from 1 to 1e38: Newton's steps, each of which doubles the digits, from what
/// the bits taken from a constant come to. A division takes the time of them all twice over.
#[inline(always)]
fn inverse(x: f32) -> f32 {
    const STEPS: usize = 3;
    let mut inverse = f32::from_bits(0x7EF3_11C7u32.wrapping_sub(x.to_bits()));
    for _ in 0..STEPS {
        inverse = (-x).mul_add(inverse, 1.0).mul_add(inverse, inverse);
    }
    inverse
}

/// The polynomial with these coefficients, the highest power's first.
#[inline(always)]
fn horner(coefficients: &[f32], x: f32) -> f32 {
    let [highest, others @ ..] = coefficients else { return 0.0 };
    others.iter().fold(*highest, |sum, coefficient| sum.mul_add(x, *coefficient))
}

/// e^x to about one unit in the last place of f32, without branches or calls: 2^n times a polynomial over the rest, as in
/// Cephes' `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const SERIES: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5];
    let x = x.clamp(-87.0, 87.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that nothing is lost of the rest.
    let rest = whole.mul_add(2.121_944_4e-4, whole.mul_add(-0.693_359_4, x));
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    ((rest * rest).mul_add(horner(&SERIES, rest), rest) + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const ALL: [Activation; 5] =
        [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Relu, Activation::Silu];

    /// Compares with candle's own functions, in f64.
    fn check(x: Vec<f32>) {
        let tensor = Tensor::new(x.as_slice(), &Device::Cpu).unwrap();
        let exact = tensor.to_dtype(DType::F64).unwrap();
        for activation in ALL {
            let found = activation.forward(tensor.copy().unwrap()).unwrap().to_vec1::<f32>().unwrap();
            let expected = activation.forward(exact.clone()).unwrap().to_vec1::<f64>().unwrap();
            for ((x, found), expected) in x.iter().zip(found).zip(expected) {
                let off = (f64::from(found) - expected).abs();
                assert!(
                    off <= 1e-6 + 1e-6 * expected.abs(),
                    "{activation:?}({x}) = {found}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn functions_are_candles() {
        check((-60_000..60_000).map(|n| n as f32 / 5_000.0).collect());
        check(vec![0.0, -0.0, 1e-30, -1e-30, 50.0, -50.0, 1e4, -1e4, 1e30, -1e30]);
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for activation in ALL.into_iter().filter(|a| *a != Activation::Relu) {
            let x = Tensor::new(&[f32::NAN, 1.0], &Device::Cpu).unwrap();
            assert!(activation.forward(x).unwrap().to_vec1::<f32>().unwrap()[0].is_nan(), "{activation:?}");
        }
    }
}
