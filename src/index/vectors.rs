//! One vector: what is refused, and what is made unit length.

use super::params::MAX_DIM;
use crate::error::{Error, Result};
use crate::simd::widest;

/// Whether vectors of `dim` numbers can be indexed.
pub fn check_dim(dim: usize) -> Result<()> {
    if dim == 0 || dim > MAX_DIM {
        return Err(Error::invalid(format!("vectors of {dim} numbers"), format!("1 to {MAX_DIM} numbers")));
    }
    Ok(())
}

widest! {
    /// `vector` at unit length, after checking that it has `dim` finite numbers that are not all zero.
    pub fn unit(vector: &[f32], dim: usize) -> Result<Vec<f32>> {
        let refuse = |reason: String| Err(Error::Vector { reason });
        if vector.len() != dim {
            return refuse(format!("it has {} numbers where the index holds vectors of {dim}", vector.len()));
        }
        // Summed in f64: the squares of finite f32 neither overflow nor vanish there. Eight sums side by side, which the
        // compiler may keep in one register.
        let mut sums = [0.0f64; 8];
        let (eights, rest) = vector.as_chunks::<8>();
        let mut add =
            |some: &[f32]| sums.iter_mut().zip(some).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
        eights.iter().for_each(|eight| add(eight));
        add(rest);
        let norm = sums.iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            let at = vector.iter().position(|x| !x.is_finite()).unwrap_or_default();
            return refuse(format!("number {at} is not finite"));
        }
        if norm == 0.0 {
            return refuse("all its numbers are zero, so it points nowhere".into());
        }
        let scale = 1.0 / norm;
        Ok(vector.iter().map(|&x| (f64::from(x) * scale) as f32).collect())
    }
}
