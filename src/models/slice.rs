//! A tensor's numbers, where they lie.

use candle_core::{Storage, Tensor, WithDType};

/// Hands the values of `x`, f32 on the CPU, to `use_it`.
pub fn slice<T>(x: &Tensor, use_it: impl FnOnce(&[f32]) -> candle_core::Result<T>) -> candle_core::Result<T> {
    slice_of(x, use_it)
}

/// Hands the values of `x`, of that type and on the CPU, to `use_it`.
pub fn slice_of<N: WithDType, T>(
    x: &Tensor,
    use_it: impl FnOnce(&[N]) -> candle_core::Result<T>,
) -> candle_core::Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(values), Some((start, end))) => use_it(&values.as_slice::<N>()?[start..end]),
        _ => candle_core::bail!("its numbers have to be {:?} on the CPU", N::DTYPE),
    }
}
