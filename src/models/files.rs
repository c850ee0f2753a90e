//! A checkpoint's files in Hugging Face layout: on disk, or compiled into the program.

use super::Kind;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";
pub(crate) const PROCESSOR: &str = "processor_config.json";
pub(crate) const OPEN_CLIP: &str = "open_clip_config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const VOCAB: &str = "vocab.json";
pub(crate) const MERGES: &str = "merges.txt";
pub(crate) const WORD_PIECES: &str = "vocab.txt";
pub(crate) const SENTENCE_PIECES: &str = "tokenizer.model";
pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";
pub(crate) const CHAT_TEMPLATE: &str = "chat_template.jinja";
pub(crate) const CHAT_TEMPLATE_JSON: &str = "chat_template.json";

/// Small files that say how a model is run, in the order they are looked for.
pub(crate) const SETTINGS: [&str; 14] = [
    CONFIG,
    PREPROCESSOR,
    PROCESSOR,
    OPEN_CLIP,
    TOKENIZER,
    VOCAB,
    MERGES,
    WORD_PIECES,
    SENTENCE_PIECES,
    TOKENIZER_CONFIG,
    GENERATION_CONFIG,
    CHAT_TEMPLATE,
    CHAT_TEMPLATE_JSON,
    "special_tokens_map.json",
];

/// The files that may hold, or list, the weights; the first that is there counts.
pub(crate) const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// One file of a checkpoint.
#[derive(Clone, Debug)]
pub enum Blob {
    /// On disk.
    Path(PathBuf),
    /// In the program itself.
    Static(&'static [u8]),
}

/// A checkpoint whose files are at hand.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// The model as the user named it.
    pub name: String,
    /// Where the files are, for people to read.
    pub origin: String,
    files: BTreeMap<String, Blob>,
    /// The checkpoint that this one borrows its vision tower from.
    tower: Option<Box<ModelFiles>>,
}

