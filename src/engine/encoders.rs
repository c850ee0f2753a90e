//! Models, loaded once each, when first needed.

use super::batched::Batched;
use super::queue::QueueOptions;
use crate::error::Result;
use crate::models::{self, Clip, ModelOptions, Progress};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What embeds pictures and words.
pub type Encoder = Clip;

/// Finds and loads the encoder of that name: a directory, a Hugging Face id, an OpenCLIP name, or `demo`.
pub fn load(model: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<Encoder> {
    Clip::load(&models::resolve(model, options, progress)?, options)
}

/// The encoders in use, by the name that users give.
pub(super) struct Encoders {
    options: ModelOptions,
    progress: Arc<dyn Progress>,
    queue: QueueOptions,
    loaded: Mutex<HashMap<String, Arc<Batched>>>,
}

impl Encoders {
    pub fn new(options: ModelOptions, progress: Arc<dyn Progress>, queue: QueueOptions) -> Self {
        Encoders { options, progress, queue, loaded: Mutex::default() }
    }

    /// Those that are loaded, by name.
    pub fn loaded(&self) -> Vec<Arc<Batched>> {
        let loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        loaded.values().cloned().collect()
    }

    /// The encoder of that name. Two callers that ask for the same one at once load it once: the second waits.
    pub fn get(&self, model: &str) -> Result<Arc<Batched>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(encoder) = loaded.get(model) {
            return Ok(encoder.clone());
        }
        let encoder = load(model, &self.options, self.progress.as_ref())?;
        let encoder = Arc::new(Batched::new(Arc::new(encoder), self.queue)?);
        loaded.insert(model.to_owned(), encoder.clone());
        Ok(encoder)
    }
}
