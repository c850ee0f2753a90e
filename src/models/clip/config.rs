//! CLIP's `config.json`, with the defaults that transformers' `CLIPConfig` has.

use crate::Result;
use crate::models::act::Activation;
use crate::models::files::{CONFIG, ModelFiles};
use crate::models::kind::Kind;
use serde::Deserialize;
use serde_json::Value;

/// Both towers and what joins them.
#[derive(Clone, Debug)]
pub struct ClipConfig {
    /// The text tower.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// The length of the embeddings that both towers are projected to.
    pub projection_dim: usize,
}

/// The text tower's sizes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// How many token ids there are.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The width inside the MLPs.
    pub intermediate_size: usize,
    /// How many layers.
    pub num_hidden_layers: usize,
    /// Attention heads a layer.
    pub num_attention_heads: usize,
    /// The longest text in tokens, start and end included.
    pub max_position_embeddings: usize,
    /// The activation inside the MLPs.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// The token whose state is pooled; 2 stands for OpenAI's older rule, see [`super::text::Pooling`].
    pub eos_token_id: Option<TokenId>,
}

/// The vision tower's sizes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The width inside the MLPs.
    pub intermediate_size: usize,
    /// How many layers.
    pub num_hidden_layers: usize,
    /// Attention heads a layer.
    pub num_attention_heads: usize,
    /// Colours: 3.
    pub num_channels: usize,
    /// Pixels along each side of a picture.
    pub image_size: usize,
    /// Pixels along each side of a patch.
    pub patch_size: usize,
    /// The activation inside the MLPs.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
}

/// A token id, or several of which the first counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum TokenId {
    /// One.
    One(u32),
    /// Several.
    Many(Vec<u32>),
}

impl TokenId {
    /// The id that counts.
    pub fn first(&self) -> Option<u32> {
        match self {
            TokenId::One(id) => Some(*id),
            TokenId::Many(ids) => ids.first().copied(),
        }
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: Some(TokenId::One(49407)),
        }
    }
}

impl Default for VisionConfig {
    fn default() -> Self {
        VisionConfig {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipConfig {
    /// Reads the `config.json` of `files` and checks that the sizes fit together.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming the field, or saying what the checkpoint is when it isn't CLIP.
    pub fn read(files: &ModelFiles) -> Result<Self> {
        let json = files.json(CONFIG)?;
        let kind = Kind::of(&json);
        if kind != Kind::Clip {
            return Err(files.error(format!(
                "{CONFIG} says that it is of kind {kind}; an encoder must be of kind clip (model_type \"clip\")"
            )));
        }
        let projection_dim = match &json["projection_dim"] {
            Value::Null => 512,
            value => value.as_u64().filter(|dim| *dim > 0).ok_or_else(|| {
                files.error(format!("{CONFIG}: projection_dim is {value}, expected a positive number"))
            })? as usize,
        };
        let config = ClipConfig {
            text: files.section(&json, "text_config")?,
            vision: files.section(&json, "vision_config")?,
            projection_dim,
        };
        config.check().map_err(|reason| files.error(format!("{CONFIG}: {reason}")))?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let (t, v) = (&self.text, &self.vision);
        let sizes = [
            ("text_config.vocab_size", t.vocab_size),
            ("text_config.hidden_size", t.hidden_size),
            ("text_config.intermediate_size", t.intermediate_size),
            ("text_config.num_attention_heads", t.num_attention_heads),
            ("text_config.max_position_embeddings", t.max_position_embeddings.saturating_sub(2)),
        ];
        if let Some((field, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{field} is too small"));
        }
        if t.hidden_size % t.num_attention_heads != 0 {
            let (width, heads) = (t.hidden_size, t.num_attention_heads);
            return Err(format!("text_config.hidden_size {width} can't be shared among {heads} heads"));
        }
        v.check()
    }
}

impl VisionConfig {
    /// Reads the vision tower's sizes from the `config.json` of `files`: its `vision_config`, or all of it where it is of a
    /// vision tower alone.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming the field.
    pub fn read(files: &ModelFiles) -> Result<Self> {
        let mut json = files.json(CONFIG)?;
        if json["model_type"] == "clip_vision_model" {
            json = serde_json::json!({ "vision_config": json });
        }
        match json["vision_config"]["model_type"].as_str() {
            None | Some("clip_vision_model") => {}
            Some(other) => {
                return Err(files.error(format!(
                    "{CONFIG}: vision_config.model_type is {other:?}, expected \"clip_vision_model\""
                )));
            }
        }
        let config: VisionConfig = files.section(&json, "vision_config")?;
        config.check().map_err(|reason| files.error(format!("{CONFIG}: {reason}")))?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("patch_size", self.patch_size),
            ("image_size", self.image_size / self.patch_size.max(1)),
        ];
        if let Some((field, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("vision_config.{field} is too small"));
        }
        if self.num_channels != 3 {
            return Err(format!("vision_config.num_channels is {}, expected 3", self.num_channels));
        }
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if width % heads != 0 {
            return Err(format!("vision_config.hidden_size {width} can't be shared among {heads} heads"));
        }
        Ok(())
    }

    /// Patches along each side; what is left over at the edges is not looked at.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }
}
