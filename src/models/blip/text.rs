//! The text side: BERT's layers with cross-attention (Li et al. 2022, arXiv:2201.12086, section 3.1). The same module reads a
//! text alone, reads it beside what it looks at, and writes.

use super::config::BlipConfig;
use super::cross::{CrossAttention, Source};
use crate::Result;
use crate::models::act::Activation;
use crate::models::layers::{Product, attend, split_heads};
use crate::models::weights::Scope;
use candle_core::{DType, Device, Tensor};
use candle_nn::{LayerNorm, Linear, Module};

/// Token and position embeddings, then layers.
pub struct TextModel {
    words: Tensor,
    positions: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

struct Layer {
    qkv: Product,
    out: Product,
    norm: LayerNorm,
    cross: CrossAttention,
    fc1: Product,
    activation: Activation,
    fc2: Product,
    final_norm: LayerNorm,
    heads: usize,
}

/// The keys and values of what each row of a batch has read, layer by layer: (rows, heads, length, width of a head).
pub struct Past {
    layers: Vec<Option<(Tensor, Tensor)>>,
    length: usize,
}

impl Past {
    /// Nothing read yet, for a model of `layers` layers.
    pub fn new(layers: usize) -> Self {
        Past { layers: vec![None; layers], length: 0 }
    }

    /// Goes on with the rows `kept`.
    pub fn keep(&mut self, kept: &Tensor) -> Result<()> {
        for (keys, values) in self.layers.iter_mut().flatten() {
            *keys = keys.index_select(kept, 0)?;
            *values = values.index_select(kept, 0)?;
        }
        Ok(())
    }
}

impl TextModel {
    /// Reads `embeddings.*` and `encoder.layer.N.*` under `scope`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming a tensor that is missing or misshapen.
    pub fn load(scope: &Scope, config: &BlipConfig) -> Result<Self> {
        let (text, embeddings, layers) = (&config.text, scope.pp("embeddings"), scope.pp("encoder.layer"));
        let width = text.hidden_size;
        Ok(TextModel {
            words: embeddings.get("word_embeddings.weight", (text.vocab_size, width))?,
            positions: embeddings.get("position_embeddings.weight", (text.max_position_embeddings, width))?,
            norm: embeddings.layer_norm("LayerNorm", width, text.layer_norm_eps)?,
            layers: (0..text.num_hidden_layers)
                .map(|n| Layer::load(&layers.pp(n), config))
                .collect::<Result<_>>()?,
        })
    }

    /// How many layers there are.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// The table of word embeddings, (vocabulary, width).
    pub fn words(&self) -> &Tensor {
        &self.words
    }

    /// The cross-attention of each layer.
    pub fn crosses(&self) -> impl Iterator<Item = &CrossAttention> {
        self.layers.iter().map(|layer| &layer.cross)
    }

    /// The states after `depth` layers, (rows, length, width), of `ids`, (rows, length): every token sees every other that
    /// `mask` (as [`attend`]'s) lets it see, and the source that its row looks at. With no sources, the text alone.
    pub fn read(
        &self,
        ids: &Tensor,
        mask: Option<&Tensor>,
        sources: &[Source],
        depth: usize,
    ) -> Result<Tensor> {
        let mut x = self.embed(ids, 0)?;
        for (number, layer) in self.layers.iter().take(depth).enumerate() {
            x = layer.forward(&x, mask, None, sources, number)?;
        }
        Ok(x)
    }

    /// The states after the last layer of `ids`, (rows, length), which go on from `past`: every token sees those before it.
    pub fn go_on(&self, ids: &Tensor, past: &mut Past, sources: &[Source]) -> Result<Tensor> {
        let length = ids.dim(1)?;
        let mask = causal_mask(length, past.length, ids.device())?;
        let mut x = self.embed(ids, past.length)?;
        for (number, (layer, past)) in self.layers.iter().zip(&mut past.layers).enumerate() {
            x = layer.forward(&x, mask.as_ref(), Some(past), sources, number)?;
        }
        past.length += length;
        Ok(x)
    }

