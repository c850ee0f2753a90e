//! The models that ship with Eyeshot, compiled into the program, so that they work from any folder and offline.

use super::Role;
use super::files::ModelFiles;
use crate::{Error, Result};

/// The files of a model in `assets/models`: names and bytes.
macro_rules! shipped {
    ($model:literal) => {
        &[
            shipped!($model, "config.json"),
            shipped!($model, "preprocessor_config.json"),
            shipped!($model, "tokenizer.json"),
            shipped!($model, "model.safetensors"),
        ]
    };
    ($model:literal, $name:literal) => {
        ($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/models/", $model, "/", $name)))
    };
}

/// A CLIP trained on emoji scenes by `training/train_clip.py`.
const CLIP: &[(&str, &[u8])] = shipped!("demo-clip");
/// A BLIP trained on emoji scenes by `training/train_blip.py`: matcher and captioner in one.
const BLIP: &[(&str, &[u8])] = shipped!("demo-blip");

/// The demo CLIP.
pub(super) fn clip() -> ModelFiles {
    ModelFiles::in_memory("demo", CLIP)
}

/// The demo BLIP.
///
/// # Errors
/// [`Error::NotFound`] for a role that it does not play.
pub(super) fn blip(role: Role) -> Result<ModelFiles> {
    match role {
        Role::Matcher | Role::Captioner => Ok(ModelFiles::in_memory("demo", BLIP)),
        Role::Encoder | Role::Answerer => {
            let fix =
                format!("name a checkpoint that can be a {role:?}, by its id or directory").to_lowercase();
            Err(Error::NotFound { kind: "model", name: "demo".to_owned(), fix })
        }
    }
}
