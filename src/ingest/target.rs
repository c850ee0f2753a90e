//! Where a run's images go: into the collection, or into its shadow.
//!
//! The shadow takes pictures of items that are there already, as they are there: what is new or has changed is the collection's
//! affair first, whose model serves.

use super::options::IndexOptions;
use super::sources::Entry;
use crate::engine::{self, Collection, EmbeddedBeside, Fresh, NewItem, Pixels, Shadow};
use crate::error::Result;
use crate::types::{ContentHash, Item, ItemId};
use image::RgbImage;
use std::sync::Arc;

/// Why an image without an item is refused.
const NEW: &str =
    "it is not in the collection, whose items a shadow re-embeds: index it without --shadow first";
/// Why one of other bytes is.
pub(super) const CHANGED: &str =
    "it has changed since it was indexed: index it again without --shadow, then with it";

/// What takes the images of a run.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    collection: &'a Collection,
    shadow: Option<&'a Arc<Shadow>>,
    /// How large a picture is kept of each image, where one is.
    thumbnails: Option<u32>,
}

/// A batch with its vectors, ready to be written.
pub(super) enum Embedded {
    /// Into the collection.
    Items(engine::Embedded),
    /// Into this shadow.
    Beside(Arc<Shadow>, EmbeddedBeside),
}

impl Embedded {
    /// The vectors of its pictures.
    pub fn fresh(&self) -> Fresh {
        match self {
            Embedded::Items(embedded) => embedded.fresh(),
            Embedded::Beside(_, embedded) => embedded.fresh(),
        }
    }
}

/// What is to be done with an entry.
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// It is to be fetched.
    Fetch,
    /// It can't be taken, for this reason.
    Refuse(&'static str),
}

impl<'a> Target<'a> {
    pub fn of(collection: &'a Collection, options: &'a IndexOptions) -> Self {
        Target { collection, shadow: options.shadow.as_ref(), thumbnails: options.thumbnails }
    }

    /// What is to be done with an entry, as it is listed.
    pub fn due(&self, entry: &Entry) -> Result<Due> {
        let manifest = self.collection.manifest(&entry.key)?;
        Ok(match (self.shadow, manifest) {
            (None, Some(known)) if known.stamp == entry.stamp && self.is_shown(known.item)? => Due::Nothing,
            (None, _) => Due::Fetch,
            (Some(shadow), Some(known)) if shadow.has(known.item) => Due::Nothing,
            (Some(_), Some(_)) => Due::Fetch,
            (Some(_), None) => Due::Refuse(NEW),
        })
    }

    /// Whether an item has the small picture that is to be kept of it.
    fn is_shown(&self, item: ItemId) -> Result<bool> {
        self.thumbnails.map_or(Ok(true), |_| self.collection.has_thumbnail(item))
    }

    /// The small picture of an item with the same bytes, where one is to be kept and has been.
    pub fn thumbnail(&self, known: &Item) -> Result<Option<Vec<u8>>> {
        self.thumbnails.map_or(Ok(None), |_| self.collection.thumbnail(known.id))
    }

    /// Whether an image with these bytes can be taken, where its entry was due.
    pub fn takes(&self, key: &str, hash: &ContentHash) -> Result<bool> {
        match self.shadow {
            None => Ok(true),
            // One that is gone by now is no item, and is passed over when it is written.
            Some(_) => Ok(self.collection.item_of(key)?.is_none_or(|item| item.hash == *hash)),
        }
    }

    /// An item whose file has these bytes, so that its vectors and its facts can be reused.
    pub fn known(&self, hash: &ContentHash) -> Result<Option<Item>> {
        match self.shadow {
            Some(shadow) if !self.collection.in_shadow(shadow, hash)? => Ok(None),
            _ => self.collection.known(hash),
        }
    }

    /// How many pixels a side the encoder makes of a picture; None for as many as there are.
    pub fn enough(&self) -> Result<Option<u32>> {
        match self.shadow {
            None => self.collection.enough(),
            Some(shadow) => shadow.enough(),
        }
    }

    /// A picture as the encoder takes it.
    pub fn prepare(&self, image: &RgbImage) -> Result<Pixels> {
        match self.shadow {
            None => self.collection.prepare(image),
            Some(shadow) => shadow.prepare(image),
        }
    }

    /// Vectors for a batch; those of bytes among the `fresh` are made.
    pub fn embed(&self, batch: Vec<NewItem>, fresh: &Fresh) -> Result<Embedded> {
        Ok(match self.shadow {
            None => Embedded::Items(self.collection.embed(batch, fresh)?),
            Some(shadow) => {
                Embedded::Beside(shadow.clone(), self.collection.embed_beside(shadow, batch, fresh)?)
            }
        })
    }

    /// Writes a batch; returns the keys of those that changed meanwhile and were left out.
    pub fn write(&self, embedded: Embedded) -> Result<Vec<String>> {
        match embedded {
            Embedded::Items(embedded) => self.collection.write(embedded).map(|_| vec![]),
            Embedded::Beside(shadow, embedded) => self.collection.write_beside(&shadow, embedded),
        }
    }
}
