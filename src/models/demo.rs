//! The models that ship with Eyeshot, compiled into the program, so that they work from any folder and offline.

use super::files::ModelFiles;

/// The files of one model: their names, and their bytes.
macro_rules! shipped {
    ($model:literal $(, $more:literal)*) => {
        &[
            shipped!(@$model, "config.json"),
            shipped!(@$model, "preprocessor_config.json"),
            shipped!(@$model, "tokenizer.json"),
            shipped!(@$model, "model.safetensors"),
            $(shipped!(@$model, $more),)*
        ]
    };
    (@$model:literal, $file:literal) => {
        ($file, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/models/", $model, "/", $file)))
    };
}

/// A CLIP trained on emoji scenes by `training/train_clip.py`.
const CLIP: &[(&str, &[u8])] = shipped!("demo-clip");

/// A BLIP trained on emoji scenes by `training/train_blip.py`: matcher and captioner in one.
const BLIP: &[(&str, &[u8])] = shipped!("demo-blip");

/// A LLaVA trained on emoji scenes by `training/train_llava.py`; it has no vision tower of its own.
const LLAVA: &[(&str, &[u8])] = shipped!("demo-llava", "generation_config.json", "tokenizer_config.json");

/// The demo CLIP.
pub(super) fn clip() -> ModelFiles {
    ModelFiles::in_memory("demo", CLIP)
}

/// The demo BLIP.
pub(super) fn blip() -> ModelFiles {
    ModelFiles::in_memory("demo", BLIP)
}

/// The demo LLaVA, which sees through the demo CLIP's vision tower.
pub(super) fn llava() -> ModelFiles {
    ModelFiles::in_memory("demo", LLAVA).with_tower(clip())
}
