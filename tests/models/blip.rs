//! BLIP against transformers: the fixtures of `training/fixtures_blip.py`, whole checkpoints and broken ones.

use super::checkpoint::Copy;
use candle_core::{DType, Device, IndexOp, Tensor};
use eyeshot::Error;
use eyeshot::models::{
    self, Blip, DTypeChoice, Decoding, DeviceChoice, Features, Matching, ModelFiles, ModelOptions, Strategy,
};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const MATCHERS: [&str; 2] = ["matcher", "matcher-legacy"];
const CAPTIONERS: [&str; 2] = ["captioner", "captioner-legacy"];
const PICTURES: [&str; 4] = ["33x47", "75x40", "20x90", "64x64"];

const LOGITS: f32 = 1e-4;
const UNIT: f32 = 1e-5;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn files(name: &str) -> ModelFiles {
    ModelFiles::from_dir(name, &fixtures().join("blip").join(name)).unwrap()
}

fn options(dtype: DTypeChoice, matching: Matching) -> ModelOptions {
    ModelOptions { device: DeviceChoice::Cpu, dtype, matching, offline: true, ..ModelOptions::default() }
}

fn load(name: &str) -> Blip {
    Blip::load(&files(name), &options(DTypeChoice::F32, Matching::Cls)).unwrap()
}

fn picture(name: &str) -> image::RgbImage {
    image::open(fixtures().join("clip/preprocess").join(format!("{name}.png"))).unwrap().to_rgb8()
}

fn pictures(blip: &Blip) -> Vec<Features> {
    let pixels: Vec<_> = PICTURES.iter().map(|name| blip.prepare(&picture(name)).unwrap()).collect();
    blip.look(&pixels).unwrap()
}

fn texts(key: &str) -> Vec<String> {
    let json: Value = serde_json::from_slice(&fs::read(fixtures().join("blip/texts.json")).unwrap()).unwrap();
    serde_json::from_value(json[key].clone()).unwrap()
}

fn expected(name: &str) -> HashMap<String, Tensor> {
    let file = fixtures().join("blip").join(name).join("expected.safetensors");
    candle_core::safetensors::load(file, &Device::Cpu).unwrap()
}

/// Every picture with every text, pictures outermost.
fn all_pairs<'a>(features: &'a [Features], texts: &'a [String]) -> Vec<(&'a Features, &'a str)> {
    features.iter().flat_map(|f| texts.iter().map(move |text| (f, text.as_str()))).collect()
}

fn check(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: off by {worst}, allowed {tolerance}");
}

