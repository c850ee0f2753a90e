//! Weights in f32, laid out as the kernel reads them.

use super::{End, PANEL, avx512};
use rayon::prelude::*;

/// A linear layer whose weights are laid out in panels.
pub(super) struct Packed {
    /// Panel by panel, input by input, 48 outputs: (panels, from, 48), filled up with zeros.
    pub weights: Vec<f32>,
    /// (panels x 48), filled up with zeros.
    pub bias: Vec<f32>,
    pub from: usize,
    pub to: usize,
}

impl Packed {
    /// Packs `rows`, (to, from), and `bias`, (to).
    pub fn new(rows: &[f32], bias: &[f32], from: usize) -> Self {
        let to = bias.len();
        let panels = to.div_ceil(PANEL);
        let mut weights = vec![0.0; panels * from * PANEL];
        let panel = (PANEL * from).max(1);
        weights.par_chunks_mut(panel).zip(rows.par_chunks(panel)).for_each(|(panel, rows)| {
            for (output, row) in rows.chunks_exact(from.max(1)).enumerate() {
                for (slots, weight) in panel.chunks_exact_mut(PANEL).zip(row) {
                    slots[output] = *weight;
                }
            }
        });
        let mut bias = bias.to_vec();
        bias.resize(panels * PANEL, 0.0);
        Packed { weights, bias, from, to }
    }

    /// x W^T + b for the rows of `x`, brought to `end` in `out`.
    pub fn product(&self, x: &[f32], rows: usize, out: &mut [f32], end: End) {
        avx512::product(self, x, rows, out, end);
    }
}