impl ModelFiles {
    /// The checkpoint in directory `dir`, called `name` in messages.
    ///
    /// # Errors
    /// [`Error::Io`] when `dir` can't be listed. What it lacks is said when it is asked for.
    pub fn from_dir(name: &str, dir: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
            let entry = entry.map_err(|e| Error::io(dir, e))?;
            let path = entry.path();
            if let (Ok(file), true) = (entry.file_name().into_string(), path.is_file()) {
                files.insert(file, Blob::Path(path));
            }
        }
        Ok(ModelFiles { name: name.to_owned(), origin: dir.display().to_string(), files, tower: None })
    }

    /// The checkpoint whose files are compiled into the program.
    pub fn in_memory(name: &str, files: &[(&str, &'static [u8])]) -> Self {
        let files = files.iter().map(|(file, bytes)| ((*file).to_owned(), Blob::Static(bytes))).collect();
        let origin = "compiled into the program".to_owned();
        ModelFiles { name: name.to_owned(), origin, files, tower: None }
    }

    /// The same, with its vision tower borrowed from `tower`: weights, sizes and preprocessing that are not its own.
    pub fn with_tower(self, tower: ModelFiles) -> Self {
        ModelFiles { tower: Some(Box::new(tower)), ..self }
    }

    /// The checkpoint that this one borrows its vision tower from.
    pub fn tower(&self) -> Option<&ModelFiles> {
        self.tower.as_deref()
    }

    /// The model that the config names as the one to borrow a vision tower from: `mm_vision_tower`.
    pub(crate) fn tower_name(&self) -> Option<String> {
        let json = self.has(CONFIG).then(|| self.json(CONFIG).ok())??;
        json["mm_vision_tower"].as_str().map(str::to_owned)
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Whether `file` is there.
    pub fn has(&self, file: &str) -> bool {
        self.files.contains_key(file)
    }

    /// Where `file` is.
    ///
    /// # Errors
    /// [`Error::Model`] naming a file that is missing.
    pub fn blob(&self, file: &str) -> Result<&Blob> {
        self.files.get(file).ok_or_else(|| self.error(format!("{file} is missing ({})", self.origin)))
    }

    /// The bytes of `file`.
    ///
    /// # Errors
    /// [`Error::Model`] when it is missing, [`Error::Io`] when it can't be read.
    pub fn read(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        match self.blob(file)? {
            Blob::Path(path) => Ok(Cow::Owned(std::fs::read(path).map_err(|e| Error::io(path, e))?)),
            Blob::Static(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// `file` as JSON.
    ///
    /// # Errors
    /// As [`ModelFiles::read`]; [`Error::Model`] when it isn't JSON.
    pub fn json(&self, file: &str) -> Result<Value> {
        serde_json::from_slice(&self.read(file)?).map_err(|e| self.error(format!("{file} isn't JSON: {e}")))
    }

    /// A tower's section of the config `json`. Files from before 2023 may have it twice, as `text_config` and
    /// `text_config_dict`: there the latter, with its defaults, overrides the former, as transformers has it.
    pub(crate) fn section<T: DeserializeOwned>(&self, json: &Value, name: &str) -> Result<T> {
        let legacy = format!("{name}_dict");
        let (name, value) = match (&json[&legacy], &json[name]) {
            (Value::Null, Value::Null) => (name, Value::Object(Default::default())),
            (Value::Null, value) => (name, value.clone()),
            (value, _) => (legacy.as_str(), value.clone()),
        };
        // A null means the default, as if the key were not there.
        let value = match value {
            Value::Object(map) => Value::Object(map.into_iter().filter(|(_, v)| !v.is_null()).collect()),
            other => other,
        };
        serde_json::from_value(value).map_err(|e| self.error(format!("{CONFIG}: {name}: {e}")))
    }

    /// What the checkpoint is.
    ///
    /// # Errors
    /// As [`ModelFiles::json`] of `config.json`.
    pub fn kind(&self) -> Result<Kind> {
        Ok(Kind::of(&self.json(CONFIG)?))
    }

    /// The files that hold the weights, in the order they are read, after the index that lists them where there is one.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file, the index or the shard that is missing or broken.
    pub fn weights(&self) -> Result<Vec<String>> {
        let Some(first) = WEIGHTS.iter().find(|file| self.has(file)) else {
            return Err(self.error(format!(
                "no weights: none of {} is there ({})",
                WEIGHTS.join(", "),
                self.origin
            )));
        };
        if !first.ends_with(".index.json") {
            return Ok(vec![(*first).to_owned()]);
        }
        let shards =
            shards(&self.json(first)?).ok_or_else(|| self.error(format!("{first} has no weight_map")))?;
        if let Some(missing) = shards.iter().find(|shard| !self.has(shard)) {
            return Err(self.error(format!("{first} names {missing}, which is missing ({})", self.origin)));
        }
        Ok(shards)
    }

    /// The file that says how pictures are prepared.
    ///
    /// # Errors
    /// [`Error::Model`] when there is none.
    pub fn preprocessor(&self) -> Result<&'static str> {
        [PREPROCESSOR, PROCESSOR, OPEN_CLIP]
            .into_iter()
            .find(|file| self.has(file))
            .ok_or_else(|| self.error(format!("{PREPROCESSOR} is missing ({})", self.origin)))
    }

    /// The files that say how text is cut: `tokenizer.json`, else `vocab.json` and `merges.txt` (CLIP), else `vocab.txt`
    /// (BERT), else `tokenizer.model` (Llama).
    ///
    /// # Errors
    /// [`Error::Model`] when neither is there.
    pub fn tokenizer(&self) -> Result<&'static [&'static str]> {
        if self.has(TOKENIZER) {
            Ok(&[TOKENIZER])
        } else if self.has(VOCAB) && self.has(MERGES) {
            Ok(&[VOCAB, MERGES])
        } else if self.has(WORD_PIECES) {
            Ok(&[WORD_PIECES])
        } else if self.has(SENTENCE_PIECES) {
            Ok(&[SENTENCE_PIECES])
        } else {
            Err(self.error(format!(
                "no tokenizer: neither {TOKENIZER} nor {VOCAB} with {MERGES} nor {WORD_PIECES} nor \
                 {SENTENCE_PIECES} ({})",
                self.origin
            )))
        }
    }

    /// Sixteen hex digits that two copies of a model share, wherever they lie: BLAKE3 over the content of the config,
    /// preprocessor, tokenizer and weight files that are used, a borrowed tower's too.
    ///
    /// # Errors
    /// [`Error::Model`] when one is missing, [`Error::Io`] when it can't be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut whole = blake3::Hasher::new();
        self.hash_settings(&mut whole, true)?;
        if let Some(tower) = &self.tower {
            tower.hash_settings(&mut whole, false)?;
        }
        Ok(whole.finalize().to_hex()[..16].to_owned())
    }

    fn hash_settings(&self, whole: &mut blake3::Hasher, speaks: bool) -> Result<()> {
        let preprocessor = match &self.tower {
            Some(_) => self.preprocessor().ok(),
            None => Some(self.preprocessor()?),
        };
        let tokenizer = if speaks { self.tokenizer()? } else { &[] };
        let weights = self.weights()?;
        let packed = self.names().filter(|file| file.ends_with(".gguf"));
        let settings = [CONFIG].into_iter().chain(preprocessor).chain(tokenizer.iter().copied());
        for file in settings.chain(weights.iter().map(String::as_str)).chain(packed) {
            whole.update(self.hash(file)?.as_bytes());
        }
        Ok(())
    }

    /// The length of all weight files in bytes.
    pub(crate) fn weight_bytes(&self) -> Result<u64> {
        self.weights()?.iter().try_fold(0, |sum, file| Ok(sum + self.len(file)?))
    }

    /// An [`Error::Model`] about this checkpoint.
    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::model(&self.name, reason)
    }

    fn len(&self, file: &str) -> Result<u64> {
        match self.blob(file)? {
            Blob::Path(path) => Ok(std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len()),
            Blob::Static(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn hash(&self, file: &str) -> Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        match self.blob(file)? {
            Blob::Path(path) => {
                hasher.update_mmap_rayon(path).map_err(|e| Error::io(path, e))?;
            }
            Blob::Static(bytes) => {
                hasher.update_rayon(bytes);
            }
        }
        Ok(hasher.finalize())
    }
}

/// The shards that a `*.index.json` names, sorted, each once.
pub(crate) fn shards(index: &Value) -> Option<Vec<String>> {
    let mut shards: Vec<String> =
        index["weight_map"].as_object()?.values().filter_map(|v| v.as_str().map(str::to_owned)).collect();
    shards.sort();
    shards.dedup();
    (!shards.is_empty()).then_some(shards)
}
