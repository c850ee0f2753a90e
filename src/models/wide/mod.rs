//! Products, attention and whole transformers on CPUs with AVX2 or AVX-512: what most of a tower's time goes into.
//!
//! 1. [`Matrix`] holds a layer's weights in panels, laid out once, in the order in which they are read: `floats` as they are, `bytes`
//!    rounded to 8 bits, as `inputs` are when they come; `exact` takes those that are bytes already.
//! 2. `avx512` and `avx2` are the small kernels under products and `attention` in f32, `amx_floats` under large products; `amx`, `vnni`
//!    and `avx2_bytes` those under products in 8 bits (`tiles` is what AMX works on, `rows` how far apart rows lie). The processor is
//!    asked which it has; each gives what plain loops give.
//! 3. [`Stack`] takes sequences through all layers of a tower, over buffers that are made once; everything between the
//!    products stays f32, `norm` and activations among it.
//!
//! Elsewhere, and in f16, candle's own products serve; nothing above `layers` and `encoder` knows which.

mod aligned;
mod amx;
mod amx_floats;
mod attention;
mod avx2;
mod avx2_bytes;
mod avx512;
mod bytes;
mod exact;
mod floats;
mod inputs;
mod norm;
mod parts;
mod place;
mod rows;
mod stack;
#[cfg(test)]
mod tests;
mod tiles;
mod vnni;

pub use exact::Exact;
pub use parts::{Parts, Precision, Sequence, Shape};
pub use stack::Stack;

use crate::models::act::{Activation, Block};
use crate::models::slice::slice;
use amx_floats::Split;
use bytes::Coded;
use candle_core::{Device, Tensor};
use candle_nn::Linear;
use floats::Packed;
use inputs::Inputs;
use rayon::prelude::*;
use rows::{Rows, RowsMut};
use std::ops::Range;

/// Rows that pass by one panel in one job: whole tiles of a kernel's `tile` rows.
const fn rows_of_a_job(tile: usize) -> usize {
    168 / tile * tile
}

/// Whether this machine can, in f32.
pub fn available() -> bool {
    avx2::available() || avx512::kernel().is_some()
}

/// Whether this machine can in 8 bits.
pub fn int8_available() -> bool {
    bytes::kernel().is_some()
}

/// That `out` has room for what becomes of the rows of `x`, `from` numbers each: `to` for each.
fn assert_fits(x: &Rows, from: usize, out: &RowsMut, to: usize) {
    assert!(x.width() == from && out.read().width() == to && out.read().count() >= x.count());
}

/// The rows of `range` in as few tiles of at most `most` rows as may be, all about as tall: a low one takes nearly as long as a tall one.
fn tiles_of(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (first, count) = (range.start, range.len());
    let tiles = count.div_ceil(most);
    (0..tiles).map(move |tile| first + tile * count / tiles..first + (tile + 1) * count / tiles)
}

/// Multiplications that are worth the handing over to another thread: ten microseconds of them.
const WORTH: usize = 1 << 20;

/// `jobs` of `each` multiplications on all threads: so few at a time that none waits long for another's last, so many that it pays.
fn share_out(jobs: usize, each: usize, work: impl Fn(usize) + Sync) {
    let least = WORTH / each.max(1) + 1;
    let most = (jobs / (16 * rayon::current_num_threads())).max(least);
    (0..jobs).into_par_iter().with_min_len(least).with_max_len(most).for_each(&work);
}

/// What becomes of a product.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It is written down.
    Write,
    /// It is added to what is there.
    Add,
    /// Its function is written down.
    Activate(Activation),
}

/// Applies the function, where `end` has one, to a tile that was just written and is still in the cache.
///
/// # Safety
/// `rows` rows at `c`, `stride` apart, of `columns` floats each, that no one else looks at.
#[inline(always)]
unsafe fn activate_tile(end: End, c: *mut f32, stride: usize, rows: usize, columns: usize) {
    let End::Activate(activation) = end else { return };
    // SAFETY: as the caller says.
    activation.apply(unsafe { Block::new(c, stride, rows, columns) });
}

/// A linear layer, laid out for this machine.
pub struct Matrix(Form);

enum Form {
    Floats(Packed),
    Bytes(Coded),
}

impl Matrix {
    /// Lays out `linear`, which must be f32 on the CPU.
    pub fn new(linear: &Linear, precision: Precision) -> candle_core::Result<Self> {
        let (to, from) = linear.weight().dims2()?;
        let bias = linear.bias().map_or(Ok(vec![0.0; to]), |bias| bias.to_vec1::<f32>())?;
        let form = slice(linear.weight(), |rows| {
            let floats = |split| Form::Floats(Packed::new(rows, &bias, from, floats::kernel(split)));
            Ok(match (precision, bytes::kernel()) {
                (Precision::Bytes, Some(kernel)) => Form::Bytes(Coded::new(rows, &bias, from, kernel)),
                (Precision::Half, _) => floats(Split::Two),
                _ => floats(Split::Three),
            })
        })?;
        Ok(Matrix(form))
    }

    /// x W^T + b, plus `onto` where given: (..., from) to (..., to).
    pub fn forward(&self, x: &Tensor, onto: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let mut shape = x.dims().to_vec();
        if shape.pop() != Some(self.from()) {
            candle_core::bail!("a layer of {} inputs was given {:?}", self.from(), x.shape());
        }
        shape.push(self.to());
        if onto.is_some_and(|onto| onto.dims() != shape) {
            candle_core::bail!("a product of shape {shape:?} can't be added onto another shape");
        }
        let rows = x.elem_count() / self.from().max(1);
        let (mut out, end) = match onto {
            Some(onto) => (slice(onto, |onto| Ok(onto.to_vec()))?, End::Add),
            None => (vec![0.0; rows * self.to()], End::Write),
        };
        slice(x, |x| {
            let (x, out) = (Rows::close(x, self.from()), RowsMut::close(&mut out, self.to()));
            self.product(x, out, end, &mut Inputs::default());
            Ok(())
        })?;
        Tensor::from_vec(out, shape, &Device::Cpu)
    }

    /// x W^T + b for the rows of `x`, brought to `end` in `out`; `inputs` is room for inputs in other numbers.
    fn product(&self, x: Rows, out: RowsMut, end: End, inputs: &mut Inputs) {
        match &self.0 {
            Form::Floats(packed) => packed.product(x, out, end, inputs),
            Form::Bytes(coded) => coded.product(x, out, end, inputs),
        }
    }

    fn from(&self) -> usize {
        match &self.0 {
            Form::Floats(packed) => packed.from,
            Form::Bytes(coded) => coded.from,
        }
    }

    fn to(&self) -> usize {
        match &self.0 {
            Form::Floats(packed) => packed.to,
            Form::Bytes(coded) => coded.to,
        }
    }
}
