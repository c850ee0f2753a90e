//! BLIP's `config.json`, with the defaults that transformers' `BlipConfig` has.

use crate::Result;
use crate::models::act::Activation;
use crate::models::files::{CONFIG, ModelFiles};
use crate::models::kind::Kind;
use serde::Deserialize;
use serde_json::Value;

/// Both towers and what joins them.
#[derive(Clone, Debug)]
pub struct BlipConfig {
    /// The text encoder's and decoder's sizes: both have the same.
    pub text: TextConfig,
    /// The vision tower's sizes.
    pub vision: VisionConfig,
    /// The length of the embeddings of the contrastive heads.
    pub joint: usize,
    /// The classes that the checkpoint says it is for, perhaps none.
    pub architectures: Vec<String>,
}

/// The sizes of the text side, and its special tokens.
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
    /// The longest text in tokens, special ones included.
    pub max_position_embeddings: usize,
    /// The activation inside the MLPs and the language model's head.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Starts a caption or an answer: `[DEC]`.
    pub bos_token_id: u32,
    /// Ends one: `[SEP]`.
    pub sep_token_id: u32,
    /// Fills up what is too short; never looked at.
    pub pad_token_id: u32,
    /// Starts a text that is matched, in the original's convention: `[ENC]`. Files don't have it: it follows `[DEC]`.
    pub enc_token_id: Option<u32>,
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
    /// Pixels along each side of a picture.
    pub image_size: usize,
    /// Pixels along each side of a patch.
    pub patch_size: usize,
    /// The activation inside the MLPs.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            vocab_size: 30524,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 512,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            bos_token_id: 30522,
            sep_token_id: 102,
            pad_token_id: 0,
            enc_token_id: None,
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
            image_size: 384,
            patch_size: 16,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl BlipConfig {
    /// Reads the `config.json` of `files` and checks that the sizes fit together.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming the field, or saying what the checkpoint is when it isn't BLIP.
    pub fn read(files: &ModelFiles) -> Result<Self> {
        let json = files.json(CONFIG)?;
        let kind = Kind::of(&json);
        if kind != Kind::Blip {
            return Err(files.error(format!(
                "{CONFIG} says that it is of kind {kind}; a matcher or captioner must be of kind blip (model_type \"blip\")"
            )));
        }
        let joint = match &json["image_text_hidden_size"] {
            Value::Null => 256,
            value => value.as_u64().filter(|dim| *dim > 0).ok_or_else(|| {
                files
                    .error(format!("{CONFIG}: image_text_hidden_size is {value}, expected a positive number"))
            })? as usize,
        };
        let names = json["architectures"].as_array().into_iter().flatten();
        let config = BlipConfig {
            text: files.section(&json, "text_config")?,
            vision: files.section(&json, "vision_config")?,
            joint,
            architectures: names.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        };
        config.check().map_err(|reason| files.error(format!("{CONFIG}: {reason}")))?;
        Ok(config)
    }

    /// Whether the checkpoint says that it is a `class`.
    pub fn says(&self, class: &str) -> bool {
        self.architectures.iter().any(|name| name == class)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let (t, v) = (&self.text, &self.vision);
        let sizes = [
            ("text_config.vocab_size", t.vocab_size),
            ("text_config.hidden_size", t.hidden_size),
            ("text_config.intermediate_size", t.intermediate_size),
            ("text_config.num_attention_heads", t.num_attention_heads),
            ("text_config.max_position_embeddings", t.max_position_embeddings.saturating_sub(2)),
            ("vision_config.hidden_size", v.hidden_size),
            ("vision_config.intermediate_size", v.intermediate_size),
            ("vision_config.num_attention_heads", v.num_attention_heads),
            ("vision_config.patch_size", v.patch_size),
            ("vision_config.image_size", v.image_size / v.patch_size.max(1)),
        ];
        if let Some((field, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{field} is too small"));
        }
        for (tower, width, heads) in
            [("text", t.hidden_size, t.num_attention_heads), ("vision", v.hidden_size, v.num_attention_heads)]
        {
            if width % heads != 0 {
                return Err(format!(
                    "{tower}_config.hidden_size {width} can't be shared among {heads} heads"
                ));
            }
        }
        let ids = [
            ("bos_token_id", t.bos_token_id),
            ("sep_token_id", t.sep_token_id),
            ("pad_token_id", t.pad_token_id),
        ];
        match ids.iter().find(|(_, id)| *id as usize >= t.vocab_size) {
            Some((field, id)) => {
                Err(format!("text_config.{field} is {id}, and text_config.vocab_size is {}", t.vocab_size))
            }
            None => Ok(()),
        }
    }
}

impl VisionConfig {
    /// Patches along each side.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }
}
