//! The vision tower: patches, a class token, a transformer.

use super::config::VisionConfig;
use crate::Result;
use crate::models::encoder::{AttentionNames, Encoder, EncoderConfig};
use crate::models::layers::with_class;
use crate::models::patches::Patches;
use crate::models::preprocess::Preprocess;
use crate::models::weights::Scope;
use candle_core::{DType, Tensor};
use candle_nn::{LayerNorm, Linear, Module};

/// A Vision Transformer as CLIP has it: a layer norm before the first layer, no bias on the patches.
pub struct VisionTower {
    class: Tensor,
    patches: Patches,
    positions: Tensor,
    pre_norm: LayerNorm,
    encoder: Encoder,
    post_norm: LayerNorm,
}

impl VisionTower {
    /// Reads `embeddings.*`, `pre_layrnorm.*` (so misspelt in the files), `encoder.*` and `post_layernorm.*` under `scope`, for
    /// pictures that `preprocess` makes; None where there is nothing to load.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming a tensor that is missing or misshapen.
    pub fn load(scope: &Scope, config: &VisionConfig, preprocess: Option<&Preprocess>) -> Result<Self> {
        let (width, patch, grid) = (config.hidden_size, config.patch_size, config.grid());
        let embeddings = scope.pp("embeddings");
        let encoder = EncoderConfig {
            width,
            inner: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            causal: false,
            activation: config.hidden_act,
            eps: config.layer_norm_eps,
            names: AttentionNames::Apart,
        };
        let patches = embeddings.get("patch_embedding.weight", (width, config.num_channels, patch, patch))?;
        let flat = patches.reshape((width, config.num_channels * patch * patch))?;
        Ok(VisionTower {
            class: embeddings.get("class_embedding", width)?,
            patches: Patches::new(scope, Linear::new(flat, None), (patch, grid), preprocess)?,
            positions: embeddings.get("position_embedding.weight", (grid * grid + 1, width))?,
            pre_norm: scope.layer_norm("pre_layrnorm", width, config.layer_norm_eps)?,
            encoder: Encoder::load(&scope.pp("encoder"), &encoder)?,
            post_norm: scope.layer_norm("post_layernorm", width, config.layer_norm_eps)?,
        })
    }

    /// How many layers there are.
    pub fn depth(&self) -> usize {
        self.encoder.depth()
    }

    /// The numbers that it reads, where those are not the model's.
    pub fn reads(&self) -> Option<DType> {
        self.patches.reads()
    }

    /// The hidden states after `depth` layers, (batch, 1 + patches, width), of pixels (batch, 3, side, side) in the
    /// numbers that it [`reads`](Self::reads). Depth 0 is
    /// what goes into the first layer: transformers' `hidden_states[depth]`.
    pub fn hidden_states(&self, pixels: &Tensor, depth: usize) -> Result<Tensor> {
        self.encoder.forward(&self.embed(pixels)?, depth)
    }

    /// The class token after the last layer and its norm: (batch, width).
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let x = self.embed(pixels)?;
        let first = vec![0; x.dim(0)?];
        Ok(self.post_norm.forward(&self.encoder.forward_at(&x, &first)?)?)
    }

    fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        Ok(self.pre_norm.forward(&with_class(&self.class, &patches, &self.positions)?)?)
    }
}
