//! One collection: its record, its spaces, and what is known of its items.

use super::answer::AnyAnswerer;
use super::batched::Batched;
use super::caller::Caller;
use super::encoders::{Encoder, Encoders};
use super::fields::Fields;
use super::gate::Memory;
use super::guides::guides;
use super::keywords::Keywords;
use super::matcher::Matcher;
use super::picture::Shelf;
use super::recall::{Recalled, Watch};
use super::refetch::Afar;
use super::shadow::{Beside, Gone};
use super::space::Space;
use super::timing::{Timed, Timing};
use crate::error::{Error, Result};
use crate::models::Pixels;
use crate::store::{Batch, CollectionRecord, Manifest, SpaceRecord, Store};
use crate::types::{Codes, ContentHash, Item, ItemId, Modality};
use image::RgbImage;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};

/// The most captions that guide a graph of pictures: more than these add little (see `benches/ann.md`).
const GUIDES: usize = 100_000;

/// A named set of items with one active encoder.
pub struct Collection {
    pub(super) store: Arc<Store>,
    pub(super) record: CollectionRecord,
    pub(super) images: Arc<Space>,
    pub(super) captions: Arc<Space>,
    /// Its other model's spaces.
    pub(super) beside: Beside,
    /// Held while a batch is numbered, written and made visible: one writer at a time.
    pub(super) writer: Mutex<Counters>,
    /// What filters ask; there from the first filtered query on.
    pub(super) fields: OnceLock<RwLock<Fields>>,
    /// For decoding, shared by all collections.
    pub(super) memory: Arc<Memory>,
    /// What searches for words ask; there from the first of them on. Locked after `writer`, where both are.
    pub(super) words: Mutex<Option<Arc<Keywords>>>,
    /// Fetches pictures again that lie elsewhere.
    pub(super) afar: Arc<Afar>,
    /// Has some searches checked.
    pub(super) watch: Arc<Watch>,
    pub(super) counts: Arc<Counts>,
    pub(super) encoders: Arc<Encoders>,
    pub(super) encoder: OnceLock<Arc<Batched>>,
}

/// What it has done since it was opened.
#[derive(Default)]
pub(super) struct Counts {
    pub searches: Timing,
    pub reranks: Timing,
    pub looked: AtomicU64,
    pub remembered: AtomicU64,
    pub ingests: Timing,
    pub written: AtomicU64,
}

/// The next numbers to give, while any are given.
pub(super) struct Counters {
    /// Whether it was flipped, so that another takes its writes.
    pub switched: bool,
    pub item: u64,
    pub image_slot: u32,
    pub caption_slot: u32,
}

/// What a collection holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// How many items.
    pub items: usize,
    /// Its active spaces.
    pub spaces: Vec<SpaceInfo>,
    /// Those of its other model, where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<SpaceInfo>,
    /// The matcher that reranks its hits; None where none was named. This process's affair, and so no part of what is printed.
    #[serde(skip)]
    pub matcher: Option<String>,
    /// The answerer of questions about its images, in the same way.
    #[serde(skip)]
    pub answerer: Option<String>,
    /// What its data directory takes on disk, with all other collections in it.
    pub bytes: u64,
}

/// What a space holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpaceInfo {
    /// The model as it was named.
    pub model: String,
    /// What the vectors were made from.
    pub modality: Modality,
    /// Their length.
    pub dim: usize,
    /// How many.
    pub vectors: usize,
    /// How they are kept in memory.
    #[serde(skip_serializing_if = "Codes::is_default")]
    pub codes: Codes,
}

/// What a collection has done since it was opened, and what its spaces are like.
#[derive(Clone, Debug)]
pub struct Activity {
    /// How long searches took, encoding and dressing aside.
    pub searches: Timed,
    /// How long reranking took.
    pub reranks: Timed,
    /// How many hits were looked at for it.
    pub looked: u64,
    /// How many of these pictures were remembered from an earlier look.
    pub remembered: u64,
    /// How long batches of items took, from encoding to being visible.
    pub ingests: Timed,
    /// How many items were written.
    pub written: u64,
    /// Its spaces.
    pub spaces: Vec<SpaceState>,
}

