//! A collection's shadow: the spaces of another model, filled beside those that serve, and switched with them in one step.
//!
//! 1. [`Collection::cast_shadow`] lists two more spaces in the collection's record; they are opened when first needed (`Beside`),
//!    which is never for a query.
//! 2. `fill` embeds what items are made of, their captions too, a batch at a time.
//! 3. Whatever replaces or removes an item takes its vectors out of the shadow, in the same atomic batch. So an item is in the
//!    shadow if and only if it is there as it is now: what is missing needs no list, and a run that was killed just goes on.
//! 4. `flip` writes one record, in which the two have changed places. Flipping once more goes back.
//!
//! What it must not know: where pictures come from.

mod fill;
mod flip;

pub use fill::EmbeddedBeside;

use super::batched::Batched;
use super::collection::{Collection, SpaceInfo};
use super::encoders::{Encoder, Encoders};
use super::space::Space;
use crate::error::{Error, Result};
use crate::models::Pixels;
use crate::store::{Batch, CollectionRecord, SpaceRecord, Store};
use crate::types::{ItemId, Modality};
use image::RgbImage;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The spaces of a collection's other model.
pub struct Shadow {
    pub(super) images: Arc<Space>,
    pub(super) captions: Arc<Space>,
    encoders: Arc<Encoders>,
    encoder: OnceLock<Arc<Batched>>,
}

/// What stands beside the active spaces. Locked after a collection's `writer`, where both are.
pub(super) struct Beside(Mutex<State>);

enum State {
    Nothing,
    Stored(Vec<SpaceRecord>),
    Open(Arc<Shadow>),
}

/// Slots of a shadow that are taken away.
#[derive(Default)]
pub(super) struct Gone {
    images: Vec<u32>,
    captions: Vec<u32>,
}

impl Shadow {
    fn open(store: &Arc<Store>, encoders: &Arc<Encoders>, spaces: &[SpaceRecord]) -> Result<Self> {
        let space = |modality| {
            let lacks = || Error::Corrupt { reason: format!("a shadow has no {modality} space") };
            let record = spaces.iter().find(|s| s.modality == modality).ok_or_else(lacks)?;
            Space::open(store, record.clone()).map(Arc::new)
        };
        Ok(Shadow::of(space(Modality::Image)?, space(Modality::Caption)?, encoders.clone()))
    }

    fn of(images: Arc<Space>, captions: Arc<Space>, encoders: Arc<Encoders>) -> Self {
        Shadow { images, captions, encoders, encoder: OnceLock::new() }
    }

    /// The model that makes its vectors, as it was named.
    pub fn model(&self) -> &str {
        &self.images.record.model
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has that item, as the item is now.
    pub fn has(&self, item: ItemId) -> bool {
        !self.images.slots_of(item).is_empty()
    }

    /// How many pixels a side its encoder makes of a picture; None for as many as there are.
    pub fn enough(&self) -> Result<Option<u32>> {
        Ok(self.encoder()?.enough())
    }

    /// A picture as its encoder takes it. Meant to be called from many threads.
    pub fn prepare(&self, image: &RgbImage) -> Result<Pixels> {
        self.encoder()?.prepare(image)
    }

    /// Waits until its graphs are built and stored, where they are due.
    pub fn settle(&self) -> Result<()> {
        self.images.settle()?;
        self.captions.settle()
    }

    /// Its encoder, loaded when first asked for; its files must still be the same.
    fn batched(&self) -> Result<&Arc<Batched>> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let encoder = self.encoders.get(self.model())?;
        if encoder.encoder.fingerprint() != self.images.record.fingerprint {
            let reason = "its files have changed since it embedded items of a shadow; bring them back, or drop the shadow \
                          with `eyeshot collection drop-shadow` and begin again";
            return Err(Error::model(self.model(), reason));
        }
        Ok(self.encoder.get_or_init(|| encoder))
    }

    fn encoder(&self) -> Result<&Encoder> {
        Ok(&self.batched()?.encoder)
    }

    fn records(&self) -> Vec<SpaceRecord> {
        vec![self.images.record.clone(), self.captions.record.clone()]
    }

    /// Adds to `batch` that an item leaves, and to `gone` what that will take out of sight.
    pub(super) fn retire(&self, item: ItemId, batch: &mut Batch, gone: &mut Gone) {
        for (space, slots) in [(&self.images, &mut gone.images), (&self.captions, &mut gone.captions)] {
            for slot in space.slots_of(item) {
                batch.remove_vector(space.record.id, slot);
                slots.push(slot);
            }
        }
    }

