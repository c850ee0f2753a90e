//! Every key: a kind, whose it is, what is looked up. Numbers are big-endian, so that byte order is their order.
//!
//! | key | value |
//! |---|---|
//! | `N` | the last collection or space number given, u32 |
//! | `C` name | [`CollectionRecord`](super::CollectionRecord) |
//! | `X` collection | the next item id, u64 |
//! | `I` collection item | [`Item`](crate::types::Item) |
//! | `M` collection URI | [`Manifest`](super::Manifest) |
//! | `H` collection hash item | nothing: the key says that the item's file has these bytes |
//! | `T` collection item | where the item's small picture stands in the collection's file, and its checksum |
//! | `S` space | the first slot never used, u32 |
//! | `V` space slot | a vector not sealed yet: [`VectorRecord`](super::VectorRecord) |
//! | `B` space block | where the sealed vectors of 256 slots stand in the space's file |
//! | `D` space slot | nothing: the key says that the sealed vector of this slot was taken away |
//! | `G` space | the generation of the space's graph, and its checksum |
//!
//! `F` was the format version of format 1, which had no `S`, `B`, `D` or `G`.

use crate::types::{ContentHash, ItemId};

/// Writes keys; has no values of its own.
pub(super) struct Key;

impl Key {
    /// Bytes of the kind and the owner, in front of what is looked up.
    pub const OWNER: usize = 5;
    /// The kinds that collections own, but for their names.
    pub const OF_COLLECTIONS: [u8; 5] = [b'X', b'I', b'M', b'H', b'T'];
    /// Those of them that say all there is; the others name pieces of files.
    pub const WHOLE: [u8; 4] = [b'X', b'I', b'M', b'H'];
    /// The kinds that spaces own.
    pub const OF_SPACES: [u8; 5] = [b'S', b'V', b'B', b'D', b'G'];

    pub fn format_1() -> Vec<u8> {
        vec![b'F']
    }

    pub fn numbers() -> Vec<u8> {
        vec![b'N']
    }

    pub fn collections() -> Vec<u8> {
        vec![b'C']
    }

    pub fn collection(name: &str) -> Vec<u8> {
        [b"C", name.as_bytes()].concat()
    }

    pub fn next_item(collection: u32) -> Vec<u8> {
        of(b'X', collection)
    }

    pub fn items(collection: u32) -> Vec<u8> {
        of(b'I', collection)
    }

    pub fn item(collection: u32, id: ItemId) -> Vec<u8> {
        [&Self::items(collection)[..], &id.0.to_be_bytes()].concat()
    }

    pub fn manifests(collection: u32) -> Vec<u8> {
        of(b'M', collection)
    }

    pub fn manifest(collection: u32, uri: &str) -> Vec<u8> {
        [&Self::manifests(collection)[..], uri.as_bytes()].concat()
    }

    pub fn hashes(collection: u32, hash: &ContentHash) -> Vec<u8> {
        [&of(b'H', collection)[..], &hash.0].concat()
    }

    pub fn hash(collection: u32, hash: &ContentHash, id: ItemId) -> Vec<u8> {
        [&Self::hashes(collection, hash)[..], &id.0.to_be_bytes()].concat()
    }

    pub fn thumbnails(collection: u32) -> Vec<u8> {
        of(b'T', collection)
    }

    pub fn thumbnail(collection: u32, item: ItemId) -> Vec<u8> {
        [&Self::thumbnails(collection)[..], &item.0.to_be_bytes()].concat()
    }

    pub fn vectors(space: u32) -> Vec<u8> {
        of(b'V', space)
    }

    pub fn vector(space: u32, slot: u32) -> Vec<u8> {
        [&Self::vectors(space)[..], &slot.to_be_bytes()].concat()
    }

    pub fn next_slot(space: u32) -> Vec<u8> {
        of(b'S', space)
    }

    pub fn blocks(space: u32) -> Vec<u8> {
        of(b'B', space)
    }

    pub fn block(space: u32, number: u32) -> Vec<u8> {
        [&Self::blocks(space)[..], &number.to_be_bytes()].concat()
    }

    pub fn tombstones(space: u32) -> Vec<u8> {
        of(b'D', space)
    }

    pub fn tombstone(space: u32, slot: u32) -> Vec<u8> {
        [&Self::tombstones(space)[..], &slot.to_be_bytes()].concat()
    }

    pub fn graph(space: u32) -> Vec<u8> {
        of(b'G', space)
    }

    /// All of one kind and one owner.
    pub fn owned(kind: u8, owner: u32) -> Vec<u8> {
        of(kind, owner)
    }

    /// The owner that a key names.
    pub fn owner(key: &[u8]) -> Option<u32> {
        key.get(1..Self::OWNER).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes)
    }
}

fn of(kind: u8, owner: u32) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(owner.to_be_bytes());
    key
}
