//! A tensor's numbers, where they lie.

use candle_core::{CpuStorage, Storage, Tensor};

/// Hands the values of `x`, f32 on the CPU, to `use_it`.
pub fn slice<T>(x: &Tensor, use_it: impl FnOnce(&[f32]) -> candle_core::Result<T>) -> candle_core::Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => use_it(&values[start..end]),
        _ => candle_core::bail!("its numbers have to be f32 on the CPU"),
    }
}
