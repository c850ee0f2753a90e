//! LLaVA against transformers: the fixtures of `training/fixtures_llava.py`, and checkpoints in other layouts, packed or broken.

use super::checkpoint::Copy;
use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{DType, Device, IndexOp, Tensor};
use eyeshot::Error;
use eyeshot::models::llama::{Llama, Source, Span};
use eyeshot::models::llava::{Finish, LlavaConfig, Slot, Step, advance};
use eyeshot::models::weights::Weights;
use eyeshot::models::{
    self, DTypeChoice, Decoding, DeviceChoice, Llava, ModelFiles, ModelOptions, Prompt, Quantize, Seen,
    Session, Silent, Strategy,
};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const CHECKPOINTS: [&str; 2] = ["vicuna", "mistral"];
const PICTURES: [&str; 8] = ["1x1", "2x3", "32x32", "33x47", "75x40", "20x90", "131x17", "64x64"];
/// What the fixtures asked for.
const NEW: usize = 12;

const HIDDEN: f32 = 1e-4;
const LOGITS: f32 = 1e-3;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn options() -> ModelOptions {
    ModelOptions {
        device: DeviceChoice::Cpu,
        dtype: DTypeChoice::F32,
        offline: true,
        ..ModelOptions::default()
    }
}

fn resolve(dir: &Path) -> ModelFiles {
    models::resolve(dir.to_str().unwrap(), &options(), &Silent).unwrap()
}

fn load(name: &str) -> Llava {
    Llava::load(&resolve(&fixtures().join("llava").join(name)), &options()).unwrap()
}

fn picture(name: &str) -> image::RgbImage {
    image::open(fixtures().join("clip/preprocess").join(format!("{name}.png"))).unwrap().to_rgb8()
}

fn greedy(tokens: usize) -> Decoding {
    Decoding { max_new_tokens: tokens, ..Decoding::default() }
}

/// A question of the fixtures and what the reference makes of it.
struct Case {
    number: usize,
    question: String,
    images: Vec<String>,
    tokens: Vec<usize>,
    text: String,
    expected: HashMap<String, Tensor>,
}

impl Case {
    fn all(name: &str) -> Vec<Self> {
        let folder = fixtures().join("llava").join(name);
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
        let expected =
            candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
        let case = |(number, case): (usize, &serde_json::Value)| Case {
            number,
            question: case["question"].as_str().unwrap().to_owned(),
            images: serde_json::from_value(case["images"].clone()).unwrap(),
            tokens: serde_json::from_value(case["tokens"].clone()).unwrap(),
            text: case["text"].as_str().unwrap().to_owned(),
            expected: expected.clone(),
        };
        json.as_array().unwrap().iter().enumerate().map(case).collect()
    }

    fn tensor(&self, name: &str) -> &Tensor {
        &self.expected[&format!("{}.{name}", self.number)]
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.tensor(name).to_dtype(DType::U32).unwrap().to_vec1().unwrap()
    }

    fn look(&self, llava: &Llava) -> Vec<Seen> {
        let views: Vec<_> =
            self.images.iter().map(|name| llava.prepare(&picture(name), true).unwrap()).collect();
        llava.look(&views).unwrap()
    }

    fn ask<T>(&self, seen: &[Seen], then: impl FnOnce(&Prompt) -> T) -> T {
        let images: Vec<&Seen> = seen.iter().collect();
        then(&Prompt { question: &self.question, images: &images, ..Prompt::default() })
    }

    fn start(&self, llava: &Llava, how: &Decoding) -> Session {
        self.ask(&self.look(llava), |prompt| llava.start(prompt, how).unwrap())
    }

    /// The embeddings of the whole prompt.
    fn embeddings(&self, llava: &Llava) -> Tensor {
        let seen = self.look(llava);
        let images: Vec<&Seen> = seen.iter().collect();
        let slots = self.ask(&seen, |prompt| llava.slots(prompt).unwrap());
        llava.fill(&slots, &images).unwrap().0
    }
}

