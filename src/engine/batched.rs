//! An encoder as callers share it: behind a queue for texts and one for pictures, with recent texts remembered; and as
//! ingestion has it, a batch at a time. Where there are several devices, each has it, and takes its share. Either way a device is given
//! no more at once than it has memory for.

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
        let three = Batched::new(vec![load(), load(), load()], QueueOptions::default()).unwrap();
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
                    let found = three.texts(&[text], &Caller::default()).unwrap();
                    near(&[found[*text].to_vec()], std::slice::from_ref(wanted));
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