    fn embed(&self, ids: &Tensor, start: usize) -> Result<Tensor> {
        let (rows, length) = ids.dims2()?;
        let words = self.words.index_select(&ids.flatten_all()?, 0)?.reshape((rows, length, ()))?;
        let x = words.broadcast_add(&self.positions.narrow(0, start, length)?)?;
        Ok(self.norm.forward(&x)?)
    }
}

/// (1, 1, length, before + length) f32; none where a single token looks back.
fn causal_mask(length: usize, before: usize, device: &Device) -> Result<Option<Tensor>> {
    if length == 1 {
        return Ok(None);
    }
    let seen = |query| {
        (0..before + length).map(move |key| if key <= before + query { 0.0f32 } else { f32::NEG_INFINITY })
    };
    let mask: Vec<f32> = (0..length).flat_map(seen).collect();
    Ok(Some(Tensor::from_vec(mask, (1, 1, length, before + length), device)?))
}

impl Layer {
    fn load(scope: &Scope, config: &BlipConfig) -> Result<Self> {
        let text = &config.text;
        let (width, inner, eps) = (text.hidden_size, text.intermediate_size, text.layer_norm_eps);
        let (attention, output) = (scope.pp("attention.output"), scope.pp("output"));
        Ok(Layer {
            qkv: scope.pp("attention.self").product_stacked(&["query", "key", "value"], width, width)?,
            out: attention.product("dense", width, width)?,
            norm: attention.layer_norm("LayerNorm", width, eps)?,
            cross: CrossAttention::load(&scope.pp("crossattention"), config)?,
            fc1: scope.product("intermediate.dense", width, inner)?,
            activation: text.hidden_act,
            fc2: output.product("dense", inner, width)?,
            final_norm: output.layer_norm("LayerNorm", width, eps)?,
            heads: text.num_attention_heads,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        past: Option<&mut Option<(Tensor, Tensor)>>,
        sources: &[Source],
        number: usize,
    ) -> Result<Tensor> {
        let x = self.norm.forward(&self.attention(x, mask, past)?)?;
        let x = if sources.is_empty() { x } else { self.cross.forward(&x, sources, number)? };
        let inner = self.activation.forward(self.fc1.forward(&x)?)?;
        Ok(self.final_norm.forward(&self.fc2.forward_onto(&inner, &x)?)?)
    }

    /// x plus what its tokens see in one another.
    fn attention(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        past: Option<&mut Option<(Tensor, Tensor)>>,
    ) -> Result<Tensor> {
        let (rows, length, width) = x.dims3()?;
        let qkv = split_heads(&self.qkv.forward(x)?, 3, self.heads)?;
        let (q, mut keys, mut values) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
        if let Some(past) = past {
            if let Some((before_keys, before_values)) = past.take() {
                keys = Tensor::cat(&[&before_keys, &keys], 2)?;
                values = Tensor::cat(&[&before_values, &values], 2)?;
            }
            *past = Some((keys.clone(), values.clone()));
        }
        let mixed = attend(&q, &keys, &values, mask)?.transpose(1, 2)?.reshape((rows, length, width))?;
        self.out.forward_onto(&mixed, x)
    }
}

/// What makes logits of a decoder's states.
pub struct Head {
    dense: Linear,
    activation: Activation,
    norm: LayerNorm,
    decoder: Linear,
}

impl Head {
    /// Reads `transform.*` and the output layer under `scope`, `cls.predictions`. Files often leave out the output weights,
    /// which are the word embeddings `words`, and have the bias under one of two names.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming a tensor that is missing or misshapen.
    pub fn load(scope: &Scope, config: &BlipConfig, words: &Tensor) -> Result<Self> {
        let text = &config.text;
        let (width, vocab) = (text.hidden_size, text.vocab_size);
        let transform = scope.pp("transform");
        let weight = match scope.has("decoder.weight") {
            true => scope.get("decoder.weight", (vocab, width))?,
            false => words.clone(),
        };
        let bias = match scope.has("decoder.bias") && !scope.has("bias") {
            true => "decoder.bias",
            false => "bias",
        };
        Ok(Head {
            dense: transform.linear("dense", width, width)?,
            activation: text.hidden_act,
            norm: transform.layer_norm("LayerNorm", width, text.layer_norm_eps)?,
            decoder: Linear::new(weight, Some(scope.get(bias, vocab)?)),
        })
    }

    /// Logits, (rows, vocabulary) in f32, of states (rows, width).
    pub fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let x = self.activation.forward(self.dense.forward(states)?)?;
        Ok(self.decoder.forward(&self.norm.forward(&x)?)?.to_dtype(DType::F32)?)
    }
}