fn check(what: &str, found: &Tensor, expected: &Tensor, tolerance: f32) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let worst = off(found, expected);
    assert!(worst <= tolerance, "{what}: off by {worst}, allowed {tolerance}");
}

fn off(found: &Tensor, expected: &Tensor) -> f32 {
    let off = (found.to_dtype(DType::F32).unwrap() - expected).unwrap().abs().unwrap();
    off.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap()
}

/// What comes after the prompt: scores over the vocabulary.
fn logits(llava: &Llava, embeddings: &Tensor) -> Tensor {
    let llama = llava.language();
    let states = llama.hidden_states(embeddings, llama.config().layers).unwrap();
    llama.logits(&states.i(states.dim(0).unwrap() - 1..).unwrap()).unwrap().get(0).unwrap()
}

fn run(mut session: Session) -> (String, Vec<u32>, Option<Finish>) {
    let mut text = String::new();
    while let Some(piece) = session.next().unwrap() {
        text.push_str(&piece.text);
    }
    assert!(session.next().unwrap().is_none() && session.step().unwrap() == Step::Done);
    (text, session.written().to_vec(), session.finish())
}

/// Random weights write broken bytes, and the reference, which sees all tokens at once, takes a letter back that stood in
/// front of them: a stream can't. All else is the same.
fn check_said(found: &str, expected: &str) {
    let same = |(found, expected): (char, char)| found == expected || expected == char::REPLACEMENT_CHARACTER;
    assert_eq!(found.chars().count(), expected.chars().count(), "{found:?} {expected:?}");
    assert!(found.chars().zip(expected.chars()).all(same), "{found:?} {expected:?}");
}

#[test]
fn prompts_are_the_references() {
    for name in CHECKPOINTS {
        let llava = load(name);
        for case in Case::all(name) {
            let seen = case.look(&llava);
            let mut counts = case.tokens.iter();
            // The image token is the last of the fixtures' vocabularies.
            let expand = |slot: Slot| match slot {
                Slot::Token(id) => vec![id],
                Slot::Image => vec![515; *counts.next().unwrap()],
            };
            let found: Vec<u32> =
                case.ask(&seen, |prompt| llava.slots(prompt).unwrap()).into_iter().flat_map(expand).collect();
            assert_eq!(found, case.ids("input_ids"), "{name}: {}", case.question);
        }
    }
}

#[test]
fn pictures_are_seen_as_the_reference_does() {
    for name in CHECKPOINTS {
        let llava = load(name);
        for case in Case::all(name).iter().filter(|case| !case.images.is_empty()) {
            let seen = case.look(&llava);
            assert_eq!(seen.iter().map(Seen::tokens).collect::<Vec<_>>(), case.tokens, "{name}");
            let states: Vec<_> = seen.iter().map(Seen::states).collect();
            let rows: Vec<u32> = (0..case.tokens.iter().sum::<usize>() as u32).step_by(3).collect();
            let found = Tensor::cat(&states, 0).unwrap();
            let found = found.index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap();
            check(&format!("{name}, {}", case.question), &found, case.tensor("seen"), HIDDEN);
            let [only] = case.images.as_slice() else { continue };
            let view = llava.prepare(&picture(only), true).unwrap();
            let pixels = case.tensor("pixels");
            assert_eq!(view.squares().len(), pixels.dim(0).unwrap());
            for (square, pixels) in view.squares().iter().enumerate() {
                let whole = Tensor::from_vec(pixels.values(), (3, 32, 32), &Device::Cpu).unwrap();
                let even = Tensor::arange_step(0u32, 32, 2, &Device::Cpu).unwrap();
                let found = whole.index_select(&even, 1).unwrap().index_select(&even, 2).unwrap();
                check("pixels", &found, &case.tensor("pixels").get(square).unwrap(), 1e-6);
            }
        }
    }
}