    /// Takes out of sight what was taken away.
    pub(super) fn hide(&self, gone: &Gone) {
        self.images.remove(&gone.images);
        self.captions.remove(&gone.captions);
    }
}

impl Beside {
    pub fn stored(spaces: &[SpaceRecord]) -> Self {
        Beside(Mutex::new(if spaces.is_empty() { State::Nothing } else { State::Stored(spaces.to_vec()) }))
    }

    fn opened(shadow: Shadow) -> Self {
        Beside(Mutex::new(State::Open(Arc::new(shadow))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is this one.
    fn is(&self, shadow: &Arc<Shadow>) -> bool {
        matches!(&*self.lock(), State::Open(held) if Arc::ptr_eq(held, shadow))
    }
}

impl Collection {
    /// The spaces of its other model, where there is one.
    pub fn shadow(&self) -> Result<Option<Arc<Shadow>>> {
        let mut state = self.beside.lock();
        let spaces = match &*state {
            State::Nothing => return Ok(None),
            State::Open(shadow) => return Ok(Some(shadow.clone())),
            State::Stored(spaces) => spaces,
        };
        let shadow = Arc::new(Shadow::open(&self.store, &self.encoders, spaces)?);
        *state = State::Open(shadow.clone());
        Ok(Some(shadow))
    }

    /// Its shadow, begun with `model` where it has none yet. Where it has one, `model`, if any is named, must be its model.
    pub(super) fn cast_shadow(&self, model: Option<&str>) -> Result<Arc<Shadow>> {
        let _writer = self.writer()?;
        let name = self.name();
        let (shadow, model) = match (self.shadow()?, model) {
            (Some(shadow), None) => return Ok(shadow),
            (Some(shadow), Some(model)) => (Some(shadow), model),
            (None, Some(model)) => (None, model),
            (None, None) => {
                let what = format!("collection {name:?} has no shadow yet, and no model is named for it");
                return Err(Error::invalid(what, "name the new model with --model"));
            }
        };
        let encoder = self.encoders.get(model)?;
        let is_of = |space: &Space| space.record.fingerprint == encoder.encoder.fingerprint();
        match shadow {
            Some(shadow) if is_of(&shadow.images) => return Ok(shadow),
            Some(shadow) => {
                let what = format!("collection {name:?} has a shadow of model {} already", shadow.model());
                let fix = format!(
                    "go on with that, or drop it first: eyeshot collection drop-shadow {name} (what serves stays)"
                );
                return Err(Error::invalid(what, fix));
            }
            None if is_of(&self.images) => {
                let what = format!("collection {name:?} holds vectors of {model} already");
                return Err(Error::invalid(what, "leave --shadow out, or name another model"));
            }
            None => {}
        }
        let spaces = Space::records(&self.store, &encoder.encoder, self.images.record.codes)?;
        let mut batch = Batch::default();
        batch.put_collection(&CollectionRecord { shadow: spaces.clone(), ..self.record.clone() })?;
        self.store.commit(batch)?;
        let shadow = Arc::new(Shadow::open(&self.store, &self.encoders, &spaces)?);
        *self.beside.lock() = State::Open(shadow.clone());
        Ok(shadow)
    }

    /// Drops its shadow, and what is stored of it; what serves stays.
    pub(super) fn drop_shadow(&self) -> Result<()> {
        let _writer = self.writer()?;
        let mut state = self.beside.lock();
        if matches!(*state, State::Nothing) {
            return Err(self.no_shadow());
        }
        self.store.drop_spaces(&CollectionRecord { shadow: vec![], ..self.record.clone() })?;
        *state = State::Nothing;
        Ok(())
    }

    /// What its shadow holds.
    pub(super) fn shadow_info(&self) -> Result<Vec<SpaceInfo>> {
        Ok(self.shadow()?.map_or_else(Vec::new, |s| [&s.images, &s.captions].map(|s| s.info()).to_vec()))
    }

    fn no_shadow(&self) -> Error {
        let fix = "begin one with `eyeshot index SOURCE... --model NEW --shadow`".to_owned();
        Error::NotFound { kind: "shadow of collection", name: self.name().to_owned(), fix }
    }

    fn switched(&self) -> Error {
        Error::Switched { collection: self.name().to_owned() }
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shadow({})", self.model())
    }
}
