//! An encoder as callers share it: behind a queue for texts and one for pictures, with recent texts remembered; and as
//! ingestion has it, a batch at a time. Where there are several devices, each has it, and takes its share. Either way a device is given
//! no more at once than it has memory for.

use super::caller::Caller;
use super::encoders::Encoder;
use super::portion::Portion;
use super::queue::{Load, Queue, QueueOptions, Waiting};
use super::recent::Recent;
use crate::error::{Error, Result};
use crate::models::Pixels;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Texts and their embeddings.
pub struct Words(HashMap<String, Vector>);
type Vector = Arc<[f32]>;

impl Words {
    /// None at all.
    pub fn none() -> Self {
        Words(HashMap::new())
    }

    /// The embedding of `text`, where it is among them.
    pub fn get(&self, text: &str) -> Option<&[f32]> {
        self.0.get(text).map(Arc::as_ref)
    }
}

/// Texts of which some are remembered, and the others wait for the encoder.
pub(super) struct Sought {
    batched: Arc<Batched>,
    found: Words,
    missing: Vec<String>,
    waiting: Option<Waiting<Vector>>,
}

impl Sought {
    /// Sleeps until all are there.
    pub fn block(mut self) -> Result<Words> {
        let made = self.waiting.take().map_or(Ok(vec![]), Waiting::block)?;
        Ok(self.with(made))
    }

    /// The same for those who have other things to do.
    pub async fn wait(mut self) -> Result<Words> {
        let made = match self.waiting.take() {
            Some(waiting) => waiting.wait().await?,
            None => vec![],
        };
        Ok(self.with(made))
    }

    fn with(mut self, made: Vec<Vector>) -> Words {
        for (text, vector) in self.missing.into_iter().zip(made) {
            self.batched.recent().put(text.clone(), vector.clone(), 1);
            self.found.0.insert(text, vector);
        }
        self.found
    }
}

/// An encoder on one device, and what that has room for.
struct Replica {
    encoder: Arc<Encoder>,
    texts: Portion,
    pictures: Portion,
}

/// An encoder and its queues.
pub(super) struct Batched {
    /// The one on the first device.
    pub encoder: Arc<Encoder>,
    /// One for each device, all of the same files.
    replicas: Vec<Arc<Replica>>,
    texts: Queue<String, Vector>,
    pictures: Queue<Pixels, Vec<f32>>,
    recent: Mutex<Recent<String, Vector>>,
}

impl Replica {
    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.texts.each(texts, |some| self.encoder.embed_texts(some))
    }

    fn embed_pixels(&self, pixels: &[Pixels]) -> Result<Vec<Vec<f32>>> {
        self.pictures.each(pixels, |some| self.encoder.embed_pixels(some))
    }
}

impl Batched {
    /// An encoder, the same on each of several devices; at least one.
    pub fn new(encoders: Vec<Encoder>, options: QueueOptions) -> Result<Self> {
        let replica = |encoder| {
            let (texts, pictures) = Default::default();
            Arc::new(Replica { encoder: Arc::new(encoder), texts, pictures })
        };
        let replicas: Vec<Arc<Replica>> = encoders.into_iter().map(replica).collect();
        let first = replicas.first().ok_or_else(|| Error::invalid("no device", "name one with --device"))?;
        let encoder = first.encoder.clone();
        let words = replicas.iter().cloned().map(|replica| {
            move |texts: &[String]| -> Result<Vec<Vector>> {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                Ok(replica.embed_texts(&texts)?.into_iter().map(Vector::from).collect())
            }
        });
        let sight = replicas.iter().cloned();
        let sight = sight.map(|replica| move |pixels: &[Pixels]| replica.embed_pixels(pixels));
        let (words, sight) = (words.collect(), sight.collect());
        Ok(Batched {
            encoder,
            replicas,
            texts: Queue::served_by("text", options, words)?,
            pictures: Queue::served_by("image", options, sight)?,
            recent: Mutex::new(Recent::new(options.recent as u64)),
        })
    }

