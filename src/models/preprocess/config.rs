//! How a checkpoint wants its pictures, read from the file that it brings.
//!
//! `preprocessor_config.json` as transformers' image processors write it, the `image_processor` part of a newer
//! `processor_config.json`, or OpenCLIP's `open_clip_config.json`. Keys that are missing have their processor's defaults.

use super::resample::Filter;
use crate::Result;
use crate::models::files::{ModelFiles, OPEN_CLIP, PROCESSOR};
use serde_json::Value;

/// The steps a picture goes through, in this order; None skips one.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Make a square of it first, on a ground of this colour.
    pub square: Option<[u8; 3]>,
    /// Scale to a size.
    pub resize: Option<(Target, Filter)>,
    /// Cut (height, width) from the middle, with black where the picture is smaller.
    pub crop: Option<(u32, u32)>,
    /// Multiply the 0..=255 of each colour.
    pub rescale: Option<f64>,
    /// Subtract a mean from each colour, then divide by a deviation.
    pub normalize: Option<([f32; 3], [f32; 3])>,
}

/// The size that a picture is scaled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The shorter edge becomes this long, the longer keeps the proportion, cut to a whole number.
    ShortestEdge(u32),
    /// Exactly (height, width), whatever the proportion.
    Exact(u32, u32),
}

/// What a processor does when its file says nothing.
struct Defaults {
    size: Target,
    /// An integer `size` means a square, and not the shortest edge.
    square: bool,
    crop: Option<(u32, u32)>,
    resample: u64,
    mean: [f32; 3],
    std: [f32; 3],
    /// Whether `do_pad` makes a square.
    squares: bool,
}

const CLIP_MEAN: [f32; 3] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: [f32; 3] = [0.26862954, 0.261_302_6, 0.275_777_1];
const LARGEST: u64 = 8192;

impl Recipe {
    /// Reads the recipe of `files`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming the file that is missing, or the field that has a value we can't follow.
    pub fn read(files: &ModelFiles) -> Result<Self> {
        let name = files.preprocessor()?;
        let json = files.json(name)?;
        let recipe = match name {
            OPEN_CLIP => open_clip(&json),
            PROCESSOR => transformers(&json["image_processor"]),
            _ => transformers(&json),
        };
        recipe.map_err(|reason| files.error(format!("{name}: {reason}")))
    }
}

type Parsed<T> = std::result::Result<T, String>;

fn transformers(json: &Value) -> Parsed<Recipe> {
    if !json.is_object() {
        return Err("it says nothing of an image processor".to_owned());
    }
    let defaults = defaults(json)?;
    let size = match &json["size"] {
        Value::Null => defaults.size,
        value => target(value, defaults.square).ok_or_else(|| unreadable("size", value))?,
    };
    let crop = match &json["crop_size"] {
        Value::Null => defaults.crop.unwrap_or((224, 224)),
        value => square_or_pair(value).ok_or_else(|| unreadable("crop_size", value))?,
    };
    let resample = match &json["resample"] {
        Value::Null => defaults.resample,
        value => value.as_u64().ok_or_else(|| unreadable("resample", value))?,
    };
    let filter = filter(resample).ok_or_else(|| format!("resample is {resample}, expected 0 to 5"))?;
    let factor = match &json["rescale_factor"] {
        Value::Null => 1.0 / 255.0,
        value => {
            value.as_f64().filter(|f| f.is_finite()).ok_or_else(|| unreadable("rescale_factor", value))?
        }
    };
    let mean = colours(json, "image_mean")?.unwrap_or(defaults.mean);
    let std = colours(json, "image_std")?.unwrap_or(defaults.std);
    if std.contains(&0.0) {
        return Err(format!("image_std is {std:?}, which can't be divided by"));
    }
    // LLaVA-NeXT's `do_pad` is about batches of tiles, not about squares.
    let square = defaults.squares && flag(json, "do_pad", false)?;
    Ok(Recipe {
        square: square.then_some(ground(mean)),
        resize: flag(json, "do_resize", true)?.then_some((size, filter)),
        crop: flag(json, "do_center_crop", defaults.crop.is_some())?.then_some(crop),
        rescale: flag(json, "do_rescale", true)?.then_some(factor),
        normalize: flag(json, "do_normalize", true)?.then_some((mean, std)),
    })
}

