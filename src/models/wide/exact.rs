//! Products of inputs that are bytes as they come, as pixels are: nothing is lost of them. Weights are rounded twice, w = s c + t d, where d
//! is what c left, so that they are good to 16 bits; both halves are products in 8 bits.

use super::End;
use super::bytes::{self, Coded, Kernel};
use super::inputs::Inputs;
use super::rows::RowsMut;

/// A linear layer over bytes.
pub struct Exact {
    coarse: Coded,
    fine: Coded,
}

impl Exact {
    /// Lays out `rows`, (to, from), and `bias`, (to); None where this machine has no kernel in 8 bits.
    pub fn new(rows: &[f32], bias: &[f32], from: usize) -> Option<Self> {
        bytes::kernel().map(|kernel| Exact::by(kernel, rows, bias, from))
    }

    pub(super) fn by(kernel: &'static Kernel, rows: &[f32], bias: &[f32], from: usize) -> Self {
        let coarse = Coded::new(rows, bias, from, kernel);
        let fine = Coded::new(&coarse.left_of(rows), &vec![0.0; bias.len()], from, kernel);
        Exact { coarse, fine }
    }

    /// x W^T + b for each row of `x`, (rows, from): (rows, to).
    pub fn forward(&self, x: &[u8]) -> Vec<f32> {
        let Coded { from, to, kernel, .. } = self.coarse;
        let mut inputs = Inputs::default();
        inputs.lay(x, from, kernel);
        let rows = x.len() / from.max(1);
        let mut values = vec![0.0; rows * to];
        let mut out = RowsMut::close(&mut values, to);
        self.coarse.multiply(&inputs, rows, &mut out, End::Write);
        self.fine.multiply(&inputs, rows, &mut out, End::Add);
        values
    }
}
