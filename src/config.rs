//! Where what ships with the program is found.

use std::path::PathBuf;

/// The folder of shipped models and images: `EYESHOT_ASSETS`, else beside the program, else in the source checkout that it
/// was built from. None where there is none.
pub fn assets() -> Option<PathBuf> {
    let named = std::env::var_os("EYESHOT_ASSETS").map(PathBuf::from);
    let program = std::env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
    let folder = program.as_deref().and_then(|exe| exe.parent());
    let beside = folder.map(|f| f.join("assets"));
    let installed = folder.map(|f| f.join("../share/eyeshot"));
    let source = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets"));
    [named, beside, installed, source].into_iter().flatten().find(|path| path.is_dir())
}