/// The defaults of the processor that the file names, under its name in any of transformers' generations.
fn defaults(json: &Value) -> Parsed<Defaults> {
    let named = json["image_processor_type"].as_str().or(json["feature_extractor_type"].as_str());
    let family = named.map(|name| {
        let name = name.trim_end_matches("Fast").trim_end_matches("Pil");
        name.trim_end_matches("ImageProcessor").trim_end_matches("FeatureExtractor")
    });
    let (clip, half) = ((CLIP_MEAN, CLIP_STD), ([0.5; 3], [0.5; 3]));
    let (size, square, crop, resample, (mean, std)) = match family {
        None | Some("CLIP" | "Llava" | "LlavaNext") => {
            (Target::ShortestEdge(224), false, Some((224, 224)), 3, clip)
        }
        Some("Blip") => (Target::Exact(384, 384), true, None, 3, clip),
        Some("ViT") => (Target::Exact(224, 224), true, None, 2, half),
        Some(_) => {
            return Err(format!("image_processor_type {:?} is not a known one", named.unwrap_or_default()));
        }
    };
    Ok(Defaults { size, square, crop, resample, mean, std, squares: family == Some("Llava") })
}

/// The colour that becomes zero when it is normalised, as far as 8 bits go.
pub(crate) fn ground(mean: [f32; 3]) -> [u8; 3] {
    mean.map(|value| (f64::from(value) * 255.0) as u8)
}

/// OpenCLIP's own file: the shorter edge to the model's size, bicubic, then the middle.
fn open_clip(json: &Value) -> Parsed<Recipe> {
    let preprocess = &json["preprocess_cfg"];
    let (Some(mean), Some(std)) = (colours(preprocess, "mean")?, colours(preprocess, "std")?) else {
        return Err("preprocess_cfg has no mean and std".to_owned());
    };
    let size = match &preprocess["size"] {
        Value::Null => &json["model_cfg"]["vision_cfg"]["image_size"],
        size => size,
    };
    let (height, width) = square_or_pair(size).ok_or_else(|| unreadable("vision_cfg.image_size", size))?;
    let target = match preprocess["resize_mode"].as_str() {
        None | Some("shortest") if height == width => Target::ShortestEdge(height),
        Some("squash") => Target::Exact(height, width),
        other => return Err(format!("resize_mode {other:?} to {height} x {width} is not a known one")),
    };
    let filter = match preprocess["interpolation"].as_str() {
        None | Some("bicubic") => Filter::Bicubic,
        Some("bilinear") => Filter::Bilinear,
        Some(other) => return Err(format!("interpolation {other:?} is neither bicubic nor bilinear")),
    };
    Ok(Recipe {
        square: None,
        resize: Some((target, filter)),
        crop: Some((height, width)),
        rescale: Some(1.0 / 255.0),
        normalize: Some((mean, std)),
    })
}

/// Pillow's numbers for its filters.
fn filter(pillow: u64) -> Option<Filter> {
    Some(match pillow {
        0 => Filter::Nearest,
        1 => Filter::Lanczos,
        2 => Filter::Bilinear,
        3 => Filter::Bicubic,
        4 => Filter::Box,
        5 => Filter::Hamming,
        _ => return None,
    })
}

fn target(value: &Value, square: bool) -> Option<Target> {
    if let Some(edge) = value.get("shortest_edge") {
        return (value.get("longest_edge").is_none_or(Value::is_null))
            .then_some(Target::ShortestEdge(edge_of(edge)?));
    }
    match value {
        Value::Number(_) if !square => Some(Target::ShortestEdge(edge_of(value)?)),
        _ => square_or_pair(value).map(|(height, width)| Target::Exact(height, width)),
    }
}

/// (height, width) from `n`, `[n]`, `[h, w]` or `{"height": h, "width": w}`.
fn square_or_pair(value: &Value) -> Option<(u32, u32)> {
    match value {
        Value::Number(_) => edge_of(value).map(|edge| (edge, edge)),
        Value::Array(edges) => match edges.as_slice() {
            [edge] => Some((edge_of(edge)?, edge_of(edge)?)),
            [height, width] => Some((edge_of(height)?, edge_of(width)?)),
            _ => None,
        },
        _ => Some((edge_of(value.get("height")?)?, edge_of(value.get("width")?)?)),
    }
}

fn edge_of(value: &Value) -> Option<u32> {
    value.as_u64().filter(|edge| (1..=LARGEST).contains(edge)).map(|edge| edge as u32)
}

fn colours(json: &Value, key: &str) -> Parsed<Option<[f32; 3]>> {
    match &json[key] {
        Value::Null => Ok(None),
        value => match serde_json::from_value::<[f32; 3]>(value.clone()) {
            Ok(three) if three.iter().all(|v| v.is_finite()) => Ok(Some(three)),
            _ => Err(unreadable(key, value)),
        },
    }
}

fn flag(json: &Value, key: &str, default: bool) -> Parsed<bool> {
    match &json[key] {
        Value::Null => Ok(default),
        Value::Bool(flag) => Ok(*flag),
        value => Err(unreadable(key, value)),
    }
}

fn unreadable(key: &str, value: &Value) -> String {
    format!("{key} is {value}, which is not a value that can be followed")
}
