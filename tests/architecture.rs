//! Arrows between the layers point down only, and each library stays in the layer that owns it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A layer, and what it may name beside what all may ([`FOR_ALL`]).
const MAY_USE: &[(&str, &[&str])] = &[
    ("cli", &["serve", "eval", "ingest", "engine", "models"]),
    ("serve", &["ingest", "engine"]),
    ("eval", &["engine", "index"]),
    ("ingest", &["engine"]),
    ("engine", &["adapt", "models", "index", "store"]),
    ("adapt", &["models"]),
    ("models", &[]),
    ("index", &[]),
    ("store", &[]),
    ("types", &[]),
    ("config", &[]),
    ("error", &[]),
    ("simd", &[]),
];
const FOR_ALL: &[&str] = &["types", "config", "error", "simd"];

/// A library, and the only layers that may name it.
const OWNED: &[(&str, &[&str])] = &[
    ("sled", &["store"]),
    ("hnsw_rs", &["index"]),
    ("candle_core", &["models"]),
    ("candle_nn", &["models"]),
    ("tokenizers", &["models"]),
    ("hf_hub", &["models"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("tonic", &["serve"]),
    ("prost", &["serve"]),
    ("prost_types", &["serve"]),
    ("axum", &["serve"]),
    ("utoipa", &["serve"]),
    ("prometheus_client", &["serve"]),
    ("hyper_util", &["serve"]),
    ("tokio", &["serve", "engine"]),
    ("tokio_stream", &["serve", "engine"]),
    ("base64", &["serve"]),
    ("opentelemetry", &["serve"]),
    ("opentelemetry_http", &["serve"]),
    ("opentelemetry_otlp", &["serve"]),
    ("opentelemetry_sdk", &["serve"]),
    ("tracing_opentelemetry", &["serve"]),
    ("tracing_subscriber", &["serve"]),
    ("exif", &["engine"]),
    ("libheif_rs", &["engine"]),
    ("turbojpeg", &["engine"]),
    ("tantivy", &["engine"]),
    ("opendal", &["engine"]),
    ("reqsign_core", &["engine"]),
    ("reqsign_google", &["engine"]),
    ("parquet", &["ingest"]),
    ("csv", &["ingest"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let nested = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// The layer of a file: the first part of its path under src, without `.rs`.
fn layer(src: &Path, file: &Path) -> String {
    let first = file.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The code without comments, which may speak of any layer.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules after each `crate::`, those within braces too.
fn named(code: &str) -> BTreeSet<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut out = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{').and_then(|r| r.split_once(';')) {
            Some((list, _)) => top_level(list).for_each(|part| _ = out.insert(word(part.trim()))),
            None => _ = out.insert(word(rest)),
        }
    }
    out.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    out
}

/// The parts of a braced list, without what stands in braces of its own.
fn top_level(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    list.split(move |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    })
}

#[test]
fn arrows_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for file in sources(&src) {
        let layer = layer(&src, &file);
        if layer == "lib" || layer == "main" {
            continue;
        }
        let (_, may) =
            MAY_USE.iter().find(|(name, _)| *name == layer).unwrap_or_else(|| panic!("no layer {layer}"));
        for name in named(&code(&file)) {
            seen += 1;
            let fine = name == layer || FOR_ALL.contains(&name.as_str()) || may.contains(&name.as_str());
            assert!(fine, "{} names crate::{name}, which {layer} must not know", file.display());
        }
    }
    assert!(seen > 30, "only {seen} arrows were seen: the test no longer reads the code");
}

#[test]
fn libraries_stay_in_their_layer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&src) {
        let layer = layer(&src, &file);
        let code = code(&file);
        for (library, owners) in OWNED.iter().filter(|(_, owners)| !owners.contains(&layer.as_str())) {
            let path = format!("{library}::");
            let named = code
                .match_indices(&path)
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            assert!(!named, "{} names {library}, which belongs to {}", file.display(), owners.join(" and "));
        }
    }
}

#[test]
fn the_reader_of_imports_sees_them() {
    let check = |code: &str, wanted: &[&str]| {
        assert_eq!(named(code), wanted.iter().map(|s| (*s).to_owned()).collect(), "{code}");
    };
    check("use crate::index::Index;", &["index"]);
    check("use crate::{index::{A, B}, store, Error};", &["index", "store"]);
    check("let x = crate::models::resolve(y);", &["models"]);
    check("use crate::Result;", &[]);
    check("use other_crate::store::X;", &[]);
}
