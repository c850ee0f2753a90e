//! The text tower: token and position embeddings, a causal transformer, the state of the end token.

use super::config::TextConfig;
use crate::Result;
use crate::models::encoder::{AttentionNames, Encoder, EncoderConfig};
use crate::models::layers::with_positions;
use crate::models::weights::Scope;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Embedding, LayerNorm, Module};

/// CLIP's text transformer.
pub struct TextTower {
    tokens: Embedding,
    positions: Embedding,
    encoder: Encoder,
    final_norm: LayerNorm,
    dtype: DType,
}

/// Which token's state stands for the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The one with the highest id: OpenAI's rule, meant wherever a config has the (wrong) `eos_token_id` 2.
    HighestId,
    /// The first with this id.
    FirstOf(u32),
}

impl Pooling {
    /// The rule that a config's `eos_token_id` means.
    pub fn of(config: &TextConfig) -> Self {
        match config.eos_token_id.as_ref().and_then(|id| id.first()) {
            Some(2) | None => Pooling::HighestId,
            Some(id) => Pooling::FirstOf(id),
        }
    }

    /// The position of the pooled token in `ids`; None when there is none.
    pub fn position(self, ids: &[u32]) -> Option<usize> {
        match self {
            // `max_by_key` takes the last of equals; torch's argmax takes the first.
            Pooling::HighestId => ids.iter().max().and_then(|max| ids.iter().position(|id| id == max)),
            Pooling::FirstOf(eos) => ids.iter().position(|id| *id == eos),
        }
    }
}

/// Texts of unequal lengths as one rectangle.
pub struct TokenBatch {
    /// (batch, longest) u32; what is past a text's end is `0`.
    ids: Tensor,
}

impl TokenBatch {
    /// Pads `texts`, none of them empty, to the longest.
    pub fn new(texts: &[Vec<u32>], device: &Device) -> Result<Self> {
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(texts.len() * longest);
        for text in texts {
            ids.extend_from_slice(text);
            ids.resize(ids.len() + longest - text.len(), 0);
        }
        Ok(TokenBatch { ids: Tensor::from_vec(ids, (texts.len(), longest), device)? })
    }
}

impl TextTower {
    /// Reads `embeddings.*`, `encoder.*` and `final_layer_norm.*` under `scope`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming a tensor that is missing or misshapen.
    pub fn load(scope: &Scope, config: &TextConfig) -> Result<Self> {
        let width = config.hidden_size;
        let embeddings = scope.pp("embeddings");
        let encoder = EncoderConfig {
            width,
            inner: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            // So that no token looks past its text's end but those that are past it themselves.
            causal: true,
            activation: config.hidden_act,
            eps: config.layer_norm_eps,
            names: AttentionNames::Apart,
        };
        Ok(TextTower {
            tokens: embeddings.embedding("token_embedding", config.vocab_size, width)?,
            positions: embeddings.embedding("position_embedding", config.max_position_embeddings, width)?,
            encoder: Encoder::load(&scope.pp("encoder"), &encoder)?,
            final_norm: scope.layer_norm("final_layer_norm", width, config.layer_norm_eps)?,
            dtype: scope.dtype(),
        })
    }

    /// How many layers there are.
    pub fn depth(&self) -> usize {
        self.encoder.depth()
    }

    /// The hidden states after `depth` layers, (batch, longest, width): transformers' `hidden_states[depth]`. Rows past a
    /// text's end mean nothing.
    pub fn hidden_states(&self, batch: &TokenBatch, depth: usize) -> Result<Tensor> {
        self.encoder.forward(&self.embed(batch)?, depth)
    }

    /// The states of the tokens at `positions`, one a text, after the last layer and its norm: (batch, width).
    pub fn forward(&self, batch: &TokenBatch, positions: &[usize]) -> Result<Tensor> {
        let pooled = self.encoder.forward_at(&self.embed(batch)?, positions)?;
        Ok(self.final_norm.forward(&pooled)?)
    }

    /// What goes into the first layer: (batch, longest, width).
    fn embed(&self, batch: &TokenBatch) -> Result<Tensor> {
        let (tokens, positions) = (self.tokens.embeddings(), self.positions.embeddings());
        Ok(with_positions(tokens, &batch.ids, positions)?.to_dtype(self.dtype)?)
    }
}