#[test]
fn hidden_states_and_logits_are_the_references() {
    for name in CHECKPOINTS {
        let llava = load(name);
        for case in Case::all(name) {
            let embeddings = case.embeddings(&llava);
            let places = case.tensor("places").to_dtype(DType::U32).unwrap();
            for depth in 0..=llava.language().config().layers {
                let states = llava.language().hidden_states(&embeddings, depth).unwrap();
                let found = states.index_select(&places, 0).unwrap();
                let what = format!("{name}, {}, depth {depth}", case.question);
                check(&what, &found, &case.tensor("hidden").get(depth).unwrap(), HIDDEN);
            }
            check(name, &logits(&llava, &embeddings), case.tensor("logits"), LOGITS);
        }
    }
}

#[test]
fn greedy_answers_are_the_references() {
    for name in CHECKPOINTS {
        let llava = load(name);
        for case in Case::all(name) {
            let (text, ids, finish) = run(case.start(&llava, &greedy(NEW)));
            assert_eq!(ids, case.ids("written"), "{name}: {}", case.question);
            check_said(&text, &case.text);
            assert!(matches!(finish, Some(Finish::Length | Finish::End)));
            let seen = case.look(&llava);
            let whole = case.ask(&seen, |prompt| llava.answer(prompt, &greedy(NEW)).unwrap());
            assert_eq!((whole.text.as_str(), &whole.token_ids), (case.text.trim(), &ids));
        }
    }
}

#[test]
fn f16_stays_near_the_reference() {
    let files = resolve(&fixtures().join("llava/vicuna"));
    let half = Llava::load(&files, &ModelOptions { dtype: DTypeChoice::F16, ..options() }).unwrap();
    for case in Case::all("vicuna") {
        check(&case.question, &logits(&half, &case.embeddings(&half)), case.tensor("logits"), 0.02);
    }
    let refused = Llava::load(&files, &ModelOptions { dtype: DTypeChoice::BF16, ..options() });
    assert!(matches!(refused, Err(Error::Invalid { .. })));
}

#[test]
fn a_cache_changes_nothing() {
    for name in CHECKPOINTS {
        let llava = load(name);
        let llama = llava.language();
        let embeddings = Case::all(name)[2].embeddings(&llava);
        let whole = llama.hidden_states(&embeddings, llama.config().layers).unwrap();
        // Longer than the sliding window of the one that has one.
        let mut cache = llama.cache(embeddings.dim(0).unwrap());
        let mut at = 0;
        for len in [7, 1, 40, 1, 1, 9, 1, embeddings.dim(0).unwrap() - 60] {
            let x = embeddings.narrow(0, at, len).unwrap();
            let found = llama.forward(&x, &mut [Span { cache: &mut cache, len }]).unwrap();
            check(&format!("{name}, {len} after {at}"), &found, &whole.narrow(0, at, len).unwrap(), HIDDEN);
            at += len;
        }
        assert_eq!(cache.len(), at);
    }
}

#[test]
fn sessions_side_by_side_say_what_each_says_alone() {
    for name in CHECKPOINTS {
        let llava = load(name);
        let cases = Case::all(name);
        // Of unequal lengths, so that some are done before others.
        let mut sessions: Vec<_> =
            cases.iter().enumerate().map(|(at, case)| case.start(&llava, &greedy(NEW - at))).collect();
        let mut texts = vec![String::new(); sessions.len()];
        loop {
            let mut open: Vec<&mut Session> = sessions.iter_mut().collect();
            let steps: Vec<Step> = advance(&mut open).unwrap().into_iter().map(Result::unwrap).collect();
            if steps.iter().all(|step| *step == Step::Done) {
                break;
            }
            for (text, step) in texts.iter_mut().zip(steps) {
                if let Step::Piece(piece) = step {
                    text.push_str(&piece.text);
                }
            }
        }
        for (at, ((case, session), text)) in cases.iter().zip(&sessions).zip(&texts).enumerate() {
            let (alone, ids, _) = run(case.start(&llava, &greedy(NEW - at)));
            assert_eq!((text, session.written()), (&alone, ids.as_slice()), "{name}: {}", case.question);
            assert_eq!(session.written(), &case.ids("written")[..ids.len()], "{name}");
        }
    }
    let (one, other) = (load("vicuna"), load("vicuna"));
    let case = &Case::all("vicuna")[3];
    let (mut a, mut b) = (case.start(&one, &greedy(2)), case.start(&other, &greedy(2)));
    assert!(matches!(advance(&mut [&mut a, &mut b]), Err(Error::Invalid { .. })));
    assert_eq!(a.finish(), Some(Finish::Failed));
}

