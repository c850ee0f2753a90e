//! Items read lately, up to a bound on memory: a crowd's queries meet the same ones, and reading one means parsing it.

use super::record;
use super::rows::Bytes;
use crate::error::Result;
use crate::types::{Item, ItemId};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, GuardResult};
use std::sync::Arc;

/// Room for them, in bytes.
const ROOM: u64 = 64 << 20;

/// About how many times its record's bytes an item takes in memory, and what it takes beside that.
const TIMES: u64 = 2;
const OVERHEAD: u64 = 512;

type Key = (u32, ItemId);

/// An item, and the bytes of its record.
type Entry = (Arc<Item>, u64);

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Entry> for Weight {
    fn weight(&self, _: &Key, (_, bytes): &Entry) -> u64 {
        TIMES * bytes + OVERHEAD
    }
}

/// Items by collection and id.
pub(super) struct Items(Cache<Key, Entry, Weight>);

impl Default for Items {
    fn default() -> Self {
        Items(Cache::with_weighter((ROOM / (2 * OVERHEAD)) as usize, ROOM, Weight))
    }
}

impl Items {
    /// The item whose record `read` finds, if it finds one.
    ///
    /// A writer who calls [`Items::forget`] once the new record can be read leaves nothing old behind: what a reader was
    /// about to remember is not taken any more (`PlaceholderGuard::insert`).
    pub fn get(&self, key: Key, read: impl FnOnce() -> Result<Option<Bytes>>) -> Result<Option<Arc<Item>>> {
        let place = match self.0.get_value_or_guard(&key, None) {
            GuardResult::Value((item, _)) => return Ok(Some(item)),
            GuardResult::Guard(place) => Some(place),
            GuardResult::Timeout => None,
        };
        let Some(bytes) = read()? else { return Ok(None) };
        let item = Arc::new(record::item(&bytes)?);
        if let Some(place) = place {
            _ = place.insert((item.clone(), bytes.len() as u64));
        }
        Ok(Some(item))
    }

    /// Drops what was read of an item before its record changed.
    pub fn forget(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::types::ContentHash;

    fn record(id: u64, caption: &str) -> Option<Bytes> {
        let item = Item {
            id: ItemId(id),
            key: format!("file:///{id}.jpg"),
            hash: ContentHash::of(b""),
            size: 0,
            width: 1,
            height: 1,
            format: "png".into(),
            taken: None,
            captions: vec![caption.into()],
            exif: Default::default(),
            payload: Default::default(),
        };
        Some(record::json(&item).unwrap().into())
    }

    fn read(items: &Items, id: u64, found: impl FnOnce() -> Option<Bytes>) -> Option<String> {
        items.get((1, ItemId(id)), || Ok(found())).unwrap().map(|item| item.captions[0].clone())
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let items = Items::default();
        assert_eq!(read(&items, 7, || None), None);
        let old = read(&items, 7, || {
            items.forget([(1, ItemId(7))]);
            record(7, "old")
        });
        assert_eq!(old.as_deref(), Some("old"));
        assert_eq!(read(&items, 7, || record(7, "new")).as_deref(), Some("new"));
        assert_eq!(read(&items, 7, || record(7, "not read")).as_deref(), Some("new"));
        items.forget([(1, ItemId(7))]);
        assert_eq!(read(&items, 7, || None), None);
    }

    #[test]
    fn they_are_bounded() {
        let (items, long) = (Items::default(), "long ".repeat(20_000));
        for id in 0..1000 {
            read(&items, id, || record(id, &long));
        }
        assert!(items.0.weight() <= ROOM && items.0.len() > 100, "{} items", items.0.len());
        assert!(items.0.len() as u64 * long.len() as u64 * TIMES <= ROOM);
    }
}
