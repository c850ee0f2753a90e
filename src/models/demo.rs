//! The model that ships with Eyeshot, compiled into the program, so that it works from any folder and offline.

use super::files::ModelFiles;

/// One file of the demo CLIP: its name, and its bytes.
macro_rules! shipped {
    ($name:literal) => {
        ($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/models/demo-clip/", $name)))
    };
}

/// A CLIP trained on emoji scenes by `training/train_clip.py`.
const CLIP: &[(&str, &[u8])] = &[
    shipped!("config.json"),
    shipped!("preprocessor_config.json"),
    shipped!("tokenizer.json"),
    shipped!("model.safetensors"),
];

/// The demo CLIP.
pub(super) fn clip() -> ModelFiles {
    ModelFiles::in_memory("demo", CLIP)
}
