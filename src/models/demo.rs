//! The models that ship with Eyeshot: compiled into the program where they are small enough, else beside it.

use super::files::{CONFIG, ModelFiles};
use crate::{Error, Result, config};

/// The demo CLIP's files, when they are compiled in.
const CLIP: &[(&str, &[u8])] = &[];

/// The demo CLIP.
///
/// # Errors
/// [`Error::NotFound`] when it is neither compiled in nor beside the program.
pub(super) fn clip() -> Result<ModelFiles> {
    if !CLIP.is_empty() {
        return Ok(ModelFiles::in_memory("demo", CLIP));
    }
    beside("demo-clip")
}

/// The model `folder` under `models/` in the assets.
fn beside(folder: &str) -> Result<ModelFiles> {
    let dir = config::assets().map(|assets| assets.join("models").join(folder));
    match dir.filter(|dir| dir.join(CONFIG).is_file()) {
        Some(dir) => ModelFiles::from_dir("demo", &dir),
        None => Err(Error::NotFound {
            kind: "model",
            name: "demo".to_owned(),
            fix: format!("set EYESHOT_ASSETS to the folder that holds models/{folder}"),
        }),
    }
}