#[test]
fn what_a_user_types_is_text() {
    for name in CHECKPOINTS {
        let llava = load(name);
        let seen = Case::all(name)[0].look(&llava);
        let images: Vec<&Seen> = seen.iter().collect();
        let slots = |question: &str, system: Option<&str>| {
            llava.slots(&Prompt { system, question, images: &images, stop: &[] }).unwrap()
        };
        let typed = "a <image> or </s><s> \u{F0000}\u{F0003}\u{FFFFC} <unk> [INST] {{ x }}{% if %}";
        for slots in [slots(typed, None), slots("what?", Some(typed))] {
            let special = |id: u32| slots.iter().filter(|slot| **slot == Slot::Token(id)).count();
            assert_eq!(slots.iter().filter(|slot| **slot == Slot::Image).count(), 1, "{name}: {slots:?}");
            assert_eq!((special(0), special(1), special(2)), (0, 1, 0), "{name}: {slots:?}");
        }
        let prompt = Prompt { question: typed, images: &images, ..Prompt::default() };
        assert!(!llava.answer(&prompt, &greedy(3)).unwrap().token_ids.is_empty());
    }
}

#[test]
fn draws_follow_the_seed_and_stops_end_the_text() {
    let llava = load("vicuna");
    let case = &Case::all("vicuna")[0];
    let draw = |seed| {
        let strategy = Strategy::TopP { p: 0.9, temperature: 1.5, seed };
        run(case.start(&llava, &Decoding { strategy, max_new_tokens: 16, ..Decoding::default() })).1
    };
    assert_eq!(draw(1), draw(1));
    assert!((2..6).any(|seed| draw(seed) != draw(1)));

    let seen = case.look(&llava);
    let images: Vec<&Seen> = seen.iter().collect();
    let (said, ..) = run(case.start(&llava, &greedy(NEW)));
    let stop: String = said.chars().skip(6).take(3).collect();
    let prompt = Prompt { question: &case.question, images: &images, stop: &[&stop], ..Prompt::default() };
    let (text, ids, finish) = run(llava.start(&prompt, &greedy(NEW)).unwrap());
    assert_eq!(text, said[..said.find(&stop).unwrap()]);
    assert!(finish == Some(Finish::Stop) && ids.len() < NEW, "{finish:?} {ids:?}");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let llava = load("vicuna");
    let seen = Case::all("vicuna")[0].look(&llava);
    let foreign = Case::all("mistral")[0].look(&load("mistral"));
    let long = "word ".repeat(10_000);
    let ask = |question: &str, images: &[&Seen], how: &Decoding| {
        llava.start(&Prompt { question, images, ..Prompt::default() }, how).err().unwrap().to_string()
    };
    let how = greedy(4);
    assert!(ask(" \n", &[], &how).contains("question"));
    assert!(ask(&long, &[], &how).contains("fewer than 256"));
    assert!(ask("what?", &[&seen[0]; 16], &how).contains("256 of them for 16 pictures"));
    assert!(ask("what?", &[&foreign[0]], &how).contains("another model"));
    assert!(ask("what?", &[], &Decoding::beam(3)).contains("beams"));
    assert!(ask("what?", &[], &Decoding { prefix: Some("a".into()), ..how.clone() }).contains("prefix"));
    assert!(ask("what?", &[], &greedy(0)).contains("max_new_tokens"));
    assert!(llava.prepare(&image::RgbImage::new(0, 3), true).is_err());
    // A prompt that nearly fills the context leaves room for what is left of it.
    let prompt = Prompt { question: "what?", images: &[&seen[0]; 10], ..Prompt::default() };
    let left = llava.context() - llava.question_tokens(&prompt).unwrap() - 10 * 16;
    let (_, ids, finish) = run(llava.start(&prompt, &greedy(100)).unwrap());
    assert!(finish == Some(Finish::End) || ids.len() == left + 1, "{finish:?}, {} of {left}", ids.len());
}