/// What a space's index is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpaceState {
    /// What its vectors were made from.
    pub modality: Modality,
    /// Vectors that can be found.
    pub vectors: usize,
    /// Removed ones that still take room.
    pub tombstones: usize,
    /// Those that every search scans, since no graph links them yet.
    pub unlinked: usize,
    /// Linked ones that no search by graph comes to; 0 unless something is wrong.
    pub unreachable: usize,
    /// The breadth of a search by graph for which none is asked; 0 where every search scans.
    pub ef: usize,
    /// The share of the ten nearest that this breadth found when the graph was built; 0 where every search scans.
    pub recall: f64,
    /// About how many bytes of memory it takes.
    pub bytes: usize,
    /// What scans told of the answers that its graph gave, where some were checked.
    pub recalled: Recalled,
}

impl Collection {
    pub(super) fn open(
        store: Arc<Store>,
        encoders: Arc<Encoders>,
        memory: Arc<Memory>,
        watch: Arc<Watch>,
        afar: Arc<Afar>,
        record: CollectionRecord,
    ) -> Result<Self> {
        let images = Arc::new(Space::open(&store, space_of(&record, Modality::Image)?)?);
        let captions = Arc::new(Space::open(&store, space_of(&record, Modality::Caption)?)?);
        // Captions are what text queries look like: a graph of pictures that is due anyway is built for them.
        images.guide(&if images.wants_graph() { captions.sample(GUIDES, guides) } else { vec![] })?;
        captions.guide(&[])?;
        let beside = Beside::stored(&record.shadow);
        let writer = Mutex::new(Counters {
            switched: false,
            item: store.next_item(record.id)?,
            image_slot: store.next_slot(images.record.id)?,
            caption_slot: store.next_slot(captions.record.id)?,
        });
        let (fields, words, encoder, counts) = Default::default();
        Ok(Collection {
            store,
            record,
            images,
            captions,
            beside,
            writer,
            fields,
            words,
            memory,
            watch,
            afar,
            counts,
            encoders,
            encoder,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The model that made its vectors, as it was named.
    pub fn model(&self) -> &str {
        &self.images.record.model
    }

    /// What it holds. Loads no model.
    pub fn info(&self) -> Result<Info> {
        Ok(Info {
            name: self.name().to_owned(),
            items: self.images.len(),
            spaces: vec![self.images.info(), self.captions.info()],
            shadow: self.shadow_info()?,
            matcher: self.encoders.matcher_name(self.model()).map(str::to_owned),
            answerer: self.encoders.answerer_name(self.model()).map(str::to_owned),
            bytes: self.store.bytes()?,
        })
    }

    /// What it has done, and what its spaces are like: for those who watch.
    pub fn activity(&self) -> Activity {
        let spaces = [&self.images, &self.captions].map(|space| space.state()).to_vec();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { searches, reranks, looked, remembered, ingests, written } = &*self.counts;
        Activity {
            searches: searches.read(),
            reranks: reranks.read(),
            looked: of(looked),
            remembered: of(remembered),
            ingests: ingests.read(),
            written: of(written),
            spaces,
        }
    }

    /// The encoder that made its vectors, loaded when first asked for; its files must still be the same.
    pub fn encoder(&self) -> Result<&Arc<Encoder>> {
        Ok(&self.batched()?.encoder)
    }

    /// The same encoder behind the queues that all callers share.
    pub(super) fn batched(&self) -> Result<&Arc<Batched>> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let encoder = self.encoders.get(self.model())?;
        if encoder.encoder.fingerprint() != self.images.record.fingerprint {
            let held = format!("{} ({})", self.model(), self.images.record.fingerprint);
            return Err(self.other_model(
                held,
                format!("{} ({}, its files changed)", self.model(), encoder.encoder.fingerprint()),
            ));
        }
        Ok(self.encoder.get_or_init(|| encoder))
    }

    /// What holds its pictures against words, loaded when first asked for.
    pub(super) fn matcher(&self) -> Result<Arc<Matcher>> {
        self.encoders.matcher(self.model())
    }

    /// Whether there is such a one.
    pub(super) fn has_matcher(&self) -> bool {
        self.encoders.matcher_name(self.model()).is_some()
    }

    /// What answers questions about its pictures, loaded when first asked for.
    pub(super) fn answerer(&self) -> Result<Arc<AnyAnswerer>> {
        self.encoders.answerer(self.model())
    }

    /// That it keeps vectors so.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it does not.
    pub fn check_codes(&self, codes: Codes) -> Result<()> {
        let own = self.images.record.codes;
        if codes == own {
            return Ok(());
        }
        let what = format!("codes {codes} for collection {:?}, which keeps {own}", self.name());
        Err(Error::invalid(
            what,
            "codes are chosen when a collection is made: leave them out, or name another collection",
        ))
    }

    /// That `model` is the one that made the vectors, by name or by its files' content.
    pub(super) fn check_model(&self, model: &str) -> Result<()> {
        if model == self.model()
            || self.encoders.get(model)?.encoder.fingerprint() == self.images.record.fingerprint
        {
            return Ok(());
        }
        Err(self.other_model(self.model().to_owned(), model.to_owned()))
    }

    /// How many pixels a side the encoder makes of a picture; None for as many as there are.
    pub fn enough(&self) -> Result<Option<u32>> {
        Ok(self.encoder()?.enough())
    }

    /// A picture as the encoder takes it. Meant to be called from many threads.
    pub fn prepare(&self, image: &RgbImage) -> Result<Pixels> {
        self.encoder()?.prepare(image)
    }

    /// One item.
    pub fn item(&self, id: ItemId) -> Result<Option<Item>> {
        Ok(self.store.item(self.record.id, id)?.map(Arc::unwrap_or_clone))
    }

    /// All items, by id.
    pub fn items(&self) -> impl Iterator<Item = Result<Item>> + use<> {
        self.store.items(self.record.id)
    }

    /// Where the item of `key` came from, and what it was when it was read.
    pub fn manifest(&self, key: &str) -> Result<Option<Manifest>> {
        self.store.manifest(self.record.id, key)
    }

    /// An item whose file has these bytes: its vectors and its facts can be reused.
    pub fn known(&self, hash: &ContentHash) -> Result<Option<Item>> {
        match self.store.item_of_hash(self.record.id, hash)? {
            Some(id) => self.item(id),
            None => Ok(None),
        }
    }

    /// The bytes of an item's file, where it came as bytes and was kept.
    pub fn upload(&self, item: &Item) -> Result<Option<Vec<u8>>> {
        self.store.upload(self.record.id, &item.hash)
    }

    /// The bytes of an item's picture from wherever they lie, if they are still what was indexed.
    ///
    /// # Errors
    /// [`Error::Gone`] where they are gone or have changed; [`Error::Forbidden`] where they are not to be fetched again
    /// ([`Refetch`](super::Refetch)); [`Error::GaveUp`] where the place that holds them does not give them.
    pub fn picture(&self, item: &Item, caller: &Caller) -> Result<Vec<u8>> {
        self.shelf().read_for(&item.key, &item.hash, item.size, caller)
    }

    /// The small picture that was kept of an item; None where none was, or where it is damaged.
    pub fn thumbnail(&self, item: ItemId) -> Result<Option<Vec<u8>>> {
        self.store.thumbnail(self.record.id, item)
    }

    /// Whether a small picture of an item was kept.
    pub fn has_thumbnail(&self, item: ItemId) -> Result<bool> {
        self.store.has_thumbnail(self.record.id, item)
    }

    /// Where its pictures lie.
    pub(super) fn shelf(&self) -> Shelf {
        Shelf { store: self.store.clone(), collection: self.record.id, afar: self.afar.clone() }
    }

    /// The keys that `wanted` says yes to, given each with its manifest.
    pub fn keys_where(&self, wanted: impl Fn(&str, &Manifest) -> bool) -> Result<Vec<String>> {
        let rows = self.store.manifests(self.record.id);
        let keys = rows.map(|row| row.map(|(key, manifest)| wanted(&key, &manifest).then_some(key)));
        keys.filter_map(Result::transpose).collect()
    }

    /// The URIs of the sources that its items came from, each once.
    pub fn sources(&self) -> Result<Vec<String>> {
        let mut seen = std::collections::BTreeSet::new();
        for row in self.store.manifests(self.record.id) {
            seen.insert(row?.1.source);
        }
        Ok(seen.into_iter().collect())
    }

    /// Removes items by key, all at once; returns how many were there.
    pub fn remove_keys(&self, keys: &[String]) -> Result<usize> {
        let mut writer = self.writer()?;
        let mut ids = Vec::with_capacity(keys.len());
        for key in keys {
            ids.extend(self.manifest(key)?.map(|manifest| manifest.item));
        }
        self.remove_held(&mut writer, &ids)
    }

    /// Removes items, all at once, for whoever holds `writer`; returns how many were there.
    pub(super) fn remove_held(&self, _writer: &mut Counters, ids: &[ItemId]) -> Result<usize> {
        let mut batch = Batch::default();
        let (mut images, mut captions, mut fields, mut removed) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let (shadow, mut gone) = (self.shadow()?, Gone::default());
        for id in ids {
            let Some(item) = self.item(*id)? else { continue };
            batch.remove_item(self.record.id, &item);
            captions.extend(self.captions.slots_of(item.id));
            shadow.iter().for_each(|shadow| shadow.retire(item.id, &mut batch, &mut gone));
            for slot in self.images.slots_of(item.id) {
                images.push(slot);
                fields.push((slot, item.clone()));
            }
            removed += 1;
        }
        images.iter().for_each(|slot| batch.remove_vector(self.images.record.id, *slot));
        captions.iter().for_each(|slot| batch.remove_vector(self.captions.record.id, *slot));
        self.store.commit(batch)?;
        let hashes: Vec<ContentHash> = fields.iter().map(|(_, item)| item.hash).collect();
        self.store.drop_uploads(self.record.id, &hashes)?;
        self.remove_fields(&fields);
        self.remove_words(fields.iter().map(|(_, item)| item.id));
        self.images.remove(&images);
        self.captions.remove(&captions);
        shadow.iter().for_each(|shadow| shadow.hide(&gone));
        Ok(removed)
    }

    /// The right to write.
    ///
    /// # Errors
    /// [`Error::Switched`] where the collection was flipped.
    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Counters>> {
        let writer = self.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match writer.switched {
            true => Err(Error::Switched { collection: self.name().to_owned() }),
            false => Ok(writer),
        }
    }

    /// Waits until the graphs are built and stored, where they are due, so that the next opening finds them.
    pub fn settle(&self) -> Result<()> {
        self.images.settle()?;
        self.captions.settle()
    }

    fn other_model(&self, held: String, asked: String) -> Error {
        Error::OtherModel { collection: self.name().to_owned(), held, asked }
    }
}

fn space_of(record: &CollectionRecord, modality: Modality) -> Result<SpaceRecord> {
    let space = record.spaces.iter().find(|s| s.modality == modality).cloned();
    let reason = || format!("collection {:?} has no {modality} space", record.name);
    space.ok_or_else(|| Error::Corrupt { reason: reason() })
}
