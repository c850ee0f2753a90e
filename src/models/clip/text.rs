//! The text tower: token and position embeddings, a causal transformer, the state of the end token.

use super::BATCH;
use super::beginnings::Beginnings;
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
        Self::of(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>(), device)
    }

    fn of(texts: &[&[u32]], device: &Device) -> Result<Self> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
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

    /// The state of each text's last token, after the last layer and its norm: (texts, width). None of `texts` is empty.
    pub fn ends(&self, texts: &[Vec<u32>]) -> Result<Tensor> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        let tokens = texts.iter().map(Vec::len).sum();
        let states = match self.encoder.groups(tokens) {
            Some(groups) => {
                order.sort_by_key(|text| &texts[*text]);
                self.joined_ends(texts, &order, groups)?
            }
            None => {
                order.sort_by_key(|text| texts[*text].len());
                self.padded_ends(texts, &order)?
            }
        };
        let mut places = vec![0u32; order.len()];
        order.iter().zip(0..).for_each(|(text, place)| places[*text] = place);
        let states = states.index_select(&Tensor::new(places, states.device())?, 0)?;
        Ok(self.final_norm.forward(&states)?)
    }

    /// The states in `order`, neighbours in which begin alike.
    fn joined_ends(&self, texts: &[Vec<u32>], order: &[usize], groups: usize) -> Result<Tensor> {
        let parts: Vec<&[usize]> = order.chunks(order.len().div_ceil(groups).max(1)).collect();
        let states = self.encoder.forward_ends(parts.len(), |at| {
            let texts: Vec<&[u32]> = parts[at].iter().map(|text| texts[*text].as_slice()).collect();
            let Beginnings { tokens, positions, sequences } = Beginnings::of(&texts);
            let rows =
                |table: &Embedding, at| table.embeddings().index_select(&Tensor::new(at, &Device::Cpu)?, 0);
            Ok(((rows(&self.tokens, tokens)? + rows(&self.positions, positions)?)?, sequences))
        })?;
        let width = self.tokens.embeddings().dim(1)?;
        Ok(Tensor::from_vec(states, (order.len(), width), &Device::Cpu)?)
    }

    /// The states in `order`, neighbours in which are about as long.
    fn padded_ends(&self, texts: &[Vec<u32>], order: &[usize]) -> Result<Tensor> {
        let (mut states, mut rest) = (Vec::new(), order);
        while let Some(shortest) = rest.first() {
            // Short texts do not pay for long ones: a batch's texts are of about one length.
            let longest = texts[*shortest].len() + texts[*shortest].len() / 4 + 1;
            let alike = rest.iter().take(BATCH).take_while(|text| texts[**text].len() <= longest).count();
            let (batch, after) = rest.split_at(alike);
            rest = after;
            let batch: Vec<&[u32]> = batch.iter().map(|text| texts[*text].as_slice()).collect();
            let ends: Vec<usize> = batch.iter().map(|ids| ids.len() - 1).collect();
            let batch = TokenBatch::of(&batch, self.tokens.embeddings().device())?;
            states.push(self.encoder.forward_at(&self.embed(&batch)?, &ends)?);
        }
        Ok(Tensor::cat(&states, 0)?)
    }

    /// What goes into the first layer: (batch, longest, width).
    fn embed(&self, batch: &TokenBatch) -> Result<Tensor> {
        let (tokens, positions) = (self.tokens.embeddings(), self.positions.embeddings());
        Ok(with_positions(tokens, &batch.ids, positions)?.to_dtype(self.dtype)?)
    }
}
