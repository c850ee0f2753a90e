//! CLIP against transformers: the fixtures of `training/fixtures.py`, whole checkpoints and broken ones.

use super::checkpoint::Copy;
use candle_core::{DType, Device, IndexOp, Tensor};
use eyeshot::Error;
use eyeshot::models::clip::TokenBatch;
use eyeshot::models::{self, Clip, DTypeChoice, DeviceChoice, ModelFiles, ModelOptions, Pixels, Silent};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const CHECKPOINTS: [&str; 4] = ["gelu", "quick-gelu-legacy-bin", "sharded", "half-bin-shards"];
const PICTURES: [&str; 8] = ["1x1", "2x3", "32x32", "33x47", "75x40", "20x90", "131x17", "64x64"];
/// The pictures and texts whose hidden states the fixtures hold.
const HIDDEN_PICTURES: std::ops::Range<usize> = 3..5;
const HIDDEN_TEXTS: usize = 3;

const HIDDEN: f32 = 1e-4;
const UNIT: f32 = 1e-5;
/// What f16 weights and f16 arithmetic may cost a unit embedding, per component.
const HALF: f32 = 4e-3;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip")
}

fn options(dtype: DTypeChoice) -> ModelOptions {
    ModelOptions { device: DeviceChoice::Cpu, dtype, offline: true, ..ModelOptions::default() }
}

fn load(name: &str, dtype: DTypeChoice) -> Clip {
    let files = ModelFiles::from_dir(name, &fixtures().join(name)).unwrap();
    Clip::load(&files, &options(dtype)).unwrap()
}

/// A checkpoint, and what the reference makes of the texts and pictures.
struct Case {
    clip: Clip,
    texts: Vec<String>,
    expected: HashMap<String, Tensor>,
}

impl Case {
    fn new(name: &str, dtype: DTypeChoice) -> Self {
        let folder = fixtures().join(name);
        let texts = serde_json::from_slice(&fs::read(folder.join("texts.json")).unwrap()).unwrap();
        let expected =
            candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
        Case { clip: load(name, dtype), texts, expected }
    }

    fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    fn pixels(&self) -> Vec<Pixels> {
        PICTURES.iter().map(|name| self.clip.prepare(&picture(name)).unwrap()).collect()
    }

    fn unit(&self, key: &str) -> Vec<Vec<f32>> {
        self.expected[key].to_vec2().unwrap()
    }
}

fn picture(name: &str) -> image::RgbImage {
    image::open(fixtures().join("preprocess").join(format!("{name}.png"))).unwrap().to_rgb8()
}

fn check(what: &str, found: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}, row {row}");
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance, "{what}, row {row}: off by {worst}, allowed {tolerance}");
    }
}

fn check_tensor(what: &str, found: &Tensor, expected: &Tensor, tolerance: f32) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let off = (found.to_dtype(DType::F32).unwrap() - expected).unwrap().abs().unwrap();
    let worst = off.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    assert!(worst <= tolerance, "{what}: off by {worst}, allowed {tolerance}");
}

