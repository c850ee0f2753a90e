//! The items of a collection, each from where it lies: files, buckets, URLs, tars, and bytes that were sent and kept; or the small
//! pictures that were kept of them.
//!
//! For a shadow that is to be filled without naming every place again. Only what has the bytes that were indexed is brought.

use super::{Entry, Fetched, Listed, Source};
use crate::engine::{Caller, Collection};
use crate::error::{Error, Result};
use crate::ingest::report::{Refusal, reason};
use std::sync::Arc;

/// How many are fetched at once: some lie on disks, some behind networks.
const LANES: usize = 8;

/// All items of a collection.
pub struct Items {
    collection: Arc<Collection>,
    name: String,
    small: bool,
}

impl Items {
    /// Those of `collection`.
    pub fn of(collection: Arc<Collection>) -> Self {
        Items { name: format!("collection:{}", collection.name()), collection, small: false }
    }

    /// The small pictures that were kept of those of `collection`: nothing has to be fetched, nor be there any more.
    pub fn small(collection: Arc<Collection>) -> Self {
        Items { small: true, ..Items::of(collection) }
    }
}

impl Source for Items {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_> {
        Box::new(self.collection.items().map(|item| match item {
            Ok(item) => Listed::Image(Entry { key: item.key, size: item.size, ..Entry::default() }),
            Err(error) => Listed::Unlisted(Refusal { key: self.name.clone(), reason: reason(&error) }),
        }))
    }

    fn fetch(&self, entry: &Entry, _limit: u64) -> Result<Fetched> {
        let gone = || Error::gone("it was removed meanwhile");
        let item = self.collection.item_of(&entry.key)?.ok_or_else(gone)?;
        if self.small {
            let none = || {
                Error::gone(
                    "no small picture was kept of it: index it with --keep-thumbnails, or fill from its source",
                )
            };
            let bytes = self.collection.thumbnail(item.id)?.ok_or_else(none)?;
            return Ok(Fetched { bytes, sidecars: vec![], hash: Some(item.hash) });
        }
        // No more bytes than were taken when it was indexed.
        let bytes = self.collection.picture(&item, &Caller::default()).map_err(|error| match error {
            // Other items lie elsewhere.
            Error::Forbidden { what, fix } => Error::gone(format!("{what}: {fix}")),
            error => error,
        })?;
        Ok(Fetched { bytes, sidecars: vec![], hash: None })
    }

    fn lanes(&self) -> usize {
        LANES
    }

    fn owns(&self, _key: &str, _from: &str) -> bool {
        false
    }
}
