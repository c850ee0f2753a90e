//! Llama (Touvron et al. 2023, arXiv:2302.13971) and Mistral (Jiang et al. 2023, arXiv:2310.06825): the language models that
//! LLaVA speaks with.
//!
//! 1. `config` reads the sizes.
//! 2. `source` finds each tensor: in the checkpoint's files, or in a `.gguf` under llama.cpp's names; `matrix` holds it dense
//!    or quantized.
//! 3. `layer` is one block; `rope` turns queries and keys by their positions; `cache` keeps keys and values.
//! 4. Here tokens of one or several sequences go through all blocks at once, each sequence attending only to itself.

mod cache;
mod config;
mod gguf;
mod layer;
mod matrix;
mod rope;
mod source;

pub use cache::Cache;
pub use config::{LlamaConfig, Scaling};
pub use gguf::Gguf;
pub use matrix::Quantize;
pub use source::Source;

use crate::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, RmsNorm};
use layer::Layer;
use matrix::{Matrix, Table};
use rope::Rope;
use source::Name;

/// A causal language model.
pub struct Llama {
    table: Table,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Matrix,
    rope: Rope,
    vocab: usize,
    config: LlamaConfig,
    device: Device,
    dtype: DType,
}

/// The tokens that one sequence adds in a forward pass.
pub struct Span<'a> {
    /// What the sequence has seen; grows by `len`.
    pub cache: &'a mut Cache,
    /// How many rows of the pass are this sequence's.
    pub len: usize,
}

impl Llama {
    /// Reads the model that `config` describes from `source`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming a tensor that is missing or misshapen.
    pub fn load(source: &Source, config: &LlamaConfig) -> Result<Self> {
        let (width, vocab) = (config.hidden_size, source.vocab(config)?);
        let head = match config.tie_word_embeddings || !source.has(&Name::Head) {
            true if source.has(&Name::Table) => Name::Table,
            _ => Name::Head,
        };
        Ok(Llama {
            table: source.table(&Name::Table, vocab, width)?,
            layers: (0..config.layers).map(|n| Layer::load(source, config, n)).collect::<Result<_>>()?,
            norm: RmsNorm::new(source.vector(&Name::Norm, width)?, config.eps),
            head: source.head(&head, width, vocab)?,
            rope: Rope::new(config, source.interleaved()),
            vocab,
            config: config.clone(),
            device: source.device().clone(),
            dtype: source.dtype(),
        })
    }

    /// The sizes.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// How many tokens it knows.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Where computing happens.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The numbers that hidden states are in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// An empty cache with room for `tokens`.
    pub fn cache(&self, tokens: usize) -> Cache {
        Cache::new(self.layers.len(), tokens)
    }

    /// What a cache of `tokens` takes, in bytes.
    pub fn cache_bytes(&self, tokens: usize) -> usize {
        2 * self.layers.len()
            * self.config.kv_heads
            * self.config.head_dim
            * tokens
            * self.dtype.size_in_bytes()
    }

    /// The embeddings of `ids`: (tokens, width).
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.table.rows(&Tensor::new(ids, &self.device)?, self.dtype)
    }

    /// The states after the last norm, (tokens, width), of the embeddings `x`, (tokens, width): the rows of the first span,
    /// then of the second, and so on.
    ///
    /// # Errors
    /// [`crate::Error::Compute`] when the spans do not add up to the rows of `x`, or the device fails.
    pub fn forward(&self, x: &Tensor, spans: &mut [Span]) -> Result<Tensor> {
        let states = self.states(x, spans, self.layers.len())?;
        Ok(self.norm.forward(&states)?)
    }

    /// transformers' `hidden_states[depth]` of one sequence `x`, (tokens, width): 0 is `x` itself, and the last one has gone
    /// through the last norm.
    pub fn hidden_states(&self, x: &Tensor, depth: usize) -> Result<Tensor> {
        let len = x.dim(0)?;
        let mut cache = self.cache(len);
        let states = self.states(x, &mut [Span { cache: &mut cache, len }], depth)?;
        match depth == self.layers.len() {
            true => Ok(self.norm.forward(&states)?),
            false => Ok(states),
        }
    }

    /// The scores of every token to come next, (rows, vocabulary) in f32, from normed states (rows, width).
    pub fn logits(&self, states: &Tensor) -> Result<Tensor> {
        Ok(self.head.forward(states)?.to_dtype(DType::F32)?)
    }

    fn states(&self, x: &Tensor, spans: &mut [Span], depth: usize) -> Result<Tensor> {
        let turns = self.rope.turns(spans, &self.device, self.dtype)?;
        let masks = spans
            .iter()
            .map(|span| layer::mask(span.cache.len(), span.len, &self.config, &self.device))
            .collect::<Result<Vec<_>>>()?;
        let mut x = x.to_dtype(self.dtype)?;
        for (n, layer) in self.layers.iter().take(depth).enumerate() {
            x = layer.forward(&x, &turns, spans, &masks, n)?;
        }
        Ok(x)
    }
}
