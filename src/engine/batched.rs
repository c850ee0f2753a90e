//! An encoder as callers share it: behind a queue for texts and one for pictures, with recent texts remembered; and as
//! ingestion has it, a batch at a time. Either way a device is given no more at once than it has memory for.

use super::caller::Caller;
use super::encoders::Encoder;
use super::portion::Portion;
use super::queue::{Load, Queue, QueueOptions};
use super::recent::Recent;
use crate::error::{Error, Result};
use crate::models::Pixels;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Texts and their embeddings.
pub(super) type Words = HashMap<String, Vector>;
type Vector = Arc<[f32]>;

/// How many texts and how many pictures the encoder's device has room for.
#[derive(Default)]
struct Portions {
    texts: Portion,
    pictures: Portion,
}

/// An encoder and its queues.
pub(super) struct Batched {
    pub encoder: Arc<Encoder>,
    portions: Arc<Portions>,
    texts: Queue<String, Vector>,
    pictures: Queue<Pixels, Vec<f32>>,
    recent: Mutex<Recent<String, Vector>>,
}

impl Batched {
    pub fn new(encoder: Arc<Encoder>, options: QueueOptions) -> Result<Self> {
        let portions = Arc::new(Portions::default());
        let (words, sight) = (encoder.clone(), encoder.clone());
        let (of_words, of_sight) = (portions.clone(), portions.clone());
        let embed_texts = move |texts: &[String]| -> Result<Vec<Vector>> {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let made = of_words.texts.each(&texts, |texts| words.embed_texts(texts))?;
            Ok(made.into_iter().map(Vector::from).collect())
        };
        let embed_pixels =
            move |pixels: &[Pixels]| of_sight.pictures.each(pixels, |some| sight.embed_pixels(some));
        Ok(Batched {
            encoder,
            portions,
            texts: Queue::new("text", options, embed_texts)?,
            pictures: Queue::new("image", options, embed_pixels)?,
            recent: Mutex::new(Recent::new(options.recent as u64)),
        })
    }

    /// The embeddings of a batch of pictures, past the queue.
    pub fn embed_pixels(&self, pixels: &[Pixels]) -> Result<Vec<Vec<f32>>> {
        self.portions.pictures.each(pixels, |some| self.encoder.embed_pixels(some))
    }

    /// The embeddings of a batch of texts, past the queue and the memory of recent ones.
    pub fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.portions.texts.each(texts, |some| self.encoder.embed_texts(some))
    }

    /// The embeddings of `texts`, each encoded once, or not at all where it is remembered.
    pub fn texts(&self, texts: &[&str], caller: &Caller) -> Result<Words> {
        let mut found = Words::new();
        let mut missing: Vec<String> = Vec::new();
        for text in texts {
            let known = self.recent().get(*text);
            match known {
                Some(vector) => _ = found.insert((*text).to_owned(), vector),
                None => missing.push((*text).to_owned()),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(found);
        }
        let made = self.texts.ask(missing.clone(), caller)?;
        for (text, vector) in missing.into_iter().zip(made) {
            self.recent().put(text.clone(), vector.clone(), 1);
            found.insert(text, vector);
        }
        Ok(found)
    }

    /// The embedding of a picture.
    pub fn picture(&self, pixels: Pixels, caller: &Caller) -> Result<Vec<f32>> {
        let made = self.pictures.ask(vec![pixels], caller)?.pop();
        made.ok_or_else(|| Error::Compute { reason: "no vector came".into() })
    }

    /// Embeds a word as any caller's, past the memory of recent ones.
    pub fn probe(&self, caller: &Caller) -> Result<()> {
        self.texts.ask(vec!["a".to_owned()], caller).map(|_| ())
    }

    pub fn loads(&self) -> [(String, &'static str, Load); 2] {
        let name = || self.encoder.name().to_owned();
        [(name(), "text", self.texts.load()), (name(), "image", self.pictures.load())]
    }

    fn recent(&self) -> MutexGuard<'_, Recent<String, Vector>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
