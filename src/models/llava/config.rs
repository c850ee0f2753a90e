//! LLaVA's `config.json`, in the layout of transformers (`llava-hf/*`) or in that of its authors (`liuhaotian/*`).

use crate::Result;
use crate::models::act::Activation;
use crate::models::clip::VisionConfig;
use crate::models::files::{CONFIG, ModelFiles};
use crate::models::kind::Kind;
use crate::models::llama::LlamaConfig;
use serde_json::Value;

/// A vision tower, what joins it to a language model, and that.
#[derive(Clone, Debug)]
pub struct LlavaConfig {
    /// Who wrote the file.
    pub layout: Layout,
    /// The vision tower.
    pub vision: VisionConfig,
    /// The language model.
    pub text: LlamaConfig,
    /// After how many of the tower's layers its states are taken; several are put side by side.
    pub depths: Vec<usize>,
    /// Whether the class token's state is taken along.
    pub keep_class: bool,
    /// How many linear layers the projector has.
    pub projector_layers: usize,
    /// The activation between them.
    pub projector_act: Activation,
    /// Whether they have biases.
    pub projector_bias: bool,
    /// LLaVA 1.6: the sizes (height, width) that a picture may be scaled to and cut into tiles.
    pub grids: Option<Vec<(u32, u32)>>,
    /// Whether pictures are padded to squares, whatever the preprocessor's file says.
    pub pad: bool,
}

/// How config and tensors are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// transformers' `LlavaForConditionalGeneration` and `LlavaNextForConditionalGeneration`.
    Transformers,
    /// The authors' `LlavaLlamaForCausalLM`: the language model's config with `mm_*` added.
    Original,
}

type Parsed<T> = std::result::Result<T, String>;

impl LlavaConfig {
    /// Reads the `config.json` of `files`, and that of the vision tower that it names where it has none of its own.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming the field, or saying what the checkpoint is when it isn't LLaVA.
    pub fn read(files: &ModelFiles) -> Result<Self> {
        let json = files.json(CONFIG)?;
        let kind = Kind::of(&json);
        if kind != Kind::Llava {
            return Err(files.error(format!(
                "{CONFIG} says that it is of kind {kind}; an answerer of kind llava was asked for (model_type \"llava\" or \
                 \"llava_next\")"
            )));
        }
        let layout = match json["text_config"].is_object() || json["vision_config"].is_object() {
            true => Layout::Transformers,
            false => Layout::Original,
        };
        let vision = match (layout, files.tower()) {
            (Layout::Transformers, _) => VisionConfig::read(files)?,
            (Layout::Original, Some(tower)) => VisionConfig::read(tower)?,
            (Layout::Original, None) => {
                return Err(
                    files.error(format!("{CONFIG} names no vision tower that is at hand (mm_vision_tower)"))
                );
            }
        };
        let parsed = match layout {
            Layout::Transformers => transformers(&json, vision),
            Layout::Original => original(&json, vision),
        };
        parsed.and_then(LlavaConfig::checked).map_err(|reason| files.error(format!("{CONFIG}: {reason}")))
    }

    /// The states that go into the projector are this wide.
    pub fn seen_width(&self) -> usize {
        self.vision.hidden_size * self.depths.len()
    }

    fn checked(self) -> Parsed<Self> {
        let side = self.vision.image_size as u32;
        if let Some(grids) = &self.grids {
            if let Some(odd) =
                grids.iter().find(|(h, w)| *h == 0 || *w == 0 || h % side != 0 || w % side != 0)
            {
                return Err(format!(
                    "image_grid_pinpoints has {odd:?}, which is no multiple of image_size {side}"
                ));
            }
            if grids.is_empty() {
                return Err("image_grid_pinpoints is empty".to_owned());
            }
            if self.keep_class {
                return Err("tiles can't be put together with their class tokens: vision_feature_select_strategy must be \
                            \"default\""
                    .to_owned());
            }
        }
        Ok(self)
    }
}

