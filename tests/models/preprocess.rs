//! Preprocessing against transformers' Pillow-backed CLIP processor: the same grey levels, and normalised values.

use candle_core::{DType, Device};
use eyeshot::models::ModelFiles;
use eyeshot::models::preprocess::Preprocess;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// How far a value may be from Pillow's, in grey levels: the same level, but for the rounding of f32.
const LEVELS: f32 = 1e-4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip/preprocess")
}

/// The preprocessing that `file`, holding `settings`, describes.
fn recipe(file: &str, settings: &Value) -> eyeshot::Result<Preprocess> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(file), serde_json::to_vec(settings).unwrap()).unwrap();
    Preprocess::read(&ModelFiles::from_dir("mine", dir.path()).unwrap())
}

/// One grey level in the units of each colour's output.
fn grey_level(settings: &Value) -> [f32; 3] {
    let number = |key: &str, default: f64| settings[key].as_f64().unwrap_or(default) as f32;
    let std = settings["image_std"].as_array();
    let clip = [0.26862954, 0.261_302_6, 0.275_777_1];
    std::array::from_fn(|c| {
        let scale =
            if settings["do_rescale"] == json!(false) { 1.0 } else { number("rescale_factor", 1.0 / 255.0) };
        let std = std.map_or(clip[c], |std| std[c].as_f64().unwrap() as f32);
        if settings["do_normalize"] == json!(false) { scale } else { scale / std }
    })
}

#[test]
fn pixels_are_pillows() {
    let cases: Value = serde_json::from_slice(&fs::read(folder().join("cases.json")).unwrap()).unwrap();
    let expected =
        candle_core::safetensors::load(folder().join("expected.safetensors"), &Device::Cpu).unwrap();
    for (case, settings) in cases.as_object().unwrap() {
        let preprocess = recipe("preprocessor_config.json", settings).unwrap();
        let level = grey_level(settings);
        let mut pictures = 0;
        for (key, expected) in expected.iter().filter(|(key, _)| key.split('/').next() == Some(case.as_str()))
        {
            let picture = folder().join(format!("{}.png", key.rsplit('/').next().unwrap()));
            let pixels = preprocess.run(&image::open(picture).unwrap().to_rgb8()).unwrap();
            let (height, width) = pixels.size();
            assert_eq!(expected.dims(), [3, height as usize, width as usize], "{key}");
            let expected: Vec<f32> =
                expected.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for (at, (found, expected)) in pixels.values().iter().zip(&expected).enumerate() {
                let off = (found - expected).abs() / level[at / (height * width) as usize];
                assert!(off <= LEVELS, "{key}, value {at}: {found}, Pillow has {expected}");
            }
            pictures += 1;
        }
        assert!(pictures > 0, "{case} has no pictures");
    }
}

#[test]
fn every_file_that_names_a_recipe_is_read() {
    let clip =
        json!({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 20}, "crop_size": 20});
    let reference = format!("{:?}", recipe("preprocessor_config.json", &clip).unwrap());
    let mean = [0.48145466, 0.4578275, 0.40821073];
    let std = [0.26862954, 0.261_302_6, 0.275_777_1];
    let same = [
        (
            "preprocessor_config.json",
            json!({"feature_extractor_type": "CLIPFeatureExtractor", "size": 20, "crop_size": 20}),
        ),
        (
            "preprocessor_config.json",
            json!({"size": 20, "crop_size": {"height": 20, "width": 20}, "resample": 3}),
        ),
        (
            "preprocessor_config.json",
            json!({"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 20}, "crop_size": [20]}),
        ),
        ("processor_config.json", json!({"processor_class": "CLIPProcessor", "image_processor": clip})),
        (
            "open_clip_config.json",
            json!({"model_cfg": {"vision_cfg": {"image_size": 20}}, "preprocess_cfg": {"mean": mean, "std": std}}),
        ),
    ];
    for (file, settings) in same {
        assert_eq!(format!("{:?}", recipe(file, &settings).unwrap()), reference, "{file}: {settings}");
    }
    let blip =
        recipe("preprocessor_config.json", &json!({"image_processor_type": "BlipImageProcessor"})).unwrap();
    assert_eq!(blip.output(), Some((384, 384)));
}

#[test]
fn settings_that_can_not_be_followed_are_named() {
    let cases = [
        (json!({"resample": 6}), "resample"),
        (json!({"resample": "bicubic"}), "resample"),
        (json!({"size": {"longest_edge": 20}}), "size"),
        (json!({"size": 0}), "size"),
        (json!({"size": 1e9}), "size"),
        (json!({"crop_size": {"height": 20}}), "crop_size"),
        (json!({"image_mean": [0.5]}), "image_mean"),
        (json!({"image_std": [0.5, 0.0, 0.5]}), "image_std"),
        (json!({"do_resize": "yes"}), "do_resize"),
        (json!({"image_processor_type": "NoSuchImageProcessor"}), "NoSuchImageProcessor"),
        (json!([1]), "image processor"),
    ];
    for (settings, word) in cases {
        let error = recipe("preprocessor_config.json", &settings).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("preprocessor_config.json"), "{settings}: {error}");
    }
}

#[test]
fn a_very_long_picture_costs_no_more_than_a_square_one() {
    let preprocess = recipe("preprocessor_config.json", &json!({})).unwrap();
    for (width, height) in [(60_000, 1), (1, 60_000), (3, 20_000)] {
        let picture = image::RgbImage::from_pixel(width, height, image::Rgb([9, 99, 199]));
        let pixels = preprocess.run(&picture).unwrap();
        assert_eq!(pixels.size(), (224, 224));
        assert!(pixels.values().iter().all(|v| v.is_finite()));
    }
}
