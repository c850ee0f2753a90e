//! Every key: a kind, whose it is, what is looked up. Numbers are big-endian, so that byte order is their order.
//!
//! | key | value |
//! |---|---|
//! | `F` | format version, u32 |
//! | `N` | the last collection or space number given, u32 |
//! | `C` name | [`CollectionRecord`](super::CollectionRecord) |
//! | `X` collection | the next item id, u64 |
//! | `I` collection item | [`Item`](crate::types::Item) |
//! | `M` collection URI | [`Manifest`](super::Manifest) |
//! | `H` collection hash item | nothing: the key says that the item's file has these bytes |
//! | `V` space slot | [`VectorRecord`](super::VectorRecord) |

use crate::types::{ContentHash, ItemId};

/// Writes keys; has no values of its own.
pub(super) struct Key;

impl Key {
    pub fn format() -> Vec<u8> {
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

    pub fn vectors(space: u32) -> Vec<u8> {
        of(b'V', space)
    }

    pub fn vector(space: u32, slot: u32) -> Vec<u8> {
        [&Self::vectors(space)[..], &slot.to_be_bytes()].concat()
    }

    /// The prefixes of everything that a collection owns, but for its name and its spaces' vectors.
    pub fn all_of(collection: u32) -> [Vec<u8>; 4] {
        [b'X', b'I', b'M', b'H'].map(|kind| of(kind, collection))
    }
}

fn of(kind: u8, owner: u32) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(owner.to_be_bytes());
    key
}
