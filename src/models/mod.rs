//! Weights, tokenizers, preprocessing and the networks. Knows nothing of ids, collections or queries, and prints nothing.
//!
//! A model comes to life in these steps:
//! 1. [`resolve`] turns what the user wrote into files: a directory, `hub` (cache, then download), or `demo`.
//! 2. `files` says which of them are used, `kind` what they are, and gives their fingerprint.
//! 3. `weights` opens the tensors; whoever asks for one says which shape it must have.
//! 4. `tokenizer` and `preprocess` read the rules that the checkpoint brings for texts and pictures; `spellings` remembers words.
//! 5. [`clip`] builds the network that embeds, [`blip`] the one that matches, writes captions and answers; both stand on
//!    `encoder`, `layers` and `patches` (with `wide` under them where the CPU has it), and [`generate`] writes word by word.
//! 6. [`llava`] joins CLIP's vision tower to [`llama`], a language model, and answers in sessions.
//! 7. `check` looks at a checkpoint without running it.

pub mod act;
pub mod blip;
mod check;
pub mod clip;
mod demo;
mod encoder;
pub mod files;
pub mod generate;
pub mod hub;
mod kind;
mod layers;
pub mod llama;
pub mod llava;
mod options;
mod patches;
pub mod preprocess;
mod progress;
mod sentencepiece;
mod slice;
mod spellings;
pub mod tokenizer;
pub mod weights;
#[cfg(target_arch = "x86_64")]
mod wide;
#[cfg(not(target_arch = "x86_64"))]
#[path = "wide/elsewhere.rs"]
mod wide;

pub use blip::{Blip, Features, Judgement, Matching};
pub use check::{Report, check};
pub use clip::Clip;
pub use files::ModelFiles;
pub use generate::{Decoding, Generated, Strategy};
pub use hub::{CachedModel, HubOptions, cached};
pub use kind::Kind;
pub use llama::Quantize;
pub use llava::{Llava, Piece, Prompt, Seen, Session, View};
pub use options::{DTypeChoice, DeviceChoice, ModelOptions};
pub use preprocess::{Filter, Pixels, scale};
pub use progress::{Progress, Silent};
pub use weights::TensorRow;

use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The files of the model that `spec` names: `demo`, a directory in Hugging Face layout, a Hugging Face id (`org/name`,
/// `org/name@revision`), or an OpenCLIP name (`ViT-B-32/laion2b_s34b_b79k`).
///
/// Where its config names another model to borrow the vision tower from (`mm_vision_tower`), that one's files come along.
///
/// # Errors
/// [`Error::NotFound`] when `spec` is none of these; else as reading the directory or asking the hub goes.
pub fn resolve(spec: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<ModelFiles> {
    let files = find(spec, options, progress)?;
    let Some(name) = files.tower_name() else { return Ok(files) };
    // A tower beside the model goes before one of that name elsewhere.
    let beside = Path::new(&files.origin).join(&name);
    let tower = match beside.is_dir() {
        true => ModelFiles::from_dir(&name, &beside)?,
        false => find(&name, options, progress)?,
    };
    Ok(files.with_tower(tower))
}

fn find(spec: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<ModelFiles> {
    if spec == "demo" {
        return Ok(demo::clip());
    }
    let dir = expand_home(spec);
    if dir.is_dir() {
        return ModelFiles::from_dir(spec, &dir);
    }
    if Path::new(spec).is_absolute() || spec.starts_with(['.', '~']) {
        let fix = "there is no such directory".to_owned();
        return Err(Error::NotFound { kind: "model", name: spec.to_owned(), fix });
    }
    let repo = match hub::openclip_twin(spec) {
        Some(twin) => twin.parse()?,
        None if looks_like_openclip(spec) => {
            let known: Vec<_> = hub::openclip_names().collect();
            let fix =
                format!("the OpenCLIP names with a twin in Hugging Face layout are {}", known.join(", "));
            return Err(Error::NotFound { kind: "model", name: spec.to_owned(), fix });
        }
        None => spec.parse()?,
    };
    hub::find(spec, &repo, options, progress)
}

/// The forms that a model's name can have, for messages.
fn forms() -> String {
    "a model is `demo`, a directory in Hugging Face layout, a Hugging Face id such as openai/clip-vit-base-patch32, or an \
     OpenCLIP name such as ViT-B-32/laion2b_s34b_b79k"
        .to_owned()
}

fn looks_like_openclip(spec: &str) -> bool {
    spec.split_once('/').is_some_and(|(org, _)| org.to_ascii_lowercase().starts_with("vit-"))
}

/// What a model is used for, where one name may mean several models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Embeds pictures and texts: CLIP.
    Encoder,
    /// Scores pairs of picture and text: BLIP.
    Matcher,
    /// Writes captions: BLIP.
    Captioner,
    /// Answers questions about pictures.
    Answerer,
}

/// As [`resolve`], for a model that is used as `role`: the name `demo` stands for several.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_as(
    role: Role,
    spec: &str,
    options: &ModelOptions,
    progress: &dyn Progress,
) -> Result<ModelFiles> {
    match (spec, role) {
        ("demo", Role::Matcher | Role::Captioner) => Ok(demo::blip()),
        ("demo", Role::Answerer) => Ok(demo::llava()),
        _ => resolve(spec, options, progress),
    }
}

/// The models that are compiled in, and what each is for; all of them are named `demo`.
pub fn shipped() -> [(&'static str, ModelFiles); 3] {
    [("encoder", demo::clip()), ("matcher and captioner", demo::blip()), ("answerer", demo::llava())]
}

fn expand_home(spec: &str) -> PathBuf {
    match (spec.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(spec),
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Error::Compute { reason: plain(&error) }
    }
}

/// What the tensor library says, without the stack trace that it appends where `RUST_BACKTRACE` is set.
fn plain(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => plain(inner),
        candle_core::Error::WithPath { inner, .. } => plain(inner),
        candle_core::Error::Context { inner, context } => format!("{context}: {}", plain(inner)),
        other => other.to_string(),
    }
}
