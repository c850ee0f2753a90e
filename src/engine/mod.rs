//! Collections: upsert, delete, query. How model, index and store combine, and the only place where anything is encoded,
//! so that the vectors of pictures and of queries cannot drift apart.
//!
//! 1. `decode`     an encoded picture becomes pixels, within limits; a `gate` bounds the memory of many at once; `fetch` gets one
//!    from a URL, `web` many, `bucket` those of an object store, each with `patience`.
//! 2. `encoders`   models are loaded once each, when first needed.
//!    `batched` puts `queue`s before each, so that callers who wait together share a forward pass, and remembers `recent` texts;
//!    a `caller` who has left is not worked for, and a device whose memory is full gets a smaller `portion`.
//! 3. `space`      the vectors of one encoder and one modality: an index, and whose each slot is (`owners`);
//!    `guides` says which captions a graph is built for.
//! 4. `collection` opens a collection: its record, its spaces filled from the store.
//! 5. `upsert`     encodes a batch (`embed`), writes records, vectors and manifest in one atomic batch, then makes it visible.
//!    `captions` writes some from pictures, and drops those that lie, where ingestion asks for it; `small` makes pictures small.
//!    `shadow` holds another model's vectors of the same items, until they serve.
//! 6. `filter`     conditions to an allowed set, by the index of items' `fields`; `words` to items, by their `keywords`.
//! 7. `query`      terms to a vector, `sides` searched within the allowed set and fused, hits dressed.
//!    `browse` lists items and fields for those who look around; `duplicates` finds what is there twice.
//! 8. `rerank`     the best hits looked at once more: a `matcher` reads words together with each item's `picture`, seen by `eyes`;
//!    `refetch` brings those that lie elsewhere.
//!    `timing` is how long things took, and `recall` what graphs miss, for those who watch.
//! 9. `answer`     a question answered from the images that fit it, with citations; `eyes` looks at them, as the matcher does.
//! 10. this file opens the data directory, and creates, lists and drops collections.
//!
//! Not here: protocol messages, status codes, sled, tensor shapes.

mod answer;
mod batched;
mod browse;
pub mod bucket;
mod caller;
mod captions;
mod collection;
pub mod decode;
mod duplicates;
mod embed;
mod encoders;
mod eyes;
pub mod fetch;
mod fields;
mod filter;
mod gate;
mod guides;
mod keywords;
mod matcher;
mod owners;
mod patience;
mod picture;
mod portion;
mod query;
mod queue;
mod recall;
mod recent;
mod refetch;
mod rerank;
mod shadow;
mod sides;
mod small;
mod space;
mod timing;
mod upsert;
pub mod web;
mod words;

pub use crate::models::{Blip, Decoding, Features, ModelOptions, Pixels, Progress};
pub use crate::store::{BackedUp, Compacted, Finding, Manifest};
pub use answer::{ANSWERER, AnswerOptions, DeskOptions, LoadedAnswerer, Written, load as load_answerer};
pub use batched::Words;
pub use browse::Page;
pub use caller::Caller;
pub use captions::{Described, Describer, Fate, Sketch, VERDICTS, Verdict, WRITER};
pub use collection::{Activity, Collection, Info, SpaceInfo, SpaceState};
pub use duplicates::{Group, Likeness, Looks, Sameness, Twin};
pub use encoders::{CAPTIONER, Encoder, MATCHER, load as load_encoder, load_captioner, load_matcher};
pub use fields::{Facet, FacetKind};
pub use gate::{Gate, Held, Memory};
pub use matcher::MatchOptions;
pub use patience::Patience;
pub use query::MAX_HITS;
pub use queue::{Load, QueueOptions};
pub use recall::{RECALLS, Recalled};
pub use refetch::Refetch;
pub use rerank::fused;
pub use shadow::{EmbeddedBeside, Shadow};
pub use small::{thumbnail_covering, thumbnail_within};
pub use timing::{BOUNDS, Timed};
pub use upsert::{Embedded, Fresh, NewItem};

use crate::error::{Error, Result};
use crate::store::{Batch, CollectionRecord, Store};
use crate::types::Codes;
use encoders::Encoders;
use space::Space;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The model that a new collection gets where the user names none.
pub const DEFAULT_MODEL: &str = "demo";

