//! Models, loaded once each, when first needed.

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
    loaded: Mutex<HashMap<String, Arc<Encoder>>>,
}

impl Encoders {
    pub fn new(options: ModelOptions, progress: Arc<dyn Progress>) -> Self {
        Encoders { options, progress, loaded: Mutex::default() }
    }

    /// The encoder of that name. Two callers that ask for the same one at once load it once: the second waits.
    pub fn get(&self, model: &str) -> Result<Arc<Encoder>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(encoder) = loaded.get(model) {
            return Ok(encoder.clone());
        }
        let encoder = Arc::new(load(model, &self.options, self.progress.as_ref())?);
        loaded.insert(model.to_owned(), encoder.clone());
        Ok(encoder)
    }
}