#[test]
fn token_ids_are_the_references() {
    for name in CHECKPOINTS {
        let case = Case::new(name, DTypeChoice::F32);
        let ids: Vec<Vec<u32>> = case.expected["input_ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
        let kept: Vec<Vec<u32>> =
            case.expected["attention_mask"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
        let found = case.clip.token_ids(&case.texts()).unwrap();
        for (((found, ids), kept), text) in found.iter().zip(ids).zip(kept).zip(&case.texts) {
            let expected: Vec<u32> =
                ids.iter().zip(&kept).filter(|(_, k)| **k == 1).map(|(id, _)| *id).collect();
            assert_eq!(found, &expected, "{name}: {text:?}");
        }
    }
}

#[test]
fn embeddings_are_the_references() {
    for name in CHECKPOINTS {
        let case = Case::new(name, DTypeChoice::F32);
        check(name, &case.clip.embed_texts(&case.texts()).unwrap(), &case.unit("text_embeds"), UNIT);
        check(name, &case.clip.embed_pixels(&case.pixels()).unwrap(), &case.unit("image_embeds"), UNIT);
        let scale = case.expected["logit_scale"].to_scalar::<f32>().unwrap();
        assert!(
            (case.clip.logit_scale() / scale - 1.0).abs() < 1e-5,
            "{name}: {} {scale}",
            case.clip.logit_scale()
        );
    }
}

#[test]
fn f16_stays_near_the_reference() {
    for name in CHECKPOINTS {
        let case = Case::new(name, DTypeChoice::F16);
        check(name, &case.clip.embed_texts(&case.texts()).unwrap(), &case.unit("text_embeds"), HALF);
        check(name, &case.clip.embed_pixels(&case.pixels()).unwrap(), &case.unit("image_embeds"), HALF);
    }
}

#[test]
fn hidden_states_are_the_references() {
    for name in CHECKPOINTS {
        let case = Case::new(name, DTypeChoice::F32);
        let pixels = case.clip.pixel_tensor(&case.pixels()[HIDDEN_PICTURES]).unwrap();
        for depth in 0..=case.clip.vision().depth() {
            let found = case.clip.vision().hidden_states(&pixels, depth).unwrap();
            let expected = case.expected["image_hidden"].get(depth).unwrap();
            check_tensor(&format!("{name}, vision, {depth}"), &found, &expected, HIDDEN);
        }
        let ids = case.clip.token_ids(&case.texts()).unwrap();
        let batch = TokenBatch::new(&ids, &Device::Cpu).unwrap();
        for depth in 0..=case.clip.text().depth() {
            let found = case.clip.text().hidden_states(&batch, depth).unwrap();
            for (text, ids) in ids.iter().enumerate().take(HIDDEN_TEXTS) {
                let found = found.i((text, ..ids.len())).unwrap();
                let expected = case.expected["text_hidden"].i((depth, text, ..ids.len())).unwrap();
                check_tensor(&format!("{name}, text {text}, {depth}"), &found, &expected, HIDDEN);
            }
        }
    }
}

#[test]
fn an_embedding_does_not_depend_on_its_batch() {
    for name in CHECKPOINTS {
        let case = Case::new(name, DTypeChoice::F32);
        let together = case.clip.embed_texts(&case.texts()).unwrap();
        let alone: Vec<_> =
            case.texts().iter().map(|t| case.clip.embed_texts(&[t]).unwrap().remove(0)).collect();
        check(name, &together, &alone, UNIT);
        let pixels = case.pixels();
        let together = case.clip.embed_pixels(&pixels).unwrap();
        let alone: Vec<_> = pixels
            .iter()
            .map(|p| case.clip.embed_pixels(std::slice::from_ref(p)).unwrap().remove(0))
            .collect();
        check(name, &together, &alone, UNIT);
    }
}

#[test]
fn more_than_one_inner_batch() {
    let case = Case::new("gelu", DTypeChoice::F32);
    let texts: Vec<&str> = case.texts().into_iter().cycle().take(150).collect();
    let expected: Vec<_> = case.unit("text_embeds").into_iter().cycle().take(150).collect();
    check("150 texts", &case.clip.embed_texts(&texts).unwrap(), &expected, UNIT);
    let pixels: Vec<Pixels> = case.pixels().into_iter().take(7).cycle().take(150).collect();
    let expected: Vec<_> = case.unit("image_embeds").into_iter().take(7).cycle().take(150).collect();
    check("150 pictures", &case.clip.embed_pixels(&pixels).unwrap(), &expected, UNIT);
    assert!(case.clip.embed_texts(&[]).unwrap().is_empty());
    assert!(case.clip.embed_pixels(&[]).unwrap().is_empty());
}

#[test]
fn threads_may_share_a_model() {
    let case = Case::new("sharded", DTypeChoice::F32);
    let (texts, pixels) = (case.unit("text_embeds"), case.unit("image_embeds"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                check("texts", &case.clip.embed_texts(&case.texts()).unwrap(), &texts, UNIT);
                check("pixels", &case.clip.embed_pixels(&case.pixels()).unwrap(), &pixels, UNIT);
            });
        }
    });
}

#[test]
fn nothing_to_embed_is_refused() {
    let clip = load("gelu", DTypeChoice::F32);
    for text in ["", "  ", "\n\t"] {
        assert!(matches!(clip.embed_texts(&["a dog", text]), Err(Error::Invalid { .. })), "{text:?}");
    }
    assert!(matches!(clip.prepare(&image::RgbImage::new(0, 5)), Err(Error::Image { .. })));
    let other = load("sharded", DTypeChoice::F32);
    let foreign = other.prepare(&picture("32x32")).unwrap();
    assert!(matches!(clip.embed_pixels(&[foreign]), Err(Error::Invalid { .. })));
}