/// How an engine is opened.
pub struct EngineOptions {
    /// The data directory.
    pub data: PathBuf,
    /// Device, number type, and where models come from.
    pub models: ModelOptions,
    /// What shows a download's progress.
    pub progress: Arc<dyn Progress>,
}

/// How callers share models, and which models serve beside the encoders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Serving {
    /// The queues before each model.
    pub queue: QueueOptions,
    /// The matcher.
    pub matching: MatchOptions,
    /// The answerer.
    pub answering: AnswerOptions,
    /// From where pictures that lie elsewhere may be fetched again, to be looked at; from nowhere by default.
    pub refetch: Refetch,
    /// What decoding one picture may take.
    pub limits: decode::Limits,
}

/// What a new collection is to be like; as usual, where nothing is named. A model alone will do: `Some("demo").into()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewCollection<'a> {
    /// The model that embeds.
    pub model: Option<&'a str>,
    /// How vectors are kept in memory.
    pub codes: Option<Codes>,
}

impl<'a> From<Option<&'a str>> for NewCollection<'a> {
    fn from(model: Option<&'a str>) -> Self {
        NewCollection { model, codes: None }
    }
}

/// A data directory and its collections.
pub struct Engine {
    store: Arc<Store>,
    encoders: Arc<Encoders>,
    memory: Arc<Memory>,
    watch: Arc<recall::Watch>,
    afar: Arc<refetch::Afar>,
    open: Mutex<HashMap<String, Arc<Collection>>>,
    /// Held while a collection is opened or removed, which may take seconds; queries to those that are open go on.
    opening: Mutex<()>,
    /// Held while a collection's record is made, changed or removed, so that two who ask for one name make one. Locked before
    /// `opening`, where both are.
    making: Mutex<()>,
}

impl Engine {
    /// Opens the data directory, making it where there is none.
    pub fn open(options: EngineOptions) -> Result<Self> {
        Engine::open_serving(options, Serving::default())
    }

    /// The same with other queues before the models, another matcher or answerer.
    pub fn open_serving(options: EngineOptions, serving: Serving) -> Result<Self> {
        let store = Arc::new(Store::open(&options.data)?);
        let afar = Arc::new(refetch::Afar::new(serving.refetch));
        let memory = Arc::new(Memory::new(serving.limits.clone()));
        let encoders = Arc::new(Encoders::new(options.models, options.progress, serving));
        let (watch, open, opening, making) = Default::default();
        Ok(Engine { store, encoders, memory, watch, afar, open, opening, making })
    }

    /// The data directory.
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// What each collection holds, by name. Loads no model.
    pub fn collections(&self) -> Result<Vec<Info>> {
        let names: Vec<String> = self.store.collections()?.into_iter().map(|c| c.name).collect();
        names.iter().map(|name| self.collection(name)?.info()).collect()
    }

    /// The collection of that name, which must be there.
    pub fn collection(&self, name: &str) -> Result<Arc<Collection>> {
        if let Some(collection) = self.at_hand(name) {
            return Ok(collection);
        }
        let _opening = locked(&self.opening);
        // Another may have opened it meanwhile.
        if let Some(collection) = self.at_hand(name) {
            return Ok(collection);
        }
        let record = self.store.collection(name)?.ok_or_else(|| self.missing(name))?;
        let (store, encoders) = (self.store.clone(), self.encoders.clone());
        let (memory, watch, afar) = (self.memory.clone(), self.watch.clone(), self.afar.clone());
        let collection = Arc::new(Collection::open(store, encoders, memory, watch, afar, record)?);
        locked(&self.open).insert(name.to_owned(), collection.clone());
        Ok(collection)
    }

    /// The collection of that name where it is open already: takes no time.
    pub fn at_hand(&self, name: &str) -> Option<Arc<Collection>> {
        locked(&self.open).get(name).cloned()
    }

