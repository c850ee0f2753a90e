//! The models that ship with Eyeshot: compiled into the program where they are small enough, else beside it.

use super::files::{CONFIG, ModelFiles};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

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

/// The model `folder` under `models/` in `$EYESHOT_ASSETS`, in `assets` beside the program, or in the source tree.
fn beside(folder: &str) -> Result<ModelFiles> {
    let named = std::env::var_os("EYESHOT_ASSETS").map(PathBuf::from);
    let program = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("assets")));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let homes = named.into_iter().chain(program).chain([source]);
    match homes.map(|home| home.join("models").join(folder)).find(|dir| dir.join(CONFIG).is_file()) {
        Some(dir) => ModelFiles::from_dir("demo", &dir),
        None => Err(Error::NotFound {
            kind: "model",
            name: "demo".to_owned(),
            fix: format!("set EYESHOT_ASSETS to the folder that holds models/{folder}"),
        }),
    }
}