#[test]
fn fingerprints_tell_models_apart_and_copies_not() {
    let prints: Vec<_> =
        CHECKPOINTS.iter().map(|name| load(name, DTypeChoice::F32).fingerprint().to_owned()).collect();
    for (at, print) in prints.iter().enumerate() {
        assert_eq!(print.len(), 16);
        assert!(!prints[..at].contains(print), "{prints:?}");
    }
    let copy = Copy::of("clip/gelu");
    let copied = Clip::load(&copy.files(), &options(DTypeChoice::F16)).unwrap();
    assert_eq!(copied.fingerprint(), prints[0]);
    copy.edit("config.json", |json| json["text_config"]["layer_norm_eps"] = 1e-5.into());
    let changed = Clip::load(&copy.files(), &options(DTypeChoice::F32)).unwrap();
    assert_ne!(changed.fingerprint(), prints[0]);
}

#[test]
fn a_directory_is_a_model_name() {
    let dir = fixtures().join("gelu").display().to_string();
    let files = models::resolve(&dir, &options(DTypeChoice::Auto), &Silent).unwrap();
    assert_eq!(files.name, dir);
    for missing in
        ["./no-such-dir", "/no/such/dir", "just-a-word", "ViT-B-32/no_such_weights", "a/b/c", "../x/y"]
    {
        let found = models::resolve(missing, &options(DTypeChoice::Auto), &Silent);
        assert!(matches!(found, Err(Error::NotFound { .. })), "{missing}: {found:?}");
    }
}

/// A change to the section of a config.json that has the given name.
type Edit = fn(&mut serde_json::Value, &str);

#[test]
fn older_configs_say_the_same_otherwise() {
    let expected = Case::new("gelu", DTypeChoice::F32);
    let sections = ["text_config", "vision_config"];
    let edits: [(&str, Edit); 3] = [
        // Both sections twice, the old one right.
        ("dict wins", |json, section| {
            json[format!("{section}_dict")] = json[section].clone();
            json[section]["num_attention_heads"] = 1.into();
        }),
        ("dict null", |json, section| json[format!("{section}_dict")] = serde_json::Value::Null),
        // OpenAI's own config.json from 2021 has no hidden_act where it is the default; a null means the default too.
        ("nulls", |json, section| json[section]["num_channels"] = serde_json::Value::Null),
    ];
    for (what, edit) in edits {
        let copy = Copy::of("clip/gelu");
        copy.edit("config.json", |json| sections.iter().for_each(|section| edit(json, section)));
        let clip = Clip::load(&copy.files(), &options(DTypeChoice::F32)).unwrap();
        check(what, &clip.embed_texts(&expected.texts()).unwrap(), &expected.unit("text_embeds"), UNIT);
        check(what, &clip.embed_pixels(&expected.pixels()).unwrap(), &expected.unit("image_embeds"), UNIT);
    }
}