fn check_tensor(what: &str, found: &Tensor, expected: &Tensor, tolerance: f32) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    check(what, &flat(found), &flat(expected), tolerance);
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn token_ids_are_the_references() {
    let texts = texts("texts");
    for name in MATCHERS {
        let expected = expected(name);
        let ids: Vec<Vec<u32>> = expected["input_ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
        let kept: Vec<Vec<u32>> = expected["attention_mask"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
        let blip = load(name);
        let found = blip.token_ids(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for (((found, ids), kept), text) in found.iter().zip(ids).zip(kept).zip(&texts) {
            let length = kept.iter().sum::<u32>() as usize;
            assert_eq!(found, &ids[..length], "{name}: {text:?}");
        }
        assert_eq!(blip.excess(&texts[0]).unwrap(), 0);
        assert!(blip.excess(&texts[5]).unwrap() > 20);
    }
}

#[test]
fn hidden_states_are_the_references() {
    for name in MATCHERS {
        let (blip, expected) = (load(name), expected(name));
        let pixels: Vec<_> = PICTURES[..2].iter().map(|n| blip.prepare(&picture(n)).unwrap()).collect();
        let pixels = blip.pixel_tensor(&pixels).unwrap();
        for depth in 0..=blip.vision().depth() {
            let found = blip.vision().hidden_states(&pixels, depth).unwrap();
            check_tensor(
                &format!("{name}, {depth}"),
                &found,
                &expected["hidden"].get(depth).unwrap(),
                LOGITS,
            );
        }
        check_tensor(name, &blip.vision().forward(&pixels).unwrap(), &expected["states"], LOGITS);
    }
}

#[test]
fn both_conventions_match_as_the_reference() {
    let texts = texts("texts");
    for name in MATCHERS {
        let expected = expected(name);
        for (matching, key) in [(Matching::Cls, "itm_cls"), (Matching::Enc, "itm_enc")] {
            let blip = Blip::load(&files(name), &options(DTypeChoice::F32, matching)).unwrap();
            let features = pictures(&blip);
            let pairs = all_pairs(&features, &texts);
            let found = blip.judge(&pairs).unwrap();
            let logits: Vec<f32> = found.iter().flat_map(|j| j.logits).collect();
            check(&format!("{name}, {key}"), &logits, &flat(&expected[key]), LOGITS);
            let softmax = candle_nn::ops::softmax(&expected[key], 2).unwrap().i((.., .., 1)).unwrap();
            check(name, &blip.matches(&pairs).unwrap(), &flat(&softmax), UNIT);
            let rank: Vec<f32> = found.iter().map(|j| j.rank).collect();
            let wanted = match matching {
                Matching::Cls => softmax,
                Matching::Enc => (expected[key].i((.., .., 1)).unwrap() + &expected["itc"]).unwrap(),
            };
            check(name, &rank, &flat(&wanted), LOGITS);
        }
    }
}

#[test]
fn cosines_are_the_references() {
    let texts = texts("texts");
    for name in MATCHERS {
        let (blip, expected) = (load(name), expected(name));
        let features = pictures(&blip);
        let found = blip.similarities(&all_pairs(&features, &texts)).unwrap();
        check(name, &found, &flat(&expected["itc"]), UNIT);
        let images = blip.image_embeddings(&features.iter().collect::<Vec<_>>()).unwrap().concat();
        check(name, &images, &flat(&expected["image_embeds"]), UNIT);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        check(name, &blip.text_embeddings(&texts).unwrap().concat(), &flat(&expected["text_embeds"]), UNIT);
    }
}

#[test]
fn a_pair_does_not_depend_on_its_batch() {
    let texts = texts("texts");
    for name in MATCHERS {
        let blip = load(name);
        let features = pictures(&blip);
        // Out of order, pictures and texts mixed, some twice, more texts for one picture than go at once.
        let mut pairs = all_pairs(&features, &texts);
        pairs.reverse();
        pairs.extend((0..150).map(|n| (&features[1], texts[n % texts.len()].as_str())));
        pairs.push((&features[3], &texts[0]));
        let alone: Vec<f32> = pairs.iter().map(|pair| blip.matches(&[*pair]).unwrap()[0]).collect();
        check(name, &blip.matches(&pairs).unwrap(), &alone, UNIT);
        let alone: Vec<f32> = pairs.iter().map(|pair| blip.similarities(&[*pair]).unwrap()[0]).collect();
        check(name, &blip.similarities(&pairs).unwrap(), &alone, UNIT);
        assert!(blip.matches(&[]).unwrap().is_empty());
    }
}

#[test]
fn half_features_cost_little() {
    let texts = texts("texts");
    let blip = load("matcher");
    let features = pictures(&blip);
    let half: Vec<Features> = features.iter().map(Features::to_half).collect();
    assert_eq!(half[0].bytes() * 2, features[0].bytes());
    let (tokens, width) = half[0].size();
    let read_back = Features::from_half(tokens, width, half[0].half_values()).unwrap();
    assert!(Features::from_half(tokens + 1, width, half[0].half_values()).is_err());
    let full = blip.matches(&all_pairs(&features, &texts)).unwrap();
    check("half", &blip.matches(&all_pairs(&half, &texts)).unwrap(), &full, 2e-3);
    let pair = [(&read_back, texts[0].as_str())];
    check("read back", &blip.matches(&pair).unwrap(), &full[..1], 2e-3);
    let f16 = Blip::load(&files("matcher"), &options(DTypeChoice::F16, Matching::Cls)).unwrap();
    let features = pictures(&f16);
    check("f16", &f16.matches(&all_pairs(&features, &texts)).unwrap(), &full, 1e-2);
}

/// A decoding as transformers' arguments say it.
fn decoding(settings: &Value, prefix: &Value) -> Decoding {
    let number = |key: &str| settings[key].as_f64();
    let strategy = match settings["num_beams"].as_u64() {
        Some(width) => Strategy::Beam {
            width: width as usize,
            length_penalty: number("length_penalty").unwrap_or(1.0) as f32,
            early_stopping: settings["early_stopping"].as_bool().unwrap_or(false),
        },
        None => Strategy::Greedy,
    };
    Decoding {
        strategy,
        max_new_tokens: settings["max_new_tokens"].as_u64().unwrap() as usize,
        min_new_tokens: settings["min_new_tokens"].as_u64().unwrap_or(0) as usize,
        repetition_penalty: number("repetition_penalty").unwrap_or(1.0) as f32,
        prefix: prefix.as_str().map(str::to_owned),
        begin_suppress: vec![],
    }
}

fn cases(name: &str) -> Vec<Value> {
    serde_json::from_slice(&fs::read(fixtures().join("blip").join(name).join("cases.json")).unwrap()).unwrap()
}

#[test]
fn captions_are_the_references() {
    for name in CAPTIONERS {
        let blip = load(name);
        assert!(blip.can_caption() && !blip.can_match() && !blip.can_answer());
        let features = pictures(&blip);
        let images: Vec<&Features> = features.iter().collect();
        for case in cases(name) {
            let how = decoding(&case["settings"], &case["prefix"]);
            let wanted: Vec<Vec<u32>> = serde_json::from_value(case["tokens"].clone()).unwrap();
            let found = blip.caption(&images, &how).unwrap();
            for (row, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                assert_eq!(&found.token_ids, wanted, "{name}, {}, {how:?}, picture {row}", case["name"]);
                assert!(how.prefix.is_none() || found.text.starts_with("a photo of"), "{found:?}");
                assert!(found.log_prob < 0.0);
            }
            // One at a time, the same comes out.
            for (image, together) in images.iter().zip(&found) {
                let alone = &blip.caption(&[image], &how).unwrap()[0];
                assert_eq!(alone.token_ids, together.token_ids, "{name}, {}", case["name"]);
                assert!((alone.log_prob - together.log_prob).abs() < 1e-3);
            }
        }
    }
}

#[test]
fn answers_are_the_references() {
    let (blip, questions) = (load("answerer"), texts("questions"));
    assert!(blip.can_answer() && !blip.can_match() && !blip.can_caption());
    let features = pictures(&blip);
    // Questions of unequal length, all in one batch; the reference answered each alone.
    let pairs: Vec<(&Features, &str)> =
        questions.iter().flat_map(|q| features.iter().map(move |f| (f, q.as_str()))).collect();
    for case in cases("answerer") {
        let how = decoding(&case["settings"], &Value::Null);
        let wanted: Vec<Vec<u32>> = serde_json::from_value(case["tokens"].clone()).unwrap();
        let found: Vec<_> = blip.answer(&pairs, &how).unwrap().into_iter().map(|g| g.token_ids).collect();
        assert_eq!(found, wanted, "{}", case["name"]);
    }
}

#[test]
fn drawn_texts_follow_from_the_seed() {
    let blip = load("captioner");
    let features = pictures(&blip);
    let images: Vec<&Features> = features.iter().collect();
    let draw = |p, seed| {
        let how = Decoding { strategy: Strategy::TopP { p, temperature: 1.0, seed }, ..Decoding::default() };
        blip.caption(&images, &how).unwrap().into_iter().map(|g| g.token_ids).collect::<Vec<_>>()
    };
    assert_eq!(draw(0.9, 1), draw(0.9, 1));
    assert_ne!(draw(0.9, 1), draw(0.9, 2));
    // A nucleus of next to nothing holds the likeliest token alone.
    let greedy: Vec<_> =
        blip.caption(&images, &Decoding::default()).unwrap().into_iter().map(|g| g.token_ids).collect();
    assert_eq!(draw(1e-6, 3), greedy);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let blip = load("captioner");
    let features = pictures(&blip);
    let top_p = |p, temperature| Strategy::TopP { p, temperature, seed: 0 };
    let plain = Decoding::default();
    for how in [
        Decoding { max_new_tokens: 0, ..plain.clone() },
        Decoding { min_new_tokens: 30, ..plain.clone() },
        Decoding { repetition_penalty: 0.0, ..plain.clone() },
        Decoding { repetition_penalty: f32::NAN, ..plain.clone() },
        Decoding { strategy: top_p(0.0, 1.0), ..plain.clone() },
        Decoding { strategy: top_p(0.5, 0.0), ..plain.clone() },
        Decoding::beam(0),
        Decoding { prefix: Some("  ".into()), ..plain.clone() },
        Decoding { prefix: Some("far too long ".repeat(9)), ..plain.clone() },
    ] {
        let found = blip.caption(&[&features[0]], &how);
        assert!(matches!(found, Err(Error::Invalid { .. })), "{how:?}: {found:?}");
    }
    // As many tokens as there is room for, however many are allowed.
    let how = Decoding { max_new_tokens: 500, min_new_tokens: 400, ..plain };
    assert_eq!(blip.caption(&[&features[0]], &how).unwrap()[0].token_ids.len(), 20);
    assert!(blip.caption(&[], &how).unwrap().is_empty());
}

#[test]
fn bad_texts_and_foreign_features_are_refused() {
    let blip = load("matcher");
    let features = pictures(&blip);
    for text in ["", "  ", "\n\t"] {
        let found = blip.matches(&[(&features[0], "a dog"), (&features[1], text)]);
        assert!(matches!(found, Err(Error::Invalid { .. })), "{text:?}");
        assert!(matches!(blip.similarities(&[(&features[0], text)]), Err(Error::Invalid { .. })));
    }
    // What is beyond the limit changes nothing.
    let long = "a dog far left of the car ".repeat(30);
    let longer = format!("{long} and two birds");
    let found = blip.matches(&[(&features[0], &long), (&features[0], &longer)]).unwrap();
    assert_eq!(found[0], found[1]);
    let foreign = &pictures(&load("answerer"))[0];
    assert!(matches!(blip.matches(&[(foreign, "a dog")]), Err(Error::Invalid { .. })));
}

#[test]
fn what_a_checkpoint_cannot_do_is_said() {
    let matcher = load("matcher");
    assert!(matcher.can_match() && !matcher.can_caption() && !matcher.can_answer());
    let features = pictures(&matcher);
    let said = |error: Error| match error {
        Error::Unsupported { what, fix } => format!("{what}; {fix}"),
        other => panic!("{other:?}"),
    };
    let error = said(matcher.caption(&[&features[0]], &Decoding::default()).unwrap_err());
    assert!(error.contains("\"matcher\"") && error.contains("BlipForConditionalGeneration"), "{error}");
    let captioner = load("captioner");
    let error = said(captioner.matches(&[(&features[0], "a dog")]).unwrap_err());
    assert!(error.contains("BlipForImageTextRetrieval"), "{error}");
}

#[test]
fn one_directory_may_match_and_write() {
    let copy = Copy::of("blip/matcher");
    let writer =
        candle_core::safetensors::load(fixtures().join("blip/captioner/model.safetensors"), &Device::Cpu)
            .unwrap();
    copy.edit_weights(|tensors| {
        let parts = writer.into_iter().filter(|(name, _)| name.starts_with("text_decoder."));
        tensors.extend(parts);
    });
    let both = loaded(&copy, Matching::Cls).unwrap();
    assert!(both.can_match() && both.can_caption() && !both.can_answer());
    let features = pictures(&both);
    let texts = texts("texts");
    let logits: Vec<f32> =
        both.judge(&all_pairs(&features, &texts)).unwrap().iter().flat_map(|j| j.logits).collect();
    check("both", &logits, &flat(&expected("matcher")["itm_cls"]), LOGITS);
    assert_eq!(both.caption(&[&features[0]], &Decoding::default()).unwrap().len(), 1);
}

#[test]
fn older_names_are_known() {
    let wanted = |blip: &Blip| {
        let features = pictures(blip);
        blip.caption(&features.iter().collect::<Vec<_>>(), &Decoding::beam(3)).unwrap()
    };
    let expected = wanted(&load("captioner"));
    let head = "text_decoder.cls.predictions";
    let copy = Copy::of("blip/captioner");
    copy.edit_weights(|tensors| {
        let words = tensors["text_decoder.bert.embeddings.word_embeddings.weight"].clone();
        tensors.insert(format!("{head}.decoder.weight"), words);
        let bias = tensors.remove(&format!("{head}.bias")).unwrap();
        tensors.insert(format!("{head}.decoder.bias"), bias);
    });
    assert_eq!(wanted(&loaded(&copy, Matching::Cls).unwrap()), expected);
    // Output weights of one's own count, where there are some.
    copy.edit_weights(|tensors| {
        let words = (&tensors[&format!("{head}.decoder.weight")] * -1.0).unwrap();
        tensors.insert(format!("{head}.decoder.weight"), words);
    });
    assert_ne!(wanted(&loaded(&copy, Matching::Cls).unwrap()), expected);
}

fn loaded(copy: &Copy, matching: Matching) -> eyeshot::Result<Blip> {
    Blip::load(&copy.files(), &options(DTypeChoice::F32, matching))
}

/// How a checkpoint is broken, and the words that the error must hold.
type Breakage = (&'static str, fn(&Copy), &'static [&'static str]);

const BREAKAGES: [Breakage; 14] = [
    ("matcher", |c| c.edit("config.json", |j| j["model_type"] = "clip".into()), &["clip", "blip"]),
    ("matcher", |c| c.without("itm_head.weight"), &["model.safetensors", "itm_head.weight"]),
    ("matcher", |c| c.without("vision_proj.bias"), &["vision_proj.bias"]),
    (
        "matcher",
        |c| c.without("vision_model.embeddings.class_embedding"),
        &["vision_model.embeddings.class_embedding"],
    ),
    (
        "matcher",
        |c| c.without("text_encoder.encoder.layer.1.crossattention.self.key.weight"),
        &["text_encoder.encoder.layer.1.crossattention.self.key.weight"],
    ),
    (
        "matcher",
        |c| {
            c.edit_weights(|t| {
                let wrong = Tensor::zeros((2, 31), DType::F32, &Device::Cpu).unwrap();
                t.insert("itm_head.weight".into(), wrong);
            });
        },
        &["itm_head.weight", "[2, 31]", "[2, 32]"],
    ),
    ("captioner", |c| c.without("text_decoder.cls.predictions.bias"), &["text_decoder.cls.predictions.bias"]),
    (
        "answerer",
        |c| c.without("text_encoder.embeddings.LayerNorm.weight"),
        &["text_encoder.embeddings.LayerNorm.weight"],
    ),
    ("matcher-legacy", |c| c.remove("vocab.txt"), &["tokenizer.json", "vocab.txt"]),
    ("matcher-legacy", |c| fs::write(c.path("vocab.txt"), "[PAD]\na\n").unwrap(), &["vocab.txt", "[UNK]"]),
    (
        "matcher",
        |c| c.edit("config.json", |j| j["text_config"]["vocab_size"] = 100.into()),
        &["vocab_size", "100"],
    ),
    (
        "matcher",
        |c| c.edit("config.json", |j| j["vision_config"]["image_size"] = 40.into()),
        &["32 x 32", "image_size", "40"],
    ),
    (
        "matcher",
        |c| c.edit("config.json", |j| j["text_config"]["num_attention_heads"] = 5.into()),
        &["text_config", "heads"],
    ),
    (
        "captioner",
        |c| {
            c.edit("config.json", |j| j["architectures"] = Value::Null);
            c.edit_weights(|t| t.retain(|name, _| name.starts_with("vision_model.")));
        },
        &["itm_head.weight", "text_decoder"],
    ),
];

#[test]
fn a_broken_checkpoint_is_named() {
    for (number, (name, break_it, words)) in BREAKAGES.iter().enumerate() {
        let copy = Copy::of(&format!("blip/{name}"));
        break_it(&copy);
        let error = match loaded(&copy, Matching::Cls) {
            Err(error @ Error::Model { .. }) => error.to_string(),
            Err(other) => panic!("breakage {number}: {other:?}"),
            Ok(_) => panic!("breakage {number} of {name} was not noticed"),
        };
        for word in words.iter().chain(&["mine"]) {
            assert!(error.contains(word), "breakage {number}: {error:?} does not hold {word:?}");
        }
    }
    let clip = ModelFiles::from_dir("clip", &fixtures().join("clip/gelu")).unwrap();
    let error = Blip::load(&clip, &options(DTypeChoice::F32, Matching::Cls)).err().unwrap().to_string();
    assert!(error.contains("clip") && error.contains("blip"), "{error}");
}

#[test]
fn check_runs_every_kind() {
    for name in MATCHERS.iter().chain(&CAPTIONERS).chain(&["answerer"]) {
        let report = models::check(&files(name), &options(DTypeChoice::F32, Matching::Cls)).unwrap();
        assert!(report.runs(), "{name}: {:?}", report.problems);
        let spare: Vec<_> =
            report.tensors.iter().filter(|row| row.expected.is_none()).map(|row| &row.name).collect();
        let known = |name: &str| name.ends_with("position_ids") || name.ends_with("predictions.decoder.bias");
        assert!(spare.iter().all(|name| known(name)), "{name}: {spare:?}");
    }
}

#[test]
fn what_is_not_a_number_is_said() {
    let copy = Copy::of("blip/matcher");
    copy.edit_weights(|tensors| {
        let bad = (&tensors["itm_head.bias"] * f64::NAN).unwrap();
        tensors.insert("itm_head.bias".into(), bad);
    });
    let blip = loaded(&copy, Matching::Cls).unwrap();
    let features = pictures(&blip);
    assert!(matches!(blip.matches(&[(&features[0], "a dog")]), Err(Error::Compute { .. })));
}
