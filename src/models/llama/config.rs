//! The language model's sizes, with the defaults that transformers' `LlamaConfig` and `MistralConfig` have.

use crate::models::act::Activation;
use serde_json::Value;

/// What a Llama or Mistral is made of.
#[derive(Clone, Debug)]
pub struct LlamaConfig {
    /// Whether it is a Mistral.
    pub is_mistral: bool,
    /// How many token ids there are.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The width inside the MLPs.
    pub intermediate_size: usize,
    /// How many layers.
    pub layers: usize,
    /// Query heads a layer.
    pub heads: usize,
    /// Key and value heads a layer; divides `heads`.
    pub kv_heads: usize,
    /// The width of a head.
    pub head_dim: usize,
    /// The activation of the MLPs' gates.
    pub hidden_act: Activation,
    /// Added to the mean square in norms.
    pub eps: f64,
    /// The base of the rotary positions.
    pub rope_theta: f32,
    /// How the positions are stretched.
    pub scaling: Scaling,
    /// The longest sequence in tokens.
    pub context: usize,
    /// How many tokens each one looks back, itself included.
    pub window: Option<usize>,
    /// Whether the table of embeddings is the output matrix too.
    pub tie_word_embeddings: bool,
    /// Whether the attention's matrices have biases.
    pub attention_bias: bool,
    /// Whether the MLPs' matrices have biases.
    pub mlp_bias: bool,
}

/// How a checkpoint reaches further than it was trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// All positions shrink by a factor.
    Linear {
        /// By how much.
        factor: f32,
    },
    /// Llama 3.1's: slow turns shrink, fast ones stay.
    Llama3 {
        /// By how much the slow turns shrink.
        factor: f32,
        /// Turns longer than `original` over this shrink.
        low: f32,
        /// Turns shorter than `original` over this stay.
        high: f32,
        /// The length that it was trained on.
        original: f32,
    },
}

type Parsed<T> = std::result::Result<T, String>;

impl LlamaConfig {
    /// Reads the sizes from `json`: a `text_config`, or a whole `config.json` that has them at its top.
    ///
    /// # Errors
    /// Names the field that has a value we can't follow, or the kind of language model that isn't known.
    pub fn read(json: &Value) -> Parsed<Self> {
        let mistral = match json["model_type"].as_str() {
            Some("llama" | "llava" | "llava_llama") | None => false,
            Some("mistral" | "llava_mistral") => true,
            Some(other) => {
                return Err(format!(
                    "model_type {other:?} is not a language model that is known: llama, mistral"
                ));
            }
        };
        let (inner, kv_heads, context) =
            if mistral { (14336, Some(8), 131_072) } else { (11008, None, 2048) };
        let hidden_size = size(json, "hidden_size", 4096)?;
        let heads = size(json, "num_attention_heads", 32)?;
        let window = match json.get("sliding_window") {
            None => mistral.then_some(4096),
            Some(Value::Null) => None,
            Some(_) => mistral.then_some(size(json, "sliding_window", 0)?),
        };
        let config = LlamaConfig {
            is_mistral: mistral,
            vocab_size: size(json, "vocab_size", 32000)?,
            hidden_size,
            intermediate_size: size(json, "intermediate_size", inner)?,
            layers: size(json, "num_hidden_layers", 32)?,
            heads,
            kv_heads: size(json, "num_key_value_heads", kv_heads.unwrap_or(heads))?,
            head_dim: size(json, "head_dim", hidden_size / heads)?,
            hidden_act: activation(&json["hidden_act"])?,
            eps: number(json, "rms_norm_eps", 1e-6)?,
            rope_theta: rope_theta(json)? as f32,
            scaling: scaling(json)?,
            context: size(json, "max_position_embeddings", context)?,
            window,
            tie_word_embeddings: flag(json, "tie_word_embeddings")?,
            attention_bias: flag(json, "attention_bias")?,
            mlp_bias: flag(json, "mlp_bias")?,
        };
        match config {
            LlamaConfig { heads, kv_heads, .. } if heads % kv_heads != 0 => {
                Err(format!("num_attention_heads {heads} can't share num_key_value_heads {kv_heads} evenly"))
            }
            LlamaConfig { head_dim, .. } if head_dim % 2 != 0 => {
                Err(format!("head_dim {head_dim} is odd, and rotary positions turn pairs"))
            }
            config => Ok(config),
        }
    }
}

/// transformers 5 has `rope_parameters`, which holds base and scaling; before, they were apart.
fn rope_theta(json: &Value) -> Parsed<f64> {
    match &json["rope_parameters"] {
        Value::Object(_) if !json["rope_parameters"]["rope_theta"].is_null() => {
            number(&json["rope_parameters"], "rope_theta", 0.0)
        }
        _ => number(json, "rope_theta", 10000.0),
    }
}

fn scaling(json: &Value) -> Parsed<Scaling> {
    let rope =
        if json["rope_parameters"].is_object() { &json["rope_parameters"] } else { &json["rope_scaling"] };
    let kind = rope["rope_type"].as_str().or(rope["type"].as_str());
    let part = |key: &str| match number(rope, key, 0.0)? {
        value if value > 0.0 => Ok(value as f32),
        _ => Err(format!("rope_scaling.{key} is missing")),
    };
    match kind {
        None | Some("default") => Ok(Scaling::None),
        Some("linear") => Ok(Scaling::Linear { factor: part("factor")? }),
        Some("llama3") => Ok(Scaling::Llama3 {
            factor: part("factor")?,
            low: part("low_freq_factor")?,
            high: part("high_freq_factor")?,
            original: part("original_max_position_embeddings")?,
        }),
        Some(other) => Err(format!("rope_scaling type {other:?} is not one of default, linear, llama3")),
    }
}

fn activation(value: &Value) -> Parsed<Activation> {
    match value {
        Value::Null => Ok(Activation::Silu),
        value => value
            .as_str()
            .and_then(Activation::named)
            .ok_or_else(|| format!("hidden_act is {value}, which is not a known activation")),
    }
}

fn size(json: &Value, key: &str, default: usize) -> Parsed<usize> {
    match &json[key] {
        Value::Null => Ok(default),
        value => value
            .as_u64()
            .filter(|size| (1..=1 << 32).contains(size))
            .map(|size| size as usize)
            .ok_or_else(|| format!("{key} is {value}, expected a positive number")),
    }
}

fn number(json: &Value, key: &str, default: f64) -> Parsed<f64> {
    match &json[key] {
        Value::Null => Ok(default),
        value => value
            .as_f64()
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| format!("{key} is {value}, expected a positive number")),
    }
}

fn flag(json: &Value, key: &str) -> Parsed<bool> {
    match &json[key] {
        Value::Null => Ok(false),
        value => value.as_bool().ok_or_else(|| format!("{key} is {value}, expected true or false")),
    }
}
