//! What a checkpoint is, told from its `config.json`.

use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// A family of models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Two towers, one space: an encoder.
    Clip,
    /// An image-text matcher, captioner or answerer, by its heads.
    Blip,
    /// A language model that sees.
    Llava,
    /// A plain vision transformer.
    Vit,
    /// Anything else, as it calls itself.
    Other(String),
}

impl Kind {
    /// Tells the kind from `model_type`, else from the first of `architectures`.
    pub fn of(config: &Value) -> Self {
        let architecture = || config["architectures"][0].as_str();
        match config["model_type"].as_str() {
            Some("clip") => Kind::Clip,
            Some("blip") => Kind::Blip,
            Some("llava" | "llava_next" | "llava_llama" | "llava_mistral") => Kind::Llava,
            Some("vit") => Kind::Vit,
            Some(other) => Kind::Other(other.to_owned()),
            None if architecture().is_some_and(|a| a.starts_with("CLIPModel")) => Kind::Clip,
            None if architecture().is_some_and(|a| a.starts_with("Blip")) => Kind::Blip,
            None if architecture().is_some_and(|a| a.starts_with("Llava")) => Kind::Llava,
            None => Kind::Other(architecture().unwrap_or("unknown").to_owned()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Clip => "clip",
            Kind::Blip => "blip",
            Kind::Llava => "llava",
            Kind::Vit => "vit",
            Kind::Other(name) => name,
        })
    }
}
