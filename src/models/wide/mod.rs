//! Products and attention on CPUs with AVX-512, in f32: what most of a vision tower's time goes into.
//!
//! 1. [`Packed`] holds a layer's weights in panels of 48 outputs, laid out once, in the order in which they are read.
//! 2. [`attend`] takes queries, keys and values as one product leaves them, head by head, and never writes the scores out.
//! 3. `avx512` is the one small kernel under both, and the softmax.
//!
//! Elsewhere, and in f16, candle's own products serve; nothing above `layers` knows which.

#[cfg(target_arch = "x86_64")]
mod avx512;

use candle_core::{CpuStorage, Device, Storage, Tensor};
use candle_nn::Linear;

/// Outputs in a panel: three registers of 16.
const PANEL: usize = 48;

/// Whether this machine can.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// A linear layer whose weights are laid out in panels.
pub struct Packed {
    /// Panel by panel, input by input, 48 outputs: (panels, from, 48), filled up with zeros.
    weights: Vec<f32>,
    /// (panels x 48), filled up with zeros.
    bias: Vec<f32>,
    from: usize,
    to: usize,
}

impl Packed {
    /// Packs `linear`, which must be f32 on the CPU.
    pub fn new(linear: &Linear) -> candle_core::Result<Self> {
        let (to, from) = linear.weight().dims2()?;
        let rows = linear.weight().flatten_all()?.to_vec1::<f32>()?;
        let panels = to.div_ceil(PANEL);
        let mut weights = vec![0.0; panels * from * PANEL];
        for (output, row) in rows.chunks_exact(from.max(1)).enumerate() {
            let panel = &mut weights[output / PANEL * from * PANEL..][..from * PANEL];
            for (slots, weight) in panel.chunks_exact_mut(PANEL).zip(row) {
                slots[output % PANEL] = *weight;
            }
        }
        let mut bias = linear.bias().map_or(Ok(vec![0.0; to]), |bias| bias.to_vec1::<f32>())?;
        bias.resize(panels * PANEL, 0.0);
        Ok(Packed { weights, bias, from, to })
    }

    /// x W^T + b, plus `onto` where given: (..., from) to (..., to).
    pub fn forward(&self, x: &Tensor, onto: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let mut shape = x.dims().to_vec();
        if shape.pop() != Some(self.from) {
            candle_core::bail!("a layer of {} inputs was given {:?}", self.from, x.shape());
        }
        shape.push(self.to);
        if onto.is_some_and(|onto| onto.dims() != shape) {
            candle_core::bail!("a product of shape {shape:?} can't be added onto another shape");
        }
        let rows = x.elem_count() / self.from.max(1);
        let out = slice(x, |x| match onto {
            Some(onto) => slice(onto, |onto| Ok(self.product(x, rows, onto.to_vec(), true))),
            None => Ok(self.product(x, rows, vec![0.0; rows * self.to], false)),
        })?;
        Tensor::from_vec(out, shape, &Device::Cpu)
    }

    fn product(&self, x: &[f32], rows: usize, mut out: Vec<f32>, add: bool) -> Vec<f32> {
        #[cfg(target_arch = "x86_64")]
        avx512::product(self, x, rows, &mut out, add);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (x, rows, add, &mut out);
        out
    }
}

/// Whether [`attend`] takes heads of this width.
pub fn takes_heads_of(width: usize) -> bool {
    width > 0 && width.is_multiple_of(16) && width <= 128
}

/// softmax(q k^T / sqrt(d)) v for each head of each row of `qkv`, (batch, length, 3 x width) with queries, keys and values
/// side by side: (batch, length, width). A `causal` one has each position look at itself and those before it only.
pub fn attend(qkv: &Tensor, heads: usize, causal: bool) -> candle_core::Result<Tensor> {
    let (batch, length, width) = qkv.dims3()?;
    let width = width / 3;
    let mut out = vec![0.0; batch * length * width];
    slice(qkv, |qkv| {
        #[cfg(target_arch = "x86_64")]
        avx512::attend(qkv, &mut out, avx512::Heads { length, width, heads, causal });
        Ok(())
    })?;
    Tensor::from_vec(out, (batch, length, width), &Device::Cpu)
}

/// Hands the values of `x` to `use_it`.
fn slice<T>(x: &Tensor, use_it: impl FnOnce(&[f32]) -> candle_core::Result<T>) -> candle_core::Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => use_it(&values[start..end]),
        _ => candle_core::bail!("packed weights take f32 on the CPU"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use candle_nn::Module;

    fn random(shape: &[usize]) -> Tensor {
        Tensor::randn(0f32, 1f32, shape, &Device::Cpu).unwrap()
    }

    fn check(what: &str, found: &Tensor, expected: &Tensor, tolerance: f32) {
        assert_eq!(found.dims(), expected.dims(), "{what}");
        let off = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
        let worst = off.max(0).unwrap().to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap();
        assert!(worst <= tolerance, "{what}: off by {worst}");
    }

    #[test]
    fn products_are_candles() {
        if !available() {
            return;
        }
        let sizes = [(1, 1, 1), (7, 32, 48), (9, 40, 50), (170, 100, 96), (17, 1600, 31), (337, 768, 144)];
        for (rows, from, to) in sizes {
            let linear = Linear::new(random(&[to, from]), Some(random(&[to])));
            let packed = Packed::new(&linear).unwrap();
            let (x, onto) = (random(&[rows, from]), random(&[rows, to]));
            let expected = linear.forward(&x).unwrap();
            let tolerance = 1e-5 * (from as f32).sqrt() + 1e-6;
            let what = format!("{rows} x {from} x {to}");
            check(&what, &packed.forward(&x, None).unwrap(), &expected, 8.0 * tolerance);
            let expected = (expected + &onto).unwrap();
            check(&what, &packed.forward(&x, Some(&onto)).unwrap(), &expected, 8.0 * tolerance);
            assert!(packed.forward(&random(&[rows, from + 1]), None).is_err());
        }
    }

    #[test]
    fn attention_is_candles() {
        if !available() {
            return;
        }
        for (batch, length, heads, head) in [(1, 1, 1, 16), (2, 17, 3, 64), (1, 50, 2, 80), (2, 101, 2, 32)] {
            let qkv = random(&[batch, length, 3 * heads * head]);
            let split = crate::models::layers::split_heads(&qkv, 3, heads).unwrap();
            let (q, k, v) = (split.get(0).unwrap(), split.get(1).unwrap(), split.get(2).unwrap());
            let expected = crate::models::layers::attend(&q, &k, &v, None).unwrap();
            let expected = expected.transpose(1, 2).unwrap().reshape((batch, length, heads * head)).unwrap();
            let what = format!("{batch} x {length} x {heads} x {head}");
            check(&what, &attend(&qkv, heads, false).unwrap(), &expected, 2e-5);
            let sees = |at: usize| if at % length <= at / length { 0.0 } else { f32::NEG_INFINITY };
            let mask: Vec<f32> = (0..length * length).map(sees).collect();
            let mask = Tensor::from_vec(mask, (1, 1, length, length), &Device::Cpu).unwrap();
            let expected = crate::models::layers::attend(&q, &k, &v, Some(&mask)).unwrap();
            let expected = expected.transpose(1, 2).unwrap().reshape((batch, length, heads * head)).unwrap();
            check(&format!("{what}, causal"), &attend(&qkv, heads, true).unwrap(), &expected, 2e-5);
        }
    }
}
