//! The vision tower: patches, a class token, a transformer, and a norm over all of its states.

use super::config::VisionConfig;
use crate::Result;
use crate::models::encoder::{AttentionNames, Encoder, EncoderConfig};
use crate::models::layers::with_class;
use crate::models::patches::Patches;
use crate::models::preprocess::Preprocess;
use crate::models::weights::Scope;
use candle_core::{DType, Tensor};
use candle_nn::{LayerNorm, Linear, Module};

/// A Vision Transformer as BLIP has it: a bias on the patches, no norm before the first layer, all states kept.
pub struct VisionTower {
    class: Tensor,
    patches: Patches,
    positions: Tensor,
    encoder: Encoder,
    post_norm: LayerNorm,
}

impl VisionTower {
    /// Reads `embeddings.*`, `encoder.*` and `post_layernorm.*` under `scope`, for pictures that `preprocess` makes; None where
    /// there is nothing to load.
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
            names: AttentionNames::Joined,
        };
        let patches = embeddings.get("patch_embedding.weight", (width, 3, patch, patch))?;
        let flat = patches.reshape((width, 3 * patch * patch))?;
        let bias = embeddings.get("patch_embedding.bias", width)?;
        Ok(VisionTower {
            class: embeddings.get("class_embedding", (1, 1, width))?,
            patches: Patches::new(scope, Linear::new(flat, Some(bias)), (patch, grid), preprocess)?,
            positions: embeddings.get("position_embedding", (1, grid * grid + 1, width))?,
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
    /// numbers that it [`reads`](Self::reads): transformers'
    /// `hidden_states[depth]`.
    pub fn hidden_states(&self, pixels: &Tensor, depth: usize) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        self.encoder.forward(&with_class(&self.class, &patches, &self.positions)?, depth)
    }

    /// What the text side looks at: all states after the last layer and the norm, (batch, 1 + patches, width).
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(self.post_norm.forward(&self.hidden_states(pixels, self.depth())?)?)
    }
}
