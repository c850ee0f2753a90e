//! One block: attention, then a gated MLP, each behind an RMS norm and added to the stream.

use super::Span;
use super::config::LlamaConfig;
use super::matrix::Matrix;
use super::rope::Turns;
use super::source::{Name, Source};
use crate::Result;
use crate::models::act::Activation;
use crate::models::layers::attend;
use candle_core::{Device, Tensor};
use candle_nn::{Module, RmsNorm};

pub(super) struct Layer {
    norm1: RmsNorm,
    attention: Attention,
    norm2: RmsNorm,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    activation: Activation,
}

struct Attention {
    q: Matrix,
    k: Matrix,
    v: Matrix,
    out: Matrix,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Layer {
    pub fn load(source: &Source, config: &LlamaConfig, n: usize) -> Result<Self> {
        let (width, inner, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        let name = |part| Name::Layer(n, part);
        Ok(Layer {
            norm1: RmsNorm::new(source.vector(&name("input_layernorm"), width)?, config.eps),
            attention: Attention::load(source, config, n)?,
            norm2: RmsNorm::new(source.vector(&name("post_attention_layernorm"), width)?, config.eps),
            gate: source.matrix(&name("mlp.gate_proj"), width, inner, bias)?,
            up: source.matrix(&name("mlp.up_proj"), width, inner, bias)?,
            down: source.matrix(&name("mlp.down_proj"), inner, width, bias)?,
            activation: config.hidden_act,
        })
    }

    /// `x`, (tokens, width), through the block, which is the `n`th of its model.
    pub fn forward(
        &self,
        x: &Tensor,
        turns: &Turns,
        spans: &mut [Span],
        masks: &[Option<Tensor>],
        n: usize,
    ) -> Result<Tensor> {
        let x = (x + self.attention.forward(&self.norm1.forward(x)?, turns, spans, masks, n)?)?;
        let seen = self.norm2.forward(&x)?;
        let inner = (self.activation.forward(self.gate.forward(&seen)?)? * self.up.forward(&seen)?)?;
        Ok((x + self.down.forward(&inner)?)?)
    }
}

impl Attention {
    fn load(source: &Source, config: &LlamaConfig, n: usize) -> Result<Self> {
        let LlamaConfig { hidden_size: width, heads, kv_heads, head_dim, attention_bias: bias, .. } = *config;
        let name = |part| Name::Layer(n, part);
        Ok(Attention {
            q: source.matrix(&name("self_attn.q_proj"), width, heads * head_dim, bias)?,
            k: source.matrix(&name("self_attn.k_proj"), width, kv_heads * head_dim, bias)?,
            v: source.matrix(&name("self_attn.v_proj"), width, kv_heads * head_dim, bias)?,
            out: source.matrix(&name("self_attn.o_proj"), heads * head_dim, width, bias)?,
            heads,
            kv_heads,
            head_dim,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        turns: &Turns,
        spans: &mut [Span],
        masks: &[Option<Tensor>],
        n: usize,
    ) -> Result<Tensor> {
        let q = turns.apply(&split(&self.q.forward(x)?, self.heads, self.head_dim)?)?;
        let k = turns.apply(&split(&self.k.forward(x)?, self.kv_heads, self.head_dim)?)?;
        let v = split(&self.v.forward(x)?, self.kv_heads, self.head_dim)?;
        let (mut mixed, mut at) = (Vec::with_capacity(spans.len()), 0);
        for (span, mask) in spans.iter_mut().zip(masks) {
            let rows = |t: &Tensor| t.narrow(1, at, span.len)?.contiguous();
            let (k, v) = span.cache.append(n, &rows(&k)?, &rows(&v)?)?;
            mixed.push(self.look_back(&rows(&q)?, &k, &v, mask.as_ref())?);
            at += span.len;
        }
        let mixed = match mixed.as_slice() {
            [one] => one.clone(),
            many => Tensor::cat(many, 0)?,
        };
        self.out.forward(&mixed)
    }

    /// What each of the queries `q`, (heads, new tokens, width of a head), finds in the values `v` by the keys `k`,
    /// (key heads, all tokens, width of a head): (new tokens, heads side by side).
    fn look_back(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (_, len, width) = q.dims3()?;
        // Query heads that share a key head are rows of one product: keys need no copies.
        let q = q.reshape((self.kv_heads, self.heads / self.kv_heads * len, width))?;
        let mixed = attend(&q, k, v, mask)?.reshape((self.heads, len, width))?;
        Ok(mixed.transpose(0, 1)?.reshape((len, self.heads * width))?)
    }
}

/// (tokens, heads * width) as (heads, tokens, width).
fn split(x: &Tensor, heads: usize, width: usize) -> Result<Tensor> {
    let tokens = x.dim(0)?;
    Ok(x.reshape((tokens, heads, width))?.transpose(0, 1)?.contiguous()?)
}

/// What is added to the scores of `len` new tokens after `seen` ones, (query heads a key head * len, seen + len) in f32, so
/// that none looks ahead, nor back beyond the window, itself included. None where all may be seen.
pub(super) fn mask(seen: usize, len: usize, config: &LlamaConfig, device: &Device) -> Result<Option<Tensor>> {
    let (total, sharing) = (seen + len, config.heads / config.kv_heads);
    let window = config.window.unwrap_or(usize::MAX);
    if len <= 1 && total <= window {
        return Ok(None);
    }
    let row = |at: usize| {
        (0..total).map(move |key| match key <= at && at - key < window {
            true => 0.0,
            false => f32::NEG_INFINITY,
        })
    };
    let values: Vec<f32> = (seen..total).flat_map(row).collect();
    Ok(Some(Tensor::from_vec(values.repeat(sharing), (sharing * len, total), device)?))
}
