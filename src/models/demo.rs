//! The models that ship with Eyeshot, compiled into the program, so that they work from any folder and offline.

use super::Role;
use super::files::ModelFiles;
use crate::{Error, Result, config};

/// The files of one model: their names, and their bytes.
macro_rules! shipped {
    ($model:literal) => {
        &[
            shipped!($model, "config.json"),
            shipped!($model, "preprocessor_config.json"),
            shipped!($model, "tokenizer.json"),
            shipped!($model, "model.safetensors"),
        ]
    };
    ($model:literal, $file:literal) => {
        ($file, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/models/", $model, "/", $file)))
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

/// The demo LLaVA, where `training/train_llava.py` has put it into the assets folder: it sees through the demo CLIP's vision tower.
///
/// # Errors
/// [`Error::NotFound`] where the assets folder, or the model in it, is not there.
pub(super) fn llava() -> Result<ModelFiles> {
    let folder = config::assets().map(|assets| assets.join("models/demo-llava")).filter(|dir| dir.is_dir());
    let folder = folder.ok_or_else(|| Error::NotFound {
        kind: "model",
        name: "demo".to_owned(),
        fix: "no answerer ships yet: train one (training/README.md), or name a LLaVA checkpoint by its id or directory"
            .to_owned(),
    })?;
    Ok(ModelFiles::from_dir("demo", &folder)?.with_tower(clip()))
}