    /// The collection of that name, made as `new` says where there is none.
    ///
    /// Where there is one, the model must be the one that made its vectors, by name or by its files' content, and the codes
    /// must be its own.
    pub fn collection_or_new<'a>(
        &self,
        name: &str,
        new: impl Into<NewCollection<'a>>,
    ) -> Result<Arc<Collection>> {
        let new = new.into();
        check_name(name)?;
        self.create_where_missing(name, &new)?;
        let collection = self.collection(name)?;
        new.model.map_or(Ok(()), |model| collection.check_model(model))?;
        new.codes.map_or(Ok(()), |codes| collection.check_codes(codes))?;
        Ok(collection)
    }

    /// A new collection of that name.
    ///
    /// # Errors
    /// [`Error::Exists`] where there is one.
    pub fn create_collection<'a>(
        &self,
        name: &str,
        new: impl Into<NewCollection<'a>>,
    ) -> Result<Arc<Collection>> {
        check_name(name)?;
        match self.create_where_missing(name, &new.into())? {
            true => self.collection(name),
            false => Err(Error::Exists { kind: "collection", name: name.to_owned() }),
        }
    }

    /// The shadow of a collection: the spaces of another model, to be filled ([`Collection::fill`]) while the active ones serve.
    /// Begun with `model` where there is none yet.
    pub fn shadow(&self, name: &str, model: Option<&str>) -> Result<Arc<Shadow>> {
        // Before others wait, since it may have to be fetched.
        model.map_or(Ok(()), |model| self.encoders.get(model).map(drop))?;
        let _making = locked(&self.making);
        self.collection(name)?.cast_shadow(model)
    }

    /// Switches a collection to its shadow's model, which from then on answers queries and embeds what comes; the model before
    /// becomes the shadow. Items that the shadow lacks are removed, if that is asked for. Queries go on meanwhile, each answered by
    /// one of the two alone.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no shadow, [`Error::Incomplete`] where it lacks items.
    pub fn flip(&self, name: &str, remove_missing: bool) -> Result<Arc<Collection>> {
        let _making = locked(&self.making);
        let new = Arc::new(self.collection(name)?.flip(remove_missing)?);
        locked(&self.open).insert(name.to_owned(), new.clone());
        Ok(new)
    }

    /// Drops the shadow of a collection; what serves stays.
    pub fn drop_shadow(&self, name: &str) -> Result<()> {
        let _making = locked(&self.making);
        self.collection(name)?.drop_shadow()
    }

    /// Removes a collection and all it holds; files that were indexed stay.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        let _making = locked(&self.making);
        let record = self.store.collection(name)?.ok_or_else(|| self.missing(name))?;
        let _opening = locked(&self.opening);
        locked(&self.open).remove(name);
        self.store.drop_collection(&record)
    }

    /// Gives back the disk space of what was replaced and removed. Writers wait; queries go on.
    pub fn compact(&self) -> Result<Compacted> {
        self.store.compact()
    }

    /// Writes one collection, or all, to a file that must not be there. Writers wait; queries go on.
    pub fn backup(&self, name: Option<&str>, to: &Path) -> Result<BackedUp> {
        self.check_there(name)?;
        self.store.backup(name, to)
    }

    /// Brings back what [`Engine::backup`] wrote: all of its collections, or the one of that name, which `rename` renames.
    pub fn restore(&self, from: &Path, name: Option<&str>, rename: Option<&str>) -> Result<BackedUp> {
        rename.map_or(Ok(()), check_name)?;
        self.store.restore(from, name, rename)
    }

    /// Reads all of one collection, or of all, and lists what is wrong. Writers wait; queries go on.
    pub fn check(&self, name: Option<&str>) -> Result<Vec<Finding>> {
        self.check_there(name)?;
        self.store.check(name)
    }

    /// The encoder of that name, for embedding outside any collection.
    pub fn encoder(&self, model: &str) -> Result<Arc<Encoder>> {
        Ok(self.encoders.get(model)?.encoder.clone())
    }

    /// Has each loaded model embed a word, so that one that fails is found before a caller finds it.
    pub fn probe(&self, caller: &Caller) -> Result<()> {
        self.encoders.loaded().iter().try_for_each(|encoder| encoder.probe(caller))
    }

    /// Has this share of the searches that graphs answer repeated by a scan, behind their back: 0 for none (the default), 1 for
    /// as many as a fiftieth of one processor can check.
    pub fn watch_recall(&self, share: f64) {
        self.watch.set(share);
    }

    /// The collections that are open.
    pub fn open_collections(&self) -> Vec<Arc<Collection>> {
        locked(&self.open).values().cloned().collect()
    }

    /// The memory for decoding that all its callers share.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What the queues before the loaded models have done: (model, what it is for, load). `text` and `image` are an encoder's,
    /// `picture` and `match` a matcher's, `picture` and `answer` an answerer's.
    pub fn loads(&self) -> Vec<(String, &'static str, Load)> {
        let (encoders, matchers) = (self.encoders.loaded(), self.encoders.loaded_matchers());
        let answerers = self.encoders.loaded_answerers();
        let matching = matchers.iter().flat_map(|matcher| matcher.loads());
        let answering = answerers.iter().flat_map(|answerer| answerer.loads());
        encoders.iter().flat_map(|encoder| encoder.loads()).chain(matching).chain(answering).collect()
    }

    /// What the answerers that are loaded have written.
    pub fn written(&self) -> Vec<(String, Written)> {
        self.encoders.loaded_answerers().iter().filter_map(|answerer| answerer.written()).collect()
    }

    /// Whether it was made now.
    fn create_where_missing(&self, name: &str, new: &NewCollection) -> Result<bool> {
        let _making = locked(&self.making);
        if self.store.collection(name)?.is_some() {
            return Ok(false);
        }
        let model = self.encoders.get(new.model.unwrap_or(DEFAULT_MODEL))?;
        self.create(name, &model.encoder, new.codes.unwrap_or_default())?;
        Ok(true)
    }

    fn create(&self, name: &str, encoder: &Encoder, codes: Codes) -> Result<()> {
        let spaces = Space::records(&self.store, encoder, codes)?;
        let (id, name, shadow) = (self.store.next_number()?, name.to_owned(), vec![]);
        let record = CollectionRecord { id, name, spaces, shadow };
        let mut batch = Batch::default();
        batch.put_collection(&record)?;
        self.store.commit(batch)
    }

    fn check_there(&self, name: Option<&str>) -> Result<()> {
        let Some(name) = name else { return Ok(()) };
        self.store.collection(name)?.map(|_| ()).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Error {
        let names: Vec<String> =
            self.store.collections().unwrap_or_default().into_iter().map(|c| c.name).collect();
        let fix = match names.is_empty() {
            true => "there is none yet: make one with `eyeshot index FOLDER`".to_owned(),
            false => format!("there are: {}", names.join(", ")),
        };
        Error::NotFound { kind: "collection", name: name.to_owned(), fix }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collection names go into keys, paths and URLs, so they are kept plain.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 128 || !name.chars().all(plain) || name.starts_with('.') {
        let what = format!("collection name {name:?}");
        return Err(Error::invalid(
            what,
            "use 1 to 128 letters, digits, '-', '_' or '.', not beginning with '.'",
        ));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::models::Silent;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// Opening takes seconds where there are many vectors; queries to what is open do not wait for it.
    #[test]
    fn what_is_open_is_at_hand_while_another_opens() {
        let home = tempfile::tempdir().unwrap();
        let options = || EngineOptions {
            data: home.path().to_owned(),
            models: ModelOptions::default(),
            progress: Arc::new(Silent),
        };
        let engine = Engine::open(options()).unwrap();
        ["open", "closed"].iter().for_each(|name| _ = engine.create_collection(name, None).unwrap());
        drop(engine);
        let engine = Engine::open(options()).unwrap();
        engine.collection("open").unwrap();
        let opening = locked(&engine.opening);
        std::thread::scope(|scope| {
            let (answers, heard) = channel();
            for name in ["open", "closed"] {
                let (engine, answers) = (&engine, answers.clone());
                scope.spawn(move || answers.send(engine.collection(name).unwrap().name().to_owned()));
            }
            let next = || heard.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!(next(), "open");
            assert!(heard.recv_timeout(Duration::from_millis(200)).is_err());
            drop(opening);
            assert_eq!(next(), "closed");
        });
    }
}
