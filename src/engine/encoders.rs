//! Models, loaded once each, when first needed.

use super::answer::{ANSWERER, AnyAnswerer};
use super::batched::Batched;
use super::matcher::Matcher;
use super::{DEFAULT_MODEL, Serving};
use crate::error::{Error, Result};
use crate::models::{self, Blip, Clip, ModelOptions, Progress, Role};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What embeds pictures and words.
pub type Encoder = Clip;

/// Finds and loads the encoder of that name: a directory, a Hugging Face id, an OpenCLIP name, or `demo`.
pub fn load(model: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<Encoder> {
    Clip::load(&models::resolve(model, options, progress)?, options)
}

/// A model that holds pictures against texts: what the demo encoder's collections are matched with, or what was named.
pub const MATCHER: &str = "Salesforce/blip-itm-base-coco";
/// A model that writes captions, to name where photographs are to be described.
pub const CAPTIONER: &str = "Salesforce/blip-image-captioning-base";

/// Finds and loads the matcher of that name.
pub fn load_matcher(model: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<Blip> {
    let blip = load_blip(Role::Matcher, model, options, progress)?;
    match blip.can_match() {
        true => Ok(blip),
        false => Err(cannot(&blip, "match pictures and texts", MATCHER)),
    }
}

/// Finds and loads the captioner of that name.
pub fn load_captioner(model: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<Blip> {
    let blip = load_blip(Role::Captioner, model, options, progress)?;
    match blip.can_caption() {
        true => Ok(blip),
        false => Err(cannot(&blip, "write captions", CAPTIONER)),
    }
}

fn load_blip(role: Role, model: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<Blip> {
    Blip::load(&models::resolve_as(role, model, options, progress)?, options)
}

fn cannot(blip: &Blip, what: &str, other: &str) -> Error {
    Error::model(blip.name(), format!("this BLIP cannot {what}: name one that can, such as {other}"))
}

/// The models in use, by the name that users give.
pub(super) struct Encoders {
    options: ModelOptions,
    progress: Arc<dyn Progress>,
    serving: Serving,
    loaded: Mutex<HashMap<String, Arc<Batched>>>,
    matchers: Mutex<HashMap<String, Arc<Matcher>>>,
    answerers: Mutex<HashMap<String, Arc<AnyAnswerer>>>,
}

impl Encoders {
    pub fn new(options: ModelOptions, progress: Arc<dyn Progress>, serving: Serving) -> Self {
        let (loaded, matchers, answerers) = Default::default();
        Encoders { options, progress, serving, loaded, matchers, answerers }
    }

    /// The matcher for pictures that the encoder `model` embedded: the one that was named, or the demo one for the demo
    /// encoder. Nothing is downloaded that nobody named.
    pub fn matcher(&self, model: &str) -> Result<Arc<Matcher>> {
        let Some(name) = self.matcher_name(model) else {
            let what = format!("no matcher is named for pictures that {model} embedded");
            return Err(Error::invalid(what, format!("name one with --matcher, such as {MATCHER}")));
        };
        let mut matchers = self.matchers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(matcher) = matchers.get(name) {
            return Ok(matcher.clone());
        }
        let blip = load_matcher(name, &self.options, self.progress.as_ref())?;
        let matcher = Arc::new(Matcher::new(blip, self.serving.queue, self.serving.matching.features)?);
        matchers.insert(name.to_owned(), matcher.clone());
        Ok(matcher)
    }

    /// Which matcher [`Encoders::matcher`] would give.
    pub fn matcher_name(&self, model: &str) -> Option<&str> {
        self.serving.matching.matcher.as_deref().or(usual(model))
    }

    /// The answerer for pictures that the encoder `model` embedded: the one that was named, or the demo one for the demo
    /// encoder. Nothing is downloaded that nobody named.
    pub fn answerer(&self, model: &str) -> Result<Arc<AnyAnswerer>> {
        let Some(name) = self.answerer_name(model) else {
            let what = format!("no answerer is named for pictures that {model} embedded");
            return Err(Error::invalid(what, format!("name one with --answerer, such as {ANSWERER}")));
        };
        let mut answerers = self.answerers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(answerer) = answerers.get(name) {
            return Ok(answerer.clone());
        }
        let (queue, options) = (self.serving.queue, &self.serving.answering);
        let answerer = AnyAnswerer::load(name, &self.options, self.progress.as_ref(), queue, options)?;
        let answerer = Arc::new(answerer);
        answerers.insert(name.to_owned(), answerer.clone());
        Ok(answerer)
    }

    /// Which answerer [`Encoders::answerer`] would give.
    pub fn answerer_name(&self, model: &str) -> Option<&str> {
        self.serving.answering.answerer.as_deref().or(usual(model))
    }

    /// The answerers that are loaded.
    pub fn loaded_answerers(&self) -> Vec<Arc<AnyAnswerer>> {
        let answerers = self.answerers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        answerers.values().cloned().collect()
    }

    /// The matchers that are loaded.
    pub fn loaded_matchers(&self) -> Vec<Arc<Matcher>> {
        let matchers = self.matchers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        matchers.values().cloned().collect()
    }

    /// The encoders that are loaded.
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
        let on = |options: ModelOptions| load(model, &options, self.progress.as_ref());
        let encoders = self.options.each_device().map(on).collect::<Result<_>>()?;
        let encoder = Arc::new(Batched::new(encoders, self.serving.queue)?);
        loaded.insert(model.to_owned(), encoder.clone());
        Ok(encoder)
    }
}

/// What serves beside the encoder `model` where nobody names anything: the demo models know one world.
fn usual(model: &str) -> Option<&'static str> {
    (model == DEFAULT_MODEL).then_some(DEFAULT_MODEL)
}
