//! Encoders in 8 bits beside the same in f32: on the demo model, and on tiny checkpoints of odd widths.

use eyeshot::models::{self, Clip, DTypeChoice, DeviceChoice, ModelFiles, ModelOptions, Pixels, Silent};
use std::path::{Path, PathBuf};

/// The least cosine between the embeddings of one thing in 8 bits and in f32, with trained weights,
const NEAR: f64 = 0.999;
/// and with weights drawn at random for towers of 16 to 48 numbers, where errors have little to average over.
const NEAR_TINY: f64 = 0.997;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn options(dtype: DTypeChoice) -> ModelOptions {
    ModelOptions { device: DeviceChoice::Cpu, dtype, offline: true, ..ModelOptions::default() }
}

/// The same model in f32 and in 8 bits; on a CPU that can't, both are f32.
fn both(files: &ModelFiles) -> [Clip; 2] {
    [DTypeChoice::F32, DTypeChoice::Int8].map(|dtype| Clip::load(files, &options(dtype)).unwrap())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Whether all of `found` point where `expected` do; and, where this CPU can, whether they are other numbers at all.
fn check(what: &str, found: &[Vec<f32>], expected: &[Vec<f32>], least: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let cosines: Vec<f64> = found.iter().zip(expected).map(|(a, b)| cosine(a, b)).collect();
    let worst = cosines.iter().copied().fold(1.0, f64::min);
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    println!("{what}: {} embeddings, cosine at least {worst:.5}, {mean:.5} on average", cosines.len());
    assert!(worst >= least, "{what}: cosine {worst}");
    let able = options(DTypeChoice::Int8).instead().is_none();
    assert_eq!(
        found != expected,
        able,
        "{what}: 8 bits must differ from f32 where they are used, and only there"
    );
}

fn scenes(clip: &Clip) -> (Vec<Pixels>, Vec<String>) {
    let mut files: Vec<_> =
        std::fs::read_dir(root().join("assets/scenes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let of = |extension: &str| -> Vec<&PathBuf> {
        files.iter().filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
    };
    let prepare = |path: &&PathBuf| clip.prepare(&image::open(path).unwrap().to_rgb8()).unwrap();
    let pixels = of("jpg").iter().map(prepare).collect();
    let captions = |path: &&PathBuf| -> Vec<String> {
        let said: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        said["captions"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut texts: Vec<String> = of("json").iter().flat_map(captions).collect();
    let queries = std::fs::read_to_string(root().join("assets/scenes/queries.jsonl")).unwrap();
    let queries = queries.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    // Some lines ask with a picture.
    texts.extend(queries.filter_map(|line| line["query"].as_str().map(str::to_owned)));
    (pixels, texts)
}

#[test]
fn the_demo_model_sees_and_reads_the_same() {
    let files = models::resolve("demo", &options(DTypeChoice::F32), &Silent).unwrap();
    let [full, eight] = both(&files);
    let (pixels, texts) = scenes(&full);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert!(pixels.len() >= 300 && texts.len() >= 600, "{} and {}", pixels.len(), texts.len());
    check("pictures", &eight.embed_pixels(&pixels).unwrap(), &full.embed_pixels(&pixels).unwrap(), NEAR);
    check("texts", &eight.embed_texts(&texts).unwrap(), &full.embed_texts(&texts).unwrap(), NEAR);
    assert_eq!(full.fingerprint(), eight.fingerprint(), "vectors of both may stand in one collection");
}

#[test]
fn tiny_checkpoints_do_too() {
    let fixtures = root().join("tests/fixtures/clip");
    for name in ["gelu", "quick-gelu-legacy-bin", "sharded", "half-bin-shards"] {
        let folder = fixtures.join(name);
        let [full, eight] = both(&ModelFiles::from_dir(name, &folder).unwrap());
        let texts: Vec<String> =
            serde_json::from_slice(&std::fs::read(folder.join("texts.json")).unwrap()).unwrap();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let picture = |name: &&str| picture(&fixtures.join("preprocess").join(format!("{name}.png")));
        let pixels: Vec<Pixels> = ["2x3", "33x47", "75x40", "64x64"]
            .iter()
            .map(|name| full.prepare(&picture(name)).unwrap())
            .collect();
        check(name, &eight.embed_texts(&texts).unwrap(), &full.embed_texts(&texts).unwrap(), NEAR_TINY);
        check(name, &eight.embed_pixels(&pixels).unwrap(), &full.embed_pixels(&pixels).unwrap(), NEAR_TINY);
    }
}

#[test]
fn an_embedding_in_8_bits_does_not_depend_on_its_batch() {
    let files = ModelFiles::from_dir("gelu", &root().join("tests/fixtures/clip/gelu")).unwrap();
    let [_, eight] = both(&files);
    let texts = ["a photo of a cat", "two dogs", "x", "a cat and a dog on a table in the sun"];
    let together = eight.embed_texts(&texts).unwrap();
    for (text, together) in texts.iter().zip(together) {
        assert_eq!(eight.embed_texts(&[text]).unwrap()[0], together, "{text}");
    }
}

fn picture(path: &Path) -> image::RgbImage {
    image::open(path).unwrap().to_rgb8()
}
