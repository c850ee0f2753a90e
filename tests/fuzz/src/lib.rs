//! What fuzzes the decoders, each of `targets/` those of one format:
//!
//!     cargo install cargo-fuzz
//!     mkdir -p tests/fuzz/corpus/jpeg
//!     cargo +nightly fuzz run --fuzz-dir tests/fuzz jpeg tests/fuzz/corpus/jpeg tests/fixtures/images -- -timeout=10
//!
//! It builds what decodes, from the same files, and nothing else of the program, so that instrumenting takes a minute or two.
//! `heif` does something where `--features avif,heic` stands behind `run`.

/// The errors of the program.
#[path = "../../../src/error.rs"]
#[allow(dead_code, missing_docs)]
pub mod error;

/// Of its types, the one that decoding knows.
pub mod types {
    /// JSON that comes with an image.
    pub type Payload = serde_json::Map<String, serde_json::Value>;
}

/// What is fuzzed.
#[path = "../../../src/engine/decode/mod.rs"]
#[allow(dead_code)]
pub mod decode;

use decode::Limits;
use libfuzzer_sys::Corpus;

/// Opens and decodes `bytes` where they are of one of these formats, all and small; the limits hold whatever they say.
pub fn run(bytes: &[u8], formats: &[&str]) -> Corpus {
    let limits = Limits { pixels: 4_000_000, memory: 64 << 20, ..Limits::default() };
    let opened = match decode::open(bytes, &limits) {
        Ok(opened) => opened,
        Err(error) if formats.is_empty() || formats.iter().any(|format| error.to_string().contains(format)) => {
            return Corpus::Keep;
        }
        Err(_) => return Corpus::Reject,
    };
    if !formats.is_empty() && !formats.contains(&opened.facts.format) {
        return Corpus::Reject;
    }
    assert!(opened.memory <= limits.memory);
    let (width, height) = (opened.facts.width, opened.facts.height);
    if let Ok(image) = opened.decode() {
        assert_eq!(image.dimensions(), (width, height));
        decode::looks(&image);
        decode::give_back(image);
    }
    if let Ok(opened) = decode::open(bytes, &limits) {
        _ = opened.decode_for(Some(8));
    }
    Corpus::Keep
}
