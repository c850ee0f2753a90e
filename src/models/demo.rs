//! The models that ship with Eyeshot, compiled into the program, so that they work from any folder and offline.

use super::files::ModelFiles;
use crate::{Error, Result, config};

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

/// The demo BLIP.
///
/// # Errors
/// [`Error::NotFound`] where the assets folder is not there.
pub(super) fn blip() -> Result<ModelFiles> {
    let folder = config::assets().map(|assets| assets.join("models/demo-blip")).filter(|dir| dir.is_dir());
    let folder = folder.ok_or_else(|| Error::NotFound {
        kind: "model",
        name: "assets/models/demo-blip".into(),
        fix: "set EYESHOT_ASSETS to the assets folder of the eyeshot sources".into(),
    })?;
    ModelFiles::from_dir("demo", &folder)
}