#[test]
fn a_picture_takes_as_many_tokens_as_said() {
    for name in CHECKPOINTS {
        let llava = load(name);
        for (picture, tiles) in
            PICTURES.iter().flat_map(|name| [(picture(name), true), (picture(name), false)])
        {
            let view = llava.prepare(&picture, tiles).unwrap();
            let size = (picture.height(), picture.width());
            assert_eq!(llava.look(&[view]).unwrap()[0].tokens(), llava.image_tokens(size, tiles), "{size:?}");
        }
    }
    // Longer than any tile: no patch lies wholly within it.
    let strip = image::RgbImage::new(1, 3000);
    let llava = load("mistral");
    let seen = llava.look(&[llava.prepare(&strip, true).unwrap()]).unwrap();
    assert_eq!(seen[0].tokens(), llava.image_tokens((3000, 1), true));
}

fn loaded(copy: &Copy) -> eyeshot::Result<Llava> {
    Llava::load(&resolve(copy.dir()), &options())
}

fn rename(copy: &Copy, rules: &[(&str, &str)]) {
    copy.edit_weights(|tensors| {
        *tensors = tensors
            .drain()
            .map(|(name, tensor)| {
                let rule = rules.iter().find(|(old, _)| name.starts_with(old));
                (rule.map_or(name.clone(), |(old, new)| name.replacen(old, new, 1)), tensor)
            })
            .collect();
    });
}

fn check_logits(what: &str, llava: &Llava, tolerance: f32) {
    for case in Case::all("vicuna") {
        let what = format!("{what}: {}", case.question);
        check(&what, &logits(llava, &case.embeddings(llava)), case.tensor("logits"), tolerance);
    }
}

#[test]
fn names_of_all_years_are_known() {
    let newer = Copy::of("llava/vicuna");
    rename(
        &newer,
        &[
            ("language_model.model.", "model.language_model."),
            ("language_model.lm_head.", "lm_head."),
            ("vision_tower.vision_model.", "model.vision_tower."),
            ("multi_modal_projector.", "model.multi_modal_projector."),
        ],
    );
    check_logits("newer names", &loaded(&newer).unwrap(), LOGITS);
    let wrapped = Copy::of("llava/vicuna");
    rename(&wrapped, &[("vision_tower.vision_model.", "model.vision_tower.vision_model.")]);
    check_logits("names in between", &loaded(&wrapped).unwrap(), LOGITS);
}

#[test]
fn the_authors_layout_is_the_same_model() {
    let copy = Copy::of("llava/original");
    fs::copy(fixtures().join("llava/vicuna/chat_template.json"), copy.path("chat_template.json")).unwrap();
    let llava = loaded(&copy).unwrap();
    check_logits("original", &llava, LOGITS);
    for case in Case::all("vicuna") {
        let (text, ids, _) = run(case.start(&llava, &greedy(NEW)));
        assert_eq!(ids, case.ids("written"), "{}", case.question);
        check_said(&text, &case.text);
    }
    // Without a template, LLaVA's own form.
    let plain = load("original");
    let case = &Case::all("vicuna")[0];
    let seen = case.look(&plain);
    let slots = case.ask(&seen, |prompt| plain.slots(prompt).unwrap());
    let told = case.ask(&seen, |prompt| plain.slots(&Prompt { system: Some("x"), ..*prompt }).unwrap());
    assert!(slots.len() > told.len() && slots.first() == Some(&Slot::Token(1)));
    let usual = case.ask(&seen, |prompt| llava.slots(prompt).unwrap());
    assert!(slots.ends_with(&usual[2..]), "{slots:?} {usual:?}");
}