fn transformers(json: &Value, vision: VisionConfig) -> Parsed<LlavaConfig> {
    let mut text = json["text_config"].clone();
    if json["tie_word_embeddings"] == true {
        text["tie_word_embeddings"] = true.into();
    }
    let tiled = json["model_type"] == "llava_next"
        || json["architectures"][0].as_str().is_some_and(|name| name.starts_with("LlavaNext"));
    let default = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]];
    let grids = match &json["image_grid_pinpoints"] {
        _ if !tiled => None,
        Value::Null => Some(default.map(|[height, width]| (height, width)).to_vec()),
        value => Some(pairs("image_grid_pinpoints", value)?),
    };
    let keep_class = match json["vision_feature_select_strategy"].as_str() {
        None | Some("default") => false,
        Some("full") => true,
        Some(other) => {
            return Err(format!("vision_feature_select_strategy is {other:?}, expected default or full"));
        }
    };
    let act = json["projector_hidden_act"].as_str().unwrap_or("gelu");
    Ok(LlavaConfig {
        layout: Layout::Transformers,
        text: LlamaConfig::read(&text).map_err(|reason| format!("text_config: {reason}"))?,
        depths: depths("vision_feature_layer", &json["vision_feature_layer"], vision.num_hidden_layers)?,
        vision,
        keep_class,
        projector_layers: 2,
        projector_act: Activation::named(act)
            .ok_or_else(|| format!("projector_hidden_act {act:?} is not a known activation"))?,
        projector_bias: json["multimodal_projector_bias"].as_bool().unwrap_or(true),
        grids,
        pad: false,
    })
}

fn original(json: &Value, vision: VisionConfig) -> Parsed<LlavaConfig> {
    let keep_class = match json["mm_vision_select_feature"].as_str() {
        None | Some("patch") => false,
        Some("cls_patch") => true,
        Some(other) => {
            return Err(format!("mm_vision_select_feature is {other:?}, expected patch or cls_patch"));
        }
    };
    let kind = json["mm_projector_type"].as_str().unwrap_or("linear");
    let projector_layers = match kind.strip_prefix("mlp").and_then(|rest| rest.strip_suffix("x_gelu")) {
        Some(count) => count.parse().ok().filter(|count| (1..=8).contains(count)),
        None => (kind == "linear").then_some(1),
    };
    let aspect = json["image_aspect_ratio"].as_str().unwrap_or("square");
    let grids = match (aspect, &json["image_grid_pinpoints"]) {
        ("anyres", Value::Null) => return Err("image_grid_pinpoints is missing".to_owned()),
        // The authors write (width, height).
        ("anyres", value) => {
            let pairs = pairs("image_grid_pinpoints", value)?;
            Some(pairs.into_iter().map(|(width, height)| (height, width)).collect())
        }
        ("pad" | "square", _) => None,
        (other, _) => {
            return Err(format!("image_aspect_ratio is {other:?}, expected square, pad or anyres"));
        }
    };
    let merge = json["mm_patch_merge_type"].as_str().unwrap_or("flat");
    if grids.is_some() && merge != "spatial_unpad" {
        return Err(format!("mm_patch_merge_type is {merge:?}, expected spatial_unpad"));
    }
    let layer = match &json["mm_vision_select_layer"] {
        Value::Null => Value::from(-2),
        value => value.clone(),
    };
    Ok(LlavaConfig {
        layout: Layout::Original,
        text: LlamaConfig::read(json)?,
        depths: depths("mm_vision_select_layer", &layer, vision.num_hidden_layers)?,
        vision,
        keep_class,
        projector_layers: projector_layers
            .ok_or_else(|| format!("mm_projector_type is {kind:?}, expected linear or mlpNx_gelu"))?,
        projector_act: Activation::Gelu,
        projector_bias: true,
        grids,
        pad: aspect == "pad",
    })
}

/// Indices into transformers' `hidden_states`, where 0 is what goes into the first layer, as numbers of layers.
fn depths(key: &str, value: &Value, layers: usize) -> Parsed<Vec<usize>> {
    let wrong = || format!("{key} is {value}, and the vision tower has {layers} layers");
    let depth = |index: i64| {
        let states = layers as i64 + 1;
        let depth = if index < 0 { states + index } else { index };
        (0..states).contains(&depth).then_some(depth as usize)
    };
    let indices: Option<Vec<i64>> = match value {
        Value::Null => Some(vec![-2]),
        Value::Array(many) => many.iter().map(Value::as_i64).collect(),
        one => one.as_i64().map(|one| vec![one]),
    };
    let depths: Option<Vec<usize>> = indices.ok_or_else(wrong)?.into_iter().map(depth).collect();
    depths.filter(|depths| !depths.is_empty()).ok_or_else(wrong)
}

fn pairs(key: &str, value: &Value) -> Parsed<Vec<(u32, u32)>> {
    serde_json::from_value::<Vec<(u32, u32)>>(value.clone())
        .map_err(|e| format!("{key} is not a list of pairs: {e}"))
}