    /// The embeddings of a batch of pictures, past the queue.
    pub fn embed_pixels(&self, pixels: &[Pixels]) -> Result<Vec<Vec<f32>>> {
        self.shared_out(pixels, Replica::embed_pixels)
    }

    /// The embeddings of a batch of texts, past the queue and the memory of recent ones.
    pub fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.shared_out(texts, Replica::embed_texts)
    }

    /// What `run` makes of `inputs`, in order, each device its share of them at the same time as the others.
    fn shared_out<I: Sync, O: Send>(
        &self,
        inputs: &[I],
        run: impl Fn(&Replica, &[I]) -> Result<Vec<O>> + Sync,
    ) -> Result<Vec<O>> {
        let share = inputs.len().div_ceil(self.replicas.len()).max(1);
        let mut shares = inputs.chunks(share).zip(&self.replicas);
        let Some((own, first)) = shares.next() else { return Ok(vec![]) };
        let run = &run;
        std::thread::scope(|scope| {
            let others: Vec<_> =
                shares.map(|(some, replica)| scope.spawn(move || run(replica, some))).collect();
            let mut made = run(first, own)?;
            for other in others {
                let broke = |_| Error::Compute { reason: "a device's thread broke off".into() };
                made.extend(other.join().map_err(broke)??);
            }
            Ok(made)
        })
    }

    /// Has `texts` embedded, each once, or not at all where it is remembered.
    ///
    /// # Errors
    /// [`crate::Error::Overloaded`] where they would make the line before the encoder too long.
    pub fn seek(self: &Arc<Self>, texts: &[&str], caller: &Caller) -> Result<Sought> {
        let (mut found, mut missing) = (Words::none(), Vec::new());
        for text in texts {
            let known = self.recent().get(*text);
            match known {
                Some(vector) => _ = found.0.insert((*text).to_owned(), vector),
                None => missing.push((*text).to_owned()),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        let waiting = match missing.is_empty() {
            true => None,
            false => Some(self.texts.put(missing.clone(), caller)?),
        };
        Ok(Sought { batched: self.clone(), found, missing, waiting })
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::models::{ModelOptions, Silent};

    /// Several devices make what one makes, of any number of inputs, in order.
    #[test]
    fn devices_share_a_batch() {
        let load = || super::super::load_encoder("demo", &ModelOptions::default(), &Silent).unwrap();
        let one = Batched::new(vec![load()], QueueOptions::default()).unwrap();
        let three = Arc::new(Batched::new(vec![load(), load(), load()], QueueOptions::default()).unwrap());
        let texts: Vec<String> = (0..7).map(|n| format!("a cat and {n} dogs")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let picture =
            |n: u8| image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 5, y as u8 * 7, n * 30]));
        let pixels: Vec<Pixels> = (0..7).map(|n| one.encoder.prepare(&picture(n)).unwrap()).collect();
        for count in [0, 1, 2, 3, 4, 7] {
            near(&three.embed_texts(&texts[..count]).unwrap(), &one.embed_texts(&texts[..count]).unwrap());
            near(
                &three.embed_pixels(&pixels[..count]).unwrap(),
                &one.embed_pixels(&pixels[..count]).unwrap(),
            );
        }
        // Callers are served by whichever device is free.
        let wanted = one.embed_texts(&texts).unwrap();
        std::thread::scope(|scope| {
            for (text, wanted) in texts.iter().zip(&wanted) {
                let three = &three;
                scope.spawn(move || {
                    let found = three.seek(&[text], &Caller::default()).unwrap().block().unwrap();
                    near(&[found.get(text).unwrap().to_vec()], std::slice::from_ref(wanted));
                });
            }
        });
        assert_eq!(three.loads()[0].2.inputs, 7);
    }

    fn near(found: &[Vec<f32>], wanted: &[Vec<f32>]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