#[test]
fn pictures_are_padded_to_squares_on_request() {
    let copy = Copy::of("llava/original");
    copy.edit("config.json", |json| json["image_aspect_ratio"] = "pad".into());
    let llava = loaded(&copy).unwrap();
    let wide = picture("75x40");
    let ground = image::Rgb([122, 116, 104]);
    let mut square = image::RgbImage::from_pixel(75, 75, ground);
    image::imageops::replace(&mut square, &wide, 0, 17);
    let squares = |image| llava.prepare(image, true).unwrap().squares().to_vec();
    assert_eq!(squares(&wide), squares(&square));
    assert_eq!(llava.prepare(&image::RgbImage::new(1, 50_000), true).unwrap().squares().len(), 1);
}

#[test]
fn packed_weights_stay_near() {
    let files = resolve(&fixtures().join("llava/vicuna"));
    let packed = Llava::load(&files, &ModelOptions { quantize: Some(Quantize::Q8_0), ..options() }).unwrap();
    let case = &Case::all("vicuna")[0];
    let found = logits(&packed, &case.embeddings(&packed));
    let worst = off(&found, case.tensor("logits"));
    assert!(worst > 1e-5 && worst < 0.05, "off by {worst}");
}

/// A language model wide enough for Q4_K, of random weights.
fn wide(dir: &Path) -> (ModelFiles, LlavaConfig) {
    let mut tensors = HashMap::new();
    let mut draw = |name: &str, shape: &[usize]| {
        let tensor = Tensor::randn(0f32, 0.03, shape, &Device::Cpu).unwrap();
        let tensor = if shape.len() == 1 { (tensor + 1.0).unwrap() } else { tensor };
        tensors.insert(format!("{name}.weight"), tensor);
    };
    draw("model.embed_tokens", &[64, 256]);
    draw("model.norm", &[256]);
    draw("lm_head", &[64, 256]);
    for layer in 0..2 {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        draw(&name("input_layernorm"), &[256]);
        draw(&name("post_attention_layernorm"), &[256]);
        draw(&name("self_attn.q_proj"), &[256, 256]);
        draw(&name("self_attn.k_proj"), &[128, 256]);
        draw(&name("self_attn.v_proj"), &[128, 256]);
        draw(&name("self_attn.o_proj"), &[256, 256]);
        draw(&name("mlp.gate_proj"), &[512, 256]);
        draw(&name("mlp.up_proj"), &[512, 256]);
        draw(&name("mlp.down_proj"), &[256, 512]);
    }
    candle_core::safetensors::save(&tensors, dir.join("model.safetensors")).unwrap();
    let config = serde_json::json!({
        "model_type": "llava", "vision_config": {},
        "text_config": {"model_type": "llama", "vocab_size": 64, "hidden_size": 256, "intermediate_size": 512,
            "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4},
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let files = ModelFiles::from_dir("wide", dir).unwrap();
    let config = LlavaConfig::read(&files).unwrap();
    (files, config)
}

#[test]
fn q4_k_is_coarser_and_still_near() {
    let dir = tempfile::tempdir().unwrap();
    let (files, config) = wide(dir.path());
    let weights = Weights::open(&files, &Device::Cpu, DType::F32).unwrap();
    let load = |quantize| {
        Llama::load(&Source::files(weights.under("model"), weights.root(), quantize), &config.text).unwrap()
    };
    let scores = |llama: &Llama| {
        let x = llama.embed(&(0..40).collect::<Vec<_>>()).unwrap();
        llama.logits(&llama.hidden_states(&x, 2).unwrap()).unwrap()
    };
    let dense = scores(&load(None));
    let spread = dense.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
    let error = |quantize| {
        let off = (scores(&load(Some(quantize))) - &dense).unwrap().sqr().unwrap().mean_all().unwrap();
        off.to_scalar::<f32>().unwrap().sqrt() / spread
    };
    let (fine, coarse) = (error(Quantize::Q8_0), error(Quantize::Q4K));
    println!("relative error: Q8_0 {fine}, Q4_K {coarse}");
    assert!(fine > 0.0 && fine < 0.05 && fine < coarse && coarse < 0.4, "{fine} {coarse}");
}

/// Writes the language model of `copy` as llama.cpp's converter would.
fn write_gguf(copy: &Copy, file: &str, packing: GgmlDType) {
    let names = [
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let weights = copy.weights();
    let get = |name: &str| weights[&format!("language_model.{name}.weight")].to_dtype(DType::F32).unwrap();
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), get("model.embed_tokens")),
        ("output_norm.weight".to_owned(), get("model.norm")),
        ("output.weight".to_owned(), get("lm_head")),
    ];
    for layer in 0..2 {
        for (theirs, cpp) in names {
            let mut tensor = get(&format!("model.layers.{layer}.{theirs}"));
            if cpp == "attn_q" || cpp == "attn_k" {
                // LlamaModel.permute of convert_hf_to_gguf.py: halves of a head become pairs.
                let (rows, columns) = tensor.dims2().unwrap();
                tensor = tensor.reshape((4, 2, rows / 8, columns)).unwrap().transpose(1, 2).unwrap();
                tensor = tensor.contiguous().unwrap().reshape((rows, columns)).unwrap();
            }
            tensors.push((format!("blk.{layer}.{cpp}.weight"), tensor));
        }
    }
    let pack = |tensor: &Tensor| match tensor.dims() {
        [_, width] if width % packing.block_size() == 0 => QTensor::quantize(tensor, packing).unwrap(),
        _ => QTensor::quantize(tensor, GgmlDType::F32).unwrap(),
    };
    let packed: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), pack(tensor))).collect();
    let packed: Vec<_> = packed.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let architecture = gguf_file::Value::String("llama".to_owned());
    let mut out = fs::File::create(copy.path(file)).unwrap();
    gguf_file::write(&mut out, &[("general.architecture", &architecture)], &packed).unwrap();
}

