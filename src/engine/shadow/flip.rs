//! The flip: shadow and active spaces change places.
//!
//! 1. Writers wait; queries go on. Where the shadow lacks items, they are removed if that was asked for, else nothing happens.
//! 2. A collection is made in memory of the same spaces, the other way round; what filters and words ask goes with it.
//! 3. One record is written: this is the switch, and it is durable or it was not.
//! 4. The engine hands out the new collection from then on. Queries that are under way end on the old one, so that each is
//!    answered by one model alone; whoever writes to it is told to begin again.

use super::{Beside, Shadow};
use crate::engine::collection::{Collection, Counters};
use crate::error::{Error, Result};
use crate::store::{Batch, CollectionRecord};
use crate::types::ItemId;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

impl Collection {
    /// The collection with its shadow's spaces for its own, and its own for its shadow; this one takes no more writes.
    ///
    /// # Errors
    /// [`Error::Incomplete`] where items lack vectors in the shadow, unless they are to be removed; [`Error::NotFound`] where there
    /// is no shadow; and whatever keeps its model from being loaded.
    pub(in crate::engine) fn flip(&self, remove_missing: bool) -> Result<Collection> {
        let shadow = self.shadow()?.ok_or_else(|| self.no_shadow())?;
        // Before anybody waits: no query shall be the one that loads it, or finds that it can't be.
        let encoder = shadow.batched()?.clone();
        let mut writer = self.writer()?;
        if !self.beside.is(&shadow) {
            return Err(self.switched());
        }
        let missing = self.missing(&shadow);
        if !missing.is_empty() && !remove_missing {
            return Err(Error::Incomplete {
                collection: self.name().to_owned(),
                model: shadow.model().to_owned(),
                missing: missing.len(),
                items: self.images.len(),
            });
        }
        self.remove_held(&mut writer, &missing)?;
        let record = CollectionRecord {
            spaces: shadow.records(),
            shadow: vec![self.images.record.clone(), self.captions.record.clone()],
            ..self.record.clone()
        };
        let new = self.turned(record, &shadow, Counters { switched: false, ..*writer })?;
        _ = new.encoder.set(encoder);
        let mut batch = Batch::default();
        batch.put_collection(&new.record)?;
        self.store.commit(batch)?;
        writer.switched = true;
        Ok(new)
    }

    /// The items that the shadow lacks.
    pub(super) fn missing(&self, shadow: &Shadow) -> Vec<ItemId> {
        let there: HashSet<ItemId> = shadow.images.items(None).into_iter().collect();
        self.images.items(None).into_iter().filter(|item| !there.contains(item)).collect()
    }

    /// The same collection, of the same spaces, the other way round.
    fn turned(&self, record: CollectionRecord, shadow: &Shadow, counters: Counters) -> Result<Collection> {
        let own = Shadow::of(self.images.clone(), self.captions.clone(), self.encoders.clone());
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let new = Collection {
            store: self.store.clone(),
            record,
            images: shadow.images.clone(),
            captions: shadow.captions.clone(),
            beside: Beside::opened(own),
            writer: Mutex::new(Counters {
                image_slot: self.store.next_slot(shadow.images.record.id)?,
                caption_slot: self.store.next_slot(shadow.captions.record.id)?,
                ..counters
            }),
            fields: OnceLock::new(),
            memory: self.memory.clone(),
            words: Mutex::new(words),
            afar: self.afar.clone(),
            watch: self.watch.clone(),
            counts: Arc::clone(&self.counts),
            encoders: self.encoders.clone(),
            encoder: OnceLock::new(),
        };
        // They are by slot, and so made anew; who has used filters does not wait for that later.
        if self.fields.get().is_some() {
            drop(new.fields()?);
        }
        Ok(new)
    }
}