/// How a checkpoint is broken, and the words that the error must hold.
type Breakage = (&'static str, fn(&Copy), &'static [&'static str]);

const BREAKAGES: [Breakage; 22] = [
    ("gelu", |c| c.remove("config.json"), &["config.json"]),
    ("gelu", |c| c.remove("preprocessor_config.json"), &["preprocessor_config.json"]),
    ("gelu", |c| c.remove("tokenizer.json"), &["tokenizer.json", "vocab.json", "merges.txt"]),
    ("gelu", |c| c.remove("model.safetensors"), &["model.safetensors", "pytorch_model.bin"]),
    ("quick-gelu-legacy-bin", |c| c.remove("merges.txt"), &["merges.txt"]),
    ("sharded", |c| c.remove("model-00002-of-00003.safetensors"), &["model-00002-of-00003.safetensors"]),
    ("gelu", |c| fs::write(c.path("config.json"), "{").unwrap(), &["config.json", "JSON"]),
    ("gelu", |c| fs::write(c.path("tokenizer.json"), "{}").unwrap(), &["tokenizer.json"]),
    ("gelu", |c| fs::write(c.path("model.safetensors"), [7; 5]).unwrap(), &["model.safetensors"]),
    (
        "quick-gelu-legacy-bin",
        |c| fs::write(c.path("pytorch_model.bin"), [7; 50]).unwrap(),
        &["pytorch_model.bin"],
    ),
    ("gelu", |c| truncate(&c.path("model.safetensors")), &["model.safetensors"]),
    ("quick-gelu-legacy-bin", |c| truncate(&c.path("pytorch_model.bin")), &["pytorch_model.bin"]),
    (
        "gelu",
        |c| c.edit_weights(|t| drop(t.remove("vision_model.embeddings.class_embedding"))),
        &["model.safetensors", "vision_model.embeddings.class_embedding"],
    ),
    (
        "gelu",
        |c| c.edit_weights(|t| drop(t.remove("text_model.encoder.layers.1.mlp.fc2.bias"))),
        &["text_model.encoder.layers.1.mlp.fc2.bias"],
    ),
    (
        "gelu",
        |c| c.edit_weights(|t| drop(t.insert("visual_projection.weight".into(), zeros((24, 39))))),
        &["model.safetensors", "visual_projection.weight", "[24, 39]", "[24, 40]"],
    ),
    (
        "sharded",
        |c| c.edit("config.json", |j| j["vision_config"]["patch_size"] = 4.into()),
        &["safetensors", "patch_embedding.weight", "[40, 3, 8, 8]", "[40, 3, 4, 4]"],
    ),
    ("gelu", |c| c.edit("config.json", |j| j["model_type"] = "siglip".into()), &["siglip", "clip"]),
    (
        "gelu",
        |c| c.edit("config.json", |j| j["text_config"]["hidden_act"] = "mish".into()),
        &["hidden_act", "mish"],
    ),
    (
        "gelu",
        |c| c.edit("config.json", |j| j["vision_config"]["num_attention_heads"] = 7.into()),
        &["heads", "40"],
    ),
    (
        "gelu",
        |c| c.edit("config.json", |j| j["text_config"]["eos_token_id"] = 5.into()),
        &["eos_token_id", "5"],
    ),
    (
        "gelu",
        |c| c.edit("preprocessor_config.json", |j| j["crop_size"] = 30.into()),
        &["30 x 30", "image_size", "32"],
    ),
    ("gelu", |c| c.edit("preprocessor_config.json", |j| j["resample"] = 9.into()), &["resample", "9"]),
];

fn truncate(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    fs::File::options().write(true).open(path).unwrap().set_len(length - 100).unwrap();
}

fn zeros(shape: (usize, usize)) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn a_broken_checkpoint_is_named() {
    for (number, (name, break_it, words)) in BREAKAGES.iter().enumerate() {
        let copy = Copy::of(&format!("clip/{name}"));
        break_it(&copy);
        let error = match Clip::load(&copy.files(), &options(DTypeChoice::F32)) {
            Err(error @ Error::Model { .. }) => error.to_string(),
            Err(other) => panic!("breakage {number}: {other:?}"),
            Ok(_) => panic!("breakage {number} of {name} was not noticed"),
        };
        for word in words.iter().chain(&["mine"]) {
            assert!(error.contains(word), "breakage {number}: {error:?} does not hold {word:?}");
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let copy = Copy::of("clip/gelu");
    copy.edit_weights(|t| drop(t.insert("text_projection.weight".into(), (zeros((24, 32)) / 0.0).unwrap())));
    let clip = Clip::load(&copy.files(), &options(DTypeChoice::F32)).unwrap();
    assert!(matches!(clip.embed_texts(&["a dog"]), Err(Error::Compute { .. })));
}

#[test]
fn check_reports_every_tensor() {
    let whole = ModelFiles::from_dir("gelu", &fixtures().join("gelu")).unwrap();
    let report = models::check(&whole, &options(DTypeChoice::F32)).unwrap();
    assert!(report.runs(), "{:?}", report.problems);
    assert!(report.tensors.iter().all(|row| row.fits() && row.found.is_some() && row.dtype == "F32"));
    let numbers: usize =
        report.tensors.iter().map(|row| row.expected.iter().flatten().product::<usize>()).sum();
    assert_eq!(report.parameters, numbers as u64);

    let copy = Copy::of("clip/gelu");
    copy.edit_weights(|t| {
        t.remove("vision_model.embeddings.class_embedding");
        t.insert("visual_projection.weight".into(), zeros((24, 39)));
        t.insert("spare".into(), zeros((1, 2)));
    });
    let report = models::check(&copy.files(), &options(DTypeChoice::F32)).unwrap();
    assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
    let row = |name: &str| report.tensors.iter().find(|row| row.name == name).unwrap();
    assert_eq!(row("vision_model.embeddings.class_embedding").found, None);
    assert_eq!(row("visual_projection.weight").found, Some(vec![24, 39]));
    assert_eq!((&row("spare").expected, row("spare").fits()), (&None, true));
}
