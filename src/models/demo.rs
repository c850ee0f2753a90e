//! The models that ship with Eyeshot, compiled into the program, so that they work from any folder and offline.

use super::Role;
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

/// The demo BLIP, from the assets folder: matcher and captioner in one.
///
/// # Errors
/// [`Error::NotFound`] where it is not there, and for a role that it does not play.
pub(super) fn blip(role: Role) -> Result<ModelFiles> {
    let missing = |fix: String| Error::NotFound { kind: "model", name: "demo".to_owned(), fix };
    if !matches!(role, Role::Matcher | Role::Captioner) {
        let fix = format!("name a checkpoint that can be a {role:?}, by its id or directory").to_lowercase();
        return Err(missing(fix));
    }
    let folder = config::assets().map(|assets| assets.join("models/demo-blip")).filter(|dir| dir.is_dir());
    let folder = folder.ok_or_else(|| {
        missing("assets/models/demo-blip is not there: set EYESHOT_ASSETS to the assets folder of the eyeshot sources".into())
    })?;
    ModelFiles::from_dir("demo", &folder)
}
