//! Cross-attention: how a text looks at a picture, or an answer at its question.
//!
//! Keys and values of a source are the same for every text that looks at it. Where many do, or one token after another
//! ([`Source::project`]), they are computed once and kept. Where a few tokens look once, as in reranking, it is cheaper not
//! to compute them at all: (q W_k^T) s^T is q (s W_k)^T, with the small factor first, and the bias of the keys shifts all
//! scores of a query alike, which a softmax doesn't see.

use super::config::BlipConfig;
use super::text::TextModel;
use crate::Result;
use crate::models::layers::{Product, attend};
use crate::models::weights::Scope;
use candle_core::{D, DType, Tensor};
use candle_nn::{LayerNorm, Linear, Module};
use rayon::prelude::*;
use std::sync::Arc;

/// What some rows of a batch look at.
#[derive(Clone)]
pub struct Source {
    /// How many rows, one after another, look at it.
    pub rows: usize,
    seen: Seen,
}

#[derive(Clone)]
enum Seen {
    /// (length, width), looked at once.
    States(Tensor),
    /// Keys and values of each layer, both (heads, length, width of a head).
    Projected(Arc<Vec<(Tensor, Tensor)>>),
}

impl Source {
    /// `states`, (length, width), which `rows` rows will look at once.
    pub fn new(states: Tensor, rows: usize) -> Self {
        Source { rows, seen: Seen::States(states) }
    }

    /// The same with the keys and values that `model` looks at.
    pub fn project(self, model: &TextModel) -> Result<Self> {
        let seen = match self.seen {
            Seen::States(states) => Seen::Projected(Arc::new(
                model.crosses().map(|cross| cross.project(&states)).collect::<Result<Vec<_>>>()?,
            )),
            projected => projected,
        };
        Ok(Source { rows: self.rows, seen })
    }

    /// The same for another number of rows.
    pub fn with_rows(&self, rows: usize) -> Self {
        Source { rows, seen: self.seen.clone() }
    }
}

/// One layer's cross-attention, with its output and norm.
pub struct CrossAttention {
    query: Product,
    /// Keys and values in one product.
    kv: Linear,
    out: Product,
    norm: LayerNorm,
    heads: usize,
}

impl CrossAttention {
    /// Reads `self.*` and `output.*` under `scope`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming a tensor that is missing or misshapen.
    pub fn load(scope: &Scope, config: &BlipConfig) -> Result<Self> {
        let (attention, output) = (scope.pp("self"), scope.pp("output"));
        let (width, seen) = (config.text.hidden_size, config.vision.hidden_size);
        Ok(CrossAttention {
            query: attention.product("query", width, width)?,
            kv: attention.linear_stacked(&["key", "value"], seen, width)?,
            out: output.product("dense", width, width)?,
            norm: output.layer_norm("LayerNorm", width, config.text.layer_norm_eps)?,
            heads: config.text.num_attention_heads,
        })
    }

    /// x, (rows, length, width), plus what each row sees, normed. `layer` is this layer's number.
    pub fn forward(&self, x: &Tensor, sources: &[Source], layer: usize) -> Result<Tensor> {
        let (rows, length, width) = x.dims3()?;
        // By source, the rows that look at it are queries like any other: (heads, tokens, width of a head).
        let q = self.query.forward(x)?.reshape((rows * length, self.heads, width / self.heads))?;
        let starts = sources.iter().scan(0, |at, source| {
            *at += source.rows * length;
            Some(*at - source.rows * length)
        });
        let jobs: Vec<_> = sources.iter().zip(starts).filter(|(source, _)| source.rows > 0).collect();
        let seen = |(source, start): &(&Source, usize)| -> Result<Tensor> {
            let q = q.narrow(0, *start, source.rows * length)?.transpose(0, 1)?.contiguous()?;
            let mixed = match &source.seen {
                Seen::States(states) => self.look(&q, states)?,
                Seen::Projected(layers) => match layers.get(layer) {
                    Some((keys, values)) => attend(&q, keys, values, None)?,
                    None => q,
                },
            };
            Ok(mixed.transpose(0, 1)?.reshape((source.rows * length, width))?)
        };
        let mixed = match x.device().is_cpu() && jobs.len() > 1 {
            true => jobs.par_iter().map(seen).collect::<Result<Vec<_>>>()?,
            false => jobs.iter().map(seen).collect::<Result<Vec<_>>>()?,
        };
        let mixed = Tensor::cat(&mixed, 0)?.reshape((rows, length, width))?;
        Ok(self.norm.forward(&self.out.forward_onto(&mixed, x)?)?)
    }

    /// Keys and values of `states`, (length, width seen): (heads, length, width of a head) each.
    fn project(&self, states: &Tensor) -> Result<(Tensor, Tensor)> {
        let length = states.dim(0)?;
        let kv = self
            .kv
            .forward(states)?
            .reshape((length, 2, self.heads, ()))?
            .permute((1, 2, 0, 3))?
            .contiguous()?;
        Ok((kv.get(0)?, kv.get(1)?))
    }

    /// What q, (heads, tokens, width of a head), sees in `states`, by the way that costs less.
    fn look(&self, q: &Tensor, states: &Tensor) -> Result<Tensor> {
        let (heads, tokens, head) = q.dims3()?;
        let (length, seen) = states.dims2()?;
        let width = heads * head;
        let (folded, projected) =
            (tokens * seen * (width + heads * length), length * width * (seen + tokens));
        // f16 would overflow in the product with the states.
        if folded >= projected || states.dtype() != DType::F32 {
            let (keys, values) = self.project(states)?;
            return attend(q, &keys, &values, None);
        }
        let part =
            |number: usize| self.kv.weight().narrow(0, number * width, width)?.reshape((heads, head, seen));
        let scale = (head as f64).powf(-0.5);
        let folded = (q * scale)?.matmul(&part(0)?)?.reshape((heads * tokens, seen))?;
        let shares = candle_nn::ops::softmax_last_dim(&folded.matmul(&states.t()?)?)?;
        let mixed = shares.matmul(states)?.reshape((heads, tokens, seen))?;
        let mixed = mixed.matmul(&part(1)?.transpose(D::Minus1, D::Minus2)?)?;
        Ok(match self.kv.bias() {
            Some(bias) => mixed.broadcast_add(&bias.narrow(0, width, width)?.reshape((heads, 1, head))?)?,
            None => mixed,
        })
    }
}