#[test]
fn a_gguf_beside_the_checkpoint_is_its_language_model() {
    for (packing, tolerance) in [(GgmlDType::F32, LOGITS), (GgmlDType::F16, LOGITS), (GgmlDType::Q8_0, 0.1)] {
        let copy = Copy::of("llava/vicuna");
        write_gguf(&copy, "language.gguf", packing);
        // Only the file's weights can be right: those of the checkpoint are gone.
        copy.edit_weights(|tensors| tensors.retain(|name, _| !name.starts_with("language_model.")));
        check_logits(&format!("{packing:?}"), &loaded(&copy).unwrap(), tolerance);
        write_gguf_twice(&copy);
    }
}

fn write_gguf_twice(copy: &Copy) {
    fs::copy(copy.path("language.gguf"), copy.path("other.gguf")).unwrap();
    let error = loaded(copy).err().unwrap().to_string();
    assert!(error.contains("language.gguf") && error.contains("other.gguf"), "{error}");
}

/// How a checkpoint is broken, and the words that the error must hold.
type Breakage = (&'static str, fn(&Copy), &'static [&'static str]);

const BREAKAGES: [Breakage; 14] = [
    (
        "vicuna",
        |c| c.edit_weights(|t| t.retain(|name, _| !name.starts_with("multi_modal_projector."))),
        &["multi_modal_projector.linear_1.weight"],
    ),
    ("mistral", |c| c.edit_weights(|t| drop(t.remove("image_newline"))), &["image_newline"]),
    (
        "vicuna",
        |c| c.edit_weights(|t| t.retain(|name, _| !name.starts_with("vision_tower."))),
        &["vision_tower.vision_model.embeddings.patch_embedding.weight"],
    ),
    (
        "vicuna",
        |c| c.edit_weights(|t| drop(t.remove("language_model.model.layers.1.mlp.up_proj.weight"))),
        &["language_model.model.layers.1.mlp.up_proj.weight"],
    ),
    (
        "mistral",
        |c| c.edit("config.json", |j| j["text_config"]["num_key_value_heads"] = 4.into()),
        &["layers.0.self_attn.k_proj.weight", "[32, 48]", "[64, 48]"],
    ),
    ("original", |c| c.remove("tokenizer.model"), &["tokenizer.json", "tokenizer.model"]),
    ("original", |c| fs::write(c.path("tokenizer.model"), [9, 9]).unwrap(), &["tokenizer.model"]),
    (
        "vicuna",
        |c| c.edit("config.json", |j| j["text_config"]["model_type"] = "phi".into()),
        &["phi", "mistral"],
    ),
    (
        "vicuna",
        |c| c.edit("config.json", |j| j["vision_config"]["model_type"] = "siglip_vision_model".into()),
        &["siglip_vision_model"],
    ),
    (
        "vicuna",
        |c| c.edit("config.json", |j| j["vision_feature_layer"] = (-9).into()),
        &["vision_feature_layer", "-9"],
    ),
    (
        "mistral",
        |c| c.edit("config.json", |j| j["image_grid_pinpoints"][0][0] = 33.into()),
        &["image_grid_pinpoints", "33"],
    ),
    (
        "vicuna",
        |c| c.edit("chat_template.json", |j| j["chat_template"] = "{% for".into()),
        &["chat_template.json", "template"],
    ),
    (
        "vicuna",
        |c| c.edit("chat_template.json", |j| j["chat_template"] = "hello".into()),
        &["chat_template.json", "leaves out"],
    ),
    ("vicuna", |c| fs::write(c.path("x.gguf"), b"GGUF\x03\x00\x00").unwrap(), &["x.gguf", "GGUF"]),
];

#[test]
fn broken_checkpoints_say_what_is_wrong() {
    for (name, breaking, words) in BREAKAGES {
        let copy = Copy::of(&format!("llava/{name}"));
        breaking(&copy);
        let error = match loaded(&copy) {
            Ok(_) => panic!("{name} loaded, though it lacks {words:?}"),
            Err(error) => error,
        };
        assert!(matches!(error, Error::Model { .. }), "{error:?}");
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} not all in: {text}");
    }
}

#[test]
fn check_reports_every_tensor() {
    for name in ["vicuna", "mistral", "original"] {
        let report = models::check(&resolve(&fixtures().join("llava").join(name)), &options()).unwrap();
        assert!(report.runs(), "{name}: {:?}", report.problems);
        assert!(report.tensors.iter().all(|row| row.fits() && row.expected.is_some()), "{name}");
    }
    let copy = Copy::of("llava/vicuna");
    copy.edit_weights(|t| t.retain(|name, _| !name.starts_with("multi_modal_projector.linear_2")));
    let report = models::check(&resolve(copy.dir()), &options()).unwrap();
    assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
}

#[test]
fn fingerprints_tell_models_apart_and_copies_not() {
    let prints: Vec<_> =
        ["vicuna", "mistral", "original"].map(|name| load(name).fingerprint().to_owned()).to_vec();
    assert!(prints[0] != prints[1] && prints[1] != prints[2] && prints[0] != prints[2]);
    let copy = Copy::of("llava/original");
    assert_eq!(loaded(&copy).unwrap().fingerprint(), prints[2]);
    copy.edit("tower/config.json", |json| json["vision_config"]["layer_norm_eps"] = 1e-6.into());
    assert_ne!(loaded(&copy).unwrap().fingerprint(), prints[2]);
}
